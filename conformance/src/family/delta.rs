//! Delta records: no difference, no room, offsets that are wrong, sizes and alignment.

use idxd_sys::limits::DELTA_MAX_REGION;
use idxd_sys::{Descriptor, flag, opcode, status};

use super::derived;
use super::rules::{FAR, sample, with};
use crate::bench::Space;
use crate::case::{Case, Check, ensure};
use crate::lab::{Lab, flagged, has_status};
use crate::sample::Sample;

const CREATE: u8 = opcode::CR_DELTA;
const APPLY: u8 = opcode::AP_DELTA;

pub(super) fn cases() -> Vec<Case> {
    let mut cases = derived(&[CREATE, APPLY]);
    cases.extend([
        with(CREATE, status::SUCCESS, "regions that do not differ", "8.3.8", |lab| {
            let sample = sample(lab, CREATE)?;
            equal(lab, &sample);
            let record = lab.run(&sample.d)?;
            has_status(&record, status::SUCCESS)?;
            ensure!((record.result, record.op_specific[0]) == (0, 0), "a delta where there is none: {record:x?}");
            lab.verify()
        }),
        with(CREATE, status::SUCCESS, "no room for all differences", "8.3.8", |lab| no_room(lab, 0, status::SUCCESS)),
        with(CREATE, status::SUCCESS, "each result that was expected", "8.3.8", |lab| {
            expecting(lab, [0b001, 0b010, 0b100], status::SUCCESS)
        }),
        with(CREATE, status::SUCCESS_FALSE, "each result that was not expected", "8.3.8", |lab| {
            expecting(lab, [0b110, 0b101, 0b011], status::SUCCESS_FALSE)
        }),
        with(APPLY, status::SUCCESS, "what was created is applied", "8.3.9", round_trip),
        with(APPLY, status::DELTA_OFFSET_ORDER, "an offset that comes again, and one that is lower", "8.3.9", |lab| {
            [6, 5].into_iter().try_for_each(|unit| wrong_offset(lab, unit, status::DELTA_OFFSET_ORDER))
        }),
        with(APPLY, status::DELTA_OFFSET_RANGE, "an offset behind the region", "8.3.9", |lab| {
            [16, 0xffff].into_iter().try_for_each(|unit| wrong_offset(lab, unit, status::DELTA_OFFSET_RANGE))
        }),
    ]);
    for code in [CREATE, APPLY] {
        cases.extend([
            with(code, status::BAD_FIELD_VALUE, "records that are too small", "5.4", move |lab| {
                let sample = sample(lab, code)?;
                let sizes: &[u32] = if code == CREATE { &[0, 10, 70] } else { &[0, 9] };
                for &size in sizes {
                    let mut d = sample.d;
                    d.set_op_u32(if code == CREATE { 48 } else { 40 }, size);
                    lab.refuses(&d, status::BAD_FIELD_VALUE)?;
                }
                Ok(())
            }),
            with(code, status::BAD_SIZE, "a region that offsets do not reach", "5.4", move |lab| {
                let sample = sample(lab, code)?;
                let mut d =
                    Descriptor { src_addr: FAR[0], dst_addr: FAR[1], xfer_size: DELTA_MAX_REGION + 8, ..sample.d };
                if code == CREATE {
                    d.op_specific[0] = FAR[2];
                }
                lab.refuses(&d, status::BAD_SIZE).map(drop)
            }),
            with(code, status::ADDR_ALIGN, "addresses and sizes that are no multiples of 8", "5.4", move |lab| {
                let sample = sample(lab, code)?;
                let d = sample.d;
                lab.refuses(&Descriptor { xfer_size: d.xfer_size - 4, ..d }, status::ADDR_ALIGN)?;
                lab.refuses(&Descriptor { dst_addr: d.dst_addr + 4, ..d }, status::ADDR_ALIGN)?;
                if code == CREATE {
                    lab.refuses(&Descriptor { src_addr: d.src_addr + 1, ..d }, status::ADDR_ALIGN)?;
                }
                Ok(())
            }),
            with(code, status::OVERLAP, "a delta record inside a region", "5.4", move |lab| {
                let sample = sample(lab, code)?;
                let d = sample.d;
                if code == APPLY {
                    return lab.refuses(&Descriptor { src_addr: d.dst_addr + 64, ..d }, status::OVERLAP).map(drop);
                }
                for region in [d.src_addr, d.dst_addr] {
                    let op_specific = [region + 64, d.op_specific[1], 0];
                    lab.refuses(&Descriptor { op_specific, ..d }, status::OVERLAP)?;
                }
                Ok(())
            }),
        ]);
    }
    cases
}

/// Makes the regions of a sample equal.
fn equal(lab: &mut Lab<'_>, sample: &Sample) {
    let bytes = lab.image(sample.operands[0].area);
    lab.put(sample.operands[1].area, &bytes);
}

/// Room for eight entries: the ninth unit is where the comparison ends.
fn no_room(lab: &mut Lab<'_>, flags: u32, becomes: u8) -> Check {
    let sample = sample(lab, CREATE)?;
    let mut d = flagged(sample.d, flags, 0);
    d.set_op_u32(48, 80);
    d.op_specific[2] = if flags == 0 { 0 } else { 0b011 };
    let record = lab.run(&d)?;
    ensure!(record.status == becomes, "status {:#04x} instead of {becomes:#04x}", record.status);
    let found = (record.result, record.bytes_completed, record.op_specific[0]);
    // Every second unit of 8 bytes differs, from the second on.
    ensure!(found == (2, 8 * 17, 80), "result, bytes compared, size of the record: {found:?}");
    let output = &sample.outputs[0];
    lab.expect(output.area, &output.bytes[..80]);
    lab.verify()
}

/// Equal regions, different ones, and too many differences, each with a mask of expected results.
fn expecting(lab: &mut Lab<'_>, masks: [u64; 3], becomes: u8) -> Check {
    for (result, mask) in (0..).zip(masks) {
        let sample = sample(lab, CREATE)?;
        let mut d = flagged(sample.d, flag::CHECK_RESULT, 0);
        d.op_specific[2] = mask;
        match result {
            0 => equal(lab, &sample),
            2 => d.set_op_u32(48, 80),
            _ => {}
        }
        let record = lab.run(&d)?;
        let found = (record.status, record.result);
        ensure!(found == (becomes, result), "status and result {found:?} instead of {:?}", (becomes, result));
    }
    Ok(())
}

fn round_trip(lab: &mut Lab<'_>) -> Check {
    let created = sample(lab, CREATE)?;
    let record = lab.run(&created.d)?;
    created.check_success(&record, 0)?;
    created.expect_all(lab);
    let mut d = Descriptor {
        src_addr: created.d.op_specific[0],
        dst_addr: created.d.src_addr,
        xfer_size: created.d.xfer_size,
        ..lab.descriptor(APPLY, 0)
    };
    d.set_op_u32(40, record.op_specific[0] as u32);
    has_status(&lab.run(&d)?, status::SUCCESS)?;
    let new = lab.image(created.operands[1].area);
    lab.expect(created.operands[0].area, &new);
    lab.verify()
}

/// Three entries, the third of which has a wrong offset, for a region of 16 units.
fn wrong_offset(lab: &mut Lab<'_>, unit: u16, code: u8) -> Check {
    let target = lab.area(Space::Own, 8, 128);
    let entry = |unit: u16| [&unit.to_le_bytes()[..], &[0x5a; 8]].concat();
    let source = lab.area_of(1, &[entry(2), entry(6), entry(unit)].concat());
    let mut d = Descriptor { src_addr: source.addr, dst_addr: target.addr, xfer_size: 128, ..lab.descriptor(APPLY, 0) };
    d.set_op_u32(40, 30);
    let record = lab.run(&d)?;
    has_status(&record, code)?;
    // Entries before it may have been applied; nothing else is.
    for unit in [2, 6] {
        lab.accept(target.from(8 * unit).first(8));
    }
    lab.verify()
}
