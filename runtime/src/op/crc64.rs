//! CRC-64, alone or together with a copy.

use super::batch::{Batch, BatchBuffers, Task};
use super::check;
use super::future::{Operation, operation_future};
use super::operand::{In, Out};
use crate::accelerator::Accelerator;
use crate::buf::{StableBuf, StableBufMut};
use crate::dispatch::Plain;
use crate::error::Error;

operation_future! {
    /// A checksum, made by [`Accelerator::crc64`] or [`dsa::crc64`](crate::crc64). Gives the CRC and the buffer.
    Crc64<S: StableBuf>(S) -> (u64, S),
    |done, src| (done.outcome.crc(), src)
}

operation_future! {
    /// A copy with checksum, made by [`Accelerator::copy_crc64`]. Gives the CRC and both buffers.
    CopyCrc64<S: StableBuf, D: StableBufMut>((S, D)) -> (u64, (S, D)),
    |done, (src, mut dst)| {
        let len = done.written;
        // SAFETY: the operation has written the first `len` bytes of the destination.
        unsafe { dst.set_init(len) };
        (done.outcome.crc(), (src, dst))
    }
}

impl<S: StableBuf> Crc64<S> {
    /// Continues from the CRC of what came before. The default, 0, starts a new one.
    ///
    /// # Panics
    ///
    /// If the future has been polled.
    pub fn seed(mut self, crc: u64) -> Self {
        self.0.job_mut().set_seed(crc);
        self
    }
}

impl<S: StableBuf, D: StableBufMut> CopyCrc64<S, D> {
    /// Continues from the CRC of what came before. The default, 0, starts a new one.
    ///
    /// # Panics
    ///
    /// If the future has been polled.
    pub fn seed(mut self, crc: u64) -> Self {
        self.0.job_mut().set_seed(crc);
        self
    }
}

impl Accelerator {
    /// CRC-64/NVME of all bytes of `src`: the 64-bit guard of NVM Express, `0xAE8B14860A799888` for `b"123456789"`. The
    /// CRC of no bytes is the seed. A device does it from the second generation on (GENCAP bit 11).
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let (crc, _) = dsa::crc64(&b"123456789"[..]).await?;
    /// assert_eq!(crc, 0xAE8B_1486_0A79_9888);
    /// let (first, _) = dsa::crc64(&b"1234"[..]).await?;
    /// let (chained, _) = dsa::crc64(&b"56789"[..]).seed(first).await?;
    /// assert_eq!(chained, crc);
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap();
    /// ```
    pub fn crc64<S: StableBuf>(&self, src: S) -> Crc64<S> {
        Crc64(Operation::new(self, src, |src| Ok(Plain::crc64(StableBuf::as_ptr(src), StableBuf::len(src), 0))))
    }

    /// Copies as [`Accelerator::copy`] does and computes the CRC-64/NVME of what was copied in the same pass.
    ///
    /// # Errors
    ///
    /// As for [`Accelerator::copy`].
    pub fn copy_crc64<S: StableBuf, D: StableBufMut>(&self, src: S, dst: D) -> CopyCrc64<S, D> {
        CopyCrc64(Operation::new(self, (src, dst), |(src, dst)| plan_copy(0, In::of(src), Out::of(dst))))
    }
}

impl<S: StableBuf, D: StableBufMut> Batch<S, D> {
    /// Adds a CRC-64, as [`Accelerator::crc64`].
    pub fn crc64(&mut self, src: S) -> &mut Self {
        self.push(BatchBuffers::Crc(src), Task::Crc64)
    }

    /// Adds a copy with CRC-64, as [`Accelerator::copy_crc64`].
    pub fn copy_crc64(&mut self, src: S, dst: D) -> &mut Self {
        self.push(BatchBuffers::CopyCrc(src, dst), Task::CopyCrc64)
    }
}

/// [`Accelerator::crc64`] on the process-wide accelerator.
pub fn crc64<S: StableBuf>(src: S) -> Crc64<S> {
    Accelerator::global().crc64(src)
}

/// [`Accelerator::copy_crc64`] on the process-wide accelerator.
pub fn copy_crc64<S: StableBuf, D: StableBufMut>(src: S, dst: D) -> CopyCrc64<S, D> {
    Accelerator::global().copy_crc64(src, dst)
}

/// Checks a copy with CRC-64.
pub(super) fn plan_copy(seed: u64, src: In, dst: Out) -> Result<Plain, Error> {
    let to = dst.take(src.len)?;
    check::apart(src.region(), dst.region(src.len))?;
    Ok(Plain::copy_crc64(src.ptr, to, src.len, seed))
}
