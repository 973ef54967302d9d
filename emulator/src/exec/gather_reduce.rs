//! Gather-reduce: many vectors become one (specification section 8.3.22).
//!
//! The sums of a whole block are kept until the list has been read, so every source is read once and nothing is written
//! before all of them were. A fault means that the operation starts anew: bytes completed is 0.

use idxd_sys::status;

use super::gather::{Ended, List};
use super::typed::{Fields, element};
use super::{CompletionRecord, Op, Operand, Outcome};
use crate::memory::Access;
use crate::numeric::{self, Plan, Stage};

/// Bytes that are read at a time.
const BLOCK: usize = 4096;

impl Op<'_, '_> {
    /// Gather-reduce.
    pub(super) fn gather_reduce(&mut self) -> Outcome {
        let fields = Fields(self.d);
        let Some(plan) = fields.plan(self.x.shared.config.choices.clamp_e4m3) else {
            // The checks let none of these through.
            return Ok(super::record(status::BAD_FIELD_VALUE));
        };
        let plan = plan.negating_alike();
        let mut list = List::new(fields);
        // At most the device's largest block, 32 KiB of elements.
        let mut sums = vec![0; fields.element_count() as usize];
        let mut exceptions = 0;
        while !list.is_done() {
            let processed = list.done();
            let added = self.next_buffer(&mut list, Operand::Source).and_then(|buffer| {
                let place = Place { first: processed == 0, second: processed == 1, last: list.is_done() };
                self.add_vector(&plan, (buffer, place), &mut sums, &mut exceptions)
            });
            if let Err(ended) = added {
                return self.reduction_ended(ended, processed, exceptions);
            }
        }
        let size = numeric::size(fields.output_type()) as usize;
        if let Err(ended) = self.write_sums(&sums, size) {
            return self.reduction_ended(ended, list.done(), exceptions);
        }
        Ok(self.computed(list.done() * fields.input_size(), exceptions))
    }

    /// Adds the elements at a buffer. The first vector is kept as it is, so that the second step has two operands.
    fn add_vector(
        &mut self,
        plan: &Plan,
        (buffer, place): (u64, Place),
        sums: &mut [u64],
        exceptions: &mut u8,
    ) -> Result<(), Ended> {
        let size = numeric::size(Fields(self.d).input_type()) as usize;
        if !buffer.is_multiple_of(size as u64) {
            return Err(Self::misaligned_buffer());
        }
        let stage = if place.last { Stage::Output } else { Stage::Intermediate };
        let mut bytes = [0; BLOCK];
        let mut done = 0;
        while done < sums.len() {
            self.x.check_stop()?;
            let wanted = (BLOCK / size).min(sums.len() - done) * size;
            let (piece, halt) = self.piece(Operand::Source, buffer, (done * size) as u64, wanted, Access::Read);
            let n = piece.len / size;
            piece.load(&self.x.shared.space, &mut bytes[..n * size]);
            for (sum, bytes) in sums[done..done + n].iter_mut().zip(bytes.chunks_exact(size)) {
                let element = element(bytes);
                let value = match (place.first, place.last) {
                    (true, true) => plan.convert(element),
                    (true, false) => numeric::Value { bits: element, exceptions: 0 },
                    (false, _) if place.second => plan.combine(*sum, element, stage),
                    (false, _) => plan.accumulate(*sum, element, stage),
                };
                *sum = value.bits;
                *exceptions |= value.exceptions;
            }
            done += n;
            if let Some(halt) = halt
                && !self.again(&halt)
            {
                return Err(halt.into());
            }
        }
        Ok(())
    }

    fn write_sums(&mut self, sums: &[u64], size: usize) -> Result<(), Ended> {
        let mut bytes = [0; BLOCK];
        let mut done = 0;
        while done < sums.len() {
            self.x.check_stop()?;
            let wanted = (BLOCK / size).min(sums.len() - done) * size;
            let (piece, halt) =
                self.piece(Operand::Destination, self.d.dst_addr, (done * size) as u64, wanted, Access::Write);
            let n = piece.len / size;
            for (bytes, sum) in bytes.chunks_exact_mut(size).zip(&sums[done..done + n]) {
                bytes.copy_from_slice(&sum.to_le_bytes()[..size]);
            }
            piece.store(&self.x.shared.space, &bytes[..n * size]);
            done += n;
            if let Some(halt) = halt
                && !self.again(&halt)
            {
                return Err(halt.into());
            }
        }
        Ok(())
    }

    fn reduction_ended(&self, ended: Ended, processed: u64, exceptions: u8) -> Outcome {
        let ended = self.list_ended(ended, processed, 0)?;
        Ok(CompletionRecord { result: exceptions, ..ended })
    }
}

/// Which one of the vectors it is.
#[derive(Clone, Copy)]
struct Place {
    first: bool,
    /// The sums hold elements of the first vector.
    second: bool,
    last: bool,
}
