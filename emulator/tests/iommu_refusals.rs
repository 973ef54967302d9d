//! What the software IOMMU refuses, and why; and pages that a device asks for.

mod common;
mod machine;

use common::{CR, desc, fill, memmove, with_flags};
use dsa_emulator::iommu::{
    Binding, DeviceOptions, Direction, DmaMode, FaultReason, IommuOptions, PagePolicy, Pasid, Process,
};
use dsa_emulator::{Access, AddressSpace, Client, Permission, Requester};
use idxd_sys::{Descriptor, flag, opcode, status};
use machine::*;
use zerocopy::IntoBytes;

const WRITE_FAULT: u8 = status::PAGE_FAULT | status::FAULT_WRITE;

/// What the IOMMU has to say about one access each.
#[test]
fn each_refusal_has_its_reason() {
    let options = DeviceOptions::default().page_requests(false);
    let machine = Machine::with(IommuOptions::default().fault_records(32));
    let (memory, dma) = machine.dma(DmaMode::Strict, options);
    let iommu = &machine.iommu;
    let (to, from) = (Direction::ToDevice, Direction::FromDevice);
    let readable = dma.map_single(frame(1), 8, to).unwrap();
    let writable = dma.map_single(frame(2), 8, from).unwrap();
    let process = iommu.process();
    process.map(0x1000, frame(3), PAGE, Permission::ReadOnly).unwrap();
    process.map_absent(0x2000, frame(4), PAGE, Permission::ReadWrite).unwrap();
    let binding = iommu.bind(ID, &process).unwrap();
    let through = iommu.allocate_pasid(ID).unwrap();
    iommu.attach_pasid(ID, through, &iommu.dma_domain(DmaMode::PassThrough)).unwrap();
    let bare = iommu.add_device(OTHER, options).unwrap();
    let (dma_pasid, sva, none) = (iommu.enable_pasid_dma(ID).unwrap(), binding.pasid(), Pasid::new(77).unwrap());
    let (read, write) = (Access::Read, Access::Write);
    let zero = Requester { pasid: Some(0), privileged: false };
    let cases = [
        (&bare, Requester::DEVICE, 0x1000, read, FaultReason::NoContext),
        (&memory, none.user(), 0x1000, read, FaultReason::PasidNotPresent),
        (&memory, zero, readable, read, FaultReason::PasidNotPresent),
        (&bare, sva.user(), 0x1000, read, FaultReason::PasidNotPresent),
        (&memory, Requester::DEVICE, 0x1000, read, FaultReason::NotPresent),
        (&memory, Requester::DEVICE, readable, write, FaultReason::NotWritable),
        (&memory, Requester::DEVICE, writable, read, FaultReason::NotReadable),
        (&memory, Requester::DEVICE, 1 << 48, read, FaultReason::OutOfRange),
        (&memory, dma_pasid.user(), readable, write, FaultReason::NotWritable),
        (&memory, dma_pasid.user(), u64::MAX, write, FaultReason::OutOfRange),
        (&memory, dma_pasid.supervisor(), readable, read, FaultReason::Supervisor),
        (&memory, sva.user(), 0x1000, write, FaultReason::NotWritable),
        (&memory, sva.user(), 0x2000, read, FaultReason::NotPresent),
        (&memory, sva.user(), 0x3000, read, FaultReason::NotPresent),
        (&memory, sva.user(), 1 << 47, read, FaultReason::NonCanonical),
        (&memory, sva.user(), u64::MAX << 47, read, FaultReason::NotPresent),
        (&memory, sva.supervisor(), 0x1000, read, FaultReason::Supervisor),
        (&memory, through.user(), RAM - 1, read, FaultReason::OutOfRange),
        (&memory, through.supervisor(), RAM, read, FaultReason::Supervisor),
    ];
    for (memory, by, addr, access, reason) in cases {
        // What is cached for others does not help.
        for at in [readable, 0x1000] {
            machine.translate(memory, Requester { privileged: false, ..by }, at, read);
        }
        iommu.take_faults();
        assert_eq!(machine.translate(memory, by, addr, access), None, "{reason:?}");
        let faults = iommu.take_faults().records;
        assert_eq!(faults.len(), 1, "{reason:?}");
        let fault = faults[0];
        assert_eq!((fault.reason, fault.pasid, fault.privileged), (reason, by.pasid, by.privileged));
        assert_eq!((fault.device, fault.addr, fault.access), (memory.id(), addr & !(PAGE - 1), access));
        assert!(!memory.resolve(by, addr, access), "no page requests");
    }
    assert!(machine.translate(&memory, Requester { privileged: true, ..Requester::DEVICE }, readable, read).is_some());
}

#[test]
fn a_supervisor_request_to_a_process_is_refused_and_ends_in_the_software_error_register() {
    let machine = Machine::new();
    let memory = machine.iommu.add_device(ID, DeviceOptions::default()).unwrap();
    let process = machine.iommu.process();
    process.map(0x1000, frame(1), 2 * PAGE, Permission::ReadWrite).unwrap();
    let binding = machine.iommu.bind(ID, &process).unwrap();
    let device = by_hand(memory);
    let kernel = device.open_as(1, binding.pasid().supervisor()).unwrap();
    submit(&kernel, &recorded(with_flags(fill(0x2000, 1, 8), CR | flag::BLOCK_ON_FAULT), 0x1000));
    assert!(kernel.drain());
    let pasid = Some(binding.pasid().get());
    assert_eq!(machine.reasons(), [(pasid, FaultReason::Supervisor); 2], "the destination, then the record");
    let error = device.software_error().unwrap();
    assert_eq!((error.error, error.privileged, error.addr), (status::CR_FAULT, true, 0x1000));
    assert!(machine.is_filled(frame(1), 0) && machine.is_filled(frame(2), 0));
    assert_eq!(machine.iommu.statistics().page_requests, 0);
}

#[test]
fn the_fault_log_is_bounded_and_says_when_it_was_full() {
    let machine = Machine::with(IommuOptions::default().fault_records(3));
    let memory = machine.iommu.add_device(ID, DeviceOptions::default()).unwrap();
    for addr in 0..5 {
        machine.translate(&memory, Requester::DEVICE, addr * PAGE, Access::Read);
    }
    let report = machine.iommu.take_faults();
    assert_eq!(report.records.iter().map(|fault| fault.addr).collect::<Vec<_>>(), [0, PAGE, 2 * PAGE]);
    assert!(report.overflow);
    assert_eq!(machine.iommu.statistics().faults, 5);
    let report = machine.iommu.take_faults();
    assert_eq!((report.records.len(), report.overflow), (0, false));
}

fn process_rig(policy: PagePolicy) -> (Machine, Process, Binding, Client) {
    let machine = Machine::new();
    let memory = machine.iommu.add_device(ID, DeviceOptions::default()).unwrap();
    let process = machine.iommu.process();
    process.map(0x1000, frame(1), PAGE, Permission::ReadWrite).unwrap();
    process.map_absent(0x2000, frame(2), 2 * PAGE, Permission::ReadWrite).unwrap();
    process.map_absent(0x4000, frame(4), PAGE, Permission::ReadOnly).unwrap();
    process.set_page_policy(policy);
    let binding = machine.iommu.bind(ID, &process).unwrap();
    let client = by_hand(memory).open_as(0, binding.pasid().user()).unwrap();
    (machine, process, binding, client)
}

fn run(machine: &Machine, client: &Client, d: Descriptor) -> (u8, u32, u64) {
    machine.ram.write(frame(1), &[0; 32]).unwrap();
    submit(client, &recorded(d, 0x1000));
    assert!(client.drain());
    let record = machine.record(frame(1));
    (record.status, record.bytes_completed, record.fault_addr)
}

#[test]
fn pages_of_a_process_are_absent_until_a_page_request_is_granted() {
    let (machine, process, binding, client) = process_rig(PagePolicy::Grant);
    let pasid = Some(binding.pasid().get());
    let write = fill(0x2800, 7, 0x1000);
    let blocking = |d| with_flags(d, CR | flag::BLOCK_ON_FAULT);
    assert_eq!(run(&machine, &client, write), (WRITE_FAULT, 0, 0x2800));
    assert_eq!(machine.reasons(), [], "the page could have been asked for");
    assert_eq!(run(&machine, &client, blocking(write)), (status::SUCCESS, 0, 0));
    assert!(process.is_present(0x2000) && process.is_present(0x3000));
    assert_eq!(machine.iommu.statistics().page_requests, 2);
    process.evict(0x3000, PAGE).unwrap();
    assert_eq!(run(&machine, &client, write), (WRITE_FAULT, 0x800, 0x3000));
    assert!(process.touch(0x3000, Access::Write));
    assert_eq!(run(&machine, &client, write), (status::SUCCESS, 0, 0));
    // A page that may only be read is brought in for a read, and not for a write.
    let refused = status::PAGE_RESPONSE | status::FAULT_WRITE;
    assert_eq!(run(&machine, &client, blocking(fill(0x4000, 7, 8))), (refused, 0, 0x4000));
    assert_eq!(machine.reasons(), [(pasid, FaultReason::NotPresent)]);
    assert_eq!(run(&machine, &client, blocking(memmove(0x4000, 0x2000, 8))), (status::SUCCESS, 0, 0));
    assert_eq!(run(&machine, &client, blocking(fill(0x4000, 7, 8))), (refused, 0, 0x4000));
    assert_eq!(machine.reasons(), [(pasid, FaultReason::NotWritable)]);
    process.protect(0x2000, PAGE, Permission::ReadOnly).unwrap();
    assert_eq!(run(&machine, &client, write), (WRITE_FAULT, 0, 0x2800));
    // What is not mapped is not brought in.
    assert_eq!(run(&machine, &client, blocking(memmove(0x9000, 0x3000, 8))), (status::PAGE_RESPONSE, 0, 0x9000));
    process.set_page_policy(PagePolicy::Refuse);
    process.evict(0x3000, PAGE).unwrap();
    assert_eq!(run(&machine, &client, blocking(fill(0x3000, 7, 8))), (refused, 0, 0x3000));
    let seen = machine.iommu.statistics();
    assert_eq!((seen.page_requests, seen.page_requests_refused), (7, 4));
}

#[test]
fn a_list_and_its_records_are_reached_by_the_same_pasid() {
    let (machine, process, _binding, client) = process_rig(PagePolicy::Grant);
    let members = [recorded(fill(0x3000, 9, 16), 0x1020), recorded(fill(0x3ff0, 9, 16), 0x1040)];
    machine.ram.write(frame(2), members.as_bytes()).unwrap();
    let batch = Descriptor { src_addr: 0x2000, xfer_size: 2, ..desc(opcode::BATCH, 0) };
    let member = WRITE_FAULT;
    assert_eq!(run(&machine, &client, batch).0, status::BATCH_FAIL, "the list blocks on its fault, members do not");
    assert_eq!([1, 2].map(|i| machine.record(frame(1) + 32 * i).status), [member; 2]);
    assert!(process.is_present(0x2000) && !process.is_present(0x3000));
    assert!(process.touch(0x3000, Access::Write));
    assert_eq!(run(&machine, &client, batch).0, status::SUCCESS);
    assert_eq!(machine.bytes(frame(3) + 0xff0, 1), [9]);
}
