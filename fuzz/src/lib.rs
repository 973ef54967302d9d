//! What the fuzz targets share: a device on checked memory that runs in the caller's thread, and raw descriptors that
//! are wild, or tame enough to get past the first check.

pub mod oracle;

use std::sync::Arc;

use arbitrary::Arbitrary;
use dsa::descriptor::Capabilities;
use dsa_emulator::config::gencap;
use dsa_emulator::memory::PAGE_SIZE;
use dsa_emulator::{
    CheckedMemory, Checks, Client, Config, Device, Effect, Enqcmd, FaultRule, MemberOrder, Permission, WqConfig,
};
use idxd_sys::{CompletionRecord, Descriptor, flag, opcode, status};
use zerocopy::{FromBytes, IntoBytes};

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

/// The opcodes of the model, and some that it does not have.
const OPCODES: [u8; 16] = [
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
    opcode::TRANSL_FETCH,
    opcode::DIF_CHECK,
    opcode::REDUCE,
    0xff,
];

/// The kinds of device and queue that are worth a difference.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct Setup {
    /// DSA 2.0 instead of 1.0.
    pub second_generation: bool,
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

/// Page faults that [`Rig::trouble`] injects at most.
pub const MAX_TROUBLE: u64 = 6;

impl Rig {
    /// A fresh device on fresh memory.
    pub fn new(setup: Setup, checks: Checks) -> Self {
        let queue = if setup.dedicated { WqConfig::dedicated(16) } else { WqConfig::shared(16) }
            .block_on_fault(setup.block_on_fault)
            .max_transfer_size(if setup.one_page { PAGE_SIZE } else { 1 << 31 })
            .max_batch_size(MAX_MEMBERS as u32);
        let mut config = if setup.second_generation { Config::granite_rapids() } else { Config::sapphire_rapids() }
            .queue(queue)
            .manual()
            .checks(checks)
            .member_order(if setup.shuffled { MemberOrder::Shuffled } else { MemberOrder::InOrder })
            .backward_moves(if setup.backward_moves { 0.5 } else { 0.0 })
            .chunk(if setup.small_chunks { 61 } else { 4096 })
            .seed(setup.seed);
        config.mask_fault_address = setup.masked_addresses;
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
        let client = device.open(0).expect("nobody else has the queue");
        let info = client.info();
        let capabilities = Capabilities::new(info.version as u16, info.gen_cap, info.op_config)
            .with_max_transfer_size(info.max_transfer_size)
            .with_max_batch_size(info.max_batch_size)
            .with_block_on_fault(info.block_on_fault);
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

/// Whether a status says that the descriptor itself was wrong, as opposed to the memory it names.
pub const fn is_refusal(code: u8) -> bool {
    matches!(code & status::CODE_MASK, status::BAD_OPCODE..=status::BAD_INT_HANDLE | status::CR_ALIGN..=status::BAD_TRAFFIC_CLASS)
}

/// An operand address: likely near something, possibly anything.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Address {
    /// In the data or the absent pages behind it.
    Data(u16),
    /// The same, 64-byte aligned.
    Aligned(u8),
    /// In the page that may only be read.
    ReadOnly(u16),
    /// Anywhere, except near records and lists.
    Any(u64),
}

impl Address {
    /// The address.
    pub const fn get(self) -> u64 {
        match self {
            Self::Data(offset) => DATA + offset as u64,
            Self::Aligned(n) => DATA + 64 * n as u64,
            Self::ReadOnly(offset) => READ_ONLY + offset as u64 % PAGE_SIZE,
            Self::Any(address) if near_control(address) => address & 0xffff_ffff,
            Self::Any(address) => address,
        }
    }
}

/// Whether a transfer that involves this address could reach records or lists.
pub const fn near_control(address: u64) -> bool {
    address >> 40 == RECORDS >> 40 || address >> 40 == (RECORDS >> 40) - 1
}

/// 64 bytes, with as many of them tamed as `tame` says.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct Raw {
    bytes: [u8; 64],
    tame: u8,
    op: u8,
}

impl Raw {
    /// The descriptor; a tamed record address is that of `slot`.
    pub fn descriptor(&self, slot: usize) -> Descriptor {
        let mut d = Descriptor::read_from_bytes(&self.bytes).expect("64 bytes");
        let tame = |bit: u8| self.tame >> bit & 1 == 1;
        let (mut code, mut flags) = (d.opcode(), d.flags());
        if tame(0) {
            code = OPCODES[usize::from(self.op) % OPCODES.len()];
        }
        if tame(1) {
            flags &= flag::FENCE | flag::BLOCK_ON_FAULT | flag::CHECK_RESULT | flag::CACHE_CONTROL | 0x0f << 16;
        }
        if tame(2) {
            flags |= flag::CRAV | flag::RCR;
            d.completion_addr = Rig::record_address(slot);
        }
        if tame(3) {
            d.src_addr = DATA + d.src_addr % (DATA_LEN + 2 * PAGE_SIZE);
            if !matches!(code, opcode::NOP | opcode::CRCGEN) {
                d.dst_addr = DATA + d.dst_addr % (DATA_LEN + 2 * PAGE_SIZE);
            }
        }
        if tame(4) {
            d.xfer_size %= 0x3000;
        }
        if tame(5) {
            (d.pasid, d.int_handle, d.reserved) = (0, 0, 0);
            flags &= !flag::RCI;
        }
        if tame(6) {
            d.op_specific = match code {
                opcode::DUALCAST => [d.dst_addr ^ u64::from(self.op) << 12, 0, 0],
                opcode::COMPARE | opcode::COMPVAL => [d.op_specific[0] & 1, 0, 0],
                opcode::CRCGEN | opcode::COPY_CRC => [d.op_specific[0] & 0xffff_ffff, 0, 0],
                _ => [0; 3],
            };
        }
        if tame(7) {
            match code {
                opcode::NOP => (d.src_addr, d.dst_addr, d.xfer_size) = (0, 0, 0),
                opcode::DRAIN => (d.src_addr, d.dst_addr, d.xfer_size, flags) = (0, 0, 0, flags & !0xf_0000),
                opcode::CRCGEN => d.dst_addr = 0,
                opcode::CFLUSH => d.src_addr = 0,
                _ => {}
            }
        }
        d.set_opcode_flags(code, flags);
        d
    }
}
