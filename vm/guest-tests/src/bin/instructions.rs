//! The instructions that the virtual machine adds, checked from inside the guest.
//!
//! Other tests use one wrapper of each instruction. What compilers and kernels may write instead is tried here: other
//! addressing forms, every way to read ENQCMD's answer, every slot of a portal, ordinary memory as the target.
//!
//! Usage: `instructions DEDICATED SHARED`, paths of two enabled user queues. Prints what fails; the exit status is 1 then.

use std::arch::asm;
use std::error::Error;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitCode};
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use dsa_vm_guest_tests::{Line, Queue, Record, copy, no_op};
use idxd_sys::{CpuFeatures, Descriptor, instr, portal, status};

/// The signal of an undefined instruction.
const SIGILL: i32 = 4;
/// Has this program execute ENQCMDS and nothing else.
const ENQCMDS: &str = "--enqcmds";

type Outcome = Result<(), Box<dyn Error>>;

fn main() -> ExitCode {
    let paths: Vec<String> = std::env::args().skip(1).collect();
    if let [mode, shared] = paths.as_slice()
        && mode == ENQCMDS
    {
        return enqcmds(shared);
    }
    let [dedicated, shared] = paths.as_slice() else {
        eprintln!("usage: instructions DEDICATED SHARED");
        return ExitCode::from(2);
    };
    let outcomes = [
        ("CPUID shows the instructions", cpuid()),
        ("MOVDIR64B to memory", movdir64b_to_memory()),
        ("ENQCMD to memory", enqcmd_to_memory()),
        ("waiting instructions end", waiting()),
        ("MOVDIR64B to every slot", every_slot(dedicated)),
        ("ENQCMD, every reader of its answer", every_reader(shared)),
        ("ENQCMD, addressing forms", addressing_forms(shared)),
        ("ENQCMD to a dedicated queue", wrong_mode(dedicated)),
        ("ENQCMDS is the kernel's", enqcmds_by_a_user(shared)),
        ("latency", latency(dedicated, shared)),
    ];
    let mut failed = false;
    for (name, outcome) in outcomes {
        match outcome {
            Ok(()) => println!("ok   {name}"),
            Err(error) => {
                println!("FAIL {name}: {error}");
                failed = true;
            }
        }
    }
    ExitCode::from(u8::from(failed))
}

fn check(holds: bool, what: impl FnOnce() -> String) -> Outcome {
    if holds { Ok(()) } else { Err(what().into()) }
}

fn cpuid() -> Outcome {
    let features = CpuFeatures::detect();
    check(features.movdir64b && features.enqcmd && features.waitpkg, || format!("{features:?}"))
}

fn movdir64b_to_memory() -> Outcome {
    let source = Line::counting();
    let mut target = Line::default();
    // SAFETY: both are 64 aligned bytes of ours.
    unsafe { instr::movdir64b((&raw mut target).cast(), (&raw const source).cast()) };
    check(target == source, || format!("{target:02x?} instead of {source:02x?}"))
}

/// Memory does not answer, which is "retry"; nothing is stored.
fn enqcmd_to_memory() -> Outcome {
    let source = Line::counting();
    let mut target = Line::default();
    // SAFETY: both are 64 aligned bytes of ours; no device is involved.
    let accepted = unsafe { instr::enqcmd((&raw mut target).cast(), (&raw const source).cast()) };
    check(!accepted && target == Line::default(), || format!("accepted {accepted}, stored {target:02x?}"))
}

/// There are wake-ups without a cause, so only a wait that outlives its deadline by far is wrong.
fn waiting() -> Outcome {
    let line = AtomicU64::new(0);
    let start = Instant::now();
    // SAFETY: CPUID shows these instructions, and the address is readable.
    unsafe {
        instr::umonitor(line.as_ptr().cast());
        instr::umwait(instr::WAIT_C02, instr::rdtsc().wrapping_add(1_000_000));
        instr::tpause(instr::WAIT_C01, instr::rdtsc().wrapping_add(1_000_000));
    }
    check(start.elapsed() < Duration::from_secs(5), || format!("{:?}", start.elapsed()))
}

fn every_slot(path: &str) -> Outcome {
    let queue = Queue::open(path)?;
    for slot in 0..portal::SLOTS {
        let record = Record::default();
        let descriptor = no_op(&record);
        // SAFETY: the slot is in the mapped portal, and the record lives until the status is there.
        unsafe { instr::movdir64b(queue.slot(slot), &raw const descriptor) };
        check(record.wait()? == status::SUCCESS, || format!("slot {slot}: {record:?}"))?;
    }
    Ok(())
}

/// ENQCMD, and code that reads the flag and leaves 1 for "retry" in RAX. It finds 0 in RAX and 1 in R11.
macro_rules! enqcmd_with {
    ($($reader:literal),+) => {
        |slot: *mut u8, descriptor: *const Descriptor| -> u64 {
            let retry: u64;
            // SAFETY: see the caller: a slot of a portal or a line of memory, and a descriptor whose memory lives until it
            // has completed. The readers change no register but the two that are named.
            unsafe {
                asm!(
                    "enqcmd {slot}, [{descriptor}]",
                    $($reader),+,
                    slot = in(reg) slot,
                    descriptor = in(reg) descriptor,
                    inout("rax") 0_u64 => retry,
                    inout("r11") 1_u64 => _,
                    options(nostack),
                );
            }
            retry
        }
    };
}

type Enqcmd = fn(*mut u8, *const Descriptor) -> u64;

/// All the ways to read the answer that the virtual machine knows.
const READERS: [(&str, Enqcmd); 8] = [
    ("setz, low byte", enqcmd_with!("setz al")),
    ("setnz, high byte", enqcmd_with!("setnz ah", "movzx eax, ah", "xor eax, 1")),
    ("jz", enqcmd_with!("jz 2f", "jmp 3f", "2:", "mov rax, r11", "3:")),
    ("jnz", enqcmd_with!("jnz 2f", "mov rax, r11", "2:")),
    ("jz, far", enqcmd_with!("jz 2f", "jmp 3f", ".skip 256, 0x90", "2:", "mov rax, r11", "3:")),
    ("cmovz", enqcmd_with!("cmovz rax, r11")),
    ("cmovnz, 32 bits", enqcmd_with!("cmovnz r11d, eax", "mov rax, r11")),
    ("nops, setz of an extended register", enqcmd_with!("nop", "xchg ax, ax", "setz r11b", "mov rax, r11")),
];

fn every_reader(path: &str) -> Outcome {
    let queue = Queue::open(path)?;
    let mut nowhere = Line::default();
    for (name, enqcmd) in READERS {
        let record = Record::default();
        let descriptor = no_op(&record);
        // The slot is in the mapped portal, and the record is waited for if the queue took the descriptor.
        let mut tries = 0;
        while enqcmd(queue.slot(tries), &raw const descriptor) != 0 {
            tries += 1;
            check(tries < 1000, || format!("{name}: an idle queue says retry"))?;
        }
        check(record.wait()? == status::SUCCESS, || format!("{name}: {record:?}"))?;
        let retry = enqcmd((&raw mut nowhere).cast(), &raw const descriptor);
        check(retry == 1, || format!("{name}: memory answers {retry}"))?;
    }
    Ok(())
}

/// A copy whose descriptor is found through another addressing form each time.
fn addressing_forms(path: &str) -> Outcome {
    let queue = Queue::open(path)?;
    let (source, mut target) = (Line::counting(), Line::default());
    for form in 0..4 {
        let record = Record::default();
        let descriptor = copy(&source, &mut target, &record);
        let (slot, at) = (queue.slot(form), (&raw const descriptor).addr());
        let retry: u8;
        // SAFETY: as everywhere: the slot is in the mapped portal; descriptor, buffers and record live until the record is
        // written. Each form computes the address of the descriptor.
        unsafe {
            match form {
                0 => asm!("enqcmd {t}, [{d} - 0x12345678]", "setz {r}", t = in(reg) slot, d = in(reg) at + 0x1234_5678,
                          r = lateout(reg_byte) retry, options(nostack)),
                1 => asm!("enqcmd {t}, [{b} + {i} * 8 + 16]", "setz {r}", t = in(reg) slot, b = in(reg) at - 96,
                          i = in(reg) 10_usize, r = lateout(reg_byte) retry, options(nostack)),
                2 => asm!("enqcmd r12, [r13 + r12 * 1]", "setz {r}", in("r12") slot,
                          in("r13") at.wrapping_sub(slot.addr()), r = lateout(reg_byte) retry, options(nostack)),
                _ => asm!("push {d}", "pop r13", "enqcmd {t}, [r13]", "setz {r}", t = in(reg) slot, d = in(reg) at,
                          out("r13") _, r = lateout(reg_byte) retry),
            }
        }
        check(retry == 0, || format!("form {form}: retry"))?;
        check(record.wait()? == status::SUCCESS && target == source, || format!("form {form}: {record:?}"))?;
        target = Line::default();
    }
    Ok(())
}

/// A dedicated queue refuses ENQCMD, for ever.
fn wrong_mode(path: &str) -> Outcome {
    let queue = Queue::open(path)?;
    let record = Record::default();
    let descriptor = no_op(&record);
    // SAFETY: the slot is in the mapped portal; if the queue took the descriptor after all, the record is waited for.
    let accepted = unsafe { instr::enqcmd(queue.slot(0), &raw const descriptor) };
    if accepted {
        record.wait()?;
    }
    check(!accepted, || "accepted".into())
}

/// A program that executes ENQCMDS is killed: its descriptor would name any process's memory.
fn enqcmds_by_a_user(path: &str) -> Outcome {
    let output = Command::new(std::env::current_exe()?).args([ENQCMDS, path]).output()?;
    check(output.status.signal() == Some(SIGILL), || format!("{output:?}"))?;
    check(output.stdout == b"open\n", || format!("it ended before ENQCMDS: {output:?}"))
}

/// The program that is killed.
fn enqcmds(path: &str) -> ExitCode {
    let queue = match Queue::open(path) {
        Ok(queue) => queue,
        Err(error) => {
            eprintln!("{path}: {error}");
            return ExitCode::FAILURE;
        }
    };
    println!("open");
    let record = Record::default();
    let descriptor = no_op(&record);
    // SAFETY: the slot is in the mapped portal. Should the device take the descriptor, it writes no record of this process:
    // PASID 0 belongs to none.
    unsafe {
        asm!("enqcmds {slot}, [{descriptor}]", slot = in(reg) queue.slot(0), descriptor = in(reg) &raw const descriptor,
             options(nostack));
    }
    ExitCode::SUCCESS
}

/// Not a check: what a submission costs here, so that a change for the worse is seen.
fn latency(dedicated: &str, shared: &str) -> Outcome {
    const ROUNDS: u32 = 500;
    for (name, path) in [("MOVDIR64B", dedicated), ("ENQCMD", shared)] {
        let queue = Queue::open(path)?;
        let start = Instant::now();
        for _ in 0..ROUNDS {
            let record = Record::default();
            let descriptor = no_op(&record);
            // SAFETY: the record lives until it is written, and a no-op names no other memory.
            unsafe { queue.submit(path == shared, &descriptor) }?;
            record.wait()?;
        }
        println!(
            "     {name}: {:.1} us for a submission and its completion",
            start.elapsed().as_secs_f64() * 1e6 / f64::from(ROUNDS)
        );
    }
    Ok(())
}
