//! What is done with one piece, through the async interface.
//!
//! Nothing is judged here: results go to [`verify`](super::verify) as they are.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use dsa::buf::PoolBuf;
use dsa::{Accelerator, Failed};
use tokio::sync::{Mutex, mpsc};

use super::args::Recipe;

/// Where a piece comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Number of the file.
    pub(crate) file: usize,
    /// Offset in it, in bytes.
    pub(crate) offset: u64,
}

/// A piece, and what is to be done with it.
#[derive(Debug)]
pub(crate) struct Task {
    place: Place,
    recipe: Recipe,
    src: PoolBuf,
    dst: PoolBuf,
    second: Option<PoolBuf>,
    /// Source and destination of an operation that is to be cancelled.
    cancelled: Option<(PoolBuf, PoolBuf)>,
    /// Chooses the pattern of a fill and the place of a planted difference.
    choice: u64,
    /// CRC-32C of the piece as read.
    crc: u32,
}

/// A piece after all operations, and what they said.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) place: Place,
    pub(crate) recipe: Recipe,
    pub(crate) src: PoolBuf,
    pub(crate) dst: PoolBuf,
    /// The second destination of a dualcast, or what was filled.
    pub(crate) second: Option<PoolBuf>,
    pub(crate) pattern: [u8; 8],
    /// CRC-32C of the piece as read.
    pub(crate) crc: u32,
    pub(crate) answer: Answer,
}

/// What the operations of a recipe returned beside buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Nothing.
    Nothing,
    /// A checksum.
    Crc(u32),
    /// Two comparisons: of the copy as it is, and with the byte at offset `planted` changed.
    Compared { clean: Option<usize>, planted: usize, found: Option<usize> },
}

impl Task {
    /// Makes sure that no byte of a destination is right before the operation has written it. Computes the CRC that the
    /// source must have to the end.
    pub(crate) fn new(
        place: Place,
        recipe: Recipe,
        src: PoolBuf,
        mut dst: PoolBuf,
        mut second: Option<PoolBuf>,
        mut cancelled: Option<(PoolBuf, PoolBuf)>,
        choice: u64,
    ) -> Self {
        spoil(&mut dst, &src);
        if let Some(second) = &mut second {
            spoil(second, &src);
        }
        if let Some((from, _)) = &mut cancelled {
            from.set_len(src.len());
        }
        let crc = crc32c::crc32c(&src);
        Self { place, recipe, src, dst, second, cancelled, choice, crc }
    }
}

/// Fills a destination with the complement of the source, and makes it empty.
fn spoil(dst: &mut PoolBuf, src: &[u8]) {
    dst.set_len(src.len());
    for (to, from) in dst.iter_mut().zip(src) {
        *to = !from;
    }
    dst.clear();
}

/// Works on tasks until there are no more; gives the place of the operation that failed.
pub(crate) async fn work(
    accelerator: Accelerator,
    tasks: Arc<Mutex<mpsc::Receiver<Task>>>,
    finished: mpsc::Sender<Finished>,
) -> Result<(), (Place, dsa::Error)> {
    loop {
        let task = tasks.lock().await.recv().await;
        let Some(task) = task else { return Ok(()) };
        let place = task.place;
        let done = perform(&accelerator, task).await.map_err(|error| (place, error))?;
        if finished.send(done).await.is_err() {
            return Ok(());
        }
    }
}

/// Does what the recipe says.
async fn perform(accelerator: &Accelerator, task: Task) -> Result<Finished, dsa::Error> {
    let Task { place, recipe, src, dst, second, cancelled, choice, crc } = task;
    let len = src.len();
    let pattern = (choice | 1).to_le_bytes();
    if let Some((from, to)) = cancelled {
        start_and_drop(accelerator.copy_crc32c(from, to)).await;
    }
    let (src, dst, second, answer) = match (recipe, second) {
        (Recipe::Dualcast, Some(second)) => {
            let (src, dst, second) = accelerator.dualcast(src, dst, second).await.map_err(error)?;
            (src, dst, Some(second), Answer::Nothing)
        }
        (Recipe::Fill, Some(second)) => {
            let second = accelerator.fill(second, len, pattern).await.map_err(error)?;
            let (src, dst) = accelerator.copy(src, dst).await.map_err(error)?;
            (src, dst, Some(second), Answer::Nothing)
        }
        (Recipe::CopyCompare, second) => {
            let (src, dst) = accelerator.copy(src, dst).await.map_err(error)?;
            let (clean, (src, mut dst)) = accelerator.compare(src, dst).await.map_err(error)?;
            let planted = (choice % len as u64) as usize;
            let bit = 1 << (choice >> 61);
            dst[planted] ^= bit;
            let (found, (src, mut dst)) = accelerator.compare(src, dst).await.map_err(error)?;
            dst[planted] ^= bit;
            (src, dst, second, Answer::Compared { clean, planted, found })
        }
        (Recipe::Crc32c, second) => {
            let (src, dst) = accelerator.copy(src, dst).await.map_err(error)?;
            let (crc, dst) = accelerator.crc32c(dst).await.map_err(error)?;
            (src, dst, second, Answer::Crc(crc))
        }
        (_, second) => {
            let (crc, (src, dst)) = accelerator.copy_crc32c(src, dst).await.map_err(error)?;
            (src, dst, second, Answer::Crc(crc))
        }
    };
    Ok(Finished { place, recipe, src, dst, second, pattern, crc, answer })
}

fn error<B>(failed: Failed<B>) -> dsa::Error {
    failed.into_parts().0
}

/// Polls a future once and drops it: what `select!` and timeouts do. Its buffers return to the pool when the device is
/// done with them. Should they return earlier, what the device still writes spoils somebody else's piece, and shows.
async fn start_and_drop(mut operation: impl Future + Unpin) {
    poll_fn(|context| {
        let _ = Pin::new(&mut operation).poll(context);
        Poll::Ready(())
    })
    .await;
}
