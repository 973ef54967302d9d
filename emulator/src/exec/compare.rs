//! Compare and compare with a pattern (specification sections 8.3.6 and 8.3.7).

use idxd_sys::{flag, status};

use super::{CompletionRecord, Op, Operand, Outcome};
use crate::memory::Access;

/// Bytes copied out at a time. Comparing copies means that memory which changes underfoot gives one answer or another,
/// never an inconsistent one.
const BLOCK: usize = 1024;

impl Op<'_, '_> {
    /// Compare: the exact offset of the first difference.
    pub(super) fn compare(&mut self) -> Outcome {
        let (a, b, size) = (self.d.src_addr, self.d.dst_addr, self.size());
        let (mut left, mut right) = ([0; BLOCK], [0; BLOCK]);
        let mut done = 0;
        while done < size {
            self.x.check_stop()?;
            let spans = self.data(Operand::Source, a, done, size - done, Access::Read).and_then(|one| {
                let two = self.data(Operand::Source2, b, done, one.len as u64, Access::Read)?;
                Ok((one, two))
            });
            // What was compared before the fault was equal, so the fault is the first thing to report.
            let (one, two) = match spans {
                Ok(spans) => spans,
                Err(halt) if self.again(&halt) => continue,
                Err(halt) => return self.partial(halt, done),
            };
            let mut at = 0;
            while at < two.len {
                let n = BLOCK.min(two.len - at);
                // SAFETY: `at + n <= two.len <= one.len`, so the bytes lie inside two spans for reading.
                unsafe {
                    self.x.shared.space.load(one.ptr.add(at), &mut left[..n]);
                    self.x.shared.space.load(two.ptr.add(at), &mut right[..n]);
                }
                if left[..n] != right[..n] {
                    let first = left.iter().zip(&right).position(|(l, r)| l != r).unwrap_or(0);
                    return Ok(self.compared(Some(done + (at + first) as u64)));
                }
                at += n;
            }
            done += two.len as u64;
        }
        Ok(self.compared(None))
    }

    /// Compare with an 8-byte pattern. The offset of a difference is a lower bound: the start of its 8-byte group.
    pub(super) fn compare_pattern(&mut self) -> Outcome {
        let (src, size) = (self.d.src_addr, self.size());
        let pattern = self.d.dst_addr.to_le_bytes();
        let mut block = [0; BLOCK];
        let mut done = 0;
        while done < size {
            self.x.check_stop()?;
            let span = match self.data(Operand::Source, src, done, (size - done).min(BLOCK as u64), Access::Read) {
                Ok(span) => span,
                Err(halt) => return self.partial(halt, done),
            };
            // SAFETY: the whole of a span for reading, at most `BLOCK` bytes.
            unsafe { self.x.shared.space.load(span.ptr, &mut block[..span.len]) };
            let phase = (done % 8) as usize;
            let differs = |i: &usize| block[*i] != pattern[(phase + i) % 8];
            if let Some(first) = (0..span.len).find(differs) {
                return Ok(self.compared(Some((done + first as u64) & !7)));
            }
            done += span.len as u64;
        }
        Ok(self.compared(None))
    }

    /// The record of a comparison that came to an answer.
    fn compared(&self, difference: Option<u64>) -> CompletionRecord {
        let result = u8::from(difference.is_some());
        let expected = (self.d.op_specific[0] & 1) as u8;
        let predicate = !self.flag(flag::CHECK_RESULT) || result == expected;
        self.x.counters.bytes.add(difference.unwrap_or(self.size()));
        CompletionRecord {
            status: if predicate { status::SUCCESS } else { status::SUCCESS_FALSE },
            result,
            bytes_completed: difference.unwrap_or(0) as u32,
            ..CompletionRecord::default()
        }
    }
}
