//! A device over checked memory, run by hand, with a few regions at fixed addresses.
// Each test binary uses another part of this.
#![allow(dead_code, unreachable_pub)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use dsa_emulator::{CheckedMemory, Client, Config, Device, Enqcmd, Permission, WqConfig};
use idxd_sys::{CompletionRecord, Descriptor, flag, opcode};
use zerocopy::IntoBytes;

pub const PAGE: u64 = 4096;
/// Completion records.
pub const RECORDS: u64 = 0x10_0000;
pub const SRC: u64 = 0x20_0000;
pub const DST: u64 = 0x30_0000;
pub const DST2: u64 = 0x40_0000;
pub const LIST: u64 = 0x50_0000;
/// Length of each region.
pub const LEN: u64 = 16 * PAGE;
pub const CR: u32 = flag::CRAV | flag::RCR;

pub struct Rig {
    pub device: Device,
    pub client: Client,
    pub memory: Arc<CheckedMemory>,
}

/// Checked memory with the usual regions.
pub fn memory() -> Arc<CheckedMemory> {
    let memory = Arc::new(CheckedMemory::new());
    for base in [RECORDS, SRC, DST, DST2, LIST] {
        memory.map(base, LEN, Permission::ReadWrite).unwrap();
    }
    memory
}

/// Version 2.0 with one shared queue that allows blocking on faults.
pub fn rig() -> Rig {
    rig_of(Config::granite_rapids().queue(WqConfig::shared(64).block_on_fault(true)))
}

pub fn rig_of(config: Config) -> Rig {
    let memory = memory();
    let device = Device::with_memory(config.manual(), memory.clone()).unwrap();
    let client = device.open(0).unwrap();
    Rig { device, client, memory }
}

impl Rig {
    pub fn submit(&self, d: &Descriptor) {
        // SAFETY: checked memory, where any 64 bytes are fine.
        assert_eq!(unsafe { self.client.enqcmd(d) }, Enqcmd::Accepted);
    }

    /// Clears the record, submits, runs, and returns the record.
    pub fn run(&self, d: &Descriptor) -> CompletionRecord {
        self.clear(d.completion_addr);
        self.submit(d);
        self.device.run_until_idle();
        self.record(d.completion_addr)
    }

    pub fn status(&self, d: &Descriptor) -> u8 {
        self.run(d).status
    }

    pub fn clear(&self, record: u64) {
        // Tests also name records that do not exist.
        let _ = self.memory.write(record, &[0; 32]);
    }

    pub fn record(&self, addr: u64) -> CompletionRecord {
        let mut record = CompletionRecord::default();
        let _ = self.memory.read(addr, record.as_mut_bytes());
        record
    }

    pub fn bytes(&self, addr: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.memory.read(addr, &mut bytes).unwrap();
        bytes
    }

    pub fn put(&self, addr: u64, bytes: &[u8]) {
        self.memory.write(addr, bytes).unwrap();
    }

    /// Writes a list at `LIST` and returns the batch descriptor for it.
    pub fn list(&self, members: &[Descriptor]) -> Descriptor {
        for (i, member) in members.iter().enumerate() {
            self.put(LIST + 64 * i as u64, member.as_bytes());
        }
        let mut d = desc(opcode::BATCH, 0);
        d.src_addr = LIST;
        d.xfer_size = members.len() as u32;
        d
    }

    /// Makes one page absent.
    pub fn absent(&self, page: u64) {
        self.memory.set_present(page, PAGE, false).unwrap();
    }
}

/// Bytes that differ from position to position and from seed to seed.
pub fn noise(len: usize, seed: u32) -> Vec<u8> {
    (0..len as u32).map(|i| (i ^ seed).wrapping_mul(0x9e37_79b1).rotate_left(9) as u8).collect()
}

/// A descriptor with the first record, requested, and more flags.
pub fn desc(code: u8, flags: u32) -> Descriptor {
    let mut d = Descriptor { completion_addr: RECORDS, ..Descriptor::default() };
    d.set_opcode_flags(code, CR | flags);
    d
}

pub fn with_record(mut d: Descriptor, index: u64) -> Descriptor {
    d.completion_addr = RECORDS + 32 * index;
    d
}

/// The same descriptor with other flags altogether.
pub fn with_flags(mut d: Descriptor, flags: u32) -> Descriptor {
    d.set_opcode_flags(d.opcode(), flags);
    d
}

pub fn nop() -> Descriptor {
    desc(opcode::NOP, 0)
}

pub fn memmove(src: u64, dst: u64, len: u32) -> Descriptor {
    Descriptor { src_addr: src, dst_addr: dst, xfer_size: len, ..desc(opcode::MEMMOVE, 0) }
}

pub fn fill(dst: u64, pattern: u64, len: u32) -> Descriptor {
    Descriptor { src_addr: pattern, dst_addr: dst, xfer_size: len, ..desc(opcode::FILL, 0) }
}

pub fn compare(a: u64, b: u64, len: u32) -> Descriptor {
    Descriptor { src_addr: a, dst_addr: b, xfer_size: len, ..desc(opcode::COMPARE, 0) }
}

pub fn compare_pattern(src: u64, pattern: u64, len: u32) -> Descriptor {
    Descriptor { src_addr: src, dst_addr: pattern, xfer_size: len, ..desc(opcode::COMPVAL, 0) }
}

pub fn dualcast(src: u64, dst: u64, dst2: u64, len: u32) -> Descriptor {
    let op_specific = [dst2, 0, 0];
    Descriptor { src_addr: src, dst_addr: dst, xfer_size: len, op_specific, ..desc(opcode::DUALCAST, 0) }
}

pub fn crc(src: u64, len: u32, seed: u64, flags: u32) -> Descriptor {
    Descriptor { src_addr: src, xfer_size: len, op_specific: [seed, 0, 0], ..desc(opcode::CRCGEN, flags) }
}

pub fn copy_crc(src: u64, dst: u64, len: u32, seed: u64, flags: u32) -> Descriptor {
    let op_specific = [seed, 0, 0];
    Descriptor { src_addr: src, dst_addr: dst, xfer_size: len, op_specific, ..desc(opcode::COPY_CRC, flags) }
}

pub fn cache_flush(addr: u64, len: u32) -> Descriptor {
    Descriptor { dst_addr: addr, xfer_size: len, ..desc(opcode::CFLUSH, 0) }
}

/// Old contents, new contents, their length, and where a delta record of at most so many bytes goes.
pub fn create_delta(old: u64, new: u64, len: u32, record: u64, most: u32) -> Descriptor {
    let op_specific = [record, u64::from(most), 0];
    Descriptor { src_addr: old, dst_addr: new, xfer_size: len, op_specific, ..desc(opcode::CR_DELTA, 0) }
}

pub fn apply_delta(record: u64, record_len: u32, dst: u64, len: u32) -> Descriptor {
    let op_specific = [u64::from(record_len), 0, 0];
    Descriptor { src_addr: record, dst_addr: dst, xfer_size: len, op_specific, ..desc(opcode::AP_DELTA, 0) }
}

pub fn translation_fetch(addr: u64, len: u32) -> Descriptor {
    Descriptor { src_addr: addr, xfer_size: len, ..desc(opcode::TRANSL_FETCH, 0) }
}

/// A data-integrity operation; the destination does not count for a check.
pub fn dif(code: u8, src: u64, dst: u64, len: u32, dif_flags: u8) -> Descriptor {
    let dst_addr = if code == opcode::DIF_CHECK { 0 } else { dst };
    let mut d = Descriptor { src_addr: src, dst_addr, xfer_size: len, ..desc(code, 0) };
    d.set_op_u8(42, dif_flags);
    d
}

/// Tells other threads to end when it is dropped: also where the test has failed, or a scope would wait for them for ever.
pub struct Ends<'a>(pub &'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Waits for something that other threads bring about.
pub fn wait(done: impl Fn() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(20), "waited for ever");
        std::thread::yield_now();
    }
}
