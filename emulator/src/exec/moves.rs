//! Memory move and dualcast (specification sections 8.3.4 and 8.3.10).

use super::validate::overlap;
use super::{CompletionRecord, Halt, Op, Operand, Outcome};
use crate::memory::{Access, PAGE_SIZE, Span};

impl Op<'_, '_> {
    /// Memory move. A destination that starts inside the source must be filled from its end; a device is free to do so
    /// at any time, which `Config::backward_moves` imitates.
    pub(super) fn memmove(&mut self) -> Outcome {
        let (src, dst, size) = (self.d.src_addr, self.d.dst_addr, self.size());
        let must = src < dst && overlap(src, dst, size);
        let may = !overlap(src, dst, size) && self.x.rng.chance(self.x.shared.config.backward_moves);
        if must || may { self.move_backward() } else { self.move_forward() }
    }

    pub(super) fn move_forward(&mut self) -> Outcome {
        let (src, dst, size) = (self.d.src_addr, self.d.dst_addr, self.size());
        let mut done = 0;
        while done < size {
            self.x.check_stop()?;
            let left = size - done;
            let spans = self.data(Operand::Source, src, done, left, Access::Read).and_then(|from| {
                let to = self.data(Operand::Destination, dst, done, from.len as u64, Access::Write)?;
                Ok((from, to))
            });
            match spans {
                Ok((from, to)) => {
                    // SAFETY: `to` is not longer than `from`, and both are valid for their length.
                    unsafe { self.x.shared.space.copy(from.ptr, to.ptr, to.len) };
                    done += to.len as u64;
                }
                Err(halt) if self.again(&halt) => {}
                Err(halt) => return self.partial(halt, done),
            }
        }
        Ok(self.success())
    }

    /// Copies from the end. Bytes completed count from the end, and the result is 1.
    fn move_backward(&mut self) -> Outcome {
        let (src, dst, size) = (self.d.src_addr, self.d.dst_addr, self.size());
        let mut left = size;
        while left > 0 {
            self.x.check_stop()?;
            let spans = self.tail(Operand::Source, src, left, Access::Read).and_then(|from| {
                let to = self.tail(Operand::Destination, dst, left, Access::Write)?;
                Ok((from, to))
            });
            match spans {
                Ok((from, to)) => {
                    let n = from.len.min(to.len);
                    let (from, to) = (from.ptr.wrapping_add(from.len - n), to.ptr.wrapping_add(to.len - n));
                    // SAFETY: the last `n` bytes of two spans that have at least that many.
                    unsafe { self.x.shared.space.copy(from, to, n) };
                    left -= n as u64;
                }
                Err(halt) if self.again(&halt) => {}
                Err(halt) => {
                    let ended = self.partial(halt, size - left)?;
                    return Ok(CompletionRecord { result: 1, ..ended });
                }
            }
        }
        Ok(self.success())
    }

    /// The longest span found that ends at `base + end` and does not start before `base`; at least one byte.
    fn tail(&mut self, operand: Operand, base: u64, end: u64, access: Access) -> Result<Span, Halt> {
        // With one large span behind it (trusted memory) a whole chunk is served at once.
        let chunk = (self.x.shared.config.chunk as u64).min(end);
        let granule = if self.x.shared.space.is_shared() || self.armed.any_fault {
            // The part of the last page that belongs to the operand: faults are per page.
            let last = base.wrapping_add(end - 1);
            (last % PAGE_SIZE + 1).min(chunk)
        } else {
            chunk
        };
        let mut start = end - granule;
        loop {
            let span = self.data(operand, base, start, end - start, access)?;
            start += span.len as u64;
            if start == end {
                return Ok(span);
            }
        }
    }

    /// Dualcast: one source, two destinations.
    pub(super) fn dualcast(&mut self) -> Outcome {
        let (src, dst, dst2, size) = (self.d.src_addr, self.d.dst_addr, self.d.op_specific[0], self.size());
        let mut done = 0;
        while done < size {
            self.x.check_stop()?;
            let left = size - done;
            let spans = self.data(Operand::Source, src, done, left, Access::Read).and_then(|from| {
                let to = self.data(Operand::Destination, dst, done, from.len as u64, Access::Write)?;
                let to2 = self.data(Operand::Destination2, dst2, done, to.len as u64, Access::Write)?;
                Ok((from, to, to2))
            });
            match spans {
                Ok((from, to, to2)) => {
                    // SAFETY: `to2` is the shortest of the three, and each is valid for its length.
                    unsafe { self.x.shared.space.copy_twice(from.ptr, [to.ptr, to2.ptr], to2.len) };
                    done += to2.len as u64;
                }
                Err(halt) if self.again(&halt) => {}
                Err(halt) => return self.partial(halt, done),
            }
        }
        Ok(self.success())
    }
}
