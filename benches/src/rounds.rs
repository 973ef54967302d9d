//! Which rounds of a run may be used: those in which the machine was as it mostly is.
//!
//! Every round begins with sentinels: work that is always the same. A round in which the core ran slower than mostly, or was
//! taken away, is dropped. The way of a cache line from core to core and back has several speeds on a virtual machine, which
//! flip within seconds; rounds are classed by it, and compared within one class only.

/// How far a sentinel may be from what it mostly is, as a part of that.
pub const TOLERANCE: f64 = 0.15;
/// Rounds that must be left for a result to count.
pub const FEWEST: usize = 8;

/// What most values are near: the median of the densest window whose upper end is at most `1 + width` times its lower end.
/// `None` without values.
pub fn mode(values: &[f64], width: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let mut end = 0;
    let mut best = 0..0;
    for (begin, least) in sorted.iter().enumerate() {
        while end < sorted.len() && sorted[end] <= least * (1.0 + width) {
            end += 1;
        }
        if end - begin > best.len() {
            best = begin..end;
        }
    }
    (!best.is_empty()).then(|| crate::statistics::quantile_of_sorted(&sorted[best], 0.5))
}

/// Whether a value is within [`TOLERANCE`] of a centre.
pub fn is_near(value: f64, centre: f64) -> bool {
    (value / centre - 1.0).abs() <= TOLERANCE
}

/// The classes that values fall into: the centre of each, the largest class first. A class has at least `fewest` members.
pub fn classes(values: &[f64], fewest: usize) -> Vec<f64> {
    let mut left = values.to_vec();
    let mut centres = Vec::new();
    while left.len() >= fewest.max(1) {
        let Some(centre) = mode(&left, 2.0 * TOLERANCE) else { break };
        let before = left.len();
        left.retain(|value| !is_near(*value, centre));
        if before - left.len() < fewest.max(1) {
            break;
        }
        centres.push(centre);
    }
    centres
}

/// The centre of the class that a value is in: of those that it is near, the nearest.
pub fn class_of(value: f64, centres: &[f64]) -> Option<usize> {
    let distance = |i: &usize| (value / centres[*i] - 1.0).abs();
    (0..centres.len()).filter(|i| is_near(value, centres[*i])).min_by(|a, b| distance(a).total_cmp(&distance(b)))
}

/// What the sentinels of a round took, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sentinels {
    /// A chain of dependent instructions: the core's frequency, and whether it was taken away.
    pub chain: f64,
    /// Copies of 4 KiB from cache to cache.
    pub copy: f64,
    /// A cache line to the other core and back.
    pub round_trip: f64,
}

/// The rounds of a cell that are left.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Kept {
    /// Their numbers.
    pub rounds: Vec<usize>,
    /// The centre of their class of round trips, in nanoseconds; NaN where none was measured.
    pub round_trip: f64,
    /// Rounds in which the core was slower or faster than mostly.
    pub disturbed: usize,
    /// Rounds in which the round trip was of another class.
    pub elsewhere: usize,
}

/// Chooses the rounds of a cell, by what the sentinels mostly took over the whole run. Of the classes of round trips it takes
/// the one that most of the cell's rounds are in.
pub fn keep(cell: &[Sentinels], run: &[Sentinels]) -> Kept {
    let mostly = |field: fn(&Sentinels) -> f64| {
        mode(&run.iter().map(field).collect::<Vec<_>>(), 2.0 * TOLERANCE).unwrap_or(f64::NAN)
    };
    let (chain, copy) = (mostly(|s| s.chain), mostly(|s| s.copy));
    let quiet: Vec<usize> =
        (0..cell.len()).filter(|i| is_near(cell[*i].chain, chain) && is_near(cell[*i].copy, copy)).collect();
    let disturbed = cell.len() - quiet.len();
    let trips: Vec<f64> = run.iter().map(|s| s.round_trip).filter(|trip| trip.is_finite()).collect();
    if trips.is_empty() {
        return Kept { rounds: quiet, round_trip: f64::NAN, disturbed, elsewhere: 0 };
    }
    let centres = classes(&trips, FEWEST.min(trips.len()));
    let of_class = |class| -> Vec<usize> {
        quiet.iter().copied().filter(|i| class_of(cell[*i].round_trip, &centres) == Some(class)).collect()
    };
    // Of classes that are equally large here, the one that is larger in the run.
    let best = (0..centres.len()).rev().max_by_key(|class| of_class(*class).len());
    let Some(best) = best else { return Kept { round_trip: f64::NAN, disturbed, ..Kept::default() } };
    let rounds = of_class(best);
    Kept { round_trip: centres[best], disturbed, elsewhere: quiet.len() - rounds.len(), rounds }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    /// `count` values within `part` of a centre.
    fn around(random: &mut Random, centre: f64, part: f64, count: usize) -> Vec<f64> {
        (0..count).map(|_| centre * (1.0 + part * (2.0 * random.unit() - 1.0))).collect()
    }

    #[test]
    fn the_mode_is_where_most_values_are_and_not_where_the_middle_is() {
        let mut random = Random::new(1);
        let mut values = around(&mut random, 100.0, 0.02, 40);
        // A tail of more values than there are near the mode, but spread wide: the median is among them.
        values.extend((0..45).map(|i| 150.0 * 1.08_f64.powi(i)));
        let found = mode(&values, 0.1).expect("there are values");
        assert!((found - 100.0).abs() < 2.0, "{found}");
        assert!(crate::statistics::median(&values) > 140.0);
        assert_eq!(mode(&[], 0.1), None);
        assert_eq!(mode(&[5.0], 0.1), Some(5.0));
    }

    #[test]
    fn three_speeds_of_the_round_trip_are_three_classes() {
        let mut random = Random::new(2);
        let mut values = around(&mut random, 52.0, 0.05, 30);
        values.extend(around(&mut random, 117.0, 0.1, 50));
        values.extend(around(&mut random, 545.0, 0.05, 20));
        random.shuffle(&mut values);
        let centres = classes(&values, 8);
        assert_eq!(centres.len(), 3, "{centres:?}");
        for (centre, truth) in centres.iter().zip([117.0, 52.0, 545.0]) {
            assert!((centre / truth - 1.0).abs() < 0.06, "{centre} is not {truth}");
        }
        assert_eq!(class_of(55.0, &centres), Some(1));
        assert_eq!(class_of(250.0, &centres), None);
    }

    #[test]
    fn a_few_stray_values_are_no_class() {
        let mut values = vec![100.0; 20];
        values.extend([300.0, 310.0, 305.0]);
        assert_eq!(classes(&values, 8), [100.0]);
        assert_eq!(classes(&values, 3).len(), 2);
    }

    fn sentinels(chain: f64, copy: f64, round_trip: f64) -> Sentinels {
        Sentinels { chain, copy, round_trip }
    }

    #[test]
    fn rounds_on_a_slow_core_and_rounds_of_another_class_are_dropped() {
        let mut run = vec![sentinels(100.0, 30.0, 120.0); 30];
        run.extend([sentinels(100.0, 30.0, 540.0); 10]);
        let cell = [
            sentinels(101.0, 31.0, 118.0),
            sentinels(130.0, 30.0, 120.0), // the core was taken away
            sentinels(100.0, 40.0, 120.0), // so was the cache
            sentinels(100.0, 30.0, 545.0), // the other core was elsewhere
            sentinels(99.0, 29.0, 122.0),
        ];
        let kept = keep(&cell, &run);
        assert_eq!(kept.rounds, [0, 4]);
        assert_eq!((kept.disturbed, kept.elsewhere), (2, 1));
        assert!((kept.round_trip - 120.0).abs() < 1e-9);
    }

    #[test]
    fn a_cell_is_judged_in_the_class_where_most_of_its_rounds_are() {
        let mut run = vec![sentinels(100.0, 30.0, 120.0); 100];
        run.extend([sentinels(100.0, 30.0, 540.0); 12]);
        let cell = [sentinels(100.0, 30.0, 540.0), sentinels(100.0, 30.0, 120.0), sentinels(100.0, 30.0, 541.0)];
        let kept = keep(&cell, &run);
        assert_eq!((kept.rounds, kept.elsewhere), (vec![0, 2], 1));
    }

    #[test]
    fn without_a_second_core_only_the_core_itself_counts() {
        let run = [sentinels(100.0, 30.0, f64::NAN); 9];
        let kept = keep(&run, &run);
        assert_eq!(kept.rounds.len(), 9);
        assert!(kept.round_trip.is_nan());
    }

    #[test]
    fn nothing_measured_nothing_kept() {
        assert!(keep(&[], &[]).rounds.is_empty());
    }
}
