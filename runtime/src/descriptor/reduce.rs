//! Reduce, and reduce with dualcast (DSA 3.0).

use idxd_sys::{Descriptor, flag, limits, opcode};

use super::capabilities::Capabilities;
use super::common::Common;
use super::completion::Operand;
use super::compute::{ComputeType, DataType, TYPED_FLAGS, Typed, count_field, element_size};
use super::error::DescriptorError;
use super::inter_domain::IdptHandle;
use super::rules::{self, Header, WRITE_CACHE_CONTROL};
use super::validate::Position;

/// Reduce: combines two regions element by element and writes the result to a third.
///
/// The destination may be one of the sources, if nothing is converted; other overlaps with a source are refused. Through
/// handles, overlaps are not checked, and must not be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a builder does nothing until it is built"]
pub struct Reduce {
    common: Common,
    sources: [u64; 2],
    destination: u64,
    count: u64,
    typed: Typed,
    handles: [Option<IdptHandle>; 4],
}

impl Reduce {
    /// Combines `count` elements at `first` and `second` and writes as many to `destination`. All addresses are aligned
    /// to their elements.
    #[inline]
    pub const fn new(
        first: u64,
        second: u64,
        destination: u64,
        compute: ComputeType,
        data_type: DataType,
        count: u64,
    ) -> Self {
        Self {
            common: Common::new(),
            sources: [first, second],
            destination,
            count,
            typed: Typed::new(data_type, data_type, compute as u8),
            handles: [None; 4],
        }
    }

    traffic_class_setters! {
        destination_traffic_class = ADDR3_TC, "the destination";
    }
    build_for_queue!(check_reduce);
    build_for_batch!(check_reduce);

    #[inline]
    fn assemble(&self, caps: &Capabilities) -> Result<Descriptor, DescriptorError> {
        let (selector, handles) = select(opcode::REDUCE, self.handles)?;
        Ok(Descriptor {
            src_addr: self.sources[0],
            dst_addr: self.sources[1],
            xfer_size: element_count(self.typed, self.count, caps)?,
            op_specific: [self.destination, 0, self.typed.field() | handles],
            ..self.common.descriptor(opcode::REDUCE, selector)
        })
    }
}

/// Reduce with dualcast: a reduce that writes its result to two destinations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a builder does nothing until it is built"]
pub struct ReduceDualcast {
    common: Common,
    sources: [u64; 2],
    destinations: [u64; 2],
    count: u64,
    typed: Typed,
    handles: [Option<IdptHandle>; 4],
}

impl ReduceDualcast {
    /// Combines `count` elements at each of the `sources` and writes as many to each of the `destinations`, which must
    /// agree in address bits 11:0 and may not overlap each other.
    #[inline]
    pub const fn new(
        sources: [u64; 2],
        destinations: [u64; 2],
        compute: ComputeType,
        data_type: DataType,
        count: u64,
    ) -> Self {
        Self {
            common: Common::new(),
            sources,
            destinations,
            count,
            typed: Typed::new(data_type, data_type, compute as u8),
            handles: [None; 4],
        }
    }

    /// Has the second destination reached through an entry of the permissions table; see
    /// [`source_handle`](Self::source_handle).
    #[inline]
    pub const fn second_destination_handle(mut self, handle: IdptHandle) -> Self {
        self.handles[3] = Some(handle);
        self
    }

    traffic_class_setters! {
        destination_traffic_class = ADDR3_TC, "the first destination";
        second_destination_traffic_class = REDUCE_DEST2_TC, "the second destination";
    }
    build_for_queue!(check_reduce_dualcast);
    build_for_batch!(check_reduce_dualcast);

    #[inline]
    fn assemble(&self, caps: &Capabilities) -> Result<Descriptor, DescriptorError> {
        let (selector, handles) = select(opcode::REDUCE_DUALCAST, self.handles)?;
        let [first, second] = self.destinations;
        Ok(Descriptor {
            src_addr: self.sources[0],
            dst_addr: self.sources[1],
            xfer_size: element_count(self.typed, self.count, caps)?,
            op_specific: [first, second, self.typed.field() | handles],
            ..self.common.descriptor(opcode::REDUCE_DUALCAST, selector)
        })
    }
}

macro_rules! reduce_setters {
    ($builder:ty) => {
        /// What all operations on two regions of elements have.
        impl $builder {
            record_setters!();
            fault_setters!();
            write_setters!();
            compute_setters!();
            traffic_class_setters! {
                source_traffic_class = ADDR1_TC, "the first source";
                second_source_traffic_class = ADDR2_TC, "the second source";
            }

            /// The type of the elements that are written, if it is not that of those that are read. The rules are those of
            /// a conversion.
            #[inline]
            pub const fn output(mut self, data_type: DataType) -> Self {
                self.typed.to = data_type as u8;
                self
            }

            /// Whether the second source operand is negated (default: no). Needs DSACAP2 bit 0.
            #[inline]
            pub const fn negate_second(mut self, on: bool) -> Self {
                self.typed.set(idxd_sys::compute::compute_flag::NEGATE_2, on);
                self
            }

            /// Has the first source reached through an entry of the permissions table, in the address space and the
            /// window that the entry names, instead of the own address space (specification section 3.14). All operands
            /// together can have two different handles.
            #[inline]
            pub const fn source_handle(mut self, handle: IdptHandle) -> Self {
                self.handles[0] = Some(handle);
                self
            }

            /// Has the second source reached through an entry of the permissions table; see
            /// [`source_handle`](Self::source_handle).
            #[inline]
            pub const fn second_source_handle(mut self, handle: IdptHandle) -> Self {
                self.handles[1] = Some(handle);
                self
            }

            /// Has the (first) destination reached through an entry of the permissions table; see
            /// [`source_handle`](Self::source_handle).
            #[inline]
            pub const fn destination_handle(mut self, handle: IdptHandle) -> Self {
                self.handles[2] = Some(handle);
                self
            }
        }
    };
}

reduce_setters!(Reduce);
reduce_setters!(ReduceDualcast);

#[inline]
fn element_count(typed: Typed, count: u64, caps: &Capabilities) -> Result<u32, DescriptorError> {
    count_field(count, element_size(typed.from).max(element_size(typed.to)) as u32, caps)
}

/// The flag for the handles of sources and destinations, and bytes 59 to 63: two bits for each operand, and up to two
/// handles.
#[inline]
fn select(opcode: u8, operands: [Option<IdptHandle>; 4]) -> Result<(u32, u64), DescriptorError> {
    let (mut slots, mut selector) = ([None; 2], 0);
    for (at, handle) in operands.into_iter().enumerate() {
        let Some(handle) = handle else { continue };
        let Some(slot) = slots.iter().position(|slot| slot.is_none_or(|other| other == handle)) else {
            return Err(too_many_handles(opcode));
        };
        slots[slot] = Some(handle);
        selector |= (slot as u64 + 1) << (2 * at);
    }
    let flags = if selector == 0 { 0 } else { flag::INTER_DOMAIN_SELECTOR };
    Ok((flags, selector << 24 | rules::handle_fields(slots.map(|slot| slot.map_or(0, IdptHandle::get)))))
}

#[inline]
pub(super) fn check_reduce(d: &Descriptor, caps: &Capabilities, position: Position) -> Result<(), DescriptorError> {
    let header = header(opcode::REDUCE, 0, caps);
    header.check(d, caps, position)?;
    header.reserved(d.op_specific[1], u64::MAX, 48)?;
    check_operands(header, d, caps)?;
    Ok(())
}

#[inline]
pub(super) fn check_reduce_dualcast(
    d: &Descriptor,
    caps: &Capabilities,
    position: Position,
) -> Result<(), DescriptorError> {
    let header = header(opcode::REDUCE_DUALCAST, flag::REDUCE_DEST2_TC, caps);
    header.check(d, caps, position)?;
    let operands = check_operands(header, d, caps)?;
    let [first, second] = [d.op_specific[0], d.op_specific[1]];
    let (typed, size) = (operands.typed, operands.output);
    rules::aligned(Operand::SecondDestination, second, element_size(typed.to))?;
    rules::range(Operand::SecondDestination, second, size)?;
    if (first ^ second) & limits::DUALCAST_MASK != 0 {
        return Err(rules::dualcast_alignment(first, second));
    }
    let [foreign_1, foreign_2, foreign_3, foreign_4] = operands.foreign;
    for (source, is_foreign) in [(d.src_addr, foreign_1), (d.dst_addr, foreign_2)] {
        if !is_foreign && !foreign_4 {
            let source = (source, operands.input);
            rules::apart_or_same(header.opcode, typed.from == typed.to, source, (second, size))?;
        }
    }
    if foreign_3 || foreign_4 {
        return Ok(());
    }
    rules::apart(header.opcode, (first, size), (second, size))
}

#[inline]
fn header(opcode: u8, more_flags: u32, caps: &Capabilities) -> Header {
    Header {
        opcode,
        defined: TYPED_FLAGS
            | flag::ADDR1_TC
            | flag::ADDR2_TC
            | flag::ADDR3_TC
            | flag::INTER_DOMAIN_SELECTOR
            | more_flags,
        missing: if caps.may_name_handles(opcode) { 0 } else { flag::INTER_DOMAIN_SELECTOR },
        cache_controls: WRITE_CACHE_CONTROL,
        record_required: false,
        in_batch: true,
    }
}

/// What was found out about the operands.
struct Operands {
    typed: Typed,
    /// Bytes of a source, and of a destination.
    input: u64,
    output: u64,
    /// Whether first source, second source, first and second destination are reached through a handle.
    foreign: [bool; 4],
}

/// Everything but the second destination.
#[inline]
fn check_operands(header: Header, d: &Descriptor, caps: &Capabilities) -> Result<Operands, DescriptorError> {
    let foreign = check_selector(header, d, caps)?;
    let typed = Typed::of(d);
    typed.check(header.opcode, caps, true)?;
    typed.check_compute_type(caps)?;
    let (input, output) = typed.check_count(d.xfer_size, caps)?;
    let destination = d.op_specific[0];
    rules::aligned(Operand::Source, d.src_addr, element_size(typed.from))?;
    rules::aligned(Operand::SecondSource, d.dst_addr, element_size(typed.from))?;
    rules::aligned(Operand::Destination, destination, element_size(typed.to))?;
    rules::range(Operand::Source, d.src_addr, input)?;
    rules::range(Operand::SecondSource, d.dst_addr, input)?;
    rules::range(Operand::Destination, destination, output)?;
    for (source, is_foreign) in [(d.src_addr, foreign[0]), (d.dst_addr, foreign[1])] {
        if !is_foreign && !foreign[2] {
            rules::apart_or_same(header.opcode, typed.from == typed.to, (source, input), (destination, output))?;
        }
    }
    Ok(Operands { typed, input, output, foreign })
}

/// Bytes 59 to 63: which operands are reached through which handle (specification section 8.1.13).
#[inline]
fn check_selector(header: Header, d: &Descriptor, caps: &Capabilities) -> Result<[bool; 4], DescriptorError> {
    let selector = d.op_u8(59);
    if d.flags() & flag::INTER_DOMAIN_SELECTOR == 0 {
        header.reserved(u64::from(selector), u64::MAX, 59)?;
    } else {
        // There is no second destination to select in a plain reduce.
        let reserved = if header.opcode == opcode::REDUCE { 0xc0 } else { 0 };
        header.reserved(u64::from(selector), reserved, 59)?;
        if selector == 0 || selector & selector >> 1 & 0x55 != 0 {
            return Err(bad_selector(header.opcode, selector));
        }
    }
    rules::handle(header, d, caps, selector & 0x55 != 0, 60)?;
    rules::handle(header, d, caps, selector & 0xaa != 0, 62)?;
    Ok([0, 2, 4, 6].map(|shift| selector >> shift & 3 != 0))
}

#[cold]
fn bad_selector(opcode: u8, value: u8) -> DescriptorError {
    DescriptorError::InterDomainSelector { opcode, value }
}

#[cold]
fn too_many_handles(opcode: u8) -> DescriptorError {
    DescriptorError::TooManyHandles { opcode }
}
