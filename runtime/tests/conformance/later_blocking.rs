//! The operations beyond copy, fill, compare and CRC-32C on borrowed memory.

use dsa::descriptor::Capabilities;
use dsa::{
    BlockList, ComputeType, Conversion, DataType, DeltaResult, DifBlock, DifStatus, Error, NumericExceptions, Reduction,
};
use idxd_sys::opcode;

use crate::backend::{Backend, By};
use crate::integrity::{expected, made, side, tags};
use crate::moves::by_size;
use crate::support::oracle::{self, Guards, Side};
use crate::support::{Rng, assert_same, seed};

/// Who is to do an operation that a device has, or has not.
fn by(backend: &Backend, opcode: u8, len: usize) -> By {
    backend.by(len, |caps| caps.supports(opcode))
}

pub(crate) async fn memory_calls(backend: &Backend) {
    let (blocking, mut rng) = (backend.accelerator.blocking(), Rng::new(seed()));
    for len in [0, 8, 64, 4096, 30_000] {
        let (a, mut b) = (rng.bytes(len), rng.bytes(len));
        let mut dst = vec![0; len];
        let wide = *b"0123456789abcdef";
        let who = backend.by(len, Capabilities::fill_16);
        backend.call_as(opcode::FILL, who, "fill", || blocking.fill_wide(&mut dst, wide)).unwrap();
        assert_same(&dst, &oracle::wide_fill(wide, len), "fill");
        let who = backend.by(len, Capabilities::crc64);
        let crc = oracle::crc64(0, &a);
        assert_eq!(backend.call_as(opcode::CRCGEN, who, "crc", || blocking.crc64(&a)), crc);
        let seeded = backend.call_as(opcode::CRCGEN, who, "crc", || blocking.crc64_from(crc, &b));
        assert_eq!(seeded, oracle::crc64(crc, &b));
        let copied = backend.call_as(opcode::COPY_CRC, who, "copy", || blocking.copy_crc64(&mut dst, &a));
        assert_eq!(copied, Ok(crc));
        assert_same(&dst, &a, "copy");
        let seeded = backend.call_as(opcode::COPY_CRC, who, "copy", || blocking.copy_crc64_from(crc, &mut dst, &b));
        assert_eq!(seeded, Ok(oracle::crc64(crc, &b)));
        assert_same(&dst, &b, "copy");
        let first = a.first().copied().unwrap_or(0);
        let who = by_size(len);
        let difference = backend.call_as(opcode::COMPVAL, who, "pattern", || blocking.compare_pattern(&a, first));
        assert_eq!(difference, a.iter().position(|&byte| byte != first));

        b[len / 2..].copy_from_slice(&a[len / 2..]);
        let delta = oracle::delta(&a, &b);
        let size = delta.len();
        let mut record = vec![0; (len / 8 * 10).max(80)];
        let limit = record.len().max(len) as u64;
        let who = backend.by(len, |caps| caps.supports(opcode::CR_DELTA) && limit <= caps.max_transfer_size());
        let result = backend.call_as(opcode::CR_DELTA, who, "create", || blocking.create_delta(&mut record, &a, &b));
        assert_eq!(result, Ok(if size == 0 { DeltaResult::Equal } else { DeltaResult::Record { size } }));
        assert_same(&record[..size], &delta, "create");
        let who = backend.by(size, |caps| caps.supports(opcode::AP_DELTA) && len as u64 <= caps.max_transfer_size());
        dst.copy_from_slice(&a);
        let apply = || blocking.apply_delta(&mut dst, &record[..size]);
        backend.call_as(opcode::AP_DELTA, who, "apply", apply).unwrap();
        assert_same(&dst, &b, "apply");
        backend.call_as(opcode::CFLUSH, by_size(len), "flush", || blocking.cache_flush(&a)).unwrap();
        let who = by(backend, opcode::TRANSL_FETCH, len);
        backend.call_as(opcode::TRANSL_FETCH, who, "fetch", || blocking.translation_fetch(&a)).unwrap();
    }
    // Two destinations, at the same offset in their pages, and not.
    let (src, mut memory) = (rng.bytes(4096), vec![0; 5 * 4096]);
    for (apart, who) in [(8192, by_size(4096)), (4096 + 512, By::Cpu)] {
        memory.fill(0);
        let (one, other) = memory.split_at_mut(apart);
        backend.call_as(opcode::DUALCAST, who, "dualcast", || blocking.dualcast(one, other, &src)).unwrap();
        assert_same(&one[..4096], &src, "first");
        assert_same(&other[..4096], &src, "second");
        assert!(one[4096..].iter().chain(&other[4096..]).all(|&byte| byte == 0), "beyond the source");
    }
    let small = Err(Error::CapacityTooSmall { needed: 4096, capacity: 7 });
    assert_eq!(blocking.dualcast(&mut memory, &mut [0; 7], &src), small);
    let mut short = [0; 7];
    assert_eq!(blocking.copy_crc64(&mut short, &[0; 8]), Err(Error::CapacityTooSmall { needed: 8, capacity: 7 }));
    assert_eq!(blocking.apply_delta(&mut short, &[]), Err(Error::SizeNotMultiple { size: 7, unit: 8 }));
}

pub(crate) async fn integrity_calls(backend: &Backend) {
    let (blocking, mut rng) = (backend.accelerator.blocking(), Rng::new(seed()));
    let guards = Guards { invert_seed: false, invert_result: false };
    let block = DifBlock::Bytes512;
    for blocks in [0, 1, 5] {
        let (first, second) = (Side { mask: 0, ..side(&mut rng) }, side(&mut rng));
        let data = rng.bytes(512 * blocks);
        let protected = oracle::protect(guards, &first, 512, &data);
        let mut dst = vec![0; 520 * blocks];
        let who = |opcode| by(backend, opcode, blocks);
        let next = backend
            .call_as(opcode::DIF_INS, who(opcode::DIF_INS), "insert", || {
                blocking.dif_insert(&mut dst, &data, block, made(&first))
            })
            .unwrap();
        assert_eq!(next, tags(&first, blocks));
        assert_same(&dst, &protected, "insert");
        let checked = backend
            .call_as(opcode::DIF_CHECK, who(opcode::DIF_CHECK), "check", || {
                blocking.dif_check(&protected, block, expected(&first))
            })
            .unwrap();
        assert_eq!(checked, Ok(next));
        let updated = backend
            .call_as(opcode::DIF_UPDT, who(opcode::DIF_UPDT), "update", || {
                blocking.dif_update(&mut dst, &protected, block, expected(&first), made(&second))
            })
            .unwrap();
        assert_eq!(updated, Ok((next, tags(&second, blocks))));
        assert_same(&dst, &oracle::protect(guards, &second, 512, &data), "update");
        let mut plain = vec![0; 512 * blocks];
        let stripped = backend
            .call_as(opcode::DIF_STRP, who(opcode::DIF_STRP), "strip", || {
                blocking.dif_strip(&mut plain, &protected, block, expected(&first))
            })
            .unwrap();
        assert_eq!(stripped, Ok(next));
        assert_same(&plain, &data, "strip");
        let mut fields = vec![0; 8 * blocks];
        let next = backend
            .call_as(opcode::DIX_GEN, who(opcode::DIX_GEN), "generate", || {
                blocking.dix_generate(&mut fields, &data, block, made(&second))
            })
            .unwrap();
        assert_eq!(next, tags(&second, blocks));
        assert_same(&fields, &oracle::fields(guards, &second, 512, &data), "generate");
    }
    assert_eq!(
        blocking.dif_check(&[0; 519], block, expected(&side(&mut rng))),
        Err(Error::SizeNotMultiple { size: 519, unit: 520 })
    );
}

pub(crate) async fn element_calls(backend: &Backend) {
    let (blocking, mut rng) = (backend.accelerator.blocking(), Rng::new(seed()));
    let none = NumericExceptions::empty();
    let xor = Reduction::new(ComputeType::Xor, DataType::Int64);
    let exclusive = |a: &[u8], b: &[u8]| a.iter().zip(b).map(|(a, b)| a ^ b).collect::<Vec<u8>>();
    let (a, b) = (rng.bytes(4096), rng.bytes(4096));
    let list = BlockList::indices(vec![2, 0, 3], 512);
    let places = [1024, 0, 1536];
    let gathered = oracle::gather(&a, &places, 512);
    let mut dst = vec![0; 4096];
    let who = |opcode| by(backend, opcode, 1);
    backend
        .call_as(opcode::GATHER_COPY, who(opcode::GATHER_COPY), "gather", || blocking.gather_copy(&mut dst, &a, &list))
        .unwrap();
    assert_same(&dst[..1536], &gathered, "gather");
    dst.copy_from_slice(&a);
    backend
        .call_as(opcode::SCATTER_COPY, who(opcode::SCATTER_COPY), "scatter", || {
            blocking.scatter_copy(&mut dst, &list, &b[..1536])
        })
        .unwrap();
    assert_same(&dst, &oracle::scatter(&a, &places, 512, &b[..1536]), "scatter");
    dst.copy_from_slice(&a);
    backend
        .call_as(opcode::SCATTER_FILL, who(opcode::SCATTER_FILL), "scatter fill", || {
            blocking.scatter_fill(&mut dst, &list, 3u8)
        })
        .unwrap();
    assert_same(&dst, &oracle::scatter(&a, &places, 512, &[3; 1536]), "scatter fill");
    let widen = Conversion::new(DataType::Int16, DataType::Int32);
    let found = backend.call_as(opcode::TYPE_CONV, who(opcode::TYPE_CONV), "convert", || {
        blocking.type_convert(&mut dst, &a[..2048], widen)
    });
    assert_eq!(found, Ok(none));
    let wide: Vec<u8> = a[..2048].chunks(2).flat_map(|pair| [pair[0], pair[1], 0, 0]).collect();
    assert_same(&dst, &wide, "convert");
    let reduce = || blocking.reduce(&mut dst, &a, &b, xor);
    assert_eq!(backend.call_as(opcode::REDUCE, who(opcode::REDUCE), "reduce", reduce), Ok(none));
    assert_same(&dst, &exclusive(&a, &b), "reduce");
    let in_place = || blocking.reduce_in_place(&mut dst, &b, xor);
    assert_eq!(backend.call_as(opcode::REDUCE, By::Cpu, "in place", in_place), Ok(none));
    assert_same(&dst, &a, "in place");
    let mut both = vec![0; 3 * 4096];
    let (one, other) = both.split_at_mut(4096 + 512);
    let offset = (one.as_ptr().addr() ^ other.as_ptr().addr()) % 4096;
    assert_ne!(offset, 0, "no device takes these");
    let found = backend
        .call_as(opcode::REDUCE_DUALCAST, By::Cpu, "dualcast", || blocking.reduce_dualcast(one, other, &a, &b, xor));
    assert_eq!(found, Ok(none));
    assert_same(&one[..4096], &exclusive(&a, &b), "first");
    assert_same(&other[..4096], &exclusive(&a, &b), "second");
    let found = backend.call_as(opcode::GATHER_REDUCE, who(opcode::GATHER_REDUCE), "chain", || {
        blocking.gather_reduce(&mut dst, &a, &list, xor)
    });
    assert_eq!(found, Ok(none));
    let blocks = places.map(|place| a[place..place + 512].to_vec());
    let expected = blocks.into_iter().reduce(|a, b| exclusive(&a, &b)).unwrap();
    assert_same(&dst[..512], &expected, "chain");
    let out = BlockList::indices(vec![8], 512);
    let error = Error::BlockOutOfBounds { entry: 0, start: 4096, block: 512, len: 4096 };
    assert_eq!(blocking.gather_copy(&mut dst, &a, &out), Err(error));
    let twice = BlockList::indices(vec![1, 1], 512);
    assert_eq!(blocking.scatter_fill(&mut dst, &twice, 0u8), Err(Error::BlocksOverlap { first: 0, second: 1 }));
}

pub(crate) async fn later_scopes(backend: &Backend) {
    let mut rng = Rng::new(seed());
    let guards = Guards { invert_seed: false, invert_result: false };
    let (a, b) = (rng.bytes(4096), rng.bytes(4096));
    let first = Side { mask: 0, ..side(&mut rng) };
    let mut protected = oracle::protect(guards, &first, 512, &a);
    protected[520 + 512] ^= 0xff;
    let list = BlockList::offsets(vec![100, 9], 40);
    let add = Reduction::new(ComputeType::Add, DataType::Int8);
    let mut buffers = vec![vec![0; 10_000]; 6];
    let [filled, copied, record, stripped, gathered, sums] = &mut buffers[..] else { unreachable!("six of them") };
    let before = backend.accelerator.stats();
    backend.accelerator.blocking().scope(|s| {
        let crc = s.crc64(&a);
        let copy = s.copy_crc64(copied, &b).unwrap();
        let pattern = s.compare_pattern(&a, a[0]);
        s.fill_wide(filled, *b"0123456789abcdef").unwrap();
        let delta = s.create_delta(record, &a, &a).unwrap();
        let strip = s.dif_strip(stripped, &protected, DifBlock::Bytes512, expected(&first)).unwrap();
        s.gather_copy(gathered, &a, &list).unwrap();
        let sum = s.reduce(sums, &a, &b, add).unwrap();
        assert_eq!((crc.wait(), copy.wait()), (oracle::crc64(0, &a), oracle::crc64(0, &b)));
        assert_eq!(pattern.wait(), a.iter().position(|&byte| byte != a[0]));
        assert_eq!(delta.wait(), DeltaResult::Equal);
        let mismatch = strip.wait().unwrap_err();
        assert_eq!((mismatch.block, mismatch.fields), (1, DifStatus::GUARD));
        assert!(sum.wait().contains(NumericExceptions::OVERFLOW));
        let error = s.dif_check(&a, DifBlock::Bytes512, expected(&first)).err();
        assert_eq!(error, Some(Error::SizeNotMultiple { size: 4096, unit: 520 }));
    });
    let done = backend.accelerator.stats().since(&before);
    let all = done.total_operations(dsa::stats::Path::Device) + done.total_operations(dsa::stats::Path::Cpu);
    assert_eq!(all, 8, "{done}");
    assert_same(&filled[..], &oracle::wide_fill(*b"0123456789abcdef", 10_000), "fill");
    assert_same(&copied[..4096], &b, "copy");
    assert_same(&stripped[..512], &a[..512], "strip");
    assert_same(&gathered[..80], &oracle::gather(&a, &[100, 9], 40), "gather");
    let expected: Vec<u8> = a.iter().zip(&b).map(|(a, b)| a.wrapping_add(*b)).collect();
    assert_same(&sums[..4096], &expected, "sums");
}
