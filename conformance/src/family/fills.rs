//! Fill: the pattern begins at the first byte, wherever that is, and may have 16 bytes.

use idxd_sys::{Descriptor, flag, gencap, opcode, status};

use super::derived;
use super::rules::with;
use crate::bench::{Page, Power, Space};
use crate::case::{Case, Check, Need};
use crate::lab::{Lab, has_status};
use crate::resume::{Rest, rest};
use crate::sample::plain::repeated;

const FILL: u8 = opcode::FILL;

pub(super) fn cases() -> Vec<Case> {
    let mut cases = derived(&[FILL]);
    let wide = Need::Capability(gencap::FILL_16);
    cases.extend([
        with(FILL, status::SUCCESS, "sizes and alignments", "8.3.5", |lab| sizes(lab, 0)),
        with(FILL, status::SUCCESS, "a pattern of 16 bytes", "8.3.5", |lab| sizes(lab, flag::FILL_16)).needing(&[wide]),
        with(FILL, status::PAGE_FAULT, "a pattern of 16 bytes, broken off and continued", "8.3.5", continued)
            .needing(&[wide, Need::Power(Power::Absent)]),
    ]);
    cases
}

/// A fill of some bytes with a pattern of 8 or 16, and what comes of it.
fn filling(lab: &mut Lab<'_>, flags: u32, (offset, len): (u64, u64)) -> (Descriptor, crate::lab::Area, Vec<u8>) {
    let target = lab.area(Space::Own, offset, len);
    let (low, high) = (lab.number(), lab.number());
    let wide = flags & flag::FILL_16 != 0;
    let pattern = [low.to_le_bytes(), high.to_le_bytes()].concat();
    let bytes = repeated(if wide { &pattern } else { &pattern[..8] }, len);
    let op_specific = [if wide { high } else { 0 }, 0, 0];
    let d = Descriptor {
        src_addr: low,
        dst_addr: target.addr,
        xfer_size: len as u32,
        op_specific,
        ..lab.descriptor(FILL, flags)
    };
    (d, target, bytes)
}

fn sizes(lab: &mut Lab<'_>, flags: u32) -> Check {
    for place in [(0, 1), (5, 7), (4095, 3), (1, 16), (3, 17), (9, 4096), (4090, 5000)] {
        let (d, target, bytes) = filling(lab, flags, place);
        has_status(&lab.run(&d)?, status::SUCCESS)?;
        lab.expect(target, &bytes);
        lab.verify()?;
    }
    Ok(())
}

fn continued(lab: &mut Lab<'_>) -> Check {
    let (mut d, target, bytes) = filling(lab, flag::FILL_16, (0x7c9, 5000));
    let page = target.pages().nth(1).unwrap_or(0);
    lab.set_page(Space::Own, page, Page::Absent)?;
    let record = lab.run(&d)?;
    lab.set_page(Space::Own, page, Page::Present)?;
    has_status(&record, status::PAGE_FAULT)?;
    if let Rest::Continued(rest) = rest(&d, &record) {
        d = rest;
    }
    has_status(&lab.run(&d)?, status::SUCCESS)?;
    lab.expect(target, &bytes);
    lab.verify()
}
