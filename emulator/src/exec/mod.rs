//! Execution of one descriptor: injection, checks, dispatch, completion record.
//!
//! Every operation walks its operands in *spans*. A span is what the address space can give at once; a fault ends the walk, and
//! the operation says how far it got. Between spans (at most `Config::chunk` bytes) the engine looks whether it must stop;
//! a stopped descriptor ends without a record. That look also ends what may be done with the spans so far (`round`).

mod batch;
mod classes;
mod compare;
mod complete;
mod control;
mod convert;
mod crc;
mod delta;
mod dif;
mod fetch;
mod fill;
mod gather;
mod gather_reduce;
mod guard;
mod inter_domain;
mod moves;
mod pace;
pub(crate) mod quick;
mod round;
mod rules;
mod typed;
mod validate;
mod vanish;
mod whole;

use std::time::{Duration, Instant};

use idxd_sys::{CompletionRecord, Descriptor, flag, opcode, status};

pub(crate) use self::complete::BatchLog;
use self::inter_domain::Domains;
pub(crate) use self::quick::Quick;
use self::round::Resumed;
pub(crate) use self::round::Round;
use crate::config::gencap;
use crate::entry::ClientState;
use crate::events::Target;
use crate::fault::{Armed, Region};
use crate::memory::{Access, PAGE_SIZE, PageFault, Requester, Span};
use crate::observe::{EngineCounters, Executed};
use crate::prng::Prng;
use crate::queue::WorkQueue;
use crate::shared::Shared;

/// What an engine brings along to execute a descriptor.
pub(crate) struct Exec<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) queue: &'a WorkQueue,
    pub(crate) quick: &'a Quick,
    /// Where descriptors of the queue are counted.
    pub(crate) executed: &'a Executed,
    pub(crate) counters: &'a EngineCounters,
    pub(crate) rng: &'a mut Prng,
    pub(crate) client: &'a ClientState,
    pub(crate) requester: Requester,
    pub(crate) seq: u64,
    pub(crate) engine: usize,
    /// The descriptor came through a portal of the interrupt message storage.
    pub(crate) message_storage: bool,
    pub(crate) batch: BatchLog,
    /// The descriptor under execution uses memory of other PASIDs, which may want it to stop.
    pub(crate) in_domains: bool,
    pub(crate) round: Round<'a>,
}

impl Exec<'_> {
    /// Ends the round, and the operation if the device or queue must stop.
    #[inline]
    fn check_stop(&self) -> Result<(), Stopped> {
        self.round.end();
        if self.stops() { Err(Stopped) } else { Ok(()) }
    }

    #[inline]
    fn stops(&self) -> bool {
        self.queue.stops()
            || self.client.is_aborting()
            || self.in_domains && self.shared.permissions.must_leave(self.engine).is_some()
    }

    fn has(&self, gencap_bit: u64) -> bool {
        self.shared.config.gencap & gencap_bit != 0
    }

    /// Where the completion interrupt of a descriptor goes.
    fn target(&self, d: &Descriptor) -> Target {
        Target { handle: d.int_handle, message_storage: self.message_storage }
    }

    /// The vector of the interrupt that a descriptor requests; `None` if it requests none, or one it may not have.
    fn vector(&self, d: &Descriptor) -> Option<u16> {
        if d.flags() & flag::RCI == 0 {
            return None;
        }
        let events = self.shared.events.as_ref().filter(|events| events.may_interrupt(self.requester))?;
        events.vector(self.target(d), self.requester)
    }

    /// Whether the descriptor is privileged where the PASID capability forbids it (section 5.4). A dedicated queue of that
    /// kind is not enabled in the first place.
    fn lacks_privilege(&self) -> bool {
        let allowed = || self.shared.events.as_ref().is_none_or(|events| events.may_be_privileged());
        self.requester.privileged && !self.queue.setup.is_dedicated() && !allowed()
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
    /// A scatter-gather list.
    List = 6,
}

/// An access that could not be made.
#[derive(Clone, Copy, Debug)]
struct Fault {
    /// 0x03 or 0x04, bit 7 set for a write.
    status: u8,
    addr: u64,
    operand: Operand,
    /// While a page request was waited for, a span of the round has moved, this one. None of the round may be used; an
    /// operation that holds several looks at all of them again ([`Op::again`]), for others it is a fault like any.
    moved: bool,
}

/// Rounds of a descriptor that may start again because spans have moved.
const MOVES: u32 = 16;

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

impl From<Fault> for Halt {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
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
#[inline]
pub(crate) fn execute(x: &mut Exec<'_>, d: &Descriptor, member: Option<u16>) -> Result<u8, Stopped> {
    if x.shared.is_plain() && quick::run(x.quick, x.counters, x.executed, d) {
        return Ok(status::SUCCESS);
    }
    execute_in_full(x, d, member)
}

/// The same for a descriptor that is not plain.
#[inline(never)]
fn execute_in_full(x: &mut Exec<'_>, d: &Descriptor, member: Option<u16>) -> Result<u8, Stopped> {
    x.executed.count(d.opcode());
    let begun = x.begun();
    // Left behind by a descriptor that was stopped.
    let _before = x.shared.space.vanished();
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
    let mut op = Op { x, d, armed, member, stopped: false, moves: 0, domains: Domains::default() };
    if d.flags() & flag::CRAV != 0 && !d.completion_addr.is_multiple_of(32) {
        return op.refuse(status::CR_ALIGN, d.completion_addr);
    }
    if op.x.lacks_privilege() {
        return op.refuse(status::BAD_PRIV, 0);
    }
    if !classes::carry_record(op.x, d) {
        return op.refuse(status::BAD_TRAFFIC_CLASS, 0);
    }
    let ended = match op.armed.hardware {
        Some(status) => record(status),
        None => match op.check() {
            Err(refused) => refused,
            Ok(()) => op.execute()?,
        },
    };
    let ended = op.unless_vanished(ended);
    if let Some(begun) = begun {
        op.x.hold(begun, d, &ended, member.is_some())?;
    }
    op.complete(&ended)
}

/// One descriptor under execution.
struct Op<'a, 'x> {
    x: &'a mut Exec<'x>,
    d: &'a Descriptor,
    armed: Armed,
    member: Option<u16>,
    /// A page request was given up because of a stop: what looks like a fault is none, and nobody hears of it.
    stopped: bool,
    /// Rounds that started again because spans have moved.
    moves: u32,
    /// Operands that lie in the memory of another PASID.
    domains: Domains<'x>,
}

impl Op<'_, '_> {
    /// Executes a descriptor that has passed its checks.
    fn execute(&mut self) -> Outcome {
        let ended = self.enter_domains().map_or_else(Ok, |()| self.dispatch());
        self.settle(ended)
    }

    fn check(&self) -> Result<(), CompletionRecord> {
        if self.x.quick.passes(self.d) {
            return Ok(());
        }
        validate::check(self.x, self.d, self.member.is_some())?;
        validate::fail(!classes::carry_operands(self.x, self.d), status::BAD_TRAFFIC_CLASS)
    }

    fn dispatch(&mut self) -> Outcome {
        match self.d.opcode() {
            opcode::NOP => Ok(record(status::SUCCESS)),
            opcode::BATCH => self.batch(),
            opcode::DRAIN => self.drain(),
            opcode::MEMMOVE => self.memmove(),
            opcode::FILL | opcode::INTER_DOMAIN_FILL => self.fill(),
            opcode::COMPARE | opcode::INTER_DOMAIN_COMPARE => self.compare(),
            opcode::COMPVAL | opcode::INTER_DOMAIN_COMPVAL => self.compare_pattern(),
            opcode::DUALCAST => self.dualcast(),
            opcode::CRCGEN => self.crc(false),
            opcode::COPY_CRC => self.crc(true),
            opcode::CFLUSH => self.cache_flush(),
            opcode::CR_DELTA => self.create_delta(),
            opcode::AP_DELTA => self.apply_delta(),
            opcode::TRANSL_FETCH => self.translation_fetch(),
            opcode::DIF_CHECK..=opcode::DIF_UPDT | opcode::DIX_GEN => self.data_integrity(),
            opcode::TYPE_CONV | opcode::REDUCE | opcode::REDUCE_DUALCAST => self.elementwise(),
            opcode::GATHER_REDUCE => self.gather_reduce(),
            opcode::GATHER_COPY => self.gather_copy(),
            opcode::SCATTER_COPY => self.scatter_copy(),
            opcode::SCATTER_FILL => self.scatter_fill(),
            opcode::UPDATE_WINDOW => self.update_window(),
            // Operands know in which domain they lie. What overlaps across domains cannot be seen.
            opcode::INTER_DOMAIN_COPY => self.move_forward(),
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
        let mut known = None;
        if !self.armed.any_fault {
            match self.translate(operand, addr, len, access) {
                Ok(span) => {
                    debug_assert!(span.len >= 1 && span.len as u64 <= len);
                    return Ok(span);
                }
                Err(page) => known = Some(page),
            }
        }
        self.span_slow(operand, addr, len, access, block, known)
    }

    /// `known` is the fault that the first translation has ended with, if there was one.
    #[cold]
    fn span_slow(
        &mut self,
        operand: Operand,
        addr: u64,
        len: u64,
        access: Access,
        block: bool,
        mut known: Option<PageFault>,
    ) -> Result<Span, Fault> {
        let refused = refused(block);
        // A queue that makes no page requests has none granted.
        let block = block && self.x.queue.setup.page_requests();
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
            let known = known.take().map(Err);
            match known.unwrap_or_else(|| self.translate(operand, addr, len, access)) {
                Ok(span) => return Ok(span),
                Err(page) => {
                    self.x.counters.page_faults.add(1);
                    let fault = self.fault(refused, page.addr, operand, access);
                    if !block {
                        return Err(fault);
                    }
                    self.x.round.suspend();
                    let stop = || self.x.stops();
                    let granted = self.resolve(operand, page.addr, access, &stop);
                    self.stopped |= !granted && stop();
                    match self.x.round.resume() {
                        Resumed::Same => {}
                        Resumed::Moved(held) => {
                            let fault = self.fault(refused, held.addr, held.operand, held.access);
                            return Err(Fault { moved: true, ..fault });
                        }
                        // Nothing of the round may be used, but if it comes to a record, this is the page that is missing.
                        Resumed::Unknown => return Err(Fault { moved: true, ..fault }),
                    }
                    if !granted {
                        return Err(fault);
                    }
                }
            }
        }
        Err(self.fault(refused, addr, operand, access))
    }

    /// Whether a round that was ended by this starts again: spans have moved, and not too often yet.
    fn again(&mut self, halt: &Halt) -> bool {
        let Halt::Fault(Fault { moved: true, .. }) = halt else { return false };
        self.moves += 1;
        self.moves <= MOVES
    }

    fn fault(&self, status: u8, addr: u64, operand: Operand, access: Access) -> Fault {
        let write = if access == Access::Write { status::FAULT_WRITE } else { 0 };
        let mask = if self.x.shared.config.mask_fault_address { PAGE_SIZE - 1 } else { 0 };
        let addr = if self.domains.hides(operand) { 0 } else { addr & !mask };
        Fault { status: status | write, addr, operand, moved: false }
    }

    /// The record of an operation that a fault ended after `done` bytes.
    fn partial(&self, halt: Halt, done: u64) -> Outcome {
        let Halt::Fault(fault) = halt else { return Err(Stopped) };
        self.x.counters.bytes.add(done);
        Ok(CompletionRecord { bytes_completed: done as u32, ..self.faulted(fault.status, fault) })
    }

    /// A record with a status of the caller's choice that names a fault.
    fn faulted(&self, status: u8, fault: Fault) -> CompletionRecord {
        let masked = u8::from(self.x.shared.config.mask_fault_address || self.domains.hides(fault.operand));
        let handle = self.domains.handle(fault.operand).map_or(0, u64::from);
        CompletionRecord {
            op_specific: [handle, 0],
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
        let held = self.x.round.held();
        while done < buf.len() {
            let Some(at) = addr.checked_add(done as u64) else {
                return Err(self.fault(refused(block), u64::MAX, operand, Access::Read));
            };
            let span = self.span(operand, at, (buf.len() - done) as u64, Access::Read, block)?;
            // SAFETY: the whole of a span for reading; it is not longer than the rest of `buf`.
            unsafe { self.x.shared.space.load(span.ptr, &mut buf[done..done + span.len]) };
            if let Some(vanished) = self.x.shared.space.vanished() {
                return Err(self.fault(refused(block), vanished.addr, operand, Access::Read));
            }
            self.x.round.release(held);
            done += span.len;
        }
        Ok(())
    }
}

/// Where the operands of a descriptor lie, for injection by address. Unused places have length 0.
fn regions(d: &Descriptor) -> [Region; 5] {
    let mut all = [Region::NONE; 5];
    let size = u64::from(d.xfer_size);
    let mut set = |i: usize, addr, len, access| all[i] = Region { addr, len, access, record: i == 4 };
    let (read, write) = (Access::Read, Access::Write);
    let mut scattered = None;
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
        opcode::COMPVAL | opcode::CRCGEN | opcode::TRANSL_FETCH => set(0, d.src_addr, size, read),
        opcode::DUALCAST => {
            set(0, d.src_addr, size, read);
            set(1, d.dst_addr, size, write);
            set(2, d.op_specific[0], size, write);
        }
        opcode::CFLUSH => set(0, d.dst_addr, size, read),
        opcode::CR_DELTA => {
            let (at, most) = delta::delta_record(d);
            set(0, d.src_addr, size, read);
            set(1, d.dst_addr, size, read);
            set(2, at, most, write);
        }
        opcode::AP_DELTA => {
            let (at, length) = delta::delta_record(d);
            set(0, at, length, read);
            set(1, d.dst_addr, size, write);
        }
        opcode::DIF_CHECK..=opcode::DIF_UPDT | opcode::DIX_GEN => {
            set(0, d.src_addr, size, read);
            set(1, d.dst_addr, dif::destination_size(d), write);
        }
        opcode::DRAIN => {
            set(0, d.src_addr, u64::from(d.flags() & flag::DRAIN_READBACK_1 != 0), read);
            set(1, d.dst_addr, u64::from(d.flags() & flag::DRAIN_READBACK_2 != 0), read);
        }
        _ => scattered = typed::regions(d, &mut set),
    }
    if matches!(d.opcode(), opcode::CRCGEN | opcode::COPY_CRC) && d.flags() & flag::CRC_READ_SEED != 0 {
        set(3, d.op_specific[1], if d.flags() & flag::CRC_64 != 0 { 8 } else { 4 }, read);
    }
    if d.flags() & flag::CRAV != 0 {
        set(4, d.completion_addr, 32, write);
    }
    if let Some(anywhere) = scattered {
        all[3] = anywhere;
    }
    all
}
