//! Typed elements.

use dsa::buf::{Slice, StableBuf, StableBufMut};
use dsa::descriptor::Capabilities;
use dsa::{BlockList, ComputeType, Conversion, DataType, NumericExceptions, Reduction, Rounding};
use idxd_sys::compute::dsacap1;
use idxd_sys::opcode;

use crate::backend::{Backend, By};
use crate::lists::lists;
use crate::support::numbers::{self, Rules};
use crate::support::{Rng, assert_same, seed};

const INTEGERS: [DataType; 4] = [DataType::Int8, DataType::Int16, DataType::Int32, DataType::Int64];
const FLOATS: [DataType; 6] =
    [DataType::Fp8E5m2, DataType::Fp8E4m3, DataType::Fp16, DataType::Bf16, DataType::Fp32, DataType::Fp64];
const COUNTS: [usize; 6] = [0, 1, 7, 64, 513, 5000];

/// Whether a queue has operation and types.
fn has(caps: &Capabilities, opcode: u8, rules: Rules) -> bool {
    caps.supports(opcode) && dsacap1::has_conversion(caps.dsa_caps()[1], rules.from.code(), rules.to.code())
}

pub(crate) fn conversion(rules: Rules) -> Conversion {
    Conversion::new(rules.from, rules.to)
        .negate(rules.negate[0])
        .signed(rules.signed)
        .saturate(rules.saturate)
        .rounding(rules.rounding)
}

pub(crate) fn reduction(rules: Rules) -> Reduction {
    Reduction::new(rules.compute.unwrap(), rules.from)
        .output(rules.to)
        .negate(rules.negate[0])
        .negate_second(rules.negate[1])
        .signed(rules.signed)
        .saturate(rules.saturate)
        .rounding(rules.rounding)
}

pub(crate) fn random(data_type: DataType, count: usize, rng: &mut Rng) -> Vec<u64> {
    (0..count).map(|_| numbers::random(data_type, rng)).collect()
}

async fn convert(backend: &Backend, rules: Rules, count: usize, rng: &mut Rng) {
    let elements = random(rules.from, count, rng);
    let (expected, exceptions) = rules.all(&elements, &[]);
    let what = format!("{count} of {rules:?}");
    let src = numbers::bytes(rules.from, &elements);
    let by = backend.by(count, |caps| has(caps, opcode::TYPE_CONV, rules));
    let room = count * rules.to.size() as usize;
    let operation = backend.accelerator.type_convert(src.clone(), Vec::with_capacity(room), conversion(rules));
    let (found, (back, dst)) = backend.run_as(opcode::TYPE_CONV, by, &what, operation).await.unwrap();
    assert_same(&dst, &numbers::bytes(rules.to, &expected), &what);
    assert_eq!(found, exceptions, "{what}");
    assert_same(&back, &src, &what);
}

async fn reduce(backend: &Backend, rules: Rules, count: usize, rng: &mut Rng) {
    let (first, second) = (random(rules.from, count, rng), random(rules.from, count, rng));
    let (expected, exceptions) = rules.all(&first, &second);
    let what = format!("{count} of {rules:?}");
    let [first, second] = [first, second].map(|elements| numbers::bytes(rules.from, &elements));
    let by = backend.by(count, |caps| has(caps, opcode::REDUCE, rules));
    let room = Vec::with_capacity(count * rules.to.size() as usize);
    let operation = backend.accelerator.reduce(first.clone(), second.clone(), room, reduction(rules));
    let (found, (a, b, dst)) = backend.run_as(opcode::REDUCE, by, &what, operation).await.unwrap();
    assert_same(&dst, &numbers::bytes(rules.to, &expected), &what);
    assert_eq!(found, exceptions, "{what}");
    assert_same(&a, &first, &what);
    assert_same(&b, &second, &what);
}

/// Flags of integers at random.
fn flagged(rules: Rules, rng: &mut Rng) -> Rules {
    Rules { negate: [rng.one_in(4), rng.one_in(4)], signed: rng.one_in(2), saturate: rng.one_in(2), ..rules }
}

pub(crate) async fn conversions_of_integers(backend: &Backend) {
    let mut rng = Rng::new(seed());
    for from in INTEGERS {
        for to in INTEGERS {
            for count in COUNTS {
                let rules = flagged(Rules::new(from, to, None), &mut rng);
                convert(backend, rules, count, &mut rng).await;
            }
        }
    }
    convert(backend, Rules::new(DataType::Int32, DataType::Int16, None), 40_000, &mut rng).await;
}

pub(crate) async fn conversions_of_floats(backend: &Backend) {
    let mut rng = Rng::new(seed());
    for from in FLOATS {
        for to in FLOATS {
            for (count, &rounding) in [300, 41, 64, 2].into_iter().zip(Rounding::ALL) {
                let rules = Rules { rounding, negate: [rng.one_in(3), false], ..Rules::new(from, to, None) };
                convert(backend, rules, count, &mut rng).await;
            }
        }
    }
    convert(backend, Rules::new(DataType::Fp32, DataType::Bf16, None), 20_000, &mut rng).await;
}

pub(crate) async fn reductions_of_integers(backend: &Backend) {
    let mut rng = Rng::new(seed());
    for from in INTEGERS {
        for &compute in ComputeType::ALL {
            for count in COUNTS {
                let to = INTEGERS[rng.below(4)];
                reduce(backend, flagged(Rules::new(from, to, Some(compute)), &mut rng), count, &mut rng).await;
            }
        }
    }
    reduce(backend, Rules::new(DataType::Int64, DataType::Int64, Some(ComputeType::Xor)), 20_000, &mut rng).await;
}

pub(crate) async fn reductions_of_floats(backend: &Backend) {
    let mut rng = Rng::new(seed());
    for from in FLOATS {
        for compute in [ComputeType::Add, ComputeType::Min, ComputeType::Max] {
            for (to, count) in [(from, 200), (from, 7), (DataType::Fp32, 60), (DataType::Fp16, 60)] {
                let rounding = Rounding::ALL[rng.below(4)];
                let rules = Rules { rounding, ..Rules::new(from, to, Some(compute)) };
                reduce(backend, rules, count, &mut rng).await;
            }
        }
    }
}

/// A device has it only if doing it twice is as good as doing it once.
pub(crate) async fn results_in_place(backend: &Backend) {
    let mut rng = Rng::new(seed());
    let twice = [ComputeType::And, ComputeType::Or, ComputeType::Min, ComputeType::Max];
    for data_type in [DataType::Int8, DataType::Int64, DataType::Int16, DataType::Fp32] {
        for &compute in ComputeType::ALL {
            if !data_type.is_integer() && [ComputeType::And, ComputeType::Or, ComputeType::Xor].contains(&compute) {
                continue;
            }
            for count in [1, 300, 10_000 / data_type.size() as usize] {
                let rules = Rules {
                    negate: [rng.one_in(4), rng.one_in(4)],
                    signed: rng.one_in(2),
                    ..Rules::new(data_type, data_type, Some(compute))
                };
                let may = data_type.is_integer() && twice.contains(&compute) && rules.negate == [false; 2];
                let by = if may { backend.by(count, |caps| has(caps, opcode::REDUCE, rules)) } else { By::Cpu };
                let (first, second) = (random(data_type, count, &mut rng), random(data_type, count, &mut rng));
                let (expected, exceptions) = rules.all(&first, &second);
                let what = format!("{count} in place of {rules:?}");
                let [first, second] = [first, second].map(|elements| numbers::bytes(data_type, &elements));
                let operation = backend.accelerator.reduce_in_place(first, second, reduction(rules));
                let (found, (first, _)) = backend.run_as(opcode::REDUCE, by, &what, operation).await.unwrap();
                assert_same(&first, &numbers::bytes(data_type, &expected), &what);
                assert_eq!(found, exceptions, "{what}");
            }
        }
    }
}

/// Room for `len` bytes at an address with the given offset in its page, and zeros around it.
fn at_page_offset(len: usize, offset: usize) -> Slice<Vec<u8>> {
    let room = vec![0u8; len + 2 * 4096];
    let begin = (offset + 4096 - room.as_ptr().addr() % 4096) % 4096;
    room.slice_mut(begin..begin + len)
}

pub(crate) async fn two_destinations(backend: &Backend) {
    let mut rng = Rng::new(seed());
    let rules = Rules::new(DataType::Int16, DataType::Int32, Some(ComputeType::Add));
    for count in COUNTS {
        for (one, other) in [(0, 0), (64, 64), (4092, 4092), (0, 8)] {
            let (first, second) = (random(rules.from, count, &mut rng), random(rules.from, count, &mut rng));
            let (expected, exceptions) = rules.all(&first, &second);
            let [first, second] = [first, second].map(|elements| numbers::bytes(rules.from, &elements));
            let same = one == other;
            let by = backend.by(count, |caps| same && has(caps, opcode::REDUCE_DUALCAST, rules));
            let by = if same || count == 0 { by } else { By::Cpu };
            let what = format!("{count} to page offsets {one} and {other}");
            let (one, other) = (at_page_offset(4 * count, one), at_page_offset(4 * count, other));
            let operation = backend.accelerator.reduce_dualcast(first, second, one, other, reduction(rules));
            let (found, (_, _, one, other)) =
                backend.run_as(opcode::REDUCE_DUALCAST, by, &what, operation).await.unwrap();
            assert_eq!(found, exceptions, "{what}");
            let expected = numbers::bytes(rules.to, &expected);
            for dst in [one, other] {
                let range = dst.range();
                assert_same(&dst, &expected, &what);
                let whole = dst.into_inner();
                assert!(whole[..range.start].iter().chain(&whole[range.end..]).all(|&byte| byte == 0), "{what}");
            }
        }
    }
}

/// Blocks of a list to one, in the order of the list.
pub(crate) async fn chains(backend: &Backend) {
    let (acc, mut rng) = (&backend.accelerator, Rng::new(seed()));
    for (count, blocks) in [(1, 1), (4, 2), (64, 9), (300, 8), (2500, 3), (3, 1100), (9000, 5), (0, 3), (16, 0)] {
        for compute in [ComputeType::Add, ComputeType::Max, ComputeType::Xor] {
            let (from, to) = (INTEGERS[rng.below(4)], INTEGERS[rng.below(4)]);
            let rules =
                Rules { negate: [rng.one_in(3), false], ..flagged(Rules::new(from, to, Some(compute)), &mut rng) };
            let size = from.size() as usize;
            let elements = random(from, count * (blocks + 1), &mut rng);
            let base = numbers::bytes(from, &elements);
            let order: Vec<usize> = (0..blocks).map(|at| (at * 7 + 1) % (blocks + 1)).collect();
            let mut expected = (Vec::new(), NumericExceptions::empty());
            for column in 0..if blocks == 0 { 0 } else { count } {
                let operands: Vec<u64> = order.iter().map(|&block| elements[block * count + column]).collect();
                let (bits, exceptions) = rules.chain(&operands);
                expected.0.push(bits);
                expected.1 |= exceptions;
            }
            for list in lists(&order, count * size) {
                let what = format!("chain of {blocks} blocks of {count}, {rules:?}");
                let larger = (count * size.max(to.size() as usize)) as u64;
                let by = backend.by(list.total(), |caps| {
                    has(caps, opcode::GATHER_REDUCE, rules)
                        && list.len() as u64 <= u64::from(caps.max_sgl_size())
                        && list.total() as u64 <= caps.max_transfer_size()
                        && larger <= u64::from(caps.max_gather_reduce_block())
                        && larger <= caps.max_transfer_size()
                });
                let room = Vec::with_capacity(count * to.size() as usize);
                let operation = acc.gather_reduce(base.clone(), list, room, reduction(rules));
                let (found, (_, _, dst)) = backend.run_as(opcode::GATHER_REDUCE, by, &what, operation).await.unwrap();
                assert_same(&dst, &numbers::bytes(to, &expected.0), &what);
                assert_eq!(found, expected.1, "{what}");
            }
        }
    }
}

/// A device wants elements aligned; the CPU takes them as they come.
pub(crate) async fn elements_at_odd_addresses(backend: &Backend) {
    let (acc, mut rng) = (&backend.accelerator, Rng::new(seed()));
    let rules = Rules::new(DataType::Int32, DataType::Int32, Some(ComputeType::Add));
    let elements = random(rules.from, 600, &mut rng);
    let bytes = numbers::bytes(rules.from, &elements);
    let odd = || [&[0], &bytes[..]].concat().slice(1..);
    let room = || vec![0; bytes.len() + 1].slice_mut(1..);
    let (doubled, exceptions) = rules.all(&elements, &elements);
    let doubled = numbers::bytes(rules.to, &doubled);
    let even = || Vec::<u8>::with_capacity(bytes.len());
    let same = Conversion::new(rules.from, rules.to);
    let (_, (_, dst)) = backend.run(By::Cpu, "convert", acc.type_convert(odd(), even(), same)).await.unwrap();
    assert_same(&dst, &bytes, "convert");
    let (_, (_, dst)) = backend.run(By::Cpu, "convert", acc.type_convert(dst, room(), same)).await.unwrap();
    assert_same(&dst, &bytes, "convert");
    let sum = reduction(rules);
    let operation = acc.reduce(odd(), bytes.clone(), even(), sum);
    let (found, (_, _, dst)) = backend.run(By::Cpu, "reduce", operation).await.unwrap();
    assert_same(&dst, &doubled, "reduce");
    assert_eq!(found, exceptions);
    let operation = acc.reduce(bytes.clone(), odd(), room(), sum);
    let (_, (_, _, dst)) = backend.run(By::Cpu, "reduce", operation).await.unwrap();
    assert_same(&dst, &doubled, "reduce");
    // A list may name blocks anywhere, too.
    let list = BlockList::offsets(vec![4, 1], 400);
    let operation = acc.gather_reduce(bytes.clone(), list, Vec::<u8>::with_capacity(400), sum);
    let (_, (_, _, dst)) = backend.run_as(opcode::GATHER_REDUCE, By::Cpu, "chain", operation).await.unwrap();
    let [a, b] = [4, 1].map(|at| numbers::elements(rules.from, &bytes[at..at + 400]));
    assert_same(&dst, &numbers::bytes(rules.to, &rules.all(&a, &b).0), "chain");
}
