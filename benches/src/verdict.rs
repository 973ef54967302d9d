//! Whether a goal is met: only an interval that lies wholly on one side of the bound says so.

use std::fmt;

use crate::rounds::FEWEST;
use crate::statistics::Ratio;

/// What a ratio should be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bound {
    /// This or more.
    AtLeast(f64),
    /// This or less.
    AtMost(f64),
}

/// What became of a goal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The whole interval is on the right side.
    Pass,
    /// The whole interval is on the wrong side.
    Miss,
    /// The bound is inside the interval.
    Inconclusive,
    /// Too few rounds were left to say anything.
    Invalid,
}

impl Bound {
    /// Judges a measured ratio.
    pub fn judge(self, ratio: &Ratio) -> Verdict {
        if ratio.rounds < FEWEST || !(ratio.low.is_finite() && ratio.high.is_finite()) {
            return Verdict::Invalid;
        }
        let (is_right, is_wrong) = match self {
            Self::AtLeast(bound) => (ratio.low >= bound, ratio.high < bound),
            Self::AtMost(bound) => (ratio.high <= bound, ratio.low > bound),
        };
        match (is_right, is_wrong) {
            (true, _) => Verdict::Pass,
            (_, true) => Verdict::Miss,
            _ => Verdict::Inconclusive,
        }
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtLeast(bound) => write!(f, "at least {bound}"),
            Self::AtMost(bound) => write!(f, "at most {bound}"),
        }
    }
}

impl Verdict {
    /// One word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Miss => "MISS",
            Self::Inconclusive => "inconclusive",
            Self::Invalid => "invalid",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ratio(low: f64, high: f64) -> Ratio {
        Ratio { median: f64::midpoint(low, high), low, high, of_minima: low, rounds: 20 }
    }

    #[test]
    fn only_a_whole_interval_decides() {
        let at_least = Bound::AtLeast(4.0);
        assert_eq!(at_least.judge(&ratio(4.0, 5.0)), Verdict::Pass);
        assert_eq!(at_least.judge(&ratio(3.9, 5.0)), Verdict::Inconclusive);
        assert_eq!(at_least.judge(&ratio(3.0, 4.0)), Verdict::Inconclusive);
        assert_eq!(at_least.judge(&ratio(3.0, 3.9)), Verdict::Miss);
        let at_most = Bound::AtMost(3.0);
        assert_eq!(at_most.judge(&ratio(2.0, 3.0)), Verdict::Pass);
        assert_eq!(at_most.judge(&ratio(2.0, 3.1)), Verdict::Inconclusive);
        assert_eq!(at_most.judge(&ratio(3.0, 4.0)), Verdict::Inconclusive);
        assert_eq!(at_most.judge(&ratio(3.1, 4.0)), Verdict::Miss);
    }

    #[test]
    fn few_rounds_decide_nothing_however_clear_they_are() {
        let few = Ratio { rounds: FEWEST - 1, ..ratio(9.0, 9.0) };
        assert_eq!(Bound::AtLeast(4.0).judge(&few), Verdict::Invalid);
        assert_eq!(Bound::AtLeast(4.0).judge(&Ratio { rounds: FEWEST, ..few }), Verdict::Pass);
        assert_eq!(Bound::AtMost(4.0).judge(&ratio(f64::NAN, f64::NAN)), Verdict::Invalid);
    }

    #[test]
    fn bounds_read_as_they_are_meant() {
        assert_eq!(Bound::AtLeast(20.0).to_string(), "at least 20");
        assert_eq!(Bound::AtMost(1.25).to_string(), "at most 1.25");
    }
}
