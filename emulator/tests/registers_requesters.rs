//! On whose behalf the device reaches memory: operands, lists, records, page requests and the event log.

mod common;
mod driver;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use common::*;
use driver::*;
use dsa_emulator::{
    Access, AddressSpace, CheckedMemory, Config, Instruction, PageFault, Permission, PortalAnswer, Requester, Span,
};
use idxd_sys::{Descriptor, flag, opcode, portal, status};
use zerocopy::IntoBytes;

/// Checked memory that remembers who reached which page.
struct Watched {
    memory: Arc<CheckedMemory>,
    seen: Mutex<BTreeMap<u64, Vec<Requester>>>,
    requests: Mutex<Vec<(u64, Requester)>>,
}

// SAFETY: all spans come from the checked memory, which lives as long as this.
unsafe impl AddressSpace for Watched {
    fn translate(&self, by: Requester, addr: u64, len: u64, access: Access) -> Result<Span, PageFault> {
        let mut seen = self.seen.lock().unwrap();
        let page = seen.entry(addr & !(PAGE - 1)).or_default();
        if !page.contains(&by) {
            page.push(by);
        }
        self.memory.translate(by, addr, len, access)
    }

    fn resolve(&self, by: Requester, addr: u64, access: Access) -> bool {
        self.requests.lock().unwrap().push((addr, by));
        self.memory.resolve(by, addr, access)
    }
}

fn watched(config: Config) -> (Driver, Arc<Watched>) {
    let memory = memory();
    let watched = Arc::new(Watched { memory: memory.clone(), seen: Mutex::default(), requests: Mutex::default() });
    (function_over(config, watched.clone(), memory), watched)
}

impl Watched {
    /// Who reached these pages since the last call; nobody reached others.
    fn take(&self, pages: &[u64]) -> Vec<Requester> {
        let seen = std::mem::take(&mut *self.seen.lock().unwrap());
        assert_eq!(seen.keys().copied().collect::<Vec<_>>(), pages);
        let mut all: Vec<_> = seen.into_values().flatten().collect();
        all.dedup();
        all
    }
}

/// A batch of two moves with its list, both with records.
fn batch(d: &Driver) -> Descriptor {
    // What stands in the first bytes of a member does not count.
    let member = |i| Descriptor { pasid: 0x8000_0042, ..with_record(memmove(SRC, DST, 64), i) };
    d.memory.write(LIST, [member(1), member(2)].as_bytes()).unwrap();
    Descriptor { src_addr: LIST, xfer_size: 2, ..desc(opcode::BATCH, 0) }
}

const ALL: [u64; 4] = [RECORDS, SRC, DST, LIST];

#[test]
fn a_batch_its_list_members_and_records_have_one_requester() {
    let (d, watched) = watched(Config::sapphire_rapids().manual());
    d.enable(&[SHARED, DEDICATED, Queue { pasid: None, ..DEDICATED }, Queue { privileged: true, ..DEDICATED }]);
    let batch = batch(&d);
    let by = |pasid, privileged| vec![Requester { pasid, privileged }];
    let ran = || {
        d.function.device().run_until_idle();
        watched.take(&ALL)
    };
    assert_eq!(d.enqcmd(0, 0x1234, &batch), PortalAnswer::Accepted);
    assert_eq!(ran(), by(Some(0x1234), false));
    let line = Descriptor { pasid: 1 << 31 | 0x77, ..batch };
    assert_eq!(d.submit(0, portal::LIMITED_MSIX, &line, Instruction::Enqcmds), PortalAnswer::Accepted);
    assert_eq!(ran(), by(Some(0x77), true));
    d.movdir64b(1, &batch);
    assert_eq!(ran(), by(Some(5), false));
    d.movdir64b(2, &batch);
    assert_eq!(ran(), vec![Requester::DEVICE]);
    d.movdir64b(3, &batch);
    assert_eq!(ran(), by(Some(5), true));
    assert_eq!(d.function.counters().failed, 0);
}

#[test]
fn page_requests_name_the_requester_and_queues_may_be_forbidden_to_make_them() {
    for (flags, granted) in [(0, true), (1 << 2, false), (1 << 3, false)] {
        let (d, watched) = watched(Config::granite_rapids().manual());
        d.enable(&[Queue { flags, block_on_fault: true, ..SHARED }]);
        for page in [DST, RECORDS] {
            d.memory.set_present(page, PAGE, false).unwrap();
            d.memory.set_resolvable(page, PAGE, true).unwrap();
        }
        let blocking = with_flags(fill(DST, 1, 64), CR | flag::BLOCK_ON_FAULT);
        assert_eq!(d.enqcmd(0, 9, &blocking), PortalAnswer::Accepted);
        d.function.device().run_until_idle();
        let requests = watched.requests.lock().unwrap().clone();
        if granted {
            assert_eq!(requests, [(DST, Requester::user(9)), (RECORDS, Requester::user(9))]);
            assert_eq!(d.status(RECORDS), status::SUCCESS);
        } else {
            assert_eq!(requests, [], "{flags}");
            assert_eq!(d.status(RECORDS), 0, "the record cannot be written either");
        }
    }
}

#[test]
fn the_event_log_is_written_by_the_device_or_with_a_pasid_of_its_own() {
    const LOG: u64 = 0x90_0000;
    let cases = [
        (0, Requester::DEVICE),
        (1, Requester::user(0xabcde)),
        (3, Requester { pasid: Some(0xabcde), privileged: true }),
    ];
    for (bits, by) in cases {
        let (d, watched) = watched(Config::granite_rapids().manual());
        d.memory.map(LOG, PAGE, Permission::ReadWrite).unwrap();
        d.w64(EVLCFG, LOG | bits);
        d.w64(EVLCFG + 8, 64 | 0xabcde << 16);
        d.w32(GENCFG, 1 << 13);
        d.enable(&[SHARED]);
        let unaligned = Descriptor { completion_addr: RECORDS + 8, ..nop() };
        assert_eq!(d.enqcmd(0, 9, &unaligned), PortalAnswer::Accepted);
        d.function.device().run_until_idle();
        assert_eq!(watched.take(&[LOG]), [by]);
        assert_eq!(d.r64(EVLSTATUS) >> 32 & 0xffff, 1);
    }
}
