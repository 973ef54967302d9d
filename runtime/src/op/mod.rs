//! What callers ask for: named futures, and blocking calls.
//!
//! Each asynchronous operation takes its buffers by value and gives them back with the result; see
//! [`buf`](crate::buf) for what qualifies. The blocking calls in [`blocking`] borrow slices, because they do not return
//! before the device is done; how they are made is in [`borrowed`].
//!
//! There is a file for each family of operations, with its futures, its methods of [`Accelerator`](crate::Accelerator) and
//! [`Batch`], and the check that turns operands into a job, or into an error.

mod arithmetic;
mod batch;
mod block_list;
pub mod blocking;
mod borrowed;
pub mod bulk;
mod cache;
mod check;
mod compare;
mod copy;
mod crc;
mod crc64;
mod custody;
mod delta;
mod drain;
#[cfg(all(test, not(any(dsa_loom, dsa_shuttle))))]
mod ending_tests;
mod fill;
mod future;
mod integrity;
mod lists;
#[cfg(all(test, not(any(dsa_loom, dsa_shuttle))))]
mod lying_tests;
mod operand;
#[cfg(all(test, not(any(dsa_loom, dsa_shuttle))))]
mod runaway_tests;
mod scope;
mod split;
mod typed;

pub use arithmetic::{Conversion, Reduction};
pub use batch::{Batch, BatchBuffers, BatchItem, BatchValue, Batched, batch};
pub use block_list::BlockList;
pub use bulk::{CopyMany, copy_many};
pub use cache::{CacheFlush, TranslationFetch, cache_flush, translation_fetch};
pub use compare::{Compare, ComparePattern, compare, compare_pattern};
pub use copy::{Copy, CopyToVec, CopyWithin, Dualcast, copy, copy_to_vec, copy_within, dualcast};
pub use crc::{CopyCrc32c, Crc32c, copy_crc32c, crc32c};
pub use crc64::{CopyCrc64, Crc64, copy_crc64, crc64};
pub use delta::{ApplyDelta, CreateDelta, apply_delta, create_delta};
pub use drain::{Drain, drain};
pub use fill::{Fill, FillWide, Pattern, WidePattern, fill, fill_wide};
pub use integrity::{
    DifCheck, DifFormat, DifInsert, DifStrip, DifUpdate, DixGenerate, dif_check, dif_insert, dif_strip, dif_update,
    dix_generate,
};
pub use lists::{GatherCopy, ScatterCopy, ScatterFill, gather_copy, scatter_copy, scatter_fill};
pub use typed::{
    GatherReduce, Reduce, ReduceDualcast, ReduceInPlace, TypeConvert, gather_reduce, reduce, reduce_dualcast,
    reduce_in_place, type_convert,
};
