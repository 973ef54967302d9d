//! Scatter-gather lists, and the copies and fills that use them (specification sections 8.1.14 and 8.3.23 to 8.3.25).
//!
//! Each entry of a list is read exactly once, with the descriptor's own PASID, some entries at a time; a list that changes
//! meanwhile gives one buffer or another. Addresses of buffers are computed modulo 2^64. A buffer that reaches beyond the
//! last address faults there, as every operand does.

use idxd_sys::compute::sgl_format;
use idxd_sys::status;

use super::typed::{Fields, element};
use super::{CompletionRecord, Halt, Op, Operand, Outcome, Stopped, record};
use crate::memory::Access;

/// Bytes of a list that are read at a time.
const LIST_BLOCK: usize = 512;

/// A list under way.
pub(super) struct List {
    addr: u64,
    entries: u64,
    entry_size: usize,
    base: u64,
    /// An entry counts this many bytes.
    unit: u64,
    /// Bytes of each buffer.
    pub(super) block: u64,
    bytes: [u8; LIST_BLOCK],
    /// Entries of which `bytes` has some, the first one of them and the one after the last.
    held: (u64, u64),
    /// The next entry.
    next: u64,
}

impl List {
    pub(super) fn new(fields: Fields<'_>) -> Self {
        let format = fields.list_format();
        let block = fields.input_size();
        Self {
            addr: fields.list(),
            entries: fields.list_entries(),
            entry_size: sgl_format::entry_size(format).map_or(8, |size| size as usize),
            base: fields.base(),
            unit: if format == sgl_format::OFFSET_64 { 1 } else { block },
            block,
            bytes: [0; LIST_BLOCK],
            held: (0, 0),
            next: 0,
        }
    }

    /// Entries that have been read out.
    pub(super) fn done(&self) -> u64 {
        self.next
    }

    pub(super) fn is_done(&self) -> bool {
        self.next == self.entries
    }
}

/// Why an operation over a list ended early.
#[derive(Clone, Copy)]
pub(super) enum Ended {
    Halt(Halt),
    /// The buffer of an entry is not what it must be.
    Refused(CompletionRecord),
}

impl From<Halt> for Ended {
    fn from(halt: Halt) -> Self {
        Self::Halt(halt)
    }
}

impl From<Stopped> for Ended {
    fn from(stopped: Stopped) -> Self {
        Self::Halt(stopped.into())
    }
}

impl Op<'_, '_> {
    /// The address of the buffer of the next entry, which is reached as `operand`.
    pub(super) fn next_buffer(&mut self, list: &mut List, operand: Operand) -> Result<u64, Ended> {
        self.x.check_stop()?;
        let size = list.entry_size;
        if list.next == list.held.1 {
            let wanted = (list.entries - list.next).min((LIST_BLOCK / size) as u64);
            let offset = list.next * size as u64;
            let (piece, whole) = loop {
                let (piece, halt) = self.piece(Operand::List, list.addr, offset, wanted as usize * size, Access::Read);
                let whole = piece.len / size;
                match halt.filter(|_| whole == 0) {
                    Some(halt) if self.again(&halt) => self.x.check_stop()?,
                    Some(halt) => return Err(halt.into()),
                    None => break (piece, whole),
                }
            };
            piece.load(&self.x.shared.space, &mut list.bytes[..whole * size]);
            list.held = (list.next, list.next + whole as u64);
        }
        let at = (list.next - list.held.0) as usize * size;
        let entry = element(&list.bytes[at..at + size]);
        let addr = list.base.wrapping_add(entry.wrapping_mul(list.unit));
        if !self.domains.reaches(operand, addr, list.block) {
            return Err(Ended::Refused(self.domains.refusal(operand, status::IDPT_WINDOW)));
        }
        list.next += 1;
        Ok(addr)
    }

    /// Gather copy: from the buffers to consecutive places.
    pub(super) fn gather_copy(&mut self) -> Outcome {
        self.each_buffer(Operand::Source, |op, buffer, before, done, left| {
            let from = op.data(Operand::Source, buffer, done, left, Access::Read)?;
            let to = op.data(Operand::Destination, op.d.dst_addr, before + done, from.len as u64, Access::Write)?;
            // SAFETY: `to` is not longer than `from`, and both are valid for their length.
            unsafe { op.x.shared.space.copy(from.ptr, to.ptr, to.len) };
            Ok(to.len)
        })
    }

    /// Scatter copy: from consecutive places to the buffers.
    pub(super) fn scatter_copy(&mut self) -> Outcome {
        self.each_buffer(Operand::Destination, |op, buffer, before, done, left| {
            let from = op.data(Operand::Source, op.d.src_addr, before + done, left, Access::Read)?;
            let to = op.data(Operand::Destination, buffer, done, from.len as u64, Access::Write)?;
            // SAFETY: `to` is not longer than `from`, and both are valid for their length.
            unsafe { op.x.shared.space.copy(from.ptr, to.ptr, to.len) };
            Ok(to.len)
        })
    }

    /// Scatter fill: an 8-byte pattern that begins anew in each buffer.
    pub(super) fn scatter_fill(&mut self) -> Outcome {
        let pattern = u128::from(self.d.src_addr) << 64 | u128::from(self.d.src_addr);
        self.each_buffer(Operand::Destination, |op, buffer, _, done, left| {
            let to = op.data(Operand::Destination, buffer, done, left, Access::Write)?;
            let bytes = pattern.rotate_right((done % 8) as u32 * 8).to_le_bytes();
            // SAFETY: the whole of a span for writing.
            unsafe { op.x.shared.space.fill(to.ptr, to.len, bytes) };
            Ok(to.len)
        })
    }

    /// Calls `step` with the address of each buffer, the bytes of the buffers before it, the bytes done of this one, and
    /// those left of it; a step says how many it did.
    fn each_buffer(
        &mut self,
        scattered: Operand,
        step: impl Fn(&mut Self, u64, u64, u64, u64) -> Result<usize, Halt>,
    ) -> Outcome {
        let mut list = List::new(Fields(self.d));
        while !list.is_done() {
            let completed = list.done();
            let before = completed * list.block;
            let buffer = match self.next_buffer(&mut list, scattered) {
                Ok(buffer) => buffer,
                Err(ended) => return self.list_ended(ended, completed, before),
            };
            let mut done = 0;
            while done < list.block {
                self.x.check_stop()?;
                match step(self, buffer, before, done, list.block - done) {
                    Ok(n) => done += n as u64,
                    Err(halt) if self.again(&halt) => {}
                    Err(halt) => {
                        let part = if self.x.shared.config.choices.partial_list_entries { done } else { 0 };
                        return self.list_ended(halt.into(), completed, before + part);
                    }
                }
            }
        }
        Ok(self.success())
    }

    /// The record of an operation that ended after some entries of its list, and some bytes.
    pub(super) fn list_ended(&self, ended: Ended, entries: u64, bytes: u64) -> Outcome {
        let mut record = match ended {
            Ended::Halt(halt) => self.partial(halt, bytes)?,
            Ended::Refused(record) => CompletionRecord { bytes_completed: bytes as u32, ..record },
        };
        record.op_specific[0] |= entries << 32;
        Ok(record)
    }

    /// The record for a buffer whose address is not a multiple of the size of its elements.
    pub(super) fn misaligned_buffer() -> Ended {
        Ended::Refused(record(status::ADDR_ALIGN))
    }
}
