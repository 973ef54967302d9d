//! The results for other programs.

use dsa::cpu::Tier;
use dsa_benches::grid::Place;
use dsa_benches::regret::Regret;
use dsa_benches::statistics::Ratio;
use dsa_benches::tally::Tally;
use dsa_benches::verdict::Verdict;
use serde_json::{Value, json};

use super::goals::{self, Finding, GOALS, Goal};
use super::machine::{self, Load};
use super::measure::{Bench, Outcome};
use super::{memory, report};

/// All of a run.
pub(crate) fn document(bench: &Bench, outcomes: &[Outcome], load: &Load) -> Value {
    json!({
        "machine": {
            "cpu": machine::model(), "tier": Tier::current().name(), "cpu_tier": Tier::of_cpu().name(),
            "caches": report::caches(), "arena_bytes": bench.memory.bytes,
            "large_page_bytes": memory::in_large_pages(), "seconds": load.seconds, "stolen_s": load.stolen,
            "others_s": load.others, "rounds": bench.history.len(),
        },
        "goals": goals(outcomes),
        "cells": outcomes.iter().map(cell).collect::<Vec<_>>(),
    })
}

/// Each goal over all its cells.
fn goals(outcomes: &[Outcome]) -> Value {
    let tallies = goals::tallies(outcomes.iter().map(|outcome| (outcome.place, &outcome.findings[..])));
    let of = |(goal, tally): (&Goal, &Option<Tally<Place>>)| {
        let tally = tally.as_ref()?;
        let missed: Vec<String> = tally.with(Verdict::Miss).iter().map(Place::to_string).collect();
        Some(json!({
            "goal": goal.id, "what": goal.what, "where": goal.place(), "wanted": tally.bound().to_string(),
            "cells": tally.cells.len(), "missed": missed, "verdict": tally.verdict().name(),
        }))
    };
    GOALS.iter().zip(&tallies).filter_map(of).collect()
}

fn cell(outcome: &Outcome) -> Value {
    let place = outcome.place;
    let variant = |at: usize| {
        let (one, speed) = (&outcome.series[at], &outcome.speeds[at]);
        json!({
            "variant": one.name, "kind": one.kind.name(), "ns": one.middle(), "gb_per_s": report::rate(outcome, one),
            "speed": of_ratio(speed),
        })
    };
    json!({
        "operation": place.operation.name(), "bytes": place.size, "residency": place.residency.name(),
        "alignment": place.alignment.name(), "rounds": outcome.rounds, "kept": outcome.kept.rounds.len(),
        "disturbed": outcome.kept.disturbed,
        "variants": (0..outcome.series.len()).map(variant).collect::<Vec<_>>(),
        "regret": outcome.regret.as_ref().map(|found| of_regret(outcome, found)),
        "regret_without_hint": outcome.unhinted.as_ref().map(|found| of_regret(outcome, found)),
        "goals": outcome.findings.iter().map(of_finding).collect::<Vec<_>>(),
    })
}

fn of_ratio(ratio: &Ratio) -> Value {
    json!({
        "median": ratio.median, "low": ratio.low, "high": ratio.high, "of_minima": ratio.of_minima,
    })
}

fn of_regret(outcome: &Outcome, found: &Regret) -> Value {
    json!({ "best": outcome.series[found.best].name, "ratio": of_ratio(&found.ratio) })
}

fn of_finding(finding: &Finding) -> Value {
    let goal = &GOALS[finding.goal];
    json!({
        "goal": goal.id, "what": goal.what, "ratio": of_ratio(&finding.ratio), "verdict": finding.verdict.name(),
    })
}
