//! The report: tables for people, in Markdown, and the same as JSON.

use dsa::Waiting;
use dsa_benches::cell::Bytes;
use dsa_benches::rounds::{FEWEST, Kept, Sentinels, classes, mode};
use dsa_benches::statistics::{Ratio, quantile};
use hdrhistogram::Histogram;
use serde_json::{Value, json};

use super::compare::{Bench, Outcome};
use super::goals::{self, Finding};
use super::machine::{self, Load};
use super::{pollution, scaling, tails, ticker};

/// Three digits that count, or all before the point.
pub(crate) fn number(value: f64) -> String {
    match value {
        v if !v.is_finite() => "-".to_owned(),
        v if v.abs() >= 100.0 => format!("{v:.0}"),
        v if v.abs() >= 10.0 => format!("{v:.1}"),
        v => format!("{v:.2}"),
    }
}

fn ratio(ratio: &Ratio) -> String {
    let [median, low, high, minima] = [ratio.median, ratio.low, ratio.high, ratio.of_minima].map(number);
    format!("{median} ({low} to {high}); {minima}")
}

fn latency(histogram: &Histogram<u64>, q: f64) -> String {
    if histogram.is_empty() { "-".to_owned() } else { histogram.value_at_quantile(q).to_string() }
}

/// What it runs on.
pub(crate) fn header(bench: &Bench, absent: Option<&str>, waiting: Option<Waiting>) {
    let cores = &bench.stage.cores;
    println!("# The runtime beside its peers\n");
    println!("* CPU: {}; time-stamp counter {:.0} MHz", machine::model(), bench.stage.ticks.megahertz());
    if cores.are_two() {
        println!("* cores: submitter on {}, engine and workers on {}", cores.submitter, cores.device);
    } else {
        println!("* cores: only {}; everything that takes another core is skipped", cores.submitter);
    }
    println!("* device: software model, one engine thread; timings say nothing about hardware");
    if let Some(waiting) = waiting {
        println!("* the runtime's poller waits by: {waiting:?}");
    }
    println!(
        "* loops are closed unless they are said to be open: one task for each operation in flight, so that waits of"
    );
    println!("  those who would have come meanwhile are hidden; latencies include queueing");
    println!("* buffers: one rotation for all, ordinary pages, random bytes other than zero");
    match absent {
        Some(reason) => println!("* DPDK: absent ({reason})"),
        None => println!("* DPDK: `dma_skeleton`, in a process of its own that is stopped outside its slices"),
    }
    println!(
        "* ratio: time of the variant over that of `dsa copy().await` in the same round: median (90 % interval by"
    );
    println!(
        "  bootstrap); ratio of the least times. CPU time is of one operation: the submitting thread's, and of all threads\n"
    );
}

fn rounds(kept: &Kept, all: usize) -> String {
    let trip = if kept.round_trip.is_finite() {
        format!("round trip {} ns, ", number(kept.round_trip))
    } else {
        String::new()
    };
    format!(
        "{} of {all} rounds ({trip}{} disturbed, {} of another class)",
        kept.rounds.len(),
        kept.disturbed,
        kept.elsewhere
    )
}

fn invalid(is_valid: bool) {
    if !is_valid {
        println!("\n**Invalid: fewer than {FEWEST} rounds are left.**");
    }
}

/// One cell.
pub(crate) fn cell(outcome: &Outcome, bench: &Bench) {
    let set = 2 * outcome.pairs * outcome.cell.size;
    println!(
        "## {}: {}; {} pairs of buffers, {} in all\n",
        outcome.cell,
        rounds(&outcome.kept, outcome.rounds),
        outcome.pairs,
        Bytes(set)
    );
    println!(
        "| variant | ns/op | ratio | p50 ns | p99 ns | p99.9 ns | submitter CPU ns | process CPU ns | operations |"
    );
    println!("|---|--:|---|--:|--:|--:|--:|--:|--:|");
    for line in &outcome.lines {
        let quantiles = [0.5, 0.99, 0.999].map(|q| latency(&line.latencies, q)).join(" | ");
        println!(
            "| {} | {} | {} | {quantiles} | {} | {} | {} |",
            line.name,
            number(line.ns),
            line.ratio.as_ref().map_or_else(|| "1".to_owned(), ratio),
            number(line.submitter),
            number(line.process),
            line.operations
        );
    }
    let names: Vec<&str> = outcome.lines.iter().map(|line| line.name).collect();
    for variant in bench.variants.iter().filter(|variant| !names.contains(&variant.name())) {
        println!("| {} | - | not at this depth | | | | | | |", variant.name());
    }
    for goal in goals::absent(outcome.cell, &names) {
        println!("\nNot judged, a variant is absent: {goal}");
    }
    invalid(outcome.is_valid());
    println!();
}

/// The open loop.
pub(crate) fn tails(outcome: &tails::Outcome) {
    println!(
        "## Open loop: copies of 4KiB at half of each variant's own load; {}\n",
        rounds(&outcome.kept, outcome.rounds)
    );
    println!("| variant | an arrival every ns | p99 ns, median slice | p50 ns | p99 ns | p99.9 ns | operations |");
    println!("|---|--:|--:|--:|--:|--:|--:|");
    for point in &outcome.points {
        let quantiles = [0.5, 0.99, 0.999].map(|q| latency(&point.latencies, q)).join(" | ");
        let (gap, p99) = (number(point.gap), number(point.p99));
        println!("| {} | {gap} | {p99} | {quantiles} | {} |", point.name, point.latencies.len());
    }
    println!();
}

/// B1.
pub(crate) fn pollution(outcome: &pollution::Outcome) {
    println!(
        "## B1: a working set of 512KiB read again after a copy of 16MiB; {}\n",
        rounds(&outcome.kept, outcome.rounds)
    );
    println!("| copied by | ns a line | against nobody's | copy us |");
    println!("|---|--:|---|--:|");
    for row in &outcome.rows {
        let against = row.ratio.as_ref().map_or_else(|| "1".to_owned(), ratio);
        println!("| {} | {} | {against} | {} |", row.name, number(row.line), number(row.copy));
    }
    invalid(outcome.is_valid());
    println!();
}

/// B3.
pub(crate) fn ticker(outcome: &ticker::Outcome) {
    println!("## B3: lateness of a ticker of 1 ms; {}\n", rounds(&outcome.kept, outcome.rounds));
    println!("| beside it | p50 us | p99 us |");
    println!("|---|--:|--:|");
    println!("| nothing | {} | {} |", number(outcome.idle[0]), number(outcome.idle[1]));
    let rate = outcome.rate / 1e6;
    let [p50, p99] = outcome.busy.map(number);
    println!("| 64 operations of 4KiB in flight, {} million a second | {p50} | {p99} |", number(rate));
    invalid(outcome.is_valid());
    println!();
}

/// What became of the goals.
pub(crate) fn goals<'a>(findings: impl Iterator<Item = &'a Finding>) {
    println!("## Goals\n");
    println!("| goal | where | what | wanted | measured: median (90 % interval); of minima | verdict |");
    println!("|---|---|---|---|---|---|");
    for finding in findings {
        println!(
            "| {} | {} | {} | {} | {} | {} |",
            finding.id,
            finding.place,
            finding.what,
            finding.bound,
            ratio(&finding.ratio),
            finding.verdict.name()
        );
    }
    println!();
}

/// How noisy it was.
pub(crate) fn noise(history: &[Sentinels], load: &Load) {
    let column = |field: fn(&Sentinels) -> f64| -> Vec<f64> {
        history.iter().map(field).filter(|value| value.is_finite()).collect()
    };
    let share = |seconds: Option<f64>| {
        seconds.map_or_else(
            || "?".to_owned(),
            |seconds| format!("{seconds:.2} s, {:.1} %", 100.0 * seconds / load.seconds),
        )
    };
    println!("## Noise\n");
    if load.others.is_some_and(|others| others > 0.2 * load.seconds) {
        println!("**Others computed on these cores: tails, and times of what sleeps, are theirs as well.**\n");
    }
    println!("* {} rounds in {:.1} s", history.len(), load.seconds);
    println!("* stolen by the host (of one core): {}", share(load.stolen));
    println!("* CPU time of other processes (of one core): {}", share(load.others));
    for (name, values) in [("chain", column(|s| s.chain)), ("copy of 4KiB", column(|s| s.copy))] {
        let most = mode(&values, 0.3).unwrap_or(f64::NAN);
        let off = values.iter().filter(|value| !dsa_benches::rounds::is_near(**value, most)).count();
        let [low, high] = [0.25, 0.75].map(|q| number(quantile(&values, q)));
        println!("* sentinel {name}: mostly {} ns, quartiles {low} and {high}; {off} rounds off that", number(most));
    }
    let modes = modes(history).into_iter().map(|(centre, rounds)| format!("{} ns ({rounds} rounds)", number(centre)));
    println!("* modes of the round trip between the cores: {}\n", modes.collect::<Vec<_>>().join(", "));
}

/// The classes of the round trip between the cores: nanoseconds, and how many rounds were in each.
fn modes(history: &[Sentinels]) -> Vec<(f64, usize)> {
    let trips: Vec<f64> = history.iter().map(|s| s.round_trip).filter(|trip| trip.is_finite()).collect();
    let rounds = |centre| trips.iter().filter(|trip| dsa_benches::rounds::is_near(**trip, centre)).count();
    classes(&trips, FEWEST).into_iter().map(|centre| (centre, rounds(centre))).collect()
}

/// The scaling table.
pub(crate) fn scaling(outcome: &scaling::Outcome) {
    println!("## Scaling: copies of 64B, one engine\n");
    let [slot, entry] = [outcome.slot, outcome.entry].map(number);
    println!("* the runtime's memory: {slot} bytes for each operation that could be in flight, made in advance");
    println!("* the model's memory: {entry} bytes for each entry of its queues (a device has its own)");
    println!(
        "* the future of a copy between two vectors: {} bytes; a task holds it and the harness's loop\n",
        scaling::FUTURE
    );
    println!(
        "| in flight | queues | ns/op: median (quartiles) | rounds | bytes of the task, each | bytes in flight, each |"
    );
    println!("|--:|--:|---|--:|--:|--:|");
    for point in &outcome.points {
        let [low, middle, high] = point.ns.map(number);
        // With a few in flight, what the harness itself has would count as theirs.
        let task = if point.depth < 64 { f64::NAN } else { point.task };
        println!(
            "| {} | {} | {middle} ({low} to {high}) | {} | {} | {} |",
            point.depth,
            point.queues,
            point.rounds,
            number(task),
            number(task + outcome.slot)
        );
    }
    println!();
}

fn of_ratio(ratio: &Ratio) -> Value {
    json!({
        "median": ratio.median, "low": ratio.low, "high": ratio.high, "of_minima": ratio.of_minima, "rounds": ratio.rounds,
    })
}

fn of_latencies(histogram: &Histogram<u64>) -> Value {
    json!({
        "p50": histogram.value_at_quantile(0.5), "p99": histogram.value_at_quantile(0.99),
        "p99.9": histogram.value_at_quantile(0.999), "operations": histogram.len(),
    })
}

fn of_kept(kept: &Kept, all: usize) -> Value {
    json!({
        "all": all, "kept": kept.rounds.len(), "disturbed": kept.disturbed, "other_class": kept.elsewhere,
        "round_trip_ns": kept.round_trip,
    })
}

pub(crate) fn cell_json(outcome: &Outcome) -> Value {
    let line = |line: &super::compare::Line| {
        json!({
            "variant": line.name, "ns": line.ns, "ratio": line.ratio.as_ref().map(of_ratio),
            "latency_ns": of_latencies(&line.latencies), "submitter_cpu_ns": line.submitter,
            "process_cpu_ns": line.process,
        })
    };
    json!({
        "cell": outcome.cell.to_string(), "pairs": outcome.pairs, "rounds": of_kept(&outcome.kept, outcome.rounds),
        "variants": outcome.lines.iter().map(line).collect::<Vec<_>>(),
    })
}

pub(crate) fn tails_json(outcome: &tails::Outcome) -> Value {
    let point = |point: &tails::Point| {
        json!({
            "variant": point.name, "gap_ns": point.gap, "slice_p99_ns": point.p99,
            "latency_ns": of_latencies(&point.latencies),
        })
    };
    json!({
        "rounds": of_kept(&outcome.kept, outcome.rounds),
        "variants": outcome.points.iter().map(point).collect::<Vec<_>>(),
    })
}

pub(crate) fn pollution_json(outcome: &pollution::Outcome) -> Value {
    let row = |row: &pollution::Row| {
        json!({
            "by": row.name, "line_ns": row.line, "copy_us": row.copy, "ratio": row.ratio.as_ref().map(of_ratio),
        })
    };
    json!({
        "rounds": of_kept(&outcome.kept, outcome.rounds),
        "rows": outcome.rows.iter().map(row).collect::<Vec<_>>(),
    })
}

pub(crate) fn ticker_json(outcome: &ticker::Outcome) -> Value {
    json!({
        "rounds": of_kept(&outcome.kept, outcome.rounds), "idle_us": outcome.idle, "busy_us": outcome.busy,
        "operations_per_second": outcome.rate,
    })
}

pub(crate) fn goal_json(finding: &Finding) -> Value {
    json!({
        "goal": finding.id, "cell": finding.place, "what": finding.what, "wanted": finding.bound.to_string(),
        "ratio": of_ratio(&finding.ratio), "verdict": finding.verdict.name(),
    })
}

pub(crate) fn noise_json(history: &[Sentinels], load: &Load) -> Value {
    json!({
        "cpu": machine::model(), "seconds": load.seconds, "stolen_s": load.stolen, "others_s": load.others,
        "round_trip_modes": modes(history),
    })
}

pub(crate) fn scaling_json(outcome: &scaling::Outcome) -> Value {
    let point = |point: &scaling::Point| {
        json!({
            "in_flight": point.depth, "queues": point.queues, "ns": point.ns, "rounds": point.rounds,
            "task_bytes": point.task,
        })
    };
    json!({
        "slot_bytes": outcome.slot, "entry_bytes": outcome.entry, "future_bytes": scaling::FUTURE,
        "points": outcome.points.iter().map(point).collect::<Vec<_>>(),
    })
}
