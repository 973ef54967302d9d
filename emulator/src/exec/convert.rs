//! Operations element by element: type conversion, reduce, reduce with dualcast (specification sections 8.3.19 to 8.3.21).
//!
//! A destination may be the source. So all operands of a block are found first, and only elements that can be reached in
//! each of them are computed and written: what bytes completed does not count has not been written anywhere, and the
//! operation can be resumed.

use idxd_sys::{flag, opcode, status};

use super::typed::{Fields, Piece, element};
use super::{CompletionRecord, Op, Operand, Outcome};
use crate::memory::Access;
use crate::numeric::{self, Stage};

/// Elements of a block.
const ELEMENTS: u64 = 512;
/// Bytes of a block of the largest elements.
const BLOCK: usize = 8 * ELEMENTS as usize;

impl Op<'_, '_> {
    /// Type conversion, reduce, or reduce with dualcast.
    pub(super) fn elementwise(&mut self) -> Outcome {
        let d = self.d;
        let fields = Fields(d);
        let Some(plan) = fields.plan(self.x.shared.config.choices.clamp_e4m3) else {
            // The checks let none of these through.
            return Ok(super::record(status::BAD_FIELD_VALUE));
        };
        let sources = [(Operand::Source, d.src_addr), (Operand::Source2, d.dst_addr)];
        let [first, second, _] = d.op_specific;
        let (sources, first, destinations) = match d.opcode() {
            opcode::TYPE_CONV => (&sources[..1], d.dst_addr, 1),
            opcode::REDUCE => (&sources[..], first, 1),
            _ => (&sources[..], first, 2),
        };
        let destinations = &[(Operand::Destination, first), (Operand::Destination2, second)][..destinations];
        let (input, output) = (numeric::size(fields.input_type()), numeric::size(fields.output_type()));
        let (count, mut done) = (fields.element_count(), 0);
        let mut values = [[0; BLOCK]; 2];
        let mut results = [0; BLOCK];
        let mut exceptions = 0;
        while done < count {
            self.x.check_stop()?;
            let mut n = ELEMENTS.min(count - done);
            let mut halt = None;
            let mut from = [Piece::EMPTY; 2];
            let mut to = [Piece::EMPTY; 2];
            for (piece, (operand, addr)) in from.iter_mut().zip(sources) {
                let reached = self.piece(*operand, *addr, done * input, (n * input) as usize, Access::Read);
                (*piece, n, halt) = narrowed(reached, input, (n, halt));
            }
            for (piece, (operand, addr)) in to.iter_mut().zip(destinations) {
                let reached = self.piece(*operand, *addr, done * output, (n * output) as usize, Access::Write);
                (*piece, n, halt) = narrowed(reached, output, (n, halt));
            }
            let elements = n as usize;
            let (input_size, output_size) = (input as usize, output as usize);
            let space = &self.x.shared.space;
            for (piece, bytes) in from[..sources.len()].iter().zip(&mut values) {
                piece.load(space, &mut bytes[..elements * input_size]);
            }
            let operands = |bytes: &[u8; BLOCK], i: usize| element(&bytes[i * input_size..(i + 1) * input_size]);
            for (i, result) in results.chunks_exact_mut(output_size).take(elements).enumerate() {
                let value = match sources.len() {
                    1 => plan.convert(operands(&values[0], i)),
                    _ => plan.combine(operands(&values[0], i), operands(&values[1], i), Stage::Output),
                };
                result.copy_from_slice(&value.bits.to_le_bytes()[..output_size]);
                exceptions |= value.exceptions;
            }
            for piece in &to[..destinations.len()] {
                piece.store(space, &results[..elements * output_size]);
            }
            done += n;
            if let Some(halt) = halt {
                if self.again(&halt) {
                    continue;
                }
                let ended = self.partial(halt, done * input)?;
                return Ok(CompletionRecord { result: exceptions, ..ended });
            }
        }
        Ok(self.computed(count * input, exceptions))
    }

    /// The record of a computation that came to its end.
    pub(super) fn computed(&self, bytes: u64, exceptions: u8) -> CompletionRecord {
        self.x.counters.bytes.add(bytes);
        let predicate = !self.flag(flag::CHECK_RESULT) || exceptions == 0;
        let status = if predicate { status::SUCCESS } else { status::SUCCESS_FALSE };
        CompletionRecord { result: exceptions, ..super::record(status) }
    }
}

/// What is left of a block when only `reached` of one operand can be: the piece, whole elements, and what stopped the
/// operand that has the fewest.
fn narrowed<H>(reached: (Piece, Option<H>), size: u64, before: (u64, Option<H>)) -> (Piece, u64, Option<H>) {
    let (piece, halt) = reached;
    let n = piece.len as u64 / size;
    if n < before.0 { (piece, n, halt) } else { (piece, before.0, before.1) }
}
