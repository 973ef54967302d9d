//! What waits for a descriptor in the memory of another PASID, and what ends it: updates of windows, drains, aborts.

mod common;
mod descriptors;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use common::*;
use descriptors::*;
use dsa_emulator::{Access, AddressSpace, Client, Device, PageFault, PasidMemory, PermissionEntry, Requester, Span};
use idxd_sys::compute::data_type as ty;
use idxd_sys::compute::sgl_format::OFFSET_64;
use idxd_sys::{Descriptor, flag, idpt, status};

/// Memory whose page requests wait until a gate is opened, or the device has to stop.
struct Gate {
    memory: Arc<PasidMemory>,
    waiting: AtomicUsize,
    open: AtomicBool,
}

// SAFETY: that of the memory behind it.
unsafe impl AddressSpace for Gate {
    fn translate(&self, by: Requester, addr: u64, len: u64, access: Access) -> Result<Span, PageFault> {
        self.memory.translate(by, addr, len, access)
    }

    fn resolve(&self, by: Requester, addr: u64, access: Access) -> bool {
        self.memory.resolve(by, addr, access)
    }

    fn resolve_unless(&self, by: Requester, addr: u64, access: Access, stop: &dyn Fn() -> bool) -> bool {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        while !self.open.load(Ordering::SeqCst) {
            if stop() {
                return false;
            }
            std::thread::yield_now();
        }
        self.resolve(by, addr, access)
    }
}

struct Waiting {
    domains: Domains,
    gate: Arc<Gate>,
    owner: Client,
}

/// Four engines, with entry 0 for a window in the first domain, whose second page has to be asked for.
fn waiting() -> Waiting {
    let mut config = full().engines(4);
    config.inter_domain.request_handles = false;
    let Domains { memory, .. } = domains();
    let gate =
        Arc::new(Gate { memory: Arc::clone(&memory), waiting: AtomicUsize::new(0), open: AtomicBool::new(false) });
    let device = Device::with_memory(config, Arc::clone(&gate) as _).unwrap();
    device.permissions().set(0, PermissionEntry::single(OWN, FIRST).window(SRC, LEN).allow_update(true)).unwrap();
    memory.of(FIRST).set_present(SRC + PAGE, PAGE, false).unwrap();
    memory.of(FIRST).set_resolvable(SRC + PAGE, PAGE, true).unwrap();
    let client = device.open_with_pasid(0, OWN).unwrap();
    let owner = device.open_with_pasid(0, FIRST).unwrap();
    Waiting { domains: Domains { device, client, memory }, gate, owner }
}

impl Waiting {
    /// Submits descriptors that have to wait for a page of the first domain, and returns when they do.
    fn start(&self, descriptors: &[Descriptor]) {
        for d in descriptors {
            submit_by(&self.domains.client, d);
        }
        wait(|| self.gate.waiting.load(Ordering::SeqCst) == descriptors.len());
    }

    /// Lets other descriptors pass, so that whoever does not wait has had a chance to end.
    fn let_others_pass(&self) {
        let other = self.domains.device.open_with_pasid(0, SECOND).unwrap();
        for _ in 0..200 {
            self.domains.put(SECOND, RECORDS, &[0; 32]);
            submit_by(&other, &nop());
            wait(|| self.domains.of(SECOND).status(RECORDS).unwrap() != 0);
        }
    }

    fn open(&self) {
        self.gate.open.store(true, Ordering::SeqCst);
    }

    fn status(&self, pasid: u32, record: u64) -> u8 {
        self.domains.of(pasid).status(record).unwrap()
    }
}

impl Drop for Waiting {
    /// A test that fails must not wait for descriptors that wait for it.
    fn drop(&mut self) {
        self.open();
    }
}

/// A copy out of the first domain that needs the page which is not there.
fn stuck(record: u64) -> Descriptor {
    let copy = through(domain_copy(SRC + PAGE, DST, 64), Some(0), None);
    with_record(with_flags(copy, copy.flags() | flag::BLOCK_ON_FAULT), record)
}

#[test]
fn an_update_takes_effect_at_once_and_ends_when_nobody_uses_the_old_window() {
    let w = waiting();
    w.start(&[stuck(0), stuck(1)]);
    let narrow = update(0, Some((SRC, 64)), idpt::UPDATE_READ);
    submit_by(&w.owner, &narrow);
    let expected = PermissionEntry::single(OWN, FIRST).window(SRC, 64).permit(true, false).allow_update(true);
    wait(|| w.domains.device.permissions().get(0) == Some(expected));
    w.let_others_pass();
    assert_eq!(w.status(FIRST, RECORDS), 0, "two descriptors have the old window");
    // A new one has the new window.
    let copy = with_record(through(domain_copy(SRC + PAGE, DST, 64), Some(0), None), 2);
    submit_by(&w.domains.client, &copy);
    wait(|| w.status(OWN, RECORDS + 64) != 0);
    assert_eq!(w.status(OWN, RECORDS + 64), status::IDPT_WINDOW);
    assert_eq!([0, 32].map(|at| w.status(OWN, RECORDS + at)), [0; 2]);
    w.open();
    wait(|| w.status(FIRST, RECORDS) != 0);
    assert_eq!(w.status(FIRST, RECORDS), status::SUCCESS);
    assert_eq!([0, 32].map(|at| w.status(OWN, RECORDS + at)), [status::SUCCESS; 2], "they ended before the update did");
}

#[test]
fn an_update_without_a_drain_waits_for_nobody() {
    let w = waiting();
    w.start(&[stuck(0)]);
    let narrow = update(0, Some((SRC, 64)), idpt::UPDATE_READ);
    submit_by(&w.owner, &with_flags(narrow, CR | flag::SUPPRESS_DRAIN));
    wait(|| w.status(FIRST, RECORDS) == status::SUCCESS);
    assert_eq!(w.status(OWN, RECORDS), 0);
    // Neither does an update of another entry.
    let other = PermissionEntry::single(OWN, FIRST).allow_update(true);
    w.domains.device.permissions().set(1, other).unwrap();
    submit_by(&w.owner, &with_record(update(1, None, 0), 1));
    wait(|| w.status(FIRST, RECORDS + 32) == status::SUCCESS);
    assert_eq!(w.status(OWN, RECORDS), 0);
    w.open();
    wait(|| w.status(OWN, RECORDS) == status::SUCCESS);
}

#[test]
fn updates_that_wait_for_the_same_descriptor_end_together() {
    let w = waiting();
    w.start(&[stuck(0)]);
    for i in 0..3 {
        let d = update(0, Some((SRC, 64 + i)), idpt::UPDATE_READ);
        submit_by(&w.owner, &with_record(d, i));
    }
    // The last engine is taken by then, so nobody else could pass.
    wait(|| w.domains.device.permissions().get(0).unwrap().words()[2] != LEN);
    assert_eq!([0, 1, 2].map(|i| w.status(FIRST, RECORDS + 32 * i)), [0; 3]);
    w.open();
    wait(|| (0..3).all(|i| w.status(FIRST, RECORDS + 32 * i) == status::SUCCESS));
}

#[test]
fn aborting_the_owner_of_the_memory_ends_descriptors_of_others_with_a_status() {
    let entries: Vec<u8> = [0u64, PAGE].into_iter().flat_map(u64::to_le_bytes).collect();
    let list = Sgl { at: LIST, entries: 2, format: OFFSET_64, base: SRC };
    let blocking = |d: Descriptor| with_flags(d, d.flags() | flag::BLOCK_ON_FAULT);
    let into = blocking(through(domain_copy(DST, SRC + PAGE, 64), None, Some(0)));
    let typed = blocking(through(convert(SRC + PAGE, DST2, 64, (ty::INT8, ty::INT8), 0), Some(0), None));
    let gather = blocking(through(gather(list, DST2, 64, ty::INT8), Some(0), None));
    for d in [stuck(0), into, typed, gather] {
        let w = waiting();
        w.domains.put(OWN, LIST, &entries);
        w.start(&[d]);
        // Another PASID has nothing to do with it.
        w.domains.device.abort_pasid(SECOND);
        assert_eq!(w.status(OWN, RECORDS), 0);
        w.domains.device.abort_pasid(FIRST);
        let record = w.domains.record(OWN, RECORDS);
        assert_eq!((record.status, handle_of(&record)), (status::DOMAIN_GONE, 0), "opcode {:#x}", d.opcode());
        // What comes later goes on.
        w.open();
        w.domains.put(OWN, RECORDS, &[0; 32]);
        submit_by(&w.domains.client, &d);
        wait(|| w.status(OWN, RECORDS) == status::SUCCESS);
        assert!(w.domains.client.drain());
    }
}

#[test]
fn aborts_of_the_submitter_of_its_queue_or_of_all_leave_no_record() {
    let aborts: [fn(&Device); 4] = [
        |device| device.abort_pasid(OWN),
        |device| device.abort_wq(0).unwrap(),
        |device| device.abort_all().unwrap(),
        Device::reset,
    ];
    for abort in aborts {
        let w = waiting();
        w.start(&[stuck(0)]);
        abort(&w.domains.device);
        w.domains.client.quiesce();
        assert_eq!(w.status(OWN, RECORDS), 0);
        assert!(!w.domains.client.drain());
    }
}

#[test]
fn aborting_a_submitter_that_reaches_its_own_memory_leaves_no_record() {
    let w = waiting();
    w.domains.device.permissions().set(0, PermissionEntry::single(OWN, OWN)).unwrap();
    w.domains.of(OWN).set_present(SRC + PAGE, PAGE, false).unwrap();
    w.start(&[stuck(0)]);
    w.domains.device.abort_pasid(OWN);
    assert_eq!(w.status(OWN, RECORDS), 0, "it is the domain, but there is nobody to be told");
}

#[test]
fn a_member_of_a_batch_that_loses_its_domain_fails_and_the_batch_goes_on() {
    let w = waiting();
    let members = [stuck(1), with_record(nop(), 2)];
    for (i, member) in members.iter().enumerate() {
        w.domains.put(OWN, LIST + 64 * i as u64, zerocopy::IntoBytes::as_bytes(member));
    }
    let batch = Descriptor { src_addr: LIST, xfer_size: 2, ..desc(idxd_sys::opcode::BATCH, 0) };
    submit_by(&w.domains.client, &batch);
    wait(|| w.gate.waiting.load(Ordering::SeqCst) == 1);
    w.domains.device.abort_pasid(FIRST);
    wait(|| w.status(OWN, RECORDS) != 0);
    let statuses = [0, 1, 2].map(|i| w.status(OWN, RECORDS + 32 * i));
    assert_eq!(statuses, [status::BATCH_FAIL, status::DOMAIN_GONE, status::SUCCESS]);
}

#[test]
fn draining_the_owner_of_the_memory_waits_for_descriptors_of_others() {
    let w = waiting();
    w.start(&[stuck(0)]);
    w.domains.device.drain_pasid(SECOND);
    let drained = AtomicBool::new(false);
    std::thread::scope(|s| {
        s.spawn(|| {
            w.domains.device.drain_pasid(FIRST);
            assert_eq!(w.status(OWN, RECORDS), status::SUCCESS);
            drained.store(true, Ordering::SeqCst);
        });
        w.let_others_pass();
        assert!(!drained.load(Ordering::SeqCst));
        w.open();
    });
    assert!(drained.load(Ordering::SeqCst));
}

#[test]
fn an_update_that_waits_can_be_aborted() {
    let w = waiting();
    w.start(&[stuck(0)]);
    submit_by(&w.owner, &update(0, Some((SRC, 64)), idpt::UPDATE_READ));
    wait(|| w.domains.device.permissions().get(0).unwrap().words()[2] == 64);
    w.domains.device.halt();
    w.domains.client.quiesce();
    w.owner.quiesce();
    assert_eq!([w.status(OWN, RECORDS), w.status(FIRST, RECORDS)], [0; 2]);
}
