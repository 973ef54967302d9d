//! Many operations as one.

use dsa::buf::{Pool, StableBuf, StableBufMut};
use dsa::stats::{Event, Path, Stats};
use dsa::{BatchBuffers, BatchItem, BatchValue, Batched, Error};

use crate::backend::Backend;
use crate::support::region::{Memory, Region};
use crate::support::{Rng, assert_same, crc_oracle, fill_oracle, seed, within};

type Buf = Vec<u8>;

/// Awaits a batch of `members` that are not empty; gives its items and what was done.
async fn run<S: StableBuf, D: StableBufMut>(
    backend: &Backend,
    members: usize,
    batch: Batched<S, D>,
) -> (Vec<BatchItem<S, D>>, Stats) {
    let before = backend.accelerator.stats();
    let items = within("batch", batch).await;
    let done = backend.accelerator.stats().since(&before);
    let [device, cpu] = members_by(&done);
    assert_eq!(device + cpu, members as u64, "{done}");
    (items, done)
}

/// Members that device and CPU have done.
fn members_by(done: &Stats) -> [u64; 2] {
    [done.total_operations(Path::Device), done.total_operations(Path::Cpu)]
}

/// Members that a device can do at once must have been done by it, as few submissions as it allows.
fn by_device(backend: &Backend, members: usize, done: &Stats) {
    if backend.has_device() && !backend.faults() {
        assert_eq!(members_by(done), [members as u64, 0], "{done}");
    }
}

pub(crate) async fn every_kind_of_member(backend: &Backend) {
    let mut rng = Rng::new(seed());
    let pool = Pool::builder().buffers(2).size(4096).build().unwrap();
    for len in [1, 64, 3000, 4096] {
        let (a, b) = (rng.bytes(len), rng.bytes(len));
        let boxed = |bytes: &[u8]| Box::new(bytes.to_vec()) as Box<dyn StableBuf>;
        let room = || Box::new(Buf::with_capacity(len)) as Box<dyn StableBufMut>;
        let aligned = || Box::new(pool.try_get().unwrap()) as Box<dyn StableBufMut>;
        let mut batch = backend.accelerator.batch();
        batch.copy(boxed(&a), room()).crc32c(boxed(&a)).fill(room(), len, [1, 2, 3, 4, 5, 6, 7, 8]);
        batch.copy_crc32c(boxed(&b), room()).compare(boxed(&a), boxed(&a)).compare(boxed(&a), boxed(&b));
        batch.dualcast(boxed(&a), aligned(), aligned());
        assert_eq!((batch.len(), batch.is_empty()), (7, false));
        let (items, done) = run(backend, 7, batch.submit()).await;
        by_device(backend, 7, &done);
        let values: Vec<_> = items.iter().map(|item| item.result.clone().unwrap()).collect();
        let first = a.iter().zip(&b).position(|(a, b)| a != b);
        let expected = [
            BatchValue::Done,
            BatchValue::Crc(crc_oracle(0, &a)),
            BatchValue::Done,
            BatchValue::Crc(crc_oracle(0, &b)),
            BatchValue::Difference(None),
            BatchValue::Difference(first),
            BatchValue::Done,
        ];
        assert_eq!(values, expected, "{len} bytes");
        for (item, expected) in items.into_iter().zip([&a, &a, &fill_oracle([1, 2, 3, 4, 5, 6, 7, 8], len), &b]) {
            match item.buffers.unwrap() {
                BatchBuffers::Copy(src, dst) | BatchBuffers::CopyCrc(src, dst) => {
                    assert_same(&src.slice(..), expected, "source");
                    assert_same(&dst.slice(..), expected, "destination");
                }
                BatchBuffers::Fill(dst) => assert_same(&dst.slice(..), expected, "fill"),
                BatchBuffers::Crc(src) => assert_same(&src.slice(..), expected, "crc"),
                other => panic!("{:?}", std::mem::discriminant(&other)),
            }
        }
    }
}

pub(crate) async fn both_destinations_of_a_dualcast(backend: &Backend) {
    let data = Rng::new(seed()).bytes(4000);
    let pool = Pool::builder().buffers(6).size(4096).build().unwrap();
    let mut batch = backend.accelerator.batch();
    for _ in 0..3 {
        batch.dualcast(data.clone(), pool.try_get().unwrap(), pool.try_get().unwrap());
    }
    let (items, done) = run(backend, 3, batch.submit()).await;
    by_device(backend, 3, &done);
    for item in items {
        let Some(BatchBuffers::Dualcast(src, first, second)) = item.buffers else { panic!("another member's buffers") };
        assert_same(&first, &src, "first destination");
        assert_same(&second, &data, "second destination");
    }
}

/// More members than any list, queue or lane holds.
pub(crate) async fn many_members(backend: &Backend) {
    const COUNT: usize = 1500;
    let mut rng = Rng::new(seed());
    let mut batch = backend.accelerator.batch::<Buf, Buf>();
    for _ in 0..COUNT {
        let len = 1 + rng.below(200);
        batch.copy(rng.bytes(len), Vec::with_capacity(len));
    }
    let (items, done) = run(backend, COUNT, batch.submit()).await;
    assert!(!backend.has_device() || members_by(&done)[0] > 0, "{done}");
    assert_eq!(items.len(), COUNT);
    for item in items {
        let Some(BatchBuffers::Copy(src, dst)) = item.buffers else { panic!("another member's buffers") };
        assert_same(&dst, &src, "copy");
    }
}

/// Members that take more than one descriptor, next to small ones.
pub(crate) async fn large_members(backend: &Backend) {
    let mut rng = Rng::new(seed());
    let mut batch = backend.accelerator.batch::<Buf, Buf>();
    for len in [100_000, 10, 1 << 20, 4097, 300_001, 1] {
        batch.copy_crc32c(rng.bytes(len), Vec::with_capacity(len));
    }
    let (items, _) = run(backend, 6, batch.submit()).await;
    for item in items {
        let Some(BatchBuffers::CopyCrc(src, dst)) = item.buffers else { panic!("another member's buffers") };
        assert_same(&dst, &src, "copy");
        assert_eq!(item.result, Ok(BatchValue::Crc(backend.accelerator.blocking().crc32c(&src))));
    }
}

/// A refused member keeps no other from being done.
pub(crate) async fn mistakes_among_members(backend: &Backend) {
    let data = Rng::new(seed()).bytes(500);
    let mut batch = backend.accelerator.batch();
    batch.copy(data.clone(), Vec::with_capacity(499)).copy(data.clone(), Vec::with_capacity(500));
    batch.compare(data.clone(), vec![0; 499]).fill(Vec::with_capacity(3), 4, 0u8).crc32c(Vec::new());
    let (items, done) = run(backend, 1, batch.submit()).await;
    by_device(backend, 1, &done);
    let results: Vec<_> = items.iter().map(|item| item.result.clone()).collect();
    let expected = [
        Err(Error::CapacityTooSmall { needed: 500, capacity: 499 }),
        Ok(BatchValue::Done),
        Err(Error::LengthMismatch { left: 500, right: 499 }),
        Err(Error::CapacityTooSmall { needed: 4, capacity: 3 }),
        Ok(BatchValue::Crc(0)),
    ];
    assert_eq!(results, expected);
    let buffers: Vec<_> = items.into_iter().map(|item| item.buffers.unwrap()).collect();
    assert_eq!(buffers[0], BatchBuffers::Copy(data.clone(), Vec::new()));
    assert_eq!(buffers[1], BatchBuffers::Copy(data.clone(), data.clone()));
    assert_eq!(buffers[2], BatchBuffers::Compare(data, vec![0; 499]));
}

pub(crate) async fn nothing_to_do(backend: &Backend) {
    let empty = backend.accelerator.batch::<Buf, Buf>();
    assert!(empty.is_empty());
    assert_eq!(run(backend, 0, empty.submit()).await.0.len(), 0);
    let mut batch = backend.accelerator.batch::<Buf, Buf>();
    batch.copy(Vec::new(), vec![1]).fence().fill(vec![2], 0, 9u8).compare(Vec::new(), Vec::new());
    let (items, done) = run(backend, 0, batch.submit()).await;
    assert_eq!(done.event(Event::Submissions), 0);
    assert_eq!(items[0].buffers, Some(BatchBuffers::Copy(Vec::new(), vec![1])));
    assert_eq!(items[1].buffers, Some(BatchBuffers::Fill(vec![2])));
    assert_eq!(items[2].result, Ok(BatchValue::Difference(None)));
}

pub(crate) async fn routes_of_batches(backend: &Backend) {
    let batch = || {
        let mut batch = backend.accelerator.batch::<Buf, Buf>();
        batch.copy(vec![1; 500], Vec::with_capacity(500)).crc32c(vec![2; 500]);
        batch
    };
    let mut on_cpu = batch();
    on_cpu.cpu_only();
    let (items, done) = run(backend, 2, on_cpu.submit()).await;
    assert_eq!((members_by(&done), items.len()), ([0, 2], 2), "{done}");
    assert_eq!(done.event(Event::Submissions), 0);
    let before = backend.accelerator.stats();
    let items = within("batch", batch().submit().on(&dsa::Accelerator::cpu())).await;
    assert_eq!(items[1].result, Ok(BatchValue::Crc(crc_oracle(0, &[2; 500]))));
    assert_eq!(members_by(&backend.accelerator.stats().since(&before)), [0, 0]);
}

/// Each link of a chain reads what the one before it has written.
pub(crate) async fn fences_keep_order(backend: &Backend) {
    const LEN: usize = 4096;
    const LINKS: usize = 40;
    let mut rng = Rng::new(seed());
    for round in 0..4 {
        let first = rng.bytes(LEN);
        let mut bytes = first.clone();
        bytes.resize(LEN * (LINKS + 1), 0);
        let memory = Memory::of(bytes);
        let link = |link: usize| memory.region(link * LEN, LEN);
        let mut batch = backend.accelerator.batch::<Region, Region>();
        for i in 0..LINKS {
            batch.copy(link(i), link(i + 1)).fence();
        }
        batch.compare(link(0), link(LINKS)).crc32c(link(LINKS));
        let (items, _) = run(backend, LINKS + 2, batch.submit()).await;
        assert_eq!(items[LINKS].result, Ok(BatchValue::Difference(None)), "round {round}");
        assert_eq!(items[LINKS + 1].result, Ok(BatchValue::Crc(crc_oracle(0, &first))));
        assert_same(&memory.bytes()[LINKS * LEN..], &first, "end of the chain");
    }
}

/// Groups of members between fences: inside a group anything goes, between groups nothing does.
pub(crate) async fn fences_between_groups(backend: &Backend) {
    const LEN: usize = 1000;
    const WIDTH: usize = 7;
    let mut rng = Rng::new(seed());
    for groups in [2, 5, 12] {
        let first = rng.bytes(LEN * WIDTH);
        let mut bytes = first.clone();
        bytes.resize(LEN * WIDTH * (groups + 1), 0);
        let memory = Memory::of(bytes);
        let mut batch = backend.accelerator.batch::<Region, Region>();
        for group in 0..groups {
            // Every member reads what another one of the group before has written.
            for i in 0..WIDTH {
                let (from, to) = (group * WIDTH + (i + group) % WIDTH, (group + 1) * WIDTH + i);
                batch.copy(memory.region(from * LEN, LEN), memory.region(to * LEN, LEN));
            }
            batch.fence();
        }
        let mut expected = first;
        for group in 0..groups {
            expected.rotate_left((group % WIDTH) * LEN);
        }
        run(backend, groups * WIDTH, batch.submit()).await;
        assert_same(&memory.bytes()[groups * WIDTH * LEN..], &expected, &format!("{groups} groups"));
    }
}
