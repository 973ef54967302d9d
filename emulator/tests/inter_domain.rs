//! Inter-domain operations: the right PASID's memory is reached and no other; faults there.

mod common;
mod descriptors;

use common::*;
use descriptors::*;
use dsa_emulator::{Config, Effect, FaultRule, PermissionEntry};
use idxd_sys::compute::compute_type::ADD;
use idxd_sys::compute::data_type as ty;
use idxd_sys::compute::sgl_format::OFFSET_64;
use idxd_sys::{CompletionRecord, Descriptor, flag, status};

const P: u32 = PAGE as u32;

/// Entry 0 is for the first domain, entry 1 for the second.
fn with_entries() -> Domains {
    let d = domains();
    d.entry(0, PermissionEntry::single(OWN, FIRST));
    d.entry(1, PermissionEntry::single(OWN, SECOND));
    d
}

#[test]
fn a_copy_goes_from_and_to_the_memory_that_its_handles_name() {
    for (source, destination) in
        [(Some(0), None), (None, Some(0)), (Some(0), Some(1)), (Some(0), Some(0)), (Some(1), Some(0))]
    {
        let d = with_entries();
        let pasid = |handle: Option<u16>| handle.map_or(OWN, |handle| [FIRST, SECOND][usize::from(handle)]);
        for owner in [OWN, FIRST, SECOND] {
            d.put(owner, SRC, &noise(3 * PAGE as usize, owner));
        }
        let copy = through(domain_copy(SRC + 5, DST + 9, 2 * P), source, destination);
        let record = d.only_changes(&copy, &[pasid(destination)]);
        assert_eq!(record, CompletionRecord { status: status::SUCCESS, ..CompletionRecord::default() });
        let expected = &noise(3 * PAGE as usize, pasid(source))[5..5 + 2 * PAGE as usize];
        assert_eq!(d.bytes(pasid(destination), DST + 9, expected.len()), expected);
    }
}

#[test]
fn fills_and_comparisons_work_on_the_memory_of_others() {
    let d = with_entries();
    let fill = through(domain_fill(0x0807_0605_0403_0201, DST + 3, 20), None, Some(1));
    assert_eq!(d.only_changes(&fill, &[SECOND]).status, status::SUCCESS);
    let pattern: Vec<u8> = (0..20).map(|i| i % 8 + 1).collect();
    assert_eq!(d.bytes(SECOND, DST + 3, 20), pattern);
    let wide = Descriptor { op_specific: [0x1817_1615_1413_1211, 0, fill.op_specific[2]], ..fill };
    let wide = with_flags(wide, wide.flags() | flag::FILL_16);
    assert_eq!(d.only_changes(&wide, &[SECOND]).status, status::SUCCESS);
    assert_eq!(d.bytes(SECOND, DST + 3 + 8, 3), [0x11, 0x12, 0x13]);
    // The second has the first 8 bytes of the pattern, the first has nothing.
    let both = through(domain_compare(DST + 3, DST + 3, 20), Some(0), Some(1));
    let record = d.only_changes(&both, &[]);
    assert_eq!((record.status, record.result, record.bytes_completed), (status::SUCCESS, 1, 0));
    d.put(FIRST, DST + 3, &pattern[..8]);
    assert_eq!(d.run(&both).bytes_completed, 8);
    let mut expecting = with_flags(both, both.flags() | flag::CHECK_RESULT);
    assert_eq!(d.run(&expecting).status, status::SUCCESS_FALSE);
    expecting.set_op_u8(40, 1);
    assert_eq!(d.run(&expecting).status, status::SUCCESS);
    let own = through(domain_compare(DST + 3, DST + 3, 8), None, Some(0));
    assert_eq!(d.run(&own).result, 1);
    d.put(OWN, DST + 3, &pattern[..8]);
    assert_eq!(d.run(&own).result, 0);
    let with_pattern = |handle| through(domain_compare_pattern(DST + 3, 0x0807_0605_0403_0201, 12), Some(handle), None);
    assert_eq!([0, 1].map(|handle| d.run(&with_pattern(handle)).result), [1, 1]);
    d.put(SECOND, DST + 3, &pattern);
    assert_eq!([0, 1].map(|handle| d.run(&with_pattern(handle)).result), [1, 0]);
}

#[test]
fn typed_operations_choose_a_domain_for_each_operand() {
    let d = with_entries();
    for (owner, values) in [(OWN, [1, 2]), (FIRST, [10, 20]), (SECOND, [100, 200])] {
        d.put(owner, SRC, &values);
        d.put(owner, DST, &values);
    }
    let convert = through(convert(SRC, DST2, 2, (ty::INT8, ty::INT16), 0), Some(1), Some(0));
    assert_eq!(d.only_changes(&convert, &[FIRST]).status, status::SUCCESS);
    assert_eq!(d.bytes(FIRST, DST2, 4), [100, 0, 200, 0]);
    // Selector: first source, second source, first destination, second destination, two bits each.
    let select = |mut descriptor: Descriptor, selector: u8| {
        descriptor = with_flags(descriptor, descriptor.flags() | flag::INTER_DOMAIN_SELECTOR);
        descriptor.set_op_u8(59, selector);
        let selects = |number: u8| (0..4).any(|operand| selector >> (2 * operand) & 3 == number);
        descriptor.set_op_u16(60, 0);
        descriptor.set_op_u16(62, u16::from(selects(2)));
        descriptor
    };
    let sum = reduce(SRC, DST, LIST, 2, (ty::INT8, ty::INT8), ADD, 0);
    for (selector, changed, values) in [
        (0b00_00_01_10, OWN, [110, 220]),
        (0b00_01_00_10, FIRST, [101, 202]),
        (0b00_10_01_01, SECOND, [20, 40]),
        (0b00_10_00_00, SECOND, [2, 4]),
    ] {
        assert_eq!(d.only_changes(&select(sum, selector), &[changed]).status, status::SUCCESS, "{selector:b}");
        assert_eq!(d.bytes(changed, LIST, 2), values);
    }
    let twice = dualcast_of(reduce(SRC, DST, LIST + 64, 2, (ty::INT8, ty::INT8), ADD, 0), LIST + PAGE + 64);
    assert_eq!(d.only_changes(&select(twice, 0b10_01_00_00), &[FIRST, SECOND]).status, status::SUCCESS);
    assert_eq!((d.bytes(FIRST, LIST + 64, 2), d.bytes(SECOND, LIST + PAGE + 64, 2)), (vec![2, 4], vec![2, 4]));
    // With a handle the same addresses may be operands of different types, and destinations may be equal.
    let same_place = select(dualcast_of(reduce(SRC, DST, SRC, 2, (ty::INT8, ty::INT16), ADD, 0), SRC), 0b10_01_00_00);
    assert_eq!(d.run(&same_place).status, status::SUCCESS);
}

#[test]
fn lists_are_read_with_the_descriptors_own_pasid_and_buffers_with_the_other() {
    let d = with_entries();
    let entries: Vec<u8> = [0u64, 32, 16].into_iter().flat_map(u64::to_le_bytes).collect();
    d.put(OWN, LIST, &entries);
    d.put(FIRST, SRC, &noise(64, 1));
    d.put(SECOND, SRC, &noise(64, 2));
    let list = Sgl { at: LIST, entries: 3, format: OFFSET_64, base: SRC };
    let pieces = |pasid: u32| [0, 32, 16].iter().flat_map(|at| d.bytes(pasid, SRC + at, 8)).collect::<Vec<_>>();
    let gather = through(gather(list, DST, 8, ty::INT8), Some(0), Some(1));
    assert_eq!(d.only_changes(&gather, &[SECOND]).status, status::SUCCESS);
    assert_eq!(d.bytes(SECOND, DST, 24), pieces(FIRST));
    let scatter = through(scatter(DST, list, 8, ty::INT8), Some(1), Some(0));
    assert_eq!(d.run(&scatter).status, status::SUCCESS);
    d.put(SECOND, DST, &noise(24, 3));
    assert_eq!(d.only_changes(&scatter, &[FIRST]).status, status::SUCCESS);
    assert_eq!(pieces(FIRST), d.bytes(SECOND, DST, 24));
    let fill = through(scatter_fill(u64::MAX, list, 8, ty::INT8), None, Some(1));
    assert_eq!(d.only_changes(&fill, &[SECOND]).status, status::SUCCESS);
    assert_eq!(pieces(SECOND), [0xff; 24]);
    // The list is not looked for in the domain of the buffers, also when it faults.
    d.of(OWN).set_present(LIST, PAGE, false).unwrap();
    let record = d.run(&gather);
    assert_eq!(
        (record.status, record.fault_addr, record.fault_info, handle_of(&record)),
        (status::PAGE_FAULT, LIST, 12, 0)
    );
}

#[test]
fn faults_in_another_domain_name_the_handle_and_hide_addresses_behind_offsets() {
    for offset in [false, true] {
        for (bof, code) in [(0, status::PAGE_FAULT), (flag::BLOCK_ON_FAULT, status::PAGE_RESPONSE)] {
            let d = domains();
            let entry = PermissionEntry::single(OWN, FIRST);
            let entry = if offset { entry.offset_window(SRC, LEN) } else { entry.window(SRC, LEN) };
            d.entry(7, entry);
            let at = if offset { 0 } else { SRC };
            d.of(FIRST).set_present(SRC + PAGE, PAGE, false).unwrap();
            let shown = if offset { (0, 1) } else { (SRC + PAGE, 0) };
            let bof = |d: Descriptor| with_flags(d, d.flags() | bof);
            for (descriptor, operand, write) in [
                (through(domain_copy(at + 8, DST, 2 * P), Some(7), None), 1, 0),
                (through(domain_copy(DST, at + 8, 2 * P), None, Some(7)), 3, status::FAULT_WRITE),
                (through(domain_fill(0, at + 8, 2 * P), None, Some(7)), 3, status::FAULT_WRITE),
                (through(domain_compare(DST, at + 8, 2 * P), None, Some(7)), 2, 0),
                (through(domain_compare(at + 8, DST, 2 * P), Some(7), None), 1, 0),
                (through(domain_compare_pattern(at + 8, 0, 2 * P), Some(7), None), 1, 0),
                (through(convert(at + 8, DST, 2 * P / 4, (ty::INT32, ty::INT32), 0), Some(7), None), 1, 0),
            ] {
                let record = d.run(&bof(descriptor));
                assert_eq!(record.status, code | write, "opcode {:#x}", descriptor.opcode());
                assert_eq!((record.fault_addr, record.fault_info), (shown.0, operand << 1 | shown.1));
                assert_eq!((record.bytes_completed, handle_of(&record)), (P - 8, 7));
            }
            // A fault in own memory is an ordinary one.
            d.of(OWN).set_present(DST, PAGE, false).unwrap();
            let record = d.run(&bof(through(domain_copy(at, DST, 8), Some(7), None)));
            assert_eq!((record.fault_addr, record.fault_info, handle_of(&record)), (DST, 3 << 1, 0));
        }
    }
}

#[test]
fn block_on_fault_asks_for_pages_of_the_other_domain_and_the_rest_can_be_resumed() {
    let d = domains();
    d.entry(0, PermissionEntry::single(OWN, FIRST).offset_window(SRC, LEN));
    d.put(FIRST, SRC, &noise(2 * PAGE as usize, 1));
    d.of(FIRST).set_present(SRC + PAGE, PAGE, false).unwrap();
    let copy = through(domain_copy(0, DST, 2 * P), Some(0), None);
    let done = d.run(&copy).bytes_completed;
    d.of(FIRST).set_resolvable(SRC + PAGE, PAGE, true).unwrap();
    let rest = Descriptor {
        src_addr: u64::from(done),
        dst_addr: DST + u64::from(done),
        xfer_size: 2 * P - done,
        ..with_flags(copy, copy.flags() | flag::BLOCK_ON_FAULT)
    };
    assert_eq!((done, d.run(&rest).status), (P, status::SUCCESS));
    assert_eq!(d.bytes(OWN, DST, 2 * PAGE as usize), noise(2 * PAGE as usize, 1));
    // Injection goes by the address that the descriptor has.
    d.device.inject(FaultRule::new(Effect::PageFault { resolvable: false }).at(100..101));
    let record = d.run(&copy);
    assert_eq!((record.bytes_completed, record.fault_addr, record.fault_info), (100, 0, 1 << 1 | 1));
}

#[test]
fn trusted_memory_has_one_address_space_for_all() {
    let mut config = Config::granite_rapids().manual();
    config.inter_domain.request_handles = false;
    let device = dsa_emulator::Device::new(config).unwrap();
    let mut buffer = [0u8; 96];
    buffer[..32].copy_from_slice(&noise(32, 1));
    let base = buffer.as_mut_ptr().expose_provenance() as u64;
    device.permissions().set(3, PermissionEntry::single(OWN, FIRST).offset_window(base, 32)).unwrap();
    let mut record = CompletionRecord::default();
    let client = device.open_with_pasid(0, OWN).unwrap();
    let mut d = through(domain_copy(0, base + 64, 32), Some(3), None);
    d.completion_addr = (&raw mut record).expose_provenance() as u64;
    // SAFETY: the buffer and the record are alive, and nobody touches them before `quiesce` returned; the window lies in
    // the buffer.
    assert_eq!(unsafe { client.enqcmd(&d) }, dsa_emulator::Enqcmd::Accepted);
    client.quiesce();
    assert_eq!((record.status, &buffer[64..]), (status::SUCCESS, &noise(32, 1)[..]));
}
