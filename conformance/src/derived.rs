//! Cases that every operation has, made from its sample: it succeeds; a page of an operand is missing, or is brought in, or
//! may not be written; the hardware fails.

use idxd_sys::compute::{compute_type, data_type, dsacap0, sgl_format};
use idxd_sys::{CompletionRecord, Descriptor, flag, opcode, status};

use crate::bench::{PAGE, Page, Power, Space};
use crate::case::{Case, Check, Need, ensure};
use crate::lab::{Lab, flagged, has_status};
use crate::resume::{Rest, rest};
use crate::sample::{Sample, Shape, has_domains, operands, shape, shapes};

/// What a sample needs.
pub(crate) fn needs(code: u8, shape: Shape) -> Vec<Need> {
    let mut needs = vec![Need::Operation(code)];
    let domains = shape != Shape::PLAIN || code == opcode::UPDATE_WINDOW;
    if domains {
        needs.push(Need::Power(Power::Domains));
        needs.extend(domain_bit(code).map(|bit| Need::Typed(0, bit)));
    }
    let types: &[u8] = match code {
        opcode::TYPE_CONV => &[data_type::INT16, data_type::INT32],
        opcode::REDUCE | opcode::REDUCE_DUALCAST | opcode::GATHER_REDUCE => &[data_type::INT32],
        opcode::GATHER_COPY | opcode::SCATTER_COPY | opcode::SCATTER_FILL => &[data_type::INT64],
        _ => &[],
    };
    needs.extend(types.iter().map(|code| Need::Typed(1, 1 << code)));
    if matches!(code, opcode::REDUCE | opcode::REDUCE_DUALCAST | opcode::GATHER_REDUCE) {
        needs.push(Need::Typed(1, 1 << (48 + compute_type::ADD)));
    }
    if has_list(code) {
        needs.push(Need::Typed(0, 1 << (32 + sgl_format::OFFSET_64)));
    }
    needs
}

/// Whether an operation has a scatter-gather list.
pub(crate) fn has_list(code: u8) -> bool {
    matches!(code, opcode::GATHER_REDUCE..=opcode::SCATTER_FILL)
}

/// The bit of DSACAP0 that lets an operation name handles; `None` for those that always may.
fn domain_bit(code: u8) -> Option<u64> {
    Some(match code {
        opcode::TYPE_CONV => dsacap0::INTER_DOMAIN_TYPE_CONV,
        opcode::REDUCE => dsacap0::INTER_DOMAIN_REDUCE,
        opcode::REDUCE_DUALCAST => dsacap0::INTER_DOMAIN_REDUCE_DUALCAST,
        opcode::GATHER_COPY => dsacap0::INTER_DOMAIN_GATHER_COPY,
        opcode::SCATTER_COPY => dsacap0::INTER_DOMAIN_SCATTER_COPY,
        opcode::SCATTER_FILL => dsacap0::INTER_DOMAIN_SCATTER_FILL,
        _ => return None,
    })
}

/// The section that describes an operation.
pub(crate) fn section(code: u8) -> &'static str {
    match code {
        opcode::NOP => "8.3.1",
        opcode::BATCH => "8.3.2",
        opcode::DRAIN => "8.3.3",
        opcode::MEMMOVE => "8.3.4",
        opcode::FILL => "8.3.5",
        opcode::COMPARE => "8.3.6",
        opcode::COMPVAL => "8.3.7",
        opcode::CR_DELTA => "8.3.8",
        opcode::AP_DELTA => "8.3.9",
        opcode::DUALCAST => "8.3.10",
        opcode::TRANSL_FETCH => "8.3.11",
        opcode::CRCGEN => "8.3.12",
        opcode::COPY_CRC => "8.3.13",
        opcode::DIF_CHECK => "8.3.14",
        opcode::DIF_INS => "8.3.15",
        opcode::DIF_STRP => "8.3.16",
        opcode::DIF_UPDT => "8.3.17",
        opcode::DIX_GEN => "8.3.18",
        opcode::TYPE_CONV => "8.3.19",
        opcode::REDUCE => "8.3.20",
        opcode::REDUCE_DUALCAST => "8.3.21",
        opcode::GATHER_REDUCE => "8.3.22",
        opcode::GATHER_COPY => "8.3.23",
        opcode::SCATTER_COPY => "8.3.24",
        opcode::SCATTER_FILL => "8.3.25",
        opcode::CFLUSH => "8.3.26",
        opcode::UPDATE_WINDOW => "8.3.27",
        opcode::INTER_DOMAIN_COPY => "8.3.28",
        opcode::INTER_DOMAIN_FILL => "8.3.29",
        opcode::INTER_DOMAIN_COMPARE => "8.3.30",
        opcode::INTER_DOMAIN_COMPVAL => "8.3.31",
        _ => "8.3",
    }
}

/// All cases of this file for an operation.
pub(crate) fn cases(code: u8) -> Vec<Case> {
    let mut cases = Vec::new();
    for &shape in shapes(code) {
        let name = if has_domains(code) { shape.name().into() } else { String::from("does its work and nothing else") };
        cases.push(Case::new((code, status::SUCCESS), name, section(code), &needs(code, shape), move |lab| {
            succeeds(lab, code, shape)
        }));
        for (i, &(operand, writes)) in operands(code).iter().enumerate() {
            cases.extend(missing_pages(code, shape, i, operand, writes));
        }
    }
    cases.extend(hardware_errors(code));
    cases
}

fn missing_pages(code: u8, shape: Shape, i: usize, operand: &str, writes: bool) -> Vec<Case> {
    let suffix = if has_domains(code) { format!(", {}", shape.name()) } else { String::new() };
    let needs = needs(code, shape);
    let named = |what: &str| format!("{what} {operand}{suffix}");
    if code == opcode::BATCH {
        let refused = Case::new(
            (code, status::BATCH_LIST_FAULT),
            named("each page missing of the"),
            "8.3.2",
            &needs,
            move |lab| faults(lab, code, shape, i, (Page::Refused, false)),
        );
        let granted =
            Case::new((code, status::SUCCESS), named("brings in each page of the"), "3.13", &needs, move |lab| {
                granted(lab, code, shape, i, 0)
            });
        return vec![
            refused.needing(&[Need::Power(Power::Refused)]),
            granted.needing(&[Need::PageRequests, Need::Power(Power::Absent)]),
        ];
    }
    let blocking = [Need::BlockOnFault, Need::PageRequests];
    let mut cases = vec![
        Case::new((code, status::PAGE_FAULT), named("each page missing of the"), "3.13", &needs, move |lab| {
            faults(lab, code, shape, i, (Page::Absent, false))
        })
        .needing(&[Need::Power(Power::Absent)]),
        Case::new(
            (code, status::PAGE_RESPONSE),
            named("a page request refused for each page of the"),
            "3.13",
            &needs,
            move |lab| faults(lab, code, shape, i, (Page::Refused, true)),
        )
        .needing(&blocking)
        .needing(&[Need::Power(Power::Refused)]),
        Case::new(
            (code, status::SUCCESS),
            named("blocks on a fault in each page of the"),
            "3.13",
            &needs,
            move |lab| granted(lab, code, shape, i, flag::BLOCK_ON_FAULT),
        )
        .needing(&blocking)
        .needing(&[Need::Power(Power::Absent)]),
    ];
    if writes {
        let read_only = Need::Power(Power::ReadOnly);
        cases.push(
            Case::new((code, status::PAGE_FAULT), named("each page read-only of the"), "3.13", &needs, move |lab| {
                faults(lab, code, shape, i, (Page::ReadOnly, false))
            })
            .needing(&[read_only]),
        );
        cases.push(
            Case::new((code, status::PAGE_RESPONSE), named("each page read-only, blocking, of the"), "3.13", &needs, {
                move |lab| faults(lab, code, shape, i, (Page::ReadOnly, true))
            })
            .needing(&blocking)
            .needing(&[read_only]),
        );
    }
    cases
}

/// Runs a sample.
pub(crate) fn succeeds(lab: &mut Lab<'_>, code: u8, shape: Shape) -> Check {
    let sample = Sample::of(lab, code, shape)?;
    run_whole(lab, &sample, &sample.d)
}

/// Runs a descriptor that does all that a sample does.
pub(crate) fn run_whole(lab: &mut Lab<'_>, sample: &Sample, d: &Descriptor) -> Check {
    let record = lab.run(d)?;
    sample.check_success(&record, 0)?;
    sample.expect_all(lab);
    lab.verify()
}

/// Runs a sample once for each page of an operand, which is absent until the device asks for it.
fn granted(lab: &mut Lab<'_>, code: u8, shape: Shape, operand: usize, flags: u32) -> Check {
    let mut n = 0;
    loop {
        let sample = Sample::of(lab, code, shape)?;
        let area = sample.operands[operand].area;
        let Some(page) = area.pages().nth(n) else { return Ok(()) };
        lab.set_page(area.space, page, Page::Absent)?;
        let record = lab.run(&flagged(sample.d, flags, 0))?;
        lab.set_page(area.space, page, Page::Present)?;
        sample.check_success(&record, 0)?;
        sample.expect_all(lab);
        lab.verify()?;
        n += 1;
    }
}

/// Runs a sample once for each page of an operand, which stays away, and then its rest, with the page back.
fn faults(lab: &mut Lab<'_>, code: u8, shape: Shape, operand: usize, (state, block): (Page, bool)) -> Check {
    let mut n = 0;
    loop {
        let sample = Sample::of(lab, code, shape)?;
        let area = sample.operands[operand].area;
        let Some(page) = area.pages().nth(n) else { return Ok(()) };
        lab.set_page(area.space, page, state)?;
        let d = flagged(sample.d, if block { flag::BLOCK_ON_FAULT } else { 0 }, 0);
        let record = lab.run(&d)?;
        lab.set_page(area.space, page, Page::Present)?;
        let expected = match (code, block) {
            (opcode::BATCH, _) => status::BATCH_LIST_FAULT,
            (_, true) => status::PAGE_RESPONSE,
            (_, false) => status::PAGE_FAULT,
        };
        has_status(&record, expected)?;
        check_fault(lab, &sample, operand, page, &record)?;
        let done = check_progress(lab, &sample, operand, page, &record)?;
        finish(lab, &sample, &d, &record, done)?;
        n += 1;
    }
}

/// Direction, operand, address and handle of a fault.
fn check_fault(lab: &Lab<'_>, sample: &Sample, operand: usize, page: u64, record: &CompletionRecord) -> Check {
    let (_, writes) = operands(sample.d.opcode())[operand];
    let area = sample.operands[operand].area;
    ensure!((record.status & status::FAULT_WRITE != 0) == writes, "bit 7 of status {:#04x}", record.status);
    let address = !lab.caps.has_fault_info() || record.fault_info & 1 == 0;
    if lab.caps.fault_addresses && address {
        ensure!(record.fault_addr & !(PAGE - 1) == page, "fault at {:#x} instead of {page:#x}", record.fault_addr);
    }
    if lab.caps.has_fault_info() {
        let (found, number) = (record.fault_info >> 1 & 7, sample.operands[operand].number);
        ensure!(found == number, "the fault names operand {found} instead of {number}");
    }
    if area.space == Space::Other {
        let (found, handle) = (record.op_specific[0] as u16, sample.handle.unwrap_or(0));
        ensure!(found == handle, "the fault names handle {found:#x} instead of {handle:#x}");
    }
    Ok(())
}

/// What was done, and that it was done. Returns the bytes completed.
fn check_progress(
    lab: &mut Lab<'_>,
    sample: &Sample,
    operand: usize,
    page: u64,
    record: &CompletionRecord,
) -> Check<u64> {
    let place = &sample.operands[operand];
    let done = u64::from(record.bytes_completed);
    let code = sample.d.opcode();
    let backward = code == opcode::MEMMOVE && record.result == 1;
    let at = page.saturating_sub(place.area.addr);
    let most = if backward { place.area.len.saturating_sub(page + PAGE - place.area.addr) } else { (place.reach)(at) };
    ensure!(done <= most, "{done} bytes completed where at most {most} can be");
    if lab.caps.exact_progress {
        let good = done == most || done == most / sample.granule * sample.granule;
        ensure!(good, "{done} bytes completed instead of {most}");
    }
    if sample.granule > 1 {
        let entries = record.op_specific[0] >> 32 & 0xffff;
        let whole = done / sample.granule;
        ensure!(entries == whole, "{entries} entries completed instead of {whole}");
    }
    if code == opcode::CR_DELTA {
        let (made, expected) = (record.op_specific[0], (sample.outputs[0].written)(done));
        ensure!(made == expected, "a delta record of {made} bytes instead of {expected}");
    }
    if backward {
        let output = &sample.outputs[0];
        let from = output.area.len - done;
        lab.expect(output.area.from(from), &output.bytes[from as usize..]);
    } else {
        sample.expect(lab, done);
    }
    // What lies between what is counted and what was possible may have been written, and is written again.
    let loose: Vec<_> = sample
        .outputs
        .iter()
        .map(|output| {
            let [counted, possible] = [done, most].map(|bytes| (output.written)(bytes).min(output.area.len));
            match (output.loose, backward) {
                (true, _) => output.area,
                (false, true) => output.area.from(output.area.len - possible).first(possible - counted),
                (false, false) => output.area.first(possible).from(counted),
            }
        })
        .collect();
    lab.verify_but(&loose)?;
    Ok(done)
}

/// The rest of an operation, after which everything must be as if it had run at once.
fn finish(lab: &mut Lab<'_>, sample: &Sample, d: &Descriptor, record: &CompletionRecord, done: u64) -> Check {
    let (rest, before) = match rest(d, record) {
        Rest::Continued(rest) => (rest, done),
        Rest::Anew => (*d, 0),
    };
    let record = lab.run(&rest)?;
    let before = if sample.expected.completed.is_some() { before } else { 0 };
    sample.check_success(&record, before)?;
    sample.expect_all(lab);
    lab.verify()
}

/// Which hardware errors an operation can meet: any reads or computes, some write, some translate addresses of operands.
pub(crate) fn hardware(code: u8) -> &'static [u8] {
    let writes = operands(code).iter().any(|(_, writes)| *writes);
    match code {
        opcode::NOP | opcode::UPDATE_WINDOW => &[status::HW_READ],
        _ if writes => &[status::HW_READ, status::HW_WRITE, status::TRANSLATION],
        _ => &[status::HW_READ, status::TRANSLATION],
    }
}

fn hardware_errors(code: u8) -> impl Iterator<Item = Case> {
    hardware(code).iter().map(move |&error| {
        let shape = shape(code);
        let needs = [needs(code, shape), vec![Need::Power(Power::HardwareErrors)]].concat();
        Case::new((code, error), "the hardware fails", "5.8.1", &needs, move |lab| {
            let sample = Sample::of(lab, code, shape)?;
            lab.fail_next(error)?;
            let record = lab.run(&sample.d)?;
            has_status(&record, error)?;
            // How far it came is not known.
            lab.verify_but(&sample.written())?;
            // Software does it again, from the beginning.
            run_whole(lab, &sample, &sample.d)
        })
    })
}
