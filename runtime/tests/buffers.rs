//! What is a buffer and what is not, held by the compiler. Not: types that keep their bytes inline, that only borrow
//! them, that stay on their thread, or that share what they would have to write. (What a scope must not lend is held by
//! the `compile_fail` examples of `dsa::blocking::Scope`.)

use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use dsa::buf::{Slice, StableBuf, StableBufMut};
use static_assertions::{assert_impl_all, assert_not_impl_any};

// Moves with its value.
assert_not_impl_any!([u8; 64]: StableBuf, StableBufMut);
assert_not_impl_any!(Slice<[u8; 64]>: StableBuf, StableBufMut);
// Exclusive borrows, even for ever: a reborrow would be a second way to the bytes.
assert_not_impl_any!(&'static mut [u8]: StableBuf, StableBufMut);
assert_not_impl_any!(&'static mut Vec<u8>: StableBuf, StableBufMut);
// Stays on its thread.
assert_not_impl_any!(Rc<[u8]>: StableBuf, StableBufMut);
assert_not_impl_any!(Rc<Vec<u8>>: StableBuf, StableBufMut);
// May be read elsewhere while it would be written.
assert_not_impl_any!(Arc<[u8]>: StableBufMut);
assert_not_impl_any!(Bytes: StableBufMut);
assert_not_impl_any!(&'static [u8]: StableBufMut);
// Not every byte sequence is a string.
assert_not_impl_any!(String: StableBufMut);

// The same types where they do qualify, so that the assertions above are about the reason given.
assert_impl_all!(Vec<u8>: StableBuf, StableBufMut);
assert_impl_all!(Slice<Vec<u8>>: StableBuf, StableBufMut);
assert_impl_all!(Box<[u8]>: StableBuf, StableBufMut);
assert_impl_all!(Arc<[u8]>: StableBuf);
assert_impl_all!(Bytes: StableBuf);
assert_impl_all!(&'static [u8]: StableBuf);
assert_impl_all!(String: StableBuf);

// Futures go to other threads and into `select!`.
assert_impl_all!(dsa::Copy<Vec<u8>, Vec<u8>>: Send, Unpin, Future);
assert_impl_all!(dsa::Batched<Vec<u8>, Vec<u8>>: Send, Unpin, Future);
assert_impl_all!(dsa::Accelerator: Clone, Send, Sync);

/// A borrow of anything shorter than the program is refused by the bound; what is left to run is that a borrow for ever
/// is not.
#[test]
fn a_borrow_for_ever_is_a_source() {
    fn source(buf: &impl StableBuf) -> usize {
        buf.len()
    }
    assert_eq!(source(&&b"for ever"[..]), 8);
}
