//! The CPU engine against what a Rust program would use otherwise.
//!
//! One group for each operation, two rows for each size: `dsa` is the engine, `peer` the standard library or, for
//! checksums, the `crc32c` crate. Rates count the bytes of the source once.

use std::hint::black_box;
use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

/// Bytes of an operation.
const SIZES: [usize; 5] = [64, 1 << 10, 16 << 10, 256 << 10, 4 << 20];

const PATTERN: u64 = 0x0123_4567_89ab_cdef;

/// Source and two destinations.
struct Buffers {
    src: Vec<u8>,
    first: Vec<u8>,
    second: Vec<u8>,
}

impl Buffers {
    fn new(size: usize) -> Self {
        let src: Vec<u8> = (0..size).map(|i| (i * 31 + i / 256) as u8).collect();
        Self { first: src.clone(), second: src.clone(), src }
    }
}

/// Measures an operation and its peer at every size.
fn pair(c: &mut Criterion, name: &str, dsa: impl Fn(&mut Buffers), peer: impl Fn(&mut Buffers)) {
    let mut group = c.benchmark_group(format!("cpu/{name}"));
    for size in SIZES {
        group.throughput(Throughput::Bytes(size as u64));
        row(&mut group, "dsa", size, &dsa);
        row(&mut group, "peer", size, &peer);
    }
}

fn row(group: &mut BenchmarkGroup<'_, WallTime>, who: &str, size: usize, work: &impl Fn(&mut Buffers)) {
    let mut buffers = Buffers::new(size);
    group.bench_function(BenchmarkId::new(who, size), |b| b.iter(|| work(black_box(&mut buffers))));
}

fn copy(c: &mut Criterion) {
    let dsa = |b: &mut Buffers| {
        // SAFETY: two vectors of the same length; the destination is borrowed exclusively.
        unsafe { dsa::cpu::copy(b.src.as_ptr(), b.first.as_mut_ptr(), b.src.len()) }
    };
    pair(c, "copy", dsa, |b| b.first.copy_from_slice(&b.src));
}

fn fill(c: &mut Criterion) {
    let dsa = |b: &mut Buffers| {
        // SAFETY: the vector is borrowed exclusively, and that long.
        unsafe { dsa::cpu::fill(b.first.as_mut_ptr(), b.first.len(), PATTERN) }
    };
    let peer = |b: &mut Buffers| {
        for chunk in b.first.chunks_exact_mut(8) {
            chunk.copy_from_slice(&PATTERN.to_le_bytes());
        }
    };
    pair(c, "fill", dsa, peer);
}

fn compare(c: &mut Criterion) {
    let dsa = |b: &mut Buffers| {
        // SAFETY: two vectors of the same length, which nobody writes.
        black_box(unsafe { dsa::cpu::compare(b.src.as_ptr(), b.first.as_ptr(), b.src.len()) });
    };
    // Equal or not is all that the standard library's fast comparison says; the engine also says where.
    pair(c, "compare", dsa, |b| {
        black_box(b.src == b.first);
    });
}

fn crc32c(c: &mut Criterion) {
    let dsa = |b: &mut Buffers| {
        black_box(dsa::cpu::crc32c(0, &b.src));
    };
    pair(c, "crc32c", dsa, |b| {
        black_box(crc32c::crc32c(&b.src));
    });
}

fn copy_crc32c(c: &mut Criterion) {
    let dsa = |b: &mut Buffers| {
        // SAFETY: two vectors of the same length; the destination is borrowed exclusively.
        black_box(unsafe { dsa::cpu::copy_crc32c(0, b.src.as_ptr(), b.first.as_mut_ptr(), b.src.len()) });
    };
    pair(c, "copy_crc32c", dsa, |b| {
        b.first.copy_from_slice(&b.src);
        black_box(crc32c::crc32c(&b.src));
    });
}

fn dualcast(c: &mut Criterion) {
    let dsa = |b: &mut Buffers| {
        // SAFETY: three vectors of the same length; the destinations are borrowed exclusively.
        unsafe { dsa::cpu::dualcast(b.src.as_ptr(), b.first.as_mut_ptr(), b.second.as_mut_ptr(), b.src.len()) }
    };
    pair(c, "dualcast", dsa, |b| {
        b.first.copy_from_slice(&b.src);
        b.second.copy_from_slice(&b.src);
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_millis(500))
        .sample_size(20);
    targets = copy, fill, compare, crc32c, copy_crc32c, dualcast
}
criterion_main!(benches);
