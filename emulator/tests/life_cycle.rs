//! Commands, states, draining, and the ends of clients and devices, with engine threads.

mod common;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::*;
use dsa_emulator::{
    Access, AddressSpace, CheckedMemory, Client, CommandError, Config, Device, DeviceState, Effect, Enqcmd, FaultRule,
    PageFault, Requester, Span, WqConfig,
};
use idxd_sys::{Descriptor, opcode, status};
use zerocopy::IntoBytes;

struct Live {
    device: Device,
    client: Client,
    memory: Arc<CheckedMemory>,
}

fn live(config: Config) -> Live {
    let memory = memory();
    let device = Device::with_memory(config, memory.clone()).unwrap();
    let client = device.open(0).unwrap();
    Live { device, client, memory }
}

impl Live {
    fn submit(&self, d: &Descriptor) {
        // SAFETY: checked memory.
        assert_eq!(unsafe { self.client.enqcmd(d) }, Enqcmd::Accepted);
    }

    fn status(&self, index: u64) -> u8 {
        self.memory.status(RECORDS + 32 * index).unwrap()
    }

    /// Waits until engines have taken everything.
    fn wait_taken(&self) {
        wait(|| self.client.occupancy() == 0);
    }

    /// Makes every descriptor with this opcode take a while.
    fn slow(&self, code: u8, time: Duration) {
        self.device.inject(FaultRule::new(Effect::Delay(time)).opcode(code));
    }
}

#[test]
fn idle_engines_sleep_and_wake() {
    let live = live(Config::sapphire_rapids().engines(2).spin(Duration::ZERO));
    for round in 0..200 {
        live.memory.write(RECORDS, &[0; 32]).unwrap();
        live.submit(&nop());
        wait(|| live.status(0) != 0);
        assert_eq!(live.status(0), status::SUCCESS);
        if round % 20 == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Each group's engines sleep and wake by themselves, whatever those of the others do meanwhile.
#[test]
fn engines_of_every_group_wake_up_from_their_sleep() {
    let grouped = |config: Config, group| config.queue(WqConfig::shared(16).group(group)).engines_in(group, 1);
    let config = (0..4).fold(Config::sapphire_rapids().spin(Duration::ZERO), grouped);
    let memory = memory();
    let device = Device::with_memory(config, memory.clone()).unwrap();
    std::thread::scope(|threads| {
        for wq in 0..4 {
            let (client, memory) = (device.open(wq).unwrap(), memory.clone());
            let record = RECORDS + 32 * wq as u64;
            threads.spawn(move || {
                for _ in 0..500 {
                    memory.write(record, &[0; 32]).unwrap();
                    // SAFETY: checked memory.
                    assert_eq!(unsafe { client.enqcmd(&with_record(nop(), wq as u64)) }, Enqcmd::Accepted);
                    wait(|| memory.status(record).unwrap() != 0);
                }
            });
        }
    });
    assert_eq!(device.counters().executed(opcode::NOP), 2_000);
}

#[test]
fn drain_waits_for_earlier_descriptors_on_other_engines() {
    for round in 0..20 {
        let live = live(Config::sapphire_rapids().engines(4));
        live.slow(opcode::FILL, Duration::from_millis(3));
        for i in 1..=3 {
            live.submit(&with_record(fill(DST + 64 * i, i, 8), i));
        }
        live.submit(&desc(opcode::DRAIN, 0));
        live.submit(&with_record(desc(opcode::DRAIN, 0), 4));
        wait(|| live.status(0) != 0);
        assert!((1..=3).all(|i| live.status(i) == status::SUCCESS), "round {round}");
        wait(|| live.status(4) != 0);
    }
}

#[test]
fn drain_in_a_shared_queue_waits_for_its_own_pasid_only() {
    let live = live(Config::sapphire_rapids().engines(2));
    live.slow(opcode::FILL, Duration::from_secs(15));
    live.submit(&with_record(fill(DST, 1, 8), 1));
    live.wait_taken();
    let other = live.device.open(0).unwrap();
    // SAFETY: checked memory.
    assert_eq!(unsafe { other.enqcmd(&desc(opcode::DRAIN, 0)) }, Enqcmd::Accepted);
    wait(|| live.status(0) != 0);
    assert_eq!(live.status(1), 0, "the other client's descriptor is still running");
    live.device.halt();
}

#[test]
fn drain_in_a_dedicated_queue_waits_for_all_that_its_client_sent() {
    let live = live(Config::sapphire_rapids().queue(WqConfig::dedicated(8)).engines(3));
    live.slow(opcode::FILL, Duration::from_millis(20));
    let drain = with_record(desc(opcode::DRAIN, 0), 3);
    for d in [with_record(fill(DST, 1, 8), 1), with_record(fill(DST + 64, 2, 8), 2), drain] {
        // SAFETY: checked memory.
        unsafe { live.client.movdir64b(&d) };
    }
    wait(|| live.status(3) != 0);
    assert_eq!([1, 2, 3].map(|i| live.status(i)), [status::SUCCESS; 3]);
}

#[test]
fn disabling_a_queue_executes_what_it_holds() {
    let live = live(Config::sapphire_rapids());
    live.slow(opcode::NOP, Duration::from_micros(300));
    for i in 0..20 {
        live.submit(&with_record(nop(), i));
    }
    live.device.disable_wq(0).unwrap();
    assert!((0..20).all(|i| live.status(i) == status::SUCCESS));
    assert_eq!(live.device.disable_wq(0), Err(CommandError::WqNotEnabled));
    live.device.enable_wq(0).unwrap();
    assert_eq!(live.device.enable_wq(0), Err(CommandError::WqEnabled));
    assert_eq!(live.device.enable_wq(1), Err(CommandError::NoQueue));
}

#[test]
fn disabling_the_device_executes_what_it_holds_and_disables_the_queues() {
    let live = live(Config::sapphire_rapids());
    for i in 0..20 {
        live.submit(&with_record(nop(), i));
    }
    live.device.disable().unwrap();
    assert!((0..20).all(|i| live.status(i) == status::SUCCESS));
    assert_eq!(live.device.state(), DeviceState::Disabled);
    assert_eq!(live.device.enable_wq(0), Err(CommandError::DeviceNotEnabled));
    live.device.enable().unwrap();
    assert_eq!(live.device.enable(), Err(CommandError::DeviceEnabled));
    assert!(!live.client.is_enabled(), "queues stay disabled");
    live.device.enable_wq(0).unwrap();
    assert!(live.client.is_enabled());
}

#[test]
fn aborting_discards_the_queued_and_stops_the_running_without_records() {
    for whole_device in [false, true] {
        let live = live(Config::sapphire_rapids());
        live.slow(opcode::NOP, Duration::from_secs(15));
        for i in 0..20 {
            live.submit(&with_record(nop(), i));
        }
        // One is running, the others are queued.
        wait(|| live.client.occupancy() == 19);
        let start = Instant::now();
        if whole_device { live.device.abort_all() } else { live.device.abort_wq(0) }.unwrap();
        assert!(start.elapsed() < Duration::from_secs(10));
        assert!((0..20).all(|i| live.status(i) == 0));
        assert_eq!(live.device.counters().discarded, 20);
        assert!(live.client.is_enabled(), "an aborted queue goes on");
        assert!(!live.client.drain(), "it tells that something was discarded");
        live.submit(&fill(DST, 1, 8));
        assert!(live.client.drain());
        assert_eq!(live.status(0), status::SUCCESS);
    }
}

#[test]
fn a_halt_stops_everything_until_a_reset() {
    let live = live(Config::sapphire_rapids().engines(2));
    // A software error, for the reset to clear.
    live.submit(&Descriptor { completion_addr: RECORDS + 1, ..fill(DST, 0, 8) });
    wait(|| live.device.software_error().is_some());
    live.slow(opcode::NOP, Duration::from_secs(15));
    for i in 0..20 {
        live.submit(&with_record(nop(), i));
    }
    // Two are running, the others are queued.
    wait(|| live.client.occupancy() == 18);
    live.device.halt();
    assert_eq!(live.device.state(), DeviceState::Halted);
    assert!(!live.client.is_enabled());
    assert!(!live.client.drain());
    assert!((0..20).all(|i| live.status(i) == 0));
    assert_eq!(live.device.enable(), Err(CommandError::DeviceNotEnabled));
    assert_eq!(live.device.disable(), Err(CommandError::DeviceNotEnabled));
    assert!(live.device.software_error().is_some());
    live.device.reset();
    assert_eq!((live.device.state(), live.device.software_error()), (DeviceState::Disabled, None));
    live.device.enable().unwrap();
    live.device.enable_wq(0).unwrap();
    live.submit(&fill(DST, 1, 8));
    assert!(live.client.drain());
    assert_eq!(live.status(0), status::SUCCESS);
}

/// Checked memory that halts a device at the tenth translation.
struct Stopper {
    memory: Arc<CheckedMemory>,
    translations: AtomicU64,
    device: Mutex<Option<Device>>,
}

// SAFETY: all spans come from the checked memory, which lives as long as this.
unsafe impl AddressSpace for Stopper {
    fn translate(&self, by: Requester, addr: u64, len: u64, access: Access) -> Result<Span, PageFault> {
        if self.translations.fetch_add(1, Ordering::Relaxed) == 10 {
            self.device.lock().unwrap().as_ref().unwrap().halt();
        }
        self.memory.translate(by, addr, len, access)
    }

    fn resolve(&self, _: Requester, _: u64, _: Access) -> bool {
        false
    }
}

#[test]
fn a_halt_stops_each_operation_at_the_next_chunk() {
    let len = 4096;
    let batch = Descriptor { src_addr: LIST, xfer_size: 64, ..desc(opcode::BATCH, 0) };
    let operations = [
        memmove(SRC, DST, len),
        memmove(SRC, SRC + 8, len),
        fill(DST, 0, len),
        compare(SRC, DST, len),
        compare_pattern(SRC, 0, len),
        dualcast(SRC, DST, DST2, len),
        crc(SRC, len, 0, 0),
        copy_crc(SRC, DST, len, 0, 0),
        cache_flush(SRC, len),
        create_delta(SRC, DST, len, DST2 + PAGE, 80),
        apply_delta(DST2, 640, DST, len),
        translation_fetch(SRC, len),
        dif(opcode::DIF_CHECK, SRC, 0, 16 * 520, 0),
        dif(opcode::DIF_INS, SRC, DST, 16 * 512, 0),
        dif(opcode::DIF_STRP, SRC, DST, 16 * 520, 0),
        dif(opcode::DIF_UPDT, SRC, DST, 16 * 520, 0),
        dif(opcode::DIX_GEN, SRC, DST, 16 * 512, 0),
        batch,
    ];
    for d in &operations {
        let name = opcode::name(d.opcode()).unwrap();
        let memory = memory();
        for i in 0..64 {
            memory.write(LIST + 64 * i, with_flags(nop(), 0).as_bytes()).unwrap();
            // Entries of a delta record, and the reference tags of blocks that are 0.
            memory.write(DST2 + 10 * i, &[i as u8]).unwrap();
            memory.write(SRC + 520 * (i % 16) + 519, &[i as u8 % 16]).unwrap();
        }
        let (translations, device) = (AtomicU64::new(0), Mutex::new(None));
        let stopper = Arc::new(Stopper { memory: memory.clone(), translations, device });
        let device = Device::with_memory(Config::granite_rapids().chunk(1).manual(), stopper.clone()).unwrap();
        *stopper.device.lock().unwrap() = Some(device.clone());
        let client = device.open(0).unwrap();
        // SAFETY: checked memory.
        assert_eq!(unsafe { client.enqcmd(d) }, Enqcmd::Accepted);
        assert!(!client.drain(), "{name}");
        let translations = stopper.translations.load(Ordering::Relaxed);
        assert!((11..=13).contains(&translations), "{name} went on: {translations}");
        assert_eq!((memory.status(RECORDS).unwrap(), device.counters().discarded), (0, 1), "{name}");
        // The device and its memory hold each other.
        *stopper.device.lock().unwrap() = None;
    }
}

#[test]
fn a_halt_stops_a_drain_that_waits() {
    let live = live(Config::sapphire_rapids().engines(2));
    live.slow(opcode::FILL, Duration::from_secs(15));
    live.submit(&with_record(fill(DST, 1, 8), 1));
    live.wait_taken();
    live.submit(&desc(opcode::DRAIN, 0));
    live.wait_taken();
    live.device.halt();
    let start = Instant::now();
    assert!(!live.client.drain());
    assert!(start.elapsed() < Duration::from_secs(10));
    assert_eq!((live.status(0), live.status(1), live.device.counters().discarded), (0, 0, 2));
}

#[test]
fn a_drain_tells_of_discarded_descriptors_after_the_device_is_well_again() {
    let live = live(Config::sapphire_rapids().manual());
    let other = live.device.open(0).unwrap();
    let trouble: [&dyn Fn(); 2] = [&|| live.device.abort_wq(0).unwrap(), &|| {
        live.device.halt();
        live.device.reset();
        live.device.enable().unwrap();
        live.device.enable_wq(0).unwrap();
    }];
    for trouble in trouble {
        live.submit(&nop());
        trouble();
        assert_eq!(live.status(0), 0);
        assert!(live.client.is_enabled());
        assert!(!live.client.drain(), "a descriptor was discarded");
        assert!(live.client.drain(), "told once");
        assert!(other.drain(), "it was not this client's");
    }
}

/// Submitters that try again without a pause must not keep commands from ending.
#[test]
fn commands_end_in_a_storm_of_retries() {
    let live = live(Config::sapphire_rapids().queue(WqConfig::shared(4)));
    let stop = AtomicBool::new(false);
    let commands: [(&str, &dyn Fn()); 4] = [
        ("disable_wq", &|| live.device.disable_wq(0).unwrap()),
        ("abort_wq", &|| live.device.abort_wq(0).unwrap()),
        ("disable", &|| live.device.disable().unwrap()),
        ("reset", &|| {
            live.device.halt();
            live.device.reset();
        }),
    ];
    let tries = [const { AtomicU64::new(0) }; 16];
    let clients: Vec<_> = (0..16).map(|_| live.device.open(0).unwrap()).collect();
    std::thread::scope(|s| {
        for (client, tries) in clients.iter().zip(&tries) {
            let stop = &stop;
            s.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    // SAFETY: checked memory.
                    let _ = unsafe { client.enqcmd(&nop()) };
                    tries.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let mut slowest = ("", Duration::ZERO);
        for (name, command) in &commands {
            let start = Instant::now();
            command();
            slowest = std::cmp::max_by_key(slowest, (*name, start.elapsed()), |s| s.1);
            // Whatever the command left.
            let _ = live.device.enable();
            let _ = live.device.enable_wq(0);
        }
        // Why they end: once a queue is closed and what was under way is through, a refused submission does not show.
        live.device.halt();
        live.device.reset();
        for tries in &tries {
            let before = tries.load(Ordering::Relaxed);
            wait(|| tries.load(Ordering::Relaxed) >= before + 2);
        }
        let mut seen = 0;
        for _ in 0..20 {
            seen += (0..500).map(|i| clients[i % clients.len()].outstanding()).sum::<usize>();
            std::thread::yield_now();
        }
        stop.store(true, Ordering::Relaxed);
        assert_eq!(seen, 0);
        assert!(slowest.1 < Duration::from_secs(5), "{slowest:?}");
    });
}

#[test]
fn a_halt_ends_a_command_that_waits() {
    let live = live(Config::sapphire_rapids());
    live.slow(opcode::NOP, Duration::from_secs(15));
    live.submit(&nop());
    live.wait_taken();
    std::thread::scope(|s| {
        let command = s.spawn(|| live.device.disable());
        wait(|| live.device.state() == DeviceState::Draining);
        live.device.halt();
        assert_eq!(command.join().unwrap(), Err(CommandError::DeviceNotEnabled));
    });
    assert_eq!(live.device.state(), DeviceState::Halted);
}

#[test]
fn lost_descriptors_do_not_block_the_end_of_a_client() {
    let live = live(Config::sapphire_rapids());
    live.device.inject(FaultRule::new(Effect::Lose));
    live.submit(&nop());
    live.client.quiesce();
    assert_eq!(live.status(0), 0);
    assert_eq!(live.device.counters().lost, 1);
}

#[test]
fn dropping_a_client_waits_for_its_descriptors() {
    let live = live(Config::sapphire_rapids());
    live.slow(opcode::NOP, Duration::from_millis(2));
    let other = live.device.open(0).unwrap();
    for i in 0..5 {
        // SAFETY: checked memory.
        assert_eq!(unsafe { other.enqcmd(&with_record(nop(), i)) }, Enqcmd::Accepted);
    }
    drop(other);
    assert!((0..5).all(|i| live.status(i) == status::SUCCESS));
}

#[test]
fn a_client_keeps_the_device_alive_and_a_leaked_one_does_no_harm() {
    let Live { device, client, memory } = live(Config::sapphire_rapids());
    let again = device.clone();
    drop(device);
    drop(again);
    // SAFETY: checked memory.
    assert_eq!(unsafe { client.enqcmd(&nop()) }, Enqcmd::Accepted);
    client.quiesce();
    assert_eq!(memory.status(RECORDS).unwrap(), status::SUCCESS);
    drop(client);
    assert_eq!(Arc::strong_count(&memory), 1, "the engines are gone");
    let live = live(Config::sapphire_rapids());
    live.slow(opcode::NOP, Duration::from_millis(2));
    live.submit(&nop());
    std::mem::forget(live.client);
    drop(live.device);
    wait(|| live.memory.status(RECORDS).unwrap() == status::SUCCESS);
}

#[test]
fn a_device_without_threads_runs_inside_waiting_calls() {
    let live = live(Config::sapphire_rapids().manual());
    live.submit(&nop());
    assert_eq!(live.status(0), 0);
    assert!(live.client.drain());
    assert_eq!(live.status(0), status::SUCCESS);
    assert!(!live.device.run_one());
    live.submit(&with_record(nop(), 1));
    live.device.drain_wq(0).unwrap();
    live.submit(&with_record(nop(), 2));
    live.device.drain_all();
    live.submit(&with_record(nop(), 3));
    live.device.disable_wq(0).unwrap();
    assert!((1..=3).all(|i| live.status(i) == status::SUCCESS));
}

/// An address space that panics at every access.
struct Panicking;

// SAFETY: no span is ever handed out.
unsafe impl AddressSpace for Panicking {
    fn translate(&self, _: Requester, _: u64, _: u64, _: Access) -> Result<Span, PageFault> {
        panic!("expected by a test")
    }

    fn resolve(&self, _: Requester, _: u64, _: Access) -> bool {
        false
    }
}

#[test]
fn an_address_space_that_panics_halts_the_device() {
    for config in [Config::sapphire_rapids(), Config::sapphire_rapids().manual()] {
        let device = Device::with_memory(config, Arc::new(Panicking)).unwrap();
        let client = device.open(0).unwrap();
        // SAFETY: no memory is reached.
        assert_eq!(unsafe { client.enqcmd(&nop()) }, Enqcmd::Accepted);
        assert!(!client.drain());
        assert_eq!(device.state(), DeviceState::Halted);
        device.reset();
        device.enable().unwrap();
        device.enable_wq(0).unwrap();
        assert!(client.is_enabled());
    }
}

/// Tells other threads to end, also in a panic.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Commands from one thread, submissions from others: every accepted descriptor ends, and every wait returns.
#[test]
fn commands_race_with_submitters() {
    let config = Config::sapphire_rapids().queue(WqConfig::shared(16)).queue(WqConfig::shared(16)).engines(2);
    let live = live(config.spin(Duration::from_micros(2)));
    let (stop, accepted) = (AtomicBool::new(false), [const { AtomicU64::new(0) }; 2]);
    std::thread::scope(|s| {
        // Also if a command or a wait below panics.
        let _stop = Stop(&stop);
        for (t, accepted) in (0..).zip(&accepted) {
            let stop = &stop;
            // Opened here, before the first command closes a queue.
            let client = live.device.open(t as usize).unwrap();
            s.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    for i in 8 * t..8 * t + 8 {
                        // SAFETY: checked memory.
                        let answer = unsafe { client.enqcmd(&with_record(memmove(SRC, DST + 64 * i, 8), i)) };
                        accepted.fetch_add(u64::from(answer == Enqcmd::Accepted), Ordering::Relaxed);
                    }
                    client.quiesce();
                }
            });
        }
        for round in 0..60 {
            match round % 4 {
                0 => live.device.abort_wq(0).unwrap(),
                1 => {
                    live.device.disable_wq(1).unwrap();
                    live.device.enable_wq(1).unwrap();
                }
                2 => live.device.abort_all().unwrap(),
                _ => {
                    live.device.halt();
                    live.device.reset();
                    live.device.enable().unwrap();
                    live.device.enable_wq(0).unwrap();
                    live.device.enable_wq(1).unwrap();
                }
            }
            // Both queues are open again: the next command comes in the middle of submissions.
            for accepted in &accepted {
                let before = accepted.load(Ordering::Relaxed);
                wait(|| accepted.load(Ordering::Relaxed) > before);
            }
        }
    });
    let counters = live.device.counters();
    assert_eq!(counters.accepted, accepted.iter().map(|count| count.load(Ordering::Relaxed)).sum::<u64>());
    assert!(counters.executed(opcode::MEMMOVE) + counters.discarded >= counters.accepted);
}
