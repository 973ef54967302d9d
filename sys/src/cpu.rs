//! What the CPU offers for submission and for waiting.
//!
//! The answers come from CPUID and are cached. A process-wide override serves tests and tools that want another
//! path than the CPU's best. This crate reads no environment variables and no files; whoever wants a knob for users
//! reads it and calls [`set_override`].

use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// The CPU features that matter to a client of the device.
///
/// All false on targets other than x86-64.
#[allow(clippy::struct_excessive_bools)] // a set of independent answers is what this is
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct CpuFeatures {
    /// MOVDIR64B: submission to a dedicated queue. CPUID leaf 7, ECX bit 28.
    pub movdir64b: bool,
    /// MOVDIRI: 4- and 8-byte direct stores. CPUID leaf 7, ECX bit 27.
    pub movdiri: bool,
    /// ENQCMD: submission to a shared queue. CPUID leaf 7, ECX bit 29.
    ///
    /// The CPU knows the instruction; that the kernel gives this process a PASID is shown by opening a queue only.
    pub enqcmd: bool,
    /// UMONITOR, UMWAIT and TPAUSE. CPUID leaf 7, ECX bit 5.
    pub waitpkg: bool,
    /// MONITORX and MWAITX, the other vendor's way to wait. CPUID leaf 8000\_0001h, ECX bit 29.
    pub mwaitx: bool,
    /// The time stamp counter runs at a constant rate in all power states. CPUID leaf 8000\_0007h, EDX bit 8.
    pub invariant_tsc: bool,
}

impl CpuFeatures {
    /// A CPU that offers nothing.
    pub const NONE: Self =
        Self { movdir64b: false, movdiri: false, enqcmd: false, waitpkg: false, mwaitx: false, invariant_tsc: false };

    /// What to go by: the override if there is one ([`set_override`]), else [`Self::native`].
    #[inline]
    pub fn detect() -> Self {
        match Self::decode(OVERRIDE.load(Relaxed)) {
            Some(features) => features,
            None => Self::native(),
        }
    }

    /// What the CPU says, whatever the override. CPUID is asked once; under a hypervisor it costs microseconds.
    #[inline]
    pub fn native() -> Self {
        match Self::decode(NATIVE.load(Relaxed)) {
            Some(features) => features,
            None => Self::ask_and_cache(),
        }
    }

    #[cold]
    fn ask_and_cache() -> Self {
        let features = ask();
        // Threads may race here; they all store the same value, and the value is all there is to see.
        NATIVE.store(features.encode(), Relaxed);
        features
    }

    fn encode(self) -> u32 {
        KNOWN
            | u32::from(self.movdir64b)
            | u32::from(self.movdiri) << 1
            | u32::from(self.enqcmd) << 2
            | u32::from(self.waitpkg) << 3
            | u32::from(self.mwaitx) << 4
            | u32::from(self.invariant_tsc) << 5
    }

    #[inline]
    fn decode(word: u32) -> Option<Self> {
        (word & KNOWN != 0).then_some(Self {
            movdir64b: word & 1 != 0,
            movdiri: word & 1 << 1 != 0,
            enqcmd: word & 1 << 2 != 0,
            waitpkg: word & 1 << 3 != 0,
            mwaitx: word & 1 << 4 != 0,
            invariant_tsc: word & 1 << 5 != 0,
        })
    }
}

/// Replaces what [`CpuFeatures::detect`] answers, in the whole process; `None` ends the replacement.
///
/// Callers that have asked before keep the old answer. The function is safe because an answer is only an answer: the
/// instructions are `unsafe` to call, and a feature claimed for a CPU that lacks it makes them raise SIGILL. A trap
/// handler that emulates them can live with that, and is what such a claim is for.
pub fn set_override(features: Option<CpuFeatures>) {
    OVERRIDE.store(features.map_or(0, CpuFeatures::encode), Relaxed);
}

/// Marks a cached word as filled.
const KNOWN: u32 = 1 << 31;

static NATIVE: AtomicU32 = AtomicU32::new(0);
static OVERRIDE: AtomicU32 = AtomicU32::new(0);

#[cfg(target_arch = "x86_64")]
fn ask() -> CpuFeatures {
    /// A leaf above the highest one answers with the data of another leaf, so the bound is checked first.
    fn leaf(number: u32) -> (u32, u32) {
        // CPUID is part of the x86-64 baseline.
        #[allow(unused_unsafe)] // these intrinsics are safe functions in newer compilers only
        // SAFETY: CPUID exists on every x86-64 CPU and has no effect but its result.
        let (max, result) = unsafe {
            let max = core::arch::x86_64::__cpuid(number & 0x8000_0000).eax;
            (max, core::arch::x86_64::__cpuid_count(number, 0))
        };
        if number <= max { (result.ecx, result.edx) } else { (0, 0) }
    }

    let (structured, _) = leaf(7);
    let (extended, _) = leaf(0x8000_0001);
    let (_, power) = leaf(0x8000_0007);
    CpuFeatures {
        movdir64b: structured & 1 << 28 != 0,
        movdiri: structured & 1 << 27 != 0,
        enqcmd: structured & 1 << 29 != 0,
        waitpkg: structured & 1 << 5 != 0,
        mwaitx: extended & 1 << 29 != 0,
        invariant_tsc: power & 1 << 8 != 0,
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn ask() -> CpuFeatures {
    CpuFeatures::NONE
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;

    fn all() -> CpuFeatures {
        CpuFeatures { movdir64b: true, movdiri: true, enqcmd: true, waitpkg: true, mwaitx: true, invariant_tsc: true }
    }

    #[test]
    fn every_feature_survives_the_cache_by_itself() {
        let set: [fn(&mut CpuFeatures); 6] = [
            |f| f.movdir64b = true,
            |f| f.movdiri = true,
            |f| f.enqcmd = true,
            |f| f.waitpkg = true,
            |f| f.mwaitx = true,
            |f| f.invariant_tsc = true,
        ];
        for set in set {
            let mut one = CpuFeatures::NONE;
            set(&mut one);
            assert_eq!(CpuFeatures::decode(one.encode()), Some(one));
        }
        assert_eq!(CpuFeatures::decode(all().encode()), Some(all()));
        assert_eq!(CpuFeatures::decode(CpuFeatures::NONE.encode()), Some(CpuFeatures::NONE));
        assert_eq!(CpuFeatures::decode(0), None);
    }

    /// The only test that touches the override, which is process-wide.
    #[test]
    fn an_override_lasts_until_it_is_taken_back() {
        let native = CpuFeatures::native();
        assert_eq!(CpuFeatures::detect(), native);
        for claimed in [CpuFeatures::NONE, all()] {
            set_override(Some(claimed));
            assert_eq!(CpuFeatures::detect(), claimed);
            assert_eq!(CpuFeatures::native(), native);
        }
        set_override(None);
        assert_eq!(CpuFeatures::detect(), native);
    }

    /// The kernel asks the same leaves and may hide what it does not support, never the reverse.
    #[cfg(target_os = "linux")]
    #[test]
    fn the_kernel_sees_nothing_that_we_do_not() {
        let Ok(text) = std::fs::read_to_string("/proc/cpuinfo") else { return };
        let flags = text.lines().find(|line| line.starts_with("flags")).unwrap_or_default();
        let native = CpuFeatures::native();
        for (name, ours) in [
            ("movdir64b", native.movdir64b),
            ("movdiri", native.movdiri),
            ("enqcmd", native.enqcmd),
            ("waitpkg", native.waitpkg),
            ("mwaitx", native.mwaitx),
            ("nonstop_tsc", native.invariant_tsc),
        ] {
            let kernels = flags.split_ascii_whitespace().any(|flag| flag == name);
            assert!(ours || !kernels, "{name} is in /proc/cpuinfo but was not detected");
        }
    }
}
