//! Every type of buffer that the crate knows, on both sides.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use dsa::buf::{Pool, PoolBuf, StableBuf, StableBufMut};

use crate::backend::{Backend, By};
use crate::support::tracked::Ledger;
use crate::support::{Rng, assert_same, crc_oracle, seed, within};

const LEN: usize = 10_001;

fn pool() -> Pool {
    Pool::builder().buffers(4).size(2 * LEN).build().expect("memory")
}

fn pool_buf(pool: &Pool, data: &[u8]) -> PoolBuf {
    let mut buf = pool.try_get().expect("a free buffer");
    buf.extend_from_slice(data);
    buf
}

fn view(buf: &impl StableBuf) -> &[u8] {
    // SAFETY: the contract of `StableBuf`.
    unsafe { std::slice::from_raw_parts(buf.as_ptr(), StableBuf::len(buf)) }
}

async fn reads<S: StableBuf>(backend: &Backend, src: S, expected: &[u8]) {
    let what = std::any::type_name::<S>();
    let len = expected.len();
    let (src, dst) =
        backend.run(By::Device, what, backend.accelerator.copy(src, Vec::with_capacity(len))).await.unwrap();
    assert_same(&dst, expected, what);
    let (crc, src) = backend.run(By::Device, what, backend.accelerator.crc32c(src)).await.unwrap();
    assert_eq!(crc, crc_oracle(0, expected), "{what}");
    let (difference, (src, _)) = backend.run(By::Device, what, backend.accelerator.compare(src, dst)).await.unwrap();
    assert_eq!(difference, None, "{what}");
    assert_same(view(&src), expected, what);
}

async fn writes<D: StableBufMut>(backend: &Backend, dst: D) {
    let what = std::any::type_name::<D>();
    let data = Rng::new(seed()).bytes(LEN);
    let length = StableBuf::len(&dst).max(LEN);
    let (data, dst) = backend.run(By::Device, what, backend.accelerator.copy(data, dst)).await.unwrap();
    assert_eq!(StableBuf::len(&dst), length, "{what}");
    assert_same(&view(&dst)[..LEN], &data, what);
    let dst = backend.run(By::Device, what, backend.accelerator.fill(dst, LEN, 7u8)).await.unwrap();
    assert_same(&view(&dst)[..LEN], &[7; LEN], what);
    let (crc, (data, dst)) = backend.run(By::Device, what, backend.accelerator.copy_crc32c(data, dst)).await.unwrap();
    assert_eq!(crc, crc_oracle(0, &data), "{what}");
    let mut expected = data;
    expected.copy_within(..1000, 9000);
    let dst = backend.run(By::Device, what, backend.accelerator.copy_within(dst, ..1000, 9000)).await.unwrap();
    assert_same(&view(&dst)[..LEN], &expected, what);
}

pub(crate) async fn every_type_is_a_source(backend: &Backend) {
    static STATIC: [u8; 5000] = [0x5a; 5000];
    let data = Rng::new(seed()).bytes(LEN);
    let (pool, ledger) = (pool(), Ledger::new());
    reads(backend, data.clone(), &data).await;
    reads(backend, data.clone().into_boxed_slice(), &data).await;
    reads(backend, Arc::<[u8]>::from(data.clone()), &data).await;
    reads(backend, Arc::new(data.clone()), &data).await;
    reads(backend, Bytes::from(data.clone()), &data).await;
    reads(backend, BytesMut::from(&data[..]), &data).await;
    reads(backend, &STATIC[..], &STATIC).await;
    reads(backend, Bytes::from_static(&STATIC), &STATIC).await;
    reads(backend, "static text", b"static text").await;
    reads(backend, "text".repeat(2000), "text".repeat(2000).as_bytes()).await;
    reads(backend, pool_buf(&pool, &data), &data).await;
    reads(backend, data.clone().slice(17..9000), &data[17..9000]).await;
    reads(backend, Bytes::from(data.clone()).slice(1..), &data[1..]).await;
    reads(backend, Bytes::slice(&Bytes::from(data.clone()), 100..200), &data[100..200]).await;
    reads(backend, pool_buf(&pool, &data).slice(..77), &data[..77]).await;
    reads(backend, ledger.of(data.clone()), &data).await;
    reads(backend, Box::new(data.clone()) as Box<dyn StableBuf>, &data).await;
    assert_eq!((pool.available(), ledger.alive()), (4, 0));
}

pub(crate) async fn every_type_is_a_destination(backend: &Backend) {
    let (pool, ledger) = (pool(), Ledger::new());
    writes(backend, Vec::with_capacity(LEN)).await;
    writes(backend, vec![1; LEN + 50]).await;
    writes(backend, vec![1; LEN].into_boxed_slice()).await;
    writes(backend, BytesMut::with_capacity(LEN)).await;
    writes(backend, BytesMut::zeroed(LEN + 1)).await;
    writes(backend, BytesMut::with_capacity(3 * LEN).split_off(LEN / 2)).await;
    writes(backend, pool.try_get().unwrap()).await;
    writes(backend, vec![1; LEN + 100].slice_mut(50..)).await;
    writes(backend, Vec::with_capacity(LEN + 100).slice_mut(..=LEN)).await;
    writes(backend, pool_buf(&pool, b"header").slice_mut(6..)).await;
    writes(backend, ledger.buffer(LEN)).await;
    writes(backend, Box::new(Vec::with_capacity(LEN)) as Box<dyn StableBufMut>).await;
    assert_eq!((pool.available(), ledger.alive()), (4, 0));
}

/// Many operations may read one buffer at once.
pub(crate) async fn shared_sources(backend: &Backend) {
    let data = Rng::new(seed()).bytes(LEN);
    let (shared, bytes) = (Arc::<[u8]>::from(&data[..]), Bytes::from(data.clone()));
    let tasks: Vec<_> = (0..8)
        .flat_map(|_| {
            let acc = &backend.accelerator;
            [tokio::spawn(sum(acc.crc32c(Arc::clone(&shared)))), tokio::spawn(sum(acc.crc32c(bytes.clone())))]
        })
        .collect();
    let expected = crc_oracle(0, &data);
    for task in tasks {
        assert_eq!(task.await.unwrap(), expected);
    }
}

/// The CRC alone.
async fn sum<S: StableBuf>(operation: dsa::Crc32c<S>) -> u32 {
    within("crc", operation).await.unwrap().0
}

pub(crate) async fn slices_of_slices(backend: &Backend) {
    let data = Rng::new(seed()).bytes(LEN);
    let src = data.clone().slice(100..9100).slice(10..8010);
    let dst = Vec::with_capacity(LEN).slice_mut(0..LEN).slice_mut(0..8000);
    let (src, dst) = backend.run(By::Device, "copy", backend.accelerator.copy(src, dst)).await.unwrap();
    assert_same(&src.into_inner().into_inner(), &data, "source");
    // What was written below both views now belongs to the vector.
    assert_same(&dst.into_inner().into_inner(), &data[110..8110], "destination");
}
