//! Intel's ISA-L, if the system has it: its checksums, loaded when the program runs.

use std::ffi::c_int;

use dsa_benches::grid::BLOCK;

type Crc32 = unsafe extern "C" fn(*const u8, c_int, u32) -> u32;
type Crc16 = unsafe extern "C" fn(u16, *const u8, u64) -> u16;
type Crc16Copy = unsafe extern "C" fn(u16, *mut u8, *const u8, u64) -> u16;

/// The functions that are compared with. They stay loaded.
#[derive(Clone, Copy)]
pub(crate) struct Isal {
    crc32_iscsi: Crc32,
    crc16_t10dif: Crc16,
    crc16_t10dif_copy: Crc16Copy,
}

impl Isal {
    /// Loads them, or says why not.
    #[cfg(feature = "isal")]
    pub(crate) fn load() -> Result<Self, String> {
        use libloading::{Library, Symbol};

        // SAFETY: the library has no initialisers that do anything but choose functions by CPUID.
        let library = unsafe { Library::new("libisal.so.2") }.map_err(|error| error.to_string())?;
        let library: &'static Library = Box::leak(Box::new(library));
        let text = |error: libloading::Error| error.to_string();
        // SAFETY: these are the functions' types in `isa-l/crc.h`, where not all pointers to what is only read are `const`.
        unsafe {
            let crc32_iscsi: Symbol<'_, Crc32> = library.get(b"crc32_iscsi\0").map_err(text)?;
            let crc16_t10dif: Symbol<'_, Crc16> = library.get(b"crc16_t10dif\0").map_err(text)?;
            let crc16_t10dif_copy: Symbol<'_, Crc16Copy> = library.get(b"crc16_t10dif_copy\0").map_err(text)?;
            Ok(Self { crc32_iscsi: *crc32_iscsi, crc16_t10dif: *crc16_t10dif, crc16_t10dif_copy: *crc16_t10dif_copy })
        }
    }

    /// Says why it is absent.
    #[cfg(not(feature = "isal"))]
    pub(crate) fn load() -> Result<Self, String> {
        Err("built without the feature `isal`".to_owned())
    }

    /// CRC-32C, as the standard has it: the library's own neither begins nor ends with an inversion.
    ///
    /// # Safety
    ///
    /// The region is valid, and of less than 2 GiB.
    #[inline(always)]
    pub(crate) unsafe fn crc32c(self, src: *const u8, len: usize) -> u64 {
        // SAFETY: the caller's promise.
        u64::from(!unsafe { (self.crc32_iscsi)(src, c_int::try_from(len).expect("the caller's promise"), !0) })
    }

    /// CRC-16 of a block.
    ///
    /// # Safety
    ///
    /// The block is valid.
    #[inline(always)]
    pub(crate) unsafe fn crc16(self, block: *const u8) -> u16 {
        // SAFETY: the caller's promise.
        unsafe { (self.crc16_t10dif)(0, block, BLOCK as u64) }
    }

    /// CRC-16 of a block that is copied.
    ///
    /// # Safety
    ///
    /// Block and destination are valid, and do not overlap.
    #[inline(always)]
    pub(crate) unsafe fn crc16_copy(self, block: *const u8, dst: *mut u8) -> u16 {
        // SAFETY: the caller's promise.
        unsafe { (self.crc16_t10dif_copy)(0, dst, block, BLOCK as u64) }
    }
}
