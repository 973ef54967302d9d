//! Arbitrary completion records for arbitrary descriptors: decoding and planning never panic, and a plan only ever names
//! memory that the descriptor named, and less of it.

#![no_main]

use arbitrary::Arbitrary;
use dsa::descriptor::{Capabilities, Completion, Position, Resume, is_restartable, validate};
use dsa_fuzz::Raw;
use idxd_sys::{CompletionRecord, Descriptor, opcode, status};
use libfuzzer_sys::fuzz_target;
use zerocopy::FromBytes;

#[derive(Arbitrary, Debug)]
struct Input {
    second_generation: bool,
    block_on_fault: bool,
    sent: Raw,
    records: Vec<Record>,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
struct Record {
    bytes: [u8; 32],
    /// Makes the record a partial completion of `completed` parts in 256.
    partial: Option<u8>,
}

impl Record {
    fn get(self, sent: &Descriptor) -> CompletionRecord {
        let mut record = CompletionRecord::read_from_bytes(&self.bytes).expect("32 bytes");
        if let Some(part) = self.partial {
            let fault = if sent.opcode() == opcode::BATCH { status::BATCH_LIST_FAULT } else { status::PAGE_FAULT };
            record.status = fault | record.status & status::FAULT_WRITE;
            record.result &= 1;
            record.bytes_completed = (u64::from(sent.xfer_size) * u64::from(part) / 256) as u32;
        }
        record
    }
}

/// The regions of memory that a descriptor names, as (start, length).
fn regions(d: &Descriptor) -> Vec<(u64, u64)> {
    let size = u64::from(d.xfer_size);
    match d.opcode() {
        opcode::BATCH => vec![(d.src_addr, 64 * size)],
        opcode::MEMMOVE | opcode::COMPARE | opcode::COPY_CRC => vec![(d.src_addr, size), (d.dst_addr, size)],
        opcode::FILL | opcode::CFLUSH => vec![(d.dst_addr, size)],
        opcode::COMPVAL | opcode::CRCGEN => vec![(d.src_addr, size)],
        opcode::DUALCAST => vec![(d.src_addr, size), (d.dst_addr, size), (d.op_specific[0], size)],
        _ => vec![],
    }
}

fn check_continuation(sent: &Descriptor, rest: &Descriptor, caps: &Capabilities, valid: bool) {
    assert_eq!(rest.opcode(), sent.opcode());
    assert_eq!(rest.completion_addr, sent.completion_addr);
    assert!(rest.xfer_size > 0 && rest.xfer_size <= sent.xfer_size, "{sent:?} became {rest:?}");
    if !valid {
        return;
    }
    for ((start, len), (rest_start, rest_len)) in regions(sent).into_iter().zip(regions(rest)) {
        let offset = rest_start.wrapping_sub(start);
        assert!(offset <= len && rest_len <= len - offset, "{rest:?} leaves the memory of {sent:?}");
    }
    // The two regions of a dualcast advance together, so even its alignment rule survives.
    assert_eq!(validate(rest, caps, Position::Queue), Ok(()), "{sent:?} became {rest:?}");
}

fuzz_target!(|input: Input| {
    let caps = if input.second_generation { Capabilities::granite_rapids() } else { Capabilities::sapphire_rapids() }
        .with_block_on_fault(input.block_on_fault);
    let mut sent = input.sent.descriptor(0);
    let valid = validate(&sent, &caps, Position::Queue).is_ok();
    let _ = is_restartable(&sent);
    for record in input.records.iter().take(16) {
        let record = record.get(&sent);
        let completion = Completion::decode(sent.opcode(), &record);
        assert!(!completion.to_string().is_empty());
        let _ = (completion.is_equal(), completion.first_difference(), completion.crc(), completion.invalid_flags());
        match Resume::plan(&sent, &record, &caps) {
            Resume::Continue(rest) => {
                check_continuation(&sent, &rest.descriptor, &caps, valid);
                sent = rest.descriptor;
            }
            Resume::LastMember { address, .. } => {
                let offset = address.wrapping_sub(sent.src_addr);
                assert!(offset % 64 == 0 && offset / 64 < u64::from(sent.xfer_size), "{address:#x} is not in {sent:?}");
            }
            Resume::Complete(completion) => assert_ne!(completion.status.code(), status::NONE),
            Resume::Protocol(error) => assert!(!error.to_string().is_empty()),
            _ => {}
        }
    }
});
