//! The permissions table as descriptors meet it: checks of an entry, windows, bitmaps, handles, updates.

mod common;
mod descriptors;

use common::*;
use descriptors::*;
use dsa_emulator::{Config, Permission, PermissionEntry, Requester, WqConfig};
use idxd_sys::compute::data_type as ty;
use idxd_sys::compute::sgl_format::OFFSET_64;
use idxd_sys::{CompletionRecord, flag, idpt, status};

const P: u32 = PAGE as u32;

#[test]
fn each_check_of_an_entry_has_its_status_and_names_the_handle() {
    let d = domains();
    let single = PermissionEntry::single(OWN, FIRST);
    let statuses = |entry: PermissionEntry| {
        d.entry(0, entry);
        both_ways(P).map(|copy| {
            let record = d.only_changes(&copy, &[]);
            let refused = (status::IDPT_HANDLE..=status::IDPT_WINDOW).contains(&record.status);
            assert_eq!((handle_of(&record), record.bytes_completed), (0, 0));
            assert!(refused || record.status == status::SUCCESS);
            record.status
        })
    };
    let (ok, handle) = (status::SUCCESS, status::IDPT_HANDLE);
    let (permission, window) = (status::IDPT_PERMISSION, status::IDPT_WINDOW);
    assert_eq!(statuses(single), [ok, ok]);
    assert_eq!(statuses(single.usable(false)), [handle; 2]);
    assert_eq!(statuses(PermissionEntry::default()), [handle; 2]);
    assert_eq!(statuses(PermissionEntry::single(OWN + 1, FIRST)), [handle; 2], "another submitter");
    assert_eq!(statuses(single.permit(true, false)), [ok, permission]);
    assert_eq!(statuses(single.permit(false, true)), [permission, ok]);
    let words = single.words();
    for (word, bit) in [(0, 4), (0, 37), (1, 0), (2, 0), (3, 12)] {
        let mut wrong = words;
        wrong[word] |= 1 << bit;
        assert_eq!(statuses(PermissionEntry::from_words(wrong)), [handle; 2], "bit {bit} of word {word}");
    }
    // Which comes first: usable, permission, submitter, window.
    let all_wrong = PermissionEntry::single(OWN + 1, FIRST).permit(false, false).window(0, 1);
    assert_eq!(statuses(all_wrong.usable(false)), [handle; 2]);
    assert_eq!(statuses(all_wrong), [permission; 2]);
    assert_eq!(statuses(all_wrong.permit(true, true)), [handle; 2]);
    assert_eq!(statuses(single.window(0, 1)), [window; 2]);
    // Handles that there are none of: 64 entries.
    for wrong in [64, 0xffff] {
        let record = d.run(&through(domain_copy(SRC, DST, 8), Some(wrong), None));
        assert_eq!((record.status, handle_of(&record)), (handle, wrong));
    }
    // Of two handles the first that is wrong.
    d.entry(0, single);
    let record = d.run(&through(domain_copy(SRC, DST, 8), Some(0), Some(9)));
    assert_eq!((record.status, handle_of(&record)), (handle, 9));
    let record = d.run(&through(domain_copy(SRC, DST, 8), Some(8), Some(9)));
    assert_eq!((record.status, handle_of(&record)), (handle, 8));
}

#[test]
fn windows_by_address_and_by_offset_hold_to_the_byte() {
    let d = domains();
    d.put(FIRST, SRC, &noise(LEN as usize, 1));
    let (base, size) = (SRC + 100, 300);
    let copy = |addr: u64, len: u32| {
        let record = d.run(&through(domain_copy(addr, DST, len), Some(0), None));
        if record.status == status::SUCCESS {
            return true;
        }
        assert_eq!(record.status, status::IDPT_WINDOW);
        false
    };
    d.entry(0, PermissionEntry::single(OWN, FIRST).window(base, size));
    for (addr, len, good) in [
        (base, 300, true),
        (base + 299, 1, true),
        (base, 301, false),
        (base - 1, 2, false),
        (base - 1, 302, false),
        (base + 299, 2, false),
        (base + 300, 1, false),
        (0, 8, false),
        (u64::MAX, 8, false),
    ] {
        assert_eq!(copy(addr, len), good, "{addr:#x} {len}");
    }
    d.entry(0, PermissionEntry::single(OWN, FIRST).offset_window(base, size));
    for (addr, len, good) in
        [(0, 300, true), (299, 1, true), (1, 300, false), (300, 1, false), (base, 1, false), (u64::MAX - 9, 300, false)]
    {
        assert_eq!(copy(addr, len), good, "offset {addr:#x} {len}");
    }
    assert!(copy(7, 200));
    assert_eq!(d.bytes(OWN, DST, 200), d.bytes(FIRST, base + 7, 200));
    // Up to the end of the address space.
    d.entry(0, PermissionEntry::single(OWN, FIRST).offset_window(u64::MAX - 9, 10));
    let record = d.run(&through(domain_copy(0, DST, 10), Some(0), None));
    assert_eq!((record.status, record.fault_addr, record.fault_info), (status::PAGE_FAULT, 0, 1 << 1 | 1));
    assert!(!copy(0, 11));
}

#[test]
fn the_window_holds_for_each_buffer_of_a_list() {
    for offset in [false, true] {
        let d = domains();
        let entry = PermissionEntry::single(OWN, FIRST);
        let window = (SRC + 64, 64);
        d.entry(0, if offset { entry.offset_window(window.0, window.1) } else { entry.window(window.0, window.1) });
        let base = if offset { 0 } else { window.0 };
        d.put(FIRST, window.0, &noise(64, 1));
        let entries: Vec<u8> = [0u64, 48, 49, 16].into_iter().flat_map(u64::to_le_bytes).collect();
        d.put(OWN, LIST, &entries);
        let list = Sgl { at: LIST, entries: 4, format: OFFSET_64, base };
        let record = d.run(&through(gather(list, DST, 16, ty::INT8), Some(0), None));
        assert_eq!((record.status, entries_of(&record), record.bytes_completed), (status::IDPT_WINDOW, 2, 32));
        assert_eq!(handle_of(&record), 0);
        assert_eq!(
            d.bytes(OWN, DST, 33),
            [d.bytes(FIRST, window.0, 16), d.bytes(FIRST, window.0 + 48, 16), vec![0]].concat()
        );
        for fill in [scatter_fill(0, list, 16, ty::INT8), scatter(SRC, list, 16, ty::INT8)] {
            let before = d.bytes(FIRST, window.0 + 64, 64);
            let record = d.run(&through(fill, None, Some(0)));
            assert_eq!((record.status, entries_of(&record)), (status::IDPT_WINDOW, 2));
            assert_eq!(d.bytes(FIRST, window.0 + 64, 64), before);
        }
        let inside = Sgl { entries: 2, ..list };
        assert_eq!(d.run(&through(gather(inside, DST, 16, ty::INT8), Some(0), None)).status, status::SUCCESS);
    }
}

#[test]
fn many_submitters_have_a_bitmap_and_what_cannot_be_read_counts_as_0() {
    let d = domains_with(|inter_domain| {
        inter_domain.request_handles = false;
        inter_domain.bitmap_cache = false;
    });
    let bitmap = 0x700_0000;
    d.entry(0, PermissionEntry::multiple(bitmap, FIRST));
    let copy = both_ways(8)[0];
    assert_eq!(d.run(&copy).status, status::IDPT_HANDLE, "there is no bitmap");
    d.memory.device().map(bitmap, 2 * PAGE, Permission::ReadOnly).unwrap();
    assert_eq!(d.run(&copy).status, status::IDPT_HANDLE);
    let far = 0x1_2345;
    let byte = bitmap + u64::from(far / 8);
    d.memory.of(far).map(RECORDS, PAGE, Permission::ReadWrite).unwrap();
    d.memory.of(far).map(DST, PAGE, Permission::ReadWrite).unwrap();
    let other = d.device.open_with_pasid(0, far).unwrap();
    assert_eq!(d.run_by(&other, &copy).status, status::IDPT_HANDLE, "a page of the bitmap is not mapped");
    d.memory.device().map(byte & !(PAGE - 1), PAGE, Permission::ReadOnly).unwrap();
    d.memory.device().write(byte, &[1 << (far % 8)]).unwrap();
    assert_eq!(d.run_by(&other, &copy).status, status::SUCCESS);
    assert_eq!(d.run(&copy).status, status::IDPT_HANDLE);
    d.memory.device().write(bitmap, &[1 << OWN]).unwrap();
    assert_eq!(d.run(&copy).status, status::SUCCESS);
    d.memory.device().set_present(bitmap, PAGE, false).unwrap();
    assert_eq!(d.run(&copy).status, status::IDPT_HANDLE);
    // Read with a PASID.
    d.device.permissions().set_bitmap_requester(Requester::user(SECOND));
    d.of(SECOND).map(bitmap, PAGE, Permission::ReadOnly).unwrap();
    assert_eq!(d.run(&copy).status, status::IDPT_HANDLE);
    d.put(SECOND, bitmap, &[1 << OWN]);
    assert_eq!(d.run(&copy).status, status::SUCCESS);
}

#[test]
fn a_cached_bitmap_counts_until_it_is_invalidated() {
    let d = domains();
    let bitmap = 0x700_0000;
    d.entry(0, PermissionEntry::multiple(bitmap, FIRST));
    d.memory.device().map(bitmap, PAGE, Permission::ReadOnly).unwrap();
    let copy = both_ways(8)[0];
    let set = |byte: u8| d.memory.device().write(bitmap, &[byte]).unwrap();
    assert_eq!(d.run(&copy).status, status::IDPT_HANDLE);
    set(1 << OWN);
    assert_eq!(d.run(&copy).status, status::IDPT_HANDLE, "still the old one");
    d.device.permissions().invalidate_bitmaps(bitmap + 64, 64);
    assert_eq!(d.run(&copy).status, status::IDPT_HANDLE, "another part");
    d.device.permissions().invalidate_bitmaps(bitmap, 1);
    assert_eq!(d.run(&copy).status, status::SUCCESS);
    set(0);
    assert_eq!(d.run(&copy).status, status::SUCCESS);
    d.device.permissions().invalidate_bitmaps(0, 0);
    assert_eq!(d.run(&copy).status, status::IDPT_HANDLE);
}

#[test]
fn handles_that_are_requested_are_no_indices() {
    let d = domains_with(|inter_domain| inter_domain.request_handles = true);
    d.entry(5, PermissionEntry::single(OWN, FIRST));
    let copy = |handle| d.run(&through(domain_copy(SRC, DST, 8), Some(handle), None)).status;
    let handle = d.device.permissions().handle(5).unwrap();
    assert_eq!((copy(5), copy(handle)), (status::IDPT_HANDLE, status::SUCCESS));
    d.device.permissions().revoke_handles();
    assert_eq!(copy(handle), status::IDPT_HANDLE);
    let again = d.device.permissions().handle(5).unwrap();
    assert_eq!((copy(again), copy(handle)), (status::SUCCESS, status::IDPT_HANDLE));
    d.device.permissions().release_handle(again).unwrap();
    assert_eq!(copy(again), status::IDPT_HANDLE);
}

#[test]
fn a_window_base_for_offsets_is_aligned_to_the_elements() {
    let d = domains();
    let convert =
        |handle: [Option<u16>; 2]| d.run(&through(convert(0, 0, 2, (ty::INT32, ty::INT16), 0), handle[0], handle[1]));
    for (base, read, write) in
        [(SRC, 1, 1), (SRC + 2, status::ADDR_ALIGN, 1), (SRC + 1, status::ADDR_ALIGN, status::ADDR_ALIGN)]
    {
        d.entry(0, PermissionEntry::single(OWN, FIRST).offset_window(base, 64));
        d.entry(1, PermissionEntry::single(OWN, SECOND).offset_window(SRC, 64));
        assert_eq!(convert([Some(0), Some(1)]).status, read);
        let record = convert([Some(1), Some(0)]);
        assert_eq!((record.status, handle_of(&record)), (write, 0));
    }
}

#[test]
fn an_update_changes_the_window_for_its_owner_alone() {
    let d = domains();
    d.entry(0, PermissionEntry::single(OWN, FIRST).window(SRC, PAGE).allow_update(true));
    let owner = d.device.open_with_pasid(0, FIRST).unwrap();
    let (read, write, offset) = (idpt::UPDATE_READ, idpt::UPDATE_WRITE, idpt::UPDATE_OFFSET);
    let copy = |addr: u64| d.run(&through(domain_copy(addr, DST, 8), Some(0), None)).status;
    assert_eq!((copy(SRC), copy(SRC + PAGE)), (status::SUCCESS, status::IDPT_WINDOW));
    let record = d.run_by(&owner, &update(0, Some((SRC + PAGE, 64)), read));
    assert_eq!(record, CompletionRecord { status: status::SUCCESS, ..CompletionRecord::default() });
    assert_eq!((copy(SRC), copy(SRC + PAGE)), (status::IDPT_WINDOW, status::SUCCESS));
    let [_, into] = both_ways(8);
    assert_eq!(d.run(&into).status, status::IDPT_PERMISSION);
    assert_eq!(d.run_by(&owner, &update(0, Some((SRC, 64)), read | write | offset)).status, status::SUCCESS);
    assert_eq!((copy(0), copy(SRC)), (status::SUCCESS, status::IDPT_WINDOW));
    assert_eq!(
        d.run_by(&owner, &with_flags(update(0, None, write), CR | flag::SUPPRESS_DRAIN)).status,
        status::SUCCESS
    );
    assert_eq!((copy(SRC), d.run(&into).status), (status::IDPT_PERMISSION, status::SUCCESS));
    let expected = PermissionEntry::single(OWN, FIRST).permit(false, true).allow_update(true);
    assert_eq!(d.device.permissions().get(0), Some(expected), "nothing else has changed");
    // Not the owner, no updates allowed, no entry, an entry that is not valid. One that is not usable may be updated.
    let refused = |record: CompletionRecord, handle: u16| {
        assert_eq!((record.status, handle_of(&record)), (status::IDPT_UPDATE, handle));
    };
    refused(d.run(&update(0, None, read)), 0);
    refused(d.run_by(&owner, &update(64, None, read)), 64);
    d.entry(1, PermissionEntry::single(OWN, FIRST));
    refused(d.run_by(&owner, &update(1, None, read)), 1);
    d.entry(1, PermissionEntry::from_words([0x12 | u64::from(FIRST) << 44, 0, 0, 0]));
    refused(d.run_by(&owner, &update(1, None, read)), 1);
    d.entry(1, PermissionEntry::single(OWN, FIRST).usable(false).allow_update(true));
    assert_eq!(d.run_by(&owner, &update(1, None, read)).status, status::SUCCESS);
    // Windows that contradict themselves.
    for (window, flags) in
        [(Some((0, 0)), read), (Some((2, u64::MAX)), read), (Some((u64::MAX, 2)), read), (None, read | offset)]
    {
        assert_eq!(d.run_by(&owner, &update(0, window, flags)).status, status::WINDOW_FIELDS, "{window:?} {flags}");
    }
    assert_eq!(d.run_by(&owner, &update(0, Some((1, u64::MAX)), read)).status, status::SUCCESS);
}

#[test]
fn devices_without_a_feature_refuse_it() {
    let d = domains_with(|inter_domain| {
        inter_domain.offset_mode = false;
        inter_domain.suppress_drain = false;
        inter_domain.types = 0b01;
    });
    let owner = d.device.open_with_pasid(0, FIRST).unwrap();
    d.entry(0, PermissionEntry::single(OWN, FIRST).allow_update(true));
    let by_offset = update(0, Some((SRC, 64)), idpt::UPDATE_OFFSET);
    assert_eq!(d.run_by(&owner, &by_offset).status, status::WINDOW_FIELDS);
    let record = d.run_by(&owner, &with_flags(update(0, None, 0), CR | flag::SUPPRESS_DRAIN));
    assert_eq!((record.status, record.op_specific[0]), (status::BAD_FLAGS, u64::from(flag::SUPPRESS_DRAIN)));
    for wrong in [PermissionEntry::single(OWN, FIRST).offset_window(SRC, LEN), PermissionEntry::multiple(0, FIRST)] {
        d.entry(0, wrong);
        assert_eq!(d.run(&both_ways(8)[0]).status, status::IDPT_HANDLE);
    }
    // No table at all: the operations do not exist.
    let mut config = Config::granite_rapids().queue(WqConfig::shared(8));
    config.gencap &= !dsa_emulator::config::gencap::INTER_DOMAIN;
    let rig = rig_of(config);
    assert_eq!(rig.status(&both_ways(8)[0]), status::BAD_OPCODE);
    assert_eq!((rig.device.permissions().entries(), rig.device.permissions().get(0)), (0, None));
}
