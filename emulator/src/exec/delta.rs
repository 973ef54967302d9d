//! Create and apply delta record (specification sections 8.3.8 and 8.3.9).
//!
//! A delta record is a list of entries of 10 bytes: the offset of a unit of 8 bytes, divided by 8, in 2 bytes, and the
//! unit's new contents. Units and entries are done or not done as a whole, also where a fault cuts one.

use idxd_sys::limits::{DELTA_ALIGN, DELTA_ENTRY, DELTA_MAX_REGION, DELTA_MIN_RECORD};
use idxd_sys::{Descriptor, flag, opcode, status};

use super::validate::{fail, regions_overlap};
use super::{CompletionRecord, Exec, Halt, Op, Operand, Outcome, record};
use crate::config::Checks;
use crate::memory::Access;

/// Bytes compared at a time; whole units.
const BLOCK: usize = 1024;
/// Bytes of a unit.
const UNIT: usize = DELTA_ALIGN;
/// Bytes of an entry.
const ENTRY: usize = DELTA_ENTRY as usize;

/// Where the delta record of a descriptor lies, and how long it may be (create) or is (apply).
pub(super) fn delta_record(d: &Descriptor) -> (u64, u64) {
    if d.opcode() == opcode::CR_DELTA {
        (d.op_specific[0], u64::from(d.op_u32(48)))
    } else {
        (d.src_addr, u64::from(d.op_u32(40)))
    }
}

/// The sizes and addresses of a delta operation (section 5.4). That the transfer size is within the queue's limit has
/// been seen to.
pub(super) fn check(x: &Exec<'_>, d: &Descriptor) -> Result<(), CompletionRecord> {
    let size = u64::from(d.xfer_size);
    let (at, length) = delta_record(d);
    let create = d.opcode() == opcode::CR_DELTA;
    fail(d.xfer_size > DELTA_MAX_REGION, status::BAD_SIZE)?;
    let least = u64::from(if create { DELTA_MIN_RECORD } else { DELTA_ENTRY });
    let remainder = x.shared.config.choices.delta_sizes == Checks::Strict && !length.is_multiple_of(ENTRY as u64);
    let outside = !(least..=x.queue.setup.max_transfer_size()).contains(&length);
    fail(outside || remainder, status::BAD_FIELD_VALUE)?;
    // The record itself may lie anywhere.
    let source = if create { d.src_addr } else { 0 };
    fail(!(size | source | d.dst_addr).is_multiple_of(UNIT as u64), status::ADDR_ALIGN)?;
    let overlaps = |region: u64| regions_overlap((at, length), (region, size));
    fail(create && overlaps(d.src_addr) || overlaps(d.dst_addr), status::OVERLAP)
}

impl Op<'_, '_> {
    /// Create delta record: what must change in the first source to make it the second.
    pub(super) fn create_delta(&mut self) -> Outcome {
        let size = self.size();
        let (at, most) = delta_record(self.d);
        let (mut old, mut new) = ([0; BLOCK], [0; BLOCK]);
        // Bytes compared, and bytes of the delta record.
        let (mut done, mut made) = (0, 0);
        while done < size {
            self.x.check_stop()?;
            let n = match self.pair(done, &mut old, &mut new) {
                Ok(n) => n,
                Err(halt) if self.again(&halt) => continue,
                Err(halt) => return self.create_faulted(halt, done, made),
            };
            let (old, new) = (&old[..n], &new[..n]);
            if old != new {
                for (i, (old, new)) in old.chunks_exact(UNIT).zip(new.chunks_exact(UNIT)).enumerate() {
                    if old == new {
                        continue;
                    }
                    let offset = done + (i * UNIT) as u64;
                    if most - made < ENTRY as u64 {
                        // The unit that found no room is not counted, so that it is found again.
                        return Ok(self.created(2, made, offset));
                    }
                    let mut entry = [0; ENTRY];
                    entry[..2].copy_from_slice(&((offset / UNIT as u64) as u16).to_le_bytes());
                    entry[2..].copy_from_slice(new);
                    if let Err(halt) = self.give(Operand::Destination, at, made, &entry) {
                        return self.create_faulted(halt, offset, made);
                    }
                    made += ENTRY as u64;
                }
            }
            done += n as u64;
        }
        Ok(self.created(u8::from(made != 0), made, 0))
    }

    /// Copies what comes next of both sources out: whole units, as many as two spans and the arrays hold.
    fn pair(&mut self, done: u64, old: &mut [u8; BLOCK], new: &mut [u8; BLOCK]) -> Result<usize, Halt> {
        let (a, b) = (self.d.src_addr, self.d.dst_addr);
        let left = (self.size() - done).min(BLOCK as u64);
        let held = self.x.round.held();
        let one = self.data(Operand::Source, a, done, left, Access::Read)?;
        let two = self.data(Operand::Source2, b, done, one.len as u64, Access::Read)?;
        let n = two.len / UNIT * UNIT;
        if n == 0 {
            // A span ends inside the next unit.
            self.x.round.release(held);
            self.take(Operand::Source, a, done, &mut old[..UNIT])?;
            self.take(Operand::Source2, b, done, &mut new[..UNIT])?;
            return Ok(UNIT);
        }
        // SAFETY: `n <= two.len <= one.len <= BLOCK`, so the bytes lie inside two spans for reading.
        unsafe {
            self.x.shared.space.load(one.ptr, &mut old[..n]);
            self.x.shared.space.load(two.ptr, &mut new[..n]);
        }
        self.x.round.release(held);
        Ok(n)
    }

    /// The record of a comparison that came to an end: its result, the bytes of the delta record, and the bytes
    /// compared if there was no room for more.
    fn created(&self, result: u8, made: u64, compared: u64) -> CompletionRecord {
        self.x.counters.bytes.add(if result == 2 { compared } else { self.size() });
        let expected = self.d.op_u8(56) >> result & 1 == 1;
        let status = if !self.flag(flag::CHECK_RESULT) || expected { status::SUCCESS } else { status::SUCCESS_FALSE };
        CompletionRecord { result, bytes_completed: compared as u32, op_specific: [made, 0], ..record(status) }
    }

    /// The record of a comparison that a fault ended. The result says whether there is a delta.
    fn create_faulted(&self, halt: Halt, done: u64, made: u64) -> Outcome {
        let ended = self.partial(halt, done)?;
        Ok(CompletionRecord { result: u8::from(made != 0), op_specific: [made, 0], ..ended })
    }

    /// Apply delta record. Each entry is read once, then looked at; bytes completed are those of the delta record.
    pub(super) fn apply_delta(&mut self) -> Outcome {
        let (dst, size) = (self.d.dst_addr, self.size());
        let (at, length) = delta_record(self.d);
        let mut least = 0;
        let mut done = 0;
        while length - done >= ENTRY as u64 {
            self.x.check_stop()?;
            let mut entry = [0; ENTRY];
            if let Err(halt) = self.take(Operand::Source, at, done, &mut entry) {
                return self.partial(halt, done);
            }
            let unit = u64::from(u16::from_le_bytes([entry[0], entry[1]]));
            let offset = unit * UNIT as u64;
            let wrong = match unit {
                // Offsets ascend, so one that is too large can not be too small as well.
                _ if unit < least => Some(status::DELTA_OFFSET_ORDER),
                _ if offset >= size => Some(status::DELTA_OFFSET_RANGE),
                _ => None,
            };
            if let Some(status) = wrong {
                self.x.counters.bytes.add(done);
                return Ok(CompletionRecord { bytes_completed: done as u32, ..record(status) });
            }
            if let Err(halt) = self.give(Operand::Destination, dst, offset, &entry[2..]) {
                return self.partial(halt, done);
            }
            least = unit + 1;
            done += ENTRY as u64;
        }
        self.x.counters.bytes.add(done);
        Ok(record(status::SUCCESS))
    }
}
