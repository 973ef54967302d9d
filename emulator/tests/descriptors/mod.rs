//! Descriptors of typed, scatter-gather and inter-domain operations, and rigs for them.
// Each test binary uses another part of this.
#![allow(dead_code, unreachable_pub)]

use std::sync::Arc;

use dsa_emulator::{
    CheckedMemory, Client, Config, Device, Enqcmd, InterDomain, PasidMemory, Permission, PermissionEntry, WqConfig,
};
use idxd_sys::compute::data_type;
use idxd_sys::{CompletionRecord, Descriptor, flag, idpt, opcode};
use zerocopy::IntoBytes;

use super::common::{CR, DST, DST2, LEN, LIST, RECORDS, Rig, SRC, desc, rig_of, with_flags};

/// Bytes of an element.
pub fn size(code: u8) -> u64 {
    u64::from(data_type::size(code).unwrap())
}

/// Version 3.0 with everything.
pub fn full() -> Config {
    Config::diamond_rapids().queue(WqConfig::shared(64).block_on_fault(true))
}

pub fn rig3() -> Rig {
    rig_of(full())
}

/// The same descriptor with data types and compute flags.
pub fn typed(mut d: Descriptor, from: u8, to: u8, function: u8, flags: u16) -> Descriptor {
    d.set_op_u8(56, from | to << 4);
    d.set_op_u8(57, function | (flags << 4) as u8);
    d.set_op_u8(58, (flags >> 4) as u8);
    d
}

pub fn convert(src: u64, dst: u64, count: u32, (from, to): (u8, u8), flags: u16) -> Descriptor {
    let d = Descriptor { src_addr: src, dst_addr: dst, xfer_size: count, ..desc(opcode::TYPE_CONV, 0) };
    typed(d, from, to, 0, flags)
}

/// Sources at `a` and `b`.
pub fn reduce(a: u64, b: u64, dst: u64, count: u32, types: (u8, u8), function: u8, flags: u16) -> Descriptor {
    let op_specific = [dst, 0, 0];
    let d = Descriptor { src_addr: a, dst_addr: b, xfer_size: count, op_specific, ..desc(opcode::REDUCE, 0) };
    typed(d, types.0, types.1, function, flags)
}

/// The same with a second destination.
pub fn dualcast_of(mut d: Descriptor, dst2: u64) -> Descriptor {
    d.set_opcode_flags(opcode::REDUCE_DUALCAST, d.flags());
    d.op_specific[1] = dst2;
    d
}

/// A list: where it lies, how many entries, their format, and the base of the buffers.
#[derive(Clone, Copy)]
pub struct Sgl {
    pub at: u64,
    pub entries: u16,
    pub format: u8,
    pub base: u64,
}

fn with_list(mut d: Descriptor, list: Sgl) -> Descriptor {
    d.set_op_u16(44, list.entries);
    d.op_specific[1] = list.base;
    d.set_op_u8(59, list.format << 4);
    d
}

/// Blocks of `count` elements.
fn copying(code: u8, list: Sgl, count: u32, kind: u8) -> Descriptor {
    let total = u64::from(list.entries) * u64::from(count) * size(kind);
    let mut d = Descriptor { xfer_size: total as u32, ..desc(code, 0) };
    d.set_op_u32(40, count);
    d.set_op_u8(56, kind);
    with_list(d, list)
}

pub fn gather(list: Sgl, dst: u64, count: u32, kind: u8) -> Descriptor {
    Descriptor { src_addr: list.at, dst_addr: dst, ..copying(opcode::GATHER_COPY, list, count, kind) }
}

pub fn scatter(src: u64, list: Sgl, count: u32, kind: u8) -> Descriptor {
    Descriptor { src_addr: src, dst_addr: list.at, ..copying(opcode::SCATTER_COPY, list, count, kind) }
}

pub fn scatter_fill(pattern: u64, list: Sgl, count: u32, kind: u8) -> Descriptor {
    Descriptor { src_addr: pattern, dst_addr: list.at, ..copying(opcode::SCATTER_FILL, list, count, kind) }
}

pub fn gather_reduce(list: Sgl, dst: u64, count: u32, types: (u8, u8), function: u8, flags: u16) -> Descriptor {
    let d = Descriptor { src_addr: list.at, dst_addr: dst, xfer_size: count, ..desc(opcode::GATHER_REDUCE, 0) };
    typed(with_list(d, list), types.0, types.1, function, flags)
}

/// List entries completed, of a record.
pub fn entries_of(record: &CompletionRecord) -> u64 {
    record.op_specific[0] >> 32 & 0xffff
}

/// The handle that a record names.
pub fn handle_of(record: &CompletionRecord) -> u16 {
    record.op_specific[0] as u16
}

/// Names the entry of a source, of a destination (or second source).
pub fn through(d: Descriptor, source: Option<u16>, destination: Option<u16>) -> Descriptor {
    let alternate = |handle: Option<u16>, bit: u32| if handle.is_some() { bit } else { 0 };
    let flags = alternate(source, flag::ALTERNATE_SOURCE) | alternate(destination, flag::ALTERNATE_DESTINATION);
    let mut d = with_flags(d, d.flags() | flags);
    d.set_op_u16(60, source.unwrap_or(0));
    d.set_op_u16(62, destination.unwrap_or(0));
    d
}

pub fn domain_copy(src: u64, dst: u64, len: u32) -> Descriptor {
    Descriptor { src_addr: src, dst_addr: dst, xfer_size: len, ..desc(opcode::INTER_DOMAIN_COPY, 0) }
}

pub fn domain_fill(pattern: u64, dst: u64, len: u32) -> Descriptor {
    Descriptor { src_addr: pattern, dst_addr: dst, xfer_size: len, ..desc(opcode::INTER_DOMAIN_FILL, 0) }
}

pub fn domain_compare(a: u64, b: u64, len: u32) -> Descriptor {
    Descriptor { src_addr: a, dst_addr: b, xfer_size: len, ..desc(opcode::INTER_DOMAIN_COMPARE, 0) }
}

pub fn domain_compare_pattern(src: u64, pattern: u64, len: u32) -> Descriptor {
    Descriptor { src_addr: src, dst_addr: pattern, xfer_size: len, ..desc(opcode::INTER_DOMAIN_COMPVAL, 0) }
}

/// A copy from what entry 0 opens to own memory, and one the other way.
pub fn both_ways(len: u32) -> [Descriptor; 2] {
    [through(domain_copy(SRC, DST, len), Some(0), None), through(domain_copy(DST, SRC, len), None, Some(0))]
}

/// An update of a window: its base and size, and flags of [`idpt`].
pub fn update(handle: u16, window: Option<(u64, u64)>, flags: u8) -> Descriptor {
    let (base, size) = window.unwrap_or((0, 0));
    let enable = if window.is_some() { idpt::UPDATE_ENABLE } else { 0 };
    let mut d = Descriptor { src_addr: base, dst_addr: size, ..desc(opcode::UPDATE_WINDOW, 0) };
    d.set_op_u8(61, flags | enable);
    d.set_op_u16(62, handle);
    d
}

/// The submitter, and two whose memory it may reach. Each has a map of its own with the usual regions.
pub const OWN: u32 = 1;
pub const FIRST: u32 = 2;
pub const SECOND: u32 = 3;

const REGIONS: [u64; 5] = [RECORDS, SRC, DST, DST2, LIST];

/// A device whose PASIDs have memory of their own.
pub struct Domains {
    pub device: Device,
    pub client: Client,
    pub memory: Arc<PasidMemory>,
}

/// A PASID, the regions that it has, and their length.
pub type Mapped<'a> = (u32, &'a [u64], u64);

/// A device, by hand or not, over memory of several PASIDs.
pub fn domains_of(config: Config, mapped: &[Mapped<'_>]) -> Domains {
    let memory = Arc::new(PasidMemory::new());
    for (pasid, regions, len) in mapped {
        for base in *regions {
            memory.of(*pasid).map(*base, *len, Permission::ReadWrite).unwrap();
        }
    }
    let device = Device::with_memory(config, Arc::clone(&memory) as _).unwrap();
    let client = device.open_with_pasid(0, OWN).unwrap();
    Domains { device, client, memory }
}

/// By hand, with everything, and handles that are indices.
pub fn domains() -> Domains {
    domains_with(|_| {})
}

/// The same with a change of the configuration.
pub fn domains_with(change: impl FnOnce(&mut InterDomain)) -> Domains {
    let mut config = full().manual();
    config.inter_domain.request_handles = false;
    change(&mut config.inter_domain);
    domains_of(config, &[OWN, FIRST, SECOND].map(|pasid| (pasid, &REGIONS[..], LEN)))
}

impl Domains {
    pub fn of(&self, pasid: u32) -> Arc<CheckedMemory> {
        self.memory.of(pasid)
    }

    pub fn put(&self, pasid: u32, addr: u64, bytes: &[u8]) {
        self.of(pasid).write(addr, bytes).unwrap();
    }

    pub fn bytes(&self, pasid: u32, addr: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.of(pasid).read(addr, &mut bytes).unwrap();
        bytes
    }

    pub fn entry(&self, index: u16, entry: PermissionEntry) {
        self.device.permissions().set(index, entry).unwrap();
    }

    /// Clears the record, submits, runs, and returns the record.
    pub fn run(&self, d: &Descriptor) -> CompletionRecord {
        self.run_by(&self.client, d)
    }

    /// The same for another client.
    pub fn run_by(&self, client: &Client, d: &Descriptor) -> CompletionRecord {
        let pasid = client.info().pasid;
        self.put(pasid, d.completion_addr, &[0; 32]);
        submit_by(client, d);
        self.device.run_until_idle();
        self.record(pasid, d.completion_addr)
    }

    /// Runs a descriptor and asserts that the memory of `changed` has other contents after it, and that of no other; the
    /// submitter's record does not count.
    pub fn only_changes(&self, d: &Descriptor, changed: &[u32]) -> CompletionRecord {
        self.put(OWN, RECORDS, &[0; 32]);
        let before = [OWN, FIRST, SECOND].map(|pasid| self.contents(pasid));
        let record = self.run(d);
        self.put(OWN, RECORDS, &[0; 32]);
        for (pasid, before) in [OWN, FIRST, SECOND].into_iter().zip(before) {
            assert_eq!(self.contents(pasid) != before, changed.contains(&pasid), "PASID {pasid}");
        }
        record
    }

    pub fn record(&self, pasid: u32, addr: u64) -> CompletionRecord {
        let mut record = CompletionRecord::default();
        self.of(pasid).read(addr, record.as_mut_bytes()).unwrap();
        record
    }

    /// The whole contents of a PASID's memory.
    pub fn contents(&self, pasid: u32) -> Vec<u8> {
        REGIONS.iter().flat_map(|base| self.bytes(pasid, *base, LEN as usize)).collect()
    }
}

/// Submits a descriptor to a device over checked memory.
pub fn submit_by(client: &Client, d: &Descriptor) {
    // SAFETY: checked memory, where any 64 bytes are fine.
    assert_eq!(unsafe { client.enqcmd(d) }, Enqcmd::Accepted);
}

/// Flags of a descriptor that wants its record and blocks.
pub const BLOCKING: u32 = CR | flag::BLOCK_ON_FAULT;
