//! Arbitrary 64 bytes and arbitrary batch lists, for the validator and for the device on checked memory.
//!
//! Nothing may crash or hang. Where the rules leave no choice, validator and strict device must agree: what validates is
//! not refused, and what does not validate is.

#![no_main]

use arbitrary::Arbitrary;
use dsa::descriptor::{DescriptorError, Operand, Position, validate};
use dsa_emulator::Checks;
use dsa_fuzz::{LIST, MAX_MEMBERS, Raw, Rig, Setup, is_handle_refusal, is_refusal, may_find_misaligned, near_control};
use idxd_sys::{CompletionRecord, Descriptor, flag, opcode, status};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Input {
    setup: Setup,
    lenient: bool,
    single: Raw,
    /// Where the list begins, and how long the batch says it is; by default the list that was written.
    list: Option<(u64, u32)>,
    batch_flags: u8,
    members: Vec<Raw>,
}

/// Whether the descriptor could write over records and lists, after which nothing can be said about them. Where a list
/// leads that is scattered to is not known.
fn reaches_control(d: &Descriptor) -> bool {
    [d.src_addr, d.dst_addr, d.op_specific[0], d.op_specific[1]].into_iter().any(near_control)
        || matches!(d.opcode(), opcode::SCATTER_COPY | opcode::SCATTER_FILL)
}

/// Whether a strict device must refuse what the validator refuses for this reason.
fn is_definite(error: DescriptorError, d: &Descriptor) -> bool {
    match error {
        // The device replaces the PASID, and need not look at a field that a flag puts out of use (a record address, a
        // seed), nor at the upper bits of an expected result.
        DescriptorError::ReservedField { opcode: code, offset, .. } => match offset {
            0..=3 | 8..=15 => false,
            40 => !matches!(
                code,
                opcode::COMPARE
                    | opcode::COMPVAL
                    | opcode::INTER_DOMAIN_COMPARE
                    | opcode::INTER_DOMAIN_COMPVAL
                    | opcode::CRCGEN
                    | opcode::COPY_CRC
            ),
            41..=47 => !matches!(code, opcode::CRCGEN | opcode::COPY_CRC),
            // Of the mask of expected results three bits mean something.
            56 => code != opcode::CR_DELTA,
            _ => true,
        },
        // Sizes of delta records that are no multiple of their entries: the model takes them by default.
        DescriptorError::DeltaRecordSize { .. } => false,
        // The buffers of a gather-reduce are only looked at when the list is read, which may end with a fault.
        DescriptorError::AddressMisaligned { operand: Operand::Source, .. } if may_find_misaligned(d.opcode()) => false,
        // The seed's traffic class without a seed in memory, and suppressed readbacks on a device without readback
        // addresses: the specification can be read either way, and the validator takes the stricter.
        DescriptorError::FlagsNotAllowed { opcode: opcode::COPY_CRC, flags } => flags != flag::ADDR3_TC,
        DescriptorError::FlagsNotOffered { opcode: opcode::DRAIN, flags } => {
            flags & !(flag::DRAIN_SUPPRESS_TC_A | flag::DRAIN_SUPPRESS_TC_B) != 0
        }
        // It may miss reserved combinations, and may find a page fault before the wrap.
        DescriptorError::CacheControl { .. } | DescriptorError::AddressWraps { .. } => false,
        _ => true,
    }
}

fn is_refused(code: u8) -> bool {
    is_refusal(code) || is_handle_refusal(code) || code & status::CODE_MASK == status::CR_FAULT
}

/// Whether a device may not refuse a valid descriptor with this status.
fn is_contradiction(code: u8, d: &Descriptor) -> bool {
    is_refusal(code) && !(may_find_misaligned(d.opcode()) && code & status::CODE_MASK == status::ADDR_ALIGN)
}

fn check_single(rig: &Rig, d: &Descriptor, strict: bool) {
    let verdict = validate(d, &rig.capabilities, Position::Queue);
    rig.trouble(|| rig.submit(d));
    // With a record anywhere else than in its slot, nobody looks at it.
    let hidden_record = d.flags() & flag::CRAV != 0 && d.completion_addr != Rig::record_address(0);
    if !strict || reaches_control(d) || hidden_record {
        return;
    }
    let record = rig.record(0).map(|record| record.status);
    let outcome = record.or(rig.device.software_error().map(|error| error.error));
    match verdict {
        Ok(()) => {
            let contradicts = outcome.is_some_and(|code| is_contradiction(code, d));
            assert!(!contradicts, "valid, but refused with {outcome:02x?}: {d:?}");
        }
        Err(error) if is_definite(error, d) => {
            assert!(outcome.is_some_and(is_refused), "{error}; but the outcome is {outcome:02x?}: {d:?}");
        }
        Err(_) => {}
    }
}

fn check_batch(rig: &Rig, input: &Input, strict: bool) {
    let members: Vec<Descriptor> =
        (input.members.iter().take(MAX_MEMBERS).enumerate()).map(|(slot, raw)| raw.descriptor(slot)).collect();
    rig.write_list(&members);
    let (src_addr, xfer_size) = input.list.unwrap_or((LIST, members.len() as u32));
    let mut batch =
        Descriptor { completion_addr: Rig::record_address(MAX_MEMBERS), src_addr, xfer_size, ..Descriptor::default() };
    batch.set_opcode_flags(opcode::BATCH, flag::CRAV | flag::RCR | u32::from(input.batch_flags) << 16);
    let verdict = validate(&batch, &rig.capabilities, Position::Queue);
    rig.trouble(|| rig.submit(&batch));

    let foreign = |(slot, d): (usize, &Descriptor)| {
        reaches_control(d) || near_control(d.completion_addr) && d.completion_addr != Rig::record_address(slot)
    };
    if !strict || input.list.is_some() || members.iter().enumerate().any(foreign) {
        return;
    }
    let record = rig.record(MAX_MEMBERS).expect("a batch with a good record address always ends with a record");
    assert_eq!(verdict.is_err(), is_refusal(record.status), "{verdict:?}, but {record:?}");
    if verdict.is_err() {
        return;
    }
    // A member without a record that failed is in the software error register.
    let mut failed = batch.flags() & flag::BATCH_ERROR != 0 || rig.device.software_error().is_some();
    let mut missing = None;
    for (slot, d) in members.iter().enumerate() {
        // No record: none was asked for, or the member was abandoned.
        let Some(result) = rig.record(slot) else {
            missing = missing.or(Some(slot));
            continue;
        };
        failed |= result.status != status::SUCCESS;
        match validate(d, &rig.capabilities, Position::BatchMember) {
            Ok(()) => assert!(!is_contradiction(result.status, d), "valid, but {result:?}: {d:?}"),
            Err(error) if is_definite(error, d) => {
                assert!(is_refused(result.status), "{error}; but {result:?}: {d:?}");
            }
            Err(_) => {}
        }
    }
    check_batch_record(rig, &record, &members, failed, missing);
}

/// Holds the batch's own record against those of its members: whether one `failed`, and the first record `missing`.
fn check_batch_record(
    rig: &Rig,
    record: &CompletionRecord,
    members: &[Descriptor],
    failed: bool,
    missing: Option<usize>,
) {
    let processed = record.bytes_completed as usize;
    assert!(processed <= members.len(), "{record:?}");
    if record.status == status::BATCH_LIST_FAULT {
        assert!(rig.has_trouble(), "the whole list is there, but {record:?}");
    } else {
        assert!(!failed || record.status == status::BATCH_FAIL, "a member failed, but {record:?}");
        if let Some(next) = members.get(processed) {
            let fence = next.flags() & flag::FENCE != 0;
            assert!(fence && record.status == status::BATCH_FAIL, "abandoned without a reason: {record:?}");
        }
    }
    // With all records at known places every member that was processed has one, and the answer is exact.
    let asked = |(slot, d): (usize, &Descriptor)| {
        let both = flag::CRAV | flag::RCR;
        d.flags() & both == both && d.completion_addr == Rig::record_address(slot)
    };
    if members.iter().enumerate().all(asked) {
        assert_eq!(processed, missing.unwrap_or(members.len()), "{record:?}");
        if record.status != status::BATCH_LIST_FAULT {
            assert_eq!(record.status == status::BATCH_FAIL, failed, "{record:?}");
        }
    }
}

fuzz_target!(|input: Input| {
    let strict = !input.lenient;
    let rig = Rig::new(input.setup, if strict { Checks::Strict } else { Checks::Lenient });
    check_single(&rig, &input.single.descriptor(0), strict);
    rig.reset();
    check_batch(&rig, &input, strict);
});
