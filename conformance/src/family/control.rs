//! No-op, batch, drain, cache flush and translation fetch; a queue that is full, and what else is wrong without a descriptor.

use idxd_sys::{Descriptor, flag, gencap, opcode, status};

use super::derived;
use super::rules::{sample, with};
use crate::bench::{Misdeed, Page, Power, Queue, Space};
use crate::case::{Case, Check, Need, ensure};
use crate::lab::{Lab, flagged, has_status};

const BATCH: u8 = opcode::BATCH;
const DRAIN: u8 = opcode::DRAIN;
const FETCH: u8 = opcode::TRANSL_FETCH;

pub(super) fn cases() -> Vec<Case> {
    let mut cases = derived(&[opcode::NOP, BATCH, DRAIN, opcode::CFLUSH, FETCH]);
    cases.extend(batches());
    cases.extend(drains());
    cases.extend([
        with(opcode::NOP, status::SUCCESS, "no record where none is requested", "8.1.3.4", |lab| {
            let d = flagged(lab.descriptor(opcode::NOP, 0), 0, flag::RCR);
            lab.send(&d)?;
            ensure!(lab.look(d.completion_addr).status == 0, "a record is written");
            Ok(())
        }),
        with(opcode::NOP, status::SWERR_DWQ_OVERFLOW, "a descriptor too many", "5.8.2", |lab| {
            let d = lab.descriptor(opcode::NOP, 0);
            lab.submit(Queue::Full, &d)?;
            lab.settle();
            let trouble = lab.trouble(status::SWERR_DWQ_OVERFLOW)?;
            ensure!(trouble.opcode == opcode::NOP, "{trouble:?}");
            ensure!(lab.look(d.completion_addr).status == 0, "it is executed");
            Ok(())
        })
        .needing(&[Need::Power(Power::Troubles), Need::Power(Power::Queue(Queue::Full))]),
        with(opcode::NOP, status::SWERR_COMMAND_ACTIVE, "a command too many", "9.2.12", |lab| {
            lab.misbehave(Misdeed::SecondCommand)?;
            lab.trouble(status::SWERR_COMMAND_ACTIVE)?;
            let d = lab.descriptor(opcode::NOP, 0);
            has_status(&lab.run(&d)?, status::SUCCESS)
        })
        .needing(&[Need::Power(Power::Troubles), Need::Power(Power::Misdeed(Misdeed::SecondCommand))]),
        with(opcode::NOP, status::SWERR_PCI_CONFIG, "a change of PCI configuration halts the device", "5.8.2", |lab| {
            lab.misbehave(Misdeed::Configuration)?;
            let trouble = lab.trouble(status::SWERR_PCI_CONFIG)?;
            ensure!(!trouble.logged, "{trouble:?}");
            let d = lab.descriptor(opcode::NOP, 0);
            lab.is_turned_away(&d)
        })
        .needing(&[Need::Power(Power::Troubles), Need::Power(Power::Misdeed(Misdeed::Configuration))]),
        with(opcode::NOP, status::SWERR_EVENT_LOG, "an event that finds the log full", "5.9", |lab| {
            lab.misbehave(Misdeed::FullLog)?;
            let lost = lab.area(Space::Own, 0, 32);
            lab.set_page(Space::Own, lost.addr, Page::Refused)?;
            let d = Descriptor { completion_addr: lost.addr, ..lab.descriptor(opcode::NOP, 0) };
            lab.send(&d)?;
            lab.set_page(Space::Own, lost.addr, Page::Present)?;
            let troubles = lab.troubles()?;
            ensure!(troubles.len() == 1 && !troubles[0].logged, "{troubles:?}");
            ensure!(troubles[0].code == status::SWERR_EVENT_LOG, "{troubles:?}");
            lab.verify()
        })
        .needing(&[
            Need::Power(Power::Refused),
            Need::Power(Power::EventLog),
            Need::Power(Power::Misdeed(Misdeed::FullLog)),
        ]),
        with(FETCH, status::SUCCESS, "a stride that leaves out absent pages", "8.3.11", |lab| {
            let sample = sample(lab, FETCH)?;
            let pages: Vec<u64> = sample.operands[0].area.pages().collect();
            lab.set_page(Space::Own, pages[1], Page::Absent)?;
            let mut d = flagged(sample.d, flag::FETCH_STRIDE, 0);
            d.set_op_u32(48, 8192);
            let record = lab.run(&d)?;
            lab.set_page(Space::Own, pages[1], Page::Present)?;
            has_status(&record, status::SUCCESS)
        })
        .needing(&[Need::Capability(gencap::TRANSLATION_FETCH_STRIDE), Need::Power(Power::Absent)]),
        with(FETCH, status::BAD_SIZE, "a region beyond the last address", "5.4", |lab| {
            let d = Descriptor { src_addr: 0_u64.wrapping_sub(4096), xfer_size: 8192, ..lab.descriptor(FETCH, 0) };
            lab.refuses(&d, status::BAD_SIZE).map(drop)
        }),
        with(FETCH, status::ADDR_ALIGN, "strides that are small, or no power of two", "5.4", |lab| {
            let sample = sample(lab, FETCH)?;
            for stride in [0, 2048, 4097, 12288] {
                let mut d = flagged(sample.d, flag::FETCH_STRIDE, 0);
                d.set_op_u32(48, stride);
                lab.refuses(&d, status::ADDR_ALIGN)?;
            }
            Ok(())
        })
        .needing(&[Need::Capability(gencap::TRANSLATION_FETCH_STRIDE)]),
    ]);
    cases
}

/// No-ops with a record each, from record 10 on.
fn no_ops(lab: &mut Lab<'_>, count: u64) -> Vec<Descriptor> {
    (0..count)
        .map(|i| {
            let d = lab.descriptor(opcode::NOP, 0);
            Descriptor { completion_addr: lab.record(10 + i), ..d }
        })
        .collect()
}

/// A batch of these.
fn batch_of(lab: &mut Lab<'_>, members: &[Descriptor]) -> Descriptor {
    let list = lab.area_of(0, zerocopy::IntoBytes::as_bytes(members));
    Descriptor { src_addr: list.addr, xfer_size: members.len() as u32, ..lab.descriptor(BATCH, 0) }
}

/// Asserts the statuses of the records of members; 0 for none.
fn ended(lab: &mut Lab<'_>, members: &[Descriptor], statuses: &[u8]) -> Check {
    for (i, (member, code)) in members.iter().zip(statuses).enumerate() {
        let found = lab.look(member.completion_addr).status;
        ensure!(found == *code, "member {i} has status {found:#04x} instead of {code:#04x}");
    }
    Ok(())
}

fn batches() -> Vec<Case> {
    let event_log = [Need::Power(Power::Refused), Need::Power(Power::EventLog)];
    vec![
        with(BATCH, status::SUCCESS, "a fence after successes", "3.9", |lab| {
            let mut members = no_ops(lab, 4);
            members[2] = flagged(members[2], flag::FENCE, 0);
            let batch = batch_of(lab, &members);
            has_status(&lab.run(&batch)?, status::SUCCESS)?;
            ended(lab, &members, &[status::SUCCESS; 4])
        }),
        with(BATCH, status::SUCCESS, "a batch of one", "8.3.2", |lab| {
            let members = no_ops(lab, 1);
            let batch = batch_of(lab, &members);
            has_status(&lab.run(&batch)?, status::SUCCESS)?;
            ended(lab, &members, &[status::SUCCESS])
        })
        .needing(&[Need::Capability(gencap::BATCH_OF_ONE)]),
        with(BATCH, status::BATCH_FAIL, "a member that fails, and others that do not", "3.8", |lab| {
            let mut members = no_ops(lab, 3);
            members[1].reserved = 1;
            members[1] = flagged(members[1], flag::CHECK_RESULT, 0);
            let batch = batch_of(lab, &members);
            let record = lab.run(&batch)?;
            has_status(&record, status::BATCH_FAIL)?;
            ensure!(record.bytes_completed == 3, "{} descriptors completed", record.bytes_completed);
            let failed = u8::from(lab.caps.has(gencap::BATCH_CONTINUATION));
            ensure!(record.result >= failed, "result {}", record.result);
            let [first, second, third] = [0, 1, 2].map(|i| lab.look(members[i].completion_addr).status);
            ensure!((first, third) == (status::SUCCESS, status::SUCCESS), "{first:#x} {third:#x}");
            ensure!(matches!(second, status::BAD_FLAGS | status::RESERVED_FIELD), "{second:#x}");
            Ok(())
        }),
        with(BATCH, status::BATCH_FAIL, "a fence after a failure", "3.9", |lab| {
            let mut members = no_ops(lab, 4);
            members[1] = flagged(members[1], flag::CHECK_RESULT, 0);
            members[2] = flagged(members[2], flag::FENCE, 0);
            let batch = batch_of(lab, &members);
            let record = lab.run(&batch)?;
            has_status(&record, status::BATCH_FAIL)?;
            ensure!(record.bytes_completed == 2, "{} descriptors completed", record.bytes_completed);
            ended(lab, &members, &[status::SUCCESS, status::BAD_FLAGS, 0, 0])
        }),
        with(BATCH, status::BATCH_FAIL, "a failure of an earlier part", "8.3.2", |lab| {
            let members = no_ops(lab, 2);
            let batch = flagged(batch_of(lab, &members), flag::BATCH_ERROR, 0);
            has_status(&lab.run(&batch)?, status::BATCH_FAIL)?;
            ended(lab, &members, &[status::SUCCESS; 2])
        })
        .needing(&[Need::Capability(gencap::BATCH_CONTINUATION)]),
        with(BATCH, status::BAD_COUNT, "no member, one, and too many", "5.4", |lab| {
            let members = no_ops(lab, 2);
            let batch = batch_of(lab, &members);
            let one = (!lab.caps.has(gencap::BATCH_OF_ONE)).then_some(1);
            let most = lab.caps.max_batch_size;
            for count in [0, most + 1].into_iter().chain(one) {
                lab.refuses(&Descriptor { xfer_size: count, ..batch }, status::BAD_COUNT)?;
            }
            ended(lab, &members, &[0; 2])
        })
        .needing(&[Need::BatchLimit]),
        with(BATCH, status::LIST_ALIGN, "a list that is no multiple of 64", "5.4", |lab| {
            let members = no_ops(lab, 2);
            let batch = batch_of(lab, &members);
            for more in [1, 32] {
                let d = Descriptor { src_addr: batch.src_addr + more, ..batch };
                lab.refuses(&d, status::LIST_ALIGN)?;
            }
            ended(lab, &members, &[0; 2])
        }),
        with(BATCH, status::BATCH_EVENT_LOG, "behind the record of a member in the event log", "5.9", |lab| {
            let mut members = no_ops(lab, 3);
            let lost = lab.area(Space::Own, 0, 32);
            members[1].completion_addr = lost.addr;
            let batch = batch_of(lab, &members);
            lab.set_page(Space::Own, lost.addr, Page::Refused)?;
            lab.send(&batch)?;
            lab.set_page(Space::Own, lost.addr, Page::Present)?;
            let troubles = lab.troubles()?;
            let codes: Vec<u8> = troubles.iter().map(|trouble| trouble.code).collect();
            ensure!(codes == [status::CR_FAULT, status::BATCH_EVENT_LOG], "{codes:x?}");
            ensure!(troubles[0].member == Some(1) && troubles.iter().all(|t| t.logged), "{troubles:?}");
            let record = troubles[1].record.unwrap_or_default();
            ensure!((record.status, record.bytes_completed) == (status::SUCCESS, 3), "{record:x?}");
            ensure!(lab.look(batch.completion_addr).status == 0, "the record of the batch is written as well");
            lab.verify()
        })
        .needing(&event_log),
    ]
}

fn drains() -> Vec<Case> {
    let readback = Need::Capability(gencap::DRAIN_READBACK);
    let event_log = [Need::Power(Power::Refused), Need::Power(Power::EventLog)];
    vec![
        with(DRAIN, status::SUCCESS, "behind what it waits for", "8.3.3", |lab| {
            let moves: Vec<Descriptor> = no_ops(lab, 3);
            for d in &moves {
                lab.submit(Queue::Main, d)?;
            }
            let d = lab.descriptor(DRAIN, 0);
            has_status(&lab.run(&d)?, status::SUCCESS)?;
            ended(lab, &moves, &[status::SUCCESS; 3])
        }),
        with(DRAIN, status::SUCCESS, "two addresses read back", "8.3.3", |lab| {
            let (one, two) = (lab.area(Space::Own, 8, 8), lab.area(Space::Own, 64, 8));
            let d = lab.descriptor(DRAIN, flag::DRAIN_READBACK_1 | flag::DRAIN_READBACK_2);
            has_status(&lab.run(&Descriptor { src_addr: one.addr, dst_addr: two.addr, ..d })?, status::SUCCESS)?;
            lab.verify()
        })
        .needing(&[readback]),
        with(DRAIN, status::DRAIN_FAULT, "each address to read back on a page that stays absent", "8.3.3", |lab| {
            let area = lab.area(Space::Own, 8, 8);
            lab.set_page(Space::Own, area.addr & !0xfff, Page::Refused)?;
            for (bit, number) in [(flag::DRAIN_READBACK_1, 1), (flag::DRAIN_READBACK_2, 2)] {
                let d = lab.descriptor(DRAIN, bit);
                let d = if number == 1 {
                    Descriptor { src_addr: area.addr, ..d }
                } else {
                    Descriptor { dst_addr: area.addr, ..d }
                };
                let record = lab.run(&d)?;
                has_status(&record, status::DRAIN_FAULT)?;
                ensure!(record.fault_addr & !0xfff == area.addr & !0xfff, "fault at {:#x}", record.fault_addr);
                let found = record.fault_info >> 1 & 7;
                ensure!(!lab.caps.has_fault_info() || found == number, "the fault names operand {found}");
            }
            lab.set_page(Space::Own, area.addr & !0xfff, Page::Present)
        })
        .needing(&[readback, Need::Power(Power::Refused)]),
        with(DRAIN, status::DRAIN_EVENT_LOG, "behind a record in the event log", "5.9", |lab| {
            let lost = lab.area(Space::Own, 0, 32);
            lab.set_page(Space::Own, lost.addr, Page::Refused)?;
            let no_op = Descriptor { completion_addr: lost.addr, ..lab.descriptor(opcode::NOP, 0) };
            lab.send(&no_op)?;
            let drain = lab.descriptor(DRAIN, 0);
            lab.send(&drain)?;
            lab.set_page(Space::Own, lost.addr, Page::Present)?;
            let troubles = lab.troubles()?;
            let codes: Vec<u8> = troubles.iter().map(|trouble| trouble.code).collect();
            ensure!(codes == [status::CR_FAULT, status::DRAIN_EVENT_LOG], "{codes:x?}");
            let record = troubles[1].record.unwrap_or_default();
            ensure!(record.status == status::SUCCESS, "{record:x?}");
            ensure!(lab.look(drain.completion_addr).status == 0, "the record of the drain is written as well");
            lab.verify()
        })
        .needing(&event_log),
    ]
}
