//! Every load under every policy.

use dsa::choice::Options;

use crate::bounds::{Bounds, bounds, quantile};
use crate::loads::{self, Load};
use crate::machine::{Outcome, Policy, Side, run};
use crate::policies::{Always, Ours, THRESHOLDS, Threshold};

/// What is compared, in nanoseconds.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) policy: String,
    pub(crate) mean: f64,
    pub(crate) p99: u64,
    pub(crate) cpu_time: u64,
    pub(crate) makespan: u64,
    /// Per cent of the requests; none for a bound.
    pub(crate) by_device: Option<f64>,
    pub(crate) refusals: u64,
}

/// A load and what became of it.
#[derive(Debug)]
pub(crate) struct Study {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    pub(crate) bound: Bounds,
    /// Ours; ours, misled twice; all to the device; all to the CPU; and then the thresholds.
    pub(crate) rows: Vec<Row>,
}

/// Rows that are not thresholds.
pub(crate) const NAMED: usize = 5;

impl Study {
    pub(crate) fn ours(&self) -> &Row {
        &self.rows[0]
    }

    /// Ours that began with a calibration that was wrong by three, on both sides.
    pub(crate) fn misled(&self) -> &[Row] {
        &self.rows[1..3]
    }

    pub(crate) fn all_to_device(&self) -> &Row {
        &self.rows[3]
    }

    pub(crate) fn all_to_cpu(&self) -> &Row {
        &self.rows[4]
    }

    /// The fixed threshold with the least mean for this load.
    pub(crate) fn best_threshold(&self) -> &Row {
        let thresholds = self.rows[NAMED..].iter();
        thresholds.min_by(|a, b| a.mean.total_cmp(&b.mean)).expect("there are thresholds")
    }

    /// The runtime's fixed threshold of before.
    pub(crate) fn usual_threshold(&self) -> &Row {
        let place = THRESHOLDS.iter().position(|bytes| *bytes == 4096).expect("it is among them");
        &self.rows[NAMED + place]
    }
}

/// Studies all loads.
pub(crate) fn studies(requests: usize, seed: u64, options: &Options) -> Vec<Study> {
    loads::all(requests, seed).iter().map(|load| study(load, options)).collect()
}

fn study(load: &Load, options: &Options) -> Study {
    let requests = load.requests.len();
    let row = |name: &str, policy: &mut dyn Policy| Row::new(name, run(load, policy));
    let mut rows = vec![
        row("ours", &mut Ours::modelled(options, requests)),
        row("ours, CPU taken for 9 times slower at first", &mut Ours::misled(true, options, requests)),
        row("ours, CPU taken for 9 times faster at first", &mut Ours::misled(false, options, requests)),
        row("always the device", &mut Always(Side::Device)),
        row("always the CPU", &mut Always(Side::Cpu)),
    ];
    rows.extend(THRESHOLDS.iter().map(|bytes| row(&format!("from {} KiB on", bytes >> 10), &mut Threshold(*bytes))));
    Study { name: load.name, what: load.what, bound: bounds(load), rows }
}

impl Row {
    fn new(policy: &str, outcome: Outcome) -> Self {
        let mut sorted = outcome.completions;
        sorted.sort_unstable();
        let count = sorted.len() as f64;
        Self {
            policy: policy.to_owned(),
            mean: sorted.iter().sum::<u64>() as f64 / count,
            p99: quantile(&sorted, 0.99),
            cpu_time: outcome.cpu_time,
            makespan: outcome.makespan,
            by_device: Some(100.0 * outcome.by_device as f64 / count),
            refusals: outcome.refusals,
        }
    }

    /// The bound as a row.
    pub(crate) fn of(bound: &Bounds) -> Self {
        Self {
            policy: "lower bound".to_owned(),
            mean: bound.mean,
            p99: bound.p99,
            cpu_time: bound.cpu_time,
            makespan: bound.makespan,
            by_device: None,
            refusals: 0,
        }
    }
}
