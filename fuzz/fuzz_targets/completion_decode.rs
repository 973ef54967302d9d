//! Arbitrary completion records for arbitrary descriptors: decoding and planning never panic, and a plan only ever names
//! memory that the descriptor named, and less of it.

#![no_main]

use arbitrary::Arbitrary;
use dsa::descriptor::{Capabilities, Completion, Position, Resume, is_restartable, validate};
use dsa_fuzz::Raw;
use idxd_sys::compute::{data_type, sgl_format};
use idxd_sys::{CompletionRecord, Descriptor, dif, opcode, status};
use libfuzzer_sys::fuzz_target;
use zerocopy::FromBytes;

#[derive(Arbitrary, Debug)]
struct Input {
    /// DSA 1.0, 2.0 or 3.0, by the remainder.
    generation: u8,
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
            let size = extent(sent);
            let done = size * u64::from(part) / 256;
            // Whole units: blocks with tuples, entries of delta records, the largest elements.
            let unit = match sent.opcode() {
                opcode::DIF_CHECK | opcode::DIF_STRP | opcode::DIF_UPDT => u64::from(block_size(sent)) + 8,
                opcode::DIF_INS | opcode::DIX_GEN => u64::from(block_size(sent)),
                opcode::AP_DELTA => 10,
                opcode::TYPE_CONV | opcode::REDUCE | opcode::REDUCE_DUALCAST => 8,
                _ => 1,
            };
            record.bytes_completed = (done / unit * unit) as u32;
            if let Some(entries) = done.checked_div(list_block(sent)) {
                record.op_specific[0] = entries << 32;
            }
        }
        record
    }
}

fn block_size(d: &Descriptor) -> u32 {
    dif::block_size(d.op_u8(42))
}

/// Bytes of an element that is read, or written; 1 for types that do not exist.
fn element_sizes(d: &Descriptor) -> [u64; 2] {
    let types = d.op_u8(56);
    [types & 0xf, types >> 4].map(|code| data_type::size(code).map_or(1, u64::from))
}

/// Bytes of a block of a list of a copy; 0 without a list.
fn list_block(d: &Descriptor) -> u64 {
    match d.opcode() {
        opcode::GATHER_COPY | opcode::SCATTER_COPY | opcode::SCATTER_FILL => {
            u64::from(d.op_u32(40)) * element_sizes(d)[0]
        }
        _ => 0,
    }
}

/// The regions of memory that a descriptor names, as (start, length). Not the blocks that a list names.
fn regions(d: &Descriptor) -> Vec<(u64, u64)> {
    let size = u64::from(d.xfer_size);
    let [first, second, _] = d.op_specific;
    let [read, written] = element_sizes(d).map(|element| element * size);
    let block = u64::from(block_size(d));
    let list = u64::from(d.op_u16(44)) * if d.op_u8(59) >> 4 == sgl_format::INDEX_32 { 4 } else { 8 };
    let (from, to) = ((d.src_addr, size), (d.dst_addr, size));
    match d.opcode() {
        opcode::BATCH => vec![(d.src_addr, 64 * size)],
        opcode::MEMMOVE
        | opcode::COMPARE
        | opcode::COPY_CRC
        | opcode::DIF_UPDT
        | opcode::INTER_DOMAIN_COPY
        | opcode::INTER_DOMAIN_COMPARE => vec![from, to],
        opcode::FILL | opcode::CFLUSH | opcode::INTER_DOMAIN_FILL => vec![to],
        opcode::COMPVAL | opcode::TRANSL_FETCH | opcode::CRCGEN | opcode::DIF_CHECK | opcode::INTER_DOMAIN_COMPVAL => {
            vec![from]
        }
        opcode::CR_DELTA => vec![from, to, (first, second & 0xffff_ffff)],
        opcode::AP_DELTA => vec![(d.src_addr, first & 0xffff_ffff), to],
        opcode::DUALCAST => vec![from, to, (first, size)],
        opcode::DIF_INS => vec![from, (d.dst_addr, size / block * (block + 8))],
        opcode::DIF_STRP => vec![from, (d.dst_addr, size / (block + 8) * block)],
        opcode::DIX_GEN => vec![from, (d.dst_addr, size / block * 8)],
        opcode::TYPE_CONV => vec![(d.src_addr, read), (d.dst_addr, written)],
        opcode::REDUCE => vec![(d.src_addr, read), (d.dst_addr, read), (first, written)],
        opcode::REDUCE_DUALCAST => {
            vec![(d.src_addr, read), (d.dst_addr, read), (first, written), (second, written)]
        }
        opcode::GATHER_REDUCE => vec![(d.src_addr, list), (d.dst_addr, written)],
        opcode::GATHER_COPY => vec![(d.src_addr, list), to],
        opcode::SCATTER_COPY => vec![from, (d.dst_addr, list)],
        opcode::SCATTER_FILL => vec![(d.dst_addr, list)],
        _ => vec![],
    }
}

/// What bytes completed, and what has advanced, count at most.
fn extent(d: &Descriptor) -> u64 {
    match d.opcode() {
        opcode::AP_DELTA => d.op_u32(40).into(),
        opcode::TYPE_CONV | opcode::REDUCE | opcode::REDUCE_DUALCAST => element_sizes(d)[0] * u64::from(d.xfer_size),
        _ => d.xfer_size.into(),
    }
}

fn check_continuation(sent: &Descriptor, rest: &Descriptor, caps: &Capabilities, valid: bool) {
    assert_eq!(rest.opcode(), sent.opcode());
    assert_eq!(rest.completion_addr, sent.completion_addr);
    assert!(rest.xfer_size <= sent.xfer_size, "{sent:?} became {rest:?}");
    if !valid {
        return;
    }
    assert!(rest.xfer_size > 0, "{sent:?} became {rest:?}");
    for ((start, len), (rest_start, rest_len)) in regions(sent).into_iter().zip(regions(rest)) {
        let offset = rest_start.wrapping_sub(start);
        assert!(offset <= len && rest_len <= len - offset, "{rest:?} leaves the memory of {sent:?}");
    }
    // Regions that must agree in some bits advance together, so even that rule survives.
    assert_eq!(validate(rest, caps, Position::Queue), Ok(()), "{sent:?} became {rest:?}");
}

fuzz_target!(|input: Input| {
    let presets = [Capabilities::sapphire_rapids(), Capabilities::granite_rapids(), Capabilities::diamond_rapids()];
    let caps = presets[usize::from(input.generation) % 3].with_block_on_fault(input.block_on_fault);
    let mut sent = input.sent.descriptor(0);
    let valid = validate(&sent, &caps, Position::Queue).is_ok();
    let _ = is_restartable(&sent);
    for record in input.records.iter().take(16) {
        let record = record.get(&sent);
        let completion = Completion::decode(sent.opcode(), &record);
        assert!(!completion.to_string().is_empty());
        let _ = (completion.is_equal(), completion.first_difference(), completion.crc(), completion.invalid_flags());
        let _ = (completion.delta(), completion.dif_status(), completion.source_tags(), completion.destination_tags());
        let _ = (completion.exceptions(), completion.entries_completed(), completion.idpt_handle());
        match Resume::plan(&sent, &record, &caps) {
            Resume::Continue(rest) => {
                check_continuation(&sent, &rest.descriptor, &caps, valid);
                assert!(!valid || u64::from(rest.advanced) <= extent(&sent), "{} of {sent:?}", rest.advanced);
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
