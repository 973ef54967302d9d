//! The goals: what is compared, in which cells, and which ratio is wanted. Ratios only, because times belong to a machine.
//!
//! A goal names its cells by operation, residency and size; it holds for both alignments, and in every such cell.

use std::ops::RangeInclusive;

use dsa_benches::grid::{Operation, Place, Residency};
use dsa_benches::regret::{Kind, Series, fastest, regret};
use dsa_benches::statistics::Ratio;
use dsa_benches::tally::Tally;
use dsa_benches::verdict::{Bound, Verdict};

use super::variants::{
    ALL_WORDS, CHUNKED, CRC_FAST, DML, ISAL_FUSED, ISAL_TWO_PASSES, MEMCMP, MEMCPY, MEMSET, OURS, PAST_CACHES, READ,
    TWO_PASSES, TWO_THREADS, WORD_FILL,
};
use Operation::{
    Compare, ComparePattern, Copy, CopyCrc32c, Crc32c, DeltaDense, DeltaEqual, DeltaSparse, DifInsert, Fill,
};
use Residency::{Cold, Hot, L3};

/// What is divided by what.
#[derive(Clone, Copy)]
enum Measure {
    /// Our time, by that of the best of all others that do the work.
    Regret,
    /// Our time, by that of another.
    Above(&'static str),
    /// The time of the best of some variants, by ours.
    Below(&'static [&'static str]),
}

/// One goal.
pub(crate) struct Goal {
    pub(crate) id: &'static str,
    pub(crate) what: &'static str,
    operation: Operation,
    residencies: &'static [Residency],
    sizes: RangeInclusive<usize>,
    measure: Measure,
    bound: Bound,
}

/// What became of a goal in a cell.
pub(crate) struct Finding {
    /// Its place in [`GOALS`].
    pub(crate) goal: usize,
    pub(crate) ratio: Ratio,
    pub(crate) verdict: Verdict,
}

const ALL: &[Residency] = &Residency::ALL;
const ANY: RangeInclusive<usize> = 0..=usize::MAX;
const K: usize = 1 << 10;
const M: usize = 1 << 20;
const BEST_TWO_PASSES: &[&str] = &[TWO_PASSES, CHUNKED[0], CHUNKED[1], CHUNKED[2]];

type Where = (Operation, &'static [Residency], RangeInclusive<usize>);

const fn goal(id: &'static str, what: &'static str, place: Where, measure: Measure, bound: Bound) -> Goal {
    let (operation, residencies, sizes) = place;
    Goal { id, what, operation, residencies, sizes, measure, bound }
}

const fn at_least(bound: f64) -> Bound {
    Bound::AtLeast(bound)
}

use Measure::{Above, Below, Regret};

/// The table.
pub(crate) const GOALS: &[Goal] = &[
    goal("C1", "our time over the best way's", (Copy, ALL, ANY), Regret, Bound::AtMost(1.1)),
    goal("C1", "our time over memcpy's", (Copy, ALL, ANY), Above(MEMCPY), Bound::AtMost(1.03)),
    goal("C2", "memcpy's time over ours", (Copy, &[Cold], M..=usize::MAX), Below(&[MEMCPY]), at_least(1.25)),
    goal("C2", "two threads' time over ours", (Copy, &[Cold], M..=usize::MAX), Below(&[TWO_THREADS]), at_least(0.9)),
    goal("C3", "memcpy's time over ours", (Copy, &[Hot], 4 * K..=16 * K), Below(&[MEMCPY]), at_least(1.3)),
    goal("F1", "memset's time over ours", (Fill, ALL, ANY), Below(&[MEMSET]), at_least(0.97)),
    goal("F1", "a Rust fill's time over ours", (Fill, &[Cold], K..=64 * K), Below(&[WORD_FILL]), at_least(1.3)),
    goal("F1", "non-temporal time over ours", (Fill, &[Cold], M..=usize::MAX), Below(&[PAST_CACHES]), at_least(0.95)),
    goal("K1", "crc-fast's time over ours", (Crc32c, ALL, ANY), Below(&[CRC_FAST]), at_least(0.97)),
    goal("K1", "crc-fast's time over ours", (Crc32c, &[Hot], 16 * K..=256 * K), Below(&[CRC_FAST]), at_least(1.25)),
    goal("K1", "crc-fast's time over ours", (Crc32c, &[Hot, Cold], 64..=256), Below(&[CRC_FAST]), at_least(1.25)),
    goal("K1", "crc-fast's time over ours", (Crc32c, &[Cold], 16 * K..=64 * K), Below(&[CRC_FAST]), at_least(1.1)),
    goal("K1", "plain read's time over ours", (Crc32c, &[Cold], 64 * K..=usize::MAX), Below(&[READ]), at_least(0.8)),
    goal("K2", "memcpy's time over ours", (CopyCrc32c, &[Cold], 64 * K..=usize::MAX), Below(&[MEMCPY]), at_least(0.95)),
    goal("K2", "best chunked over ours", (CopyCrc32c, &[Cold], 64 * K..=usize::MAX), Below(&CHUNKED), at_least(1.2)),
    goal("K3", "crc-fast alone over ours", (CopyCrc32c, &[Hot], 4 * K..=256 * K), Below(&[CRC_FAST]), at_least(0.95)),
    goal(
        "K3",
        "best two passes over ours",
        (CopyCrc32c, &[Hot], 4 * K..=256 * K),
        Below(BEST_TWO_PASSES),
        at_least(1.4),
    ),
    goal("K3", "memcpy alone over ours", (CopyCrc32c, &[L3], 4 * K..=256 * K), Below(&[MEMCPY]), at_least(0.9)),
    goal("K4", "DML's time over ours", (Crc32c, &[Hot], ANY), Below(&[DML]), at_least(4.0)),
    goal("K4", "DML's time over ours", (CopyCrc32c, &[Hot], ANY), Below(&[DML]), at_least(4.0)),
    goal("K4", "DML's time over ours", (CopyCrc32c, &[Cold], ANY), Below(&[DML]), at_least(2.0)),
    goal("K4", "DML's time over ours", (DeltaEqual, &[Hot], ANY), Below(&[DML]), at_least(3.0)),
    goal("K4", "DML's time over ours", (DeltaSparse, &[Hot], ANY), Below(&[DML]), at_least(3.0)),
    goal("K4", "DML's time over ours", (DeltaDense, &[Hot], ANY), Below(&[DML]), at_least(3.0)),
    goal("K4", "DML's time over ours", (DifInsert, &[Hot], ANY), Below(&[DML]), at_least(100.0)),
    goal("P1", "memcmp's time over ours", (Compare, ALL, ANY), Below(&[MEMCMP]), at_least(1.0)),
    goal("P1", "memcmp's time over ours", (Compare, &[Hot], K..=16 * K), Below(&[MEMCMP]), at_least(1.5)),
    goal("P1", "memcmp's time over ours", (Compare, &[Cold], 256..=16 * K), Below(&[MEMCMP]), at_least(1.15)),
    goal(
        "P2",
        "plain read's time over ours",
        (ComparePattern, ALL, 4 * K..=usize::MAX),
        Below(&[READ]),
        at_least(0.85),
    ),
    goal("P2", "the idiom's time over ours", (ComparePattern, &[Hot], K..=256 * K), Below(&[ALL_WORDS]), at_least(3.0)),
    goal("P3", "memcmp's time over ours", (DeltaEqual, ALL, ANY), Below(&[MEMCMP]), at_least(0.9)),
    goal("P3", "memcmp of equal regions over ours", (DeltaSparse, ALL, ANY), Below(&[MEMCMP]), at_least(0.72)),
    goal("P4", "memcpy and ISA-L over ours", (DifInsert, &[Hot], ANY), Below(&[ISAL_TWO_PASSES]), at_least(1.2)),
    goal("P4", "ISA-L's fused copy over ours", (DifInsert, &[Hot], ANY), Below(&[ISAL_FUSED]), at_least(2.5)),
    goal("P4", "memcpy's time over ours", (DifInsert, &[Cold], ANY), Below(&[MEMCPY]), at_least(0.85)),
];

impl Goal {
    pub(crate) fn is_at(&self, place: Place) -> bool {
        self.operation == place.operation
            && self.residencies.contains(&place.residency)
            && self.sizes.contains(&place.size)
    }

    /// Where it holds, in few words.
    pub(crate) fn place(&self) -> String {
        use dsa_benches::cell::Bytes;
        let residencies: Vec<&str> = self.residencies.iter().map(|one| one.name()).collect();
        let everywhere = self.residencies.len() == Residency::ALL.len();
        let residencies = if everywhere { String::new() } else { format!(", {}", residencies.join(" and ")) };
        let sizes = match (*self.sizes.start(), *self.sizes.end()) {
            (0, usize::MAX) => String::new(),
            (from, usize::MAX) => format!(", from {} on", Bytes(from)),
            (from, to) => format!(", {} to {}", Bytes(from), Bytes(to)),
        };
        format!("{}{residencies}{sizes}", self.operation.name())
    }

    fn ratio(&self, series: &[Series]) -> Option<Ratio> {
        let at = |name: &str| series.iter().position(|one| one.name == name);
        let ours = series.iter().position(|one| one.kind == Kind::Ours && one.name == OURS)?;
        let (over, under) = match self.measure {
            Regret => return regret(series, ours, 31).map(|regret| regret.ratio),
            Above(name) => (ours, at(name)?),
            Below(names) => {
                // All of them must be there: the best of those that are left would be too easy.
                let places: Option<Vec<usize>> = names.iter().map(|name| at(name)).collect();
                let places = places?;
                (fastest(series, |place| places.contains(&place))?, ours)
            }
        };
        Some(Ratio::of(&series[over].ns, &series[under].ns, 31))
    }
}

/// Judges the goals of a cell. Goals about variants that are absent are left out.
pub(crate) fn findings(place: Place, series: &[Series]) -> Vec<Finding> {
    let here = GOALS.iter().enumerate().filter(|(_, goal)| goal.is_at(place));
    let judge = |(at, goal): (usize, &Goal)| {
        let ratio = goal.ratio(series)?;
        Some(Finding { goal: at, ratio, verdict: goal.bound.judge(&ratio) })
    };
    here.filter_map(judge).collect()
}

/// Whether more rounds would change nothing.
pub(crate) fn are_decided(findings: &[Finding]) -> bool {
    findings.iter().all(|finding| matches!(finding.verdict, Verdict::Pass | Verdict::Miss))
}

/// Each goal over all its cells; `None` for those that no measured cell has.
pub(crate) fn tallies<'a>(cells: impl Iterator<Item = (Place, &'a [Finding])>) -> Vec<Option<Tally<Place>>> {
    let mut tallies: Vec<Option<Tally<Place>>> = GOALS.iter().map(|_| None).collect();
    for (place, findings) in cells {
        for finding in findings {
            let tally = &mut tallies[finding.goal];
            tally.get_or_insert_with(|| Tally::new(GOALS[finding.goal].bound)).add(place, finding.ratio);
        }
    }
    tallies
}
