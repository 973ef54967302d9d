//! Jobs that move no data: cache flush, translation fetch.

use idxd_sys::Descriptor;

use super::{Absorbed, Extras, Job, Operands, Outcome, Region, Work, expose, source};
use crate::cpu;
use crate::descriptor::{CacheFlush, Capabilities, DescriptorError, TranslationFetch};
use crate::stats::Operation;

/// Where a cache flush brings data to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flushed {
    /// Memory, and out of the caches.
    ToMemory,
    /// Where it survives a loss of power.
    Durably,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Flush(Flushed),
    Fetch,
}

#[derive(Clone, Debug)]
pub(crate) struct Control {
    kind: Kind,
    address: u64,
    len: u64,
    total: u64,
}

/// The largest region of a translation fetch that ends on a page boundary. A queue's largest transfer does not matter to
/// it.
const MAX_FETCH: u64 = u32::MAX as u64 & !0xfff;

impl Control {
    fn new(kind: Kind, address: *const u8, len: usize) -> Self {
        Self { kind, address: expose(address), len: len as u64, total: len as u64 }
    }

    /// At most `limit` bytes, up to a boundary of pages where it is not all.
    fn part(&self, limit: u64) -> u64 {
        if self.len <= limit {
            return self.len;
        }
        let end = self.address.saturating_add(limit) & !0xfff;
        if end > self.address { end - self.address } else { limit }
    }
}

/// Jobs that move no data.
impl Job {
    /// Brings `len` bytes out of the caches.
    pub(crate) fn flush(address: *const u8, len: usize, to: Flushed) -> Self {
        Self::Control(Control::new(Kind::Flush(to), address, len))
    }

    /// Changes where a flush goes to; before anything has been done.
    pub(crate) fn set_flushed(&mut self, to: Flushed) {
        if let Self::Control(control) = self {
            control.kind = Kind::Flush(to);
        }
    }

    /// Makes the pages of `len` bytes present, and their translations known.
    pub(crate) fn fetch(address: *const u8, len: usize) -> Self {
        Self::Control(Control::new(Kind::Fetch, address, len))
    }
}

impl Work for Control {
    fn operation(&self) -> Operation {
        match self.kind {
            Kind::Flush(_) => Operation::CacheFlush,
            Kind::Fetch => Operation::TranslationFetch,
        }
    }

    fn total(&self) -> u64 {
        self.total
    }

    fn left(&self) -> u64 {
        self.len
    }

    fn next_piece(&self, caps: &Capabilities) -> u64 {
        match self.kind {
            Kind::Flush(_) => self.part(caps.max_transfer_size()),
            Kind::Fetch => self.part(MAX_FETCH),
        }
    }

    fn next_slice(&self, limit: u64) -> u64 {
        self.part(limit)
    }

    fn describe(&self, piece: u64, extras: Extras, caps: &Capabilities) -> Result<Descriptor, DescriptorError> {
        match self.kind {
            Kind::Flush(to) => {
                let builder = CacheFlush::new(self.address, piece).durable(to == Flushed::Durably);
                builder.record(extras.record).build(caps)
            }
            Kind::Fetch => TranslationFetch::new(self.address, piece).record(extras.record).build(caps),
        }
    }

    fn absorb(&mut self, piece: u64, _of_piece: Outcome) -> Absorbed {
        self.len -= piece;
        self.address = self.address.wrapping_add(piece);
        if self.len == 0 { Absorbed::Done(Outcome::Done) } else { Absorbed::More }
    }

    unsafe fn run(&self, piece: u64) -> Outcome {
        let (address, len) = (source(self.address), piece as usize);
        match self.kind {
            // SAFETY: the region is valid for reading, for which the caller vouches, and so is mapped.
            Kind::Flush(Flushed::ToMemory) => unsafe { cpu::flush(address, len) },
            // SAFETY: as above.
            Kind::Flush(Flushed::Durably) => unsafe { cpu::write_back(address, len) },
            // A hint: where the kernel does not know it, or cannot follow, the pages come when they are touched.
            Kind::Fetch => drop(cpu::fetch(address, len, 0)),
        }
        Outcome::Done
    }

    fn outcome(&self) -> Outcome {
        Outcome::Done
    }

    fn written(&self, _outcome: &Outcome) -> u64 {
        0
    }

    fn operands(&self) -> Operands {
        let mut operands = Operands::default();
        operands[0] = Region::new(self.address, self.len);
        operands
    }
}
