//! Copying bytes that may not be accessible, inside a signal handler.
//!
//! There is one instruction in this process that may fault on behalf of the code that trapped: the `rep movsb` below. A
//! SIGSEGV at that address makes the handler step over it ([`step_over`]), and the copy reports how far it got. The
//! signal arrives although a handler is running, because neither handler blocks it.

use std::arch::global_asm;
use std::mem::MaybeUninit;

use super::context::Context;

global_asm!(
    ".pushsection .text.dsa_emulator_trap_copy, \"ax\", @progbits",
    ".globl dsa_emulator_trap_copy",
    ".hidden dsa_emulator_trap_copy",
    ".type dsa_emulator_trap_copy, @function",
    "dsa_emulator_trap_copy:",
    ".cfi_startproc",
    "mov rcx, rdx",
    "xor edx, edx",
    ".globl dsa_emulator_trap_copy_moves",
    ".hidden dsa_emulator_trap_copy_moves",
    "dsa_emulator_trap_copy_moves:",
    "rep movsb",
    "mov rax, rcx",
    "ret",
    ".cfi_endproc",
    ".size dsa_emulator_trap_copy, . - dsa_emulator_trap_copy",
    ".popsection",
);

unsafe extern "C" {
    /// Copies `length` bytes upwards until one cannot be accessed.
    fn dsa_emulator_trap_copy(target: *mut u8, source: *const u8, length: usize) -> Rest;
    /// Its instruction that may fault.
    static dsa_emulator_trap_copy_moves: u8;
}

/// Length of `rep movsb`.
const MOVES_LENGTH: u64 = 2;

/// How a copy ended: in RAX and RDX.
#[repr(C)]
struct Rest {
    /// Bytes that were not copied.
    left: usize,
    /// `si_code` of the fault, 0 if there was none.
    code: i32,
}

/// An access that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Failed {
    /// The first address that could not be accessed.
    pub(super) address: u64,
    /// `si_code` of the signal.
    pub(super) code: i32,
}

/// Reads `N` bytes at `address`, whatever is there.
pub(super) fn read<const N: usize>(address: u64) -> Result<[u8; N], Failed> {
    let mut bytes = [0; N];
    read_into(&mut bytes, address).map(|()| bytes)
}

/// Reads bytes at `address`, whatever is there. Where it fails, the bytes before the failing one have been read.
pub(super) fn read_into(bytes: &mut [u8], address: u64) -> Result<(), Failed> {
    let source = std::ptr::with_exposed_provenance(address as usize);
    // SAFETY: the target is `bytes`; a source that cannot be read ends the copy, as long as the handler is installed,
    // which every caller runs in. Other threads may write the source meanwhile: no Rust code reads it.
    let rest = unsafe { dsa_emulator_trap_copy(bytes.as_mut_ptr(), source, bytes.len()) };
    rest.result(address, bytes.len())
}

/// Whether the byte at `address` can be read.
pub(super) fn probe(address: u64) -> Result<(), Failed> {
    let mut byte = MaybeUninit::<u8>::uninit();
    let source = std::ptr::with_exposed_provenance(address as usize);
    // SAFETY: as in `read_into`; the target is one byte.
    unsafe { dsa_emulator_trap_copy(byte.as_mut_ptr(), source, 1) }.result(address, 1)
}

/// Writes `bytes` at `address`.
///
/// # Safety
///
/// The interrupted code asked for this store, and vouched for it: what can be written there may be written.
pub(super) unsafe fn write(address: u64, bytes: &[u8]) -> Result<(), Failed> {
    let target = std::ptr::with_exposed_provenance_mut(address as usize);
    // SAFETY: the source is `bytes`; the caller vouches for a target that can be written, and one that cannot be ends
    // the copy.
    unsafe { dsa_emulator_trap_copy(target, bytes.as_ptr(), bytes.len()) }.result(address, bytes.len())
}

/// If the interrupted instruction is the one of this module, makes the copy end where it is.
pub(super) fn step_over(context: &mut Context<'_>, code: i32) -> bool {
    let moves = (&raw const dsa_emulator_trap_copy_moves).addr() as u64;
    if context.rip() != moves {
        return false;
    }
    context.skip(MOVES_LENGTH as u8);
    context.set_rdx(u64::from(code.cast_unsigned()));
    true
}

impl Rest {
    fn result(&self, address: u64, length: usize) -> Result<(), Failed> {
        if self.left == 0 {
            return Ok(());
        }
        let done = (length - self.left) as u64;
        Err(Failed { address: address.wrapping_add(done), code: self.code })
    }
}
