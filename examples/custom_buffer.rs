//! Memory of your own as a buffer: an anonymous mapping that implements the two buffer traits.
//!
//! Any memory that stays where it is can be a buffer: shared memory, huge pages, memory of another library. The traits
//! are `unsafe` because the device works on plain addresses, long after the call: what they ask for is written above
//! each implementation, point by point.
//!
//! ```sh
//! cargo run -p dsa-examples --example custom_buffer
//! ```

use std::error::Error;
use std::io;
use std::ptr::{self, NonNull};

use dsa::buf::{StableBuf, StableBufMut};
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};

/// Private, anonymous pages. All bytes are initialised (to zero) from the beginning, so the length is the capacity.
struct Mapping {
    base: NonNull<u8>,
    len: usize,
}

impl Mapping {
    /// Maps `len` bytes, more than 0. With `POPULATE` the pages are there before the device asks for them: a page that
    /// is missing costs an interrupted descriptor.
    fn new(len: usize) -> io::Result<Self> {
        let flags = MapFlags::PRIVATE | MapFlags::POPULATE;
        // SAFETY: a new mapping at an address that the kernel chooses touches no memory that is in use.
        let base = unsafe { mmap_anonymous(ptr::null_mut(), len, ProtFlags::READ | ProtFlags::WRITE, flags)? };
        // The kernel never places such a mapping at address 0.
        let base = NonNull::new(base.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { base, len })
    }

    /// The bytes, while nobody else has them.
    fn bytes(&self) -> &[u8] {
        // SAFETY: the mapping is `len` initialised bytes. Only methods that take `&mut self`, and operations that own the
        // whole value, write to it; neither can happen while `self` is borrowed.
        unsafe { std::slice::from_raw_parts(self.base.as_ptr(), self.len) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: `new` mapped exactly this range, nothing else unmaps it, and no borrow of it is left. An operation
        // drops its buffers only when the device is done with them, even if its future was dropped long before.
        let result = unsafe { munmap(self.base.as_ptr().cast(), self.len) };
        debug_assert!(result.is_ok(), "{result:?}");
    }
}

// SAFETY: the value is the only owner of its mapping, which belongs to the process and not to a thread.
unsafe impl Send for Mapping {}

// SAFETY: by the points of the trait:
// 1. `base` is not null and points to `len` initialised bytes, because anonymous memory is zeroed; `len` is below
//    `isize::MAX`, or the mapping would have failed. Any thread may read them.
// 2. Address and length are fields that nothing changes; the bytes are not inside the value, so moving it moves nothing.
// 3. The mapping is private and has no other handle, so nobody writes to it.
// 4. Only `Drop` unmaps it.
unsafe impl StableBuf for Mapping {
    fn as_ptr(&self) -> *const u8 {
        self.base.as_ptr()
    }

    fn len(&self) -> usize {
        self.len
    }
}

// SAFETY: by the points of the trait:
// 1. The same address; the pages are writable for all of the capacity.
// 2. The capacity is the length, which never changes.
// 3. There is no other handle, and the value itself touches no byte.
// 4. All bytes are initialised already, so there is nothing to note.
unsafe impl StableBufMut for Mapping {
    fn as_mut_ptr(&mut self) -> *mut u8 {
        self.base.as_ptr()
    }

    fn capacity(&self) -> usize {
        self.len
    }

    unsafe fn set_init(&mut self, len: usize) {
        debug_assert!(len <= self.len);
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    const LEN: usize = 2 << 20;
    let accelerator = dsa_examples::accelerator()?;

    // A mapping as destination and as source, together with buffers of other types.
    let mapping = accelerator.fill(Mapping::new(LEN)?, LEN, *b"pattern ").await?;
    assert_eq!(mapping.bytes(), b"pattern ".repeat(LEN / 8));
    let (mapping, copy) = accelerator.copy_to_vec(mapping).await?;
    assert_eq!(mapping.bytes(), copy);

    // Slices work on it as on every buffer: here the second half is overwritten, and the whole comes back.
    let (_, half) = accelerator.copy(vec![7; LEN / 2], mapping.slice_mut(LEN / 2..)).await?;
    let mapping = half.into_inner();
    let (difference, (mapping, _)) = accelerator.compare(mapping, copy).await?;
    assert_eq!(difference, Some(LEN / 2));

    // Whoever loses interest drops the future, as this `select!` does after one poll. The mapping goes with it, but is
    // unmapped only when the device is done.
    tokio::select! {
        biased;
        _ = accelerator.crc32c(mapping) => {}
        () = std::future::ready(()) => {}
    }
    println!("filled, copied, overwritten and compared {LEN} bytes of a mapping");
    Ok(())
}
