//! Data integrity: every block size, tags, inversion, each error, detection of tuples that are not to be checked.

use idxd_sys::{Descriptor, dif, opcode, status};

use super::derived;
use super::rules::{sample, with};
use crate::bench::Space;
use crate::case::{Case, Check, Need, ensure};
use crate::lab::{Lab, has_status};
use crate::oracle::integrity::{Tags, protected};
use crate::sample::integrity::{DESTINATION, SOURCE, checks, made, makes, with_tags};

const ALL: [u8; 5] = [opcode::DIF_CHECK, opcode::DIF_INS, opcode::DIF_STRP, opcode::DIF_UPDT, opcode::DIX_GEN];

pub(super) fn cases() -> Vec<Case> {
    let mut cases = derived(&ALL);
    for code in ALL {
        let section = crate::derived::section(code);
        cases.push(with(
            code,
            status::SUCCESS,
            "block sizes, inversions, tags that stand still",
            section,
            move |lab| variants(lab, code),
        ));
        cases.push(
            with(code, status::BAD_SIZE, "no whole number of blocks", section, move |lab| {
                let sample = sample(lab, code)?;
                let d = Descriptor { xfer_size: sample.d.xfer_size - 8, ..sample.d };
                lab.refuses(&d, status::BAD_SIZE).map(drop)
            })
            .needing(&[Need::WholeBlocks]),
        );
        if code != opcode::DIF_CHECK {
            cases.push(with(code, status::OVERLAP, "source and destination overlapping", "5.4", move |lab| {
                let sample = sample(lab, code)?;
                let inside = (sample.d.src_addr + 64) & !7;
                lab.refuses(&Descriptor { dst_addr: inside, ..sample.d }, status::OVERLAP).map(drop)
            }));
        }
        if checks(code) {
            cases.push(with(
                code,
                status::DIF_ERROR,
                "guard, application and reference tag wrong",
                section,
                move |lab| wrong_tuples(lab, code),
            ));
            cases.push(with(
                code,
                status::DIF_ERROR,
                "a tuple of all ones where that is an error",
                "8.3.17",
                move |lab| all_ones(lab, code, dif::SOURCE_F_ALL | dif::SOURCE_F_ALL_ERROR, Some(dif::ALL_F)),
            ));
            cases.push(with(code, status::SUCCESS, "tuples that are not to be checked", "8.3.17", move |lab| {
                [dif::SOURCE_F_ALL, dif::SOURCE_F_APP, dif::SOURCE_F_APP_REF]
                    .into_iter()
                    .try_for_each(|flag| all_ones(lab, code, flag, None))
            }));
            cases.push(with(code, status::SUCCESS, "checks that are switched off", "8.3.17", move |lab| {
                unchecked(lab, code)
            }));
        }
    }
    cases.push(with(opcode::DIF_UPDT, status::SUCCESS, "fields that are passed on", "8.3.17", passed_on));
    cases.push(with(opcode::DIX_GEN, status::ADDR_ALIGN, "a destination that is no multiple of 8", "5.4", |lab| {
        let sample = sample(lab, opcode::DIX_GEN)?;
        lab.refuses(&Descriptor { dst_addr: sample.d.dst_addr + 4, ..sample.d }, status::ADDR_ALIGN).map(drop)
    }));
    cases
}

/// A descriptor over these source bytes, which have tuples if the operation checks some.
fn over(lab: &mut Lab<'_>, code: u8, from: &[u8], dif_flags: u8, tags: [Tags; 2]) -> Descriptor {
    let source = lab.area_of(0x701, from);
    let mut d = Descriptor { src_addr: source.addr, xfer_size: from.len() as u32, ..lab.descriptor(code, 0) };
    d.set_op_u8(42, dif_flags);
    with_tags(d, tags[0], tags[1])
}

/// Gives a descriptor a destination for these bytes, if it has one.
fn writing(lab: &mut Lab<'_>, d: Descriptor, bytes: &[u8]) -> Descriptor {
    if bytes.is_empty() {
        return d;
    }
    let target = lab.area(Space::Own, 0x108, bytes.len() as u64);
    lab.expect(target, bytes);
    Descriptor { dst_addr: target.addr, ..d }
}

fn variants(lab: &mut Lab<'_>, code: u8) -> Check {
    let still = Tags { counts_reference: false, counts_application: true, ..SOURCE };
    for (size, tags) in (0..4).flat_map(|size| [(size, [SOURCE, DESTINATION]), (size, [still, still])]) {
        for inversions in [0, dif::INVERT_SEED, dif::INVERT_RESULT, dif::INVERT_SEED | dif::INVERT_RESULT] {
            let dif_flags = size | inversions;
            let block = dif::block_size(dif_flags) as usize;
            let data = lab.noise(2 * block as u64);
            let from = if checks(code) { protected(&data, block, tags[0], dif_flags) } else { data.clone() };
            let d = over(lab, code, &from, dif_flags, tags);
            let bytes = made(code, &data, block, tags[1], dif_flags);
            let d = writing(lab, d, &bytes);
            let record = lab.run(&d)?;
            has_status(&record, status::SUCCESS)?;
            let after = tags.map(|tags| tags.after(2).word());
            let [source, destination] = record.op_specific;
            ensure!(!checks(code) || source == after[0], "source tags {source:#x} instead of {:#x}", after[0]);
            ensure!(!makes(code) || destination == after[1], "destination tags {destination:#x}");
            lab.verify()?;
        }
    }
    Ok(())
}

/// Five blocks of which the fourth has a tuple with one byte changed.
fn wrong_tuples(lab: &mut Lab<'_>, code: u8) -> Check {
    let tags = Tags { mask: 0, ..SOURCE };
    for (byte, bit) in [(0, dif::GUARD_MISMATCH), (3, dif::APP_MISMATCH), (7, dif::REF_MISMATCH)] {
        let data = lab.noise(5 * 512);
        let mut from = protected(&data, 512, tags, 0);
        from[3 * 520 + 512 + byte] ^= 0x11;
        let d = over(lab, code, &from, 0, [tags, DESTINATION]);
        let bytes = made(code, &data, 512, DESTINATION, 0);
        let mut written = vec![];
        let mut d = d;
        if !bytes.is_empty() {
            let target = lab.area(Space::Own, 0x108, bytes.len() as u64);
            d.dst_addr = target.addr;
            // Blocks before the wrong one are done.
            let step = bytes.len() / 5;
            lab.expect(target, &bytes[..3 * step]);
            written.push(target.from(3 * step as u64).first(step as u64));
        }
        let record = lab.run(&d)?;
        has_status(&record, status::DIF_ERROR)?;
        ensure!(record.result == bit, "DIF status {:#x} instead of {bit:#x}", record.result);
        ensure!(record.bytes_completed == 3 * 520, "{} bytes completed", record.bytes_completed);
        lab.verify_but(&written)?;
    }
    Ok(())
}

/// The second block of three has a tuple of all ones, which is an error, or not looked at.
fn all_ones(lab: &mut Lab<'_>, code: u8, flag: u8, error: Option<u8>) -> Check {
    let data = lab.noise(3 * 512);
    let mut from = protected(&data, 512, SOURCE, 0);
    from[520 + 512..2 * 520].fill(0xff);
    let mut d = over(lab, code, &from, 0, [SOURCE, DESTINATION]);
    d.set_op_u8(40, d.op_u8(40) | flag);
    let bytes = made(code, &data, 512, DESTINATION, 0);
    if error.is_none() {
        d = writing(lab, d, &bytes);
        has_status(&lab.run(&d)?, status::SUCCESS)?;
        return lab.verify();
    }
    let target = lab.area(Space::Own, 0x108, 3 * 520);
    if code != opcode::DIF_CHECK {
        d.dst_addr = target.addr;
    }
    let record = lab.run(&d)?;
    has_status(&record, status::DIF_ERROR)?;
    ensure!(Some(record.result) == error, "DIF status {:#x}", record.result);
    lab.verify_but(&[target.first(if code == opcode::DIF_CHECK { 0 } else { 2 * 520 })])
}

/// Each part of the tuples is wrong, and not checked.
fn unchecked(lab: &mut Lab<'_>, code: u8) -> Check {
    let data = lab.noise(2 * 512);
    for (byte, flag, mask) in [(0, dif::SOURCE_GUARD_UNCHECKED, 0), (7, dif::SOURCE_REF_UNCHECKED, 0), (2, 0, 0xffff)] {
        let tags = Tags { mask, ..SOURCE };
        let mut from = protected(&data, 512, tags, 0);
        from[512 + byte] ^= 0x5a;
        let mut d = over(lab, code, &from, 0, [tags, DESTINATION]);
        d.set_op_u8(40, d.op_u8(40) | flag);
        let bytes = made(code, &data, 512, DESTINATION, 0);
        let d = writing(lab, d, &bytes);
        has_status(&lab.run(&d)?, status::SUCCESS)?;
        lab.verify()?;
    }
    Ok(())
}

/// An update that keeps one field of the source's tuples.
fn passed_on(lab: &mut Lab<'_>) -> Check {
    let code = opcode::DIF_UPDT;
    let data = lab.noise(2 * 512);
    let from = protected(&data, 512, SOURCE, 0);
    for (flag, field) in
        [(dif::DEST_GUARD_PASS, 512..514), (dif::DEST_APP_PASS, 514..516), (dif::DEST_REF_PASS, 516..520)]
    {
        let mut d = over(lab, code, &from, 0, [SOURCE, DESTINATION]);
        d.set_op_u8(41, d.op_u8(41) | flag);
        let mut bytes = made(code, &data, 512, DESTINATION, 0);
        for block in [0, 520] {
            let field = field.start + block..field.end + block;
            bytes[field.clone()].copy_from_slice(&from[field]);
        }
        let d = writing(lab, d, &bytes);
        has_status(&lab.run(&d)?, status::SUCCESS)?;
        lab.verify()?;
    }
    Ok(())
}
