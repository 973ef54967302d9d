//! The peers in which another thread copies and says so: what a program does without a device.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::Thread;

use crossbeam_queue::ArrayQueue;
use tokio::sync::oneshot;

use super::arena::Pair;
use super::machine::Cores;
use super::variant::{Copier, INLINE, PARKED, RAYON, SPAWN_BLOCKING, SPINNING, Tasks, Variant};

/// Operations that the spinning thread's queue can hold: the greatest depth fits twice.
const ENTRIES: usize = 1_024;

/// A pair to be copied, and where to send it afterwards.
struct Order {
    pair: Pair,
    answer: oneshot::Sender<Pair>,
}

impl Order {
    fn new(pair: Pair) -> (Self, oneshot::Receiver<Pair>) {
        let (answer, receiver) = oneshot::channel();
        (Self { pair, answer }, receiver)
    }

    fn fill(mut self) {
        self.pair.copy();
        // The task waits for it.
        let _ = self.answer.send(self.pair);
    }
}

async fn answer(receiver: oneshot::Receiver<Pair>) -> Pair {
    receiver.await.expect("the worker answers")
}

/// The harness: what is left when nobody is asked.
#[derive(Clone)]
struct Inline;

impl Copier for Inline {
    async fn copy(&self, mut pair: Pair) -> Pair {
        pair.copy();
        pair
    }
}

#[derive(Clone)]
struct Blocking;

impl Copier for Blocking {
    async fn copy(&self, mut pair: Pair) -> Pair {
        let copied = tokio::task::spawn_blocking(move || {
            pair.copy();
            pair
        });
        copied.await.expect("a copy does not panic")
    }
}

#[derive(Clone)]
struct Rayon(Arc<rayon::ThreadPool>);

impl Copier for Rayon {
    async fn copy(&self, pair: Pair) -> Pair {
        let (order, receiver) = Order::new(pair);
        self.0.spawn(move || order.fill());
        answer(receiver).await
    }
}

#[derive(Clone)]
struct Parked(mpsc::Sender<Order>);

impl Copier for Parked {
    async fn copy(&self, pair: Pair) -> Pair {
        let (order, receiver) = Order::new(pair);
        self.0.send(order).expect("the worker receives");
        answer(receiver).await
    }
}

/// A thread that looks for work all the time, but only during its own slices.
struct Spinner {
    queue: ArrayQueue<Order>,
    is_awake: AtomicBool,
    ends: AtomicBool,
}

/// Ends the thread with the last handle.
struct Owner(Arc<Spinner>, Thread);

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.ends.store(true, Ordering::Release);
        self.0.is_awake.store(false, Ordering::Release);
        self.1.unpark();
    }
}

#[derive(Clone)]
struct Spinning(Arc<Owner>);

impl Spinning {
    fn start() -> Self {
        let spinner = Arc::new(Spinner {
            queue: ArrayQueue::new(ENTRIES),
            is_awake: AtomicBool::new(false),
            ends: AtomicBool::new(false),
        });
        let its = Arc::clone(&spinner);
        let thread = std::thread::spawn(move || its.run());
        Self(Arc::new(Owner(spinner, thread.thread().clone())))
    }
}

impl Spinner {
    fn run(&self) {
        while !self.ends.load(Ordering::Acquire) {
            while self.is_awake.load(Ordering::Acquire) {
                match self.queue.pop() {
                    Some(order) => order.fill(),
                    None => std::hint::spin_loop(),
                }
            }
            std::thread::park();
        }
    }
}

impl Copier for Spinning {
    async fn copy(&self, pair: Pair) -> Pair {
        let (order, receiver) = Order::new(pair);
        assert!(self.0.0.queue.push(order).is_ok(), "the queue has room for every depth");
        answer(receiver).await
    }

    fn awake(&self) {
        self.0.0.is_awake.store(true, Ordering::Release);
        self.0.1.unpark();
    }

    fn rest(&self) {
        self.0.0.is_awake.store(false, Ordering::Release);
    }
}

/// All of them.
pub(crate) fn all(cores: &Cores) -> Vec<Box<dyn Variant>> {
    let mut all = vec![Tasks::boxed(INLINE, Inline)];
    if cores.are_two() {
        let device = cores.device;
        // `start_handler` pins: the pool makes its threads when it likes.
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).start_handler(move |_| Cores::pin(device)).build();
        let (orders, inbox) = mpsc::channel::<Order>();
        // The thread ends with the last sender.
        cores.on_device(|| std::thread::spawn(move || inbox.into_iter().for_each(Order::fill)));
        all.push(Tasks::boxed(SPAWN_BLOCKING, Blocking));
        all.push(Tasks::boxed(RAYON, Rayon(Arc::new(pool.expect("one thread can be started")))));
        all.push(Tasks::boxed(PARKED, Parked(orders)));
        all.push(Tasks::boxed(SPINNING, cores.on_device(Spinning::start)));
    }
    all
}
