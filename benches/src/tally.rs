//! A goal that holds in many cells: what became of it in each, and which is the worst.

use crate::statistics::Ratio;
use crate::verdict::{Bound, Verdict};

/// The cells of a goal.
#[derive(Clone, Debug)]
pub struct Tally<T> {
    bound: Bound,
    /// What was measured in each.
    pub cells: Vec<(T, Ratio, Verdict)>,
}

impl<T: Copy> Tally<T> {
    /// One without cells.
    pub const fn new(bound: Bound) -> Self {
        Self { bound, cells: Vec::new() }
    }

    /// Judges a cell.
    pub fn add(&mut self, cell: T, ratio: Ratio) {
        self.cells.push((cell, ratio, self.bound.judge(&ratio)));
    }

    /// What the ratio should be.
    pub const fn bound(&self) -> Bound {
        self.bound
    }

    /// The cells with a verdict.
    pub fn with(&self, verdict: Verdict) -> Vec<T> {
        self.cells.iter().filter(|cell| cell.2 == verdict).map(|cell| cell.0).collect()
    }

    /// The cell that is nearest to a miss, or the farthest beyond it, of those that say anything.
    pub fn worst(&self) -> Option<&(T, Ratio, Verdict)> {
        let sign = match self.bound {
            Bound::AtLeast(_) => 1.0,
            Bound::AtMost(_) => -1.0,
        };
        let said = self.cells.iter().filter(|cell| cell.2 != Verdict::Invalid);
        said.min_by(|a, b| (sign * a.1.median).total_cmp(&(sign * b.1.median)))
    }

    /// The whole: a miss anywhere is one, and a pass is one everywhere.
    pub fn verdict(&self) -> Verdict {
        let has = |verdict| self.cells.iter().any(|cell| cell.2 == verdict);
        match () {
            () if has(Verdict::Miss) => Verdict::Miss,
            () if self.cells.is_empty() || has(Verdict::Invalid) => Verdict::Invalid,
            () if has(Verdict::Inconclusive) => Verdict::Inconclusive,
            () => Verdict::Pass,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ratio(low: f64, high: f64, rounds: usize) -> Ratio {
        Ratio { median: f64::midpoint(low, high), low, high, of_minima: low, rounds }
    }

    #[test]
    fn one_miss_is_a_miss_of_the_whole() {
        let mut tally = Tally::new(Bound::AtLeast(1.0));
        assert_eq!(tally.verdict(), Verdict::Invalid);
        tally.add("a", ratio(1.1, 1.2, 20));
        assert_eq!(tally.verdict(), Verdict::Pass);
        tally.add("b", ratio(0.9, 1.2, 20));
        assert_eq!(tally.verdict(), Verdict::Inconclusive);
        tally.add("c", ratio(1.1, 1.2, 2));
        assert_eq!(tally.verdict(), Verdict::Invalid);
        tally.add("d", ratio(0.8, 0.9, 20));
        assert_eq!(tally.verdict(), Verdict::Miss);
        assert_eq!(tally.with(Verdict::Miss), ["d"]);
        assert_eq!(tally.with(Verdict::Pass), ["a"]);
    }

    #[test]
    fn the_worst_is_the_least_or_the_greatest_as_the_bound_has_it() {
        for (bound, worst) in [(Bound::AtLeast(1.0), "small"), (Bound::AtMost(1.0), "great")] {
            let mut tally = Tally::new(bound);
            assert!(tally.worst().is_none());
            tally.add("great", ratio(3.0, 3.2, 20));
            tally.add("small", ratio(0.5, 0.6, 20));
            tally.add("few rounds", ratio(0.0, 0.0, 1));
            assert_eq!(tally.worst().map(|cell| cell.0), Some(worst));
        }
    }
}
