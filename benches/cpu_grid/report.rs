//! The report: tables for people, in Markdown.

use std::path::Path;

use dsa::cpu::{Hint, Tier, Tuning};
use dsa_benches::cell::Bytes;
use dsa_benches::grid::{Alignment, Operation, Place, Residency};
use dsa_benches::ranges::ranges;
use dsa_benches::regret::{Kind, Regret, Series, standings};
use dsa_benches::rounds::{FEWEST, Sentinels, is_near, mode};
use dsa_benches::statistics::{Ratio, quantile};
use dsa_benches::verdict::Verdict;

use super::goals::{self, GOALS};
use super::machine::{self, Load};
use super::measure::{Bench, Outcome};
use super::memory;
use super::variants::READ;

/// A regret that counts: the bound of the goal for copies, which serves for all operations here.
pub(crate) const REGRET: f64 = 1.1;
/// Bytes of an operation that shows what memory gives, and how much more than that the caches must have given.
const LARGE: usize = 4 << 20;
const WARM: f64 = 1.3;
/// Cells with such a regret that are listed.
const SHOWN: usize = 40;

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

/// The caches of the first core, as the kernel lists them.
pub(crate) fn caches() -> Vec<String> {
    let of = |index: usize| -> Option<String> {
        let folder = format!("/sys/devices/system/cpu/cpu0/cache/index{index}");
        let read = |name: &str| std::fs::read_to_string(Path::new(&folder).join(name)).ok();
        let (level, size, kind) = (read("level")?, read("size")?, read("type")?);
        let kind = match kind.trim() {
            "Data" => "d",
            "Instruction" => "i",
            _ => "",
        };
        Some(format!("L{}{kind} {}", level.trim(), size.trim()))
    };
    (0..).map_while(of).collect()
}

/// What it runs on.
pub(crate) fn header(bench: &Bench, absent: &[String]) {
    let large = memory::in_large_pages();
    let arenas = 2 * bench.memory.bytes;
    println!("# The CPU engine beside its peers\n");
    println!("* CPU: {}; time-stamp counter {:.0} MHz", machine::model(), bench.ticks.megahertz());
    println!("* tier: {} (the CPU has {})", Tier::current(), Tier::of_cpu());
    for hint in [Hint::Hot, Hint::Unknown, Hint::Cold] {
        let steps = Tuning::current().copy.steps(hint);
        let steps: Vec<String> = steps.iter().map(|(from, by)| format!("{} {}", Bytes(*from), by.name())).collect();
        println!("* copies, {hint:?}: {}", steps.join(", "));
    }
    println!("* caches: {}", caches().join(", "));
    println!("* two arenas of {}, {:.0} % in large pages", Bytes(bench.memory.bytes), percent(large, arenas));
    println!("* hot: one pair of buffers; L3: slots of 4MiB and 4MiB; cold: random slots of the arenas");
    println!("* aligned: to cache lines; mis: source 17, destination 33 bytes behind that");
    println!("* destinations begin {} bytes behind the place in a page that sources have", bench.memory.phase);
    println!("* content: random, never zero. GB/s: 10^9 bytes of payload a second, median of the slices");
    for line in absent {
        println!("* {line}");
    }
    if !bench.stock.cores.are_two() {
        println!("* one core: no copy by two threads");
    }
    println!();
}

fn percent(part: usize, whole: usize) -> f64 {
    100.0 * part.min(whole) as f64 / whole as f64
}

/// GB/s of a variant.
pub(crate) fn rate(outcome: &Outcome, series: &Series) -> f64 {
    outcome.place.size as f64 / series.middle()
}

/// Outcomes of one operation, by residency and alignment.
fn groups(outcomes: &[Outcome]) -> impl Iterator<Item = (Residency, Alignment, Vec<&Outcome>)> {
    let keys = Residency::ALL.into_iter().flat_map(|residency| Alignment::ALL.map(|alignment| (residency, alignment)));
    keys.filter_map(move |(residency, alignment)| {
        let here = |outcome: &&Outcome| {
            (outcome.place.residency, outcome.place.alignment) == (residency, alignment) && outcome.is_valid_or_quick()
        };
        let all: Vec<&Outcome> = outcomes.iter().filter(here).collect();
        (!all.is_empty()).then_some((residency, alignment, all))
    })
}

impl Outcome {
    /// Whether there is anything to print.
    fn is_valid_or_quick(&self) -> bool {
        !self.kept.rounds.is_empty()
    }
}

/// One operation's tables. Short: without kernels and loops that are only there to be the best.
pub(crate) fn operation(operation: Operation, outcomes: &[Outcome], is_short: bool) {
    println!("## {}\n", operation.name());
    for (residency, alignment, all) in groups(outcomes) {
        let mis = if alignment == Alignment::Mis { ", misaligned" } else { "" };
        println!("{}{mis}: GB/s (speed relative to the first row, in the same rounds)\n", residency.name());
        let sizes: Vec<String> = all.iter().map(|outcome| Bytes(outcome.place.size).to_string()).collect();
        println!("| variant | {} |", sizes.join(" | "));
        println!("|---|{}", "--:|".repeat(all.len()));
        for (name, kind) in rows(&all) {
            if is_short && kind == Kind::Kernel {
                continue;
            }
            let cells: Vec<String> = all.iter().map(|outcome| value(outcome, &name)).collect();
            println!("| {name} | {} |", cells.join(" | "));
        }
        let regrets = |of: fn(&Outcome) -> Option<&Regret>| -> Vec<String> {
            all.iter().map(|outcome| of(outcome).map_or("-".to_owned(), |found| regret(outcome, found))).collect()
        };
        println!("| *our time over the best's* | {} |", regrets(|outcome| outcome.regret.as_ref()).join(" | "));
        if all.iter().any(|outcome| outcome.unhinted.is_some()) {
            println!("| *the same without a hint* | {} |", regrets(|outcome| outcome.unhinted.as_ref()).join(" | "));
        }
        let few: Vec<String> = all.iter().filter(|o| !o.is_valid()).map(|o| Bytes(o.place.size).to_string()).collect();
        if !few.is_empty() {
            println!("\nFewer than {FEWEST} rounds are left: {}", few.join(", "));
        }
        println!();
    }
}

/// Names of the variants of some cells, in the order in which they come.
fn rows(all: &[&Outcome]) -> Vec<(String, Kind)> {
    let mut rows: Vec<(String, Kind)> = Vec::new();
    for one in all.iter().flat_map(|outcome| &outcome.series) {
        if !rows.iter().any(|(name, _)| *name == one.name) {
            rows.push((one.name.clone(), one.kind));
        }
    }
    rows
}

fn value(outcome: &Outcome, name: &str) -> String {
    let Some(at) = outcome.find(name) else { return "-".to_owned() };
    let rate = number(rate(outcome, &outcome.series[at]));
    if at == 0 { rate } else { format!("{rate} ({:.2})", outcome.speeds[at].median) }
}

/// A regret, in bold if it counts and is certain; with the name of the best, where we are not that.
fn regret(outcome: &Outcome, found: &Regret) -> String {
    let text = format!("{:.2}", found.ratio.median);
    if found.ratio.low > REGRET {
        return format!("**{text}** {}", outcome.series[found.best].name);
    }
    text
}

/// Which kernel is the best where.
pub(crate) fn best(operation: Operation, outcomes: &[Outcome]) {
    let valid = outcomes.iter().filter(|outcome| outcome.is_valid_or_quick());
    let cells: Vec<(Place, &[Series])> = valid.map(|outcome| (outcome.place, &outcome.series[..])).collect();
    let measured: Vec<Place> = cells.iter().map(|cell| cell.0).collect();
    let has_kernels = outcomes.iter().flat_map(|o| &o.series).any(|one| one.kind == Kind::Kernel);
    let what = if has_kernels { "Kernels" } else { "Peers (no kernels are listed)" };
    println!("{what} of {}: the best of them is\n", operation.name());
    for standing in standings(&cells) {
        let places = |cells: &[Place]| ranges(cells, &measured);
        if standing.best.is_empty() {
            println!("* {}: nowhere", standing.name);
        } else if standing.clearly.is_empty() {
            println!("* {}: {}; nowhere clearly", standing.name, places(&standing.best));
        } else {
            println!("* {}: {}. Clearly: {}", standing.name, places(&standing.best), places(&standing.clearly));
        }
    }
    println!();
}

/// Cells in which the choice costs more than it may.
pub(crate) fn regrets(outcomes: &[Outcome]) {
    let counts = |outcome: &&Outcome| outcome.is_valid() && outcome.regret.is_some_and(|r| r.ratio.low > REGRET);
    let mut bad: Vec<(&Outcome, Regret)> =
        outcomes.iter().filter(counts).filter_map(|outcome| Some((outcome, outcome.regret?))).collect();
    bad.sort_by(|a, b| b.1.ratio.median.total_cmp(&a.1.ratio.median));
    let judged = outcomes.iter().filter(|outcome| outcome.is_valid() && outcome.regret.is_some()).count();
    println!("## Regret\n");
    println!(
        "In {} of {judged} cells the engine is more than 10 % slower than the best that does the same.\n",
        bad.len()
    );
    if bad.is_empty() {
        return;
    }
    println!("| cell | best | our time over its: median (90 % interval); of minima |");
    println!("|---|---|---|");
    for (outcome, found) in bad.iter().take(SHOWN) {
        println!("| {} | {} | {} |", outcome.place, outcome.series[found.best].name, ratio(&found.ratio));
    }
    if bad.len() > SHOWN {
        println!("| {} more | | |", bad.len() - SHOWN);
    }
    println!();
}

/// What became of the goals.
pub(crate) fn goals(outcomes: &[Outcome]) {
    println!("## Goals\n");
    println!(
        "| goal | where | what | wanted | pass, MISS, inconclusive, invalid | worst cell: median (90 % interval); of minima | verdict |"
    );
    println!("|---|---|---|---|---|---|---|");
    let tallies = goals::tallies(outcomes.iter().map(|outcome| (outcome.place, &outcome.findings[..])));
    let measured: Vec<Place> = outcomes.iter().map(|outcome| outcome.place).collect();
    let mut lines = Vec::new();
    for (goal, tally) in GOALS.iter().zip(&tallies) {
        let Some(tally) = tally else { continue };
        let counts =
            [Verdict::Pass, Verdict::Miss, Verdict::Inconclusive, Verdict::Invalid].map(|v| tally.with(v).len());
        let worst = tally.worst().map_or("-".to_owned(), |(place, worst, _)| {
            let (residency, alignment) = (place.residency.name(), place.alignment.name());
            format!("{} {residency} {alignment}: {}", Bytes(place.size), ratio(worst))
        });
        let verdict = tally.verdict().name();
        let counts = counts.map(|count| count.to_string()).join(", ");
        println!(
            "| {} | {} | {} | {} | {counts} | {worst} | {verdict} |",
            goal.id,
            goal.place(),
            goal.what,
            tally.bound()
        );
        let misses = tally.with(Verdict::Miss);
        if !misses.is_empty() {
            let of: Vec<Place> = measured.iter().copied().filter(|p| p.operation == misses[0].operation).collect();
            lines.push(format!("* {} ({}, {}): {}", goal.id, goal.what, goal.place(), ranges(&misses, &of)));
        }
    }
    println!();
    let absent: Vec<String> = GOALS
        .iter()
        .zip(&tallies)
        .filter(|(goal, tally)| tally.is_none() && measured.iter().any(|place| goal.is_at(*place)))
        .map(|(goal, _)| format!("{} ({})", goal.id, goal.what))
        .collect();
    if !absent.is_empty() {
        println!("Not judged, a variant is absent: {}\n", absent.join(", "));
    }
    if !lines.is_empty() {
        println!("Missed in:\n\n{}\n", lines.join("\n"));
    }
}

/// By how much reading in cold cells was faster than memory can be, if it was: the caches had a part in it.
fn warmth(outcomes: &[Outcome]) -> Option<f64> {
    let is_cold = |outcome: &&Outcome| outcome.place.residency == Residency::Cold && outcome.is_valid();
    let reads: Vec<(usize, f64)> = outcomes
        .iter()
        .filter(is_cold)
        .filter_map(|outcome| Some((outcome.place.size, rate(outcome, &outcome.series[outcome.find(READ)?]))))
        .collect();
    let largest = reads.iter().max_by_key(|read| read.0)?.0;
    // There is little to say of memory if all was small.
    let limit =
        reads.iter().filter(|read| read.0 == largest && largest >= LARGE).map(|read| read.1).reduce(f64::max)?;
    let most = reads.iter().map(|read| read.1).fold(f64::MIN, f64::max);
    (most > WARM * limit).then_some(most / limit)
}

/// How noisy it was.
pub(crate) fn noise(bench: &Bench, outcomes: &[Outcome], load: &Load) {
    let history = &bench.history;
    let share = |seconds: Option<f64>| {
        seconds.map_or_else(
            || "?".to_owned(),
            |seconds| format!("{seconds:.2} s, {:.1} %", 100.0 * seconds / load.seconds),
        )
    };
    println!("## Noise\n");
    if load.others.is_some_and(|others| others > 0.2 * load.seconds) {
        println!("**Others computed on this machine meanwhile.**\n");
    }
    let kept: usize = outcomes.iter().map(|outcome| outcome.kept.rounds.len()).sum();
    let invalid = outcomes.iter().filter(|outcome| !outcome.is_valid()).count();
    println!("* {} cells, {} rounds in {:.1} s; {kept} rounds count", outcomes.len(), history.len(), load.seconds);
    println!("* {invalid} cells have fewer than {FEWEST} rounds that count");
    println!("* {} slices were done again, because the thread did not run all the while", bench.repeated);
    if let Some(excess) = warmth(outcomes) {
        println!("* **cold cells may be warm: reading reached {excess:.2} times what it does at the largest size**");
    }
    println!("* stolen by the host (of one core): {}", share(load.stolen));
    println!("* CPU time of other processes (of one core): {}", share(load.others));
    let column = |field: fn(&Sentinels) -> f64| -> Vec<f64> { history.iter().map(field).collect() };
    for (name, values) in [("chain", column(|s| s.chain)), ("copy of 4KiB", column(|s| s.copy))] {
        let most = mode(&values, 0.3).unwrap_or(f64::NAN);
        let off = values.iter().filter(|value| !is_near(**value, most)).count();
        let [low, high] = [0.25, 0.75].map(|q| number(quantile(&values, q)));
        println!("* sentinel {name}: mostly {} ns, quartiles {low} and {high}; {off} rounds off that", number(most));
    }
    println!();
}
