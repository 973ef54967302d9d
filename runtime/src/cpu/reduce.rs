//! Type conversion, reduce, reduce with two destinations, gather-reduce (specification sections 8.3.19 to 8.3.22).
//!
//! Each function returns the numeric exceptions of all its elements, bits of
//! [`idxd_sys::compute::exception`], as the device's result byte has them (table 8-11). What the specification leaves
//! open about numbers is decided in `numeric`.

use std::ptr;

use super::gather::{ScatterList, block_at};
use super::numeric::Compute;

/// From which type into which elements are converted, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Conversion(Compute);

impl Conversion {
    /// Data types and flags are those of the descriptor: [`data_type`](idxd_sys::compute::data_type) and
    /// [`compute_flag`](idxd_sys::compute::compute_flag).
    ///
    /// `None` if a type or the rounding type is not assigned, a reserved flag is set, or the types are not both integers
    /// or both floating point. Any two types that are can be converted, which is more than a device may offer. Flags
    /// that do not concern the types have no effect; the device refuses some of them.
    pub const fn new(input: u8, output: u8, flags: u16) -> Option<Self> {
        match Compute::conversion(input, output, flags) {
            Some(compute) => Some(Self(compute)),
            None => None,
        }
    }
}

/// How two elements become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Reduction(Compute);

impl Reduction {
    /// Codes and flags are those of the descriptor: [`data_type`](idxd_sys::compute::data_type),
    /// [`compute_type`](idxd_sys::compute::compute_type) and [`compute_flag`](idxd_sys::compute::compute_flag).
    ///
    /// `None` where [`Conversion::new`] gives it, if the compute type is not assigned, and if it is bitwise for types that
    /// are not integers.
    pub const fn new(input: u8, output: u8, operation: u8, flags: u16) -> Option<Self> {
        match Compute::reduction(input, output, operation, flags) {
            Some(compute) => Some(Self(compute)),
            None => None,
        }
    }
}

/// Converts `count` elements (type conversion, opcode 0x18). Returns the exceptions.
///
/// Source and destination may be identical if their elements have the same size. What is written is unspecified where they
/// overlap otherwise.
///
/// # Safety
///
/// `src` is valid for reading `count` initialised elements of the input type, and `dst` for writing as many of the
/// output type; nobody else accesses those of `dst` or writes those of `src` meanwhile. Neither needs an alignment. They
/// may be anything if `count` is 0.
pub unsafe fn convert(conversion: Conversion, src: *const u8, dst: *mut u8, count: usize) -> u8 {
    // SAFETY: the caller's promise; a conversion has no second source.
    unsafe { conversion.0.convert().run(src, ptr::null(), &[dst], count) }
}

/// Combines `count` pairs of elements (reduce, opcode 0x19). Returns the exceptions.
///
/// The destination may be identical with a source whose elements have the same size. What is written is unspecified
/// where they overlap otherwise.
///
/// # Safety
///
/// `first` and `second` are valid for reading `count` initialised elements of the input type, and `dst` for writing as
/// many of the output type; nobody else accesses those of `dst` or writes the sources meanwhile. None needs an
/// alignment. They may be anything if `count` is 0.
pub unsafe fn reduce(reduction: Reduction, first: *const u8, second: *const u8, dst: *mut u8, count: usize) -> u8 {
    // SAFETY: the caller's promise.
    unsafe { reduction.0.combine().run(first, second, &[dst], count) }
}

/// As [`reduce`], to two destinations (reduce with dualcast, opcode 0x1a). Returns the exceptions.
///
/// The rule of the device that both destinations agree in their lowest 12 address bits is not asked for here.
///
/// # Safety
///
/// As for [`reduce`], for both destinations.
pub unsafe fn reduce_dualcast(
    reduction: Reduction,
    first: *const u8,
    second: *const u8,
    dst1: *mut u8,
    dst2: *mut u8,
    count: usize,
) -> u8 {
    // SAFETY: the caller's promise.
    unsafe { reduction.0.combine().run(first, second, &[dst1, dst2], count) }
}

/// Combines the blocks of a list, element by element, in the order of the list (gather-reduce, opcode 0x1b). Returns
/// the exceptions.
///
/// A block holds as many elements of the input type as fit; that many of the output type are written. A single block is
/// converted; none leaves the destination as it is. Each block more is one operation, which rounds, wraps around or
/// saturates: the last one to the output type, those before it to the wider one of the two types. What is written is
/// unspecified where the destination overlaps a block.
///
/// # Safety
///
/// The list is valid for reading its entries, which nobody writes meanwhile and which the destination does not overlap.
/// Every block is valid for reading and initialised, and `dst` for writing; nobody else accesses the destination or
/// writes the blocks. Pointers may be anything where there are no bytes.
pub unsafe fn gather_reduce(reduction: Reduction, list: &ScatterList, dst: *mut u8) -> u8 {
    let compute = reduction.0;
    let count = list.block() / compute.input_size();
    // SAFETY: `index` is below the count in every call; the caller vouches for the list.
    let block = |index| block_at(unsafe { list.address(index) }).cast_const();
    // SAFETY: the caller vouches for the blocks and the destination.
    unsafe {
        match list.count() {
            0 => 0,
            1 => compute.convert().run(block(0), ptr::null(), &[dst], count),
            blocks => compute.chain(blocks, block, dst, count),
        }
    }
}

#[cfg(test)]
mod tests {
    use idxd_sys::compute::{compute_flag as flag, compute_type as op, data_type as ty, exception, sgl_format};
    use proptest::prelude::*;

    use super::*;
    use crate::cpu::guard::Guarded;
    use crate::cpu::numeric::oracle;

    fn bytes(code: u8, elements: &[u64]) -> Vec<u8> {
        let size = ty::size(code).unwrap() as usize;
        elements.iter().flat_map(|bits| bits.to_le_bytes()[..size].to_vec()).collect()
    }

    /// A gather-reduce of blocks of `count` elements that lie one behind the other, in reverse.
    fn gathered(reduction: Reduction, input: u8, output: u8, blocks: &[Vec<u64>]) -> (Vec<u8>, u8) {
        let count = blocks[0].len();
        let (read, written) = (bytes(input, &blocks[0]).len(), count * ty::size(output).unwrap() as usize);
        let all: Vec<u8> = blocks.iter().rev().flat_map(|block| bytes(input, block)).collect();
        let (source, list, out) = (Guarded::new(all.len()), Guarded::new(blocks.len() * 4), Guarded::new(written));
        let indices: Vec<u8> = (0..blocks.len() as u32).rev().flat_map(u32::to_le_bytes).collect();
        let base = source.put(&all).expose_provenance() as u64;
        let list = ScatterList::new(list.put(&indices), blocks.len(), sgl_format::INDEX_32, base, read).unwrap();
        // SAFETY: list, blocks and destination lie in mappings of their own, exactly as long as they have to be.
        let exceptions = unsafe { gather_reduce(reduction, &list, out.end(written)) };
        (out.bytes(written), exceptions)
    }

    #[test]
    fn vectors_are_added_up_in_the_order_of_the_list() {
        let f = |value: f32| u64::from(value.to_bits());
        let add = Reduction::new(ty::FP32, ty::FP32, op::ADD, 0).unwrap();
        let blocks = [vec![f(1.0e8), f(1.0)], vec![f(1.0), f(2.0)], vec![f(-1.0e8), f(3.0)]];
        // The first sum rounds, before what it rounded to is taken away.
        assert_eq!(gathered(add, ty::FP32, ty::FP32, &blocks), (bytes(ty::FP32, &[f(0.0), f(6.0)]), 0));
        let add = Reduction::new(ty::INT8, ty::INT8, op::ADD, flag::SIGNED | flag::SATURATE).unwrap();
        let blocks = [vec![100], vec![100], vec![0x9c]];
        assert_eq!(gathered(add, ty::INT8, ty::INT8, &blocks), (vec![27], exception::OVERFLOW));
    }

    #[test]
    fn the_running_result_has_the_wider_type() {
        let f = |value: f32| u64::from(value.to_bits());
        // 1, then 2^-12 three times: in FP16 alone each would be lost.
        let add = Reduction::new(ty::FP32, ty::FP16, op::ADD, 0).unwrap();
        let small = vec![f(2.0_f32.powi(-12))];
        let blocks = [vec![f(1.0)], small.clone(), small.clone(), small];
        assert_eq!(gathered(add, ty::FP32, ty::FP16, &blocks), (bytes(ty::FP16, &[0x3c01]), 0));
        // 448 twice is no overflow on the way to FP16, and 300 none on the way back to a byte.
        let add = Reduction::new(ty::FP8_E4M3, ty::FP16, op::ADD, 0).unwrap();
        let blocks = [vec![0x7e], vec![0x7e], vec![0xfe]];
        assert_eq!(gathered(add, ty::FP8_E4M3, ty::FP16, &blocks), (bytes(ty::FP16, &[0x5f00]), 0));
        let add = Reduction::new(ty::INT16, ty::INT8, op::ADD, flag::SIGNED | flag::SATURATE).unwrap();
        let blocks = [vec![200], vec![100], vec![0xff38]];
        assert_eq!(gathered(add, ty::INT16, ty::INT8, &blocks), (vec![100], 0));
        let blocks = [vec![200], vec![100], vec![0xffff]];
        assert_eq!(gathered(add, ty::INT16, ty::INT8, &blocks), (vec![127], exception::OVERFLOW));
    }

    #[test]
    fn one_block_is_converted_and_none_leaves_the_destination() {
        let reduction = Reduction::new(ty::INT16, ty::INT32, op::ADD, flag::SIGNED | flag::NEGATE_1).unwrap();
        let expected = bytes(ty::INT32, &[5, 0xffff_fffa]);
        assert_eq!(gathered(reduction, ty::INT16, ty::INT32, &[vec![0xfffb, 6]]), (expected, 0));
        let mut out = [0xa5; 8];
        let list = ScatterList::new(ptr::null(), 0, sgl_format::INDEX_64, 0, 4).unwrap();
        // SAFETY: there are no blocks.
        assert_eq!(unsafe { gather_reduce(reduction, &list, out.as_mut_ptr()) }, 0);
        assert_eq!(out, [0xa5; 8]);
    }

    #[test]
    fn both_destinations_get_the_result() {
        let reduction = Reduction::new(ty::INT32, ty::INT32, op::XOR, 0).unwrap();
        let (a, b) = (bytes(ty::INT32, &[1, 2, 3]), bytes(ty::INT32, &[4, 8, 3]));
        let (mut one, mut two, mut three) = ([0; 12], [0; 12], [0; 12]);
        // SAFETY: three elements each.
        unsafe {
            reduce(reduction, a.as_ptr(), b.as_ptr(), one.as_mut_ptr(), 3);
            reduce_dualcast(reduction, a.as_ptr(), b.as_ptr(), two.as_mut_ptr(), three.as_mut_ptr(), 3);
        }
        assert_eq!(one[..], bytes(ty::INT32, &[5, 10, 0]));
        assert_eq!((two, three), (one, one));
    }

    #[test]
    fn a_conversion_reads_one_source() {
        let conversion = Conversion::new(ty::FP32, ty::BF16, 0).unwrap();
        let source = bytes(ty::FP32, &[u64::from(1.0_f32.to_bits()), u64::from((-2.0_f32).to_bits())]);
        let mut out = [0; 4];
        // SAFETY: two elements each.
        assert_eq!(unsafe { convert(conversion, source.as_ptr(), out.as_mut_ptr(), 2) }, 0);
        assert_eq!(out, [0x80, 0x3f, 0x00, 0xc0]);
    }

    proptest! {
        #[test]
        fn a_chain_follows_the_oracle(
            (input, output) in prop_oneof![(0_u8..4, 0_u8..4), (4_u8..10, 4_u8..10)],
            operation in prop::sample::select(&[op::ADD, op::MIN, op::MAX][..]),
            flags in 0_u16..0x200,
            blocks in (1_usize..40).prop_flat_map(|count| {
                prop::collection::vec(prop::collection::vec(any::<u64>(), count), 1..6)
            }),
        ) {
            let flags = flags & !(0b100 << 4);
            let mask = u64::MAX >> (64 - 8 * ty::size(input).unwrap());
            let blocks: Vec<Vec<u64>> =
                blocks.into_iter().map(|block| block.into_iter().map(|bits| bits & mask).collect()).collect();
            let reduction = Reduction::new(input, output, operation, flags).unwrap();
            let found = gathered(reduction, input, output, &blocks);
            let mut expected = (Vec::new(), 0);
            for at in 0..blocks[0].len() {
                let column: Vec<u64> = blocks.iter().map(|block| block[at]).collect();
                let Some((bits, exceptions)) = oracle::chain(operation, input, &column, output, flags) else {
                    return Ok(());
                };
                expected.0.push(bits);
                expected.1 |= exceptions;
            }
            prop_assert_eq!(found, (bytes(output, &expected.0), expected.1));
        }
    }
}
