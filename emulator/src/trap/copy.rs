//! Copying bytes that may not be accessible, inside a signal handler.
//!
//! There are two instructions in this process that may fault on behalf of others: the `rep movsb` below, and the `lock or`
//! behind it. A SIGSEGV or SIGBUS at one of them makes the handler step over it ([`step_over`]), and the caller is told
//! how far it got. The signal arrives although a handler is running, because no handler blocks it.
//!
//! Engines use them too, where memory may be taken away while they work (`memory::vanishing`).

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
    ".globl dsa_emulator_trap_touch",
    ".hidden dsa_emulator_trap_touch",
    ".type dsa_emulator_trap_touch, @function",
    "dsa_emulator_trap_touch:",
    ".cfi_startproc",
    "xor eax, eax",
    "xor edx, edx",
    ".globl dsa_emulator_trap_touch_writes",
    ".hidden dsa_emulator_trap_touch_writes",
    "dsa_emulator_trap_touch_writes:",
    "lock or byte ptr [rdi], al",
    "ret",
    ".cfi_endproc",
    ".size dsa_emulator_trap_touch, . - dsa_emulator_trap_touch",
    ".popsection",
);

unsafe extern "C" {
    /// Copies `length` bytes upwards until one cannot be accessed.
    fn dsa_emulator_trap_copy(target: *mut u8, source: *const u8, length: usize) -> Rest;
    /// Its instruction that may fault.
    static dsa_emulator_trap_copy_moves: u8;
    /// Writes the byte that is there, in one atomic step.
    fn dsa_emulator_trap_touch(target: *mut u8) -> Rest;
    /// Its instruction that may fault.
    static dsa_emulator_trap_touch_writes: u8;
}

/// Length of `rep movsb`.
const MOVES_LENGTH: u8 = 2;
/// Length of `lock or byte ptr [rdi], al`.
const WRITES_LENGTH: u8 = 3;

/// How an access ended: in RAX and RDX.
#[repr(C)]
struct Rest {
    /// Bytes that were not copied.
    left: usize,
    /// `si_code` of the fault, 0 if there was none.
    code: i32,
    /// The signal that told of it, 0 if there was none.
    signal: i32,
}

/// An access that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Failed {
    /// The first address that could not be accessed.
    pub(crate) address: u64,
    /// `si_code` of the signal.
    pub(super) code: i32,
    /// SIGSEGV, or SIGBUS: beyond the end of a mapped file.
    pub(super) signal: i32,
}

/// Reads `N` bytes at `address`, whatever is there.
pub(super) fn read<const N: usize>(address: u64) -> Result<[u8; N], Failed> {
    let mut bytes = [0; N];
    read_into(&mut bytes, address).map(|()| bytes)
}

/// Reads bytes at `address`, whatever is there. Where it fails, the bytes before the failing one have been read.
pub(crate) fn read_into(bytes: &mut [u8], address: u64) -> Result<(), Failed> {
    let source = std::ptr::with_exposed_provenance(address as usize);
    // SAFETY: the target is `bytes`; a source that cannot be read ends the copy, as long as the handler is installed,
    // which every caller runs in. Other threads may write the source meanwhile: no Rust code reads it.
    let rest = unsafe { dsa_emulator_trap_copy(bytes.as_mut_ptr(), source, bytes.len()) };
    rest.result(address, bytes.len())
}

/// Whether the byte at `address` can be read.
pub(crate) fn probe(address: u64) -> Result<(), Failed> {
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
pub(crate) unsafe fn write(address: u64, bytes: &[u8]) -> Result<(), Failed> {
    let target = std::ptr::with_exposed_provenance_mut(address as usize);
    // SAFETY: the source is `bytes`; the caller vouches for a target that can be written, and one that cannot be ends
    // the copy.
    unsafe { dsa_emulator_trap_copy(target, bytes.as_ptr(), bytes.len()) }.result(address, bytes.len())
}

/// Whether the byte at `address` can be written: it is, with what it has.
///
/// # Safety
///
/// As for [`write`]: somebody vouches that what can be written there may be.
pub(crate) unsafe fn touch(address: u64) -> Result<(), Failed> {
    let target = std::ptr::with_exposed_provenance_mut(address as usize);
    // SAFETY: the caller vouches for a target that can be written, whose value does not change; one that cannot be ends
    // the call.
    let rest = unsafe { dsa_emulator_trap_touch(target) };
    if rest.signal == 0 { Ok(()) } else { Err(Failed { address, code: rest.code, signal: rest.signal }) }
}

/// If the interrupted instruction is one of this module, makes it end where it is.
pub(super) fn step_over(context: &mut Context<'_>, signal: i32, code: i32) -> bool {
    let at = context.rip();
    let length = if at == (&raw const dsa_emulator_trap_copy_moves).addr() as u64 {
        MOVES_LENGTH
    } else if at == (&raw const dsa_emulator_trap_touch_writes).addr() as u64 {
        WRITES_LENGTH
    } else {
        return false;
    };
    context.skip(length);
    context.set_rdx(u64::from(code.cast_unsigned()) | u64::from(signal.cast_unsigned()) << 32);
    true
}

impl Rest {
    fn result(&self, address: u64, length: usize) -> Result<(), Failed> {
        if self.left == 0 {
            return Ok(());
        }
        let done = (length - self.left) as u64;
        Err(Failed { address: address.wrapping_add(done), code: self.code, signal: self.signal })
    }
}
