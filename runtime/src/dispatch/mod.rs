//! Device or CPU: who does an operation, in which pieces, and what happens when the device does not finish it.
//!
//! * [`choice`]: the comparison of device and CPU, by itself.
//! * [`asking`]: questions to it, and what it is told; [`calibrate`]: with which estimates it begins; [`nodes`]: where a
//!   thread is.
//! * [`policy`]: every limit that can be configured.
//! * [`job`]: what is left to do, independent of who does it; a file for each family of operations.
//! * [`submission`]: one descriptor with a device, and how to wait for it.
//! * [`batch`]: many jobs together, with fences.
//! * [`drain`]: the wait for everything that is out.
//! * [`collected`]: what a lane has collected, and the queue that gets it.
//! * [`quick`]: the short way of what is most frequent.
//! * [`pressure`]: what happens where there is no room.
//! * [`slices`]: how much the CPU does in one poll.
//! * [`split`]: which part of a large blocking copy the CPU does beside the device.
//! * [`flight`]: the way of one job through submission, waiting, resumption, and the CPU.

mod asking;
#[cfg(test)]
mod asking_tests;
mod batch;
mod calibrate;
pub mod choice;
mod collected;
pub(crate) mod direct;
mod drain;
mod flight;
mod job;
mod nodes;
mod policy;
mod pressure;
mod quick;
mod record;
mod slices;
mod split;
mod submission;

pub(crate) use asking::Asking;
pub(crate) use batch::{BatchFlight, Member, Stranded};
pub use calibrate::Calibrate;
pub(crate) use collected::lane;
pub(crate) use drain::DrainFlight;
pub(crate) use flight::{Flight, Load, Trouble, names};
pub(crate) use job::{Arithmetic, Checked, Flushed, Guarded, Job, Outcome, Places, Plain, Work};
pub use job::{DeltaResult, DifMismatch};
pub(crate) use policy::{Limits, Route};
pub use policy::{Policy, Waiting};
pub use pressure::Pressure;
pub(crate) use quick::Templates;
pub(crate) use slices::Rates;
pub(crate) use split::Shares;
pub use split::Split;
