//! Copies of many pairs of buffers.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use super::crowd::Crowd;
use super::share::Share;
use crate::accelerator::Accelerator;
use crate::buf::{StableBuf, StableBufMut};
use crate::cpu::Hint;
use crate::dispatch::{Pressure, Route};
use crate::error::Failed;
use crate::op::Copy;

/// How many copies are under way at once, if nothing else is said.
const CONCURRENCY: usize = 32;

/// What became of one pair.
type CopyResult<S, D> = Result<(S, D), Failed<(S, D)>>;

/// Copies of many pairs of buffers, made by [`Accelerator::copy_many`] or [`dsa::copy_many`](crate::copy_many). Gives one
/// result for each pair, in the order of the pairs, each with its buffers.
///
/// Every copy is an operation as [`Accelerator::copy`] makes it, and ends as that would: by a device, by the CPU, or with the
/// error that names its own mistake. One that fails does not keep the others from being done. Up to
/// [`concurrency`](Self::concurrency) of them are under way at the same time, all on the task that awaits this; where
/// the CPU does them they share the time of [`Policy::cpu_slice_time`](crate::Policy::cpu_slice_time) in each poll.
///
/// Nothing happens before the first poll, and pairs are taken from the iterator when there is room for them, so that it may
/// make the destinations. Dropping the future at any time is safe and never blocks: copies that a device has been given take their course, and
/// their buffers are dropped afterwards; the others are not begun.
///
/// It takes memory for the results, and a few times for what is under way; not for each copy.
///
/// A [`Batch`](crate::Batch) is for as many operations as are there at once, and costs less for each; this is for more than fit into
/// the queues, and has room for others in between.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let sources: Vec<Vec<u8>> = (1..=100).map(|number| vec![number; 5000]).collect();
/// let pairs = sources.into_iter().map(|source| {
///     let destination = Vec::with_capacity(source.len());
///     (source, destination)
/// });
/// for result in dsa::copy_many(pairs).concurrency(16).await {
///     let (source, copy) = result?;
///     assert_eq!(source, copy);
/// }
/// # Ok::<(), std::io::Error>(())
/// # }).unwrap();
/// ```
#[must_use = "futures do nothing unless awaited"]
pub struct CopyMany<S: StableBuf, D: StableBufMut, I: Iterator<Item = (S, D)>> {
    accelerator: Accelerator,
    /// `None` when it has given the last one.
    pairs: Option<I>,
    options: Options,
    crowd: Crowd<Copy<S, D>>,
    /// By number of the pair; `None` for those under way.
    results: Vec<Option<CopyResult<S, D>>>,
    stage: Stage,
}

#[derive(Clone, Copy, Default)]
struct Options {
    route: Route,
    pressure: Option<Pressure>,
    cache_control: bool,
    hint: Hint,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Fresh,
    Polled,
    Ended,
}

impl Accelerator {
    /// Copies the first buffer of each pair to the second one, as [`copy`](Self::copy) does. See [`CopyMany`].
    pub fn copy_many<S, D, I>(&self, pairs: I) -> CopyMany<S, D, I::IntoIter>
    where
        S: StableBuf,
        D: StableBufMut,
        I: IntoIterator<Item = (S, D)>,
    {
        CopyMany {
            accelerator: self.clone(),
            pairs: Some(pairs.into_iter()),
            options: Options::default(),
            crowd: Crowd::new(CONCURRENCY),
            results: Vec::new(),
            stage: Stage::Fresh,
        }
    }
}

/// [`Accelerator::copy_many`] on the process-wide accelerator.
pub fn copy_many<S, D, I>(pairs: I) -> CopyMany<S, D, I::IntoIter>
where
    S: StableBuf,
    D: StableBufMut,
    I: IntoIterator<Item = (S, D)>,
{
    Accelerator::global().copy_many(pairs)
}

impl<S: StableBuf, D: StableBufMut, I: Iterator<Item = (S, D)>> CopyMany<S, D, I> {
    /// How many copies are under way at the same time, at most; 0 counts as 1. The default is 32. What exceeds the slots
    /// ([`Policy::slots_per_lane`](crate::Policy::slots_per_lane)) or the places in the queues is under
    /// [pressure](Self::on_pressure).
    ///
    /// # Panics
    ///
    /// If the future has been polled, as do all options.
    pub fn concurrency(mut self, most: usize) -> Self {
        self.assert_fresh();
        self.crowd.set_most(most.max(1));
        self
    }

    /// Runs them on `accelerator` instead of the one they were made for.
    pub fn on(mut self, accelerator: &Accelerator) -> Self {
        self.assert_fresh();
        self.accelerator = accelerator.clone();
        self
    }

    /// Lets only the CPU do them.
    pub fn cpu_only(mut self) -> Self {
        self.assert_fresh();
        self.options.route = Route::Cpu;
        self
    }

    /// Lets only a device do them, see [`Copy::device_only`](crate::Copy::device_only).
    pub fn device_only(mut self) -> Self {
        self.assert_fresh();
        self.options.route = Route::Device;
        self
    }

    /// What each does if there is no room for it, whatever [`Policy::pressure`](crate::Policy::pressure) says. With
    /// [`Pressure::Fail`] each fails for itself.
    pub fn on_pressure(mut self, pressure: Pressure) -> Self {
        self.assert_fresh();
        self.options.pressure = Some(pressure);
        self
    }

    /// Asks the device to write into the cache, see [`Copy::cache_control`](crate::Copy::cache_control).
    pub fn cache_control(mut self, on: bool) -> Self {
        self.assert_fresh();
        self.options.cache_control = on;
        self
    }

    /// Says where the bytes are, see [`Copy::hint`](crate::Copy::hint). An explicit
    /// [`cache_control`](Self::cache_control) after it stands.
    pub fn hint(mut self, hint: Hint) -> Self {
        self.assert_fresh();
        self.options.hint = hint;
        self.options.cache_control = hint == Hint::Hot;
        self
    }

    fn assert_fresh(&self) {
        assert!(self.stage == Stage::Fresh, "options must be set before the first poll");
    }

    /// The copy of one pair.
    fn operation(&self, (src, dst): (S, D)) -> Copy<S, D> {
        let copy = self.accelerator.copy(src, dst).hint(self.options.hint);
        let copy = copy.cache_control(self.options.cache_control);
        let copy = match self.options.route {
            Route::Auto => copy,
            Route::Device => copy.device_only(),
            Route::Cpu => copy.cpu_only(),
        };
        match self.options.pressure {
            Some(pressure) => copy.on_pressure(pressure),
            None => copy,
        }
    }

    /// Begins copies while there is room for them. False if the share did not last.
    fn fill(&mut self, share: &Share, cx: &Context<'_>) -> bool {
        while self.crowd.has_room()
            && let Some(pairs) = &mut self.pairs
        {
            let Some(pair) = pairs.next() else {
                self.pairs = None;
                break;
            };
            // How many there may be under way, so that no memory is taken for more of them.
            let left = pairs.size_hint().1.unwrap_or(usize::MAX);
            let expected = left.saturating_add(self.crowd.len() + 1);
            let (copy, number) = (self.operation(pair), self.results.len());
            self.results.push(None);
            if let Ok(result) = self.crowd.launch(copy, number, expected, cx.waker()) {
                self.results[number] = Some(result);
            }
            if share.is_over() {
                return false;
            }
        }
        true
    }
}

// Pairs are given by value, and the copies under way live in a box.
impl<S: StableBuf, D: StableBufMut, I: Iterator<Item = (S, D)>> Unpin for CopyMany<S, D, I> {}

impl<S: StableBuf, D: StableBufMut, I: Iterator<Item = (S, D)>> Future for CopyMany<S, D, I> {
    type Output = Vec<CopyResult<S, D>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        assert!(this.stage != Stage::Ended, "an operation was polled after it had completed");
        let share = ready!(Share::begin(cx, this.accelerator.shared().policy.cpu_slice_time));
        if this.stage == Stage::Fresh {
            this.stage = Stage::Polled;
            this.results.reserve(this.pairs.as_ref().map_or(0, |pairs| pairs.size_hint().0));
        }
        this.crowd.register(cx.waker());
        // Those under way first: that makes room.
        let results = &mut this.results;
        let is_through = this.crowd.round(&share, |number, result| results[number] = Some(result));
        let is_through = is_through && this.fill(&share, cx);
        if this.pairs.is_none() && this.crowd.len() == 0 {
            this.stage = Stage::Ended;
            let results = std::mem::take(&mut this.results);
            return Poll::Ready(results.into_iter().map(|result| result.expect("all have ended")).collect());
        }
        if is_through {
            // Everything that travels together is there.
            this.accelerator.shared().flush_mine();
        } else {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

impl<S: StableBuf, D: StableBufMut, I: Iterator<Item = (S, D)>> fmt::Debug for CopyMany<S, D, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CopyMany")
            .field("begun", &self.results.len())
            .field("under_way", &self.crowd.len())
            .finish_non_exhaustive()
    }
}
