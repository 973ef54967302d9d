//! Tables 5-3 to 5-5: which flags and bytes each operation has.

use idxd_sys::compute::dsacap0;
use idxd_sys::{flag, gencap, opcode};

use crate::bench::Capabilities;

const BLOCK: u32 = flag::BLOCK_ON_FAULT;
const CHECK: u32 = flag::CHECK_RESULT;
const CACHE: u32 = flag::CACHE_CONTROL | flag::DEST_READBACK | flag::CACHE_CONTROL_3;
const ORDER: u32 = flag::STRICT_ORDER;
const ONE: u32 = flag::ADDR1_TC;
const TWO: u32 = flag::ADDR2_TC;
const THREE: u32 = flag::ADDR3_TC;

/// Flags that an operation may have, or of which it is not specified that they are refused. Everything else is reserved.
#[expect(clippy::match_same_arms, reason = "lines of a table")]
pub(crate) fn open_flags(c: &Capabilities, code: u8) -> u32 {
    let columns = match code {
        opcode::NOP | opcode::UPDATE_WINDOW => 0,
        opcode::BATCH => ONE,
        // With a readback only.
        opcode::DRAIN => 0,
        opcode::MEMMOVE
        | opcode::AP_DELTA
        | opcode::DIF_INS
        | opcode::DIF_STRP
        | opcode::DIF_UPDT
        | opcode::DIX_GEN
        | opcode::INTER_DOMAIN_COPY => BLOCK | CACHE | ORDER | ONE | TWO,
        opcode::FILL | opcode::INTER_DOMAIN_FILL => BLOCK | CACHE | ORDER | TWO,
        opcode::COMPARE | opcode::INTER_DOMAIN_COMPARE => BLOCK | CHECK | ONE | TWO,
        opcode::COMPVAL | opcode::INTER_DOMAIN_COMPVAL => BLOCK | CHECK | ONE,
        opcode::CR_DELTA | opcode::REDUCE | opcode::REDUCE_DUALCAST | opcode::GATHER_REDUCE => {
            BLOCK | CHECK | CACHE | ORDER | ONE | TWO | THREE
        }
        opcode::DUALCAST | opcode::COPY_CRC | opcode::GATHER_COPY | opcode::SCATTER_COPY => {
            BLOCK | CACHE | ORDER | ONE | TWO | THREE
        }
        opcode::TRANSL_FETCH => BLOCK,
        opcode::CRCGEN => BLOCK | ONE | THREE,
        opcode::DIF_CHECK => BLOCK | ONE,
        opcode::TYPE_CONV => BLOCK | CHECK | CACHE | ORDER | ONE | TWO,
        opcode::SCATTER_FILL => BLOCK | CACHE | ORDER | TWO | THREE,
        // Combinations of cache control that it does not have need not be noticed.
        opcode::CFLUSH => BLOCK | CACHE | ORDER | TWO,
        _ => 0,
    };
    let block = if c.block_on_fault { 0 } else { BLOCK };
    // Before version 3.0 there is no third cache control flag.
    let cache = if c.version < 0x300 { flag::CACHE_CONTROL_3 } else { 0 };
    let interrupt = if c.interrupts { flag::RCI } else { 0 };
    let common = flag::CRAV | flag::RCR | flag::CR_TC | interrupt;
    common | columns & !(block | cache) | specific(c, code)
}

/// The flags that select the traffic classes of an operation's sample, one for each address that it uses.
pub(crate) fn class_selectors(code: u8) -> Vec<u32> {
    // The columns do not depend on what the device has.
    let columns = open_flags(&Capabilities::default(), code);
    let second_destination = (code == opcode::REDUCE_DUALCAST).then_some(flag::REDUCE_DEST2_TC);
    [ONE, TWO, THREE].into_iter().filter(|selector| columns & selector != 0).chain(second_destination).collect()
}

/// Bits 23:16.
fn specific(c: &Capabilities, code: u8) -> u32 {
    let when = |condition: bool, bits: u32| if condition { bits } else { 0 };
    let has = |bit: u64| c.has(bit);
    let domains = |bit: u64| c.has(gencap::INTER_DOMAIN) && c.dsacap[0] & bit != 0;
    let both = flag::ALTERNATE_SOURCE | flag::ALTERNATE_DESTINATION;
    match code {
        opcode::BATCH => when(has(gencap::BATCH_CONTINUATION), flag::BATCH_ERROR),
        opcode::DRAIN => {
            let suppress = flag::DRAIN_SUPPRESS_TC_A | flag::DRAIN_SUPPRESS_TC_B;
            suppress | when(has(gencap::DRAIN_READBACK), flag::DRAIN_READBACK_1 | flag::DRAIN_READBACK_2)
        }
        opcode::FILL => when(has(gencap::FILL_16), flag::FILL_16),
        opcode::INTER_DOMAIN_FILL => flag::ALTERNATE_DESTINATION | when(has(gencap::FILL_16), flag::FILL_16),
        opcode::CRCGEN | opcode::COPY_CRC => {
            let bypass = flag::CRC_BYPASS_INVERT | flag::CRC_BYPASS_REFLECT;
            flag::CRC_READ_SEED | bypass | when(has(gencap::CRC_64), flag::CRC_64)
        }
        opcode::TRANSL_FETCH => when(has(gencap::TRANSLATION_FETCH_STRIDE), flag::FETCH_STRIDE),
        opcode::TYPE_CONV => when(domains(dsacap0::INTER_DOMAIN_TYPE_CONV), both),
        opcode::REDUCE => when(domains(dsacap0::INTER_DOMAIN_REDUCE), flag::INTER_DOMAIN_SELECTOR),
        opcode::REDUCE_DUALCAST => {
            let selector = when(domains(dsacap0::INTER_DOMAIN_REDUCE_DUALCAST), flag::INTER_DOMAIN_SELECTOR);
            flag::REDUCE_DEST2_TC | selector
        }
        opcode::GATHER_COPY => when(domains(dsacap0::INTER_DOMAIN_GATHER_COPY), both),
        opcode::SCATTER_COPY => when(domains(dsacap0::INTER_DOMAIN_SCATTER_COPY), both),
        opcode::SCATTER_FILL => when(domains(dsacap0::INTER_DOMAIN_SCATTER_FILL), flag::ALTERNATE_DESTINATION),
        opcode::UPDATE_WINDOW => flag::SUPPRESS_DRAIN,
        opcode::INTER_DOMAIN_COPY | opcode::INTER_DOMAIN_COMPARE => both,
        opcode::INTER_DOMAIN_COMPVAL => flag::ALTERNATE_SOURCE,
        _ => 0,
    }
}

/// Flags that must be set, one by one.
pub(crate) fn needed_flags(code: u8) -> &'static [u32] {
    match code {
        opcode::COMPARE
        | opcode::COMPVAL
        | opcode::CR_DELTA
        | opcode::CRCGEN
        | opcode::COPY_CRC
        | opcode::DIF_CHECK
        // A record that nobody asked for comes only with an error, which this is.
        | opcode::DRAIN => &[flag::RCR],
        opcode::INTER_DOMAIN_COPY | opcode::INTER_DOMAIN_COMPARE => {
            &[flag::ALTERNATE_SOURCE | flag::ALTERNATE_DESTINATION]
        }
        opcode::INTER_DOMAIN_FILL => &[flag::ALTERNATE_DESTINATION],
        opcode::INTER_DOMAIN_COMPVAL => &[flag::ALTERNATE_SOURCE],
        _ => &[],
    }
}

/// Bytes of a descriptor, from one to another, and the bits of them that the sample of an operation must leave 0.
type Reserved = (usize, usize, u8);

/// The reserved bytes of an operation. Those whose use depends on flags are as in the sample.
pub(crate) fn reserved_bytes(code: u8) -> &'static [Reserved] {
    const BEHIND_HANDLE: Reserved = (38, 39, 0xff);
    match code {
        opcode::NOP => &[(16, 35, 0xff), (38, 63, 0xff)],
        opcode::BATCH => &[(24, 31, 0xff), (38, 63, 0xff)],
        opcode::DRAIN => &[(32, 35, 0xff), (38, 63, 0xff)],
        opcode::MEMMOVE | opcode::FILL => &[(38, 63, 0xff)],
        opcode::COMPARE | opcode::COMPVAL => &[BEHIND_HANDLE, (41, 63, 0xff)],
        opcode::CR_DELTA => &[BEHIND_HANDLE, (52, 55, 0xff), (57, 63, 0xff)],
        opcode::AP_DELTA => &[BEHIND_HANDLE, (44, 63, 0xff)],
        opcode::DUALCAST => &[BEHIND_HANDLE, (48, 63, 0xff)],
        opcode::TRANSL_FETCH => &[(24, 31, 0xff), (38, 47, 0xff), (52, 63, 0xff)],
        // With a seed of 32 bits in memory.
        opcode::CRCGEN => &[(24, 31, 0xff), BEHIND_HANDLE, (44, 47, 0xff), (56, 63, 0xff)],
        opcode::COPY_CRC => &[BEHIND_HANDLE, (44, 47, 0xff), (56, 63, 0xff)],
        opcode::DIF_CHECK => &[(24, 31, 0xff), BEHIND_HANDLE, (41, 41, 0xff), (43, 47, 0xff), (56, 63, 0xff)],
        opcode::DIF_INS | opcode::DIX_GEN => &[BEHIND_HANDLE, (40, 40, 0xff), (43, 55, 0xff)],
        opcode::DIF_STRP => &[BEHIND_HANDLE, (41, 41, 0xff), (43, 47, 0xff), (56, 63, 0xff)],
        opcode::DIF_UPDT => &[BEHIND_HANDLE, (43, 47, 0xff)],
        opcode::TYPE_CONV => &[(38, 55, 0xff), (57, 57, 0x0f), (59, 63, 0xff)],
        opcode::REDUCE => &[BEHIND_HANDLE, (48, 55, 0xff), (59, 63, 0xff)],
        opcode::REDUCE_DUALCAST => &[BEHIND_HANDLE, (59, 63, 0xff)],
        opcode::GATHER_REDUCE => &[(38, 43, 0xff), (46, 47, 0xff), (59, 59, 0x0f)],
        opcode::GATHER_COPY | opcode::SCATTER_COPY | opcode::SCATTER_FILL => {
            &[BEHIND_HANDLE, (46, 47, 0xff), (56, 56, 0xf0), (57, 58, 0xff), (59, 59, 0x0f), (60, 63, 0xff)]
        }
        opcode::CFLUSH => &[(16, 23, 0xff), (38, 63, 0xff)],
        opcode::UPDATE_WINDOW => &[(32, 35, 0xff), (38, 60, 0xff)],
        // With a source behind a handle.
        opcode::INTER_DOMAIN_COPY => &[(38, 59, 0xff), (62, 63, 0xff)],
        opcode::INTER_DOMAIN_FILL => &[BEHIND_HANDLE, (40, 61, 0xff)],
        opcode::INTER_DOMAIN_COMPARE | opcode::INTER_DOMAIN_COMPVAL => &[BEHIND_HANDLE, (41, 59, 0xff), (62, 63, 0xff)],
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_has_reserved_bytes_and_flags() {
        let nothing = Capabilities::default();
        for &code in opcode::ALL {
            assert!(reserved_bytes(code).contains(&(38, 39, 0xff)) || reserved_bytes(code).iter().any(|r| r.0 == 38));
            assert!(reserved_bytes(code).iter().all(|(from, to, bits)| from <= to && *to < 64 && *bits != 0));
            assert_eq!(open_flags(&nothing, code) & (flag::RESERVED | flag::FENCE | flag::RCI | BLOCK), 0);
            assert!(class_selectors(code).iter().all(|bit| bit & !open_flags(&nothing, code) == 0));
            assert!(needed_flags(code).iter().all(|bits| bits & !open_flags(&nothing, code) == 0), "{code:#x}");
        }
    }
}
