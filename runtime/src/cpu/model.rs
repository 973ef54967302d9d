//! What CPUID says of who made this CPU, where measurements on some of them decide for all of a kind.

use std::sync::OnceLock;

/// What is known to differ between CPUs of the same instruction sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Model {
    /// AMD's before Zen 5: vectors of 64 bytes are taken apart. Measured on Zen 4.
    AmdHalves,
    /// AMD's from Zen 5 on.
    Amd,
    /// Intel's, and whoever else's. Measured on Emerald Rapids.
    Other,
}

impl Model {
    /// This CPU's.
    pub(super) fn current() -> Self {
        // CPUID takes microseconds under a hypervisor.
        static MODEL: OnceLock<Model> = OnceLock::new();
        *MODEL.get_or_init(Self::ask)
    }

    #[cfg(all(target_arch = "x86_64", not(miri)))]
    fn ask() -> Self {
        use core::arch::x86_64::__cpuid;
        #[allow(unused_unsafe)] // these intrinsics are safe functions in newer compilers only
        // SAFETY: CPUID exists on every x86-64 CPU and has no effect but its result; so do leaves 0 and 1.
        let (vendor, version) = unsafe { (__cpuid(0), __cpuid(1).eax) };
        // "Auth", "enti", "cAMD".
        if (vendor.ebx, vendor.edx, vendor.ecx) != (0x6874_7541, 0x6974_6e65, 0x444d_4163) {
            Self::Other
        } else if family(version) < 0x1a {
            Self::AmdHalves
        } else {
            Self::Amd
        }
    }

    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    fn ask() -> Self {
        Self::Other
    }
}

/// The family in EAX of leaf 1: the extended one counts if the base is 15.
#[cfg_attr(not(all(target_arch = "x86_64", not(miri))), allow(dead_code, reason = "only CPUID has it"))]
fn family(version: u32) -> u32 {
    let base = version >> 8 & 15;
    if base == 15 { base + (version >> 20 & 255) } else { base }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_read_as_the_manuals_have_them() {
        // Zen 4, Zen 5, Sapphire Rapids.
        assert_eq!([0x00a1_0f11, 0x00b0_0f21, 0x0008_06f8].map(family), [0x19, 0x1a, 0x6]);
    }
}
