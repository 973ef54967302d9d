//! Software that writes anything anywhere: nothing panics or hangs, and a function level reset always brings a device
//! that works.

mod common;
mod driver;

use std::sync::atomic::{AtomicBool, Ordering};

use common::*;
use driver::*;
use dsa_emulator::{Config, Effect, FaultRule, Instruction, PciControl, PortalAnswer};
use idxd_sys::{Descriptor, flag, opcode, status};
use zerocopy::IntoBytes;

/// Xorshift: enough to choose what to do.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        // Not 0, and far apart for seeds that are near.
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    /// A number that often has few bits, or all.
    fn value(&mut self) -> u64 {
        match self.below(4) {
            0 => self.next(),
            1 => 1 << self.below(64),
            2 => self.next() & self.next() & self.next(),
            _ => u64::MAX << self.below(64),
        }
    }

    /// Somewhere in BAR 0, mostly where registers are.
    fn offset(&mut self) -> u64 {
        match self.below(8) {
            0 => self.next(),
            1 => self.below(0x1_0000),
            2 => 0x300 + self.below(0x400),
            3 => 0x9000 + self.below(0x80),
            _ => 0x80 + self.below(0x80),
        }
    }
}

fn anything(random: &mut Random, d: &Driver) {
    let bytes = random.value().to_le_bytes();
    let width = 1 + random.below(8) as usize;
    match random.below(12) {
        0..4 => d.function.write(random.offset(), &bytes[..width]),
        4 => d.function.read(random.offset(), &mut [0; 32][..width * 4]),
        5 => d.w32(CMD, random.next() as u32),
        // Commands that make sense more often than any number does.
        6 => {
            let (command, operand) = (1 + random.below(17) as u32, random.below(4) as u32);
            d.w32(CMD, command << 20 | operand | random.next() as u32 & 1 << 31);
        }
        7 => d.configure(&[SHARED, DEDICATED]),
        // Seldom, as it halts a device that is enabled.
        8 if random.below(16) == 0 => {
            d.function.set_pci_control(PciControl { bus_master: false, ..PciControl::default() });
        }
        8 if random.below(64) == 0 => d.function.pci_configuration_changed(),
        8 if random.below(4) == 0 => d.function.set_traffic_classes(random.next() as u8),
        8 => d.function.set_pci_control(PciControl::default()),
        _ => {
            let mut line = [0u8; 64];
            line.chunks_mut(8).for_each(|chunk| chunk.copy_from_slice(&random.value().to_le_bytes()));
            if random.below(2) == 0 {
                let flags = CR | (random.next() as u32) & flag::RCI;
                let valid = with_flags(with_record(fill(DST, 1, 4096), random.below(64)), flags);
                line.copy_from_slice(valid.as_bytes());
            }
            let by = match random.below(3) {
                0 => Instruction::Movdir64b,
                1 => Instruction::Enqcmds,
                _ => Instruction::Enqcmd { pasid: Some(random.next() as u32) },
            };
            let offset = if random.below(8) == 0 { random.next() } else { random.below(0x2_0000) };
            let _ = d.function.portal(offset, &line, by);
        }
    }
}

/// The function works after a reset.
fn recovers(d: &Driver, what: &str) {
    d.function.reset();
    d.function.set_pci_control(PciControl::default());
    d.function.set_traffic_classes(u8::MAX);
    d.interrupts.take();
    d.configure(&[SHARED]);
    assert_eq!([ENABLE_DEVICE, ENABLE_WQ].map(|command| d.command(command, 0)), [0; 2], "{what}");
    let last = RECORDS + LEN - 32;
    d.memory.write(last, &[0; 32]).unwrap();
    let descriptor = Descriptor { completion_addr: last, ..fill(DST, 1, 64) };
    assert_eq!(d.enqcmd(0, 1, &descriptor), PortalAnswer::Accepted, "{what}");
    wait(|| d.status(last) == status::SUCCESS);
}

#[test]
fn random_software_cannot_break_a_function() {
    for seed in 1..=12 {
        let config = match seed % 3 {
            0 => Config::sapphire_rapids(),
            1 => Config::granite_rapids(),
            _ => Config::diamond_rapids(),
        };
        let d = function(config);
        let mut random = Random::new(seed);
        for _ in 0..4000 {
            anything(&mut random, &d);
        }
        recovers(&d, &format!("seed {seed}"));
    }
}

#[test]
fn several_processors_resets_and_halts_at_once() {
    for seed in 1..=4u64 {
        let d = function(Config::granite_rapids());
        let stop = AtomicBool::new(false);
        std::thread::scope(|s| {
            for thread in 0..3 {
                let (d, stop) = (&d, &stop);
                s.spawn(move || {
                    let mut random = Random::new(seed << 8 | thread);
                    while !stop.load(Ordering::Relaxed) {
                        anything(&mut random, d);
                    }
                });
            }
            for round in 0..30 {
                match round % 3 {
                    0 => d.function.reset(),
                    1 => d.function.device().halt(),
                    _ => d.function.revoke_interrupt_handles(),
                }
                std::thread::yield_now();
            }
            stop.store(true, Ordering::Relaxed);
        });
        recovers(&d, &format!("seed {seed}"));
    }
}

/// Commands, queues and engines at full speed under load: every descriptor that was accepted ends in exactly one way.
#[test]
fn every_accepted_descriptor_is_executed_or_discarded() {
    let d = enabled(Config::sapphire_rapids(), &[SHARED, Queue { group: 1, ..SHARED }]);
    d.function.device().inject(FaultRule::new(Effect::Retry).probability(0.1));
    let stop = AtomicBool::new(false);
    let accepted: u64 = std::thread::scope(|s| {
        let submitters: Vec<_> = (0..2u32)
            .map(|pasid| {
                let (d, stop) = (&d, &stop);
                s.spawn(move || {
                    let mut accepted = 0;
                    while !stop.load(Ordering::Relaxed) {
                        let wq = accepted as usize % 2;
                        let answer = d.enqcmd(wq, pasid, &with_record(fill(DST, 1, 256), u64::from(pasid)));
                        accepted += u64::from(answer == PortalAnswer::Accepted);
                        if answer == PortalAnswer::Retry {
                            std::thread::yield_now();
                        }
                    }
                    accepted
                })
            })
            .collect();
        // At least so many; more where the submitters have not had a turn yet.
        let has_worked = || d.function.counters().queues.iter().any(|queue| queue.executed(opcode::FILL) > 0);
        for round in (0..100_000u32).take_while(|&round| round < 60 || !has_worked()) {
            let wq = round % 2;
            let (command, operand) = match round % 6 {
                0 => (DISABLE_WQ, 1 << wq),
                1 => (RESET_WQ, 1 << wq),
                2 => (ABORT_PASID, round % 2),
                3 => (DRAIN_PASID, round % 2),
                4 => (ABORT_ALL, 0),
                _ => (DISABLE_DEVICE, 0),
            };
            assert_eq!(d.command(command, operand), 0, "round {round}");
            // Whatever the command has left: both queues as they were, or with other priorities.
            if d.device_state() == 0 {
                assert_eq!(d.command(ENABLE_DEVICE, 0), 0);
            }
            for wq in 0..2 {
                if d.state(wq) == 0 {
                    d.write_queue(wq, &Queue { priority: 1 + round % 15, ..SHARED });
                    assert_eq!(d.command(ENABLE_WQ, wq as u32), 0);
                }
            }
        }
        stop.store(true, Ordering::Relaxed);
        submitters.into_iter().map(|submitter| submitter.join().unwrap()).sum()
    });
    assert_eq!(d.command(DRAIN_ALL, 0), 0);
    let counters = d.function.counters();
    assert_eq!(counters.accepted, accepted);
    let ended = counters.records + counters.discarded;
    assert!(ended == accepted, "{ended} of {accepted} have ended");
    assert!(counters.records > 0 && counters.queues.iter().map(|q| q.executed(opcode::FILL)).sum::<u64>() > 0);
}
