//! Which instruction sets the kernels may use.

use std::sync::atomic::{AtomicU8, Ordering};

/// Instruction sets of the CPU engine's kernels, from the least to the most. Each has all of those before it.
///
/// Which one a process uses is found out once, from CPUID. The environment variable `DSA_CPU_TIER`, read at the same time, may
/// limit it to a lower one: `portable`, `sse4.2`, `avx2`, `avx512`. The answers are the same in each. It limits the engine's own
/// kernels: the C library and the crate `crc-fast`, which do the rest, choose theirs by themselves.
///
/// A build with debug assertions uses the portable one, unless the variable says otherwise: where nothing is inlined a vector costs
/// some tens of calls, and the C library, which is always compiled with care, is far ahead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
#[repr(u8)]
pub enum Tier {
    /// What every CPU of the architecture has; on x86-64 that includes SSE2.
    Portable = 1,
    /// SSE4.2 and SSSE3 with POPCNT and PCLMULQDQ: the `crc32` instruction and a carry-less multiplication.
    Sse42 = 2,
    /// AVX2, BMI1, BMI2 and LZCNT.
    Avx2 = 3,
    /// AVX-512 (F, BW, DQ, VL) with VPCLMULQDQ, as from Ice Lake and Zen 4 on.
    Avx512 = 4,
}

/// The tier in use, as a number; 0 until it is known.
static CURRENT: AtomicU8 = AtomicU8::new(0);

impl Tier {
    /// All of them, in ascending order.
    pub const ALL: [Self; 4] = [Self::Portable, Self::Sse42, Self::Avx2, Self::Avx512];

    /// The tier that this process uses.
    #[inline]
    pub fn current() -> Self {
        match CURRENT.load(Ordering::Relaxed) {
            4 => Self::Avx512,
            3 => Self::Avx2,
            2 => Self::Sse42,
            1 => Self::Portable,
            _ => Self::find(),
        }
    }

    /// Whether it is known to be AVX-512.
    #[cfg_attr(not(all(target_arch = "x86_64", not(miri))), allow(dead_code, reason = "nobody else has it"))]
    #[inline]
    pub(crate) fn is_avx512() -> bool {
        CURRENT.load(Ordering::Relaxed) == Self::Avx512 as u8
    }

    #[cold]
    fn find() -> Self {
        let limit = std::env::var("DSA_CPU_TIER").ok().and_then(|name| Self::named(&name));
        let unsaid = if cfg!(debug_assertions) { Self::Portable } else { Self::Avx512 };
        let found = Self::of_cpu().min(limit.unwrap_or(unsaid));
        // Whoever comes second finds the same.
        CURRENT.store(found as u8, Ordering::Relaxed);
        found
    }

    /// The highest tier of this CPU, whatever the environment says.
    pub fn of_cpu() -> Self {
        #[cfg(all(target_arch = "x86_64", not(miri)))]
        {
            macro_rules! has {
                ($($feature:tt),+) => { $(std::arch::is_x86_feature_detected!($feature))&&+ };
            }
            if !has!("sse4.2", "ssse3", "pclmulqdq", "popcnt") {
                return Self::Portable;
            }
            if !has!("avx2", "bmi1", "bmi2", "lzcnt") {
                return Self::Sse42;
            }
            if has!("avx512f", "avx512bw", "avx512dq", "avx512vl", "vpclmulqdq") {
                return Self::Avx512;
            }
            Self::Avx2
        }
        #[cfg(not(all(target_arch = "x86_64", not(miri))))]
        Self::Portable
    }

    /// The name that `DSA_CPU_TIER` has for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::Sse42 => "sse4.2",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
        }
    }

    /// The tier of a name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|tier| tier.name() == name)
    }

    /// Those that this CPU has.
    pub fn available() -> impl Iterator<Item = Self> {
        let highest = Self::of_cpu();
        Self::ALL.into_iter().filter(move |tier| *tier <= highest)
    }
}

impl std::fmt::Display for Tier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for tier in Tier::ALL {
            assert_eq!(Tier::named(&tier.to_string()), Some(tier));
        }
        assert_eq!(Tier::named("avx1024"), None);
    }

    #[test]
    fn the_one_in_use_is_one_that_the_cpu_has() {
        assert!(Tier::available().any(|tier| tier == Tier::current()));
        assert!(Tier::current() <= Tier::of_cpu());
        assert_eq!(Tier::available().next(), Some(Tier::Portable));
    }
}
