//! Hysteresis: who did the last operation of a size class keeps the next, unless the other is clearly cheaper.

use proptest::prelude::*;

use super::super::lane::LaneState;
use super::super::{Choice, Inputs, Options, Quantity, Seen};
use super::{chooser, to_queue};
use crate::stats::Operation;

/// The band of the defaults: a sixteenth.
const BAND: u32 = 4;

fn switches(sides: &[bool]) -> usize {
    sides.windows(2).filter(|pair| pair[0] != pair[1]).count()
}

proptest! {
    /// Whatever the costs do within the band, the side stays what it was at first.
    #[test]
    fn noise_within_the_band_changes_nothing(
        cost in 1_000u64..1 << 40, noise in proptest::collection::vec((0u64..=1000, 0u64..=1000), 2..200)
    ) {
        let lane = LaneState::new(0, 1, 0);
        // Of two costs between `cost` and a sixteenth more, neither is cheaper than the other by more than a sixteenth of itself.
        let within = |part: u64| cost + cost / 16 * part / 1000;
        let sides: Vec<bool> =
            noise.iter().map(|(device, cpu)| lane.side(0, 3, within(*device), within(*cpu), BAND)).collect();
        prop_assert_eq!(switches(&sides), 0);
    }

    /// The device's cost rises, or falls, and the CPU's stays.
    #[test]
    fn a_ramp_switches_once_at_most(
        cpu in 1_000u64..1 << 40, steps in proptest::collection::vec(0u64..1 << 36, 2..200), falls: bool, band in 0u32..=63
    ) {
        let mut costs: Vec<u64> = steps.iter().scan(1, |sum, step| { *sum += step; Some(*sum) }).collect();
        if falls {
            costs.reverse();
        }
        let lane = LaneState::new(0, 1, 0);
        let sides: Vec<bool> = costs.iter().map(|device| lane.side(0, 3, *device, cpu, band)).collect();
        prop_assert!(switches(&sides) <= 1, "{:?}", sides);
        // And it is never on a side that is dearer by more than the band.
        for (device, side) in costs.iter().zip(sides) {
            let (chosen, other) = if side { (*device, cpu) } else { (cpu, *device) };
            prop_assert!(chosen <= other + (other >> band), "{} rather than {}", chosen, other);
        }
    }
}

#[test]
fn classes_kinds_and_lanes_remember_for_themselves() {
    let (lane, other) = (LaneState::new(0, 1, 0), LaneState::new(1, 1, 0));
    assert!(lane.side(2, 5, 100, 101, BAND));
    assert!(lane.side(2, 5, 101, 100, BAND), "the device's, by the band");
    assert!(!lane.side(2, 6, 101, 100, BAND));
    assert!(!lane.side(1, 5, 101, 100, BAND));
    assert!(!other.side(2, 5, 101, 100, BAND));
    assert!(lane.side(2, 5, 101, 100, BAND));
    assert!(!lane.side(2, 5, 107, 100, BAND), "beyond the band");
    assert!(!lane.side(2, 5, 100, 101, BAND), "and back only beyond it");
}

/// As the size grows the CPU gives way to the device once, whatever the steps.
#[test]
fn a_ramp_of_sizes_switches_once() {
    for (start, step) in [(64, 64), (100, 333), (4096, 1)] {
        let chooser = chooser(1, 1, &Options { explore_every: 0, ..Options::default() });
        let sides: Vec<bool> = (0..20_000u64)
            .map(|n| start + n * step)
            .map(|bytes| matches!(chooser.choose(&Inputs::new(Operation::Copy, bytes)).choice, Choice::Device(_)))
            .collect();
        assert_eq!(switches(&sides), 1, "from {start} by {step}");
        assert!(!sides[0]);
    }
}

/// A backlog that grows, byte by byte, drives an operation to the CPU once, and one that shrinks gives it back once.
#[test]
fn a_ramp_of_load_switches_once_each_way() {
    let chooser = chooser(1, 1, &Options { explore_every: 0, ..Options::default() });
    let is_device = |_| matches!(chooser.choose(&Inputs::new(Operation::Copy, 64 << 10)).choice, Choice::Device(_));
    let up: Vec<bool> = (0..400)
        .map(|n| {
            chooser.begin(&to_queue(0), Operation::Copy, 4 << 10);
            is_device(n)
        })
        .collect();
    let down: Vec<bool> = (0..400)
        .map(|n| {
            chooser.end(&to_queue(0), Operation::Copy, 4 << 10);
            is_device(n)
        })
        .collect();
    assert_eq!((switches(&up), switches(&down)), (1, 1));
    assert_eq!(chooser.load(0).operations(), 0);
}

/// Samples that scatter around the break-even point by less than half of the band do not make it flap.
#[test]
fn scattered_samples_at_break_even_do_not_flap() {
    let options = Options { explore_every: 0, sample_every: 1, cpu_cost_weight: 0, ..Options::default() };
    let chooser = chooser(1, 1, &options);
    let (bytes, nanos) = (16u64 << 10, 1_830u64);
    for quantity in [Quantity::Latency, Quantity::Cpu] {
        chooser.estimates().set(Operation::Copy, quantity, bytes, nanos * 1000);
    }
    let mut random = 1u64;
    let mut sides = Vec::new();
    for _ in 0..20_000 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let decision = chooser.choose(&Inputs::new(Operation::Copy, bytes));
        let took = nanos - nanos / 40 + (random >> 33) % (nanos / 20);
        let device = matches!(decision.choice, Choice::Device(_));
        sides.push(device);
        if device {
            chooser.completed_on_device(&decision, Operation::Copy, bytes, Seen::at(took));
        } else {
            chooser.completed_on_cpu(&decision, Operation::Copy, bytes, took);
        }
    }
    assert_eq!(switches(&sides), 0);
}
