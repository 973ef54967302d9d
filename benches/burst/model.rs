//! The software model's side: a submitter that polls, and an engine thread.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use dsa_emulator::{Client, Config, Device, Enqcmd, WqConfig};
use idxd_sys::{CompletionRecord, Descriptor, flag, opcode, status};
use rustix::mm::{MapFlags, ProtFlags};

use super::BURST;

/// Pairs of buffers.
const PAIRS: usize = 64;
/// Bytes of all sources, and of all destinations.
const ROOM: usize = PAIRS * (64 << 10);

/// The buffers: a file that both sides map, so that neither has the better pages.
pub(crate) struct Pages {
    base: *mut u8,
    path: PathBuf,
}

impl Pages {
    pub(crate) fn new() -> std::io::Result<Self> {
        let folder = Path::new("/dev/shm");
        let folder = if folder.is_dir() { folder.to_path_buf() } else { std::env::temp_dir() };
        let path = folder.join(format!("dsa-burst-{}", std::process::id()));
        let file = File::options().read(true).write(true).create_new(true).open(&path)?;
        file.set_len(2 * ROOM as u64)?;
        let (access, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED | MapFlags::POPULATE);
        // SAFETY: a new mapping at a place of the kernel's choice.
        let base = unsafe { rustix::mm::mmap(std::ptr::null_mut(), 2 * ROOM, access, flags, &file, 0)? };
        let base = base.cast::<u8>();
        // SAFETY: the mapping is as long as that, and nobody else knows of it yet.
        unsafe {
            base.write_bytes(7, ROOM);
            base.add(ROOM).write_bytes(1, ROOM);
        }
        Ok(Self { base, path })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn source(&self) -> *const u8 {
        self.base
    }

    fn target(&self) -> *mut u8 {
        // SAFETY: inside the mapping.
        unsafe { self.base.add(ROOM) }
    }

    /// Makes the destinations differ from the sources.
    fn spoil(&self, size: usize) {
        // SAFETY: inside the mapping; the peer only touches it while it answers.
        unsafe { self.target().write_bytes(1, PAIRS * size) };
    }

    /// Whether the destinations have got the bytes of the sources.
    fn is_copied(&self, size: usize) -> bool {
        // SAFETY: as in `spoil`.
        let [source, target] = [self.source(), self.target().cast_const()]
            .map(|at| unsafe { std::slice::from_raw_parts(at, PAIRS * size) });
        source == target
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: the mapping of `new`, whose address nobody keeps.
        let _ = unsafe { rustix::mm::munmap(self.base.cast(), 2 * ROOM) };
        let _ = std::fs::remove_file(&self.path);
    }
}

/// How a burst is submitted.
#[derive(Clone, Copy)]
pub(crate) enum Way {
    /// One ENQCMD a copy.
    Single,
    /// One batch descriptor.
    Batch,
}

impl Way {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Single => "32 descriptors",
            Self::Batch => "one batch of 32",
        }
    }
}

/// A device with one engine thread, and memory for its copies.
pub(crate) struct Model<'a> {
    client: Client,
    _device: Device,
    pages: &'a Pages,
    /// Two bursts: descriptors, and their records with one for the batch at the end.
    lists: Box<[[Descriptor; BURST]; 2]>,
    records: Box<[[CompletionRecord; BURST + 1]; 2]>,
}

impl<'a> Model<'a> {
    pub(crate) fn new(pages: &'a Pages) -> Self {
        // Spins long enough to be awake for a whole slice, and is asleep when the peer's begins.
        let config = Config::sapphire_rapids().queue(WqConfig::shared(128)).spin(Duration::from_micros(500));
        let device = Device::new(config).expect("a preset is valid");
        let client = device.open(0).expect("a fresh shared queue");
        Self {
            client,
            _device: device,
            pages,
            lists: Box::new([[Descriptor::default(); BURST]; 2]),
            records: Box::new([[CompletionRecord::default(); BURST + 1]; 2]),
        }
    }

    /// Copies, in bursts; gives nanoseconds of one.
    pub(crate) fn slice(&mut self, way: Way, size: usize, operations: usize) -> f64 {
        self.pages.spoil(size);
        let bursts = operations / BURST;
        let begun = Instant::now();
        for burst in 0..=bursts {
            if burst < bursts {
                self.submit(way, size, burst);
            }
            if burst > 0 {
                self.wait(way, (burst - 1) % 2);
            }
        }
        let nanos = begun.elapsed().as_nanos() as f64 / (bursts * BURST) as f64;
        assert!(self.pages.is_copied(size), "the bytes differ");
        nanos
    }

    fn submit(&mut self, way: Way, size: usize, burst: usize) {
        let half = burst % 2;
        let records = (&raw mut self.records[half]).cast::<CompletionRecord>();
        let (source, target) = (self.pages.source().expose_provenance(), self.pages.target().expose_provenance());
        for i in 0..BURST {
            let at = (burst * BURST + i) % PAIRS * size;
            self.records[half][i].status = 0;
            let d = &mut self.lists[half][i];
            d.src_addr = (source + at) as u64;
            d.dst_addr = (target + at) as u64;
            d.xfer_size = size as u32;
            d.completion_addr = records.wrapping_add(i).expose_provenance() as u64;
            d.set_opcode_flags(opcode::MEMMOVE, flag::CRAV | flag::RCR);
            if matches!(way, Way::Single) {
                self.send(&self.lists[half][i]);
            }
        }
        if matches!(way, Way::Batch) {
            self.records[half][BURST].status = 0;
            let mut d = Descriptor {
                src_addr: (&raw const self.lists[half]).expose_provenance() as u64,
                xfer_size: BURST as u32,
                completion_addr: records.wrapping_add(BURST).expose_provenance() as u64,
                ..Descriptor::default()
            };
            d.set_opcode_flags(opcode::BATCH, flag::CRAV | flag::RCR);
            self.send(&d);
        }
    }

    fn send(&self, d: &Descriptor) {
        // SAFETY: the descriptors name the pages, and memory of this value; its buffers and records stay where they are and are left
        // alone until the records are complete, which `slice` waits for.
        while unsafe { self.client.enqcmd(d) } != Enqcmd::Accepted {
            std::hint::spin_loop();
        }
    }

    /// Waits for all of a burst; its records may be complete in any order.
    fn wait(&mut self, way: Way, half: usize) {
        let range = if matches!(way, Way::Batch) { BURST..BURST + 1 } else { 0..BURST };
        for record in &mut self.records[half][range] {
            // SAFETY: the byte is valid, and while the device may write it, it is only accessed atomically.
            let byte = unsafe { AtomicU8::from_ptr(&raw mut record.status) };
            while byte.load(Ordering::Acquire) == 0 {
                std::hint::spin_loop();
            }
            assert_eq!(byte.load(Ordering::Relaxed), status::SUCCESS);
        }
    }
}
