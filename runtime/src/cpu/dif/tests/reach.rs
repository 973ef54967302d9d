//! What the ways read and write: every alignment, several numbers of blocks, and nothing beyond.

use super::*;

/// Bytes round a destination.
const CANARY: usize = 80;

const TAGS: DifTags = DifTags::new(0x0102_0304, 0x0030, 0x1234);
const FLAGS: u8 = INVERT_SEED;

/// Data and the same with tuples.
fn case(block: u8, blocks: usize) -> (Vec<u8>, Vec<u8>) {
    let data = pseudo_random(blocks * SIZES[usize::from(block)], blocks as u64);
    let whole = protected(block | FLAGS, 0, TAGS, &data);
    (data, whole)
}

fn tuples(whole: &[u8], size: usize) -> Vec<u8> {
    whole.chunks(size + 8).flat_map(|chunk| &chunk[size..]).copied().collect()
}

/// Every operation of a way, from `src` and `protected` to `dst`, which is looked at after each.
///
/// # Safety
///
/// The pointers are those of the data, of the data with tuples, and of a destination for that; the CPU has the way.
unsafe fn run_all(
    way: Way,
    block: u8,
    (data, whole): (&[u8], &[u8]),
    (src, protected): (*const u8, *const u8),
    dst: *mut u8,
    look: impl Fn(&[u8]),
) {
    let flags = block | FLAGS;
    let size = SIZES[usize::from(block)];
    let (source, destination) = (DifSource::new(0, TAGS), DifDestination::new(0, TAGS));
    let last = after(0, TAGS, data.len() / size);
    // SAFETY: the caller's promise.
    unsafe {
        assert_eq!(way::insert(way, flags, destination, src, dst, data.len()), last);
        look(whole);
        assert_eq!(way::insert_past(way, flags, destination, src, dst, data.len()), last);
        look(whole);
        assert_eq!(way::generate(way, flags, destination, src, dst, data.len()), last);
        look(&tuples(whole, size));
        assert_eq!(way::check(way, flags, source, protected, whole.len()), Ok(last));
        assert_eq!(way::strip(way, flags, source, protected, dst, whole.len()), Ok(last));
        look(data);
        for source in [source, DifSource::new(SOURCE_GUARD_UNCHECKED, TAGS)] {
            let result = way::update(way, flags, source, destination, protected, dst, whole.len());
            assert_eq!(result, Ok((last, last)));
            look(whole);
        }
    }
}

/// Source and destination at addresses that are so much more than a multiple of 64, with canaries round the destination.
fn at(way: Way, block: u8, (data, whole): (&[u8], &[u8]), (first, second): (usize, usize), room: &mut [Vec<u8>; 3]) {
    let start = |room: &[u8], alignment| room.as_ptr().align_offset(64) + alignment;
    let [src, protected, dst] = room;
    let (from, from_protected, to) = (start(src, first), start(protected, first), start(dst, second) + 64);
    src[from..][..data.len()].copy_from_slice(data);
    protected[from_protected..][..whole.len()].copy_from_slice(whole);
    dst.fill(0xa5);
    let room = (dst.as_mut_ptr(), dst.len());
    let look = |expected: &[u8]| {
        // SAFETY: the destination, to which nobody writes now.
        let dst = unsafe { std::slice::from_raw_parts_mut(room.0, room.1) };
        let end = to + expected.len();
        assert!(dst[to..end] == *expected, "{way:?}, code {block}, at {first} and {second}");
        let canaries = dst[to - 64..to].iter().chain(&dst[end..end + CANARY]);
        assert!(canaries.copied().all(|byte| byte == 0xa5), "{way:?}, code {block}, at {first} and {second}");
        dst[to..end].fill(0xa5);
    };
    // SAFETY: each in a buffer with room for it and an alignment.
    unsafe {
        let from = (src.as_ptr().add(from), protected.as_ptr().add(from_protected));
        run_all(way, block, (data, whole), from, room.0.add(to), look);
    }
}

fn room(len: usize) -> [Vec<u8>; 3] {
    [(); 3].map(|()| vec![0; len + 4 * 64 + CANARY])
}

#[test]
fn any_number_of_blocks_at_any_alignment_and_nothing_round_it() {
    for block in 0..4 {
        for blocks in (1..=9).chain([64]) {
            let (data, whole) = case(block, blocks);
            let mut room = room(whole.len());
            // Long blocks and many of them at fewer places: they are loops over what the others do once.
            let step = match blocks * SIZES[usize::from(block)] {
                0..=3000 => 1,
                3001..=6000 => 3,
                6001..=40_000 => 13,
                _ => 29,
            };
            for first in (0..64).step_by(step) {
                let second = (first * 29 + blocks * 7) % 64;
                for way in ways() {
                    at(way, block, (&data, &whole), (first, second), &mut room);
                }
            }
        }
    }
}

#[test]
fn every_pair_of_alignments_for_a_group_and_a_block() {
    let (data, whole) = case(1, 5);
    let mut room = room(whole.len());
    for first in 0..64 {
        for second in (first % 3..64).step_by(3) {
            for way in ways() {
                at(way, 1, (&data, &whole), (first, second), &mut room);
            }
        }
    }
}

#[test]
fn no_page_before_or_behind_is_touched() {
    for block in 0..4 {
        for blocks in [1, 2, 3, 4, 5, 9] {
            let (data, whole) = case(block, blocks);
            let [src, protected, dst] = [data.len(), whole.len(), whole.len()].map(Guarded::new);
            for way in ways() {
                // SAFETY: both ends of regions that nobody else uses, of which each operation touches as much as it should.
                unsafe {
                    let from = (src.put(&data).cast_const(), protected.put(&whole).cast_const());
                    for (len, operation) in [(whole.len(), 0), (whole.len() - data.len(), 1), (data.len(), 2)] {
                        one(way, block, operation, from, dst.end(len), (data.len(), whole.len()));
                    }
                    ptr::copy(data.as_ptr(), src.start(), data.len());
                    ptr::copy(whole.as_ptr(), protected.start(), whole.len());
                    let from = (src.start().cast_const(), protected.start().cast_const());
                    for operation in 0..3 {
                        one(way, block, operation, from, dst.start(), (data.len(), whole.len()));
                    }
                }
            }
        }
    }
}

/// Insert and update, generate, or check and strip.
///
/// # Safety
///
/// As of [`run_all`], with a destination for the operation.
unsafe fn one(
    way: Way,
    block: u8,
    operation: u8,
    (src, protected): (*const u8, *const u8),
    dst: *mut u8,
    (data, whole): (usize, usize),
) {
    let flags = block | FLAGS;
    let (source, destination) = (DifSource::new(0, TAGS), DifDestination::new(0, TAGS));
    let last = after(0, TAGS, data / SIZES[usize::from(block)]);
    // SAFETY: the caller's promise.
    unsafe {
        if operation == 0 {
            assert_eq!(way::insert(way, flags, destination, src, dst, data), last);
            assert_eq!(way::insert_past(way, flags, destination, src, dst, data), last);
            let result = way::update(way, flags, source, destination, protected, dst, whole);
            assert_eq!(result, Ok((last, last)));
        } else if operation == 1 {
            assert_eq!(way::generate(way, flags, destination, src, dst, data), last);
        } else {
            assert_eq!(way::check(way, flags, source, protected, whole), Ok(last));
            assert_eq!(way::strip(way, flags, source, protected, dst, whole), Ok(last));
        }
    }
}

#[test]
fn a_rest_that_is_no_block_is_left_alone() {
    let (data, whole) = case(0, 5);
    for rest in [1, 7, 511] {
        let (len, full) = (data.len() - 512 + rest, whole.len() - 520 + rest);
        let (out, _) = insert(FLAGS, DifDestination::new(0, TAGS), &data[..len]);
        assert!(out[..4 * 520] == whole[..4 * 520] && out[4 * 520..].iter().all(|&byte| byte == 0xa5));
        assert_eq!(check(FLAGS, DifSource::new(0, TAGS), &whole[..full]), Ok(after(0, TAGS, 4)));
        let (out, _) = strip(FLAGS, DifSource::new(0, TAGS), &whole[..full]);
        assert!(out[..4 * 512] == data[..4 * 512] && out[4 * 512..].iter().all(|&byte| byte == 0xa5));
    }
}

#[test]
fn a_hint_changes_nothing_but_the_way() {
    let limits = DifLimits::DEFAULT;
    for block in 0..4 {
        let size = SIZES[usize::from(block)];
        let from = if block < 2 { limits.cold_short } else { limits.cold_long };
        for len in [from - 1, from, from + 1] {
            assert_eq!(limits.is_past(Hint::Cold, block, len), len >= from);
            let data = pseudo_random(len, 3);
            let blocks = len / size;
            let whole = protected(block, 0, TAGS, &data);
            for hint in [Hint::Unknown, Hint::Cold, Hint::Hot] {
                let mut out = vec![0xa5; whole.len() + CANARY];
                let destination = DifDestination::new(0, TAGS);
                // SAFETY: a source of that length, and a destination with room for its blocks and their tuples.
                let tags =
                    unsafe { dif_insert_with(hint, block, destination, data.as_ptr(), out.as_mut_ptr(), data.len()) };
                assert_eq!(tags, after(0, TAGS, blocks));
                assert!(out[..whole.len()] == whole && out[whole.len()..].iter().all(|&byte| byte == 0xa5));
            }
        }
    }
    for len in [limits.unknown - 1, limits.unknown] {
        assert_eq!(limits.is_past(Hint::Unknown, 0, len), len == limits.unknown);
        assert!(!limits.is_past(Hint::Hot, 0, len));
    }
}
