//! The decoder of trapped instructions, held against the assembler and against random bytes.
#![cfg(target_arch = "x86_64")]

use std::arch::asm;

use dsa_emulator::trap::decode::{DecodeError, Instruction, Kind, MAX_LENGTH, Operands, Registers, Segment, decode};
use proptest::prelude::*;

/// A different value in every register, with bits in both halves.
struct Fixed;

const RIP: u64 = 0x7f00_1234_5000;
const FS: u64 = 0x0000_7abc_0000_0000;
const GS: u64 = 0xffff_8000_0000_0000;

const fn r(number: u8) -> u64 {
    0x0123_4567_89ab_c000u64.wrapping_mul(number as u64 + 3) & !63
}

impl Registers for Fixed {
    fn general(&self, number: u8) -> u64 {
        assert!(number < 16);
        r(number)
    }

    fn instruction_pointer(&self) -> u64 {
        RIP
    }

    fn segment_base(&self, segment: Segment) -> u64 {
        match segment {
            Segment::Fs => FS,
            Segment::Gs => GS,
        }
    }
}

/// The bytes that the assembler makes of an instruction. They are jumped over.
macro_rules! assemble {
    ($text:expr) => {{
        let (start, end): (*const u8, *const u8);
        // SAFETY: the instruction between the labels is not executed; the two registers are outputs.
        unsafe {
            asm!(
                "lea {start}, [rip + 2f]",
                "lea {end}, [rip + 3f]",
                "jmp 3f",
                "2:",
                $text,
                "3:",
                start = out(reg) start,
                end = out(reg) end,
                options(nomem, nostack, preserves_flags),
            );
        }
        // SAFETY: the bytes between the labels are code of this very program, mapped readable for its whole life.
        unsafe { std::slice::from_raw_parts(start, end.addr() - start.addr()) }
    }};
}

const RAX: u8 = 0;
const RCX: u8 = 1;
const RDX: u8 = 2;
const RBX: u8 = 3;
const RSP: u8 = 4;
const RBP: u8 = 5;
const RSI: u8 = 6;
const RDI: u8 = 7;

/// Decodes, and checks what must hold for every encoding: it does not matter what follows, and every prefix of it is
/// too short.
fn decoded(code: &[u8]) -> Instruction {
    let found = decode(code).unwrap_or_else(|error| panic!("{code:02x?}: {error:?}"));
    assert_eq!(usize::from(found.length()), code.len(), "{code:02x?}");
    for tail in [0x00, 0x66, 0xff] {
        let mut longer = code.to_vec();
        longer.extend([tail; 20]);
        assert_eq!(decode(&longer), Ok(found), "{code:02x?}");
    }
    for end in 0..code.len() {
        assert_eq!(decode(&code[..end]), Err(DecodeError::Truncated), "{:02x?} of {code:02x?}", &code[..end]);
    }
    found
}

macro_rules! stores {
    ($($target:literal, $source:literal => $expected_target:expr, $expected_source:expr;)*) => { $(
        for (code, kind) in [
            (assemble!(concat!("movdir64b ", $target, ", zmmword ptr ", $source)), Kind::Movdir64b),
            (assemble!(concat!("enqcmd ", $target, ", zmmword ptr ", $source)), Kind::Enqcmd),
            (assemble!(concat!("enqcmds ", $target, ", zmmword ptr ", $source)), Kind::Enqcmds),
        ] {
            let found = decoded(code);
            let end = RIP + code.len() as u64;
            let source: fn(u64) -> u64 = $expected_source;
            assert_eq!(found.kind(), kind, "{code:02x?}");
            let expected = Operands::Store { source: source(end), target: $expected_target };
            assert_eq!(found.operands(&Fixed), expected, "{} {}: {code:02x?}", $target, $source);
        }
    )* };
}

/// A sum that wraps, as addresses do.
fn sum(parts: &[u64]) -> u64 {
    parts.iter().fold(0, |sum, part| sum.wrapping_add(*part))
}

const fn low(value: u64) -> u64 {
    value & 0xffff_ffff
}

#[test]
fn every_form_of_a_memory_operand_is_resolved() {
    stores! {
        "rax", "[rax]" => r(RAX), |_| r(RAX);
        "rcx", "[rdx]" => r(RCX), |_| r(RDX);
        "rdi", "[rsi]" => r(RDI), |_| r(RSI);
        "rbp", "[rbx]" => r(RBP), |_| r(RBX);
        "rsp", "[rdi]" => r(RSP), |_| r(RDI);
        // Bases that need a SIB byte or a displacement.
        "rax", "[rsp]" => r(RAX), |_| r(RSP);
        "rax", "[rbp]" => r(RAX), |_| r(RBP);
        "rax", "[r12]" => r(RAX), |_| r(12);
        "rax", "[r13]" => r(RAX), |_| r(13);
        // REX.R, REX.B, REX.X and all together.
        "r8", "[rax]" => r(8), |_| r(RAX);
        "r15", "[r14]" => r(15), |_| r(14);
        "r12", "[r9 + r10]" => r(12), |_| sum(&[r(9), r(10)]);
        "rax", "[rcx + r12*2]" => r(RAX), |_| sum(&[r(RCX), r(12) << 1]);
        "r13", "[r13 + r12*8]" => r(13), |_| sum(&[r(13), r(12) << 3]);
        // Displacements of 8 and 32 bits.
        "rax", "[rcx + 1]" => r(RAX), |_| r(RCX) + 1;
        "rax", "[rcx - 128]" => r(RAX), |_| r(RCX) - 128;
        "rax", "[rcx + 127]" => r(RAX), |_| r(RCX) + 127;
        "rax", "[rcx + 128]" => r(RAX), |_| r(RCX) + 128;
        "rax", "[rsp + 8]" => r(RAX), |_| r(RSP) + 8;
        "rax", "[r12 - 0x12345678]" => r(RAX), |_| r(12).wrapping_sub(0x1234_5678);
        "rax", "[rbp + 0x7fffffff]" => r(RAX), |_| sum(&[r(RBP), 0x7fff_ffff]);
        // Index and scale, with and without base.
        "rdx", "[rax + rbx]" => r(RDX), |_| sum(&[r(RAX), r(RBX)]);
        "rdx", "[rax + rbx*2 + 4]" => r(RDX), |_| sum(&[r(RAX), r(RBX) << 1, 4]);
        "rdx", "[rsp + rbp*4 - 4]" => r(RDX), |_| sum(&[r(RSP), r(RBP) << 2]) - 4;
        "rdx", "[rbp + rax*8 + 0x1000]" => r(RDX), |_| sum(&[r(RBP), r(RAX) << 3, 0x1000]);
        "rdx", "[r15*8 + 0x40]" => r(RDX), |_| sum(&[r(15) << 3, 0x40]);
        "rdx", "[rsi*4 - 0x40]" => r(RDX), |_| (r(RSI) << 2) - 0x40;
        // No register at all.
        "rax", "[0x12345678]" => r(RAX), |_| 0x1234_5678;
        "rax", "[-64]" => r(RAX), |_| 64u64.wrapping_neg();
        // Relative to the next instruction.
        "rax", "[rip]" => r(RAX), |end| end;
        "r9", "[rip + 0x1000]" => r(9), |end| end + 0x1000;
        "rax", "[rip - 0x30]" => r(RAX), |end| end - 0x30;
    }
}

#[test]
fn segments_move_the_source_and_not_the_target() {
    stores! {
        "rax", "fs:[rcx]" => r(RAX), |_| sum(&[FS, r(RCX)]);
        "rax", "gs:[rcx + rdx*4 + 8]" => r(RAX), |_| sum(&[GS, r(RCX), r(RDX) << 2, 8]);
        "r8", "fs:[0x28]" => r(8), |_| FS + 0x28;
        "r8", "gs:[rip + 1]" => r(8), |end| sum(&[GS, end, 1]);
        // The bases of the others are 0.
        "rax", "es:[rcx]" => r(RAX), |_| r(RCX);
        "rax", "cs:[rcx]" => r(RAX), |_| r(RCX);
        "rax", "ss:[rcx]" => r(RAX), |_| r(RCX);
        "rax", "ds:[rbp]" => r(RAX), |_| r(RBP);
    }
}

#[test]
fn an_address_size_prefix_cuts_both_addresses() {
    stores! {
        "eax", "[ecx]" => low(r(RAX)), |_| low(r(RCX));
        "r8d", "[r9d + r10d*8 + 0x7fffff00]" => low(r(8)), |_| low(sum(&[r(9), r(10) << 3, 0x7fff_ff00]));
        "eax", "[ebp - 1]" => low(r(RAX)), |_| low(r(RBP).wrapping_sub(1));
        // The segment's base is added after the cut.
        "edi", "fs:[esi]" => low(r(RDI)), |_| FS + low(r(RSI));
        "edi", "[eip + 0x10]" => low(r(RDI)), |end| low(end + 0x10);
    }
}

macro_rules! waits {
    ($($register:literal, $number:expr;)*) => { $(
        for (code, kind) in [
            (assemble!(concat!("umwait ", $register)), Kind::Umwait),
            (assemble!(concat!("tpause ", $register)), Kind::Tpause),
        ] {
            let found = decoded(code);
            let expected = Operands::Wait { control: r($number) as u32, deadline: low(r(RDX)) << 32 | low(r(RAX)) };
            assert_eq!((found.kind(), found.operands(&Fixed)), (kind, expected), "{code:02x?}");
        }
    )* };
}

#[test]
fn waits_name_a_register_and_a_deadline() {
    waits! {
        "eax", RAX; "ecx", RCX; "edx", RDX; "ebx", RBX; "esp", RSP; "ebp", RBP; "esi", RSI; "edi", RDI;
        "r8d", 8; "r9d", 9; "r10d", 10; "r11d", 11; "r12d", 12; "r13d", 13; "r14d", 14; "r15d", 15;
    }
}

macro_rules! monitors {
    ($($text:literal => $address:expr;)*) => { $(
        let code = assemble!(concat!("umonitor ", $text));
        let found = decoded(code);
        let expected = Operands::Monitor { address: $address };
        assert_eq!((found.kind(), found.operands(&Fixed)), (Kind::Umonitor, expected), "{code:02x?}");
    )* };
}

#[test]
fn a_monitor_names_an_address() {
    monitors! {
        "rax" => r(RAX); "rcx" => r(RCX); "rdx" => r(RDX); "rbx" => r(RBX);
        "rsp" => r(RSP); "rbp" => r(RBP); "rsi" => r(RSI); "rdi" => r(RDI);
        "r8" => r(8); "r9" => r(9); "r10" => r(10); "r11" => r(11);
        "r12" => r(12); "r13" => r(13); "r14" => r(14); "r15" => r(15);
        "eax" => low(r(RAX)); "r9d" => low(r(9));
    }
    let in_fs = assemble!("fs; umonitor rax");
    assert_eq!(decoded(in_fs).operands(&Fixed), Operands::Monitor { address: sum(&[FS, r(RAX)]) });
}

#[test]
fn the_other_vendors_waits_have_fixed_operands() {
    /// As the others, with an ECX of choice.
    struct Extensions(u64);

    impl Registers for Extensions {
        fn general(&self, number: u8) -> u64 {
            if number == RCX { self.0 } else { r(number) }
        }

        fn instruction_pointer(&self) -> u64 {
            RIP
        }

        fn segment_base(&self, segment: Segment) -> u64 {
            Fixed.segment_base(segment)
        }
    }

    for (code, address) in [
        (assemble!("monitorx"), r(RAX)),
        (assemble!("fs; monitorx"), sum(&[FS, r(RAX)])),
        (assemble!("addr32; monitorx"), low(r(RAX))),
    ] {
        let found = decoded(code);
        assert_eq!(found.kind(), Kind::Monitorx, "{code:02x?}");
        for extensions in [0, 7 << 32 | 1] {
            let expected = Operands::MonitorExtended { address, extensions: extensions as u32 };
            assert_eq!(found.operands(&Extensions(extensions)), expected, "{code:02x?}");
        }
    }
    let found = decoded(assemble!("mwaitx"));
    assert_eq!(found.kind(), Kind::Mwaitx);
    for (extensions, ticks) in [(0, None), (1, None), (2, Some(r(RBX) as u32)), (3, Some(r(RBX) as u32))] {
        let expected = Operands::WaitExtended { ticks, extensions };
        assert_eq!(found.operands(&Extensions(extensions.into())), expected);
    }
}

/// Prefixes that an assembler does not write, in orders that it does not use.
#[test]
fn prefixes_count_as_the_cpu_counts_them() {
    let store = |source, target| Operands::Store { source, target };
    let plain = store(r(RAX), r(RCX));
    for (code, kind, operands) in [
        // F2 and F3 go before 66, in any order, and the last of them wins.
        (&[0x66, 0xf2, 0x0f, 0x38, 0xf8, 0x08][..], Kind::Enqcmd, plain),
        (&[0xf2, 0x66, 0x0f, 0x38, 0xf8, 0x08], Kind::Enqcmd, plain),
        (&[0xf2, 0xf3, 0x0f, 0x38, 0xf8, 0x08], Kind::Enqcmds, plain),
        (&[0xf3, 0xf2, 0x0f, 0x38, 0xf8, 0x08], Kind::Enqcmd, plain),
        // REX.W changes nothing.
        (&[0x66, 0x48, 0x0f, 0x38, 0xf8, 0x08], Kind::Movdir64b, plain),
        // A REX prefix before another prefix does not count, nor does the first of two.
        (&[0x45, 0x66, 0x0f, 0x38, 0xf8, 0x08], Kind::Movdir64b, plain),
        (&[0x66, 0x45, 0x40, 0x0f, 0x38, 0xf8, 0x08], Kind::Movdir64b, plain),
        (&[0x66, 0x45, 0x0f, 0x38, 0xf8, 0x08], Kind::Movdir64b, store(r(8), r(9))),
        // The last of FS and GS wins; the ignored ones do not undo it.
        (&[0x64, 0x65, 0x66, 0x0f, 0x38, 0xf8, 0x08], Kind::Movdir64b, store(sum(&[GS, r(RAX)]), r(RCX))),
        (&[0x64, 0x3e, 0x66, 0x0f, 0x38, 0xf8, 0x08], Kind::Movdir64b, store(sum(&[FS, r(RAX)]), r(RCX))),
        // A SIB byte whose index is none, with each scale.
        (&[0x66, 0x0f, 0x38, 0xf8, 0x0c, 0xe4], Kind::Movdir64b, store(r(RSP), r(RCX))),
        // No base under REX.B is no base still.
        (
            &[0x66, 0x41, 0x0f, 0x38, 0xf8, 0x0c, 0x05, 0x04, 0x00, 0x00, 0x00],
            Kind::Movdir64b,
            store(r(RAX) + 4, r(RCX)),
        ),
        // Fifteen bytes.
        (
            &[0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x66, 0x0f, 0x38, 0xf8, 0x8c, 0x20, 0x04, 0x00, 0x00, 0x00],
            Kind::Movdir64b,
            store(r(RAX) + 4, r(RCX)),
        ),
    ] {
        let found = decoded(code);
        assert_eq!((found.kind(), found.operands(&Fixed)), (kind, operands), "{code:02x?}");
    }
}

#[test]
fn other_instructions_are_left_alone() {
    for code in [
        assemble!("ud2"),
        assemble!("nop"),
        assemble!("mfence"),
        assemble!("lfence"),
        assemble!("clwb [rax]"),
        assemble!("clflushopt [rax]"),
        assemble!("clrssbsy [rax]"),
        assemble!("movdiri [rax], rcx"),
        assemble!("movbe eax, [rcx]"),
        assemble!("crc32 eax, byte ptr [rcx]"),
        assemble!("rdfsbase rax"),
        assemble!("swapgs"),
        assemble!("rdtscp"),
        assemble!("mov byte ptr [0], 1"),
        // MCOMMIT.
        &[0xf3, 0x0f, 0x01, 0xfa],
        // LOCK, a register operand, no mandatory prefix.
        &[0xf0, 0x66, 0x0f, 0x38, 0xf8, 0x08],
        &[0x66, 0xf0, 0x0f, 0x38, 0xf8, 0x08],
        &[0x66, 0x0f, 0x38, 0xf8, 0xc8],
        &[0x0f, 0x38, 0xf8, 0x08],
        // Sixteen bytes.
        &[0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x66, 0x0f, 0x38, 0xf8, 0x8c, 0x20, 0x04, 0x00, 0x00, 0x00],
        &[0x66; 16],
    ] {
        assert_eq!(decode(code), Err(DecodeError::Other), "{code:02x?}");
    }
    assert_eq!(decode(&[]), Err(DecodeError::Truncated));
}

/// Bytes that look like the instructions: prefixes, an opcode, and anything behind.
fn look_alike() -> impl Strategy<Value = Vec<u8>> {
    let prefix = prop::sample::select(vec![0x66, 0x67, 0xf2, 0xf3, 0x64, 0x65, 0x2e, 0x40, 0x44, 0x4f]);
    let opcode = prop::sample::select(vec![&[0x0f, 0x38, 0xf8][..], &[0x0f, 0xae], &[0x0f, 0x01]]);
    (prop::collection::vec(prefix, 0..12), opcode, prop::collection::vec(any::<u8>(), 0..10))
        .prop_map(|(prefixes, opcode, rest)| [&prefixes[..], opcode, &rest].concat())
}

proptest! {
    #[test]
    fn any_bytes_have_one_meaning(code in prop_oneof![prop::collection::vec(any::<u8>(), 0..24), look_alike()]) {
        match decode(&code) {
            Ok(found) => {
                let length = usize::from(found.length());
                prop_assert!((3..=MAX_LENGTH).contains(&length) && length <= code.len());
                prop_assert_eq!(decode(&code[..length]), Ok(found));
                prop_assert_eq!(decode(&code[..length - 1]), Err(DecodeError::Truncated));
                let aligned = matches!(found.operands(&Fixed), Operands::Store { target, .. } if target % 64 == 0);
                prop_assert_eq!(aligned, matches!(found.kind(), Kind::Movdir64b | Kind::Enqcmd | Kind::Enqcmds));
            }
            Err(DecodeError::Truncated) => prop_assert!(code.len() < MAX_LENGTH),
            Err(DecodeError::Other) => {
                // More bytes do not make it one.
                let longer = [&code[..], &[0; 20]].concat();
                prop_assert_eq!(decode(&longer), Err(DecodeError::Other));
            }
        }
    }
}
