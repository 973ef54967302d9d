//! Every operation beyond copy, fill, compare and CRC-32C, on tracked buffers, as a future that checks its own result.

use std::pin::Pin;
use std::sync::Arc;

use dsa::buf::{StableBuf, StableBufMut};
use dsa::{
    Accelerator, BlockList, ComputeType, Conversion, DataType, DeltaResult, DifBlock, DifDestination, DifSource,
    DifStatus, NumericExceptions, Reduction,
};
use idxd_sys::opcode;

use super::oracle::{self, Guards, Side};
use super::tracked::Ledger;
use super::{Rng, assert_same};

/// One of them.
pub(crate) struct Later {
    pub(crate) name: &'static str,
    pub(crate) opcode: u8,
    pub(crate) future: Pin<Box<dyn Future<Output = ()> + Send>>,
}

/// How many there are.
pub(crate) const KINDS: usize = 23;

/// All of them, with about `len` bytes each (a multiple of 4096).
pub(crate) fn all(acc: &Accelerator, ledger: &Arc<Ledger>, rng: &mut Rng, len: usize) -> Vec<Later> {
    (0..KINDS).map(|kind| one(kind, acc, ledger, rng, len)).collect()
}

/// Tags and fields that the operations below are given.
const SIDE: Side =
    Side { reference: 77, application: 0x1234, mask: 0, fixed_reference: false, counting_application: true };
const OTHER: Side =
    Side { reference: 5, application: 9, mask: 0x0f, fixed_reference: true, counting_application: false };
const GUARDS: Guards = Guards { invert_seed: false, invert_result: false };

fn source() -> DifSource {
    DifSource::new(SIDE.reference, SIDE.application).counting_application(true)
}

fn destination() -> DifDestination {
    DifDestination::new(OTHER.reference, OTHER.application).application_mask(OTHER.mask).fixed_reference(true)
}

/// Blocks in no order, of which there are `of`.
fn shuffled(of: usize, rng: &mut Rng) -> Vec<usize> {
    let mut numbers: Vec<usize> = (0..of).collect();
    for at in (1..of).rev() {
        numbers.swap(at, rng.below(at + 1));
    }
    numbers
}

fn indices(numbers: &[usize], block: usize) -> BlockList {
    BlockList::indices(numbers.iter().map(|&number| number as u32).collect(), block)
}

/// Number `kind` of them.
#[allow(clippy::too_many_lines, reason = "a list")]
pub(crate) fn one(kind: usize, acc: &Accelerator, ledger: &Arc<Ledger>, rng: &mut Rng, len: usize) -> Later {
    assert!(len.is_multiple_of(4096) && len > 0 && len <= 512 << 10);
    let a = rng.bytes(len);
    let buffer = |bytes: &[u8]| ledger.of(bytes.to_vec());
    let room = |len: usize| ledger.buffer(len);
    macro_rules! later {
        ($name:literal, $opcode:ident, $operation:expr, $pattern:pat => $check:expr) => {{
            let operation = $operation;
            let future = Box::pin(async move {
                let $pattern = operation.await.unwrap();
                $check;
            });
            Later { name: $name, opcode: opcode::$opcode, future }
        }};
    }
    let protected = || oracle::protect(GUARDS, &SIDE, 512, &a);
    let block = DifBlock::Bytes512;
    let unit = len / 512 * 520;
    let bytewise =
        |f: fn(u8, u8) -> u8, a: &[u8], b: &[u8]| -> Vec<u8> { a.iter().zip(b).map(|(&a, &b)| f(a, b)).collect() };
    match kind {
        0 => {
            let pattern = rng.next().to_le_bytes();
            let pattern: [u8; 16] = std::array::from_fn(|at| pattern[at % 8] ^ at as u8);
            later!("fill-wide", FILL, acc.fill_wide(room(len), len, pattern), dst => {
                assert_same(dst.bytes(), &oracle::wide_fill(pattern, len), "wide fill");
            })
        }
        1 => {
            let at = rng.below(len);
            let mut data = vec![3; len];
            data[at] = 4;
            later!("compare-pattern", COMPVAL, acc.compare_pattern(buffer(&data), 3u8), (difference, _) => {
                assert_eq!(difference, Some(at), "compare pattern");
            })
        }
        2 => {
            later!("compare-pattern, equal", COMPVAL, acc.compare_pattern(buffer(&vec![3; len]), 3u8), (difference, _) => {
                assert_eq!(difference, None, "compare pattern");
            })
        }
        3 => later!("crc64", CRCGEN, acc.crc64(buffer(&a)).seed(9), (crc, _) => {
            assert_eq!(crc, oracle::crc64(9, &a), "crc64");
        }),
        4 => later!("copy-crc64", COPY_CRC, acc.copy_crc64(buffer(&a), room(len)), (crc, (_, dst)) => {
            assert_eq!(crc, oracle::crc64(0, &a), "copy with crc64");
            assert_same(dst.bytes(), &a, "copy with crc64");
        }),
        5 => {
            let mut b = a.clone();
            for _ in 0..len / 100 {
                b[rng.below(len)] ^= 0x55;
            }
            let record = oracle::delta(&a, &b);
            let operation = acc.create_delta(buffer(&a), buffer(&b), room(len / 8 * 10));
            later!("create-delta", CR_DELTA, operation, (result, (_, _, found)) => {
                assert_eq!(result, DeltaResult::Record { size: record.len() }, "create delta");
                assert_same(&found.bytes()[..record.len()], &record, "create delta");
            })
        }
        6 => {
            let mut b = a.clone();
            for _ in 0..len / 100 {
                b[rng.below(len)] ^= 0x55;
            }
            let operation = acc.apply_delta(buffer(&oracle::delta(&a, &b)), buffer(&a));
            later!("apply-delta", AP_DELTA, operation, (_, target) => assert_same(target.bytes(), &b, "apply delta"))
        }
        7 => later!("dif-check", DIF_CHECK, acc.dif_check(buffer(&protected()), block, source()), (checked, _) => {
            assert_eq!(checked.unwrap().reference, SIDE.reference + (len / 512) as u32, "check");
        }),
        8 => {
            let wrong = rng.below(len / 512);
            let mut bytes = protected();
            bytes[wrong * 520 + 514] ^= 1;
            later!("dif-check, wrong", DIF_CHECK, acc.dif_check(buffer(&bytes), block, source()), (checked, _) => {
                let mismatch = checked.unwrap_err();
                let found = (mismatch.block, mismatch.completed, mismatch.fields);
                assert_eq!(found, (wrong, wrong * 520, DifStatus::APPLICATION), "check");
            })
        }
        9 => {
            later!("dif-insert", DIF_INS, acc.dif_insert(buffer(&a), room(unit), block, destination()), (_, (_, dst)) => {
                assert_same(dst.bytes(), &oracle::protect(GUARDS, &OTHER, 512, &a), "insert");
            })
        }
        10 => {
            later!("dif-strip", DIF_STRP, acc.dif_strip(buffer(&protected()), room(len), block, source()), (checked, (_, dst)) => {
                assert!(checked.is_ok(), "strip");
                assert_same(dst.bytes(), &a, "strip");
            })
        }
        11 => {
            let operation = acc.dif_update(buffer(&protected()), room(unit), block, source(), destination());
            later!("dif-update", DIF_UPDT, operation, (updated, (_, dst)) => {
                assert!(updated.is_ok(), "update");
                assert_same(dst.bytes(), &oracle::protect(GUARDS, &OTHER, 512, &a), "update");
            })
        }
        12 => {
            let operation = acc.dix_generate(buffer(&a), room(len / 512 * 8), block, destination());
            later!("dix-generate", DIX_GEN, operation, (_, (_, dst)) => {
                assert_same(dst.bytes(), &oracle::fields(GUARDS, &OTHER, 512, &a), "generate");
            })
        }
        13 => {
            later!("cache-flush", CFLUSH, acc.cache_flush(buffer(&a), 1..), buf => assert_same(buf.bytes(), &a, "flush"))
        }
        14 => later!("translation-fetch", TRANSL_FETCH, acc.translation_fetch(buffer(&a)), buf => {
            assert_same(buf.bytes(), &a, "fetch");
        }),
        15 => {
            let numbers = shuffled(len / 64, rng);
            let places: Vec<usize> = numbers.iter().map(|&number| number * 64).collect();
            let operation = acc.gather_copy(buffer(&a), indices(&numbers, 64), room(len));
            later!("gather-copy", GATHER_COPY, operation, (_, _, dst) => {
                assert_same(dst.bytes(), &oracle::gather(&a, &places, 64), "gather");
            })
        }
        16 => {
            let numbers = shuffled(len / 128, rng);
            let places: Vec<usize> = numbers.iter().map(|&number| number * 128).collect();
            let operation = acc.scatter_copy(buffer(&a), room(len), indices(&numbers, 128));
            later!("scatter-copy", SCATTER_COPY, operation, (_, base, _) => {
                let expected = oracle::scatter(&vec![0; a.len()], &places, 128, &a);
                assert_same(base.bytes(), &expected, "scatter");
            })
        }
        17 => {
            let numbers: Vec<usize> = shuffled(len / 32, rng).into_iter().filter(|number| number % 3 != 0).collect();
            let places: Vec<usize> = numbers.iter().map(|&number| number * 32).collect();
            let operation = acc.scatter_fill(buffer(&a), indices(&numbers, 32), [1, 2, 3, 4, 5, 6, 7, 8]);
            later!("scatter-fill", SCATTER_FILL, operation, (base, _) => {
                let pattern = [1, 2, 3, 4, 5, 6, 7, 8].repeat(4 * places.len());
                assert_same(base.bytes(), &oracle::scatter(&a, &places, 32, &pattern), "scatter fill");
            })
        }
        18 => {
            let widen = Conversion::new(DataType::Int8, DataType::Int16).signed(true);
            later!("type-convert", TYPE_CONV, acc.type_convert(buffer(&a), room(2 * len), widen), (_, (_, dst)) => {
                let expected: Vec<u8> =
                    a.iter().flat_map(|&byte| i16::from(byte.cast_signed()).to_le_bytes()).collect();
                assert_same(dst.bytes(), &expected, "convert");
            })
        }
        19 => {
            let b = rng.bytes(len);
            let add = Reduction::new(ComputeType::Add, DataType::Int8);
            let operation = acc.reduce(buffer(&a), buffer(&b), room(len), add);
            later!("reduce", REDUCE, operation, (exceptions, (_, _, dst)) => {
                assert_same(dst.bytes(), &bytewise(u8::wrapping_add, &a, &b), "reduce");
                let overflows = a.iter().zip(&b).any(|(a, b)| a.checked_add(*b).is_none());
                assert_eq!(exceptions.contains(NumericExceptions::OVERFLOW), overflows, "reduce");
            })
        }
        20 => {
            let b = rng.bytes(len);
            let smaller = Reduction::new(ComputeType::Min, DataType::Int8);
            let operation = acc.reduce_in_place(buffer(&a), buffer(&b), smaller);
            later!("reduce-in-place", REDUCE, operation, (_, (first, _)) => {
                assert_same(first.bytes(), &bytewise(u8::min, &a, &b), "reduce in place");
            })
        }
        21 => {
            let b = rng.bytes(len);
            let xor = Reduction::new(ComputeType::Xor, DataType::Int64);
            // The same offset in the page for both, so that a device can do it.
            let place = || {
                let buf = room(len + 4096);
                let begin = 4096 - StableBuf::as_ptr(&buf).addr() % 4096;
                buf.slice_mut(begin..begin + len)
            };
            let operation = acc.reduce_dualcast(buffer(&a), buffer(&b), place(), place(), xor);
            later!("reduce-dualcast", REDUCE_DUALCAST, operation, (_, (_, _, one, other)) => {
                let expected = bytewise(|a, b| a ^ b, &a, &b);
                assert_same(&one, &expected, "reduce to the first");
                assert_same(&other, &expected, "reduce to the second");
            })
        }
        _ => {
            let numbers = shuffled(8, rng);
            let size = len / 64;
            let greater = Reduction::new(ComputeType::Max, DataType::Int8);
            let operation = acc.gather_reduce(buffer(&a), indices(&numbers, size), room(size), greater);
            later!("gather-reduce", GATHER_REDUCE, operation, (_, (_, _, dst)) => {
                let blocks = a.chunks(size).take(8).map(<[u8]>::to_vec);
                let expected = blocks.reduce(|a, b| bytewise(u8::max, &a, &b)).unwrap();
                assert_same(dst.bytes(), &expected, "gather-reduce");
            })
        }
    }
}
