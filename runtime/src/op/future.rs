//! What all single-operation futures share: a flight, the buffers in custody, and what happens on drop.

use std::mem::ManuallyDrop;
use std::task::{Context, Poll, ready};

use super::custody::Custody;
use crate::accelerator::Accelerator;
use crate::cpu::Hint;
use crate::dispatch::{Flight, Load, Outcome, Plain, Pressure, Route, Trouble};
use crate::error::{Error, Failed};

/// An operation on buffers `B`. The accelerator is here as long as the buffers are.
pub(crate) struct Operation<B: Send + 'static, J: Load = Plain> {
    /// Emptied by whatever ends the operation, or drops it.
    buffers: ManuallyDrop<Custody<B, Accelerator>>,
    flight: Flight<J>,
}

// What is awaited is moved about first.
const _: () = assert!(size_of::<Operation<(Vec<u8>, Vec<u8>)>>() <= 160);

/// How far [`Operation::poll_quickly`] came.
pub(crate) enum Quickly<B> {
    /// It has ended; what it says, and the buffers.
    Done(Done, B),
    /// Somebody will wake the task.
    Pending,
    /// Whatever has been done of it, it is for [`Operation::poll`] now.
    Not,
}

/// What a finished operation says.
#[derive(Clone, Copy)]
pub(crate) struct Done {
    pub(crate) outcome: Outcome,
    /// Bytes from the start of each destination that it has written.
    pub(crate) written: usize,
}

// All fields are `Unpin` whatever `B` is: the address of the future itself is given to nobody.
impl<B: Send + 'static, J: Load> Unpin for Operation<B, J> {}

impl<B: Send + 'static, J: Load> Operation<B, J> {
    /// Takes the buffers into custody, then lets `plan` look at them, once, and say what is to be done.
    #[expect(clippy::inline_always, reason = "measured in instructions: otherwise it is copied around")]
    #[inline(always)]
    pub(crate) fn new(accelerator: &Accelerator, buffers: B, plan: impl FnOnce(&mut B) -> Result<J, Error>) -> Self {
        Self::checked(accelerator, buffers, |buffers| match plan(buffers) {
            Ok(job) => (job, Ok(())),
            Err(error) => (J::nothing(), Err(error)),
        })
    }

    /// As [`new`](Self::new); `plan` also says why nothing is to be done, if so. Then the job does not matter.
    #[expect(clippy::inline_always, reason = "measured in instructions: otherwise it is copied around")]
    #[inline(always)]
    pub(crate) fn checked(
        accelerator: &Accelerator,
        buffers: B,
        plan: impl FnOnce(&mut B) -> (J, Result<(), Error>),
    ) -> Self {
        let mut buffers = Custody::new(buffers);
        let (job, plan) = plan(buffers.get_mut());
        // What cannot unwind from here on needs no landing pad, which would keep it all in memory.
        let buffers = ManuallyDrop::new(buffers);
        let flight = Flight::planned(job, plan);
        let buffers = ManuallyDrop::into_inner(buffers).kept_by(accelerator.clone());
        Self { buffers: ManuallyDrop::new(buffers), flight }
    }

    /// The short way of a poll.
    #[expect(clippy::inline_always, reason = "measured in instructions")]
    #[inline(always)]
    pub(crate) fn poll_quickly(&mut self, cx: &mut Context<'_>) -> Quickly<B> {
        let Some(accelerator) = self.buffers.keeper() else { return Quickly::Not };
        // SAFETY: `plan` made the job of buffers that are valid as their traits promise; they are in custody until
        // the flight has ended (then the caller may take them) or leave together with it (`drop`). The traits' contract
        // excludes other access: a writable buffer is reachable only through its value, a readable one is not written.
        if unsafe { J::poll_quickly(&mut self.flight, accelerator) } {
            // A result counts for the task's budget. Without any it is given at the next poll.
            let Poll::Ready(coop) = tokio::task::coop::poll_proceed(cx) else { return Quickly::Pending };
            coop.made_progress();
            // It has nothing to restore any more.
            std::mem::forget(coop);
            let done = self.ended(self.flight.job().outcome());
            // SAFETY: there was a keeper above, and nobody has taken anything since.
            return Quickly::Done(done, unsafe { self.buffers.take_kept() });
        }
        if J::wait_quickly(&mut self.flight, accelerator, cx) { Quickly::Pending } else { Quickly::Not }
    }

    #[inline]
    fn ended(&self, outcome: Outcome) -> Done {
        Done { outcome, written: self.flight.job().written(&outcome) as usize }
    }

    /// The rest of a poll that has not ended the short way.
    #[inline(never)]
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(Done, B), Failed<B>>> {
        let accelerator = self.buffers.keeper().expect("an operation was polled after it had completed");
        let Poll::Ready(coop) = tokio::task::coop::poll_proceed(cx) else { return Poll::Pending };
        // SAFETY: as in `poll_quickly`.
        let result = ready!(unsafe { J::poll(&mut self.flight, accelerator, &coop, cx) });
        Poll::Ready(self.finish(result))
    }

    fn finish(&mut self, result: Result<Outcome, Trouble>) -> Result<(Done, B), Failed<B>> {
        let error = match result {
            Ok(Outcome::BadDelta(error)) => Error::DeltaRecord(error),
            Ok(outcome) => {
                let buffers = self.buffers.take().expect("a flight ends once");
                return Ok((self.ended(outcome), buffers));
            }
            Err(Trouble::Refused(error)) => *error,
            Err(Trouble::DeviceOnly(reason)) => Error::DeviceOnly(reason),
            Err(Trouble::Pressure(reason)) => {
                let queues = self.buffers.keeper().map(|accelerator| self.flight.takers(accelerator));
                Error::Pressure { reason, queues: queues.unwrap_or_default() }
            }
            Err(Trouble::Runaway) => {
                self.buffers.leak();
                Error::Unresponsive
            }
        };
        Err(Failed::new(error, self.buffers.take()))
    }

    pub(crate) fn set_accelerator(&mut self, accelerator: &Accelerator) {
        assert!(self.flight.is_fresh(), "options must be set before the first poll");
        self.buffers.keep_by(accelerator.clone());
    }

    pub(crate) fn set_route(&mut self, route: Route) {
        assert!(self.flight.is_fresh(), "options must be set before the first poll");
        self.flight.set_route(route);
    }

    pub(crate) fn set_pressure(&mut self, pressure: Pressure) {
        assert!(self.flight.is_fresh(), "options must be set before the first poll");
        self.flight.pressure = Some(pressure);
    }

    pub(crate) fn set_cache_control(&mut self, on: bool) {
        assert!(self.flight.is_fresh(), "options must be set before the first poll");
        self.flight.set_cache_control(on);
    }

    pub(crate) fn set_hint(&mut self, hint: Hint) {
        assert!(self.flight.is_fresh(), "options must be set before the first poll");
        self.flight.set_hint(hint);
    }

    /// What is to be done, to be changed before anything has been.
    pub(crate) fn job_mut(&mut self) -> &mut J {
        assert!(self.flight.is_fresh(), "options must be set before the first poll");
        self.flight.job_mut()
    }

    /// It is dropped before its buffers have been taken.
    #[cold]
    fn leave(&mut self) {
        if let Some((accelerator, buffers)) = self.buffers.part() {
            self.flight.detach(&accelerator, || Box::new(buffers));
        }
    }
}

impl<B: Send + 'static, J: Load> Drop for Operation<B, J> {
    #[inline]
    fn drop(&mut self) {
        // Never blocks, never frees what a device may write (invariant 1): either nothing is out and the buffers are
        // dropped here, after it has given up its place in the line if it had one, or they move into the slot, and the
        // poller drops them when the device is done. Where they have been taken nothing is out.
        if self.buffers.keeper().is_some() {
            self.leave();
        }
    }
}

/// Defines one named future around [`Operation`]: options, `Future`, `Debug`.
macro_rules! operation_future {
    (
        $(#[$doc:meta])*
        $name:ident<$($generic:ident: $bound:ident),+>($buffers:ty) -> $output:ty $(, by $job:ty)?,
        |$done:pat_param, $held:pat_param| $finish:expr
    ) => {
        $(#[$doc])*
        ///
        /// Nothing happens before the first poll. Dropping the future at any time is safe and never blocks: if a
        /// device has been given the operation, it takes its course, and the buffers are dropped afterwards.
        #[must_use = "futures do nothing unless awaited"]
        pub struct $name<$($generic: $bound),+>(crate::op::future::Operation<$buffers $(, $job)?>);

        impl<$($generic: $bound),+> $name<$($generic),+> {
            /// Runs it on `accelerator` instead of the one it was made for.
            ///
            /// # Panics
            ///
            /// If the future has been polled, as do all options.
            pub fn on(mut self, accelerator: &crate::Accelerator) -> Self {
                self.0.set_accelerator(accelerator);
                self
            }

            /// Lets only the CPU do it.
            pub fn cpu_only(mut self) -> Self {
                self.0.set_route(crate::dispatch::Route::Cpu);
                self
            }

            /// Lets only a device do it, however small it is: where that cannot be had the operation ends with
            /// [`Error::DeviceOnly`](crate::Error::DeviceOnly).
            pub fn device_only(mut self) -> Self {
                self.0.set_route(crate::dispatch::Route::Device);
                self
            }

            /// What it does if there is no room for it, whatever [`Policy::pressure`](crate::Policy::pressure) says.
            pub fn on_pressure(mut self, pressure: crate::Pressure) -> Self {
                self.0.set_pressure(pressure);
                self
            }

            /// Asks the device to write into the cache instead of memory: for data that is read again soon
            /// (descriptor flag "cache control 1"). Has no effect on a device without that hint, or on the CPU.
            pub fn cache_control(mut self, on: bool) -> Self {
                self.0.set_cache_control(on);
                self
            }

            /// Says where the bytes are, and whether they are needed soon: to the CPU, if it does it, and to the device by
            /// its [cache control](Self::cache_control), which is then on for [`Hint::Hot`](crate::Hint::Hot) alone.
            pub fn hint(mut self, hint: crate::Hint) -> Self {
                self.0.set_hint(hint);
                self
            }
        }

        impl<$($generic: $bound),+> std::future::Future for $name<$($generic),+> {
            type Output = Result<$output, crate::Failed<$buffers>>;

            #[inline(always)]
            fn poll(
                mut self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
            ) -> std::task::Poll<Self::Output> {
                match self.0.poll_quickly(cx) {
                    crate::op::future::Quickly::Done($done, $held) => std::task::Poll::Ready(Ok($finish)),
                    crate::op::future::Quickly::Pending => std::task::Poll::Pending,
                    crate::op::future::Quickly::Not => self.0.poll(cx).map_ok(|($done, $held)| $finish),
                }
            }
        }

        impl<$($generic: $bound),+> std::fmt::Debug for $name<$($generic),+> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        }
    };
}

pub(crate) use operation_future;
