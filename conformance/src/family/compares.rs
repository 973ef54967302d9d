//! Compare and compare with a pattern: equal, different, and what the expected result makes of it.

use idxd_sys::{CompletionRecord, Descriptor, flag, opcode, status};

use super::derived;
use super::rules::{sample, with};
use crate::bench::{PAGE, Page, Power, Space};
use crate::case::{Case, Check, Need, ensure};
use crate::lab::{Lab, flagged, has_status};
use crate::sample::plain::repeated;

const COMPARE: u8 = opcode::COMPARE;
const PATTERN: u8 = opcode::COMPVAL;

pub(super) fn cases() -> Vec<Case> {
    let mut cases = derived(&[COMPARE, PATTERN]);
    cases.extend([
        with(COMPARE, status::SUCCESS, "equal, and different at each of some places", "8.3.6", places),
        with(PATTERN, status::SUCCESS, "equal, and different at each of some places", "8.3.7", pattern_places),
        with(COMPARE, status::SUCCESS, "a difference before a missing page", "8.3.6", |lab| {
            let sample = sample(lab, COMPARE)?;
            let (one, two) = (sample.operands[0].area, sample.operands[1].area);
            let mut bytes = lab.image(two);
            bytes[3] ^= 1;
            lab.put(two, &bytes);
            let page = one.pages().nth(1).unwrap_or(0);
            lab.set_page(Space::Own, page, Page::Absent)?;
            let record = lab.run(&sample.d)?;
            lab.set_page(Space::Own, page, Page::Present)?;
            differs(&record, 3, 0)?;
            lab.verify()
        })
        .needing(&[Need::Power(Power::Absent)]),
    ]);
    for code in [COMPARE, PATTERN] {
        cases.push(with(code, status::SUCCESS, "the result that was expected", "8.1.3", move |lab| {
            expecting(lab, code, 1, status::SUCCESS)
        }));
        cases.push(with(code, status::SUCCESS_FALSE, "another result than expected", "8.1.3", move |lab| {
            expecting(lab, code, 0, status::SUCCESS_FALSE)
        }));
    }
    cases
}

/// Runs the sample, which finds a difference, with an expected result.
pub(super) fn expecting(lab: &mut Lab<'_>, code: u8, expected: u64, becomes: u8) -> Check {
    let sample = sample(lab, code)?;
    let mut d = flagged(sample.d, flag::CHECK_RESULT, 0);
    d.op_specific[0] = expected;
    let record = lab.run(&d)?;
    ensure!(record.status == becomes, "status {:#04x} instead of {becomes:#04x}", record.status);
    ensure!(record.result == 1, "result {}", record.result);
    let (at, slack) = sample.expected.completed.unwrap_or_default();
    differs(&CompletionRecord { status: status::SUCCESS, ..record }, at, slack)
}

/// Asserts that a record tells of a difference at most so far below where it is.
fn differs(record: &CompletionRecord, at: u64, slack: u64) -> Check {
    has_status(record, status::SUCCESS)?;
    let found = u64::from(record.bytes_completed);
    ensure!(record.result == 1, "no difference");
    ensure!(found <= at && at - found <= slack, "a difference at {found} instead of {at}");
    Ok(())
}

/// Asserts that a record tells of equality.
fn equals(record: &CompletionRecord) -> Check {
    has_status(record, status::SUCCESS)?;
    ensure!((record.result, record.bytes_completed) == (0, 0), "a difference where there is none: {record:x?}");
    Ok(())
}

fn places(lab: &mut Lab<'_>) -> Check {
    for (len, offsets) in [(1, (0, 1)), (9, (4090, 3)), (64, (0, 0)), (PAGE + 77, (5, 4091))] {
        let (one, two) = (lab.area(Space::Own, offsets.0, len), lab.area(Space::Own, offsets.1, len));
        let bytes = lab.image(one);
        lab.put(two, &bytes);
        let d =
            Descriptor { src_addr: one.addr, dst_addr: two.addr, xfer_size: len as u32, ..lab.descriptor(COMPARE, 0) };
        equals(&lab.run(&d)?)?;
        for at in [0, len / 2, len - 1] {
            let mut other = bytes.clone();
            other[at as usize] ^= 0x80;
            lab.put(two, &other);
            differs(&lab.run(&d)?, at, 0)?;
        }
        lab.verify()?;
    }
    Ok(())
}

fn pattern_places(lab: &mut Lab<'_>) -> Check {
    for (len, offset) in [(1, 0), (9, 4090), (64, 8), (PAGE + 77, 4091)] {
        let pattern = lab.number();
        let bytes = repeated(&pattern.to_le_bytes(), len);
        let source = lab.area_of(offset, &bytes);
        let d = Descriptor {
            src_addr: source.addr,
            dst_addr: pattern,
            xfer_size: len as u32,
            ..lab.descriptor(PATTERN, 0)
        };
        equals(&lab.run(&d)?)?;
        for at in [0, len / 2, len - 1] {
            let mut other = bytes.clone();
            other[at as usize] ^= 0x80;
            lab.put(source, &other);
            // The offset is a lower bound.
            differs(&lab.run(&d)?, at, 7)?;
        }
        lab.verify()?;
    }
    Ok(())
}
