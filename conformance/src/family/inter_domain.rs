//! Inter-domain operations, other operations through handles, and the update of windows.

use idxd_sys::{Descriptor, flag, idpt, opcode, status};

use super::compares::expecting;
use super::derived;
use super::rules::{sample, with};
use crate::bench::{Page, Power, Queue, Space};
use crate::case::{Case, Check, Need, ensure};
use crate::derived::needs;
use crate::lab::{Entry, Lab, flagged, has_status};
use crate::sample::{Sample, Shape, has_domains, shapes};

const UPDATE: u8 = opcode::UPDATE_WINDOW;
const COPY: u8 = opcode::INTER_DOMAIN_COPY;
const COMPARES: [u8; 2] = [opcode::INTER_DOMAIN_COMPARE, opcode::INTER_DOMAIN_COMPVAL];

pub(super) fn cases() -> Vec<Case> {
    let mut cases = derived(&[UPDATE, COPY, opcode::INTER_DOMAIN_FILL, COMPARES[0], COMPARES[1]]);
    for code in opcode::ALL.iter().copied().filter(|code| has_domains(*code)) {
        cases.extend(refusals(code));
    }
    for code in COMPARES {
        cases.push(with(code, status::SUCCESS, "the result that was expected", "8.3.30", move |lab| {
            expecting(lab, code, 1, status::SUCCESS)
        }));
        cases.push(with(code, status::SUCCESS_FALSE, "another result than expected", "8.3.30", move |lab| {
            expecting(lab, code, 0, status::SUCCESS_FALSE)
        }));
    }
    for code in [opcode::REDUCE, opcode::REDUCE_DUALCAST] {
        let needs = needs(code, Shape::SOURCE);
        cases.push(Case::new((code, status::BAD_FIELD_VALUE), "selectors that name nothing", "8.1.13", &needs, {
            move |lab| wrong_selectors(lab, code)
        }));
    }
    cases.extend(windows());
    cases.extend(updates());
    cases
}

/// The shape in which an operation reaches the other space with one operand, the source if it can.
fn reaching(code: u8) -> Shape {
    if shapes(code).contains(&Shape::SOURCE) { Shape::SOURCE } else { Shape::DESTINATION }
}

fn through(code: u8, expected: u8, name: &str, run: impl Fn(&mut Lab<'_>) -> Check + Send + Sync + 'static) -> Case {
    Case::new((code, expected), name, "5.6", &needs(code, reaching(code)), run)
}

fn refusals(code: u8) -> Vec<Case> {
    let shape = reaching(code);
    let queue = Queue::NoPasid;
    vec![
        through(code, status::INTER_DOMAIN_NO_PASID, "on a queue without a PASID", move |lab| {
            let sample = Sample::of(lab, code, shape)?;
            lab.refuses_on(queue, &sample.d, status::INTER_DOMAIN_NO_PASID).map(drop)
        })
        .needing(&[Need::Power(Power::Queue(queue))]),
        through(code, status::IDPT_HANDLE, "handles that do not exist, entries that are not usable", move |lab| {
            let [own, other] = lab.pasids()?;
            let good = Entry::of(own, other);
            for entry in [
                good.without(idpt::USABLE),
                // For somebody else.
                Entry::of(other, other),
                // Invalid: a reserved bit, a type that does not exist, a window without bytes.
                good.with(1 << 4),
                good.with(0b11 << 2),
                good.window(0x1000, 0),
            ] {
                refused_by(lab, code, entry, status::IDPT_HANDLE)?;
            }
            let mut sample = Sample::of(lab, code, shape)?;
            sample.through(0xfffe, shape);
            let record = lab.refuses(&sample.d, status::IDPT_HANDLE)?;
            names(&record, 0xfffe)
        }),
        through(code, status::IDPT_PERMISSION, "an entry that does not permit the access", move |lab| {
            let entry = lab.entry()?;
            let access = if shape.source { idpt::READ } else { idpt::WRITE };
            refused_by(lab, code, entry.without(access), status::IDPT_PERMISSION)
        }),
        through(code, status::IDPT_WINDOW, "a window that ends before the operand", move |lab| {
            let sample = Sample::of(lab, code, shape)?;
            let area = other_area(&sample)?;
            for (base, size) in [(area.addr, area.len - 1), (area.addr + 1, area.len)] {
                let entry = lab.entry()?.window(base, size);
                let handle = lab.open(entry)?;
                let mut d = sample.d;
                rename(&mut d, sample.handle, handle);
                let record = lab.run(&d)?;
                has_status(&record, status::IDPT_WINDOW)?;
                names(&record, handle)?;
                // Buffers are looked at one by one.
                lab.verify_but(&sample.written())?;
            }
            Ok(())
        }),
        through(code, status::DOMAIN_GONE, "an abort of the other domain meanwhile", move |lab| {
            let sample = Sample::of(lab, code, shape)?;
            let area = other_area(&sample)?;
            let page = area.pages().nth(1).unwrap_or(area.addr);
            lab.set_page(Space::Other, page, Page::Absent)?;
            let record = lab.abort_while(&flagged(sample.d, flag::BLOCK_ON_FAULT, 0), page)?;
            lab.set_page(Space::Other, page, Page::Present)?;
            has_status(&record, status::DOMAIN_GONE)?;
            names(&record, sample.handle.unwrap_or(0))?;
            lab.verify_but(&sample.written())
        })
        .needing(&[
            Need::BlockOnFault,
            Need::PageRequests,
            Need::Power(Power::Absent),
            Need::Power(Power::Abort),
        ]),
    ]
}

/// The operand of a sample in the other space.
fn other_area(sample: &Sample) -> Check<crate::lab::Area> {
    let area = sample.operands.iter().map(|operand| operand.area).find(|area| area.space == Space::Other);
    area.ok_or_else(|| crate::case::Failure("the suite: no operand in the other space".into()))
}

/// Puts another handle in the place of one.
fn rename(d: &mut Descriptor, old: Option<u16>, new: u16) {
    for at in [60, 62] {
        if Some(d.op_u16(at)) == old && old != Some(0) {
            d.set_op_u16(at, new);
        }
    }
    if old == Some(0) {
        // A handle of 0 looks like a field that is not used: the flags say which it is.
        let flags = d.flags();
        let selector = matches!(d.opcode(), opcode::REDUCE | opcode::REDUCE_DUALCAST);
        if flags & flag::ALTERNATE_SOURCE != 0 {
            d.set_op_u16(60, new);
        }
        if flags & flag::ALTERNATE_DESTINATION != 0 && !selector {
            d.set_op_u16(62, new);
        }
    }
}

/// Asserts that a record names a handle.
fn names(record: &idxd_sys::CompletionRecord, handle: u16) -> Check {
    let found = record.op_specific[0] as u16;
    ensure!(found == handle, "the record names handle {found:#x} instead of {handle:#x}");
    Ok(())
}

/// A sample through an entry that does not let it pass.
fn refused_by(lab: &mut Lab<'_>, code: u8, entry: Entry, expected: u8) -> Check {
    let shape = reaching(code);
    let sample = Sample::of(lab, code, shape)?;
    let handle = lab.open(entry)?;
    let mut d = sample.d;
    rename(&mut d, sample.handle, handle);
    let record = lab.refuses(&d, expected).map_err(|failure| failure.at(&format!("entry {:x?}", entry.0)))?;
    names(&record, handle)
}

fn wrong_selectors(lab: &mut Lab<'_>, code: u8) -> Check {
    let sample = Sample::of(lab, code, Shape::SOURCE)?;
    // Handles that nothing selects are another mistake.
    let selectors: &[u8] = if code == opcode::REDUCE { &[0b11, 0b1101, 0b0100_0001] } else { &[0b11, 0b1101] };
    for &selector in selectors {
        let mut d = sample.d;
        d.set_op_u8(59, selector);
        if selector == 0b11 {
            d.set_op_u16(60, 0);
        }
        lab.refuses(&d, status::BAD_FIELD_VALUE)?;
    }
    let mut d = sample.d;
    d.set_op_u8(59, 0);
    d.set_op_u16(60, 0);
    lab.refuses(&d, status::BAD_FIELD_VALUE).map(drop)
}

/// Windows that fit.
fn windows() -> Vec<Case> {
    let exact = through(COPY, status::SUCCESS, "a window that is just large enough", |lab| {
        let sample = Sample::of(lab, COPY, Shape::SOURCE)?;
        let area = other_area(&sample)?;
        let entry = lab.entry()?.window(area.addr, area.len);
        let handle = lab.open(entry)?;
        let mut d = sample.d;
        rename(&mut d, sample.handle, handle);
        crate::derived::run_whole(lab, &sample, &d)
    });
    let offset = through(COPY, status::SUCCESS, "addresses as offsets into a window", |lab| {
        let sample = Sample::of(lab, COPY, Shape::SOURCE)?;
        let area = other_area(&sample)?;
        let entry = lab.entry()?.window(area.addr - 0x100, area.len + 0x100).with(idpt::WINDOW_OFFSET);
        let handle = lab.open(entry)?;
        let mut d = sample.d;
        rename(&mut d, sample.handle, handle);
        d.src_addr = 0x100;
        crate::derived::run_whole(lab, &sample, &d)?;
        // Behind the window.
        d.src_addr = 0x101;
        has_status(&lab.run(&d)?, status::IDPT_WINDOW)?;
        lab.verify()
    });
    vec![exact, offset.needing(&[Need::OffsetWindows])]
}

fn updates() -> Vec<Case> {
    vec![
        with(UPDATE, status::SUCCESS, "what was changed counts from then on", "8.3.27", takes_effect)
            .needing(&[Need::Operation(COPY)]),
        with(UPDATE, status::INTER_DOMAIN_NO_PASID, "on a queue without a PASID", "5.4", |lab| {
            let sample = sample(lab, UPDATE)?;
            lab.refuses_on(Queue::NoPasid, &sample.d, status::INTER_DOMAIN_NO_PASID).map(drop)
        })
        .needing(&[Need::Power(Power::Queue(Queue::NoPasid))]),
        with(UPDATE, status::IDPT_UPDATE, "entries of others, fixed ones, and none", "5.6", |lab| {
            let [own, other] = lab.pasids()?;
            let sample = sample(lab, UPDATE)?;
            let invalid = Entry::of(own, own).with(idpt::ALLOW_UPDATE | 1 << 4);
            for entry in [Entry::of(own, own), Entry::of(own, other).with(idpt::ALLOW_UPDATE), invalid] {
                let mut d = sample.d;
                d.set_op_u16(62, lab.open(entry)?);
                lab.refuses(&d, status::IDPT_UPDATE)?;
            }
            let mut d = sample.d;
            d.set_op_u16(62, 0xfffe);
            lab.refuses(&d, status::IDPT_UPDATE).map(drop)
        }),
        with(UPDATE, status::WINDOW_FIELDS, "windows without bytes, and beyond the last address", "8.3.27", |lab| {
            let sample = sample(lab, UPDATE)?;
            for (base, size) in [(0x5000, 0), (u64::MAX, 2), (2, u64::MAX)] {
                lab.refuses(&Descriptor { src_addr: base, dst_addr: size, ..sample.d }, status::WINDOW_FIELDS)?;
            }
            // Offsets into no window.
            let mut d = Descriptor { src_addr: 0, dst_addr: 0, ..sample.d };
            d.set_op_u8(61, idpt::UPDATE_READ | idpt::UPDATE_OFFSET);
            lab.refuses(&d, status::WINDOW_FIELDS).map(drop)
        }),
    ]
}

/// An owner closes its memory bit by bit; copies through the entry feel it.
fn takes_effect(lab: &mut Lab<'_>) -> Check {
    let [own, _] = lab.pasids()?;
    let (source, target) = (lab.area(Space::Own, 0x10, 256), lab.area(Space::Own, 0x20, 256));
    let handle = lab.open(Entry::of(own, own).with(idpt::ALLOW_UPDATE))?;
    let mut copy = Descriptor {
        src_addr: source.addr,
        dst_addr: target.addr,
        xfer_size: 256,
        ..lab.descriptor(COPY, flag::ALTERNATE_SOURCE)
    };
    copy.set_op_u16(60, handle);
    let bytes = lab.image(source);
    has_status(&lab.run(&copy)?, status::SUCCESS)?;
    lab.expect(target, &bytes);
    lab.verify()?;
    let all = idpt::UPDATE_READ | idpt::UPDATE_WRITE;
    for (base, size, flags, becomes) in [
        (source.addr, 256, all | idpt::UPDATE_ENABLE, status::SUCCESS),
        (source.addr, 255, all | idpt::UPDATE_ENABLE, status::IDPT_WINDOW),
        (source.addr + 1, 256, all | idpt::UPDATE_ENABLE, status::IDPT_WINDOW),
        (source.addr, 256, idpt::UPDATE_WRITE | idpt::UPDATE_ENABLE, status::IDPT_PERMISSION),
        (0, 0, all, status::SUCCESS),
    ] {
        let mut update = Descriptor { src_addr: base, dst_addr: size, ..lab.descriptor(UPDATE, 0) };
        update.set_op_u8(61, flags);
        update.set_op_u16(62, handle);
        has_status(&lab.run(&update)?, status::SUCCESS)?;
        has_status(&lab.run(&copy)?, becomes)?;
        lab.verify()?;
    }
    Ok(())
}
