//! Random operations on random numbers, mostly such as make a difference, against the oracle.

use idxd_sys::compute::{compute_type as op, data_type as ty};
use proptest::prelude::*;

use super::tests::{FLOATS, ROUNDINGS, check, conversion, reduction, run};
use super::{Compute, oracle, size};

/// Bits of a type, mostly near something that makes a difference.
fn bits(code: u8) -> BoxedStrategy<u64> {
    if ty::is_integer(code) {
        let top = 1_u64 << (8 * size(code) - 1);
        return (prop_oneof![Just(0), Just(top), any::<u64>()], -3_i64..4)
            .prop_map(move |(bits, near)| bits.wrapping_add_signed(near) & oracle::mask(code))
            .boxed();
    }
    let (exponent, fraction) = oracle::layout(code);
    let sign = 1_u64 << (exponent + fraction);
    let one = ((1_u64 << (exponent - 1)) - 1) << fraction;
    let edge = prop_oneof![
        Just(0),
        Just(1 << fraction),
        Just(oracle::largest(code)),
        Just(oracle::largest(code) + 2),
        Just(one),
    ];
    let wide = prop_oneof![
        3 => any::<u64>(),
        2 => (edge, -3_i64..4).prop_map(|(bits, near)| bits.wrapping_add_signed(near)),
        // One bit or two at any distance: sums next to the middle of two numbers.
        2 => (0..oracle::largest(code) >> fraction, 0..fraction)
            .prop_map(move |(exponent, bit)| exponent << fraction | 1 << bit),
        // Exponents close to each other, short fractions.
        2 => (one.saturating_sub(20 << fraction)..one + (20 << fraction), 0_u32..=fraction)
            .prop_map(|(bits, cleared)| bits >> cleared << cleared),
    ];
    (wide, any::<bool>()).prop_map(move |(bits, negative)| bits & (sign - 1) | if negative { sign } else { 0 }).boxed()
}

/// Two types of one kind, an operation, flags.
fn computation() -> impl Strategy<Value = (u8, u8, u8, u16)> {
    let integers = (0_u8..4, 0_u8..4, prop::sample::select(op::ALL));
    let floats = (
        prop::sample::select(&FLOATS[..]),
        prop::sample::select(&FLOATS[..]),
        prop::sample::select(&[op::ADD, op::ADD, op::MIN, op::MAX][..]),
    );
    let rounding = prop_oneof![Just(0), prop::sample::select(&ROUNDINGS[..])];
    (prop_oneof![integers, floats], 0_u16..16, rounding, 0_u16..4).prop_map(
        |((input, output, operation), low, rounding, high)| (input, output, operation, low | rounding | high << 7),
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]
    #[test]
    fn conversions_follow_the_oracle(
        ((input, output, _, flags), elements) in computation()
            .prop_flat_map(|kind| (Just(kind), prop::collection::vec(bits(kind.0), 1..8))),
    ) {
        check(&conversion(input, output, flags), 0, flags, &elements, &[]);
    }

    #[test]
    fn reductions_follow_the_oracle(
        ((input, output, operation, flags), pairs) in computation()
            .prop_flat_map(|kind| (Just(kind), prop::collection::vec((bits(kind.0), bits(kind.0)), 1..8))),
    ) {
        let (first, second): (Vec<u64>, Vec<u64>) = pairs.into_iter().unzip();
        check(&reduction(input, output, operation, flags), operation, flags, &first, &second);
    }

    #[test]
    fn a_running_result_is_not_a_source(
        ((input, output, operation, flags), pairs) in computation().prop_flat_map(|kind| {
            let wider = if size(kind.0) > size(kind.1) { kind.0 } else { kind.1 };
            (Just(kind), prop::collection::vec((bits(wider), bits(kind.0)), 1..8))
        }),
    ) {
        let step = Compute::reduction(input, output, operation, flags).unwrap().link(false, true);
        let (first, second): (Vec<u64>, Vec<u64>) = pairs.into_iter().unzip();
        check(&step, operation, flags, &first, &second);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn long_vectors_are_done_alike_both_ways(
        (input, output, operation, flags) in computation(), count in 1_usize..700, seed in any::<u64>(),
    ) {
        // Random bits, in which NaNs and infinities of the wide types are rare: some tiles are special, some are not.
        let element = |at: usize| {
            let bits = (at as u64 ^ seed).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29).wrapping_mul(seed | 1);
            bits & oracle::mask(input)
        };
        let first: Vec<u64> = (0..count).map(element).collect();
        let second: Vec<u64> = (count..2 * count).map(element).collect();
        let step = reduction(input, output, operation, flags);
        prop_assert_eq!(run(&step, &first, &second, true), run(&step, &first, &second, false));
        let step = conversion(input, output, flags);
        prop_assert_eq!(run(&step, &first, &second, true), run(&step, &first, &second, false));
    }
}
