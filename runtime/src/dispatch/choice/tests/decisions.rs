//! Single decisions: hints, minimum sizes, closed queues, ties, exploring.

use super::super::{Choice, Chooser, Estimates, Force, Inputs, Options, QueueSetup, Seen, Why};
use super::{chooser, plain, to_queue};
use crate::stats::Operation;

fn copy(bytes: u64) -> Inputs {
    Inputs::new(Operation::Copy, bytes)
}

#[test]
fn short_copies_are_the_cpus_and_long_ones_the_devices() {
    let chooser = chooser(1, 1, &plain());
    assert_eq!(chooser.choose(&copy(64)).choice, Choice::Cpu(Why::Cheaper));
    assert_eq!(chooser.choose(&copy(1 << 20)).choice, Choice::Device(0));
}

/// What is remembered as the CPU's in any case is what a comparison would say, and is forgotten when the estimates change.
#[test]
fn a_size_that_is_surely_the_cpus_stays_so_only_while_it_is() {
    let chooser = chooser(1, 1, &plain());
    for round in 0..4_000u64 {
        let bytes = 64 + round % 4_000;
        let remembered = chooser.choose(&copy(bytes)).choice;
        let compared = super::chooser(1, 1, &plain()).choose(&copy(bytes)).choice;
        assert_eq!(remembered, compared, "{bytes}");
    }
    let device = |count| (0..count).filter(|_| chooser.choose(&copy(1024)).choice == Choice::Device(0)).count();
    assert_eq!(device(1_000), 0);
    chooser.estimates().set(Operation::Copy, super::super::Quantity::Cpu, 1024, 5_000_000);
    // With the sample that renews it, each less than twice the sampling interval away.
    _ = device(2 * plain().sample_every * super::super::lane::RENEWAL);
    assert_eq!(device(1_000), 1_000);
    chooser.estimates().set(Operation::Copy, super::super::Quantity::Cpu, 1024, 50_000);
    _ = device(2 * plain().sample_every * super::super::lane::RENEWAL);
    assert_eq!(device(1_000), 0);
}

/// What is remembered as the device's is what a comparison would say, whatever is in the queues: both choosers have the same load.
#[test]
fn a_size_that_is_surely_the_devices_is_so_only_while_the_queue_is_not_busy() {
    let (remembers, fresh) = (chooser(1, 1, &plain()), || chooser(1, 1, &plain()));
    for _ in 0..1_000 {
        assert_eq!(remembers.choose(&copy(64 << 10)).choice, Choice::Device(0));
    }
    let short = |chooser: &Chooser| {
        let quick = chooser.choose_quickly(0, Operation::Copy, 64 << 10);
        if quick.is_none() {
            _ = chooser.choose(&copy(64 << 10));
        }
        quick
    };
    let quick = (0..1_000).filter(|_| short(&remembers) == Some(Choice::Device(0))).count();
    // The others are samples.
    assert!((900..1_000).contains(&quick), "{quick}");
    let mut sides = Vec::new();
    for ahead in 0..200 {
        let compared = fresh();
        (0..=ahead).for_each(|_| compared.begin(&to_queue(0), Operation::Copy, 4 << 10));
        remembers.begin(&to_queue(0), Operation::Copy, 4 << 10);
        let expected = compared.choose(&copy(64 << 10)).choice;
        assert_eq!(remembers.choose(&copy(64 << 10)).choice, expected, "{ahead}");
        assert!((0..40).all(|_| short(&remembers).is_none_or(|choice| choice == expected)), "{ahead}");
        sides.push(expected);
    }
    assert_eq!((sides[0], sides[199]), (Choice::Device(0), Choice::Cpu(Why::Busy)));
}

#[test]
fn what_is_remembered_does_not_outlive_an_open_queue() {
    let chooser = chooser(2, 1, &plain());
    (0..200).for_each(|_| _ = chooser.choose(&copy(1 << 20)));
    let quickly = || {
        let quick = || chooser.choose_quickly(0, Operation::Copy, 1 << 20);
        // One without an answer may be a sample.
        quick().or_else(|| {
            _ = chooser.choose(&copy(1 << 20));
            quick()
        })
    };
    assert_eq!(quickly(), Some(Choice::Device(0)));
    chooser.set_open(0, false);
    assert_eq!(quickly(), None);
    assert_eq!(chooser.choose(&copy(1 << 20)).choice, Choice::Device(1));
    chooser.set_open(0, true);
    assert_eq!(quickly(), Some(Choice::Device(0)));
}

/// A queue that is late is left at once, not at the next sample, and is nobody's own any more while it is.
#[test]
fn an_operation_that_is_overdue_makes_its_queue_late() {
    let chooser = chooser(2, 1, &plain());
    let at = |now| chooser.choose(&Inputs { now, ..copy(1 << 20) }).choice;
    (1..200).for_each(|now| assert_eq!(at(now), Choice::Device(0)));
    chooser.begin(&to_queue(0), Operation::Copy, 1 << 20);
    // 1 MiB takes 34 us: after a tenth of a millisecond nothing can be said yet.
    chooser.overdue(0, 100_000, 100_000);
    assert_eq!(chooser.lateness(0, 100_000), 0);
    chooser.overdue(0, 10_000_000, 10_000_000);
    assert_eq!(at(10_000_000), Choice::Device(1));
    assert!(chooser.lateness(0, 10_000_000) > 9_000_000);
    // And it is tried again.
    assert_eq!(at(60_000_000), Choice::Device(0));
    chooser.overdue(7, 1, 1);
}

#[test]
fn callers_may_insist() {
    let chooser = chooser(1, 1, &Options { min_device_size: Some(1 << 16), ..plain() });
    let insist = |force, bytes| chooser.choose(&Inputs { force, ..copy(bytes) }).choice;
    assert_eq!(insist(Force::Device, 64), Choice::Device(0));
    assert_eq!(insist(Force::Cpu, 1 << 30), Choice::Cpu(Why::Forced));
    chooser.set_open(0, false);
    assert_eq!(insist(Force::Device, 64), Choice::Cpu(Why::NoQueue));
}

#[test]
fn the_larger_of_both_minimum_sizes_counts_and_is_the_devices() {
    let chooser = chooser(1, 1, &Options { min_device_size: Some(1 << 16), ..plain() });
    let with = |min_size, bytes| chooser.choose(&Inputs { min_size, ..copy(bytes) }).choice;
    assert_eq!(with(0, (1 << 16) - 1), Choice::Cpu(Why::BelowMinimum));
    assert_eq!(with(0, 1 << 16), Choice::Device(0));
    assert_eq!(with(1 << 17, (1 << 17) - 1), Choice::Cpu(Why::BelowMinimum));
    assert_eq!(with(1 << 17, 1 << 17), Choice::Device(0));
    assert_eq!(with(1 << 10, 1 << 15), Choice::Cpu(Why::BelowMinimum));
}

#[test]
fn beyond_the_minimum_a_busy_queue_still_loses_to_the_cpu() {
    let chooser = chooser(1, 1, &Options { min_device_size: Some(1 << 14), ..plain() });
    for _ in 0..32 {
        chooser.begin(&to_queue(0), Operation::Copy, 1 << 20);
    }
    assert_eq!(chooser.choose(&copy(1 << 15)).choice, Choice::Cpu(Why::Busy));
    for _ in 0..32 {
        chooser.end(&to_queue(0), Operation::Copy, 1 << 20);
    }
    assert_eq!(chooser.choose(&copy(1 << 15)).choice, Choice::Device(0));
}

/// A copy whose time on both sides is the same goes to the device, because of the core's time; and the more so in company.
#[test]
fn at_equal_latency_the_core_is_kept_free() {
    let estimates = Estimates::modelled();
    let latency = estimates.get(Operation::Copy, super::super::Quantity::Latency, 1 << 14);
    estimates.set(Operation::Copy, super::super::Quantity::Cpu, 1 << 14, latency);
    let chooser = Chooser::new(&[QueueSetup::new()], 1, &plain(), estimates);
    assert_eq!(chooser.choose(&copy(1 << 14)).choice, Choice::Device(0));
    let smallest = |company| {
        let offloaded = |bytes: &u64| chooser.choose(&Inputs { company, ..copy(*bytes) }).choice == Choice::Device(0);
        (64..1 << 14).step_by(64).find(offloaded).unwrap_or(1 << 14)
    };
    assert!(smallest(0) > smallest(2) && smallest(2) > smallest(8), "{} {}", smallest(0), smallest(8));
    assert_eq!(smallest(8), smallest(100), "company has an end");
}

#[test]
fn equal_queues_are_taken_in_turn_by_lanes() {
    let chooser = chooser(3, 8, &plain());
    for lane in 0..8 {
        let choice = chooser.choose(&Inputs { lane, ..copy(1 << 20) }).choice;
        assert_eq!(choice, Choice::Device(lane % 3));
    }
}

#[test]
fn a_queue_that_is_near_is_preferred_until_it_is_behind_by_its_advantage() {
    let setups = [QueueSetup::new().distances(&[0, 2000]), QueueSetup::new().distances(&[2000, 0])];
    let chooser = Chooser::new(&setups, 2, &plain(), Estimates::modelled());
    let on = |node| chooser.choose(&Inputs { node, lane: 1, ..copy(1 << 20) }).choice;
    assert_eq!((on(0), on(1)), (Choice::Device(0), Choice::Device(1)));
    // 32 KiB are a microsecond ahead, 128 KiB four.
    chooser.begin(&to_queue(0), Operation::Copy, 32 << 10);
    assert_eq!(on(0), Choice::Device(0));
    chooser.begin(&to_queue(0), Operation::Copy, 96 << 10);
    assert_eq!(on(0), Choice::Device(1));
    assert_eq!(on(7), Choice::Device(1), "a node that is not known is near to all");
}

#[test]
fn what_a_queue_has_refused_goes_to_another_and_then_to_the_cpu() {
    let chooser = chooser(2, 1, &plain());
    let after = |tried| chooser.choose(&Inputs { tried, ..copy(1 << 20) }).choice;
    assert_eq!((after(0b01), after(0b10)), (Choice::Device(1), Choice::Device(0)));
    assert_eq!(after(0b11), Choice::Cpu(Why::NoQueue));
}

#[test]
fn without_queues_the_cpu_does_it() {
    let chooser = chooser(0, 1, &Options::default());
    assert_eq!(chooser.choose(&copy(1 << 20)).choice, Choice::Cpu(Why::NoQueue));
}

#[test]
fn all_64_queues_are_used() {
    let chooser = chooser(64, 64, &plain());
    for number in (0..64).rev() {
        assert_eq!(chooser.choose(&Inputs { lane: number, ..copy(1 << 20) }).choice, Choice::Device(number));
        chooser.set_open(number, false);
    }
    assert_eq!(chooser.choose(&copy(1 << 20)).choice, Choice::Cpu(Why::NoQueue));
    chooser.set_open(63, true);
    assert_eq!(chooser.choose(&copy(1 << 20)).choice, Choice::Device(63));
}

#[test]
#[should_panic(expected = "65 queues")]
fn more_than_64_queues_are_refused() {
    _ = chooser(65, 1, &plain());
}

/// Between one and two times the interval apart, and never if switched off.
#[test]
fn the_other_side_is_tried_now_and_then() {
    for every in [16, 64, 256] {
        let chooser = chooser(1, 1, &Options { explore_every: every, ..Options::default() });
        // 16 KiB: both sides are within the bound of each other.
        let explored: Vec<u64> =
            (0..100_000u64).filter(|_| chooser.choose(&copy(16 << 10)).choice == Choice::Cpu(Why::Explored)).collect();
        let gaps: Vec<u64> = explored.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let every = u64::from(every);
        assert!(gaps.iter().all(|gap| (every..=2 * every).contains(gap)), "{gaps:?}");
        assert!(gaps.len() > 100_000 / 2 / every as usize - 2);
        assert!(gaps.iter().min() != gaps.iter().max(), "always the same distance");
    }
    let chooser = chooser(1, 1, &plain());
    assert!((0..100_000).all(|_| chooser.choose(&copy(16 << 10)).choice == Choice::Device(0)));
}

/// A side that is far dearer is tried in every sixteenth exploration only.
#[test]
fn far_dearer_sides_are_tried_seldom() {
    let chooser = chooser(1, 1, &Options { explore_every: 16, ..Options::default() });
    let device = (0..160_000).filter(|_| chooser.choose(&copy(64)).choice == Choice::Device(0)).count();
    assert!((160_000 / 32 / 16..=160_000 / 16 / 16 + 1).contains(&device), "{device}");
}

#[test]
fn one_completion_in_so_many_is_a_sample() {
    let chooser = chooser(1, 1, &Options { sample_every: 8, ..plain() });
    let samples: Vec<bool> = (0..8064).map(|_| chooser.choose(&copy(1 << 20)).sample).collect();
    // To begin with each one.
    assert!(samples[..64].iter().all(|sample| *sample));
    let later: Vec<usize> = (64..8064).filter(|place| samples[*place]).collect();
    assert!((900..=1100).contains(&later.len()), "{}", later.len());
    // And not always at the same place of a load that repeats itself.
    let places: std::collections::HashSet<_> = later.iter().map(|place| place % 16).collect();
    assert_eq!(places.len(), 16);
    let before = chooser.estimates().clone();
    let decision = (0..8).map(|_| chooser.choose(&copy(1 << 20))).find(|decision| !decision.sample).unwrap();
    chooser.completed_on_device(&decision, Operation::Copy, 1 << 20, Seen::at(1));
    chooser.completed_on_cpu(&decision, Operation::Copy, 1 << 20, 1);
    assert_eq!(format!("{before:?}"), format!("{:?}", chooser.estimates()), "others are none");
}

#[test]
fn a_decision_can_be_shared_between_threads() {
    fn shared<T: Send + Sync>(_: &T) {}
    shared(&chooser(1, 1, &plain()));
}
