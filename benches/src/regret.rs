//! Who is the fastest where, and what it costs not to be.
//!
//! Variants of a cell are compared by the median of their times, and by paired ratios. Only those that do all of the cell's work
//! count: a limit, or a part of the work, is measured beside them for other reasons.

use crate::rounds::FEWEST;
use crate::statistics::{Ratio, median};

/// How much slower the next one must be, by its whole interval, for the fastest to be clearly that.
pub const CLEARLY: f64 = 1.02;

/// What a variant is in a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The engine's function, with the hint that fits the cell.
    Ours,
    /// The engine's function, without a hint.
    Unhinted,
    /// One kernel of the engine, by itself.
    Kernel,
    /// What others would do for the same result.
    Peer,
    /// A limit of the machine, or a part of the work.
    Limit,
}

impl Kind {
    /// Whether it leaves what the operation should leave.
    pub const fn does_the_work(self) -> bool {
        !matches!(self, Self::Limit)
    }

    /// One word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Unhinted => "ours, no hint",
            Self::Kernel => "kernel",
            Self::Peer => "peer",
            Self::Limit => "limit",
        }
    }
}

/// The times of one variant in one cell: one for each round that counts, the same rounds for all.
#[derive(Clone, Debug)]
pub struct Series {
    /// What it is called.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// Nanoseconds of an operation.
    pub ns: Vec<f64>,
}

impl Series {
    /// The median time, in nanoseconds.
    pub fn middle(&self) -> f64 {
        median(&self.ns)
    }
}

/// What one variant takes more than the best of the others.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Regret {
    /// The best of the others: its place.
    pub best: usize,
    /// The time of the variant over that of the best: below 1 the variant itself is the best.
    pub ratio: Ratio,
}

/// The place of the fastest of those variants that are wanted; `None` if there are none, or no times.
pub fn fastest(series: &[Series], is_wanted: impl Fn(usize) -> bool) -> Option<usize> {
    let places = (0..series.len()).filter(|place| is_wanted(*place) && !series[*place].ns.is_empty());
    places.min_by(|a, b| series[*a].middle().total_cmp(&series[*b].middle()))
}

/// The regret of the variant at a place, against all others that do the work.
pub fn regret(series: &[Series], of: usize, seed: u64) -> Option<Regret> {
    let best = fastest(series, |place| place != of && series[place].kind.does_the_work())?;
    let ratio = Ratio::of(&series[of].ns, &series[best].ns, seed);
    Some(Regret { best, ratio })
}

/// Where a kernel is the best.
#[derive(Clone, Debug, PartialEq)]
pub struct Standing<T> {
    /// The kernel.
    pub name: String,
    /// Cells in which its median is the least.
    pub best: Vec<T>,
    /// Those of them in which the next one is slower by [`CLEARLY`] or more, with certainty.
    pub clearly: Vec<T>,
    /// Cells that it took part in.
    pub cells: usize,
}

/// Compares kernels over cells. Where no cell has a kernel, the peers are compared instead.
pub fn standings<T: Copy>(cells: &[(T, &[Series])]) -> Vec<Standing<T>> {
    let has_kernels = cells.iter().any(|(_, series)| series.iter().any(|one| one.kind == Kind::Kernel));
    let wanted = if has_kernels { Kind::Kernel } else { Kind::Peer };
    let mut standings: Vec<Standing<T>> = Vec::new();
    for (cell, series) in cells {
        let best = fastest(series, |place| series[place].kind == wanted);
        let next = fastest(series, |place| series[place].kind == wanted && Some(place) != best);
        for (place, one) in series.iter().enumerate().filter(|(_, one)| one.kind == wanted) {
            let known = standings.iter().position(|standing| standing.name == one.name);
            let at = known.unwrap_or_else(|| {
                let name = one.name.clone();
                standings.push(Standing { name, best: Vec::new(), clearly: Vec::new(), cells: 0 });
                standings.len() - 1
            });
            standings[at].cells += 1;
            if Some(place) == best {
                standings[at].best.push(*cell);
                let lead = next.map(|next| Ratio::of(&series[next].ns, &one.ns, 5));
                if lead.is_none_or(|lead| lead.rounds >= FEWEST && lead.low >= CLEARLY) {
                    standings[at].clearly.push(*cell);
                }
            }
        }
    }
    standings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    /// Twenty rounds around a time.
    fn series(name: &str, kind: Kind, ns: f64) -> Series {
        let mut random = Random::new(name.len() as u64 + ns.to_bits());
        let ns = (0..20).map(|_| ns * (1.0 + 0.01 * random.unit())).collect();
        Series { name: name.to_owned(), kind, ns }
    }

    #[test]
    fn regret_is_against_the_best_that_does_the_same_work() {
        let cell = [
            series("memcpy", Kind::Peer, 100.0),
            series("ours", Kind::Ours, 110.0),
            series("read alone", Kind::Limit, 20.0),
            series("ours, no hint", Kind::Unhinted, 300.0),
            series("rep", Kind::Kernel, 90.0),
        ];
        let found = regret(&cell, 1, 1).expect("there are others");
        assert_eq!(found.best, 4);
        assert!((found.ratio.median / (110.0 / 90.0) - 1.0).abs() < 0.02, "{found:?}");
        let best = regret(&cell, 4, 1).expect("there are others");
        assert_eq!(best.best, 0);
        assert!(best.ratio.high < 1.0, "who is the best has none: {best:?}");
    }

    #[test]
    fn alone_there_is_nothing_to_regret() {
        assert_eq!(regret(&[series("ours", Kind::Ours, 1.0), series("limit", Kind::Limit, 0.5)], 0, 1), None);
        let empty = Series { name: "memcpy".to_owned(), kind: Kind::Peer, ns: Vec::new() };
        assert_eq!(regret(&[empty.clone(), empty], 0, 1), None);
    }

    #[test]
    fn kernels_are_compared_with_kernels() {
        let small = [
            series("glibc", Kind::Peer, 5.0),
            series("wide", Kind::Kernel, 10.0),
            series("rep", Kind::Kernel, 30.0),
            series("narrow", Kind::Kernel, 11.0),
        ];
        let large = [
            series("glibc", Kind::Peer, 500.0),
            series("wide", Kind::Kernel, 600.0),
            series("rep", Kind::Kernel, 596.0),
            series("narrow", Kind::Kernel, 900.0),
        ];
        let all = standings(&[(64, &small), (4096, &large)]);
        let of = |name: &str| all.iter().find(|standing| standing.name == name).expect("it took part");
        assert_eq!(all.len(), 3);
        assert_eq!((&of("wide").best[..], &of("wide").clearly[..]), (&[64][..], &[64][..]));
        // Within the noise of the next one: the best, but not clearly.
        assert_eq!((&of("rep").best[..], &of("rep").clearly[..]), (&[4096][..], &[][..]));
        assert!(of("narrow").best.is_empty());
        assert_eq!(of("narrow").cells, 2);
    }

    #[test]
    fn without_kernels_the_peers_are_compared() {
        let cell = [series("memcpy", Kind::Peer, 9.0), series("rep", Kind::Peer, 8.0), series("ours", Kind::Ours, 1.0)];
        let all = standings(&[("here", &cell)]);
        assert_eq!(all.len(), 2);
        assert_eq!(all[1].best, ["here"]);
        assert!(all[0].best.is_empty());
    }

    #[test]
    fn who_is_alone_in_a_cell_is_clearly_the_best_there() {
        let cell = [series("only", Kind::Kernel, 9.0), series("memcpy", Kind::Peer, 8.0)];
        assert_eq!(standings(&[(1, &cell)])[0].clearly, [1]);
    }
}
