//! Completion records: the memory that the device writes.
//!
//! One record per cache line: 32 bytes would do, but then the device's write of one record would take the line away from a
//! thread that looks at what is beside it.
//!
//! The device counts as another thread (invariant 2). While a descriptor is with it, nobody forms a reference to the
//! record: the status byte is read as an atomic through a raw pointer, and the other bytes only after an Acquire load
//! has seen the status that the device stored last.

/// The status of a record that no device has written. It is none of the specification's, but nothing depends on that: the
/// slot's stamp says the same ([`super::slot::With::Nobody`]).
const NOT_TAKEN: u8 = 0x7f;

#[cfg(not(dsa_loom))]
mod imp {
    use std::cell::UnsafeCell;
    use std::sync::atomic::{AtomicU8, Ordering};

    use idxd_sys::CompletionRecord;

    use crate::lane::sync::step;

    /// One record, alone in its cache line.
    #[repr(C, align(64))]
    pub(crate) struct RecordCell(UnsafeCell<CompletionRecord>);

    // SAFETY: all access goes through raw pointers under the rules of this module: the status byte atomically, the
    // rest only by the slot's owner while no device may write.
    unsafe impl Sync for RecordCell {}

    impl RecordCell {
        pub(crate) fn new() -> Self {
            Self(UnsafeCell::new(CompletionRecord::default()))
        }

        /// With a record that is complete.
        #[cfg(test)]
        pub(crate) fn of(record: CompletionRecord) -> Self {
            Self(UnsafeCell::new(record))
        }

        /// The address for a descriptor; the provenance is exposed for the device to pick up.
        #[inline]
        pub(crate) fn addr(&self) -> u64 {
            self.0.get().expose_provenance() as u64
        }

        /// The status byte; 0 means that the device has not completed the descriptor.
        #[inline]
        pub(crate) fn status(&self) -> u8 {
            step();
            self.status_byte().load(Ordering::Acquire)
        }

        /// Clears the status, so that the next non-zero value is the next completion.
        #[inline]
        pub(crate) fn reset(&self) {
            // The submission orders it before anything the device does. Release: whoever sees it sees that the slot's stamp
            // is gone.
            step();
            self.status_byte().store(0, Ordering::Release);
        }

        /// Completes it in the device's place: nobody has the descriptor, or will. See [`super::NOT_TAKEN`].
        pub(crate) fn set_not_taken(&self) {
            // Release: whoever sees it sees the slot's stamp, which says the same.
            self.status_byte().store(super::NOT_TAKEN, Ordering::Release);
        }

        /// The whole record.
        ///
        /// # Safety
        ///
        /// The caller has seen a status other than 0 since the last reset, and no descriptor that names this record
        /// is with a device.
        #[inline]
        pub(crate) unsafe fn read(&self) -> CompletionRecord {
            // SAFETY: in bounds and aligned; by the caller's promise the device stored the status last and has
            // finished, and the caller's Acquire load ordered those writes before this read.
            unsafe { self.0.get().read() }
        }

        #[inline]
        fn status_byte(&self) -> &AtomicU8 {
            // SAFETY: byte 0 of the record, valid and aligned as long as `self`. Both sides access it atomically
            // while a descriptor is out: we here, the in-process model through its own atomic store, hardware by a
            // single byte write.
            unsafe { AtomicU8::from_ptr(self.0.get().cast()) }
        }
    }
}

#[cfg(dsa_loom)]
mod imp {
    use loom::sync::atomic::{AtomicU8, Ordering};

    use idxd_sys::CompletionRecord;

    /// The part of a record that ownership depends on: its status byte.
    pub(crate) struct RecordCell {
        status: AtomicU8,
        /// What `get` shows, which no model looks into.
        complete: CompletionRecord,
    }

    impl RecordCell {
        pub(crate) fn new() -> Self {
            Self { status: AtomicU8::new(0), complete: CompletionRecord { status: 1, ..Default::default() } }
        }

        #[cfg(test)]
        pub(crate) fn of(record: CompletionRecord) -> Self {
            Self { status: AtomicU8::new(record.status), complete: record }
        }

        pub(crate) fn addr(&self) -> u64 {
            0
        }

        pub(crate) fn status(&self) -> u8 {
            self.status.load(Ordering::Acquire)
        }

        pub(crate) fn reset(&self) {
            self.status.store(0, Ordering::Release);
        }

        pub(crate) fn set_not_taken(&self) {
            self.status.store(super::NOT_TAKEN, Ordering::Release);
        }

        pub(crate) unsafe fn get(&self) -> &CompletionRecord {
            &self.complete
        }

        pub(crate) unsafe fn read(&self) -> CompletionRecord {
            CompletionRecord { status: self.status(), ..Default::default() }
        }

        /// What the device does.
        #[cfg(test)]
        pub(crate) fn complete(&self) {
            self.status.store(1, Ordering::Release);
        }
    }
}

pub(crate) use imp::RecordCell;
