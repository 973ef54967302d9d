//! Cache flush (specification section 8.3.26): lines out of the CPU's caches.
//!
//! The instructions work on whole lines, so the lines at both ends of a region go with it, as they do with the device.
//! On a CPU without them there is nothing that could be done, and nothing is.

/// What CPUID says of flushing.
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "no other architecture has these instructions"))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Features {
    /// Bytes of a line, a power of two; 0 if there is no instruction at all.
    line: usize,
    /// CLFLUSHOPT: leaf 7, EBX bit 23.
    optimised: bool,
    /// CLWB: leaf 7, EBX bit 24.
    write_back: bool,
}

/// Writes a region back to memory and takes it out of every cache (cache flush, opcode 0x20, to memory).
///
/// Returns when that has happened: later loads come from memory.
///
/// # Safety
///
/// `len` bytes at `dst` are mapped and may be read. The pointer may be anything if `len` is 0.
pub unsafe fn flush(dst: *const u8, len: usize) {
    // SAFETY: the caller's promise is the one that is asked for.
    unsafe { machine::flush(Features::get(), dst, len, false) };
}

/// Writes a region back to memory; caches may keep it (cache flush, opcode 0x20, to durable memory).
///
/// Returns when it is ordered before every later store, which is what persistence asks of a CPU.
///
/// # Safety
///
/// `len` bytes at `dst` are mapped and may be read. The pointer may be anything if `len` is 0.
pub unsafe fn write_back(dst: *const u8, len: usize) {
    // SAFETY: the caller's promise is the one that is asked for.
    unsafe { machine::flush(Features::get(), dst, len, true) };
}

#[cfg(target_arch = "x86_64")]
mod machine {
    use core::arch::asm;
    use core::arch::x86_64::{__cpuid, __cpuid_count, _mm_mfence, _mm_sfence};
    use std::sync::LazyLock;

    use super::Features;

    impl Features {
        pub(super) fn ask() -> Self {
            #[allow(unused_unsafe)] // these intrinsics are safe functions in newer compilers only
            // SAFETY: CPUID exists on every x86-64 CPU and has no effect but its result. Leaf 1 does, too.
            let (basic, structured) = unsafe {
                let max = __cpuid(0).eax;
                (__cpuid(1), if max >= 7 { __cpuid_count(7, 0).ebx } else { 0 })
            };
            // CLFLUSH: EDX bit 19; EBX bits 15:8 hold the size of a line in units of 8 bytes.
            let line = if basic.edx & 1 << 19 != 0 { (basic.ebx >> 8 & 0xff) as usize * 8 } else { 0 };
            Self {
                line: if line.is_power_of_two() { line } else { 0 },
                optimised: structured & 1 << 23 != 0,
                write_back: structured & 1 << 24 != 0,
            }
        }

        /// CPUID takes microseconds under a hypervisor, so it is asked once.
        pub(super) fn get() -> Self {
            static FEATURES: LazyLock<Features> = LazyLock::new(Features::ask);
            *FEATURES
        }
    }

    /// # Safety
    ///
    /// As for [`super::flush`]; the CPU has what `features` says.
    pub(super) unsafe fn flush(features: Features, dst: *const u8, len: usize, keep: bool) {
        if len == 0 || features.line == 0 {
            return;
        }
        let first = dst.addr() & !(features.line - 1);
        let lines = (first..dst.addr() + len).step_by(features.line);
        // SAFETY: each line holds a byte of the region, so it is mapped and readable; the instructions change no byte.
        // The CPU has the one that is chosen. The `asm!` blocks claim nothing, so no store to the region moves behind
        // them.
        unsafe {
            if keep && features.write_back {
                lines.for_each(|line| asm!("clwb [{}]", in(reg) line, options(nostack, preserves_flags)));
            } else if features.optimised {
                lines.for_each(|line| asm!("clflushopt [{}]", in(reg) line, options(nostack, preserves_flags)));
            } else {
                lines.for_each(|line| asm!("clflush [{}]", in(reg) line, options(nostack, preserves_flags)));
            }
            // The first two are ordered by a fence only. A store fence does for durability; an eviction has to be over
            // before a load asks for the line again.
            if keep {
                _mm_sfence();
            } else {
                _mm_mfence();
            }
        }
    }
}

#[cfg(not(target_arch = "x86_64"))]
mod machine {
    use super::Features;

    impl Features {
        pub(super) fn get() -> Self {
            Self { line: 0, optimised: false, write_back: false }
        }
    }

    /// # Safety
    ///
    /// None.
    pub(super) unsafe fn flush(_: Features, _: *const u8, _: usize, _: bool) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::guard::Guarded;

    #[test]
    fn no_byte_changes_and_no_other_page_is_touched() {
        let data: Vec<u8> = (0..4096_u32).map(|at| (at * 7 % 251) as u8).collect();
        let memory = Guarded::new(4096);
        let start = memory.put(&data);
        // Every instruction that the CPU has, not only the best.
        let best = Features::get();
        let plain = Features { write_back: false, ..best };
        let oldest = Features { optimised: false, ..plain };
        let none = Features { line: 0, ..best };
        for len in (0..300).chain([4095, 4096]) {
            for shift in 0..64.min(4097 - len) {
                // SAFETY: `len` bytes from the start, or up to the end, of the mapping.
                unsafe {
                    for features in [plain, oldest, none] {
                        machine::flush(features, start.add(shift), len, false);
                        machine::flush(features, memory.end(len + shift), len, true);
                    }
                    flush(start.add(shift), len);
                    write_back(memory.end(len + shift), len);
                }
            }
        }
        assert_eq!(memory.bytes(4096), data);
    }

    #[test]
    fn nothing_is_touched_for_length_zero() {
        // SAFETY: the pointer may be anything for length 0.
        unsafe {
            flush(std::ptr::null(), 0);
            write_back(std::ptr::null(), 0);
        }
    }

    /// The kernel asks the same leaves and may hide what it does not support, never the reverse.
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    #[test]
    fn the_kernel_sees_nothing_that_we_do_not() {
        let Ok(text) = std::fs::read_to_string("/proc/cpuinfo") else { return };
        let flags = text.lines().find(|line| line.starts_with("flags")).unwrap_or_default();
        let features = Features::ask();
        let kernels = |name| flags.split_ascii_whitespace().any(|flag| flag == name);
        assert!(features.line >= 16 || !kernels("clflush"));
        assert!(features.optimised || !kernels("clflushopt"));
        assert!(features.write_back || !kernels("clwb"));
    }
}
