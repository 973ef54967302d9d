//! Drain: the wait for every descriptor that was submitted earlier.

#![forbid(unsafe_code)]

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::blocking::Blocking;
use crate::accelerator::Accelerator;
use crate::dispatch::DrainFlight;
use crate::error::Error;

/// A wait for all that is out, made by [`Accelerator::drain`].
///
/// It begins with the first poll. Dropping it at any time is safe and never blocks.
#[must_use = "futures do nothing unless awaited"]
pub struct Drain(DrainFlight);

impl Drain {
    /// Waits for `accelerator` instead of the one it was made for.
    ///
    /// # Panics
    ///
    /// If the future has been polled.
    pub fn on(mut self, accelerator: &Accelerator) -> Self {
        assert!(self.0.is_fresh(), "options must be set before the first poll");
        self.0.reroute(accelerator);
        self
    }
}

impl Accelerator {
    /// Waits until no device works any more on the descriptors that this accelerator has submitted before the first poll.
    /// Later ones are not waited for, and nothing is kept from being submitted.
    ///
    /// Descriptors are waited for, not whole operations. One whose future was dropped or forgotten, or is polled by nobody
    /// meanwhile, sends no more of them: its memory is at rest when the wait is over. One that is still polled goes on: the
    /// next piece of what exceeds the largest transfer, the rest after a page fault and the next members of a batch go
    /// behind the wait, and what is left to the CPU happens in the polls. Await its future to know that it has ended.
    ///
    /// Every queue that takes DRAIN is sent one; where there is none, or no room for one, the accelerator watches over what
    /// is out.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let accelerator = dsa::Accelerator::global();
    /// // Polled once at most, and dropped: perhaps a device has it.
    /// tokio::select! {
    ///     biased;
    ///     _ = accelerator.copy(vec![1u8; 1 << 20], vec![0u8; 1 << 20]) => {}
    ///     () = std::future::ready(()) => {}
    /// }
    /// accelerator.drain().await?;
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Unresponsive`] if a queue neither completes nor can be made to stop.
    pub fn drain(&self) -> Drain {
        Drain(DrainFlight::new(self.clone()))
    }
}

impl Blocking<'_> {
    /// Waits until no device works any more on the descriptors that the accelerator has submitted before, see
    /// [`Accelerator::drain`].
    pub fn drain(self) {
        DrainFlight::new(self.accelerator().clone()).wait();
    }
}

impl Future for Drain {
    type Output = Result<(), Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll(cx).map_err(|_| Error::Unresponsive)
    }
}

impl Drop for Drain {
    fn drop(&mut self) {
        self.0.detach();
    }
}

impl fmt::Debug for Drain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Drain").finish_non_exhaustive()
    }
}

/// [`Accelerator::drain`] on the process-wide accelerator.
pub fn drain() -> Drain {
    Accelerator::global().drain()
}
