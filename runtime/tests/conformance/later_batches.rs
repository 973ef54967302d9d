//! The operations beyond copy, fill, compare and CRC-32C as members of batches.

use dsa::buf::{Pool, StableBuf};
use dsa::descriptor::Capabilities;
use dsa::stats::{Path, Stats};
use dsa::{
    BatchBuffers, BatchItem, BatchValue, BlockList, ComputeType, Conversion, DataType, DeltaResult, DifBlock, Error,
    NumericExceptions, Reduction,
};
use idxd_sys::opcode;

use crate::backend::Backend;
use crate::integrity::{expected, made, side, tags};
use crate::support::oracle::{self, Guards, Side};
use crate::support::{Rng, assert_same, seed, within};

type Buf = Vec<u8>;

/// Members that a queue offers must have been done by the device.
fn judge(backend: &Backend, done: &Stats, offered: &[bool]) {
    let found = [done.total_operations(Path::Device), done.total_operations(Path::Cpu)];
    let by_device = offered.iter().filter(|&&offered| offered).count() as u64;
    let all = offered.len() as u64;
    if !backend.has_device() {
        assert_eq!(found, [0, all], "{done}");
    } else if !backend.faults() {
        assert_eq!(found, [by_device, all - by_device], "{done}");
    } else {
        assert_eq!(found[0] + found[1], all, "{done}");
    }
}

/// The buffer that a member has written.
#[track_caller]
fn written(item: BatchItem<Buf, Buf>) -> Buf {
    match item.buffers.unwrap() {
        BatchBuffers::Fill(dst)
        | BatchBuffers::CopyCrc(_, dst)
        | BatchBuffers::CreateDelta(_, _, dst)
        | BatchBuffers::ApplyDelta(_, dst)
        | BatchBuffers::Dif(_, dst)
        | BatchBuffers::Gather(_, _, dst)
        | BatchBuffers::ScatterCopy(_, dst, _)
        | BatchBuffers::ScatterFill(dst, _)
        | BatchBuffers::TypeConvert(_, dst)
        | BatchBuffers::Reduce(_, _, dst)
        | BatchBuffers::ReduceInPlace(dst, _) => dst,
        BatchBuffers::DifCheck(src)
        | BatchBuffers::ComparePattern(src)
        | BatchBuffers::CacheFlush(src)
        | BatchBuffers::TranslationFetch(src)
        | BatchBuffers::Crc(src) => src,
        other => panic!("{other:?}"),
    }
}

#[allow(clippy::too_many_lines, reason = "a list of members, and what becomes of them")]
pub(crate) async fn every_later_kind_of_member(backend: &Backend) {
    let (acc, mut rng) = (&backend.accelerator, Rng::new(seed()));
    let guards = Guards { invert_seed: false, invert_result: false };
    for round in 0..3 {
        // Every device takes such sizes in one piece.
        let (a, mut b) = (rng.bytes(2048), rng.bytes(2048));
        b[64..].copy_from_slice(&a[64..]);
        let block = DifBlock::Bytes512;
        let (first, second) = (Side { mask: 0, ..side(&mut rng) }, side(&mut rng));
        let protected = oracle::protect(guards, &first, 512, &a[..1536]);
        let record = oracle::delta(&a, &b);
        let numbers = [3, 0, 2];
        let list = || BlockList::indices(numbers.map(|number| number as u32).to_vec(), 256);
        let places = numbers.map(|number| number * 256);
        let room = || Buf::with_capacity(4096);
        let difference = rng.below(2048);
        let mut pattern = vec![7; 2048];
        pattern[difference] = 8;
        let xor = Reduction::new(ComputeType::Xor, DataType::Int32);
        let mut batch = acc.batch::<Buf, Buf>();
        batch.fill_wide(room(), 1000, *b"0123456789abcdef").crc64(a.clone()).copy_crc64(a.clone(), room());
        batch.compare_pattern(pattern.clone(), 7u8).compare_pattern(vec![7; 2048], 7u8);
        batch.create_delta(a.clone(), b.clone(), room()).apply_delta(record.clone(), a.clone());
        batch.dif_insert(a[..1536].to_vec(), room(), block, made(&first));
        batch.dif_check(protected.clone(), block, expected(&first));
        batch.dif_strip(protected.clone(), room(), block, expected(&first));
        batch.dif_update(protected.clone(), room(), block, expected(&first), made(&second));
        batch.dix_generate(a[..1536].to_vec(), room(), block, made(&second));
        batch.cache_flush(a.clone()).translation_fetch(b.clone());
        batch.gather_copy(a.clone(), list(), room()).scatter_copy(b[..768].to_vec(), a.clone(), list());
        batch.scatter_fill(a.clone(), list(), 9u8);
        batch.type_convert(a.clone(), room(), Conversion::new(DataType::Int8, DataType::Int16));
        batch.reduce(a.clone(), b.clone(), room(), xor).gather_reduce(a.clone(), list(), room(), xor);
        let and = Reduction::new(ComputeType::And, DataType::Int32);
        batch.reduce_in_place(a.clone(), b.clone(), and).reduce_in_place(a.clone(), b.clone(), xor);
        let supports = |op: u8| backend.offers(|caps| caps.supports(op));
        let offered = [
            backend.offers(Capabilities::fill_16),
            backend.offers(Capabilities::crc64),
            backend.offers(Capabilities::crc64),
            true,
            true,
            supports(opcode::CR_DELTA),
            supports(opcode::AP_DELTA),
            supports(opcode::DIF_INS),
            supports(opcode::DIF_CHECK),
            supports(opcode::DIF_STRP),
            supports(opcode::DIF_UPDT),
            supports(opcode::DIX_GEN),
            supports(opcode::CFLUSH),
            supports(opcode::TRANSL_FETCH),
            supports(opcode::GATHER_COPY),
            supports(opcode::SCATTER_COPY),
            supports(opcode::SCATTER_FILL),
            supports(opcode::TYPE_CONV),
            supports(opcode::REDUCE),
            supports(opcode::GATHER_REDUCE),
            supports(opcode::REDUCE),
            // What is no longer the same when it is done over.
            false,
        ];
        assert_eq!(batch.len(), offered.len());
        let before = acc.stats();
        let items = within("batch", batch.submit()).await;
        judge(backend, &acc.stats().since(&before), &offered);

        let values: Vec<_> = items.iter().map(|item| item.result.clone().unwrap()).collect();
        let none = NumericExceptions::empty();
        let from = |source, destination| BatchValue::Tags { source, destination };
        let nothing = dsa::DifTags::default();
        let (next, other) = (tags(&first, 3), tags(&second, 3));
        let crc = oracle::crc64(0, &a);
        let expected = [
            BatchValue::Done,
            BatchValue::Crc64(crc),
            BatchValue::Crc64(crc),
            BatchValue::Difference(Some(difference)),
            BatchValue::Difference(None),
            BatchValue::Delta(DeltaResult::Record { size: record.len() }),
            BatchValue::Done,
            from(nothing, next),
            from(next, nothing),
            from(next, nothing),
            from(next, other),
            from(nothing, other),
            BatchValue::Done,
            BatchValue::Done,
            BatchValue::Done,
            BatchValue::Done,
            BatchValue::Done,
            BatchValue::Exceptions(none),
            BatchValue::Exceptions(none),
            BatchValue::Exceptions(none),
            BatchValue::Exceptions(none),
            BatchValue::Exceptions(none),
        ];
        assert_eq!(values, expected, "round {round}");

        let mut items = items.into_iter();
        let mut next = || written(items.next().unwrap());
        let xor = |a: &[u8], b: &[u8]| a.iter().zip(b).map(|(a, b)| a ^ b).collect::<Buf>();
        assert_same(&next(), &oracle::wide_fill(*b"0123456789abcdef", 1000), "wide fill");
        assert_same(&next(), &a, "crc64");
        assert_same(&next(), &a, "copy with crc64");
        assert_same(&next(), &pattern, "compare pattern");
        assert_same(&next(), &[7; 2048], "compare pattern");
        assert_same(&next(), &record, "create delta");
        assert_same(&next(), &b, "apply delta");
        assert_same(&next(), &protected, "insert");
        assert_same(&next(), &protected, "check");
        assert_same(&next(), &a[..1536], "strip");
        assert_same(&next(), &oracle::protect(guards, &second, 512, &a[..1536]), "update");
        assert_same(&next(), &oracle::fields(guards, &second, 512, &a[..1536]), "generate");
        assert_same(&next(), &a, "flush");
        assert_same(&next(), &b, "fetch");
        assert_same(&next(), &oracle::gather(&a, &places, 256), "gather");
        assert_same(&next(), &oracle::scatter(&a, &places, 256, &b[..768]), "scatter");
        assert_same(&next(), &oracle::scatter(&a, &places, 256, &[9; 768]), "scatter fill");
        assert_same(&next(), &a.iter().flat_map(|&byte| [byte, 0]).collect::<Buf>(), "convert");
        assert_same(&next(), &xor(&a, &b), "reduce");
        let blocks = places.map(|place| &a[place..place + 256]);
        assert_same(&next(), &xor(&xor(blocks[0], blocks[1]), blocks[2]), "gather-reduce");
        assert_same(&next(), &a.iter().zip(&b).map(|(a, b)| a & b).collect::<Buf>(), "reduce in place");
        assert_same(&next(), &xor(&a, &b), "reduce in place");
    }
}

pub(crate) async fn both_destinations_of_a_reduce(backend: &Backend) {
    let (acc, mut rng) = (&backend.accelerator, Rng::new(seed()));
    let (a, b) = (rng.bytes(4000), rng.bytes(4000));
    // Buffers of whole pages have the same offset in theirs.
    let pool = Pool::builder().buffers(6).size(4096).build().unwrap();
    let xor = Reduction::new(ComputeType::Xor, DataType::Int64);
    let mut batch = acc.batch();
    for _ in 0..3 {
        batch.reduce_dualcast(a.clone(), b.clone(), pool.try_get().unwrap(), pool.try_get().unwrap(), xor);
    }
    let before = acc.stats();
    let items = within("batch", batch.submit()).await;
    let offered = backend.offers(|caps| caps.supports(opcode::REDUCE_DUALCAST));
    judge(backend, &acc.stats().since(&before), &[offered; 3]);
    let expected: Buf = a.iter().zip(&b).map(|(a, b)| a ^ b).collect();
    for item in items {
        assert_eq!(item.result, Ok(BatchValue::Exceptions(NumericExceptions::empty())));
        let Some(BatchBuffers::ReduceDualcast(_, _, one, other)) = item.buffers else { panic!("other buffers") };
        assert_same(&one, &expected, "first destination");
        assert_same(&other, &expected, "second destination");
    }
}

/// A mismatch is a result, and what comes behind a fence is done all the same.
pub(crate) async fn mismatches_before_a_fence(backend: &Backend) {
    let (acc, mut rng) = (&backend.accelerator, Rng::new(seed()));
    let guards = Guards { invert_seed: false, invert_result: false };
    let first = Side { mask: 0, ..side(&mut rng) };
    let data = rng.bytes(1024);
    let mut protected = oracle::protect(guards, &first, 512, &data);
    protected[1032] ^= 1;
    let mut batch = acc.batch::<Buf, Buf>();
    batch.dif_strip(protected.clone(), Vec::with_capacity(1024), DifBlock::Bytes512, expected(&first));
    batch.compare_pattern(data.clone(), data[0]).fence();
    batch.crc64(data.clone()).dif_check(protected, DifBlock::Bytes512, expected(&first));
    let items = within("batch", batch.submit()).await;
    for at in [0, 3] {
        let Ok(BatchValue::Mismatch(mismatch)) = items[at].result else { panic!("{:?}", items[at].result) };
        assert_eq!((mismatch.block, mismatch.completed), (1, 520));
    }
    assert_eq!(items[1].result, Ok(BatchValue::Difference(data.iter().position(|&byte| byte != data[0]))));
    assert_eq!(items[2].result, Ok(BatchValue::Crc64(oracle::crc64(0, &data))));
    let Some(BatchBuffers::Dif(_, dst)) = &items[0].buffers else { panic!("another member's buffers") };
    assert_same(&dst.clone().slice(..), &data[..512], "the block before");
}

pub(crate) async fn mistakes_of_later_members(backend: &Backend) {
    let acc = &backend.accelerator;
    let list = BlockList::offsets(vec![0, 93], 8);
    let mut batch = acc.batch::<Buf, Buf>();
    batch.create_delta(vec![0; 12], vec![0; 12], Vec::new()).apply_delta(vec![0; 11], vec![0; 8]);
    batch.dif_insert(vec![0; 512], Vec::with_capacity(519), DifBlock::Bytes512, made(&side(&mut Rng::new(1))));
    batch.gather_copy(vec![0; 100], list.clone(), Vec::with_capacity(16));
    batch.scatter_copy(vec![0; 15], vec![0; 101], list.clone());
    batch.reduce(vec![0; 4], vec![0; 4], Vec::new(), Reduction::new(ComputeType::Or, DataType::Fp32));
    batch.crc64(vec![0; 8]);
    let before = acc.stats();
    let items = within("batch", batch.submit()).await;
    let done = acc.stats().since(&before);
    assert_eq!(done.total_operations(Path::Device) + done.total_operations(Path::Cpu), 1, "{done}");
    let errors: Vec<_> = items.iter().map(|item| item.result.clone().err()).collect();
    let expected = [
        Some(Error::SizeNotMultiple { size: 12, unit: 8 }),
        Some(Error::SizeNotMultiple { size: 11, unit: 10 }),
        Some(Error::CapacityTooSmall { needed: 520, capacity: 519 }),
        Some(Error::BlockOutOfBounds { entry: 1, start: 93, block: 8, len: 100 }),
        Some(Error::LengthMismatch { left: 15, right: 16 }),
        Some(Error::NotBitwise { compute: ComputeType::Or, data_type: DataType::Fp32 }),
        None,
    ];
    assert_eq!(errors, expected);
    let given_back = items.into_iter().nth(3).unwrap().buffers.unwrap();
    assert_eq!(given_back, BatchBuffers::Gather(vec![0; 100], list, Vec::new()));
}
