//! What a device reaches after a page was taken away: nothing, as long as system software invalidates what has to be; and for
//! each part that is left out, the access that it lets through. A check that cannot find a missing invalidation proves nothing
//! by passing.

mod common;
mod machine;

use common::{CR, fill, memmove, with_flags};
use dsa_emulator::iommu::{DeviceOptions, Direction, DmaDomain, DmaMode, DomainKind, Iommu, IommuOptions, Omissions};
use dsa_emulator::{Access, AddressSpace, Client, DeviceMemory, Permission, Requester};
use idxd_sys::{Descriptor, flag, status};
use machine::owner::{DATA, OWNERS, Owner, RECORD, owned};
use machine::*;

const WRITE_FAULT: u8 = status::PAGE_FAULT | status::FAULT_WRITE;

/// Whether a fill of one page succeeds. The record is where the client's address space has one.
fn writes(machine: &Machine, client: &Client, to: u64, record: (u64, u64), byte: u8) -> bool {
    let (addr, place) = record;
    machine.ram.write(place, &[0; 32]).unwrap();
    submit(client, &recorded(fill(to, u64::from_ne_bytes([byte; 8]), PAGE as u32), addr));
    assert!(client.drain());
    match machine.record(place).status {
        status::SUCCESS => true,
        WRITE_FAULT => false,
        other => panic!("status {other:#x}"),
    }
}

/// Takes a page away that a device has written, and has its next owner fill it. Whether the device then writes it once more.
fn is_stale(machine: &Machine, client: &Client, to: u64, record: (u64, u64), page: u64, take: impl FnOnce()) -> bool {
    assert!(writes(machine, client, to, record, 1), "the page is there, and cached from here on");
    assert!(machine.is_filled(page, 1));
    take();
    machine.fill(page, BYTE);
    let written = writes(machine, client, to, record, 2);
    assert_eq!(machine.is_filled(page, BYTE), !written, "status and memory agree");
    written
}

/// A DMA mapping, by a client with a PASID or without.
fn of_dma(machine: &Machine, options: DeviceOptions, with_pasid: bool) -> bool {
    let (memory, dma) = machine.dma(DmaMode::Strict, options);
    let pasid = machine.iommu.enable_pasid_dma(ID).unwrap();
    let device = by_hand(memory);
    let client = device.open_as(0, if with_pasid { pasid.user() } else { Requester::DEVICE }).unwrap();
    let record = dma.map_single(frame(0), 32, Direction::FromDevice).unwrap();
    let to = dma.map_single(frame(1), PAGE, Direction::FromDevice).unwrap();
    is_stale(machine, &client, to, (record, frame(0)), frame(1), || dma.unmap(to).unwrap())
}

/// A page of an address space that a device shares: of a process, or of a kernel, whose tables are no different here.
fn of_process(machine: &Machine, options: DeviceOptions) -> bool {
    let memory = machine.iommu.add_device(ID, options).unwrap();
    let process = machine.iommu.process();
    process.map(0x1000, frame(0), PAGE, Permission::ReadWrite).unwrap();
    process.map(0x2000, frame(1), PAGE, Permission::ReadWrite).unwrap();
    let binding = machine.iommu.bind(ID, &process).unwrap();
    let client = by_hand(memory).open_as(0, binding.pasid().user()).unwrap();
    is_stale(machine, &client, 0x2000, (0x1000, frame(0)), frame(1), || process.unmap(0x2000, PAGE).unwrap())
}

/// A PASID that a second owner gets. Both have the same addresses, and their data and records at other places.
fn of_reused_pasid(machine: &Machine, options: DeviceOptions, from: Owner, to: Owner) -> bool {
    let device = by_hand(machine.iommu.add_device(ID, options).unwrap());
    let one = owned(machine, from, 8);
    let client = device.open_as(0, one.pasid.user()).unwrap();
    assert!(writes(machine, &client, DATA, (RECORD, one.record), 1));
    drop(client);
    (one.end)();
    machine.fill(one.data, BYTE);
    let two = owned(machine, to, 16);
    assert_eq!(two.pasid, one.pasid, "given out again");
    let client = device.open_as(0, two.pasid.user()).unwrap();
    submit(&client, &recorded(fill(DATA, u64::from_ne_bytes([2; 8]), PAGE as u32), RECORD));
    assert!(client.drain());
    let stale = !machine.is_filled(one.data, BYTE);
    assert_eq!(machine.is_filled(two.data, 2), !stale, "it went to one owner or the other");
    stale
}

/// A page that was unmapped while its domain was away from the PASID, to which it has returned.
fn of_returned_domain(machine: &Machine, options: DeviceOptions) -> bool {
    let device = by_hand(machine.iommu.add_device(ID, options).unwrap());
    let dma = machine.iommu.dma_domain(DmaMode::Strict);
    let pasid = machine.iommu.allocate_pasid(ID).unwrap();
    machine.iommu.attach_pasid(ID, pasid, &dma).unwrap();
    let client = device.open_as(0, pasid.user()).unwrap();
    let record = dma.map_single(frame(0), 32, Direction::FromDevice).unwrap();
    let to = dma.map_single(frame(1), PAGE, Direction::FromDevice).unwrap();
    is_stale(machine, &client, to, (record, frame(0)), frame(1), || {
        machine.iommu.detach_pasid(ID, pasid).unwrap();
        dma.unmap(to).unwrap();
        machine.iommu.attach_pasid(ID, pasid, &dma).unwrap();
    })
}

/// An access that has begun when something is taken away: whether that returns before it has ended.
fn is_early(machine: &Machine, memory: &DeviceMemory, by: Requester, at: u64, take: impl FnOnce() + Send) -> bool {
    let section = memory.begin();
    memory.translate(by, at, 8, Access::Write).unwrap();
    let before = machine.iommu.statistics().waits;
    std::thread::scope(|s| {
        let taking = s.spawn(take);
        // Either it waits, for the section that is open, or it is done.
        common::wait(|| taking.is_finished() || machine.iommu.statistics().waits > before);
        // It may have said that it waits, and not have done it.
        (0..1000).take_while(|_| !taking.is_finished()).for_each(|_| std::thread::yield_now());
        // An access that begins later ends nothing.
        machine.translate(memory, by, at, Access::Write);
        let early = taking.is_finished();
        memory.end(section);
        early
    })
}

/// The same of an unmap.
fn returns_early(machine: &Machine, options: DeviceOptions) -> bool {
    let (memory, dma) = machine.dma(DmaMode::Strict, options);
    let at = dma.map_single(frame(1), PAGE, Direction::FromDevice).unwrap();
    is_early(machine, &memory, Requester::DEVICE, at, || dma.unmap(at).unwrap())
}

fn omitting(omissions: Omissions) -> Machine {
    let machine = Machine::with(IommuOptions::default().iova_limit(RECORD + PAGE));
    machine.iommu.omit(omissions);
    machine
}

/// All checks, each on a machine of its own.
fn stale(omissions: Omissions, device_tlb: bool) -> [bool; 8] {
    let options = DeviceOptions::default().device_tlb(device_tlb);
    let machine = || omitting(omissions);
    [
        of_dma(&machine(), options, false),
        of_dma(&machine(), options, true),
        of_process(&machine(), options),
        of_reused_pasid(&machine(), options, Owner::Process, Owner::Process),
        of_reused_pasid(&machine(), options, Owner::Dma, Owner::Process),
        of_reused_pasid(&machine(), options, Owner::Process, Owner::Dma),
        of_returned_domain(&machine(), options),
        returns_early(&machine(), options),
    ]
}

const NONE: Omissions = Omissions { domains: None, pasid_tagged: false, device_tlb: false, wait: false };

/// What is left out; and for each check above, whether it notices, without a device TLB and with one.
///
/// Entries of the IOTLB have the number of their domain. All processes share one, and no DMA domain has it: so what a PASID
/// leaves there when it moves between the two is harmless. A device TLB knows the PASID alone.
const MUTATIONS: [(&str, Omissions, [bool; 8], [bool; 8]); 6] = [
    ("nothing", NONE, [false; 8], [false; 8]),
    (
        "every invalidation of DMA domains",
        Omissions { domains: Some(DomainKind::Dma), ..NONE },
        [true, true, false, false, false, false, true, true],
        [true, true, false, false, true, false, true, true],
    ),
    (
        "every invalidation of processes",
        Omissions { domains: Some(DomainKind::Sva), ..NONE },
        [false, false, true, true, false, false, false, false],
        [false, false, true, true, false, true, false, false],
    ),
    (
        "invalidations with a PASID",
        Omissions { pasid_tagged: true, ..NONE },
        [false, true, true, true, false, false, true, false],
        [false, true, true, true, true, true, true, false],
    ),
    (
        "invalidations of the device TLB",
        Omissions { device_tlb: true, ..NONE },
        // What does not exist is not missed.
        [false; 8],
        [true, true, true, true, true, true, true, false],
    ),
    (
        "the wait",
        Omissions { wait: true, ..NONE },
        [false, false, false, false, false, false, false, true],
        [false, false, false, false, false, false, false, true],
    ),
];

#[test]
fn each_missing_invalidation_is_noticed_and_only_where_it_matters() {
    for (name, omissions, without, with) in MUTATIONS {
        assert_eq!(stale(omissions, false), without, "without {name}, no device TLB");
        assert_eq!(stale(omissions, true), with, "without {name}, with a device TLB");
    }
}

/// Whoever had it, and whoever gets it.
#[test]
fn a_pasid_that_is_given_out_again_carries_nothing_over() {
    let shared = |owner| matches!(owner, Owner::Process | Owner::Through);
    for (from, to) in OWNERS.into_iter().flat_map(|from| OWNERS.map(|to| (from, to))) {
        if [from, to] == [Owner::Through; 2] {
            continue; // Both reach the same memory.
        }
        for device_tlb in [false, true] {
            let options = DeviceOptions::default().device_tlb(device_tlb);
            let stale = |omissions| of_reused_pasid(&omitting(omissions), options, from, to);
            let name = format!("from {from:?} to {to:?}, device TLB: {device_tlb}");
            assert!(!stale(NONE), "{name}");
            // Without a device TLB only where both domains have the same number.
            let noticed = device_tlb || shared(from) && shared(to);
            assert_eq!(stale(Omissions { pasid_tagged: true, ..NONE }), noticed, "{name}");
        }
    }
}

#[test]
fn every_end_of_an_attachment_waits_for_accesses_that_have_begun() {
    for omissions in [NONE, Omissions { wait: true, ..NONE }] {
        let options = DeviceOptions::default();
        for owner in OWNERS {
            let machine = omitting(omissions);
            let memory = machine.iommu.add_device(ID, options).unwrap();
            let one = owned(&machine, owner, 8);
            let early = is_early(&machine, &memory, one.pasid.user(), DATA, one.end);
            assert_eq!(early, omissions.wait, "{owner:?}");
        }
        let ends: [fn(&Iommu); 2] =
            [|iommu| iommu.attach(ID, &iommu.dma_domain(DmaMode::Strict)).unwrap(), |iommu| iommu.detach(ID).unwrap()];
        for end in ends {
            let machine = omitting(omissions);
            let (memory, _dma) = machine.dma(DmaMode::PassThrough, options);
            let early = is_early(&machine, &memory, Requester::DEVICE, DATA, || end(&machine.iommu));
            assert_eq!(early, omissions.wait);
        }
    }
}

/// Why the kernel's own address space is not shared with devices any more. Its tables change without notice to an IOMMU, so a
/// device may use a page that was freed, and belongs to somebody else by now.
#[test]
fn an_address_space_that_changes_without_notice_lets_a_device_write_freed_pages() {
    for device_tlb in [false, true] {
        let options = DeviceOptions::default().device_tlb(device_tlb);
        let unsafe_machine = Machine::new();
        unsafe_machine.iommu.omit(Omissions { domains: Some(DomainKind::Sva), ..NONE });
        assert!(of_process(&unsafe_machine, options), "the freed page was written");
        assert_eq!(unsafe_machine.reasons(), [], "and nobody was told");
        // The same through a DMA domain with a PASID, which is what replaced it: the omission does not touch that.
        unsafe_machine.iommu.remove_device(ID).unwrap();
        assert!(!of_dma(&unsafe_machine, options, true));
        assert!(!of_process(&Machine::new(), options));
    }
}

fn lazy(options: IommuOptions) -> (Machine, DmaDomain, [Client; 2], (u64, u64)) {
    let machine = Machine::with(options);
    let (memory, dma) = machine.dma(DmaMode::Lazy, DeviceOptions::default());
    let pasid = machine.iommu.enable_pasid_dma(ID).unwrap();
    let record = dma.map_single(frame(0), 32, Direction::FromDevice).unwrap();
    let device = by_hand(memory);
    let clients = [Requester::DEVICE, pasid.user()].map(|by| device.open_as(0, by).unwrap());
    (machine, dma, clients, (record, frame(0)))
}

#[test]
fn lazy_unmaps_let_cached_pages_be_reached_until_the_flush_and_no_longer() {
    type Flush = fn(&Machine, &DmaDomain);
    let flushes: [Flush; 2] = [|_, dma| dma.flush(), |machine, _| machine.iommu.tick()];
    for flush in flushes {
        let (machine, dma, clients, record) = lazy(IommuOptions::default());
        let to = dma.map_single(frame(1), PAGE, Direction::FromDevice).unwrap();
        let cold = dma.map_single(frame(2), PAGE, Direction::FromDevice).unwrap();
        for client in &clients {
            assert!(writes(&machine, client, to, record, 1));
        }
        machine.iommu.take_invalidations();
        dma.unmap(to).unwrap();
        dma.unmap(cold).unwrap();
        assert_eq!((dma.pending(), machine.iommu.take_invalidations()), (2, vec![]));
        assert_eq!(
            dma.unmap(to).unwrap_err().to_string(),
            format!("{to:#x} is not mapped, or not the beginning of a mapping")
        );
        for (client, byte) in clients.iter().zip(2..) {
            assert!(writes(&machine, client, to, record, byte), "a device that knows the page goes on");
            assert!(machine.is_filled(frame(1), byte));
            assert!(!writes(&machine, client, cold, record, byte), "one that does not finds it gone");
        }
        // Addresses that a device may still know are not given out.
        let next = dma.map_single(frame(3), PAGE, Direction::FromDevice).unwrap();
        assert!(next != to && next != cold);
        flush(&machine, &dma);
        machine.fill(frame(1), BYTE);
        for client in &clients {
            assert!(!writes(&machine, client, to, record, 9));
        }
        assert!(machine.is_filled(frame(1), BYTE));
        assert_eq!(dma.pending(), 0);
        assert_eq!(dma.map_single(frame(4), PAGE, Direction::FromDevice), Ok(to), "the highest is free again");
    }
}

#[test]
fn so_many_ranges_that_wait_are_flushed_by_the_unmap_that_makes_them_so_many() {
    let (machine, dma, clients, record) = lazy(IommuOptions::default().flush_after(3));
    let all = [1, 2, 3].map(|n| dma.map_single(frame(n), PAGE, Direction::FromDevice).unwrap());
    for to in all {
        assert!(writes(&machine, &clients[1], to, record, 1));
    }
    for (to, pending) in all.into_iter().zip([1, 2, 0]) {
        dma.unmap(to).unwrap();
        assert_eq!(dma.pending(), pending);
    }
    for to in all {
        assert!(!writes(&machine, &clients[1], to, record, 2));
    }
}

#[test]
fn a_flush_that_is_left_out_is_noticed() {
    let (machine, dma, clients, record) = lazy(IommuOptions::default());
    machine.iommu.omit(Omissions { pasid_tagged: true, ..NONE });
    for (client, noticed) in clients.iter().zip([false, true]) {
        let to = dma.map_single(frame(1), PAGE, Direction::FromDevice).unwrap();
        let take = || {
            dma.unmap(to).unwrap();
            dma.flush();
        };
        assert_eq!(is_stale(&machine, client, to, record, frame(1), take), noticed);
    }
}

/// The other ways to take something away: permission, place, presence, process, attachment.
#[test]
fn whatever_changes_the_caches_follow() {
    let machine = Machine::new();
    let memory = machine.iommu.add_device(ID, DeviceOptions::default()).unwrap();
    let process = machine.iommu.process();
    process.map(0x1000, frame(0), 4 * PAGE, Permission::ReadWrite).unwrap();
    let binding = machine.iommu.bind(ID, &process).unwrap();
    let at = |addr, access| machine.translate(&memory, binding.pasid().user(), addr, access);
    let warm = || (1..5).for_each(|n| assert!(at(n * PAGE, Access::Write).is_some()));
    warm();
    process.protect(0x1000, PAGE, Permission::ReadOnly).unwrap();
    assert_eq!([at(0x1000, Access::Read), at(0x1000, Access::Write)], [Some(frame(0)), None]);
    process.protect(0x1000, PAGE, Permission::ReadWrite).unwrap();
    assert_eq!(at(0x1000, Access::Write), Some(frame(0)), "a cached page that forbids is looked up again");
    process.evict(0x2000, 2 * PAGE).unwrap();
    assert_eq!(
        [0x1000, 0x2000, 0x3000, 0x4000].map(|addr| at(addr, Access::Read).is_some()),
        [true, false, false, true]
    );
    process.migrate(0x4000, frame(9), PAGE).unwrap();
    assert_eq!(at(0x4000, Access::Write), Some(frame(9)));
    process.exit();
    assert_eq!(at(0x4000, Access::Write), None);
    let through = machine.iommu.dma_domain(DmaMode::PassThrough);
    machine.iommu.attach(ID, &through).unwrap();
    let device = |addr| machine.translate(&memory, Requester::DEVICE, addr, Access::Write);
    assert!(device(frame(3)).is_some());
    machine.iommu.attach(ID, &machine.iommu.dma_domain(DmaMode::Strict)).unwrap();
    assert_eq!(device(frame(3)), None, "another domain");
    machine.iommu.attach(ID, &through).unwrap();
    assert!(device(frame(3)).is_some());
    machine.iommu.detach(ID).unwrap();
    assert_eq!(device(frame(3)), None);
}

/// A move whose pages come and go between its page requests ends with the right bytes.
#[test]
fn a_move_over_pages_that_come_one_by_one() {
    let machine = Machine::new();
    let memory = machine.iommu.add_device(ID, DeviceOptions::default()).unwrap();
    let process = machine.iommu.process();
    process.map(0x1000, frame(0), PAGE, Permission::ReadWrite).unwrap();
    process.map_absent(0x10_0000, frame(16), 16 * PAGE, Permission::ReadOnly).unwrap();
    process.map_absent(0x20_0000, frame(32), 16 * PAGE, Permission::ReadWrite).unwrap();
    let binding = machine.iommu.bind(ID, &process).unwrap();
    let client = by_hand(memory).open_as(0, binding.pasid().user()).unwrap();
    let data = common::noise(16 * PAGE as usize, 3);
    machine.ram.write(frame(16), &data).unwrap();
    let moving = recorded(memmove(0x10_0007, 0x20_0100, 15 * PAGE as u32), 0x1000);
    submit(&client, &Descriptor { ..with_flags(moving, CR | flag::BLOCK_ON_FAULT) });
    assert!(client.drain());
    assert_eq!(machine.record(frame(0)).status, status::SUCCESS);
    assert_eq!(machine.bytes(frame(32) + 0x100, 15 * PAGE as usize), data[7..7 + 15 * PAGE as usize]);
    assert_eq!(machine.iommu.statistics().page_requests, 32);
}
