//! Copies in and out of memory that others access at the same time.
//!
//! Every access is an atomic one of a whole aligned 8-byte word, so that accesses of two threads never race and never
//! differ in size; the standard library rules out both. A part of a word is written by exchanging the word. A copy of
//! several words may still see half of another one; nothing relies on more than that.
//!
//! "Word memory" below means: the aligned 8-byte words that a range touches are all initialised and valid for reads,
//! and for writes where the function writes; and while the function runs, everybody accesses them only like this module.

use std::sync::atomic::{AtomicU64, Ordering};

const WORD: usize = 8;

/// Bytes held between a read and a write.
const BLOCK: usize = 512;

/// Copies `to.len()` bytes out.
///
/// # Safety
///
/// The bytes at `from` must be word memory.
pub(super) unsafe fn load(from: *const u8, to: &mut [u8]) {
    let (skip, head) = head(from, to.len());
    let (first, rest) = to.split_at_mut(head);
    if head != 0 {
        // SAFETY: the word in which `from` lies is one that the range touches.
        let word = unsafe { at(from.wrapping_sub(skip)) }.load(Ordering::Relaxed).to_ne_bytes();
        first.copy_from_slice(&word[skip..skip + head]);
    }
    let mut from = from.wrapping_add(head);
    for piece in rest.chunks_mut(WORD) {
        // SAFETY: `from` is aligned after the head, and the word holds at least one byte of the range.
        let word = unsafe { at(from) }.load(Ordering::Relaxed).to_ne_bytes();
        piece.copy_from_slice(&word[..piece.len()]);
        from = from.wrapping_add(WORD);
    }
}

/// Copies `from.len()` bytes in.
///
/// # Safety
///
/// The bytes at `to` must be word memory.
pub(super) unsafe fn store(from: &[u8], to: *mut u8) {
    let (skip, head) = head(to, from.len());
    let (first, rest) = from.split_at(head);
    if head != 0 {
        // SAFETY: the word in which `to` lies is one that the range touches.
        merge(unsafe { at(to.wrapping_sub(skip)) }, skip, first);
    }
    let mut to = to.wrapping_add(head);
    let (whole, tail) = rest.as_chunks();
    for word in whole {
        // SAFETY: `to` is aligned after the head, and the word lies inside the range.
        unsafe { at(to) }.store(u64::from_ne_bytes(*word), Ordering::Relaxed);
        to = to.wrapping_add(WORD);
    }
    if !tail.is_empty() {
        // SAFETY: as above; the word holds at least one byte of the range.
        merge(unsafe { at(to) }, 0, tail);
    }
}

/// Copies `len` bytes between regions that may overlap: the outcome is that of a copy through a third place.
///
/// # Safety
///
/// Both regions must be word memory.
pub(super) unsafe fn copy(from: *const u8, to: *mut u8, len: usize) {
    let mut block = [0; BLOCK];
    // Going up, a block is written where the source has been read already, if the destination lies below; going down,
    // if it lies above.
    let down = to.addr() > from.addr();
    let mut done = 0;
    while done < len {
        let n = BLOCK.min(len - done);
        let at = if down { len - done - n } else { done };
        // SAFETY: the caller's promise, for `at + n <= len`.
        unsafe {
            load(from.wrapping_add(at), &mut block[..n]);
            store(&block[..n], to.wrapping_add(at));
        }
        done += n;
    }
}

/// Copies `len` bytes to two places and reads each byte once. The regions must not overlap.
///
/// # Safety
///
/// All three regions must be word memory.
pub(super) unsafe fn copy_twice(from: *const u8, to: [*mut u8; 2], len: usize) {
    let mut block = [0; BLOCK];
    let mut done = 0;
    while done < len {
        let n = BLOCK.min(len - done);
        // SAFETY: the caller's promise, for `done + n <= len`.
        unsafe {
            load(from.wrapping_add(done), &mut block[..n]);
            for to in to {
                store(&block[..n], to.wrapping_add(done));
            }
        }
        done += n;
    }
}

/// Repeats a pattern over `len` bytes.
///
/// # Safety
///
/// The region must be word memory.
pub(super) unsafe fn fill(to: *mut u8, len: usize, pattern: [u8; 16]) {
    let block: [u8; BLOCK] = std::array::from_fn(|i| pattern[i % 16]);
    let mut done = 0;
    while done < len {
        let n = BLOCK.min(len - done);
        // SAFETY: the caller's promise, for `done + n <= len`. Blocks are whole repetitions of the pattern.
        unsafe { store(&block[..n], to.wrapping_add(done)) };
        done += n;
    }
}

/// Writes a completion record, the word with the status byte last and with release ordering.
///
/// # Safety
///
/// The 32 bytes at `to` must be word memory, and `to` aligned to 8.
pub(super) unsafe fn store_record(record: &[u8; 32], to: *mut u8) {
    let (first, rest) = record.split_at(WORD);
    // SAFETY: the caller's promise; `store` needs nothing of the first word because `to` is aligned.
    unsafe { store(rest, to.wrapping_add(WORD)) };
    let mut word = [0; WORD];
    word.copy_from_slice(first);
    // SAFETY: the caller's promise.
    unsafe { at(to) }.store(u64::from_ne_bytes(word), Ordering::Release);
}

/// Loads one byte with acquire ordering.
///
/// # Safety
///
/// The byte must be word memory.
pub(super) unsafe fn load_acquire(from: *const u8) -> u8 {
    let skip = from.addr() % WORD;
    // SAFETY: the caller's promise.
    unsafe { at(from.wrapping_sub(skip)) }.load(Ordering::Acquire).to_ne_bytes()[skip]
}

/// How far `ptr` is into its word, and how many bytes of a range of `len` come before the next word (0 if aligned).
fn head(ptr: *const u8, len: usize) -> (usize, usize) {
    let skip = ptr.addr() % WORD;
    (skip, if skip == 0 { 0 } else { len.min(WORD - skip) })
}

/// # Safety
///
/// `ptr` must be aligned to 8, and the word there as the module describes.
unsafe fn at<'a>(ptr: *const u8) -> &'a AtomicU64 {
    debug_assert!(ptr.addr().is_multiple_of(WORD));
    // SAFETY: aligned and valid by the caller's promise; all access while the reference is used is atomic.
    unsafe { AtomicU64::from_ptr(ptr.cast_mut().cast()) }
}

/// Replaces the bytes of a word from `skip` on and leaves the others as they are, also if they change meanwhile.
fn merge(word: &AtomicU64, skip: usize, bytes: &[u8]) {
    let (mut mask, mut new) = ([0; WORD], [0; WORD]);
    mask[skip..skip + bytes.len()].fill(0xff);
    new[skip..skip + bytes.len()].copy_from_slice(bytes);
    let (mask, new) = (u64::from_ne_bytes(mask), u64::from_ne_bytes(new));
    let mut old = word.load(Ordering::Relaxed);
    while let Err(now) = word.compare_exchange_weak(old, old & !mask | new, Ordering::Relaxed, Ordering::Relaxed) {
        old = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[repr(align(64))]
    struct Aligned([u8; 2048]);

    fn noise() -> Aligned {
        Aligned(std::array::from_fn(|i| (i * 7 + i / 251) as u8))
    }

    #[test]
    fn every_alignment_and_length_moves_exactly_the_bytes() {
        for skip in 0..9 {
            for len in 0..40 {
                let mut memory = noise();
                let before = memory.0;
                let mut out = vec![0xee; len];
                // SAFETY: the array is initialised, aligned, long enough, and ours alone.
                unsafe {
                    load(memory.0.as_ptr().wrapping_add(skip), &mut out);
                    assert_eq!(out, before[skip..skip + len]);
                    out.fill(0xaa);
                    store(&out, memory.0.as_mut_ptr().wrapping_add(skip));
                }
                let expected = |i: usize| if (skip..skip + len).contains(&i) { 0xaa } else { before[i] };
                assert!((0..2048).all(|i| memory.0[i] == expected(i)), "{skip} {len}");
            }
        }
    }

    #[test]
    fn overlapping_copies_equal_copy_within() {
        for (from, to) in [(0, 3), (3, 0), (5, 5), (1, 700), (700, 1), (8, 16), (16, 8)] {
            for len in [0, 1, 8, 100, 511, 512, 513, 1200] {
                let mut memory = noise();
                let mut model = memory.0;
                model.copy_within(from..from + len, to);
                let base = memory.0.as_mut_ptr();
                // SAFETY: as above.
                unsafe { copy(base.wrapping_add(from), base.wrapping_add(to), len) };
                assert!(memory.0 == model, "{from} {to} {len}");
            }
        }
    }

    #[test]
    fn patterns_start_at_the_first_byte() {
        let pattern = std::array::from_fn(|i| i as u8 + 1);
        for len in [1, 15, 16, 17, 600, 1100] {
            let mut memory = Aligned([0; 2048]);
            // SAFETY: as above.
            unsafe { fill(memory.0.as_mut_ptr().wrapping_add(5), len, pattern) };
            let expected = |i: usize| if (5..5 + len).contains(&i) { (i - 5) as u8 % 16 + 1 } else { 0 };
            assert!((0..2048).all(|i| memory.0[i] == expected(i)), "{len}");
        }
    }

    /// Two threads that write neighbouring bytes of one word must not undo each other's writes.
    #[test]
    fn neighbours_in_a_word_do_not_disturb_each_other() {
        let word = AtomicU64::new(0);
        let base = word.as_ptr().cast::<u8>().expose_provenance();
        std::thread::scope(|s| {
            for i in 0..4 {
                s.spawn(move || {
                    let mine = std::ptr::with_exposed_provenance_mut::<u8>(base + 2 * i);
                    for n in 0..1000u16 {
                        let mut back = [0; 2];
                        // SAFETY: two bytes of a word that everybody here accesses through this module.
                        unsafe {
                            store(&n.to_ne_bytes(), mine);
                            load(mine, &mut back);
                        }
                        assert_eq!(u16::from_ne_bytes(back), n);
                    }
                });
            }
        });
    }
}
