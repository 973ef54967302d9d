//! A client: one open of a work queue, as `open(2)` of `/dev/dsa/wqD.Q` gives a process.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use idxd_sys::Descriptor;
use idxd_sys::limits::PASID_MASK;
use thiserror::Error;

use crate::config::Mode;
use crate::entry::ClientState;
use crate::gate::Way;
use crate::memory::Requester;
use crate::queue::WorkQueue;
use crate::shared::{Handle, Shared};

/// The answer to an ENQCMD.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[must_use]
pub enum Enqcmd {
    /// The queue has the descriptor (EFLAGS.ZF = 0).
    Accepted,
    /// The queue does not have it (EFLAGS.ZF = 1): full now, or dedicated, disabled or halted for ever.
    Retry,
}

/// Why a queue could not be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// There is no such queue.
    #[error("no such work queue")]
    NoQueue,
    /// The device or the queue is disabled or halted.
    #[error("the work queue is not enabled")]
    Disabled,
    /// A dedicated queue has its one client already.
    #[error("the dedicated work queue is in use")]
    Busy,
    /// A PASID of more than 20 bits.
    #[error("a PASID has 20 bits")]
    Pasid,
}

/// What a client can know about its queue.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WqInfo {
    /// Index of the queue.
    pub index: usize,
    /// Shared or dedicated.
    pub mode: Mode,
    /// Entries.
    pub size: u16,
    /// Occupancy below which the limited portal accepts (shared queues).
    pub threshold: u16,
    /// Priority inside the group.
    pub priority: u8,
    /// Largest transfer in bytes.
    pub max_transfer_size: u64,
    /// Largest batch in descriptors.
    pub max_batch_size: u32,
    /// Most entries of a scatter-gather list; 0 without lists.
    pub max_sgl_size: u32,
    /// Whether descriptors may ask to block on faults.
    pub block_on_fault: bool,
    /// Operations offered, one bit per opcode: what device and queue both have.
    pub op_config: [u64; 4],
    /// GENCAP register of the device.
    pub gen_cap: u64,
    /// DSACAP0 to DSACAP2 registers of the device, 0 before version 3.0.
    pub dsacap: [u64; 3],
    /// VERSION register of the device.
    pub version: u32,
    /// PASID of this client, 0 if it has none.
    pub pasid: u32,
}

/// One open work queue. Dropping it waits until none of its descriptors is queued or executing.
///
/// It may be used from any number of threads. It keeps the device alive.
pub struct Client {
    /// Keeps the engines alive.
    _handle: Arc<Handle>,
    shared: Arc<Shared>,
    queue: Arc<WorkQueue>,
    state: Arc<ClientState>,
    info: WqInfo,
    /// Discarded descriptors that a drain has told about.
    told: AtomicU64,
}

impl Client {
    pub(crate) fn open(handle: &Arc<Handle>, wq: usize, by: Requester) -> Result<Self, OpenError> {
        let shared = &handle.shared;
        let queue = shared.queues.get(wq).ok_or(OpenError::NoQueue)?;
        if by.pasid.is_some_and(|pasid| pasid > PASID_MASK) {
            return Err(OpenError::Pasid);
        }
        if !queue.is_open(shared) {
            return Err(OpenError::Disabled);
        }
        let state = queue.admit(by).ok_or(OpenError::Busy)?;
        let c = queue.setup.get();
        let info = WqInfo {
            index: wq,
            mode: c.mode,
            size: c.size,
            threshold: c.threshold,
            priority: c.priority,
            max_transfer_size: c.max_transfer_size,
            max_batch_size: c.max_batch_size,
            max_sgl_size: if shared.config.has_lists() { c.max_sgl_size } else { 0 },
            block_on_fault: c.block_on_fault,
            op_config: c.op_config,
            gen_cap: shared.config.gencap,
            dsacap: shared.config.dsacap,
            version: shared.config.version,
            pasid: by.pasid.unwrap_or(0),
        };
        Ok(Self {
            _handle: Arc::clone(handle),
            shared: Arc::clone(shared),
            queue: Arc::clone(queue),
            state,
            info,
            told: AtomicU64::new(0),
        })
    }

    /// ENQCMD to the limited portal, the one a process can map: accepted while the occupancy is below the threshold.
    ///
    /// Everything written before the call is visible to the engine that executes the descriptor.
    ///
    /// # Safety
    ///
    /// With trusted memory ([`Device::new`](crate::Device::new)) every address the descriptor names, and every address
    /// in a batch list it names, must be valid for the access the operation makes, with exposed provenance, and no other
    /// thread may access that memory in conflict with it: from the call until the completion record is written,
    /// whatever its status. Where none is written (not requested, lost, aborted, software error), until
    /// [`quiesce`](Self::quiesce) returned. Memory of a batch member is safe to touch once the batch has ended.
    /// Atomic loads of the record's status byte are no conflict. Sources must be initialised where their values decide what
    /// is computed (compare, CRC, typed operations, batch lists, scatter-gather lists). A list counts as a part of the
    /// descriptor, and so do the entries of the permissions table that it names: addresses that come of their windows
    /// must be valid likewise, and lines of 64 bytes of their bitmaps for reads.
    /// With an address space of its own ([`Device::with_memory`](crate::Device::with_memory)) any 64 bytes are fine.
    pub unsafe fn enqcmd(&self, d: &Descriptor) -> Enqcmd {
        self.queue.enqcmd_limited(&self.shared, &self.state, d)
    }

    /// ENQCMD to the unlimited portal, which the kernel keeps for itself: accepted while there is a free entry.
    ///
    /// # Safety
    ///
    /// As for [`enqcmd`](Self::enqcmd).
    pub unsafe fn enqcmd_unlimited(&self, d: &Descriptor) -> Enqcmd {
        self.queue.enqcmd(&self.shared, &self.state, d, Way::Unlimited, false)
    }

    /// MOVDIR64B: no answer. A full dedicated queue loses the descriptor and latches software error 0x53; a shared,
    /// disabled or halted queue drops it silently.
    ///
    /// # Safety
    ///
    /// As for [`enqcmd`](Self::enqcmd).
    pub unsafe fn movdir64b(&self, d: &Descriptor) {
        self.queue.movdir64b(&self.shared, &self.state, d, false);
    }

    /// What this client can know about its queue.
    pub fn info(&self) -> &WqInfo {
        &self.info
    }

    /// Descriptors accepted from all clients and not yet taken by an engine.
    pub fn occupancy(&self) -> usize {
        self.queue.occupancy()
    }

    /// Descriptors of this client that are queued or executing.
    pub fn outstanding(&self) -> usize {
        self.state.outstanding()
    }

    /// Whether queue and device are enabled and the device is not halted.
    pub fn is_enabled(&self) -> bool {
        self.queue.is_open(&self.shared)
    }

    /// Returns when no descriptor of this client is queued or executing, whatever the state: an enabled queue executes
    /// them, a disabled, aborted or halted one discards them, and running ones end at the next chunk boundary.
    ///
    /// Bounded if nothing is submitted meanwhile. Afterwards the device touches none of the memory that earlier
    /// descriptors named, and what it wrote is visible.
    pub fn quiesce(&self) {
        self.shared.wait_until(|| self.outstanding() == 0);
    }

    /// Like [`quiesce`](Self::quiesce), and tells whether every descriptor ran to its end. `false` if the queue is halted
    /// or disabled, or if it was meanwhile and a descriptor of this client was discarded without a record: since the
    /// last `drain`, or since the queue was opened.
    #[must_use = "without looking at the answer, `quiesce` does the same"]
    pub fn drain(&self) -> bool {
        self.quiesce();
        let discarded = self.state.discarded.load(Ordering::Relaxed);
        let told = self.told.swap(discarded, Ordering::Relaxed);
        self.is_enabled() && told == discarded
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.quiesce();
        self.queue.release(&self.state);
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("info", &self.info).finish_non_exhaustive()
    }
}
