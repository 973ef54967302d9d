//! Tests of all tiers against an oracle that goes word by word.

use proptest::prelude::*;

use super::*;
use crate::cpu::sweep::{Guarded, alignments};

/// The record of all differences, one word after the other.
fn oracle(first: &[u8], second: &[u8]) -> Vec<u8> {
    let mut record = Vec::new();
    for (index, (a, b)) in first.chunks(8).zip(second.chunks(8)).enumerate() {
        if a != b {
            record.push((index % 256) as u8);
            record.push((index / 256) as u8);
            record.extend_from_slice(b);
        }
    }
    record
}

type Create = unsafe fn(*const u8, *const u8, usize, *mut u8, usize) -> Delta;

/// Every tier, the way without vectors, and the public function.
fn ways() -> Vec<(String, Create)> {
    let mut ways: Vec<(String, Create)> = vec![("public".into(), create_delta)];
    // SAFETY: the promises of `create_delta` are those asked for.
    ways.push(("scalar".into(), |first, second, len, record, max| unsafe {
        create::kernel::<words::Scalar>(first, second, 0..len, record, DeltaSoFar { size: 0, max })
    }));
    macro_rules! of {
        ($tier:expr) => {
            // SAFETY: as above; what is not available is left out below.
            ($tier.to_string(), |first, second, len, record, max| unsafe {
                create_delta_at($tier, first, second, 0..len, record, DeltaSoFar { size: 0, max })
            })
        };
    }
    let tiers: [(String, Create); 3] = [of!(Tier::Portable), of!(Tier::Avx2), of!(Tier::Avx512)];
    ways.extend(tiers.into_iter().filter(|(name, _)| Tier::named(name) <= Some(Tier::of_cpu())));
    ways
}

fn create(first: &[u8], second: &[u8], max: usize) -> (Delta, Vec<u8>) {
    assert_eq!(first.len(), second.len());
    let mut results = ways().into_iter().map(|(name, create)| {
        let mut record = vec![0xa5; max + 16];
        // SAFETY: two slices of that length, and a record of more than `max` bytes.
        let delta = unsafe { create(first.as_ptr(), second.as_ptr(), first.len(), record.as_mut_ptr(), max) };
        let rest = &record[delta.size()..];
        assert!(rest.iter().all(|&byte| byte == 0xa5), "nothing beyond the record is written: {name}");
        record.truncate(delta.size());
        (delta, record, name)
    });
    let (delta, record, _) = results.next().unwrap();
    for (other, bytes, name) in results {
        assert_eq!(other, delta, "{name}");
        assert!(bytes == record, "{name}");
    }
    (delta, record)
}

fn apply(record: &[u8], dst: &mut [u8]) -> Result<(), DeltaError> {
    // SAFETY: two slices of those lengths.
    unsafe { apply_delta(record.as_ptr(), record.len(), dst.as_mut_ptr(), dst.len()) }
}

fn pseudo_random(len: usize) -> Vec<u8> {
    (0..len as u64).map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect()
}

#[test]
fn a_record_has_the_bytes_that_the_specification_draws() {
    let first = vec![0; 0x1000];
    let mut second = first.clone();
    second[0x0808..0x0810].copy_from_slice(&[1, 2, 3, 4, 5, 6, 7, 8]);
    second[0x0fff] = 9;
    let (delta, record) = create(&first, &second, 80);
    assert_eq!(delta, Delta::Complete { size: 20 });
    assert_eq!(record, [1, 1, 1, 2, 3, 4, 5, 6, 7, 8, 0xff, 1, 0, 0, 0, 0, 0, 0, 0, 9]);
    assert_eq!((delta.result(), delta.size()), (1, 20));
}

#[test]
fn a_single_difference_is_found_wherever_it_is() {
    for len in (0..1200).step_by(8) {
        let first = pseudo_random(len);
        assert_eq!(create(&first, &first.clone(), 80), (Delta::Equal, Vec::new()));
        for at in (0..len).step_by(if len < 200 { 1 } else { 61 }) {
            let mut second = first.clone();
            second[at] ^= 0x10;
            let (delta, record) = create(&first, &second, 80);
            assert_eq!(delta, Delta::Complete { size: 10 }, "length {len}, difference at {at}");
            assert_eq!(record, oracle(&first, &second));
        }
    }
}

#[test]
fn every_size_at_every_alignment() {
    let data = pseudo_random(4300);
    let mut second = vec![0; 4096 + 64];
    let mut record = vec![0xa5; 700];
    let ways = ways();
    for len in (0..=4096).step_by(8) {
        for (left, right) in alignments(len) {
            // Above that, each size has some of them, which change from size to size.
            let step = if len <= 128 { 7 } else { 4 };
            if (left + right + len / 8) % step != 0 {
                continue;
            }
            let first = &data[left..left + len];
            second[right..right + len].copy_from_slice(first);
            for at in [len / 3, len / 2, len * 7 / 8] {
                if at < len {
                    second[right + at] ^= 0x10;
                }
            }
            let expected = oracle(first, &second[right..right + len]);
            for (name, create) in &ways {
                let shift = left % 16;
                // SAFETY: ranges of the buffers; a record has three entries at most.
                let delta = unsafe {
                    create(first.as_ptr(), second.as_ptr().add(right), len, record.as_mut_ptr().add(shift), 40)
                };
                assert!(record[shift..shift + delta.size()] == expected, "{name} {len} {left} {right}");
                record[..100].fill(0xa5);
            }
        }
    }
}

#[test]
fn parts_give_the_record_of_the_whole() {
    // The last parts are equal.
    const LEN: usize = 16_000;
    const DIFFERING: usize = 9000;
    let (first, mut second) = (pseudo_random(LEN), pseudo_random(LEN));
    for at in (0..DIFFERING).step_by(83) {
        second[at] ^= 1;
    }
    let whole = oracle(&first, &second);
    for step in [8, 24, 64, 128, 504, 512, 520, 1024, 1496, 4088, 4096, 8192, LEN] {
        for tier in Tier::available().map(Some).chain([None]) {
            for max in [whole.len(), whole.len() - 1, 55] {
                let mut record = vec![0; max];
                let mut size = 0;
                let mut outcome = Delta::Equal;
                for start in (0..LEN).step_by(step) {
                    let range = start..(start + step).min(LEN);
                    let so_far = DeltaSoFar { size, max };
                    // SAFETY: the range lies inside both, and the record has `max` bytes.
                    outcome = unsafe {
                        let (first, second, record) = (first.as_ptr(), second.as_ptr(), record.as_mut_ptr());
                        match tier {
                            Some(tier) => create_delta_at(tier, first, second, range, record, so_far),
                            None => create_delta_in(first, second, range, record, so_far),
                        }
                    };
                    size = outcome.size();
                    if outcome.result() == 2 {
                        break;
                    }
                }
                assert!(record[..size] == whole[..max / 10 * 10], "{tier:?} {step} {max}");
                assert_eq!(outcome.result() == 2, max < whole.len());
            }
        }
    }
}

#[test]
fn the_largest_region_uses_every_offset() {
    let first = vec![0; DELTA_MAX_REGION as usize];
    let mut second = first.clone();
    *second.last_mut().unwrap() = 1;
    let (delta, record) = create(&first, &second, 80);
    assert_eq!((delta, &record[..2]), (Delta::Complete { size: 10 }, &[0xff, 0xff][..]));
    let mut back = first.clone();
    apply(&record, &mut back).unwrap();
    assert!(back == second);
    let all = vec![1; DELTA_MAX_REGION as usize];
    assert_eq!(create(&first, &all, 655_360).0, Delta::Complete { size: 655_360 });
    assert_eq!(
        create(&first, &all, 655_359).0,
        Delta::Overflow { size: 655_350, compared: DELTA_MAX_REGION as usize - 8 }
    );
}

#[test]
fn an_overflow_says_how_far_it_came_and_can_be_gone_on_with() {
    let first = vec![0; 512];
    let mut second = first.clone();
    for at in (0..512).step_by(16) {
        second[at] = 1;
    }
    let whole = oracle(&first, &second);
    for max in 80..340 {
        let (delta, record) = create(&first, &second, max);
        let entries = (max / 10).min(32);
        assert_eq!(record, whole[..entries * 10]);
        if entries == 32 {
            assert_eq!(delta, Delta::Complete { size: 320 });
        } else {
            assert_eq!(delta, Delta::Overflow { size: entries * 10, compared: entries * 16 });
        }
        // What was compared has been recorded, so applying gives the second region up to there.
        let mut back = first.clone();
        apply(&record, &mut back).unwrap();
        let compared = if let Delta::Overflow { compared, .. } = delta { compared } else { 512 };
        assert_eq!(back[..compared], second[..compared]);
        assert_eq!(back[compared..], first[compared..]);
    }
}

#[test]
fn offsets_that_do_not_increase_are_refused_where_they_stand() {
    let entry = |offset: u16| [&offset.to_le_bytes()[..], &[0xee; 8]].concat();
    for (offsets, applied) in [([3, 3, 4], 1), ([3, 5, 4], 2), ([5, 0, 6], 1)] {
        let record: Vec<u8> = offsets.into_iter().flat_map(entry).collect();
        let mut dst = vec![0; 64];
        let error = apply(&record, &mut dst).unwrap_err();
        assert_eq!(error, DeltaError::Order { consumed: applied * 10 });
        assert_eq!((error.status(), error.consumed()), (status::DELTA_OFFSET_ORDER, applied * 10));
        assert_eq!(dst.chunks(8).filter(|word| **word == [0xee; 8]).count(), applied);
    }
}

#[test]
fn a_bad_entry_is_found_wherever_it_stands() {
    // Each second word of 100, then one entry that is out of order or out of range.
    for count in 1..=50_usize {
        let good: Vec<u16> = (0..count as u16).map(|index| index * 2).collect();
        for bad in 0..count {
            for (value, is_range) in [(good[bad].wrapping_sub(2), bad == 0), (100, true), (0xffff, true)] {
                let mut offsets = good.clone();
                offsets[bad] = value;
                let record: Vec<u8> =
                    offsets.iter().flat_map(|offset| [&offset.to_le_bytes()[..], &[0xee; 8]].concat()).collect();
                let mut dst = vec![0; 800];
                let consumed = bad * 10;
                let expected = if is_range { DeltaError::Range { consumed } } else { DeltaError::Order { consumed } };
                assert_eq!(apply(&record, &mut dst), Err(expected), "{count} {bad} {value}");
                assert_eq!(check_delta(&record, 800), Err(expected));
                for (index, word) in dst.chunks(8).enumerate() {
                    let is_written = index % 2 == 0 && index / 2 < bad;
                    assert_eq!(word == [0xee; 8], is_written, "{count} {bad} {value} {index}");
                }
            }
        }
    }
}

#[test]
fn offsets_beyond_the_destination_are_refused_where_they_stand() {
    let entry = |offset: u16| [&offset.to_le_bytes()[..], &[0xee; 8]].concat();
    for (offsets, applied) in [([0, 7, 8], 2), ([8, 1, 2], 0), ([2, 0xffff, 3], 1)] {
        let record: Vec<u8> = offsets.into_iter().flat_map(entry).collect();
        let mut dst = vec![0; 64];
        let error = apply(&record, &mut dst).unwrap_err();
        assert_eq!(error, DeltaError::Range { consumed: applied * 10 });
        assert_eq!((error.status(), error.consumed()), (status::DELTA_OFFSET_RANGE, applied * 10));
        assert_eq!(dst.chunks(8).filter(|word| **word == [0xee; 8]).count(), applied);
    }
}

#[test]
fn nothing_is_touched_beyond_the_regions() {
    for len in (8..1200).step_by(8).chain([4096]) {
        let (first, second) = (pseudo_random(len), vec![0x5a; len]);
        let whole = oracle(&first, &second);
        let (a, b, record, dst) = (Guarded::new(len), Guarded::new(len), Guarded::new(whole.len()), Guarded::new(len));
        for (name, create) in ways() {
            // SAFETY: regions of those lengths, each in a mapping of its own, at its end and then at its start.
            unsafe {
                let delta = create(a.put(&first), b.put(&second), len, record.end(whole.len()), whole.len());
                assert_eq!(delta, Delta::Complete { size: whole.len() }, "{name}");
                assert_eq!(record.bytes(whole.len()), whole);
                std::ptr::copy_nonoverlapping(first.as_ptr(), a.start(), len);
                std::ptr::copy_nonoverlapping(second.as_ptr(), b.start(), len);
                create(a.start(), b.start(), len, record.end(whole.len()), whole.len());
                assert_eq!(record.bytes(whole.len()), whole);
            }
        }
        // SAFETY: as above.
        unsafe { apply_delta(record.end(whole.len()), whole.len(), dst.put(&first), len) }.unwrap();
        assert_eq!(dst.bytes(len), second);
    }
}

#[test]
fn nothing_is_touched_for_length_zero() {
    // SAFETY: the pointers may be anything for length 0.
    unsafe {
        assert_eq!(create_delta(std::ptr::null(), std::ptr::null(), 0, std::ptr::null_mut(), 0), Delta::Equal);
        assert_eq!(apply_delta(std::ptr::null(), 0, std::ptr::null_mut(), 0), Ok(()));
    }
}

proptest! {
    #[test]
    fn a_record_is_the_oracles_and_turns_one_region_into_the_other(
        words in 0_usize..600, seed in any::<u64>(),
        changes in prop_oneof![
            prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..10),
            prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..500),
        ],
        max in prop_oneof![Just(6000), 0_usize..400],
    ) {
        let first: Vec<u8> = pseudo_random(words * 8).iter().map(|byte| byte ^ seed as u8).collect();
        let mut second = first.clone();
        for (at, byte) in changes.into_iter().filter(|_| words > 0) {
            second[at.index(words * 8)] = byte;
        }
        let whole = oracle(&first, &second);
        let (delta, record) = create(&first, &second, max);
        let fitting = max / 10 * 10;
        prop_assert_eq!(&record[..], &whole[..whole.len().min(fitting)]);
        prop_assert_eq!(delta.result(), if whole.is_empty() { 0 } else { 1 + u8::from(whole.len() > fitting) });
        let mut back = first.clone();
        prop_assert_eq!(apply(&record, &mut back), Ok(()));
        if let Delta::Overflow { compared, .. } = delta {
            prop_assert_eq!(&back[..compared], &second[..compared]);
            prop_assert_ne!(&back[compared..compared + 8], &second[compared..compared + 8]);
        } else {
            prop_assert_eq!(back, second);
        }
    }
}
