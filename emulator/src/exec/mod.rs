//! Execution of one descriptor: injection, checks, dispatch, completion record.
//!
//! Every operation walks its operands in *spans*. A span is what the address space can give at once; a fault ends the walk, and
//! the operation says how far it got. Between spans (at most `Config::chunk` bytes) the engine looks whether it must stop;
//! a stopped descriptor ends without a record.

mod batch;
mod compare;
mod control;
mod crc;
mod fill;
mod moves;
mod validate;

use std::time::{Duration, Instant};

use idxd_sys::{CompletionRecord, Descriptor, flag, opcode, status};

use crate::config::gencap;
use crate::device::Shared;
use crate::fault::{Armed, MAX_ARMED, Region};
use crate::memory::{Access, PAGE_SIZE, Span};
use crate::observe::{EngineCounters, SoftwareError};
use crate::prng::Prng;
use crate::queue::WorkQueue;

/// What an engine brings along to execute a descriptor.
pub(crate) struct Exec<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) queue: &'a WorkQueue,
    pub(crate) counters: &'a EngineCounters,
    pub(crate) rng: &'a mut Prng,
    pub(crate) pasid: u32,
    pub(crate) seq: u64,
    pub(crate) engine: usize,
}

impl Exec<'_> {
    /// Ends the operation if the device or queue must stop.
    #[inline]
    fn check_stop(&self) -> Result<(), Stopped> {
        if self.shared.stops(self.queue) { Err(Stopped) } else { Ok(()) }
    }

    fn has(&self, gencap_bit: u64) -> bool {
        self.shared.config.gencap & gencap_bit != 0
    }

    fn sleep(&self, time: Duration) -> Result<(), Stopped> {
        let start = Instant::now();
        loop {
            self.check_stop()?;
            let left = time.saturating_sub(start.elapsed());
            if left.is_zero() {
                return Ok(());
            }
            std::thread::sleep(left.min(Duration::from_micros(200)));
        }
    }
}

/// The engine must stop: halt or abort. The descriptor ends without a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stopped;

/// Operand numbers of the fault information field (record byte 2, bits 3:1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Operand {
    Source = 1,
    /// Also the CRC seed.
    Source2 = 2,
    Destination = 3,
    Destination2 = 4,
    Record = 5,
}

/// An access that could not be made.
#[derive(Clone, Copy, Debug)]
struct Fault {
    /// 0x03 or 0x04, bit 7 set for a write.
    status: u8,
    addr: u64,
    operand: Operand,
}

/// Why a walk ended early.
#[derive(Clone, Copy, Debug)]
enum Halt {
    Stopped,
    Fault(Fault),
}

impl From<Stopped> for Halt {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}

/// The result of an operation: a completion record in the making.
type Outcome = Result<CompletionRecord, Stopped>;

/// The status of an access that cannot be made: with `block` a page request for it was refused.
const fn refused(block: bool) -> u8 {
    if block { status::PAGE_RESPONSE } else { status::PAGE_FAULT }
}

fn record(status: u8) -> CompletionRecord {
    CompletionRecord { status, ..CompletionRecord::default() }
}

/// Executes one descriptor to its end. `member` is its position if it came from a batch list.
///
/// Returns the status it ended with, also where no record could be written.
pub(crate) fn execute(x: &mut Exec<'_>, d: &Descriptor, member: Option<u16>) -> Result<u8, Stopped> {
    x.counters.executed(d.opcode());
    let mut armed = Armed::default();
    if x.shared.faults.active() {
        armed = x.shared.faults.arm(d.opcode(), &regions(d));
        if let Some(time) = armed.delay {
            x.sleep(time)?;
        }
        if armed.lose {
            x.counters.lost.add(1);
            return Ok(status::SUCCESS);
        }
    }
    let mut op = Op { x, d, armed, member };
    if d.flags() & flag::CRAV != 0 && !d.completion_addr.is_multiple_of(32) {
        op.x.counters.failed.add(1);
        op.report(status::CR_ALIGN, d.completion_addr, 0);
        return Ok(status::CR_ALIGN);
    }
    let ended = match op.armed.hardware {
        Some(status) => record(status),
        None => match validate::check(op.x, d, member.is_some()) {
            Err(refused) => refused,
            Ok(()) => op.dispatch()?,
        },
    };
    Ok(op.complete(&ended))
}

/// One descriptor under execution.
struct Op<'a, 'x> {
    x: &'a mut Exec<'x>,
    d: &'a Descriptor,
    armed: Armed,
    member: Option<u16>,
}

impl Op<'_, '_> {
    fn dispatch(&mut self) -> Outcome {
        match self.d.opcode() {
            opcode::NOP => Ok(record(status::SUCCESS)),
            opcode::BATCH => self.batch(),
            opcode::DRAIN => self.drain(),
            opcode::MEMMOVE => self.memmove(),
            opcode::FILL => self.fill(),
            opcode::COMPARE => self.compare(),
            opcode::COMPVAL => self.compare_pattern(),
            opcode::DUALCAST => self.dualcast(),
            opcode::CRCGEN => self.crc(false),
            opcode::COPY_CRC => self.crc(true),
            opcode::CFLUSH => self.cache_flush(),
            // The checks let nothing else through.
            _ => Ok(record(status::BAD_OPCODE)),
        }
    }

    fn flag(&self, bit: u32) -> bool {
        self.d.flags() & bit != 0
    }

    fn size(&self) -> u64 {
        u64::from(self.d.xfer_size)
    }

    /// A span at `base + offset` of at most `len` (at least 1) bytes and one chunk, for a data operand.
    #[inline]
    fn data(&mut self, operand: Operand, base: u64, offset: u64, len: u64, access: Access) -> Result<Span, Halt> {
        let len = len.min(self.x.shared.config.chunk as u64);
        let block = self.flag(flag::BLOCK_ON_FAULT);
        let Some(addr) = base.checked_add(offset) else {
            return Err(Halt::Fault(self.fault(refused(block), u64::MAX, operand, access)));
        };
        self.span(operand, addr, len, access, block).map_err(Halt::Fault)
    }

    /// A span at `addr`; with `block` a fault becomes a page request first.
    #[inline]
    fn span(&mut self, operand: Operand, addr: u64, len: u64, access: Access, block: bool) -> Result<Span, Fault> {
        // No byte beyond the last address exists.
        let len = len.min((u64::MAX - addr).saturating_add(1));
        if !self.armed.any_fault
            && let Ok(span) = self.x.shared.space.translate(self.x.pasid, addr, len, access)
        {
            debug_assert!(span.len >= 1 && span.len as u64 <= len);
            return Ok(span);
        }
        self.span_slow(operand, addr, len, access, block)
    }

    #[cold]
    fn span_slow(&mut self, operand: Operand, addr: u64, len: u64, access: Access, block: bool) -> Result<Span, Fault> {
        let refused = refused(block);
        // A page request that is granted can still be followed by a fault (the page is gone again); not for ever.
        for _ in 0..16 {
            let mut len = len;
            if let Some((index, first)) = self.armed.reached(addr, len, access) {
                if first > addr {
                    len = first - addr;
                } else {
                    self.x.counters.page_faults.add(1);
                    let resolvable = self.armed.fault(index).is_some_and(|f| f.resolvable);
                    if !(block && resolvable) {
                        return Err(self.fault(refused, addr, operand, access));
                    }
                    self.armed.disarm(index);
                    continue;
                }
            }
            let space = &self.x.shared.space;
            match space.translate(self.x.pasid, addr, len, access) {
                Ok(span) => return Ok(span),
                Err(page) => {
                    self.x.counters.page_faults.add(1);
                    if !(block && space.resolve(self.x.pasid, page.addr, access)) {
                        return Err(self.fault(refused, page.addr, operand, access));
                    }
                }
            }
        }
        Err(self.fault(refused, addr, operand, access))
    }

    fn fault(&self, status: u8, addr: u64, operand: Operand, access: Access) -> Fault {
        let write = if access == Access::Write { status::FAULT_WRITE } else { 0 };
        let mask = if self.x.shared.config.mask_fault_address { PAGE_SIZE - 1 } else { 0 };
        Fault { status: status | write, addr: addr & !mask, operand }
    }

    /// The record of an operation that a fault ended after `done` bytes.
    fn partial(&self, halt: Halt, done: u64) -> Outcome {
        let Halt::Fault(fault) = halt else { return Err(Stopped) };
        self.x.counters.bytes.add(done);
        Ok(CompletionRecord { bytes_completed: done as u32, ..self.faulted(fault.status, fault) })
    }

    /// A record with a status of the caller's choice that names a fault.
    fn faulted(&self, status: u8, fault: Fault) -> CompletionRecord {
        let masked = u8::from(self.x.shared.config.mask_fault_address);
        CompletionRecord {
            fault_addr: fault.addr,
            fault_info: if self.x.has(gencap::FAULT_INFO) { (fault.operand as u8) << 1 | masked } else { 0 },
            ..record(status)
        }
    }

    /// The record of full success.
    fn success(&self) -> CompletionRecord {
        self.x.counters.bytes.add(self.size());
        record(status::SUCCESS)
    }

    /// Copies `buf.len()` bytes at `addr` out of device memory.
    fn fetch(&mut self, operand: Operand, addr: u64, buf: &mut [u8], block: bool) -> Result<(), Fault> {
        let mut done = 0;
        while done < buf.len() {
            let Some(at) = addr.checked_add(done as u64) else {
                return Err(self.fault(refused(block), u64::MAX, operand, Access::Read));
            };
            let span = self.span(operand, at, (buf.len() - done) as u64, Access::Read, block)?;
            // SAFETY: the whole of a span for reading; it is not longer than the rest of `buf`.
            unsafe { self.x.shared.space.load(span.ptr, &mut buf[done..done + span.len]) };
            done += span.len;
        }
        Ok(())
    }

    /// Ends the descriptor: counts, and writes the record if the rules ask for one. Returns the final status.
    fn complete(&mut self, ended: &CompletionRecord) -> u8 {
        let code = ended.status & status::CODE_MASK;
        if !matches!(code, status::SUCCESS | status::SUCCESS_FALSE) {
            self.x.counters.failed.add(1);
        }
        if !self.flag(flag::CRAV) {
            // Nowhere to write: errors of the descriptor itself go to the software error register.
            if !matches!(code, status::SUCCESS | status::SUCCESS_FALSE | status::BATCH_FAIL) {
                let invalid = if code == status::BAD_FLAGS { ended.op_specific[0] as u32 } else { 0 };
                self.report(ended.status, ended.fault_addr, invalid);
            }
            return ended.status;
        }
        // Without a request only what is not a success is recorded (section 8.1.3.4).
        let quiet = matches!(code, status::SUCCESS | status::SUCCESS_FALSE | status::BATCH_FAIL);
        if quiet && !self.flag(flag::RCR) {
            return ended.status;
        }
        let addr = self.d.completion_addr;
        let Ok(place) = self.record_place(addr) else {
            let error = status::CR_FAULT | status::FAULT_WRITE;
            self.report(error, addr, 0);
            return error;
        };
        self.x.counters.records.add(1);
        let bytes: [u8; 32] = zerocopy::transmute!(*ended);
        // SAFETY: 32 bytes of a span for writing; `execute` refused addresses that are not multiples of 32, and host
        // addresses agree modulo 64.
        unsafe { self.x.shared.space.store_record(&bytes, place) };
        ended.status
    }

    /// Where to write the 32 bytes of a record. Faults block, whatever the flag says.
    fn record_place(&mut self, addr: u64) -> Result<*mut u8, Fault> {
        let (operand, access) = (Operand::Record, Access::Write);
        if self.armed.record_fault {
            return Err(self.fault(status::CR_FAULT, addr, operand, access));
        }
        // A record lies in one page, so only injected faults begin inside it, each of which a page request removes. An
        // address space that gives shorter spans all the same gets no record.
        for _ in 0..=MAX_ARMED {
            let span = self.span(operand, addr, 32, access, true)?;
            if span.len >= 32 {
                return Ok(span.ptr);
            }
            let (next, left) = (addr + span.len as u64, 32 - span.len as u64);
            self.span(operand, next, left, access, true)?;
        }
        Err(self.fault(status::CR_FAULT, addr, operand, access))
    }

    /// Latches a software error about this descriptor.
    fn report(&self, error: u8, addr: u64, invalid_flags: u32) {
        let of = SoftwareError::of(error & status::CODE_MASK, self.x.queue.index, self.x.pasid, self.d, self.member);
        let write = error & status::FAULT_WRITE != 0;
        self.x.shared.errors.report(SoftwareError { write, invalid_flags, addr, ..of });
    }
}

/// Where the operands of a descriptor lie, for injection by address. Unused places have length 0.
fn regions(d: &Descriptor) -> [Region; 5] {
    let mut all = [Region::NONE; 5];
    let size = u64::from(d.xfer_size);
    let mut set = |i: usize, addr, len, access| all[i] = Region { addr, len, access, record: i == 4 };
    let (read, write) = (Access::Read, Access::Write);
    match d.opcode() {
        opcode::BATCH => set(0, d.src_addr, size * 64, read),
        opcode::MEMMOVE | opcode::COPY_CRC => {
            set(0, d.src_addr, size, read);
            set(1, d.dst_addr, size, write);
        }
        opcode::FILL => set(0, d.dst_addr, size, write),
        opcode::COMPARE => {
            set(0, d.src_addr, size, read);
            set(1, d.dst_addr, size, read);
        }
        opcode::COMPVAL | opcode::CRCGEN => set(0, d.src_addr, size, read),
        opcode::DUALCAST => {
            set(0, d.src_addr, size, read);
            set(1, d.dst_addr, size, write);
            set(2, d.op_specific[0], size, write);
        }
        opcode::CFLUSH => set(0, d.dst_addr, size, read),
        opcode::DRAIN => {
            set(0, d.src_addr, u64::from(d.flags() & flag::DRAIN_READBACK_1 != 0), read);
            set(1, d.dst_addr, u64::from(d.flags() & flag::DRAIN_READBACK_2 != 0), read);
        }
        _ => {}
    }
    if matches!(d.opcode(), opcode::CRCGEN | opcode::COPY_CRC) && d.flags() & flag::CRC_READ_SEED != 0 {
        set(3, d.op_specific[1], if d.flags() & flag::CRC_64 != 0 { 8 } else { 4 }, read);
    }
    if d.flags() & flag::CRAV != 0 {
        set(4, d.completion_addr, 32, write);
    }
    all
}
