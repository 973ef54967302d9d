//! A device that executes inside the submission.

mod common;
mod driver;

use std::sync::{Arc, Mutex, OnceLock, Weak, mpsc};
use std::time::Duration;

use common::*;
use driver::*;
use dsa_emulator::{Config, Device, Enqcmd, Function, Instruction, Interrupts, PortalAnswer, WqConfig};
use idxd_sys::{Descriptor, flag, opcode, portal, status};
use zerocopy::IntoBytes;

#[test]
fn a_descriptor_is_complete_when_its_submission_returns() {
    let memory = memory();
    let config = Config::sapphire_rapids().queue(WqConfig::shared(4)).immediate();
    let device = Device::with_memory(config, memory.clone()).unwrap();
    let client = device.open(0).unwrap();
    for round in 0..100 {
        // SAFETY: checked memory.
        assert_eq!(unsafe { client.enqcmd(&with_record(fill(DST, round, 256), 0)) }, Enqcmd::Accepted);
        assert_eq!(memory.status(RECORDS), Ok(status::SUCCESS));
        memory.write(RECORDS, &[0; 32]).unwrap();
    }
    assert_eq!((client.outstanding(), device.run_one()), (0, false));
}

#[test]
fn a_queue_that_is_closed_keeps_nobody_waiting() {
    let memory = memory();
    let device = Device::with_memory(Config::sapphire_rapids().immediate(), memory).unwrap();
    let client = device.open(0).unwrap();
    device.halt();
    // SAFETY: checked memory.
    assert_eq!(unsafe { client.enqcmd(&with_record(fill(DST, 1, 256), 0)) }, Enqcmd::Retry);
    client.quiesce();
}

#[test]
fn everything_that_threads_submit_is_executed() {
    let memory = memory();
    let config = Config::sapphire_rapids().queue(WqConfig::shared(64)).immediate();
    let device = Device::with_memory(config, memory.clone()).unwrap();
    let client = device.open(0).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..3 {
            let client = &client;
            scope.spawn(move || {
                for _ in 0..2_000 {
                    // SAFETY: checked memory.
                    while unsafe { client.enqcmd(&with_record(fill(DST, 1, 64), thread)) } == Enqcmd::Retry {
                        std::thread::yield_now();
                    }
                }
            });
        }
    });
    client.quiesce();
    assert_eq!(device.counters().accepted, 6_000);
    assert_eq!(device.counters().records, 6_000);
}

/// Submits a few more descriptors from inside the interrupt of the one before, and notes what has ended by then.
#[derive(Default)]
struct Chain {
    function: OnceLock<Weak<Function>>,
    left: Mutex<u64>,
    seen: Mutex<Vec<(u64, u8)>>,
    memory: OnceLock<Arc<dsa_emulator::CheckedMemory>>,
}

/// A no-op that interrupts, with a record of its own.
fn link(index: u64) -> Descriptor {
    Descriptor { int_handle: 1, ..with_record(desc(opcode::NOP, flag::RCI), index) }
}

impl Interrupts for Chain {
    fn raise(&self, vector: u16) {
        let mut left = self.left.lock().unwrap();
        if vector != 1 || *left == 0 {
            return;
        }
        let index = *left;
        *left -= 1;
        drop(left);
        let function = self.function.get().unwrap().upgrade().unwrap();
        let line: [u8; 64] = link(index).as_bytes().try_into().unwrap();
        let offset = portal::bar_offset(0, portal::UNLIMITED_MSIX) as u64;
        assert_eq!(function.portal(offset, &line, Instruction::Movdir64b), PortalAnswer::Accepted);
        let status = self.memory.get().unwrap().status(RECORDS + 32 * index).unwrap();
        self.seen.lock().unwrap().push((index, status));
    }
}

/// Not before what is executing has ended, and before the outermost submission returns.
#[test]
fn what_is_submitted_from_inside_an_execution_is_executed_after_it() {
    const MORE: u64 = 5;
    let (done, is_done) = mpsc::channel();
    std::thread::spawn(move || {
        let (chain, memory) = (Arc::new(Chain::default()), memory());
        let function =
            Arc::new(Function::new(Config::sapphire_rapids().immediate(), memory.clone(), chain.clone()).unwrap());
        chain.function.set(Arc::downgrade(&function)).unwrap();
        assert!(chain.memory.set(memory.clone()).is_ok());
        let d = Driver { function, memory, interrupts: Arc::default() };
        d.enable(&[Queue { pasid: None, ..DEDICATED }]);
        *chain.left.lock().unwrap() = MORE;
        d.movdir64b(0, &link(0));
        let statuses: Vec<_> = (0..=MORE).map(|index| d.status(RECORDS + 32 * index)).collect();
        done.send((statuses, chain.seen.lock().unwrap().clone())).unwrap();
    });
    let (statuses, seen) = is_done.recv_timeout(Duration::from_secs(60)).expect("it hangs, or has failed");
    assert_eq!(statuses, [status::SUCCESS; MORE as usize + 1]);
    let expected: Vec<_> = (1..=MORE).rev().map(|index| (index, 0)).collect();
    assert_eq!(seen, expected, "each was only queued when its submission returned");
}
