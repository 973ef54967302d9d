//! Device or CPU: who does an operation, in which pieces, and what happens when the device does not finish it.
//!
//! * [`policy`]: every limit that can be configured.
//! * [`job`]: what is left to do, independent of who does it.
//! * [`submission`]: one descriptor with a device, and how to wait for it.
//! * [`batch`]: many jobs together, with fences.
//! * [`flight`]: the way of one job through submission, waiting, resumption, and the CPU.

mod batch;
mod flight;
mod job;
mod policy;
mod record;
mod submission;

pub(crate) use batch::{BatchFlight, Member, Runaway};
pub(crate) use flight::{Flight, Trouble};
pub(crate) use job::{Job, Outcome};
pub(crate) use policy::{Limits, Route};
pub use policy::{Policy, Waiting};
