//! Jobs on blocks whose places a list names: gather copy, scatter copy, scatter fill.
//!
//! Progress counts the bytes of all blocks together. For a device, pieces are whole entries of the list, as many as it
//! takes at once; the CPU may stop inside a block. Blocks of a destination do not overlap, and neither overlaps the list,
//! so a piece can be done over.

use idxd_sys::Descriptor;
use idxd_sys::compute::dsacap1;

use super::{Absorbed, Extras, GRAIN, Job, Operands, Outcome, Region, Work, expose, source, target};
use crate::cpu::{self, ScatterList};
use crate::descriptor::{
    CacheControl, Capabilities, DataType, DescriptorError, GatherCopy, ScatterCopy, ScatterFill, Sgl, SglFormat,
};
use crate::stats::Operation;

/// A list whose blocks all lie inside a region.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Places {
    /// Address of the list.
    list: u64,
    entries: u64,
    format: SglFormat,
    /// The region from whose start the entries count.
    base: Region,
}

impl Places {
    /// The list of `entries` entries at `list`, which name blocks of a region of `len` bytes at `base`.
    pub(crate) fn new(list: *const u8, entries: usize, format: SglFormat, base: *const u8, len: usize) -> Self {
        Self { list: expose(list), entries: entries as u64, format, base: Region::new(expose(base), len as u64) }
    }

    pub(super) const fn entries(&self) -> u64 {
        self.entries
    }

    pub(super) const fn base(&self) -> Region {
        self.base
    }

    /// The memory of the list.
    pub(super) fn region(&self) -> Region {
        Region::new(self.list, self.entries * u64::from(self.format.entry_size()))
    }

    /// `count` entries from number `from` on, for a device.
    pub(super) fn sgl(&self, from: u64, count: u64) -> Sgl {
        let address = self.list + from * u64::from(self.format.entry_size());
        // What exceeds 32 bits exceeds the limit of any queue, and is refused.
        Sgl::new(address, u32::try_from(count).unwrap_or(u32::MAX), self.format).base(self.base.start)
    }

    /// The same for the CPU, with blocks of `block` bytes.
    pub(super) fn scatter_list(&self, from: u64, count: u64, block: u64) -> ScatterList {
        let entries = source(self.list + from * u64::from(self.format.entry_size()));
        ScatterList::new(entries, count as usize, self.format.code(), self.base.start, block as usize)
            .expect("the format is one of the specification's")
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Gather,
    Scatter,
    Fill,
}

#[derive(Clone, Debug)]
pub(crate) struct Lists {
    kind: Kind,
    places: Places,
    block: u64,
    /// Destination of a gather, source of a scatter, pattern of a fill.
    other: u64,
    /// Bytes of all blocks that are done, and in all.
    done: u64,
    total: u64,
}

impl Lists {
    fn new(kind: Kind, places: Places, block: usize, other: u64) -> Self {
        let block = block as u64;
        Self { kind, places, block, other, done: 0, total: places.entries * block }
    }
}

/// Jobs with lists. The product of entries and block size has been found to be the size of something.
impl Job {
    /// Blocks of `block` bytes one behind the other to `dst`.
    pub(crate) fn gather_copy(places: Places, block: usize, dst: *mut u8) -> Self {
        Self::Lists(Lists::new(Kind::Gather, places, block, expose(dst)))
    }

    /// From `src` to blocks of `block` bytes, none of which overlaps another.
    pub(crate) fn scatter_copy(src: *const u8, places: Places, block: usize) -> Self {
        Self::Lists(Lists::new(Kind::Scatter, places, block, expose(src)))
    }

    /// An 8-byte pattern to blocks of `block` bytes, none of which overlaps another.
    pub(crate) fn scatter_fill(places: Places, block: usize, pattern: u64) -> Self {
        Self::Lists(Lists::new(Kind::Fill, places, block, pattern))
    }
}

impl Work for Lists {
    fn operation(&self) -> Operation {
        match self.kind {
            Kind::Gather => Operation::GatherCopy,
            Kind::Scatter => Operation::ScatterCopy,
            Kind::Fill => Operation::ScatterFill,
        }
    }

    fn total(&self) -> u64 {
        self.total
    }

    fn left(&self) -> u64 {
        self.total - self.done
    }

    fn next_piece(&self, caps: &Capabilities) -> u64 {
        let entries = (caps.max_transfer_size() / self.block).min(caps.max_sgl_size().into());
        self.left().min(entries * self.block)
    }

    fn next_slice(&self, limit: u64) -> u64 {
        let inside = self.done % self.block;
        if inside != 0 || self.block > limit {
            return (self.block - inside).min(limit / GRAIN * GRAIN);
        }
        // However small a block is, it may be a cache line of its own.
        let entries = limit / self.block.max(64);
        self.left().min(entries.max(1) * self.block)
    }

    fn describe(&self, piece: u64, extras: Extras, caps: &Capabilities) -> Result<Descriptor, DescriptorError> {
        let cache = if extras.cached { CacheControl::Cache } else { CacheControl::Memory };
        let (list, record) = (self.places.sgl(self.done / self.block, piece / self.block), extras.record);
        let data_type = data_type(self.block, caps);
        let count = self.block / u64::from(data_type.size());
        match self.kind {
            Kind::Gather => {
                let builder = GatherCopy::new(list, self.other + self.done, data_type, count);
                builder.record(record).cache_control(cache).build(caps)
            }
            Kind::Scatter => {
                let builder = ScatterCopy::new(self.other + self.done, list, data_type, count);
                builder.record(record).cache_control(cache).build(caps)
            }
            Kind::Fill => {
                let builder = ScatterFill::new(list, self.other, data_type, count);
                builder.record(record).cache_control(cache).build(caps)
            }
        }
    }

    fn absorb(&mut self, piece: u64, _of_piece: Outcome) -> Absorbed {
        self.done += piece;
        if self.done == self.total { Absorbed::Done(Outcome::Done) } else { Absorbed::More }
    }

    unsafe fn run(&self, piece: u64) -> Outcome {
        let (from, inside) = (self.done / self.block, self.done % self.block);
        let is_part = !piece.is_multiple_of(self.block);
        let count = if is_part { 1 } else { piece / self.block };
        let mut list = self.places.scatter_list(from, count, self.block);
        if is_part {
            list = list.columns(inside as usize, piece as usize);
        }
        // SAFETY: the list names blocks inside the base region, and the other side has room for all of them; the caller
        // vouches for both and for the list. They do not overlap.
        unsafe {
            match self.kind {
                Kind::Gather => cpu::gather_copy(&list, target(self.other + self.done)),
                Kind::Scatter => cpu::scatter_copy(source(self.other + self.done), &list),
                // Parts end on multiples of the pattern.
                Kind::Fill => cpu::scatter_fill(&list, self.other),
            }
        }
        Outcome::Done
    }

    fn outcome(&self) -> Outcome {
        Outcome::Done
    }

    fn written(&self, _outcome: &Outcome) -> u64 {
        match self.kind {
            Kind::Gather => self.total,
            // What is scattered goes where there are bytes already.
            Kind::Scatter | Kind::Fill => 0,
        }
    }

    fn operands(&self) -> Operands {
        let mut operands = Operands::default();
        operands[0] = self.places.region();
        operands[1] = self.places.base;
        if self.kind != Kind::Fill {
            operands[2] = Region::new(self.other + self.done, self.left());
        }
        operands
    }
}

/// A type of which a block holds a whole number, and which the device has. It decides about nothing else.
fn data_type(block: u64, caps: &Capabilities) -> DataType {
    let offered = |kind: &DataType| dsacap1::has_data_type(caps.dsa_caps()[1], kind.code());
    let fits = |kind: &DataType| block.is_multiple_of(kind.size().into());
    let all = [DataType::Int64, DataType::Int32, DataType::Int16, DataType::Int8];
    all.into_iter().filter(fits).find(offered).unwrap_or(DataType::Int8)
}
