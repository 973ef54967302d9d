//! What callers ask for: named futures, and blocking calls.
//!
//! Each asynchronous operation takes its buffers by value and gives them back with the result; see
//! [`buf`](crate::buf) for what qualifies. The blocking calls in [`blocking`] borrow slices, because they do not return
//! before the device is done.

mod batch;
pub mod blocking;
mod check;
mod compare;
mod copy;
mod crc;
mod custody;
mod fill;
mod future;
#[cfg(all(test, not(dsa_loom)))]
mod runaway_tests;
mod scope;

pub use batch::{Batch, BatchBuffers, BatchItem, BatchValue, Batched, batch};
pub use compare::{Compare, compare};
pub use copy::{Copy, CopyToVec, CopyWithin, Dualcast, copy, copy_to_vec, copy_within, dualcast};
pub use crc::{CopyCrc32c, Crc32c, copy_crc32c, crc32c};
pub use fill::{Fill, Pattern, fill};
