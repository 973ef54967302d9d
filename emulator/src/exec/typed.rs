//! The fields of typed, scatter-gather and inter-domain descriptors (specification sections 8.1.9 to 8.1.14), and pieces
//! of operands.

use idxd_sys::compute::sgl_format;
use idxd_sys::{Descriptor, flag, opcode};

use super::{Fault, Halt, Op, Operand};
use crate::fault::Region;
use crate::memory::{Access, Space, Span};
use crate::numeric::{self, Plan};

/// A descriptor of one of these operations.
#[derive(Clone, Copy)]
pub(super) struct Fields<'a>(pub(super) &'a Descriptor);

impl Fields<'_> {
    /// Number of elements: of the whole operation, or of each list entry.
    pub(super) fn element_count(self) -> u64 {
        u64::from(match self.0.opcode() {
            opcode::GATHER_COPY | opcode::SCATTER_COPY | opcode::SCATTER_FILL => self.0.op_u32(40),
            _ => self.0.xfer_size,
        })
    }

    pub(super) fn input_type(self) -> u8 {
        self.0.op_u8(56) & 0xf
    }

    pub(super) fn output_type(self) -> u8 {
        self.0.op_u8(56) >> 4
    }

    pub(super) fn compute_type(self) -> u8 {
        self.0.op_u8(57) & 0xf
    }

    pub(super) fn compute_flags(self) -> u16 {
        u16::from(self.0.op_u8(57) >> 4) | u16::from(self.0.op_u8(58)) << 4
    }

    pub(super) fn selector(self) -> u8 {
        self.0.op_u8(59)
    }

    pub(super) fn list_format(self) -> u8 {
        self.0.op_u8(59) >> 4
    }

    pub(super) fn list_entries(self) -> u64 {
        u64::from(self.0.op_u16(44))
    }

    pub(super) fn base(self) -> u64 {
        self.0.op_specific[1]
    }

    /// Where the list of a scatter-gather operation lies.
    pub(super) fn list(self) -> u64 {
        match self.0.opcode() {
            opcode::SCATTER_COPY | opcode::SCATTER_FILL => self.0.dst_addr,
            _ => self.0.src_addr,
        }
    }

    /// Bytes of a list.
    pub(super) fn list_size(self) -> u64 {
        self.list_entries() * sgl_format::entry_size(self.list_format()).map_or(0, u64::from)
    }

    /// Bytes of all elements, or of those of one list entry, as they are read.
    pub(super) fn input_size(self) -> u64 {
        self.element_count() * numeric::size(self.input_type())
    }

    /// The same, as they are written.
    pub(super) fn output_size(self) -> u64 {
        self.element_count() * numeric::size(self.output_type())
    }

    /// What happens to the elements; `None` if the fields contradict each other.
    pub(super) fn plan(self, clamp_e4m3: bool) -> Option<Plan> {
        let function = (self.0.opcode() != opcode::TYPE_CONV).then(|| self.compute_type());
        Plan::new(self.input_type(), self.output_type(), function, self.compute_flags(), clamp_e4m3)
    }

    /// The IDPT handles that count, by operand: first and second source, first and second destination.
    pub(super) fn handles(self) -> [Option<u16>; 4] {
        let d = self.0;
        let set = |bit: u32| d.flags() & bit != 0;
        let (first, second) = (d.op_u16(60), d.op_u16(62));
        let source = set(flag::ALTERNATE_SOURCE).then_some(first);
        let destination = set(flag::ALTERNATE_DESTINATION).then_some(second);
        match d.opcode() {
            opcode::TYPE_CONV | opcode::GATHER_COPY | opcode::SCATTER_COPY | opcode::INTER_DOMAIN_COPY => {
                [source, None, destination, None]
            }
            opcode::SCATTER_FILL | opcode::INTER_DOMAIN_FILL => [None, None, destination, None],
            opcode::INTER_DOMAIN_COMPARE => [source, destination, None, None],
            opcode::INTER_DOMAIN_COMPVAL => [source, None, None, None],
            opcode::REDUCE | opcode::REDUCE_DUALCAST if set(flag::INTER_DOMAIN_SELECTOR) => {
                [0, 2, 4, 6].map(|shift| match self.selector() >> shift & 3 {
                    1 => Some(first),
                    2 => Some(second),
                    _ => None,
                })
            }
            _ => [None; 4],
        }
    }

    /// Where the operands lie that can be reached through a handle: address and bytes, in the order of
    /// [`handles`](Self::handles). Of a scattered operand only what belongs to all of it: nothing.
    pub(super) fn ranges(self) -> [(u64, u64); 4] {
        let d = self.0;
        let size = u64::from(d.xfer_size);
        let (none, from, to) = ((0, 0), (d.src_addr, size), (d.dst_addr, size));
        match d.opcode() {
            opcode::TYPE_CONV => [(d.src_addr, self.input_size()), none, (d.dst_addr, self.output_size()), none],
            opcode::REDUCE | opcode::REDUCE_DUALCAST => {
                let [input, output] = [self.input_size(), self.output_size()];
                let [first, second, _] = d.op_specific;
                let second = if d.opcode() == opcode::REDUCE { none } else { (second, output) };
                [(d.src_addr, input), (d.dst_addr, input), (first, output), second]
            }
            opcode::GATHER_REDUCE => [none, none, (d.dst_addr, self.output_size()), none],
            opcode::GATHER_COPY | opcode::INTER_DOMAIN_FILL => [none, none, to, none],
            opcode::SCATTER_COPY | opcode::INTER_DOMAIN_COMPVAL => [from, none, none, none],
            opcode::INTER_DOMAIN_COPY => [from, none, to, none],
            opcode::INTER_DOMAIN_COMPARE => [from, to, none, none],
            _ => [none; 4],
        }
    }
}

/// Operands of these operations for injection by address; see [`super::regions`]. Where the buffers of a list lie is not
/// known before it is read, so any address filter fits them.
pub(super) fn regions(d: &Descriptor, set: &mut impl FnMut(usize, u64, u64, Access)) -> Option<Region> {
    let fields = Fields(d);
    let accesses = [Access::Read, Access::Read, Access::Write, Access::Write];
    for (i, ((addr, len), access)) in fields.ranges().into_iter().zip(accesses).enumerate() {
        set(i, addr, len, access);
    }
    let scattered = match d.opcode() {
        opcode::GATHER_REDUCE | opcode::GATHER_COPY => Access::Read,
        opcode::SCATTER_COPY | opcode::SCATTER_FILL => Access::Write,
        _ => return None,
    };
    // Each of these has two operands at most, of which a second source is none.
    set(1, fields.list(), fields.list_size(), Access::Read);
    Some(Region { addr: 0, len: u64::MAX, access: scattered, record: true })
}

/// Spans in a piece.
const SPANS: usize = 8;

/// Consecutive bytes of an operand, in a few spans: enough for one element of 8 bytes, whatever the address space gives.
pub(super) struct Piece {
    spans: [Span; SPANS],
    count: usize,
    pub(super) len: usize,
}

impl Piece {
    pub(super) const EMPTY: Self =
        Self { spans: [Span { ptr: std::ptr::null_mut(), len: 0 }; SPANS], count: 0, len: 0 };

    /// Copies the first bytes out. The piece must be for reading.
    pub(super) fn load(&self, space: &Space, to: &mut [u8]) {
        debug_assert!(to.len() <= self.len);
        let mut rest = to;
        for span in &self.spans[..self.count] {
            let (here, after) = rest.split_at_mut(span.len.min(rest.len()));
            // SAFETY: `Op::piece` made the piece of spans that this space gave, and they stay valid as long as it lives; the
            // bytes lie inside one of them.
            unsafe { space.load(span.ptr, here) };
            rest = after;
        }
    }

    /// Copies bytes in, to the beginning. The piece must be for writing.
    pub(super) fn store(&self, space: &Space, from: &[u8]) {
        debug_assert!(from.len() <= self.len);
        let mut rest = from;
        for span in &self.spans[..self.count] {
            let (here, after) = rest.split_at(span.len.min(rest.len()));
            // SAFETY: as in `load`, for spans that were given for writing.
            unsafe { space.store(here, span.ptr) };
            rest = after;
        }
    }
}

impl Op<'_, '_> {
    /// As many of `len` bytes at `base + offset` as can be reached with a few spans, and what stopped the search, if it
    /// was a fault or a stop. Without one the piece has at least 8 bytes, or `len`.
    pub(super) fn piece(
        &mut self,
        operand: Operand,
        base: u64,
        offset: u64,
        len: usize,
        access: Access,
    ) -> (Piece, Option<Halt>) {
        let mut piece = Piece::EMPTY;
        while piece.len < len && piece.count < SPANS {
            match self.data(operand, base, offset + piece.len as u64, (len - piece.len) as u64, access) {
                Ok(span) => {
                    piece.spans[piece.count] = span;
                    piece.count += 1;
                    piece.len += span.len;
                }
                // What was found before may lead elsewhere by now.
                Err(halt @ Halt::Fault(Fault { moved: true, .. })) => return (Piece::EMPTY, Some(halt)),
                Err(halt) => return (piece, Some(halt)),
            }
        }
        (piece, None)
    }
}

/// Reads an element of some bytes.
pub(super) fn element(bytes: &[u8]) -> u64 {
    let mut wide = [0; 8];
    wide[..bytes.len()].copy_from_slice(bytes);
    u64::from_le_bytes(wide)
}
