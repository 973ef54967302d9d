//! Tests of the instruction wrappers.
//!
//! What this CPU has is run. What it may lack is checked by its encoding: the machine code of the wrapper is read
//! back and searched for the bytes that the architecture manuals give.

extern crate std;

use std::vec::Vec;

use super::*;
use crate::CpuFeatures;

unsafe extern "C" {
    /// End of the text segment, which the linker defines.
    static etext: u8;
}

/// The machine code of `function` up to the first byte that reads as RET.
///
/// Such a byte inside an instruction would cut the code short and make a test fail; without the cut the search could
/// go on into the next function and succeed there.
fn code(function: *const ()) -> Vec<u8> {
    let start = function.cast::<u8>();
    let room = (&raw const etext).addr().checked_sub(start.addr()).expect("a function lies before the end of text");
    let mut code = Vec::new();
    for i in 0..room.min(256) {
        // SAFETY: from the start of a function to the end of the text segment everything is mapped, readable (the
        // linker is not asked for execute-only text) and never written.
        code.push(unsafe { start.add(i).read() });
        if code.ends_with(&[0xc3]) {
            break;
        }
    }
    code
}

/// Where in `code` an instruction starts that consists of `prefix`, perhaps a REX byte, `opcode` and an operand byte
/// (ModR/M) that `operand` accepts.
fn find(code: &[u8], prefix: u8, opcode: &[u8], operand: fn(u8) -> bool) -> Option<usize> {
    let matches = |rest: &[u8]| rest.strip_prefix(opcode).and_then(<[u8]>::first).is_some_and(|&byte| operand(byte));
    (0..code.len()).find(|&at| match &code[at..] {
        [first, 0x40..=0x4f, rest @ ..] if *first == prefix => matches(rest),
        [first, rest @ ..] if *first == prefix => matches(rest),
        _ => false,
    })
}

/// A memory operand: mod is not 11.
fn memory(operand: u8) -> bool {
    operand >> 6 != 3
}

/// A register operand with extension /6.
fn register_6(operand: u8) -> bool {
    operand & 0xf8 == 0xf0
}

const STORE_64: &[u8] = &[0x0f, 0x38, 0xf8];
const WAIT: &[u8] = &[0x0f, 0xae];

#[test]
fn enqcmd_is_encoded_as_documented_and_answered_by_zf() {
    let function: unsafe fn(*mut u8, *const Descriptor) -> bool = enqcmd;
    let code = code(function as *const ());
    let at = find(&code, 0xf2, STORE_64, memory).expect("F2 0F 38 F8 /r");
    // SETZ: 0F 94 /0.
    assert!(code[at..].windows(2).any(|pair| pair == [0x0f, 0x94]), "{code:02x?}");
    assert_eq!(find(&code, 0x66, STORE_64, memory), None);
}

#[test]
fn movdir64b_is_encoded_as_documented() {
    let function: unsafe fn(*mut u8, *const Descriptor) = movdir64b;
    let code = code(function as *const ());
    assert!(find(&code, 0x66, STORE_64, memory).is_some(), "{code:02x?}");
}

#[test]
fn waits_are_encoded_as_documented() {
    let function: unsafe fn(*const u8) = umonitor;
    assert!(find(&code(function as *const ()), 0xf3, WAIT, register_6).is_some());

    for (function, prefix) in [(umwait as unsafe fn(u32, u64) -> bool, 0xf2), (tpause, 0x66)] {
        let code = code(function as *const ());
        let at = find(&code, prefix, WAIT, register_6).expect("prefix 0F AE /6");
        // SETC: 0F 92 /0.
        assert!(code[at..].windows(2).any(|pair| pair == [0x0f, 0x92]), "{code:02x?}");
    }
}

#[test]
fn monitorx_and_mwaitx_are_encoded_as_documented() {
    let function: unsafe fn(*const u8) = monitorx;
    assert!(code(function as *const ()).windows(3).any(|bytes| bytes == [0x0f, 0x01, 0xfa]));
    let function: unsafe fn(u32) = mwaitx;
    assert!(code(function as *const ()).windows(3).any(|bytes| bytes == [0x0f, 0x01, 0xfb]));
}

#[test]
fn the_search_tells_instructions_apart() {
    assert_eq!(find(&[0x90, 0xf2, 0x0f, 0x38, 0xf8, 0x07], 0xf2, STORE_64, memory), Some(1));
    assert_eq!(find(&[0xf2, 0x44, 0x0f, 0x38, 0xf8, 0x07], 0xf2, STORE_64, memory), Some(0));
    assert_eq!(find(&[0xf3, 0x0f, 0x38, 0xf8, 0x07], 0xf2, STORE_64, memory), None);
    assert_eq!(find(&[0xf2, 0x0f, 0x38, 0xf8, 0xc7], 0xf2, STORE_64, memory), None);
    assert_eq!(find(&[0xf2, 0x0f, 0x38, 0xf8], 0xf2, STORE_64, memory), None);
    assert_eq!(find(&[0x66, 0x0f, 0xae, 0xf7], 0x66, WAIT, register_6), Some(0));
    // CLWB is 66 0F AE /6 with a memory operand.
    assert_eq!(find(&[0x66, 0x0f, 0xae, 0x37], 0x66, WAIT, register_6), None);
}

/// A page's worth of places to store to, as a portal has.
#[repr(C, align(64))]
struct Page([u8; 4096]);

#[test]
fn movdir64b_stores_64_bytes_and_no_more() {
    if !CpuFeatures::native().movdir64b {
        std::eprintln!("skipped: this CPU has no MOVDIR64B");
        return;
    }
    let mut descriptor = Descriptor { pasid: 0x1234_5678, op_specific: [3, 4, u64::MAX], ..Descriptor::default() };
    descriptor.set_opcode_flags(crate::opcode::MEMMOVE, crate::flag::CRAV | crate::flag::RCR);
    let expected: &[u8] = zerocopy::IntoBytes::as_bytes(&descriptor);

    for slot in [0, 1, 63] {
        let mut page = Page([0xa5; 4096]);
        let offset = slot * 64;
        // SAFETY: the CPU has the instruction; `page` is 64-byte aligned, and 64 bytes at `offset` lie within it.
        unsafe { movdir64b(page.0.as_mut_ptr().add(offset), &raw const descriptor) };
        sfence();
        assert_eq!(&page.0[offset..offset + 64], expected);
        assert!(page.0[..offset].iter().chain(&page.0[offset + 64..]).all(|&byte| byte == 0xa5));
    }
}

#[test]
fn waiting_ends_by_itself() {
    let line = Page([0; 4096]);
    let native = CpuFeatures::native();
    if native.waitpkg {
        for state in [WAIT_C01, WAIT_C02] {
            let begin = rdtsc();
            // SAFETY: the CPU has the instructions, the line is ordinary memory, and the states are the two defined
            // ones.
            unsafe {
                umonitor(line.0.as_ptr());
                umwait(state, begin + 10_000);
                tpause(state, begin + 20_000);
            }
            assert!(rdtsc() > begin);
        }
    }
    if native.mwaitx {
        // SAFETY: the CPU has the instructions, and the line is ordinary memory.
        unsafe {
            monitorx(line.0.as_ptr());
            mwaitx(10_000);
        }
    }
    pause();
}

#[test]
fn the_time_stamp_counter_moves_on() {
    let begin = rdtsc();
    let end = (0..1_000_000).map(|_| rdtsc()).find(|&now| now != begin).expect("it stands still");
    let last = rdtsc_ordered();
    if CpuFeatures::native().invariant_tsc {
        assert!(end > begin && last >= end);
    }
}
