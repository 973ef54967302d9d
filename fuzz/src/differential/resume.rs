//! An operation on a device, with faults, and what is left of it, until it is done.

use dsa::descriptor::{NumericExceptions, Resume};
use dsa_emulator::memory::PAGE_SIZE;
use dsa_emulator::{Access, Effect, FaultRule};
use idxd_sys::{CompletionRecord, Descriptor, flag, opcode, status};

use super::case::Trouble;
use super::world::{Extent, Machine, Room, Space, World};
use crate::oracle::Answer;

/// What was seen of an operation.
pub(super) struct Observed {
    /// What its records say together; `None` without a record.
    pub(super) answer: Option<Answer>,
    /// It ended with the hardware error that was asked for.
    pub(super) is_hardware_error: bool,
    /// The statuses of its records.
    pub(super) statuses: Vec<u8>,
}

/// Addresses at which a fault may be reported, and whether page requests for them are granted.
struct Faults {
    ranges: Vec<Room>,
    resolvable: bool,
}

impl Faults {
    fn of(trouble: Trouble, extent: Extent, space: Space) -> Self {
        let own = extent.own();
        match trouble {
            Trouble::Absent { pages, resolvable } if space == Space::Checked => {
                let is_absent = |page: &u64| pages >> (page % 8) & 1 == 1;
                let page = |page: u64| Room { base: own.base + page * PAGE_SIZE, len: PAGE_SIZE };
                Self { ranges: (0..own.len / PAGE_SIZE).filter(is_absent).map(page).collect(), resolvable }
            }
            Trouble::Fault { at, len, resolvable, .. } => {
                // All of the arena, the part behind handles included, but no record.
                let base = extent.base() + u64::from(at) * 16 % (extent.len() - 256);
                Self { ranges: vec![Room { base, len: 1 + u64::from(len) }], resolvable }
            }
            _ => Self { ranges: Vec::new(), resolvable: true },
        }
    }

    fn contain(&self, address: u64, is_masked: bool) -> bool {
        self.ranges.iter().any(|Room { base, len }| {
            let (first, last) = (*base, base + (len - 1));
            if is_masked {
                (first & !(PAGE_SIZE - 1)..=last & !(PAGE_SIZE - 1)).contains(&address)
            } else {
                (first..=last).contains(&address)
            }
        })
    }
}

/// Runs a descriptor and its continuations. `expected` decides nothing but which restarts are harmless.
///
/// # Safety
///
/// With trusted memory all that the descriptor names lies in the world's buffer.
pub(super) unsafe fn run(
    world: &World,
    machine: &Machine,
    d: &Descriptor,
    expected: Answer,
    trouble: Trouble,
) -> Result<Observed, String> {
    // A damaged delta record is not found damaged if a fault has cut it at that place.
    let is_damaged = matches!(expected.status, status::DELTA_OFFSET_ORDER | status::DELTA_OFFSET_RANGE);
    let trouble = if is_damaged { Trouble::None } else { trouble };
    let faults = Faults::of(trouble, world.extent, machine.space);
    let is_absent = matches!(trouble, Trouble::Absent { .. });
    if is_absent {
        let own = world.extent.own();
        world.checked().set_resolvable(own.base, own.len, faults.resolvable).map_err(|error| error.to_string())?;
        for page in &faults.ranges {
            world.checked().set_present(page.base, page.len, false).map_err(|error| error.to_string())?;
        }
    }
    let rule = match trouble {
        Trouble::Fault { write, resolvable, .. } => {
            let Room { base, len } = faults.ranges[0];
            let mut rule = FaultRule::new(Effect::PageFault { resolvable }).at(base..base + len).limit(1);
            if let Some(write) = write {
                rule = rule.access(if write { Access::Write } else { Access::Read });
            }
            Some(machine.device.inject(rule))
        }
        Trouble::Hardware(code) => Some(machine.device.inject(FaultRule::new(Effect::HardwareError(code)))),
        _ => None,
    };
    // SAFETY: the caller vouches for the descriptor; continuations name parts of what it names.
    let observed = unsafe { to_the_end(world, machine, d, trouble, &faults) };
    if let Some(rule) = rule {
        machine.device.remove(rule);
    }
    if is_absent {
        let own = world.extent.own();
        world.checked().set_present(own.base, own.len, true).map_err(|error| error.to_string())?;
    }
    observed
}

/// # Safety
///
/// As for [`run`].
unsafe fn to_the_end(
    world: &World,
    machine: &Machine,
    sent: &Descriptor,
    trouble: Trouble,
    faults: &Faults,
) -> Result<Observed, String> {
    let mut d = *sent;
    let (mut advanced, mut exceptions) = (0, 0);
    let mut statuses = Vec::new();
    let blocks = d.flags() & flag::BLOCK_ON_FAULT != 0;
    for _ in 0..faults.ranges.len() + 2 {
        world.write_control(machine.space, world.extent.record(0), &[0; 32]);
        // SAFETY: the caller vouches for it.
        unsafe { machine.submit(&d) }?;
        let Some(record) = world.record(machine.space, 0) else {
            if d.flags() & flag::RCR != 0 {
                return Err("no record".into());
            }
            statuses.push(status::SUCCESS);
            return Ok(Observed { answer: None, is_hardware_error: false, statuses });
        };
        let code = record.status & status::CODE_MASK;
        statuses.push(code);
        if let Trouble::Hardware(expected) = trouble {
            if record.status != expected {
                return Err(format!("not the hardware error {expected:#x}, but {record:x?}"));
            }
            return Ok(Observed { answer: None, is_hardware_error: true, statuses });
        }
        match Resume::plan(&d, &record, &machine.caps) {
            Resume::Continue(rest) => {
                check_fault(machine, &record, faults, blocks)?;
                let page = record.fault_addr & !(PAGE_SIZE - 1);
                if matches!(trouble, Trouble::Absent { .. }) && machine.space == Space::Checked {
                    world.checked().set_present(page, PAGE_SIZE, true).map_err(|error| error.to_string())?;
                }
                if is_typed(d.opcode()) && d.opcode() != opcode::GATHER_REDUCE {
                    exceptions |= record.result;
                }
                advanced += rest.advanced;
                d = rest.descriptor;
            }
            Resume::Complete(completion) => {
                if completion.status.code() != code {
                    // A fault behind the last byte.
                    check_fault(machine, &record, faults, blocks)?;
                }
                let found = CompletionRecord {
                    status: completion.status.code(),
                    result: completion.result,
                    bytes_completed: completion.bytes_completed,
                    ..record
                };
                return Ok(Observed {
                    answer: Some(total(sent, &found, advanced, exceptions)),
                    is_hardware_error: false,
                    statuses,
                });
            }
            Resume::Fail(_) => {
                return Ok(Observed {
                    answer: Some(total(sent, &record, advanced, exceptions)),
                    is_hardware_error: false,
                    statuses,
                });
            }
            other => return Err(format!("{other:?} for {record:x?}")),
        }
    }
    Err(format!("it does not come to an end: {statuses:x?}"))
}

fn check_fault(machine: &Machine, record: &CompletionRecord, faults: &Faults, blocks: bool) -> Result<(), String> {
    let code = record.status & status::CODE_MASK;
    let expected = if blocks { status::PAGE_RESPONSE } else { status::PAGE_FAULT };
    if code != expected || blocks && faults.resolvable {
        return Err(format!("a fault that should not be: {record:x?}"));
    }
    if !faults.contain(record.fault_addr, machine.masks_addresses) {
        return Err(format!("a fault where none is: {record:x?}"));
    }
    Ok(())
}

fn is_typed(code: u8) -> bool {
    matches!(code, opcode::TYPE_CONV | opcode::REDUCE | opcode::REDUCE_DUALCAST | opcode::GATHER_REDUCE)
}

/// What the last record and those before it say together.
fn total(sent: &Descriptor, last: &CompletionRecord, advanced: u32, exceptions: u8) -> Answer {
    let mut found = answer(sent, last);
    let is_success = matches!(found.status, status::SUCCESS | status::SUCCESS_FALSE);
    if is_typed(sent.opcode()) && is_success {
        found.result |= exceptions & NumericExceptions::all().bits();
        let is_false = sent.flags() & flag::CHECK_RESULT != 0 && found.result != 0;
        found.status = if is_false { status::SUCCESS_FALSE } else { status::SUCCESS };
    }
    let is_compare = matches!(
        sent.opcode(),
        opcode::COMPARE | opcode::COMPVAL | opcode::INTER_DOMAIN_COMPARE | opcode::INTER_DOMAIN_COMPVAL
    );
    if is_compare && found.result == 1 || found.status == status::DIF_ERROR {
        found.completed += advanced;
    }
    found
}

/// The fields of a record that mean something for its operation and status.
pub(super) fn answer(d: &Descriptor, record: &CompletionRecord) -> Answer {
    let code = record.status & status::CODE_MASK;
    let is_success = matches!(code, status::SUCCESS | status::SUCCESS_FALSE);
    let [first, second] = record.op_specific;
    let (result, words) = match d.opcode() {
        opcode::COMPARE | opcode::COMPVAL | opcode::INTER_DOMAIN_COMPARE | opcode::INTER_DOMAIN_COMPVAL => {
            (record.result, [0; 2])
        }
        opcode::CRCGEN | opcode::COPY_CRC => (0, [first, 0]),
        opcode::CR_DELTA => (record.result, [first & u64::from(u32::MAX), 0]),
        opcode::DIF_CHECK..=opcode::DIF_UPDT | opcode::DIX_GEN if is_success => (0, [first, second]),
        opcode::DIF_CHECK..=opcode::DIF_UPDT => (record.result, [0; 2]),
        code if is_typed(code) => (record.result, [0; 2]),
        _ => (0, [0; 2]),
    };
    Answer { status: code, result, completed: record.bytes_completed, words }
}
