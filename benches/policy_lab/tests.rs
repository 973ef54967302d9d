//! What the runtime's choice is held to, in the loads of the policy lab; in virtual time, so the same on every machine.

#![allow(clippy::cast_precision_loss, clippy::cast_sign_loss)] // times and counts are far below 2^52, and not negative

mod bounds;
mod loads;
mod machine;
mod output;
mod policies;
mod study;

use std::sync::OnceLock;

use dsa::choice::Options;
use study::{Row, Study};

/// Requests of each load.
const REQUESTS: usize = 5_000;
/// How far ours may be above the lower bound of the mean, which leaves much of the waiting out.
const MEAN: f64 = 4.0;
/// And above that of the makespan.
const MAKESPAN: f64 = 1.25;
/// And above the mean of the fixed threshold that happens to be best for a load.
const THRESHOLD: f64 = 1.05;
/// Besides, what it may cost to find out: nanoseconds of waiting, of all requests together. A threshold that is known to be
/// best has nothing to find out. With a second tenant some ten copies wait for 100 us before the first completion tells.
const LEARNING: f64 = 2e6;

/// A measure of a policy.
type Measure = fn(&Row) -> f64;

const MEASURES: [(&str, Measure); 4] = [
    ("mean", |row| row.mean),
    ("p99", |row| row.p99 as f64),
    ("CPU time", |row| row.cpu_time as f64),
    ("makespan", |row| row.makespan as f64),
];

/// Of three seeds.
fn studies() -> &'static [Study] {
    static STUDIES: OnceLock<Vec<Study>> = OnceLock::new();
    STUDIES.get_or_init(|| (1..=3).flat_map(|seed| study::studies(REQUESTS, seed, &Options::default())).collect())
}

#[test]
fn no_policy_is_better_than_the_lower_bounds() {
    for study in studies() {
        for row in &study.rows {
            let at = format!("{}, {}", study.name, row.policy);
            assert!(row.mean >= study.bound.mean, "{at}: mean {} under {}", row.mean, study.bound.mean);
            assert!(row.p99 >= study.bound.p99, "{at}: p99 {} under {}", row.p99, study.bound.p99);
            assert!(row.cpu_time >= study.bound.cpu_time, "{at}: CPU time");
            assert!(row.makespan >= study.bound.makespan, "{at}: {} under {}", row.makespan, study.bound.makespan);
        }
    }
}

/// Nothing is asked for twice or forgotten, and whoever does everything does everything.
#[test]
fn every_policy_does_all_the_work() {
    for study in studies() {
        assert_eq!(study.all_to_device().by_device, Some(100.0), "{}", study.name);
        assert_eq!(study.all_to_cpu().by_device, Some(0.0), "{}", study.name);
        assert_eq!(study.all_to_cpu().refusals, 0, "{}", study.name);
        assert!(study.all_to_cpu().mean > 0.0 && study.ours().mean > 0.0);
    }
}

#[test]
fn ours_is_within_its_factors_of_the_lower_bounds() {
    for study in studies() {
        let ours = study.ours();
        assert!(ours.mean <= MEAN * study.bound.mean, "{}: mean {} of {}", study.name, ours.mean, study.bound.mean);
        let (makespan, bound) = (ours.makespan as f64, study.bound.makespan as f64);
        assert!(makespan <= MAKESPAN * bound, "{}: makespan {makespan} of {bound}", study.name);
    }
}

#[test]
fn ours_is_as_good_as_the_best_fixed_threshold_for_each_load() {
    for study in studies() {
        let (ours, best) = (study.ours().mean, study.best_threshold());
        let allowed = THRESHOLD * best.mean + LEARNING / REQUESTS as f64;
        assert!(ours <= allowed, "{}: {ours} and, {}, {}", study.name, best.policy, best.mean);
    }
}

/// In no measure; and no more than 1 % apart where both extremes do the same.
#[test]
fn ours_is_never_worse_than_the_worse_of_the_extremes() {
    for study in studies() {
        let worse = |measure: Measure| measure(study.all_to_device()).max(measure(study.all_to_cpu()));
        for (name, measure) in MEASURES {
            let (ours, worse) = (measure(study.ours()), worse(measure));
            assert!(ours <= worse * 1.01, "{}: {name} {ours} and {worse}", study.name);
        }
    }
}

/// A calibration that is wrong by three on both sides costs, but it is not worse than the worse of the extremes.
#[test]
fn ours_survives_a_wrong_calibration() {
    for study in studies() {
        let worse = study.all_to_device().mean.max(study.all_to_cpu().mean);
        for misled in study.misled() {
            assert!(misled.mean <= worse * 1.01, "{}, {}: {} and {worse}", study.name, misled.policy, misled.mean);
        }
    }
}

#[test]
fn a_seed_is_a_result() {
    let json = |seed| output::json(&study::studies(1_000, seed, &Options::default()), 1_000, seed);
    assert_eq!(json(5), json(5));
    assert_ne!(json(5), json(6));
}

#[test]
fn every_heading_says_that_it_is_modelled() {
    let text = output::markdown(studies(), REQUESTS, 1);
    assert!(text.starts_with("Everything on this page is modelled"));
    let headings = text.lines().filter(|line| line.starts_with('#') || line.starts_with("| policy"));
    assert!(headings.clone().count() > 2 * 7);
    for heading in headings {
        assert!(heading.contains("modelled"), "{heading}");
    }
}
