//! The checks a descriptor passes before it runs (specification sections 5.3, 8.1 and the operation sections).
//!
//! The order is fixed here - opcode, flags, interrupt handle, reserved bytes, sizes, addresses - but the specification
//! leaves it open: software must not rely on which of two mistakes is reported.

use idxd_sys::{CompletionRecord, Descriptor, flag, opcode, status};

use super::{Exec, delta, dif, fetch, record, rules};
use crate::config::{Checks, VERSION_3_0, gencap};

/// Flags every operation may carry, as far as other rules allow.
const COMMON: u32 = flag::FENCE | flag::CRAV | flag::RCR | flag::CR_TC;
pub(super) const CACHE: u32 = flag::CACHE_CONTROL | flag::DEST_READBACK | flag::CACHE_CONTROL_3;
const BOF: u32 = flag::BLOCK_ON_FAULT;
const SO: u32 = flag::STRICT_ORDER;
const TC1: u32 = flag::ADDR1_TC;
const TC2: u32 = flag::ADDR2_TC;
const TC3: u32 = flag::ADDR3_TC;
const CRC_FLAGS: u32 = flag::CRC_READ_SEED | flag::CRC_BYPASS_INVERT | flag::CRC_BYPASS_REFLECT | flag::CRC_64;

/// Checks a descriptor. The error is the record it ends with.
pub(super) fn check(x: &Exec<'_>, d: &Descriptor, in_batch: bool) -> Result<(), CompletionRecord> {
    let code = d.opcode();
    let never_in_batch = matches!(code, opcode::BATCH | opcode::DRAIN | opcode::UPDATE_WINDOW);
    let no_translations = code == opcode::TRANSL_FETCH && !x.queue.setup.ats();
    if !x.queue.setup.offers(code) || in_batch && never_in_batch || no_translations {
        return Err(record(status::BAD_OPCODE));
    }
    let invalid = invalid_flags(x, d, in_batch);
    if invalid != 0 {
        return Err(CompletionRecord { op_specific: [u64::from(invalid), 0], ..record(status::BAD_FLAGS) });
    }
    // A request that is not allowed at all was refused above; without one, no handle is valid.
    let handle_valid = if d.flags() & flag::RCI != 0 { x.vector(d).is_some() } else { d.int_handle == 0 };
    if !handle_valid {
        return Err(record(status::BAD_INT_HANDLE));
    }
    if x.shared.config.checks == Checks::Strict && !reserved_bytes_clear(d) {
        return Err(record(status::RESERVED_FIELD));
    }
    let size = u64::from(d.xfer_size);
    match code {
        opcode::NOP | opcode::DRAIN => return Ok(()),
        code if rules::covers(code) => return rules::check(x, d),
        opcode::BATCH => {
            let least = if x.has(gencap::BATCH_1) { 1 } else { 2 };
            fail(!(least..=x.queue.setup.max_batch_size()).contains(&d.xfer_size), status::BAD_COUNT)?;
            return fail(!d.src_addr.is_multiple_of(64), status::LIST_ALIGN);
        }
        opcode::TRANSL_FETCH => return fetch::check(x, d),
        _ => fail(size == 0 || size > x.queue.setup.max_transfer_size(), status::BAD_SIZE)?,
    }
    let (src, dst, dst2) = (d.src_addr, d.dst_addr, d.op_specific[0]);
    match code {
        opcode::MEMMOVE => fail(!x.has(gencap::OVERLAPPING_COPY) && overlap(src, dst, size), status::OVERLAP),
        opcode::COPY_CRC => {
            fail(overlap(src, dst, size), status::OVERLAP)?;
            fail(!seed_aligned(d), status::ADDR_ALIGN)
        }
        opcode::CRCGEN => fail(!seed_aligned(d), status::ADDR_ALIGN),
        opcode::DUALCAST => {
            fail((dst ^ dst2) & 0xfff != 0, status::DUALCAST_ALIGN)?;
            fail(overlap(src, dst, size) || overlap(src, dst2, size) || overlap(dst, dst2, size), status::OVERLAP)
        }
        opcode::CR_DELTA | opcode::AP_DELTA => delta::check(x, d),
        opcode::DIF_CHECK..=opcode::DIF_UPDT | opcode::DIX_GEN => dif::check(x, d),
        _ => Ok(()),
    }
}

/// Ends a check with a status if something is wrong.
pub(super) fn fail(wrong: bool, status: u8) -> Result<(), CompletionRecord> {
    if wrong { Err(record(status)) } else { Ok(()) }
}

/// Whether two regions of `size` bytes share a byte. Regions that wrap around are caught later, as faults.
pub(super) fn overlap(a: u64, b: u64, size: u64) -> bool {
    a.abs_diff(b) < size
}

/// The same for regions of different sizes, each an address and a size.
pub(super) fn regions_overlap(a: (u64, u64), b: (u64, u64)) -> bool {
    let (low, high) = if a.0 <= b.0 { (a, b) } else { (b, a) };
    high.1 != 0 && high.0 - low.0 < low.1
}

fn seed_aligned(d: &Descriptor) -> bool {
    let align = if d.flags() & flag::CRC_64 != 0 { 8 } else { 4 };
    d.flags() & flag::CRC_READ_SEED == 0 || d.op_specific[1].is_multiple_of(align)
}

/// The flag bits that are reserved, unsupported, contradictory or missing.
pub(super) fn invalid_flags(x: &Exec<'_>, d: &Descriptor, in_batch: bool) -> u32 {
    let flags = d.flags();
    let set = |bit: u32| flags & bit != 0;
    let code = d.opcode();
    let mut invalid = flags & !(COMMON | allowed(x, code, flags));
    if set(flag::RCI) && x.shared.events.as_ref().is_some_and(|events| events.may_interrupt(x.requester)) {
        invalid &= !flag::RCI;
    }
    if set(flag::FENCE) && !in_batch {
        invalid |= flag::FENCE;
    }
    if !x.queue.setup.block_on_fault() {
        invalid |= flags & BOF;
    }
    if !set(flag::CRAV) {
        invalid |= flags & (flag::RCR | flag::CR_TC);
    }
    // Operations with a result must have somewhere to put it; a missing bit is reported like a wrong one.
    let needed = match code {
        opcode::COMPARE | opcode::COMPVAL | opcode::CRCGEN | opcode::COPY_CRC
        // Table 5-5 does not list DIX generate; section 8.3.18 does say so.
        | opcode::CR_DELTA | opcode::DIF_CHECK | opcode::DIX_GEN => flag::CRAV | flag::RCR,
        opcode::DRAIN if set(flag::RCI) => 0,
        opcode::DRAIN => flag::RCR,
        _ => rules::needed(code, flags),
    };
    invalid | needed & !flags | invalid_cache_control(x, code, flags)
}

/// Flags of one opcode besides the common ones (specification table 5-3).
pub(super) fn allowed(x: &Exec<'_>, code: u8, flags: u32) -> u32 {
    let set = |bit: u32| flags & bit != 0;
    let when = |condition: bool, bits: u32| if condition { bits } else { 0 };
    match code {
        opcode::BATCH => TC1 | when(x.has(gencap::BATCH_CONTINUATION), flag::BATCH_ERROR),
        opcode::DRAIN => {
            flag::DRAIN_SUPPRESS_TC_A
                | flag::DRAIN_SUPPRESS_TC_B
                | when(x.has(gencap::DRAIN_READBACK), flag::DRAIN_READBACK_1 | flag::DRAIN_READBACK_2)
                | when(set(flag::DRAIN_READBACK_1), TC1)
                | when(set(flag::DRAIN_READBACK_2), TC2)
        }
        opcode::MEMMOVE | opcode::AP_DELTA | opcode::DIF_INS..=opcode::DIF_UPDT | opcode::DIX_GEN => {
            BOF | CACHE | SO | TC1 | TC2
        }
        opcode::FILL => BOF | CACHE | SO | TC2 | when(x.has(gencap::FILL_16), flag::FILL_16),
        opcode::COMPARE => BOF | flag::CHECK_RESULT | TC1 | TC2,
        opcode::COMPVAL => BOF | flag::CHECK_RESULT | TC1,
        opcode::DUALCAST => BOF | CACHE | SO | TC1 | TC2 | TC3,
        opcode::CRCGEN => BOF | TC1 | when(set(flag::CRC_READ_SEED), TC3) | crc_flags(x),
        opcode::COPY_CRC => BOF | CACHE | SO | TC1 | TC2 | TC3 | crc_flags(x),
        opcode::CFLUSH => BOF | SO | TC2 | flag::DEST_READBACK,
        opcode::CR_DELTA => BOF | flag::CHECK_RESULT | CACHE | SO | TC1 | TC2 | TC3,
        opcode::TRANSL_FETCH => BOF | when(x.has(gencap::TRANSLATION_FETCH_STRIDE), flag::FETCH_STRIDE),
        opcode::DIF_CHECK => BOF | TC1,
        _ => rules::allowed(x, code),
    }
}

fn crc_flags(x: &Exec<'_>) -> u32 {
    if x.has(gencap::CRC_64) { CRC_FLAGS } else { CRC_FLAGS & !flag::CRC_64 }
}

/// Cache control bits that the device does not offer, or that are reserved together.
fn invalid_cache_control(x: &Exec<'_>, code: u8, flags: u32) -> u32 {
    if flags & CACHE == 0 {
        return 0;
    }
    let bit = |b: u32| u8::from(flags & b != 0);
    let combination = bit(flag::CACHE_CONTROL_3) << 2 | bit(flag::DEST_READBACK) << 1 | bit(flag::CACHE_CONTROL);
    let third = x.shared.config.version >= VERSION_3_0;
    let valid = match combination {
        0b001 => x.has(gencap::CACHE_CONTROL),
        0b010 => x.has(gencap::DEST_READBACK),
        0b011 => x.has(gencap::CACHE_CONTROL) && x.has(gencap::DEST_READBACK),
        0b100 => third && x.has(gencap::DURABLE_WRITE),
        0b110 => third && x.has(gencap::DEST_READBACK),
        _ => false,
    };
    // A cache flush allows 000 and 010 only, which its flag list says already.
    if valid || code == opcode::CFLUSH && combination != 0b010 { 0 } else { flags & CACHE }
}

/// Whether the bytes that an operation must leave 0 are 0 (specification table 8-2).
pub(super) fn reserved_bytes_clear(d: &Descriptor) -> bool {
    let flags = d.flags();
    let set = |bit: u32| flags & bit != 0;
    let [w40, w48, w56] = d.op_specific;
    let tail = d.reserved == 0 && w56 == 0;
    let after_38 = tail && w40 == 0 && w48 == 0;
    match d.opcode() {
        opcode::NOP => after_38 && d.src_addr == 0 && d.dst_addr == 0 && d.xfer_size == 0,
        opcode::BATCH => after_38 && d.dst_addr == 0,
        opcode::DRAIN => {
            let unused_1 = !set(flag::DRAIN_READBACK_1) && d.src_addr != 0;
            let unused_2 = !set(flag::DRAIN_READBACK_2) && d.dst_addr != 0;
            after_38 && d.xfer_size == 0 && !unused_1 && !unused_2
        }
        opcode::FILL => tail && w48 == 0 && (w40 == 0 || set(flag::FILL_16)),
        // Byte 40 holds the expected result.
        opcode::COMPARE | opcode::COMPVAL => tail && w48 == 0 && w40 >> 8 == 0,
        opcode::DUALCAST => tail && w48 == 0,
        opcode::CRCGEN | opcode::COPY_CRC => {
            let no_destination = d.opcode() == opcode::COPY_CRC || d.dst_addr == 0;
            let seed = set(flag::CRC_64) || w40 >> 32 == 0;
            let seed_address = set(flag::CRC_READ_SEED) || w48 == 0;
            tail && no_destination && seed && seed_address
        }
        opcode::CFLUSH => after_38 && d.src_addr == 0,
        // Byte 56 holds the mask of expected results.
        opcode::CR_DELTA => d.reserved == 0 && w48 >> 32 == 0 && w56 >> 8 == 0,
        opcode::AP_DELTA => tail && w40 >> 32 == 0 && w48 == 0,
        opcode::TRANSL_FETCH => {
            let stride = w48 >> 32 == 0 && (w48 == 0 || set(flag::FETCH_STRIDE));
            tail && d.dst_addr == 0 && w40 == 0 && stride
        }
        opcode::DIF_CHECK..=opcode::DIF_UPDT | opcode::DIX_GEN => dif::reserved_bytes_clear(d),
        code if rules::covers(code) => rules::reserved_bytes_clear(d),
        _ => after_38,
    }
}
