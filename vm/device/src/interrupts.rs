//! MSI-X vectors as event descriptors: the virtual machine hands one over for each vector that the guest has set up.

use std::fs::File;
use std::io::Write;
use std::sync::{Mutex, PoisonError};

use crate::config_space::VECTORS;

/// The vectors of the function. Masking and the pending bits are the virtual machine's business.
#[derive(Default)]
pub(crate) struct Vectors(Mutex<[Option<File>; VECTORS as usize]>);

impl Vectors {
    /// Puts event descriptors behind the vectors from `start` on.
    pub(crate) fn connect(&self, start: u32, events: Vec<File>) {
        let mut vectors = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (slot, event) in vectors.iter_mut().skip(start as usize).zip(events) {
            *slot = Some(event);
        }
    }

    /// Takes the event descriptors of `count` vectors away.
    pub(crate) fn disconnect(&self, start: u32, count: u32) {
        let mut vectors = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        vectors.iter_mut().skip(start as usize).take(count as usize).for_each(|slot| *slot = None);
    }
}

impl dsa_emulator::Interrupts for Vectors {
    fn raise(&self, vector: u16) {
        let mut vectors = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A vector that the guest has not set up goes nowhere, as on the bus. The counter of an event descriptor has
        // room for 2^64 - 2 interrupts that nobody has read, so the write does not fail.
        if let Some(Some(event)) = vectors.get_mut(usize::from(vector)) {
            let _ = event.write_all(&1_u64.to_ne_bytes());
        }
    }
}
