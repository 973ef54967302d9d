//! Builder calls with arbitrary arguments. What a builder accepts must pass the validator, and a strict device must not
//! refuse it: page faults are fine, a status that blames the descriptor is not.

#![no_main]

use arbitrary::Arbitrary;
use dsa::descriptor::{Batch, Position, validate};
use dsa_emulator::Checks;
use dsa_fuzz::calls::{Call, Options, Record};
use dsa_fuzz::{LIST, Rig, Setup, is_refusal, may_find_misaligned};
use idxd_sys::{Descriptor, flag, status};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Input {
    setup: Setup,
    single: Call,
    batch: Options,
    earlier_error: bool,
    members: Vec<Call>,
    /// No-ops that the batch has behind its members.
    more_members: u8,
}

/// The record of an accepted descriptor: not a refusal, and there if it was requested and could be written.
fn check_record(rig: &Rig, d: &Descriptor, slot: usize, must_exist: bool) {
    let own = d.flags() & flag::CRAV != 0 && d.completion_addr == Rig::record_address(slot);
    match rig.record(slot) {
        Some(record) => {
            assert!(own, "a record that nobody asked for: {record:?} for {d:?}");
            let misaligned = may_find_misaligned(d.opcode()) && record.status & status::CODE_MASK == status::ADDR_ALIGN;
            let refused = is_refusal(record.status) && !misaligned;
            assert!(!refused, "the builder accepted what the device refused: {record:?} for {d:?}");
        }
        None => assert!(!own || !must_exist || d.flags() & flag::RCR == 0, "no record for {d:?}"),
    }
}

fn check_software_error(rig: &Rig) {
    if let Some(error) = rig.device.software_error() {
        let misaligned = may_find_misaligned(error.opcode) && error.error & status::CODE_MASK == status::ADDR_ALIGN;
        assert!(!is_refusal(error.error) || misaligned, "the builder accepted what the device refused: {error:?}");
    }
}

fuzz_target!(|input: Input| {
    let rig = Rig::new(input.setup, Checks::Strict);
    let caps = rig.capabilities;

    if let Some(Ok(d)) = input.single.build(&caps, Position::Queue, 0) {
        assert_eq!(validate(&d, &caps, Position::Queue), Ok(()), "{d:?}");
        rig.submit(&d);
        check_record(&rig, &d, 0, true);
        check_software_error(&rig);
    }

    rig.reset();
    let members: Vec<Descriptor> = (input.members.iter().take(dsa_fuzz::MAX_MEMBERS).enumerate())
        .filter_map(|(slot, call)| call.build(&caps, Position::BatchMember, slot)?.ok())
        .collect();
    for d in &members {
        assert_eq!(validate(d, &caps, Position::BatchMember), Ok(()), "{d:?}");
    }
    rig.write_list(&members);
    let slot = dsa_fuzz::MAX_MEMBERS;
    let o = input.batch;
    let count = members.len() as u32 + u32::from(input.more_members % 4 * 21);
    let mut batch = Batch::new(LIST, count).earlier_error(input.earlier_error);
    match o.record {
        Record::None => {}
        Record::Own => batch = batch.record(Rig::record_address(slot)),
        Record::At(address) => batch = batch.record(address.get()),
    }
    let batch = batch.request_record(o.request).record_traffic_class(o.class(7));
    if let Ok(d) = batch.build(&caps) {
        assert_eq!(validate(&d, &caps, Position::Queue), Ok(()), "{d:?}");
        rig.submit(&d);
        check_record(&rig, &d, slot, true);
        if let Some(record) = rig.record(slot) {
            assert!(matches!(record.status, status::SUCCESS | status::BATCH_FAIL), "{record:?}");
            assert!(record.bytes_completed <= d.xfer_size, "{record:?}");
        }
        // Slots are those of the calls, some of which built nothing; a fence may have abandoned members.
        for member in &members {
            let slot = (member.completion_addr.wrapping_sub(dsa_fuzz::RECORDS) / 32) as usize;
            if slot < dsa_fuzz::MAX_MEMBERS {
                check_record(&rig, member, slot, false);
            }
        }
        check_software_error(&rig);
    }
});
