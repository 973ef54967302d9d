//! CRC-32C (Castagnoli), alone or together with a copy.

use super::check;
use super::future::{Operation, operation_future};
use crate::accelerator::Accelerator;
use crate::buf::{StableBuf, StableBufMut};
use crate::dispatch::Plain;

operation_future! {
    /// A checksum, made by [`Accelerator::crc32c`] or [`dsa::crc32c`](crate::crc32c). Gives the CRC and the buffer.
    Crc32c<S: StableBuf>(S) -> (u32, S),
    |done, src| (done.outcome.crc32c(), src)
}

operation_future! {
    /// A copy with checksum, made by [`Accelerator::copy_crc32c`]. Gives the CRC and both buffers.
    CopyCrc32c<S: StableBuf, D: StableBufMut>((S, D)) -> (u32, (S, D)),
    |done, (src, mut dst)| {
        let len = done.written;
        // SAFETY: the operation has written the first `len` bytes of the destination.
        unsafe { dst.set_init(len) };
        (done.outcome.crc32c(), (src, dst))
    }
}

impl<S: StableBuf> Crc32c<S> {
    /// Continues from the CRC of what came before. The default, 0, starts a new one.
    ///
    /// # Panics
    ///
    /// If the future has been polled.
    pub fn seed(mut self, crc: u32) -> Self {
        self.0.job_mut().set_seed(crc.into());
        self
    }
}

impl<S: StableBuf, D: StableBufMut> CopyCrc32c<S, D> {
    /// Continues from the CRC of what came before. The default, 0, starts a new one.
    ///
    /// # Panics
    ///
    /// If the future has been polled.
    pub fn seed(mut self, crc: u32) -> Self {
        self.0.job_mut().set_seed(crc.into());
        self
    }
}

impl Accelerator {
    /// CRC-32C of all bytes of `src`: the checksum of iSCSI, ext4 and SCTP, `0xE3069283` for `b"123456789"`. The CRC of
    /// no bytes is the seed.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let (crc, _) = dsa::crc32c(&b"123456789"[..]).await?;
    /// assert_eq!(crc, 0xE306_9283);
    /// let (first, _) = dsa::crc32c(&b"1234"[..]).await?;
    /// let (chained, _) = dsa::crc32c(&b"56789"[..]).seed(first).await?;
    /// assert_eq!(chained, crc);
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap();
    /// ```
    pub fn crc32c<S: StableBuf>(&self, src: S) -> Crc32c<S> {
        Crc32c(Operation::new(self, src, |src| Ok(Plain::crc32c(StableBuf::as_ptr(src), StableBuf::len(src), 0))))
    }

    /// Copies as [`Accelerator::copy`] does and computes the CRC-32C of what was copied in the same pass.
    ///
    /// # Errors
    ///
    /// As for [`Accelerator::copy`].
    pub fn copy_crc32c<S: StableBuf, D: StableBufMut>(&self, src: S, dst: D) -> CopyCrc32c<S, D> {
        CopyCrc32c(Operation::new(self, (src, dst), |(src, dst)| {
            check::copy(src, dst).map(|(from, to, len)| Plain::copy_crc32c(from, to, len, 0))
        }))
    }
}

/// [`Accelerator::crc32c`] on the process-wide accelerator.
pub fn crc32c<S: StableBuf>(src: S) -> Crc32c<S> {
    Accelerator::global().crc32c(src)
}

/// [`Accelerator::copy_crc32c`] on the process-wide accelerator.
pub fn copy_crc32c<S: StableBuf, D: StableBufMut>(src: S, dst: D) -> CopyCrc32c<S, D> {
    Accelerator::global().copy_crc32c(src, dst)
}
