//! The constants and layouts of this crate against the kernel's header.
//!
//! Two directions: each constant that the header also has must equal it, and each value that the header has must be
//! known here, so that bindings of a newer header make a test fail rather than an opcode go unnoticed.
//!
//! With the feature `bindgen` the header is whatever the build found, perhaps an older one, so this says nothing.
#![cfg(all(target_arch = "x86_64", not(feature = "bindgen")))]

use std::collections::BTreeMap;
use std::mem::offset_of;

use idxd_sys::uapi::*;
use idxd_sys::{CompletionRecord, Descriptor, cmd_status, flag, opcode, status};

/// The checked-in bindings as text: names and values can be listed from it.
const BINDINGS: &str = include_str!("../src/generated/uapi_x86_64.rs");

/// All constants whose name starts with `prefix`.
fn constants(prefix: &str) -> BTreeMap<&'static str, u32> {
    BINDINGS
        .lines()
        .filter_map(|line| {
            let (name, rest) = line.strip_prefix("pub const ")?.split_once(": ")?;
            let (_, value) = rest.strip_suffix(';')?.split_once(" = ")?;
            name.starts_with(prefix).then(|| (name, value.parse().expect("a decimal number")))
        })
        .collect()
}

#[test]
fn opcodes_are_the_headers() {
    let pairs = [
        (opcode::NOP, DSA_OPCODE_NOOP),
        (opcode::BATCH, DSA_OPCODE_BATCH),
        (opcode::DRAIN, DSA_OPCODE_DRAIN),
        (opcode::MEMMOVE, DSA_OPCODE_MEMMOVE),
        (opcode::FILL, DSA_OPCODE_MEMFILL),
        (opcode::COMPARE, DSA_OPCODE_COMPARE),
        (opcode::COMPVAL, DSA_OPCODE_COMPVAL),
        (opcode::CR_DELTA, DSA_OPCODE_CR_DELTA),
        (opcode::AP_DELTA, DSA_OPCODE_AP_DELTA),
        (opcode::DUALCAST, DSA_OPCODE_DUALCAST),
        (opcode::TRANSL_FETCH, DSA_OPCODE_TRANSL_FETCH),
        (opcode::CRCGEN, DSA_OPCODE_CRCGEN),
        (opcode::COPY_CRC, DSA_OPCODE_COPY_CRC),
        (opcode::DIF_CHECK, DSA_OPCODE_DIF_CHECK),
        (opcode::DIF_INS, DSA_OPCODE_DIF_INS),
        (opcode::DIF_STRP, DSA_OPCODE_DIF_STRP),
        (opcode::DIF_UPDT, DSA_OPCODE_DIF_UPDT),
        (opcode::DIX_GEN, DSA_OPCODE_DIX_GEN),
        (opcode::CFLUSH, DSA_OPCODE_CFLUSH),
    ];
    for (ours, theirs) in pairs {
        assert_eq!(u32::from(ours), theirs, "{:?}", opcode::name(ours));
    }
    assert_eq!(constants("DSA_OPCODE_").len(), pairs.len(), "the header has an opcode that is not compared");
}

#[test]
fn statuses_are_the_headers() {
    let pairs = [
        (status::NONE, DSA_COMP_NONE),
        (status::SUCCESS, DSA_COMP_SUCCESS),
        (status::SUCCESS_FALSE, DSA_COMP_SUCCESS_PRED),
        (status::PAGE_FAULT, DSA_COMP_PAGE_FAULT_NOBOF),
        (status::PAGE_RESPONSE, DSA_COMP_PAGE_FAULT_IR),
        (status::BATCH_FAIL, DSA_COMP_BATCH_FAIL),
        (status::BATCH_LIST_FAULT, DSA_COMP_BATCH_PAGE_FAULT),
        (status::DELTA_OFFSET_ORDER, DSA_COMP_DR_OFFSET_NOINC),
        (status::DELTA_OFFSET_RANGE, DSA_COMP_DR_OFFSET_ERANGE),
        (status::DIF_ERROR, DSA_COMP_DIF_ERR),
        (status::BAD_OPCODE, DSA_COMP_BAD_OPCODE),
        (status::BAD_FLAGS, DSA_COMP_INVALID_FLAGS),
        (status::RESERVED_FIELD, DSA_COMP_NOZERO_RESERVE),
        (status::BAD_SIZE, DSA_COMP_XFER_ERANGE),
        (status::BAD_COUNT, DSA_COMP_DESC_CNT_ERANGE),
        (status::BAD_FIELD_VALUE, DSA_COMP_DR_ERANGE),
        (status::OVERLAP, DSA_COMP_OVERLAP_BUFFERS),
        (status::DUALCAST_ALIGN, DSA_COMP_DCAST_ERR),
        (status::LIST_ALIGN, DSA_COMP_DESCLIST_ALIGN),
        (status::BAD_INT_HANDLE, DSA_COMP_INT_HANDLE_INVAL),
        (status::CR_FAULT, DSA_COMP_CRA_XLAT),
        (status::CR_ALIGN, DSA_COMP_CRA_ALIGN),
        (status::ADDR_ALIGN, DSA_COMP_ADDR_ALIGN),
        (status::BAD_PRIV, DSA_COMP_PRIV_BAD),
        (status::BAD_TRAFFIC_CLASS, DSA_COMP_TRAFFIC_CLASS_CONF),
        (status::DRAIN_FAULT, DSA_COMP_PFAULT_RDBA),
        (status::HW_READ, DSA_COMP_HW_ERR1),
        (status::HW_WRITE, DSA_COMP_HW_ERR_DRB),
        (status::TRANSLATION, DSA_COMP_TRANSLATION_FAIL),
        (status::DRAIN_EVENT_LOG, DSA_COMP_DRAIN_EVL),
        (status::BATCH_EVENT_LOG, DSA_COMP_BATCH_EVL_ERR),
    ];
    for (ours, theirs) in pairs {
        assert_eq!(u32::from(ours), theirs, "{:?}", status::meaning(ours));
    }
    let mut theirs = constants("DSA_COMP_");
    assert_eq!(theirs.remove("DSA_COMP_STATUS_WRITE"), Some(u32::from(status::FAULT_WRITE)));
    // The kernel keeps bit 6, which is reserved; the specification's code has six bits.
    assert_eq!(theirs.remove("DSA_COMP_STATUS_MASK"), Some(u32::from(status::CODE_MASK | 0x40)));
    assert_eq!(theirs.len(), pairs.len(), "the header has a status that is not compared");
}

#[test]
fn flags_are_the_headers() {
    let pairs = [
        (flag::FENCE, IDXD_OP_FLAG_FENCE),
        (flag::BLOCK_ON_FAULT, IDXD_OP_FLAG_BOF),
        (flag::CRAV, IDXD_OP_FLAG_CRAV),
        (flag::RCR, IDXD_OP_FLAG_RCR),
        (flag::RCI, IDXD_OP_FLAG_RCI),
        // The header's older name of the bit that became Cache Control 3.
        (flag::CACHE_CONTROL_3, IDXD_OP_FLAG_CRSTS),
        (flag::CHECK_RESULT, IDXD_OP_FLAG_CR),
        (flag::CACHE_CONTROL, IDXD_OP_FLAG_CC),
        (flag::ADDR1_TC, IDXD_OP_FLAG_ADDR1_TCS),
        (flag::ADDR2_TC, IDXD_OP_FLAG_ADDR2_TCS),
        (flag::ADDR3_TC, IDXD_OP_FLAG_ADDR3_TCS),
        (flag::CR_TC, IDXD_OP_FLAG_CR_TCS),
        (flag::STRICT_ORDER, IDXD_OP_FLAG_STORD),
        (flag::DEST_READBACK, IDXD_OP_FLAG_DRDBK),
    ];
    for (ours, theirs) in pairs {
        assert_eq!(ours, theirs, "{theirs:#x}");
    }
    // Together with the bits that are reserved in spite of a name in the header, these are the 16 common ones.
    assert_eq!(pairs.iter().fold(flag::RESERVED, |seen, (bit, _)| seen | bit), 0xffff);
    assert_eq!(flag::RESERVED & IDXD_OP_FLAG_DSTS, IDXD_OP_FLAG_DSTS);
    let common = constants("IDXD_OP_FLAG_").into_values().filter(|&bit| bit <= 0xffff).count();
    assert_eq!(common, pairs.len() + 1, "the header has a common flag that is not compared");
}

#[test]
fn soft_codes_are_the_headers() {
    let mut theirs = constants("IDXD_SCMD_");
    assert_eq!(theirs.remove("IDXD_SCMD_SOFTERR_MASK"), Some(cmd_status::SOFT));
    theirs.remove("IDXD_SCMD_SOFTERR_SHIFT");
    let ours: BTreeMap<_, _> = cmd_status::ALL
        .iter()
        .filter(|&&code| cmd_status::is_soft(code))
        .map(|&code| (cmd_status::name(code).expect("listed"), code))
        .collect();
    assert_eq!(ours, theirs);
}

#[test]
fn the_text_and_the_compiled_bindings_agree() {
    assert_eq!(constants("DSA_OPCODE_CFLUSH")["DSA_OPCODE_CFLUSH"], DSA_OPCODE_CFLUSH);
    assert!(constants("NO_SUCH_PREFIX").is_empty());
}

/// The structures, at compile time. Unions without a name in C get one from bindgen; their order is the header's.
const _: () = {
    assert!(size_of::<Descriptor>() == size_of::<dsa_hw_desc>());
    assert!(size_of::<Descriptor>() == size_of::<dsa_raw_desc>());
    assert!(offset_of!(Descriptor, completion_addr) == offset_of!(dsa_hw_desc, completion_addr));
    assert!(offset_of!(Descriptor, src_addr) == offset_of!(dsa_hw_desc, __bindgen_anon_1.src_addr));
    assert!(offset_of!(Descriptor, dst_addr) == offset_of!(dsa_hw_desc, __bindgen_anon_2.dst_addr));
    assert!(offset_of!(Descriptor, xfer_size) == offset_of!(dsa_hw_desc, __bindgen_anon_3.xfer_size));
    assert!(offset_of!(Descriptor, int_handle) == offset_of!(dsa_hw_desc, int_handle));
    assert!(offset_of!(Descriptor, reserved) == offset_of!(dsa_hw_desc, rsvd1));
    assert!(offset_of!(Descriptor, op_specific) == offset_of!(dsa_hw_desc, __bindgen_anon_4.op_specific));

    assert!(size_of::<CompletionRecord>() == size_of::<dsa_completion_record>());
    assert!(size_of::<CompletionRecord>() == size_of::<dsa_raw_completion_record>());
    assert!(offset_of!(CompletionRecord, status) == offset_of!(dsa_completion_record, status));
    assert!(offset_of!(CompletionRecord, result) == offset_of!(dsa_completion_record, __bindgen_anon_1.result));
    assert!(offset_of!(CompletionRecord, fault_info) == offset_of!(dsa_completion_record, fault_info));
    assert!(offset_of!(CompletionRecord, reserved) == offset_of!(dsa_completion_record, rsvd));
    assert!(
        offset_of!(CompletionRecord, bytes_completed)
            == offset_of!(dsa_completion_record, __bindgen_anon_2.bytes_completed)
    );
    assert!(offset_of!(CompletionRecord, fault_addr) == offset_of!(dsa_completion_record, fault_addr));
    assert!(
        offset_of!(CompletionRecord, op_specific) == offset_of!(dsa_completion_record, __bindgen_anon_3.op_specific)
    );
};

/// Bit fields have no offset; they are compared through memory.
#[test]
fn bit_fields_lie_where_the_header_has_them() {
    let mut theirs = dsa_hw_desc::default();
    theirs.set_pasid(0xa_bcde);
    theirs.set_priv(1);
    theirs.set_flags(0x12_3456);
    theirs.set_opcode(u32::from(opcode::COPY_CRC));
    let mut ours = Descriptor { pasid: 1 << 31 | 0xa_bcde, ..Descriptor::default() };
    ours.set_opcode_flags(opcode::COPY_CRC, 0xff12_3456);

    // SAFETY: both are 64 bytes (asserted above). `dsa_hw_desc` is packed, so it has no padding, and `default` has
    // zeroed all of it; any bytes are a valid `[u8; 64]`.
    let theirs: [u8; 64] = unsafe { std::mem::transmute(theirs) };
    assert_eq!(zerocopy::IntoBytes::as_bytes(&ours), theirs);
    assert_eq!((ours.opcode(), ours.flags()), (opcode::COPY_CRC, 0x12_3456));
}

/// Every name and text of a table belongs to a listed value, and the lists are sorted.
#[test]
fn lists_and_texts_agree() {
    for code in 0..=u8::MAX {
        assert_eq!(opcode::name(code).is_some(), opcode::ALL.contains(&code), "opcode {code:#x}");
        assert_eq!(status::meaning(code).is_some(), status::ALL.contains(&code), "status {code:#x}");
    }
    assert!(opcode::ALL.is_sorted_by(|a, b| a < b));
    assert!(status::ALL.is_sorted_by(|a, b| a < b));
    assert!(status::ALL.iter().all(|code| code & !status::CODE_MASK == 0));
}
