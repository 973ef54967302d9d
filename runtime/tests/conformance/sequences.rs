//! Random sequences of operations on a few buffers, against the same on plain vectors.

use dsa::Accelerator;
use dsa::buf::StableBuf;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::backend::Backend;
use crate::support::{assert_same, crc_oracle, seed, within};

const BUFFERS: usize = 3;
const SIZE: usize = 20_000;

/// One operation on buffers, by number; ranges are cut to fit.
#[derive(Clone, Debug)]
enum Step {
    Copy { from: usize, to: usize, start: usize, len: usize },
    CopyCrc { from: usize, to: usize, start: usize, len: usize, seed: u32 },
    Within { buf: usize, start: usize, len: usize, to: usize },
    Fill { buf: usize, len: usize, pattern: [u8; 8] },
    Crc { buf: usize, start: usize, len: usize, seed: u32 },
    Compare { a: usize, b: usize, len: usize },
    Dualcast { from: usize, len: usize },
    Touch { buf: usize, at: usize },
}

fn step() -> impl Strategy<Value = Step> {
    let buf = 0..BUFFERS;
    let at = 0..SIZE;
    let len = prop_oneof![0..200_usize, 4090..4102_usize, 0..SIZE];
    let (from, to, start) = (buf.clone(), buf.clone(), at.clone());
    let copy = (from, to, start, len.clone());
    prop_oneof![
        copy.clone().prop_map(|(from, to, start, len)| Step::Copy { from, to, start, len }),
        (copy, any::<u32>()).prop_map(|((from, to, start, len), seed)| Step::CopyCrc { from, to, start, len, seed }),
        (buf.clone(), at.clone(), len.clone(), at.clone()).prop_map(|(buf, start, len, to)| Step::Within {
            buf,
            start,
            len,
            to
        }),
        (buf.clone(), len.clone(), any::<[u8; 8]>()).prop_map(|(buf, len, pattern)| Step::Fill { buf, len, pattern }),
        (buf.clone(), at.clone(), len.clone(), any::<u32>()).prop_map(|(buf, start, len, seed)| Step::Crc {
            buf,
            start,
            len,
            seed
        }),
        (buf.clone(), buf.clone(), len.clone()).prop_map(|(a, b, len)| Step::Compare { a, b, len }),
        (buf.clone(), len).prop_map(|(from, len)| Step::Dualcast { from, len }),
        (buf, at).prop_map(|(buf, at)| Step::Touch { buf, at }),
    ]
}

pub(crate) async fn random_sequences(backend: &Backend) {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed().to_le_bytes());
    let config = Config { cases: 24, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let accelerator = backend.accelerator.clone();
    // A runtime of its own on another thread: the runner calls back from synchronous code.
    let run = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runner.run(&prop::collection::vec(step(), 1..16), |steps| {
            runtime.block_on(within("sequence", follow(&accelerator, &steps)));
            Ok(())
        })
    };
    if let Err(failure) = std::thread::spawn(run).join().unwrap() {
        panic!("{failure}");
    }
}

/// Does every step both ways and compares everything after each.
async fn follow(acc: &Accelerator, steps: &[Step]) {
    let mut model: Vec<Vec<u8>> = (0..BUFFERS).map(|buf| (0..SIZE).map(|i| (i * (buf + 1)) as u8).collect()).collect();
    let mut real = model.clone();
    for step in steps {
        apply(acc, step, &mut model, &mut real).await;
        for (model, real) in model.iter().zip(&real) {
            assert_same(real, model, &format!("{step:?}"));
        }
    }
}

/// Two buffers taken out of the list, the same one twice as two copies of it.
fn take_two(real: &mut [Vec<u8>], a: usize, b: usize) -> (Vec<u8>, Vec<u8>) {
    let first = std::mem::take(&mut real[a]);
    let second = if a == b { first.clone() } else { std::mem::take(&mut real[b]) };
    (first, second)
}

async fn apply(acc: &Accelerator, step: &Step, model: &mut [Vec<u8>], real: &mut [Vec<u8>]) {
    match *step {
        Step::Copy { from, to, start, len } => {
            let end = (start + len).min(SIZE);
            let source = model[from][start..end].to_vec();
            let (src, dst) = take_two(real, from, to);
            let (src, dst) = acc.copy(src.slice(start..end), dst).await.unwrap();
            real[from] = src.into_inner();
            real[to] = dst;
            model[to][..source.len()].copy_from_slice(&source);
        }
        Step::CopyCrc { from, to, start, len, seed } => {
            let end = (start + len).min(SIZE);
            let source = model[from][start..end].to_vec();
            let (src, dst) = take_two(real, from, to);
            let (crc, (src, dst)) = acc.copy_crc32c(src.slice(start..end), dst).seed(seed).await.unwrap();
            real[from] = src.into_inner();
            real[to] = dst;
            assert_eq!(crc, crc_oracle(seed, &source), "{step:?}");
            model[to][..source.len()].copy_from_slice(&source);
        }
        Step::Within { buf, start, len, to } => {
            let len = len.min(SIZE - start).min(SIZE - to);
            let source = model[buf][start..start + len].to_vec();
            model[buf][to..to + len].copy_from_slice(&source);
            let whole = std::mem::take(&mut real[buf]);
            real[buf] = acc.copy_within(whole, start..start + len, to).await.unwrap();
        }
        Step::Fill { buf, len, pattern } => {
            model[buf][..len].iter_mut().enumerate().for_each(|(i, byte)| *byte = pattern[i % 8]);
            let whole = std::mem::take(&mut real[buf]);
            real[buf] = acc.fill(whole, len, pattern).await.unwrap();
        }
        Step::Crc { buf, start, len, seed } => {
            let end = (start + len).min(SIZE);
            let whole = std::mem::take(&mut real[buf]);
            let (crc, src) = acc.crc32c(whole.slice(start..end)).seed(seed).await.unwrap();
            real[buf] = src.into_inner();
            assert_eq!(crc, crc_oracle(seed, &model[buf][start..end]), "{step:?}");
        }
        Step::Compare { a, b, len } => {
            let (first, second) = take_two(real, a, b);
            let (difference, (first, second)) = acc.compare(first.slice(..len), second.slice(..len)).await.unwrap();
            real[a] = first.into_inner();
            real[b] = second.into_inner();
            let expected = (0..len).find(|&i| model[a][i] != model[b][i]);
            assert_eq!(difference, expected, "{step:?}");
        }
        Step::Dualcast { from, len } => {
            let source = model[from][..len].to_vec();
            let (first, second) = ((from + 1) % BUFFERS, (from + 2) % BUFFERS);
            let (src, one) = take_two(real, from, first);
            let two = std::mem::take(&mut real[second]);
            let (src, one, two) = acc.dualcast(src.slice(..len), one, two).await.unwrap();
            real[from] = src.into_inner();
            real[first] = one;
            real[second] = two;
            model[first][..len].copy_from_slice(&source);
            model[second][..len].copy_from_slice(&source);
        }
        Step::Touch { buf, at } => {
            model[buf][at] ^= 0xff;
            real[buf][at] ^= 0xff;
        }
    }
}
