//! Fill with an 8- or 16-byte pattern (specification section 8.3.5).

use idxd_sys::flag;

use super::{Op, Operand, Outcome};
use crate::memory::Access;

impl Op<'_, '_> {
    /// Fill. The pattern repeats from the first byte of the destination, wherever that is.
    pub(super) fn fill(&mut self) -> Outcome {
        let (dst, size) = (self.d.dst_addr, self.size());
        let low = self.d.src_addr;
        let high = if self.flag(flag::FILL_16) { self.d.op_specific[0] } else { low };
        let pattern = u128::from(high) << 64 | u128::from(low);
        let mut done = 0;
        while done < size {
            self.x.check_stop()?;
            match self.data(Operand::Destination, dst, done, size - done, Access::Write) {
                Ok(to) => {
                    let phase = (done % 16) as u32 * 8;
                    let bytes = pattern.rotate_right(phase).to_le_bytes();
                    // SAFETY: the whole of a span for writing.
                    unsafe { self.x.shared.space.fill(to.ptr, to.len, bytes) };
                    done += to.len as u64;
                }
                Err(halt) => return self.partial(halt, done),
            }
        }
        Ok(self.success())
    }
}
