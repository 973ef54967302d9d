//! Trusted memory: addresses are this process's pointers, as with shared virtual addressing.
//!
//! The submitter promised that they are valid. The one check made is against addresses that no user pointer can have:
//! the first page and everything above the 47-bit user half. They fault as they would on the device. (A process that asks
//! for them can have mappings above, with five-level page tables; the model does not reach those.)

use std::sync::atomic::{AtomicU8, Ordering};

use idxd_sys::status;

use super::{PAGE_SIZE, PageFault, Span};

/// First address above the user half of a 48-bit address space.
const USER_END: u64 = 1 << 47;

/// The identity, for addresses that can be user pointers.
#[inline]
pub(crate) fn translate(addr: u64, len: u64) -> Result<Span, PageFault> {
    if !(PAGE_SIZE..USER_END).contains(&addr) {
        return Err(PageFault { addr });
    }
    let len = len.min(USER_END - addr) as usize;
    // The caller exposed the provenance of its pointers when it turned them into descriptor fields.
    Ok(Span { ptr: std::ptr::with_exposed_provenance_mut(addr as usize), len })
}

/// The same for those who can only use the whole of it.
#[inline]
pub(crate) fn whole(addr: u64, len: u32) -> Option<*mut u8> {
    let is_inside = addr.wrapping_sub(PAGE_SIZE) <= USER_END - PAGE_SIZE - u64::from(len);
    is_inside.then(|| std::ptr::with_exposed_provenance_mut(addr as usize))
}

/// Writes the record of full success, the status last and with release ordering.
///
/// # Safety
///
/// `ptr` must be valid for writes of 32 bytes, of which the first may be loaded atomically by others meanwhile.
#[inline]
pub(crate) unsafe fn store_success(ptr: *mut u8) {
    // SAFETY: the caller's promise.
    unsafe {
        ptr.add(1).write_bytes(0, 31);
        AtomicU8::from_ptr(ptr).store(status::SUCCESS, Ordering::Release);
    }
}

/// Repeats a pattern over `len` bytes.
///
/// # Safety
///
/// `ptr` must be valid for writes of `len` bytes.
pub(crate) unsafe fn fill(ptr: *mut u8, len: usize, bytes: [u8; 16]) {
    if bytes == [bytes[0]; 16] {
        // SAFETY: the caller's promise.
        unsafe { ptr.write_bytes(bytes[0], len) };
        return;
    }
    let whole = len / 16;
    for i in 0..whole {
        // SAFETY: 16 bytes at `16 * i` end at or before `16 * whole <= len`.
        unsafe { ptr.add(16 * i).cast::<[u8; 16]>().write_unaligned(bytes) };
    }
    // SAFETY: the rest after the whole patterns is shorter than 16 bytes and ends at `len`.
    unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), ptr.add(16 * whole), len % 16) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impossible_pointers_fault() {
        for addr in [0, 8, 4095, USER_END, u64::MAX] {
            assert_eq!(translate(addr, 1).unwrap_err(), PageFault { addr });
        }
    }

    #[test]
    fn a_range_is_cut_at_the_end_of_the_user_half() {
        assert_eq!(translate(USER_END - 8, 64).unwrap().len, 8);
        assert_eq!(translate(0x10_0000, 64).unwrap().len, 64);
    }

    #[test]
    fn a_whole_range_is_one_that_is_not_cut() {
        let lengths = [1, 32, 64, 4096, u32::MAX];
        for addr in
            [0, 8, 4095, 4096, 0x10_0000, USER_END - 4096, USER_END - 32, USER_END - 31, USER_END, u64::MAX - 31]
        {
            for len in lengths {
                let cut = translate(addr, u64::from(len)).ok().filter(|span| span.len == len as usize);
                assert_eq!(whole(addr, len), cut.map(|span| span.ptr), "{addr:#x} {len}");
            }
        }
    }

    #[test]
    fn every_length_gets_the_pattern_and_nothing_beyond() {
        for pattern in [0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10u128, u128::from_le_bytes([7; 16])] {
            for len in 0..70 {
                let bytes = pattern.to_le_bytes();
                let mut buf = [0xee; 80];
                // SAFETY: 70 bytes fit into 80.
                unsafe { fill(buf.as_mut_ptr(), len, bytes) };
                assert!((0..80).all(|i| buf[i] == if i < len { bytes[i % 16] } else { 0xee }));
            }
        }
    }
}
