//! Completion interrupts: who gets one, where, and when.

mod common;
mod driver;

use std::sync::{Arc, Mutex, OnceLock};

use common::*;
use driver::*;
use dsa_emulator::{CheckedMemory, Config, Function, Instruction, Interrupts, PortalAnswer};
use idxd_sys::{Descriptor, flag, opcode, portal, status};
use zerocopy::IntoBytes;

const USER_INTERRUPTS: u32 = 1 << 12;
const PASID_ENABLE: u32 = 1 << 3;

/// A no-op that requests an interrupt through a handle.
fn interrupting(handle: u16, index: u64) -> Descriptor {
    Descriptor { int_handle: handle, ..with_record(desc(opcode::NOP, flag::RCI), index) }
}

fn permission(vector: u64) -> u64 {
    // Filled in by the table offset of the preset with 8 queues and 4 groups.
    0x600 + 8 * vector
}

fn run(d: &Driver, pasid: u32, descriptor: &Descriptor) -> u8 {
    d.memory.write(descriptor.completion_addr, &[0; 32]).unwrap();
    assert_eq!(d.enqcmd(0, pasid, descriptor), PortalAnswer::Accepted);
    d.function.device().run_until_idle();
    d.status(descriptor.completion_addr)
}

#[test]
fn users_may_request_interrupts_only_if_they_are_enabled_and_permitted() {
    let d = enabled(Config::sapphire_rapids().manual(), &[SHARED]);
    assert_eq!(d.tables()[2], permission(0));
    assert_eq!(run(&d, 7, &interrupting(1, 0)), status::BAD_FLAGS);
    assert_eq!(d.record(RECORDS).op_specific[0], u64::from(flag::RCI));
    d.w32(GENCFG, USER_INTERRUPTS);
    assert_eq!(run(&d, 7, &interrupting(1, 0)), status::BAD_INT_HANDLE, "vector 1 is for nobody with a PASID");
    d.w32(permission(1), 7 << 12 | PASID_ENABLE);
    assert_eq!(d.interrupts.take(), []);
    assert_eq!(run(&d, 7, &interrupting(1, 0)), status::SUCCESS);
    assert_eq!(d.interrupts.take(), [1]);
    assert_eq!(run(&d, 8, &interrupting(1, 0)), status::BAD_INT_HANDLE);
    assert_eq!(run(&d, 7, &interrupting(9, 0)), status::BAD_INT_HANDLE, "there are 9 vectors");
    // A requested record is no requested interrupt; a handle without a request is a mistake.
    assert_eq!(run(&d, 7, &nop()), status::SUCCESS);
    assert_eq!(run(&d, 7, &Descriptor { int_handle: 1, ..nop() }), status::BAD_INT_HANDLE);
    assert_eq!((d.interrupts.take(), d.r32(INTCAUSE)), (vec![], 0));
}

#[test]
fn privileged_descriptors_and_those_of_the_device_need_no_leave() {
    let d = enabled(Config::sapphire_rapids().manual(), &[SHARED, Queue { pasid: None, ..DEDICATED }]);
    d.w32(permission(2), 3 << 12 | PASID_ENABLE);
    let line = |pasid: u32| Descriptor { pasid, ..interrupting(2, 0) };
    for (pasid, expected) in
        [(1 << 31 | 3, status::SUCCESS), (3, status::BAD_FLAGS), (1 << 31 | 4, status::BAD_INT_HANDLE)]
    {
        d.memory.write(RECORDS, &[0; 32]).unwrap();
        assert_eq!(d.submit(0, portal::LIMITED_MSIX, &line(pasid), Instruction::Enqcmds), PortalAnswer::Accepted);
        d.function.device().run_until_idle();
        assert_eq!(d.status(RECORDS), expected, "{pasid:#x}");
    }
    assert_eq!(d.interrupts.take(), [2]);
    // Without PASIDs an entry of the table is 0.
    d.movdir64b(1, &interrupting(1, 1));
    d.movdir64b(1, &interrupting(2, 2));
    d.function.device().run_until_idle();
    assert_eq!([1, 2].map(|i| d.status(RECORDS + 32 * i)), [status::SUCCESS, status::BAD_INT_HANDLE]);
    assert_eq!(d.interrupts.take(), [1]);
    // There is no interrupt message storage.
    let _ = d.submit(1, portal::LIMITED_IMS, &interrupting(1, 3), Instruction::Movdir64b);
    d.function.device().run_until_idle();
    assert_eq!(d.status(RECORDS + 96), status::BAD_INT_HANDLE);
}

#[test]
fn handles_are_requested_where_the_device_has_commands_for_them() {
    let d = enabled(Config::granite_rapids().manual(), &[Queue { pasid: None, ..DEDICATED }]);
    assert_eq!(d.r32(0xb0), 0x3_fffe);
    let run = |handle| {
        d.memory.write(RECORDS, &[0; 32]).unwrap();
        d.movdir64b(0, &interrupting(handle, 0));
        d.function.device().run_until_idle();
        d.status(RECORDS)
    };
    assert_eq!(run(1), status::BAD_INT_HANDLE, "an index is no handle");
    let answer = d.command(REQUEST_HANDLE, 4);
    assert_eq!(answer & 0xff, 0);
    let handle = (answer >> 8) as u16;
    d.interrupts.take();
    assert_eq!((run(handle), d.interrupts.take()), (status::SUCCESS, vec![4]));
    for operand in [9, 0xffff, 1 << 16 | 4] {
        assert_eq!(d.command(REQUEST_HANDLE, operand), 0x41);
    }
    assert_eq!(d.command(RELEASE_HANDLE, u32::from(handle)), 0);
    assert_eq!(d.command(RELEASE_HANDLE, u32::from(handle)), 0x41);
    assert_eq!(run(handle), status::BAD_INT_HANDLE);
    // Handles can be taken away; software requests them again.
    let before = d.command(REQUEST_HANDLE, 4) >> 8;
    d.interrupts.take();
    d.function.revoke_interrupt_handles();
    assert_eq!((d.r32(INTCAUSE), d.interrupts.take()), (1 << 31, vec![0]));
    assert_eq!(run(before as u16), status::BAD_INT_HANDLE);
    let after = d.command(REQUEST_HANDLE, 4) >> 8;
    assert_ne!(after, before);
    assert_eq!(run(after as u16), status::SUCCESS);
}

#[test]
fn members_batches_and_drains_interrupt() {
    let d = enabled(Config::sapphire_rapids().manual(), &[Queue { pasid: None, ..DEDICATED }]);
    let quiet = |handle| Descriptor { int_handle: handle, ..with_flags(nop(), flag::RCI) };
    d.memory.write(LIST, [quiet(1), quiet(2), with_flags(nop(), 0)].as_bytes()).unwrap();
    let batch = Descriptor { src_addr: LIST, xfer_size: 3, int_handle: 3, ..desc(opcode::BATCH, flag::RCI) };
    d.movdir64b(0, &batch);
    d.function.device().run_until_idle();
    assert_eq!((d.status(RECORDS), d.interrupts.take()), (status::SUCCESS, vec![1, 2, 3]));
    // A drain that asks for neither answers nobody; with an interrupt alone it is what the driver sends.
    d.movdir64b(0, &Descriptor { int_handle: 4, ..with_flags(desc(opcode::DRAIN, 0), flag::RCI) });
    d.function.device().run_until_idle();
    assert_eq!((d.interrupts.take(), d.function.counters().failed), (vec![4], 0));
    // An error with a valid handle interrupts too.
    d.movdir64b(0, &Descriptor { int_handle: 5, ..with_flags(memmove(0, DST, 8), CR | flag::RCI) });
    d.function.device().run_until_idle();
    assert_eq!((d.status(RECORDS), d.interrupts.take()), (status::PAGE_FAULT, vec![5]));
}

/// Looks at the record of the descriptor whose interrupt comes.
struct Looking {
    memory: Arc<CheckedMemory>,
    function: OnceLock<()>,
    seen: Mutex<Vec<(u16, u8)>>,
}

impl Interrupts for Looking {
    fn raise(&self, vector: u16) {
        if self.function.get().is_some() {
            let status = self.memory.status(RECORDS + 32 * u64::from(vector)).unwrap();
            self.seen.lock().unwrap().push((vector, status));
        }
    }
}

#[test]
fn the_record_is_there_before_the_interrupt() {
    let memory = memory();
    let looking = Arc::new(Looking { memory: memory.clone(), function: OnceLock::new(), seen: Mutex::default() });
    let function = Arc::new(Function::new(Config::sapphire_rapids(), memory.clone(), looking.clone()).unwrap());
    let d = Driver { function, memory, interrupts: Arc::default() };
    d.configure(&[Queue { pasid: None, ..DEDICATED }]);
    for command in [ENABLE_DEVICE, ENABLE_WQ] {
        assert_eq!(d.command(command, 0), 0);
    }
    looking.function.set(()).unwrap();
    for vector in 1..=8u16 {
        d.movdir64b(0, &interrupting(vector, u64::from(vector)));
    }
    wait(|| looking.seen.lock().unwrap().len() == 8);
    let mut seen = looking.seen.lock().unwrap().clone();
    seen.sort_unstable();
    assert_eq!(seen, (1..=8).map(|vector| (vector, status::SUCCESS)).collect::<Vec<_>>());
}
