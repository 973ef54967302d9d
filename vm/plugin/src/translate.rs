//! What happens when QEMU translates a block: find the instructions, and ask for a call before they execute.

use std::ffi::c_void;

use dsa_vm_device::tail_store;

use crate::{abi, cpu::Cpu, execute, invalidations, smpwc};

/// Two-byte instruction.
const CPUID: [u8; 2] = [0x0f, 0xa2];

/// Called for every block that QEMU translates, on the thread of the virtual CPU that needs it.
pub(crate) extern "C" fn on_block(block: *mut c_void, _datum: *mut c_void) {
    // SAFETY: translation happens on the thread of a virtual CPU; nothing but memory is read here.
    smpwc::set_once(&unsafe { Cpu::current() });
    // SAFETY: QEMU hands over a block that is valid during this call, and so are its instructions.
    let count = unsafe { abi::qemu_plugin_tb_n_insns(block) };
    // SAFETY: as above, with indices below the count.
    let instruction = |i| unsafe { abi::qemu_plugin_tb_get_insn(block, i) };
    for i in 0..count {
        let this = instruction(i);
        let mut bytes = [0; 15];
        // SAFETY: QEMU writes at most as many bytes as there is room for.
        let len = unsafe { abi::qemu_plugin_insn_data(this, bytes.as_mut_ptr(), bytes.len()) };
        let bytes = &bytes[..len];
        if bytes == CPUID {
            if i + 1 < count {
                call_before(this, execute::before_cpuid, abi::READS_REGISTERS);
                call_before(instruction(i + 1), execute::after_cpuid, abi::WRITES_REGISTERS);
            } else if i > 0 {
                // There is no place behind it for the second call. Starting over here makes a block with one.
                call_before(this, execute::start_block, abi::SETS_PC);
            }
        } else if may_be_ours(bytes) {
            call_before(this, execute::instruction, abi::SETS_PC);
        } else if tail_store::may_be_it(bytes) {
            invalidations::watch(this);
        }
    }
}

/// Registers `callback` for the execution of an instruction, with its address as the datum.
fn call_before(instruction: *mut c_void, callback: abi::OnExecution, flags: i32) {
    // SAFETY: the instruction belongs to the block that is being translated; the datum is a plain number.
    unsafe {
        let address = abi::qemu_plugin_insn_vaddr(instruction) as usize;
        abi::qemu_plugin_register_vcpu_insn_exec_cb(
            instruction,
            callback,
            flags,
            std::ptr::without_provenance_mut(address),
        );
    }
}

/// A cheap filter. QEMU stops reading an instruction where it becomes undefined, so bytes may be missing at the end; the
/// decoder sees all of them when the instruction executes.
fn may_be_ours(bytes: &[u8]) -> bool {
    let Some(opcode) = bytes.iter().take(6).position(|byte| *byte == 0x0f) else { return false };
    let has_prefix = bytes[..opcode].iter().any(|byte| matches!(byte, 0x66 | 0xf2 | 0xf3));
    let rest = &bytes[opcode + 1..];
    has_prefix
        && match rest {
            [0x38 | 0xae] | [0x38, 0xf8, ..] => true,
            [0xae, modrm, ..] => modrm >> 6 == 3 && modrm >> 3 & 7 == 6,
            _ => false,
        }
}
