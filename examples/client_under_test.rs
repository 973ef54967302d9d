//! Testing somebody else's client: code that knows nothing of this project, and speaks to the device in raw descriptors.
//!
//! `their_client` below is written as such code is, C in Rust's clothes: a pointer to a mapped portal, 64 bytes, one
//! instruction, a loop on a status byte. It is tested with the software model behind the real ENQCMD, while a campaign
//! injects what a device does on a bad day. The test at the end is what matters: right bytes, no waiting for ever, and the
//! device's own counters as a witness that the work was not done in software.
//!
//! A program that is already built needs none of this: `dsa emulate -- PROGRAM`.

use std::sync::Arc;

use dsa_emulator::campaign::{Campaign, Script};
use dsa_emulator::trap::Portal;
use dsa_emulator::{Config, Device, WqConfig};
use idxd_sys::opcode;

/// The client under test, as its authors wrote it.
mod their_client {
    use std::sync::atomic::{AtomicU8, Ordering};

    use idxd_sys::{CompletionRecord, Descriptor, flag, instr, opcode, status};

    /// What `mmap` of /dev/dsa/wqD.Q gives them.
    #[derive(Clone, Copy)]
    pub(super) struct Queue(pub(super) *mut u8);

    /// How often a full queue is tried before somebody else's problem becomes theirs.
    const RETRIES: u32 = 1000;
    /// How often a copy is begun anew before they give up on the device.
    const ATTEMPTS: i32 = 100;
    /// Looks at a record after which they count the descriptor as lost.
    const PATIENCE: u32 = 2_000_000;

    /// `memcpy` by the device; gives how many descriptors it took. Negative numbers are errors, as they like it.
    ///
    /// # Safety
    ///
    /// As for `memcpy`; `queue` is a mapped portal.
    pub(super) unsafe fn copy(queue: Queue, mut to: *mut u8, mut from: *const u8, mut len: usize) -> i32 {
        for sent in 1..=ATTEMPTS {
            let mut record = CompletionRecord::default();
            let mut d = Descriptor {
                completion_addr: (&raw mut record).expose_provenance() as u64,
                src_addr: from.expose_provenance() as u64,
                dst_addr: to.expose_provenance() as u64,
                xfer_size: len as u32,
                ..Descriptor::default()
            };
            d.set_opcode_flags(opcode::MEMMOVE, flag::CRAV | flag::RCR);
            instr::sfence();
            // SAFETY: the portal is mapped; memory and record outlive the descriptor, except for a lost one, of which the
            // device knows nothing any more.
            if !(0..RETRIES).any(|_| unsafe { instr::enqcmd(queue.0, &raw const d) }) {
                return -1;
            }
            // SAFETY: the byte is valid, and while the device may write it, it is only accessed atomically.
            let byte = unsafe { AtomicU8::from_ptr(&raw mut record.status) };
            if !(0..PATIENCE).any(|_| byte.load(Ordering::Acquire) != 0) {
                // Lost. The copy can be done over.
                continue;
            }
            match record.status & status::CODE_MASK {
                status::SUCCESS => return sent,
                status::PAGE_FAULT if record.result == 0 => {
                    let done = record.bytes_completed as usize;
                    // Bring the page in, then go on behind what is done. SAFETY: inside the caller's regions.
                    unsafe {
                        (to, from, len) = (to.add(done), from.add(done), len - done);
                        if record.status & status::FAULT_WRITE == 0 {
                            from.read_volatile();
                        } else {
                            to.write_volatile(to.read_volatile());
                        }
                    }
                }
                // Hardware errors, and whatever they did not think of: again.
                _ => {}
            }
        }
        -2
    }
}

/// A bad day.
const SCRIPT: &str = "
    retry every 2 for 400                       # a neighbour fills the queue
    page-fault opcode memmove probability 0.2   # pages that are not there
    after 20: error 0x21 limit 3                # a hardware error, three times
    after 20: lose limit 2                      # two descriptors vanish
";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let device = Device::new(Config::sapphire_rapids().queue(WqConfig::shared(16)).seed(5))?;
    let portal = Portal::new(Arc::new(device.open(0)?))?;
    let queue = their_client::Queue(portal.as_ptr());
    let campaign = Campaign::start(&device, SCRIPT.parse::<Script>()?)?;

    let source: Vec<u8> = (0..=250).cycle().take(64 << 10).collect();
    let mut target = vec![0; source.len()];
    let mut descriptors = 0;
    for round in 0..100 {
        target.fill(round);
        // SAFETY: two vectors of one length, and a portal that is there.
        let sent = unsafe { their_client::copy(queue, target.as_mut_ptr(), source.as_ptr(), source.len()) };
        assert!(sent > 0, "round {round}: error {sent}");
        assert!(target == source, "round {round}: the bytes differ");
        descriptors += sent;
    }

    let report = campaign.finish();
    let counters = device.counters();
    assert_eq!(
        u64::try_from(descriptors),
        Ok(counters.executed(opcode::MEMMOVE)),
        "the device did the work, all of it"
    );
    println!(
        "100 copies in {descriptors} descriptors, {} refusals, {} page faults",
        counters.retries, counters.page_faults
    );
    println!("{report}");
    Ok(())
}
