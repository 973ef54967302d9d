//! The device in virtual time: who gets in, in which order things happen, and what they share.

use dsa_emulator::timing::{
    Answer, ClosedLoop, Completion, Experiment, OpenLoop, Operation, Request, Route, Simulator, Timing, TimingError,
    Work,
};
use dsa_emulator::{Config, ConfigError, WqConfig};
use idxd_sys::{opcode, status};

fn copy(bytes: u32) -> Operation {
    Operation::new(opcode::MEMMOVE, bytes)
}

fn device(config: Config) -> Simulator {
    Simulator::new(config, Timing::sapphire_rapids()).unwrap()
}

/// One shared queue.
fn shared(entries: u16, engines: usize) -> Simulator {
    device(Config::sapphire_rapids().queue(WqConfig::shared(entries)).engines(engines))
}

fn all(device: &mut Simulator) -> Vec<Completion> {
    std::iter::from_fn(|| device.next_completion()).collect()
}

/// A small generator for submissions, so that the tests do not depend on the crate's own.
struct Draw(u64);

impl Draw {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

#[test]
fn a_synchronous_copy_takes_its_way_to_the_device_its_time_there_and_the_poll() {
    let timing = Timing::sapphire_rapids();
    let mut device = shared(8, 1);
    let submitted = device.submit(1000, 0, copy(4096), 7);
    assert_eq!((submitted.answer, submitted.free_at), (Answer::Accepted, 1000 + timing.enqcmd_ns()));
    let completion = device.next_completion().unwrap();
    assert_eq!((completion.tag, completion.queue, completion.submitted), (7, 0, 1000));
    assert_eq!((completion.status, completion.bytes, completion.operations), (status::SUCCESS, 4096, 1));
    let alone = 1000 + timing.client.portal_ns + timing.alone_ns(&copy(4096));
    assert!(completion.at.abs_diff(alone) <= 2, "{} {alone}", completion.at);
    assert_eq!(device.next_completion(), None);
}

#[test]
fn a_shared_queue_is_full_at_its_threshold_and_a_dedicated_one_loses() {
    let queues = |q: WqConfig| device(Config::sapphire_rapids().queue(q).engines(1));
    let mut limited = queues(WqConfig::shared(8).threshold(5));
    // The first is taken at once.
    let answers: Vec<_> = (0..8).map(|tag| limited.submit(0, 0, copy(1 << 20), tag).answer).collect();
    assert_eq!(answers.iter().filter(|a| **a == Answer::Accepted).count(), 6);
    assert_eq!(answers[6..], [Answer::Retry, Answer::Retry]);
    assert_eq!((limited.occupancy(0), limited.tally().retries), (5, 2));
    let mut dedicated = queues(WqConfig::dedicated(4));
    let submitted: Vec<_> = (0..6).map(|tag| dedicated.submit(0, 0, copy(1 << 20), tag)).collect();
    assert_eq!(submitted[5].answer, Answer::Lost);
    assert!(submitted.iter().all(|s| s.free_at == Timing::sapphire_rapids().client.posted_ns), "nobody waits");
    assert_eq!((all(&mut dedicated).len(), dedicated.tally().lost), (5, 1));
}

#[test]
fn write_submits_until_the_queue_refuses() {
    let mut device = shared(4, 1);
    let list = vec![copy(2 << 20); 10];
    let written = device.write(0, 0, &list, 100);
    assert_eq!(written.accepted, 5, "one executes, four wait; the others were refused 33 times");
    let timing = Timing::sapphire_rapids();
    assert_eq!(device.tally().retries, u64::from(timing.system.write_retries) + 1);
    assert!(written.free_at > timing.system.call_ns + (5 + 32) * timing.enqcmd_ns());
    assert_eq!(device.write(written.free_at, 0, &list, 200).accepted, 0, "EAGAIN");
    let tags: Vec<_> = all(&mut device).iter().map(|c| c.tag).collect();
    assert_eq!(tags, [100, 101, 102, 103, 104]);
}

#[test]
fn priorities_share_an_engine_and_starve_nobody() {
    let queue = |priority| WqConfig::shared(32).priority(priority);
    let mut device = device(Config::sapphire_rapids().queue(queue(12)).queue(queue(3)).engines(1));
    for tag in 0..32 {
        for queue in 0..2 {
            let _ = device.submit(0, queue, copy(64 << 10), tag);
        }
    }
    let first: Vec<_> = (0..30).filter_map(|_| device.next_completion()).map(|c| c.queue).collect();
    let low = first.iter().filter(|q| **q == 1).count();
    assert!((5..=8).contains(&low), "{first:?}");
}

#[test]
fn members_of_a_batch_overlap_and_fences_wait() {
    let time = |list: Vec<Operation>| {
        let mut device = shared(8, 1);
        let _ = device.submit(0, 0, list, 0);
        let completion = device.next_completion().unwrap();
        assert_eq!((completion.status, completion.operations), (status::SUCCESS, 16));
        completion.at
    };
    let one = Timing::sapphire_rapids().alone_ns(&copy(256));
    let free = time(vec![copy(256); 16]);
    let fenced = time(vec![copy(256).fence(); 16]);
    assert!(free < 4 * one, "{free}");
    assert!(fenced > 15 * one && fenced < 18 * one, "{fenced}");
    let halves: Vec<_> = (0..16).map(|i| if i == 8 { copy(256).fence() } else { copy(256) }).collect();
    let half = time(halves);
    assert!(half > free && half < free + 2 * one, "{half}");
}

#[test]
fn a_failed_member_makes_a_fence_abandon_the_rest() {
    let mut device = shared(8, 1);
    let bad = copy(8192).absent(4096, 1);
    let list = vec![copy(100), bad, copy(100), copy(100).fence(), copy(100)];
    let _ = device.submit(0, 0, list, 1);
    let without_fence = vec![copy(100), bad, copy(100)];
    let _ = device.submit(0, 0, without_fence, 2);
    let ends = all(&mut device);
    let of = |tag| ends.iter().find(|c| c.tag == tag).unwrap();
    assert_eq!((of(1).status, of(1).operations, of(1).bytes), (status::BATCH_FAIL, 3, 4296));
    assert_eq!((of(2).status, of(2).operations), (status::BATCH_FAIL, 3));
    let _ = device.submit(0, 0, Work::Same { of: copy(1), count: 0 }, 3);
    assert_eq!(all(&mut device)[0].operations, 0, "a batch of nothing completes");
}

#[test]
fn a_drain_waits_for_what_its_queue_had_before() {
    let config = Config::sapphire_rapids().queue(WqConfig::shared(16)).queue(WqConfig::shared(16)).engines(4);
    let mut device = device(config);
    let long = copy(1 << 20);
    let _ = device.submit(0, 1, long, 1);
    for tag in 10..13 {
        let _ = device.submit(10, 0, copy(64 << 10), tag);
    }
    let _ = device.submit(20, 0, Operation::new(opcode::DRAIN, 0), 20);
    let _ = device.submit(30, 0, copy(4 << 20), 30);
    let order: Vec<_> = all(&mut device).iter().map(|c| c.tag).collect();
    let place = |tag| order.iter().position(|t| *t == tag).unwrap();
    assert!((10..13).all(|tag| place(tag) < place(20)), "{order:?}");
    assert!(place(20) < place(30), "what comes after a drain does not hold it up: {order:?}");
    assert!(place(20) < place(1), "nor does another queue: {order:?}");
}

#[test]
fn engines_share_the_paths_to_memory() {
    let rate = |engines, operation: Operation| {
        ClosedLoop::new(operation).depth(64).operations(2_000).run(&mut shared(128, engines)).bytes_per_ns()
    };
    let cap = Timing::sapphire_rapids().device.read_bytes_per_ns;
    let (one, four) = (rate(1, copy(256 << 10)), rate(4, copy(256 << 10)));
    assert!(one > 0.97 * cap && one < 1.03 * cap && four < 1.03 * cap, "{one} {four}");
    // Reads and writes have a path each; two sources share one.
    let compare = rate(4, Operation::new(opcode::COMPARE, 256 << 10));
    assert!((compare / four - 0.5).abs() < 0.02, "{compare}");
    let dualcast = rate(4, Operation::new(opcode::DUALCAST, 256 << 10));
    assert!((dualcast / four - 0.5).abs() < 0.02, "{dualcast}");
}

#[test]
fn a_group_with_fewer_read_buffers_gets_that_share() {
    let config = || {
        let queue = |group| WqConfig::shared(32).group(group);
        Config::sapphire_rapids().queue(queue(0)).queue(queue(1)).engines_in(0, 2).engines_in(1, 2)
    };
    let mut limited = device(config()).read_buffers(1, 24);
    let load = ClosedLoop::new(copy(256 << 10)).depth(16).operations(400);
    let small = load.clone().queue(1).run(&mut limited).bytes_per_ns();
    let whole = load.queue(0).run(&mut limited).bytes_per_ns();
    assert!((small / whole - 0.25).abs() < 0.02, "{small} {whole}");
}

#[test]
fn short_operations_overtake_a_long_one() {
    let mut device = shared(64, 2);
    let _ = device.submit(0, 0, copy(1 << 20), 0);
    for tag in 1..20 {
        let _ = device.submit(10, 0, copy(1024), tag);
    }
    let order: Vec<_> = all(&mut device).iter().map(|c| c.tag).collect();
    assert_eq!(order.last(), Some(&0), "{order:?}");
    let calibration = Experiment::Overtaking { opcode: opcode::MEMMOVE, first: 4 << 20, others: 1024, scan_ns: 164 };
    let overtook = calibration.run(&Timing::sapphire_rapids()).count;
    assert!((overtook / 406.0 - 1.0).abs() < 0.05, "{overtook}: where the thread's time in that experiment is from");
}

#[test]
fn a_blocked_engine_waits_for_the_system_and_others_do_not() {
    let timing = Timing::sapphire_rapids();
    let mut blocked = shared(8, 2);
    let _ = blocked.submit(0, 0, copy(64 << 10).absent(0, 16).block_on_fault(), 1);
    let _ = blocked.submit(0, 0, copy(1024), 2);
    let ends = all(&mut blocked);
    assert_eq!((ends[0].tag, ends[1].tag), (2, 1));
    assert!(ends[1].at > 16 * timing.system.page_request_ns && ends[1].status == status::SUCCESS);
    // The system serves one request after another, whoever made them.
    let mut both = shared(8, 2);
    for tag in 0..2 {
        let _ = both.submit(0, 0, copy(64 << 10).absent(0, 16).block_on_fault(), tag);
    }
    assert!(all(&mut both)[1].at > 32 * timing.system.page_request_ns);
    let mut partial = shared(8, 1);
    let _ = partial.submit(0, 0, copy(64 << 10).absent(12_288, 1), 3);
    let end = partial.next_completion().unwrap();
    assert_eq!((end.status, end.bytes), (status::PAGE_FAULT, 12_288));
}

#[test]
fn everything_accepted_completes_once_and_time_never_goes_back() {
    for seed in 0..20 {
        let mut draw = Draw(seed);
        let queues = [WqConfig::shared(40).threshold(30), WqConfig::dedicated(20), WqConfig::shared(9).group(1)];
        let config = queues.into_iter().fold(Config::sapphire_rapids(), Config::queue);
        let mut device = device(config.engines_in(0, 2).engines_in(1, 1)).sampled(seed);
        let (mut now, mut accepted, mut ended) = (0, Vec::new(), Vec::new());
        for tag in 0..600 {
            let codes = [opcode::NOP, opcode::MEMMOVE, opcode::FILL, opcode::COMPARE, opcode::DRAIN, opcode::CRCGEN];
            let mut member = || {
                let code = codes[draw.below(6) as usize];
                let mut operation = Operation::new(code, 1 << draw.below(17)).destination(draw.below(128));
                operation.fence = draw.below(8) == 0;
                operation.block_on_fault = draw.below(2) == 0;
                if draw.below(12) == 0 { operation.absent(draw.below(3000) as u32, 2) } else { operation }
            };
            let work = if tag % 3 == 0 {
                Work::from((0..tag % 40).map(|_| member()).collect::<Vec<_>>())
            } else {
                member().into()
            };
            now += draw.below(3000);
            let submitted = device.submit(now, draw.below(3) as usize, work, tag);
            assert!(submitted.free_at >= now);
            if submitted.answer == Answer::Accepted {
                accepted.push(tag);
            }
            while let Some(completion) = device.completion_before(now) {
                ended.push(completion);
            }
        }
        ended.extend(all(&mut device));
        assert!(ended.is_sorted_by_key(|c| c.at), "seed {seed}");
        assert!(ended.iter().all(|c| c.at >= c.submitted), "seed {seed}");
        let mut tags: Vec<_> = ended.iter().map(|c| c.tag).collect();
        tags.sort_unstable();
        assert_eq!(tags, accepted, "seed {seed}");
        assert_eq!(device.outstanding(), 0);
        let tally = device.tally();
        assert_eq!(tally.accepted, accepted.len() as u64);
        assert_eq!(tally.operations, ended.iter().map(|c| u64::from(c.operations)).sum::<u64>());
        assert!(tally.read_busy <= device.now() + 1 && tally.write_busy <= device.now() + 1, "seed {seed}");
    }
}

#[test]
fn a_run_is_a_function_of_its_submissions_and_its_seed() {
    let run = |seed: Option<u64>| {
        let mut device = shared(64, 3);
        if let Some(seed) = seed {
            device = device.sampled(seed);
        }
        let report = ClosedLoop::new(copy(2000)).depth(16).clients(3).operations(5_000).run(&mut device);
        (report, device.tally(), device.now())
    };
    assert_eq!(run(None), run(None));
    assert_eq!(run(Some(5)), run(Some(5)));
    assert_ne!(run(Some(5)).0.latencies, run(Some(6)).0.latencies);
    // Drawn latencies have a tail, and the same mean.
    let alone = |device: Simulator| ClosedLoop::new(copy(4096)).operations(20_000).run(&mut { device }).latencies;
    let (mean, drawn) = (alone(shared(8, 1)), alone(shared(8, 1).sampled(1)));
    assert!((mean.mean() / drawn.mean() - 1.0).abs() < 0.01, "{} {}", mean.mean(), drawn.mean());
    assert!(drawn.quantile(0.99) > mean.quantile(0.99) + 100 && mean.quantile(0.99) <= mean.quantile(0.5) + 20);
}

#[test]
fn an_open_loop_asks_the_policy_and_counts_from_the_arrival() {
    let timing = Timing::sapphire_rapids();
    let operation = copy(16 << 10);
    // One request a microsecond: a core that takes 1.7 us falls behind, a device does not.
    let load = OpenLoop::new(operation, 1000.0).poisson(3).requests(5_000);
    let cpu_ns = timing.cpu_copy_ns(16 << 10);
    let by_cpu = load.run(&mut shared(64, 4), &mut |_: &Request, _: &Simulator| Route::Cpu { ns: cpu_ns });
    let by_device = load.run(&mut shared(64, 4), &mut |_: &Request, _: &Simulator| Route::Device { queue: 0 });
    assert_eq!((by_cpu.operations, by_cpu.by_cpu), (5_000, 5_000));
    assert_eq!((by_device.operations, by_device.by_cpu, by_device.latencies.len()), (5_000, 0, 5_000));
    assert!(by_device.latencies.quantile(0.99) < 10_000, "{}", by_device.latencies.quantile(0.99));
    assert!(by_cpu.latencies.quantile(0.5) > 100_000, "{}", by_cpu.latencies.quantile(0.5));
    // A small queue refuses; a policy that gives up after one attempt uses the core.
    let burst = OpenLoop::new(copy(256 << 10), 100.0).mix(vec![copy(256 << 10), copy(64)]).threads(2).requests(300);
    let mut careful = |request: &Request, device: &Simulator| {
        assert!(device.occupancy(0) <= 4);
        if request.attempts == 0 { Route::Device { queue: 0 } } else { Route::Cpu { ns: cpu_ns } }
    };
    let report = burst.run(&mut shared(4, 1), &mut careful);
    assert_eq!(report.operations, 300);
    assert!(report.by_cpu > 0 && report.by_cpu == report.retries, "{report:?}");
    let stubborn = burst.run(&mut shared(4, 1), &mut |_: &Request, _: &Simulator| Route::Device { queue: 0 });
    assert!(stubborn.retries > 0 && stubborn.operations == 300 && stubborn.by_cpu == 0);
    let mut dedicated = device(Config::sapphire_rapids().queue(WqConfig::dedicated(4)).engines(1));
    let lossy = burst.run(&mut dedicated, &mut |_: &Request, _: &Simulator| Route::Device { queue: 0 });
    assert!(lossy.lost > 0 && lossy.operations + lossy.lost == 300, "{lossy:?}");
}

#[test]
fn a_closed_loop_ends_also_where_descriptors_are_lost_or_refused() {
    let mut dedicated = device(Config::sapphire_rapids().queue(WqConfig::dedicated(4)).engines(1));
    let report = ClosedLoop::new(copy(1 << 20)).depth(20).operations(100).run(&mut dedicated);
    assert!(report.lost > 0 && report.operations + report.lost <= 100, "{report:?}");
    let refused = ClosedLoop::new(copy(1 << 20)).depth(20).operations(100).run(&mut shared(4, 1));
    assert!(refused.retries > 0 && refused.lost == 0);
    let batches = ClosedLoop::new(Work::Same { of: copy(1024), count: 32 }).depth(3).operations(3_200);
    assert_eq!(batches.run(&mut shared(8, 1)).operations, 2_880, "without the first tenth");
}

#[test]
fn impossible_devices_are_refused() {
    let mut timing = Timing::sapphire_rapids();
    timing.device.read_bytes_per_ns = -1.0;
    let refused = |config, timing| Simulator::new(config, timing).err();
    assert_eq!(refused(Config::sapphire_rapids(), timing.clone()), Some(TimingError::Rate("read_bytes_per_ns")));
    let size = Config::sapphire_rapids().queue(WqConfig::shared(0));
    assert_eq!(refused(size, Timing::sapphire_rapids()), Some(TimingError::Config(ConfigError::Size)));
    let paced = Config::sapphire_rapids().paced(timing);
    assert_eq!(dsa_emulator::Device::new(paced).err(), Some(ConfigError::Model));
}
