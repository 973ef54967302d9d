//! The two buffer traits and their contract.

use std::ops::RangeBounds;

use super::slice::{self, OutOfRange, Slice};

/// An owned buffer whose bytes stay where they are when the value is moved.
///
/// This is what an operation needs of a source. [`len`](Self::len) counts initialised bytes; a device or another
/// thread may read that many from [`as_ptr`](Self::as_ptr) for as long as the value exists.
///
/// Method names match those of the containers, and where both are in scope they give the same answers. One name needs
/// care: with this trait imported, `bytes.slice(a..b)` on a `Bytes` *value* is [`StableBuf::slice`], because it takes
/// `self`. Write `Bytes::slice(&bytes, a..b)` for the inherent method.
///
/// # Safety
///
/// An implementation promises, from the moment a value is handed over until it is dropped or a method that takes
/// `&mut self` is called on it:
///
/// 1. `as_ptr()` is not null and points to `len()` initialised bytes, which may be read from any thread. `len()` is at
///    most `isize::MAX`. The pointer may dangle if `len()` is 0.
/// 2. Neither the address nor the length changes when the value is moved, nor when methods that take `&self` are
///    called, on this value or on another one that shares the bytes.
/// 3. Nobody writes to the bytes: not this value, not another handle to the same memory, not the owner's own threads.
/// 4. `Drop` is the only way in which the value itself gives the memory up; leaking the value leaks the memory.
///
/// A type that keeps its bytes inline, such as an array, breaks rule 2:
///
/// ```compile_fail
/// fn source(_: impl dsa::buf::StableBuf) {}
/// source([0_u8; 64]);
/// ```
///
/// A borrow ends although the value that holds it is leaked, which breaks rule 4; the bound `'static` refuses it:
///
/// ```compile_fail
/// fn source(_: impl dsa::buf::StableBuf) {}
/// let local = vec![0_u8; 64];
/// source(local.as_slice());
/// ```
///
/// A completion may be taken on another thread, so what is not `Send` does not qualify:
///
/// ```compile_fail
/// fn source(_: impl dsa::buf::StableBuf) {}
/// source(std::rc::Rc::<[u8]>::from([0_u8; 64]));
/// ```
pub unsafe trait StableBuf: Unpin + Send + 'static {
    /// Address of the first byte.
    fn as_ptr(&self) -> *const u8;

    /// Number of initialised bytes.
    fn len(&self) -> usize;

    /// Whether there is no initialised byte.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// An owned view of a part of the initialised bytes; [`Slice::into_inner`] gives the whole buffer back.
    ///
    /// To reach beyond the initialised bytes of a writable buffer use [`StableBufMut::slice_mut`].
    ///
    /// ```
    /// use dsa::buf::StableBuf;
    ///
    /// let middle = vec![1_u8, 2, 3, 4].slice(1..3);
    /// assert_eq!(middle[..], [2, 3]);
    /// assert_eq!(middle.into_inner(), [1, 2, 3, 4]);
    /// ```
    ///
    /// # Panics
    ///
    /// As slice indexing does: if the range starts after its end, or ends after [`len`](Self::len).
    #[track_caller]
    fn slice(self, range: impl RangeBounds<usize>) -> Slice<Self>
    where
        Self: Sized,
    {
        match self.try_slice(range) {
            Ok(slice) => slice,
            Err(error) => error.panic(),
        }
    }

    /// As [`slice`](Self::slice), with an error that gives the buffer back in place of the panic.
    fn try_slice(self, range: impl RangeBounds<usize>) -> Result<Slice<Self>, OutOfRange<Self>>
    where
        Self: Sized,
    {
        slice::within_len(self, &range)
    }
}

/// An owned buffer with a stable address that may be written, and may have uninitialised room behind its bytes.
///
/// This is what an operation needs of a destination: the device writes up to [`capacity`](Self::capacity) bytes from
/// [`as_mut_ptr`](Self::as_mut_ptr), and only after that is the length raised with [`set_init`](Self::set_init). A
/// `Vec::with_capacity(n)` is thus a destination for `n` bytes without being zeroed first.
///
/// # Safety
///
/// In addition to the contract of [`StableBuf`]:
///
/// 1. `as_mut_ptr()` is the address that `as_ptr()` gives, and may be used to write and read `capacity()` bytes,
///    initialised or not, from any thread.
/// 2. `len() <= capacity() <= isize::MAX`, and the capacity does not change when the value is moved, nor by
///    [`set_init`](Self::set_init).
/// 3. The memory is exclusively this value's: no other handle reads or writes any of the `capacity()` bytes, and
///    the value itself touches none of them unless a method that takes `&mut self` is called.
/// 4. `set_init(n)` makes `len()` at least `n`, never less than it was, and changes no byte.
///
/// A borrow is no owned buffer, and neither is shared memory:
///
/// ```compile_fail
/// fn destination(_: impl dsa::buf::StableBufMut) {}
/// let mut local = [0_u8; 64];
/// destination(&mut local[..]);
/// ```
///
/// ```compile_fail
/// fn destination(_: impl dsa::buf::StableBufMut) {}
/// destination(std::sync::Arc::<[u8]>::from([0_u8; 64]));
/// ```
pub unsafe trait StableBufMut: StableBuf {
    /// Address of the first byte, for writing.
    fn as_mut_ptr(&mut self) -> *mut u8;

    /// Number of bytes that may be written, the initialised ones included.
    fn capacity(&self) -> usize;

    /// Declares that the first `len` bytes are initialised. Extends the buffer to at least `len` bytes and never
    /// shrinks it.
    ///
    /// # Safety
    ///
    /// `len` is at most [`capacity`](Self::capacity) and the first `len` bytes have been written.
    unsafe fn set_init(&mut self, len: usize);

    /// An owned view of a part of the buffer that may reach into its uninitialised room.
    ///
    /// An open end means the end of the capacity. The view's length is that of the initialised bytes inside it.
    ///
    /// ```
    /// use dsa::buf::{StableBuf, StableBufMut};
    ///
    /// let mut buf = Vec::with_capacity(64);
    /// buf.extend_from_slice(b"head");
    /// let tail = buf.slice_mut(4..64);
    /// assert_eq!((tail.len(), tail.capacity()), (0, 60));
    /// ```
    ///
    /// # Panics
    ///
    /// If the range starts after its end, ends after [`capacity`](Self::capacity), or starts after
    /// [`len`](StableBuf::len): writing such a view would leave a hole of uninitialised bytes before it.
    #[track_caller]
    fn slice_mut(self, range: impl RangeBounds<usize>) -> Slice<Self>
    where
        Self: Sized,
    {
        match self.try_slice_mut(range) {
            Ok(slice) => slice,
            Err(error) => error.panic(),
        }
    }

    /// As [`slice_mut`](Self::slice_mut), with an error that gives the buffer back in place of the panic.
    fn try_slice_mut(self, range: impl RangeBounds<usize>) -> Result<Slice<Self>, OutOfRange<Self>>
    where
        Self: Sized,
    {
        slice::within_capacity(self, &range)
    }
}
