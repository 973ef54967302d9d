//! One member of a batch: its buffers, what is done with them, and what it yields.
//!
//! Buffers come in few shapes: up to two that are read, up to two that are written, a list. Everything else goes by what
//! the checks of the single operations ask for.

use crate::buf::{StableBuf, StableBufMut};
use crate::descriptor::{DifTags, NumericExceptions};
use crate::dispatch::{Checked, DeltaResult, DifMismatch, Flushed, Job, Member, Outcome, Plain, Work};
use crate::error::Error;
use crate::op::arithmetic::{Conversion, Reduction};
use crate::op::block_list::BlockList;
use crate::op::fill::{Pattern, WidePattern};
use crate::op::integrity::DifFormat;
use crate::op::operand::{In, Out};
use crate::op::{cache, check, crc64, delta, fill, integrity, lists, typed};
use crate::stats::Operation;

/// The buffers of a batch member.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BatchBuffers<S, D> {
    /// Of a copy: source and destination.
    Copy(S, D),
    /// Of a fill.
    Fill(D),
    /// Of a CRC.
    Crc(S),
    /// Of a copy with CRC: source and destination.
    CopyCrc(S, D),
    /// Of a comparison.
    Compare(S, S),
    /// Of a copy to two destinations: source, first and second destination.
    Dualcast(S, D, D),
    /// Of a comparison with a pattern.
    ComparePattern(S),
    /// Of the making of a delta record: first and second region, and the record.
    CreateDelta(S, S, D),
    /// Of the application of a delta record: the record and the target.
    ApplyDelta(S, D),
    /// Of a check of data-integrity fields.
    DifCheck(S),
    /// Of the other operations on data-integrity fields: source and destination.
    Dif(S, D),
    /// Of a cache flush.
    CacheFlush(S),
    /// Of a translation fetch.
    TranslationFetch(S),
    /// Of a gather copy or a gather-reduce: base buffer, list and destination.
    Gather(S, BlockList, D),
    /// Of a scatter copy: source, base buffer and list.
    ScatterCopy(S, D, BlockList),
    /// Of a scatter fill: base buffer and list.
    ScatterFill(D, BlockList),
    /// Of a type conversion: source and destination.
    TypeConvert(S, D),
    /// Of a reduce: first and second source, and destination.
    Reduce(S, S, D),
    /// Of a reduce in place: first source, which is the destination, and second source.
    ReduceInPlace(D, S),
    /// Of a reduce to two destinations: first and second source, first and second destination.
    ReduceDualcast(S, S, D, D),
}

/// What a batch member yields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BatchValue {
    /// Nothing but its bytes: copy, fill, dualcast, and others.
    Done,
    /// A CRC-32C.
    Crc(u32),
    /// Offset of the first difference, `None` if there is none.
    Difference(Option<usize>),
    /// A CRC-64.
    Crc64(u64),
    /// How two regions differ.
    Delta(DeltaResult),
    /// The tags of the block that would come next; default ones on the side whose fields are not looked at, or not made.
    Tags {
        /// Of the source.
        source: DifTags,
        /// Of the destination.
        destination: DifTags,
    },
    /// A data-integrity field does not match.
    Mismatch(DifMismatch),
    /// Numeric exceptions of typed elements.
    Exceptions(NumericExceptions),
}

/// What is done with the buffers of a member.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Task {
    Copy,
    Fill(usize, WidePattern),
    Crc32c,
    Crc64,
    CopyCrc32c,
    CopyCrc64,
    Compare,
    ComparePattern(Pattern),
    Dualcast,
    CreateDelta,
    ApplyDelta,
    Integrity(DifFormat, Checked),
    CacheFlush,
    TranslationFetch,
    GatherCopy,
    ScatterCopy,
    ScatterFill(Pattern),
    TypeConvert(Conversion),
    Reduce(Reduction),
    ReduceInPlace(Reduction),
    ReduceDualcast(Reduction),
    GatherReduce(Reduction),
}

/// Buffers by what is done with them.
struct Parts<'a> {
    reads: [In; 2],
    writes: [Out; 2],
    list: Option<&'a BlockList>,
}

impl<S: StableBuf, D: StableBufMut> BatchBuffers<S, D> {
    /// The buffers that are written, in the order in which they were given.
    fn destinations(&mut self) -> [Option<&mut D>; 2] {
        match self {
            Self::Copy(_, dst)
            | Self::Fill(dst)
            | Self::CopyCrc(_, dst)
            | Self::CreateDelta(_, _, dst)
            | Self::ApplyDelta(_, dst)
            | Self::Dif(_, dst)
            | Self::Gather(_, _, dst)
            | Self::ScatterCopy(_, dst, _)
            | Self::ScatterFill(dst, _)
            | Self::TypeConvert(_, dst)
            | Self::Reduce(_, _, dst)
            | Self::ReduceInPlace(dst, _) => [Some(dst), None],
            Self::Dualcast(_, first, second) | Self::ReduceDualcast(_, _, first, second) => [Some(first), Some(second)],
            _ => [None, None],
        }
    }

    /// The buffers that are read.
    fn sources(&self) -> [Option<&S>; 2] {
        match self {
            Self::Copy(src, _)
            | Self::Crc(src)
            | Self::CopyCrc(src, _)
            | Self::Dualcast(src, ..)
            | Self::ComparePattern(src)
            | Self::ApplyDelta(src, _)
            | Self::DifCheck(src)
            | Self::Dif(src, _)
            | Self::CacheFlush(src)
            | Self::TranslationFetch(src)
            | Self::Gather(src, ..)
            | Self::ScatterCopy(src, ..)
            | Self::TypeConvert(src, _)
            | Self::ReduceInPlace(_, src) => [Some(src), None],
            Self::Compare(first, second)
            | Self::CreateDelta(first, second, _)
            | Self::Reduce(first, second, _)
            | Self::ReduceDualcast(first, second, ..) => [Some(first), Some(second)],
            Self::Fill(_) | Self::ScatterFill(..) => [None, None],
        }
    }

    /// Addresses and sizes. What there is not is empty.
    fn parts(&mut self) -> Parts<'_> {
        let writes = self.destinations().map(|buf| buf.map_or(Out::NONE, Out::of));
        let reads = self.sources().map(|buf| buf.map_or(In::NONE, In::of));
        let list = match self {
            Self::Gather(_, list, _) | Self::ScatterCopy(_, _, list) | Self::ScatterFill(_, list) => Some(&*list),
            _ => None,
        };
        Parts { reads, writes, list }
    }
}

impl Task {
    /// Checks a member and says what is to be done.
    pub(super) fn plan<S: StableBuf, D: StableBufMut>(self, buffers: &mut BatchBuffers<S, D>) -> Result<Job, Error> {
        // Two of them keep checks of their own, which know about more than addresses.
        match buffers {
            BatchBuffers::Copy(src, dst) => {
                return check::copy(src, dst).map(|(from, to, len)| Plain::copy(from, to, len).into());
            }
            BatchBuffers::Dualcast(src, first, second) => {
                return check::dualcast(src, first, second)
                    .map(|(from, to, also, len)| Plain::dualcast(from, to, also, len).into());
            }
            _ => {}
        }
        let Parts { reads: [first, second], writes: [dst, other], list } = buffers.parts();
        let list = || list.expect("a task with a list has one");
        match self {
            Self::Copy | Self::Dualcast => unreachable!("planned above"),
            Self::Fill(len, pattern) => fill::plan_wide(dst, len, pattern).map(Job::from),
            Self::Crc32c => Ok(Plain::crc32c(first.ptr, first.len, 0).into()),
            Self::Crc64 => Ok(Plain::crc64(first.ptr, first.len, 0).into()),
            Self::CopyCrc32c => {
                let to = dst.take(first.len)?;
                check::apart(first.region(), dst.region(first.len))?;
                Ok(Plain::copy_crc32c(first.ptr, to, first.len, 0).into())
            }
            Self::CopyCrc64 => crc64::plan_copy(0, first, dst).map(Job::from),
            Self::Compare => {
                check::same_length(first.len, second.len)?;
                Ok(Plain::compare(first.ptr, second.ptr, first.len).into())
            }
            Self::ComparePattern(pattern) => Ok(Plain::compare_pattern(first.ptr, first.len, pattern.word()).into()),
            Self::CreateDelta => delta::create(first, second, dst),
            // SAFETY: the contract of `StableBuf`: initialised bytes that nobody writes.
            Self::ApplyDelta => unsafe { delta::apply(first, dst) },
            Self::Integrity(format, checked) => integrity::plan(format, checked, first, dst),
            Self::CacheFlush => cache::flush(first, Flushed::ToMemory),
            Self::TranslationFetch => cache::fetch(first),
            Self::GatherCopy => lists::gather(first, list(), dst),
            Self::ScatterCopy => lists::scatter(first, dst, list()),
            Self::ScatterFill(pattern) => lists::fill(dst, list(), pattern),
            Self::TypeConvert(conversion) => typed::plan_convert(conversion, first, dst),
            Self::Reduce(reduction) => typed::plan_reduce(reduction, first, second, dst),
            Self::ReduceInPlace(reduction) => typed::plan_reduce_in_place(reduction, dst, first),
            Self::ReduceDualcast(reduction) => typed::plan_reduce_dualcast(reduction, [first, second], [dst, other]),
            Self::GatherReduce(reduction) => typed::plan_gather_reduce(reduction, first, list(), dst),
        }
    }
}

/// Extends the lengths of what a member has written, and gives its value.
pub(super) fn finish<S: StableBuf, D: StableBufMut>(
    buffers: &mut BatchBuffers<S, D>,
    member: &Member,
) -> Result<BatchValue, Error> {
    let outcome = member.outcome.expect("the flight has ended");
    let written = member.job.written(&outcome) as usize;
    for dst in buffers.destinations().into_iter().flatten() {
        // SAFETY: the member has written the first `written` bytes of its destinations.
        unsafe { dst.set_init(written) };
    }
    Ok(match outcome {
        Outcome::Crc(crc) if matches!(member.job.operation(), Operation::Crc64 | Operation::CopyCrc64) => {
            BatchValue::Crc64(crc)
        }
        Outcome::Crc(_) => BatchValue::Crc(outcome.crc32c()),
        Outcome::Difference(difference) => BatchValue::Difference(difference),
        Outcome::Delta(delta) => BatchValue::Delta(delta),
        Outcome::BadDelta(error) => return Err(Error::DeltaRecord(error)),
        Outcome::Integrity(Ok(tags)) => BatchValue::Tags { source: tags.source, destination: tags.destination },
        Outcome::Integrity(Err(mismatch)) => BatchValue::Mismatch(mismatch),
        Outcome::Exceptions(exceptions) => BatchValue::Exceptions(exceptions),
        Outcome::Done | Outcome::NotBefore(_) => BatchValue::Done,
    })
}
