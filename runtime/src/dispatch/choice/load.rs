//! What is in flight in one queue.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Bytes and operations in flight in one queue.
///
/// Any thread may call any method at any time. The two counters are exact: what [`begin`](Self::begin) added,
/// [`end`](Self::end) takes away, whichever threads called. They are read one after the other, so a reader may see one of
/// them before and the other after a change by somebody else.
///
/// Two additions each, to one cache line that all lanes share which use the queue. A submission to the queue costs more.
#[derive(Debug, Default)]
pub struct Load {
    bytes: AtomicU64,
    operations: AtomicU64,
}

impl Load {
    /// Nothing in flight.
    pub const fn new() -> Self {
        Self { bytes: AtomicU64::new(0), operations: AtomicU64::new(0) }
    }

    /// An operation of `bytes` bytes goes into the queue. Says how many were in it.
    #[inline]
    pub fn begin(&self, bytes: u64) -> u64 {
        self.bytes.fetch_add(bytes, Relaxed);
        self.operations.fetch_add(1, Relaxed)
    }

    /// An operation of `bytes` bytes has left it, by whatever end.
    ///
    /// # Panics
    ///
    /// In debug builds, if nothing of that size can be in flight. In release builds such a call, which is a mistake of the
    /// caller, leaves the counters too low by its amount; they still read as 0 rather than as negative numbers.
    #[inline]
    pub fn end(&self, bytes: u64) {
        let bytes_before = self.bytes.fetch_sub(bytes, Relaxed);
        let operations_before = self.operations.fetch_sub(1, Relaxed);
        debug_assert!(bytes_before >= bytes && operations_before >= 1, "the end of an operation that had not begun");
    }

    /// Bytes and operations, as they are counted.
    #[inline]
    pub(super) fn raw(&self) -> (u64, u64) {
        (self.bytes.load(Relaxed), self.operations.load(Relaxed))
    }

    /// Bytes in flight.
    #[inline]
    pub fn bytes(&self) -> u64 {
        not_negative(self.bytes.load(Relaxed))
    }

    /// Operations in flight.
    #[inline]
    pub fn operations(&self) -> u64 {
        not_negative(self.operations.load(Relaxed))
    }
}

/// 0 for what an addition too few has taken below 0.
#[inline]
fn not_negative(count: u64) -> u64 {
    if count >> 63 == 0 { count } else { 0 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Each number begins an operation of that size, or ends one of those under way.
        #[test]
        fn any_order_of_beginnings_and_ends_is_counted_exactly(
            steps in proptest::collection::vec((any::<bool>(), 0u64..1 << 40, any::<prop::sample::Index>()), 0..200)
        ) {
            let load = Load::new();
            let mut out: Vec<u64> = Vec::new();
            for (begins, bytes, which) in steps {
                if begins || out.is_empty() {
                    load.begin(bytes);
                    out.push(bytes);
                } else {
                    load.end(out.swap_remove(which.index(out.len())));
                }
                prop_assert_eq!((load.bytes(), load.operations()), (out.iter().sum(), out.len() as u64));
            }
        }
    }

    #[test]
    fn nothing_is_lost_between_threads_even_if_others_end_what_one_began() {
        let load = Load::new();
        let (sender, receiver) = std::sync::mpsc::channel::<u64>();
        std::thread::scope(|scope| {
            for thread in 1..=3u64 {
                let (sender, load) = (sender.clone(), &load);
                scope.spawn(move || {
                    for step in 0..20_000 {
                        load.begin(thread * step);
                        sender.send(thread * step).unwrap();
                    }
                });
            }
            drop(sender);
            let mut left = 0;
            for bytes in receiver {
                // Some stay in flight, to be counted at the end.
                if bytes % 7 == 3 {
                    left += 1;
                    continue;
                }
                load.end(bytes);
                assert!(load.operations() <= 60_000);
            }
            assert_eq!(load.operations(), left);
        });
        let expected = (1..=3u64).flat_map(|thread| (0..20_000).map(move |step| thread * step)).filter(|b| b % 7 == 3);
        assert_eq!(load.bytes(), expected.sum());
    }

    #[test]
    #[cfg(not(debug_assertions))]
    fn an_end_too_many_reads_as_nothing_in_flight() {
        let load = Load::new();
        load.end(4096);
        assert_eq!((load.bytes(), load.operations()), (0, 0));
    }
}
