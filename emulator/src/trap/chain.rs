//! Signals that are not for the handler: they go where they went before it was installed. And signals that the handler
//! raises itself.

use std::io;
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicPtr, Ordering};

use super::SigactionFunction;
use super::context::Context;

/// A handler with three arguments.
pub(super) type Handler = extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void);

/// What was in force for one signal before; null until our handler is about to be installed. Entries are leaked, so that
/// a handler can use one without a lock.
static SIGILL: AtomicPtr<libc::sigaction> = AtomicPtr::new(std::ptr::null_mut());
static SIGSEGV: AtomicPtr<libc::sigaction> = AtomicPtr::new(std::ptr::null_mut());
static SIGBUS: AtomicPtr<libc::sigaction> = AtomicPtr::new(std::ptr::null_mut());

/// What the calls below go to; null for the C library's.
static SIGACTION: AtomicPtr<()> = AtomicPtr::new(std::ptr::null_mut());

/// The default action, and none. Never written to.
// SAFETY: all bits zero is a valid value.
static DEFAULT: libc::sigaction = unsafe { std::mem::zeroed() };
static IGNORE: libc::sigaction = libc::sigaction { sa_sigaction: libc::SIG_IGN, ..DEFAULT };

fn previous(signal: libc::c_int) -> &'static AtomicPtr<libc::sigaction> {
    match signal {
        libc::SIGILL => &SIGILL,
        libc::SIGBUS => &SIGBUS,
        _ => &SIGSEGV,
    }
}

pub(super) fn use_sigaction(function: SigactionFunction) {
    SIGACTION.store(function as *mut (), Ordering::Release);
}

/// As `sigaction(2)`.
///
/// # Safety
///
/// `new` is null or valid, `old` null or valid for writes.
unsafe fn sigaction(signal: libc::c_int, new: *const libc::sigaction, old: *mut libc::sigaction) -> libc::c_int {
    let function = SIGACTION.load(Ordering::Acquire);
    if function.is_null() {
        // SAFETY: the caller's promise.
        return unsafe { libc::sigaction(signal, new, old) };
    }
    // SAFETY: only `use_sigaction` stores here.
    let function = unsafe { std::mem::transmute::<*mut (), SigactionFunction>(function) };
    // SAFETY: the caller's promise.
    unsafe { function(signal, new, old) }
}

/// See [`foreign_action`](super::foreign_action); `ours` is the handler.
pub(super) fn foreign(signal: libc::c_int, ours: Handler, new: Option<libc::sigaction>) -> Option<libc::sigaction> {
    if !matches!(signal, libc::SIGILL | libc::SIGSEGV | libc::SIGBUS) {
        return None;
    }
    let in_force = query(signal).ok()?;
    if !is(&in_force, ours) {
        return None;
    }
    // SAFETY: entries are never freed or changed.
    let before = unsafe { previous(signal).load(Ordering::Acquire).as_ref() }.copied();
    if let Some(new) = new {
        remember(signal, new);
    }
    Some(before.unwrap_or(DEFAULT))
}

/// Puts `handler` in front of what is in force for `signal`, SIGILL, SIGSEGV or SIGBUS, unless it is there already, on its own or
/// behind a handler that was installed later. The signals in `deferred` (see [`bit`]) wait while it runs. Not to be
/// called by two threads at a time.
pub(super) fn put_before(signal: libc::c_int, handler: Handler, flags: libc::c_int, deferred: u64) -> io::Result<()> {
    // Remembered before the handler can run, so that it never finds nothing.
    let before = query(signal)?;
    // SAFETY: entries are never freed or changed.
    let known = unsafe { previous(signal).load(Ordering::Acquire).as_ref() };
    // A parent may have been at it when this process was forked off: with what it remembered in force, it had not
    // finished. Anything else was installed by it, or later.
    if is(&before, handler) || known.is_some_and(|known| known.sa_sigaction != before.sa_sigaction) {
        return Ok(());
    }
    remember(signal, before);
    // SAFETY: all bits zero is a valid value.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler as *const () as usize;
    action.sa_mask = set_of(deferred);
    // Interrupted system calls go on as before.
    action.sa_flags = flags | before.sa_flags & libc::SA_RESTART;
    let mut replaced = MaybeUninit::uninit();
    // SAFETY: both pointers are to structures of our own; the handler is one for three arguments, as the flags say.
    if unsafe { sigaction(signal, &raw const action, replaced.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call succeeded and has filled it.
    let replaced = unsafe { replaced.assume_init() };
    if replaced.sa_sigaction != before.sa_sigaction {
        // Somebody changed it in between.
        remember(signal, replaced);
    }
    Ok(())
}

/// Hands on a signal that was meant for somebody else.
///
/// # Safety
///
/// The arguments are those of the running handler.
pub(super) unsafe fn hand_on(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let place = previous(signal);
    // SAFETY: entries are never freed or changed.
    let action = unsafe { place.load(Ordering::Acquire).as_ref() };
    // SAFETY: the kernel's information about the signal. A code above 0 means that an instruction raised it.
    let raised = unsafe { (*info).si_code } > 0;
    if action.is_some_and(|action| action.sa_flags & libc::SA_RESETHAND != 0) {
        place.store((&raw const DEFAULT).cast_mut(), Ordering::Release);
    }
    // SAFETY: the caller's promise. If an instruction raised it, that will do so again.
    unsafe { act(action, signal, info, context, raised) };
}

/// Raises SIGSEGV or SIGBUS in the interrupted code, as its instruction would have.
///
/// # Safety
///
/// `context` is that of the running handler, whose signal is SIGILL. `ours` is the handler that was installed.
pub(super) unsafe fn fault(
    signal: libc::c_int,
    code: libc::c_int,
    address: u64,
    ours: Handler,
    context: *mut libc::c_void,
) {
    // What is in force now: a handler that had enough may have gone back to the default, without telling us.
    let action = match query(signal) {
        Ok(now) if !is(&now, ours) => Some(now),
        // SAFETY: entries are never freed or changed.
        _ => unsafe { previous(signal).load(Ordering::Acquire).as_ref() }.copied(),
    };
    let mut info = information(signal, code, address);
    // SAFETY: the information is complete, the context the caller's. The instruction would raise SIGILL.
    unsafe { act(action.as_ref(), signal, &raw mut info, context, false) }
}

/// Makes this thread raise SIGILL as soon as the running handler, which defers it, has returned: before the interrupted
/// instruction is executed again, and with the interrupted code's stack. Returns whether that was possible.
pub(super) fn undefined_after_return(address: u64) -> bool {
    const ILL_ILLOPN: libc::c_int = 2;
    let mut info = information(libc::SIGILL, ILL_ILLOPN, address);
    // SAFETY: the information is complete.
    unsafe { queue(libc::SIGILL, &raw mut info) }
}

/// One signal as a bit of a mask.
pub(super) const fn bit(signal: libc::c_int) -> u64 {
    1 << (signal - 1)
}

/// Does what the kernel would do with a signal under `action`. `again`: if the interrupted instruction is executed once
/// more, it raises the same signal.
///
/// # Safety
///
/// `info` is complete, `context` that of the running handler, and `action` was in force once.
unsafe fn act(
    action: Option<&libc::sigaction>,
    signal: libc::c_int,
    info: *mut libc::siginfo_t,
    context: *mut libc::c_void,
    again: bool,
) {
    // SAFETY: as promised by the caller.
    let (raised, mask) = unsafe { ((*info).si_code > 0, Context::new(context).mask()) };
    // What an instruction raises can be neither ignored nor blocked: it kills.
    let blocked = raised && mask & bit(signal) != 0;
    match action {
        Some(action) if action.sa_sigaction == libc::SIG_IGN && !raised => {}
        Some(action) if !matches!(action.sa_sigaction, libc::SIG_DFL | libc::SIG_IGN) && !blocked => {
            // SAFETY: the C library's set starts with the kernel's 64 bits.
            let wanted = unsafe { (&raw const action.sa_mask).cast::<u64>().read() };
            let own = if action.sa_flags & libc::SA_NODEFER == 0 { bit(signal) } else { 0 };
            let mask = set_of(mask | wanted | own);
            let mut ours = MaybeUninit::uninit();
            // SAFETY: the first set is valid, the second is filled by the call.
            unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const mask, ours.as_mut_ptr()) };
            if action.sa_flags & libc::SA_SIGINFO != 0 {
                // SAFETY: whoever installed the address with this flag promised a handler with three arguments.
                let handler: Handler = unsafe { std::mem::transmute(action.sa_sigaction) };
                handler(signal, info, context);
            } else {
                // SAFETY: without the flag, one argument was promised.
                let handler: extern "C" fn(libc::c_int) = unsafe { std::mem::transmute(action.sa_sigaction) };
                handler(signal);
            }
            // SAFETY: the call above has filled the set.
            unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, ours.as_ptr(), std::ptr::null_mut()) };
        }
        // SAFETY: the information is complete.
        _ => unsafe { die(signal, info, again) },
    }
}

/// Lets the signal end the process: at once, or when the interrupted instruction raises it `again`.
///
/// # Safety
///
/// `info` is complete.
unsafe fn die(signal: libc::c_int, info: *mut libc::siginfo_t, again: bool) {
    // SAFETY: all bits zero is the default action with an empty mask; the structures and sets are our own.
    unsafe {
        let action: libc::sigaction = std::mem::zeroed();
        sigaction(signal, &raw const action, std::ptr::null_mut());
        if again {
            return;
        }
        let only = set_of(bit(signal));
        libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const only, std::ptr::null_mut());
        queue(signal, info);
        // Only the first process of a PID namespace gets here: no signal of its own ends it.
        libc::_exit(128 + signal);
    }
}

/// Sends this thread a signal.
///
/// # Safety
///
/// `info` is complete.
unsafe fn queue(signal: libc::c_int, info: *mut libc::siginfo_t) -> bool {
    // SAFETY: the call reads the information. A thread may send itself whatever it likes.
    unsafe { libc::syscall(libc::SYS_rt_tgsigqueueinfo, libc::getpid(), libc::gettid(), signal, info) == 0 }
}

/// What a signal tells of an instruction that raised it.
fn information(signal: libc::c_int, code: libc::c_int, address: u64) -> libc::siginfo_t {
    /// How such a `siginfo_t` starts.
    #[repr(C)]
    struct Start {
        signal: libc::c_int,
        errno: libc::c_int,
        code: libc::c_int,
        padding: libc::c_int,
        address: u64,
    }
    const _: () = assert!(size_of::<Start>() <= size_of::<libc::siginfo_t>());
    const _: () = assert!(align_of::<Start>() <= align_of::<libc::siginfo_t>());

    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    // SAFETY: large enough and aligned, as asserted; all zero is a value of the rest.
    unsafe {
        info.as_mut_ptr().cast::<Start>().write(Start { signal, errno: 0, code, padding: 0, address });
        info.assume_init()
    }
}

fn is(action: &libc::sigaction, handler: Handler) -> bool {
    action.sa_sigaction == handler as *const () as usize
}

/// What is in force for `signal`.
fn query(signal: libc::c_int) -> io::Result<libc::sigaction> {
    let mut action = MaybeUninit::uninit();
    // SAFETY: the call changes nothing, and fills the structure if it succeeds.
    unsafe {
        if sigaction(signal, std::ptr::null(), action.as_mut_ptr()) != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(action.assume_init())
    }
}

fn remember(signal: libc::c_int, action: libc::sigaction) {
    // A few times for each signal in the life of a process, and as often as a program changes its mind. But a handler
    // that has had enough may go back to the default, wherever it interrupted the allocator.
    let entry = match action.sa_sigaction {
        libc::SIG_DFL => (&raw const DEFAULT).cast_mut(),
        libc::SIG_IGN => (&raw const IGNORE).cast_mut(),
        _ => Box::into_raw(Box::new(action)),
    };
    // Release: a handler that finds it sees all of it.
    previous(signal).store(entry, Ordering::Release);
}

/// The C library's form of a mask.
fn set_of(mask: u64) -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: the call makes it a valid set, which starts with the kernel's 64 bits.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        set.as_mut_ptr().cast::<u64>().write(mask);
        set.assume_init()
    }
}
