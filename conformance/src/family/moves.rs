//! Memory move and dualcast: overlap in both directions, alignment, sizes from one byte on.

use idxd_sys::{Descriptor, opcode, status};

use super::derived;
use super::rules::{OVERLAPPING, sample, with};
use crate::bench::{PAGE, Page, Power, Space};
use crate::case::{Case, Check, Need};
use crate::lab::{Lab, has_status};
use crate::resume::{Rest, rest};

const MOVE: u8 = opcode::MEMMOVE;
const DUALCAST: u8 = opcode::DUALCAST;

pub(super) fn cases() -> Vec<Case> {
    let mut cases = derived(&[MOVE, DUALCAST]);
    cases.extend([
        with(MOVE, status::SUCCESS, "sizes and alignments", "8.3.4", sizes),
        with(MOVE, status::SUCCESS, "onto itself, up and down", "8.3.4", |lab| {
            [-100, -1, 0, 1, 100, 4000].into_iter().try_for_each(|shift| overlapping(lab, shift))
        })
        .needing(&[Need::Capability(OVERLAPPING)]),
        with(MOVE, status::PAGE_FAULT, "each page missing, overlapping, in either direction", "8.3.4", |lab| {
            [-700, 700].into_iter().try_for_each(|shift| overlapping_faults(lab, shift))
        })
        .needing(&[Need::Capability(OVERLAPPING), Need::Power(Power::Absent)]),
        with(MOVE, status::OVERLAP, "overlapping where it must not", "8.3.4", |lab| {
            let area = lab.area(Space::Own, 0, 2 * PAGE);
            let from = Descriptor { src_addr: area.addr + 200, xfer_size: 1000, ..lab.descriptor(MOVE, 0) };
            for to in [0, 200, 1199] {
                lab.refuses(&Descriptor { dst_addr: area.addr + to, ..from }, status::OVERLAP)?;
            }
            Ok(())
        })
        .needing(&[Need::NoCapability(OVERLAPPING)]),
        with(DUALCAST, status::DUALCAST_ALIGN, "destinations at different places of their pages", "5.4", |lab| {
            let sample = sample(lab, DUALCAST)?;
            // Below bit 2 and above it: table 5-6 names bits 1:0, section 5.4 bits 11:0. Both refuse the first.
            let [second, ..] = sample.d.op_specific;
            lab.refuses(&Descriptor { op_specific: [second + 1, 0, 0], ..sample.d }, status::DUALCAST_ALIGN)?;
            Ok(())
        }),
        with(DUALCAST, status::OVERLAP, "any two of three overlapping", "5.4", dualcast_overlaps),
    ]);
    cases
}

fn sizes(lab: &mut Lab<'_>) -> Check {
    for (len, from, to) in
        [(1, 0, 0), (1, 4095, 1), (7, 3, 4), (63, 1, 0), (64, 0, 4064), (65, 64, 63), (4097, 4095, 2)]
    {
        let (source, target) = (lab.area(Space::Own, from, len), lab.area(Space::Own, to, len));
        let bytes = lab.image(source);
        let d = Descriptor {
            src_addr: source.addr,
            dst_addr: target.addr,
            xfer_size: len as u32,
            ..lab.descriptor(MOVE, 0)
        };
        has_status(&lab.run(&d)?, status::SUCCESS)?;
        lab.expect(target, &bytes);
        lab.verify()?;
    }
    Ok(())
}

/// A region of a few pages and a descriptor that moves most of it by some bytes, and what comes of it.
fn shifted(lab: &mut Lab<'_>, shift: i64) -> (Descriptor, crate::lab::Area, Vec<u8>) {
    let area = lab.area(Space::Own, 0x700, 3 * PAGE);
    let len = 2 * PAGE - 900;
    let from = if shift < 0 { shift.unsigned_abs() } else { 0 };
    let to = from.wrapping_add_signed(shift);
    let mut image = lab.image(area);
    image.copy_within(from as usize..(from + len) as usize, to as usize);
    let d = Descriptor {
        src_addr: area.addr + from,
        dst_addr: area.addr + to,
        xfer_size: len as u32,
        ..lab.descriptor(MOVE, 0)
    };
    (d, area, image)
}

fn overlapping(lab: &mut Lab<'_>, shift: i64) -> Check {
    let (d, area, image) = shifted(lab, shift);
    has_status(&lab.run(&d)?, status::SUCCESS)?;
    lab.expect(area, &image);
    lab.verify()
}

/// Whatever direction the device takes, the rest completes the move.
fn overlapping_faults(lab: &mut Lab<'_>, shift: i64) -> Check {
    for n in 0.. {
        let (mut d, area, image) = shifted(lab, shift);
        let Some(page) = area.first(u64::from(d.xfer_size) + shift.unsigned_abs()).pages().nth(n) else { break };
        lab.set_page(Space::Own, page, Page::Absent)?;
        let record = lab.run(&d)?;
        lab.set_page(Space::Own, page, Page::Present)?;
        has_status(&record, status::PAGE_FAULT)?;
        if let Rest::Continued(rest) = rest(&d, &record) {
            d = rest;
        }
        has_status(&lab.run(&d)?, status::SUCCESS)?;
        lab.expect(area, &image);
        lab.verify()?;
    }
    Ok(())
}

fn dualcast_overlaps(lab: &mut Lab<'_>) -> Check {
    let area = lab.area(Space::Own, 0, 6 * PAGE);
    let at = |page: u64| area.addr + page * PAGE;
    // Source and two destinations that are a page apart where a size of two pages does not fit.
    for (source, first, second) in [(0, 1, 4), (0, 3, 1), (0, 2, 3), (1, 0, 4), (0, 2, 2)] {
        let d = Descriptor {
            src_addr: at(source),
            dst_addr: at(first),
            xfer_size: PAGE as u32 + 8,
            op_specific: [at(second), 0, 0],
            ..lab.descriptor(DUALCAST, 0)
        };
        lab.refuses(&d, status::OVERLAP)?;
    }
    Ok(())
}
