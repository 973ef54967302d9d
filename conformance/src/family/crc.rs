//! CRC generation: widths, seeds, what the bypass flags leave out.

use idxd_sys::{Descriptor, flag, gencap, opcode, status};

use super::derived;
use super::rules::{sample, with};
use crate::bench::{PAGE, Space};
use crate::case::{Case, Check, Need, ensure};
use crate::lab::{Lab, has_status};
use crate::oracle::crc::crc;

pub(super) fn cases() -> Vec<Case> {
    let mut cases = derived(&[opcode::CRCGEN, opcode::COPY_CRC]);
    for code in [opcode::CRCGEN, opcode::COPY_CRC] {
        let section = crate::derived::section(code);
        cases.extend([
            with(code, status::SUCCESS, "sizes, seeds and bypass flags", section, move |lab| values(lab, code, 0)),
            with(code, status::SUCCESS, "64 bits", section, move |lab| values(lab, code, flag::CRC_64))
                .needing(&[Need::Capability(gencap::CRC_64)]),
            with(code, status::ADDR_ALIGN, "a seed at an odd address", "5.4", move |lab| {
                let sample = sample(lab, code)?;
                for at in [1, 2] {
                    let op_specific = [0, sample.d.op_specific[1] + at, 0];
                    lab.refuses(&Descriptor { op_specific, ..sample.d }, status::ADDR_ALIGN)?;
                }
                Ok(())
            }),
        ]);
    }
    cases.push(with(opcode::COPY_CRC, status::OVERLAP, "source and destination overlapping", "5.4", |lab| {
        let area = lab.area(Space::Own, 0, 2 * PAGE);
        let d = Descriptor { src_addr: area.addr + 200, xfer_size: 1000, ..lab.descriptor(opcode::COPY_CRC, 0) };
        for to in [0, 200, 1199] {
            lab.refuses(&Descriptor { dst_addr: area.addr + to, ..d }, status::OVERLAP)?;
        }
        Ok(())
    }));
    cases
}

fn values(lab: &mut Lab<'_>, code: u8, width: u32) -> Check {
    let bypasses = [0, flag::CRC_BYPASS_INVERT, flag::CRC_BYPASS_REFLECT];
    let both = flag::CRC_BYPASS_INVERT | flag::CRC_BYPASS_REFLECT;
    for flags in bypasses.into_iter().chain([both]).map(|bypass| bypass | width) {
        for (len, offset) in [(1, 0), (9, 4095), (64, 1), (1000, 3900)] {
            for in_memory in [false, true] {
                let source = lab.area(Space::Own, offset, len);
                let bytes = lab.image(source);
                let seed = if width == 0 { lab.number() & 0xffff_ffff } else { lab.number() };
                let seed_area = lab.area_of(0x10, &seed.to_le_bytes());
                let (more, op_specific) =
                    if in_memory { (flag::CRC_READ_SEED, [0, seed_area.addr, 0]) } else { (0, [seed, 0, 0]) };
                let mut d = Descriptor {
                    src_addr: source.addr,
                    xfer_size: len as u32,
                    op_specific,
                    ..lab.descriptor(code, flags | more)
                };
                if code == opcode::COPY_CRC {
                    let target = lab.area(Space::Own, 7, len);
                    d.dst_addr = target.addr;
                    lab.expect(target, &bytes);
                }
                let record = lab.run(&d)?;
                has_status(&record, status::SUCCESS)?;
                let (found, value) = (record.op_specific[0], crc(flags, seed, &bytes));
                ensure!(found == value, "{found:#x} instead of {value:#x}: flags {flags:#x}, {len} bytes");
            }
        }
    }
    lab.verify()
}
