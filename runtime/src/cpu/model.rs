//! What CPUID says of who made this CPU and how, where measurements on some of them decide for all of a kind.

/// What is known to differ between CPUs of the same instruction sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Model {
    /// AMD's that take vectors of 64 bytes apart. Measured on Zen 4.
    AmdHalves,
    /// Others of AMD's.
    Amd,
    /// Intel's, and whoever else's. Measured on Emerald Rapids.
    Other,
}

impl Model {
    /// This CPU's. It asks the CPU each time, which is slow.
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    pub(super) fn ask() -> Self {
        use core::arch::x86_64::__cpuid;
        const PATHS: u32 = 0x8000_001a;
        #[allow(unused_unsafe, reason = "a safe function in later compilers")]
        // SAFETY: every CPU of the architecture has the instruction, and these leaves; the last is read only if there is one.
        let (vendor, paths) =
            unsafe { (__cpuid(0), if __cpuid(0x8000_0000).eax >= PATHS { __cpuid(PATHS).eax } else { 0 }) };
        // "Auth", "enti", "cAMD".
        let is_amd = (vendor.ebx, vendor.edx, vendor.ecx) == (0x6874_7541, 0x6974_6e65, 0x444d_4163);
        match (is_amd, in_halves(paths)) {
            (false, _) => Self::Other,
            (true, true) => Self::AmdHalves,
            (true, false) => Self::Amd,
        }
    }

    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    pub(super) fn ask() -> Self {
        Self::Other
    }
}

/// Whether a CPU with these data paths, EAX of leaf 0x8000001a, does vectors of 64 bytes in halves.
#[cfg_attr(not(all(target_arch = "x86_64", not(miri))), allow(dead_code, reason = "only CPUID has it"))]
fn in_halves(paths: u32) -> bool {
    const OF_32_BYTES: u32 = 1 << 2;
    const OF_64_BYTES: u32 = 1 << 3;
    paths & (OF_32_BYTES | OF_64_BYTES) == OF_32_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_path_of_32_bytes_and_none_of_64_is_halves() {
        // Zen 4, Zen 5; one without the leaf.
        assert_eq!([6, 14, 0].map(in_halves), [true, false, false]);
    }
}
