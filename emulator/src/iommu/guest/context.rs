//! From a requester to its page tables: root, context, PASID directory, PASID entry (VT-d sections 9.1 to 9.6).

use super::walk::{Domain, FirstLevel, SecondLevel};
use super::{IommuRegisters, TranslationFault as Fault};
use crate::memory::{GuestRam, Requester};

/// Bits 51:12, where entries hold an address.
pub(super) const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

const PRESENT: u64 = 1;
/// RTADDR bits 11:10: the mode.
const MODE_LEGACY: u64 = 0;
const MODE_SCALABLE: u64 = 1;
/// Scalable context entry: PASIDs are enabled.
const PASID_ENABLE: u64 = 1 << 3;
/// PASIDs that one table of 64-byte entries covers.
const PASIDS_PER_TABLE: u64 = 64;

/// Types of translation of a PASID entry.
const FIRST: u64 = 1;
const SECOND: u64 = 2;
const NESTED: u64 = 3;
const PASS_THROUGH: u64 = 4;

/// The tables that translate for a requester.
pub(super) fn domain(ram: &dyn GuestRam, iommu: IommuRegisters, source: u16, by: Requester) -> Result<Domain, Fault> {
    match iommu.root >> 10 & 3 {
        MODE_LEGACY => legacy(ram, iommu, source, by),
        MODE_SCALABLE => {
            let context = scalable(ram, iommu, source)?;
            let (pasid, privileged) = match by.pasid {
                Some(_) if context[0] & PASID_ENABLE == 0 => return Err(Fault::Pasid),
                Some(pasid) => (pasid, by.privileged),
                None => (context[1] as u32 & 0xf_ffff, context[1] >> 20 & 1 != 0),
            };
            pasid_domain(&pasid_entry(ram, context[0], pasid)?, privileged)
        }
        _ => Err(Fault::Context),
    }
}

/// The PASID whose first-level tables start where a processor's CR3 register says: what the PASID register of that
/// processor holds for ENQCMD, as operating systems keep it. `None` if there is none, or translation is not by PASID.
///
/// With page-table isolation a processor in user mode has bit 12 of CR3 set, and the tables of the IOMMU are the
/// kernel's, where it is clear.
pub fn pasid_of_page_table(ram: &dyn GuestRam, iommu: IommuRegisters, source: u16, cr3: u64) -> Option<u32> {
    if !iommu.enabled || iommu.root >> 10 & 3 != MODE_SCALABLE {
        return None;
    }
    let context = scalable(ram, iommu, source).ok()?[0];
    let table = cr3 & ADDRESS;
    find(ram, context, table).or_else(|| if table & 0x1000 == 0 { None } else { find(ram, context, table & !0x1000) })
}

fn find(ram: &dyn GuestRam, context: u64, table: u64) -> Option<u32> {
    let directory = context & ADDRESS;
    for index in 0..directory_len(context) {
        let Some(entry) = ram.load(directory + 8 * index).filter(|entry| entry & PRESENT != 0) else { continue };
        for slot in 0..PASIDS_PER_TABLE {
            let at = (entry & ADDRESS) + 64 * slot;
            let (Some(low), Some(first)) = (ram.load(at), ram.load(at + 16)) else { break };
            if low & PRESENT != 0 && matches!(low >> 6 & 7, FIRST | NESTED) && first & ADDRESS == table {
                return Some((index * PASIDS_PER_TABLE + slot) as u32);
            }
        }
    }
    None
}

/// Entries of a PASID directory.
fn directory_len(context: u64) -> u64 {
    1 << ((context >> 9 & 7) + 7)
}

fn legacy(ram: &dyn GuestRam, iommu: IommuRegisters, source: u16, by: Requester) -> Result<Domain, Fault> {
    if by.pasid.is_some() {
        return Err(Fault::Pasid);
    }
    let root = ram.load((iommu.root & ADDRESS) + 16 * u64::from(source >> 8)).ok_or(Fault::NoMemory)?;
    let root = present(root, Fault::Context)?;
    let at = (root & ADDRESS) + 16 * u64::from(source & 0xff);
    let low = present(ram.load(at).ok_or(Fault::NoMemory)?, Fault::Context)?;
    let high = ram.load(at + 8).ok_or(Fault::NoMemory)?;
    match low >> 2 & 3 {
        // Translation type 1 allows device TLBs in addition.
        0 | 1 => Ok(Domain::Second(second_level(low & ADDRESS, high & 7, false).ok_or(Fault::Context)?)),
        2 => Ok(Domain::PassThrough),
        _ => Err(Fault::Context),
    }
}

/// The first two words of a scalable-mode context entry. A root entry has a half for each 16 of a bus's 32 devices.
fn scalable(ram: &dyn GuestRam, iommu: IommuRegisters, source: u16) -> Result<[u64; 2], Fault> {
    let (bus, devfn) = (u64::from(source >> 8), u64::from(source & 0xff));
    let root = ram.load((iommu.root & ADDRESS) + 16 * bus + 8 * (devfn >> 7)).ok_or(Fault::NoMemory)?;
    let at = (present(root, Fault::Context)? & ADDRESS) + 32 * (devfn & 0x7f);
    let low = present(ram.load(at).ok_or(Fault::NoMemory)?, Fault::Context)?;
    Ok([low, ram.load(at + 8).ok_or(Fault::NoMemory)?])
}

/// The first three words of a PASID's entry.
fn pasid_entry(ram: &dyn GuestRam, context: u64, pasid: u32) -> Result<[u64; 3], Fault> {
    let (index, slot) = (u64::from(pasid) / PASIDS_PER_TABLE, u64::from(pasid) % PASIDS_PER_TABLE);
    if index >= directory_len(context) {
        return Err(Fault::Pasid);
    }
    let directory = ram.load((context & ADDRESS) + 8 * index).ok_or(Fault::NoMemory)?;
    let at = (present(directory, Fault::Pasid)? & ADDRESS) + 64 * slot;
    let mut words = [0; 3];
    for (i, word) in (0..).zip(&mut words) {
        *word = ram.load(at + 8 * i).ok_or(Fault::NoMemory)?;
    }
    present(words[0], Fault::Pasid)?;
    Ok(words)
}

fn pasid_domain(entry: &[u64; 3], privileged: bool) -> Result<Domain, Fault> {
    // SLADE: accessed and dirty bits of the second level.
    let second = || second_level(entry[0] & ADDRESS, entry[0] >> 2 & 7, entry[0] >> 9 & 1 != 0).ok_or(Fault::Pasid);
    let first = |nested_in| {
        let levels = match entry[2] >> 2 & 3 {
            0 => 4,
            1 => 5,
            _ => return Err(Fault::Pasid),
        };
        // SRE: supervisor requests are possible at all.
        if privileged && entry[2] & 1 == 0 {
            return Err(Fault::Pasid);
        }
        let write_protect = entry[2] >> 4 & 1 != 0;
        Ok(Domain::First(FirstLevel { table: entry[2] & ADDRESS, levels, privileged, write_protect, nested_in }))
    };
    match entry[0] >> 6 & 7 {
        FIRST => first(None),
        SECOND => Ok(Domain::Second(second()?)),
        NESTED => first(Some(second()?)),
        PASS_THROUGH => Ok(Domain::PassThrough),
        _ => Err(Fault::Pasid),
    }
}

/// `width` is the address width field: 1 for 3 levels, 2 for 4, 3 for 5.
fn second_level(table: u64, width: u64, track: bool) -> Option<SecondLevel> {
    (1..=3).contains(&width).then_some(SecondLevel { table, levels: width as u32 + 2, track })
}

fn present(entry: u64, fault: Fault) -> Result<u64, Fault> {
    if entry & PRESENT == 0 { Err(fault) } else { Ok(entry) }
}
