//! What is counted: paths, operations, reasons and events.

use std::fmt;

/// A plain enumeration with a name for each value, used as an index into arrays of counters.
macro_rules! names {
    ($(#[$outer:meta])* pub enum $type:ident { $($(#[$inner:meta])* $variant:ident = $name:literal,)* }) => {
        $(#[$outer])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum $type {
            $($(#[$inner])* $variant,)*
        }

        impl $type {
            /// Every value, in ascending order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// Number of values.
            pub(super) const COUNT: usize = Self::ALL.len();

            /// The name in lower case, words joined by hyphens.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// Place in an array with one element for each value.
            #[inline]
            pub(super) const fn index(self) -> usize {
                self as usize
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.name())
            }
        }
    };
}

names! {
    /// Who did an operation.
    pub enum Path {
        /// A device, hardware or software model, from beginning to end.
        Device = "device",
        /// The CPU engine, at least in part.
        Cpu = "cpu",
    }
}

names! {
    /// The kinds of operation.
    #[non_exhaustive]
    pub enum Operation {
        /// Memory move.
        Copy = "copy",
        /// Fill with a pattern.
        Fill = "fill",
        /// Comparison of two regions.
        Compare = "compare",
        /// Copy to two destinations.
        Dualcast = "dualcast",
        /// CRC-32C.
        Crc32c = "crc32c",
        /// Copy with CRC-32C.
        CopyCrc32c = "copy-crc32c",
        /// Comparison of a region with a pattern.
        ComparePattern = "compare-pattern",
        /// CRC-64.
        Crc64 = "crc64",
        /// Copy with CRC-64.
        CopyCrc64 = "copy-crc64",
        /// Record of how two regions differ.
        CreateDelta = "create-delta",
        /// Change of a region by such a record.
        ApplyDelta = "apply-delta",
        /// Check of data-integrity fields.
        DifCheck = "dif-check",
        /// Copy that puts data-integrity fields behind blocks.
        DifInsert = "dif-insert",
        /// Copy that checks data-integrity fields and leaves them out.
        DifStrip = "dif-strip",
        /// Copy that checks data-integrity fields and replaces them.
        DifUpdate = "dif-update",
        /// Data-integrity fields by themselves.
        DixGenerate = "dix-generate",
        /// Write-back of cache lines.
        CacheFlush = "cache-flush",
        /// Translations, and pages, made present.
        TranslationFetch = "translation-fetch",
        /// Wait for everything earlier.
        Drain = "drain",
        /// Copy of blocks that a list names.
        GatherCopy = "gather-copy",
        /// Copy to blocks that a list names.
        ScatterCopy = "scatter-copy",
        /// Fill of blocks that a list names.
        ScatterFill = "scatter-fill",
        /// Conversion of typed elements.
        TypeConvert = "type-convert",
        /// Two regions of elements to one.
        Reduce = "reduce",
        /// The same to two destinations.
        ReduceDualcast = "reduce-dualcast",
        /// Blocks of elements that a list names to one.
        GatherReduce = "gather-reduce",
    }
}

names! {
    /// Why the CPU did an operation, or the rest of one.
    #[non_exhaustive]
    pub enum Reason {
        /// There is no usable device.
        NoDevice = "no-device",
        /// Smaller than the least size that is set for a device.
        BelowThreshold = "below-threshold",
        /// It is expected to cost less than even an idle device would.
        Cheaper = "cheaper",
        /// It is expected to cost less than to wait for what is ahead in the queues.
        Busy = "busy",
        /// To see how long the CPU takes. That is tried now and then.
        Explored = "explored",
        /// No queue offers the operation, the flag or the size.
        Unsupported = "unsupported",
        /// The caller or the configuration asked for the CPU.
        Forced = "forced",
        /// Every queue went on refusing the descriptor.
        QueueFull = "queue-full",
        /// All slots of the lane are in use.
        NoSlot = "no-slot",
        /// Page faults, more of them than the limit of resumes.
        PageFault = "page-fault",
        /// A batch member that the device skipped, because an earlier one failed before a fence.
        Abandoned = "abandoned",
        /// The device ended the descriptor with an error.
        DeviceError = "device-error",
        /// The device stopped answering, was disabled or was reset.
        DeviceLost = "device-lost",
        /// This process is the child of a fork; the device belongs to the parent.
        Forked = "forked",
    }
}

names! {
    /// What happened on the way.
    #[non_exhaustive]
    pub enum Event {
        /// Descriptors that a queue accepted, batches counted once.
        Submissions = "submissions",
        /// Times that descriptors were handed to a queue, one or many at once, accepted or not: each costs one fence
        /// (portal), or one `write(2)` and the look at the file before it.
        Flushes = "flushes",
        /// BATCH descriptors among the submissions. Their members count as operations, each for itself.
        Batches = "batches",
        /// Operations, each awaited by itself, that a lane collected and sent together, as members of one BATCH descriptor
        /// ([`Policy::batch_limit`](crate::Policy::batch_limit)).
        Collected = "collected",
        /// Submissions that a queue refused for the moment.
        Retries = "retries",
        /// Partial completions: page faults that a device reported.
        PageFaults = "page-faults",
        /// Descriptors sent for the rest of a partial completion.
        Resumes = "resumes",
        /// Operations whose completion was found by the spin of their first poll.
        InlineCompletions = "inline-completions",
        /// Futures dropped before their operation was complete.
        Cancelled = "cancelled",
        /// Operations of such futures that have completed since, their buffers freed.
        OrphansReaped = "orphans-reaped",
        /// Tasks that gave up polling themselves and waited for the poller.
        Parks = "parks",
        /// Tasks that the poller thread woke.
        PollerWakes = "poller-wakes",
        /// Tasks that waited for the poller and were woken by a worker: while it polled another one, or before or after it
        /// parked.
        WorkerWakes = "worker-wakes",
        /// Queues that were closed to get memory back from a device that did not answer.
        Quiesces = "quiesces",
        /// Operations whose memory was given up for good, because a device may still use it.
        Leaked = "leaked",
        /// Times that an operation began to wait for room ([`Pressure::Wait`](crate::Pressure::Wait)). What is more than the
        /// next three together still waits, or was forgotten.
        WaitsBegun = "waits-begun",
        /// Such waits that ended with the operation in a queue.
        WaitsServed = "waits-served",
        /// Such waits that ended without room: the queue was lost, or the time was up. The CPU does the work, unless it
        /// must not.
        WaitsGivenUp = "waits-given-up",
        /// Such waits of futures that were dropped.
        WaitsCancelled = "waits-cancelled",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn the_index_is_the_place_in_the_list_and_names_are_unique() {
        macro_rules! check {
            ($($type:ident)*) => { $(
                assert_eq!($type::COUNT, $type::ALL.len());
                for (place, value) in $type::ALL.iter().enumerate() {
                    assert_eq!(value.index(), place);
                }
                let names: HashSet<_> = $type::ALL.iter().map(|value| value.name()).collect();
                assert_eq!(names.len(), $type::COUNT);
            )* };
        }
        check!(Path Operation Reason Event);
    }
}
