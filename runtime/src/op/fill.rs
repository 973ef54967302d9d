//! Fills with a repeated pattern.

use super::batch::{Batch, BatchBuffers, Task};
use super::future::{Operation, operation_future};
use super::operand::Out;
use crate::accelerator::Accelerator;
use crate::buf::{StableBuf, StableBufMut};
use crate::dispatch::Plain;
use crate::error::Error;

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

/// What memory is filled with: sixteen bytes, repeated from the start of the region; a last part pattern is cut off.
///
/// ```
/// use dsa::{Pattern, WidePattern};
///
/// let bytes = *b"sixteen bytes...";
/// assert_eq!(WidePattern::from(bytes).to_bytes(), bytes);
/// assert_eq!(WidePattern::from(Pattern::from(3u8)), WidePattern::from([3; 16]));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct WidePattern([u64; 2]);

impl WidePattern {
    /// The sixteen bytes in memory order.
    pub const fn to_bytes(self) -> [u8; 16] {
        (self.0[0] as u128 | (self.0[1] as u128) << 64).to_le_bytes()
    }

    pub(crate) const fn words(self) -> [u64; 2] {
        self.0
    }
}

impl From<[u8; 16]> for WidePattern {
    fn from(bytes: [u8; 16]) -> Self {
        let wide = u128::from_le_bytes(bytes);
        Self([wide as u64, (wide >> 64) as u64])
    }
}

impl From<Pattern> for WidePattern {
    fn from(pattern: Pattern) -> Self {
        Self([pattern.word(); 2])
    }
}

operation_future! {
    /// A fill, made by [`Accelerator::fill`] or [`dsa::fill`](crate::fill). Gives the buffer back.
    Fill<D: StableBufMut>(D) -> D,
    |done, mut dst| {
        let len = done.written;
        // SAFETY: the operation has written the first `len` bytes of the destination.
        unsafe { dst.set_init(len) };
        dst
    }
}

operation_future! {
    /// A fill with sixteen bytes, made by [`Accelerator::fill_wide`]. Gives the buffer back.
    FillWide<D: StableBufMut>(D) -> D,
    |done, mut dst| {
        let len = done.written;
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
        Fill(Operation::new(self, dst, |dst| plan(Out::of(dst), len, pattern)))
    }

    /// Fills the first `len` bytes of `dst` with a pattern of sixteen bytes, as [`fill`](Self::fill) does with eight.
    ///
    /// A device does this from the second generation on (GENCAP bit 10), and always if both halves of the pattern are the
    /// same.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let filled = dsa::fill_wide(Vec::with_capacity(40), 40, *b"sixteen bytes...").await?;
    /// assert_eq!(&filled[16..], b"sixteen bytes...sixteen ");
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::CapacityTooSmall`].
    pub fn fill_wide<D: StableBufMut>(&self, dst: D, len: usize, pattern: impl Into<WidePattern>) -> FillWide<D> {
        let pattern = pattern.into();
        FillWide(Operation::new(self, dst, |dst| plan_wide(Out::of(dst), len, pattern)))
    }
}

impl<S: StableBuf, D: StableBufMut> Batch<S, D> {
    /// Adds a fill of the first `len` bytes of `dst`, as [`Accelerator::fill`].
    pub fn fill(&mut self, dst: D, len: usize, pattern: impl Into<Pattern>) -> &mut Self {
        self.push(BatchBuffers::Fill(dst), Task::Fill(len, pattern.into().into()))
    }

    /// Adds a fill of the first `len` bytes of `dst` with sixteen bytes, as [`Accelerator::fill_wide`].
    pub fn fill_wide(&mut self, dst: D, len: usize, pattern: impl Into<WidePattern>) -> &mut Self {
        self.push(BatchBuffers::Fill(dst), Task::Fill(len, pattern.into()))
    }
}

fn plan(dst: Out, len: usize, pattern: Pattern) -> Result<Plain, Error> {
    Ok(Plain::fill(dst.take(len)?, len, pattern.word()))
}

/// Checks a fill with sixteen bytes.
pub(super) fn plan_wide(dst: Out, len: usize, pattern: WidePattern) -> Result<Plain, Error> {
    Ok(Plain::fill_wide(dst.take(len)?, len, pattern.words()))
}

/// [`Accelerator::fill`] on the process-wide accelerator.
pub fn fill<D: StableBufMut>(dst: D, len: usize, pattern: impl Into<Pattern>) -> Fill<D> {
    Accelerator::global().fill(dst, len, pattern)
}

/// [`Accelerator::fill_wide`] on the process-wide accelerator.
pub fn fill_wide<D: StableBufMut>(dst: D, len: usize, pattern: impl Into<WidePattern>) -> FillWide<D> {
    Accelerator::global().fill_wide(dst, len, pattern)
}
