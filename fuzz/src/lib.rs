//! What the fuzz targets share: a device on checked memory that runs in the caller's thread, raw descriptors that are wild,
//! or tame enough to get past the first check, and calls of all builders; an [`oracle`] for every operation, and
//! [`differential`] testing against it.

pub mod calls;
pub mod differential;
pub mod kernels;
pub mod oracle;
pub mod random;
mod raw;

use std::sync::Arc;

use arbitrary::Arbitrary;
use dsa::descriptor::{Capabilities, InterDomainCapabilities};
use dsa_emulator::config::gencap;
use dsa_emulator::memory::PAGE_SIZE;
use dsa_emulator::{
    CheckedMemory, Checks, Client, Config, Device, Effect, Enqcmd, FaultRule, MemberOrder, Permission, PermissionEntry,
    WqConfig, WqInfo,
};
use idxd_sys::{CompletionRecord, Descriptor, opcode, status};
use zerocopy::{FromBytes, IntoBytes};

pub use raw::{Address, Raw, near_control};

/// Data that descriptors read and write, present and writable.
pub const DATA: u64 = 0x10_0000;
/// Length of the data, bytes.
pub const DATA_LEN: u64 = 8 * PAGE_SIZE;
/// Directly behind the data: pages that are absent, the first of which a page request brings in. Then nothing.
pub const ABSENT: u64 = DATA + DATA_LEN;
/// A page that may only be read.
pub const READ_ONLY: u64 = 0x40_0000;
/// Completion records, out of reach of any transfer that starts near the data.
pub const RECORDS: u64 = 0x7000_0000_0000;
/// Batch lists.
pub const LIST: u64 = RECORDS + 0x10_0000;
/// Number of descriptors in the longest list.
pub const MAX_MEMBERS: usize = 64;

/// The kinds of device and queue that are worth a difference.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct Setup {
    /// DSA 1.0, 2.0 or 3.0, by the remainder.
    pub generation: u8,
    /// The queue allows block on fault.
    pub block_on_fault: bool,
    /// Moves run backwards at random.
    pub backward_moves: bool,
    /// Members of a batch are shuffled.
    pub shuffled: bool,
    /// The queue's transfer limit is one page.
    pub one_page: bool,
    /// One byte at a time between two looks at the world, or a page.
    pub small_chunks: bool,
    /// A dedicated queue, written with MOVDIR64B, instead of a shared one.
    pub dedicated: bool,
    /// A batch may have a single member.
    pub batch_of_one: bool,
    /// Fault addresses come without their low 12 bits.
    pub masked_addresses: bool,
    /// Page faults are injected at random, where the target asks for them with [`Rig::trouble`].
    pub trouble: bool,
    /// For everything random in the model.
    pub seed: u64,
}

/// What a queue offers, as software reads it.
pub fn capabilities_of(device: &Device, info: &WqInfo) -> Capabilities {
    // Software that is the kernel's finds this in IDCAP.
    let offered = &device.config().inter_domain;
    Capabilities::new(info.version as u16, info.gen_cap, info.op_config)
        .with_max_transfer_size(info.max_transfer_size)
        .with_max_batch_size(info.max_batch_size)
        .with_dsa_caps(info.dsacap)
        .with_max_sgl_size(info.max_sgl_size)
        .with_inter_domain_capabilities(InterDomainCapabilities {
            handles: (!offered.request_handles).then_some(offered.entries.into()),
            offset_mode: offered.offset_mode,
            suppress_drain: offered.suppress_drain,
        })
        .with_block_on_fault(info.block_on_fault)
}

/// A device, one client of its only queue, and the memory that both see.
pub struct Rig {
    /// The memory behind every address.
    pub memory: Arc<CheckedMemory>,
    /// The device; it executes when [`Rig::submit`] says so.
    pub device: Device,
    /// The client that submits.
    pub client: Client,
    /// What the queue offers, as software reads it.
    pub capabilities: Capabilities,
    setup: Setup,
}

/// The PASID of the client, which the entries of the permissions table are for as well: all PASIDs see the same memory.
const PASID: u32 = 1;

/// The device of a generation.
pub fn preset(generation: u8) -> Config {
    [Config::sapphire_rapids, Config::granite_rapids, Config::diamond_rapids][usize::from(generation) % 3]()
}

/// Page faults that [`Rig::trouble`] injects at most.
pub const MAX_TROUBLE: u64 = 6;

impl Rig {
    /// A fresh device on fresh memory.
    pub fn new(setup: Setup, checks: Checks) -> Self {
        let queue = if setup.dedicated { WqConfig::dedicated(16) } else { WqConfig::shared(16) }
            .block_on_fault(setup.block_on_fault)
            .max_transfer_size(if setup.one_page { PAGE_SIZE } else { 1 << 31 })
            .max_batch_size(MAX_MEMBERS as u32);
        let mut config = preset(setup.generation)
            .queue(queue)
            .manual()
            .checks(checks)
            .member_order(if setup.shuffled { MemberOrder::Shuffled } else { MemberOrder::InOrder })
            .backward_moves(if setup.backward_moves { 0.5 } else { 0.0 })
            .chunk(if setup.small_chunks { 61 } else { 4096 })
            .seed(setup.seed);
        config.mask_fault_address = setup.masked_addresses;
        config.inter_domain.request_handles = false;
        if setup.batch_of_one {
            config.gencap |= gencap::BATCH_1;
        }

        let memory = Arc::new(CheckedMemory::new());
        let map =
            |addr, pages, permission| memory.map(addr, pages * PAGE_SIZE, permission).expect("arenas are disjoint");
        map(DATA, DATA_LEN / PAGE_SIZE + 2, Permission::ReadWrite);
        map(READ_ONLY, 1, Permission::ReadOnly);
        map(RECORDS, 1, Permission::ReadWrite);
        map(LIST, 1, Permission::ReadWrite);
        memory.set_present(ABSENT, 2 * PAGE_SIZE, false).expect("mapped above");
        memory.set_resolvable(ABSENT, PAGE_SIZE, true).expect("mapped above");

        let device = Device::with_memory(config, memory.clone()).expect("the configuration is valid");
        let client = device.open_with_pasid(0, PASID).expect("nobody else has the queue");
        let entry = PermissionEntry::single(PASID, PASID);
        let entries = [
            entry,
            entry.window(DATA + 0x100, 0x4000),
            entry.offset_window(DATA, 0x4000),
            entry.permit(true, false).allow_update(true),
        ];
        for (index, entry) in entries.into_iter().enumerate() {
            // A device of the first generation has no such table.
            let _ = device.permissions().set(index as u16, entry);
        }
        let capabilities = capabilities_of(&device, client.info());
        Self { memory, device, client, capabilities, setup }
    }

    /// Where record `slot` lies.
    pub const fn record_address(slot: usize) -> u64 {
        RECORDS + 32 * slot as u64
    }

    /// Forgets all records and the last software error.
    pub fn reset(&self) {
        self.memory.write(RECORDS, &[0; PAGE_SIZE as usize]).expect("mapped");
        self.device.clear_software_error();
    }

    /// Calls `f` with injected page faults, at most [`MAX_TROUBLE`], if the setup says so.
    pub fn trouble<T>(&self, f: impl FnOnce() -> T) -> T {
        let rule = FaultRule::new(Effect::PageFault { resolvable: self.setup.seed & 1 == 0 });
        let rule = self.setup.trouble.then(|| self.device.inject(rule.probability(0.5).limit(MAX_TROUBLE)));
        let value = f();
        if let Some(rule) = rule {
            self.device.remove(rule).expect("injected above");
        }
        value
    }

    /// Whether faults can be where no page is absent.
    pub const fn has_trouble(&self) -> bool {
        self.setup.trouble
    }

    /// Submits to the empty queue and executes until nothing is left to do.
    pub fn submit(&self, descriptor: &Descriptor) {
        let dedicated = self.setup.dedicated;
        // SAFETY: the device works on checked memory, where any 64 bytes are fine.
        unsafe {
            if dedicated {
                self.client.movdir64b(descriptor);
            }
            // To a dedicated queue the answer is always the same, and nothing follows from it.
            let answer = self.client.enqcmd(descriptor);
            let expected = if dedicated { Enqcmd::Retry } else { Enqcmd::Accepted };
            assert_eq!(answer, expected, "the queue is empty and enabled");
        }
        assert_eq!(self.client.occupancy(), 1, "the queue has the descriptor");
        self.device.run_until_idle();
        assert_eq!(self.client.occupancy(), 0, "idle means that nothing is queued");
    }

    /// Record `slot`, if it was written.
    pub fn record(&self, slot: usize) -> Option<CompletionRecord> {
        let mut bytes = [0; 32];
        self.memory.read(Self::record_address(slot), &mut bytes).expect("mapped");
        let record = CompletionRecord::read_from_bytes(&bytes).expect("32 bytes");
        (record.status != status::NONE).then_some(record)
    }

    /// Writes a batch list.
    pub fn write_list(&self, members: &[Descriptor]) {
        self.memory.write(LIST, members.as_bytes()).expect("at most a page");
    }
}

/// Whether a status says that the descriptor itself was wrong, as opposed to the memory, or the entries of the permissions
/// table, that it names.
pub const fn is_refusal(code: u8) -> bool {
    let code = code & status::CODE_MASK;
    matches!(code, status::BAD_OPCODE..=status::BAD_INT_HANDLE | status::CR_ALIGN..=status::BAD_TRAFFIC_CLASS)
        || code == status::WINDOW_FIELDS
}

/// Whether a status says that a handle leads nowhere, or may not be used like that.
pub const fn is_handle_refusal(code: u8) -> bool {
    matches!(code & status::CODE_MASK, status::IDPT_HANDLE..=status::IDPT_UPDATE)
}

/// Whether an operation finds out on the way that a buffer of its list is misaligned.
pub const fn may_find_misaligned(code: u8) -> bool {
    code == opcode::GATHER_REDUCE
}
