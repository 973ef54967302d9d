//! The configuration of a work queue as engines and submitters read it: one atomic for each field.
//!
//! It is written only while the queue is disabled and nothing of it is queued or executing, by one command at a time.
//! Submitters and engines read it only for descriptors that an enabled queue has accepted, and enabling is a
//! sequentially consistent store; so they read what was written before it, and relaxed loads will do. Only which traffic
//! classes are unusable may change at any time: it is not part of the queue's own configuration.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use crate::config::{Mode, WqConfig};
use crate::memory::Requester;

/// See the module.
#[derive(Default)]
pub(crate) struct Setup {
    dedicated: AtomicBool,
    size: AtomicUsize,
    threshold: AtomicUsize,
    priority: AtomicU8,
    group: AtomicUsize,
    block_on_fault: AtomicBool,
    ats: AtomicBool,
    page_requests: AtomicBool,
    max_transfer_size: AtomicU64,
    max_batch_size: AtomicU32,
    max_sgl_size: AtomicU32,
    op_config: [AtomicU64; 4],
    requester: AtomicU32,
    /// See [`unusable_classes`](Self::unusable_classes).
    unusable_classes: AtomicU8,
}

impl Setup {
    pub(crate) fn new(config: &WqConfig) -> Self {
        let setup = Self::default();
        setup.set(config, Requester::DEVICE);
        setup
    }

    /// Writes all fields. `requester` is whose descriptors a dedicated queue executes if no client says so.
    pub(crate) fn set(&self, config: &WqConfig, requester: Requester) {
        let o = Ordering::Relaxed;
        self.dedicated.store(config.mode == Mode::Dedicated, o);
        self.size.store(usize::from(config.size), o);
        self.threshold.store(usize::from(config.threshold), o);
        self.priority.store(config.priority, o);
        self.group.store(config.group, o);
        self.block_on_fault.store(config.block_on_fault, o);
        self.ats.store(config.ats, o);
        // A page request needs both services.
        self.page_requests.store(config.page_requests && config.ats, o);
        self.max_transfer_size.store(config.max_transfer_size, o);
        self.max_batch_size.store(config.max_batch_size, o);
        self.max_sgl_size.store(config.max_sgl_size, o);
        for (to, from) in self.op_config.iter().zip(config.op_config) {
            to.store(from, o);
        }
        self.requester.store(requester.to_word(), o);
    }

    /// All fields together, for a look from outside.
    pub(crate) fn get(&self) -> WqConfig {
        let o = Ordering::Relaxed;
        WqConfig {
            mode: if self.is_dedicated() { Mode::Dedicated } else { Mode::Shared },
            size: self.size() as u16,
            threshold: self.threshold() as u16,
            priority: self.priority(),
            group: self.group(),
            block_on_fault: self.block_on_fault(),
            ats: self.ats(),
            page_requests: self.page_requests(),
            max_transfer_size: self.max_transfer_size(),
            max_batch_size: self.max_batch_size(),
            max_sgl_size: self.max_sgl_size(),
            op_config: [0, 1, 2, 3].map(|i| self.op_config[i].load(o)),
        }
    }

    #[inline]
    pub(crate) fn is_dedicated(&self) -> bool {
        self.dedicated.load(Ordering::Relaxed)
    }

    #[inline]
    pub(crate) fn size(&self) -> usize {
        self.size.load(Ordering::Relaxed)
    }

    #[inline]
    pub(crate) fn threshold(&self) -> usize {
        self.threshold.load(Ordering::Relaxed)
    }

    pub(crate) fn priority(&self) -> u8 {
        self.priority.load(Ordering::Relaxed)
    }

    #[inline]
    pub(crate) fn group(&self) -> usize {
        self.group.load(Ordering::Relaxed)
    }

    #[inline]
    pub(crate) fn block_on_fault(&self) -> bool {
        self.block_on_fault.load(Ordering::Relaxed)
    }

    pub(crate) fn ats(&self) -> bool {
        self.ats.load(Ordering::Relaxed)
    }

    #[inline]
    pub(crate) fn page_requests(&self) -> bool {
        self.page_requests.load(Ordering::Relaxed)
    }

    #[inline]
    pub(crate) fn max_transfer_size(&self) -> u64 {
        self.max_transfer_size.load(Ordering::Relaxed)
    }

    #[inline]
    pub(crate) fn max_batch_size(&self) -> u32 {
        self.max_batch_size.load(Ordering::Relaxed)
    }

    pub(crate) fn max_sgl_size(&self) -> u32 {
        self.max_sgl_size.load(Ordering::Relaxed)
    }

    /// Whether the queue offers an operation.
    #[inline]
    pub(crate) fn offers(&self, opcode: u8) -> bool {
        self.op_config[usize::from(opcode >> 6)].load(Ordering::Relaxed) >> (opcode & 63) & 1 != 0
    }

    pub(crate) fn requester(&self) -> Requester {
        Requester::from_word(self.requester.load(Ordering::Relaxed))
    }

    /// Which of the two traffic classes of the queue's group no virtual channel carries: bit 0 for the first (TC-A), bit 1
    /// for the second (TC-B). None, where nobody configures any.
    pub(crate) fn unusable_classes(&self) -> u8 {
        self.unusable_classes.load(Ordering::Relaxed)
    }

    pub(crate) fn set_unusable_classes(&self, bits: u8) {
        self.unusable_classes.store(bits, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let limits = WqConfig::dedicated(9).max_transfer_size(1 << 12).max_sgl_size(64);
        let config = limits.priority(3).group(2).without(3).page_requests(false);
        let setup = Setup::new(&WqConfig::shared(5));
        let by = Requester { pasid: Some(0xf_ffff), privileged: true };
        setup.set(&config, by);
        assert_eq!((setup.get(), setup.requester()), (config, by));
        assert!(!setup.offers(3) && setup.offers(4) && setup.offers(255));
        setup.set(&WqConfig::shared(5), Requester::DEVICE);
        assert_eq!(setup.requester(), Requester::DEVICE);
        setup.set(&WqConfig::shared(5).ats(false), Requester::DEVICE);
        assert_eq!(setup.get(), WqConfig::shared(5).ats(false).page_requests(false), "no translations, no requests");
    }
}
