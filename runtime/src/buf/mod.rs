//! Who owns which memory while a device may read or write it.
//!
//! The accelerator works on plain addresses, long after the call that named them has returned, and nothing can stop
//! it in the middle of a descriptor. So asynchronous calls take buffers *by value* and give them back with the
//! result. Two small `unsafe` traits say which values qualify:
//!
//! * [`StableBuf`]: bytes at an address that does not change when the value is moved. Enough for a source.
//! * [`StableBufMut`]: the same, exclusively owned and writable, possibly with an uninitialised tail.
//!
//! They are implemented for the owned byte containers of the standard library and of the `bytes` crate, for
//! [`PoolBuf`] (memory that is mapped and touched ahead, the fast path for a device) and for [`Slice`], an owned view
//! of a part of any of them. Arrays and borrowed slices do not qualify: the first move with the value, the second can
//! be invalidated by a leaked future.

mod impls;
mod mapping;
mod pool;
mod pool_buf;

mod slice;
mod stable;

pub use mapping::PageSize;
pub use pool::{Pool, PoolBuilder};
pub use pool_buf::PoolBuf;
pub use slice::{OutOfRange, Slice};
pub use stable::{StableBuf, StableBufMut};
