//! The end of an accelerator, awaited.

#![forbid(unsafe_code)]

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use super::Accelerator;
use crate::dispatch::DrainFlight;
use crate::lane::poller::{Memory, Running};
use crate::process;

/// How a [`Accelerator::shutdown`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Ending {
    /// This was the last handle. Everything has ended, and the work queues are closed.
    Closed,
    /// What was out has ended, but others still have the accelerator: handles, or futures that are not finished. It goes on
    /// as before.
    Kept,
    /// A device could be neither waited for nor made to stop, or nobody knows whether it has: what it may still write was
    /// leaked, for ever. A work queue that a driver does not give back is not closed either.
    Leaked,
}

/// The end of an accelerator, made by [`Accelerator::shutdown`].
///
/// It begins with the first poll. Dropping it at any time is like dropping the handle.
#[must_use = "futures do nothing unless awaited"]
pub struct Shutdown(Stage);

enum Stage {
    Fresh(Accelerator),
    /// There are other handles; waits for what has been submitted by now.
    Draining(Accelerator, Box<DrainFlight>),
    /// There is no handle any more. Waits for the poller, which finishes and closes the queues.
    Closing(Closing),
    Ended,
}

/// What can be asked when the accelerator has gone.
struct Closing {
    poller: Arc<Running>,
    leaked: Arc<AtomicU64>,
    /// Whose poller that is, see [`process::generation`].
    process: u64,
}

impl Closing {
    fn of(accelerator: &Accelerator) -> Self {
        let shared = accelerator.shared();
        Self { poller: Arc::clone(&shared.poller), leaked: Arc::clone(&shared.leaked), process: shared.process() }
    }

    fn poll(&self, cx: &Context<'_>) -> Poll<Ending> {
        let memory = if process::generation() == self.process {
            ready!(self.poller.poll_ended(cx))
        } else {
            // A child has no poller, its queues were closed by the fork, and nothing is out that could reach its memory.
            Memory::Freed
        };
        let is_freed = memory == Memory::Freed && self.leaked.load(Ordering::Relaxed) == 0;
        Poll::Ready(if is_freed { Ending::Closed } else { Ending::Leaked })
    }
}

impl Accelerator {
    /// Gives this handle back, and waits until no device works any more on anything that the accelerator has submitted, for
    /// dropped futures included. Never blocks the thread.
    ///
    /// * **If it is the last**, because futures that are not finished hold handles too, there are only operations of dropped
    ///   futures left. Their buffers are freed as they complete, or the queues are quiesced after a tenth of a second. It
    ///   ends with [`Ending::Closed`] when the work queues are closed, so that they can be opened again at once. Where a
    ///   driver keeps a thread that has to do with one of them, it ends with [`Ending::Leaked`] after ten seconds.
    /// * **If there are others**, they keep working, and what they submit meanwhile is not waited for. What was out at the
    ///   first poll is, as by [`drain`](Accelerator::drain). That ends with the operations, or, if a device has died, with its
    ///   recovery ([`Policy::dead_after`](crate::Policy::dead_after), [`Policy::lost_after`](crate::Policy::lost_after)).
    ///   It ends with [`Ending::Kept`], unless the others have gone by then.
    ///
    /// The process-wide accelerator ([`Accelerator::global`]) is never closed: it has a handle of its own.
    ///
    /// In the child of a fork there is nothing to wait for, in a shutdown that the parent has begun neither: the child has no
    /// part of the queues, and no device reaches its memory. So it ends at the next poll.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let accelerator = dsa::Accelerator::open();
    /// let (source, target) = accelerator.copy(vec![7u8; 10_000], vec![0u8; 10_000]).await?;
    /// assert_eq!(source, target);
    /// assert_eq!(accelerator.shutdown().await, dsa::Ending::Closed);
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap();
    /// ```
    pub fn shutdown(self) -> Shutdown {
        Shutdown(Stage::Fresh(self))
    }
}

impl Future for Shutdown {
    type Output = Ending;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Ending> {
        loop {
            let stage = &mut self.0;
            match stage {
                Stage::Fresh(_) => {
                    let Stage::Fresh(accelerator) = std::mem::replace(stage, Stage::Ended) else { continue };
                    let closing = Closing::of(&accelerator);
                    *stage = match Arc::try_unwrap(accelerator.0) {
                        Ok(last) => {
                            // This stops the poller.
                            drop(last);
                            Stage::Closing(closing)
                        }
                        Err(inner) => {
                            let accelerator = Accelerator(inner);
                            let flight = DrainFlight::new(accelerator.clone());
                            Stage::Draining(accelerator, Box::new(flight))
                        }
                    };
                }
                Stage::Draining(_, flight) => {
                    let drained = ready!(flight.poll(cx));
                    let Stage::Draining(accelerator, flight) = std::mem::replace(stage, Stage::Ended) else { continue };
                    // It holds a handle.
                    drop(flight);
                    let closing = Closing::of(&accelerator);
                    // Of several that come here together one is the last.
                    let Some(last) = Arc::into_inner(accelerator.0) else {
                        return Poll::Ready(if drained.is_ok() { Ending::Kept } else { Ending::Leaked });
                    };
                    drop(last);
                    *stage = Stage::Closing(closing);
                }
                Stage::Closing(closing) => {
                    let ending = ready!(closing.poll(cx));
                    *stage = Stage::Ended;
                    return Poll::Ready(ending);
                }
                Stage::Ended => panic!("a shutdown was polled after it had completed"),
            }
        }
    }
}

impl Drop for Shutdown {
    fn drop(&mut self) {
        if let Stage::Draining(_, flight) = &mut self.0 {
            flight.detach();
        }
    }
}

impl fmt::Debug for Shutdown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shutdown").finish_non_exhaustive()
    }
}
