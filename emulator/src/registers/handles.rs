//! Interrupt handles and who may use them (specification section 9.2).
//!
//! Without the commands that request and release handles, a handle is the index of an MSI-X table entry. With them it is a
//! number that the device hands out; the model starts at a number that is no index, so that software which confuses the two
//! fails.
#![forbid(unsafe_code)]

use idxd_sys::cmd_status;

use crate::events::Target;
use crate::memory::Requester;

/// First handle that is handed out.
const FIRST: u16 = 0x200;

/// Bit 2 of a permission: anybody may use the vector.
const IGNORE: u32 = 1 << 2;
/// Bit 3 of a permission: only this PASID may.
const PASID_ENABLE: u32 = 1 << 3;
/// Bits of a permission that exist.
pub(super) const PERMISSION_BITS: u32 = 0xffff_f000 | PASID_ENABLE | IGNORE;

/// The handles of a device, and the MSI-X permission table.
pub(super) struct Handles {
    /// Handles have to be requested.
    requested: bool,
    /// The handle of each vector.
    given: Vec<Option<u16>>,
    pub(super) permissions: Vec<u32>,
    next: u16,
}

impl Handles {
    pub(super) fn new(vectors: u16, requested: bool) -> Self {
        let vectors = usize::from(vectors);
        Self { requested, given: vec![None; vectors], permissions: vec![0; vectors], next: FIRST }
    }

    /// Command 13. The same vector keeps its handle.
    pub(super) fn request(&mut self, vector: u16, message_storage: bool) -> Result<u16, u32> {
        // There is no interrupt message storage.
        let slot = self.given.get_mut(usize::from(vector)).filter(|_| !message_storage);
        let slot = slot.ok_or(cmd_status::HW_INVAL_INT_IDX)?;
        if let Some(handle) = *slot {
            return Ok(handle);
        }
        let handle = self.next;
        self.next = self.next.checked_add(1).ok_or(cmd_status::HW_NO_HANDLE)?;
        *slot = Some(handle);
        Ok(handle)
    }

    /// Command 14.
    pub(super) fn release(&mut self, handle: u16, message_storage: bool) -> Result<(), u32> {
        let slot = self.given.iter_mut().find(|given| **given == Some(handle) && !message_storage);
        *slot.ok_or(cmd_status::HW_INVAL_INT_IDX)? = None;
        Ok(())
    }

    /// Makes all handles invalid. `false` if there are none to request again.
    pub(super) fn revoke(&mut self) -> bool {
        self.given.fill(None);
        self.requested
    }

    /// Forgets everything.
    pub(super) fn reset(&mut self) {
        *self = Self::new(self.given.len() as u16, self.requested);
    }

    /// The vector behind a handle, if the requester may use it.
    pub(super) fn vector(&self, target: Target, by: Requester) -> Option<u16> {
        if target.message_storage {
            return None;
        }
        let index = if self.requested {
            self.given.iter().position(|given| *given == Some(target.handle))?
        } else {
            usize::from(target.handle)
        };
        let permission = *self.permissions.get(index)?;
        let pasid = (permission & PASID_ENABLE != 0).then_some(permission >> 12);
        (permission & IGNORE != 0 || pasid == by.pasid).then_some(index as u16)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(handle: u16) -> Target {
        Target { handle, message_storage: false }
    }

    #[test]
    fn a_handle_is_an_index_unless_it_must_be_requested() {
        let by_index = Handles::new(3, false);
        assert_eq!(by_index.vector(to(2), Requester::DEVICE), Some(2));
        assert_eq!(by_index.vector(to(3), Requester::DEVICE), None);
        assert_eq!(by_index.vector(Target { handle: 1, message_storage: true }, Requester::DEVICE), None);
        let mut requested = Handles::new(3, true);
        assert_eq!(requested.vector(to(2), Requester::DEVICE), None);
        let handle = requested.request(2, false).unwrap();
        assert_eq!(requested.request(2, false), Ok(handle));
        assert_eq!(requested.vector(to(handle), Requester::DEVICE), Some(2));
        assert_eq!(requested.request(3, false), Err(0x41));
        assert_eq!(requested.request(1, true), Err(0x41));
        requested.release(handle, false).unwrap();
        assert_eq!(requested.release(handle, false), Err(0x41));
        assert_eq!(requested.vector(to(handle), Requester::DEVICE), None);
    }

    #[test]
    fn the_supply_of_handles_ends() {
        let mut handles = Handles::new(1, true);
        for _ in FIRST..u16::MAX {
            let handle = handles.request(0, false).unwrap();
            handles.release(handle, false).unwrap();
        }
        assert_eq!(handles.request(0, false), Err(0x42));
        handles.reset();
        assert_eq!(handles.request(0, false), Ok(FIRST));
    }

    #[test]
    fn permissions_name_a_pasid_none_or_anybody() {
        let mut handles = Handles::new(1, false);
        let (seven, eight) = (Requester::user(7), Requester::user(8));
        let allowed =
            |handles: &Handles| [Requester::DEVICE, seven, eight].map(|by| handles.vector(to(0), by).is_some());
        assert_eq!(allowed(&handles), [true, false, false]);
        handles.permissions[0] = 7 << 12 | PASID_ENABLE;
        assert_eq!(allowed(&handles), [false, true, false]);
        handles.permissions[0] |= IGNORE;
        assert_eq!(allowed(&handles), [true; 3]);
    }
}
