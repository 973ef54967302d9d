//! A work queue of the software device, in this process.

use std::fmt;
use std::sync::Arc;

use idxd_sys::Descriptor;

use super::{Answer, SubmissionPath, Submitter, Verdict};
use crate::descriptor::Capabilities;

/// One open queue of the model, dedicated or shared.
struct Emulated<const DEDICATED: bool> {
    client: Arc<dsa_emulator::Client>,
    capabilities: Capabilities,
}

/// The queue that a client of the model has opened.
pub(crate) fn queue(client: Arc<dsa_emulator::Client>) -> Box<dyn Submitter> {
    if client.info().mode == dsa_emulator::Mode::Dedicated {
        Box::new(Emulated::<true>::new(client))
    } else {
        Box::new(Emulated::<false>::new(client))
    }
}

impl<const DEDICATED: bool> Emulated<DEDICATED> {
    fn new(client: Arc<dsa_emulator::Client>) -> Self {
        let info = client.info();
        let capabilities = Capabilities::new(info.version as u16, info.gen_cap, info.op_config)
            .with_max_transfer_size(info.max_transfer_size)
            .with_max_batch_size(info.max_batch_size)
            .with_dsa_caps(info.dsacap)
            .with_max_sgl_size(info.max_sgl_size)
            .with_block_on_fault(info.block_on_fault);
        Self { client, capabilities }
    }
}

impl<const DEDICATED: bool> fmt::Debug for Emulated<DEDICATED> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let info = self.client.info();
        write!(f, "software device, work queue {} ({:?}, {} entries)", info.index, info.mode, info.size)
    }
}

impl<const DEDICATED: bool> Submitter for Emulated<DEDICATED> {
    #[inline]
    unsafe fn submit(&self, descriptors: &[Descriptor]) -> Verdict {
        for (accepted, descriptor) in descriptors.iter().enumerate() {
            // SAFETY: forwarded.
            if unsafe { self.submit_one(descriptor) } != Answer::Accepted {
                return Verdict::Retry(accepted);
            }
        }
        Verdict::Accepted
    }

    #[inline]
    unsafe fn submit_one(&self, descriptor: &Descriptor) -> Answer {
        // SAFETY: the caller promises that what the descriptor names outlives its execution.
        unsafe {
            if !DEDICATED {
                return match self.client.enqcmd(descriptor) {
                    dsa_emulator::Enqcmd::Accepted => Answer::Accepted,
                    dsa_emulator::Enqcmd::Retry => Answer::NotNow,
                };
            }
            self.client.movdir64b(descriptor);
        }
        Answer::Accepted
    }

    fn name(&self) -> String {
        format!("model wq{}", self.client.info().index)
    }

    fn path(&self) -> SubmissionPath {
        SubmissionPath::Model
    }

    fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    fn credits(&self) -> Option<usize> {
        DEDICATED.then(|| self.client.info().size as usize)
    }

    fn is_alive(&self) -> bool {
        self.client.is_enabled()
    }

    fn quiesce(&self) -> bool {
        self.client.quiesce();
        true
    }
}
