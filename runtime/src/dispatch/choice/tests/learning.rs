//! What is learned from completions.

use proptest::prelude::*;

use super::super::{Choice, Chooser, Estimates, Force, Inputs, Options, Quantity, QueueSetup, Seen, Why};
use super::{chooser, plain, to_queue};
use crate::stats::Operation;

const COPY: Operation = Operation::Copy;

proptest! {
    /// By any factor from a thousandth to a thousand, at any size: 32 samples bring it to within a quarter.
    #[test]
    fn a_lasting_change_is_followed_in_32_samples(
        bytes in 64u64..1 << 31, thousandths in prop_oneof![1u64..1000, 1000u64..1_000_000], history in 0usize..60
    ) {
        let estimates = Estimates::modelled();
        let before = estimates.get(COPY, Quantity::Cpu, bytes);
        for _ in 0..history {
            estimates.note(COPY, Quantity::Cpu, bytes, before);
        }
        let after = (before / 1000 * thousandths).clamp(100, 1 << 43);
        for _ in 0..32 {
            estimates.note(COPY, Quantity::Cpu, bytes, after);
        }
        let now = estimates.get(COPY, Quantity::Cpu, bytes);
        prop_assert!(now.abs_diff(after) <= after / 4 + 10, "{} became {} and not {}", before, now, after);
    }

    /// However far out: an eighth of the estimate up, a sixteenth down, and somewhat more between two classes.
    #[test]
    fn a_single_outlier_moves_an_estimate_by_an_eighth(bytes in 64u64..1 << 31, outlier in 1u64..1 << 44) {
        let estimates = Estimates::modelled();
        let usual = estimates.get(COPY, Quantity::Latency, bytes);
        for _ in 0..20 {
            estimates.note(COPY, Quantity::Latency, bytes, usual);
        }
        estimates.note(COPY, Quantity::Latency, bytes, outlier);
        let now = estimates.get(COPY, Quantity::Latency, bytes);
        let (low, high) = (usual - usual / 12, usual + usual / 6);
        prop_assert!((low..=high).contains(&now), "{} became {} by {}", usual, now, outlier);
        // And three of them, one after the other, still do not make it believe them.
        for _ in 0..2 {
            estimates.note(COPY, Quantity::Latency, bytes, outlier);
        }
        prop_assert!(estimates.get(COPY, Quantity::Latency, bytes) <= usual * 8 / 5);
    }

    /// Whatever the samples, an estimate lies between the extremes of what has been seen and what was assumed.
    #[test]
    fn estimates_stay_within_what_was_seen(
        samples in proptest::collection::vec(1u64..1 << 30, 1..100), class in 6u32..31
    ) {
        let bytes = 1u64 << class;
        let estimates = Estimates::modelled();
        let before = estimates.get(COPY, Quantity::Cpu, bytes);
        let (mut low, mut high) = (before, before);
        for sample in samples {
            estimates.note(COPY, Quantity::Cpu, bytes, sample);
            (low, high) = (low.min(sample), high.max(sample));
            let now = estimates.get(COPY, Quantity::Cpu, bytes);
            prop_assert!((low..=high).contains(&now), "{} is not in {}..={}", now, low, high);
        }
    }
}

/// The neighbour that a size leans on a little has no samples, and is set anew now and then; that must not undo what was learned.
#[test]
fn a_neighbour_without_samples_does_not_undo_what_was_learned() {
    let estimates = Estimates::modelled();
    let before = estimates.get(COPY, Quantity::Cpu, 2486);
    for _ in 0..32 {
        estimates.note(COPY, Quantity::Cpu, 2486, before);
    }
    let after = before * 408 / 1000;
    for _ in 0..32 {
        estimates.note(COPY, Quantity::Cpu, 2486, after);
    }
    let now = estimates.get(COPY, Quantity::Cpu, 2486);
    assert!(now.abs_diff(after) <= after / 20, "{before} became {now} and not {after}");
}

/// Sizes that are no powers of two have a line between their neighbours; a sample there moves both ends.
#[test]
fn between_two_classes_the_curve_is_a_line() {
    let estimates = Estimates::modelled();
    estimates.set(COPY, Quantity::Cpu, 4096, 1_000_000);
    estimates.set(COPY, Quantity::Cpu, 8192, 3_000_000);
    let get = |bytes| estimates.get(COPY, Quantity::Cpu, bytes);
    assert_eq!((get(4096), get(5120), get(6144), get(8192)), (1_000_000, 1_500_000, 2_000_000, 3_000_000));
    for _ in 0..40 {
        estimates.note(COPY, Quantity::Cpu, 6144, 3_000_000);
    }
    assert!(get(6144).abs_diff(3_000_000) < 100_000);
    assert!(get(4096) > 1_500_000 && get(8192) > 3_500_000);
}

/// The CPU is three times as fast as assumed; only two sizes have been seen.
#[test]
fn classes_without_samples_follow_their_neighbours() {
    let estimates = Estimates::modelled();
    let assumed = |bytes| Estimates::modelled().get(COPY, Quantity::Cpu, bytes);
    for bytes in [4096, 64 << 10] {
        estimates.set(COPY, Quantity::Cpu, bytes, assumed(bytes) / 3);
    }
    let share = |bytes| assumed(bytes) * 100 / estimates.get(COPY, Quantity::Cpu, bytes);
    for between in [8 << 10, 16 << 10, 32 << 10] {
        assert!((298..303).contains(&share(between)), "{between}: {}", share(between));
    }
    for near in [512, 1024, 128 << 10, 512 << 10] {
        assert!((298..303).contains(&share(near)), "{near}: {}", share(near));
    }
    // Farther away it says less and less.
    assert!(share(1 << 20) < share(512 << 10) && share(2 << 20) < share(1 << 20) && share(1 << 30) < 102);
    assert_eq!(estimates.samples(COPY, Quantity::Cpu, 8 << 10), 0);
    // A sample of its own counts from then on.
    estimates.set(COPY, Quantity::Cpu, 16 << 10, assumed(16 << 10));
    assert!((125..170).contains(&share(32 << 10)), "{}", share(32 << 10));
}

#[test]
fn kinds_and_quantities_are_learned_apart() {
    let estimates = Estimates::modelled();
    estimates.set(COPY, Quantity::Cpu, 4096, 1);
    for &operation in Operation::ALL {
        for &quantity in Quantity::ALL {
            if (operation, quantity) != (COPY, Quantity::Cpu) {
                let assumed = Estimates::modelled().get(operation, quantity, 4096);
                assert_eq!(estimates.get(operation, quantity, 4096), assumed);
            }
        }
    }
}

#[test]
fn samples_of_many_threads_are_as_good_as_those_of_one() {
    let estimates = Estimates::modelled();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..5_000).for_each(|_| estimates.note(COPY, Quantity::Cpu, 5000, 2_000_000)));
        }
    });
    assert!(estimates.get(COPY, Quantity::Cpu, 5000).abs_diff(2_000_000) < 20_000);
}

/// Runs so many operations, 10 us apart, which take `device` nanoseconds there and `cpu` nanoseconds here, and counts those on
/// the device.
fn run(chooser: &Chooser, clock: &mut u64, bytes: u64, operations: usize, device: u64, cpu: u64) -> usize {
    let mut on_device = 0;
    for _ in 0..operations {
        *clock += 10_000;
        let decision = chooser.choose(&Inputs { now: *clock, ..Inputs::new(COPY, bytes) });
        chooser.begin(&decision, COPY, bytes);
        if let Choice::Device(_) = decision.choice {
            on_device += 1;
            chooser.end(&decision, COPY, bytes);
            chooser.completed_on_device(&decision, COPY, bytes, Seen::at(device));
        } else {
            chooser.completed_on_cpu(&decision, COPY, bytes, cpu);
        }
    }
    on_device
}

#[test]
fn a_device_that_becomes_slow_is_left_and_found_again_when_it_is_fast() {
    let options = Options { explore_every: 32, sample_every: 4, ..Options::default() };
    let (chooser, clock) = (chooser(1, 1, &options), &mut 0);
    assert!(run(&chooser, clock, 64 << 10, 2_000, 3_500, 6_800) > 1_900);
    // Somebody else fills it. Within so many operations it is left, but for explorations.
    _ = run(&chooser, clock, 64 << 10, 400, 80_000, 6_800);
    assert!(run(&chooser, clock, 64 << 10, 2_000, 80_000, 6_800) < 80);
    // He goes.
    _ = run(&chooser, clock, 64 << 10, 20_000, 3_500, 6_800);
    assert!(run(&chooser, clock, 64 << 10, 2_000, 3_500, 6_800) > 1_900);
}

/// The estimate of the device's latency is not corrected by anything else.
#[test]
fn without_exploring_what_was_believed_of_a_side_stays() {
    let (chooser, clock) = (chooser(1, 1, &plain()), &mut 0);
    chooser.estimates().set(COPY, Quantity::Latency, 64 << 10, 80_000_000);
    assert_eq!(run(&chooser, clock, 64 << 10, 20_000, 3_500, 6_800), 0);
}

#[test]
fn a_cpu_that_is_faster_than_assumed_is_found_by_exploring() {
    let (chooser, clock) = (chooser(1, 1, &Options { explore_every: 32, ..Options::default() }), &mut 0);
    _ = run(&chooser, clock, 16 << 10, 4_000, 1_830, 300);
    assert!(run(&chooser, clock, 16 << 10, 2_000, 1_830, 300) < 80);
}

/// The band must not keep the side from being tried that it has decided against.
#[test]
fn a_side_that_loses_by_the_band_only_is_explored_as_well() {
    let options = Options { explore_every: 32, cpu_cost_weight: 0, ..Options::default() };
    let (chooser, clock) = (chooser(1, 1, &options), &mut 0);
    chooser.estimates().set(COPY, Quantity::Latency, 64 << 10, 7_000_000);
    chooser.estimates().set(COPY, Quantity::Cpu, 64 << 10, 6_900_000);
    _ = run(&chooser, clock, 64 << 10, 4, 3_500, 6_900);
    // Now the device seems a little cheaper, by less than the band, and is in truth much cheaper.
    chooser.estimates().set(COPY, Quantity::Latency, 64 << 10, 6_800_000);
    _ = run(&chooser, clock, 64 << 10, 2_000, 3_500, 6_900);
    assert!(run(&chooser, clock, 64 << 10, 1_000, 3_500, 6_900) > 900);
}

/// A thread that looks late does not make a device slow, and one that looks early shows that it is.
#[test]
fn completions_that_were_found_late_are_taken_for_what_was_expected() {
    let options = Options { sample_every: 1, ..plain() };
    let chooser = chooser(1, 1, &options);
    let bytes = 64 << 10;
    let latency = || chooser.estimates().get(COPY, Quantity::Latency, bytes);
    let before = latency();
    let decision = chooser.choose(&Inputs::new(COPY, bytes));
    for _ in 0..50 {
        chooser.completed_on_device(&decision, COPY, bytes, Seen { pending: 300, complete: 400_000 });
    }
    assert_eq!((latency(), chooser.lateness(0, 0)), (before, 0));
    for _ in 0..50 {
        chooser.completed_on_device(&decision, COPY, bytes, Seen { pending: 7_000, complete: 400_000 });
    }
    let seen = latency() / 1000 + chooser.lateness(0, 0);
    assert!((6_000..8_000).contains(&seen), "{seen}");
    for _ in 0..50 {
        chooser.completed_on_device(&decision, COPY, bytes, Seen { pending: 0, complete: 2_000 });
    }
    assert!(latency() < 2_500_000, "{}", latency());
}

/// Somebody else's work makes one queue late at one size; that counts for other sizes and kinds as well.
#[test]
fn a_queue_that_is_late_is_late_for_everything() {
    let (chooser, clock) = (chooser(2, 1, &Options { sample_every: 1, ..plain() }), &mut 0);
    _ = run(&chooser, clock, 64 << 10, 20, 3_500, 6_800);
    let both = |now| {
        [0b01, 0b10]
            .map(|tried| chooser.choose(&Inputs { now, tried, ..Inputs::new(Operation::Fill, 16 << 10) }).choice)
    };
    assert_eq!(both(*clock), [Choice::Device(1), Choice::Device(0)]);
    let first = chooser.choose(&Inputs { now: *clock, ..Inputs::new(COPY, 64 << 10) });
    assert_eq!(first.choice, Choice::Device(0));
    for _ in 0..20 {
        chooser.completed_on_device(&first, COPY, 64 << 10, Seen::at(60_000));
    }
    assert!(chooser.lateness(0, *clock) > 20_000, "{}", chooser.lateness(0, *clock));
    assert_eq!(chooser.lateness(1, *clock), 0);
    assert_eq!(both(*clock), [Choice::Device(1), Choice::Cpu(Why::Busy)]);
    // Twenty milliseconds later nobody remembers.
    assert_eq!(both(*clock + 20_000_000), [Choice::Device(1), Choice::Device(0)]);
}

#[test]
fn refusals_make_a_queue_late_and_time_makes_it_good() {
    let chooser = chooser(1, 1, &plain());
    for _ in 0..10 {
        let decision = chooser.choose(&Inputs { force: Force::Device, now: 1, ..Inputs::new(COPY, 64 << 10) });
        chooser.begin(&decision, COPY, 64 << 10);
        chooser.refused(&decision, COPY, 64 << 10);
    }
    assert_eq!((chooser.load(0).operations(), chooser.load(0).bytes()), (0, 0));
    let late = chooser.lateness(0, 1);
    assert!((10_000..1_000_000).contains(&late), "{late}");
    assert_eq!(chooser.choose(&Inputs { now: 1, ..Inputs::new(COPY, 64 << 10) }).choice, Choice::Cpu(Why::Busy));
    assert!(chooser.lateness(0, 2 << 20).abs_diff(late / 2) <= 1 && chooser.lateness(0, 1 << 40) == 0);
    let decision = to_queue(0);
    for _ in 0..1000 {
        chooser.begin(&decision, COPY, 64);
        chooser.refused(&decision, COPY, 64);
    }
    assert!(chooser.lateness(0, 0) <= 1_000_000_000, "a second at most");
}

/// What nobody has looked for is not ahead any more once the device must have done it.
#[test]
fn a_queue_empties_as_time_goes_by() {
    let chooser = chooser(1, 1, &plain());
    let decision = chooser.choose(&Inputs { now: 1_000, ..Inputs::new(COPY, 1 << 20) });
    for _ in 0..16 {
        chooser.begin(&decision, COPY, 1 << 20);
    }
    // 16 MiB take 0.5 ms.
    let choice = |now| chooser.choose(&Inputs { now, ..Inputs::new(COPY, 1 << 20) }).choice;
    assert_eq!((choice(1_000), choice(300_000)), (Choice::Cpu(Why::Busy), Choice::Cpu(Why::Busy)));
    assert_eq!(choice(540_000), Choice::Device(0));
    assert_eq!(chooser.load(0).operations(), 16);
}

/// The device is half as fast as assumed, and always has eight copies of 256 KiB: what is expected of a copy that queues behind
/// them comes to be right.
#[test]
fn the_rate_of_a_queue_is_learned_from_what_waits_in_it() {
    let chooser = chooser(1, 1, &Options { sample_every: 1, ..plain() });
    let (bytes, each) = (256 << 10, 16_800);
    let mut clock = 1;
    let mut out = std::collections::VecDeque::new();
    // Whether a copy of 1 MiB, which takes the CPU 108 us and an idle device 35, goes to the device.
    let long = |now| matches!(chooser.choose(&Inputs { now, ..Inputs::new(COPY, 1 << 20) }).choice, Choice::Device(_));
    let mut at_first = None;
    for _ in 0..200 {
        while out.len() < 8 {
            let inputs = Inputs { force: Force::Device, now: clock, ..Inputs::new(COPY, bytes) };
            let decision = chooser.choose(&inputs);
            chooser.begin(&decision, COPY, bytes);
            out.push_back((decision, clock));
        }
        at_first.get_or_insert(long(clock));
        // One after another, each a period after the last.
        clock += each;
        let (decision, since) = out.pop_front().unwrap();
        chooser.end(&decision, COPY, bytes);
        chooser.completed_on_device(&decision, COPY, bytes, Seen::at(clock - since));
    }
    // By the assumed rate 59 us are ahead; in truth 118.
    assert_eq!((at_first, long(clock)), (Some(true), false));
    assert!(long(clock + 200_000), "and once they are done it does");
}

#[test]
fn a_calibration_is_where_estimates_begin() {
    let mut measure = |_: Operation, bytes: u64, quantity: Quantity| {
        let factor = if quantity == Quantity::Latency { 100 } else { 1 };
        Some(std::time::Duration::from_nanos(bytes * factor))
    };
    let machine = super::super::Machine::default();
    let budget = std::time::Duration::from_secs(60);
    let calibration = super::super::Calibration::measure(machine, budget, &mut measure);
    let chooser = Chooser::new(&[QueueSetup::new()], 1, &plain(), calibration.estimates());
    for bytes in [64, 4096, 100_000, 1 << 20] {
        assert_eq!(chooser.choose(&Inputs::new(COPY, bytes)).choice, Choice::Cpu(Why::Cheaper), "{bytes}");
    }
}
