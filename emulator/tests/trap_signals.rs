//! What the trap handler must leave alone: signals that are not its own, previous handlers, fork children; and the
//! faults that the instructions raise.
//!
//! Most of this ends a process. Such a case runs in one of its own: this very program, asked to run [`victim`] only.
#![cfg(all(target_arch = "x86_64", target_os = "linux"))]

use std::arch::asm;
use std::mem::MaybeUninit;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};

use dsa_emulator::trap::decode::Kind;
use dsa_emulator::trap::{Portal, foreign_action, install, trapped};
use dsa_emulator::{Client, Config, Device};
use idxd_sys::{Descriptor, instr, opcode};

/// Names the case for a process that is to run one.
const CASE: &str = "DSA_TRAP_CASE";

/// An address where nothing is mapped.
const NOWHERE: *mut u8 = std::ptr::without_provenance_mut(0x40);

type Case = (&'static str, fn());

/// Cases that a signal ends.
const DEADLY: &[(Case, i32)] = &[
    (("undefined instruction", undefined), libc::SIGILL),
    (("undefined instruction, by default", || by_default(libc::SIGILL, undefined)), libc::SIGILL),
    (("undefined instruction, ignored", || ignoring(libc::SIGILL, undefined)), libc::SIGILL),
    (("null dereference", null_dereference), libc::SIGSEGV),
    (("null dereference, by default", || by_default(libc::SIGSEGV, null_dereference)), libc::SIGSEGV),
    (("null dereference, ignored", || ignoring(libc::SIGSEGV, null_dereference)), libc::SIGSEGV),
    (("jump to nowhere", jump_to_nowhere), libc::SIGSEGV),
    (("SIGILL that is sent", || send(libc::SIGILL)), libc::SIGILL),
    (("SIGSEGV that is sent", || by_default(libc::SIGSEGV, || send(libc::SIGSEGV))), libc::SIGSEGV),
    (("handler that wants to be called once", called_once), libc::SIGILL),
    (("source nowhere", source_nowhere), libc::SIGSEGV),
    (("source nowhere, by default", || by_default(libc::SIGSEGV, source_nowhere)), libc::SIGSEGV),
    (("misaligned portal", misaligned), libc::SIGSEGV),
    (("misaligned portal, by default", || by_default(libc::SIGSEGV, misaligned)), libc::SIGSEGV),
    (("misaligned portal, ignored", || ignoring(libc::SIGSEGV, misaligned)), libc::SIGSEGV),
    (("misaligned portal, blocked", || blocking(libc::SIGSEGV, misaligned)), libc::SIGSEGV),
    (("misaligned store", misaligned_store), libc::SIGSEGV),
    (("store to nowhere", store_to_nowhere), libc::SIGSEGV),
    (("store to what may not be written", store_to_constant), libc::SIGSEGV),
    (("ENQCMD to nowhere", enqcmd_to_nowhere), libc::SIGSEGV),
    (("source beyond the end of its file", source_beyond_its_file), libc::SIGBUS),
    (
        ("source beyond the end of its file, by default", || by_default(libc::SIGBUS, source_beyond_its_file)),
        libc::SIGBUS,
    ),
    (("ENQCMDS", privileged), libc::SIGSEGV),
    (("UMWAIT with reserved bits", reserved_bits), libc::SIGSEGV),
    (("UMONITOR of nothing", monitor_nowhere), libc::SIGSEGV),
    (("MONITORX with extensions", extensions), libc::SIGSEGV),
    (("portal that was dropped", dropped_portal), libc::SIGSEGV),
    (("portal that has left its page", page_left_behind), libc::SIGSEGV),
    (("stack overflow", stack_overflow), libc::SIGABRT),
];

/// Cases that end by themselves.
const HARMLESS: &[Case] = &[
    ("SIGSEGV that is sent and ignored", || ignoring(libc::SIGSEGV, || send(libc::SIGSEGV))),
    ("previous handler", previous_handler),
    ("previous handler with one argument", previous_plain_handler),
    ("previous handler's mask", previous_mask),
    ("previous handler's mask at a fault of the instruction", mask_at_a_fault),
    ("signal that comes with the trap", other_signals_wait),
    ("fault told to a previous handler", told_of_faults),
    ("handler that comes later and is told", later_handler),
    ("fork", fork),
    ("limit of portals", limit_of_portals),
    ("pages that portals leave", pages_left_behind),
];

#[test]
#[ignore = "the other tests run it in a process of its own"]
fn victim() {
    let Ok(name) = std::env::var(CASE) else { return };
    let mut all = DEADLY.iter().map(|(case, _)| case).chain(HARMLESS);
    let (_, case) = all.find(|(known, _)| *known == name).expect("a known case");
    case();
    std::process::exit(0);
}

fn run(case: &str) -> Output {
    Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "victim", "--nocapture"])
        .env(CASE, case)
        // Under AddressSanitizer, whose handlers would end the process in their own way.
        .env("ASAN_OPTIONS", "detect_leaks=0:handle_segv=0:handle_sigbus=0:handle_sigill=0:handle_abort=0")
        .output()
        .unwrap()
}

#[test]
fn faults_and_foreign_signals_kill_as_before() {
    for ((case, _), signal) in DEADLY {
        let output = run(case);
        assert_eq!(output.status.signal(), Some(*signal), "{case}: {output:?}");
        let told = String::from_utf8_lossy(&output.stderr).contains("overflowed its stack");
        assert_eq!(told, *signal == libc::SIGABRT, "{case}: {output:?}");
    }
}

#[test]
fn previous_handlers_and_children_live_as_before() {
    for (case, _) in HARMLESS {
        let output = run(case);
        assert_eq!(output.status.code(), Some(0), "{case}: {output:?}");
    }
}

// What the cases consist of.

fn new_portal() -> (Portal, Arc<Client>) {
    let device = Device::new(Config::sapphire_rapids()).unwrap();
    let client = Arc::new(device.open(0).unwrap());
    (Portal::new(Arc::clone(&client)).unwrap(), client)
}

/// A descriptor that does nothing.
fn noop() -> *const Descriptor {
    static NOOP: LazyLock<Descriptor> = LazyLock::new(|| {
        let mut descriptor = Descriptor::default();
        descriptor.set_opcode_flags(opcode::NOP, 0);
        descriptor
    });
    &raw const *NOOP
}

/// Sets a disposition, and puts the trap handler before it.
fn install_before(signal: i32, handler: usize, flags: i32, blocked: Option<i32>) {
    // SAFETY: all zero is a valid value; the handlers below have the number of arguments that their flags say.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler;
        action.sa_flags = flags;
        if let Some(blocked) = blocked {
            libc::sigaddset(&raw mut action.sa_mask, blocked);
        }
        assert_eq!(libc::sigaction(signal, &raw const action, null_mut()), 0);
    }
    install().unwrap();
}

fn by_default(signal: i32, case: fn()) {
    install_before(signal, libc::SIG_DFL, 0, None);
    case();
}

fn ignoring(signal: i32, case: fn()) {
    install_before(signal, libc::SIG_IGN, 0, None);
    case();
}

fn blocking(signal: i32, case: fn()) {
    install_before(signal, exit_with_ten as *const () as usize, 0, None);
    let mut set = MaybeUninit::uninit();
    // SAFETY: the set is our own and filled before it is used.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        libc::sigaddset(set.as_mut_ptr(), signal);
        libc::pthread_sigmask(libc::SIG_BLOCK, set.as_ptr(), null_mut());
    }
    case();
}

extern "C" fn exit_with_ten(_: i32) {
    // SAFETY: ends the process, whatever its state.
    unsafe { libc::_exit(10) }
}

fn send(signal: i32) {
    install().unwrap();
    // SAFETY: a signal to this thread.
    unsafe { libc::raise(signal) };
}

fn undefined() {
    install().unwrap();
    // SAFETY: raises SIGILL, which ends the process, or a handler of which steps over the two bytes.
    unsafe { asm!("ud2") }
}

fn null_dereference() {
    install().unwrap();
    // SAFETY: raises SIGSEGV, which is what is wanted.
    unsafe { asm!("mov al, [{0}]", in(reg) NOWHERE, out("al") _) }
}

fn jump_to_nowhere() {
    install().unwrap();
    // SAFETY: raises SIGSEGV.
    unsafe { asm!("call {0}", in(reg) NOWHERE, clobber_abi("C")) }
}

fn stack_overflow() {
    fn deeper(depth: u64) -> u64 {
        let local = std::hint::black_box([depth; 64]);
        if depth == u64::MAX { 0 } else { deeper(depth + 1) + local[3] }
    }
    install().unwrap();
    std::hint::black_box(deeper(0));
}

/// Executes an instruction with the operands R8 and `[R9]` as a CPU does that lacks it: a SIGILL comes before it. It is
/// sent to the thread with what the kernel would say, and arrives between a system call and the instruction behind it.
/// So it is the handler that carries the instruction out, also on a CPU that has it.
macro_rules! trap {
    ($instruction:literal, $target:expr, $source:expr) => {{
        #[repr(C)]
        struct Information {
            signal: i32,
            errno: i32,
            code: i64,
            rest: [u64; 14],
        }
        const ILL_ILLOPN: i64 = 2;
        let information = Information { signal: libc::SIGILL, errno: 0, code: ILL_ILLOPN, rest: [0; 14] };
        // SAFETY: the call sends this thread a signal. The cases want a fault of the instruction, or have operands for
        // it that live long enough.
        unsafe {
            asm!(
                "syscall",
                $instruction,
                in("rax") libc::SYS_rt_tgsigqueueinfo,
                in("rdi") i64::from(libc::getpid()),
                in("rsi") i64::from(libc::gettid()),
                in("rdx") i64::from(libc::SIGILL),
                in("r10") &raw const information,
                in("r8") $target,
                in("r9") $source,
                lateout("rax") _,
                lateout("rcx") _,
                lateout("r11") _,
            );
        }
    }};
}

/// Puts `descriptor` on `target`.
fn submit(target: *mut u8, descriptor: *const u8) {
    trap!("enqcmd r8, [r9]", target, descriptor);
}

/// Stores the 64 bytes at `source` to `target`.
fn store(target: *mut u8, source: *const u8) {
    trap!("movdir64b r8, [r9]", target, source);
}

fn source_nowhere() {
    let (portal, _client) = new_portal();
    submit(portal.as_ptr(), NOWHERE);
}

/// A page that is mapped and has no file behind it any more: an access raises SIGBUS.
fn beyond_its_file() -> *mut u8 {
    // SAFETY: the name is a C string; the file is our own, and the mapping is fresh.
    unsafe {
        let file = libc::memfd_create(c"nothing".as_ptr(), 0);
        let at = libc::mmap(null_mut(), 4096, libc::PROT_READ, libc::MAP_SHARED, file, 0);
        assert_ne!(at, libc::MAP_FAILED);
        at.cast()
    }
}

fn source_beyond_its_file() {
    let (portal, _client) = new_portal();
    submit(portal.as_ptr(), beyond_its_file());
}

fn misaligned() {
    let (portal, _client) = new_portal();
    submit(portal.as_ptr().wrapping_add(8), noop().cast());
}

/// Two lines, aligned.
#[repr(C, align(64))]
struct Lines([u8; 128]);

fn misaligned_store() {
    install().unwrap();
    let mut target = Lines([0; 128]);
    store(target.0[32..].as_mut_ptr(), noop().cast());
}

fn store_to_nowhere() {
    install().unwrap();
    store(NOWHERE, noop().cast());
}

fn store_to_constant() {
    static CONSTANT: Lines = Lines([1; 128]);
    install().unwrap();
    store((&raw const CONSTANT).cast_mut().cast(), noop().cast());
}

fn enqcmd_to_nowhere() {
    install().unwrap();
    submit(NOWHERE, noop().cast());
}

fn privileged() {
    let (portal, _client) = new_portal();
    trap!("enqcmds r8, [r9]", portal.as_ptr(), noop());
}

fn reserved_bits() {
    install().unwrap();
    // SAFETY: faults.
    unsafe { instr::umwait(2, 0) };
}

fn monitor_nowhere() {
    install().unwrap();
    // SAFETY: faults.
    unsafe { instr::umonitor(NOWHERE) };
}

fn extensions() {
    install().unwrap();
    // SAFETY: faults.
    unsafe { asm!("monitorx", in("rax") &raw const CALLS, in("ecx") 1, in("edx") 0) };
}

/// Another thread may map memory of its own where the page was; then there is nothing to be seen, and another portal is
/// tried.
fn dropped_portal() {
    for _ in 0..100 {
        let (portal, _client) = new_portal();
        let address = portal.as_ptr();
        submit(address, noop().cast());
        drop(portal);
        let (access, kind) = (libc::PROT_NONE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE);
        // SAFETY: by its kind a new mapping that replaces none.
        let held = unsafe { libc::mmap(address.cast(), 4096, access, kind, -1, 0) };
        if held == address.cast() {
            submit(address, noop().cast());
        }
    }
}

fn page_left_behind() {
    let (portal, _client) = new_portal();
    submit(portal.into_page(), noop().cast());
}

/// What a previous handler was told: signal, code, address.
static TOLD: (AtomicI32, AtomicI32, AtomicU64) = (AtomicI32::new(0), AtomicI32::new(0), AtomicU64::new(0));
static CALLS: AtomicI32 = AtomicI32::new(0);
/// By how much the handler below moves RIP.
static STEP: AtomicI32 = AtomicI32::new(2);

extern "C" fn note_and_step(signal: i32, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    CALLS.fetch_add(1, Ordering::Relaxed);
    TOLD.0.store(signal, Ordering::Relaxed);
    // SAFETY: the arguments of a handler that was installed with SA_SIGINFO.
    unsafe {
        TOLD.1.store((*info).si_code, Ordering::Relaxed);
        TOLD.2.store((*info).si_addr().addr() as u64, Ordering::Relaxed);
        let registers = &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs;
        registers[libc::REG_RIP as usize] += i64::from(STEP.load(Ordering::Relaxed));
    }
}

fn note() -> usize {
    note_and_step as *const () as usize
}

fn told() -> (i32, i32, u64) {
    (TOLD.0.load(Ordering::Relaxed), TOLD.1.load(Ordering::Relaxed), TOLD.2.load(Ordering::Relaxed))
}

fn previous_handler() {
    const ILL_ILLOPN: i32 = 2;
    install_before(libc::SIGILL, note(), libc::SA_SIGINFO, None);
    let place: u64;
    // SAFETY: the handler steps over the two bytes.
    unsafe { asm!("lea {0}, [rip + 2f]", "2:", "ud2", out(reg) place) };
    assert_eq!(told(), (libc::SIGILL, ILL_ILLOPN, place));
    undefined();
    assert_eq!(CALLS.load(Ordering::Relaxed), 2, "and it stays installed");
}

fn previous_plain_handler() {
    extern "C" fn plain(signal: i32) {
        TOLD.0.store(signal, Ordering::Relaxed);
    }
    install_before(libc::SIGSEGV, plain as *const () as usize, 0, None);
    send(libc::SIGSEGV);
    assert_eq!(told().0, libc::SIGSEGV);
}

/// The signals that are blocked now.
fn mask() -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: the call changes nothing and fills the set.
    unsafe {
        libc::pthread_sigmask(libc::SIG_BLOCK, std::ptr::null(), set.as_mut_ptr());
        set.assume_init()
    }
}

fn is_blocked(signal: i32) -> i32 {
    let mask = mask();
    // SAFETY: a set of our own.
    unsafe { libc::sigismember(&raw const mask, signal) }
}

fn previous_mask() {
    extern "C" fn look(signal: i32) {
        TOLD.0.store(is_blocked(signal), Ordering::Relaxed);
        TOLD.1.store(is_blocked(libc::SIGUSR1), Ordering::Relaxed);
        TOLD.2.store(u64::from(is_blocked(libc::SIGUSR2) != 0), Ordering::Relaxed);
    }
    install_before(libc::SIGILL, look as *const () as usize, 0, Some(libc::SIGUSR1));
    send(libc::SIGILL);
    assert_eq!(told(), (1, 1, 0));
    assert_eq!((is_blocked(libc::SIGILL), is_blocked(libc::SIGUSR1)), (0, 0), "and it ends with the handler");
}

/// The handler of SIGILL has nearly everything blocked when it raises the fault.
fn mask_at_a_fault() {
    extern "C" fn look(signal: i32, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
        note_and_step(signal, info, context);
        let blocked = [libc::SIGSEGV, libc::SIGUSR1, libc::SIGILL, libc::SIGUSR2, libc::SIGTERM].map(is_blocked);
        assert_eq!(blocked, [1, 1, 0, 0, 0]);
    }
    install_before(libc::SIGSEGV, look as *const () as usize, libc::SA_SIGINFO, Some(libc::SIGUSR1));
    let (portal, _client) = new_portal();
    // 66 45 0F 38 F8 01: the previous handler steps over the store.
    STEP.store(6, Ordering::Relaxed);
    store(portal.as_ptr(), NOWHERE);
    assert_eq!(CALLS.load(Ordering::Relaxed), 1);
    assert_eq!([libc::SIGSEGV, libc::SIGUSR1, libc::SIGTERM].map(is_blocked), [0; 3], "and it ends with the handler");
}

/// Two signals are pending when both are unblocked: the kernel begins with the one that an instruction raises, and would
/// put the other's handler before the first instruction of ours, unless ours defers it.
fn other_signals_wait() {
    static CARRIED_OUT: AtomicU64 = AtomicU64::new(u64::MAX);
    extern "C" fn look(_: i32) {
        CARRIED_OUT.store(trapped(Kind::Enqcmd), Ordering::Relaxed);
    }
    const ILL_ILLOPN: i64 = 2;
    let (portal, client) = new_portal();
    install_before(libc::SIGUSR1, look as *const () as usize, 0, None);
    let both = 1u64 << (libc::SIGILL - 1) | 1 << (libc::SIGUSR1 - 1);
    // What the kernel would say of an instruction that it does not know.
    let mut information = [0u64; 16];
    information[0] = libc::SIGILL as u64;
    information[1] = ILL_ILLOPN as u64;
    // SAFETY: masks and information are our own; both signals have handlers. The descriptor needs nothing to live.
    unsafe {
        let (process, thread) = (libc::getpid(), libc::gettid());
        assert_eq!(libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_BLOCK, &raw const both, 0, 8), 0);
        assert_eq!(libc::raise(libc::SIGUSR1), 0);
        let queued = libc::syscall(libc::SYS_rt_tgsigqueueinfo, process, thread, libc::SIGILL, &raw const information);
        assert_eq!(queued, 0);
        asm!(
            "syscall",
            "enqcmd r8, [r9]",
            in("rax") libc::SYS_rt_sigprocmask,
            in("rdi") i64::from(libc::SIG_UNBLOCK),
            in("rsi") &raw const both,
            in("rdx") 0,
            in("r10") 8,
            in("r8") portal.as_ptr(),
            in("r9") noop(),
            lateout("rax") _,
            lateout("rcx") _,
            lateout("r11") _,
        );
    }
    assert_eq!(CARRIED_OUT.load(Ordering::Relaxed), 1, "behind the instruction");
    client.quiesce();
}

fn called_once() {
    install_before(libc::SIGILL, note(), libc::SA_SIGINFO | libc::SA_RESETHAND, None);
    undefined();
    assert_eq!(CALLS.load(Ordering::Relaxed), 1);
    undefined();
}

fn told_of_faults() {
    const SEGV_MAPERR: i32 = 1;
    const SEGV_ACCERR: i32 = 2;
    const SI_KERNEL: i32 = 0x80;
    install_before(libc::SIGSEGV, note(), libc::SA_SIGINFO, None);
    let (portal, _client) = new_portal();
    // 66 45 0F 38 F8 01: the previous handler steps over the store.
    STEP.store(6, Ordering::Relaxed);
    store(portal.as_ptr(), NOWHERE);
    assert_eq!(told(), (libc::SIGSEGV, SEGV_MAPERR, NOWHERE.addr() as u64));
    store(portal.as_ptr().wrapping_add(1), NOWHERE);
    assert_eq!(told(), (libc::SIGSEGV, SI_KERNEL, 0));
    // A source of which the first half is there.
    // SAFETY: a fresh mapping of two pages, of which the second becomes inaccessible.
    let edge = unsafe {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let pages = libc::mmap(null_mut(), 8192, protection, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0);
        let edge = pages.byte_add(4096);
        assert_eq!(libc::mprotect(edge, 4096, libc::PROT_NONE), 0);
        edge.cast::<u8>()
    };
    store(portal.as_ptr(), edge.wrapping_sub(32));
    assert_eq!(told(), (libc::SIGSEGV, SEGV_ACCERR, edge.addr() as u64));
    assert_eq!(CALLS.load(Ordering::Relaxed), 3);
}

/// A program that installs its handler behind the portal, and a library in between that knows of the traps.
fn later_handler() {
    const BUS_ADRERR: i32 = 2;
    // SAFETY: all zero is a valid value: the default.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: without a new one, nothing is asked of it.
    assert!(unsafe { foreign_action(libc::SIGILL, None) }.is_none(), "not installed");
    let (portal, client) = new_portal();
    action.sa_sigaction = note();
    action.sa_flags = libc::SA_SIGINFO;
    for signal in [libc::SIGSEGV, libc::SIGBUS] {
        // SAFETY: the handler has the number of arguments that its flags say.
        assert!(unsafe { foreign_action(signal, Some(&action)) }.is_some());
        // SAFETY: as above.
        assert_eq!(unsafe { foreign_action(signal, None) }.unwrap().sa_sigaction, note());
    }
    // SAFETY: as above.
    assert!(unsafe { foreign_action(libc::SIGTERM, Some(&action)) }.is_none(), "not the handler's");
    // 66 45 0F 38 F8 01: its faults go to the program, which steps over it ...
    STEP.store(6, Ordering::Relaxed);
    store(portal.as_ptr(), NOWHERE);
    assert_eq!(told().0, libc::SIGSEGV);
    let nothing = beyond_its_file();
    store(portal.as_ptr(), nothing);
    assert_eq!(told(), (libc::SIGBUS, BUS_ADRERR, nothing.addr() as u64));
    // ... and the instruction works as before.
    submit(portal.as_ptr(), noop().cast());
    client.quiesce();
    assert_eq!(CALLS.load(Ordering::Relaxed), 2);
}

/// Runs `f` in a child and gives the signal that ended it, 0 if none did.
fn in_child(f: fn()) -> i32 {
    // SAFETY: the process has one thread besides the engines, which is this one; the child runs `f` and ends.
    unsafe {
        let child = libc::fork();
        if child == 0 {
            // Not for ever.
            libc::alarm(20);
            f();
            libc::_exit(0);
        }
        let mut state = 0;
        assert_eq!(libc::waitpid(child, &raw mut state, 0), child);
        if libc::WIFSIGNALED(state) { libc::WTERMSIG(state) } else { -libc::WEXITSTATUS(state) }
    }
}

fn fork() {
    static PORTAL: std::sync::OnceLock<Portal> = std::sync::OnceLock::new();
    let (portal, client) = new_portal();
    let portal = PORTAL.get_or_init(|| portal);
    assert_eq!(in_child(undefined), libc::SIGILL);
    assert_eq!(in_child(null_dereference), libc::SIGSEGV);
    // Portals are not inherited, and nothing hangs on them.
    let submitting = || submit(PORTAL.get().unwrap().as_ptr(), noop().cast());
    assert_eq!(in_child(submitting), libc::SIGSEGV);
    let own = || {
        let (portal, client) = new_portal();
        submit(portal.as_ptr(), noop().cast());
        assert!(client.drain());
    };
    assert_eq!(in_child(own), 0);
    // The parent's portal is as it was.
    submit(portal.as_ptr(), noop().cast());
    assert!(client.drain());
    assert_eq!(client.outstanding(), 0);
}

fn limit_of_portals() {
    let device = Device::new(Config::sapphire_rapids()).unwrap();
    let client = Arc::new(device.open(0).unwrap());
    let portals: Vec<_> = (0..64).map(|_| Portal::new(Arc::clone(&client)).unwrap()).collect();
    let error = Portal::new(Arc::clone(&client)).unwrap_err();
    assert!(error.to_string().contains("64 portals"), "{error}");
    drop(portals);
    assert!(Portal::new(client).is_ok(), "places come back");
}

/// Of a portal that leaves its page, the place comes back and the page stays, and is the caller's to unmap.
fn pages_left_behind() {
    let device = Device::new(Config::sapphire_rapids()).unwrap();
    let client = Arc::new(device.open(0).unwrap());
    // Whether a mapping of this thread's choice finds room there. It stays.
    let is_free = |page: *mut u8| {
        let kind = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE;
        // SAFETY: by its kind a new mapping that replaces none.
        unsafe { libc::mmap(page.cast(), 4096, libc::PROT_NONE, kind, -1, 0) == page.cast() }
    };
    let mut freed = 0;
    for round in 0..100 {
        let page = Portal::new(Arc::clone(&client)).unwrap().into_page();
        assert!(!is_free(page), "{round}");
        // SAFETY: the page is the caller's.
        assert_eq!(unsafe { libc::munmap(page.cast(), 4096) }, 0);
        freed += i32::from(is_free(page));
    }
    // Another thread may have mapped memory of its own there, now and then.
    assert_ne!(freed, 0);
}
