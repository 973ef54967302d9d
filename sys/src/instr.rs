//! The instructions: submission (ENQCMD, MOVDIR64B), user-level waiting (UMONITOR, UMWAIT, TPAUSE; MONITORX, MWAITX)
//! and what goes with them (SFENCE, RDTSC, PAUSE). x86-64 only.
//!
//! # Ordering
//!
//! ENQCMD and MOVDIR64B are weakly ordered: neither is ordered after *earlier stores* of the same thread, be it to
//! the buffers, the completion record or a batch's descriptor list (specification section 3.3). Call [`sfence`] once,
//! after the last of those stores and before the first submission that relies on them. The 64 bytes of the
//! descriptor itself are different: the instruction reads them as an ordinary load of this thread, which sees the
//! thread's own stores without a fence.
//!
//! To the compiler every function here is an access to all memory: it neither moves loads or stores across one
//! nor keeps a value in a register over one. For that reason, no `asm!` below claims `nomem` or `readonly`, except
//! [`rdtsc`]'s.
//!
//! # Alignment
//!
//! Target addresses of a submission are 64-byte aligned; anything else raises #GP, which Linux delivers as SIGSEGV.

use core::arch::asm;

use crate::Descriptor;

/// Operand of [`umwait`] and [`tpause`]: C0.1, the lighter state. Wakes faster, saves less.
pub const WAIT_C01: u32 = 1;
/// Operand of [`umwait`] and [`tpause`]: C0.2, the deeper state. The system may forbid it; then it acts as C0.1.
pub const WAIT_C02: u32 = 0;

/// ENQCMD: offers a descriptor to a shared work queue; true if the queue took it.
///
/// False is Retry (ZF set): the queue was full for this portal just now. It is also what a disabled queue, a dedicated
/// queue and a halted device answer, always. Bound the retries and look at the queue's health when they run out.
///
/// The store is not posted: the CPU waits for the device's answer, around a microsecond, and has one submission in
/// flight. The CPU replaces bytes 0 to 3 of what it sends by the thread's PASID, without privilege; leave them 0. A
/// thread's first ENQCMD may trap into the kernel, which loads the PASID and runs the instruction again.
///
/// Weakly ordered: see the [module's notes](self#ordering).
///
/// # Safety
///
/// * The CPU has ENQCMD ([`CpuFeatures::enqcmd`](crate::CpuFeatures)), or something emulates it; else SIGILL.
/// * `portal` is a 64-byte aligned address in a mapped portal of a work queue of a device that this process has open,
///   and stays mapped during the call. No Rust object lives there.
/// * `descriptor` is valid for reads of 64 bytes.
/// * If the result is true, the device executes the descriptor, at any time until it has written the completion
///   record or the queue has been drained. All memory the descriptor names stays allocated for so long; what the
///   device writes is accessed by nobody else, and what it reads is written by nobody.
#[inline]
pub unsafe fn enqcmd(portal: *mut u8, descriptor: *const Descriptor) -> bool {
    let retry: u8;
    // SAFETY: the caller vouches for the instruction and both operands. It reads 64 bytes at `descriptor`, writes the
    // portal, changes no register but the flags, and leaves the stack alone. SETZ writes `retry` after both inputs
    // have been used, so a late output may share a register with either.
    unsafe {
        asm!(
            "enqcmd {portal}, [{descriptor}]",
            "setz {retry}",
            portal = in(reg) portal,
            descriptor = in(reg) descriptor,
            retry = lateout(reg_byte) retry,
            options(nostack),
        );
    }
    retry == 0
}

/// MOVDIR64B: writes 64 bytes as one direct store, which no other store can tear.
///
/// On the portal of a dedicated work queue this submits a descriptor. The store is posted and nothing comes back: a
/// queue that is full **loses** the descriptor, with an entry in SWERROR at best ([`crate::swerr::DWQ_OVERFLOW`]), and
/// a disabled or shared queue drops it without a word. Callers count: at most as many descriptors in flight as the
/// queue has entries.
///
/// Weakly ordered, and not ordered with other MOVDIR64B to other addresses: see the [module's notes](self#ordering).
///
/// # Safety
///
/// * The CPU has MOVDIR64B ([`CpuFeatures::movdir64b`](crate::CpuFeatures)), or something emulates it; else SIGILL.
/// * `target` is 64-byte aligned, and either valid for writes of 64 bytes of ordinary memory, or an address in a
///   mapped portal of a work queue of a device that this process has open, and which stays mapped during the call.
/// * `descriptor` is valid for reads of 64 bytes.
/// * If `target` is a portal, the last requirement of [`enqcmd`] holds, as if the descriptor had been accepted.
#[inline]
pub unsafe fn movdir64b(target: *mut u8, descriptor: *const Descriptor) {
    // SAFETY: the caller vouches for the instruction and both operands. It reads 64 bytes at `descriptor`, writes 64
    // at `target`, and changes neither registers nor flags nor the stack.
    unsafe {
        asm!(
            "movdir64b {target}, [{descriptor}]",
            target = in(reg) target,
            descriptor = in(reg) descriptor,
            options(nostack, preserves_flags),
        );
    }
}

/// UMONITOR: arms the address monitor of this logical CPU for the line that holds `address`.
///
/// The following [`umwait`] ends when the line is written, by the device too. Read the awaited byte *between* the two:
/// a write before UMONITOR does not end the wait. Any interrupt or context switch disarms the monitor, which makes
/// UMWAIT return at once, so nothing is missed.
///
/// # Safety
///
/// * The CPU has WAITPKG ([`CpuFeatures::waitpkg`](crate::CpuFeatures)), or something emulates it; else SIGILL.
/// * `address` is valid for reads, and write-back cached (any ordinary memory); the CPU treats the instruction as a
///   load.
#[inline]
pub unsafe fn umonitor(address: *const u8) {
    // SAFETY: the caller vouches for the instruction and the operand. It loads from `address` and writes nothing.
    unsafe { asm!("umonitor {address}", address = in(reg) address, options(nostack, preserves_flags)) }
}

/// UMWAIT: waits in a light sleep until the monitored line is written, the time stamp counter reaches `deadline`, an
/// interrupt comes, or the system's limit on the wait is over; true in the last case (CF set).
///
/// There are wake-ups without a cause as well: the caller looks at what it waits for, and at the clock. The system's
/// limit (`/sys/devices/system/cpu/umwait_control/max_time`, by default 100000 ticks) is usually the shortest of them.
///
/// # Safety
///
/// * The CPU has WAITPKG ([`CpuFeatures::waitpkg`](crate::CpuFeatures)), or something emulates it; else SIGILL.
/// * `state` is [`WAIT_C01`] or [`WAIT_C02`]; other bits raise #GP, that is, SIGSEGV.
#[inline]
pub unsafe fn umwait(state: u32, deadline: u64) -> bool {
    let limit: u8;
    // SAFETY: the caller vouches for the instruction and the operand. It reads EDX:EAX, changes no register but the
    // flags, and accesses no memory; SETC comes after all inputs have been used. Other agents write memory while
    // it waits, so `nomem` is not claimed.
    unsafe {
        asm!(
            "umwait {state:e}",
            "setc {limit}",
            state = in(reg) state,
            in("eax") deadline as u32,
            in("edx") (deadline >> 32) as u32,
            limit = lateout(reg_byte) limit,
            options(nostack),
        );
    }
    limit != 0
}

/// TPAUSE: waits in a light sleep until the time stamp counter reaches `deadline`, an interrupt comes or the system's
/// limit is over; true in the last case (CF set). [`umwait`] without a monitored line.
///
/// # Safety
///
/// * The CPU has WAITPKG ([`CpuFeatures::waitpkg`](crate::CpuFeatures)), or something emulates it; else SIGILL.
/// * `state` is [`WAIT_C01`] or [`WAIT_C02`]; other bits raise #GP, that is, SIGSEGV.
#[inline]
pub unsafe fn tpause(state: u32, deadline: u64) -> bool {
    let limit: u8;
    // SAFETY: as for `umwait`.
    unsafe {
        asm!(
            "tpause {state:e}",
            "setc {limit}",
            state = in(reg) state,
            in("eax") deadline as u32,
            in("edx") (deadline >> 32) as u32,
            limit = lateout(reg_byte) limit,
            options(nostack),
        );
    }
    limit != 0
}

/// MONITORX: arms the address monitor for the line that holds `address`, for [`mwaitx`]. See [`umonitor`].
///
/// # Safety
///
/// * The CPU has MONITORX ([`CpuFeatures::mwaitx`](crate::CpuFeatures)), or something emulates it; else SIGILL.
/// * `address` is valid for reads, and write-back cached (any ordinary memory).
#[inline]
pub unsafe fn monitorx(address: *const u8) {
    // SAFETY: the caller vouches for the instruction and the operand. Extensions (ECX) and hints (EDX) are 0, the only
    // values that are defined. It loads from `address` and writes nothing.
    unsafe {
        asm!("monitorx", in("rax") address, in("ecx") 0, in("edx") 0, options(nostack, preserves_flags));
    }
}

/// MWAITX: waits until the monitored line is written, an interrupt comes, or about `ticks` of the time stamp
/// counter have passed. Stays in C0, the lightest state.
///
/// Unlike [`umwait`]'s, the limit is a duration, and 32 bits wide. There are wake-ups without a cause.
///
/// # Safety
///
/// The CPU has MWAITX ([`CpuFeatures::mwaitx`](crate::CpuFeatures)), or something emulates it; else SIGILL.
#[inline]
pub unsafe fn mwaitx(ticks: u32) {
    // SAFETY: the caller vouches for the instruction. EBX is its time limit (enabled by ECX bit 1), but a register that
    // `asm!` does not hand out; it is exchanged in and out again, which leaves it as it was. The hint 0xf0 asks for C0.
    // Other agents write memory while it waits, so `nomem` is not claimed.
    unsafe {
        asm!(
            "xchg {ticks:r}, rbx",
            "mwaitx",
            "xchg {ticks:r}, rbx",
            ticks = inout(reg) u64::from(ticks) => _,
            in("eax") 0xf0,
            in("ecx") 2,
            options(nostack, preserves_flags),
        );
    }
}

/// SFENCE: all earlier stores of this thread become visible, to the device too, before any later one.
#[inline]
pub fn sfence() {
    // SAFETY: SFENCE is part of the x86-64 baseline and only orders stores. Not `nomem`: the compiler, too, must keep
    // stores on their side.
    unsafe { asm!("sfence", options(nostack, preserves_flags)) }
}

/// RDTSC: the time stamp counter, the clock of [`umwait`]'s deadline.
///
/// It is not ordered with the instructions around it. It measures time only where
/// [`CpuFeatures::invariant_tsc`](crate::CpuFeatures) is set.
#[inline]
pub fn rdtsc() -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: RDTSC is part of the x86-64 baseline, writes EDX:EAX and touches no memory. (A process can have asked
    // the kernel to fault it, with PR_SET_TSC: then it dies of a signal, which is sound.)
    unsafe { asm!("rdtsc", out("eax") low, out("edx") high, options(nomem, nostack, preserves_flags)) };
    u64::from(high) << 32 | u64::from(low)
}

/// LFENCE and RDTSC: the time stamp counter, not before every earlier load of this thread has its value. What another thread
/// did before it stored that value is not later than this reading, where the counters of the cores agree.
#[inline]
pub fn rdtsc_ordered() -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: as for `rdtsc`; LFENCE is part of the baseline, too, and only orders. Not `nomem`: the compiler, too, must
    // keep loads on their side.
    unsafe { asm!("lfence", "rdtsc", out("eax") low, out("edx") high, options(nostack, preserves_flags)) };
    u64::from(high) << 32 | u64::from(low)
}

/// PAUSE: tells the CPU that this is a spin loop. Around 40 to 140 cycles on CPUs that have the device.
#[inline]
pub fn pause() {
    core::hint::spin_loop();
}

#[cfg(test)]
#[path = "instr_tests.rs"]
mod tests;
