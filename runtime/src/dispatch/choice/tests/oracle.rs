//! The decision against the plainest one that can be written: all costs in floating point, and the least of them.

#![allow(clippy::cast_precision_loss)] // times and sizes are far below 2^52

use proptest::prelude::*;

use super::super::{Choice, Chooser, Estimates, Force, Inputs, Options, Quantity, QueueSetup, Why};
use super::to_queue;
use crate::stats::Operation;

/// A queue of the oracle.
#[derive(Clone, Debug)]
struct Plain {
    engines: u32,
    distances: Vec<u32>,
    without: Option<Operation>,
    open: bool,
    /// What is in flight.
    load: Vec<(Operation, u64)>,
}

/// What a copy of a byte, and an operation of no bytes, take of the modelled device, in picoseconds.
const BYTE: f64 = 32.0;
const DISPATCH: f64 = 14_000.0;

fn service(operation: Operation, bytes: u64, estimates: &Estimates) -> f64 {
    let of = |operation| estimates.get(operation, Quantity::Service, 1 << 20) as f64;
    bytes as f64 * of(operation) / of(Operation::Copy)
}

/// What each side would cost: the CPU, and every queue that may be used.
fn costs(inputs: &Inputs, queues: &[Plain], options: &Options) -> (f64, Vec<(u32, f64)>) {
    let estimates = Estimates::modelled();
    let get = |quantity| estimates.get(inputs.operation, quantity, inputs.bytes) as f64;
    let worth = f64::from(options.cpu_cost_weight) / 256.0 * (1.0 + f64::from(inputs.company.min(8)));
    let cpu = get(Quantity::Cpu) * (1.0 + worth);
    let device = queues.iter().enumerate().filter(|(number, queue)| {
        queue.open && queue.without != Some(inputs.operation) && (inputs.tried >> number) & 1 == 0
    });
    let device = device.map(|(number, queue)| {
        let mut ahead: f64 = queue.load.iter().map(|(kind, bytes)| service(*kind, *bytes, &estimates)).sum();
        let operations = queue.load.len() as f64;
        if queue.load.len() < queue.engines as usize {
            ahead = ahead.min(operations * service(inputs.operation, inputs.bytes, &estimates));
        }
        // Everything began at 0, and has been under way since.
        let given: f64 = queue.load.iter().map(|(kind, bytes)| service(*kind, *bytes, &estimates)).sum();
        let left = given * BYTE + operations * DISPATCH - inputs.now as f64 * 1000.0;
        let wait = (ahead * BYTE + operations * DISPATCH).min(left.max(0.0));
        let distance = queue.distances.get(inputs.node as usize).map_or(0.0, |ns| f64::from(*ns) * 1000.0);
        let submission = f64::from(options.submit_cost) * 1000.0 * worth;
        (number as u32, get(Quantity::Latency) + wait + distance + submission)
    });
    (cpu, device.collect())
}

fn operations() -> impl Strategy<Value = Operation> {
    proptest::sample::select(Operation::ALL.to_vec())
}

fn sizes() -> impl Strategy<Value = u64> {
    (0u32..26, 0u64..1 << 20).prop_map(|(shift, more)| (64u64 << shift) + ((more << shift) >> 14))
}

fn queues() -> impl Strategy<Value = Vec<Plain>> {
    let load = proptest::collection::vec((operations(), 64u64..1 << 22), 0..12);
    let distances = proptest::collection::vec(0u32..3000, 0..3);
    let queue = (1u32..8, distances, proptest::option::of(operations()), any::<bool>(), load)
        .prop_map(|(engines, distances, without, open, load)| Plain { engines, distances, without, open, load });
    proptest::collection::vec(queue, 0..6)
}

fn options() -> impl Strategy<Value = Options> {
    (0u32..1024, 0u32..1000).prop_map(|(cpu_cost_weight, submit_cost)| Options {
        cpu_cost_weight,
        submit_cost,
        ..super::plain()
    })
}

fn inputs() -> impl Strategy<Value = Inputs> {
    let force = proptest::sample::select(vec![Force::No, Force::No, Force::No, Force::Device, Force::Cpu]);
    (operations(), sizes(), 0u32..20, 0u32..4, 0u32..12, 0u64..64, force, 0u64..200_000).prop_map(
        |(operation, bytes, lane, node, company, tried, force, now)| Inputs {
            now,
            lane,
            node,
            company,
            // Mostly none.
            tried: if tried < 40 { 0 } else { tried },
            force,
            ..Inputs::new(operation, bytes)
        },
    )
}

fn build(queues: &[Plain], options: &Options) -> Chooser {
    let setups: Vec<_> = queues
        .iter()
        .map(|queue| {
            let setup = QueueSetup::new().engines(queue.engines).distances(&queue.distances);
            queue.without.map_or(setup.clone(), |operation| setup.without(operation))
        })
        .collect();
    let chooser = Chooser::new(&setups, 4, options, Estimates::modelled());
    for (number, queue) in queues.iter().enumerate() {
        chooser.set_open(number as u32, queue.open);
        for (operation, bytes) in &queue.load {
            chooser.begin(&to_queue(number as u32), *operation, *bytes);
        }
    }
    chooser
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    /// The cost of what was chosen is within 2 % of the least there is, and within 20 ns: integers round.
    #[test]
    fn the_choice_is_the_cheapest_by_a_plain_calculation(
        queues in queues(), options in options(), inputs in inputs()
    ) {
        let (cpu, device) = costs(&inputs, &queues, &options);
        let least = device.iter().map(|(_, cost)| *cost).fold(f64::INFINITY, f64::min);
        let near = |cost: f64, best: f64| cost <= best * 1.02 + 20_000.0;
        match build(&queues, &options).choose(&inputs).choice {
            Choice::Device(queue) => {
                let cost = device.iter().find(|(number, _)| *number == queue).map(|(_, cost)| *cost);
                // A queue that is closed, does not do it, or has been tried is not in the list.
                prop_assert!(cost.is_some(), "queue {} must not be used", queue);
                let best = if inputs.force == Force::Device { least } else { least.min(cpu) };
                prop_assert!(inputs.force != Force::Cpu && near(cost.unwrap(), best), "{:?} {:?} {}", cost, device, cpu);
            }
            Choice::Cpu(Why::Forced) => prop_assert_eq!(inputs.force, Force::Cpu),
            Choice::Cpu(Why::NoQueue) => prop_assert!(device.is_empty()),
            Choice::Cpu(why @ (Why::Cheaper | Why::Busy)) => {
                prop_assert_eq!(inputs.force, Force::No);
                prop_assert!(!device.is_empty() && near(cpu, least), "{:?} {:?} {}", why, device, cpu);
            }
            Choice::Cpu(why) => prop_assert!(false, "{:?} without a minimum and without exploring", why),
        }
    }
}
