//! What is assumed before anything has been measured: **modelled** figures for Sapphire Rapids.
//!
//! The device's times for copies are a published measurement of single synchronous copies on one engine (LIGHT,
//! `single_memcpy`), and its rate that of a whole device; fills and comparisons were published too. The CPU's times are
//! those of one core's `memcpy`, from the same source. Everything else is derived from the bytes that an operation reads
//! and writes. A machine's own times replace these by [`Calibration`](super::Calibration), or by and by as operations
//! complete.

use super::Quantity;
use super::place::{CLASSES, size};
use crate::stats::Operation;

/// A copy on an idle device: bytes, and picoseconds until the submitter knows.
const COPY_LATENCY: [(u64, u64); 7] = [
    (64, 750_000),
    (1 << 10, 960_000),
    (4 << 10, 1_140_000),
    (16 << 10, 1_830_000),
    (64 << 10, 3_510_000),
    (256 << 10, 9_900_000),
    (1 << 20, 35_100_000),
];
/// Picoseconds for a byte of a long copy on the device: 31.5 GB/s.
const COPY_BYTE: u64 = 32;
/// Picoseconds between two descriptors, all engines of a device together: four, each one every 56 ns.
const DISPATCH: u64 = 14_000;
/// A copy by one core: bytes and picoseconds.
const CPU_COPY: [(u64, u64); 5] =
    [(64, 11_000), (1 << 10, 200_000), (4 << 10, 460_000), (16 << 10, 1_750_000), (1 << 20, 108_000_000)];
/// Picoseconds for a byte of a long copy by one core: 9.7 GB/s.
const CPU_COPY_BYTE: u64 = 103;

/// What distinguishes an operation from a copy.
struct Kind {
    /// Bytes on the busier of the device's two paths to memory for 4 bytes of the operation; 4 for a copy.
    traffic: u64,
    /// Picoseconds by which its first byte is earlier than a copy's, because nothing is read first.
    earlier: u64,
    /// The CPU's time for it, in hundredths of a copy's.
    cpu_percent: u64,
}

const fn kind(operation: Operation) -> Kind {
    let (traffic, earlier, cpu_percent) = match operation {
        Operation::Fill => (4, 260_000, 92),
        Operation::Compare | Operation::CreateDelta => (8, 0, 130),
        Operation::Dualcast => (8, 0, 190),
        Operation::Crc32c | Operation::Crc64 => (4, 0, 80),
        Operation::CopyCrc32c | Operation::CopyCrc64 => (4, 0, 120),
        Operation::ComparePattern => (4, 0, 104),
        Operation::DifCheck | Operation::DixGenerate => (4, 0, 110),
        Operation::DifInsert | Operation::DifStrip | Operation::DifUpdate => (4, 0, 140),
        Operation::CacheFlush => (4, 260_000, 60),
        // Both touch a page at a time, and neither moves the bytes.
        Operation::TranslationFetch => (1, 260_000, 10),
        Operation::Drain => (1, 260_000, 100),
        Operation::ScatterFill => (4, 260_000, 120),
        Operation::TypeConvert => (4, 0, 150),
        Operation::Reduce | Operation::GatherReduce => (8, 0, 180),
        Operation::ReduceDualcast => (8, 0, 220),
        // Copy, ApplyDelta, GatherCopy, ScatterCopy, and what is added later.
        _ => (4, 0, 100),
    };
    Kind { traffic, earlier, cpu_percent }
}

/// What is assumed of a size class, in picoseconds.
pub(super) fn modelled(operation: Operation, quantity: Quantity, class: usize) -> u64 {
    debug_assert!(class < CLASSES);
    let (bytes, kind) = (size(class), kind(operation));
    match quantity {
        Quantity::Latency => {
            let copy = along(&COPY_LATENCY, COPY_BYTE, bytes) - kind.earlier;
            // Beyond a copy's traffic, the paths are the limit.
            copy + bytes * COPY_BYTE * kind.traffic.saturating_sub(4) / 4
        }
        Quantity::Service => DISPATCH.max(bytes * COPY_BYTE * kind.traffic / 4),
        Quantity::Cpu => along(&CPU_COPY, CPU_COPY_BYTE, bytes) * kind.cpu_percent / 100,
    }
}

/// A value on a line through points of ascending sizes, which goes on behind the last at `slope` for a byte.
fn along(points: &[(u64, u64)], slope: u64, bytes: u64) -> u64 {
    for pair in points.windows(2) {
        let [(from, low), (to, high)] = [pair[0], pair[1]];
        if bytes <= to {
            return low + (high - low) * (bytes.max(from) - from) / (to - from);
        }
    }
    let (last, value) = points[points.len() - 1];
    value + (bytes - last) * slope
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn longer_operations_take_longer() {
        for &operation in Operation::ALL {
            for &quantity in Quantity::ALL {
                let times: Vec<_> = (0..CLASSES).map(|class| modelled(operation, quantity, class)).collect();
                assert!(times.is_sorted() && times[0] > 0, "{operation} {quantity}: {times:?}");
            }
        }
    }

    #[test]
    fn copies_are_the_published_ones() {
        let at = |quantity, class| modelled(Operation::Copy, quantity, class);
        assert_eq!(at(Quantity::Latency, 0), 750_000);
        assert_eq!(at(Quantity::Latency, 6), 1_140_000);
        assert_eq!(at(Quantity::Latency, 14), 35_100_000);
        assert_eq!(at(Quantity::Cpu, 6), 460_000);
        // 2 GiB: long ones go at the published rates, within a tenth.
        assert!(at(Quantity::Latency, 25).abs_diff((1 << 31) * 32) < (1 << 31) * 3);
        assert!(at(Quantity::Cpu, 25).abs_diff((1 << 31) * 103) < (1 << 31) * 10);
    }
}
