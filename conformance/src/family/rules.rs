//! Rules that hold for all operations alike: opcode, flags, reserved bytes, sizes, records, privilege, interrupts.

use idxd_sys::{Descriptor, flag, gencap, opcode, status};

use crate::bench::{Page, Power, Queue, Space};
use crate::case::{Case, Check, Need, ensure};
use crate::derived::needs;
use crate::lab::{Lab, flagged, has_status, with_byte};
use crate::sample::{Sample, Shape, has_size, shape};
use crate::tables::{class_selectors, needed_flags, open_flags, reserved_bytes};

/// Addresses without memory, far from each other, for descriptors that are refused before they are looked at.
pub(crate) const FAR: [u64; 4] = [0x10_0000_0000, 0x20_0000_0000, 0x30_0000_0000, 0x40_0000_0000];

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for &code in opcode::ALL {
        cases.extend(opcodes(code));
        cases.extend(flags(code));
        cases.push(
            with(code, status::RESERVED_FIELD, "each byte that it leaves 0", "5.5", move |lab| reserved(lab, code))
                .needing(&[Need::ReservedBytes]),
        );
        if has_size(code) {
            cases.push(with(code, status::BAD_SIZE, "nothing to do", "5.4", move |lab| {
                let sample = sample(lab, code)?;
                lab.refuses(&Descriptor { xfer_size: 0, ..sample.d }, status::BAD_SIZE).map(drop)
            }));
        }
        cases.extend(too_large(code));
        cases.extend(records(code));
        cases.extend(traffic_classes(code));
        let queue = Queue::PrivilegeOff;
        cases.push(
            with(code, status::BAD_PRIV, "privileged where privilege is off", "5.4", move |lab| {
                let sample = sample(lab, code)?;
                lab.submit(queue, &sample.d)?;
                lab.settle();
                lab.trouble(status::BAD_PRIV)?;
                ensure!(lab.look(sample.d.completion_addr).status == 0, "a record is written");
                lab.verify()
            })
            .needing(&[Need::Power(Power::Troubles), Need::Power(Power::Queue(queue))]),
        );
        cases.push(
            with(code, status::BAD_INT_HANDLE, "an interrupt through a handle that is none", "5.4", move |lab| {
                let sample = sample(lab, code)?;
                let d = Descriptor { int_handle: 0xfff0, ..flagged(sample.d, flag::RCI, 0) };
                lab.refuses_on(Queue::Interrupts, &d, status::BAD_INT_HANDLE).map(drop)
            })
            .needing(&[Need::Power(Power::Queue(Queue::Interrupts))]),
        );
    }
    cases.push(unrequested_handle());
    cases.push(unassigned());
    cases.push(record_without_address());
    cases
}

/// A case for the sample of an operation.
pub(crate) fn with(
    code: u8,
    expected: u8,
    name: &str,
    section: &'static str,
    run: impl Fn(&mut Lab<'_>) -> Check + Send + Sync + 'static,
) -> Case {
    Case::new((code, expected), name, section, &needs(code, shape(code)), run)
}

/// The sample of an operation, in its simplest shape.
pub(crate) fn sample(lab: &mut Lab<'_>, code: u8) -> Check<Sample> {
    Sample::of(lab, code, shape(code))
}

fn opcodes(code: u8) -> Vec<Case> {
    let queue = Queue::Without(code);
    let mut cases = vec![
        Case::new(
            (code, status::BAD_OPCODE),
            "an operation that the queue does not have",
            "5.4",
            &[Need::NoOperation(code)],
            move |lab| {
                let plain = shape(code) == Shape::PLAIN && code != opcode::UPDATE_WINDOW;
                let d = if plain { Sample::of(lab, code, Shape::PLAIN)?.d } else { lab.descriptor(code, 0) };
                lab.refuses(&d, status::BAD_OPCODE).map(drop)
            },
        ),
        with(code, status::BAD_OPCODE, "on a queue that lacks it", "5.4", move |lab| {
            let sample = sample(lab, code)?;
            lab.refuses_on(queue, &sample.d, status::BAD_OPCODE).map(drop)
        })
        .needing(&[Need::Power(Power::Queue(queue))]),
    ];
    if code == opcode::TRANSL_FETCH {
        let queue = Queue::NoTranslationService;
        cases.push(
            with(code, status::BAD_OPCODE, "on a queue without address translation", "5.4", move |lab| {
                let sample = sample(lab, code)?;
                lab.refuses_on(queue, &sample.d, status::BAD_OPCODE).map(drop)
            })
            .needing(&[Need::Power(Power::Queue(queue))]),
        );
    }
    if matches!(code, opcode::BATCH | opcode::DRAIN | opcode::UPDATE_WINDOW) {
        cases.push(
            with(code, status::BAD_OPCODE, "inside a batch", "5.4", move |lab| inside_a_batch(lab, code))
                .needing(&[Need::Operation(opcode::BATCH)]),
        );
    }
    cases
}

fn inside_a_batch(lab: &mut Lab<'_>, code: u8) -> Check {
    let inner = sample(lab, code)?;
    let member = Descriptor { completion_addr: lab.record(100), ..inner.d };
    let other = Descriptor { completion_addr: lab.record(101), ..lab.descriptor(opcode::NOP, 0) };
    let bytes: [u8; 128] = zerocopy::transmute!([member, other]);
    let list = lab.area_of(0, &bytes);
    let batch = Descriptor { src_addr: list.addr, xfer_size: 2, ..lab.descriptor(opcode::BATCH, 0) };
    let record = lab.run(&batch)?;
    has_status(&record, status::BATCH_FAIL)?;
    has_status(&lab.look(member.completion_addr), status::BAD_OPCODE)?;
    has_status(&lab.look(other.completion_addr), status::SUCCESS)?;
    lab.verify()
}

fn flags(code: u8) -> Vec<Case> {
    let mut cases = vec![with(code, status::BAD_FLAGS, "each flag that it does not have", "5.5", move |lab| {
        let sample = sample(lab, code)?;
        let open = open_flags(&lab.caps, code);
        for bit in (0..24).map(|bit| 1 << bit).filter(|bit| open & bit == 0) {
            let record = lab.run(&flagged(sample.d, bit, 0))?;
            let named = record.op_specific[0] as u32 & 0x00ff_ffff;
            has_status(&record, status::BAD_FLAGS).map_err(|failure| failure.at(&format!("flag {bit:#x}")))?;
            ensure!(named & bit != 0, "the record names {named:#x} instead of flag {bit:#x}");
            lab.verify()?;
        }
        Ok(())
    })];
    if !needed_flags(code).is_empty() {
        cases.push(with(code, status::BAD_FLAGS, "without a flag that it must have", "5.5", move |lab| {
            let sample = sample(lab, code)?;
            for &bits in needed_flags(code) {
                let mut d = flagged(sample.d, 0, bits);
                if bits & flag::RCR == 0 {
                    // A handle without its flag would be another mistake.
                    d.op_specific[2] = 0;
                }
                lab.refuses(&d, status::BAD_FLAGS)?;
            }
            Ok(())
        }));
    }
    let blocks = has_size(code);
    if blocks {
        let queue = Queue::NoBlockOnFault;
        cases.push(
            with(code, status::BAD_FLAGS, "blocking on a queue that does not let it", "5.5", move |lab| {
                let sample = sample(lab, code)?;
                lab.refuses_on(queue, &flagged(sample.d, flag::BLOCK_ON_FAULT, 0), status::BAD_FLAGS).map(drop)
            })
            .needing(&[Need::Power(Power::Queue(queue))]),
        );
    }
    cases
}

fn reserved(lab: &mut Lab<'_>, code: u8) -> Check {
    let sample = sample(lab, code)?;
    for &(from, to, bits) in reserved_bytes(code) {
        for byte in from..=to {
            // One bit and all of them.
            for bits in [bits & bits.wrapping_neg(), bits] {
                let record = lab.run(&with_byte(sample.d, byte, bits))?;
                has_status(&record, status::RESERVED_FIELD).map_err(|failure| failure.at(&format!("byte {byte}")))?;
            }
        }
    }
    lab.verify()
}

/// Sizes above the queue's maximum, at addresses so far apart that nothing else is wrong.
fn too_large(code: u8) -> Option<Case> {
    let multiple = match code {
        opcode::DIF_CHECK | opcode::DIF_STRP | opcode::DIF_UPDT => 520,
        opcode::DIF_INS | opcode::DIX_GEN => 512,
        opcode::CR_DELTA | opcode::AP_DELTA => 8,
        // Counts of elements, regions, and lists have their own.
        opcode::TYPE_CONV..=opcode::SCATTER_FILL | opcode::TRANSL_FETCH => return None,
        code if !has_size(code) => return None,
        _ => 1,
    };
    let case = with(code, status::BAD_SIZE, "larger than the queue's maximum", "5.4", move |lab| {
        let sample = sample(lab, code)?;
        let size = (lab.caps.max_transfer_size / multiple + 1) * multiple;
        let mut d = Descriptor { xfer_size: size as u32, ..sample.d };
        for (to, far) in [&mut d.src_addr, &mut d.dst_addr].into_iter().zip(FAR) {
            if *to != 0 {
                *to = far;
            }
        }
        if matches!(code, opcode::DUALCAST | opcode::CR_DELTA) {
            d.op_specific[0] = FAR[2];
        }
        lab.refuses(&d, status::BAD_SIZE).map(drop)
    });
    Some(case.needing(&[Need::SizeLimit]))
}

/// Records that cannot be written.
fn records(code: u8) -> [Case; 2] {
    let troubles = Need::Power(Power::Troubles);
    let unreachable = with(code, status::CR_FAULT, "a record on a page that stays absent", "5.8.1", move |lab| {
        let sample = sample(lab, code)?;
        let page = lab.area(Space::Own, 0, 32);
        lab.set_page(page.space, page.addr, Page::Refused)?;
        lab.send(&Descriptor { completion_addr: page.addr, ..sample.d })?;
        lab.set_page(page.space, page.addr, Page::Present)?;
        let trouble = lab.trouble(status::CR_FAULT)?;
        ensure!(trouble.opcode == code && trouble.write, "{trouble:?}");
        ensure!(trouble.addr & !0xfff == page.addr, "{trouble:?} instead of address {:#x}", page.addr);
        // Whether the operation has run is not specified.
        lab.verify_but(&sample.written())
    });
    let misaligned =
        with(code, status::CR_ALIGN, "a record at an address that is no multiple of 32", "5.4", move |lab| {
            let sample = sample(lab, code)?;
            let before = lab.area(Space::Own, 0, 64);
            lab.send(&Descriptor { completion_addr: before.addr + 16, ..sample.d })?;
            let trouble = lab.trouble(status::CR_ALIGN)?;
            ensure!(trouble.opcode == code, "{trouble:?}");
            lab.verify()
        });
    [unreachable.needing(&[troubles, Need::Power(Power::Refused)]), misaligned.needing(&[troubles])]
}

/// Classes that no virtual channel carries: of each operand, and of the record.
fn traffic_classes(code: u8) -> Vec<Case> {
    let queue = Queue::NoTrafficClass;
    let queue_needed = [Need::Power(Power::Queue(queue))];
    let record = with(code, status::BAD_TRAFFIC_CLASS, "a record of a class without a channel", "5.4", move |lab| {
        let sample = sample(lab, code)?;
        lab.submit(queue, &flagged(sample.d, flag::CR_TC, 0))?;
        lab.settle();
        let trouble = lab.trouble(status::BAD_TRAFFIC_CLASS)?;
        ensure!(trouble.opcode == code, "{trouble:?}");
        ensure!(lab.look(sample.d.completion_addr).status == 0, "a record is written");
        lab.verify()
    });
    let mut cases = vec![record.needing(&queue_needed).needing(&[Need::Power(Power::Troubles)])];
    let selectors = class_selectors(code);
    if !selectors.is_empty() {
        cases.push(
            with(code, status::BAD_TRAFFIC_CLASS, "each operand of a class without a channel", "5.4", move |lab| {
                let sample = sample(lab, code)?;
                for selector in &selectors {
                    let d = flagged(sample.d, *selector, 0);
                    let refused = lab.refuses_on(queue, &d, status::BAD_TRAFFIC_CLASS);
                    refused.map_err(|failure| failure.at(&format!("flag {selector:#x}")))?;
                }
                // The other class of the group is carried.
                let record = lab.run_on(queue, &sample.d)?;
                sample.check_success(&record, 0)?;
                sample.expect_all(lab);
                lab.verify()
            })
            .needing(&queue_needed),
        );
    }
    cases
}

fn unrequested_handle() -> Case {
    with(opcode::NOP, status::BAD_INT_HANDLE, "a handle without a request", "5.5", |lab| {
        let d = Descriptor { int_handle: 1, ..lab.descriptor(opcode::NOP, 0) };
        let record = lab.run(&d)?;
        // A field that is reserved without the request; and no handle that is valid. Either may be found first.
        let code = record.status;
        ensure!(matches!(code, status::BAD_INT_HANDLE | status::RESERVED_FIELD), "status {code:#04x}");
        Ok(())
    })
    .needing(&[Need::ReservedBytes, Need::NoInterrupts])
}

fn unassigned() -> Case {
    with(opcode::NOP, status::BAD_OPCODE, "codes that are not assigned", "table 8-2", |lab| {
        for code in (0..=u8::MAX).filter(|code| !opcode::ALL.contains(code)) {
            let d = lab.descriptor(code, 0);
            lab.refuses(&d, status::BAD_OPCODE)?;
        }
        Ok(())
    })
}

fn record_without_address() -> Case {
    with(opcode::NOP, status::BAD_FLAGS, "a record requested without an address", "table 5-4", |lab| {
        let d = flagged(lab.descriptor(opcode::NOP, 0), 0, flag::CRAV);
        lab.send(&d)?;
        let trouble = lab.trouble(status::BAD_FLAGS)?;
        ensure!(trouble.opcode == opcode::NOP, "{trouble:?}");
        ensure!(lab.look(d.completion_addr).status == 0, "a record is written");
        Ok(())
    })
    .needing(&[Need::Power(Power::Troubles)])
}

/// The capability that lets moves overlap.
pub(crate) const OVERLAPPING: u64 = gencap::OVERLAPPING_COPY;
