//! Many operations as one.

mod member;

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

pub(super) use member::Task;
use member::finish;
pub use member::{BatchBuffers, BatchValue};

use super::custody::Custody;
use crate::accelerator::Accelerator;
use crate::buf::{StableBuf, StableBufMut};
use crate::dispatch::{BatchFlight, Job, Load, Member, Pressure, Route, Stranded};
use crate::error::Error;

/// Collects operations that travel together: as BATCH descriptors where the work queue takes them, so that many cost
/// one submission and one completion.
///
/// Members run in no particular order, at the same time, except that everything after a [`fence`](Batch::fence) starts
/// after everything before it has ended. Sources are of type `S` and destinations of type `D`; where they differ from
/// member to member, `Box<dyn StableBuf>` and `Box<dyn StableBufMut>` serve. Unlike most single operations, a batch
/// allocates: a few times in all, and once more for each scatter list that is not in ascending order.
///
/// Not every operation has a form here. A member is one descriptor at most, and what it works on is fixed when the batch is
/// submitted: so there is no `copy_within`, which may take several, no CRC that goes on from another one, and no `drain`,
/// which a device takes in no BATCH. A cache flush is of the whole buffer (a [`slice`](StableBuf::slice) of one will do), and
/// not durable.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// use dsa::BatchValue;
/// let mut batch = dsa::batch();
/// batch.copy(vec![1u8; 5000], Vec::with_capacity(5000));
/// batch.crc32c(b"123456789".to_vec());
/// let items = batch.submit().await;
/// assert_eq!(items[0].result, Ok(BatchValue::Done));
/// assert_eq!(items[1].result, Ok(BatchValue::Crc(0xE306_9283)));
/// # });
/// ```
#[must_use = "a batch does nothing until it is submitted and awaited"]
pub struct Batch<S, D> {
    accelerator: Accelerator,
    buffers: Vec<BatchBuffers<S, D>>,
    plans: Vec<Plan>,
    fence: bool,
    route: Route,
    pressure: Option<Pressure>,
}

/// What a member is about, beside its buffers.
#[derive(Clone, Copy, Debug)]
struct Plan {
    fence: bool,
    task: Task,
}

/// How one member of a batch ended.
#[derive(Debug)]
#[non_exhaustive]
pub struct BatchItem<S, D> {
    /// Its value, or what was wrong with it. A member that is refused does not keep the others from being done.
    pub result: Result<BatchValue, Error>,
    /// Its buffers; `None` only after [`Error::Unresponsive`].
    pub buffers: Option<BatchBuffers<S, D>>,
}

impl Accelerator {
    /// Starts a batch; see [`Batch`].
    pub fn batch<S: StableBuf, D: StableBufMut>(&self) -> Batch<S, D> {
        Batch {
            accelerator: self.clone(),
            buffers: Vec::new(),
            plans: Vec::new(),
            fence: false,
            route: Route::Auto,
            pressure: None,
        }
    }
}

impl<S: StableBuf, D: StableBufMut> Batch<S, D> {
    /// Adds a copy, as [`Accelerator::copy`].
    pub fn copy(&mut self, src: S, dst: D) -> &mut Self {
        self.push(BatchBuffers::Copy(src, dst), Task::Copy)
    }

    /// Adds a CRC-32C, as [`Accelerator::crc32c`].
    pub fn crc32c(&mut self, src: S) -> &mut Self {
        self.push(BatchBuffers::Crc(src), Task::Crc32c)
    }

    /// Adds a copy with CRC-32C, as [`Accelerator::copy_crc32c`].
    pub fn copy_crc32c(&mut self, src: S, dst: D) -> &mut Self {
        self.push(BatchBuffers::CopyCrc(src, dst), Task::CopyCrc32c)
    }

    /// Adds a copy to two destinations, as [`Accelerator::dualcast`].
    pub fn dualcast(&mut self, src: S, first: D, second: D) -> &mut Self {
        self.push(BatchBuffers::Dualcast(src, first, second), Task::Dualcast)
    }

    /// Makes everything added from now on start after everything added before has ended.
    pub fn fence(&mut self) -> &mut Self {
        self.fence = true;
        self
    }

    /// Lets only the CPU do it.
    pub fn cpu_only(&mut self) -> &mut Self {
        self.route = Route::Cpu;
        self
    }

    /// What it does if there is no room for it, whatever [`Policy::pressure`](crate::Policy::pressure) says. A batch that has
    /// something out waits for that first. With [`Pressure::Fail`] either all of it is done, or nothing, and then every
    /// member says so.
    pub fn on_pressure(&mut self, pressure: Pressure) -> &mut Self {
        self.pressure = Some(pressure);
        self
    }

    /// Number of members.
    pub fn len(&self) -> usize {
        self.plans.len()
    }

    /// Whether there are no members.
    pub fn is_empty(&self) -> bool {
        self.plans.is_empty()
    }

    /// Closes the collection. The future does nothing before it is polled; dropping it is as safe as with any other
    /// operation.
    pub fn submit(self) -> Batched<S, D> {
        let mut buffers = Custody::new(self.buffers);
        let mut refused = Vec::with_capacity(self.plans.len());
        let mut level = 0;
        // Pointers are taken here, with the buffers at their final place, and nobody looks at them again until the end.
        let members = buffers
            .get_mut()
            .iter_mut()
            .zip(&self.plans)
            .map(|(buffers, plan)| {
                let (job, error) = match plan.task.plan(buffers) {
                    Ok(job) => (job, None),
                    Err(error) => (<Job as Load>::nothing(), Some(error)),
                };
                refused.push(error);
                level += u32::from(plan.fence);
                Member::new(job, level)
            })
            .collect();
        let mut flight = BatchFlight::new(self.accelerator, members);
        flight.route = self.route;
        flight.pressure = self.pressure;
        Batched { flight, buffers, refused }
    }

    pub(super) fn push(&mut self, buffers: BatchBuffers<S, D>, task: Task) -> &mut Self {
        self.buffers.push(buffers);
        self.plans.push(Plan { fence: std::mem::take(&mut self.fence), task });
        self
    }
}

/// A batch in flight, made by [`Batch::submit`]. Gives one [`BatchItem`] per member, in the order of the calls.
#[must_use = "futures do nothing unless awaited"]
pub struct Batched<S: StableBuf, D: StableBufMut> {
    flight: BatchFlight,
    buffers: Custody<Vec<BatchBuffers<S, D>>>,
    refused: Vec<Option<Error>>,
}

// The buffers are reached by pointers into their own allocations, never through the address of this future.
impl<S: StableBuf, D: StableBufMut> Unpin for Batched<S, D> {}

impl<S: StableBuf, D: StableBufMut> Batched<S, D> {
    /// Runs it on `accelerator` instead of the one it was made for.
    ///
    /// # Panics
    ///
    /// If the future has been polled.
    pub fn on(mut self, accelerator: &Accelerator) -> Self {
        assert!(self.flight.is_fresh(), "options must be set before the first poll");
        self.flight.reroute(accelerator);
        self
    }

    fn items(&mut self) -> Vec<BatchItem<S, D>> {
        let buffers = self.buffers.take().expect("a flight ends once");
        buffers
            .into_iter()
            .zip(&mut self.refused)
            .zip(&self.flight.members)
            .map(|((mut buffers, refused), member)| {
                let result = match refused.take() {
                    Some(error) => Err(error),
                    None => finish(&mut buffers, member),
                };
                BatchItem { result, buffers: Some(buffers) }
            })
            .collect()
    }
}

impl<S: StableBuf, D: StableBufMut> Future for Batched<S, D> {
    type Output = Vec<BatchItem<S, D>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        // SAFETY: the jobs were made of buffers that are valid as their traits promise; they stay in custody until the
        // flight has ended (below) or leave together with it (`drop`).
        let result = ready!(unsafe { this.flight.poll(cx) });
        match result {
            Ok(()) => {}
            Err(Stranded::Pressure(reason)) => {
                let error = Error::Pressure { reason, queues: this.flight.takers() };
                for refused in &mut this.refused {
                    refused.get_or_insert_with(|| error.clone());
                }
            }
            Err(Stranded::Runaway) => {
                this.buffers.leak();
                this.flight.leak();
                let items = this.refused.iter().map(|_| BatchItem { result: Err(Error::Unresponsive), buffers: None });
                return Poll::Ready(items.collect());
            }
        }
        Poll::Ready(this.items())
    }
}

impl<S: StableBuf, D: StableBufMut> Drop for Batched<S, D> {
    fn drop(&mut self) {
        let buffers = &mut self.buffers;
        self.flight.detach(|| buffers.part());
    }
}

impl<S, D> fmt::Debug for Batch<S, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch").field("plans", &self.plans).finish_non_exhaustive()
    }
}

impl<S: StableBuf, D: StableBufMut> fmt::Debug for Batched<S, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batched").field("members", &self.flight.members).finish_non_exhaustive()
    }
}

/// [`Accelerator::batch`] on the process-wide accelerator.
pub fn batch<S: StableBuf, D: StableBufMut>() -> Batch<S, D> {
    Accelerator::global().batch()
}
