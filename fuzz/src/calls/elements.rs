//! Typed elements and scatter-gather lists.

use arbitrary::Arbitrary;
use dsa::descriptor::{
    Capabilities, ComputeType, DataType, DescriptorError, GatherCopy, GatherReduce, IdptHandle, Position, Reduce,
    ReduceDualcast, Rounding, ScatterCopy, ScatterFill, Sgl, SglFormat, TypeConvert,
};
use idxd_sys::Descriptor;

use super::{Length, Options};
use crate::Address;

/// Calls of their builders.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub(super) enum Elements {
    Convert {
        src: Address,
        dst: Address,
        types: Types,
        handles: [Option<u8>; 2],
    },
    Reduce {
        first: Address,
        second: Address,
        dst: Address,
        types: Types,
        handles: [Option<u8>; 3],
    },
    ReduceDualcast {
        sources: [Address; 2],
        dst: Address,
        dst2: Address,
        same_offset: bool,
        types: Types,
        handles: [Option<u8>; 4],
    },
    GatherReduce {
        list: List,
        dst: Address,
        types: Types,
    },
    GatherCopy {
        list: List,
        dst: Address,
        types: Types,
        handles: [Option<u8>; 2],
    },
    ScatterCopy {
        src: Address,
        list: List,
        types: Types,
        handles: [Option<u8>; 2],
    },
    ScatterFill {
        list: List,
        pattern: u64,
        types: Types,
        handle: Option<u8>,
    },
}

/// Types, function, flags and number of elements.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub(super) struct Types {
    from: u8,
    to: Option<u8>,
    function: u8,
    flags: u8,
    rounding: Option<u8>,
    count: Length,
}

impl Types {
    fn from(self) -> DataType {
        DataType::ALL[usize::from(self.from) % DataType::ALL.len()]
    }

    fn to(self) -> DataType {
        self.to.map_or(self.from(), |to| DataType::ALL[usize::from(to) % DataType::ALL.len()])
    }

    fn function(self) -> ComputeType {
        ComputeType::ALL[usize::from(self.function) % ComputeType::ALL.len()]
    }

    fn count(self, caps: &Capabilities) -> u64 {
        match self.count {
            // Mostly what fits.
            Length::Short(count) => u64::from(count % 2048),
            other => other.get(caps) / u64::from(self.from().size()),
        }
    }
}

/// A scatter-gather list.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub(super) struct List {
    at: Address,
    entries: Entries,
    format: u8,
    base: Address,
}

/// How many entries.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub(super) enum Entries {
    Few(u8),
    Any(u32),
}

impl List {
    fn get(self) -> Sgl {
        let entries = match self.entries {
            Entries::Few(entries) => u32::from(entries % 32),
            Entries::Any(entries) => entries,
        };
        let format = SglFormat::ALL[usize::from(self.format) % SglFormat::ALL.len()];
        Sgl::new(self.at.get(), entries, format).base(self.base.get())
    }
}

fn handle(number: Option<u8>) -> Option<IdptHandle> {
    // Some are beyond the table.
    number.map(|number| IdptHandle::new(if number < 0xf0 { u16::from(number % 5) } else { u16::from(number) << 3 }))
}

macro_rules! through {
    ($builder:expr $(, $setter:ident($handle:expr))*) => {{
        let mut builder = $builder;
        $(
            if let Some(handle) = handle($handle) {
                builder = builder.$setter(handle);
            }
        )*
        builder
    }};
}

macro_rules! computing {
    ($builder:expr, $types:expr) => {{
        let set = |bit: u8| $types.flags >> bit & 1 == 1;
        let mut builder = $builder
            .negate(set(0))
            .flush_to_zero(set(1))
            .denormals_are_zero(set(2))
            .signed(set(3))
            .saturate(set(4))
            .check_result(set(5));
        if let Some(rounding) = $types.rounding.and_then(|code| Rounding::from_code(code % 4)) {
            builder = builder.rounding(rounding);
        }
        builder
    }};
}

impl Elements {
    pub(super) fn build(
        self,
        o: Options,
        caps: &Capabilities,
        position: Position,
        slot: usize,
    ) -> Result<Descriptor, DescriptorError> {
        macro_rules! write {
            ($builder:expr) => {{
                let builder = $builder
                    .cache_control(o.cache_control())
                    .strict_ordering(o.strict_ordering)
                    .block_on_fault(o.block_on_fault);
                build!(with_options!(builder, o, slot), o, caps, position)
            }};
        }
        match self {
            Self::Convert { src, dst, types, handles } => {
                let b = TypeConvert::new(src.get(), types.from(), dst.get(), types.to(), types.count(caps))
                    .source_traffic_class(o.class(0));
                write!(through!(computing!(b, types), source_handle(handles[0]), destination_handle(handles[1])))
            }
            Self::Reduce { first, second, dst, types, handles } => {
                let (from, count) = (types.from(), types.count(caps));
                let b = Reduce::new(first.get(), second.get(), dst.get(), types.function(), from, count)
                    .output(types.to())
                    .negate_second(types.flags & 0x40 != 0)
                    .destination_traffic_class(o.class(2));
                write!(through!(
                    computing!(b, types),
                    source_handle(handles[0]),
                    second_source_handle(handles[1]),
                    destination_handle(handles[2])
                ))
            }
            Self::ReduceDualcast { sources, dst, dst2, same_offset, types, handles } => {
                let (dst, mut dst2) = (dst.get(), dst2.get());
                if same_offset {
                    dst2 = dst2 & !0xfff | dst & 0xfff;
                }
                let (sources, from) = (sources.map(crate::Address::get), types.from());
                let b = ReduceDualcast::new(sources, [dst, dst2], types.function(), from, types.count(caps))
                    .output(types.to())
                    .negate_second(types.flags & 0x40 != 0)
                    .second_destination_traffic_class(o.class(3));
                write!(through!(
                    computing!(b, types),
                    source_handle(handles[0]),
                    second_source_handle(handles[1]),
                    destination_handle(handles[2]),
                    second_destination_handle(handles[3])
                ))
            }
            Self::GatherReduce { list, dst, types } => {
                let (from, count) = (types.from(), types.count(caps));
                let b = GatherReduce::new(list.get(), dst.get(), types.function(), from, count)
                    .output(types.to())
                    .list_traffic_class(o.class(1));
                write!(computing!(b, types))
            }
            Self::GatherCopy { list, dst, types, handles } => {
                let b = GatherCopy::new(list.get(), dst.get(), types.from(), types.count(caps));
                write!(through!(b, source_handle(handles[0]), destination_handle(handles[1])))
            }
            Self::ScatterCopy { src, list, types, handles } => {
                let b = ScatterCopy::new(src.get(), list.get(), types.from(), types.count(caps));
                write!(through!(b, source_handle(handles[0]), destination_handle(handles[1])))
            }
            Self::ScatterFill { list, pattern, types, handle: number } => {
                let b = ScatterFill::new(list.get(), pattern, types.from(), types.count(caps));
                write!(through!(b, destination_handle(number)))
            }
        }
    }
}
