//! Arithmetic on typed elements: conversion, and two elements to one (specification sections 8.1.10 to 8.1.12, table 8-11
//! and appendix E).
//!
//! Where the specification is silent, these are the rules:
//!
//! * An operation is exact, on numbers without limits; its result is brought into the output type once. Negation belongs
//!   to that: an unsigned operand that is negated is a negative number.
//! * An integer result that does not fit wraps around or saturates. Unsigned saturation gives the largest value even for
//!   a negative result, as the table has it.
//! * Underflow means that a result other than 0 ends below the smallest normal value of the output type, after rounding
//!   to what that type can hold. Exact results count as well, and those of minimum and maximum.
//! * -0 is less than +0. A sum of zeros of opposite signs, or of a number and its opposite, is +0, but -0 where rounding
//!   is down.
//! * A NaN stays the NaN it is, made quiet, with the upper bits of its payload where the output type has fewer; that of
//!   FP8 E4M3 has none. Of two the first counts. The sum of opposite infinities is the negative NaN without payload.
//! * FP8 E4M3 has no infinity: where another type would have one, its NaN stands, with the sign. An infinite operand that
//!   ends there counts as an overflow.
//! * A denormal operand is reported even if the other one is a NaN.
//! * In a chain (gather-reduce) the running result has the wider one of the two types, and the last step gives the output
//!   type: section 8.1.12 tells a conversion of inputs, where one is needed, from the conversion of the result. It is not
//!   negated again, and neither reported nor flushed as a denormal operand.
//!
//! There are two ways through. [`exact`] and [`integer::exact`] take one element at a time and know every rule. [`fast`]
//! and the other kernels in [`integer`] take a tile of elements, in loops without branches, and give up on a tile that
//! holds something special.

mod exact;
mod fast;
mod format;
mod integer;
mod tile;

use std::ptr;

use idxd_sys::compute::{compute_flag, compute_type, data_type};

use tile::{TILE, Tile};

/// What is computed, from which type into which: conversion, or two elements to one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Compute {
    input: u8,
    output: u8,
    operation: Option<Operation>,
    flags: u16,
}

impl Compute {
    /// A conversion; see [`Conversion::new`](super::Conversion::new).
    pub(super) const fn conversion(input: u8, output: u8, flags: u16) -> Option<Self> {
        let same_kind = data_type::is_integer(input) && data_type::is_integer(output)
            || data_type::is_float(input) && data_type::is_float(output);
        let rounding = flags & compute_flag::ROUNDING;
        if same_kind && rounding <= compute_flag::ROUND_TOWARD_ZERO && flags & compute_flag::RESERVED == 0 {
            Some(Self { input, output, operation: None, flags })
        } else {
            None
        }
    }

    /// Two elements to one; see [`Reduction::new`](super::Reduction::new).
    pub(super) const fn reduction(input: u8, output: u8, operation: u8, flags: u16) -> Option<Self> {
        let operation = match operation {
            compute_type::ADD => Operation::Add,
            compute_type::AND if data_type::is_integer(input) => Operation::And,
            compute_type::OR if data_type::is_integer(input) => Operation::Or,
            compute_type::XOR if data_type::is_integer(input) => Operation::Xor,
            compute_type::MIN => Operation::Min,
            compute_type::MAX => Operation::Max,
            _ => return None,
        };
        match Self::conversion(input, output, flags) {
            Some(conversion) => Some(Self { operation: Some(operation), ..conversion }),
            None => None,
        }
    }

    /// Bytes of an element that is read.
    pub(super) const fn input_size(self) -> usize {
        size(self.input)
    }

    fn has(self, flag: u16) -> bool {
        self.flags & flag != 0
    }

    fn step(self, operation: Option<Operation>, first: Operand, second: Operand) -> Step {
        Step {
            first,
            second,
            operation,
            output: self.output,
            signed: self.has(compute_flag::SIGNED),
            saturate: self.has(compute_flag::SATURATE),
            flush: self.has(compute_flag::FLUSH_TO_ZERO),
            zero_denormals: self.has(compute_flag::DENORMALS_ARE_ZERO),
            rounding: match self.flags & compute_flag::ROUNDING {
                compute_flag::ROUND_DOWN => Rounding::Down,
                compute_flag::ROUND_UP => Rounding::Up,
                compute_flag::ROUND_TOWARD_ZERO => Rounding::TowardZero,
                _ => Rounding::NearestEven,
            },
        }
    }

    fn source(self, flag: u16) -> Operand {
        Operand { code: self.input, negate: self.has(flag), fresh: true }
    }

    /// Elements by themselves.
    pub(super) fn convert(self) -> Step {
        let source = self.source(compute_flag::NEGATE_1);
        self.step(None, source, source)
    }

    /// Two source operands, each with a flag of its own.
    pub(super) fn combine(self) -> Step {
        self.step(self.operation, self.source(compute_flag::NEGATE_1), self.source(compute_flag::NEGATE_2))
    }

    /// The type of the running result of a chain. Of two types that a device converts, it holds all values of the other.
    const fn wider(self) -> u8 {
        if size(self.input) > size(self.output) { self.input } else { self.output }
    }

    /// A step of a chain: the first two vectors, or the running result and one vector more. The last one gives elements of
    /// the output type, the others those of the running result.
    fn link(self, is_first: bool, is_last: bool) -> Step {
        let source = self.source(compute_flag::NEGATE_1);
        let running = Operand { code: self.wider(), negate: false, fresh: false };
        let step = self.step(self.operation, if is_first { source } else { running }, source);
        Step { output: if is_last { self.output } else { self.wider() }, ..step }
    }

    /// Combines `blocks` vectors, at least two, of `count` elements each; `block` says where one lies. Returns the
    /// exceptions.
    ///
    /// # Safety
    ///
    /// Each vector is valid for reading `count` initialised elements of the input type, and `destination` for writing as
    /// many of the output type; nobody else accesses the destination or writes the vectors meanwhile, and they do not
    /// overlap. None needs an alignment, and all may be anything if `count` is 0.
    pub(super) unsafe fn chain(
        self,
        blocks: usize,
        block: impl Fn(usize) -> *const u8,
        destination: *mut u8,
        count: usize,
    ) -> u8 {
        let links = [(true, blocks == 2), (false, false), (false, true)].map(|(is_first, is_last)| {
            let step = self.link(is_first, is_last);
            (step, step.kernel())
        });
        let (read, written) = (self.input_size(), size(self.output));
        let (mut running, mut vector, mut out) = (Tile::new(), Tile::new(), Tile::new());
        let mut exceptions = 0;
        for at in (0..count).step_by(TILE) {
            let n = (count - at).min(TILE);
            let load = |index: usize, tile: &mut Tile| {
                // SAFETY: elements `at` to `at + n` of a vector of `count`; a tile has room for `TILE` elements of any
                // size, and is a local, which overlaps nothing.
                unsafe { ptr::copy_nonoverlapping(block(index).add(at * read), tile.as_mut_ptr(), n * read) };
            };
            load(0, &mut running);
            for index in 1..blocks {
                load(index, &mut vector);
                let (step, kernel) = &links[if index == 1 { 0 } else { 1 + usize::from(index + 1 == blocks) }];
                exceptions |= step.tile(*kernel, &running, &vector, n, &mut out);
                std::mem::swap(&mut running, &mut out);
            }
            // SAFETY: as above, for the destination.
            unsafe { ptr::copy_nonoverlapping(running.as_ptr(), destination.add(at * written), n * written) };
        }
        exceptions
    }
}

/// Bytes of an element.
const fn size(code: u8) -> usize {
    match data_type::size(code) {
        Some(size) => size as usize,
        None => 0,
    }
}

/// A compute type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Operation {
    Add,
    And,
    Or,
    Xor,
    Min,
    Max,
}

/// A rounding type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rounding {
    NearestEven,
    Down,
    Up,
    TowardZero,
}

/// One side of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Operand {
    /// The data type.
    code: u8,
    /// Whether it is negated.
    negate: bool,
    /// Whether it comes from a source, where denormals are looked after, or is the running result of a chain.
    fresh: bool,
}

/// One operation on each pair of elements, with all that decides about its result.
#[allow(clippy::struct_excessive_bools, reason = "they are the flags of a descriptor")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step {
    first: Operand,
    second: Operand,
    /// `None` brings the first operand into the output type.
    operation: Option<Operation>,
    output: u8,
    signed: bool,
    saturate: bool,
    /// Denormal results become 0.
    flush: bool,
    /// Denormal source operands count as 0.
    zero_denormals: bool,
    rounding: Rounding,
}

/// Does a tile, if nothing in it is special, and returns its exceptions.
type Kernel = fn(&Step, &Tile, &Tile, usize, &mut Tile) -> Option<u8>;

impl Step {
    /// Does `count` elements and writes them to each destination. Returns the exceptions, bits of
    /// [`exception`](idxd_sys::compute::exception).
    ///
    /// Tile by tile, everything is read before anything is written, so a destination may be identical with a source of
    /// the same element size. Whatever overlaps otherwise has unspecified contents.
    ///
    /// # Safety
    ///
    /// `first` and, if there is an operation, `second` are valid for reading `count` initialised elements of their
    /// types, and each destination for writing as many of the output type. Nobody else accesses the destinations or
    /// writes the sources meanwhile. None needs an alignment, and all may be anything if `count` is 0.
    pub(super) unsafe fn run(&self, first: *const u8, second: *const u8, destinations: &[*mut u8], count: usize) -> u8 {
        // SAFETY: the caller's promise.
        unsafe { self.run_with(self.kernel(), first, second, destinations, count) }
    }

    /// # Safety
    ///
    /// As for [`run`](Self::run).
    unsafe fn run_with(
        &self,
        kernel: Option<Kernel>,
        first: *const u8,
        second: *const u8,
        destinations: &[*mut u8],
        count: usize,
    ) -> u8 {
        let (first_size, second_size, out_size) = (size(self.first.code), size(self.second.code), size(self.output));
        let (mut a, mut b, mut out) = (Tile::new(), Tile::new(), Tile::new());
        let mut exceptions = 0;
        let mut at = 0;
        while at < count {
            let n = (count - at).min(TILE);
            // SAFETY: elements `at` to `at + n` of regions of `count`; a tile has room for `TILE` elements of any size,
            // and is a local, which overlaps nothing.
            unsafe {
                ptr::copy_nonoverlapping(first.add(at * first_size), a.as_mut_ptr(), n * first_size);
                if self.operation.is_some() {
                    ptr::copy_nonoverlapping(second.add(at * second_size), b.as_mut_ptr(), n * second_size);
                }
            }
            exceptions |= self.tile(kernel, &a, &b, n, &mut out);
            for &destination in destinations {
                // SAFETY: as above.
                unsafe { ptr::copy_nonoverlapping(out.as_ptr(), destination.add(at * out_size), n * out_size) };
            }
            at += n;
        }
        exceptions
    }

    /// The elements of a tile, the fast way if there is one that can do them. Returns the exceptions.
    fn tile(&self, kernel: Option<Kernel>, a: &Tile, b: &Tile, n: usize, out: &mut Tile) -> u8 {
        let fast = kernel.and_then(|kernel| kernel(self, a, b, n, out));
        fast.unwrap_or_else(|| self.one_by_one(a, b, n, out))
    }

    /// The fastest kernel that keeps to the rules, if there is one.
    fn kernel(&self) -> Option<Kernel> {
        if data_type::is_integer(self.output) { integer::kernel(self) } else { fast::kernel(self) }
    }

    /// The elements of a tile by all the rules. Returns the exceptions.
    #[cold]
    #[inline(never)]
    fn one_by_one(&self, a: &Tile, b: &Tile, n: usize, out: &mut Tile) -> u8 {
        if data_type::is_integer(self.output) {
            integer::exact(self, a, b, n, out)
        } else {
            exact::exact(self, a, b, n, out)
        }
    }
}

#[cfg(test)]
pub(super) mod oracle;
#[cfg(test)]
mod random;
#[cfg(test)]
mod tests;
