//! A work queue of the software device, by the real instructions: they trap, and a handler carries them out.
//!
//! Everything above this file is what a device with a portal sees, the encodings included.

use std::fmt;
use std::sync::Arc;

use dsa_emulator::trap::Portal;
use idxd_sys::Descriptor;

use super::emulated;
use super::portal::{self, Instruction};
use super::{SubmissionPath, Submitter, Verdict};
use crate::descriptor::Capabilities;

/// One open queue of the model, behind a page that stands for its portal.
pub(crate) struct Trapped {
    queue: Box<dyn Submitter>,
    portal: Portal,
}

impl Trapped {
    /// Installs the handler of the traps in this process, if it is not there yet.
    pub(crate) fn new(client: dsa_emulator::Client) -> std::io::Result<Self> {
        let client = Arc::new(client);
        let portal = Portal::new(Arc::clone(&client))?;
        Ok(Self { queue: emulated::queue(client), portal })
    }
}

impl fmt::Debug for Trapped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}, by {}", self.queue, self.path())
    }
}

impl Submitter for Trapped {
    #[inline]
    unsafe fn submit(&self, descriptors: &[Descriptor]) -> Verdict {
        let dedicated = self.queue.credits().is_some();
        let instruction = if dedicated { Instruction::Movdir64b } else { Instruction::Enqcmd };
        // SAFETY: the page stands for the portal of an open queue, and lives as long as `self`; the handler emulates the
        // instructions on it. The rest is the caller's promise.
        unsafe { portal::submit(self.portal.as_ptr(), instruction, descriptors) }
    }

    fn name(&self) -> String {
        self.queue.name()
    }

    fn path(&self) -> SubmissionPath {
        if self.queue.credits().is_some() { SubmissionPath::Movdir64b } else { SubmissionPath::Enqcmd }
    }

    fn capabilities(&self) -> Capabilities {
        self.queue.capabilities()
    }

    fn credits(&self) -> Option<usize> {
        self.queue.credits()
    }

    fn is_alive(&self) -> bool {
        self.queue.is_alive()
    }

    fn quiesce(&self) -> bool {
        self.queue.quiesce()
    }
}
