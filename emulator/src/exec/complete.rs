//! The end of a descriptor: its record and interrupt, or an entry in the event log or the software error register.

use std::time::Duration;

use idxd_sys::{CompletionRecord, flag, opcode, status};

use super::{Fault, Op, Operand, Stopped};
use crate::events::{LogEntry, Logged};
use crate::fault::MAX_ARMED;
use crate::memory::Access;
use crate::observe::SoftwareError;

/// Between two looks at an event log that is full.
const FULL_LOG: Duration = Duration::from_micros(200);

/// What the event log has got of a batch under execution.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct BatchLog {
    /// Number of the batch, in its entries.
    pub(super) number: u8,
    /// Records of members that could not be written.
    pub(super) records: u32,
}

impl Op<'_, '_> {
    /// Ends the descriptor: counts, writes the record if the rules ask for one, then interrupts if that was requested.
    /// Returns the final status.
    pub(super) fn complete(&mut self, ended: &CompletionRecord) -> Result<u8, Stopped> {
        // The operands are done with; what becomes of them while the record's page is waited for does not matter.
        self.x.round.end();
        if self.stopped {
            return Err(Stopped);
        }
        let code = ended.status & status::CODE_MASK;
        if !matches!(code, status::SUCCESS | status::SUCCESS_FALSE) {
            self.x.counters.failed.add(1);
        }
        let written = self.write_record(ended, code);
        // Whoever hears of the interrupt may take the pages away and wait.
        self.x.round.end();
        match written {
            Written::Record(status) => {
                if self.flag(flag::RCI)
                    && let Some(events) = &self.x.shared.events
                    && let Some(vector) = self.x.vector(self.d)
                {
                    events.completed(vector);
                }
                Ok(status)
            }
            // Record and interrupt are what software has to make up for.
            Written::Logged(status) => Ok(status),
            Written::Stopped => Err(Stopped),
        }
    }

    fn write_record(&mut self, ended: &CompletionRecord, code: u8) -> Written {
        let quiet = matches!(code, status::SUCCESS | status::SUCCESS_FALSE | status::BATCH_FAIL);
        if !self.flag(flag::CRAV) {
            // Nowhere to write: errors of the descriptor itself are reported elsewhere.
            if !quiet {
                self.report(ended.status, ended.fault_addr, Some(ended));
            }
            return if self.stopped { Written::Stopped } else { Written::Record(ended.status) };
        }
        let addr = self.d.completion_addr;
        if let Some(error) = self.behind_the_log() {
            if self.report(error, addr, Some(ended)) {
                return Written::Logged(ended.status);
            }
            if self.stopped {
                return Written::Stopped;
            }
        }
        // Without a request only what is not a success is recorded (section 8.1.3.4).
        if quiet && !self.flag(flag::RCR) {
            return Written::Record(ended.status);
        }
        let Ok(place) = self.record_place(addr) else {
            if self.stopped {
                return Written::Stopped;
            }
            return self.unwritten(addr, ended);
        };
        self.x.counters.records.add(1);
        let bytes: [u8; 32] = zerocopy::transmute!(*ended);
        // SAFETY: 32 bytes of a span for writing; `execute` refused addresses that are not multiples of 32, and host
        // addresses agree modulo 64.
        unsafe { self.x.shared.space.store_record(&bytes, place) };
        if self.x.shared.space.vanished().is_none() {
            return Written::Record(ended.status);
        }
        self.unwritten(addr, ended)
    }

    /// The end of a descriptor whose record cannot be written.
    fn unwritten(&mut self, addr: u64, ended: &CompletionRecord) -> Written {
        let error = status::CR_FAULT | status::FAULT_WRITE;
        // Software that reads the log can still deliver the record.
        match self.report(error, addr, Some(ended)) {
            true => Written::Logged(ended.status),
            false if self.stopped => Written::Stopped,
            false => Written::Record(error),
        }
    }

    /// Ends a descriptor that is refused without a record: whoever made it must not be answered, or cannot be.
    pub(super) fn refuse(&mut self, code: u8, addr: u64) -> Result<u8, Stopped> {
        self.x.counters.failed.add(1);
        self.report(code, addr, None);
        if self.stopped { Err(Stopped) } else { Ok(code) }
    }

    /// The code under which a record must go through the event log, because software has yet to deliver records that
    /// come before it: those of a batch's members, or what a drain waits for.
    fn behind_the_log(&self) -> Option<u8> {
        let events = self.x.shared.events.as_ref()?;
        match self.d.opcode() {
            opcode::BATCH if self.member.is_none() && self.x.batch.records != 0 => Some(status::BATCH_EVENT_LOG),
            opcode::DRAIN if events.log_pending() => Some(status::DRAIN_EVENT_LOG),
            _ => None,
        }
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

    /// Reports an error about this descriptor: to the event log, or else to the software error register. `ended` is the
    /// record that nobody sees. Returns whether the log has it. May wait for room in the log; a stop ends that wait, and then
    /// nobody hears of the error.
    pub(super) fn report(&mut self, error: u8, addr: u64, ended: Option<&CompletionRecord>) -> bool {
        // The log is written in a section of its own, and others are told.
        self.x.round.end();
        let code = error & status::CODE_MASK;
        let of = SoftwareError::of(code, self.x.queue.index, self.x.requester, self.d, self.member);
        let invalid_flags = match ended {
            Some(ended) if code == status::BAD_FLAGS => ended.op_specific[0] as u32,
            _ => 0,
        };
        // The record names the operand, for both in bits 3:1 of the fault information.
        let operand = match (code, ended) {
            (status::CR_FAULT, _) => Operand::Record as u8,
            (
                status::BATCH_LIST_FAULT | status::DRAIN_FAULT | status::PAGE_FAULT | status::PAGE_RESPONSE,
                Some(ended),
            ) => ended.fault_info >> 1 & 7,
            _ => 0,
        };
        let idpt_handle = self.domains.reported(code, operand, ended);
        let write = error & status::FAULT_WRITE != 0;
        let error = SoftwareError { write, invalid_flags, operand, idpt_handle, addr, ..of };
        let record_fault = code == status::CR_FAULT;
        let entry = LogEntry {
            error,
            batch: self.x.batch.number,
            first_in_batch: record_fault && self.member.is_some() && self.x.batch.records == 0,
            target: self.x.target(self.d),
            interrupt: self.flag(flag::RCI),
            requested: self.flag(flag::RCR),
            record: ended,
        };
        let logged = self.log(&entry);
        match logged {
            Logged::Taken => self.x.batch.records += u32::from(record_fault && self.member.is_some()),
            Logged::Off => self.x.shared.report(error),
            Logged::Lost => self.x.shared.report_lost_entry(),
            Logged::Full => self.stopped = true,
        }
        logged == Logged::Taken
    }

    /// Puts an entry into the event log. A log that must not overflow holds the engine up while it is full (section 5.9), so
    /// [`Logged::Full`] is what is left of a wait that a stop has ended.
    fn log(&self, entry: &LogEntry<'_>) -> Logged {
        let Some(events) = &self.x.shared.events else { return Logged::Off };
        loop {
            let logged = events.log(entry);
            if logged != Logged::Full || self.x.sleep(FULL_LOG).is_err() {
                return logged;
            }
        }
    }
}

/// How a descriptor ended, as others see it.
enum Written {
    /// With a record, or rightly without one.
    Record(u8),
    /// With an entry in the event log instead of its record.
    Logged(u8),
    /// The device has to stop, which ended the wait for the record's page.
    Stopped,
}
