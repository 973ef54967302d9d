//! The buffers: one memory for all variants, cut into pairs that rotate, with content that is random and never zero.
//!
//! It is a file in memory, so that a peer in a process of its own can copy between the very same pages.

use std::collections::VecDeque;
use std::fs::File;

use dsa::buf::{StableBuf, StableBufMut};
use dsa_benches::random::Random;
use rustix::fs::MemfdFlags;
use rustix::mm::{MapFlags, ProtFlags};

/// Bytes of all sources, and of all destinations.
pub(crate) const ROOM: usize = 32 << 20;
/// Latencies that a peer in another process can leave behind the buffers.
pub(crate) const LATENCIES: usize = 1 << 18;
/// Pairs whose bytes are looked at after a slice.
const SAMPLE: usize = 4;

/// A source: bytes of the arena that only this value may read, and nobody writes.
#[derive(Debug)]
pub(crate) struct Source {
    at: *const u8,
    bytes: usize,
}

/// A destination: bytes of the arena that are this value's alone.
#[derive(Debug)]
pub(crate) struct Target {
    at: *mut u8,
    bytes: usize,
}

// SAFETY: they own their bytes, as a `Box<[u8]>` does, and the arena is never unmapped.
unsafe impl Send for Source {}
// SAFETY: as for `Source`.
unsafe impl Send for Target {}

// SAFETY: `at` points to `bytes` initialised bytes of a mapping that stays for ever; nobody writes to sources after the arena
// has been made, and the value's methods cannot change what it names.
unsafe impl StableBuf for Source {
    fn as_ptr(&self) -> *const u8 {
        self.at
    }

    fn len(&self) -> usize {
        self.bytes
    }
}

// SAFETY: as for `Source`; the one who writes is who the value was handed to.
unsafe impl StableBuf for Target {
    fn as_ptr(&self) -> *const u8 {
        self.at
    }

    fn len(&self) -> usize {
        self.bytes
    }
}

// SAFETY: `Arena::lend` hands out disjoint ranges, and no range twice before it is given back; all bytes are initialised.
unsafe impl StableBufMut for Target {
    fn as_mut_ptr(&mut self) -> *mut u8 {
        self.at
    }

    fn capacity(&self) -> usize {
        self.bytes
    }

    unsafe fn set_init(&mut self, _: usize) {}
}

/// A source and the destination of its copy.
#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) source: Source,
    pub(crate) target: Target,
}

impl Pair {
    /// The copy itself, by this thread.
    #[inline]
    pub(crate) fn copy(&mut self) {
        // SAFETY: both are valid for that many bytes, sources and destinations are different halves of the arena, and this value
        // owns both ranges.
        unsafe { std::ptr::copy_nonoverlapping(self.source.at, self.target.at, self.source.bytes) };
    }

    /// Addresses as a device wants them: source, destination.
    #[inline]
    pub(crate) fn addresses(&self) -> (u64, u64) {
        (self.source.at.expose_provenance() as u64, self.target.at.expose_provenance() as u64)
    }

    #[inline]
    pub(crate) fn bytes(&self) -> usize {
        self.source.bytes
    }

    fn slices(&mut self) -> (&[u8], &mut [u8]) {
        // SAFETY: as for `copy`; the borrow of the pair keeps others out.
        unsafe {
            (
                std::slice::from_raw_parts(self.source.at, self.source.bytes),
                std::slice::from_raw_parts_mut(self.target.at, self.target.bytes),
            )
        }
    }

    /// Makes every byte of the destination differ from the source.
    fn spoil(&mut self) {
        let (source, target) = self.slices();
        target.iter_mut().zip(source).for_each(|(to, from)| *to = !from);
    }

    fn is_copied(&mut self) -> bool {
        let (source, target) = self.slices();
        source == target
    }
}

/// The memory.
pub(crate) struct Arena {
    base: *mut u8,
    file: File,
    lent: usize,
}

impl Arena {
    pub(crate) fn new() -> std::io::Result<Self> {
        let file = File::from(rustix::fs::memfd_create("dsa-peers", MemfdFlags::CLOEXEC)?);
        let bytes = 2 * ROOM + LATENCIES * size_of::<u32>();
        file.set_len(bytes as u64)?;
        let (access, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED | MapFlags::POPULATE);
        // SAFETY: a new mapping at a place of the kernel's choice.
        let base = unsafe { rustix::mm::mmap(std::ptr::null_mut(), bytes, access, flags, &file, 0)? }.cast::<u8>();
        // SAFETY: the mapping is as long as that, zeros are initialised bytes, and nobody else knows of it yet.
        let content = unsafe { std::slice::from_raw_parts_mut(base, 2 * ROOM) };
        let (sources, targets) = content.split_at_mut(ROOM);
        Random::new(11).fill(sources);
        Random::new(12).fill(targets);
        Ok(Self { base, file, lent: 0 })
    }

    /// Hands out pairs of buffers, from the start of the arena on.
    ///
    /// # Panics
    ///
    /// If earlier ones are not back, or there is not that much room.
    pub(crate) fn lend(&mut self, bytes: usize, count: usize) -> VecDeque<Pair> {
        assert_eq!(self.lent, 0, "pairs are still out");
        assert!(bytes * count <= ROOM, "{count} pairs of {bytes} bytes");
        self.lent = count;
        let pair = |i: usize| {
            let source = self.base.wrapping_add(i * bytes);
            let target = source.wrapping_add(ROOM);
            Pair { source: Source { at: source, bytes }, target: Target { at: target, bytes } }
        };
        (0..count).map(pair).collect()
    }

    /// Takes them back.
    ///
    /// # Panics
    ///
    /// If some are missing.
    #[allow(clippy::needless_pass_by_value)] // nobody may have them afterwards
    pub(crate) fn take_back(&mut self, pairs: VecDeque<Pair>) {
        assert_eq!(self.lent, pairs.len(), "some pairs got lost");
        self.lent = 0;
    }

    /// Where another process of the same user finds the memory.
    pub(crate) fn path(&self) -> String {
        use std::os::fd::AsRawFd;
        format!("/proc/{}/fd/{}", std::process::id(), self.file.as_raw_fd())
    }

    /// Where a peer leaves its latencies.
    pub(crate) fn latencies(&self) -> *const u32 {
        self.base.wrapping_add(2 * ROOM).cast_const().cast()
    }
}

/// Begins a slice: the rotation starts at the first pair, and the destinations of some pairs that the operations from number
/// `first` on will use are made wrong. Gives these pairs' sources.
pub(crate) fn spoil(pairs: &mut VecDeque<Pair>, first: usize, operations: usize) -> Vec<*const u8> {
    let pairs = pairs.make_contiguous();
    pairs.sort_unstable_by_key(|pair| pair.source.at);
    let count = pairs.len();
    let places = (first..first + operations.min(count).min(SAMPLE)).map(|place| place % count);
    places
        .map(|place| {
            pairs[place].spoil();
            pairs[place].source.at
        })
        .collect()
}

/// Whether the destinations of the sampled pairs have the bytes of their sources.
pub(crate) fn are_copied(pairs: &mut VecDeque<Pair>, sample: &[*const u8]) -> bool {
    let right = pairs.iter_mut().filter(|pair| sample.contains(&pair.source.at)).map(Pair::is_copied);
    right.filter(|is_copied| *is_copied).count() == sample.len()
}
