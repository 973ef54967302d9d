//! Page requests that wait for an answer, and what happens around them meanwhile: nobody waits for the engine, and the engine
//! uses nothing of what it held before without another look.

mod common;
mod machine;

use common::{CR, fill, memmove, with_flags};
use dsa_emulator::iommu::{Binding, DeviceOptions, DmaMode, Iommu, PagePolicy, Pasid, Process};
use dsa_emulator::{Access, AddressSpace, Client, Device, Permission, Requester};
use idxd_sys::{Descriptor, flag, status};
use machine::*;

/// A process whose page requests wait, and a client of it on one engine thread.
struct Asking {
    machine: Machine,
    device: Device,
    process: Process,
    binding: Option<Binding>,
    client: Client,
}

const RECORD: u64 = 0x1000;
const FROM: u64 = 0x2000;
const TO: u64 = 0x4000;
const TO_2: u64 = 0x6000;

fn asking() -> Asking {
    let machine = Machine::new();
    let memory = machine.iommu.add_device(ID, DeviceOptions::default()).unwrap();
    let process = machine.iommu.process();
    process.map(RECORD, frame(1), PAGE, Permission::ReadWrite).unwrap();
    process.map(FROM, frame(2), PAGE, Permission::ReadWrite).unwrap();
    process.map_absent(TO, frame(4), PAGE, Permission::ReadWrite).unwrap();
    process.map(TO_2, frame(6), PAGE, Permission::ReadWrite).unwrap();
    process.set_page_policy(PagePolicy::Ask);
    let binding = machine.iommu.bind(ID, &process).unwrap();
    let device = with_engines(memory, 1);
    let client = device.open_as(0, binding.pasid().user()).unwrap();
    Asking { machine, device, process, binding: Some(binding), client }
}

impl Asking {
    /// Submits, and waits until the engine waits for the page at `addr`.
    fn start(&self, d: Descriptor, addr: u64) {
        submit(&self.client, &recorded(with_flags(d, d.flags() | flag::BLOCK_ON_FAULT), RECORD));
        common::wait(|| self.process.page_requests().iter().any(|request| request.addr == addr));
    }
}

/// Operations of a page that hold their source while they ask for the destination, or for a second source.
fn holding() -> [Descriptor; 5] {
    [
        memmove(FROM, TO, 4096),
        common::copy_crc(FROM, TO, 4096, 0, 0),
        common::dualcast(FROM, TO, TO_2, 4096),
        common::compare(FROM, TO, 4096),
        common::create_delta(FROM, TO, 4096, TO_2, 800),
    ]
}

#[test]
fn an_unmap_does_not_wait_for_a_page_request_and_takes_away_what_the_operation_held() {
    for d in holding() {
        let it = asking();
        it.start(d, TO);
        it.process.unmap(FROM, PAGE).unwrap();
        it.machine.fill(frame(2), BYTE);
        it.process.set_page_policy(PagePolicy::Grant);
        assert_eq!(it.process.answer(TO, true), 1);
        assert!(it.client.drain());
        let record = it.machine.record(frame(1));
        assert_eq!((record.status, record.bytes_completed, record.fault_addr), (status::PAGE_RESPONSE, 0, FROM));
        assert!(
            it.machine.is_filled(frame(4), 0) && it.machine.is_filled(frame(6), 0),
            "nothing of the new owner leaked"
        );
        assert!(it.machine.is_filled(frame(2), BYTE));
    }
}

#[test]
fn what_moves_during_a_page_request_is_found_at_its_new_place() {
    for d in holding() {
        let it = asking();
        it.machine.fill(frame(2), 1);
        it.machine.fill(frame(4), 2);
        it.start(d, TO);
        it.machine.fill(frame(9), 2);
        it.process.migrate(FROM, frame(9), PAGE).unwrap();
        it.machine.fill(frame(2), BYTE);
        it.process.answer(TO, true);
        assert!(it.client.drain());
        let record = it.machine.record(frame(1));
        assert_eq!((record.status, record.result), (status::SUCCESS, 0), "equal, and copied");
        assert!(it.machine.is_filled(frame(4), 2));
    }
}

#[test]
fn operands_that_are_done_with_may_go_while_the_page_of_the_record_is_waited_for() {
    for d in holding() {
        let it = asking();
        assert!(it.process.touch(TO, Access::Write));
        it.process.evict(RECORD, PAGE).unwrap();
        it.start(d, RECORD);
        it.process.unmap(FROM, PAGE).unwrap();
        it.process.unmap(TO, PAGE).unwrap();
        it.process.answer(RECORD, true);
        assert!(it.client.drain());
        assert_eq!(it.machine.record(frame(1)).status, status::SUCCESS);
        assert_eq!(it.device.software_error(), None);
    }
}

#[test]
fn a_backward_move_starts_its_round_again_too() {
    let it = asking();
    // Pages 2 to 4 move up by one; the last destination is absent, then the next, while their sources move.
    it.process.unmap(TO, PAGE).unwrap();
    it.process.map(FROM + PAGE, frame(3), PAGE, Permission::ReadWrite).unwrap();
    it.process.map_absent(TO, frame(4), PAGE, Permission::ReadWrite).unwrap();
    it.machine.fill(frame(2), 2);
    it.machine.fill(frame(3), 3);
    it.start(memmove(FROM, FROM + PAGE, 2 * 4096), TO);
    it.machine.fill(frame(9), 7);
    it.process.migrate(FROM + PAGE, frame(9), PAGE).unwrap();
    it.process.answer(TO, true);
    assert!(it.client.drain());
    assert_eq!(it.machine.record(frame(1)).status, status::SUCCESS);
    // The page moved from 9 to 4, and then the lower one to 9, where the upper source is now.
    assert!(
        it.machine.is_filled(frame(4), 7) && it.machine.is_filled(frame(9), 2) && it.machine.is_filled(frame(3), 3)
    );
}

#[test]
fn the_end_of_a_process_refuses_what_its_device_waits_for() {
    type End = fn(&mut Asking);
    let ends: [End; 2] = [|it| it.process.exit(), |it| drop(it.binding.take())];
    for end in ends {
        let mut it = asking();
        it.start(memmove(FROM, TO, 4096), TO);
        end(&mut it);
        scribble(&it.machine, 1, 6);
        assert_eq!(it.process.answer(TO, true), 0, "it has been answered");
        assert!(it.client.drain());
        assert!(is_scribble(&it.machine, 1, 6));
        let error = it.device.software_error().unwrap();
        assert_eq!((error.error, error.addr), (status::CR_FAULT, RECORD), "nowhere to write the record");
    }
}

/// What one owner of a PASID has asked for is not answered from the pages of the next.
#[test]
fn a_page_request_does_not_outlive_the_owner_of_its_pasid() {
    let mut it = asking();
    let pasid = it.binding.as_ref().unwrap().pasid();
    it.start(memmove(FROM, TO, 4096), TO);
    drop(it.binding.take());
    it.process.exit();
    assert!(it.client.drain());
    let next = it.machine.iommu.process();
    for n in [0, 1, 3] {
        next.map_absent(0x1000 + n * PAGE, frame(32 + n), PAGE, Permission::ReadWrite).unwrap();
    }
    let _binding = it.machine.iommu.bind(ID, &next).unwrap();
    assert_eq!(next.pasid(), Some(pasid));
    assert_eq!(it.process.page_requests(), []);
    assert_eq!(next.page_requests(), []);
    scribble(&it.machine, 32, 4);
    assert_eq!(it.process.answer(TO, true) + next.answer(TO, true), 0);
    assert!(is_scribble(&it.machine, 32, 4));
    it.machine.iommu.take_faults();
    let client = it.device.open_as(0, pasid.user()).unwrap();
    submit(&client, &recorded(with_flags(fill(TO, 0, 8), CR | flag::BLOCK_ON_FAULT), RECORD));
    assert!(client.drain());
    assert_eq!(it.machine.record(frame(32)).status, status::SUCCESS);
    assert_eq!(it.machine.reasons(), [], "no fault of the last owner is left");
    drop(client);
}

/// An end of an attachment waits for accesses that began before. Meanwhile somebody else may come under the PASID and ask for
/// a page, which is not refused with what there was before.
#[test]
fn an_end_that_waits_refuses_nothing_that_is_asked_for_later() {
    type Begin = fn(&Iommu, &Process) -> Box<dyn FnOnce() + Send>;
    // What is there before, and its end; what follows.
    let begins: [Begin; 2] = [
        |iommu, process| {
            let binding = iommu.bind(ID, process).unwrap();
            Box::new(|| binding.unbind())
        },
        |iommu, _| {
            let pasid = iommu.allocate_pasid(ID).unwrap();
            iommu.attach_pasid(ID, pasid, &iommu.dma_domain(DmaMode::Strict)).unwrap();
            let iommu = iommu.clone();
            Box::new(move || iommu.detach_pasid(ID, pasid).unwrap())
        },
    ];
    for begin in begins {
        let machine = Machine::new();
        let memory = machine.iommu.add_device(ID, DeviceOptions::default()).unwrap();
        let process = machine.iommu.process();
        process.map_absent(TO, frame(4), PAGE, Permission::ReadWrite).unwrap();
        process.set_page_policy(PagePolicy::Ask);
        let end = begin(&machine.iommu, &process);
        let section = memory.begin();
        std::thread::scope(|s| {
            let end = s.spawn(end);
            common::wait(|| machine.iommu.statistics().waits == 1);
            // A process has kept the PASID.
            let _ = machine.iommu.free_pasid(Pasid::new(1).unwrap());
            let binding = machine.iommu.bind(ID, &process).unwrap();
            assert_eq!(binding.pasid().get(), 1);
            let asks = s.spawn(|| memory.resolve(Requester::user(1), TO, Access::Write));
            common::wait(|| !process.page_requests().is_empty() || asks.is_finished());
            memory.end(section);
            end.join().unwrap();
            assert_eq!(process.answer(TO, true), 1, "it waits still");
            assert!(asks.join().unwrap());
        });
    }
}

#[test]
fn a_device_that_must_stop_waits_for_no_answer() {
    type Stop = fn(&Asking);
    let stops: [Stop; 4] = [
        |it| it.device.abort_pasid(1),
        |it| it.device.abort_wq(0).unwrap(),
        |it| it.device.reset(),
        |it| it.device.halt(),
    ];
    for stop in stops {
        let it = asking();
        it.start(fill(TO, 1, 8), TO);
        stop(&it);
        it.client.quiesce();
        assert_eq!(it.process.page_requests(), []);
        assert_eq!(it.machine.record(frame(1)).status, 0, "it did not complete");
        assert_eq!(it.machine.reasons(), [], "nor was it refused");
    }
}

#[test]
fn two_engines_may_wait_for_one_page() {
    let mut it = asking();
    it.device = with_engines(it.machine.iommu.add_device(OTHER, DeviceOptions::default()).unwrap(), 2);
    let binding = it.machine.iommu.bind(OTHER, &it.process).unwrap();
    it.client = it.device.open_as(0, binding.pasid().user()).unwrap();
    for n in 0..2 {
        let d = with_flags(fill(TO + 8 * n, 1, 8), CR | flag::BLOCK_ON_FAULT);
        submit(&it.client, &recorded(d, RECORD + 32 * n));
    }
    common::wait(|| it.process.page_requests().len() == 2);
    assert!(it.process.page_requests().iter().all(|request| (request.source, request.addr) == (OTHER.bits(), TO)));
    assert_eq!(it.process.answer(TO + 100, true), 2);
    assert!(it.client.drain());
    assert_eq!([0, 1].map(|n| it.machine.record(frame(1) + 32 * n).status), [status::SUCCESS; 2]);
}
