//! An open loop: operations that come when they come, whether or not earlier ones have ended.
//!
//! A closed loop asks for less while the other side is slow, and so hides the wait of those who would have come meanwhile. Here
//! the time of an operation runs from when it was due. One task, the clock, looks at the time and hands what is due to one of the
//! tasks that are free; what finds none waits, and is late by that.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::{Poll, Waker};

use dsa_benches::random::Random;
use idxd_sys::instr::rdtsc;

use super::ledger;
use super::variant::{self, Copier, Guard, Stage};

/// Tasks, and pairs of buffers: more than are in flight at half of the load, unless something stops.
pub(crate) const SERVERS: usize = 256;

#[derive(Default)]
struct Desk {
    /// When each of those was due, in ticks, that no task has taken yet.
    due: VecDeque<u64>,
    idle: Vec<Waker>,
    is_closed: bool,
    taken: Vec<u32>,
}

thread_local! {
    static DESK: RefCell<Desk> = RefCell::new(Desk::default());
}

/// Arrivals of a Poisson process: ticks after the start, in ascending order.
pub(crate) fn arrivals(mean_gap: f64, until: f64, seed: u64) -> Vec<u64> {
    let mut random = Random::new(seed);
    let next = |at: &f64| Some(at + random.gap(mean_gap));
    std::iter::successors(Some(0.0), next).skip(1).take_while(|at| *at < until).map(|at| at as u64).collect()
}

/// Gives how long each operation took from when it was due, in ticks.
pub(crate) fn run<C: Copier>(stage: &Stage, copier: &C, due: &[u64]) -> Vec<u32> {
    DESK.with_borrow_mut(|desk| *desk = Desk { taken: Vec::with_capacity(due.len()), ..Desk::default() });
    stage.runtime.spawn(clock(due.to_vec()));
    variant::run_all(stage, SERVERS, |guard| serve(copier.clone(), guard));
    DESK.with_borrow_mut(|desk| std::mem::take(&mut desk.taken))
}

async fn clock(due: Vec<u64>) {
    let begun = rdtsc();
    let mut due = due.into_iter().peekable();
    poll_fn(|context| {
        DESK.with_borrow_mut(|desk| {
            let now = rdtsc() - begun;
            while let Some(offset) = due.next_if(|offset| *offset <= now) {
                desk.due.push_back(begun + offset);
                if let Some(waker) = desk.idle.pop() {
                    waker.wake();
                }
            }
            if due.peek().is_some() {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            desk.is_closed = true;
            desk.idle.drain(..).for_each(Waker::wake);
            Poll::Ready(())
        })
    })
    .await;
}

async fn serve<C: Copier>(copier: C, guard: Guard) {
    let next = || {
        poll_fn(|context| {
            DESK.with_borrow_mut(|desk| match desk.due.pop_front() {
                Some(due) => Poll::Ready(Some(due)),
                None if desk.is_closed => Poll::Ready(None),
                None => {
                    desk.idle.push(context.waker().clone());
                    Poll::Pending
                }
            })
        })
    };
    while let Some(due) = next().await {
        let pair = ledger::with(|ledger| ledger.pairs().pop_front()).expect("each task has a pair");
        let pair = copier.copy(pair).await;
        let ticks = rdtsc() - due;
        ledger::with(|ledger| ledger.pairs().push_back(pair));
        DESK.with_borrow_mut(|desk| desk.taken.push(u32::try_from(ticks).unwrap_or(u32::MAX)));
    }
    drop(guard);
}
