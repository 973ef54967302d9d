//! Operands in the memory of another PASID, and the update of a window (specification sections 3.14, 5.6 and 8.3.27).
//!
//! Every access of an operation goes through [`Op::translate`]. An operand that is reached through an entry of the
//! permissions table has a [`Domain`], which says whose accesses these are and where its window lies. The window is looked
//! at when the descriptor begins, and again at every access, so that no operation can forget it.

use idxd_sys::{Descriptor, flag, idpt, opcode, status};

use super::typed::Fields;
use super::{CompletionRecord, Op, Operand, Outcome, Round, record};
use crate::memory::{Access, PageFault, Requester, Space, Span};
use crate::numeric;
use crate::permissions::{HANDLES, LINE, PermissionEntry, Permissions, Window};

/// How an operand is reached that is not in the descriptor's own memory.
#[derive(Clone, Copy, Debug)]
struct Domain {
    handle: u16,
    by: Requester,
    window: Option<(u64, u64)>,
    /// Addresses are offsets from the base of the window.
    offset: bool,
}

impl Domain {
    fn base(&self) -> u64 {
        match self.window {
            Some((base, _)) if self.offset => base,
            _ => 0,
        }
    }

    /// Whether `len` bytes at an address of the descriptor lie in the window.
    fn reaches(&self, addr: u64, len: u64) -> bool {
        let Some((base, size)) = self.window else { return true };
        let start = if self.offset { Some(addr) } else { addr.checked_sub(base) };
        start.is_some_and(|start| start < size && len <= size - start)
    }
}

/// The domains of a descriptor's operands. As long as it lives, the engine stays in them.
#[derive(Default)]
pub(super) struct Domains<'x> {
    /// By operand: sources, then destinations.
    of: [Option<Domain>; 4],
    stay: Option<Stay<'x>>,
}

/// Ends when it is dropped, also by a panic.
struct Stay<'x> {
    permissions: &'x Permissions,
    engine: usize,
}

impl Drop for Stay<'_> {
    fn drop(&mut self) {
        self.permissions.leave(self.engine);
    }
}

/// The operands that can have a domain, in the order in which they are checked.
const OPERANDS: [Operand; 4] = [Operand::Source, Operand::Source2, Operand::Destination, Operand::Destination2];

impl Domains<'_> {
    #[inline]
    fn of(&self, operand: Operand) -> Option<&Domain> {
        self.of.get((operand as usize).wrapping_sub(1))?.as_ref()
    }

    /// Whether the address of a fault on an operand is not for the descriptor's submitter to see.
    pub(super) fn hides(&self, operand: Operand) -> bool {
        self.of(operand).is_some_and(|domain| domain.offset)
    }

    /// The handle through which an operand is reached.
    pub(super) fn handle(&self, operand: Operand) -> Option<u16> {
        self.of(operand).map(|domain| domain.handle)
    }

    /// Whether bytes of an operand lie in its window.
    pub(super) fn reaches(&self, operand: Operand, addr: u64, len: u64) -> bool {
        self.of(operand).is_none_or(|domain| domain.reaches(addr, len))
    }

    /// The handle that the report of an error names, out of the operand of a fault and the record that nobody sees.
    pub(super) fn reported(&self, code: u8, operand: u8, ended: Option<&CompletionRecord>) -> Option<u16> {
        match code {
            status::PAGE_FAULT | status::PAGE_RESPONSE => {
                OPERANDS.into_iter().find(|of| *of as u8 == operand).and_then(|of| self.handle(of))
            }
            status::IDPT_HANDLE..=status::IDPT_UPDATE | status::DOMAIN_GONE => {
                ended.map(|ended| ended.op_specific[0] as u16)
            }
            _ => None,
        }
    }

    /// The record for an operand that was refused.
    pub(super) fn refusal(&self, operand: Operand, code: u8) -> CompletionRecord {
        refusal(code, self.handle(operand).unwrap_or(0))
    }
}

fn refusal(code: u8, handle: u16) -> CompletionRecord {
    CompletionRecord { op_specific: [u64::from(handle), 0], ..record(code) }
}

impl Op<'_, '_> {
    /// A span of an operand, through its domain. Faults have addresses as the descriptor has them.
    #[inline]
    pub(super) fn translate(
        &mut self,
        operand: Operand,
        addr: u64,
        len: u64,
        access: Access,
    ) -> Result<Span, PageFault> {
        let Some(domain) = self.domains.of(operand) else {
            return self.x.round.translate(self.x.requester, operand, addr, len, access);
        };
        if !domain.reaches(addr, len) {
            return Err(PageFault { addr });
        }
        let base = domain.base();
        let span = self.x.round.translate(domain.by, operand, base.wrapping_add(addr), len, access);
        span.map_err(|page| PageFault { addr: page.addr.wrapping_sub(base) })
    }

    /// Asks for a page of an operand, through its domain.
    pub(super) fn resolve(&self, operand: Operand, addr: u64, access: Access, stop: &dyn Fn() -> bool) -> bool {
        let space = &self.x.shared.space;
        match self.domains.of(operand) {
            None => space.resolve(self.x.requester, addr, access, stop),
            Some(domain) => {
                domain.reaches(addr, 1) && space.resolve(domain.by, domain.base().wrapping_add(addr), access, stop)
            }
        }
    }

    /// Looks up what the descriptor's handles name, and checks it (section 5.6). The error is the record it ends with.
    pub(super) fn enter_domains(&mut self) -> Result<(), CompletionRecord> {
        let handles = Fields(self.d).handles();
        if handles == [None; 4] {
            return Ok(());
        }
        let permissions = &self.x.shared.permissions;
        let engine = self.x.engine;
        let named: [Option<u16>; HANDLES] = {
            let first = handles.into_iter().flatten().next();
            [first, handles.into_iter().flatten().find(|handle| Some(*handle) != first)]
        };
        let entries = permissions.enter(engine, named);
        self.domains.stay = Some(Stay { permissions, engine });
        self.x.in_domains = true;
        for (i, handle) in handles.into_iter().enumerate() {
            let Some(handle) = handle else { continue };
            let entry = entries[usize::from(Some(handle) != named[0])];
            let domain = self.admit(entry, i).map_err(|code| refusal(code, handle))?;
            self.domains.of[i] = Some(Domain { handle, ..domain });
        }
        Ok(())
    }

    /// The domain of an operand behind an entry, or the status for an entry that does not allow it.
    fn admit(&self, entry: Option<PermissionEntry>, operand: usize) -> Result<Domain, u8> {
        let permissions = &self.x.shared.permissions;
        let usable = |entry: &PermissionEntry| entry.is_valid(permissions.offered()) && entry.has(idpt::USABLE);
        let entry = entry.filter(usable).ok_or(status::IDPT_HANDLE)?;
        let access =
            if matches!(OPERANDS[operand], Operand::Source | Operand::Source2) { Access::Read } else { Access::Write };
        if !entry.permits(access) {
            return Err(status::IDPT_PERMISSION);
        }
        let admitted = match (self.x.requester.pasid, entry.bitmap()) {
            (None, _) => false,
            (Some(pasid), None) => pasid == entry.submitter(),
            (Some(pasid), Some(bitmap)) => self.is_in_bitmap(bitmap, pasid),
        };
        if !admitted {
            return Err(status::IDPT_HANDLE);
        }
        let domain = Domain {
            handle: 0,
            by: entry.requester(self.x.requester),
            window: entry.window_bounds(),
            offset: entry.has(idpt::WINDOW_OFFSET),
        };
        let (addr, len) = Fields(self.d).ranges()[operand];
        // Each buffer of a list is checked on its own, when the list has been read.
        if len != 0 && !domain.reaches(addr, len) {
            return Err(status::IDPT_WINDOW);
        }
        if domain.base().is_multiple_of(element_size(self.d, access)) { Ok(domain) } else { Err(status::ADDR_ALIGN) }
    }

    /// Whether the bit of a PASID is 1. What cannot be read counts as 0.
    fn is_in_bitmap(&self, bitmap: u64, pasid: u32) -> bool {
        let permissions = &self.x.shared.permissions;
        let Some(addr) = bitmap.checked_add(u64::from(pasid / 8)) else { return false };
        let line = addr & !(LINE - 1);
        let bytes = match permissions.line(line) {
            Ok(bytes) => bytes,
            Err(version) => {
                let Some(bytes) = read_line(&self.x.shared.space, permissions.bitmap_requester(), line) else {
                    return false;
                };
                permissions.remember(line, bytes, version);
                bytes
            }
        };
        bytes[(addr - line) as usize] >> (pasid % 8) & 1 != 0
    }

    /// What an operation ends with: a stop that only a domain is the reason of has a record (section 5.8, status 0x2e).
    pub(super) fn settle(&mut self, ended: Outcome) -> Outcome {
        if !std::mem::take(&mut self.x.in_domains) {
            return ended;
        }
        let stopped = ended.is_err() || self.stopped;
        let Some(pasid) = self.x.shared.permissions.must_leave(self.x.engine) else { return ended };
        if !stopped || self.x.stops() {
            return ended;
        }
        self.stopped = false;
        let gone = |domain: &&Domain| domain.by.pasid == Some(pasid);
        let handle = self.domains.of.iter().flatten().find(gone).map_or(0, |domain| domain.handle);
        Ok(refusal(status::DOMAIN_GONE, handle))
    }

    /// Update window: changes it, then waits for descriptors that use what it was before.
    pub(super) fn update_window(&mut self) -> Outcome {
        let handle = self.d.op_u16(62);
        let permissions = &self.x.shared.permissions;
        let window = Window { flags: self.d.op_u8(61), base: self.d.src_addr, size: self.d.dst_addr };
        let owner = self.x.requester.pasid;
        let Some(update) = owner.and_then(|owner| permissions.update(handle, owner, &window)) else {
            return Ok(refusal(status::IDPT_UPDATE, handle));
        };
        let mut rounds = 0u32;
        while !self.flag(flag::SUPPRESS_DRAIN) && !permissions.is_settled(&update, self.x.engine) {
            self.x.check_stop()?;
            rounds = rounds.saturating_add(1);
            if rounds < 100 { std::hint::spin_loop() } else { std::thread::yield_now() }
        }
        // What it waited for may have ended because everything does.
        self.x.check_stop()?;
        Ok(record(status::SUCCESS))
    }
}

/// To what a base of offsets must be aligned: the size of the elements of a typed operation.
fn element_size(d: &Descriptor, access: Access) -> u64 {
    match d.opcode() {
        opcode::TYPE_CONV | opcode::REDUCE | opcode::REDUCE_DUALCAST => {
            let fields = Fields(d);
            let code = if access == Access::Read { fields.input_type() } else { fields.output_type() };
            numeric::size(code).max(1)
        }
        _ => 1,
    }
}

/// Reads a line of a bitmap, without page requests.
fn read_line(space: &Space, by: Requester, addr: u64) -> Option<[u8; LINE as usize]> {
    let mut bytes = [0; LINE as usize];
    let mut done = 0;
    let mut round = Round::new(space);
    while done < bytes.len() {
        let left = (bytes.len() - done) as u64;
        let span = round.translate(by, Operand::Source, addr + done as u64, left, Access::Read).ok()?;
        // SAFETY: the whole of a span for reading; it is not longer than the rest of `bytes`.
        unsafe { space.load(span.ptr, &mut bytes[done..done + span.len]) };
        done += span.len;
    }
    Some(bytes)
}
