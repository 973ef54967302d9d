//! Operations on typed elements (specification sections 8.1.9 to 8.1.12, 8.2.2, 8.3.19 to 8.3.22), one element at a time.

use idxd_sys::{Descriptor, flag, opcode, status};

use super::float::{self, DENORMAL, Element, Kind, OVERFLOW, Rules};
use super::list::{self, element_size};
use super::wide::Wide;
use super::{Answer, Memory, Nothing, defined, meet};

/// Bytes 56 to 58 of a descriptor.
#[derive(Clone, Copy)]
struct Compute {
    input: u8,
    output: u8,
    function: u8,
    flags: u16,
}

/// An operand: type, bits, whether its sign is turned, and whether it comes from a source.
#[derive(Clone, Copy)]
struct Operand {
    code: u8,
    bits: u64,
    negate: bool,
    is_source: bool,
}

impl Compute {
    fn of(d: &Descriptor) -> Self {
        Self {
            input: d.op_u8(56) & 0xf,
            output: d.op_u8(56) >> 4,
            function: d.op_u8(57) & 0xf,
            flags: u16::from(d.op_u8(57) >> 4) | u16::from(d.op_u8(58)) << 4,
        }
    }

    fn flag(self, bit: u32) -> bool {
        self.flags >> bit & 1 == 1
    }

    fn source(self, bits: u64, negate: bool) -> Operand {
        Operand { code: self.input, bits, negate, is_source: true }
    }

    /// One element out of one or two, of the type `to`, and the exceptions.
    fn step(self, first: Operand, second: Option<Operand>, to: u8) -> (u64, u8) {
        if to < 4 { self.integer(first, second, to) } else { self.float(first, second, to) }
    }

    fn integer(self, first: Operand, second: Option<Operand>, to: u8) -> (u64, u8) {
        let signed = self.flag(7);
        let value = |operand: Operand| {
            let bits = 8 * element_size(operand.code) as u32;
            let mut value = i128::from(operand.bits);
            if signed && value >> (bits - 1) == 1 {
                value -= 1 << bits;
            }
            if operand.negate { -value } else { value }
        };
        let a = value(first);
        let exact = match second.map(value) {
            None => a,
            Some(b) => match self.function {
                1 => a + b,
                3 => a & b,
                4 => a | b,
                5 => a ^ b,
                6 if b < a => b,
                7 if b > a => b,
                _ => a,
            },
        };
        let bits = 8 * element_size(to) as u32;
        let (least, most) = if signed { (-1 << (bits - 1), (1 << (bits - 1)) - 1) } else { (0, (1_i128 << bits) - 1) };
        let fits = least <= exact && exact <= most;
        let result = match (fits, self.flag(8)) {
            (false, true) if signed && exact < 0 => least,
            (false, true) => most,
            _ => exact,
        };
        (result.rem_euclid(1 << bits) as u64, if fits { 0 } else { OVERFLOW })
    }

    fn float(self, first: Operand, second: Option<Operand>, to: u8) -> (u64, u8) {
        let rules = Rules { rounding: (self.flags >> 4 & 7) as u8, flush: self.flag(2) };
        let mut exceptions = 0;
        let mut read = |operand: Operand| {
            let (mut element, denormal) = float::of(operand.code).read(operand.bits);
            if denormal && operand.is_source {
                if self.flag(3) {
                    element.kind = Kind::Number(Wide::ZERO);
                } else {
                    exceptions |= DENORMAL;
                }
            }
            Element { negative: element.negative != operand.negate, ..element }
        };
        let a = read(first);
        let result = match second.map(read) {
            None => a,
            Some(_) if matches!(a.kind, Kind::Nan(_)) => a,
            Some(b) if matches!(b.kind, Kind::Nan(_)) => b,
            Some(b) => match self.function {
                1 => float::add(a, b, rules),
                6 if float::is_less(b, a) => b,
                7 if float::is_less(a, b) => b,
                _ => a,
            },
        };
        let (bits, more) = float::of(to).write(result, rules);
        (bits, exceptions | more)
    }
}

fn computed(d: &Descriptor, exceptions: u8) -> Answer {
    let is_false = d.flags() & flag::CHECK_RESULT != 0 && exceptions != 0;
    let status = if is_false { status::SUCCESS_FALSE } else { status::SUCCESS };
    Answer { status, result: exceptions, ..Answer::DONE }
}

/// Type conversion, reduce, reduce with dualcast. With `handles` nobody has looked for overlaps.
pub(super) fn elementwise(memory: &mut Memory, d: &Descriptor, handles: bool) -> Result<Answer, Nothing> {
    let compute = Compute::of(d);
    let count = u64::from(d.xfer_size);
    let (read, written) = (element_size(compute.input), element_size(compute.output));
    let destinations = match d.opcode() {
        opcode::TYPE_CONV => vec![d.dst_addr],
        opcode::REDUCE => vec![d.op_specific[0]],
        _ => d.op_specific[..2].to_vec(),
    };
    let sources = if d.opcode() == opcode::TYPE_CONV { vec![d.src_addr] } else { vec![d.src_addr, d.dst_addr] };
    if handles {
        let meets = |source: &u64| destinations.iter().any(|to| meet((*source, count * read), (*to, count * written)));
        defined(sources.iter().any(meets))?;
        let meets =
            destinations.len() == 2 && meet((destinations[0], count * written), (destinations[1], count * written));
        defined(meets)?;
    }
    let mut results = Vec::new();
    let mut exceptions = 0;
    for at in 0..count {
        let first = compute.source(memory.number(d.src_addr + at * read, read)?, compute.flag(0));
        let second = match d.opcode() {
            opcode::TYPE_CONV => None,
            _ => Some(compute.source(memory.number(d.dst_addr + at * read, read)?, compute.flag(1))),
        };
        let (bits, more) = compute.step(first, second, compute.output);
        results.extend(&bits.to_le_bytes()[..written as usize]);
        exceptions |= more;
    }
    for destination in destinations {
        memory.put(destination, &results)?;
    }
    Ok(computed(d, exceptions))
}

/// Gather-reduce. Steps between the first and the last have the wider type: inputs are converted before they are combined
/// if the output is wider, and the result afterwards if it is narrower.
pub(super) fn gather_reduce(memory: &mut Memory, d: &Descriptor) -> Result<Answer, Nothing> {
    let compute = Compute::of(d);
    let count = u64::from(d.xfer_size);
    let (read, written) = (element_size(compute.input), element_size(compute.output));
    let list = list::read(memory, d, d.src_addr, count * read)?;
    defined(list.meets((d.dst_addr, count * written)))?;
    let wider = if read > written { compute.input } else { compute.output };
    let mut results = Vec::new();
    let mut exceptions = 0;
    for at in 0..count {
        let mut column = Vec::new();
        for (place, _) in &list.blocks {
            column.push(memory.number(place + at * read, read)?);
        }
        let source = |bits: u64| compute.source(bits, compute.flag(0));
        let mut running = source(column[0]);
        if column.len() == 1 {
            let (bits, more) = compute.step(running, None, compute.output);
            (running.bits, exceptions) = (bits, exceptions | more);
        }
        for (index, bits) in column.iter().enumerate().skip(1) {
            let to = if index + 1 == column.len() { compute.output } else { wider };
            let (bits, more) = compute.step(running, Some(source(*bits)), to);
            running = Operand { code: to, bits, negate: false, is_source: false };
            exceptions |= more;
        }
        results.extend(&running.bits.to_le_bytes()[..written as usize]);
    }
    memory.put(d.dst_addr, &results)?;
    Ok(computed(d, exceptions))
}
