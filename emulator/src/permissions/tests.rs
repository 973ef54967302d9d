//! The table by itself: handles, versions and stays, bitmaps, registers.

use super::*;

fn table(change: fn(&mut InterDomain)) -> Permissions {
    let mut config = Config::granite_rapids().engines(3);
    change(&mut config.inter_domain);
    Permissions::new(&config)
}

#[test]
fn handles_are_requested_or_are_indices() {
    let p = table(|_| {});
    assert_eq!((p.entries(), p.set(64, PermissionEntry::default())), (64, Err(PermissionsError::NoEntry)));
    let handle = p.handle(5).unwrap();
    assert_eq!((p.handle(5), p.handle(64)), (Ok(handle), Err(PermissionsError::NoEntry)));
    let entry = PermissionEntry::single(1, 2);
    p.set(5, entry).unwrap();
    assert_eq!(p.enter(0, [Some(handle), Some(5)]), [Some(entry), None], "an index is no handle");
    p.release_handle(handle).unwrap();
    assert_eq!(p.release_handle(handle), Err(PermissionsError::NoEntry));
    assert_eq!(p.enter(0, [Some(handle), None]), [None; 2]);
    let second = p.handle(5).unwrap();
    assert_ne!(second, handle);
    p.release_handle(5).unwrap();
    assert_eq!(p.release_handle(5), Err(PermissionsError::NoEntry));
    p.handle(5).unwrap();
    p.revoke_handles();
    assert_eq!(p.release_handle(5), Err(PermissionsError::NoEntry));
    let p = table(|offered| offered.request_handles = false);
    assert_eq!((p.handle(63), p.handle(64)), (Ok(63), Err(PermissionsError::NoEntry)));
    assert_eq!(p.enter(0, [Some(63), Some(64)]), [Some(PermissionEntry::default()), None]);
}

#[test]
fn the_supply_of_handles_ends() {
    let p = table(|offered| offered.entries = 1);
    for _ in FIRST_HANDLE..u16::MAX {
        p.handle(0).unwrap();
        p.release_handle(0).unwrap();
    }
    assert_eq!(p.handle(0), Err(PermissionsError::NoHandle));
}

#[test]
fn an_update_is_settled_when_no_other_engine_uses_what_was_before() {
    let p = table(|offered| offered.request_handles = false);
    for index in [3, 4] {
        p.set(index, PermissionEntry::single(1, 2).window(0x1000, 0x1000).allow_update(true)).unwrap();
    }
    let window = Window { flags: idpt::UPDATE_READ, base: 0, size: 0 };
    assert!(p.update(3, 7, &window).is_none() && p.update(64, 2, &window).is_none(), "not the owner; no entry");
    p.enter(0, [Some(4), Some(3)]);
    p.enter(1, [Some(4), None]);
    let update = p.update(3, 2, &window).unwrap();
    assert_eq!(p.get(3), Some(PermissionEntry::single(1, 2).permit(true, false).allow_update(true)));
    assert_eq!((p.is_settled(&update, 0), p.is_settled(&update, 1)), (true, false));
    // A stay that begins now has the new version, also in the same engine.
    p.enter(2, [None, Some(3)]);
    p.enter(0, [Some(3), None]);
    assert!(p.is_settled(&update, 1));
    let second = p.update(3, 2, &Window { flags: idpt::UPDATE_ENABLE, base: 5, size: 6 }).unwrap();
    assert!(p.is_settled(&update, 1) && !p.is_settled(&second, 1));
    p.leave(0);
    p.leave(2);
    assert!(p.is_settled(&second, 1));
    let p = table(|offered| offered.request_handles = false);
    p.set(0, PermissionEntry::single(1, 2)).unwrap();
    assert!(p.update(0, 2, &window).is_none(), "updates are not allowed");
    p.set(0, PermissionEntry::from_words([0x12, 0, 0, 0])).unwrap();
    assert!(p.update(0, 0, &window).is_none(), "a reserved bit");
}

#[test]
fn evicted_are_the_stays_in_a_domain() {
    let p = table(|offered| offered.request_handles = false);
    p.set(0, PermissionEntry::single(1, 2)).unwrap();
    p.set(1, PermissionEntry::single(1, 3)).unwrap();
    p.enter(0, [Some(0), None]);
    p.enter(1, [Some(1), None]);
    p.enter(2, [Some(1), Some(0)]);
    let stays = p.evict(2);
    assert_eq!(stays.iter().map(|(engine, _)| *engine).collect::<Vec<_>>(), [0, 2]);
    assert_eq!([0, 1, 2].map(|engine| p.must_leave(engine)), [Some(2), None, Some(2)]);
    assert!(!p.have_ended(&stays));
    p.leave(0);
    p.enter(2, [Some(0), None]);
    assert_eq!((p.have_ended(&stays), p.must_leave(2)), (true, None), "a new stay is another matter");
}

#[test]
fn lines_are_remembered_until_they_are_said_to_have_changed() {
    let p = table(|_| {});
    let version = p.line(0x1000).unwrap_err();
    p.remember(0x1000, [1; 64], version);
    p.remember(0x1040, [2; 64], version);
    assert_eq!((p.line(0x1000), p.line(0x1040)), (Ok([1; 64]), Ok([2; 64])));
    p.invalidate_bitmaps(0x103f, 1);
    assert_eq!((p.line(0x1000).is_err(), p.line(0x1040).is_ok()), (true, true));
    p.remember(0x1000, [1; 64], version);
    assert!(p.line(0x1000).is_err(), "read before the change");
    p.invalidate_bitmaps(0, 0);
    assert!(p.line(0x1040).is_err());
    for line in 0..1000 {
        p.remember(64 * line, [0; 64], p.line(64 * line).unwrap_err());
        assert!(p.lock().lines.len() <= MOST_LINES);
    }
    let p = table(|offered| offered.bitmap_cache = false);
    p.remember(0, [1; 64], 0);
    assert!(p.line(0).is_err());
}

#[test]
fn registers_are_writable_as_the_table_of_the_specification_says() {
    let p = table(|_| {});
    let read = || (0..8).map(|word| p.read_register(0, word)).collect::<Vec<_>>();
    let write_all = |value: u32| (0..8).rev().for_each(|word| p.write_register(0, word, value, u32::MAX));
    write_all(!0);
    assert_eq!(read(), [0xffff_f00f, 0xffff_f01f, !0, !0, !0, !0, 0xffff_f000, !0]);
    write_all(0);
    assert_eq!(read(), [0xffff_f00c, 0xffff_f01f, !0, !0, !0, !0, 0xffff_f000, !0], "all but two bits were fixed");
    write_all(0);
    assert_eq!(read(), [0; 8]);
    // An entry that may be updated, and is not usable: submitter and bitmap can be written.
    p.write_register(0, 0, 2, u32::MAX);
    write_all(!1);
    assert_eq!(read(), [0xffff_f002, 0, 0, 0, 0, 0, 0xffff_f000, !1]);
    assert_eq!((p.read_register(0, 8), p.read_register(64, 0)), (0, 0));
    p.write_register(0, 8, 1, 1);
    p.write_register(64, 0, 1, 1);
    p.write_register(0, 0, 0, 2);
    p.write_register(0, 2, 0xaabb_ccdd, 0xff00);
    assert_eq!(p.read_register(0, 2), 0xcc00);
    p.write_bitmap_register(!0, !0);
    assert_eq!(p.bitmap_register(), 0x0fff_ff1f);
    assert_eq!(p.bitmap_requester(), Requester { pasid: Some(0xf_ffff), privileged: true });
    p.set_bitmap_requester(Requester::user(5));
    assert_eq!((p.bitmap_register(), p.bitmap_requester()), (0x501, Requester::user(5)));
    p.clear();
    assert_eq!((read(), p.bitmap_requester()), (vec![0; 8], Requester::DEVICE));
}
