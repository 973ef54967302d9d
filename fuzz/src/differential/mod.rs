//! Differential testing: each operation runs on the device model, with checked and with trusted memory, on the CPU engine,
//! and on the oracle. All of them must leave the same bytes everywhere, and report the same.
//!
//! An operation that a page fault ends is resumed with [`Resume::plan`](dsa::descriptor::Resume::plan), until it is done.

mod build;
mod case;
mod cpu;
mod prepare;
mod resume;
mod world;

use std::collections::BTreeMap;
use std::fmt::Debug;

use dsa::descriptor::{Batch, Position, Resume, validate};
use idxd_sys::{Descriptor, flag, idpt, opcode, status};

use self::build::Target;
pub use self::case::{Call, Case, MOST_CALLS, Operation, Trouble, Work};
use self::resume::Observed;
use self::world::{Machine, Space, World, updated_entry};
use crate::oracle::{self, Answer, Memory, Nothing};
use crate::random::Random;

/// What has been done so far.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    /// Operations that ran everywhere, by opcode.
    pub operations: BTreeMap<u8, u64>,
    /// Statuses that devices reported, faults on the way included.
    pub statuses: BTreeMap<u8, u64>,
    /// Operations that went on after a fault, on a device.
    pub resumed: u64,
    /// Batches.
    pub batches: u64,
    /// Calls that the builders refused: no room, overlaps, no such operation.
    pub refused: u64,
    /// Operations whose outcome is not defined, or that would leave the memory.
    pub undefined: u64,
}

impl Totals {
    /// All operations.
    pub fn count(&self) -> u64 {
        self.operations.values().sum()
    }

    /// Adds others.
    pub fn add(&mut self, other: &Self) {
        for (code, count) in &other.operations {
            *self.operations.entry(*code).or_default() += count;
        }
        for (code, count) in &other.statuses {
            *self.statuses.entry(*code).or_default() += count;
        }
        self.resumed += other.resumed;
        self.batches += other.batches;
        self.refused += other.refused;
        self.undefined += other.undefined;
    }
}

/// Runs cases, one after another; none depends on those before it.
pub struct Runner {
    world: World,
    /// What the arena begins with.
    background: Vec<u8>,
    /// What has been done so far.
    pub totals: Totals,
}

impl Runner {
    /// A runner with an arena of some pages, and some more of another PASID. At least two and one.
    pub fn new(own_pages: u64, other_pages: u64) -> Self {
        let world = World::new(own_pages.max(2), other_pages.max(1));
        let mut background = vec![0; world.extent.len() as usize];
        Random::new(0).fill(&mut background);
        Self { world, background, totals: Totals::default() }
    }

    /// Runs a case. An error describes the difference.
    pub fn run(&mut self, case: &Case) -> Result<(), String> {
        let mut random = Random::new(case.seed);
        let windows = vec![0, 0, self.world.extent.other().base];
        let mut memory = Memory { base: self.world.extent.base(), bytes: self.background.clone(), windows };
        match &case.work {
            Work::Single(call, trouble) => self.single(case, call, *trouble, &mut memory, &mut random),
            Work::Batch(calls, fences) => self.batch(case, calls, *fences, &mut memory, &mut random),
        }
        .map_err(|difference| format!("{difference}\nin {case:#x?}"))
    }

    fn generation(case: &Case, operation: Operation) -> usize {
        let least = match operation {
            Operation::Convert { .. }
            | Operation::Reduce { .. }
            | Operation::ReduceDualcast { .. }
            | Operation::GatherReduce { .. }
            | Operation::GatherCopy { .. }
            | Operation::ScatterCopy { .. }
            | Operation::ScatterFill { .. } => 2,
            Operation::CreateDelta { .. }
            | Operation::ApplyDelta { .. }
            | Operation::Fetch { .. }
            | Operation::InterDomainCopy { .. }
            | Operation::InterDomainFill { .. }
            | Operation::InterDomainCompare { .. }
            | Operation::InterDomainComparePattern { .. }
            | Operation::UpdateWindow { .. } => 1,
            Operation::Dif(dif) if dif.kind == case::DifKind::Generate => 1,
            _ => 0,
        };
        least.max(usize::from(case.generation % 3))
    }

    fn single(
        &mut self,
        case: &Case,
        call: &Call,
        trouble: Trouble,
        memory: &mut Memory,
        random: &mut Random,
    ) -> Result<(), String> {
        let extent = self.world.extent;
        let machines = self.world.machines(Self::generation(case, call.operation), case.is_odd);
        let target = Target { caps: &machines[0].caps, extent, record: extent.record(0), member: None };
        let Some(Ok(d)) = build::build(call, target) else {
            self.totals.refused += 1;
            return Ok(());
        };
        if prepare::prepare(memory, call, &d, extent, random).is_err() {
            self.totals.undefined += 1;
            return Ok(());
        }
        let before = memory.bytes.clone();
        // First the oracle, which finds out whether the operation stays in the arena.
        let answer = match oracle::execute(memory, &d) {
            Ok(answer) => answer,
            Err(Nothing::Outside | Nothing::Undefined) => {
                self.totals.undefined += 1;
                return Ok(());
            }
        };
        validate(&d, &machines[0].caps, Position::Queue).map_err(|error| format!("built, but {error}: {d:#x?}"))?;
        for machine in machines {
            self.world.load(machine.space, &before);
            self.world.write_control(machine.space, extent.record(0), &[0; 32]);
            // SAFETY: the oracle has stayed in the arena; records and lists lie behind it.
            let observed = unsafe { resume::run(&self.world, machine, &d, answer, trouble) };
            let observed =
                observed.map_err(|what| format!("{what}, on a device with {:?} memory: {d:#x?}", machine.space))?;
            let after = if observed.is_hardware_error { &before } else { &memory.bytes };
            compare_bytes(&self.world, machine.space, after, &"the device")?;
            check_update(machine, &d, observed.is_hardware_error)?;
            if let Some(found) = observed.answer {
                compare_answers(found, answer, &d, machine)?;
            }
            count(&mut self.totals, &observed);
            if d.opcode() == opcode::UPDATE_WINDOW {
                machine.set_entries(extent);
            }
        }
        self.on_cpu(&d, &before, memory, answer)?;
        *self.totals.operations.entry(d.opcode()).or_default() += 1;
        Ok(())
    }

    /// The same on the CPU engine.
    fn on_cpu(&self, d: &Descriptor, before: &[u8], memory: &Memory, answer: Answer) -> Result<(), String> {
        let plain = memory.without_handles(d).map_err(|_| "a handle without an entry")?;
        self.world.load(Space::Trusted, before);
        // SAFETY: as for the devices; nothing else runs.
        let Some(found) = (unsafe { cpu::execute(&plain) }) else { return Ok(()) };
        if found != answer {
            return Err(format!("the CPU engine says {found:x?}, not {answer:x?}: {d:#x?}"));
        }
        compare_bytes(&self.world, Space::Trusted, &memory.bytes, &"the CPU engine")
    }

    fn batch(
        &mut self,
        case: &Case,
        calls: &[Call],
        fences: u8,
        memory: &mut Memory,
        random: &mut Random,
    ) -> Result<(), String> {
        let extent = self.world.extent;
        let machines = self.world.machines(2, case.is_odd);
        let (mut members, mut lists) = (Vec::new(), Vec::new());
        for call in calls.iter().take(MOST_CALLS) {
            let slot = members.len();
            let fence = Some(fences >> slot & 1 == 1);
            let target = Target { caps: &machines[0].caps, extent, record: extent.record(slot), member: fence };
            match build::build(call, target) {
                Some(Ok(d)) if prepare::prepare(memory, call, &d, extent, random).is_ok() => {
                    lists.push(oracle::list_of(&d).and_then(|(at, len)| memory.get(at, len).ok()));
                    members.push(d);
                }
                _ => self.totals.refused += 1,
            }
        }
        let batch = Batch::new(extent.list(), members.len() as u32).record(extent.record(MOST_CALLS));
        let Ok(batch) = batch.build(&machines[0].caps) else { return Ok(()) };
        let before = memory.bytes.clone();
        let mut answers = Vec::new();
        let mut failed = false;
        for (d, list) in members.iter().zip(&lists) {
            if failed && d.flags() & flag::FENCE != 0 {
                break;
            }
            // What was made for another member may have written over a list, which then leads anywhere.
            let now = oracle::list_of(d).and_then(|(at, len)| memory.get(at, len).ok());
            let answer = if now == *list { oracle::execute(memory, d) } else { Err(Nothing::Outside) };
            let Ok(answer) = answer else {
                self.totals.undefined += 1;
                return Ok(());
            };
            failed |= answer.status != status::SUCCESS;
            answers.push(answer);
        }
        for machine in machines {
            let space = machine.space;
            self.world.load(space, &before);
            self.world.write_control(space, extent.record(0), &[0; 32 * (MOST_CALLS + 1)]);
            self.world.write_list(space, &members);
            // SAFETY: the oracle has stayed in the arena, with all members.
            unsafe { machine.submit(&batch) }?;
            compare_bytes(&self.world, space, &memory.bytes, &"the batch")?;
            let record = self.world.record(space, MOST_CALLS).ok_or("the batch has no record")?;
            let code = if failed { status::BATCH_FAIL } else { status::SUCCESS };
            if (record.status, record.bytes_completed as usize) != (code, answers.len()) {
                return Err(format!("{record:x?} for {answers:x?} of {members:#x?}"));
            }
            for (slot, d) in members.iter().enumerate() {
                let Some(answer) = answers.get(slot) else {
                    if let Some(record) = self.world.record(space, slot) {
                        return Err(format!("an abandoned member has a record: {record:x?}"));
                    }
                    continue;
                };
                let Some(record) = self.world.record(space, slot) else {
                    let quiet = matches!(answer.status, status::SUCCESS | status::SUCCESS_FALSE);
                    if quiet && d.flags() & flag::RCR == 0 {
                        continue;
                    }
                    return Err(format!("no record, but {answer:x?}: {d:#x?}"));
                };
                let found = match Resume::plan(d, &record, &machine.caps) {
                    Resume::Complete(_) | Resume::Fail(_) => resume::answer(d, &record),
                    other => return Err(format!("{other:?} for a member: {record:x?}, {d:#x?}")),
                };
                compare_answers(found, *answer, d, machine)?;
            }
        }
        for (d, answer) in members.iter().zip(&answers) {
            *self.totals.operations.entry(d.opcode()).or_default() += 1;
            *self.totals.statuses.entry(answer.status).or_default() += 2;
        }
        self.totals.batches += 1;
        Ok(())
    }
}

fn count(totals: &mut Totals, observed: &Observed) {
    for code in &observed.statuses {
        *totals.statuses.entry(*code).or_default() += 1;
    }
    totals.resumed += u64::from(observed.statuses.len() > 1);
}

fn compare_bytes(world: &World, space: Space, expected: &[u8], who: &dyn Debug) -> Result<(), String> {
    let mut found = vec![0; expected.len()];
    world.store(space, &mut found);
    match (0..found.len()).find(|at| found[*at] != expected[*at]) {
        None => Ok(()),
        Some(at) => Err(format!(
            "byte {at:#x} of the arena at {:#x} is {:#04x}, not {:#04x}, after {who:?} with {space:?} memory",
            world.extent.base(),
            found[at],
            expected[at]
        )),
    }
}

/// A device that was not interrupted says of a pattern that differs only in which group of 8 bytes.
fn compare_answers(found: Answer, expected: Answer, d: &Descriptor, machine: &Machine) -> Result<(), String> {
    let is_bound = matches!(d.opcode(), opcode::COMPVAL | opcode::INTER_DOMAIN_COMPVAL) && expected.result == 1;
    let expected_here = if is_bound { Answer { completed: found.completed, ..expected } } else { expected };
    let is_near = !is_bound || found.completed <= expected.completed && expected.completed - found.completed < 8;
    if found == expected_here && is_near {
        return Ok(());
    }
    Err(format!("the device with {:?} memory says {found:x?}, not {expected:x?}: {d:#x?}", machine.space))
}

/// The entry of the permissions table that an update window has changed, by the text of section 8.3.27.
fn check_update(machine: &Machine, d: &Descriptor, is_hardware_error: bool) -> Result<(), String> {
    if d.opcode() != opcode::UPDATE_WINDOW {
        return Ok(());
    }
    let [mut word, ..] = updated_entry().words();
    let flags = d.op_u8(61);
    if !is_hardware_error {
        let all = idpt::READ | idpt::WRITE | idpt::WINDOW_ENABLE | idpt::WINDOW_OFFSET;
        word &= !all;
        for (bit, to) in [(0, idpt::READ), (1, idpt::WRITE), (2, idpt::WINDOW_ENABLE), (3, idpt::WINDOW_OFFSET)] {
            if flags >> bit & 1 == 1 {
                word |= to;
            }
        }
    }
    let expected = if is_hardware_error { [word, 0, 0, 0] } else { [word, d.src_addr, d.dst_addr, 0] };
    if machine.updated_words() == Some(expected) {
        return Ok(());
    }
    Err(format!("the entry is {:x?}, not {expected:x?}, after {d:#x?}", machine.updated_words()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases_of_a_seed_agree_and_reach_every_operation() {
        let (mut small, mut large) = (Runner::new(4, 2), Runner::new(48, 16));
        for index in 0..6000 {
            let runner = if index % 100 == 0 { &mut large } else { &mut small };
            runner.run(&Case::of(7, index)).unwrap_or_else(|difference| panic!("case {index}: {difference}"));
        }
        let mut totals = small.totals;
        totals.add(&large.totals);
        for code in opcode::ALL.iter().filter(|code| **code != opcode::BATCH) {
            assert!(totals.operations.get(code).is_some_and(|count| *count > 5), "{code:#x}: {totals:?}");
        }
        let partial = [status::PAGE_FAULT, status::PAGE_RESPONSE, status::DIF_ERROR, status::DELTA_OFFSET_RANGE];
        assert!(partial.iter().all(|code| totals.statuses.contains_key(code)), "{totals:?}");
        assert!(totals.batches > 50 && totals.resumed > 50, "{totals:?}");
    }
}
