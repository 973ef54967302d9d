//! How long a device would take: a **modelled** time, never a measured one.
//!
//! [`Simulator`] is a device in virtual time. It moves no bytes: it takes submissions at times of the caller's choice,
//! says which of them a queue accepts, and when each completes. A second of a dispatch policy's life, a few million
//! operations, takes a second or less of real time, and comes out the same on every machine.
//!
//! [`Timing`] holds the parameters. [`Timing::sapphire_rapids`] is fitted to measurements that others published;
//! [`published::POINTS`] lists them, `emulator/tests/timing_fit.rs` holds the model within 15 % of each, and the
//! example `modelled_timing` prints the table. Everything else - other devices, operations that nobody measured - is
//! derived, and says so. Whatever comes out of here must be shown as *modelled*.
//!
//! ```
//! use dsa_emulator::timing::{ClosedLoop, Operation, Simulator, Timing};
//! use dsa_emulator::{Config, WqConfig};
//! use idxd_sys::opcode;
//!
//! // One thread keeps 32 copies of 4 KiB in flight on a shared queue with four engines.
//! let config = Config::sapphire_rapids().queue(WqConfig::shared(64)).engines(4);
//! let mut device = Simulator::new(config, Timing::sapphire_rapids())?;
//! let copy = Operation::new(opcode::MEMMOVE, 4096);
//! let report = ClosedLoop::new(copy).depth(32).operations(20_000).run(&mut device);
//! println!("modelled: {:.1} GB/s, p99 {} ns", report.bytes_per_ns(), report.latencies.quantile(0.99));
//! // ENQCMD waits for its answer, which keeps one thread from filling the device with single descriptors.
//! assert!(report.bytes_per_ns() < 25.0);
//! # Ok::<(), dsa_emulator::timing::TimingError>(())
//! ```
//!
//! # What is modelled
//!
//! | part | model |
//! |---|---|
//! | ENQCMD | a round trip of twice the way to the portal; the submitter waits for the answer |
//! | MOVDIR64B | one way, the submitter goes on; a full dedicated queue loses the descriptor |
//! | `write(2)` | a system call, then one ENQCMD or MOVDIR64B for each descriptor |
//! | queue | occupancy, threshold of the limited portal, engines take turns by priority, as the emulator does |
//! | engine | starts a descriptor every `dispatch_ns` at most; the latencies of those started overlap |
//! | batch | the list is read first, the next batch's meanwhile; members follow one another; a fence waits |
//! | memory | a read and a write path that all engines share, in turns of 4 KiB; latencies with a spread |
//! | alignment | a destination that begins inside a cache line is finished by read-modify-write |
//! | page faults | block on fault: the system serves page requests one by one; otherwise a partial completion |
//!
//! What it leaves out: contents, overlap, caches (source and destination are in memory), NUMA, other traffic,
//! frequency. Descriptors are taken to be valid.

// Times are added up as whole picoseconds; rates and random draws are floating point on the way there.
#![allow(clippy::cast_precision_loss, clippy::cast_sign_loss)]

mod closed_loop;
mod engine;
mod experiment;
mod latencies;
mod open_loop;
mod operation;
mod parameters;
pub mod published;
mod report;
mod simulator;

pub use closed_loop::ClosedLoop;
pub use experiment::{Experiment, Outcome};
pub use latencies::Latencies;
pub use open_loop::{OpenLoop, Policy, Request, Route};
pub use operation::{Absent, Operation, Work};
pub use parameters::{ClientTiming, DeviceTiming, Provenance, SystemTiming, Timing, TimingError};
pub use report::Report;
pub use simulator::{Answer, Completion, Simulator, Submitted, Tally, Written};
