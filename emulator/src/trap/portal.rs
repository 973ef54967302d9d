//! Portals: inaccessible pages that stand for open queues, and the table by which the handler finds them.
//!
//! **The table** is a fixed array of atomics, so that the handler needs no lock to search it. A place is free (0), being
//! set up or taken down (1), or in use (the address of its page). A handler that finds its page counts itself in, and
//! looks again; only then does it use the client. Whoever takes a portal down first changes the address, then waits for
//! the count to be 0. Both sides do this by sequentially consistent operations, the handler *count, then look*, the
//! other *change, then read the count*, so at least one of them sees the other (store buffering).
//!
//! **Fork.** A portal is not inherited, like the device's: the page is not mapped in a child, and the table is emptied
//! there before anything else runs. What the parent's portals own stays in the child as it is, and is never freed: the
//! engines that work for it are not there.

use std::io;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicUsize, Ordering};

use super::handler;
use crate::client::Client;

/// Size of a portal in bytes: one page.
const SIZE: usize = 4096;

/// How many portals a process can have at a time.
const PLACES: usize = 64;

/// Values of [`Place::page`] that are no address.
const FREE: usize = 0;
const CLAIMED: usize = 1;

struct Place {
    page: AtomicUsize,
    client: AtomicPtr<Client>,
    /// Handlers that use `client`.
    users: AtomicUsize,
}

static TABLE: [Place; PLACES] = [const {
    Place { page: AtomicUsize::new(FREE), client: AtomicPtr::new(std::ptr::null_mut()), users: AtomicUsize::new(0) }
}; PLACES];

/// Differs between a process and its children, as far as portals were made before.
static FORKS: AtomicU32 = AtomicU32::new(0);

/// The limited portal of an open queue, as `mmap(2)` of `/dev/dsa/wqD.Q` gives a process.
///
/// Any 64-byte aligned address of its 4096 bytes is as good as any other. The page can be neither read nor written:
/// only the instructions reach it. Dropping a portal unmaps it; a later submission to the address ends in SIGSEGV.
///
/// ```
/// # use std::sync::Arc;
/// # use dsa_emulator::{Config, Device, trap::Portal};
/// # use idxd_sys::{CompletionRecord, Descriptor, flag, instr, opcode, status};
/// let device = Device::new(Config::sapphire_rapids())?;
/// let client = Arc::new(device.open(0)?);
/// let portal = Portal::new(Arc::clone(&client))?;
/// let mut record = CompletionRecord::default();
/// let mut descriptor = Descriptor {
///     completion_addr: (&raw mut record).expose_provenance() as u64,
///     ..Descriptor::default()
/// };
/// descriptor.set_opcode_flags(opcode::NOP, flag::CRAV | flag::RCR);
/// instr::sfence();
/// // SAFETY: something emulates the instruction; the portal is there; the record outlives the descriptor.
/// assert!(unsafe { instr::enqcmd(portal.as_ptr(), &descriptor) });
/// client.quiesce();
/// assert_eq!(record.status, status::SUCCESS);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Portal {
    page: NonNull<u8>,
    client: Arc<Client>,
    place: usize,
    /// The value of [`FORKS`] when it was made.
    generation: u32,
    /// Whether the page stays mapped when the portal is dropped.
    leaves_page: bool,
}

// SAFETY: the page is only an address, which is not accessed through the pointer; the client may be used from any thread.
unsafe impl Send for Portal {}
// SAFETY: as above.
unsafe impl Sync for Portal {}

impl Portal {
    /// Makes a portal of `client`'s queue. Installs the handler first, see [`install`](super::install).
    ///
    /// # Errors
    ///
    /// There are 64 portals already, or the system refused the handler or the page.
    pub fn new(client: Arc<Client>) -> io::Result<Self> {
        handler::install()?;
        empty_in_children()?;
        let claim =
            |place: &Place| place.page.compare_exchange(FREE, CLAIMED, Ordering::Acquire, Ordering::Relaxed).is_ok();
        let place = TABLE.iter().position(claim).ok_or_else(|| io::Error::other("64 portals are in use already"))?;
        let page = map().inspect_err(|_| TABLE[place].page.store(FREE, Ordering::Relaxed))?;
        TABLE[place].client.store(Arc::as_ptr(&client).cast_mut(), Ordering::Relaxed);
        // Release: a handler that finds the page sees the client.
        TABLE[place].page.store(page.addr().get(), Ordering::SeqCst);
        Ok(Self { page, client, place, generation: FORKS.load(Ordering::Relaxed), leaves_page: false })
    }

    /// The first byte of the page.
    pub fn as_ptr(&self) -> *mut u8 {
        self.page.as_ptr()
    }

    /// Takes the portal down and leaves its page mapped, 4096 inaccessible bytes at the result, which now belong to the
    /// caller. For whoever carries out an `munmap(2)` of the page, or an `mmap(2)` in its place: were it unmapped here
    /// already, another thread could get the address for a mapping of its own, which the caller would then take away.
    ///
    /// A later submission to the address ends in SIGSEGV. In a child of the process that made the portal there is no page.
    pub fn into_page(mut self) -> *mut u8 {
        self.leaves_page = true;
        self.page.as_ptr()
    }

    /// The client whose queue this is.
    pub fn client(&self) -> &Arc<Client> {
        &self.client
    }
}

impl Drop for Portal {
    fn drop(&mut self) {
        if self.generation != FORKS.load(Ordering::Relaxed) {
            // A child's copy. The page is not mapped here, and the client would wait for engines that do not exist.
            std::mem::forget(Arc::clone(&self.client));
            return;
        }
        let place = &TABLE[self.place];
        place.page.store(CLAIMED, Ordering::SeqCst);
        while place.users.load(Ordering::SeqCst) != 0 {
            std::thread::yield_now();
        }
        place.client.store(std::ptr::null_mut(), Ordering::Relaxed);
        if !self.leaves_page {
            // SAFETY: the page was mapped by `map`, is this portal's own, and no table or handler names it any more. (If
            // the call failed, the page would stay, inaccessible as it is.)
            unsafe { libc::munmap(self.page.as_ptr().cast(), SIZE) };
        }
        // Release: whoever claims the place sees that it has been cleared.
        place.page.store(FREE, Ordering::Release);
    }
}

/// Calls `f` with the client whose portal holds `address`; `None` if there is no such portal.
pub(super) fn find<R>(address: u64, f: impl FnOnce(&Client) -> R) -> Option<R> {
    let page = page_of(address)?;
    let place = TABLE.iter().find(|place| place.page.load(Ordering::Relaxed) == page)?;
    place.users.fetch_add(1, Ordering::SeqCst);
    let answer = (place.page.load(Ordering::SeqCst) == page).then(|| {
        // SAFETY: the place is in use, so the pointer is that of a client that the portal owns. A drop of the portal
        // that has not seen our count has changed the address before we looked at it; one that sees it waits for us.
        f(unsafe { &*place.client.load(Ordering::Relaxed) })
    });
    place.users.fetch_sub(1, Ordering::SeqCst);
    answer
}

/// Whether a portal holds `address`.
pub(super) fn is_portal(address: u64) -> bool {
    page_of(address).is_some_and(|page| TABLE.iter().any(|place| place.page.load(Ordering::Relaxed) == page))
}

/// The address of the page that holds `address`, unless it is one that a portal cannot have.
fn page_of(address: u64) -> Option<usize> {
    let page = usize::try_from(address).ok()? & !(SIZE - 1);
    (page != FREE).then_some(page)
}

/// An inaccessible page that no child inherits.
fn map() -> io::Result<NonNull<u8>> {
    // SAFETY: a fresh private mapping of a size that is not 0, wherever there is room.
    let page = unsafe {
        libc::mmap(std::ptr::null_mut(), SIZE, libc::PROT_NONE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0)
    };
    if page == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the page is ours, and nothing is in it.
    if unsafe { libc::madvise(page, SIZE, libc::MADV_DONTFORK) } != 0 {
        let error = io::Error::last_os_error();
        // SAFETY: as above; nobody knows the page yet.
        unsafe { libc::munmap(page, SIZE) };
        return Err(error);
    }
    NonNull::new(page.cast()).ok_or_else(|| io::Error::other("the system mapped the portal at address 0"))
}

/// Makes every child start without portals.
fn empty_in_children() -> io::Result<()> {
    extern "C" fn in_child() {
        FORKS.fetch_add(1, Ordering::Relaxed);
        for place in &TABLE {
            // The client stays with the child's copy of the portal, which leaks it.
            place.page.store(FREE, Ordering::SeqCst);
            place.users.store(0, Ordering::SeqCst);
        }
    }
    // Not a `OnceLock`: a fork while another thread registers would leave the child waiting. Threads that come at the same
    // time register several times, which does no harm.
    static REGISTERED: AtomicBool = AtomicBool::new(false);
    if REGISTERED.load(Ordering::Relaxed) {
        return Ok(());
    }
    // SAFETY: the handler only stores to atomics, which is async-signal-safe; null means no handler.
    match unsafe { libc::pthread_atfork(None, None, Some(in_child)) } {
        0 => {
            REGISTERED.store(true, Ordering::Relaxed);
            Ok(())
        }
        error => Err(io::Error::from_raw_os_error(error)),
    }
}
