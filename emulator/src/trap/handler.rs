//! The handler of SIGILL, SIGSEGV and SIGBUS, and what each instruction does.

use std::io;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};

use idxd_sys::{Descriptor, instr};
use zerocopy::FromBytes;

use super::context::Context;
use super::copy::{self, Failed};
use super::decode::{DecodeError, Instruction, Kind, MAX_LENGTH, Operands, decode};
use super::{SigactionFunction, chain, monitor, portal};
use crate::client::Enqcmd;

/// `si_code` of a signal that a #GP became.
const SI_KERNEL: i32 = 0x80;

const PAGE: usize = 4096;

/// Signals that an instruction raises (of a system call: SIGSYS). To block one of these means to be killed by it.
const SYNCHRONOUS: u64 = chain::bit(libc::SIGILL)
    | chain::bit(libc::SIGSEGV)
    | chain::bit(libc::SIGBUS)
    | chain::bit(libc::SIGFPE)
    | chain::bit(libc::SIGTRAP)
    | chain::bit(libc::SIGSYS);

/// Instructions that the handler has carried out, by [`Kind`].
static TRAPPED: [AtomicU64; Kind::COUNT] = [const { AtomicU64::new(0) }; Kind::COUNT];

/// Installs the handler for this process, unless that has been done. Whatever was in force for its signals before is
/// called for every signal that is not for the handler; a handler that is installed later must do the same. A child that
/// is forked off afterwards has the handler too.
///
/// # Errors
///
/// The system refused.
pub fn install() -> io::Result<()> {
    /// 0: nobody has tried. A process: one of its threads is at it. A process, negative: it is done there.
    ///
    /// Not a lock: after a fork while another thread holds it, the child would wait for ever. What a process finds that
    /// an ancestor wrote says little: a fork does not copy handlers and memory at the same instant. So it looks itself.
    static STATE: AtomicI32 = AtomicI32::new(0);
    let process = std::process::id().cast_signed();
    loop {
        let state = STATE.load(Ordering::Acquire);
        if state == -process {
            return Ok(());
        }
        if state == process {
            std::thread::yield_now();
        } else if STATE.compare_exchange(state, process, Ordering::Acquire, Ordering::Relaxed).is_ok() {
            let result = put_before_others();
            STATE.store(if result.is_ok() { -process } else { 0 }, Ordering::Release);
            return result;
        }
    }
}

fn put_before_others() -> io::Result<()> {
    // None is deferred while its own handler runs, nor SIGSEGV and SIGBUS while that of SIGILL does: a copy inside may
    // fault, see `copy`. Signals that no instruction raises wait for the end of SIGILL's: a handler of theirs may leave by
    // `siglongjmp` or `_exit`, in the middle of a submission that others would then wait for.
    // SIGSEGV may mean that the stack is used up, of which Rust's own handler tells the user: it needs the alternate
    // stack. That may have just 8 KiB, too little for the model. SIGILL never means that, so its handler runs on the
    // thread's own stack, and does the work for both.
    let flags = libc::SA_SIGINFO | libc::SA_NODEFER;
    chain::put_before(libc::SIGSEGV, on_signal, flags | libc::SA_ONSTACK, chain::bit(libc::SIGILL))?;
    chain::put_before(libc::SIGBUS, on_signal, flags | libc::SA_ONSTACK, chain::bit(libc::SIGILL))?;
    chain::put_before(libc::SIGILL, on_signal, flags, !SYNCHRONOUS)
}

/// What was in force for a signal before the handler was put in front of it, and is called for what is not the handler's;
/// `None` where it is not in force. With `new`, that takes its place, and the handler stays in front.
///
/// For whoever stands between a program and its C library: a program that installs its own handler later, by
/// `sigaction(2)`, would otherwise put an end to the traps. `new` is used as the kernel would use it.
///
/// # Safety
///
/// `new` is what `sigaction(2)` would take: the default, "ignore", or a handler that fits its flags and stays callable.
pub unsafe fn foreign_action(signal: libc::c_int, new: Option<&libc::sigaction>) -> Option<libc::sigaction> {
    chain::foreign(signal, on_signal, new.copied())
}

/// Makes the handler's own calls of `sigaction(2)` go to `function`: the C library's, in a process where that name belongs
/// to somebody who uses [`foreign_action`].
///
/// # Safety
///
/// `function` does what `sigaction(2)` does, for as long as the process lives.
pub unsafe fn use_sigaction(function: SigactionFunction) {
    chain::use_sigaction(function);
}

/// Copies bytes out of `address`, whatever is there and whoever writes it meanwhile. False if not all of them could be
/// read. The handler must be [installed](install).
pub fn read(address: u64, bytes: &mut [u8]) -> bool {
    copy::read_into(bytes, address).is_ok()
}

/// Whether the byte at `address` can be read now. If it cannot, nothing else happens; a page that is not there is brought
/// in. The handler must be [installed](install).
pub fn is_readable(address: u64) -> bool {
    copy::probe(address).is_ok()
}

/// Whether the byte at `address` can be written now, as [`is_readable`]. A page that is shared until it is written becomes
/// this process's own.
///
/// # Safety
///
/// The byte is written with the value that it has, in one atomic step: nothing in this process may rely on its not being
/// written at all.
pub unsafe fn is_writable(address: u64) -> bool {
    // SAFETY: the caller's promise.
    unsafe { copy::touch(address) }.is_ok()
}

/// How many instructions of this kind the handler has carried out in this process.
pub fn trapped(kind: Kind) -> u64 {
    TRAPPED[kind as usize].load(Ordering::Relaxed)
}

/// What became of a signal.
enum Outcome {
    /// The instruction has been carried out.
    Done,
    /// It was not for us.
    Foreign,
    /// The instruction raises a fault.
    Fault(Failed),
}

impl From<Failed> for Outcome {
    fn from(failed: Failed) -> Self {
        Self::Fault(failed)
    }
}

/// #GP, which comes without an address.
const PROTECTION: Outcome = Outcome::Fault(Failed { address: 0, code: SI_KERNEL, signal: libc::SIGSEGV });

extern "C" fn on_signal(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the location is this thread's.
    let errno = unsafe { *libc::__errno_location() };
    // SAFETY: the kernel gives valid information, or a handler does that was installed after this one. A fault has an
    // address; without one the value is not used.
    let (code, address) = unsafe { ((*info).si_code, (*info).si_addr().addr() as u64) };
    let outcome = {
        // SAFETY: the third argument of this handler, used by nobody else in this block.
        let mut context = unsafe { Context::new(context) };
        if signal != libc::SIGILL && code > 0 && copy::step_over(&mut context, signal, code) {
            Outcome::Done
        } else {
            match signal {
                // Not raised by an instruction but sent.
                _ if code <= 0 => Outcome::Foreign,
                libc::SIGILL => undefined(&mut context),
                libc::SIGSEGV if code == SI_KERNEL || portal::is_portal(address) => inaccessible(&context),
                _ => Outcome::Foreign,
            }
        }
    };
    // SAFETY: as above.
    unsafe { *libc::__errno_location() = errno };
    match outcome {
        Outcome::Done => {}
        // SAFETY: the arguments of this handler.
        Outcome::Foreign => unsafe { chain::hand_on(signal, info, context) },
        // SAFETY: the context of this handler; only `undefined` gives a fault, so the signal is SIGILL.
        Outcome::Fault(fault) => unsafe { chain::fault(fault.signal, fault.code, fault.address, on_signal, context) },
    }
}

/// SIGILL: the CPU does not know the instruction.
fn undefined(context: &mut Context<'_>) -> Outcome {
    let Some(instruction) = fetch(context) else { return Outcome::Foreign };
    let outcome = match (instruction.kind(), instruction.operands(context)) {
        // Privileged.
        (Kind::Enqcmds, _) => PROTECTION,
        (_, Operands::Store { target, .. }) if !target.is_multiple_of(64) => PROTECTION,
        (Kind::Movdir64b, Operands::Store { source, target }) => movdir64b(source, target),
        (Kind::Enqcmd, Operands::Store { source, target }) => enqcmd(context, source, target),
        (Kind::Umonitor, Operands::Monitor { address }) => {
            monitor::arm(address).map_or_else(Into::into, |()| Outcome::Done)
        }
        (_, Operands::Wait { control, .. }) if control & !1 != 0 => PROTECTION,
        (Kind::Umwait, Operands::Wait { deadline, .. }) => {
            context.set_carry_only(monitor::wait(deadline));
            Outcome::Done
        }
        (Kind::Tpause, Operands::Wait { deadline, .. }) => {
            context.set_carry_only(monitor::pause(deadline));
            Outcome::Done
        }
        (_, Operands::MonitorExtended { extensions: 1.., .. } | Operands::WaitExtended { extensions: 4.., .. }) => {
            PROTECTION
        }
        (_, Operands::MonitorExtended { address, .. }) => {
            monitor::arm(address).map_or_else(Into::into, |()| Outcome::Done)
        }
        (_, Operands::WaitExtended { ticks, .. }) => {
            // No flag tells why it ended.
            let _limit = monitor::wait(ticks.map_or(u64::MAX, |ticks| instr::rdtsc().saturating_add(ticks.into())));
            Outcome::Done
        }
        _ => Outcome::Foreign,
    };
    if let Outcome::Done = outcome {
        TRAPPED[instruction.kind() as usize].fetch_add(1, Ordering::Relaxed);
        context.skip(instruction.length());
    }
    outcome
}

/// SIGSEGV: the CPU knows the instruction, and could not access the portal; or it knows ENQCMD, and this process has
/// no PASID. What is for us is left to the handler of SIGILL, which runs next.
fn inaccessible(context: &Context<'_>) -> Outcome {
    let Some(instruction) = fetch(context) else { return Outcome::Foreign };
    let Operands::Store { target, .. } = instruction.operands(context) else { return Outcome::Foreign };
    let known = matches!(instruction.kind(), Kind::Movdir64b | Kind::Enqcmd);
    let ours = known && target.is_multiple_of(64) && portal::is_portal(target);
    // Where SIGILL is blocked it would never come, and the instruction fault for ever.
    let open = context.mask() & chain::bit(libc::SIGILL) == 0;
    if ours && open && chain::undefined_after_return(context.rip()) { Outcome::Done } else { Outcome::Foreign }
}

fn movdir64b(source: u64, target: u64) -> Outcome {
    let line = match copy::read::<64>(source) {
        Ok(line) => line,
        Err(failed) => return failed.into(),
    };
    let submitted = portal::find(target, |client| {
        // SAFETY: whoever executed the instruction on a portal has promised what `Client::movdir64b` asks for.
        unsafe { client.movdir64b(&descriptor(&line)) };
    });
    if submitted.is_some() {
        return Outcome::Done;
    }
    // SAFETY: the interrupted code asked for this very store.
    match unsafe { copy::write(target, &line) } {
        Ok(()) => Outcome::Done,
        Err(failed) => failed.into(),
    }
}

fn enqcmd(context: &mut Context<'_>, source: u64, target: u64) -> Outcome {
    let line = match copy::read::<64>(source) {
        Ok(line) => line,
        Err(failed) => return failed.into(),
    };
    // SAFETY: whoever executed the instruction on a portal has promised what `Client::enqcmd` asks for.
    let answer = portal::find(target, |client| unsafe { client.enqcmd(&descriptor(&line)) });
    let retry = match answer {
        Some(answer) => answer == Enqcmd::Retry,
        None => match copy::probe(target) {
            // Memory takes no commands.
            Ok(()) => true,
            Err(failed) => return failed.into(),
        },
    };
    context.set_zero_only(retry);
    Outcome::Done
}

fn descriptor(line: &[u8; 64]) -> Descriptor {
    Descriptor::read_from_bytes(line).expect("a descriptor has 64 bytes")
}

/// The interrupted instruction, if it is one of ours.
fn fetch(context: &Context<'_>) -> Option<Instruction> {
    let mut bytes = [0; MAX_LENGTH];
    let start = context.rip();
    // Not into the next page if it can be avoided: it may not be there.
    let first = MAX_LENGTH.min(PAGE - start as usize % PAGE);
    copy::read_into(&mut bytes[..first], start).ok()?;
    match decode(&bytes[..first]) {
        Ok(instruction) => Some(instruction),
        Err(DecodeError::Truncated) if first < MAX_LENGTH => {
            copy::read_into(&mut bytes[first..], start.wrapping_add(first as u64)).ok()?;
            decode(&bytes).ok()
        }
        Err(_) => None,
    }
}
