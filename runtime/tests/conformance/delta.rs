//! Delta records.

use dsa::buf::{StableBuf, StableBufMut};
use dsa::{DeltaResult, Error};
use idxd_sys::opcode;

use crate::backend::{Backend, By};
use crate::support::{Rng, assert_same, oracle, seed};

/// Sizes around words, lines, pages, slices of the CPU, and the largest.
const SIZES: [usize; 11] = [0, 8, 16, 56, 64, 72, 4088, 4096, 4104, 262_152, 512 << 10];

/// Who is to make a record of regions of `len` bytes, with room for `room`.
fn by(backend: &Backend, len: usize, room: usize) -> By {
    let room = (room / 10 * 10).min((len / 8 * 10).max(80));
    let limit = room.max(len) as u64;
    backend.by(len, |caps| caps.supports(opcode::CR_DELTA) && room >= 80 && limit <= caps.max_transfer_size())
}

/// Who is to apply one.
fn by_apply(backend: &Backend, record: usize, len: usize) -> By {
    let limit = len as u64;
    backend.by(record, |caps| caps.supports(opcode::AP_DELTA) && limit <= caps.max_transfer_size())
}

/// A copy of `data` that differs in some words: none, the first, the last, a few, all.
fn changed(data: &[u8], how: usize, rng: &mut Rng) -> Vec<u8> {
    let mut other = data.to_vec();
    let words = data.len() / 8;
    if words == 0 {
        return other;
    }
    let mut change = |word: usize| other[word * 8 + word % 8] ^= 0x40;
    match how {
        0 => {}
        1 => change(0),
        2 => change(words - 1),
        3 => (0..words).filter(|_| rng.one_in(9)).for_each(change),
        _ => (0..words).for_each(change),
    }
    other
}

pub(crate) async fn records_of_every_size(backend: &Backend) {
    let (acc, mut rng) = (&backend.accelerator, Rng::new(seed()));
    for len in SIZES {
        for how in 0..5 {
            let first = rng.bytes(len);
            let second = changed(&first, how, &mut rng);
            let expected = oracle::delta(&first, &second);
            let what = format!("delta of {len}, {} bytes", expected.len());
            let room = (len / 8 * 10).max(80);
            let operation = acc.create_delta(first.clone(), second.clone(), Vec::with_capacity(room));
            let (result, (first, second_back, record)) =
                backend.run_as(opcode::CR_DELTA, by(backend, len, room), &what, operation).await.unwrap();
            let size = expected.len();
            assert_eq!(result, if size == 0 { DeltaResult::Equal } else { DeltaResult::Record { size } }, "{what}");
            assert_same(&record, &expected, &what);
            assert_same(&second_back, &second, &what);
            let by = by_apply(backend, size, len);
            let operation = acc.apply_delta(record, first);
            let (record, target) = backend.run_as(opcode::AP_DELTA, by, &what, operation).await.unwrap();
            assert_same(&target, &second, &what);
            assert_same(&record, &expected, &what);
        }
    }
}

/// A record has room for some differences, and no more.
pub(crate) async fn records_that_are_full(backend: &Backend) {
    let (acc, mut rng) = (&backend.accelerator, Rng::new(seed()));
    for len in [64, 800, 4096, 8000, 300_000] {
        let first = rng.bytes(len);
        let second = changed(&first, 3, &mut rng);
        let expected = oracle::delta(&first, &second);
        let size = expected.len();
        for room in [0, 9, 10, 79, 80, 89, 90, 200, size.saturating_sub(1), size, size + 9, size + 10, 10 * len] {
            let what = format!("delta of {len}, {size} bytes, room for {room}");
            // Bytes behind the room are nobody's.
            let record = vec![0xa5; room + 20].slice_mut(..room);
            let operation = acc.create_delta(first.clone(), second.clone(), record);
            let by = by(backend, len, room);
            let (result, (_, _, record)) = backend.run_as(opcode::CR_DELTA, by, &what, operation).await.unwrap();
            let record = record.into_inner();
            if size == 0 {
                assert_eq!(result, DeltaResult::Equal, "{what}");
            } else if size <= room {
                assert_eq!(result, DeltaResult::Record { size }, "{what}");
                assert_same(&record[..size], &expected, &what);
            } else {
                assert_eq!(result, DeltaResult::DoesNotFit, "{what}");
            }
            assert!(record[room..].iter().all(|&byte| byte == 0xa5), "{what}: out of bounds");
        }
    }
}

/// A device wants its regions aligned; the record may be anywhere.
pub(crate) async fn records_at_every_alignment(backend: &Backend) {
    const LEN: usize = 4096;
    let (acc, mut rng) = (&backend.accelerator, Rng::new(seed()));
    let data = rng.bytes(LEN);
    let other = changed(&data, 3, &mut rng);
    let expected = oracle::delta(&data, &other);
    let at = |bytes: &[u8], start: usize| [vec![0; start], bytes.to_vec(), vec![0; 9]].concat();
    for (first, second, record) in [(0, 0, 0), (8, 16, 1), (8, 8, 7), (1, 0, 0), (0, 4, 0), (7, 7, 3)] {
        let is_aligned = first % 8 == 0 && second % 8 == 0;
        let by = |by| if is_aligned || by == By::Nobody { by } else { By::Cpu };
        let what = format!("delta at {first}, {second}, {record}");
        let operation = acc.create_delta(
            at(&data, first).slice(first..first + LEN),
            at(&other, second).slice(second..second + LEN),
            vec![0; record + 10 * LEN].slice_mut(record..),
        );
        let who = by(self::by(backend, LEN, 10 * LEN));
        let (result, (_, _, record)) = backend.run(who, &what, operation).await.unwrap();
        let DeltaResult::Record { size } = result else { panic!("{what}: {result:?}") };
        assert_same(&record[..size], &expected, &what);
        let target = at(&data, first).slice_mut(first..first + LEN);
        let who = by_apply(backend, size, LEN);
        let who = if first % 8 == 0 { who } else { By::Cpu };
        let (_, target) = backend.run(who, &what, acc.apply_delta(record.slice(..size), target)).await.unwrap();
        let target = target.into_inner();
        assert_same(&target[first..first + LEN], &other, &what);
        assert!(target[..first].iter().chain(&target[first + LEN..]).all(|&byte| byte == 0), "{what}: out of bounds");
    }
    let operation = acc.create_delta(vec![0; 12], vec![0; 12], Vec::with_capacity(80));
    let failed = backend.run(By::Nobody, "uneven", operation).await.unwrap_err();
    assert_eq!(failed.error(), &Error::SizeNotMultiple { size: 12, unit: 8 });
}
