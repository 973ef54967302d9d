//! The caller's mistakes with the operations beyond copy, fill, compare and CRC-32C: found before anything is submitted,
//! named, and with the buffers given back unchanged.

mod support;

use std::io;
use std::sync::Arc;
use std::task::Poll;

use dsa::buf::StableBufMut;
use dsa::cpu::DeltaError;
use dsa::stats::{Event, Path, Reason};
use dsa::{
    Accelerator, BlockList, ComputeType, Conversion, DataType, DeltaResult, DifBlock, DifDestination, DifSource, Error,
    NumericExceptions, Reduction,
};
use dsa_emulator::{Config, Device, WqConfig};
use support::refusal::{View, refused};
use support::tracked::Ledger;
use support::{late, oracle, poll_once};

const BLOCK: DifBlock = DifBlock::Bytes512;

fn accelerator() -> Accelerator {
    let device = Device::new(Config::diamond_rapids().queue(WqConfig::shared(16))).unwrap();
    Accelerator::builder().emulator(&device).min_device_size(0).build().unwrap()
}

fn room(capacity: usize) -> Vec<u8> {
    let room = Vec::with_capacity(capacity);
    assert_eq!(room.capacity(), capacity);
    room
}

#[test]
fn delta_regions() {
    let acc = accelerator();
    let (error, (a, b, record)) = refused(&acc, acc.create_delta(vec![1u8; 8], vec![2u8; 16], room(80)));
    assert_eq!(error, Error::LengthMismatch { left: 8, right: 16 });
    assert_eq!((a, b, record.capacity()), (vec![1; 8], vec![2; 16], 80));
    for size in [1, 7, 9, 4100] {
        let (error, _) = refused(&acc, acc.create_delta(vec![1u8; size], vec![2u8; size], room(80)));
        assert_eq!(error, Error::SizeNotMultiple { size, unit: 8 });
        let (error, (_, target)) = refused(&acc, acc.apply_delta(room(10), vec![3u8; size]));
        assert_eq!((error, target), (Error::SizeNotMultiple { size, unit: 8 }, vec![3; size]));
    }
    let (size, max) = ((512 << 10) + 8, 512 << 10);
    let (error, _) = refused(&acc, acc.create_delta(vec![1u8; size], vec![1u8; size], room(80)));
    assert_eq!(error, Error::RegionTooLarge { size, max });
    let (error, _) = refused(&acc, acc.apply_delta(room(10), vec![1u8; size]));
    assert_eq!(error, Error::RegionTooLarge { size, max });
}

/// Nothing of a record that is not one is applied.
#[test]
fn delta_records() {
    let acc = accelerator();
    let entry = |offset: u16| [&offset.to_le_bytes()[..], &[9; 8]].concat();
    let out_of_order = [entry(0), entry(5), entry(5)].concat();
    let out_of_range = [entry(0), entry(8)].concat();
    for (record, expected) in [
        (out_of_order, Error::DeltaRecord(DeltaError::Order { consumed: 20 })),
        (out_of_range, Error::DeltaRecord(DeltaError::Range { consumed: 10 })),
        ([entry(3), vec![0; 9]].concat(), Error::SizeNotMultiple { size: 19, unit: 10 }),
    ] {
        let (error, (back, target)) = refused(&acc, acc.apply_delta(record.clone(), vec![1u8; 64]));
        assert_eq!((error, back, target), (expected.clone(), record.clone(), vec![1; 64]));
        let mut target = vec![1; 64];
        assert_eq!(acc.blocking().apply_delta(&mut target, &record), Err(expected));
        assert_eq!(target, [1; 64]);
    }
    // A record that did not fit is none: the next entry would be missing, not wrong, but its size is never told.
    support::block_on("full", async {
        let (result, _) = acc.create_delta(vec![0u8; 160], vec![1u8; 160], room(100)).await.unwrap();
        assert_eq!(result, DeltaResult::DoesNotFit);
    });
}

#[test]
fn blocks_with_fields() {
    let acc = accelerator();
    let (source, made) = (DifSource::new(0, 0), DifDestination::new(0, 0));
    for size in [1, 519, 521, 512] {
        let expected = Error::SizeNotMultiple { size, unit: 520 };
        assert_eq!(refused(&acc, acc.dif_check(vec![0u8; size], BLOCK, source)).0, expected);
        assert_eq!(refused(&acc, acc.dif_strip(vec![0u8; size], room(9999), BLOCK, source)).0, expected);
        assert_eq!(refused(&acc, acc.dif_update(vec![0u8; size], room(9999), BLOCK, source, made)).0, expected);
    }
    for size in [1, 511, 520] {
        let expected = Error::SizeNotMultiple { size, unit: 512 };
        assert_eq!(refused(&acc, acc.dif_insert(vec![0u8; size], room(9999), BLOCK, made)).0, expected);
        assert_eq!(refused(&acc, acc.dix_generate(vec![0u8; size], room(9999), BLOCK, made)).0, expected);
    }
    let small = |needed: usize| Error::CapacityTooSmall { needed, capacity: needed - 1 };
    let (plain, protected) = (vec![1u8; 1024], vec![1u8; 1040]);
    let (error, (src, dst)) = refused(&acc, acc.dif_insert(plain.clone(), room(1039), BLOCK, made));
    assert_eq!((error, &src, dst.len()), (small(1040), &plain, 0));
    assert_eq!(refused(&acc, acc.dif_strip(protected.clone(), room(1023), BLOCK, source)).0, small(1024));
    assert_eq!(refused(&acc, acc.dif_update(protected, room(1039), BLOCK, source, made)).0, small(1040));
    assert_eq!(refused(&acc, acc.dix_generate(plain, room(15), BLOCK, made)).0, small(16));
}

#[test]
fn lists_of_blocks() {
    let acc = accelerator();
    let base = || vec![5u8; 100];
    let outside = BlockList::offsets(vec![0, 93], 8);
    let expected = Error::BlockOutOfBounds { entry: 1, start: 93, block: 8, len: 100 };
    let (error, (back, list, _)) = refused(&acc, acc.gather_copy(base(), outside.clone(), room(16)));
    assert_eq!((error, back, &list), (expected.clone(), base(), &outside));
    let (error, (src, back, _)) = refused(&acc, acc.scatter_copy(vec![1u8; 16], base(), list));
    assert_eq!((error, src, back), (expected.clone(), vec![1; 16], base()));
    let (error, (back, list)) = refused(&acc, acc.scatter_fill(base(), outside, 1u8));
    assert_eq!((error, back), (expected.clone(), base()));
    let add = Reduction::new(ComputeType::Add, DataType::Int64);
    assert_eq!(refused(&acc, acc.gather_reduce(base(), list, room(8), add)).0, expected);
    // Room behind the bytes is no part of a base, not even for writing.
    let mut roomy = base();
    roomy.reserve_exact(100);
    let (error, _) = refused(&acc, acc.scatter_fill(roomy, BlockList::indices(vec![12], 8), 1u8));
    assert_eq!(error, Error::BlockOutOfBounds { entry: 0, start: 96, block: 8, len: 100 });

    let twice = || BlockList::indices(vec![3, 1, 3], 8);
    let expected = Error::BlocksOverlap { first: 0, second: 2 };
    assert_eq!(refused(&acc, acc.scatter_copy(vec![1u8; 24], base(), twice())).0, expected);
    let (error, (back, _)) = refused(&acc, acc.scatter_fill(base(), twice(), 1u8));
    assert_eq!((error, back), (expected, base()));
    let (error, _) = refused(&acc, acc.scatter_copy(vec![1u8; 23], base(), twice()));
    assert_eq!(error, Error::LengthMismatch { left: 23, right: 24 });
    assert_eq!(
        refused(&acc, acc.gather_copy(base(), twice(), room(23))).0,
        Error::CapacityTooSmall { needed: 24, capacity: 23 }
    );
    // Sums that exceed all numbers.
    let huge = BlockList::wide_indices(vec![u64::MAX / 2, 3], 4);
    assert!(matches!(
        refused(&acc, acc.gather_copy(base(), huge, room(8))).0,
        Error::BlockOutOfBounds { entry: 0, start: u64::MAX, .. }
    ));
    // Reading a block twice is no mistake.
    support::block_on("twice", async { acc.gather_copy(base(), twice(), room(24)).await.unwrap() });
}

#[test]
fn types_that_do_not_go_together() {
    let acc = accelerator();
    let (from, to) = (DataType::Int32, DataType::Fp32);
    let (error, (src, _)) = refused(&acc, acc.type_convert(vec![1u8; 8], room(8), Conversion::new(from, to)));
    assert_eq!((error, src), (Error::NoConversion { from, to }, vec![1; 8]));
    let (compute, data_type) = (ComputeType::Or, DataType::Fp16);
    let bitwise = Reduction::new(compute, data_type);
    let expected = Error::NotBitwise { compute, data_type };
    let (a, b) = (|| vec![1u8; 8], || vec![2u8; 8]);
    assert_eq!(refused(&acc, acc.reduce(a(), b(), room(8), bitwise)).0, expected);
    assert_eq!(refused(&acc, acc.reduce_in_place(a(), b(), bitwise)).0, expected);
    assert_eq!(refused(&acc, acc.reduce_dualcast(a(), b(), room(8), room(8), bitwise)).0, expected);
    assert_eq!(refused(&acc, acc.gather_reduce(a(), BlockList::indices(vec![0], 8), room(8), bitwise)).0, expected);
    let (from, to) = (DataType::Int16, DataType::Int32);
    let wider = Reduction::new(ComputeType::Add, from).output(to);
    let (error, (first, _)) = refused(&acc, acc.reduce_in_place(a(), b(), wider));
    assert_eq!((error, first), (Error::NotInPlace { from, to }, a()));
}

#[test]
fn sizes_of_elements() {
    let acc = accelerator();
    let add = Reduction::new(ComputeType::Add, DataType::Int32);
    let same = Conversion::new(DataType::Int32, DataType::Int64);
    let uneven = Error::SizeNotMultiple { size: 6, unit: 4 };
    let six = || vec![1u8; 6];
    assert_eq!(refused(&acc, acc.type_convert(six(), room(99), same)).0, uneven);
    assert_eq!(refused(&acc, acc.reduce(six(), six(), room(99), add)).0, uneven);
    assert_eq!(refused(&acc, acc.reduce_in_place(six(), six(), add)).0, uneven);
    assert_eq!(refused(&acc, acc.reduce_dualcast(six(), six(), room(99), room(99), add)).0, uneven);
    assert_eq!(refused(&acc, acc.gather_reduce(six(), BlockList::indices(vec![0], 6), room(99), add)).0, uneven);
    let eight = || vec![1u8; 8];
    let mismatch = Error::LengthMismatch { left: 8, right: 4 };
    let (error, (a, b, _)) = refused(&acc, acc.reduce(eight(), vec![2u8; 4], room(99), add));
    assert_eq!((error, a, b), (mismatch.clone(), eight(), vec![2; 4]));
    assert_eq!(refused(&acc, acc.reduce_in_place(eight(), vec![2u8; 4], add)).0, mismatch);
    let small = |needed| Error::CapacityTooSmall { needed, capacity: needed - 1 };
    assert_eq!(refused(&acc, acc.type_convert(eight(), room(15), same)).0, small(16));
    assert_eq!(refused(&acc, acc.reduce(eight(), eight(), room(7), add)).0, small(8));
    assert_eq!(refused(&acc, acc.reduce_dualcast(eight(), eight(), room(8), room(7), add)).0, small(8));
    let list = BlockList::indices(vec![0, 1], 4);
    assert_eq!(refused(&acc, acc.gather_reduce(eight(), list, room(3), add)).0, small(4));
}

#[test]
fn other_mistakes() {
    let acc = accelerator();
    let (error, dst) = refused(&acc, acc.fill_wide(room(99), 100, [1; 16]));
    assert_eq!((error, dst.len()), (Error::CapacityTooSmall { needed: 100, capacity: 99 }, 0));
    let (error, _) = refused(&acc, acc.copy_crc64(vec![1u8; 100], room(99)).seed(3));
    assert_eq!(error, Error::CapacityTooSmall { needed: 100, capacity: 99 });
    let (error, buf) = refused(&acc, acc.cache_flush(vec![1u8; 100], 7..101).durable(true));
    assert_eq!((error, buf), (Error::OutOfBounds { start: 7, end: 101, len: 100 }, vec![1; 100]));
}

#[test]
fn overlapping_buffers() {
    let acc = accelerator();
    let memory: Arc<Box<[u8]>> = Arc::new((0..2000u32).map(|at| at as u8).collect());
    let view = |start, len| View::of(&memory, start, len);
    let overlap = |overlap| Error::Overlap { overlap };
    let (source, made) = (DifSource::new(0, 0), DifDestination::new(0, 0));
    let min = Reduction::new(ComputeType::Min, DataType::Int8);
    let same = Conversion::new(DataType::Int8, DataType::Int8);
    let rows = || BlockList::indices(vec![0], 100);
    assert_eq!(refused(&acc, acc.copy_crc64(view(0, 100), view(99, 100))).0, overlap(1));
    assert_eq!(refused(&acc, acc.create_delta(view(0, 80), view(200, 80), view(270, 100))).0, overlap(10));
    assert_eq!(refused(&acc, acc.create_delta(view(260, 80), view(0, 80), view(200, 90))).0, overlap(30));
    assert_eq!(refused(&acc, acc.apply_delta(view(0, 10), view(8, 80))).0, overlap(2));
    assert_eq!(refused(&acc, acc.dif_insert(view(0, 512), view(500, 520), BLOCK, made)).0, overlap(12));
    assert_eq!(refused(&acc, acc.dif_strip(view(500, 520), view(0, 512), BLOCK, source)).0, overlap(12));
    assert_eq!(refused(&acc, acc.dif_update(view(0, 520), view(0, 520), BLOCK, source, made)).0, overlap(520));
    assert_eq!(refused(&acc, acc.dix_generate(view(0, 1024), view(1000, 16), BLOCK, made)).0, overlap(16));
    assert_eq!(refused(&acc, acc.gather_copy(view(0, 100), rows(), view(50, 100))).0, overlap(50));
    assert_eq!(refused(&acc, acc.scatter_copy(view(50, 100), view(0, 100), rows())).0, overlap(50));
    assert_eq!(refused(&acc, acc.type_convert(view(0, 100), view(0, 100), same)).0, overlap(100));
    assert_eq!(refused(&acc, acc.reduce(view(0, 100), view(300, 100), view(390, 100), min)).0, overlap(10));
    assert_eq!(refused(&acc, acc.reduce_in_place(view(0, 100), view(99, 100), min)).0, overlap(1));
    let (one, other) = (view(500, 100), view(599, 100));
    assert_eq!(refused(&acc, acc.reduce_dualcast(view(0, 100), view(0, 100), one, other, min)).0, overlap(1));
    assert_eq!(refused(&acc, acc.gather_reduce(view(0, 200), rows(), view(150, 100), min)).0, overlap(50));
    assert!(memory.iter().enumerate().all(|(at, &byte)| at as u8 == byte), "written");
}

#[test]
fn device_only_where_no_device_can() {
    let acc = Accelerator::cpu();
    let ledger = Ledger::new();
    let made = DifDestination::new(0, 0);
    let min = Reduction::new(ComputeType::Min, DataType::Int8);
    let buffer = || ledger.of(vec![3; 4096]);
    let list = || BlockList::indices(vec![1, 0], 64);
    let none = Error::DeviceOnly(Reason::NoDevice);
    macro_rules! each {
        ($acc:ident, $expected:ident: $($operation:expr;)+) => {
            $(assert_eq!(refused(&$acc, $operation.device_only()).0, $expected, stringify!($operation));)+
        };
    }
    macro_rules! all {
        ($acc:ident, $expected:ident) => {
            each! {
                $acc, $expected:
                $acc.fill_wide(buffer(), 4096, *b"0123456789abcdef");
                $acc.crc64(buffer());
                $acc.copy_crc64(buffer(), buffer());
                $acc.create_delta(buffer(), buffer(), buffer());
                $acc.dix_generate(buffer(), buffer(), BLOCK, made);
                $acc.translation_fetch(buffer());
                $acc.gather_copy(buffer(), list(), buffer());
                $acc.scatter_copy(ledger.of(vec![3; 128]), buffer(), list());
                $acc.scatter_fill(buffer(), list(), 1u8);
                $acc.type_convert(buffer(), buffer(), Conversion::new(DataType::Int8, DataType::Int8));
                $acc.reduce(buffer(), buffer(), buffer(), min);
                $acc.reduce_in_place(buffer(), buffer(), min);
                $acc.gather_reduce(buffer(), list(), buffer(), min);
            }
        };
    }
    all!(acc, none);
    each! {
        acc, none:
        acc.compare_pattern(buffer(), 3u8);
        acc.dif_insert(buffer(), ledger.buffer(5000), BLOCK, made);
        acc.cache_flush(buffer(), ..);
    }
    // The first generation has none of the others.
    let device = Device::new(Config::sapphire_rapids().queue(WqConfig::shared(16))).unwrap();
    let first = Accelerator::builder().emulator(&device).min_device_size(0).build().unwrap();
    let unsupported = Error::DeviceOnly(Reason::Unsupported);
    all!(first, unsupported);
    // What a device of the third generation does not get all the same.
    let third = accelerator();
    let odd = || ledger.of(vec![3; 4097]).slice_mut(1..);
    let wide = Reduction::new(ComputeType::Min, DataType::Int64);
    let xor = Reduction::new(ComputeType::Xor, DataType::Int8);
    each! {
        third, unsupported:
        third.create_delta(odd(), buffer(), buffer());
        third.create_delta(buffer(), buffer(), ledger.of(vec![3; 79]));
        third.apply_delta(ledger.of(oracle::delta(&[0; 8], &[1; 8])), odd());
        third.dix_generate(buffer(), odd(), BLOCK, made);
        third.reduce(odd(), buffer(), buffer(), wide);
        third.reduce_in_place(buffer(), buffer(), xor);
        third.gather_reduce(buffer(), BlockList::offsets(vec![4], 64), buffer(), wide);
        third.type_convert(buffer(), buffer(), Conversion::new(DataType::Fp64, DataType::Fp16));
    }
    assert_eq!(ledger.alive(), 0);
}

#[test]
fn nothing_to_do_is_done_at_once_and_by_nobody() {
    let acc = accelerator();
    let (source, made) = (DifSource::new(4, 5), DifDestination::new(6, 7));
    let min = Reduction::new(ComputeType::Min, DataType::Int8);
    let none = || BlockList::indices(Vec::new(), 8);
    let nothing = NumericExceptions::empty();
    macro_rules! at_once {
        ($operation:expr) => {{
            let Poll::Ready(Ok(result)) = poll_once(&mut $operation.device_only()) else {
                panic!("pending or refused: {}", stringify!($operation))
            };
            result
        }};
    }
    let empty = Vec::<u8>::new;
    let one = || vec![1u8];
    assert_eq!(at_once!(acc.fill_wide(one(), 0, [9; 16])), [1]);
    assert_eq!(at_once!(acc.compare_pattern(empty(), 1u8)), (None, empty()));
    assert_eq!(at_once!(acc.crc64(empty()).seed(77)), (77, empty()));
    assert_eq!(at_once!(acc.copy_crc64(empty(), one()).seed(77)), (77, (empty(), one())));
    assert_eq!(at_once!(acc.create_delta(empty(), empty(), one())), (DeltaResult::Equal, (empty(), empty(), one())));
    assert_eq!(at_once!(acc.apply_delta(empty(), vec![2; 8])), (empty(), vec![2; 8]));
    let (checked, _) = at_once!(acc.dif_check(empty(), BLOCK, source));
    assert_eq!((checked.unwrap().reference, checked.unwrap().application), (4, 5));
    assert_eq!(at_once!(acc.dif_insert(empty(), one(), BLOCK, made)).0.reference, 6);
    assert!(at_once!(acc.dif_strip(empty(), one(), BLOCK, source)).0.is_ok());
    assert_eq!(at_once!(acc.dif_update(empty(), one(), BLOCK, source, made)).0.unwrap().1.application, 7);
    assert_eq!(at_once!(acc.dix_generate(empty(), one(), BLOCK, made)).1, (empty(), one()));
    assert_eq!(at_once!(acc.cache_flush(one(), 1..)), [1]);
    assert_eq!(at_once!(acc.translation_fetch(empty())), empty());
    assert_eq!(at_once!(acc.gather_copy(one(), none(), one())).2, [1]);
    assert_eq!(at_once!(acc.scatter_copy(empty(), one(), none())).1, [1]);
    assert_eq!(at_once!(acc.scatter_fill(one(), none(), 9u8)).0, [1]);
    assert_eq!(at_once!(acc.type_convert(empty(), one(), Conversion::new(DataType::Fp16, DataType::Fp32))).0, nothing);
    assert_eq!(at_once!(acc.reduce(empty(), empty(), one(), min)).1.2, [1]);
    assert_eq!(at_once!(acc.reduce_in_place(empty(), empty(), min)).0, nothing);
    assert_eq!(at_once!(acc.reduce_dualcast(empty(), empty(), one(), empty(), min)).1.2, [1]);
    assert_eq!(at_once!(acc.gather_reduce(one(), none(), one(), min)).1.2, [1]);
    let stats = acc.stats();
    assert_eq!(stats.event(Event::Submissions), 0);
    assert_eq!(stats.total_operations(Path::Device) + stats.total_operations(Path::Cpu), 0);
}

#[test]
fn kinds_of_io_errors() {
    let kind = |error: Error| io::Error::from(error).kind();
    let (from, to) = (DataType::Int8, DataType::Fp16);
    for error in [
        Error::SizeNotMultiple { size: 1, unit: 2 },
        Error::RegionTooLarge { size: 2, max: 1 },
        Error::BlockOutOfBounds { entry: 0, start: 1, block: 2, len: 2 },
        Error::BlocksOverlap { first: 0, second: 1 },
        Error::NoConversion { from, to },
        Error::NotInPlace { from, to },
        Error::NotBitwise { compute: ComputeType::And, data_type: to },
    ] {
        // What is wrong, and what to do about it.
        assert!(error.to_string().contains([':', ',']), "{error}");
        assert_eq!(kind(error), io::ErrorKind::InvalidInput);
    }
    let record = Error::DeltaRecord(DeltaError::Range { consumed: 10 });
    assert!(record.to_string().contains("at byte 10"), "{record}");
    assert_eq!(kind(record), io::ErrorKind::InvalidData);
}

#[test]
fn options_come_first() {
    let (_device, acc) = late::late_with_all(late::LATE);
    let options: [fn(&Accelerator); 3] = [
        |acc| {
            let mut operation = acc.crc64(vec![1u8; 1 << 20]);
            let _ = poll_once(&mut operation);
            drop(operation.seed(1));
        },
        |acc| {
            let mut operation = acc.cache_flush(vec![1u8; 1 << 20], ..);
            let _ = poll_once(&mut operation);
            drop(operation.durable(true));
        },
        |acc| {
            let mut operation = acc.drain();
            let _ = poll_once(&mut operation);
            drop(operation.on(acc));
        },
    ];
    for option in options {
        // So that the drain has something to wait for.
        let _ = poll_once(&mut late::copy(&acc, &Ledger::new()));
        let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| option(&acc))).unwrap_err();
        let message = panic.downcast_ref::<&str>().copied().unwrap_or_default();
        assert_eq!(message, "options must be set before the first poll");
    }
}

/// Buffers come back from an operation that was marked device-only and that the device gave up.
#[test]
fn buffers_come_back_from_a_device_that_fails() {
    use dsa_emulator::{Effect, FaultRule};
    let error = FaultRule::new(Effect::HardwareError(0x20));
    let device = Device::new(Config::diamond_rapids().queue(WqConfig::shared(16)).fault(error)).unwrap();
    let acc = Accelerator::builder().emulator(&device).min_device_size(0).build().unwrap();
    support::block_on("fails", async {
        let list = BlockList::indices(vec![0, 1], 64);
        let failed = acc.gather_copy(vec![1u8; 128], list.clone(), room(128)).device_only().await.unwrap_err();
        let (error, buffers) = failed.into_parts();
        assert_eq!(error, Error::DeviceOnly(Reason::DeviceError));
        let (base, back, dst) = buffers.unwrap();
        assert_eq!((base, back, dst.len()), (vec![1; 128], list, 0));
        let failed = acc.compare_pattern(vec![1u8; 128], 1u8).device_only().await.unwrap_err();
        assert_eq!(failed.into_buffers(), Some(vec![1; 128]));
    });
}
