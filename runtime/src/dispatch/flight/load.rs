//! What a flight carries: a plain job by itself - the most frequent one, and the smallest - or any other.
//!
//! The functions here are there for each of the two, compiled once with the library, and not with every future of its users.

use std::task::{Context, Poll};

use tokio::task::coop::RestoreOnPending;

use super::super::job::{Job, Outcome, Plain, Work};
use super::{Flight, Trouble};
use crate::accelerator::Accelerator;

/// A job that a flight can carry.
pub(crate) trait Load: Work {
    /// Nothing at all, in place of what was refused.
    fn nothing() -> Self;

    /// Tries the short way: see [`Flight::poll_quickly`].
    ///
    /// # Safety
    ///
    /// As for [`Flight::poll`].
    unsafe fn poll_quickly(flight: &mut Flight<Self>, accelerator: &Accelerator) -> bool;

    /// See [`Flight::wait_quickly`].
    fn wait_quickly(flight: &mut Flight<Self>, accelerator: &Accelerator, cx: &Context<'_>) -> bool;

    /// See [`Flight::poll`].
    ///
    /// # Safety
    ///
    /// As for [`Flight::poll`].
    unsafe fn poll(
        flight: &mut Flight<Self>,
        accelerator: &Accelerator,
        coop: &RestoreOnPending,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Outcome, Trouble>>;
}

impl Load for Plain {
    #[inline]
    fn nothing() -> Self {
        Self::nothing()
    }

    #[inline]
    unsafe fn poll_quickly(flight: &mut Flight<Self>, accelerator: &Accelerator) -> bool {
        // SAFETY: forwarded.
        unsafe { flight.poll_quickly(accelerator) }
    }

    #[inline]
    fn wait_quickly(flight: &mut Flight<Self>, accelerator: &Accelerator, cx: &Context<'_>) -> bool {
        flight.wait_quickly(accelerator, cx)
    }

    #[inline(never)]
    unsafe fn poll(
        flight: &mut Flight<Self>,
        accelerator: &Accelerator,
        coop: &RestoreOnPending,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Outcome, Trouble>> {
        // SAFETY: forwarded.
        unsafe { flight.poll(accelerator, coop, cx) }
    }
}

impl Load for Job {
    fn nothing() -> Self {
        Self::Plain(Plain::nothing())
    }

    #[inline]
    unsafe fn poll_quickly(_: &mut Flight<Self>, _: &Accelerator) -> bool {
        false
    }

    #[inline]
    fn wait_quickly(_: &mut Flight<Self>, _: &Accelerator, _: &Context<'_>) -> bool {
        false
    }

    #[inline(never)]
    unsafe fn poll(
        flight: &mut Flight<Self>,
        accelerator: &Accelerator,
        coop: &RestoreOnPending,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Outcome, Trouble>> {
        // SAFETY: forwarded.
        unsafe { flight.poll(accelerator, coop, cx) }
    }
}
