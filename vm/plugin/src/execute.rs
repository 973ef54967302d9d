//! What happens when one of the instructions executes.
//!
//! Every callback here is split in two: a function that does the work and returns where to go on, and a frame around it
//! that owns nothing, because QEMU leaves it by a long jump.

use std::cell::Cell;
use std::ffi::c_void;

use dsa_emulator::trap::decode::{self, Kind, Operands, Registers, Segment};
use dsa_emulator::{Instruction as Submission, IommuRegisters, PortalAnswer};
use dsa_vm_device::zero_flag;

use crate::cpu::{Cpu, Special};
use crate::rig;

/// Bits of CPUID leaf 7, ECX: WAITPKG, MOVDIR64B, ENQCMD.
const FEATURES: u64 = 1 << 5 | 1 << 28 | 1 << 29;
/// RAX and RCX in encodings.
const RAX: u8 = 0;
const RCX: u8 = 1;

/// Registers of the emulated IOMMU, which QEMU puts at a fixed address: status (upper half), and root table.
const IOMMU_STATUS: u64 = 0xfed9_0018;
const IOMMU_ROOT: u64 = 0xfed9_0020;

/// The registers as the decoder wants them.
struct At<'a>(&'a Cpu, u64);

impl Registers for At<'_> {
    fn general(&self, number: u8) -> u64 {
        self.0.general(number)
    }

    fn instruction_pointer(&self) -> u64 {
        self.1
    }

    fn segment_base(&self, segment: Segment) -> u64 {
        self.0.special(match segment {
            Segment::Fs => Special::FsBase,
            Segment::Gs => Special::GsBase,
        })
    }
}

/// An instruction that may be one of ours. `translated_at` is its address at translation.
pub(crate) extern "C" fn instruction(_vcpu: u32, translated_at: *mut c_void) {
    // SAFETY: this is a callback that was registered for writing registers and the program counter.
    let cpu = unsafe { Cpu::current() };
    if let Some(pc) = carry_out(&cpu, address(&cpu, translated_at)) {
        // SAFETY: this frame and QEMU's above it own nothing.
        unsafe { Cpu::resume_at(pc) }
    }
}

/// Ends the block in front of an instruction, so that the next block starts with it.
pub(crate) extern "C" fn start_block(_vcpu: u32, translated_at: *mut c_void) {
    // SAFETY: as above.
    let cpu = unsafe { Cpu::current() };
    let pc = address(&cpu, translated_at);
    // SAFETY: as above.
    unsafe { Cpu::resume_at(pc) }
}

thread_local! {
    /// Whether the CPUID in progress on this virtual CPU asks for the leaf with our features.
    static FEATURE_LEAF: Cell<bool> = const { Cell::new(false) };
}

/// In front of CPUID: which leaf?
pub(crate) extern "C" fn before_cpuid(_vcpu: u32, _datum: *mut c_void) {
    // SAFETY: this is a callback that was registered for reading registers.
    let cpu = unsafe { Cpu::current() };
    FEATURE_LEAF.set(cpu.general(RAX) as u32 == 7 && cpu.general(RCX) as u32 == 0);
}

/// Behind CPUID: adds the features.
pub(crate) extern "C" fn after_cpuid(_vcpu: u32, _datum: *mut c_void) {
    if FEATURE_LEAF.replace(false) {
        // SAFETY: this is a callback that was registered for writing registers.
        let cpu = unsafe { Cpu::current() };
        cpu.set_general(RCX, (cpu.general(RCX) | FEATURES) & 0xffff_ffff);
    }
}

/// Where the instruction is. Processes that map the same page at different addresses share its translated blocks, so
/// the address at translation is right in its low bits only. RIP is at or before the instruction, in the same block.
fn address(cpu: &Cpu, translated_at: *mut c_void) -> u64 {
    let rip = cpu.special(Special::Rip);
    rip.wrapping_add((translated_at.addr() as u64).wrapping_sub(rip) & 0xfff)
}

/// Carries an instruction out; the result is where execution goes on. `None` leaves it to QEMU, which raises #UD.
fn carry_out(cpu: &Cpu, pc: u64) -> Option<u64> {
    let mut buffer = [0; 15];
    let code = cpu.code(pc, &mut buffer);
    let instruction = match decode::decode(code) {
        Ok(instruction) => instruction,
        Err(decode::DecodeError::Other) => return None,
        Err(decode::DecodeError::Truncated) => {
            rig().note(&format!("no code at {pc:#x}: {code:02x?}"));
            return None;
        }
    };
    let next = pc.wrapping_add(u64::from(instruction.length()));
    match instruction.operands(&At(cpu, pc)) {
        Operands::Store { source, target } => store(cpu, instruction.kind(), source, target, next),
        Operands::Monitor { .. } => Some(next),
        // Clients must expect wake-ups without a cause. The engines of the model get the processor if they need it; to
        // sleep, however shortly, would cost far more than what is waited for.
        Operands::Wait { .. } => {
            std::thread::yield_now();
            Some(next)
        }
        _ => None,
    }
}

fn store(cpu: &Cpu, kind: Kind, source: u64, target: u64, next: u64) -> Option<u64> {
    // ENQCMDS takes the PASID from the descriptor, so only the kernel may use it. Hardware raises #GP; see below.
    if kind == Kind::Enqcmds && cpu.privilege_level() != 0 {
        return None;
    }
    let mut line = [0; 64];
    let physical = cpu.physical(target);
    let (true, Some(physical)) = (target.is_multiple_of(64) && cpu.load(source, &mut line), physical) else {
        // Hardware raises a page fault or #GP here. Neither can be raised by a plugin; #UD at least is not silence.
        rig().note(&format!("{kind:?} from {source:#x} to {target:#x}: an operand cannot be reached"));
        return None;
    };
    let Some(offset) = rig().portal_offset(physical) else {
        // Ordinary memory. ENQCMD to anything but a device answers "retry".
        return match kind {
            // A store to an address where nothing is, such as a portal while its function is being reset, gets lost.
            Kind::Movdir64b => {
                let _is_memory = cpu.store(target, &line);
                Some(next)
            }
            _ => Some(answer(cpu, next, true)),
        };
    };
    let (root, status) = (cpu.load_physical(IOMMU_ROOT)?, cpu.load_physical(IOMMU_STATUS)?);
    rig().set_iommu(IommuRegisters::new((status >> 32) as u32, root));
    let submission = match kind {
        Kind::Movdir64b => Submission::Movdir64b,
        Kind::Enqcmd => Submission::Enqcmd { pasid: rig().pasid_of(cpu.special(Special::Cr3)) },
        _ => Submission::Enqcmds,
    };
    let retry = rig().submit(offset, &line, submission) == PortalAnswer::Retry;
    Some(if kind == Kind::Movdir64b { next } else { answer(cpu, next, retry) })
}

/// Delivers the zero flag of ENQCMD or ENQCMDS to the instruction behind it, which is carried out as well.
fn answer(cpu: &Cpu, next: u64, zero: bool) -> u64 {
    let mut buffer = [0; 15];
    let code = cpu.code(next, &mut buffer);
    if let Some(reader) = zero_flag::reader(code, next, zero) {
        cpu.carry_out(reader)
    } else {
        rig().note(&format!("the code at {next:#x} behind ENQCMD reads its answer in no known way: {code:02x?}"));
        next
    }
}
