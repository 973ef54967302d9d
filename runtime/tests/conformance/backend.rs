//! Who does the work: an accelerator, and what may be expected of it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use dsa::descriptor::Capabilities;
use dsa::device::{Criteria, QueueMode, Topology};
use dsa::stats::{Event, Path, Stats};
use dsa::{Accelerator, Builder, Policy, SubmissionPath, SubmitBy};
use dsa_emulator::{Config, Device, Effect, FaultRule, MemberOrder, WqConfig};
use idxd_sys::opcode;

use crate::support;

/// One back end under test.
pub(crate) struct Backend {
    pub(crate) accelerator: Accelerator,
    /// The software device, if it is one in this process.
    model: Option<Device>,
    has_device: bool,
    faults: bool,
    _turn: Option<MutexGuard<'static, ()>>,
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

    pub(crate) fn emulator_third_generation() -> Self {
        Self::emulated(Config::diamond_rapids().queue(WqConfig::shared(16)).engines(2))
    }

    /// Short lists, small pieces, members in any order.
    pub(crate) fn emulator_third_generation_small() -> Self {
        let queue = WqConfig::dedicated(16).max_transfer_size(8192).max_sgl_size(8).max_batch_size(4);
        Self::emulated(Config::diamond_rapids().queue(queue).member_order(MemberOrder::Shuffled).engines(2))
    }

    /// Every fifth descriptor hits a page that is not there.
    pub(crate) fn emulator_third_generation_faulting() -> Self {
        let queue = WqConfig::shared(16).max_transfer_size(64 << 10);
        Self::emulated(Config::diamond_rapids().queue(queue).backward_moves(0.5).fault(page_faults()))
    }

    /// As above on a device that hides the low bits of fault addresses, and counts whole blocks of lists only.
    pub(crate) fn emulator_third_generation_masked_faults() -> Self {
        let mut config = Config::diamond_rapids().queue(WqConfig::shared(16)).fault(page_faults());
        config.mask_fault_address = true;
        config.choices.partial_list_entries = false;
        Self::emulated(config)
    }

    /// Queues of one device that do not offer the same.
    pub(crate) fn emulator_uneven_queues() -> Self {
        let poor = [opcode::CR_DELTA, opcode::DIF_CHECK, opcode::GATHER_COPY, opcode::REDUCE, opcode::DRAIN];
        let poor = poor.into_iter().fold(WqConfig::shared(8), WqConfig::without);
        Self::emulated(Config::diamond_rapids().queue(poor).queue(WqConfig::dedicated(8).max_sgl_size(4)).engines(2))
    }

    /// The ENQCMD instruction, by trap.
    pub(crate) fn trapped_shared() -> Self {
        Self::trapped(Config::sapphire_rapids().queue(WqConfig::shared(16)))
    }

    /// The MOVDIR64B instruction, by trap.
    pub(crate) fn trapped_dedicated() -> Self {
        Self::trapped(Config::sapphire_rapids().queue(WqConfig::dedicated(16)))
    }

    /// Typed and list operations by the ENQCMD instruction.
    pub(crate) fn trapped_third_generation() -> Self {
        Self::trapped(Config::diamond_rapids().queue(WqConfig::shared(16)))
    }

    /// A shared queue of this machine, by ENQCMD on its portal.
    pub(crate) fn kernel_shared_portal() -> Self {
        Self::kernel(QueueMode::Shared, SubmissionPath::Enqcmd)
    }

    /// A dedicated queue of this machine, by MOVDIR64B on its portal.
    pub(crate) fn kernel_dedicated_portal() -> Self {
        Self::kernel(QueueMode::Dedicated, SubmissionPath::Movdir64b)
    }

    /// A shared queue of this machine, by `write(2)`.
    pub(crate) fn kernel_shared_write() -> Self {
        Self::kernel(QueueMode::Shared, SubmissionPath::Write)
    }

    /// A dedicated queue of this machine, by `write(2)`.
    pub(crate) fn kernel_dedicated_write() -> Self {
        Self::kernel(QueueMode::Dedicated, SubmissionPath::Write)
    }

    pub(crate) fn cpu() -> Self {
        Self { accelerator: Accelerator::cpu(), model: None, has_device: false, faults: false, _turn: None }
    }

    fn emulated(config: Config) -> Self {
        let faults = !config.faults.is_empty();
        let device = Device::new(config.seed(support::seed())).expect("a valid configuration");
        let backend = Self::over(Accelerator::builder().emulator(&device), faults);
        Self { model: Some(device), ..backend }
    }

    fn trapped(config: Config) -> Self {
        let device = Device::new(config.seed(support::seed())).expect("a valid configuration");
        let backend = Self::over(Accelerator::builder().emulator_portals(&device), false);
        Self { model: Some(device), ..backend }
    }

    /// The best queue of a mode that this machine has. It is opened once; its checks run one after the other. Pages that
    /// are not present make descriptors end early, whenever the kernel likes.
    fn kernel(mode: QueueMode, path: SubmissionPath) -> Self {
        static OPEN: Mutex<Option<Accelerator>> = Mutex::new(None);
        static TURN: Mutex<()> = Mutex::new(());
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let open = || {
            let topology = Topology::read();
            let selection = topology.select(&Criteria::new().mode(mode));
            let Some(choice) = selection.chosen.first() else { panic!("no such work queue here:\n{selection}") };
            let by = if path == SubmissionPath::Write { SubmitBy::Write } else { SubmitBy::Portal };
            let builder = Accelerator::builder().work_queue(choice.queue.id.to_string()).submit_by(by);
            Self::over(builder, true).accelerator
        };
        let accelerator = OPEN.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(open).clone();
        let queues: Vec<_> = accelerator.work_queues().map(|queue| (queue.is_dedicated, queue.path)).collect();
        assert_eq!(queues, [(mode == QueueMode::Dedicated, path)], "run the checks of one back end at a time");
        Self { accelerator, model: None, has_device: true, faults: true, _turn: Some(turn) }
    }

    fn over(builder: Builder, faults: bool) -> Self {
        let mut policy = Policy::default();
        policy.min_device_size = Some(0);
        // However often a descriptor faults, the device is to finish it.
        policy.max_resumes = 255;
        policy.lanes = 2;
        policy.slots_per_lane = 32;
        // Debug builds on a busy machine are slow; nothing is ever lost here.
        policy.lost_after = support::PATIENCE;
        let accelerator = builder.policy(policy).build().unwrap_or_else(|error| panic!("{error}"));
        Self { accelerator, model: None, has_device: true, faults, _turn: None }
    }

    /// Whether there is a device that does what it can do.
    pub(crate) fn has_device(&self) -> bool {
        self.has_device
    }

    /// Whether the device ends descriptors early now and then. Single operations are resumed, members of batches not.
    pub(crate) fn faults(&self) -> bool {
        self.faults
    }

    /// Whether a queue offers something.
    pub(crate) fn offers(&self, what: impl Fn(&Capabilities) -> bool) -> bool {
        self.accelerator.capabilities().any(what)
    }

    /// Who is to do an operation of `len` bytes: the device if a queue offers it.
    pub(crate) fn by(&self, len: usize, what: impl Fn(&Capabilities) -> bool) -> By {
        match len {
            0 => By::Nobody,
            _ if !self.has_device || self.offers(what) => By::Device,
            _ => By::Cpu,
        }
    }

    /// Descriptors with this opcode that the device has executed, by its own account; 0 where it keeps none for us.
    pub(crate) fn executed(&self, opcode: u8) -> u64 {
        self.model.as_ref().map_or(0, |device| device.counters().executed(opcode))
    }

    /// As [`run`](Self::run), and asks the device itself.
    pub(crate) async fn run_as<F: Future>(&self, opcode: u8, by: By, what: &str, operation: F) -> F::Output {
        let before = self.executed(opcode);
        let output = self.run(by, what, operation).await;
        self.judge_device(opcode, by, what, before);
        output
    }

    /// As [`call`](Self::call) of one call, and asks the device itself.
    pub(crate) fn call_as<R>(&self, opcode: u8, by: By, what: &str, call: impl FnOnce() -> R) -> R {
        let before = self.executed(opcode);
        let output = self.call(by, u64::from(by != By::Nobody), what, call);
        self.judge_device(opcode, by, what, before);
        output
    }

    #[track_caller]
    fn judge_device(&self, opcode: u8, by: By, what: &str, before: u64) {
        let executed = self.executed(opcode) - before;
        let by_device = by == By::Device && self.model.is_some();
        assert_eq!(executed != 0, by_device, "{what}: {executed} descriptors of opcode {opcode:#04x}");
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
