//! The engine's public functions, as the benchmark calls them: the one place that knows how a hint is given.

use dsa::cpu::{self, CrcParams, CrcWidth, DifDestination, DifSource, Hint};
use dsa_benches::grid::{Operation, Residency};

use super::slots::{EQUAL, PATTERN};

/// Operations whose functions take a hint.
pub(crate) const HINTED: &[Operation] = &[
    Operation::Copy,
    Operation::Fill,
    Operation::Crc32c,
    Operation::CopyCrc32c,
    Operation::Dualcast,
    Operation::DifInsert,
];

/// What a caller who knows would say of the bytes.
pub(crate) fn hint(residency: Residency) -> Hint {
    match residency {
        Residency::Hot => Hint::Hot,
        Residency::L3 => Hint::Unknown,
        Residency::Cold => Hint::Cold,
    }
}

/// What each function asks for: pointers are valid for as many bytes as it takes, and regions do not overlap.
macro_rules! functions {
    ($($(#[$doc:meta])* $name:ident($($argument:ident: $kind:ty),*) -> u64 $body:block)*) => {$(
        $(#[$doc])*
        ///
        /// # Safety
        ///
        /// The regions are valid, and nobody else uses them.
        #[inline(always)]
        pub(crate) unsafe fn $name($($argument: $kind),*) -> u64 {
            // SAFETY: the caller's promise is the one that the engine asks for.
            unsafe { $body }
        }
    )*};
}

functions! {
    /// Copies.
    copy(hint: Hint, src: *const u8, dst: *mut u8, len: usize) -> u64 {
        cpu::copy_with(hint, src, dst, len);
        0
    }

    /// Fills with the pattern.
    fill(hint: Hint, dst: *mut u8, len: usize) -> u64 {
        cpu::fill_with(hint, dst, len, PATTERN);
        0
    }

    /// CRC-32C.
    crc32c(hint: Hint, src: *const u8, len: usize) -> u64 {
        u64::from(cpu::crc32c_with(hint, 0, src, len))
    }

    /// CRC-64.
    crc64(src: *const u8, len: usize) -> u64 {
        let params = const { crc64_params() };
        cpu::crc_at(params, 0, src, len)
    }

    /// Copies, with CRC-32C.
    copy_crc32c(hint: Hint, src: *const u8, dst: *mut u8, len: usize) -> u64 {
        u64::from(cpu::copy_crc32c_with(hint, 0, src, dst, len))
    }

    /// Compares.
    compare(a: *const u8, b: *const u8, len: usize) -> u64 {
        cpu::compare(a, b, len).map_or(EQUAL, |at| at as u64)
    }

    /// Compares with the pattern.
    compare_pattern(src: *const u8, len: usize) -> u64 {
        cpu::compare_pattern(src, len, PATTERN).map_or(EQUAL, |at| at as u64)
    }

    /// Makes a delta record, of as many bytes as it needs; gives them.
    create_delta(first: *const u8, second: *const u8, len: usize, record: *mut u8) -> u64 {
        cpu::create_delta(first, second, len, record, len / 8 * 10).size() as u64
    }

    /// Copies twice.
    dualcast(hint: Hint, src: *const u8, first: *mut u8, second: *mut u8, len: usize) -> u64 {
        cpu::dualcast_with(hint, src, first, second, len);
        0
    }

    /// Inserts fields; gives the number of blocks.
    dif_insert(hint: Hint, src: *const u8, dst: *mut u8, len: usize) -> u64 {
        u64::from(cpu::dif_insert_with(hint, 0, DifDestination::default(), src, dst, len).reference)
    }

    /// Checks fields; gives the number of blocks, or nonsense if one is wrong. `len` counts the data alone.
    dif_check(src: *const u8, len: usize) -> u64 {
        let bytes = Operation::DifCheck.source_bytes(len);
        cpu::dif_check(0, DifSource::default(), src, bytes).map_or(EQUAL, |tags| u64::from(tags.reference))
    }

    /// Makes fields alone; gives the number of blocks.
    dix_generate(src: *const u8, dst: *mut u8, len: usize) -> u64 {
        u64::from(cpu::dix_generate(0, DifDestination::default(), src, dst, len).reference)
    }
}

/// CRC-64, as the device does it without further flags.
const fn crc64_params() -> CrcParams {
    CrcParams { width: CrcWidth::Crc64, bypass_inversion: false, bypass_reflection: false }
}
