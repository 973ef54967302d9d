//! Drain and cache flush (specification sections 8.3.3 and 8.3.26).

use idxd_sys::{flag, status};

use super::{Op, Operand, Outcome, record};
use crate::memory::Access;

impl Op<'_, '_> {
    /// Drain: waits until every earlier descriptor of this PASID in this queue has ended, then reads the readback addresses.
    /// A dedicated queue has one client, hence one PASID, so there it waits for the whole queue.
    pub(super) fn drain(&mut self) -> Outcome {
        for (index, slot) in self.x.shared.engines.iter().enumerate() {
            let mut rounds = 0u32;
            while index != self.x.engine && slot.is_before(self.x.queue, self.x.seq, self.x.requester) {
                self.x.check_stop()?;
                rounds = rounds.saturating_add(1);
                if rounds < 100 { std::hint::spin_loop() } else { std::thread::yield_now() }
            }
        }
        // What it waited for may have ended because everything does.
        self.x.check_stop()?;
        let readbacks = [
            (flag::DRAIN_READBACK_1, self.d.src_addr, Operand::Source),
            (flag::DRAIN_READBACK_2, self.d.dst_addr, Operand::Source2),
        ];
        for (bit, addr, operand) in readbacks {
            // A readback reads one byte here; the device reads a line. Faults on it block, whatever the flag says.
            if self.flag(bit)
                && let Err(fault) = self.fetch(operand, addr, &mut [0], true)
            {
                return Ok(self.faulted(status::DRAIN_FAULT, fault));
            }
        }
        Ok(record(status::SUCCESS))
    }

    /// Cache flush: the model has no cache to flush, but the range must be reachable.
    pub(super) fn cache_flush(&mut self) -> Outcome {
        let (addr, size) = (self.d.dst_addr, self.size());
        let mut done = 0;
        while done < size {
            self.x.check_stop()?;
            match self.data(Operand::Destination, addr, done, size - done, Access::Read) {
                Ok(span) => done += span.len as u64,
                Err(halt) => return self.partial(halt, done),
            }
        }
        Ok(self.success())
    }
}
