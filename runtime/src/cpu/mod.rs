//! The CPU engine: every operation of the runtime, with the device's answers.
//!
//! Used below the size at which an offload pays, without a device, and to finish what a device could not. So each
//! function gives the bytes, the CRC and the comparison result that the device's operation gives.
//!
//! The functions work on raw pointers, because the buffers of an operation in flight are known by address only. Each
//! says what it asks of its pointers; none of them cares about alignment, and where a length is 0 the pointers are not
//! looked at. Options go by the codes and flag bits of the descriptor, which have names in [`idxd_sys`].
//!
//! Two operations of the device have no function here. A drain has nothing to wait for, since each function is done when
//! it returns. Operations between address spaces have no counterpart, as a process reaches one only.

mod caches;
mod calibrate;
pub(crate) mod compare;
pub(crate) mod copy;
pub(crate) mod crc;
mod delta;
pub(crate) mod dif;
pub(crate) mod dualcast;
mod fetch;
pub(crate) mod fill;
mod flush;
mod gather;
#[cfg(test)]
mod guard;
mod hint;
#[cfg(any(test, feature = "internals"))]
pub(crate) mod kernel;
mod model;
mod numeric;
pub(crate) mod parallel;
mod reduce;
#[cfg(test)]
mod sweep;
mod tier;
pub(crate) mod tuning;
#[cfg(target_arch = "x86_64")]
mod vector;

pub use compare::{compare, compare_pattern};
pub use copy::{CopyKernel, CopyTable, copy, copy_with};
pub use crc::{
    CrcParams, CrcWidth, copy_crc, copy_crc_with, copy_crc32c, copy_crc32c_with, crc, crc_at, crc_with, crc32c,
    crc32c_at, crc32c_with,
};
pub use delta::{Delta, DeltaError, apply_delta, create_delta};
pub(crate) use delta::{DeltaSoFar, check_delta, create_delta_in};
pub use dif::{
    DifDestination, DifError, DifSource, DifTags, dif_check, dif_insert, dif_insert_with, dif_strip, dif_update,
    dix_generate,
};
pub use dualcast::{dualcast, dualcast_with};
pub use fetch::fetch;
pub use fill::{fill, fill_wide, fill_wide_with, fill_with, rotate_pattern, rotate_wide_pattern};
pub use flush::{flush, write_back};
pub use gather::{ScatterList, gather_copy, scatter_copy, scatter_fill};
pub use hint::Hint;
pub use reduce::{Conversion, Reduction, convert, gather_reduce, reduce, reduce_dualcast};
pub use tier::Tier;
pub use tuning::Tuning;

/// Bytes per step of the operations that pass over their data twice: small enough for the first-level cache, large
/// enough that the cost per step vanishes.
const STEP: usize = 16 * 1024;
