//! From the first poll to the result, through every layer of the runtime, on the software model of a device.
//!
//! The model's engine is a thread that copies with the CPU, so the times say nothing about hardware. They say what the
//! runtime itself costs, and show when a change makes it dearer.
//!
//! * `model/copy/depth N`: N tasks, each of which awaits one copy after the other, on one runtime thread. One iteration is
//!   one copy by each task, so at depth 1 the time is that of one operation, and the rate is always that of all of them.
//! * `model/batch/N`: one batch of N copies after the other. One iteration is one batch.

use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use dsa::buf::{Pool, PoolBuf};
use dsa::stats::Path;
use dsa::{Accelerator, BatchBuffers};
use dsa_emulator::{Config, Device, WqConfig};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

/// Bytes of an operation.
const SIZES: [usize; 5] = [64, 1 << 10, 4 << 10, 64 << 10, 1 << 20];
/// Operations in flight.
const DEPTHS: [usize; 3] = [1, 8, 64];
/// Members of a batch.
const MEMBERS: [usize; 3] = [4, 16, 64];
/// Bytes of a member.
const MEMBER_SIZES: [usize; 3] = [64, 4 << 10, 64 << 10];

fn accelerator() -> Accelerator {
    println!("device: software model; timings say nothing about hardware");
    // More entries than the greatest depth: a full queue would hand work to the CPU.
    let device = Device::new(Config::sapphire_rapids().queue(WqConfig::shared(128))).expect("the preset is valid");
    Accelerator::builder().emulator(&device).min_device_size(0).build().expect("the model can be opened")
}

fn runtime() -> Runtime {
    Builder::new_current_thread().build().expect("a runtime can be started")
}

fn copies(c: &mut Criterion) {
    let (accelerator, runtime) = (accelerator(), runtime());
    for depth in DEPTHS {
        let mut group = c.benchmark_group(format!("model/copy/depth {depth}"));
        group.sampling_mode(SamplingMode::Flat);
        for size in SIZES {
            let pool = Pool::builder().buffers(2 * depth).size(size).build().expect("there is memory");
            group.throughput(Throughput::Bytes((size * depth) as u64));
            group.bench_function(BenchmarkId::from_parameter(size), |b| {
                b.iter_custom(|rounds| runtime.block_on(copy_all(&accelerator, &pool, depth, rounds)));
            });
        }
    }
}

/// Times `depth` tasks of `rounds` copies each.
async fn copy_all(accelerator: &Accelerator, pool: &Pool, depth: usize, rounds: u64) -> Duration {
    let pairs: Vec<_> = (0..depth).map(|_| (full(pool), full(pool))).collect();
    let mut tasks = JoinSet::new();
    let begin = Instant::now();
    for (mut src, mut dst) in pairs {
        let accelerator = accelerator.clone();
        tasks.spawn(async move {
            for _ in 0..rounds {
                // Device only: an error instead of a number that is the CPU's.
                (src, dst) = accelerator.copy(src, dst).device_only().await.expect("the model takes it");
            }
        });
    }
    tasks.join_all().await;
    begin.elapsed()
}

fn batches(c: &mut Criterion) {
    let (accelerator, runtime) = (accelerator(), runtime());
    for members in MEMBERS {
        let mut group = c.benchmark_group(format!("model/batch/{members}"));
        for size in MEMBER_SIZES {
            let pool = Pool::builder().buffers(2 * members).size(size).build().expect("there is memory");
            group.throughput(Throughput::Bytes((size * members) as u64));
            group.bench_function(BenchmarkId::from_parameter(size), |b| {
                b.iter_custom(|rounds| runtime.block_on(batch_all(&accelerator, &pool, members, rounds)));
            });
        }
    }
    assert_eq!(accelerator.stats().total_operations(Path::Cpu), 0, "these are not the model's numbers");
}

/// Times `rounds` batches of `members` copies, one after the other.
async fn batch_all(accelerator: &Accelerator, pool: &Pool, members: usize, rounds: u64) -> Duration {
    let mut pairs: Vec<_> = (0..members).map(|_| (full(pool), full(pool))).collect();
    let begin = Instant::now();
    for _ in 0..rounds {
        let mut batch = accelerator.batch();
        for (src, dst) in pairs.drain(..) {
            batch.copy(src, dst);
        }
        pairs.extend(batch.submit().await.into_iter().map(|item| match item.buffers {
            Some(BatchBuffers::Copy(src, dst)) => (src, dst),
            _ => panic!("a copy ended with {:?}", item.result),
        }));
    }
    begin.elapsed()
}

/// A buffer of the pool, as long as it gets.
fn full(pool: &Pool) -> PoolBuf {
    let mut buf = pool.try_get().expect("the pool has a buffer for each use");
    buf.set_len(buf.capacity());
    buf
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1))
        .sample_size(20);
    targets = copies, batches
}
criterion_main!(benches);
