//! The registers of the interrupted code, as the kernel saved them and will load them again.

use std::marker::PhantomData;
use std::mem::MaybeUninit;

use super::decode::{Registers, Segment};

const RIP: usize = libc::REG_RIP as usize;
const FLAGS: usize = libc::REG_EFL as usize;

/// The general registers in the order of their encoding.
const GENERAL: [usize; 16] = [
    libc::REG_RAX as usize,
    libc::REG_RCX as usize,
    libc::REG_RDX as usize,
    libc::REG_RBX as usize,
    libc::REG_RSP as usize,
    libc::REG_RBP as usize,
    libc::REG_RSI as usize,
    libc::REG_RDI as usize,
    libc::REG_R8 as usize,
    libc::REG_R9 as usize,
    libc::REG_R10 as usize,
    libc::REG_R11 as usize,
    libc::REG_R12 as usize,
    libc::REG_R13 as usize,
    libc::REG_R14 as usize,
    libc::REG_R15 as usize,
];

/// Bits of RFLAGS.
mod rflags {
    pub(super) const CARRY: i64 = 1;
    pub(super) const PARITY: i64 = 1 << 2;
    pub(super) const ADJUST: i64 = 1 << 4;
    pub(super) const ZERO: i64 = 1 << 6;
    pub(super) const SIGN: i64 = 1 << 7;
    pub(super) const OVERFLOW: i64 = 1 << 11;
    pub(super) const STATUS: i64 = CARRY | PARITY | ADJUST | ZERO | SIGN | OVERFLOW;
}

/// What the kernel hands a signal handler as its third argument.
///
/// Reached through a raw pointer, field by field: the C library's structure is larger than what the kernel writes, and
/// the information about the signal lies where the rest of it would be.
pub(super) struct Context<'a> {
    raw: *mut libc::ucontext_t,
    _borrowed: PhantomData<&'a mut libc::ucontext_t>,
}

impl Context<'_> {
    /// # Safety
    ///
    /// `context` is the third argument of a running signal handler, and nobody else uses it during the lifetime of the
    /// result.
    pub(super) unsafe fn new(context: *mut libc::c_void) -> Self {
        Self { raw: context.cast(), _borrowed: PhantomData }
    }

    pub(super) fn rip(&self) -> u64 {
        self.get(RIP)
    }

    /// Continues `length` bytes further on.
    pub(super) fn skip(&mut self, length: u8) {
        let rip = self.register(RIP);
        *rip = rip.wrapping_add(i64::from(length));
    }

    pub(super) fn set_rdx(&mut self, value: u64) {
        *self.register(libc::REG_RDX as usize) = value.cast_signed();
    }

    /// The flags as ENQCMD leaves them.
    pub(super) fn set_zero_only(&mut self, zero: bool) {
        self.set_status(if zero { rflags::ZERO } else { 0 });
    }

    /// The flags as UMWAIT and TPAUSE leave them.
    pub(super) fn set_carry_only(&mut self, carry: bool) {
        self.set_status(if carry { rflags::CARRY } else { 0 });
    }

    /// The signals that the interrupted code blocks, one bit each, from signal 1 up.
    pub(super) fn mask(&self) -> u64 {
        // SAFETY: the kernel saves 64 bits here, which are all that it has.
        unsafe { (&raw const (*self.raw).uc_sigmask).cast::<u64>().read() }
    }

    fn set_status(&mut self, bits: i64) {
        let flags = self.register(FLAGS);
        *flags = *flags & !rflags::STATUS | bits;
    }

    fn register(&mut self, number: usize) -> &mut i64 {
        // SAFETY: the kernel has saved this register there and will load it again; nobody else uses the context.
        unsafe { &mut (*self.raw).uc_mcontext.gregs[number] }
    }

    fn get(&self, number: usize) -> u64 {
        // SAFETY: as in `register`.
        unsafe { (*self.raw).uc_mcontext.gregs[number] }.cast_unsigned()
    }
}

impl Registers for Context<'_> {
    fn general(&self, number: u8) -> u64 {
        self.get(GENERAL[usize::from(number)])
    }

    fn instruction_pointer(&self) -> u64 {
        self.rip()
    }

    /// Not saved by the kernel, nor changed for the handler: the thread still has the bases of the interrupted code.
    fn segment_base(&self, segment: Segment) -> u64 {
        const ARCH_GET_FS: libc::c_int = 0x1003;
        const ARCH_GET_GS: libc::c_int = 0x1004;
        let which = match segment {
            Segment::Fs => ARCH_GET_FS,
            Segment::Gs => ARCH_GET_GS,
        };
        let mut base = MaybeUninit::<u64>::zeroed();
        // SAFETY: the call stores one word where its second argument says, and cannot fail with these codes; if it
        // did, the word would be 0.
        unsafe {
            libc::syscall(libc::SYS_arch_prctl, which, base.as_mut_ptr());
            base.assume_init()
        }
    }
}
