//! How much one poll of many operations may do before other tasks get a turn.

#![forbid(unsafe_code)]

use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::task::coop;

use crate::clock;

/// Until when a poll goes on: the end of tokio's budget, or of a time.
pub(super) struct Share {
    /// In ticks; 0 without a limit.
    until: u64,
}

impl Share {
    /// Begins a poll, if there is budget at all. Zero is no limit.
    pub(super) fn begin(cx: &mut Context<'_>, limit: Duration) -> Poll<Self> {
        // A look only: what it takes it gives back at once. If there is none, tokio wakes the task when there is again.
        drop(ready!(coop::poll_proceed(cx)));
        let until = if limit.is_zero() { 0 } else { clock::now().saturating_add(clock::ticks(limit).max(1)) };
        Poll::Ready(Self { until })
    }

    /// Whether it is used up. Asked after an operation has been polled, not before: so every poll gets somewhere.
    #[inline]
    pub(super) fn is_over(&self) -> bool {
        !coop::has_budget_remaining() || self.until != 0 && clock::now() >= self.until
    }
}
