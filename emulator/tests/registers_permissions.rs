//! What a driver sees of versions 2.0 and 3.0: the permissions table and its commands, capabilities, the limit of lists.

mod common;
mod descriptors;
mod driver;

use std::sync::{Arc, Mutex};

use common::*;
use descriptors::*;
use driver::*;
use dsa_emulator::{
    Access, AddressSpace, CheckedMemory, Config, Instruction, InterDomain, PageFault, PciControl, Permission,
    PermissionEntry, PortalAnswer, Requester, Span,
};
use idxd_sys::compute::data_type as ty;
use idxd_sys::compute::sgl_format::OFFSET_64;
use idxd_sys::swerr::SwError;
use idxd_sys::{Descriptor, cmd_status, flag, idpt, portal, status};

const IDCAP: u64 = 0x100;
const IDBR: u64 = 0x108;
const DSACAP: u64 = 0x180;
const CMDPARAM: u64 = 0xe000;

const REQUEST_IDPT_HANDLE: u32 = 15;
const RELEASE_IDPT_HANDLE: u32 = 16;
const INVALIDATE_BITMAPS: u32 = 17;

/// Where the event log lies, and a bitmap.
const LOG: u64 = 0x90_0000;
const BITMAP: u64 = 0xa0_0000;

fn with(change: impl FnOnce(&mut InterDomain)) -> Config {
    let mut config = Config::diamond_rapids().manual();
    change(&mut config.inter_domain);
    config
}

fn table(d: &Driver) -> u64 {
    (d.r64(0x68) >> 16 & 0xffff) * 0x100
}

fn write_entry(d: &Driver, index: u64, entry: PermissionEntry) {
    let bytes: Vec<u8> = entry.words().into_iter().flat_map(u64::to_le_bytes).collect();
    d.function.write(table(d) + 32 * index, &bytes);
}

fn entry_at(d: &Driver, offset: u64) -> PermissionEntry {
    PermissionEntry::from_words([0, 8, 16, 24].map(|word| d.r64(offset + word)))
}

#[test]
fn capabilities_follow_version_and_configuration() {
    let one = function(Config::sapphire_rapids());
    assert_eq!([0x68, IDCAP, IDBR, DSACAP, DSACAP + 8, DSACAP + 16, 0x9000].map(|at| one.r64(at)), [0; 7]);
    one.w64(0x9000, u64::MAX);
    one.w32(IDBR, u32::MAX);
    assert_eq!((one.r64(0x9000), one.r32(IDBR)), (0, 0));
    let two = function(Config::granite_rapids());
    assert_eq!([DSACAP, DSACAP + 8, DSACAP + 16].map(|at| two.r64(at)), [0; 3]);
    let idcap = two.r64(IDCAP);
    assert_eq!((idpt::idcap::entries(idcap), idpt::idcap::entry_size(idcap), idcap & 0b11), (64, 32, 0b11));
    assert_ne!(idcap & idpt::idcap::OFFSET_MODE & (idpt::idcap::SUPPRESS_DRAIN >> 1), 0);
    assert_eq!(table(&two) % 0x100, 0);
    let three = function(with(|t| {
        (t.entries, t.entry_size, t.types) = (20, 128, 0b10);
        (t.offset_mode, t.suppress_drain, t.request_handles, t.bitmap_cache) = (false, false, false, false);
    }));
    assert_eq!(three.r64(IDCAP), 20 << 8 | 0b10 | 2 << 26);
    assert_eq!(three.r64(0xb0), 0x7ffe, "none of the commands");
    assert_eq!([0, 1, 2].map(|i| three.r64(DSACAP + 8 * i)), three.function.device().config().dsacap);
    for command in [REQUEST_IDPT_HANDLE, RELEASE_IDPT_HANDLE, INVALIDATE_BITMAPS] {
        assert_eq!(three.command(command, 0), cmd_status::INVAL_CMD);
    }
    // The 20th entry is the last; 32 of its 128 bytes mean something.
    let last = table(&three) + 19 * 128;
    three.function.write(last, &[0xff; 256]);
    assert_ne!(entry_at(&three, last), PermissionEntry::default());
    assert_eq!([32, 64, 128].map(|at| three.r64(last + at)), [0; 3]);
}

#[test]
fn an_entry_is_written_in_one_piece_and_fixed_while_it_is_usable() {
    let d = function(with(|_| {}));
    let at = table(&d) + 32 * 63;
    let entry = PermissionEntry::single(7, 9).window(0x1000, 0x2000);
    write_entry(&d, 63, entry);
    assert_eq!(entry_at(&d, at), entry);
    // Usable: nothing but the two bits of its life can change, also not in the write that changes them.
    let other = PermissionEntry::multiple(0x5000, 3).usable(false);
    d.function.write(at, &other.words().map(u64::to_le_bytes).concat());
    assert_eq!(entry_at(&d, at), entry.usable(false));
    write_entry(&d, 63, other);
    assert_eq!(entry_at(&d, at), other);
    // Two words of 8 bytes, as a driver writes them: the first one makes it usable and says whose memory it is.
    write_entry(&d, 63, PermissionEntry::default());
    d.w64(at + 8, 0x1000);
    d.w64(at + 16, 0x2000);
    d.w64(at, entry.words()[0]);
    assert_eq!(entry_at(&d, at), entry);
    // While updates are allowed, submitter and bitmap can be written, the window cannot.
    d.w64(at, entry.allow_update(true).usable(false).words()[0]);
    assert_eq!(entry_at(&d, at), entry.allow_update(true).usable(false));
    d.w64(at + 8, 0);
    d.w64(at, PermissionEntry::single(8, 10).allow_update(true).usable(false).words()[0]);
    assert_eq!(entry_at(&d, at), PermissionEntry::single(8, 9).window(0x1000, 0x2000).allow_update(true).usable(false));
    // Single bytes.
    d.function.write(at, &[0]);
    assert_eq!(d.r32(at) & 0xff, 0);
    assert_eq!(d.command(RESET_DEVICE, 0), 0);
    assert_eq!(entry_at(&d, at), PermissionEntry::default());
}

#[test]
fn handles_come_from_a_command() {
    let d = function(with(|_| {}));
    let handle = d.command(REQUEST_IDPT_HANDLE, 3);
    assert_eq!((handle & 0xff, d.command(REQUEST_IDPT_HANDLE, 3)), (0, handle));
    assert_ne!(d.command(REQUEST_IDPT_HANDLE, 4), handle);
    assert_eq!(d.command(REQUEST_IDPT_HANDLE, 64), idpt::COMMAND_NO_ENTRY);
    assert_eq!(d.command(RELEASE_IDPT_HANDLE, 3), 0, "by the index");
    assert_eq!(d.command(RELEASE_IDPT_HANDLE, handle >> 8), idpt::COMMAND_NO_ENTRY, "it is released");
    let again = d.command(REQUEST_IDPT_HANDLE, 3);
    assert_ne!(again, handle);
    assert_eq!(d.command(RELEASE_IDPT_HANDLE, again >> 8), 0, "by the handle");
    d.command(REQUEST_IDPT_HANDLE, 3);
    d.function.reset();
    assert_eq!(d.command(RELEASE_IDPT_HANDLE, 3), idpt::COMMAND_NO_ENTRY);
}

fn submit(d: &Driver, pasid: u32, descriptor: &Descriptor) -> u8 {
    d.memory.write(RECORDS, &[0; 32]).unwrap();
    assert_eq!(d.enqcmd(0, pasid, descriptor), PortalAnswer::Accepted);
    d.function.device().run_until_idle();
    d.status(RECORDS)
}

#[test]
fn a_driver_opens_memory_to_many_and_closes_it() {
    let d = function(with(|_| {}));
    d.memory.map(BITMAP, PAGE, Permission::ReadWrite).unwrap();
    d.w32(IDBR, 5 << 8 | 1);
    d.enable(&[SHARED]);
    write_entry(&d, 2, PermissionEntry::multiple(BITMAP, 9).offset_window(SRC, PAGE));
    let handle = (d.command(REQUEST_IDPT_HANDLE, 2) >> 8) as u16;
    let copy = through(domain_copy(16, DST, 64), Some(handle), None);
    d.memory.write(SRC + 16, &noise(64, 1)).unwrap();
    assert_eq!(submit(&d, 3, &copy), status::IDPT_HANDLE);
    d.memory.write(BITMAP, &[1 << 3]).unwrap();
    assert_eq!(submit(&d, 3, &copy), status::IDPT_HANDLE, "what is cached");
    // A part that does not matter, then the one that does.
    d.w64(CMDPARAM, BITMAP + 0x80);
    assert_eq!((d.r64(CMDPARAM), d.command(INVALIDATE_BITMAPS, 0x40)), (BITMAP + 0x80, 0));
    assert_eq!(submit(&d, 3, &copy), status::IDPT_HANDLE);
    d.w64(CMDPARAM, BITMAP);
    assert_eq!(d.command(INVALIDATE_BITMAPS, 0x40), 0);
    assert_eq!(submit(&d, 3, &copy), status::SUCCESS);
    let mut copied = [0; 64];
    d.memory.read(DST, &mut copied).unwrap();
    assert_eq!(copied[..], noise(64, 1));
    d.w64(table(&d) + 64, 0);
    assert_eq!(submit(&d, 3, &copy), status::IDPT_HANDLE, "not usable any more");
}

#[test]
fn the_bitmap_register_is_fixed_while_the_device_is_enabled_and_checked_when_it_is() {
    let d = function(with(|_| {}));
    d.w32(IDBR, !0);
    assert_eq!(d.r32(IDBR), 0x0fff_ff1f);
    d.configure(&[SHARED]);
    for (pci, bits) in [
        (PciControl { pasid: false, ..PciControl::default() }, 1),
        (PciControl { privileged: false, ..PciControl::default() }, 3),
    ] {
        d.function.set_pci_control(pci);
        d.w32(IDBR, 5 << 8 | bits);
        assert_eq!(d.command(ENABLE_DEVICE, 0), cmd_status::HW_PASID_INVAL);
    }
    d.function.set_pci_control(PciControl { privileged: false, ..PciControl::default() });
    d.w32(IDBR, 5 << 8 | 1);
    assert_eq!(d.command(ENABLE_DEVICE, 0), 0);
    d.w32(IDBR, 6 << 8 | 1);
    assert_eq!(d.r32(IDBR), 5 << 8 | 1);
    assert_eq!(d.command(DISABLE_DEVICE, 0), 0);
    d.w32(IDBR, 6 << 8 | 1);
    assert_eq!(d.r32(IDBR), 6 << 8 | 1);
    assert_eq!(d.command(RESET_DEVICE, 0), 0);
    assert_eq!(d.r32(IDBR), 0);
    // Without entries for many submitters there is none.
    let single = function(with(|t| t.types = 1));
    single.w32(IDBR, !0);
    assert_eq!(single.r32(IDBR), 0);
}

#[test]
fn queues_have_a_limit_of_list_entries_from_version_3() {
    let old = function(Config::granite_rapids());
    old.w32(old.queue_register(0, 3), !0);
    assert_eq!(old.r32(old.queue_register(0, 3)), 0x1ff);
    let d = function(Config::diamond_rapids().manual());
    d.configure(&[SHARED]);
    let shifts = d.r32(d.queue_register(0, 3));
    assert_eq!(d.command(ENABLE_DEVICE, 0), 0);
    d.w32(d.queue_register(0, 3), shifts | 11 << 9);
    assert_eq!(d.command(ENABLE_WQ, 0), cmd_status::HW_MAX_BATCH, "more than the device has");
    d.w32(d.queue_register(0, 3), shifts | 3 << 9);
    assert_eq!(d.command(ENABLE_WQ, 0), 0);
    assert_eq!(d.r32(d.queue_register(0, 3)), shifts | 3 << 9);
    let list = |entries| Sgl { at: LIST, entries, format: OFFSET_64, base: SRC };
    assert_eq!(submit(&d, 1, &gather(list(8), DST, 8, ty::INT8)), status::SUCCESS);
    assert_eq!(submit(&d, 1, &gather(list(9), DST, 8, ty::INT8)), status::BAD_COUNT);
}

#[test]
fn a_queue_without_a_pasid_has_no_inter_domain_operations() {
    let d = function(with(|t| t.request_handles = false));
    d.enable(&[Queue { pasid: None, ..DEDICATED }, Queue { pasid: Some(5), ..DEDICATED }]);
    write_entry(&d, 0, PermissionEntry::single(5, 5).allow_update(true));
    let list = Sgl { at: LIST, entries: 1, format: OFFSET_64, base: SRC };
    for descriptor in [
        through(domain_copy(SRC, DST, 8), Some(0), None),
        through(domain_fill(0, DST, 8), None, Some(0)),
        through(domain_compare(SRC, DST, 8), None, Some(0)),
        through(domain_compare_pattern(SRC, 0, 8), Some(0), None),
        update(0, None, idpt::UPDATE_READ | idpt::UPDATE_WRITE),
        through(convert(SRC, DST, 8, (ty::INT8, ty::INT8), 0), Some(0), None),
        through(gather(list, DST, 8, ty::INT8), Some(0), None),
    ] {
        for (wq, expected) in [(0, status::INTER_DOMAIN_NO_PASID), (1, status::SUCCESS)] {
            d.memory.write(RECORDS, &[0; 32]).unwrap();
            d.movdir64b(wq, &descriptor);
            d.function.device().run_until_idle();
            assert_eq!(d.status(RECORDS), expected, "opcode {:#x}", descriptor.opcode());
        }
    }
    d.movdir64b(0, &convert(SRC, DST2, 8, (ty::INT8, ty::INT8), 0));
    d.function.device().run_until_idle();
    assert_eq!(d.status(RECORDS), status::SUCCESS, "typed operations of one domain need none");
}

#[test]
fn errors_without_a_record_name_the_handle_in_the_register_and_in_the_log() {
    let d = function(with(|t| t.request_handles = false));
    d.memory.map(LOG, PAGE, Permission::ReadWrite).unwrap();
    let unrecorded = |descriptor: Descriptor| with_flags(descriptor, descriptor.flags() & !CR);
    d.enable(&[SHARED]);
    write_entry(&d, 7, PermissionEntry::single(3, 9).offset_window(0xdead_0000, PAGE));
    let window = unrecorded(through(domain_copy(PAGE, DST, 8), Some(7), None));
    let fault = unrecorded(through(domain_copy(8, DST, 8), Some(7), None));
    let own_fault = unrecorded(domain_compare(0xdead_0000, SRC, 8));
    let own_fault = with_flags(
        through(domain_copy(0xdead_0000, 0, 8), None, Some(7)),
        own_fault.flags() | flag::ALTERNATE_DESTINATION,
    );
    let update = unrecorded(update(9, None, 0));
    let cases = [
        (window, status::IDPT_WINDOW, 7),
        (fault, status::PAGE_FAULT, 1 << 29 | 7),
        (own_fault, status::PAGE_FAULT, 1 << 29),
        (update, status::IDPT_UPDATE, 9),
    ];
    for (descriptor, code, information) in cases {
        d.w64(0xc0, 3);
        submit(&d, 3, &descriptor);
        let words = [0, 8, 16, 24].map(|at| d.r64(SWERROR + at));
        let error = SwError::decode(words).unwrap();
        assert_eq!((error.error, words[1] >> 32, words[0] >> 7 & 1), (code, information, 1));
        assert_eq!(
            words[2],
            if information == 1 << 29 { 0xdead_0000 } else { 0 },
            "an address behind an offset is hidden"
        );
    }
    assert_eq!(d.command(DISABLE_DEVICE, 0), 0);
    d.w64(EVLCFG, LOG);
    d.w64(EVLCFG + 8, 64);
    d.w32(GENCFG, 1 << 13);
    assert_eq!([ENABLE_DEVICE, ENABLE_WQ].map(|command| d.command(command, 0)), [0; 2]);
    for (i, (descriptor, code, information)) in cases.into_iter().enumerate() {
        submit(&d, 3, &descriptor);
        let mut entry = [0; 16];
        d.memory.read(LOG + 64 * i as u64, &mut entry).unwrap();
        let word = |at: usize| u64::from_le_bytes(entry[at..at + 8].try_into().unwrap());
        assert_eq!((word(0) >> 8 & 0xff, word(8) >> 32, word(0) >> 7 & 1), (u64::from(code), information, 1));
    }
}

/// Notes who reaches memory, for what.
struct Witness {
    memory: Arc<CheckedMemory>,
    seen: Mutex<Vec<(Requester, u64, Access)>>,
}

// SAFETY: that of the memory behind it.
unsafe impl AddressSpace for Witness {
    fn translate(&self, by: Requester, addr: u64, len: u64, access: Access) -> Result<Span, PageFault> {
        self.seen.lock().unwrap().push((by, addr, access));
        self.memory.translate(by, addr, len, access)
    }

    fn resolve(&self, by: Requester, addr: u64, access: Access) -> bool {
        self.memory.resolve(by, addr, access)
    }
}

#[test]
fn accesses_have_the_pasid_of_the_entry_and_its_privilege() {
    let memory = memory();
    let witness = Arc::new(Witness { memory: Arc::clone(&memory), seen: Mutex::default() });
    let d = function_over(with(|t| t.request_handles = false), witness.clone(), memory);
    d.enable(&[SHARED]);
    for kept in [false, true] {
        for privileged in [false, true] {
            write_entry(&d, 0, PermissionEntry::default());
            write_entry(&d, 0, PermissionEntry::default());
            write_entry(&d, 0, PermissionEntry::single(3, 9).keep_privilege(kept));
            let copy = through(domain_copy(SRC, DST, 8), Some(0), None);
            let line = Descriptor { pasid: 3 | u32::from(privileged) << 31, ..copy };
            witness.seen.lock().unwrap().clear();
            assert_eq!(d.submit(0, portal::LIMITED_MSIX, &line, Instruction::Enqcmds), PortalAnswer::Accepted);
            d.function.device().run_until_idle();
            let own = Requester { privileged, ..Requester::user(3) };
            let other = Requester { privileged: privileged && kept, ..Requester::user(9) };
            let expected = [(other, SRC, Access::Read), (own, DST, Access::Write), (own, RECORDS, Access::Write)];
            assert_eq!(*witness.seen.lock().unwrap(), expected);
        }
    }
}
