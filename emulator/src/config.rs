//! What a device is made of: version, capabilities, queues, engines, and how strict the model is.

use std::time::Duration;

use idxd_sys::opcode;
use thiserror::Error;

pub use crate::choices::Choices;
use crate::fault::FaultRule;
use crate::timing::Timing;

mod extended;

pub use self::extended::InterDomain;
pub(crate) use self::extended::TABLE_SPACE;

/// GENCAP bits and fields, as [`idxd_sys::gencap`] has them. The model acts on those that concern its operations.
pub mod gencap {
    pub use idxd_sys::gencap::*;

    /// Batches of a single descriptor, by another name.
    pub const BATCH_1: u64 = BATCH_OF_ONE;
}

/// Version register of the first generation (Sapphire and Emerald Rapids).
pub const VERSION_1_0: u32 = 0x100;
/// Version register of the second generation (Granite Rapids).
pub const VERSION_2_0: u32 = 0x200;
/// Version register of the third generation.
pub const VERSION_3_0: u32 = 0x300;

/// How a work queue takes descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// ENQCMD, any number of clients.
    Shared,
    /// MOVDIR64B, one client.
    Dedicated,
}

/// How reserved bytes of a descriptor are treated. The specification lets a device skip these checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Checks {
    /// A reserved byte that is not 0 ends the descriptor with status 0x12.
    Strict,
    /// Reserved bytes are ignored.
    Lenient,
}

/// In which order members of a batch run between two fences.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MemberOrder {
    /// The order of the list.
    InOrder,
    /// A seeded shuffle, within windows of 32 members: what a device may do, and what software must not notice.
    Shuffled,
}

/// One work queue.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WqConfig {
    /// Shared or dedicated.
    pub mode: Mode,
    /// Entries, 1 or more; all queues together share the device's total.
    pub size: u16,
    /// Shared queues: occupancy below which the limited portal accepts, at most `size`.
    pub threshold: u16,
    /// Priority inside the group, 1 to 15.
    pub priority: u8,
    /// Group that serves the queue.
    pub group: usize,
    /// Whether descriptors may ask to block on faults.
    pub block_on_fault: bool,
    /// Whether the queue may use the address translation service. Without it there are no page requests either, and no
    /// translation fetch.
    pub ats: bool,
    /// Whether the queue may make page requests. Without them every fault that would block is a refusal.
    pub page_requests: bool,
    /// Largest transfer in bytes, a power of two.
    pub max_transfer_size: u64,
    /// Largest batch in descriptors, a power of two.
    pub max_batch_size: u32,
    /// Most entries of a scatter-gather list, a power of two. Without lists (DSACAP0) it does not matter.
    pub max_sgl_size: u32,
    /// Operations the queue offers, one bit per opcode; only what the device has as well counts.
    pub op_config: [u64; 4],
}

impl WqConfig {
    /// A shared queue with threshold = size, all operations, 2 GiB transfers, batches and lists of 1024, and group 0.
    pub const fn shared(size: u16) -> Self {
        Self {
            mode: Mode::Shared,
            size,
            threshold: size,
            priority: 10,
            group: 0,
            block_on_fault: false,
            ats: true,
            page_requests: true,
            max_transfer_size: 1 << 31,
            max_batch_size: 1024,
            max_sgl_size: 1024,
            op_config: [u64::MAX; 4],
        }
    }

    /// The same as a dedicated queue.
    pub const fn dedicated(size: u16) -> Self {
        Self { mode: Mode::Dedicated, ..Self::shared(size) }
    }

    /// Sets the threshold of the limited portal.
    #[must_use]
    pub const fn threshold(mut self, threshold: u16) -> Self {
        self.threshold = threshold;
        self
    }

    /// Sets the priority, 1 to 15.
    #[must_use]
    pub const fn priority(mut self, priority: u8) -> Self {
        self.priority = priority;
        self
    }

    /// Puts the queue into another group.
    #[must_use]
    pub const fn group(mut self, group: usize) -> Self {
        self.group = group;
        self
    }

    /// Allows descriptors to block on faults.
    #[must_use]
    pub const fn block_on_fault(mut self, on: bool) -> Self {
        self.block_on_fault = on;
        self
    }

    /// Allows the address translation service, or forbids it.
    #[must_use]
    pub const fn ats(mut self, on: bool) -> Self {
        self.ats = on;
        self
    }

    /// Allows page requests, or forbids them.
    #[must_use]
    pub const fn page_requests(mut self, on: bool) -> Self {
        self.page_requests = on;
        self
    }

    /// Sets the largest transfer, in bytes.
    #[must_use]
    pub const fn max_transfer_size(mut self, bytes: u64) -> Self {
        self.max_transfer_size = bytes;
        self
    }

    /// Sets the largest batch, in descriptors.
    #[must_use]
    pub const fn max_batch_size(mut self, descriptors: u32) -> Self {
        self.max_batch_size = descriptors;
        self
    }

    /// Takes one operation away from the queue.
    #[must_use]
    pub const fn without(mut self, opcode: u8) -> Self {
        self.op_config[(opcode >> 6) as usize] &= !(1 << (opcode & 63));
        self
    }
}

/// A whole device. Start from a preset, then change fields or use the builder methods.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// VERSION register: 0x100, 0x200, 0x300.
    pub version: u32,
    /// GENCAP register; see [`gencap`] for the bits.
    pub gencap: u64,
    /// Operations of the device, one bit per opcode. Opcodes the model does not implement are cleared.
    pub op_cap: [u64; 4],
    /// DSACAP0 to DSACAP2 registers; see [`idxd_sys::compute`] for the bits. They exist from version 3.0 on.
    pub dsacap: [u64; 3],
    /// Inter-domain operations.
    pub inter_domain: InterDomain,
    /// Entries that all queues share.
    pub total_entries: u16,
    /// Most queues, groups and engines the device can have.
    pub limits: Limits,
    /// The work queues. Empty: one shared queue of 64 entries with threshold 60.
    pub queues: Vec<WqConfig>,
    /// Group of each engine. Empty: one engine in group 0.
    pub engines: Vec<usize>,
    /// Reserved-byte checks.
    pub checks: Checks,
    /// Order of batch members.
    pub member_order: MemberOrder,
    /// Probability that a move without overlap runs backwards, 0 to 1.
    pub backward_moves: f64,
    /// Whether records report fault addresses without their low 12 bits, as some devices do.
    pub mask_fault_address: bool,
    /// What the model takes where the specification leaves a choice.
    pub choices: Choices,
    /// Seed of everything the model chooses at random.
    pub seed: u64,
    /// How long an idle engine spins before it parks.
    pub spin: Duration,
    /// Bytes moved between two checks whether the engine must stop; at least 1.
    pub chunk: usize,
    /// No engine threads: queued descriptors run inside [`Device::run_one`](crate::Device::run_one).
    pub manual: bool,
    /// With [`manual`](Self::manual): whoever submits a descriptor executes it before the submission returns.
    pub immediate: bool,
    /// Injection rules present from the start.
    pub faults: Vec<FaultRule>,
    /// Hold each completion record until a device would have written it, by the timing model: at most a second. The
    /// times are *modelled*, and those of one descriptor after another; see [`timing`](crate::timing).
    pub pace: Option<Timing>,
}

/// Structural limits of a device (WQCAP, GRPCAP, ENGCAP).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Work queues.
    pub queues: usize,
    /// Groups.
    pub groups: usize,
    /// Engines.
    pub engines: usize,
}

/// Why a device could not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// More queues, groups or engines than [`Limits`] allows.
    #[error("more queues, groups or engines than the device has")]
    TooMany,
    /// A queue of size 0, or queues larger than the device's entries in all.
    #[error("queue sizes must be at least 1 and fit into the device's entries together")]
    Size,
    /// A threshold of 0 or above the queue's size.
    #[error("a shared queue's threshold must be 1 to its size")]
    Threshold,
    /// A priority outside 1 to 15.
    #[error("a queue's priority must be 1 to 15")]
    Priority,
    /// A queue in a group without an engine.
    #[error("group {0} has a queue but no engine")]
    NoEngine(usize),
    /// Block on fault on a device that does not offer it.
    #[error("the device does not support block on fault")]
    BlockOnFault,
    /// A transfer or batch limit that is not a power of two, or above the device's.
    #[error("a queue's transfer or batch limit must be a power of two and within the device's")]
    TransferLimit,
    /// A list limit that is not a power of two, or above the device's.
    #[error("a queue's list limit must be a power of two and within the device's")]
    ListLimit,
    /// A permissions table without entries, too large, or with an entry size or types that do not exist.
    #[error("the permissions table must have entries of 32 to 256 bytes, at most 20 KiB in all, of known types")]
    PermissionsTable,
    /// A chunk of 0 bytes, a probability outside 0 to 1, or a timing with impossible parameters.
    #[error("chunk must be at least 1, a probability 0 to 1, and a timing possible")]
    Model,
    /// An engine thread could not be started.
    #[error("an engine thread could not be started")]
    Thread,
    /// The memory may vanish, and the system refused the handler that looks out for it.
    #[error("the handler of memory faults could not be installed")]
    Handler,
}

/// Most queues of a device that has registers.
pub(crate) const MOST_QUEUES: usize = 64;
/// Most groups of a device that has registers.
pub(crate) const MOST_GROUPS: usize = 16;

/// The operations the model executes.
pub(crate) const IMPLEMENTED: [u64; 4] = bits(&[
    opcode::NOP,
    opcode::BATCH,
    opcode::DRAIN,
    opcode::MEMMOVE,
    opcode::FILL,
    opcode::COMPARE,
    opcode::COMPVAL,
    opcode::DUALCAST,
    opcode::CRCGEN,
    opcode::COPY_CRC,
    opcode::CFLUSH,
    opcode::CR_DELTA,
    opcode::AP_DELTA,
    opcode::TRANSL_FETCH,
    opcode::DIF_CHECK,
    opcode::DIF_INS,
    opcode::DIF_STRP,
    opcode::DIF_UPDT,
    opcode::DIX_GEN,
    opcode::TYPE_CONV,
    opcode::REDUCE,
    opcode::REDUCE_DUALCAST,
    opcode::GATHER_REDUCE,
    opcode::GATHER_COPY,
    opcode::SCATTER_COPY,
    opcode::SCATTER_FILL,
    opcode::UPDATE_WINDOW,
    opcode::INTER_DOMAIN_COPY,
    opcode::INTER_DOMAIN_FILL,
    opcode::INTER_DOMAIN_COMPARE,
    opcode::INTER_DOMAIN_COMPVAL,
]);

const fn bits(opcodes: &[u8]) -> [u64; 4] {
    let mut map = [0; 4];
    let mut i = 0;
    while i < opcodes.len() {
        map[(opcodes[i] >> 6) as usize] |= 1 << (opcodes[i] & 63);
        i += 1;
    }
    map
}

impl Config {
    /// Sapphire and Emerald Rapids: version 1.0, GENCAP of production parts, batch present, delta and translation
    /// fetch absent.
    pub fn sapphire_rapids() -> Self {
        Self {
            version: VERSION_1_0,
            gencap: 0x40_915f_0107,
            op_cap: [0x1_003f_027f, 0, 0, 0],
            dsacap: [0; 3],
            inter_domain: InterDomain::default(),
            total_entries: 128,
            limits: Limits { queues: 8, groups: 4, engines: 4 },
            queues: Vec::new(),
            engines: Vec::new(),
            checks: Checks::Strict,
            member_order: MemberOrder::InOrder,
            backward_moves: 0.0,
            mask_fault_address: false,
            choices: Choices::default(),
            seed: 0,
            spin: Duration::from_micros(20),
            chunk: 64 << 10,
            manual: false,
            immediate: false,
            faults: Vec::new(),
            pace: None,
        }
    }

    /// Granite Rapids: version 2.0, with delta records, translation fetch, DIX generate, 16-byte fill, CRC-64, drain
    /// readback, fault information, batch continuation, inter-domain operations, an event log that can overflow and interrupt
    /// handles (the last two show through [`Function`](crate::Function) only). Which of these a given part has must be read from
    /// it; the preset has them all.
    pub fn granite_rapids() -> Self {
        let base = Self::sapphire_rapids();
        let operations = gencap::DRAIN_READBACK | gencap::FILL_16 | gencap::CRC_64 | gencap::TRANSLATION_FETCH_STRIDE;
        let log = 1 << gencap::EVENT_LOG.trailing_zeros() | gencap::EVENT_LOG_OVERFLOW;
        let reports = gencap::FAULT_INFO | gencap::BATCH_CONTINUATION | log;
        let extra = operations | reports | gencap::COMMAND_CAPABILITIES | gencap::INTER_DOMAIN;
        let [more, ..] = bits(&[opcode::CR_DELTA, opcode::AP_DELTA, opcode::TRANSL_FETCH, opcode::DIX_GEN]);
        let op_cap = Self::with_inter_domain([base.op_cap[0] | more, 0, 0, 0]);
        Self { version: VERSION_2_0, gencap: base.gencap | extra, op_cap, ..base }
    }

    /// Adds a work queue; its index is the number of queues added before.
    #[must_use]
    pub fn queue(mut self, queue: WqConfig) -> Self {
        self.queues.push(queue);
        self
    }

    /// Adds `n` engines to a group.
    #[must_use]
    pub fn engines_in(mut self, group: usize, n: usize) -> Self {
        self.engines.extend(std::iter::repeat_n(group, n));
        self
    }

    /// Sets the number of engines in group 0, replacing all engines.
    #[must_use]
    pub fn engines(mut self, n: usize) -> Self {
        self.engines = vec![0; n];
        self
    }

    /// Runs without engine threads; see [`Device::run_one`](crate::Device::run_one).
    #[must_use]
    pub fn manual(mut self) -> Self {
        self.manual = true;
        self
    }

    /// Runs without engine threads, and executes every descriptor inside its submission, on the submitter's thread: a
    /// device without time, where everything is complete as soon as it is accepted.
    ///
    /// Where several threads submit at the same time, one may execute what another has submitted, and the other's
    /// submission may return before that has ended. What is submitted from inside an execution, by an address space or whoever
    /// gets an interrupt, is executed after what is executing at that moment, before the outer submission returns. Two such devices
    /// whose interrupts submit to the other one wait for each other for ever if two threads do that at the same time.
    #[must_use]
    pub fn immediate(mut self) -> Self {
        self.manual = true;
        self.immediate = true;
        self
    }

    /// Sets the reserved-byte checks.
    #[must_use]
    pub fn checks(mut self, checks: Checks) -> Self {
        self.checks = checks;
        self
    }

    /// Sets the order of batch members.
    #[must_use]
    pub fn member_order(mut self, order: MemberOrder) -> Self {
        self.member_order = order;
        self
    }

    /// Sets the probability of moves that run backwards.
    #[must_use]
    pub fn backward_moves(mut self, probability: f64) -> Self {
        self.backward_moves = probability;
        self
    }

    /// Sets the seed of everything random.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Sets how long an idle engine spins before it parks.
    #[must_use]
    pub fn spin(mut self, spin: Duration) -> Self {
        self.spin = spin;
        self
    }

    /// Sets the bytes moved between two stop checks.
    #[must_use]
    pub fn chunk(mut self, bytes: usize) -> Self {
        self.chunk = bytes;
        self
    }

    /// Adds an injection rule.
    #[must_use]
    pub fn fault(mut self, rule: FaultRule) -> Self {
        self.faults.push(rule);
        self
    }

    /// Holds completion records for the modelled time; see [`pace`](Self::pace).
    #[must_use]
    pub fn paced(mut self, timing: Timing) -> Self {
        self.pace = Some(timing);
        self
    }

    /// Fills in defaults and checks the whole.
    pub(crate) fn resolve(mut self) -> Result<Self, ConfigError> {
        if self.queues.is_empty() {
            self.queues.push(WqConfig::shared(64).threshold(60));
        }
        if self.engines.is_empty() {
            self.engines.push(0);
        }
        let last_group = self.queues.iter().map(|q| q.group).chain(self.engines.iter().copied()).max().unwrap_or(0);
        let limits = self.limits;
        // 256 queues are what the slot of an engine can name.
        let too_many = self.queues.len() > limits.queues.min(256) || self.engines.len() > limits.engines;
        if too_many || last_group >= limits.groups {
            return Err(ConfigError::TooMany);
        }
        let total: usize = self.queues.iter().map(|q| usize::from(q.size)).sum();
        if total > usize::from(self.total_entries) || self.queues.iter().any(|q| q.size == 0) {
            return Err(ConfigError::Size);
        }
        let max_transfer = gencap::max_transfer_size(self.gencap);
        let max_batch = gencap::max_batch_size(self.gencap);
        for queue in &mut self.queues {
            if queue.mode == Mode::Shared && (queue.threshold == 0 || queue.threshold > queue.size) {
                return Err(ConfigError::Threshold);
            }
            if !(1..=15).contains(&queue.priority) {
                return Err(ConfigError::Priority);
            }
            if !self.engines.contains(&queue.group) {
                return Err(ConfigError::NoEngine(queue.group));
            }
            if queue.block_on_fault && self.gencap & gencap::BLOCK_ON_FAULT == 0 {
                return Err(ConfigError::BlockOnFault);
            }
            let (transfer, batch) = (queue.max_transfer_size, queue.max_batch_size);
            if !transfer.is_power_of_two() || !batch.is_power_of_two() || transfer > max_transfer || batch > max_batch {
                return Err(ConfigError::TransferLimit);
            }
        }
        self.resolve_model()?;
        self.queues.iter().try_for_each(|queue| self.check_lists(queue))?;
        for queue in &mut self.queues {
            for (word, device) in queue.op_config.iter_mut().zip(self.op_cap) {
                *word &= device;
            }
        }
        Ok(self)
    }

    /// The device as it comes out of a reset: everything that the limits allow is there, nothing is configured.
    /// Engines and queues belong to no group, which is one more than there are groups.
    pub(crate) fn unconfigured(mut self) -> Result<Self, ConfigError> {
        let Limits { queues, groups, engines } = self.limits;
        // What the tables of the register file have room for.
        if !(1..=MOST_QUEUES).contains(&queues) || !(1..=MOST_GROUPS).contains(&groups) || !(1..=64).contains(&engines)
        {
            return Err(ConfigError::TooMany);
        }
        if self.total_entries == 0 {
            return Err(ConfigError::Size);
        }
        self.resolve_model()?;
        self.queues = vec![WqConfig { priority: 1, group: groups, ..WqConfig::shared(0) }; queues];
        self.engines = vec![groups; engines];
        Ok(self)
    }

    /// Checks what concerns the model and not its queues, and leaves only operations that are implemented.
    fn resolve_model(&mut self) -> Result<(), ConfigError> {
        let timing = self.pace.as_ref().is_none_or(|timing| timing.check().is_ok());
        if self.chunk == 0 || !(0.0..=1.0).contains(&self.backward_moves) || !timing {
            return Err(ConfigError::Model);
        }
        self.resolve_extended()?;
        for (word, implemented) in self.op_cap.iter_mut().zip(IMPLEMENTED) {
            *word &= implemented;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_resolve_to_one_shared_queue_and_one_engine() {
        for (preset, operations, why) in [
            (Config::sapphire_rapids(), 0x1_003f_027f, "DIF, no delta, no translation fetch"),
            (Config::granite_rapids(), 0x7b_00bf_07ff, "and delta, translation fetch, DIX, inter-domain"),
        ] {
            let c = preset.resolve().unwrap();
            assert_eq!((c.queues.len(), c.engines.len()), (1, 1));
            assert_eq!((c.queues[0].size, c.queues[0].threshold), (64, 60));
            assert_eq!(c.op_cap, [operations, 0, 0, 0], "{why}");
            assert_eq!(c.queues[0].op_config, c.op_cap);
            assert_eq!(gencap::max_transfer_size(c.gencap), 1 << 31);
            assert_eq!(gencap::max_batch_size(c.gencap), 1024);
        }
    }

    #[test]
    fn impossible_configurations_are_refused() {
        let base = Config::sapphire_rapids;
        let error = |c: Config| c.resolve().unwrap_err();
        assert_eq!(error(base().queue(WqConfig::shared(0))), ConfigError::Size);
        assert_eq!(error(base().queue(WqConfig::shared(100)).queue(WqConfig::dedicated(29))), ConfigError::Size);
        assert_eq!(error(base().queue(WqConfig::shared(8).threshold(9))), ConfigError::Threshold);
        assert_eq!(error(base().queue(WqConfig::shared(8).threshold(0))), ConfigError::Threshold);
        assert_eq!(error(base().queue(WqConfig::shared(8).priority(0))), ConfigError::Priority);
        assert_eq!(error(base().queue(WqConfig::shared(8).priority(16))), ConfigError::Priority);
        assert_eq!(error(base().queue(WqConfig::shared(8).group(1))), ConfigError::NoEngine(1));
        assert_eq!(error(base().queue(WqConfig::shared(8).max_transfer_size(3))), ConfigError::TransferLimit);
        assert_eq!(error(base().queue(WqConfig::shared(8).max_batch_size(2048))), ConfigError::TransferLimit);
        assert_eq!(error(base().engines(5)), ConfigError::TooMany);
        assert_eq!(error(base().engines(0).engines_in(4, 1)), ConfigError::TooMany);
        let last = base().engines_in(usize::MAX, 1).queue(WqConfig::shared(8).group(usize::MAX));
        assert_eq!(error(last), ConfigError::TooMany);
        assert_eq!(error(base().chunk(0)), ConfigError::Model);
        assert_eq!(error(base().backward_moves(1.5)), ConfigError::Model);
        let nine = (0..9).fold(base(), |c, _| c.queue(WqConfig::shared(1)));
        assert_eq!(error(nine), ConfigError::TooMany);
        let mut no_bof = base().queue(WqConfig::shared(8).block_on_fault(true));
        no_bof.gencap &= !gencap::BLOCK_ON_FAULT;
        assert_eq!(error(no_bof), ConfigError::BlockOnFault);
    }
}
