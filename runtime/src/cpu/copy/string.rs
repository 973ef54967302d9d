//! Copies by the string instruction. The microcode knows how much there is to do, and can do without reading lines that it is about
//! to overwrite.

use core::arch::asm;

/// Copies `len` bytes.
///
/// # Safety
///
/// `src` is valid for reading and `dst` for writing `len` bytes, which do not overlap.
#[inline]
pub(super) unsafe fn copy(src: *const u8, dst: *mut u8, len: usize) {
    // SAFETY: the caller's promise. The direction flag is clear, as the calling convention has it.
    unsafe {
        asm!(
            "rep movsb",
            inout("rcx") len => _,
            inout("rsi") src => _,
            inout("rdi") dst => _,
            options(nostack, preserves_flags),
        );
    }
}
