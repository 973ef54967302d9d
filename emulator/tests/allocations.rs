//! Neither submitting nor executing allocates. The only test of its binary, so that whatever is counted is its own.

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use common::*;
use dsa_emulator::{Config, Device, Enqcmd};
use idxd_sys::{Descriptor, flag, opcode, status};
use zerocopy::IntoBytes;

/// Counts the allocations of all threads, engines included.
struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: everything is passed on to the system allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

#[test]
fn submitting_and_executing_allocate_nothing() {
    // An engine that never spins also shows what sleeping and waking cost.
    for config in [Config::granite_rapids(), Config::granite_rapids().spin(Duration::ZERO)] {
        let memory = memory();
        let device = Device::with_memory(config, memory.clone()).unwrap();
        let client = device.open(0).unwrap();
        let members = [memmove(SRC, DST, 5000), crc(SRC, 5000, 0, 0)];
        memory.write(LIST, members.as_bytes()).unwrap();
        let all = [
            nop(),
            memmove(SRC, DST, 5000),
            fill(DST, 1, 5000),
            compare(SRC, DST, 5000),
            compare_pattern(SRC, 0, 5000),
            dualcast(SRC, DST, DST2, 5000),
            crc(SRC, 5000, 0, 0),
            crc(SRC, 5000, 0, flag::CRC_BYPASS_REFLECT),
            copy_crc(SRC, DST, 5000, 0, 0),
            cache_flush(SRC, 5000),
            create_delta(SRC, DST, 4096, DST2, 4000),
            apply_delta(DST2, 10, DST, 4096),
            translation_fetch(SRC, 5000),
            dif(opcode::DIF_CHECK, SRC, 0, 520, 0),
            dif(opcode::DIF_INS, SRC, DST, 5120, 0),
            dif(opcode::DIF_STRP, SRC, DST, 520, 0),
            dif(opcode::DIF_UPDT, SRC, DST, 520, 0),
            dif(opcode::DIX_GEN, SRC, DST, 5120, 0),
            desc(opcode::DRAIN, 0),
            Descriptor { src_addr: LIST, xfer_size: 2, ..desc(opcode::BATCH, 0) },
            // One that ends with an error, and one that ends in the software error register.
            memmove(0, DST, 8),
            with_flags(memmove(0, DST, 8), 0),
        ];
        let round = || {
            for d in &all {
                // SAFETY: checked memory.
                assert_eq!(unsafe { client.enqcmd(d) }, Enqcmd::Accepted);
                client.quiesce();
            }
        };
        // Tables and thread-locals are made once.
        round();
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        for _ in 0..50 {
            round();
        }
        assert_eq!(ALLOCATIONS.load(Ordering::Relaxed) - before, 0);
        assert_eq!(device.counters().executed(opcode::NOP), 51);
        assert_ne!(memory.status(RECORDS).unwrap(), status::NONE);
    }
}
