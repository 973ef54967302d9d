//! `dsa demo`: the main job on real input, verified.
//!
//! ```text
//!   reader thread --tasks--> `depth` async workers --finished--> verifier thread
//!        ^                      operations                            |
//!        '------------------------- pool of buffers <-----------------'
//! ```
//!
//! Both channels are bounded, and all memory that operations work on comes from one pool, so a run needs the same memory
//! for a small file and for a terabyte.

mod args;
mod device;
mod input;
mod random;
mod report;
mod verify;
mod work;

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use dsa::buf::Pool;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;

pub(crate) use args::Args;
use args::Size;
use device::Target;
use input::{Input, Progress, Reader};
use report::{Header, Outcome, Report};
use verify::Verdict;
use work::work;

/// Why a run did not end well.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{}: {source}", path.display())]
    Path { path: PathBuf, source: io::Error },
    #[error("{}: neither a file nor a folder", .0.display())]
    Kind(PathBuf),
    #[error("no bytes to work on in {0}: name files or folders that are not empty")]
    NoInput(String),
    #[error("{0} of buffers would be needed, more than {limit}: lower --depth or --size", limit = MEMORY_LIMIT)]
    Memory(Size),
    #[error("the buffers could not be had: {0}")]
    Pool(io::Error),
    #[error("the software model could not be made: {0}")]
    Model(#[from] dsa_emulator::ConfigError),
    #[error("no work queue of this machine can be used:{0}")]
    NoQueue(String),
    #[error("the accelerator could not be opened: {0}")]
    Open(#[from] dsa::BuildError),
    #[error("the async runtime could not be started: {0}")]
    Runtime(io::Error),
    #[error("an operation failed on {} at byte {offset}: {source}", path.display())]
    Operation { path: PathBuf, offset: u64, source: dsa::Error },
    #[error("a thread of the demo ended early: {0}")]
    Thread(#[from] tokio::task::JoinError),
    #[error("the report could not be written: {0}")]
    Report(io::Error),
    #[error("the results are wrong, see above")]
    Wrong,
}

/// Most memory for buffers.
const MEMORY_LIMIT: Size = Size(8 << 30);

/// How long operations that nobody waits for any more may take after the last result.
const GRACE: Duration = Duration::from_secs(20);

/// Runs the demo and prints its report.
///
/// # Errors
///
/// Anything but a run in which every result was right.
pub(crate) fn run(args: &Args) -> Result<(), Error> {
    let input = Arc::new(Input::find(&args.files, args.limit.0)?);
    let target = Target::open(args)?;
    print(&Header { args, target: &target, input: &input })?;
    let runtime = tokio::runtime::Builder::new_multi_thread().build().map_err(Error::Runtime)?;
    let outcome = runtime.block_on(execute(args, &input, &target))?;
    print(&Report { outcome: &outcome, input: &input })?;
    if outcome.is_right() { Ok(()) } else { Err(Error::Wrong) }
}

fn print(text: &impl std::fmt::Display) -> Result<(), Error> {
    let mut out = io::stdout().lock();
    write!(out, "{text}").and_then(|()| out.flush()).map_err(Error::Report)
}

/// Reads, works and verifies until the input ends or an operation fails.
async fn execute(args: &Args, input: &Arc<Input>, target: &Target) -> Result<Outcome, Error> {
    let depth = args.depth as usize;
    // Pieces that wait between two stages: enough to keep the next stage busy.
    let waiting = (depth / 2).max(4);
    let pool = pool(args, depth, waiting)?;
    let stop = Arc::new(AtomicBool::new(false));
    let bar = progress_bar(input.bytes);
    let begin = Instant::now();

    let (send_task, tasks) = mpsc::channel(waiting);
    let reader = tokio::task::spawn_blocking({
        let (args, input, pool, stop) = (args.clone(), Arc::clone(input), pool.clone(), Arc::clone(&stop));
        move || Reader::new(&input, &args, &pool, &stop).run(&send_task)
    });
    let (send_finished, mut finished) = mpsc::channel(waiting);
    let verifier = tokio::task::spawn_blocking(move || {
        let mut verdict = Verdict::default();
        while let Some(piece) = finished.blocking_recv() {
            verdict.judge(&piece);
            bar.inc(piece.src.len() as u64);
        }
        bar.finish_and_clear();
        verdict
    });
    let tasks = Arc::new(Mutex::new(tasks));
    let mut workers = JoinSet::new();
    for _ in 0..depth {
        workers.spawn(work(target.accelerator.clone(), Arc::clone(&tasks), send_finished.clone()));
    }
    drop((tasks, send_finished));

    let mut failure = None;
    while let Some(ended) = workers.join_next().await {
        failure = match ended {
            Ok(Ok(())) => continue,
            Ok(Err((place, source))) => {
                Some(Error::Operation { path: input.files[place.file].clone(), offset: place.offset, source })
            }
            Err(error) => Some(Error::Thread(error)),
        };
        break;
    }
    // After a failure this cancels the other workers. With them the channels close; that ends reader and verifier.
    stop.store(true, Ordering::Relaxed);
    drop(workers);
    let (read, verdict) = (reader.await?, verifier.await?);
    match failure {
        Some(failure) => Err(failure),
        None => Ok(conclude(target, input, &pool, begin.elapsed(), read?, verdict).await),
    }
}

/// Waits for cancelled operations, which may still have buffers, and puts everything together.
async fn conclude(
    target: &Target,
    input: &Input,
    pool: &Pool,
    elapsed: Duration,
    read: Progress,
    verdict: Verdict,
) -> Outcome {
    let accelerator = &target.accelerator;
    let until = Instant::now() + GRACE;
    while (accelerator.in_flight() != 0 || pool.available() != pool.buffers()) && Instant::now() < until {
        // A yield would do; this leaves the device model a core.
        let _ = tokio::task::spawn_blocking(|| std::thread::sleep(Duration::from_millis(1))).await;
    }
    Outcome {
        is_model: target.is_model,
        elapsed,
        read,
        expected: input.bytes,
        verdict,
        stats: accelerator.stats(),
        stuck: accelerator.in_flight(),
        lost_buffers: pool.buffers() - pool.available(),
    }
}

/// Buffers for every piece that can be somewhere at the same time.
fn pool(args: &Args, depth: usize, waiting: usize) -> Result<Pool, Error> {
    // Reader and verifier have one each, beside those in work and in the two channels.
    let pieces = depth + 2 * waiting + 2;
    let each = 2
        + usize::from(args.ops.iter().any(|recipe| recipe.needs_second()))
        + if args.trouble.cancel.0 > 0.0 { 2 } else { 0 };
    let (buffers, size) = (pieces * each, args.size.max());
    let memory = Size(buffers as u64 * u64::from(size));
    if memory > MEMORY_LIMIT {
        return Err(Error::Memory(memory));
    }
    Pool::builder().buffers(buffers).size(size as usize).build().map_err(Error::Pool)
}

/// A bar on standard error, if that is a terminal.
fn progress_bar(bytes: u64) -> ProgressBar {
    let bar = ProgressBar::new(bytes);
    let style = ProgressStyle::with_template("{bar:40} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}
