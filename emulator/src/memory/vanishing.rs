//! Copies in and out of memory that its owner may take away at any time: unmap, protect, truncate.
//!
//! Between the translation of an address and the access there is nothing that would hold a page. So an access may fault,
//! and does so at an instruction that the trap handler knows (`trap::copy`): it steps over it, and the access ends where
//! it is. What could not be read is 0, what could not be written is not. The address is noted for this thread, and the
//! engine asks for it ([`take`]) before it says how the descriptor has ended.
//!
//! Others may access the memory meanwhile, in any way: all accesses here are instructions that the compiler does not look
//! into. They are no promise of whole words. A record's status byte is written by an instruction of its own, after all
//! others; the processor makes the stores of two string instructions visible in their order.

use std::cell::Cell;

use super::Access;
use crate::trap::copy;

/// Bytes held between a read and a write.
const BLOCK: usize = 2048;

/// An access that could not be made although the address was translated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Vanished {
    /// The first address that could not be reached.
    pub(crate) addr: u64,
    pub(crate) access: Access,
}

thread_local! {
    /// The first one since somebody asked.
    static VANISHED: Cell<Option<Vanished>> = const { Cell::new(None) };
}

/// What has vanished under this thread since the last call.
pub(crate) fn take() -> Option<Vanished> {
    VANISHED.take()
}

fn note(addr: u64, access: Access) {
    VANISHED.set(VANISHED.get().or(Some(Vanished { addr, access })));
}

/// Copies `to.len()` bytes out. True if all could be read.
pub(super) fn load(from: *const u8, to: &mut [u8]) -> bool {
    let addr = from.addr() as u64;
    let Err(failed) = copy::read_into(to, addr) else { return true };
    to[(failed.address - addr) as usize..].fill(0);
    note(failed.address, Access::Read);
    false
}

/// Copies `from.len()` bytes in. True if all could be written.
///
/// # Safety
///
/// What can be written at `to` may be.
pub(super) unsafe fn store(from: &[u8], to: *mut u8) -> bool {
    // SAFETY: the caller's promise.
    let Err(failed) = (unsafe { copy::write(to.addr() as u64, from) }) else { return true };
    note(failed.address, Access::Write);
    false
}

/// Copies `len` bytes between regions that may overlap, or stops where something has vanished.
///
/// # Safety
///
/// As for [`store`].
pub(super) unsafe fn copy(from: *const u8, to: *mut u8, len: usize) {
    let mut block = [0; BLOCK];
    // A block is written only where the source has been read already. Where that is no matter, the first hole is what is found first.
    let down = to.addr().checked_sub(from.addr()).is_some_and(|distance| distance != 0 && distance < len);
    let mut done = 0;
    while done < len {
        let n = BLOCK.min(len - done);
        let at = if down { len - done - n } else { done };
        // SAFETY: the caller's promise, for `at + n <= len`.
        let moved = load(from.wrapping_add(at), &mut block[..n]) && unsafe { store(&block[..n], to.wrapping_add(at)) };
        if !moved {
            return;
        }
        done += n;
    }
}

/// Copies `len` bytes to two places and reads each byte once, or stops where something has vanished.
///
/// # Safety
///
/// As for [`store`], for both places.
pub(super) unsafe fn copy_twice(from: *const u8, to: [*mut u8; 2], len: usize) {
    let mut block = [0; BLOCK];
    let mut done = 0;
    while done < len {
        let n = BLOCK.min(len - done);
        if !load(from.wrapping_add(done), &mut block[..n]) {
            return;
        }
        for to in to {
            // SAFETY: the caller's promise, for `done + n <= len`.
            if !unsafe { store(&block[..n], to.wrapping_add(done)) } {
                return;
            }
        }
        done += n;
    }
}

/// Repeats a pattern over `len` bytes, or stops where something has vanished.
///
/// # Safety
///
/// As for [`store`].
pub(super) unsafe fn fill(to: *mut u8, len: usize, pattern: [u8; 16]) {
    let block: [u8; BLOCK] = std::array::from_fn(|i| pattern[i % 16]);
    let mut done = 0;
    while done < len {
        let n = BLOCK.min(len - done);
        // SAFETY: the caller's promise, for `done + n <= len`. Blocks are whole repetitions of the pattern.
        if !unsafe { store(&block[..n], to.wrapping_add(done)) } {
            return;
        }
        done += n;
    }
}

/// Writes a completion record, the status byte last.
///
/// # Safety
///
/// As for [`store`], for the 32 bytes at `to`.
pub(super) unsafe fn store_record(record: &[u8; 32], to: *mut u8) {
    // SAFETY: the caller's promise.
    unsafe {
        if store(&record[1..], to.wrapping_add(1)) {
            store(&record[..1], to);
        }
    }
}
