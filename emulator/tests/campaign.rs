//! Campaigns: each kind of step has its effect, in order, and the same way each time.

mod common;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use common::*;
use dsa_emulator::campaign::{Action, Campaign, CampaignError, CampaignReport, Command, Filter, Script, Trigger, What};
use dsa_emulator::{
    Access, Client, Config, Counters, Device, DeviceState, Effect, Enqcmd, FaultRule, MemberOrder, WqConfig,
};
use idxd_sys::{Descriptor, flag, opcode, status};

fn script(text: &str) -> Script {
    text.parse().unwrap()
}

fn start(rig: &Rig, text: &str) -> Campaign {
    Campaign::start(&rig.device, script(text)).unwrap()
}

fn enqcmd(client: &Client, d: &Descriptor) -> Enqcmd {
    // SAFETY: checked memory, where any 64 bytes are fine.
    unsafe { client.enqcmd(d) }
}

fn copy() -> Descriptor {
    memmove(SRC, DST, 100)
}

/// Clears the record, submits, runs with the campaign, and returns the status.
fn run(rig: &Rig, campaign: &Campaign, d: &Descriptor) -> u8 {
    rig.clear(d.completion_addr);
    rig.submit(d);
    campaign.run_one();
    rig.record(d.completion_addr).status
}

#[test]
fn each_effect_happens_and_is_counted() {
    let blocking = with_flags(copy(), CR | flag::BLOCK_ON_FAULT);
    for (text, d, expected) in [
        ("page-fault", copy(), status::PAGE_FAULT),
        ("page-fault write", copy(), status::PAGE_FAULT | status::FAULT_WRITE),
        ("page-fault", blocking, status::PAGE_RESPONSE),
        ("page-fault-resolvable", blocking, status::SUCCESS),
        ("record-fault", copy(), status::NONE),
        ("no-record", copy(), status::NONE),
        ("error 0x21", copy(), status::HW_WRITE),
        ("lose", copy(), status::NONE),
        ("delay 1us", copy(), status::SUCCESS),
    ] {
        let rig = rig();
        let campaign = start(&rig, &format!("{text} limit 1"));
        let got = run(&rig, &campaign, &d);
        // A page of a random operand: read or write.
        assert_eq!(got & !status::FAULT_WRITE, expected & !status::FAULT_WRITE, "{text}");
        if text.ends_with("write") {
            assert_eq!(got, expected);
        }
        assert_eq!(run(&rig, &campaign, &d), status::SUCCESS, "{text}: only once");
        let report = campaign.finish();
        assert!(report.finished);
        assert_eq!((report.count(text.split(' ').next().unwrap()), report.total()), (1, 1), "{text}");
        let what: Vec<_> = report.trace.iter().map(|e| (e.tick, e.what)).collect();
        assert_eq!(what, [(0, What::Taken), (1, What::Hit { opcode: opcode::MEMMOVE }), (2, What::Ended)], "{text}");
        let counters = rig.device.counters();
        assert_eq!(counters.lost, u64::from(text == "lose"));
        assert_eq!(counters.page_faults, u64::from(text.starts_with("page-fault")));
        assert_eq!(rig.device.software_error().is_some(), text == "record-fault");
    }
}

#[test]
fn retries_pass_ticks_and_end_by_them() {
    let rig = rig();
    let campaign = start(&rig, "retry for 5\nafter 20: retry every 2 limit 3");
    let answers: Vec<_> = (0..12).map(|_| enqcmd(&rig.client, &nop()) == Enqcmd::Accepted).collect();
    assert_eq!(answers, [[false; 5].as_slice(), &[true; 7]].concat(), "the fifth refusal ends the rule");
    assert_eq!(rig.device.run_until_idle(), 7);
    for _ in 0..20 {
        campaign.run_one();
    }
    let answers: Vec<_> = (0..8).map(|_| enqcmd(&rig.client, &nop()) == Enqcmd::Accepted).collect();
    assert_eq!(answers, [true, false, true, false, true, false, true, true]);
    let report = campaign.report();
    assert_eq!((report.hits, report.finished), (vec![5, 3], true));
}

#[test]
fn commands_change_the_device() {
    let rig = rig();
    let rounds = |campaign: &Campaign| assert!(campaign.run_until_idle() > 0);
    let state = |text: &str, state: DeviceState, open: bool| {
        let campaign = start(&rig, text);
        rounds(&campaign);
        let report = campaign.finish();
        assert!(report.finished, "{text}: {report}");
        assert_eq!((rig.device.state(), rig.client.is_enabled()), (state, open), "{text}");
        report
    };
    state("halt", DeviceState::Halted, false);
    let refused = state("disable", DeviceState::Halted, false);
    assert!(matches!(refused.trace.last().unwrap().what, What::Done(Err(_))), "{refused:?}");
    assert_eq!((refused.count("disable"), refused.taken), (0, 1));
    state("reset", DeviceState::Disabled, false);
    state("enable", DeviceState::Enabled, false);
    state("enable-wq 0", DeviceState::Enabled, true);
    state("disable-wq 0", DeviceState::Enabled, false);
    state("disable", DeviceState::Disabled, false);
    state("recover", DeviceState::Enabled, true);
    state("halt\nrecover", DeviceState::Enabled, true);
    state("enable-wq 7", DeviceState::Enabled, true);
}

#[test]
fn aborts_discard_and_drains_execute_what_is_queued() {
    for (text, executed) in [
        ("abort-wq 0", 0),
        ("abort-all", 0),
        ("abort-pasid 9", 0),
        ("abort-pasid 10", 4),
        ("drain-wq 0", 4),
        ("drain-all", 4),
        ("drain-pasid 9", 4),
        ("disable-wq 0", 4),
        ("disable", 4),
        ("reset", 0),
        ("halt", 0),
    ] {
        let Rig { device, client, .. } = rig();
        drop(client);
        let client = device.open_with_pasid(0, 9).unwrap();
        for _ in 0..4 {
            assert_eq!(enqcmd(&client, &nop()), Enqcmd::Accepted);
        }
        let campaign = Campaign::start(&device, script(text)).unwrap();
        campaign.run_until_idle();
        let counters = device.counters();
        assert_eq!((counters.executed(opcode::NOP), counters.discarded), (executed, 4 - executed), "{text}");
        assert_eq!(campaign.finish().count(text.split(' ').next().unwrap()), 1);
    }
}

#[test]
fn triggers_wait_for_what_they_say_and_steps_keep_their_order() {
    let rig = rig();
    let text = "
        at 3: error 0x20 limit 1
        after 2: error 0x21 limit 1
        when opcode fill: error 0x22 limit 1
        when address 0x300000..0x300001 write: lose limit 1
        chance 1: no-record limit 1 opcode nop
        chance 0: halt
    ";
    let campaign = start(&rig, text);
    // Ticks 1 to 3.
    assert_eq!([(); 3].map(|()| run(&rig, &campaign, &copy())), [status::SUCCESS, status::SUCCESS, status::HW_READ]);
    assert_eq!([(); 2].map(|()| run(&rig, &campaign, &copy())), [status::SUCCESS, status::HW_WRITE]);
    // A copy to the address of the fourth step, which has to wait for the third.
    assert_eq!(run(&rig, &campaign, &memmove(SRC, DST, 8)), status::SUCCESS);
    assert_eq!(run(&rig, &campaign, &fill(DST2, 0, 8)), status::TRANSLATION, "the one that was waited for");
    assert_eq!(run(&rig, &campaign, &memmove(DST, SRC, 8)), status::SUCCESS, "it reads there");
    assert_eq!(run(&rig, &campaign, &memmove(SRC, DST + 1, 8)), status::SUCCESS, "it writes beside it");
    assert_eq!(run(&rig, &campaign, &memmove(SRC, DST, 8)), status::NONE);
    assert_eq!(run(&rig, &campaign, &nop()), status::NONE);
    assert_eq!(run(&rig, &campaign, &nop()), status::SUCCESS);
    let report = campaign.report();
    assert_eq!((report.taken, report.finished), (5, false), "{report}");
    assert_eq!(rig.device.state(), DeviceState::Enabled, "a chance of 0");
    let order: Vec<_> = report.trace.iter().filter(|e| e.what == What::Taken).map(|e| (e.tick, e.step)).collect();
    assert_eq!(order, [(3, 0), (5, 1), (7, 2), (10, 3), (10, 4)]);
}

#[test]
fn a_step_after_a_command_waits_until_it_is_done() {
    let rig = rig();
    let campaign = start(&rig, "disable-wq 0\nafter 3: enable-wq 0");
    assert!(rig.client.is_enabled(), "nobody has given the command yet");
    for _ in 0..10 {
        assert_eq!(enqcmd(&rig.client, &nop()), Enqcmd::Accepted);
    }
    assert!(campaign.run_one(), "it executes the ten and disables the queue");
    assert_eq!(rig.device.counters().executed(opcode::NOP), 10);
    assert!(!rig.client.is_enabled());
    // Refusals pass the time.
    let refused = (0..3).map(|_| enqcmd(&rig.client, &nop())).filter(|a| *a == Enqcmd::Retry).count();
    campaign.run_one();
    assert!(rig.client.is_enabled());
    assert_eq!((refused, campaign.report().finished), (3, true));
}

#[test]
fn a_device_that_nobody_asks_recovers_by_and_by() {
    let rig = rig();
    let campaign = start(&rig, "halt\nafter 10: recover");
    campaign.run_one();
    assert_eq!(rig.device.state(), DeviceState::Halted);
    let calls = (0..100).take_while(|_| {
        campaign.run_one();
        rig.device.state() == DeviceState::Halted
    });
    assert_eq!(calls.count(), 9);
    // The same with threads, where time passes by itself.
    let device = Device::new(Config::sapphire_rapids()).unwrap();
    let client = device.open(0).unwrap();
    let campaign = Campaign::start(&device, script("halt\nafter 10: recover")).unwrap();
    wait(|| campaign.is_finished());
    assert!(client.is_enabled());
    assert!(!campaign.run_one(), "only without threads");
    assert_eq!(campaign.finish().taken, 2);
}

#[test]
fn clear_and_the_end_take_the_rules_away() {
    let rig = rig();
    let campaign = start(&rig, "lose opcode memmove\nerror 0x20 opcode fill\nafter 4: clear\nrecord-fault opcode nop");
    assert_eq!(run(&rig, &campaign, &copy()), status::NONE);
    assert_eq!(run(&rig, &campaign, &fill(DST, 1, 8)), status::HW_READ);
    assert_eq!(run(&rig, &campaign, &compare(SRC, SRC, 8)), status::SUCCESS);
    assert_eq!(run(&rig, &campaign, &copy()), status::NONE, "the clear is given after this one");
    assert_eq!(run(&rig, &campaign, &copy()), status::SUCCESS);
    assert_eq!(run(&rig, &campaign, &fill(DST, 1, 8)), status::SUCCESS);
    assert_eq!(run(&rig, &campaign, &nop()), status::NONE);
    let other = rig.device.inject(FaultRule::new(Effect::HardwareError(status::HW_READ)).opcode(opcode::FILL));
    drop(campaign);
    assert_eq!(rig.status(&nop()), status::SUCCESS);
    assert_eq!(rig.status(&fill(DST, 1, 8)), status::HW_READ, "rules of others stay");
    assert_eq!(rig.device.remove(other), Some(1));
}

#[test]
fn rounds_repeat_the_script_without_the_rules_of_the_round_before() {
    let rig = rig();
    let campaign = start(&rig, "rounds 3\nerror 0x20 nth 1\nafter 1: lose nth 2\nabort-wq 0");
    let statuses: Vec<_> = (0..12).map(|_| run(&rig, &campaign, &copy())).collect();
    let report = campaign.finish();
    assert!(report.finished, "{report}");
    assert_eq!(report.taken, 9);
    assert_eq!(report.count("abort-wq"), 3);
    assert_eq!(report.count("error"), 3);
    assert!(statuses.contains(&status::HW_READ), "{statuses:x?}");
    let campaign = start(&rig, "rounds 2\ndelay 1ns opcode fill\nafter 4: delay 1ns opcode compare");
    for _ in 0..6 {
        assert_eq!(run(&rig, &campaign, &nop()), status::SUCCESS);
    }
    assert_eq!(run(&rig, &campaign, &fill(DST, 1, 8)), status::SUCCESS);
    assert_eq!(campaign.finish().hits, [1, 0], "the rule of the second round only");
    // Without a trigger a script does not go round within one tick, however many rounds there are.
    let for_ever = format!("rounds {}\nlose limit 0\nclear", u64::MAX);
    let campaign = start(&rig, &for_ever);
    for _ in 0..50 {
        assert_eq!(run(&rig, &campaign, &copy()), status::SUCCESS);
    }
    let report = campaign.finish();
    assert!((50..200).contains(&report.taken) && !report.finished, "{report}");
}

#[test]
fn a_device_has_one_campaign_at_a_time() {
    let rig = rig();
    let first = Campaign::start(&rig.device, Script::new(0)).unwrap();
    assert!(first.is_finished(), "nothing to do");
    assert_eq!(Campaign::start(&rig.device, Script::new(1)).err(), Some(CampaignError::Busy));
    drop(first);
    drop(Campaign::start(&rig.device, Script::new(2)).unwrap());
}

/// A seeded load on a device without threads, through everything that a campaign does.
fn soak(script: Script, seed: u64) -> (CampaignReport, Counters, Vec<u8>) {
    let config = Config::granite_rapids().queue(WqConfig::shared(16).block_on_fault(true));
    let rig = rig_of(config.member_order(MemberOrder::Shuffled).backward_moves(0.3).seed(seed));
    let campaign = Campaign::start(&rig.device, script).unwrap();
    let mut state = seed;
    let mut below = |bound: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % bound
    };
    let mut statuses = Vec::new();
    for _ in 0..3000 {
        let len = 1 + below(9000) as u32;
        let block = below(2) * u64::from(flag::BLOCK_ON_FAULT);
        let d = match below(6) {
            0 => fill(DST + below(100), 7, len),
            1 => compare(SRC, DST, len),
            2 => crc(SRC, len, 0, 0),
            3 => rig.list(&[with_record(memmove(SRC, DST2, len), 9), with_record(nop(), 10)]),
            _ => memmove(SRC + below(64), DST, len),
        };
        let d = if d.opcode() == opcode::BATCH { d } else { with_flags(d, CR | block as u32) };
        rig.clear(RECORDS);
        if enqcmd(&rig.client, &d) == Enqcmd::Retry {
            statuses.push(0xff);
        }
        for _ in 0..below(3) {
            campaign.run_one();
        }
        statuses.push(rig.record(RECORDS).status);
    }
    campaign.run_until_idle();
    (campaign.finish(), rig.device.counters(), statuses)
}

#[test]
fn the_same_seed_script_and_submissions_give_the_same_trace() {
    for seed in 0..6 {
        let script = Script::random(seed, 0.9);
        let (first, second) = (soak(script.clone(), seed), soak(script.clone(), seed));
        assert_eq!(first, second, "seed {seed}");
        assert!(first.0.trace.len() > 20, "seed {seed}: {}", first.0);
        let text: Script = script.to_string().parse().unwrap();
        assert_eq!(soak(text, seed), first, "seed {seed}: by way of its text");
        let mut other = script;
        other.seed += 100;
        let other = soak(other, seed);
        assert_ne!(other.0.trace, first.0.trace, "seed {seed}: the seed of the script counts");
    }
}

#[test]
fn what_a_device_did_before_does_not_change_a_campaign() {
    let rig = rig();
    let trace = || {
        let campaign = start(&rig, "seed 4\nlose probability 0.4 for 60\nchance 0.05: record-fault probability 0.5");
        for _ in 0..80 {
            let _ = run(&rig, &campaign, &copy());
        }
        campaign.finish().trace
    };
    let first = trace();
    assert!(first.len() > 20);
    assert_eq!(trace(), first);
}

#[test]
fn random_scripts_leave_the_device_in_order() {
    let mut words = std::collections::BTreeMap::new();
    for seed in 0..30 {
        let rig = rig();
        let campaign = Campaign::random(&rig.device, seed, 1.0).unwrap();
        let mut ticks = 0;
        while !campaign.is_finished() {
            ticks += 1;
            assert!(ticks < 100_000, "seed {seed}: {}", campaign.report());
            let _ = enqcmd(&rig.client, &copy());
            campaign.run_one();
        }
        for step in &campaign.report().script.steps {
            *words.entry(step.action.word()).or_insert(0u64) += campaign.report().count(step.action.word());
        }
        assert_eq!((rig.device.state(), rig.client.is_enabled()), (DeviceState::Enabled, true), "seed {seed}");
        campaign.run_until_idle();
        for d in [copy(), fill(DST, 1, 8), nop()] {
            assert_eq!(run(&rig, &campaign, &d), status::SUCCESS, "seed {seed}");
        }
    }
    for word in [
        "page-fault",
        "page-fault-resolvable",
        "record-fault",
        "no-record",
        "error",
        "lose",
        "retry",
        "delay",
        "halt",
        "reset",
        "disable",
        "disable-wq",
        "enable-wq",
        "abort-wq",
        "abort-all",
        "drain-wq",
        "drain-all",
        "recover",
        "clear",
    ] {
        assert!(words.get(word).is_some_and(|hits| *hits > 0), "{word} never happened: {words:?}");
    }
    assert_eq!(Script::random(1, f64::NAN), Script::random(1, 0.0));
    assert_eq!(Script::random(1, 7.0), Script::random(1, 1.0));
    assert_ne!(Script::random(1, 0.5), Script::random(2, 0.5));
}

#[test]
fn services_end_with_right_data_whatever_a_campaign_does() {
    let device = {
        let config = Config::granite_rapids().queue(WqConfig::shared(16)).engines(2).queue(WqConfig::shared(8));
        let memory = memory();
        memory.write(SRC, &noise(PAGE as usize, 3)).unwrap();
        (Device::with_memory(config, memory.clone()).unwrap(), memory)
    };
    let (device, memory) = &device;
    let campaign = Campaign::random(device, 11, 0.9).unwrap();
    let (stop, done) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for thread in 0..3u64 {
            let (stop, done) = (&stop, &done);
            scope.spawn(move || {
                let client = device.open(thread as usize % 2);
                let Ok(client) = client else { return };
                let d = with_record(memmove(SRC, DST + thread * PAGE, PAGE as u32), thread);
                while !stop.load(Ordering::Relaxed) {
                    memory.write(d.completion_addr, &[0; 32]).unwrap();
                    if enqcmd(&client, &d) == Enqcmd::Accepted {
                        // Lost descriptors leave nothing to wait for but that.
                        client.quiesce();
                        if memory.status(d.completion_addr).unwrap() == status::SUCCESS {
                            let mut bytes = vec![0; PAGE as usize];
                            memory.read(d.dst_addr, &mut bytes).unwrap();
                            assert_eq!(bytes, noise(PAGE as usize, 3));
                            memory.write(d.dst_addr, &vec![0; PAGE as usize]).unwrap();
                            done.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                }
            });
        }
        wait(|| campaign.is_finished() && done.load(Ordering::Relaxed) > 100);
        stop.store(true, Ordering::Relaxed);
    });
    let report = campaign.finish();
    assert!(report.total() > 10, "{report}");
    assert_eq!(device.state(), DeviceState::Enabled);
}

#[test]
fn device_client_and_campaign_go_in_any_order() {
    for order in 0..6 {
        for round in 0..10 {
            let memory = memory();
            let config = Config::granite_rapids().queue(WqConfig::shared(32)).engines(2);
            let device = Device::with_memory(config, memory).unwrap();
            let client = device.open(0).unwrap();
            let busy = "rounds 1000000\ndelay 50us for 20\nafter 2: disable-wq 0\nenable-wq 0\ndrain-all\nafter 1: halt\nrecover";
            let campaign = Campaign::start(&device, script(busy)).unwrap();
            for _ in 0..round * 5 {
                let _ = enqcmd(&client, &copy());
            }
            // Whatever the campaign is at, none of these waits for ever.
            let (mut device, mut client, mut campaign) = (Some(device), Some(client), Some(campaign));
            for part in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]][order] {
                match part {
                    0 => drop(device.take()),
                    1 => drop(client.take()),
                    _ => drop(campaign.take()),
                }
            }
        }
    }
    // And without threads, where a campaign whose device is gone has nothing to do.
    let Rig { device, client, .. } = rig();
    let campaign = Campaign::start(&device, script("halt")).unwrap();
    drop(client);
    drop(device);
    assert!(!campaign.run_one());
    assert!(!campaign.finish().finished);
}

#[test]
fn scripts_are_made_in_code_too() {
    let made = Script::new(3)
        .rounds(2)
        .step(Trigger::Now, FaultRule::new(Effect::Lose).opcode(opcode::FILL).limit(1))
        .step(Trigger::After(4), Action::lasting(FaultRule::new(Effect::Retry).every(2), 9))
        .step(Trigger::When(Filter::new().opcode(opcode::CRCGEN).at(16..32).access(Access::Read)), Command::AbortWq(1))
        .step(Trigger::At(100), Command::Recover);
    let text = "seed 3\nrounds 2\nlose opcode fill limit 1\nafter 4: retry every 2 for 9\n\
        when opcode crc address 0x10..0x20 read: abort-wq 1\nat 100: recover\n";
    assert_eq!(made.to_string(), text);
    assert_eq!(script(text), made);
}
