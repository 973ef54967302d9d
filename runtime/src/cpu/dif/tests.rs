//! The data-integrity operations against a model that knows one block at a time and one bit at a time.

use proptest::prelude::*;

use std::ptr;

use idxd_sys::dif::{
    ALL_F, APP_MISMATCH, DEST_APP_INCREMENTS, DEST_APP_PASS, DEST_GUARD_PASS, DEST_REF_FIXED, DEST_REF_PASS,
    GUARD_MISMATCH, INVERT_RESULT, INVERT_SEED, REF_MISMATCH, SOURCE_APP_INCREMENTS, SOURCE_F_ALL, SOURCE_F_ALL_ERROR,
    SOURCE_F_APP, SOURCE_F_APP_REF, SOURCE_GUARD_UNCHECKED, SOURCE_REF_FIXED, SOURCE_REF_UNCHECKED,
};

use super::*;
use crate::cpu::guard::Guarded;

mod guards;
mod reach;

const SIZES: [usize; 4] = [512, 520, 4096, 4104];

/// The guard as appendix B words it: a division of polynomials, most significant bit first.
fn bitwise_guard(flags: u8, data: &[u8]) -> u16 {
    let mut state = if flags & INVERT_SEED != 0 { 0xffff } else { 0_u16 };
    for &byte in data {
        state ^= u16::from(byte) << 8;
        for _ in 0..8 {
            state = if state & 0x8000 != 0 { (state << 1) ^ 0x8bb7 } else { state << 1 };
        }
    }
    if flags & INVERT_RESULT != 0 { !state } else { state }
}

/// The tuple of block `index`, as bytes.
fn tuple(flags: u8, side: u8, tags: DifTags, index: usize, data: &[u8]) -> [u8; 8] {
    let reference = if side & DEST_REF_FIXED != 0 { tags.reference } else { tags.reference.wrapping_add(index as u32) };
    let application =
        if side & DEST_APP_INCREMENTS != 0 { tags.application.wrapping_add(index as u16) } else { tags.application };
    let mut bytes = [0; 8];
    bytes[..2].copy_from_slice(&bitwise_guard(flags, data).to_be_bytes());
    bytes[2..4].copy_from_slice(&(application & !tags.mask).to_be_bytes());
    bytes[4..].copy_from_slice(&reference.to_be_bytes());
    bytes
}

/// The tags after `blocks` blocks.
fn after(side: u8, tags: DifTags, blocks: usize) -> DifTags {
    let reference = if side & DEST_REF_FIXED != 0 { 0 } else { blocks as u32 };
    let application = if side & DEST_APP_INCREMENTS != 0 { blocks as u16 } else { 0 };
    DifTags::new(tags.reference.wrapping_add(reference), tags.mask, tags.application.wrapping_add(application))
}

/// Data with a tuple behind each block.
fn protected(flags: u8, side: u8, tags: DifTags, data: &[u8]) -> Vec<u8> {
    let block = SIZES[usize::from(flags & 3)];
    let mut out = Vec::new();
    for (index, data) in data.chunks_exact(block).enumerate() {
        out.extend_from_slice(data);
        out.extend_from_slice(&tuple(flags, side, tags, index, data));
    }
    out
}

fn pseudo_random(len: usize, seed: u64) -> Vec<u8> {
    (0..len as u64).map(|at| ((at ^ seed).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect()
}

/// What each way that this CPU has makes of a case. They must not differ.
fn by_all<T: PartialEq + std::fmt::Debug>(run: impl Fn(Way) -> T) -> T {
    let expected = run(Way::Tables);
    for way in ways() {
        assert_eq!(run(way), expected, "{way:?}");
    }
    expected
}

/// The ways that this CPU has.
fn ways() -> impl Iterator<Item = Way> {
    Tier::available().map(Way::of)
}

fn check(flags: u8, source: DifSource, src: &[u8]) -> Result<DifTags, DifError> {
    // SAFETY: a slice of that length; the CPU has the way.
    by_all(|way| unsafe { way::check(way, flags, source, src.as_ptr(), src.len()) })
}

fn insert(flags: u8, destination: DifDestination, src: &[u8]) -> (Vec<u8>, DifTags) {
    by_all(|way| {
        let mut out = vec![0xa5; src.len() + src.len() / SIZES[usize::from(flags & 3)] * 8];
        // SAFETY: a slice of that length, and a destination with 8 bytes more for each block.
        let tags = unsafe { way::insert(way, flags, destination, src.as_ptr(), out.as_mut_ptr(), src.len()) };
        (out, tags)
    })
}

fn insert_past(flags: u8, destination: DifDestination, src: &[u8]) -> (Vec<u8>, DifTags) {
    by_all(|way| {
        let mut out = vec![0xa5; src.len() + src.len() / SIZES[usize::from(flags & 3)] * 8];
        // SAFETY: as above.
        let tags = unsafe { way::insert_past(way, flags, destination, src.as_ptr(), out.as_mut_ptr(), src.len()) };
        (out, tags)
    })
}

fn strip(flags: u8, source: DifSource, src: &[u8]) -> (Vec<u8>, Result<DifTags, DifError>) {
    by_all(|way| {
        let mut out = vec![0xa5; src.len() - src.len() / (SIZES[usize::from(flags & 3)] + 8) * 8];
        // SAFETY: a slice of that length, and a destination with 8 bytes less for each block.
        let result = unsafe { way::strip(way, flags, source, src.as_ptr(), out.as_mut_ptr(), src.len()) };
        (out, result)
    })
}

fn update(
    flags: u8,
    source: DifSource,
    destination: DifDestination,
    src: &[u8],
) -> (Vec<u8>, Result<(DifTags, DifTags), DifError>) {
    by_all(|way| {
        let mut out = vec![0xa5; src.len()];
        let (from, to) = (src.as_ptr(), out.as_mut_ptr());
        // SAFETY: a slice of that length, and a destination of the same.
        let result = unsafe { way::update(way, flags, source, destination, from, to, src.len()) };
        (out, result)
    })
}

fn generate(flags: u8, destination: DifDestination, src: &[u8]) -> (Vec<u8>, DifTags) {
    by_all(|way| {
        let mut out = vec![0xa5; src.len() / SIZES[usize::from(flags & 3)] * 8];
        // SAFETY: a slice of that length, and a destination of 8 bytes for each block.
        let tags = unsafe { way::generate(way, flags, destination, src.as_ptr(), out.as_mut_ptr(), src.len()) };
        (out, tags)
    })
}

#[test]
fn the_guard_is_the_crc_of_t10() {
    assert_eq!(bitwise_guard(0, b"123456789"), 0xd0db);
    assert_eq!(crc_fast::checksum(crc_fast::CrcAlgorithm::Crc16T10Dif, b"123456789"), 0xd0db);
    for block in 0..4 {
        for case in 0..4 {
            let flags = block | case << 2;
            for data in [vec![0; SIZES[usize::from(block)]], pseudo_random(SIZES[usize::from(block)], 7)] {
                let (out, _) = generate(flags, DifDestination::default(), &data);
                assert_eq!(out[..2], bitwise_guard(flags, &data).to_be_bytes(), "flags {flags:#x}");
            }
        }
    }
}

#[test]
fn a_tuple_is_big_endian_guard_application_reference() {
    let data = [0; 512];
    let destination = DifDestination::new(0, DifTags::new(0x0102_0304, 0xff00, 0xabcd));
    let (out, _) = insert(INVERT_RESULT, destination, &data);
    assert_eq!(out[..512], data);
    assert_eq!(out[512..], [0xff, 0xff, 0x00, 0xcd, 1, 2, 3, 4]);
    let (out, _) = generate(0, destination, &data);
    assert_eq!(out, [0, 0, 0x00, 0xcd, 1, 2, 3, 4]);
}

#[test]
fn tags_wrap_and_masks_hide_what_they_count() {
    let data = pseudo_random(5 * 512, 1);
    let tags = DifTags::new(u32::MAX - 1, 0x0001, 0xfffe);
    let (out, last) = generate(0, DifDestination::new(DEST_APP_INCREMENTS, tags), &data);
    let seen: Vec<_> = out.chunks(8).map(|t| (u16::from_be_bytes([t[2], t[3]]), t[7])).collect();
    assert_eq!(seen, [(0xfffe, 0xfe), (0xfffe, 0xff), (0, 0), (0, 1), (2, 2)]);
    assert_eq!(last, DifTags::new(3, 1, 3));
    let (out, last) = generate(0, DifDestination::new(DEST_REF_FIXED, tags), &data);
    assert!(out.chunks(8).all(|t| t[2..] == [0xff, 0xfe, 0xff, 0xff, 0xff, 0xfe]));
    assert_eq!(last, tags);
}

#[test]
fn every_mismatch_is_reported_with_the_bytes_before_its_block() {
    let tags = DifTags::new(7, 0, 9);
    for block in 0..4 {
        let step = SIZES[usize::from(block)] + 8;
        // More than two groups of short blocks.
        let blocks = if block < 2 { 10 } else { 4 };
        let good = protected(block, 0, tags, &pseudo_random(blocks * SIZES[usize::from(block)], 3));
        assert_eq!(check(block, DifSource::new(0, tags), &good), Ok(DifTags::new(7 + blocks as u32, 0, 9)));
        for index in 0..blocks {
            let tuple = index * step + step - 8;
            let cases = [
                (tuple - 1, GUARD_MISMATCH, SOURCE_GUARD_UNCHECKED),
                (tuple, GUARD_MISMATCH, SOURCE_GUARD_UNCHECKED),
                (tuple + 1, GUARD_MISMATCH, SOURCE_GUARD_UNCHECKED),
                (tuple + 2, APP_MISMATCH, 0),
                (tuple + 3, APP_MISMATCH, 0),
                (tuple + 4, REF_MISMATCH, SOURCE_REF_UNCHECKED),
                (tuple + 7, REF_MISMATCH, SOURCE_REF_UNCHECKED),
            ];
            for (at, status, off) in cases {
                let mut bad = good.clone();
                bad[at] ^= 0x20;
                let error = DifError { status, completed: index * step };
                let source = DifSource::new(0, tags);
                assert_eq!(check(block, source, &bad), Err(error));
                let (out, result) = strip(block, source, &bad);
                assert_eq!(result, Err(error));
                let block_len = step - 8;
                for done in 0..index {
                    assert_eq!(out[done * block_len..][..block_len], good[done * step..][..block_len]);
                }
                let (out, result) = update(block, source, DifDestination::default(), &bad);
                assert_eq!(result, Err(error));
                assert!(out[index * step..].iter().all(|&byte| byte == 0xa5), "the bad block is not copied");
                let lenient = match off {
                    0 => DifSource::new(0, DifTags::new(7, 0xffff, 9)),
                    flag => DifSource::new(flag, tags),
                };
                assert!(check(block, lenient, &bad).is_ok());
            }
        }
        let mut bad = good.clone();
        for at in [step + 1, 2 * step - 5, 2 * step - 1] {
            bad[at] ^= 0xff;
        }
        let error = DifError { status: GUARD_MISMATCH | APP_MISMATCH | REF_MISMATCH, completed: step };
        assert_eq!(check(block, DifSource::new(0, tags), &bad), Err(error));
    }
}

#[test]
fn tuples_of_ones_are_let_pass_by_the_flag_that_names_them() {
    let tags = DifTags::new(7, 0, 9);
    let ones = [0xff; 8];
    let app_and_ref = [0, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
    let app = [0, 1, 0xff, 0xff, 0, 0, 0, 1];
    let every = GUARD_MISMATCH | APP_MISMATCH | REF_MISMATCH;
    let cases: [(u8, [u8; 3]); 8] = [
        // Status for a tuple with ones in: application tag; application and reference tag; all fields.
        (0, [every, every, every]),
        (SOURCE_F_ALL, [every, every, 0]),
        (SOURCE_F_ALL | SOURCE_F_ALL_ERROR, [every, every, ALL_F]),
        (SOURCE_F_ALL_ERROR, [every, every, every]),
        (SOURCE_F_APP, [0, 0, 0]),
        (SOURCE_F_APP_REF, [every, 0, 0]),
        (SOURCE_F_APP_REF | SOURCE_F_ALL | SOURCE_F_ALL_ERROR, [every, 0, ALL_F]),
        (SOURCE_F_APP | SOURCE_F_ALL | SOURCE_F_ALL_ERROR, [0, 0, ALL_F]),
    ];
    for (flags, expected) in cases {
        for (tuple, status) in [app, app_and_ref, ones].into_iter().zip(expected) {
            let mut data = pseudo_random(512, 5);
            data.extend_from_slice(&tuple);
            let result = check(0, DifSource::new(flags, tags), &data);
            if status == 0 {
                assert_eq!(result, Ok(DifTags::new(8, 0, 9)), "flags {flags:#x}");
            } else {
                assert_eq!(result, Err(DifError { status, completed: 0 }), "flags {flags:#x}");
            }
        }
    }
}

#[test]
fn bits_under_the_mask_do_not_match_unless_nothing_is_compared() {
    let data = pseudo_random(512, 9);
    let stored = protected(0, 0, DifTags::new(1, 0, 0x1234), &data);
    let masked = |mask| check(0, DifSource::new(0, DifTags::new(1, mask, 0x1234)), &stored);
    assert!(masked(0).is_ok());
    assert!(masked(0x0003).is_ok());
    assert_eq!(masked(0xf000), Err(DifError { status: APP_MISMATCH, completed: 0 }));
    assert!(masked(0xffff).is_ok());
}

#[test]
fn an_update_passes_on_what_it_is_told_to() {
    let data = pseudo_random(3 * 520, 2);
    let (old, new) = (DifTags::new(7, 0, 9), DifTags::new(100, 0xf, 0x777));
    // Checked with one seed, written with it too: the guard cannot tell; so the source is not checked here.
    let src = protected(1, 0, old, &data);
    let source = DifSource::new(SOURCE_GUARD_UNCHECKED, old);
    for passed in 0..8_u8 {
        let flag = |bit: u8, flag: u8| if passed >> bit & 1 != 0 { flag } else { 0 };
        let side = flag(0, DEST_GUARD_PASS) | flag(1, DEST_APP_PASS) | flag(2, DEST_REF_PASS);
        let flags = 1 | INVERT_SEED;
        let (out, result) = update(flags, source, DifDestination::new(side, new), &src);
        assert_eq!(result, Ok((after(0, old, 3), after(0, new, 3))));
        for (index, (out, src)) in out.chunks(528).zip(src.chunks(528)).enumerate() {
            assert_eq!(out[..520], src[..520]);
            let fresh = tuple(flags, 0, new, index, &src[..520]);
            for (bit, range) in [(0, 0..2), (1, 2..4), (2, 4..8)] {
                let from = if passed >> bit & 1 != 0 { &src[520..] } else { &fresh };
                assert_eq!(out[520..][range.clone()], from[range]);
            }
        }
    }
}

#[test]
fn nothing_is_touched_beyond_the_regions() {
    for block in 0..4_u8 {
        let size = SIZES[usize::from(block)];
        let data = pseudo_random(3 * size, 4);
        let tags = DifTags::new(1, 2, 3);
        let whole = protected(block, 0, tags, &data);
        let (plain, full, small) = (Guarded::new(data.len()), Guarded::new(whole.len()), Guarded::new(24));
        let (source, destination) = (DifSource::new(0, tags), DifDestination::new(0, tags));
        let last = after(0, tags, 3);
        let src = plain.put(&data);
        // SAFETY: regions of exactly the lengths that the operations are to touch, each in a mapping of its own.
        unsafe {
            assert_eq!(dif_insert(block, destination, src, full.end(whole.len()), data.len()), last);
            assert_eq!(full.bytes(whole.len()), whole);
            assert_eq!(dix_generate(block, destination, src, small.end(24), data.len()), last);
            let src = full.end(whole.len());
            assert_eq!(dif_check(block, source, src, whole.len()), Ok(last));
            let back = Guarded::new(data.len());
            assert_eq!(dif_strip(block, source, src, back.end(data.len()), whole.len()), Ok(last));
            assert_eq!(back.bytes(data.len()), data);
            let other = Guarded::new(whole.len());
            let to = other.end(whole.len());
            assert_eq!(dif_update(block, source, destination, src, to, whole.len()), Ok((last, last)));
            assert_eq!(other.bytes(whole.len()), whole);
        }
        let tuples: Vec<u8> = whole.chunks(size + 8).flat_map(|chunk| &chunk[size..]).copied().collect();
        assert_eq!(small.bytes(24), tuples);
    }
}

#[test]
fn nothing_is_touched_for_length_zero() {
    let (source, destination) = (DifSource::default(), DifDestination::default());
    let (null, null_mut) = (ptr::null(), ptr::null_mut());
    // SAFETY: the pointers may be anything for length 0.
    unsafe {
        assert_eq!(dif_check(0, source, null, 0), Ok(source.tags));
        assert_eq!(dif_insert(0, destination, null, null_mut, 0), destination.tags);
        assert_eq!(dif_strip(0, source, null, null_mut, 0), Ok(source.tags));
        assert_eq!(dif_update(0, source, destination, null, null_mut, 0), Ok((source.tags, destination.tags)));
        assert_eq!(dix_generate(0, destination, null, null_mut, 0), destination.tags);
    }
}

fn tags() -> impl Strategy<Value = DifTags> {
    let edge = prop_oneof![any::<u32>(), Just(u32::MAX), Just(u32::MAX - 1)];
    let mask = prop_oneof![any::<u16>(), Just(0), Just(0xffff), Just(1)];
    (edge, mask, any::<u16>()).prop_map(|(reference, mask, application)| DifTags::new(reference, mask, application))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn all_operations_follow_the_model(
        flags in 0_u8..16, side in any::<u8>(), source_side in any::<u8>(), tags in tags(), other in tags(),
        blocks in 1_usize..10, seed in any::<u64>(), shift in 0_usize..64, cut in any::<prop::sample::Index>(),
    ) {
        let size = SIZES[usize::from(flags & 3)];
        let data = pseudo_random(blocks * size + shift, seed);
        let data = &data[shift..];
        let destination = DifDestination::new(side, tags);
        let whole = protected(flags, side, tags, data);
        let last = after(side, tags, blocks);
        prop_assert_eq!(insert(flags, destination, data), (whole.clone(), last));
        prop_assert_eq!(insert_past(flags, destination, data), (whole.clone(), last));
        let tuples: Vec<u8> = whole.chunks(size + 8).flat_map(|chunk| &chunk[size..]).copied().collect();
        prop_assert_eq!(generate(flags, destination, data), (tuples, last));

        // The two flags that count mean the same for the source.
        let source = DifSource::new(side & (SOURCE_REF_FIXED | SOURCE_APP_INCREMENTS), tags);
        prop_assert_eq!(check(flags, source, &whole), Ok(last));
        prop_assert_eq!(strip(flags, source, &whole), (data.to_vec(), Ok(last)));
        let renewed = DifDestination::new(source_side & (DEST_REF_FIXED | DEST_APP_INCREMENTS), other);
        let (out, result) = update(flags, source, renewed, &whole);
        prop_assert_eq!(result, Ok((last, after(renewed.flags, other, blocks))));
        prop_assert_eq!(out, protected(flags, renewed.flags, other, data));

        // In two parts, the second with the tags of the first.
        let cut = cut.index(blocks + 1);
        let (first, middle) = insert(flags, destination, &data[..cut * size]);
        let (second, end) = insert(flags, DifDestination::new(side, middle), &data[cut * size..]);
        prop_assert_eq!(([first, second].concat(), end), (whole.clone(), last));
        let middle = check(flags, source, &whole[..cut * (size + 8)]).unwrap();
        prop_assert_eq!(check(flags, DifSource::new(source.flags, middle), &whole[cut * (size + 8)..]), Ok(last));
    }
}
