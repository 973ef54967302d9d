//! Many operations, with a bound on how many are under way.
//!
//! [`copy_many`] makes copies of all pairs that an iterator gives. With the feature `stream`, `InFlightExt` turns a stream
//! of operations into one of their results. Both spawn no task: the operations are ordinary ones, of the task that polls.
//!
//! How they work, in layers:
//!
//! * `ready`: a bit and a waker for each operation, 64 of them in one allocation;
//! * `crowd`: the places in which operations live while they are under way, used again and again. It polls those that
//!   were woken, and no others;
//! * `share`: how much one poll may do;
//! * `copy_many`, `stream`: where operations come from, and where results go.
//!
//! Invariants:
//!
//! * An operation is polled for the first time as soon as it is taken, and sent with those beside it at the end of that poll, so that a
//!   device has it before anybody is given a result; none is taken beyond the bound.
//! * A poll of the whole polls each operation that was woken once, whether or not that wakes itself meanwhile.
//! * What was woken and not polled stays noted, and the task has been woken for it.
//! * Dropping the whole drops the operations, and that neither blocks nor frees what a device may write
//!   (see [`Copy`](crate::Copy)).

mod copy_many;
mod crowd;
#[cfg(all(test, dsa_loom))]
mod loom_tests;
mod ready;
mod share;
#[cfg(feature = "stream")]
mod stream;

pub use copy_many::{CopyMany, copy_many};
#[cfg(feature = "stream")]
pub use stream::{InFlight, InFlightExt, InFlightOrdered};
