//! The ways by name, and what they are measured against: the C library's copy and a guard by crc-fast.

use std::ptr;

use crc_fast::CrcAlgorithm;
use idxd_sys::limits::DIF_BLOCKS;

use super::DifDestination;
use super::tuple::{self, TUPLE_BYTES};
use super::way::{self, Way};
use crate::cpu::Tier;
use crate::cpu::kernel::{self, Kernel};

/// Every way to insert that this CPU has.
pub(crate) fn kernels() -> Vec<Kernel<kernel::DifInsert>> {
    let library: kernel::DifInsert = insert_by_crc_fast;
    let mut kernels = vec![Kernel { name: "memcpy + crc-fast", tier: Tier::Portable, run: library }];
    for (tier, way) in ways() {
        let (name, run, _) = of_way(way);
        kernels.push(Kernel { name, tier, run });
        #[cfg(target_arch = "x86_64")]
        if way == Way::Products512 {
            kernels.push(Kernel { name: "affine, 64 bytes, past the caches", tier, run: insert_past });
        }
    }
    kernels
}

/// Every way to a guard that this CPU has.
pub(crate) fn guard_kernels() -> Vec<Kernel<kernel::Guard>> {
    let library: kernel::Guard = guard_by_crc_fast;
    let mut kernels = vec![Kernel { name: "crc-fast", tier: Tier::Portable, run: library }];
    for (tier, way) in ways() {
        let (name, _, run) = of_way(way);
        kernels.push(Kernel { name, tier, run });
    }
    kernels
}

/// Those that this CPU has, each with its least tier.
fn ways() -> Vec<(Tier, Way)> {
    let mut ways: Vec<_> = Tier::available().map(|tier| (tier, Way::of(tier))).collect();
    ways.dedup_by_key(|(_, way)| *way);
    ways
}

/// The functions of a way, and their name.
macro_rules! functions {
    ($name:literal, $way:expr) => {{
        /// # Safety
        ///
        /// As of [`kernel::DifInsert`], on a CPU that has the way.
        unsafe fn insert(src: *const u8, dst: *mut u8, len: usize) {
            // SAFETY: the caller's promise.
            unsafe { way::insert($way, 0, DifDestination::default(), src, dst, len) };
        }

        /// # Safety
        ///
        /// As of [`kernel::Guard`], on a CPU that has the way.
        unsafe fn guard(src: *const u8, len: usize) -> u16 {
            let flags = DIF_BLOCKS.iter().position(|&block| block as usize == len).expect("the size of a block") as u8;
            let mut tuple = [0; TUPLE_BYTES];
            let none = DifDestination::default();
            // SAFETY: the caller's promise, and the 8 bytes of a tuple.
            unsafe { way::generate($way, flags, none, src, tuple.as_mut_ptr(), len) };
            u16::from_be_bytes([tuple[0], tuple[1]])
        }

        ($name, insert as kernel::DifInsert, guard as kernel::Guard)
    }};
}

fn of_way(way: Way) -> (&'static str, kernel::DifInsert, kernel::Guard) {
    match way {
        Way::Tables => functions!("tables", Way::Tables),
        #[cfg(target_arch = "x86_64")]
        Way::Folds => functions!("carry-less, 16 bytes", Way::Folds),
        #[cfg(target_arch = "x86_64")]
        Way::Products256 => functions!("affine, 32 bytes", Way::Products256),
        #[cfg(target_arch = "x86_64")]
        Way::Products512 => functions!("affine, 64 bytes", Way::Products512),
    }
}

/// # Safety
///
/// As of [`kernel::DifInsert`], on a CPU that has the way.
#[cfg(target_arch = "x86_64")]
unsafe fn insert_past(src: *const u8, dst: *mut u8, len: usize) {
    // SAFETY: the caller's promise.
    unsafe { way::insert_past(Way::Products512, 0, DifDestination::default(), src, dst, len) };
}

/// # Safety
///
/// As of [`kernel::DifInsert`].
unsafe fn insert_by_crc_fast(mut src: *const u8, mut dst: *mut u8, len: usize) {
    const BLOCK: usize = DIF_BLOCKS[0] as usize;
    for index in 0..len / BLOCK {
        // SAFETY: a block inside the source, and with its tuple inside the destination, for which the caller vouches.
        unsafe {
            ptr::copy_nonoverlapping(src, dst, BLOCK);
            tuple::write(tuple::guard(guard_by_crc_fast(src, BLOCK)) | index as u64, dst.add(BLOCK));
            src = src.add(BLOCK);
            dst = dst.add(BLOCK + TUPLE_BYTES);
        }
    }
}

/// # Safety
///
/// As of [`kernel::Guard`].
unsafe fn guard_by_crc_fast(src: *const u8, len: usize) -> u16 {
    // SAFETY: the caller's promise.
    let data = unsafe { std::slice::from_raw_parts(src, len) };
    crc_fast::checksum(CrcAlgorithm::Crc16T10Dif, data) as u16
}
