//! Translation fetch (specification section 8.3.11).
//!
//! The device asks for translations and moves no data. A translation is looked up like that of any operand, and stays in
//! what the address space caches, if it has a cache; what a program sees is whether the pages are there, and that block on
//! fault brings them in.

use idxd_sys::limits::TRANSLATION_FETCH_MIN_STRIDE;
use idxd_sys::{Descriptor, flag, status};

use super::validate::fail;
use super::{CompletionRecord, Exec, Halt, Op, Operand, Outcome, Stopped, record};
use crate::memory::{Access, PAGE_SIZE};

/// Region and stride (section 5.4). The region must end within the address space.
pub(super) fn check(x: &Exec<'_>, d: &Descriptor) -> Result<(), CompletionRecord> {
    let size = u64::from(d.xfer_size);
    let limited = x.shared.config.choices.limit_fetched_regions && size > x.queue.setup.max_transfer_size();
    let wraps = size != 0 && d.src_addr.checked_add(size - 1).is_none();
    fail(size == 0 || limited || wraps, status::BAD_SIZE)?;
    let stride = d.op_u32(48);
    let usable = stride >= TRANSLATION_FETCH_MIN_STRIDE && stride.is_power_of_two();
    fail(d.flags() & flag::FETCH_STRIDE != 0 && !usable, status::ADDR_ALIGN)
}

impl Op<'_, '_> {
    /// One request for each stride, from the page of the first byte on, as long as its address lies before the region's
    /// end. Of a page only what belongs to the region counts.
    pub(super) fn translation_fetch(&mut self) -> Outcome {
        let first = self.d.src_addr;
        // The checks refused what runs out of the address space.
        let last = first + (self.size() - 1);
        let stride = if self.flag(flag::FETCH_STRIDE) { u64::from(self.d.op_u32(48)) } else { PAGE_SIZE };
        let mut page = first & !(PAGE_SIZE - 1);
        loop {
            let (from, to) = (page.max(first), (page | (PAGE_SIZE - 1)).min(last));
            match self.look_up(from, to - from + 1) {
                Ok(()) => {}
                // Bytes completed mean nothing here, and stay 0.
                Err(Halt::Fault(fault)) => return Ok(self.faulted(fault.status, fault)),
                Err(Halt::Stopped) => return Err(Stopped),
            }
            match page.checked_add(stride) {
                Some(next) if next <= last => page = next,
                _ => return Ok(record(status::SUCCESS)),
            }
        }
    }

    fn look_up(&mut self, from: u64, len: u64) -> Result<(), Halt> {
        let mut done = 0;
        while done < len {
            self.x.check_stop()?;
            done += self.data(Operand::Source, from, done, len - done, Access::Read)?.len as u64;
        }
        Ok(())
    }
}
