//! The buffer traits for the containers of the standard library and of `bytes`.
//!
//! `Self::len(self)` and the like are the inherent methods: a path prefers those to the trait's. Where a container only
//! dereferences to bytes, the method of `[u8]` or `str` is named instead. So none calls itself; the tests would overflow
//! the stack.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::{StableBuf, StableBufMut};

// SAFETY: a `Vec` keeps its bytes in a heap allocation that only `&mut self` methods and `Drop` change or free; moving
// the `Vec` moves pointer, length and capacity. `Vec::as_ptr` is documented not to be null.
unsafe impl StableBuf for Vec<u8> {
    #[inline]
    fn as_ptr(&self) -> *const u8 {
        Self::as_ptr(self)
    }

    #[inline]
    fn len(&self) -> usize {
        Self::len(self)
    }
}

// SAFETY: `Vec::as_mut_ptr` may be used for the whole allocation (it materialises no slice), which the `Vec` owns
// alone; `set_init` stays within the capacity by its own contract and leaves a longer `Vec` as it is.
unsafe impl StableBufMut for Vec<u8> {
    #[inline]
    fn as_mut_ptr(&mut self) -> *mut u8 {
        Self::as_mut_ptr(self)
    }

    #[inline]
    fn capacity(&self) -> usize {
        Self::capacity(self)
    }

    #[inline]
    unsafe fn set_init(&mut self, len: usize) {
        if len > Self::len(self) {
            // SAFETY: the caller promises that `len` is within the capacity and the bytes before it are written.
            unsafe { self.set_len(len) };
        }
    }
}

// SAFETY: the bytes live in a heap allocation of their own, which moving the box does not touch. A live box asserts
// that it is the only pointer to its target whenever it is moved; that is why whoever has an operation in flight keeps
// the value in a `MaybeUninit`, for which no such assertion is made.
unsafe impl StableBuf for Box<[u8]> {
    #[inline]
    fn as_ptr(&self) -> *const u8 {
        <[u8]>::as_ptr(self)
    }

    #[inline]
    fn len(&self) -> usize {
        <[u8]>::len(self)
    }
}

// SAFETY: a box is the only owner of its target, all of it is initialised, and its length is fixed.
unsafe impl StableBufMut for Box<[u8]> {
    #[inline]
    fn as_mut_ptr(&mut self) -> *mut u8 {
        <[u8]>::as_mut_ptr(self)
    }

    #[inline]
    fn capacity(&self) -> usize {
        <[u8]>::len(self)
    }

    #[inline]
    unsafe fn set_init(&mut self, len: usize) {
        debug_assert!(len <= <[u8]>::len(self), "set_init beyond the capacity");
    }
}

// SAFETY: moving a box does not move its target, so the target's own promises carry over. This covers
// `Box<dyn StableBuf>` and `Box<dyn StableBufMut>`.
unsafe impl<B: StableBuf + ?Sized> StableBuf for Box<B> {
    #[inline]
    fn as_ptr(&self) -> *const u8 {
        B::as_ptr(self)
    }

    #[inline]
    fn len(&self) -> usize {
        B::len(self)
    }
}

// SAFETY: as above, and a box is the only way to its target.
unsafe impl<B: StableBufMut + ?Sized> StableBufMut for Box<B> {
    #[inline]
    fn as_mut_ptr(&mut self) -> *mut u8 {
        B::as_mut_ptr(self)
    }

    #[inline]
    fn capacity(&self) -> usize {
        B::capacity(self)
    }

    #[inline]
    unsafe fn set_init(&mut self, len: usize) {
        // SAFETY: the caller's promise is the one that the target asks for.
        unsafe { B::set_init(self, len) }
    }
}

// SAFETY: the bytes lie behind the reference counts on the heap. While this handle exists, the count is at least one
// beyond any other handle's, so `Arc::get_mut` and its relatives refuse every other holder: nobody can write.
unsafe impl StableBuf for Arc<[u8]> {
    #[inline]
    fn as_ptr(&self) -> *const u8 {
        <[u8]>::as_ptr(self)
    }

    #[inline]
    fn len(&self) -> usize {
        <[u8]>::len(self)
    }
}

// SAFETY: as for `Arc<[u8]>`, other holders get `&B` at most, and by the contract of `StableBuf` nothing that takes
// `&self` moves, resizes or writes the bytes. The bound `Sync` is what makes the handle `Send`.
unsafe impl<B: StableBuf + Sync + ?Sized> StableBuf for Arc<B> {
    #[inline]
    fn as_ptr(&self) -> *const u8 {
        B::as_ptr(self)
    }

    #[inline]
    fn len(&self) -> usize {
        B::len(self)
    }
}

// SAFETY: borrowed for the rest of the program, so never freed and, `u8` having no interior mutability, never written.
unsafe impl StableBuf for &'static [u8] {
    #[inline]
    fn as_ptr(&self) -> *const u8 {
        <[u8]>::as_ptr(self)
    }

    #[inline]
    fn len(&self) -> usize {
        <[u8]>::len(self)
    }
}

// SAFETY: as for `&'static [u8]`.
unsafe impl StableBuf for &'static str {
    #[inline]
    fn as_ptr(&self) -> *const u8 {
        str::as_ptr(self)
    }

    #[inline]
    fn len(&self) -> usize {
        str::len(self)
    }
}

// SAFETY: a `String` is a `Vec<u8>`. It is readable only: a device that writes could break the UTF-8 rule.
unsafe impl StableBuf for String {
    #[inline]
    fn as_ptr(&self) -> *const u8 {
        str::as_ptr(self)
    }

    #[inline]
    fn len(&self) -> usize {
        Self::len(self)
    }
}

// SAFETY: a `Bytes` is a pointer and a length into memory that it keeps alive, static or shared. It is immutable as
// long as any handle exists: turning it into a `BytesMut` or a `Vec` without a copy needs the only handle.
unsafe impl StableBuf for Bytes {
    #[inline]
    fn as_ptr(&self) -> *const u8 {
        <[u8]>::as_ptr(self)
    }

    #[inline]
    fn len(&self) -> usize {
        Self::len(self)
    }
}

// SAFETY: a `BytesMut` is a pointer, a length and a capacity into heap memory; only `&mut self` methods reallocate.
unsafe impl StableBuf for BytesMut {
    #[inline]
    fn as_ptr(&self) -> *const u8 {
        <[u8]>::as_ptr(self)
    }

    #[inline]
    fn len(&self) -> usize {
        Self::len(self)
    }
}

// SAFETY: handles that were split from one allocation own disjoint parts of it, and `capacity` ends where the next
// one's part begins, so the whole range is exclusively this value's.
unsafe impl StableBufMut for BytesMut {
    #[inline]
    fn as_mut_ptr(&mut self) -> *mut u8 {
        // `<[u8]>::as_mut_ptr` would give a pointer that is good for the initialised bytes only. With the length at 0
        // the spare capacity is the whole buffer.
        let len = Self::len(self);
        // SAFETY: 0 is within the capacity, and no byte needs to be initialised for it.
        unsafe { self.set_len(0) };
        let whole = self.spare_capacity_mut().as_mut_ptr().cast();
        // SAFETY: this is the length it had, and no byte has been touched.
        unsafe { self.set_len(len) };
        whole
    }

    #[inline]
    fn capacity(&self) -> usize {
        Self::capacity(self)
    }

    #[inline]
    unsafe fn set_init(&mut self, len: usize) {
        if len > Self::len(self) {
            // SAFETY: the caller promises that `len` is within the capacity and the bytes before it are written.
            unsafe { self.set_len(len) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes as a device sees them.
    fn seen<B: StableBuf>(buf: &B) -> Vec<u8> {
        // SAFETY: the contract of `StableBuf`.
        unsafe { std::slice::from_raw_parts(B::as_ptr(buf), B::len(buf)) }.to_vec()
    }

    /// Moves the value about and checks that its bytes stayed.
    fn stays<B: StableBuf>(buf: B, expected: &[u8]) {
        assert_eq!(seen(&buf), expected);
        let before = (B::as_ptr(&buf), B::len(&buf));
        let shelf = [None, Some(Box::new(buf)), None];
        let [_, moved, _] = shelf;
        let moved = *moved.unwrap();
        assert_eq!((B::as_ptr(&moved), B::len(&moved)), before);
        let moved = std::thread::spawn(move || moved).join().unwrap();
        assert_eq!((B::as_ptr(&moved), B::len(&moved)), before);
        assert_eq!(seen(&moved), expected);
        assert_eq!(moved.is_empty(), expected.is_empty());
    }

    /// Writes the whole capacity as a device does and reads it back.
    fn takes_writes<B: StableBufMut>(mut buf: B, initialised: usize, capacity: usize) -> B {
        assert_eq!((buf.len(), B::capacity(&buf)), (initialised, capacity));
        let before = seen(&buf);
        let ptr = B::as_mut_ptr(&mut buf);
        assert_eq!(ptr.cast_const(), B::as_ptr(&buf));
        assert_eq!(seen(&buf), before, "taking the pointer must change nothing");
        let mut buf = std::convert::identity(buf);
        let ptr = {
            let again = B::as_mut_ptr(&mut buf);
            assert_eq!(again, ptr);
            again
        };
        // SAFETY: `capacity` bytes may be written.
        unsafe {
            for at in 0..capacity {
                ptr.add(at).write(at as u8 ^ 0x5a);
            }
            buf.set_init(capacity);
            buf.set_init(0);
        }
        assert_eq!(buf.len(), capacity, "set_init never shrinks");
        assert_eq!(B::capacity(&buf), capacity);
        assert_eq!(seen(&buf), (0..capacity).map(|at| at as u8 ^ 0x5a).collect::<Vec<_>>());
        buf
    }

    #[test]
    fn owned_containers_keep_their_address() {
        let data = [1_u8, 2, 3, 4, 5];
        stays(data.to_vec(), &data);
        stays(Vec::new(), &[]);
        stays(Box::<[u8]>::from(data), &data);
        stays(Arc::<[u8]>::from(data), &data);
        stays(Arc::new(data.to_vec()), &data);
        stays(&b"static"[..], b"static");
        stays("text", b"text");
        stays(String::from("text"), b"text");
        stays(Bytes::from_static(b"static"), b"static");
        stays(Bytes::copy_from_slice(&data), &data);
        stays(Bytes::copy_from_slice(&data).split_off(2), &data[2..]);
        stays(Bytes::from_owner(data), &data);
        stays(BytesMut::from(&data[..]), &data);
    }

    #[test]
    fn writable_containers_take_their_whole_capacity() {
        let mut vec = Vec::with_capacity(100);
        vec.extend_from_slice(b"abc");
        let capacity = vec.capacity();
        takes_writes(vec, 3, capacity);
        takes_writes(vec![7_u8; 64].into_boxed_slice(), 64, 64);
        let mut bytes = BytesMut::with_capacity(100);
        bytes.extend_from_slice(b"abc");
        let capacity = bytes.capacity();
        takes_writes(bytes, 3, capacity);
        takes_writes(Vec::new(), 0, 0);
        takes_writes(BytesMut::new(), 0, 0);
    }

    #[test]
    fn parts_of_one_bytes_mut_do_not_reach_into_each_other() {
        let mut front = BytesMut::zeroed(64);
        let back = front.split_off(16);
        takes_writes(front, 16, 16);
        assert_eq!(back, [0_u8; 48][..]);
    }

    #[test]
    fn trait_objects_are_buffers() {
        stays::<Box<dyn StableBuf>>(Box::new(vec![1_u8, 2]), &[1, 2]);
        stays::<Box<dyn StableBuf>>(Box::new(Bytes::from_static(b"xy")), b"xy");
        let object: Box<dyn StableBufMut> = Box::new(vec![0_u8; 32].into_boxed_slice());
        let object = takes_writes(object, 32, 32);
        let slice = object.slice(4..8);
        assert_eq!(slice[..], [4 ^ 0x5a, 5 ^ 0x5a, 6 ^ 0x5a, 7 ^ 0x5a]);
        stays::<Arc<dyn StableBufSync>>(Arc::new(vec![3_u8]), &[3]);
    }

    trait StableBufSync: StableBuf + Sync {}
    impl<B: StableBuf + Sync> StableBufSync for B {}

    #[test]
    fn set_init_between_length_and_capacity_extends() {
        let mut vec = Vec::with_capacity(16);
        vec.push(1_u8);
        // SAFETY: 4 bytes are written first.
        unsafe {
            StableBufMut::as_mut_ptr(&mut vec).write_bytes(9, 4);
            vec.set_init(4);
        }
        assert_eq!(vec, [9; 4]);
        // SAFETY: fewer bytes than are initialised.
        unsafe { vec.set_init(2) };
        assert_eq!(vec, [9; 4]);
    }

    #[test]
    fn the_inherent_slice_of_bytes_stays_reachable() {
        let bytes = Bytes::from_static(b"0123456789");
        let shared: Bytes = Bytes::slice(&bytes, 2..4);
        assert_eq!(shared, "23");
        let owned = bytes.slice(2..4);
        assert_eq!(owned[..], b"23"[..]);
        assert_eq!(owned.into_inner(), "0123456789");
    }
}
