//! From a call to a descriptor, with the library's own builders.

use dsa::descriptor::{
    ApplyDelta, CacheControl, CacheFlush, Capabilities, Compare, ComparePattern, ComputeType, CopyCrc, Crc,
    CreateDelta, DataType, DeltaResults, DescriptorError, Drain, Dualcast, Expectation, Fill, GatherCopy, GatherReduce,
    IdptHandle, InterDomainCompare, InterDomainComparePattern, InterDomainCopy, InterDomainFill, Move, Nop, Reduce,
    ReduceDualcast, Rounding, ScatterCopy, ScatterFill, Sgl, SglFormat, TranslationFetch, TypeConvert, UpdateWindow,
};
use idxd_sys::Descriptor;
use idxd_sys::compute::dsacap1::CONVERSIONS;

use super::case::{Call, Compute, CrcArguments, Length, List, Operation, Options, Place};
use super::world::{Extent, OFFSET_HANDLE, Room, UPDATED_HANDLE};

/// What a descriptor is built for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target<'a> {
    pub(super) caps: &'a Capabilities,
    pub(super) extent: Extent,
    pub(super) record: u64,
    /// Whether it is a member of a batch, and has a fence.
    pub(super) member: Option<bool>,
}

/// All pairs of types that a device with everything converts.
pub(super) fn type_pair(index: u8) -> (DataType, DataType) {
    let types = DataType::ALL;
    let (integers, floats) = types.split_at(4);
    let pairs = 16 + 6 + CONVERSIONS.len();
    match usize::from(index) % pairs {
        at @ 0..16 => (integers[at / 4], integers[at % 4]),
        at @ 16..22 => (floats[at - 16], floats[at - 16]),
        at => {
            let (from, to, _) = CONVERSIONS[at - 22];
            (types[usize::from(from)], types[usize::from(to)])
        }
    }
}

fn expectation(different: bool) -> Expectation {
    if different { Expectation::Different } else { Expectation::Equal }
}

/// A handle for an operand: none, mostly.
fn handle(choice: u8) -> Option<IdptHandle> {
    (choice % 8 < 3).then(|| IdptHandle::new(u16::from(choice % 8)))
}

/// A handle in any case.
fn some_handle(choice: u8) -> IdptHandle {
    IdptHandle::new(u16::from(choice % 3))
}

impl Target<'_> {
    /// Where an operand lies: in the own room, or behind a handle, as the descriptor has it.
    fn operand(&self, own: Room, handle: Option<IdptHandle>, place: Place, len: u64, align: u64) -> Option<u64> {
        match handle.map(IdptHandle::get) {
            None => own.place(place, len, align),
            Some(OFFSET_HANDLE) => Some(self.extent.other().place(place, len, align)? - self.extent.other().base),
            Some(_) => self.extent.other().place(place, len, align),
        }
    }

    fn room(&self) -> Room {
        self.extent.own()
    }

    fn at(&self, place: Place, len: u64) -> Option<u64> {
        self.room().place(place, len, 1)
    }

    fn len(&self, length: Length) -> u64 {
        length.get(self.room().len / 3)
    }
}

/// Options of operations that write.
macro_rules! writing {
    ($builder:expr, $options:expr) => {
        $builder.cache_control(cache_control($options)).strict_ordering($options.strict)
    };
}

fn cache_control(options: Options) -> CacheControl {
    use CacheControl::{Cache, CacheReadback, Durable, DurableReadback, Memory, MemoryReadback};
    let all = [Cache, DurableReadback, CacheReadback, Durable, MemoryReadback];
    all.get(usize::from(options.cache)).copied().unwrap_or(Memory)
}

/// Builds for the queue, or for a batch list, with a record.
macro_rules! finish {
    ($builder:expr, $target:expr) => {{
        let builder = $builder.record($target.record);
        match $target.member {
            None => builder.build($target.caps),
            Some(fence) => builder.fence(fence).build_member($target.caps),
        }
    }};
}

/// The same for operations that access memory, with their options.
macro_rules! accessing {
    ($builder:expr, $options:expr, $target:expr) => {
        finish!($builder.block_on_fault($options.block && $target.caps.may_block_on_fault()), $target)
    };
}

/// And for those of them that yield no result, which need not have a record.
macro_rules! quietly {
    ($builder:expr, $options:expr, $target:expr) => {
        accessing!($builder.request_record($options.quiet != 0), $options, $target)
    };
}

macro_rules! typed {
    ($builder:expr, $compute:expr, $is_float:expr) => {{
        let flags = $compute.flags;
        let builder = $builder.negate(flags & 1 != 0).check_result($compute.check);
        if $is_float {
            let rounding = Rounding::from_code((flags >> 4 & 3) as u8).unwrap_or(Rounding::NearestEven);
            builder.flush_to_zero(flags & 4 != 0).denormals_are_zero(flags & 8 != 0).rounding(rounding)
        } else {
            builder.signed(flags & 16 != 0).saturate(flags & 32 != 0)
        }
    }};
}

/// Has operands reached through handles, those that have one.
macro_rules! through {
    ($builder:expr $(, $setter:ident($handle:expr))*) => {{
        let mut builder = $builder;
        $(
            if let Some(handle) = $handle {
                builder = builder.$setter(handle);
            }
        )*
        builder
    }};
}

/// Seed and conventions of a CRC.
macro_rules! with_crc {
    ($builder:expr, $crc:expr, $target:expr) => {{
        let CrcArguments { mode, seed, in_memory } = $crc;
        let wide = mode.wide && $target.caps.crc64();
        let mut builder = $builder
            .seed(seed)
            .crc64(wide)
            .bypass_inversion(mode.bypass_inversion)
            .bypass_reflection(mode.bypass_reflection);
        if let Some(place) = in_memory {
            let size = if wide { 8 } else { 4 };
            builder = builder.seed_address($target.room().place(place, size, size)?);
        }
        builder
    }};
}
fn function(compute: Compute, is_float: bool) -> ComputeType {
    use ComputeType::{Add, And, Max, Min, Or, Xor};
    if is_float {
        [Add, Min, Max][usize::from(compute.function) % 3]
    } else {
        [Add, And, Or, Xor, Min, Max][usize::from(compute.function) % 6]
    }
}

mod integrity;

/// A list, the bytes of its blocks together, and the room that is left for the other operand.
struct Placed {
    sgl: Sgl,
    total: u64,
    rest: Room,
}

impl Target<'_> {
    /// Places a list of blocks of `block` bytes; `base` is where the blocks are, and how.
    fn list(&self, list: List, block: u64, align: u64, blocks: Option<IdptHandle>) -> Option<Placed> {
        let [own_list, own_blocks, rest] = self.extent.thirds(list.rooms);
        let there = if blocks.is_some() { self.extent.other() } else { own_blocks };
        let most = (there.len / block).min(rest.len / block).min(own_list.len / 8).min(self.caps.max_sgl_size().into());
        if most == 0 {
            return None;
        }
        let entries = list.entries.get(most);
        let format = SglFormat::ALL[usize::from(list.format) % 3];
        let at = own_list.place(list.at, entries * u64::from(format.entry_size()), 1)?;
        let base = self.operand(own_blocks, blocks, list.base, there.len.min(block), align)?;
        Some(Placed { sgl: Sgl::new(at, entries as u32, format).base(base), total: entries * block, rest })
    }
}

/// The descriptor of a call; `None` if there is no room, an error if the library refuses it.
#[allow(clippy::too_many_lines)] // one arm for each operation
pub(super) fn build(call: &Call, target: Target<'_>) -> Option<Result<Descriptor, DescriptorError>> {
    let (o, t) = (call.options, target);
    Some(match call.operation {
        Operation::Nop => finish!(Nop::new().request_record(o.quiet != 0), t),
        Operation::Drain if t.member.is_some() => return None,
        Operation::Drain => Drain::new().record(t.record).build(t.caps),
        Operation::CacheFlush { at, len } => {
            let len = t.len(len);
            quietly!(CacheFlush::new(t.at(at, len)?, len).strict_ordering(o.strict), o, t)
        }
        Operation::Move { src, dst, len } => {
            let len = t.len(len);
            quietly!(writing!(Move::new(t.at(src, len)?, t.at(dst, len)?, len), o), o, t)
        }
        Operation::Fill { dst, len, pattern, high } => {
            let len = t.len(len);
            let to = t.at(dst, len)?;
            let builder = match high {
                Some(high) if t.caps.fill_16() => Fill::with_wide_pattern(to, len, [pattern, high]),
                _ => Fill::new(to, len, pattern),
            };
            quietly!(writing!(builder, o), o, t)
        }
        Operation::Compare { first, second, len, expect, .. } => {
            let len = t.len(len);
            let mut builder = Compare::new(t.at(first, len)?, t.at(second, len)?, len);
            if let Some(different) = expect {
                builder = builder.expect(expectation(different));
            }
            accessing!(builder, o, t)
        }
        Operation::ComparePattern { src, len, pattern, expect, .. } => {
            let len = t.len(len);
            let mut builder = ComparePattern::new(t.at(src, len)?, len, pattern);
            if let Some(different) = expect {
                builder = builder.expect(expectation(different));
            }
            accessing!(builder, o, t)
        }
        Operation::Dualcast { src, dst, pages, len } => {
            let len = t.len(len);
            let (dst, second) = t.extent.pair(dst, pages, len, 1)?;
            quietly!(writing!(Dualcast::new(t.at(src, len)?, dst, second, len), o), o, t)
        }
        Operation::Crc { src, len, crc } => {
            let len = t.len(len);
            accessing!(with_crc!(Crc::new(t.at(src, len)?, len), crc, t), o, t)
        }
        Operation::CopyCrc { src, dst, len, crc } => {
            let len = t.len(len);
            accessing!(writing!(with_crc!(CopyCrc::new(t.at(src, len)?, t.at(dst, len)?, len), crc, t), o), o, t)
        }
        Operation::CreateDelta { places: [first, second, record], len, room, expect, .. } => {
            let len = t.len(len).next_multiple_of(8);
            let room = 80 + 10 * u64::from(room);
            let place = |place| t.room().place(place, len, 8);
            let mut builder = CreateDelta::new(place(first)?, place(second)?, len, t.at(record, room)?, room as u32);
            if let Some(expected) = expect {
                builder = builder.expect(DeltaResults::from_bits_truncate(expected));
            }
            accessing!(writing!(builder, o), o, t)
        }
        Operation::ApplyDelta { record, dst, len, entries, .. } => {
            let len = t.len(len).next_multiple_of(8);
            let size = 10 * (1 + u64::from(entries));
            let builder = ApplyDelta::new(t.at(record, size)?, size as u32, t.room().place(dst, len, 8)?, len);
            quietly!(writing!(builder, o), o, t)
        }
        Operation::Dif(dif) => return integrity::build(dif, o, t),
        Operation::Fetch { at, len, stride } => {
            let len = t.len(len);
            let mut builder = TranslationFetch::new(t.at(at, len)?, len);
            if let Some(stride) = stride
                && t.caps.translation_fetch_stride()
            {
                builder = builder.stride(4096 << (stride % 4));
            }
            quietly!(builder, o, t)
        }
        Operation::Convert { compute, src, dst, in_place, handles } => {
            let (from, to) = type_pair(compute.types);
            let (read, written) = (u64::from(from.size()), u64::from(to.size()));
            let count = compute.count.get(t.room().len / 32);
            let (source, destination) = (handle(handles.0[0]), handle(handles.0[1]));
            let src = t.operand(t.room(), source, src, count * read, read)?;
            let alone = (source, destination) == (None, None);
            let dst = if in_place && from == to && alone {
                src
            } else {
                t.operand(t.room(), destination, dst, count * written, written)?
            };
            let builder = TypeConvert::new(src, from, dst, to, count);
            let builder = typed!(builder, compute, !from.is_integer());
            let builder = through!(builder, source_handle(source), destination_handle(destination));
            quietly!(writing!(builder, o), o, t)
        }
        Operation::Reduce { compute, sources: [first, second], dst, same, handles, .. } => {
            let (from, to) = type_pair(compute.types);
            let (read, written) = (u64::from(from.size()), u64::from(to.size()));
            let count = compute.count.get(t.room().len / 32);
            let [one, two, three, _] = two_handles(handles.0);
            let first = t.operand(t.room(), one, first, count * read, read)?;
            let second = t.operand(t.room(), two, second, count * read, read)?;
            let dst = match same {
                0..48 if from == to && one == three => first,
                48..96 if from == to && two == three => second,
                _ => t.operand(t.room(), three, dst, count * written, written)?,
            };
            let function = function(compute, !from.is_integer());
            let builder = Reduce::new(first, second, dst, function, from, count).output(to);
            let builder = typed!(builder.negate_second(compute.flags & 2 != 0), compute, !from.is_integer());
            let builder = through!(builder, source_handle(one), second_source_handle(two), destination_handle(three));
            quietly!(writing!(builder, o), o, t)
        }
        Operation::ReduceDualcast { compute, sources: [first, second], dst, pages, handles, .. } => {
            let (from, to) = type_pair(compute.types);
            let (read, written) = (u64::from(from.size()), u64::from(to.size()));
            let count = compute.count.get(t.room().len / 32);
            let [one, two, ..] = two_handles(handles.0);
            let first = t.operand(t.room(), one, first, count * read, read)?;
            let second = t.operand(t.room(), two, second, count * read, read)?;
            let (dst, other) = t.extent.pair(dst, pages, count * written, written)?;
            let function = function(compute, !from.is_integer());
            let builder = ReduceDualcast::new([first, second], [dst, other], function, from, count).output(to);
            let builder = typed!(builder.negate_second(compute.flags & 2 != 0), compute, !from.is_integer());
            let builder = through!(builder, source_handle(one), second_source_handle(two));
            quietly!(writing!(builder, o), o, t)
        }
        Operation::GatherReduce { compute, list, dst, .. } => {
            let (from, to) = type_pair(compute.types);
            let (read, written) = (u64::from(from.size()), u64::from(to.size()));
            let count = compute.count.get(t.extent.third().min(16 << 10) / 8);
            let placed = t.list(list, count * read, read, None)?;
            let dst = placed.rest.place(dst, count * written, written)?;
            let function = function(compute, !from.is_integer());
            let builder = GatherReduce::new(placed.sgl, dst, function, from, count).output(to);
            quietly!(writing!(typed!(builder, compute, !from.is_integer()), o), o, t)
        }
        Operation::GatherCopy { list, element, count, dst, handles } => {
            let (data_type, count, block) = t.block(element, count);
            let (source, destination) = (handle(handles.0[0]), handle(handles.0[1]));
            let placed = t.list(list, block, 1, source)?;
            let dst = t.operand(placed.rest, destination, dst, placed.total, 1)?;
            let builder = GatherCopy::new(placed.sgl, dst, data_type, count);
            let builder = through!(builder, source_handle(source), destination_handle(destination));
            quietly!(writing!(builder, o), o, t)
        }
        Operation::ScatterCopy { list, element, count, src, handles } => {
            let (data_type, count, block) = t.block(element, count);
            let (source, destination) = (handle(handles.0[0]), handle(handles.0[1]));
            let placed = t.list(list, block, 1, destination)?;
            let src = t.operand(placed.rest, source, src, placed.total, 1)?;
            let builder = ScatterCopy::new(src, placed.sgl, data_type, count);
            let builder = through!(builder, source_handle(source), destination_handle(destination));
            quietly!(writing!(builder, o), o, t)
        }
        Operation::ScatterFill { list, element, count, pattern, handles } => {
            let (data_type, count, block) = t.block(element, count);
            let destination = handle(handles.0[1]);
            let placed = t.list(list, block, 1, destination)?;
            let builder = ScatterFill::new(placed.sgl, pattern, data_type, count);
            quietly!(writing!(through!(builder, destination_handle(destination)), o), o, t)
        }
        Operation::InterDomainCopy { src, dst, len, handles } => {
            let len = len.get(t.extent.other().len / 2);
            let (source, mut destination) = (handle(handles.0[0]), handle(handles.0[1]));
            if source.is_none() {
                destination = Some(some_handle(handles.0[1]));
            }
            let src = t.operand(t.room(), source, src, len, 1)?;
            let dst = t.operand(t.room(), destination, dst, len, 1)?;
            let builder = InterDomainCopy::new(src, dst, len);
            let builder = through!(builder, source_handle(source), destination_handle(destination));
            quietly!(writing!(builder, o), o, t)
        }
        Operation::InterDomainFill { dst, len, pattern, high, handles } => {
            let len = len.get(t.extent.other().len / 2);
            let destination = some_handle(handles.0[1]);
            let dst = t.operand(t.room(), Some(destination), dst, len, 1)?;
            let builder = match high {
                Some(high) => InterDomainFill::with_wide_pattern(dst, destination, len, [pattern, high]),
                None => InterDomainFill::new(dst, destination, len, pattern),
            };
            quietly!(writing!(builder, o), o, t)
        }
        Operation::InterDomainCompare { first, second, len, expect, handles, .. } => {
            let len = len.get(t.extent.other().len / 2);
            let (one, mut two) = (handle(handles.0[0]), handle(handles.0[1]));
            if one.is_none() {
                two = Some(some_handle(handles.0[1]));
            }
            let first = t.operand(t.room(), one, first, len, 1)?;
            let second = t.operand(t.room(), two, second, len, 1)?;
            let mut builder = InterDomainCompare::new(first, second, len);
            if let Some(different) = expect {
                builder = builder.expect(expectation(different));
            }
            accessing!(through!(builder, source_handle(one), second_source_handle(two)), o, t)
        }
        Operation::InterDomainComparePattern { src, len, pattern, expect, handles, .. } => {
            let len = len.get(t.extent.other().len / 2);
            let source = some_handle(handles.0[0]);
            let src = t.operand(t.room(), Some(source), src, len, 1)?;
            let mut builder = InterDomainComparePattern::new(src, source, len, pattern);
            if let Some(different) = expect {
                builder = builder.expect(expectation(different));
            }
            accessing!(builder, o, t)
        }
        Operation::UpdateWindow { .. } if t.member.is_some() => return None,
        Operation::UpdateWindow { base, size, flags } => {
            let set = |bit: u8| flags >> bit & 1 == 1;
            let builder = UpdateWindow::new(IdptHandle::new(UPDATED_HANDLE)).read(set(0)).write(set(1));
            let builder = if set(2) {
                // A window ends inside the address space, and has a byte.
                builder.window(base, (size % (u64::MAX - base).max(1)).max(1)).offset_mode(set(3))
            } else {
                builder
            };
            builder.suppress_drain(set(4)).record(t.record).build(t.caps)
        }
    })
}

impl Target<'_> {
    /// Type, elements and bytes of the blocks of a copy.
    fn block(&self, element: u8, count: Length) -> (DataType, u64, u64) {
        let data_type = DataType::ALL[usize::from(element) % DataType::ALL.len()];
        let size = u64::from(data_type.size());
        let count = count.get(self.extent.third() / 2 / size);
        (data_type, count, count * size)
    }
}

/// Handles for four operands, of which there is room for two different ones.
fn two_handles(choices: [u8; 4]) -> [Option<IdptHandle>; 4] {
    let allowed = [some_handle(choices[0]), some_handle(choices[1])];
    choices.map(handle).map(|handle| handle.filter(|handle| allowed.contains(handle)))
}
