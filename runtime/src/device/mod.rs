//! Work queues: those that the machine has, and those that the runtime has open.
//!
//! [`Topology::read`] takes a snapshot of what the `idxd` driver shows in sysfs: devices, groups, engines and work
//! queues with everything that is configured on them. [`Topology::select`] picks the queues that meet [`Criteria`],
//! best first, and says of each other queue why it was not picked. [`health`] and [`open_files`] look at a queue in
//! use.
//!
//! ```
//! use dsa::device::{Criteria, Topology};
//!
//! let topology = Topology::read();
//! match &topology.absence {
//!     Some(absence) => println!("no device: {absence}"),
//!     None => print!("{}", topology.select(&Criteria::new())),
//! }
//! for problem in &topology.problems {
//!     println!("{problem}");
//! }
//! ```
//!
//! Reading changes nothing, needs no privilege and never fails as a whole: what an older kernel does not have is
//! `None`, what makes no sense is a [`Problem`].

mod attribute;
mod capability;
mod criteria;
mod error;
mod file;
mod hardware;
mod health;
mod id;
mod inherit;
mod opcodes;
pub mod parse;
mod queue;
mod rejection;
mod spec;
mod topology;
mod words;
mod work_queue;

pub use attribute::{Problem, ProblemKind};
pub use capability::{Support, Via};
pub use criteria::{Choice, Criteria, Rejected, Selection};
pub use error::{QueueError, QueueErrorKind};
pub(crate) use file::{Condition, QueueFile, Target};
pub use hardware::{CommandStatus, Device, Engine, Group};
pub use health::{Health, HealthProbe, OpenFile, health, open_files};
pub use id::{DeviceId, DeviceKind, EngineId, GroupId, ParseIdError, WorkQueueId};
pub(crate) use inherit::close_inherited;
pub use opcodes::OpcodeSet;
pub(crate) use queue::{Admission, Queue, RETIREMENT};
pub use rejection::Rejection;
pub(crate) use spec::QueueSpec;
pub use topology::{Absence, Roots, Topology};
pub use words::{DeviceState, QueueMode, QueueState, QueueType, UnknownWord};
pub use work_queue::{NodeAccess, Ownership, WorkQueue};
