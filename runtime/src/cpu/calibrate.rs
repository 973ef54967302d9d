//! Which kernel is the fastest on this very CPU, found out in a few milliseconds.
//!
//! All kernels of an operation take turns on the same memory, and the shortest time of each counts: whatever disturbs a turn makes
//! it longer. Data is where it can be put cheaply: in the first caches (one pair of buffers, again and again), or in the last one
//! (more than the others hold, round and round). What is in memory would take too long to get there, so what is said of cold data is
//! the model's.

use std::time::Duration;

use super::copy::{CopyKernel, CopyTable, MEDIUM, copy_by};
use super::crc::CrcLimits;
use super::fill::FillLimits;
use super::{Hint, Tier, Tuning};
use crate::clock;

/// Bytes of each of the two buffers; together they are more than a second-level cache.
const ARENA: usize = 2 << 20;
/// A page, as far as addresses are compared.
const PAGE: usize = 4096;
/// Room behind them, for what begins later.
const SLACK: usize = 2 * PAGE;
/// The largest size that is measured.
const LARGEST: usize = 1 << 20;
/// The largest size that is measured in the last cache.
const LARGEST_SPREAD: usize = 128 << 10;
/// Bytes of a turn, unless one operation has more.
const TURN: usize = 64 << 10;
/// Turns that each kernel has at each size.
const ROUNDS: usize = 5;
/// How much faster another kernel has to be than the one that is there already.
const MARGIN: f64 = 1.03;
/// How much slower than the library a kernel may be in the last cache, to be used where nobody knows.
const LOSS: f64 = 0.97;

impl Tuning {
    /// Measures this CPU, for at most about `budget`, and starts from the [model](Self::of_model): what there is no time for stays as
    /// it says. [`install`](Self::install) puts the result in use.
    ///
    /// An accelerator that is built does both, once in a process, for at most 5 ms, unless the environment variable
    /// `DSA_CPU_TUNING` is `model`.
    pub fn calibrate(budget: Duration) -> Self {
        let mut tuning = Self::of_model();
        let tier = Tier::current();
        let kernels: Vec<CopyKernel> = CopyKernel::ALL
            .into_iter()
            .filter(|kernel| kernel.tier() <= tier && !kernel.is_streaming() && cfg!(target_arch = "x86_64"))
            .collect();
        if kernels.len() > 1 {
            let mut meter = Meter::new(budget);
            copies(&mut tuning.copy, &kernels, |kernel, size, spread| meter.copy(kernel, size, spread));
            if super::fill::has_repeat() {
                fills(&mut tuning.fill, |size, spread| meter.fill(size, spread));
            }
            if tier == Tier::Avx512 {
                checksums(&mut tuning.crc, |size| meter.checksum(size));
            }
        }
        tuning
    }
}

/// Chooses kernels by what `time` says of each: for a size, in the first caches or spread over the last. `None` means that there is
/// no time left.
fn copies(
    table: &mut CopyTable,
    kernels: &[CopyKernel],
    mut time: impl FnMut(&[CopyKernel], usize, bool) -> Option<Vec<f64>>,
) {
    // One size stands for all those below the table's.
    let Some(middle) = time(kernels, 4 * MEDIUM, false) else { return };
    *table = table.with_middle(best(kernels, table.kernel(Hint::Hot, 4 * MEDIUM), |at| Some(1.0 / middle[at])));
    let mut size = 4 << 10;
    while size <= LARGEST {
        let Some(hot) = time(kernels, size, false) else { return };
        let best = best(kernels, table.kernel(Hint::Hot, size), |at| Some(1.0 / hot[at]));
        table.set(Hint::Hot, size, best);
        let spread = if size <= LARGEST_SPREAD { time(kernels, size, true) } else { None };
        let library = kernels.iter().position(|kernel| *kernel == CopyKernel::Library);
        if let (Some(spread), Some(library)) = (spread, library) {
            let unknown = best_of_both(kernels, table.kernel(Hint::Unknown, size), &hot, &spread, library);
            table.set(Hint::Unknown, size, unknown);
            if !table.kernel(Hint::Cold, size).is_streaming() {
                table.set(Hint::Cold, size, unknown);
            }
        } else if size > LARGEST_SPREAD && size < Tuning::past_caches() {
            table.set(Hint::Unknown, size, best);
        }
        size *= 2;
    }
    // Above, as far as caches reach.
    let (kernel, mut size) = (table.kernel(Hint::Hot, LARGEST), 2 * LARGEST);
    while size < Tuning::past_caches() {
        table.set(Hint::Unknown, size, kernel);
        table.set(Hint::Hot, size, kernel);
        size *= 2;
    }
}

/// Decides from which size on `rep stosq` fills, by what `time` says of a size, in the first caches or spread over the last: ticks of
/// vectors, and of the instruction. `None` means that there is no time left.
fn fills(limits: &mut FillLimits, mut time: impl FnMut(usize, bool) -> Option<[f64; 2]>) {
    let (mut hot, mut unknown) = (None, None);
    let mut size = LARGEST_SPREAD;
    while size > FillLimits::LEAST && (hot.is_none() || unknown.is_none()) {
        let (Some(first), Some(last)) = (time(size, false), time(size, true)) else { return };
        // From the largest on: where it is no gain once, hot data is filled by vectors below; where it is a loss, so is what nobody knows
        // of, since in memory the instruction is ahead.
        if hot.is_none() && first[1] * MARGIN > first[0] {
            hot = Some(2 * size);
        }
        if unknown.is_none() && first[1] * last[1] > first[0] * last[0] * MARGIN {
            unknown = Some(2 * size);
        }
        size /= 2;
    }
    limits.repeat_hot = hot.unwrap_or(FillLimits::LEAST);
    limits.repeat = unknown.map_or(limits.repeat, |from| from.max(limits.repeat));
}

/// Decides from which size on folding and the `crc32` instruction are used together, if at all, by what `time` says of a size:
/// ticks of folding alone, and of both. `None` means that there is no time left.
fn checksums(limits: &mut CrcLimits, mut time: impl FnMut(usize) -> Option<[f64; 2]>) {
    let mut from = usize::MAX;
    // From the largest on: where it is no gain once, it is none below.
    for size in [64 << 10, 32 << 10, 16 << 10, 8 << 10] {
        let Some([alone, both]) = time(size) else { return };
        if both * MARGIN > alone {
            break;
        }
        from = size;
    }
    if from == usize::MAX {
        // Nor is it worth finding out whether the data is in a cache.
        (limits.hybrid_from, limits.probe_from) = (usize::MAX, usize::MAX);
    } else {
        (limits.hybrid_from, limits.probe_from) = (from, from.max(limits.probe_from));
    }
}

/// The best by `score`, or `model` unless another is clearly better. One without a score does not count.
fn best(kernels: &[CopyKernel], model: CopyKernel, score: impl Fn(usize) -> Option<f64>) -> CopyKernel {
    let scored = || (0..kernels.len()).filter_map(|at| Some((kernels[at], score(at)?)));
    let Some((winner, highest)) = scored().max_by(|a, b| a.1.total_cmp(&b.1)) else { return model };
    match scored().find(|(kernel, _)| *kernel == model) {
        Some((_, score)) if highest < score * MARGIN => model,
        _ => winner,
    }
}

/// The best where nobody knows where the data is: not slower than the library in the last cache, nor in the first.
fn best_of_both(kernels: &[CopyKernel], model: CopyKernel, hot: &[f64], spread: &[f64], library: usize) -> CopyKernel {
    best(kernels, model, |at| {
        let (in_first, in_last) = (hot[library] / hot[at], spread[library] / spread[at]);
        (in_first >= LOSS && in_last >= LOSS).then_some(in_first * in_last)
    })
}

/// The offset for `size` bytes behind what was at `cursor`, or at the beginning if there is no room.
fn next_place(cursor: usize, size: usize) -> usize {
    assert!(size <= ARENA, "{size} bytes are more than there are");
    // What was there may have been smaller or larger.
    let next = cursor + size;
    if next + size > ARENA { 0 } else { next }
}

/// Memory, and a clock.
struct Meter {
    /// Ticks of the clock at which it is over.
    until: u64,
    from: Vec<u8>,
    to: Vec<u8>,
    /// Where the next spread operation is.
    cursor: usize,
}

impl Meter {
    fn new(budget: Duration) -> Self {
        // Not with the time that it takes to find out how fast the clock ticks.
        let limit = clock::ticks(budget);
        let until = clock::now().saturating_add(limit);
        // Not zeros, which some CPUs treat as something special.
        Self { until, from: vec![0x5a; ARENA + SLACK], to: vec![0xa5; ARENA + SLACK], cursor: 0 }
    }

    /// Where the next operation is, as an offset that has `size` bytes behind it in the arena: always the same place, or one behind the
    /// other, round and round.
    fn place(&mut self, size: usize, spread: bool) -> usize {
        let at = if spread { next_place(self.cursor, size) } else { 0 };
        self.cursor = at;
        at
    }

    /// How far behind the beginnings of the buffers a copy's two regions are: at addresses that are multiples of a page, or at odd
    /// ones. The second is half a page or so further than the first, so that nothing of one looks like the other.
    fn shifts(&self, odd: bool) -> (usize, usize) {
        let (from, to) = if odd { (17, PAGE / 2 + 33) } else { (0, PAGE / 2) };
        let page = |at: *const u8| at.addr().next_multiple_of(PAGE) - at.addr();
        (page(self.from.as_ptr()) + from, page(self.to.as_ptr()) + to)
    }

    /// The shortest time of each kernel for `size` bytes, in ticks; `None` if the budget is used up.
    fn copy(&mut self, kernels: &[CopyKernel], size: usize, spread: bool) -> Option<Vec<f64>> {
        let mut shortest = vec![f64::INFINITY; kernels.len()];
        for round in 0..ROUNDS {
            for turn in 0..kernels.len() {
                let at = (turn + round) % kernels.len();
                if clock::now() > self.until {
                    return None;
                }
                shortest[at] = shortest[at].min(self.turn(kernels[at], size, spread));
            }
        }
        Some(shortest)
    }

    /// The shortest times of a fill: by vectors, and by `rep stosq`.
    fn fill(&mut self, size: usize, spread: bool) -> Option<[f64; 2]> {
        let mut shortest = [f64::INFINITY; 2];
        for round in 0..2 * ROUNDS {
            if clock::now() > self.until {
                return None;
            }
            let repeated = round % 2;
            let mut run = || {
                let at = self.place(size, spread);
                // SAFETY: the region lies inside the buffer, which is of this value alone; the size is above `LEAST`.
                unsafe { super::fill::by_way(repeated == 1, self.to.as_mut_ptr().add(at), size, 0x5a5b_5c5d) };
            };
            if !spread {
                run();
            }
            let begun = clock::now();
            for _ in 0..(TURN / size).max(1) {
                run();
            }
            #[allow(clippy::cast_precision_loss, reason = "ticks of some microseconds")]
            let ticks = clock::now().saturating_sub(begun) as f64;
            shortest[repeated] = shortest[repeated].min(ticks);
        }
        Some(shortest)
    }

    /// The shortest times of CRC-32C of `size` bytes in the first caches: by folding, and by folding and streams.
    fn checksum(&mut self, size: usize) -> Option<[f64; 2]> {
        let mut shortest = [f64::INFINITY; 2];
        for round in 0..2 * ROUNDS {
            if clock::now() > self.until {
                return None;
            }
            let both = round % 2;
            let run = || std::hint::black_box(super::crc::by_folding(both == 1, &self.from[..size]));
            run();
            let begun = clock::now();
            for _ in 0..TURN / size {
                run();
            }
            #[allow(clippy::cast_precision_loss, reason = "ticks of some microseconds")]
            let ticks = clock::now().saturating_sub(begun) as f64;
            shortest[both] = shortest[both].min(ticks);
        }
        Some(shortest)
    }

    /// Ticks for one of the operations of a turn. Half of them are at odd addresses.
    #[allow(clippy::cast_precision_loss, reason = "ticks of some microseconds")]
    fn turn(&mut self, kernel: CopyKernel, size: usize, spread: bool) -> f64 {
        let pairs = (TURN / size / 2).max(1);
        let mut copy = |odd: bool| {
            let at = self.place(size, spread);
            let (from, to) = self.shifts(odd);
            // SAFETY: both lie inside the buffers, which have `SLACK` bytes more than `ARENA`: a page to reach an address that is a
            // multiple of one, and half a page, and more, for the shift. They are of this value alone. The kernel is of this tier; the
            // size is above `MEDIUM`.
            unsafe {
                let (src, dst) = (self.from.as_ptr().add(at + from), self.to.as_mut_ptr().add(at + to));
                copy_by(kernel, src, std::hint::black_box(dst), size);
            }
        };
        if !spread {
            copy(false);
        }
        let begun = clock::now();
        for _ in 0..pairs {
            copy(false);
            copy(true);
        }
        clock::now().saturating_sub(begun) as f64 / (2 * pairs) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KERNELS: [CopyKernel; 3] = [CopyKernel::Library, CopyKernel::String, CopyKernel::Avx2];

    /// A CPU on which each kernel takes a time of its own for a byte.
    fn chosen(time: impl Fn(CopyKernel, usize, bool) -> f64) -> CopyTable {
        let mut table = CopyTable::all(CopyKernel::Library).with(Hint::Cold, 8 << 10, CopyKernel::StreamSse2);
        copies(&mut table, &KERNELS, |kernels, size, spread| {
            Some(kernels.iter().map(|kernel| time(*kernel, size, spread)).collect())
        });
        table
    }

    #[test]
    fn the_fastest_is_used_where_it_is_the_fastest() {
        let table = chosen(|kernel, size, _| match kernel {
            CopyKernel::Avx2 if size < 64 << 10 => 0.5,
            CopyKernel::String if size >= 64 << 10 => 0.8,
            _ => 1.0,
        });
        for hint in [Hint::Hot, Hint::Unknown] {
            assert_eq!(table.kernel(hint, 600), CopyKernel::Avx2);
            assert_eq!(table.kernel(hint, (64 << 10) - 1), CopyKernel::Avx2);
            assert_eq!(table.kernel(hint, 64 << 10), CopyKernel::String);
            assert_eq!(table.kernel(hint, Tuning::past_caches() / 2), CopyKernel::String);
        }
        assert_eq!(table.kernel(Hint::Cold, 4096), CopyKernel::Avx2);
        assert_eq!(table.kernel(Hint::Cold, 64 << 10), CopyKernel::StreamSse2, "of what is cold the model speaks");
    }

    #[test]
    fn what_loses_in_the_last_cache_is_for_hot_data_only() {
        let table =
            chosen(|kernel, _, spread| if kernel == CopyKernel::Avx2 { if spread { 1.1 } else { 0.5 } } else { 1.0 });
        assert_eq!(table.kernel(Hint::Hot, 4096), CopyKernel::Avx2);
        assert_eq!(table.kernel(Hint::Unknown, 4096), CopyKernel::Library);
    }

    #[test]
    fn a_little_faster_changes_nothing() {
        let table = chosen(|kernel, _, _| if kernel == CopyKernel::Avx2 { 0.98 } else { 1.0 });
        assert_eq!(table.steps(Hint::Hot), [(256, CopyKernel::Library)]);
    }

    #[test]
    fn fills_are_repeated_from_where_that_is_no_loss() {
        let decided = |time: fn(usize, bool) -> f64| {
            let mut limits = FillLimits::DEFAULT;
            fills(&mut limits, |size, spread| Some([1.0, time(size, spread)]));
            (limits.repeat_hot, limits.repeat)
        };
        let small = |size, _| if size < 16 << 10 { 2.0 } else { 0.9 };
        assert_eq!(decided(small), (16 << 10, 16 << 10));
        assert_eq!(decided(|_, _| 1.0), (2 * LARGEST_SPREAD, FillLimits::LEAST));
        assert_eq!(decided(|_, _| 0.9), (FillLimits::LEAST, FillLimits::LEAST));
        assert_eq!(decided(|_, _| 1.5), (2 * LARGEST_SPREAD, 2 * LARGEST_SPREAD));
        // Where it wins in the last cache by more than it loses in the first.
        assert_eq!(decided(|_, spread| if spread { 0.5 } else { 1.5 }), (2 * LARGEST_SPREAD, FillLimits::LEAST));
    }

    #[test]
    fn both_ways_at_once_are_used_where_they_are_a_gain() {
        let decided = |gain: fn(usize) -> f64| {
            let mut limits = CrcLimits::DEFAULT;
            checksums(&mut limits, |size| Some([gain(size), 1.0]));
            (limits.hybrid_from, limits.probe_from)
        };
        assert_eq!(decided(|_| 1.3), (8 << 10, CrcLimits::DEFAULT.probe_from));
        assert_eq!(decided(|size| if size < 32 << 10 { 1.0 } else { 1.2 }), (32 << 10, 32 << 10));
        assert_eq!(decided(|_| 0.9), (usize::MAX, usize::MAX));
    }

    #[test]
    fn without_time_the_model_stays() {
        let tuning = Tuning::calibrate(Duration::ZERO);
        assert_eq!(tuning, Tuning::of_model());
    }

    /// Whatever it finds, it is something that this CPU can do.
    #[test]
    fn a_measurement_can_be_installed() {
        let tuning = Tuning::calibrate(Duration::from_millis(5));
        assert!(tuning.copy.tier() <= Tier::of_cpu());
        tuning.install().expect("of this CPU");
        assert_eq!(Tuning::current(), tuning);
        // Other tests are to have what they would have without this one.
        Tuning::of_model().install().expect("of this CPU");
    }

    /// Whatever sizes come one after the other, nothing reaches beyond the memory.
    #[test]
    fn every_place_has_room_behind_it() {
        for sizes in [[512, 1 << 20], [128 << 10, 1 << 20], [3 << 10, 128 << 10], [1 << 20, 4096]] {
            let mut cursor = 0;
            for turn in 0..2000 {
                let size = sizes[turn / 7 % 2];
                cursor = next_place(cursor, size);
                assert!(cursor + size <= ARENA, "{size} bytes at {cursor}");
            }
        }
        let mut meter = Meter::new(Duration::from_secs(60));
        for spread in [true, true, false, true, false] {
            let at = meter.place(LARGEST, spread);
            let (from, to) = meter.shifts(true);
            assert!(at + from + LARGEST <= meter.from.len() && at + to + LARGEST <= meter.to.len());
            assert!(spread || at == 0);
        }
    }
}
