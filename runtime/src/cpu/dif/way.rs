//! The kernels by instruction set, and the operations compiled for each.

use std::sync::atomic::{AtomicU8, Ordering};

#[cfg(target_arch = "x86_64")]
use core::arch::x86_64::{__m256i, __m512i};

#[cfg(target_arch = "x86_64")]
use super::affine::Products;
use super::blocks::{self, Shape};
#[cfg(target_arch = "x86_64")]
use super::clmul::Folds;
#[cfg(target_arch = "x86_64")]
use super::past;
use super::portable::Tables;
use super::{DifDestination, DifError, DifSource, DifTags};
use crate::cpu::Tier;

/// How guards are computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Way {
    Tables = 1,
    #[cfg(target_arch = "x86_64")]
    Folds,
    #[cfg(target_arch = "x86_64")]
    Products256,
    #[cfg(target_arch = "x86_64")]
    Products512,
}

/// The way of the tier in use, as a number; 0 until it is known.
static CURRENT: AtomicU8 = AtomicU8::new(0);

impl Way {
    /// The way of the tier in use.
    #[inline]
    pub(super) fn current() -> Self {
        match CURRENT.load(Ordering::Relaxed) {
            1 => Self::Tables,
            #[cfg(target_arch = "x86_64")]
            2 => Self::Folds,
            #[cfg(target_arch = "x86_64")]
            3 => Self::Products256,
            #[cfg(target_arch = "x86_64")]
            4 => Self::Products512,
            _ => Self::find(),
        }
    }

    #[cold]
    fn find() -> Self {
        let way = Self::of(Tier::current());
        // Whoever comes second finds the same.
        CURRENT.store(way as u8, Ordering::Relaxed);
        way
    }

    /// The best for a tier that the CPU has. GFNI is not part of any tier: the CPUs of the highest have it, as do the ones with
    /// AVX2 alone that a device may be part of.
    #[inline]
    pub(super) fn of(tier: Tier) -> Self {
        #[cfg(all(target_arch = "x86_64", not(miri)))]
        return match tier {
            Tier::Avx512 if has_affine() => Self::Products512,
            Tier::Avx2 if has_affine() => Self::Products256,
            Tier::Portable => Self::Tables,
            _ => Self::Folds,
        };
        #[cfg(not(all(target_arch = "x86_64", not(miri))))]
        {
            let _ = tier;
            Self::Tables
        }
    }
}

#[cfg(all(target_arch = "x86_64", not(miri)))]
#[inline]
fn has_affine() -> bool {
    std::arch::is_x86_feature_detected!("gfni")
}

/// Calls the function of this name in [`blocks`], for the kernel of short or of long blocks.
macro_rules! by_shape {
    ($flags:expr, $short:ty, $long:ty, $name:ident, $($argument:expr),+) => {{
        let shape = Shape::of($flags);
        if shape.chunks == 1 {
            blocks::$name(<$short>::new(shape), $($argument),+)
        } else {
            blocks::$name(<$long>::new(shape), $($argument),+)
        }
    }};
}

/// The functions of [`blocks`], for kernels of short and of long blocks.
macro_rules! compiled {
    ($module:ident, $attribute:meta, $short:ty, $long:ty) => {
        /// # Safety
        ///
        /// Each function: as that of the same name in [`blocks`]; the CPU has the features, if any.
        mod $module {
            use super::*;

            #[$attribute]
            pub(super) unsafe fn check(
                flags: u8,
                source: DifSource,
                src: *const u8,
                len: usize,
            ) -> Result<DifTags, DifError> {
                // SAFETY: the caller's promise; the features are enabled here. So in all of this module.
                unsafe { by_shape!(flags, $short, $long, check, flags, source, src, len) }
            }

            #[$attribute]
            pub(super) unsafe fn insert(
                flags: u8,
                destination: DifDestination,
                src: *const u8,
                dst: *mut u8,
                len: usize,
            ) -> DifTags {
                // SAFETY: as above.
                unsafe { by_shape!(flags, $short, $long, insert, flags, destination, src, dst, len) }
            }

            #[$attribute]
            pub(super) unsafe fn strip(
                flags: u8,
                source: DifSource,
                src: *const u8,
                dst: *mut u8,
                len: usize,
            ) -> Result<DifTags, DifError> {
                // SAFETY: as above.
                unsafe { by_shape!(flags, $short, $long, strip, flags, source, src, dst, len) }
            }

            #[$attribute]
            pub(super) unsafe fn update(
                flags: u8,
                source: DifSource,
                destination: DifDestination,
                src: *const u8,
                dst: *mut u8,
                len: usize,
            ) -> Result<(DifTags, DifTags), DifError> {
                // SAFETY: as above.
                unsafe { by_shape!(flags, $short, $long, update, flags, source, destination, src, dst, len) }
            }

            #[$attribute]
            pub(super) unsafe fn generate(
                flags: u8,
                destination: DifDestination,
                src: *const u8,
                dst: *mut u8,
                len: usize,
            ) -> DifTags {
                // SAFETY: as above.
                unsafe { by_shape!(flags, $short, $long, generate, flags, destination, src, dst, len) }
            }
        }
    };
}

// Not inlined where another way is taken.
compiled!(tables, inline(never), Tables, Tables);
#[cfg(target_arch = "x86_64")]
compiled!(folds, target_feature(enable = "sse4.2,ssse3,pclmulqdq"), Folds, Folds);
#[cfg(target_arch = "x86_64")]
compiled!(products256, target_feature(enable = "avx2,bmi1,bmi2,lzcnt,pclmulqdq,gfni"), Products<__m256i, 16, 1>, Products<__m256i, 16, 8>);
#[cfg(target_arch = "x86_64")]
compiled!(
    products512,
    target_feature(enable = "avx2,bmi1,bmi2,lzcnt,pclmulqdq,gfni,avx512f,avx512bw,avx512dq,avx512vl,vpclmulqdq"),
    Products<__m512i, 8, 1>,
    Products<__m512i, 8, 8>
);

/// Calls the function of this name in the module of a way.
macro_rules! by_way {
    ($way:expr, $name:ident, $flags:expr, $($argument:expr),+) => {
        // SAFETY: the caller's promise; a way is chosen only on a CPU that has its features.
        unsafe {
            match $way {
                Way::Tables => tables::$name($flags, $($argument),+),
                #[cfg(target_arch = "x86_64")]
                Way::Folds => folds::$name($flags, $($argument),+),
                #[cfg(target_arch = "x86_64")]
                Way::Products256 => products256::$name($flags, $($argument),+),
                #[cfg(target_arch = "x86_64")]
                Way::Products512 => products512::$name($flags, $($argument),+),
            }
        }
    };
}

/// # Safety
///
/// As of [`dif_check`](super::dif_check); the CPU has what the way needs. So for all functions below.
#[inline]
pub(super) unsafe fn check(
    way: Way,
    flags: u8,
    source: DifSource,
    src: *const u8,
    len: usize,
) -> Result<DifTags, DifError> {
    by_way!(way, check, flags, source, src, len)
}

/// # Safety
///
/// As of [`dif_insert`](super::dif_insert), and as above.
#[inline]
pub(super) unsafe fn insert(
    way: Way,
    flags: u8,
    destination: DifDestination,
    src: *const u8,
    dst: *mut u8,
    len: usize,
) -> DifTags {
    by_way!(way, insert, flags, destination, src, dst, len)
}

/// [`insert`], with the destination past the caches where there is a way.
///
/// # Safety
///
/// As of [`insert`].
#[inline(never)]
pub(super) unsafe fn insert_past(
    way: Way,
    flags: u8,
    destination: DifDestination,
    src: *const u8,
    dst: *mut u8,
    len: usize,
) -> DifTags {
    #[cfg(target_arch = "x86_64")]
    if way == Way::Products512 && len / Shape::of(flags).bytes() >= 2 {
        // SAFETY: the caller's promise; the CPU has what the way needs, and there are two blocks.
        return unsafe { insert_past_products512(flags, destination, src, dst, len) };
    }
    // SAFETY: the caller's promise.
    unsafe { insert(way, flags, destination, src, dst, len) }
}

/// # Safety
///
/// As of [`past::insert`]; the CPU has the features.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,pclmulqdq,gfni,avx512f,avx512bw,avx512dq,avx512vl,vpclmulqdq")]
unsafe fn insert_past_products512(
    flags: u8,
    destination: DifDestination,
    src: *const u8,
    dst: *mut u8,
    len: usize,
) -> DifTags {
    let shape = Shape::of(flags);
    // SAFETY: the caller's promise; the features are enabled here.
    unsafe {
        if shape.chunks == 1 {
            past::insert(Products::<__m512i, 8, 1>::new(shape), flags, destination, src, dst, len)
        } else {
            past::insert(Products::<__m512i, 8, 8>::new(shape), flags, destination, src, dst, len)
        }
    }
}

/// # Safety
///
/// As of [`dif_strip`](super::dif_strip), and as above.
#[inline]
pub(super) unsafe fn strip(
    way: Way,
    flags: u8,
    source: DifSource,
    src: *const u8,
    dst: *mut u8,
    len: usize,
) -> Result<DifTags, DifError> {
    by_way!(way, strip, flags, source, src, dst, len)
}

/// # Safety
///
/// As of [`dif_update`](super::dif_update), and as above.
#[inline]
pub(super) unsafe fn update(
    way: Way,
    flags: u8,
    source: DifSource,
    destination: DifDestination,
    src: *const u8,
    dst: *mut u8,
    len: usize,
) -> Result<(DifTags, DifTags), DifError> {
    by_way!(way, update, flags, source, destination, src, dst, len)
}

/// # Safety
///
/// As of [`dix_generate`](super::dix_generate), and as above.
#[inline]
pub(super) unsafe fn generate(
    way: Way,
    flags: u8,
    destination: DifDestination,
    src: *const u8,
    dst: *mut u8,
    len: usize,
) -> DifTags {
    by_way!(way, generate, flags, destination, src, dst, len)
}
