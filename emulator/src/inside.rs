//! Which devices the calling thread is executing a descriptor of, from the outermost to the innermost.
//!
//! Execution calls code of others: address spaces, and whoever gets the interrupts. Where it runs on a submitter's thread
//! ([`Config::immediate`](crate::Config::immediate)), that code may submit to the very device that is executing further up.

#![forbid(unsafe_code)]

use std::cell::RefCell;

use crate::shared::Shared;

thread_local! {
    static DEVICES: RefCell<Vec<*const Shared>> = const { RefCell::new(Vec::new()) };
}

/// Says that the calling thread executes something of a device, until it is dropped. They are dropped in reverse.
pub(crate) struct Inside(());

impl Inside {
    pub(crate) fn of(shared: &Shared) -> Self {
        // A thread at its end may have no list any more: then nobody asks either.
        let _ = DEVICES.try_with(|devices| devices.borrow_mut().push(shared));
        Self(())
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        let _ = DEVICES.try_with(|devices| devices.borrow_mut().pop());
    }
}

/// Whether the calling thread executes something of this device.
pub(crate) fn is_inside(shared: &Shared) -> bool {
    let is_listed = |devices: &RefCell<Vec<_>>| devices.borrow().iter().any(|&device| std::ptr::eq(device, shared));
    DEVICES.try_with(is_listed).unwrap_or(false)
}
