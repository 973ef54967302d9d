//! The software IOMMU as system software and its devices see it, one rule at a time.

mod common;
mod driver;
mod machine;

use std::sync::Arc;

use common::{fill, memmove};
use driver::{DEDICATED, Driver, Queue, Recorder, SHARED};
use dsa_emulator::iommu::{
    DeviceId, DeviceOptions, Direction, DmaMode, DomainKind, FaultReason, Invalidation, IommuError, IommuOptions,
    Pages, Pasid, Piece, Tag,
};
use dsa_emulator::{Access, Config, Function, Permission, PortalAnswer, Requester};
use idxd_sys::status;
use machine::*;

#[test]
fn a_kernel_queue_with_a_pasid_and_one_without_reach_the_same_buffers() {
    let machine = Machine::new();
    let (memory, dma) = machine.dma(DmaMode::Strict, DeviceOptions::default());
    let pasid = machine.iommu.enable_pasid_dma(ID).unwrap();
    let device = by_hand(memory);
    let record = dma.map_single(frame(0), 32, Direction::FromDevice).unwrap();
    let from = dma.map_single(frame(1) + 100, 5000, Direction::ToDevice).unwrap();
    let to = dma.map_single(frame(4) + 8, 5000, Direction::FromDevice).unwrap();
    let copy = recorded(memmove(from, to, 5000), record);
    // The shared queue with a PASID, the dedicated one with it and without.
    for (wq, by) in [(0, pasid.user()), (1, pasid.user()), (1, Requester::DEVICE)] {
        let client = device.open_as(wq, by).unwrap();
        let data = common::noise(5000, wq as u32 + 1);
        machine.ram.write(frame(1) + 100, &data).unwrap();
        machine.ram.write(frame(4), &[0; 8192]).unwrap();
        submit(&client, &copy);
        assert!(client.drain());
        assert_eq!(machine.record(frame(0)).status, status::SUCCESS);
        assert_eq!(machine.bytes(frame(4) + 8, 5000), data);
        assert_eq!(machine.bytes(frame(4), 8), [0; 8]);
    }
    assert_eq!(machine.reasons(), []);
}

#[test]
fn a_function_with_the_queues_of_a_kernel_and_a_process() {
    let machine = Machine::new();
    let (memory, dma) = machine.dma(DmaMode::Strict, DeviceOptions::default());
    let pasid = machine.iommu.enable_pasid_dma(ID).unwrap();
    let process = machine.iommu.process();
    process.map(0x7000, frame(32), 4 * PAGE, Permission::ReadWrite).unwrap();
    let binding = machine.iommu.bind(ID, &process).unwrap();
    let interrupts = Arc::new(Recorder::default());
    let function = Function::new(Config::granite_rapids().manual(), memory, interrupts.clone()).unwrap();
    let d = Driver { function: Arc::new(function), memory: Arc::default(), interrupts };
    let kernel = Queue { pasid: Some(pasid.get()), ..DEDICATED };
    d.enable(&[SHARED, kernel, Queue { pasid: None, ..DEDICATED }]);
    let record = dma.map_single(frame(0), 32, Direction::FromDevice).unwrap();
    let to = dma.map_single(frame(1), PAGE, Direction::FromDevice).unwrap();
    for (wq, byte) in [(1, 1), (2, 2)] {
        d.movdir64b(wq, &recorded(fill(to, u64::from_ne_bytes([byte; 8]), 4096), record));
        d.function.device().run_until_idle();
        assert_eq!(machine.record(frame(0)).status, status::SUCCESS);
        assert!(machine.is_filled(frame(1), byte));
    }
    let user = recorded(fill(0x8000, u64::MAX, 4096), 0x7000);
    assert_eq!(d.enqcmd(0, binding.pasid().get(), &user), PortalAnswer::Accepted);
    d.function.device().run_until_idle();
    assert_eq!(machine.record(frame(32)).status, status::SUCCESS);
    assert!(machine.is_filled(frame(33), 0xff) && machine.is_filled(frame(1), 2));
}

#[test]
fn a_domain_has_one_pasid_and_keeps_it_until_the_last_device_gives_it_up() {
    let machine = Machine::new();
    let (memory, dma) = machine.dma(DmaMode::Strict, DeviceOptions::default());
    let iommu = &machine.iommu;
    let other = iommu.add_device(OTHER, DeviceOptions::default()).unwrap();
    assert_eq!(iommu.enable_pasid_dma(OTHER), Err(IommuError::NotAttached));
    iommu.attach(OTHER, &dma).unwrap();
    let pasid = iommu.enable_pasid_dma(ID).unwrap();
    assert_eq!([iommu.enable_pasid_dma(ID), iommu.enable_pasid_dma(OTHER)], [Ok(pasid); 2]);
    let at = dma.map_single(frame(3), 8, Direction::Bidirectional).unwrap();
    let reaches = |memory| machine.translate(memory, pasid.user(), at, Access::Write) == Some(frame(3));
    assert!(reaches(&memory) && reaches(&other));
    assert_eq!(iommu.kind_of(ID, Some(pasid)), Some(DomainKind::Dma));

    let strict = iommu.dma_domain(DmaMode::Strict);
    assert_eq!(iommu.attach(ID, &strict), Err(IommuError::Busy), "the PASID would stay with the old domain");
    assert_eq!(iommu.detach(ID), Err(IommuError::Busy));
    assert_eq!(iommu.detach_pasid(ID, pasid), Err(IommuError::Busy));
    assert_eq!(iommu.free_pasid(pasid), Err(IommuError::PasidInUse(pasid)));
    iommu.disable_pasid_dma(ID).unwrap();
    assert!(!reaches(&memory) && reaches(&other));
    assert_eq!(iommu.disable_pasid_dma(ID), Err(IommuError::NotAttached));
    assert_eq!(iommu.allocate_pasid(ID).unwrap().get(), pasid.get() + 1, "the other device has it still");
    iommu.disable_pasid_dma(OTHER).unwrap();
    assert!(!reaches(&other));
    assert_eq!(iommu.allocate_pasid(ID), Ok(pasid));
    assert_eq!(machine.translate(&memory, Requester::DEVICE, at, Access::Write), Some(frame(3)), "that stays");
}

#[test]
fn a_pasid_can_be_attached_to_a_domain_of_its_own() {
    let machine = Machine::new();
    let (memory, dma) = machine.dma(DmaMode::Strict, DeviceOptions::default());
    let iommu = &machine.iommu;
    let (one, two) = (iommu.allocate_pasid(ID).unwrap(), iommu.allocate_pasid(ID).unwrap());
    let through = iommu.dma_domain(DmaMode::PassThrough);
    iommu.attach_pasid(ID, one, &dma).unwrap();
    iommu.attach_pasid(ID, two, &through).unwrap();
    assert_eq!(iommu.attach_pasid(ID, two, &dma), Err(IommuError::PasidInUse(two)));
    let at = dma.map_single(frame(3), 8, Direction::Bidirectional).unwrap();
    let to = |by, addr| machine.translate(&memory, by, addr, Access::Read);
    assert_eq!(
        [to(one.user(), at), to(two.user(), frame(9)), to(Requester::DEVICE, at)].map(Option::unwrap),
        [frame(3), frame(9), frame(3)]
    );
    assert_eq!([to(two.user(), at), to(one.user(), frame(9))], [None; 2]);
    let kinds = [Some(one), Some(two), None, Pasid::new(9)].map(|pasid| iommu.kind_of(ID, pasid));
    assert_eq!(kinds, [Some(DomainKind::Dma), Some(DomainKind::Identity), Some(DomainKind::Dma), None]);
    iommu.detach_pasid(ID, one).unwrap();
    assert_eq!(to(one.user(), at), None);
    assert_eq!(iommu.detach_pasid(ID, one), Err(IommuError::NotAttached));
    iommu.free_pasid(one).unwrap();
    assert_eq!(iommu.attach_pasid(ID, one, &dma), Err(IommuError::PasidFree(one)));
    assert_eq!(iommu.remove_device(ID), Err(IommuError::Busy));
    iommu.detach_pasid(ID, two).unwrap();
    iommu.detach(ID).unwrap();
    iommu.remove_device(ID).unwrap();
    assert_eq!(to(Requester::DEVICE, at), None);
    assert_eq!(iommu.attach(ID, &dma), Err(IommuError::NoDevice(ID)));
}

#[test]
fn every_bind_of_a_process_has_its_pasid_and_the_last_unbind_of_a_device_counts() {
    let machine = Machine::new();
    let iommu = &machine.iommu;
    let memory = iommu.add_device(ID, DeviceOptions::default()).unwrap();
    let other = iommu.add_device(OTHER, DeviceOptions::default()).unwrap();
    let (one, two) = (iommu.process(), iommu.process());
    one.map(0x1000, frame(1), PAGE, Permission::ReadWrite).unwrap();
    two.map(0x1000, frame(2), PAGE, Permission::ReadWrite).unwrap();
    assert_eq!(one.pasid(), None);
    let binds = [ID, ID, OTHER].map(|id| iommu.bind(id, &one).unwrap());
    let of_two = iommu.bind(ID, &two).unwrap();
    let pasid = one.pasid().unwrap();
    assert!(binds.iter().all(|bind| bind.pasid() == pasid) && of_two.pasid() != pasid);
    let at = |memory, pasid: Pasid| machine.translate(memory, pasid.user(), 0x1000, Access::Write);
    assert_eq!(
        [at(&memory, pasid), at(&other, pasid), at(&memory, of_two.pasid())],
        [Some(frame(1)), Some(frame(1)), Some(frame(2))]
    );
    assert_eq!(at(&other, of_two.pasid()), None, "that process is not bound to that device");
    let [first, second, elsewhere] = binds;
    first.unbind();
    assert_eq!(at(&memory, pasid), Some(frame(1)));
    second.unbind();
    assert_eq!([at(&memory, pasid), at(&other, pasid)], [None, Some(frame(1))]);
    elsewhere.unbind();
    assert_eq!(iommu.bind(ID, &one).unwrap().pasid(), pasid, "a process that lives keeps its PASID");
    assert_eq!(iommu.allocate_pasid(ID).unwrap().get(), 3);
    drop(one);
    assert_eq!(iommu.allocate_pasid(ID), Ok(pasid));
}

#[test]
fn a_process_that_has_exited_is_reached_by_nobody_and_its_pasid_is_reserved_until_all_is_unbound() {
    let machine = Machine::new();
    let iommu = &machine.iommu;
    let memory = iommu.add_device(ID, DeviceOptions::default()).unwrap();
    let process = iommu.process();
    process.map(0x1000, frame(1), PAGE, Permission::ReadWrite).unwrap();
    let binding = iommu.bind(ID, &process).unwrap();
    let pasid = binding.pasid();
    assert!(machine.translate(&memory, pasid.user(), 0x1000, Access::Write).is_some());
    process.exit();
    process.exit();
    assert_eq!(machine.translate(&memory, pasid.user(), 0x1000, Access::Write), None);
    assert_eq!(machine.reasons(), [], "faults of a process that is gone are not recorded");
    assert_eq!(iommu.statistics().faults, 1);
    assert_eq!(iommu.bind(ID, &process).unwrap_err(), IommuError::Exited);
    assert_eq!(process.map(0x1000, frame(1), PAGE, Permission::ReadOnly), Err(IommuError::Exited));
    let next = iommu.process();
    let reserved = iommu.bind(ID, &next).unwrap();
    assert_ne!(reserved.pasid(), pasid);
    binding.unbind();
    assert_eq!(machine.translate(&memory, pasid.user(), 0x1000, Access::Write), None);
    assert_eq!(machine.reasons(), [(Some(pasid.get()), FaultReason::PasidNotPresent)]);
    assert_eq!(iommu.bind(ID, &iommu.process()).unwrap().pasid(), pasid, "free again");
}

#[test]
fn lists_are_joined_where_the_device_sees_no_gap() {
    let machine = Machine::new();
    let (memory, dma) = machine.dma(DmaMode::Strict, DeviceOptions::default());
    let piece = |n: u64, offset: u64, len| Piece { addr: frame(n) + offset, len };
    // The second begins where a page begins and the first ends where one ends; the third does not.
    let list = [piece(9, 0x800, 0x800), piece(3, 0, 0x1000), piece(20, 0x10, 0x20), piece(5, 0, 0x2001)];
    let mapped = dma.map_list(&list, Direction::Bidirectional).unwrap();
    assert_eq!(mapped.iter().map(|piece| piece.len).collect::<Vec<_>>(), [0x1800, 0x20, 0x2001]);
    for (at, to) in [
        (mapped[0].addr, frame(9) + 0x800),
        (mapped[0].addr + 0x800, frame(3)),
        (mapped[0].addr + 0x17ff, frame(3) + 0xfff),
        (mapped[1].addr, frame(20) + 0x10),
        (mapped[2].addr + 0x2000, frame(7)),
    ] {
        assert_eq!(machine.translate(&memory, Requester::DEVICE, at, Access::Write), Some(to));
        dma.sync_for_cpu(at, 1).unwrap();
    }
    assert_eq!(dma.sync_for_device(mapped[1].addr, 0x21), Err(IommuError::NotMapped(mapped[1].addr)));
    assert_eq!(dma.unmap(mapped[1].addr), Err(IommuError::NotMapped(mapped[1].addr)), "a mapping ends as a whole");
    dma.unmap(mapped[0].addr).unwrap();
    assert_eq!(dma.mappings(), 0);
    for piece in &mapped {
        assert_eq!(machine.translate(&memory, Requester::DEVICE, piece.addr, Access::Write), None);
    }
    assert_eq!(dma.unmap(mapped[0].addr), Err(IommuError::NotMapped(mapped[0].addr)), "twice");
}

#[test]
fn in_pass_through_addresses_are_physical_with_and_without_a_pasid() {
    let machine = Machine::new();
    let (memory, dma) = machine.dma(DmaMode::PassThrough, DeviceOptions::default());
    let pasid = machine.iommu.enable_pasid_dma(ID).unwrap();
    assert_eq!(machine.iommu.kind_of(ID, Some(pasid)), Some(DomainKind::Identity));
    let at = dma.map_single(frame(3) + 5, 100, Direction::ToDevice).unwrap();
    assert_eq!(at, frame(3) + 5);
    dma.sync_for_cpu(at, 100).unwrap();
    dma.unmap(at).unwrap();
    for by in [Requester::DEVICE, pasid.user()] {
        for access in [Access::Read, Access::Write] {
            assert_eq!(machine.translate(&memory, by, at, access), Some(at), "nothing keeps a device from it");
        }
    }
    assert_eq!(dma.map_single(RAM + RAM_LEN - 1, 2, Direction::ToDevice), Err(IommuError::NoMemory(RAM + RAM_LEN)));
}

#[test]
fn requests_that_make_no_sense_are_refused_and_change_nothing() {
    let machine = Machine::with(IommuOptions::default().iova_limit(0x8000));
    let (_memory, dma) = machine.dma(DmaMode::Strict, DeviceOptions::default().pasid_limit(2));
    let iommu = &machine.iommu;
    let to = Direction::ToDevice;
    assert_eq!(iommu.add_device(ID, DeviceOptions::default()).unwrap_err(), IommuError::DeviceExists(ID));
    let strange = DeviceId::new(9, 9, 1);
    assert_eq!(iommu.detach(strange), Err(IommuError::NoDevice(strange)));
    assert_eq!(dma.map_single(frame(0), 0, to), Err(IommuError::Misaligned));
    assert_eq!(dma.map_list(&[], to), Err(IommuError::Misaligned));
    assert_eq!(dma.map_single(RAM - 1, 8, to), Err(IommuError::NoMemory(RAM - 1)));
    assert_eq!(dma.map_single(u64::MAX, 8, to), Err(IommuError::OutOfRange(u64::MAX)));
    assert_eq!(dma.map_single(frame(0), 0x8000, to), Err(IommuError::NoIova(0x8000)));
    assert_eq!(dma.mappings(), 0);
    let foreign = Machine::new();
    assert_eq!(iommu.attach(ID, &foreign.iommu.dma_domain(DmaMode::Lazy)), Err(IommuError::Foreign));
    assert_eq!(iommu.bind(ID, &foreign.iommu.process()).unwrap_err(), IommuError::Foreign);
    let pasid = iommu.enable_pasid_dma(ID).unwrap();
    assert_eq!(pasid.get(), 1);
    assert_eq!(iommu.allocate_pasid(ID), Err(IommuError::NoPasid));
    assert_eq!(iommu.bind(ID, &iommu.process()).unwrap_err(), IommuError::NoPasid);
    let free = Pasid::new(1000).unwrap();
    assert_eq!(iommu.free_pasid(free), Err(IommuError::PasidFree(free)));
    assert_eq!(iommu.attach_pasid(ID, free, &dma), Err(IommuError::NoPasid));

    let process = iommu.process();
    let rw = Permission::ReadWrite;
    process.map(0x1000, frame(0), 2 * PAGE, rw).unwrap();
    assert_eq!(process.map(0x1001, frame(0), PAGE, rw), Err(IommuError::Misaligned));
    assert_eq!(process.map(0x4000, frame(0), 0, rw), Err(IommuError::Misaligned));
    assert_eq!(process.map_absent(0x0, frame(0), 2 * PAGE, rw), Err(IommuError::Overlap(0x1000)));
    assert_eq!(process.map(1 << 47, frame(0), PAGE, rw), Err(IommuError::OutOfRange(1 << 47)));
    assert_eq!(process.map(0x4000, RAM - PAGE, PAGE, rw), Err(IommuError::NoMemory(RAM - PAGE)));
    assert_eq!(process.unmap(0x1000, 3 * PAGE), Err(IommuError::NotMapped(0x3000)));
    assert_eq!(process.migrate(0x2000, frame(5), 2 * PAGE), Err(IommuError::NotMapped(0x3000)));
    assert!(process.is_present(0x2000) && !process.is_present(0x3000));
    assert_eq!(process.answer(0x1000, true), 0);
}

/// What the real kernel was seen to issue for one unmap of a strict domain that a device has with PASID 1 and without.
#[test]
fn a_strict_unmap_invalidates_both_caches_under_both_tags() {
    let machine = Machine::new();
    let (_memory, dma) = machine.dma(DmaMode::Strict, DeviceOptions::default());
    let pasid = machine.iommu.enable_pasid_dma(ID).unwrap();
    let at = dma.map_single(frame(0), 2 * PAGE, Direction::ToDevice).unwrap();
    machine.iommu.take_invalidations();
    dma.unmap(at).unwrap();
    let pages = Pages::covering(at, at + 2 * PAGE - 1);
    assert_eq!(pages.order(), 1);
    assert_eq!(
        machine.iommu.take_invalidations(),
        [
            Invalidation::Pages(dma.id(), Tag::Device(ID), pages),
            Invalidation::DeviceTlb(ID, None, pages),
            Invalidation::Pages(dma.id(), Tag::Pasid(pasid), pages),
            Invalidation::DeviceTlb(ID, Some(pasid), pages),
            Invalidation::Wait,
        ]
    );
}

#[test]
fn caches_count_and_invalidations_empty_them() {
    let machine = Machine::with(IommuOptions::default().entries(4, 2));
    let (memory, dma) = machine.dma(DmaMode::Strict, DeviceOptions::default());
    let pasid = machine.iommu.enable_pasid_dma(ID).unwrap();
    let at = dma.map_single(frame(1), 3 * PAGE, Direction::Bidirectional).unwrap();
    let touch = |by, page| assert!(machine.translate(&memory, by, at + page * PAGE, Access::Read).is_some());
    touch(Requester::DEVICE, 0);
    touch(Requester::DEVICE, 0);
    let seen = machine.iommu.statistics();
    assert_eq!((seen.device_tlb.hits, seen.device_tlb.misses, seen.iotlb.misses, seen.walks), (1, 1, 1, 1));
    touch(Requester::DEVICE, 1);
    touch(Requester::DEVICE, 2);
    // The device has dropped the first; the IOMMU has it.
    touch(Requester::DEVICE, 0);
    let seen = machine.iommu.statistics();
    assert_eq!((seen.iotlb.hits, seen.walks, seen.device_tlb.evicted), (1, 3, 2));
    touch(pasid.user(), 0);
    assert_eq!(machine.iommu.statistics().walks, 4, "with a PASID it is another entry");
    assert_eq!(machine.iommu.statistics().iotlb.entries, 4);
    machine.iommu.submit(&[Invalidation::Domain(dma.id())]);
    let seen = machine.iommu.statistics();
    assert_eq!((seen.iotlb.entries, seen.iotlb.invalidated, seen.device_tlb.entries), (0, 4, 2));
    machine.iommu.submit(&[Invalidation::DeviceTlb(ID, Some(pasid), Pages::ALL), Invalidation::Wait]);
    assert_eq!(machine.iommu.statistics().device_tlb.entries, 1, "what has no PASID stays");
    dma.unmap(at).unwrap();
    let seen = machine.iommu.statistics();
    assert_eq!((seen.iotlb.entries, seen.device_tlb.entries), (0, 0));
    assert_eq!((seen.invalidations, seen.waits), (6, 2));
}

#[test]
fn large_mappings_take_one_entry() {
    let machine = Machine::new();
    let (memory, dma) = machine.dma(DmaMode::Strict, DeviceOptions::default());
    let at = dma.map_single(RAM, 2 << 20, Direction::Bidirectional).unwrap();
    for page in 0..512 {
        let to = machine.translate(&memory, Requester::DEVICE, at + page * PAGE + 7, Access::Write);
        assert_eq!(to, Some(frame(page) + 7));
    }
    let seen = machine.iommu.statistics();
    assert_eq!((seen.iotlb.entries, seen.walks), (1, 1));
    dma.unmap(at).unwrap();
    assert_eq!(machine.translate(&memory, Requester::DEVICE, at + 300 * PAGE, Access::Write), None);
}
