//! Copies of up to 32 bytes, or 64: everything is loaded, from both ends, before anything is stored. So the regions may overlap, and there
//! is neither a loop nor a call.

use std::mem::MaybeUninit as Any;

use super::SMALL;

/// Copies up to [`SMALL`] bytes.
///
/// # Safety
///
/// As for [`copy`](super::copy); `len` is at most [`SMALL`].
#[inline]
pub(super) unsafe fn copy(src: *const u8, dst: *mut u8, len: usize) {
    debug_assert!(len <= SMALL);
    // SAFETY: in each case both ends lie inside the `len` bytes: as many are at least the size of one, and at most that of two.
    unsafe {
        if len >= 16 {
            ends::<u128>(src, dst, len);
        } else if len >= 8 {
            ends::<u64>(src, dst, len);
        } else if len >= 4 {
            ends::<u32>(src, dst, len);
        } else if len >= 2 {
            ends::<u16>(src, dst, len);
        } else if len == 1 {
            dst.cast::<Any<u8>>().write(src.cast::<Any<u8>>().read());
        }
    }
}

/// Copies 32 to 64 bytes.
///
/// # Safety
///
/// As for [`copy`](super::copy), of so many bytes.
#[inline]
pub(super) unsafe fn two_each(src: *const u8, dst: *mut u8, len: usize) {
    debug_assert!((32..=64).contains(&len));
    let (at, last) = (len - 32, len - 16);
    // SAFETY: the first 32 bytes and the last ones, of at least as many. Not as one type of 32 bytes, which would go by way of the stack.
    unsafe {
        let first = [src.cast::<Any<u128>>().read_unaligned(), src.add(16).cast::<Any<u128>>().read_unaligned()];
        let rest =
            [src.add(at).cast::<Any<u128>>().read_unaligned(), src.add(last).cast::<Any<u128>>().read_unaligned()];
        dst.cast::<Any<u128>>().write_unaligned(first[0]);
        dst.add(16).cast::<Any<u128>>().write_unaligned(first[1]);
        dst.add(at).cast::<Any<u128>>().write_unaligned(rest[0]);
        dst.add(last).cast::<Any<u128>>().write_unaligned(rest[1]);
    }
}

/// Copies the first and the last bytes, as many as a `T` has.
///
/// # Safety
///
/// `len` bytes may be read and written, and a `T` has no more than that, and no less than half of it.
#[inline]
unsafe fn ends<T: Copy>(src: *const u8, dst: *mut u8, len: usize) {
    let last = len - size_of::<T>();
    // SAFETY: both begin and end inside; bytes may be any, and are read wherever they are.
    unsafe {
        let (first, rest) = (src.cast::<Any<T>>().read_unaligned(), src.add(last).cast::<Any<T>>().read_unaligned());
        dst.cast::<Any<T>>().write_unaligned(first);
        dst.add(last).cast::<Any<T>>().write_unaligned(rest);
    }
}
