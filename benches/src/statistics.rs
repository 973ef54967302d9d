//! Medians, quantiles, and the bootstrap interval of a median.
//!
//! Times on a shared machine have long tails on one side, so nothing here takes a mean. The interval comes of resamples: as
//! many values as there are, drawn with replacement, and the median of each such sample. It is deterministic.

use crate::random::Random;

/// Samples that the bootstrap draws.
pub const RESAMPLES: usize = 1_000;
/// The part of the resampled medians that lies inside the interval.
pub const CONFIDENCE: f64 = 0.9;

/// The value below which the part `q` of all values lies: between neighbours linearly. NaN without values.
///
/// # Panics
///
/// If `q` is not from 0 to 1.
pub fn quantile(values: &[f64], q: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    quantile_of_sorted(&sorted, q)
}

/// As [`quantile`], of values in ascending order.
///
/// # Panics
///
/// If `q` is not from 0 to 1.
pub fn quantile_of_sorted(sorted: &[f64], q: f64) -> f64 {
    assert!((0.0..=1.0).contains(&q), "a quantile of {q}");
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    let place = q * last as f64;
    #[allow(clippy::cast_sign_loss)] // from 0 to `last`
    let below = place.floor() as usize;
    let part = place - place.floor();
    let above = (below + 1).min(last);
    sorted[below] + (sorted[above] - sorted[below]) * part
}

/// The value in the middle; of an even number of values, half-way between the two. NaN without values.
pub fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

/// The least value; NaN without values.
pub fn minimum(values: &[f64]) -> f64 {
    values.iter().copied().reduce(f64::min).unwrap_or(f64::NAN)
}

/// The [`CONFIDENCE`] interval of the median by [`RESAMPLES`] resamples: its lower and upper end. NaN without values.
pub fn bootstrap_median(values: &[f64], seed: u64) -> (f64, f64) {
    if values.is_empty() {
        return (f64::NAN, f64::NAN);
    }
    let mut random = Random::new(seed);
    let mut sample = vec![0.0; values.len()];
    let mut medians: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            sample.fill_with(|| values[random.below(values.len())]);
            let middle = sample.len() / 2;
            let (below, at, _) = sample.select_nth_unstable_by(middle, f64::total_cmp);
            if values.len() % 2 == 1 { *at } else { f64::midpoint(*at, below.iter().copied().fold(f64::MIN, f64::max)) }
        })
        .collect();
    medians.sort_by(f64::total_cmp);
    let outside = (1.0 - CONFIDENCE) / 2.0;
    (quantile_of_sorted(&medians, outside), quantile_of_sorted(&medians, 1.0 - outside))
}

/// How two things that were measured side by side compare, round by round.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ratio {
    /// The median of the rounds' ratios.
    pub median: f64,
    /// Lower end of the interval of that median.
    pub low: f64,
    /// Upper end of the interval of that median.
    pub high: f64,
    /// The ratio of the least values of both sides: what a quiet machine would show.
    pub of_minima: f64,
    /// Rounds.
    pub rounds: usize,
}

impl Ratio {
    /// `over` divided by `under`, of which each has one value for each round.
    ///
    /// # Panics
    ///
    /// If one has more rounds than the other.
    pub fn of(over: &[f64], under: &[f64], seed: u64) -> Self {
        assert_eq!(over.len(), under.len(), "rounds are pairs");
        let ratios: Vec<f64> = over.iter().zip(under).map(|(over, under)| over / under).collect();
        let (low, high) = bootstrap_median(&ratios, seed);
        let of_minima = minimum(over) / minimum(under);
        Self { median: median(&ratios), low, high, of_minima, rounds: ratios.len() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 2.0]).to_bits(), 2.0_f64.to_bits());
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]).to_bits(), 2.5_f64.to_bits());
        assert_eq!(median(&[7.0]).to_bits(), 7.0_f64.to_bits());
        assert!(median(&[]).is_nan());
    }

    #[test]
    #[allow(clippy::float_cmp)] // sums of halves are exact
    fn quantiles_reach_from_the_least_to_the_greatest() {
        let values = [5.0, 1.0, 4.0, 2.0, 3.0];
        let at = |q| quantile(&values, q);
        assert_eq!([at(0.0), at(0.25), at(0.5), at(0.875), at(1.0)], [1.0, 2.0, 3.0, 4.5, 5.0]);
    }

    #[test]
    fn the_interval_is_deterministic_and_holds_the_median() {
        let mut random = Random::new(1);
        for count in [1, 2, 7, 8, 40] {
            let values: Vec<f64> = (0..count).map(|_| random.gap(10.0)).collect();
            let (low, high) = bootstrap_median(&values, 9);
            assert_eq!((low, high), bootstrap_median(&values, 9));
            assert!(low <= median(&values) && median(&values) <= high, "{count}: {low} to {high}");
        }
        let (low, high) = bootstrap_median(&[], 9);
        assert!(low.is_nan() && high.is_nan());
    }

    #[test]
    fn the_interval_covers_the_true_median_about_nine_times_of_ten() {
        // A distribution as times have it: most values near the least one, and a long tail.
        let truth = 100.0 + 10.0 * 2.0_f64.ln();
        let mut random = Random::new(2);
        let covered = (0..400)
            .filter(|seed| {
                let values: Vec<f64> = (0..25).map(|_| 100.0 + random.gap(10.0)).collect();
                let (low, high) = bootstrap_median(&values, *seed);
                low <= truth && truth <= high
            })
            .count();
        assert!((332..=388).contains(&covered), "{covered} of 400 intervals hold the median");
    }

    #[test]
    fn more_rounds_make_a_narrower_interval() {
        let width = |count| {
            let mut random = Random::new(3);
            let values: Vec<f64> = (0..count).map(|_| random.unit()).collect();
            let (low, high) = bootstrap_median(&values, 1);
            high - low
        };
        assert!(width(400) < 0.5 * width(20));
    }

    #[test]
    #[allow(clippy::float_cmp)] // twice a number is exact
    fn a_ratio_pairs_rounds_and_so_is_blind_to_a_drift_of_both() {
        // The machine gets three times as slow; each round still shows the factor of two.
        let under: Vec<f64> = (0..30).map(|round| 100.0 + 10.0 * f64::from(round)).collect();
        let over: Vec<f64> = under.iter().map(|value| 2.0 * value).collect();
        let ratio = Ratio::of(&over, &under, 4);
        assert_eq!([ratio.median, ratio.low, ratio.high, ratio.of_minima], [2.0; 4]);
        assert_eq!(ratio.rounds, 30);
    }
}
