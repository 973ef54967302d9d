//! Pages, processes and attachments that are taken away while engines work on them: once the call has returned, the device
//! leaves them alone, and every descriptor ends.

mod common;
mod machine;

use std::sync::atomic::{AtomicBool, Ordering};

use common::{CR, fill, memmove, with_flags};
use dsa_emulator::iommu::{Binding, DeviceOptions, Direction, DmaMode, IommuOptions, Process};
use dsa_emulator::{Client, Permission, Requester};
use idxd_sys::{flag, status};
use machine::owner::{DATA, OWNERS, Owner, RECORD, owned};
use machine::*;

const WRITE_FAULT: u8 = status::PAGE_FAULT | status::FAULT_WRITE;
const ROUNDS: u64 = if cfg!(debug_assertions) { 60 } else { 400 };
/// Two mebibytes that can be one large page.
const LARGE: u64 = 512;
const LARGE_LEN: u64 = 2 << 20;

/// Descriptors of two kernel queues, one with a PASID, move into a mapping that goes away under them.
fn unmap_in_flight(mode: DmaMode, device_tlb: bool) {
    let machine = Machine::new();
    let (memory, dma) = machine.dma(mode, DeviceOptions::default().device_tlb(device_tlb));
    let pasid = machine.iommu.enable_pasid_dma(ID).unwrap();
    let device = with_engines(memory, 2);
    let clients = [device.open_as(1, Requester::DEVICE).unwrap(), device.open_as(0, pasid.user()).unwrap()];
    let records = dma.map_single(frame(0), PAGE, Direction::FromDevice).unwrap();
    let from = dma.map_single(frame(1), 16 * PAGE, Direction::ToDevice).unwrap();
    for round in 0..ROUNDS {
        // Small pages, or one so large that a span of it is a whole chunk.
        let (first, pages) = if round % 2 == 0 { (32, 16) } else { (LARGE, 64) };
        machine.ram.write(frame(0), &[0; PAGE as usize]).unwrap();
        let len = if first == LARGE { LARGE_LEN } else { pages * PAGE };
        let to = dma.map_single(frame(first), len, Direction::FromDevice).unwrap();
        let bytes = (pages * PAGE) as u32;
        let submit_all = |from_record: u64| {
            for n in 0..8 {
                let record = records + 32 * (from_record + n);
                let d = if n % 4 == 3 { memmove(from, to, bytes.min(16 * 4096)) } else { fill(to, round, bytes) };
                submit(&clients[n as usize % 2], &recorded(d, record));
            }
        };
        submit_all(0);
        if round % 3 != 0 {
            // In the middle of it.
            common::wait(|| machine.ram.status(frame(0)).unwrap() != 0);
        }
        dma.unmap(to).unwrap();
        match mode {
            DmaMode::Strict => {}
            _ if round % 4 < 2 => dma.flush(),
            _ => machine.iommu.tick(),
        }
        scribble(&machine, first, pages);
        submit_all(8);
        assert!(clients.iter().all(Client::drain));
        assert!(is_scribble(&machine, first, pages), "round {round}: written after the unmap");
        for n in 0..16 {
            let status = machine.record(frame(0) + 32 * n).status;
            let expected: &[u8] = if n < 8 { &[status::SUCCESS, WRITE_FAULT] } else { &[WRITE_FAULT] };
            assert!(expected.contains(&status), "round {round}: status {status:#x}");
        }
        machine.iommu.take_faults();
    }
}

#[test]
fn a_strict_unmap_returns_when_the_device_is_done() {
    unmap_in_flight(DmaMode::Strict, true);
    unmap_in_flight(DmaMode::Strict, false);
}

#[test]
fn a_flush_returns_when_the_device_is_done() {
    unmap_in_flight(DmaMode::Lazy, true);
    unmap_in_flight(DmaMode::Lazy, false);
}

/// A process with a page of records and sixteen of data.
fn process(machine: &Machine) -> Process {
    let process = machine.iommu.process();
    process.map(0x1000, frame(0), PAGE, Permission::ReadWrite).unwrap();
    process.map(0x10_0000, frame(32), 16 * PAGE, Permission::ReadWrite).unwrap();
    process
}

#[test]
fn a_process_may_end_in_any_way_with_descriptors_in_flight() {
    type End = fn(Process, Binding);
    let ends: [End; 5] = [
        |process, _binding| process.exit(),
        |process, _binding| drop(process),
        |_process, binding| binding.unbind(),
        |process, binding| {
            std::thread::scope(|s| {
                s.spawn(|| process.exit());
                binding.unbind();
            });
        },
        |process, _binding| {
            process.unmap(0x10_0000, 16 * PAGE).unwrap();
            process.unmap(0x1000, PAGE).unwrap();
        },
    ];
    for device_tlb in [true, false] {
        let machine = Machine::new();
        let memory = machine.iommu.add_device(ID, DeviceOptions::default().device_tlb(device_tlb)).unwrap();
        let device = with_engines(memory, 2);
        for round in 0..ROUNDS {
            machine.ram.write(frame(0), &[0; PAGE as usize]).unwrap();
            let process = process(&machine);
            let binding = machine.iommu.bind(ID, &process).unwrap();
            assert_eq!(binding.pasid().get(), 1, "each gets the PASID of the one before");
            let client = device.open_as(0, binding.pasid().user()).unwrap();
            for n in 0..12 {
                let d = with_flags(
                    fill(0x10_0000, round, 16 * 4096),
                    CR | if n % 2 == 0 { 0 } else { flag::BLOCK_ON_FAULT },
                );
                submit(&client, &recorded(d, 0x1000 + 32 * n));
            }
            common::wait(|| machine.ram.status(frame(0)).unwrap() != 0);
            ends[round as usize % ends.len()](process, binding);
            scribble(&machine, 0, 1);
            scribble(&machine, 32, 16);
            assert!(client.drain(), "every descriptor ends");
            assert!(is_scribble(&machine, 0, 1) && is_scribble(&machine, 32, 16), "round {round}");
            if let Some(error) = device.software_error() {
                assert_eq!((error.error, error.write, error.pasid), (status::CR_FAULT, true, 1));
                device.clear_software_error();
            }
        }
    }
}

#[test]
fn a_detach_returns_when_the_device_is_done() {
    let machine = Machine::new();
    let (memory, dma) = machine.dma(DmaMode::Strict, DeviceOptions::default());
    let pasid = machine.iommu.allocate_pasid(ID).unwrap();
    let device = with_engines(memory, 2);
    let by_id = device.open_as(1, Requester::DEVICE).unwrap();
    let by_pasid = device.open_as(0, pasid.user()).unwrap();
    let other = machine.iommu.dma_domain(DmaMode::Strict);
    let record = dma.map_single(frame(0), 32, Direction::FromDevice).unwrap();
    let to = dma.map_single(frame(32), 16 * PAGE, Direction::FromDevice).unwrap();
    for round in 0..ROUNDS {
        machine.ram.write(frame(0), &[0; 32]).unwrap();
        machine.iommu.attach(ID, &dma).unwrap();
        machine.iommu.attach_pasid(ID, pasid, &dma).unwrap();
        for _ in 0..6 {
            submit(&by_id, &recorded(fill(to, round, 16 * 4096), record));
            submit(&by_pasid, &recorded(fill(to, round, 16 * 4096), record));
        }
        common::wait(|| machine.ram.status(frame(0)).unwrap() != 0);
        machine.iommu.detach_pasid(ID, pasid).unwrap();
        if round % 2 == 0 {
            machine.iommu.detach(ID).unwrap();
        } else {
            machine.iommu.attach(ID, &other).unwrap();
        }
        scribble(&machine, 0, 1);
        scribble(&machine, 32, 16);
        assert!(by_id.drain() && by_pasid.drain());
        assert!(is_scribble(&machine, 0, 1) && is_scribble(&machine, 32, 16), "round {round}");
        machine.iommu.take_faults();
    }
}

/// A PASID goes from any kind of owner to any other while its descriptors are at work. Those that are left may meet the next
/// owner, whose driver should have drained them; the last one's memory they leave alone.
#[test]
fn a_pasid_may_change_its_owner_with_descriptors_in_flight() {
    for device_tlb in [true, false] {
        let machine = Machine::with(IommuOptions::default().iova_limit(RECORD + PAGE));
        let memory = machine.iommu.add_device(ID, DeviceOptions::default().device_tlb(device_tlb)).unwrap();
        let device = with_engines(memory, 2);
        for round in 0..ROUNDS as usize {
            let (from, to) = (OWNERS[round % 4], OWNERS[round / 4 % 4]);
            if [from, to] == [Owner::Through; 2] {
                continue; // Both have the same memory.
            }
            let one = owned(&machine, from, 8);
            machine.ram.write(one.record, &[0; PAGE as usize]).unwrap();
            let client = device.open_as(0, one.pasid.user()).unwrap();
            for n in 0..24 {
                submit(&client, &recorded(fill(DATA, 0, 4096), RECORD + 32 * n));
            }
            common::wait(|| machine.ram.status(one.record).unwrap() != 0);
            (one.end)();
            machine.fill(one.data, BYTE);
            machine.fill(one.record, BYTE);
            let two = owned(&machine, to, 16);
            assert_eq!(two.pasid, one.pasid, "given out again at once");
            assert!(client.drain());
            let untouched = [one.data, one.record].map(|page| machine.is_filled(page, BYTE));
            assert_eq!(untouched, [true; 2], "round {round}, from {from:?} to {to:?}, device TLB: {device_tlb}");
            (two.end)();
            device.clear_software_error();
            machine.iommu.take_faults();
        }
    }
}

/// Two threads unmap and a third attaches and detaches, all at once, over working engines.
#[test]
fn many_threads_change_a_domain_while_engines_work() {
    let machine = Machine::new();
    let (memory, dma) = machine.dma(DmaMode::Strict, DeviceOptions::default());
    let pasid = machine.iommu.enable_pasid_dma(ID).unwrap();
    let extra = machine.iommu.allocate_pasid(ID).unwrap();
    let device = with_engines(memory, 2);
    let stop = AtomicBool::new(false);
    std::thread::scope(|s| {
        let changers = [(1u64, 64u64), (2, 128)].map(|(record, first)| {
            let (machine, dma, device) = (&machine, &dma, &device);
            s.spawn(move || {
                let client = device.open_as(0, pasid.user()).unwrap();
                let record_at = dma.map_single(frame(record), 32, Direction::FromDevice).unwrap();
                for round in 0..ROUNDS {
                    machine.ram.write(frame(record), &[0; 32]).unwrap();
                    let to = dma.map_single(frame(first), 16 * PAGE, Direction::FromDevice).unwrap();
                    submit(&client, &recorded(fill(to, round, 16 * 4096), record_at));
                    dma.unmap(to).unwrap();
                    scribble(machine, first, 16);
                    assert!(client.drain());
                    assert!(is_scribble(machine, first, 16), "round {round}");
                    assert!([status::SUCCESS, WRITE_FAULT].contains(&machine.record(frame(record)).status));
                }
            })
        });
        s.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                machine.iommu.attach_pasid(ID, extra, &dma).unwrap();
                machine.iommu.detach_pasid(ID, extra).unwrap();
            }
        });
        let ended = changers.map(std::thread::ScopedJoinHandle::join);
        stop.store(true, Ordering::Relaxed);
        for ended in ended {
            ended.unwrap();
        }
    });
}
