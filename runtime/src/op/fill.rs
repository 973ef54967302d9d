//! Fills with a repeated pattern.

use super::check;
use super::future::{Operation, operation_future};
use crate::accelerator::Accelerator;
use crate::buf::StableBufMut;
use crate::dispatch::Job;

/// What memory is filled with: eight bytes, repeated from the start of the region; a last part pattern is cut off.
///
/// ```
/// use dsa::Pattern;
/// assert_eq!(Pattern::from(0xabu8), Pattern::from([0xab; 8]));
/// assert_eq!(Pattern::from([1, 2, 3, 4, 5, 6, 7, 8]).to_bytes()[2], 3);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Pattern(u64);

impl Pattern {
    /// All bytes zero.
    pub const ZERO: Self = Self(0);

    /// The eight bytes in memory order.
    pub const fn to_bytes(self) -> [u8; 8] {
        self.0.to_le_bytes()
    }

    pub(crate) const fn word(self) -> u64 {
        self.0
    }
}

impl From<u8> for Pattern {
    fn from(byte: u8) -> Self {
        Self(u64::from_le_bytes([byte; 8]))
    }
}

impl From<[u8; 8]> for Pattern {
    fn from(bytes: [u8; 8]) -> Self {
        Self(u64::from_le_bytes(bytes))
    }
}

operation_future! {
    /// A fill, made by [`Accelerator::fill`] or [`dsa::fill`](crate::fill). Gives the buffer back.
    Fill<D: StableBufMut>(D) -> D,
    |done, mut dst| {
        let len = done.len;
        // SAFETY: the operation has written the first `len` bytes of the destination.
        unsafe { dst.set_init(len) };
        dst
    }
}

impl Accelerator {
    /// Fills the first `len` bytes of `dst` with `pattern` (a byte, or eight). They need not be initialised: the
    /// buffer's length grows to `len` if it was shorter, and stays otherwise.
    ///
    /// # Errors
    ///
    /// [`Error::CapacityTooSmall`](crate::Error::CapacityTooSmall).
    pub fn fill<D: StableBufMut>(&self, dst: D, len: usize, pattern: impl Into<Pattern>) -> Fill<D> {
        let pattern = pattern.into();
        Fill(Operation::new(self, dst, |dst| {
            check::capacity(len, dst.capacity())?;
            Ok(Job::fill(dst.as_mut_ptr(), len, pattern.word()))
        }))
    }
}

/// [`Accelerator::fill`] on the process-wide accelerator.
pub fn fill<D: StableBufMut>(dst: D, len: usize, pattern: impl Into<Pattern>) -> Fill<D> {
    Accelerator::global().fill(dst, len, pattern)
}
