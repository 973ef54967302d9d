//! Who does the work: an accelerator, and what may be expected of it.

use dsa::stats::{Event, Path, Stats};
use dsa::{Accelerator, Policy};
use dsa_emulator::{Config, Device, Effect, FaultRule, MemberOrder, WqConfig};
use idxd_sys::opcode;

use crate::support;

/// One back end under test.
pub(crate) struct Backend {
    pub(crate) accelerator: Accelerator,
    has_device: bool,
    faults: bool,
}

/// Who is to do an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    /// The device, from beginning to end; on a back end without one the CPU.
    Device,
    /// The CPU: the device does not do such operations.
    Cpu,
    /// There is nothing to do.
    Nobody,
}

impl Backend {
    pub(crate) fn emulator_shared() -> Self {
        Self::emulated(Config::sapphire_rapids().queue(WqConfig::shared(16)))
    }

    pub(crate) fn emulator_dedicated() -> Self {
        Self::emulated(Config::sapphire_rapids().queue(WqConfig::dedicated(16)))
    }

    pub(crate) fn emulator_second_generation() -> Self {
        Self::emulated(Config::granite_rapids().queue(WqConfig::shared(16)).engines(2))
    }

    pub(crate) fn emulator_without_batch() -> Self {
        Self::emulated(Config::sapphire_rapids().queue(WqConfig::shared(16).without(opcode::BATCH)))
    }

    /// Batches are cut in lists of two.
    pub(crate) fn emulator_small_batches() -> Self {
        Self::emulated(Config::sapphire_rapids().queue(WqConfig::shared(16).max_batch_size(2)).engines(2))
    }

    /// Members run in any order, and some fail.
    pub(crate) fn emulator_shuffled_batches() -> Self {
        let queue = WqConfig::shared(16).max_batch_size(8);
        let config = Config::granite_rapids().queue(queue).member_order(MemberOrder::Shuffled).engines(2);
        Self::emulated(config.fault(FaultRule::new(Effect::PageFault { resolvable: false }).probability(0.05)))
    }

    /// Operations of more than a page are cut in pieces.
    pub(crate) fn emulator_pages_only() -> Self {
        Self::emulated(Config::sapphire_rapids().queue(WqConfig::shared(16).max_transfer_size(4096)))
    }

    pub(crate) fn emulator_small_transfers() -> Self {
        Self::emulated(Config::sapphire_rapids().queue(WqConfig::dedicated(16).max_transfer_size(64 << 10)))
    }

    /// Moves run backwards half of the time, and every fifth descriptor hits a page that is not there.
    pub(crate) fn emulator_backward_and_faulting() -> Self {
        let config = Config::sapphire_rapids().queue(WqConfig::shared(16)).backward_moves(0.5);
        Self::emulated(config.fault(page_faults()))
    }

    /// As above on a device that hides the low bits of fault addresses, and in pieces.
    pub(crate) fn emulator_masked_faults() -> Self {
        let queue = WqConfig::shared(16).max_transfer_size(256 << 10);
        let mut config = Config::granite_rapids().queue(queue).backward_moves(0.5).fault(page_faults());
        config.mask_fault_address = true;
        Self::emulated(config)
    }

    pub(crate) fn emulator_several_queues() -> Self {
        let config = Config::sapphire_rapids()
            .queue(WqConfig::shared(8).threshold(6))
            .queue(WqConfig::dedicated(4))
            .queue(WqConfig::shared(8).max_transfer_size(8192));
        Self::emulated(config.engines(2))
    }

    pub(crate) fn cpu() -> Self {
        Self { accelerator: Accelerator::cpu(), has_device: false, faults: false }
    }

    fn emulated(config: Config) -> Self {
        let faults = !config.faults.is_empty();
        let device = Device::new(config.seed(support::seed())).expect("a valid configuration");
        let mut policy = Policy::default();
        policy.min_device_size = 0;
        // However often a descriptor faults, the device is to finish it.
        policy.max_resumes = 255;
        policy.lanes = 2;
        policy.slots_per_lane = 32;
        // Debug builds on a busy machine are slow; nothing is ever lost here.
        policy.lost_after = support::PATIENCE;
        let accelerator = Accelerator::builder().policy(policy).emulator(&device).build().expect("an enabled device");
        Self { accelerator, has_device: true, faults }
    }

    /// Whether there is a device that does what it can do.
    pub(crate) fn has_device(&self) -> bool {
        self.has_device
    }

    /// Whether the device ends descriptors early now and then. Single operations are resumed, members of batches not.
    pub(crate) fn faults(&self) -> bool {
        self.faults
    }

    /// Awaits one operation, and sees to it that it was done by whom it should have been.
    pub(crate) async fn run<F: Future>(&self, by: By, what: &str, operation: F) -> F::Output {
        let before = self.accelerator.stats();
        let output = support::within(what, operation).await;
        self.judge(by, 1, what, &self.accelerator.stats().since(&before));
        output
    }

    /// Makes `count` blocking calls, and sees to it that they were done by whom they should have been.
    pub(crate) fn call<R>(&self, by: By, count: u64, what: &str, calls: impl FnOnce() -> R) -> R {
        let before = self.accelerator.stats();
        let output = calls();
        self.judge(by, count, what, &self.accelerator.stats().since(&before));
        output
    }

    #[track_caller]
    fn judge(&self, by: By, count: u64, what: &str, done: &Stats) {
        let found = (done.total_operations(Path::Device), done.total_operations(Path::Cpu));
        let expected = match by {
            By::Nobody => (0, 0),
            By::Device if self.has_device => (count, 0),
            By::Device | By::Cpu => (0, count),
        };
        assert_eq!(found, expected, "{what}: (by device, by CPU)\n{done}");
        if expected.0 == 0 {
            assert_eq!(done.event(Event::Submissions), 0, "{what}: submitted for nothing");
        }
    }

    /// Nothing may be left behind.
    pub(crate) fn finish(&self) {
        support::quiet(&self.accelerator);
        assert_eq!(self.accelerator.leaked(), 0);
        assert_eq!(self.accelerator.recoveries(), 0);
    }
}

fn page_faults() -> FaultRule {
    FaultRule::new(Effect::PageFault { resolvable: false }).probability(0.2)
}
