//! A stream of operations becomes a stream of their results.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_core::{FusedStream, Stream};
use pin_project_lite::pin_project;

use super::crowd::Crowd;
use super::share::Share;

/// How long one poll goes on, if nothing else is said: as [`Policy::cpu_slice_time`](crate::Policy::cpu_slice_time).
const POLL_TIME: Duration = Duration::from_micros(50);

/// Streams of futures, with several of those under way.
///
/// The futures are operations, or blocks that have one in them and do something around it.
///
/// `buffer_unordered` and `buffered` of the `futures-util` crate do the same for futures of any kind. For operations this
/// differs where it counts:
///
/// * An operation is given to the device when it is taken, and before a result is returned, with all that are taken beside it, as one
///   batch: while a burst of completions is handed out one by one, half as many as may be are under way, and when the burst
///   is over as many as may be. There, what is taken waits its turn behind all that have been woken, and the first of those that
///   has ended is returned: the device runs dry.
/// * A poll begins as many as may be, and polls each operation once (and the last one again, which sends them). There, one that wakes
///   itself, as small operations do for a while, is polled again in the same poll, and the second of such ends it.
/// * Results are handed out without polling those that have none.
/// * A poll ends with tokio's budget, or after a [time](InFlight::poll_time): CPU work of many operations does not add up
///   in it.
/// * No memory is taken for each operation.
///
/// ```
/// use dsa::bulk::InFlightExt;
/// use futures_util::{StreamExt, stream};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let blocks = stream::iter((0..100u8).map(|number| vec![number; 5000]));
/// let mut sums = blocks.map(dsa::crc32c).in_flight_ordered(16);
/// let mut number = 0;
/// while let Some(result) = sums.next().await {
///     let (crc, block) = result?;
///     assert_eq!(block[0], number);
///     assert_eq!(crc, dsa::cpu::crc32c(0, &block));
///     number += 1;
/// }
/// # Ok::<(), std::io::Error>(())
/// # }).unwrap();
/// ```
pub trait InFlightExt: Stream + Sized
where
    Self::Item: Future,
{
    /// Up to `most` operations under way; results in the order in which they end. 0 counts as 1. What has ended and was not
    /// asked for yet counts too, so that a slow consumer slows the stream down.
    fn in_flight(self, most: usize) -> InFlight<Self> {
        InFlight { flow: Flow::new(self, most, AsTheyEnd { ended: VecDeque::new() }) }
    }

    /// The same, with results in the order of the stream: one that takes long holds back those behind it.
    fn in_flight_ordered(self, most: usize) -> InFlightOrdered<Self> {
        InFlightOrdered { flow: Flow::new(self, most, InOrder { window: VecDeque::new(), first: 0 }) }
    }
}

impl<St: Stream> InFlightExt for St where St::Item: Future {}

pin_project! {
    /// Results in the order in which operations end, made by [`InFlightExt::in_flight`].
    ///
    /// Dropping it drops the operations, which neither blocks nor takes memory from under a device.
    #[must_use = "streams do nothing unless polled"]
    pub struct InFlight<St: Stream> where St::Item: Future {
        #[pin]
        flow: Flow<St, St::Item, AsTheyEnd<<St::Item as Future>::Output>>,
    }
}

pin_project! {
    /// Results in the order of the operations, made by [`InFlightExt::in_flight_ordered`].
    ///
    /// Dropping it drops the operations, which neither blocks nor takes memory from under a device.
    #[must_use = "streams do nothing unless polled"]
    pub struct InFlightOrdered<St: Stream> where St::Item: Future {
        #[pin]
        flow: Flow<St, St::Item, InOrder<<St::Item as Future>::Output>>,
    }
}

macro_rules! delegate {
    ($name:ident) => {
        impl<St: Stream> $name<St>
        where
            St::Item: Future,
        {
            /// After which time a poll leaves what is still to be done to the next one, with other tasks in between. It does
            /// not interrupt an operation's own poll. Zero is no limit. Default 50 us.
            pub fn poll_time(mut self, limit: Duration) -> Self {
                self.flow.limit = limit;
                self
            }

            /// How many operations are under way.
            pub fn under_way(&self) -> usize {
                self.flow.crowd.len()
            }
        }

        impl<St: Stream> Stream for $name<St>
        where
            St::Item: Future,
        {
            type Item = <St::Item as Future>::Output;

            fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
                self.project().flow.poll_next(cx)
            }

            fn size_hint(&self) -> (usize, Option<usize>) {
                self.flow.size_hint()
            }
        }

        impl<St: Stream> FusedStream for $name<St>
        where
            St::Item: Future,
        {
            fn is_terminated(&self) -> bool {
                self.flow.is_over()
            }
        }

        impl<St: Stream> fmt::Debug for $name<St>
        where
            St::Item: Future,
        {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name)).field("under_way", &self.under_way()).finish_non_exhaustive()
            }
        }
    };
}

delegate!(InFlight);
delegate!(InFlightOrdered);

/// Where results wait until somebody asks for them.
trait Results {
    type Item;

    /// Makes room for the result of one more; gives its tag.
    fn open(&mut self) -> usize;

    /// Takes a result.
    fn end(&mut self, tag: usize, item: Self::Item);

    /// The next one to be handed out, if it is there.
    fn next(&mut self) -> Option<Self::Item>;

    /// Whether there is one to be handed out.
    fn has_next(&self) -> bool;

    /// How many have been taken from the stream and not been handed out, with `under_way` of them without a result.
    fn held(&self, under_way: usize) -> usize;
}

#[derive(Debug)]
struct AsTheyEnd<T> {
    ended: VecDeque<T>,
}

impl<T> Results for AsTheyEnd<T> {
    type Item = T;

    fn open(&mut self) -> usize {
        0
    }

    fn end(&mut self, _: usize, item: T) {
        self.ended.push_back(item);
    }

    fn next(&mut self) -> Option<T> {
        self.ended.pop_front()
    }

    fn has_next(&self) -> bool {
        !self.ended.is_empty()
    }

    fn held(&self, under_way: usize) -> usize {
        self.ended.len() + under_way
    }
}

#[derive(Debug)]
struct InOrder<T> {
    /// From the next one to be handed out to the last one that was taken.
    window: VecDeque<Option<T>>,
    /// Tag of the first.
    first: usize,
}

impl<T> Results for InOrder<T> {
    type Item = T;

    fn open(&mut self) -> usize {
        self.window.push_back(None);
        self.first.wrapping_add(self.window.len() - 1)
    }

    fn end(&mut self, tag: usize, item: T) {
        self.window[tag.wrapping_sub(self.first)] = Some(item);
    }

    fn next(&mut self) -> Option<T> {
        let item = self.window.front_mut()?.take()?;
        self.window.pop_front();
        self.first = self.first.wrapping_add(1);
        Some(item)
    }

    fn has_next(&self) -> bool {
        self.window.front().is_some_and(Option::is_some)
    }

    fn held(&self, _: usize) -> usize {
        self.window.len()
    }
}

pin_project! {
    /// What both have in common.
    struct Flow<St, F, R> {
        #[pin]
        stream: St,
        // The stream has given its last one, and must not be asked again.
        is_exhausted: bool,
        crowd: Crowd<F>,
        results: R,
        // Results that were handed out since those without were looked at.
        handed: usize,
        // A poll has not come to its end.
        is_poisoned: bool,
        limit: Duration,
    }
}

impl<St, F, R> Flow<St, F, R>
where
    St: Stream<Item = F>,
    F: Future,
    R: Results<Item = F::Output>,
{
    fn new(stream: St, most: usize, results: R) -> Self {
        Self {
            stream,
            is_exhausted: false,
            crowd: Crowd::new(most.max(1)),
            results,
            handed: 0,
            is_poisoned: false,
            limit: POLL_TIME,
        }
    }

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<F::Output>> {
        let mut this = self.project();
        let share = ready!(Share::begin(cx, *this.limit));
        assert!(!*this.is_poisoned, "a stream or an operation of it has panicked before");
        *this.is_poisoned = true;
        // While there are results, those without are not asked, and need not tell anybody: whoever has been given one asks again. But
        // new ones that end at once must not keep the others waiting for ever.
        let (mut next, mut is_through) = (this.results.next(), true);
        *this.handed += 1;
        if next.is_none() || *this.handed > this.crowd.most() {
            *this.handed = 0;
            this.crowd.register(cx.waker());
            is_through = this.crowd.round(&share, |tag, item| this.results.end(tag, item));
            next = next.or_else(|| this.results.next());
        }
        // Not one by one, as results are taken: what is launched together travels together. The place of what is about to be handed
        // out is free already.
        let is_time = !this.results.has_next() || this.crowd.len() < this.crowd.most() / 2;
        let mut last = None;
        while is_through && is_time && !*this.is_exhausted && this.results.held(this.crowd.len()) < this.crowd.most() {
            let Poll::Ready(future) = this.stream.as_mut().poll_next(cx) else { break };
            let Some(future) = future else {
                *this.is_exhausted = true;
                break;
            };
            let expected = this.stream.size_hint().1.unwrap_or(usize::MAX).saturating_add(this.crowd.len() + 1);
            let tag = this.results.open();
            match this.crowd.launch(future, tag, expected, cx.waker()) {
                Ok(item) => this.results.end(tag, item),
                Err(place) => last = Some(place),
            }
            is_through = !share.is_over();
        }
        // An operation that is polled once more is sent, with all that were collected beside it: whoever is given a result may not come
        // back soon.
        if let Some((tag, item)) = last.and_then(|place| this.crowd.poll_again(place)) {
            this.results.end(tag, item);
        }
        *this.is_poisoned = false;
        match next.or_else(|| this.results.next()) {
            Some(item) => Poll::Ready(Some(item)),
            None if *this.is_exhausted && this.results.held(this.crowd.len()) == 0 => Poll::Ready(None),
            None => {
                if !is_through {
                    cx.waker().wake_by_ref();
                }
                Poll::Pending
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let held = self.results.held(self.crowd.len());
        let (least, most) = if self.is_exhausted { (0, Some(0)) } else { self.stream.size_hint() };
        (least.saturating_add(held), most.and_then(|most| most.checked_add(held)))
    }

    fn is_over(&self) -> bool {
        self.is_exhausted && self.results.held(self.crowd.len()) == 0
    }
}
