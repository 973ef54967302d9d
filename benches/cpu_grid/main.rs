//! The CPU engine beside its peers, over a grid: operation by size by residency by alignment.
//!
//! ```console
//! $ cargo bench -p dsa-benches --bench cpu_grid
//! $ cargo bench -p dsa-benches --bench cpu_grid --features isal,dml -- --json grid.json --plot grid.svg
//! $ cargo bench -p dsa-benches --bench cpu_grid -- --ops copy,fill --residency cold --sizes 64K,1M --align mis
//! $ cargo bench -p dsa-benches --bench cpu_grid -- --markdown
//! $ DSA_CPU_TIER=avx2 cargo bench -p dsa-benches --bench cpu_grid
//! ```
//!
//! Everything runs in one process on one core, paired: in each round all variants of a cell have one slice of some 120 us, in an
//! order that is another in each round, and what counts is the ratio of two slices of one round. Sentinels in each round say
//! whether the machine was as it mostly is. The whole grid takes some ten minutes.
//!
//! It ends with 0; with 1 if `--gate` is given and a goal is missed; with 77 if in more than a tenth of the cells too few rounds
//! were left to say anything.

#![allow(clippy::cast_precision_loss, clippy::cast_sign_loss)] // times and counts, positive and far below 2^52
#![allow(clippy::inline_always)] // what is measured must not have a call more than its rival

mod dml;
mod duo;
mod goals;
mod isal;
mod json;
mod kernels;
mod loops;
#[path = "../peers/machine.rs"]
#[allow(dead_code, reason = "the runtime's comparison needs more of it")]
mod machine;
mod measure;
mod memory;
mod ours;
mod peers;
mod plot;
mod report;
#[path = "../peers/sentinel.rs"]
mod sentinel;
mod slots;
mod variants;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use dsa::cpu::Tuning;
use dsa_benches::cell::Bytes;
use dsa_benches::grid::{Alignment, Filter, Operation, Place, Residency, Size};
use dsa_benches::verdict::Verdict;

use machine::{Cores, Ticks, Watch};
use measure::{Bench, Effort, Outcome};
use memory::{Memory, Pages};
use sentinel::Sentinel;
use variants::Stock;

/// The exit status of a run that says nothing.
const SKIPPED: u8 = 77;

/// The CPU engine beside its peers.
#[derive(Parser)]
#[allow(clippy::struct_excessive_bools)] // each is a flag of the command line
struct Options {
    /// Only these operations, such as copy,crc32c,delta-512.
    #[arg(long, value_delimiter = ',')]
    ops: Vec<Operation>,
    /// Only these sizes, such as 64,4K,1MiB; they need not be the grid's own.
    #[arg(long, value_delimiter = ',')]
    sizes: Vec<Size>,
    /// Only there: hot, L3, cold.
    #[arg(long, value_delimiter = ',')]
    residency: Vec<Residency>,
    /// Only so: aligned, mis.
    #[arg(long, value_delimiter = ',')]
    align: Vec<Alignment>,
    /// Rounds of a cell, at least. A cell with an undecided goal gets more, for a while.
    #[arg(long)]
    rounds: Option<usize>,
    /// Mebibytes of each of the two arenas, a power of two; less if memory is short. 512, or 64 for a quick run.
    #[arg(long, value_name = "MIB")]
    arena: Option<u16>,
    /// Bytes that a destination begins behind the place in its page that the source has. With 0 loads are held up by stores to
    /// the same place of another page, more or less at random.
    #[arg(long, value_name = "BYTES", default_value_t = 1088, value_parser = clap::value_parser!(u16).range(0..4096))]
    phase: u16,
    /// Kernels by the CPU's model, instead of what is measured at the start.
    #[arg(long)]
    model: bool,
    /// Pages of 4 KiB instead of large ones.
    #[arg(long)]
    small_pages: bool,
    /// A few rounds of a few cells, to see that it runs: the numbers mean nothing.
    #[arg(long)]
    quick: bool,
    /// Tables as they stand in the documentation: without single kernels.
    #[arg(long)]
    markdown: bool,
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

impl Options {
    fn filter(&self) -> Filter {
        let mut filter = Filter {
            operations: self.ops.clone(),
            sizes: self.sizes.iter().map(|size| size.0).collect(),
            residencies: self.residency.clone(),
            alignments: self.align.clone(),
        };
        if self.quick && filter.sizes.is_empty() {
            // One each of what the engine may tell apart: small, middle, large.
            filter.sizes = vec![256, 4 << 10, 64 << 10];
        }
        filter
    }

    fn effort(&self) -> Effort {
        let effort = if self.quick { Effort::QUICK } else { Effort::FULL };
        let rounds = self.rounds.unwrap_or(effort.rounds).max(1);
        Effort { rounds, most_rounds: effort.most_rounds.max(rounds), ..effort }
    }
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let options = Options::parse();
    let places = options.filter().places();
    if places.is_empty() {
        return Err("no cell has all of that: see --help".into());
    }
    // Before others: they get less of this core meanwhile. Not everybody may.
    let _ = rustix::process::setpriority_process(None, -10);
    if !options.model {
        // As an accelerator does that is built, but with more time.
        Tuning::calibrate(Duration::from_millis(50)).install().map_err(|tier| format!("{tier} is not of this CPU"))?;
    }
    let (mut bench, absent) = set_up(&options)?;
    report::header(&bench, &absent);
    let watch = Watch::start();
    let mut outcomes: Vec<Outcome> = Vec::new();
    for of_operation in places.chunk_by(|a, b| a.operation == b.operation) {
        eprintln!("{}: {} cells ...", of_operation[0].operation.name(), of_operation.len());
        let first = outcomes.len();
        measure(&mut bench, of_operation, &mut outcomes);
        report::operation(of_operation[0].operation, &outcomes[first..], options.markdown);
        report::best(of_operation[0].operation, &outcomes[first..]);
    }
    report::regrets(&outcomes);
    report::goals(&outcomes);
    let load = watch.look(0);
    report::noise(&bench, &outcomes, &load);
    if let Some(path) = &options.json {
        std::fs::write(path, format!("{:#}\n", json::document(&bench, &outcomes, &load)))?;
    }
    if let Some(path) = &options.plot {
        plot::heat_map(&outcomes, path)?;
    }
    Ok(end(&options, &outcomes))
}

fn set_up(options: &Options) -> Result<(Bench, Vec<String>), Box<dyn Error>> {
    let cores = Cores::find();
    Cores::pin(cores.submitter);
    let ticks = Ticks::calibrate();
    let wanted = usize::from(options.arena.unwrap_or(if options.quick { 64 } else { 512 })) << 20;
    let bytes = memory::affordable(wanted);
    if bytes != wanted {
        eprintln!(
            "arenas of {} instead of {}: there is not more memory, or it is no power of two",
            Bytes(bytes),
            Bytes(wanted)
        );
    }
    let memory =
        Memory::new(bytes, options.phase.into(), if options.small_pages { Pages::Small } else { Pages::Huge })?;
    let (stock, absent) = Stock::new(cores);
    let mut alone = cores;
    alone.device = alone.submitter;
    // The sentinels without the way to the other core, which nothing here goes.
    let sentinel = Sentinel::new(&alone, ticks);
    Ok((Bench { ticks, memory, stock, sentinel, history: Vec::new(), repeated: 0, effort: options.effort() }, absent))
}

fn measure(bench: &mut Bench, places: &[Place], outcomes: &mut Vec<Outcome>) {
    for place in places {
        match bench.measure(*place) {
            Some(outcome) => outcomes.push(outcome),
            None => eprintln!("{place}: left out, the arenas are too small"),
        }
    }
}

fn end(options: &Options, outcomes: &[Outcome]) -> ExitCode {
    if options.quick {
        println!("A smoke run: these numbers mean nothing.");
        return ExitCode::SUCCESS;
    }
    let invalid = outcomes.iter().filter(|outcome| !outcome.is_valid()).count();
    if 10 * invalid > outcomes.len() {
        println!("This run is invalid: the machine was too restless.");
        return ExitCode::from(SKIPPED);
    }
    let mut findings = outcomes.iter().flat_map(|outcome| &outcome.findings);
    let is_missed = findings.any(|finding| finding.verdict == Verdict::Miss);
    if is_missed && options.gate { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
