//! Jobs on typed elements: conversion, reduce, reduce with two destinations, gather-reduce.
//!
//! Progress counts bytes of the (first) source. A reduce into its own first source writes what it reads; a piece of it
//! can be done over if doing it twice is as good as once, which is so for the smaller, the greater, and the bitwise sums of
//! integers. Everything else of that kind goes to the CPU. A gather-reduce goes to a device in one piece; the CPU takes some
//! columns of all blocks at a time, so that no running result has to outlive a slice.

use idxd_sys::compute::compute_flag;
use idxd_sys::{CompletionRecord, Descriptor, opcode, status};

use super::lists::Places;
use super::{Absorbed, Extras, Job, Operands, Outcome, Piece, Region, Work, expose, source, target};
use crate::cpu;
use crate::descriptor::{
    CacheControl, Capabilities, ComputeType, DataType, DescriptorError, GatherReduce, NumericExceptions, Reduce,
    ReduceDualcast, TypeConvert,
};
use crate::stats::Operation;

/// Types, function and flags, found to go together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Arithmetic {
    pub(crate) from: DataType,
    pub(crate) to: DataType,
    /// `None` for a conversion.
    pub(crate) compute: Option<ComputeType>,
    /// Compute flags, only such as concern the types.
    pub(crate) flags: u16,
}

impl Arithmetic {
    /// Whether a result that is combined with the second operand once more stays what it is, exceptions included.
    fn is_idempotent(self) -> bool {
        let is_sum = matches!(self.compute, None | Some(ComputeType::Add | ComputeType::Xor));
        let negates = self.flags & (compute_flag::NEGATE_1 | compute_flag::NEGATE_2) != 0;
        self.from.is_integer() && self.from == self.to && !is_sum && !negates
    }

    fn conversion(self) -> cpu::Conversion {
        cpu::Conversion::new(self.from.code(), self.to.code(), self.flags).expect("checked before the job was made")
    }

    fn reduction(self) -> cpu::Reduction {
        let compute = self.compute().code();
        cpu::Reduction::new(self.from.code(), self.to.code(), compute, self.flags)
            .expect("checked before the job was made")
    }

    fn compute(self) -> ComputeType {
        self.compute.expect("a reduce has a function")
    }
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Convert {
        src: u64,
        dst: u64,
    },
    Reduce {
        sources: [u64; 2],
        dst: u64,
    },
    Dualcast {
        sources: [u64; 2],
        destinations: [u64; 2],
    },
    Gather {
        places: Places,
        /// Whether all blocks are aligned to their elements, as a device wants them.
        is_aligned: bool,
        dst: u64,
    },
}

#[derive(Clone, Debug)]
pub(crate) struct Typed {
    kind: Kind,
    arithmetic: Arithmetic,
    /// Elements (of a block) done, and in all.
    done: u64,
    count: u64,
    exceptions: NumericExceptions,
}

/// Bytes of a cache line: fewer of a block are no less work.
const LINE: u64 = 64;

impl Typed {
    fn job(kind: Kind, arithmetic: Arithmetic, count: usize) -> Job {
        let count = count as u64;
        Job::Typed(Self { kind, arithmetic, done: 0, count, exceptions: NumericExceptions::empty() })
    }

    fn input_size(&self) -> u64 {
        self.arithmetic.from.size().into()
    }

    fn output_size(&self) -> u64 {
        self.arithmetic.to.size().into()
    }

    /// An address after the elements that are done.
    fn read_at(&self, base: u64) -> u64 {
        base.wrapping_add(self.done * self.input_size())
    }

    fn write_at(&self, base: u64) -> u64 {
        base.wrapping_add(self.done * self.output_size())
    }
}

/// Typed jobs.
impl Job {
    /// Converts `count` elements; source and destination do not overlap.
    pub(crate) fn convert(arithmetic: Arithmetic, src: *const u8, dst: *mut u8, count: usize) -> Self {
        Typed::job(Kind::Convert { src: expose(src), dst: expose(dst) }, arithmetic, count)
    }

    /// Combines `count` elements of two sources. The destination overlaps none, or is the first.
    pub(crate) fn reduce(arithmetic: Arithmetic, sources: [*const u8; 2], dst: *mut u8, count: usize) -> Self {
        Typed::job(Kind::Reduce { sources: sources.map(expose), dst: expose(dst) }, arithmetic, count)
    }

    /// The same to two destinations, which overlap nothing.
    pub(crate) fn reduce_dualcast(
        arithmetic: Arithmetic,
        sources: [*const u8; 2],
        destinations: [*mut u8; 2],
        count: usize,
    ) -> Self {
        let destinations = destinations.map(|pointer| expose(pointer));
        Typed::job(Kind::Dualcast { sources: sources.map(expose), destinations }, arithmetic, count)
    }

    /// Combines the blocks of `count` elements that a list names. The destination overlaps neither.
    pub(crate) fn gather_reduce(
        arithmetic: Arithmetic,
        places: Places,
        is_aligned: bool,
        dst: *mut u8,
        count: usize,
    ) -> Self {
        // Without a block there is nothing to be done, and nothing is written.
        let count = if places.entries() == 0 { 0 } else { count };
        Typed::job(Kind::Gather { places, is_aligned, dst: expose(dst) }, arithmetic, count)
    }
}

impl Work for Typed {
    fn operation(&self) -> Operation {
        match self.kind {
            Kind::Convert { .. } => Operation::TypeConvert,
            Kind::Reduce { .. } => Operation::Reduce,
            Kind::Dualcast { .. } => Operation::ReduceDualcast,
            Kind::Gather { .. } => Operation::GatherReduce,
        }
    }

    fn total(&self) -> u64 {
        let one = self.count * self.input_size();
        match self.kind {
            Kind::Gather { places, .. } => one * places.entries(),
            _ => one,
        }
    }

    fn left(&self) -> u64 {
        (self.count - self.done) * self.input_size()
    }

    fn is_for_cpu(&self) -> bool {
        match self.kind {
            Kind::Reduce { sources, dst } => dst == sources[0] && !self.arithmetic.is_idempotent(),
            Kind::Gather { is_aligned, .. } => !is_aligned,
            _ => false,
        }
    }

    fn next_piece(&self, caps: &Capabilities) -> u64 {
        if let Kind::Gather { .. } = self.kind {
            return self.left();
        }
        let elements = caps.max_transfer_size() / self.input_size().max(self.output_size());
        self.left().min(elements * self.input_size())
    }

    fn next_slice(&self, limit: u64) -> u64 {
        let size = self.input_size();
        match self.kind {
            Kind::Gather { places, .. } => {
                let columns = (limit / places.entries()).max(LINE) / size;
                self.left().min(columns * size)
            }
            _ => self.left().min(limit / size.max(self.output_size()) * size),
        }
    }

    fn describe(&self, piece: u64, extras: Extras, caps: &Capabilities) -> Result<Descriptor, DescriptorError> {
        let Arithmetic { from, to, flags, .. } = self.arithmetic;
        let (record, count) = (extras.record, piece / self.input_size());
        let cache = if extras.cached { CacheControl::Cache } else { CacheControl::Memory };
        match self.kind {
            Kind::Convert { src, dst } => {
                let builder = TypeConvert::new(self.read_at(src), from, self.write_at(dst), to, count);
                builder.compute_flags(flags).record(record).cache_control(cache).build(caps)
            }
            Kind::Reduce { sources: [first, second], dst } => {
                let (first, second, dst) = (self.read_at(first), self.read_at(second), self.write_at(dst));
                let builder = Reduce::new(first, second, dst, self.arithmetic.compute(), from, count).output(to);
                builder.compute_flags(flags).record(record).cache_control(cache).build(caps)
            }
            Kind::Dualcast { sources, destinations } => {
                let sources = sources.map(|base| self.read_at(base));
                let destinations = destinations.map(|base| self.write_at(base));
                let compute = self.arithmetic.compute();
                let builder = ReduceDualcast::new(sources, destinations, compute, from, count).output(to);
                builder.compute_flags(flags).record(record).cache_control(cache).build(caps)
            }
            Kind::Gather { places, dst, .. } => {
                let list = places.sgl(0, places.entries());
                let builder = GatherReduce::new(list, dst, self.arithmetic.compute(), from, self.count).output(to);
                builder.compute_flags(flags).record(record).cache_control(cache).build(caps)
            }
        }
    }

    fn outcome_of(
        &self,
        sent: &Descriptor,
        record: &CompletionRecord,
        piece: &Piece,
        _caps: &Capabilities,
    ) -> Option<Outcome> {
        debug_assert!(matches!(sent.opcode(), opcode::TYPE_CONV..=opcode::GATHER_REDUCE));
        let found = NumericExceptions::from_bits(record.result)?;
        (record.status == status::SUCCESS).then_some(Outcome::Exceptions(found | piece.exceptions))
    }

    fn absorb(&mut self, piece: u64, of_piece: Outcome) -> Absorbed {
        if let Outcome::Exceptions(exceptions) = of_piece {
            self.exceptions |= exceptions;
        }
        self.done += piece / self.input_size();
        if self.done == self.count { Absorbed::Done(self.outcome()) } else { Absorbed::More }
    }

    unsafe fn run(&self, piece: u64) -> Outcome {
        let arithmetic = self.arithmetic;
        let elements = (piece / self.input_size()) as usize;
        // SAFETY: the elements lie inside the regions, for which the caller vouches. Where the destination is a source, their
        // elements have the same size. The list names blocks inside its base region.
        let exceptions = unsafe {
            match self.kind {
                Kind::Convert { src, dst } => {
                    let (src, dst) = (source(self.read_at(src)), target(self.write_at(dst)));
                    cpu::convert(arithmetic.conversion(), src, dst, elements)
                }
                Kind::Reduce { sources, dst } => {
                    let [first, second] = sources.map(|base| source(self.read_at(base)));
                    cpu::reduce(arithmetic.reduction(), first, second, target(self.write_at(dst)), elements)
                }
                Kind::Dualcast { sources, destinations } => {
                    let [first, second] = sources.map(|base| source(self.read_at(base)));
                    let [one, two] = destinations.map(|base| target(self.write_at(base)));
                    cpu::reduce_dualcast(arithmetic.reduction(), first, second, one, two, elements)
                }
                Kind::Gather { places, dst, .. } => {
                    let list = places.scatter_list(0, places.entries(), self.count * self.input_size());
                    let columns = list.columns(self.read_at(0) as usize, piece as usize);
                    cpu::gather_reduce(arithmetic.reduction(), &columns, target(self.write_at(dst)))
                }
            }
        };
        Outcome::Exceptions(NumericExceptions::from_bits_truncate(exceptions))
    }

    fn outcome(&self) -> Outcome {
        Outcome::Exceptions(self.exceptions)
    }

    fn written(&self, _outcome: &Outcome) -> u64 {
        self.count * self.output_size()
    }

    fn operands(&self) -> Operands {
        let mut operands = Operands::default();
        let left = self.count - self.done;
        let reads = |base| Region::new(self.read_at(base), left * self.input_size());
        let writes = |base| Region::new(self.write_at(base), left * self.output_size());
        match self.kind {
            Kind::Convert { src, dst } => [operands[0], operands[1]] = [reads(src), writes(dst)],
            Kind::Reduce { sources, dst } => {
                [operands[0], operands[1], operands[2]] = [reads(sources[0]), reads(sources[1]), writes(dst)];
            }
            Kind::Dualcast { sources, destinations } => {
                let ([first, second], [one, two]) = (sources.map(reads), destinations.map(writes));
                [operands[0], operands[1], operands[2], operands[3]] = [first, second, one, two];
            }
            Kind::Gather { places, dst, .. } => {
                [operands[0], operands[1], operands[2]] = [places.region(), places.base(), writes(dst)];
            }
        }
        operands
    }
}
