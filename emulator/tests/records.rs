//! The record comes last: whoever sees its status finds the work done.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use common::*;
use dsa_emulator::{Access, AddressSpace, CheckedMemory, Config, Device, Enqcmd, PageFault, Requester, Span, WqConfig};
use idxd_sys::{Descriptor, opcode, status};

/// Checked memory in which each access to an operand looks at the first record.
struct Watching {
    memory: Arc<CheckedMemory>,
    looks: AtomicU64,
    /// Looks that found a status.
    early: AtomicU64,
}

// SAFETY: all spans come from the checked memory, which lives as long as this.
unsafe impl AddressSpace for Watching {
    fn translate(&self, by: Requester, addr: u64, len: u64, access: Access) -> Result<Span, PageFault> {
        if !(RECORDS..RECORDS + LEN).contains(&addr) {
            self.looks.fetch_add(1, Ordering::Relaxed);
            self.early.fetch_add(u64::from(self.memory.status(RECORDS) != Ok(0)), Ordering::Relaxed);
        }
        self.memory.translate(by, addr, len, access)
    }

    fn resolve(&self, by: Requester, addr: u64, access: Access) -> bool {
        self.memory.resolve(by, addr, access)
    }
}

#[test]
fn no_operation_uses_an_operand_after_its_record() {
    let memory = memory();
    let watching = Arc::new(Watching { memory: memory.clone(), looks: AtomicU64::new(0), early: AtomicU64::new(0) });
    let config = Config::granite_rapids().queue(WqConfig::shared(64).block_on_fault(true));
    let device = Device::with_memory(config.manual(), watching.clone()).unwrap();
    let client = device.open(0).unwrap();
    let rig = Rig { device, client, memory };
    let len = 3 * PAGE as u32;
    let members = [1, 2].map(|index| with_record(memmove(SRC, DST, len), index));
    for d in [
        memmove(SRC + 100, DST + 50, len),
        memmove(SRC, SRC + 100, len),
        fill(DST, 7, len),
        compare(SRC, SRC, len),
        compare_pattern(DST2, 0, len),
        dualcast(SRC, DST, DST2, len),
        crc(SRC, len, 0, 0),
        copy_crc(SRC, DST, len, 0, 0),
        cache_flush(SRC, len),
        create_delta(SRC, DST2, len, DST, 400),
        apply_delta(DST2, 10, DST, len),
        translation_fetch(SRC, len),
        dif(opcode::DIF_INS, SRC, DST, 8 * 512, 0),
        rig.list(&members),
    ] {
        let before = watching.looks.load(Ordering::Relaxed);
        assert_ne!(rig.status(&d), 0, "{:#x}", d.opcode());
        assert!(watching.looks.load(Ordering::Relaxed) > before, "{:#x}", d.opcode());
        assert_eq!(watching.early.load(Ordering::Relaxed), 0, "{:#x}", d.opcode());
    }
}

#[test]
fn in_trusted_memory_a_record_in_the_destination_is_what_remains() {
    #[repr(C, align(64))]
    struct Buffer([u8; 192]);
    let device = Device::new(Config::sapphire_rapids().manual()).unwrap();
    let client = device.open(0).unwrap();
    let mut buffer = Buffer([0x55; 192]);
    let base = (&raw mut buffer).expose_provenance() as u64;
    for (d, byte) in [(memmove(base, base + 64, 128), 0x55), (fill(base + 64, 0x6666_6666_6666_6666, 128), 0x66)] {
        let d = Descriptor { completion_addr: base + 96, ..d };
        // SAFETY: both regions lie in the buffer, which nobody touches before `quiesce` returned.
        assert_eq!(unsafe { client.enqcmd(&d) }, Enqcmd::Accepted);
        client.quiesce();
        // Others wrote through the address: the compiler must look again.
        // SAFETY: the buffer is alive, and nobody else uses it any more.
        let now = unsafe { (&raw const buffer).read_volatile() }.0;
        assert_eq!(now[64..96], [byte; 32]);
        assert_eq!(now[96], status::SUCCESS);
        assert_eq!(now[128..], [byte; 64]);
    }
}
