//! The runtime beside what a program would do without it: spawned threads, channels, a pool, a raw ring, DPDK.
//!
//! ```console
//! $ cargo bench -p dsa-benches --bench peers
//! $ cargo bench -p dsa-benches --bench peers --features dpdk -- --json peers.json --plot peers.svg
//! $ cargo bench -p dsa-benches --bench peers -- --cells 64B/QD64,4KiB/QD64
//! $ cargo bench -p dsa-benches --bench peers -- --benefits
//! $ cargo bench -p dsa-benches --bench peers -- --scaling --plot scaling.svg
//! ```
//!
//! Everything runs in one process on two cores, paired: in each round all variants have one slice of some 200 us, in turn, and
//! what counts is the ratio of two slices of one round. Sentinels in each round say whether the machine was as it mostly is.
//!
//! It ends with 0; with 1 if `--gate` is given and a goal is missed; with 77 if too few rounds were left for a result to count,
//! or if there is only one core.

#![allow(clippy::cast_precision_loss, clippy::cast_sign_loss)] // times and counts, positive and far below 2^52

mod alloc;
mod arena;
mod compare;
mod dpdk;
mod goals;
mod ledger;
mod machine;
mod open_loop;
mod ours;
mod plot;
mod pollution;
mod report;
mod ring;
mod scaling;
mod sentinel;
mod tails;
mod threads;
mod ticker;
mod variant;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use dsa_benches::cell::{Bytes, Cell};
use dsa_benches::verdict::Verdict;
use serde_json::json;

use arena::Arena;
use compare::{Bench, Effort};
use goals::Finding;
use machine::{Cores, Watch};
use ours::Ours;
use sentinel::Sentinel;
use variant::{Stage, Variant};

#[global_allocator]
static ALLOCATOR: alloc::Counting = alloc::Counting;

/// Bytes of an operation.
const SIZES: [usize; 3] = [64, 4 << 10, 64 << 10];
/// Operations in flight.
const DEPTHS: [usize; 4] = [1, 8, 64, 512];
/// The exit status of a run that says nothing.
const SKIPPED: u8 = 77;

/// The runtime beside its peers.
#[derive(Parser)]
#[allow(clippy::struct_excessive_bools)] // each is a flag of the command line
struct Options {
    /// Only these cells, such as 64B/QD64,4KiB/QD1; without the open loop and the benefits.
    #[arg(long, value_delimiter = ',')]
    cells: Vec<Cell>,
    /// Only the open loop and the benefits to an application.
    #[arg(long, conflicts_with = "cells")]
    benefits: bool,
    /// A few rounds of everything, to see that it runs: the numbers mean nothing.
    #[arg(long)]
    quick: bool,
    /// Up to 65,536 operations in flight, over one to eight queues, instead of the peers.
    #[arg(long)]
    scaling: bool,
    /// End with 1 if a goal is missed.
    #[arg(long)]
    gate: bool,
    /// Write the results there too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Draw them there.
    #[arg(long, value_name = "FILE.svg")]
    plot: Option<PathBuf>,
    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let options = Options::parse();
    let stage = Stage::new();
    let (cores, ticks) = (stage.cores, stage.ticks);
    let arena = Arena::new()?;
    let mut variants = threads::all(&cores);
    let ours = cores.are_two().then(|| Ours::new(&cores));
    variants.extend(ours.iter().flat_map(Ours::all));
    let absent = add_dpdk(&mut variants, &cores, &arena);
    let effort = if options.quick { Effort::QUICK } else { Effort::FULL };
    let sentinel = Sentinel::new(&cores, ticks);
    let mut bench = Bench { stage, arena, sentinel, variants, history: Vec::new(), effort };
    report::header(&bench, absent.as_deref(), ours.as_ref().map(|ours| ours.accelerator.waiting()));
    if options.scaling { scale(&options, &mut bench) } else { compare(&options, &mut bench, ours.as_ref()) }
}

/// Adds DPDK's variants, or says why there are none.
fn add_dpdk(variants: &mut Vec<Box<dyn Variant>>, cores: &Cores, arena: &Arena) -> Option<String> {
    if !cfg!(feature = "dpdk") {
        return Some("built without the feature `dpdk`".to_owned());
    }
    if !cores.are_two() {
        return Some("it needs two cores".to_owned());
    }
    match dpdk::all(cores, arena) {
        Ok(all) => {
            variants.extend(all);
            None
        }
        Err(reason) => Some(reason),
    }
}

fn compare(options: &Options, bench: &mut Bench, ours: Option<&Ours>) -> Result<ExitCode, Box<dyn Error>> {
    let watch = Watch::start();
    let cells: Vec<Cell> = match (options.cells.is_empty(), options.quick) {
        _ if options.benefits => Vec::new(),
        (false, _) => options.cells.clone(),
        (true, true) => vec![Cell { size: 64, depth: 1 }, Cell { size: 4 << 10, depth: 64 }],
        (true, false) => SIZES.iter().flat_map(|size| DEPTHS.map(|depth| Cell { size: *size, depth })).collect(),
    };
    if let Some(cell) = cells.iter().find(|cell| !Bench::has_room(**cell)) {
        return Err(format!("{cell} is too large: at most 512 in flight, and {} of sources", Bytes(arena::ROOM)).into());
    }
    let mut outcomes = Vec::new();
    for cell in cells {
        let outcome = bench.measure(cell);
        report::cell(&outcome, bench);
        outcomes.push(outcome);
    }
    let mut findings: Vec<&Finding> = outcomes.iter().flat_map(|outcome| &outcome.findings).collect();
    let mut is_valid = outcomes.iter().all(compare::Outcome::is_valid);
    let mut document = json!({ "cells": outcomes.iter().map(report::cell_json).collect::<Vec<_>>() });
    let benefits = options.cells.is_empty();
    let open = benefits.then(|| tails::measure(bench));
    let pollution = benefits.then(|| pollution::measure(bench, ours.map(|ours| &ours.accelerator)));
    let ticker = ours.filter(|_| benefits).map(|ours| ticker::measure(bench, &ours.accelerator));
    if let Some(open) = &open {
        report::tails(open);
        document["open_loop"] = report::tails_json(open);
    }
    if let Some(pollution) = &pollution {
        report::pollution(pollution);
        findings.extend(&pollution.findings);
        is_valid &= pollution.is_valid();
        document["pollution"] = report::pollution_json(pollution);
    }
    if let Some(ticker) = &ticker {
        report::ticker(ticker);
        findings.push(&ticker.finding);
        is_valid &= ticker.is_valid();
        document["ticker"] = report::ticker_json(ticker);
    }
    report::goals(findings.iter().copied());
    let load = watch.look(bench.variants.iter().map(|variant| variant.helper()).sum());
    report::noise(&bench.history, &load);
    document["goals"] = findings.iter().map(|finding| report::goal_json(finding)).collect();
    document["machine"] = report::noise_json(&bench.history, &load);
    if let Some(path) = &options.json {
        std::fs::write(path, format!("{document:#}\n"))?;
    }
    if let Some(path) = &options.plot {
        plot::cells(&outcomes, path)?;
    }
    if options.quick {
        println!("A smoke run: these numbers mean nothing.");
        return Ok(ExitCode::SUCCESS);
    }
    if !is_valid || !bench.stage.cores.are_two() {
        println!("This run is invalid, in part or all of it.");
        return Ok(ExitCode::from(SKIPPED));
    }
    let is_missed = findings.iter().any(|finding| finding.verdict == Verdict::Miss);
    Ok(if is_missed && options.gate { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn scale(options: &Options, bench: &mut Bench) -> Result<ExitCode, Box<dyn Error>> {
    if !bench.stage.cores.are_two() {
        println!("There is only one core.");
        return Ok(ExitCode::from(SKIPPED));
    }
    let outcome = scaling::measure(bench, options.quick);
    report::scaling(&outcome);
    if let Some(path) = &options.json {
        std::fs::write(path, format!("{:#}\n", report::scaling_json(&outcome)))?;
    }
    if let Some(path) = &options.plot {
        plot::scaling(&outcome, path)?;
    }
    Ok(ExitCode::SUCCESS)
}
