//! Real MOVDIR64B, ENQCMD, UMONITOR, UMWAIT and TPAUSE, carried out by the handler of the signals that they raise.
//!
//! A CPU that has an instruction executes it itself where that is possible; the tests hold there too.
#![cfg(all(target_arch = "x86_64", target_os = "linux"))]

use std::arch::asm;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dsa_emulator::trap::decode::Kind;
use dsa_emulator::trap::{Portal, install, trapped};
use dsa_emulator::{Client, Config, Device, Effect, Enqcmd, FaultRule, Mode, WqConfig};
use idxd_sys::{CompletionRecord, CpuFeatures, Descriptor, flag, instr, opcode, status};
use zerocopy::IntoBytes;

const CR: u32 = flag::CRAV | flag::RCR;

/// A portal of queue `queue`, and the client behind it.
fn portal(device: &Device, queue: usize) -> (Portal, Arc<Client>) {
    let client = Arc::new(device.open(queue).unwrap());
    (Portal::new(Arc::clone(&client)).unwrap(), client)
}

/// A copy that is waiting to be submitted.
struct Copy {
    source: Vec<u8>,
    target: Vec<u8>,
    record: Box<CompletionRecord>,
}

impl Copy {
    fn new(seed: usize) -> Self {
        let source: Vec<_> = (0..100 + seed % 50).map(|i| (i * 7 + seed * 13) as u8).collect();
        Self { target: vec![0; source.len()], source, record: Box::default() }
    }

    fn descriptor(&mut self) -> Descriptor {
        let mut descriptor = Descriptor {
            completion_addr: (&raw mut *self.record).expose_provenance() as u64,
            src_addr: self.source.as_ptr().expose_provenance() as u64,
            dst_addr: self.target.as_mut_ptr().expose_provenance() as u64,
            xfer_size: self.source.len() as u32,
            ..Descriptor::default()
        };
        descriptor.set_opcode_flags(opcode::MEMMOVE, CR);
        descriptor
    }

    #[track_caller]
    fn check(&self) {
        assert_eq!(self.record.status, status::SUCCESS);
        assert_eq!(self.target, self.source);
    }
}

/// The arithmetic flags after an instruction that runs with all of them set, in the order of RFLAGS.
macro_rules! flags_after {
    ($text:literal, $($operands:tt)*) => {{
        let flags: u64;
        // SAFETY: the caller's instruction; the flags go through the stack, below which nothing is kept.
        unsafe {
            asm!(
                "pushfq",
                "or qword ptr [rsp], 0x8d5",
                "popfq",
                $text,
                "pushfq",
                "pop {flags}",
                flags = lateout(reg) flags,
                $($operands)*
            );
        }
        flags & 0x8d5
    }};
}

const CARRY: u64 = 1;
const ZERO: u64 = 1 << 6;

#[test]
fn enqcmd_reaches_the_queue_from_every_slot_of_the_portal() {
    let device = Device::new(Config::sapphire_rapids()).unwrap();
    let (portal, client) = portal(&device, 0);
    let before = trapped(Kind::Enqcmd);
    let mut copies: Vec<_> = (0..64).map(Copy::new).collect();
    for (slot, copy) in copies.iter_mut().enumerate() {
        let descriptor = copy.descriptor();
        instr::sfence();
        // SAFETY: the portal takes commands in all of its page; the copies live until the queue has been drained.
        while !unsafe { instr::enqcmd(portal.as_ptr().add(slot * 64), &raw const descriptor) } {}
    }
    assert!(client.drain());
    copies.iter().for_each(Copy::check);
    assert!(trapped(Kind::Enqcmd) - before >= 64, "nothing but the handler can have done it");
}

#[test]
fn movdir64b_reaches_a_dedicated_queue() {
    let device = Device::new(Config::granite_rapids().queue(WqConfig::dedicated(16))).unwrap();
    let (portal, client) = portal(&device, 0);
    let mut copies: Vec<_> = (0..16).map(Copy::new).collect();
    for (slot, copy) in copies.iter_mut().enumerate() {
        let descriptor = copy.descriptor();
        instr::sfence();
        // SAFETY: as in the first test.
        unsafe { instr::movdir64b(portal.as_ptr().add(slot * 256), &raw const descriptor) };
    }
    assert!(client.drain());
    copies.iter().for_each(Copy::check);
}

#[test]
fn two_portals_lead_to_two_queues() {
    let config = Config::granite_rapids().queue(WqConfig::shared(8)).queue(WqConfig::dedicated(8)).manual();
    let device = Device::new(config).unwrap();
    let (shared, shared_client) = portal(&device, 0);
    let (dedicated, dedicated_client) = portal(&device, 1);
    assert_eq!((shared_client.info().mode, dedicated_client.info().mode), (Mode::Shared, Mode::Dedicated));
    let mut copies: Vec<_> = (0..5).map(Copy::new).collect();
    for (i, copy) in copies.iter_mut().enumerate() {
        let descriptor = copy.descriptor();
        // SAFETY: as in the first test.
        unsafe {
            if i < 3 {
                assert!(instr::enqcmd(shared.as_ptr(), &raw const descriptor));
            } else {
                instr::movdir64b(dedicated.as_ptr(), &raw const descriptor);
            }
        }
    }
    assert_eq!((shared_client.occupancy(), dedicated_client.occupancy()), (3, 2));
    assert!(shared_client.drain() && dedicated_client.drain());
    copies.iter().for_each(Copy::check);
    // The wrong instruction for either queue.
    let descriptor = Copy::new(0).descriptor();
    // SAFETY: neither queue takes the descriptor.
    unsafe {
        assert!(!instr::enqcmd(dedicated.as_ptr(), &raw const descriptor));
        instr::movdir64b(shared.as_ptr(), &raw const descriptor);
    }
    assert_eq!((shared_client.outstanding(), dedicated_client.outstanding()), (0, 0));
}

#[test]
fn a_full_queue_answers_retry_until_there_is_room() {
    let device = Device::new(Config::granite_rapids().queue(WqConfig::shared(4)).manual()).unwrap();
    let (portal, client) = portal(&device, 0);
    let mut copies: Vec<_> = (0..5).map(Copy::new).collect();
    let descriptors: Vec<_> = copies.iter_mut().map(Copy::descriptor).collect();
    let room = usize::from(client.info().threshold);
    for (i, descriptor) in descriptors.iter().enumerate() {
        // SAFETY: as in the first test.
        assert_eq!(unsafe { instr::enqcmd(portal.as_ptr(), descriptor) }, i < room);
    }
    assert!(client.drain());
    for descriptor in &descriptors[room..] {
        // SAFETY: as above.
        assert!(unsafe { instr::enqcmd(portal.as_ptr(), descriptor) });
        assert!(client.drain());
    }
    copies.iter().for_each(Copy::check);
}

#[test]
fn flags_and_registers_are_those_of_the_instruction() {
    let device = Device::new(Config::granite_rapids().queue(WqConfig::shared(4)).manual()).unwrap();
    let (portal, client) = portal(&device, 0);
    let mut copy = Copy::new(1);
    let descriptor = copy.descriptor();
    let flags = flags_after!("enqcmd rdi, [rsi]", in("rdi") portal.as_ptr(), in("rsi") &raw const descriptor);
    assert_eq!(flags, 0, "accepted");
    assert!(client.drain());
    copy.check();

    let rule = device.inject(FaultRule::new(Effect::Retry));
    let flags = flags_after!("enqcmd rdi, [rsi]", in("rdi") portal.as_ptr(), in("rsi") &raw const descriptor);
    assert_eq!(flags, ZERO, "refused");
    assert_eq!(device.remove(rule), Some(1));

    // MOVDIR64B and UMONITOR leave all of them alone.
    let flags = flags_after!("movdir64b rdi, [rsi]", in("rdi") portal.as_ptr(), in("rsi") &raw const descriptor);
    assert_eq!(flags, 0x8d5);
    install().unwrap();
    let flags = flags_after!("umonitor rdi", in("rdi") &raw const descriptor);
    assert_eq!(flags, 0x8d5);
    let flags = flags_after!("tpause ecx", in("ecx") 0, in("eax") 0, in("edx") 0);
    assert_eq!(flags, 0, "the deadline has passed");
    let flags = flags_after!("tpause ecx", in("ecx") 1, in("eax") u32::MAX, in("edx") u32::MAX);
    // A CPU's own wait may end earlier, by an interrupt.
    if !CpuFeatures::native().waitpkg {
        assert_eq!(flags, CARRY, "the system's limit has passed");
    }
}

#[test]
fn every_addressing_form_reaches_the_descriptor() {
    let device = Device::new(Config::granite_rapids().queue(WqConfig::shared(16))).unwrap();
    let (portal, client) = portal(&device, 0);
    let target = portal.as_ptr();
    let mut copies: Vec<_> = (0..4).map(Copy::new).collect();
    let descriptors: [Descriptor; 4] = std::array::from_fn(|i| copies[i].descriptor());
    let base = descriptors.as_ptr();
    let refused: u8;
    // SAFETY: the operands are the four descriptors, whose copies live until the queue has been drained.
    unsafe {
        asm!(
            "enqcmd r8, [r9]",
            "setz cl",
            "enqcmd r8, [r9 + 0x40]",
            "setz ch",
            "or cl, ch",
            "enqcmd r8, [r9 + r12*8 + 0x40]",
            "setz ch",
            "or cl, ch",
            // The stack pointer as a base: the descriptor is copied below it, with the flags of the answers kept in CL.
            "sub rsp, 256",
            "mov r10, [r9 + 0xc0]",
            "mov [rsp], r10",
            "mov r10, [r9 + 0xc8]",
            "mov [rsp + 8], r10",
            "mov r10, [r9 + 0xd0]",
            "mov [rsp + 16], r10",
            "mov r10, [r9 + 0xd8]",
            "mov [rsp + 24], r10",
            "mov r10, [r9 + 0xe0]",
            "mov [rsp + 32], r10",
            "mov qword ptr [rsp + 40], 0",
            "mov qword ptr [rsp + 48], 0",
            "mov qword ptr [rsp + 56], 0",
            "enqcmd r8, [rsp]",
            "setz ch",
            "or cl, ch",
            "add rsp, 256",
            in("r8") target,
            in("r9") base,
            in("r12") 8,
            out("r10") _,
            out("cl") refused,
        );
    }
    assert_eq!(refused, 0);
    assert!(client.drain());
    copies.iter().for_each(Copy::check);
}

/// Sixty-four bytes, aligned as a store of them wants it.
#[repr(C, align(64))]
struct Line([u8; 64]);

/// A CPU that has the instruction raises SIGSEGV at the portal. Here the signal is sent to the thread with what the
/// kernel would say, and arrives between a system call and the instruction behind it.
#[test]
fn a_cpu_that_has_the_instruction_faults_at_the_portal() {
    #[repr(C)]
    struct Information {
        signal: i32,
        errno: i32,
        code: i64,
        address: u64,
        rest: [u64; 13],
    }
    const SEGV_ACCERR: i64 = 2;
    const SI_KERNEL: i64 = 0x80;

    let config = Config::granite_rapids().queue(WqConfig::shared(8)).queue(WqConfig::dedicated(8));
    let device = Device::new(config).unwrap();
    let ((shared, shared_client), (dedicated, dedicated_client)) = (portal(&device, 0), portal(&device, 1));
    let mut copies: Vec<_> = (0..2).map(Copy::new).collect();
    macro_rules! fault_and_submit {
        ($instruction:literal, $code:expr, $address:expr, $portal:expr, $descriptor:expr) => {{
            let information =
                Information { signal: libc::SIGSEGV, errno: 0, code: $code, address: $address, rest: [0; 13] };
            let result: i64;
            let refused: u8;
            // SAFETY: the call sends this thread a signal, whose handler carries out the instruction: it finds a portal
            // and a descriptor whose memory lives until the queue has been drained.
            unsafe {
                asm!(
                    "syscall",
                    $instruction,
                    "setz {refused}",
                    refused = lateout(reg_byte) refused,
                    inout("rax") libc::SYS_rt_tgsigqueueinfo => result,
                    in("rdi") i64::from(libc::getpid()),
                    in("rsi") i64::from(libc::gettid()),
                    in("rdx") i64::from(libc::SIGSEGV),
                    in("r10") &raw const information,
                    in("r8") $portal.as_ptr(),
                    in("r9") $descriptor,
                    lateout("rcx") _,
                    lateout("r11") _,
                );
            }
            assert_eq!(result, 0);
            refused != 0
        }};
    }
    let descriptor = copies[0].descriptor();
    let address = dedicated.as_ptr().addr() as u64;
    let before = trapped(Kind::Movdir64b);
    let _ = fault_and_submit!("movdir64b r8, [r9]", SEGV_ACCERR, address, dedicated, &raw const descriptor);
    assert!(trapped(Kind::Movdir64b) > before);
    // ENQCMD without a PASID is a #GP, which has no address.
    let descriptor = copies[1].descriptor();
    assert!(!fault_and_submit!("enqcmd r8, [r9]", SI_KERNEL, 0, shared, &raw const descriptor));
    assert!(shared_client.drain() && dedicated_client.drain());
    copies.iter().for_each(Copy::check);
}

#[test]
fn an_instruction_at_the_end_of_what_is_mapped_is_found() {
    // tpause ecx; ret
    const CODE: [u8; 5] = [0x66, 0x0f, 0xae, 0xf1, 0xc3];
    install().unwrap();
    // SAFETY: a fresh mapping of two pages. The code ends where the first one does, and keeps to the C convention: it
    // reads registers, changes flags and returns. (EDX:EAX may hold any deadline.)
    unsafe {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        let pages = libc::mmap(std::ptr::null_mut(), 8192, protection, flags, -1, 0);
        assert_ne!(pages, libc::MAP_FAILED);
        let code = pages.byte_add(4096 - CODE.len());
        code.cast::<[u8; CODE.len()]>().write_unaligned(CODE);
        assert_eq!(libc::mprotect(pages, 4096, libc::PROT_READ | libc::PROT_EXEC), 0);
        assert_eq!(libc::mprotect(pages.byte_add(4096), 4096, libc::PROT_NONE), 0);
        asm!("call {code}", code = in(reg) code, in("rcx") 0, clobber_abi("C"));
        libc::munmap(pages, 8192);
    }
}

#[test]
fn movdir64b_to_memory_is_a_store() {
    install_in_front();
    let source: [u8; 65] = std::array::from_fn(|i| i as u8);
    let mut target = Line([0; 64]);
    let before = [Kind::Movdir64b, Kind::Enqcmd].map(trapped);
    // 64 bytes from the second of 65, to an aligned place for 64.
    let operands = (target.0.as_mut_ptr(), source[1..].as_ptr());
    let flags = flags_after!("ud2; movdir64b rdi, [rsi]", in("rdi") operands.0, in("rsi") operands.1);
    assert_eq!((flags, &target.0[..]), (0x8d5, &source[1..]));
    // A target that is memory takes no commands.
    let flags = flags_after!("ud2; enqcmd rdi, [rsi]", in("rdi") target.0.as_mut_ptr(), in("rsi") source.as_ptr());
    assert_eq!((flags, &target.0[..]), (ZERO, &source[1..]));
    let after = [Kind::Movdir64b, Kind::Enqcmd].map(trapped);
    assert!(before.iter().zip(after).all(|(before, after)| after > *before), "the handler did both");
}

#[test]
fn a_descriptor_relative_to_a_segment_is_found() {
    let device = Device::new(Config::granite_rapids().queue(WqConfig::shared(16))).unwrap();
    let (portal, client) = portal(&device, 0);
    let mut copy = Copy::new(5);
    let descriptor = copy.descriptor();
    let refused: u8;
    // SAFETY: the first word of the thread's control block is its own address, which is the base of FS. For the rest as
    // in the first test.
    unsafe {
        asm!(
            "sub rsi, qword ptr fs:[0]",
            "enqcmd rdi, fs:[rsi]",
            "setz cl",
            in("rdi") portal.as_ptr(),
            inout("rsi") &raw const descriptor => _,
            out("cl") refused,
        );
    }
    assert_eq!(refused, 0);
    assert!(client.drain());
    copy.check();
}

/// Many waits for a line that another thread writes once for each, in its own time. The handler does the waiting, on
/// every CPU: one that waits itself may be woken by anything.
#[test]
fn umwait_ends_when_the_line_is_written() {
    /// Without neighbours, which would be monitored too.
    #[repr(align(64))]
    struct Alone(AtomicU64);
    const ROUNDS: u64 = 10_000;

    install_in_front();
    let (line, asked, written_at) = (Alone(AtomicU64::new(0)), Alone(AtomicU64::new(0)), Alone(AtomicU64::new(0)));
    let before = [Kind::Umonitor, Kind::Umwait].map(trapped);
    let (mut woken, mut early, mut waits) = (0, 0, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 1..=ROUNDS {
                while asked.0.load(Ordering::Acquire) < round {
                    std::thread::yield_now();
                }
                // So that an instruction that does not wait is over before the store.
                let begin = instr::rdtsc();
                while instr::rdtsc() < begin + 20_000 {
                    std::hint::spin_loop();
                }
                written_at.0.store(instr::rdtsc(), Ordering::Relaxed);
                line.0.store(round, Ordering::Release);
            }
        });
        while waits < ROUNDS && woken < 10 {
            waits += 1;
            let _untouched = flags_after!("ud2; umonitor rdi", in("rdi") line.0.as_ptr());
            asked.0.store(waits, Ordering::Release);
            let begin = instr::rdtsc();
            let deadline = u32::MAX;
            let flags = flags_after!("ud2; umwait ecx", in("ecx") 1, in("eax") deadline, in("edx") deadline);
            let written = line.0.load(Ordering::Acquire) == waits;
            early += u64::from(flags != CARRY && !written);
            while line.0.load(Ordering::Acquire) != waits {
                std::thread::yield_now();
            }
            // Not if the store came before the wait, nor if the system's limit came before the store.
            woken += u64::from(flags == 0 && written && written_at.0.load(Ordering::Relaxed) > begin);
        }
        // The writer's other rounds.
        asked.0.store(ROUNDS, Ordering::Release);
    });
    assert_eq!(early, 0, "without a store only the system's limit ends a wait, and says so");
    assert_eq!(woken, 10, "of {waits} waits, those that a store ended");
    let after = [Kind::Umonitor, Kind::Umwait].map(trapped);
    assert!(before.iter().zip(after).all(|(before, after)| after >= before + waits), "the handler did both");
}

#[test]
fn umwait_does_not_sleep_over_a_store_after_umonitor() {
    install().unwrap();
    let line = AtomicU64::new(0);
    // SAFETY: as above.
    unsafe {
        instr::umonitor(line.as_ptr().cast());
        line.store(1, Ordering::Release);
        // With neither the store nor the deadline to end it, only the system's limit would: CF = 1.
        assert!(!instr::umwait(instr::WAIT_C01, u64::MAX));
        if !CpuFeatures::native().waitpkg {
            // Nothing is monitored any more.
            assert!(!instr::umwait(instr::WAIT_C01, u64::MAX));
        }
    }
}

#[test]
fn waits_end_at_the_deadline_or_at_the_limit() {
    install().unwrap();
    let line = AtomicU64::new(0);
    let deadline = instr::rdtsc() + 20_000;
    // SAFETY: as above.
    unsafe {
        while instr::rdtsc() < deadline {
            instr::tpause(instr::WAIT_C02, deadline);
        }
        instr::umonitor(line.as_ptr().cast());
        let begin = instr::rdtsc();
        instr::umwait(instr::WAIT_C01, begin + 20_000);
        if !CpuFeatures::native().waitpkg {
            assert!(instr::rdtsc() >= begin + 20_000, "nobody wrote the line");
            instr::umonitor(line.as_ptr().cast());
            assert!(instr::umwait(instr::WAIT_C01, u64::MAX), "only the limit can have ended it");
            assert!(instr::tpause(instr::WAIT_C01, u64::MAX));
        }
    }
}

/// A handler of SIGILL in front of the trap handler: it steps over a UD2, and calls on. So what follows a UD2 traps even
/// where the CPU has it.
fn install_in_front() {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    extern "C" fn step_over(signal: i32, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
        // SAFETY: the arguments of a handler. The code that raised SIGILL is readable, and a UD2 has two bytes; what is
        // called next is the handler that was in force before, with the arguments that it expects.
        unsafe {
            let rip = &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs[libc::REG_RIP as usize];
            if std::ptr::with_exposed_provenance::<[u8; 2]>(rip.cast_unsigned() as usize).read() == [0x0f, 0x0b] {
                *rip += 2;
            }
            let next: extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::c_void) =
                std::mem::transmute(NEXT.load(Ordering::Acquire));
            next(signal, info, context);
        }
    }
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        install().unwrap();
        // SAFETY: all zero is a valid value; the trap handler is remembered before it is replaced, with its own flags.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            assert_eq!(libc::sigaction(libc::SIGILL, std::ptr::null(), &raw mut action), 0);
            NEXT.store(action.sa_sigaction as u64, Ordering::Release);
            action.sa_sigaction = step_over as *const () as usize;
            assert_eq!(libc::sigaction(libc::SIGILL, &raw const action, std::ptr::null_mut()), 0);
        }
    });
}

#[test]
fn monitorx_and_mwaitx_wait_as_well() {
    install_in_front();
    let line = AtomicU64::new(0);
    let before = [Kind::Monitorx, Kind::Mwaitx].map(trapped);
    let begin = instr::rdtsc();
    let flags = flags_after!("ud2; monitorx", in("rax") line.as_ptr(), in("ecx") 0, in("edx") 0);
    assert_eq!(flags, 0x8d5, "untouched");
    let ticks: u64 = 20_000;
    // SAFETY: the instruction waits. RBX, its operand, is exchanged in and out again.
    unsafe {
        asm!("xchg rbx, {0}", "ud2", "mwaitx", "xchg rbx, {0}", inout(reg) ticks => _, in("eax") 0xf0, in("ecx") 2);
    }
    assert!(instr::rdtsc() >= begin + ticks, "nobody wrote the line");
    assert_eq!([Kind::Monitorx, Kind::Mwaitx].map(trapped), before.map(|count| count + 1));
    // As the CPU or the handler has it.
    // SAFETY: something carries the instructions out.
    unsafe {
        instr::monitorx(line.as_ptr().cast());
        line.store(1, Ordering::Release);
        instr::mwaitx(1_000_000);
    }
}

#[test]
fn errno_survives_a_trap() {
    let device = Device::new(Config::sapphire_rapids()).unwrap();
    let (portal, client) = portal(&device, 0);
    let mut copy = Copy::new(3);
    let descriptor = copy.descriptor();
    // SAFETY: the location is this thread's; for the rest as in the first test.
    unsafe {
        *libc::__errno_location() = 4711;
        while !instr::enqcmd(portal.as_ptr(), &raw const descriptor) {}
        instr::tpause(0, instr::rdtsc() + 1000);
        assert_eq!(*libc::__errno_location(), 4711);
    }
    assert!(client.drain());
    copy.check();
}

#[test]
fn many_threads_submit_through_one_portal_and_their_own() {
    let config = Config::granite_rapids().queue(WqConfig::shared(16)).queue(WqConfig::shared(16));
    let device = Device::new(config).unwrap();
    let common = portal(&device, 0).0;
    std::thread::scope(|scope| {
        for thread in 0..6 {
            let (device, common) = (&device, &common);
            scope.spawn(move || {
                for round in 0..20 {
                    // Portals come and go beside the others' submissions.
                    let (own, client) = portal(device, 1);
                    let mut copies = [Copy::new(thread * 100 + round), Copy::new(round)];
                    for (copy, portal) in copies.iter_mut().zip([&own, common]) {
                        let descriptor = copy.descriptor();
                        instr::sfence();
                        // SAFETY: as in the first test.
                        while !unsafe { instr::enqcmd(portal.as_ptr(), &raw const descriptor) } {
                            std::thread::yield_now();
                        }
                    }
                    client.quiesce();
                    // SAFETY: the status byte of a record that the device may be writing is read as an atomic.
                    let done = |copy: &Copy| unsafe {
                        std::sync::atomic::AtomicU8::from_ptr((&raw const copy.record.status).cast_mut())
                            .load(Ordering::Acquire)
                    };
                    while done(&copies[1]) == 0 {
                        std::thread::yield_now();
                    }
                    copies.iter().for_each(Copy::check);
                }
            });
        }
    });
}

#[test]
fn the_model_sees_the_bytes_that_were_submitted() {
    // The descriptor's own PASID field is not looked at, as with the instruction.
    let device = Device::new(Config::granite_rapids().queue(WqConfig::shared(4)).manual()).unwrap();
    let (portal, client) = portal(&device, 0);
    let mut copy = Copy::new(9);
    let mut descriptor = copy.descriptor();
    descriptor.as_mut_bytes()[..4].copy_from_slice(&[0xff; 4]);
    // SAFETY: as in the first test.
    unsafe {
        assert!(instr::enqcmd(portal.as_ptr(), &raw const descriptor));
        assert_eq!(client.enqcmd(&descriptor), Enqcmd::Accepted);
    }
    assert!(client.drain());
    copy.check();
}
