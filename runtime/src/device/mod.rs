//! Work queues as the runtime sees them: open, closed for recovery, or gone.

mod queue;

pub(crate) use queue::{Admission, Queue};
