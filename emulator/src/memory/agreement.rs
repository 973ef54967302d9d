//! Whether a request by requester id and one with a PASID are translated alike.
//!
//! An operating system that gives its own DMA a PASID attaches one domain to the device twice: for requests without a PASID,
//! and for those with that PASID. A driver may then use either. This looks whether it has: every request with such a PASID is
//! translated without it as well, and the two are compared.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::Requester;

/// Which requests are looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Audit {
    /// None.
    #[default]
    Off,
    /// All that carry a PASID: right only where no process has one.
    All,
    /// Those with this PASID.
    Pasid(u32),
}

/// The comparison, and what it has found.
#[derive(Debug, Default)]
pub struct Agreement {
    audit: AtomicU64,
    agreed: AtomicU64,
    disagreed: AtomicU64,
    /// Requests by their PASID, while there is an audit.
    seen: Mutex<BTreeMap<Option<u32>, u64>>,
}

const OFF: u64 = 0;
const ALL: u64 = 1;
const ONE: u64 = 2;

impl Agreement {
    /// No requests are looked at.
    pub fn new() -> Self {
        Self::default()
    }

    /// Chooses what is looked at, and forgets which PASIDs were seen.
    pub fn audit(&self, what: Audit) {
        let value = match what {
            Audit::Off => OFF,
            Audit::All => ALL,
            Audit::Pasid(pasid) => ONE | u64::from(pasid) << 32,
        };
        self.audit.store(value, Ordering::Relaxed);
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Requests that were translated alike.
    pub fn agreed(&self) -> u64 {
        self.agreed.load(Ordering::Relaxed)
    }

    /// Requests that were not.
    pub fn disagreed(&self) -> u64 {
        self.disagreed.load(Ordering::Relaxed)
    }

    /// How many requests there were by PASID, `None` for those without one.
    pub fn seen(&self) -> BTreeMap<Option<u32>, u64> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Compares, if this is a request to look at, with what `without` says: whether a request by requester id leads to the
    /// same place.
    #[inline]
    pub(super) fn look(&self, by: Requester, without: impl FnOnce() -> bool) {
        let audit = self.audit.load(Ordering::Relaxed);
        if audit != OFF {
            self.look_closely(audit, by, without);
        }
    }

    #[cold]
    fn look_closely(&self, audit: u64, by: Requester, without: impl FnOnce() -> bool) {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner).entry(by.pasid).or_default() += 1;
        let Some(pasid) = by.pasid else { return };
        if audit == ALL || audit >> 32 == u64::from(pasid) {
            let counter = if without() { &self.agreed } else { &self.disagreed };
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }
}
