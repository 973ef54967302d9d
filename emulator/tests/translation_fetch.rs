//! Translation fetch: which pages are asked for, strides, faults, and what refuses it.

mod common;
mod driver;

use std::sync::{Arc, Mutex};

use common::*;
use driver::*;
use dsa_emulator::{
    Access, AddressSpace, CheckedMemory, Config, Device, Effect, Enqcmd, FaultRule, PageFault, Requester, Span,
    WqConfig, config,
};
use idxd_sys::{CompletionRecord, Descriptor, flag, opcode, status};
use proptest::prelude::*;

const BOF: u32 = CR | flag::BLOCK_ON_FAULT;

/// Checked memory that remembers what it was asked for.
struct Watched {
    memory: Arc<CheckedMemory>,
    seen: Mutex<Vec<(u64, u64, Access)>>,
}

// SAFETY: all spans come from the checked memory, which lives as long as this.
unsafe impl AddressSpace for Watched {
    fn translate(&self, by: Requester, addr: u64, len: u64, access: Access) -> Result<Span, PageFault> {
        self.seen.lock().unwrap().push((addr, len, access));
        self.memory.translate(by, addr, len, access)
    }

    fn resolve(&self, by: Requester, addr: u64, access: Access) -> bool {
        self.memory.resolve(by, addr, access)
    }
}

fn strided(addr: u64, len: u32, stride: u64) -> Descriptor {
    let d = Descriptor { op_specific: [0, stride, 0], ..translation_fetch(addr, len) };
    with_flags(d, CR | flag::FETCH_STRIDE)
}

/// The pages that a descriptor asks for, in order, after it has succeeded.
fn asked(d: &Descriptor) -> Vec<u64> {
    let memory = memory();
    let watched = Arc::new(Watched { memory: memory.clone(), seen: Mutex::default() });
    let device = Device::with_memory(Config::granite_rapids().manual(), watched.clone()).unwrap();
    let client = device.open(0).unwrap();
    let before: Vec<u8> = [SRC, DST].iter().flat_map(|base| read(&memory, *base)).collect();
    // SAFETY: checked memory.
    assert_eq!(unsafe { client.enqcmd(d) }, Enqcmd::Accepted);
    device.run_until_idle();
    assert_eq!(memory.status(RECORDS).unwrap(), status::SUCCESS);
    let after: Vec<u8> = [SRC, DST].iter().flat_map(|base| read(&memory, *base)).collect();
    assert!(before == after, "no data moves");
    let seen = watched.seen.lock().unwrap();
    let (last, requests) = seen.split_last().unwrap();
    assert_eq!(*last, (RECORDS, 32, Access::Write), "the record");
    let end = d.src_addr + u64::from(d.xfer_size);
    for (addr, len, access) in requests {
        assert_eq!(*access, Access::Read);
        assert!(*addr >= d.src_addr && addr + len <= end, "nothing outside of the region");
        assert!(addr % PAGE + len <= PAGE, "one page at a time");
    }
    requests.iter().map(|(addr, ..)| addr & !(PAGE - 1)).collect()
}

fn read(memory: &CheckedMemory, base: u64) -> Vec<u8> {
    let mut bytes = vec![0; LEN as usize];
    memory.read(base, &mut bytes).unwrap();
    bytes
}

fn pages(numbers: &[u64]) -> Vec<u64> {
    numbers.iter().map(|n| SRC + n * PAGE).collect()
}

#[test]
fn every_page_of_the_region_is_asked_for() {
    assert_eq!(asked(&translation_fetch(SRC, 1)), pages(&[0]));
    assert_eq!(asked(&translation_fetch(SRC, 4096)), pages(&[0]));
    assert_eq!(asked(&translation_fetch(SRC, 4097)), pages(&[0, 1]));
    assert_eq!(asked(&translation_fetch(SRC + 0x800, 0x1000)), pages(&[0, 1]), "no alignment is needed");
    assert_eq!(asked(&translation_fetch(SRC + 0xfff, 2)), pages(&[0, 1]));
    assert_eq!(asked(&translation_fetch(SRC, 8 << 12)), pages(&[0, 1, 2, 3, 4, 5, 6, 7]));
}

#[test]
fn a_stride_leaves_pages_out() {
    assert_eq!(asked(&strided(SRC, 8 << 12, 4096)), pages(&[0, 1, 2, 3, 4, 5, 6, 7]));
    assert_eq!(asked(&strided(SRC, 8 << 12, 8192)), pages(&[0, 2, 4, 6]));
    assert_eq!(asked(&strided(SRC + 0x1234, 8 << 12, 8192)), pages(&[1, 3, 5, 7, 9]));
    assert_eq!(asked(&strided(SRC, 8 << 12, 1 << 15)), pages(&[0]));
    assert_eq!(asked(&strided(SRC, (8 << 12) + 1, 1 << 15)), pages(&[0, 8]));
    assert_eq!(asked(&strided(SRC, 8 << 12, 1 << 31)), pages(&[0]));
}

#[test]
fn strides_are_powers_of_two_from_4096_on() {
    let rig = rig();
    for stride in [0, 1, 2048, 4095, 4097, 6144, 8191, 12_288, 0xffff_ffff] {
        assert_eq!(rig.status(&strided(SRC, 100, stride)), status::ADDR_ALIGN, "{stride}");
    }
    for shift in 12..32 {
        assert_eq!(rig.status(&strided(SRC, 100, 1 << shift)), status::SUCCESS);
    }
}

#[test]
fn a_stride_needs_its_capability() {
    let mut config = Config::granite_rapids();
    config.gencap &= !config::gencap::TRANSLATION_FETCH_STRIDE;
    let rig = rig_of(config);
    assert_eq!(rig.status(&translation_fetch(SRC, 100)), status::SUCCESS);
    let record = rig.run(&strided(SRC, 100, 4096));
    assert_eq!((record.status, record.op_specific[0]), (status::BAD_FLAGS, u64::from(flag::FETCH_STRIDE)));
}

#[test]
fn the_region_is_not_empty_and_does_not_wrap_around() {
    let rig = rig();
    let top = 0u64.wrapping_sub(PAGE);
    rig.memory.map(top, PAGE, dsa_emulator::Permission::ReadWrite).unwrap();
    assert_eq!(rig.status(&translation_fetch(SRC, 0)), status::BAD_SIZE);
    assert_eq!(rig.status(&translation_fetch(top, 4096)), status::SUCCESS, "the last byte of the address space counts");
    assert_eq!(rig.status(&translation_fetch(u64::MAX, 1)), status::SUCCESS);
    for (addr, len) in [(top, 4097), (u64::MAX, 2), (top + 1, 4096), (u64::MAX, u32::MAX)] {
        assert_eq!(rig.status(&translation_fetch(addr, len)), status::BAD_SIZE, "{addr:#x}");
    }
    assert_eq!(rig.status(&strided(top, 4096, 1 << 31)), status::SUCCESS);
}

#[test]
fn the_queues_transfer_limit_counts_only_where_the_device_makes_it() {
    for limited in [false, true] {
        let mut config = Config::granite_rapids().queue(WqConfig::shared(8).max_transfer_size(4096));
        config.choices.limit_fetched_regions = limited;
        let rig = rig_of(config);
        assert_eq!(rig.status(&translation_fetch(SRC, 4096)), status::SUCCESS);
        let expected = if limited { status::BAD_SIZE } else { status::SUCCESS };
        assert_eq!(rig.status(&translation_fetch(SRC, 4097)), expected);
    }
}

#[test]
fn a_fault_names_its_place_and_no_count() {
    for page in 0..4 {
        for (bof, code) in [(CR, status::PAGE_FAULT), (BOF, status::PAGE_RESPONSE)] {
            let rig = rig();
            rig.absent(SRC + page * PAGE);
            let record = rig.run(&with_flags(translation_fetch(SRC + 5, 4 << 12), bof));
            let expected = CompletionRecord {
                status: code,
                fault_info: 1 << 1,
                fault_addr: (SRC + 5).max(SRC + page * PAGE),
                ..CompletionRecord::default()
            };
            assert_eq!(record, expected);
        }
    }
}

#[test]
fn pages_that_a_stride_leaves_out_are_not_missed() {
    let rig = rig();
    rig.absent(SRC + PAGE);
    assert_eq!(rig.status(&strided(SRC, 4 << 12, 8192)), status::SUCCESS);
    assert_eq!(rig.status(&strided(SRC, 4 << 12, 4096)), status::PAGE_FAULT);
}

#[test]
fn block_on_fault_brings_the_pages_in() {
    let rig = rig();
    rig.memory.set_present(SRC, LEN, false).unwrap();
    rig.memory.set_resolvable(SRC, LEN, true).unwrap();
    assert_eq!(rig.status(&translation_fetch(SRC, 4 << 12)), status::PAGE_FAULT, "the flag is off");
    let every_second = strided(SRC, 4 << 12, 8192);
    assert_eq!(rig.status(&with_flags(every_second, BOF | flag::FETCH_STRIDE)), status::SUCCESS);
    assert_eq!(rig.device.counters().page_faults, 3);
    for page in 0..6 {
        let there = rig.status(&memmove(SRC + page * PAGE, DST, 8)) == status::SUCCESS;
        assert_eq!(there, page == 0 || page == 2, "page {page}");
    }
    assert_eq!(rig.status(&with_flags(translation_fetch(SRC, 4 << 12), BOF)), status::SUCCESS);
    assert_eq!(rig.status(&memmove(SRC, DST, 4 << 12)), status::SUCCESS, "what it is for");
}

#[test]
fn injected_faults_are_met_inside_of_the_region() {
    let rig = rig();
    for (at, met) in
        [(SRC + 99, false), (SRC + 100, true), (SRC + 0x1803, true), (SRC + 0x1064, true), (SRC + 0x2064, false)]
    {
        let id = rig.device.inject(FaultRule::new(Effect::PageFault { resolvable: false }).at(at..at + 1));
        let record = rig.run(&translation_fetch(SRC + 100, 0x2000));
        assert_eq!(record.status == status::PAGE_FAULT, met, "{at:#x}");
        if met {
            assert_eq!(record.fault_addr, at);
        }
        rig.device.remove(id);
    }
}

#[test]
fn a_queue_without_address_translation_service_refuses_it() {
    let rig = rig_of(Config::granite_rapids().queue(WqConfig::shared(8).ats(false).block_on_fault(true)));
    let batch = rig.list(&[with_record(translation_fetch(SRC, 100), 1), with_record(nop(), 2)]);
    assert_eq!(rig.status(&translation_fetch(SRC, 100)), status::BAD_OPCODE);
    assert_eq!(rig.status(&batch), status::BATCH_FAIL);
    assert_eq!(rig.record(RECORDS + 32).status, status::BAD_OPCODE, "nor in a batch");
    // A page request needs the service as well.
    rig.absent(SRC);
    rig.memory.set_resolvable(SRC, PAGE, true).unwrap();
    assert_eq!(rig.status(&with_flags(memmove(SRC, DST, 8), BOF)), status::PAGE_RESPONSE);
    let with = rig_of(Config::granite_rapids());
    let batch = with.list(&[with_record(translation_fetch(SRC, 100), 1), with_record(nop(), 2)]);
    assert_eq!((with.status(&batch), with.record(RECORDS + 32).status), (status::SUCCESS, status::SUCCESS));
}

/// ATS Disable is bit 2 of the queue's third word.
#[test]
fn a_driver_disables_the_service_in_the_queues_registers() {
    for (bit, expected) in [(0, status::SUCCESS), (1 << 2, status::BAD_OPCODE)] {
        let d = function(Config::granite_rapids());
        d.configure(&[SHARED]);
        let word = d.queue_register(0, 2);
        d.w32(word, d.r32(word) | bit);
        assert_eq!((d.command(ENABLE_DEVICE, 0), d.command(ENABLE_WQ, 0)), (0, 0));
        assert_eq!(d.enqcmd(0, 9, &translation_fetch(SRC, 100)), dsa_emulator::PortalAnswer::Accepted);
        wait(|| d.status(RECORDS) != 0);
        assert_eq!(d.status(RECORDS), expected);
    }
}

#[test]
fn a_part_of_the_first_generation_does_not_have_it() {
    assert_eq!(rig_of(Config::sapphire_rapids()).status(&translation_fetch(SRC, 100)), status::BAD_OPCODE);
}

#[test]
fn a_huge_region_in_trusted_memory_ends() {
    let device = Device::new(Config::granite_rapids().manual()).unwrap();
    let mut record = CompletionRecord::default();
    let client = device.open(0).unwrap();
    // No data is touched, so any address that can be a pointer will do.
    let mut d = Descriptor {
        completion_addr: (&raw mut record).expose_provenance() as u64,
        ..translation_fetch(0x1000, u32::MAX)
    };
    // SAFETY: the record outlives `quiesce`, and nothing else is read or written.
    assert_eq!(unsafe { client.enqcmd(&d) }, Enqcmd::Accepted);
    client.quiesce();
    assert_eq!((record.status, device.counters().total_executed()), (status::SUCCESS, 1));
    // The region reaches out of what user pointers can be.
    d.src_addr = (1 << 47) - 4096;
    // SAFETY: as above.
    assert_eq!(unsafe { client.enqcmd(&d) }, Enqcmd::Accepted);
    client.quiesce();
    assert_eq!((record.status, record.fault_addr), (status::PAGE_FAULT, 1 << 47));
    assert_eq!(device.counters().executed(opcode::TRANSL_FETCH), 2);
}

proptest! {
    #[test]
    fn the_pages_are_those_of_the_description(offset in 0u64..40_000, len in 1u32..25_000, shift in 12u32..18) {
        let stride = 1u64 << shift;
        let mut expected = Vec::new();
        let mut request = (SRC + offset) & !(PAGE - 1);
        while request < SRC + offset + u64::from(len) {
            expected.push(request);
            request += stride;
        }
        prop_assert_eq!(asked(&strided(SRC + offset, len, stride)), expected);
    }
}
