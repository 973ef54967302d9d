//! Operations that must be refused, and buffers for which they must be.

use std::sync::Arc;
use std::task::Poll;

use dsa::buf::{StableBuf, StableBufMut};
use dsa::stats::{Event, Path};
use dsa::{Accelerator, Error};

use super::poll_once;

/// Polls an operation that must end at once with an error, without the device having heard of it.
#[track_caller]
pub(crate) fn refused<F, T, B>(acc: &Accelerator, mut operation: F) -> (Error, B)
where
    F: Future<Output = Result<T, dsa::Failed<B>>> + Unpin,
{
    let Poll::Ready(result) = poll_once(&mut operation) else { panic!("a mistake is found at once") };
    let Err(failed) = result else { panic!("a mistake went unnoticed") };
    let stats = acc.stats();
    assert_eq!(stats.event(Event::Submissions), 0, "submitted");
    assert_eq!(stats.total_operations(Path::Device) + stats.total_operations(Path::Cpu), 0, "counted as done");
    assert_eq!((acc.in_flight(), stats.event(Event::Cancelled)), (0, 0));
    let (error, buffers) = failed.into_parts();
    (error, buffers.expect("the buffers come back"))
}

/// A view of shared memory, which safe buffers cannot be. The tests below only ever hand it to operations that must
/// refuse it, or that read.
pub(crate) struct View {
    memory: Arc<Box<[u8]>>,
    start: usize,
    len: usize,
}

impl View {
    pub(crate) fn of(memory: &Arc<Box<[u8]>>, start: usize, len: usize) -> Self {
        assert!(start + len <= memory.len());
        Self { memory: Arc::clone(memory), start, len }
    }
}

// SAFETY: inside shared heap memory that the view keeps alive; nobody writes to it.
unsafe impl StableBuf for View {
    fn as_ptr(&self) -> *const u8 {
        self.memory[self.start..].as_ptr()
    }

    fn len(&self) -> usize {
        self.len
    }
}

// SAFETY: this breaks the rule of exclusive ownership on purpose: it is what `Error::Overlap` is for. Nothing is ever
// written, because every operation that would is refused.
unsafe impl StableBufMut for View {
    fn as_mut_ptr(&mut self) -> *mut u8 {
        self.memory[self.start..].as_ptr().cast_mut()
    }

    fn capacity(&self) -> usize {
        self.len
    }

    unsafe fn set_init(&mut self, _: usize) {
        panic!("an overlapping operation was done");
    }
}
