//! What the workers of a campaign do: operations of all kinds, some of them cancelled, every result verified.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dsa::buf::{StableBuf, StableBufMut};
use dsa::{Accelerator, BatchBuffers, BatchValue, Policy};
use dsa_emulator::{Config, Device, Effect, FaultRule, WqConfig};

use crate::support::later::{self, KINDS};
use crate::support::tracked::{Ledger, Tracked};
use crate::support::{self, Rng, assert_same, fill_oracle, poll_once, within};

/// The largest operation. Most are much smaller.
const LARGEST: usize = 40_000;

/// One operation in so many is cancelled at some stage.
const CANCELLED: usize = 20;

/// CRC-32C by table: the bitwise oracle is too slow for a million operations. The two are compared first.
struct CrcTable([u32; 256]);

impl CrcTable {
    fn new() -> Self {
        let byte = |byte: usize| (0..8).fold(byte as u32, |crc, _| (crc >> 1) ^ (0x82f6_3b78 * (crc & 1)));
        let table = Self(std::array::from_fn(byte));
        let data = Rng::new(1).bytes(1000);
        assert_eq!(table.crc(7, &data), support::crc_oracle(7, &data));
        table
    }

    fn crc(&self, seed: u32, data: &[u8]) -> u32 {
        !data.iter().fold(!seed, |crc, &byte| crc >> 8 ^ self.0[usize::from(crc as u8 ^ byte)])
    }
}

/// What all workers share.
pub(crate) struct Campaign {
    pub(crate) acc: Accelerator,
    pub(crate) ledger: Arc<Ledger>,
    table: CrcTable,
    /// Random bytes that sources are cut from.
    noise: Vec<u8>,
    pub(crate) finished: AtomicU64,
    pub(crate) cancelled: AtomicU64,
}

/// A device with troubles: faults, refusals, errors, delays.
pub(crate) fn device(queues: impl IntoIterator<Item = WqConfig>, seed: u64) -> Device {
    let base = Config::diamond_rapids().engines(2).backward_moves(0.3).seed(seed);
    let config = queues.into_iter().fold(base, Config::queue);
    let rules = [
        FaultRule::new(Effect::PageFault { resolvable: false }).probability(0.01),
        FaultRule::new(Effect::Retry).probability(0.01),
        FaultRule::new(Effect::HardwareError(0x20)).probability(0.001),
        FaultRule::new(Effect::Delay(Duration::from_micros(300))).probability(0.01),
    ];
    Device::new(rules.into_iter().fold(config, Config::fault)).unwrap()
}

impl Campaign {
    /// A campaign on all queues of a device.
    pub(crate) fn new(device: &Device, seed: u64) -> Arc<Self> {
        let mut policy = Policy::default();
        policy.min_device_size = Some(64);
        policy.lanes = 3;
        // Nothing is lost for ever here; whatever takes so long is a bug.
        policy.lost_after = support::PATIENCE * 2;
        Arc::new(Self {
            acc: Accelerator::builder().policy(policy).emulator(device).build().unwrap(),
            ledger: Ledger::new(),
            table: CrcTable::new(),
            noise: Rng::new(seed).bytes(LARGEST * 3),
            finished: AtomicU64::new(0),
            cancelled: AtomicU64::new(0),
        })
    }

    /// A source of random length and content.
    fn source(&self, rng: &mut Rng) -> Tracked {
        let len = match rng.below(10) {
            0 => rng.below(LARGEST),
            1..4 => rng.below(9000),
            _ => rng.below(1500),
        };
        let start = rng.below(self.noise.len() - len);
        self.ledger.of(self.noise[start..start + len].to_vec())
    }

    /// Awaits an operation, unless chance wants it dropped: unpolled, in flight, after a while, or complete.
    async fn drive<F: Future + Unpin>(&self, rng: &mut Rng, mut operation: F) -> Option<F::Output> {
        if rng.one_in(CANCELLED) {
            match rng.below(4) {
                0 => {}
                1 => drop(poll_once(&mut operation)),
                2 => {
                    let _ = poll_once(&mut operation);
                    tokio::task::yield_now().await;
                }
                _ => {
                    let pause = Duration::from_micros(rng.below(300) as u64);
                    let _ = tokio::time::timeout(pause, &mut operation).await;
                }
            }
            drop(operation);
            self.cancelled.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        let output = within("operation", operation).await;
        self.finished.fetch_add(1, Ordering::Relaxed);
        Some(output)
    }

    pub(crate) async fn task(&self, mut rng: Rng, operations: u64) {
        for _ in 0..operations {
            match rng.below(12) {
                0 | 1 => self.copy(&mut rng).await,
                2 => self.fill(&mut rng).await,
                3 => self.crc(&mut rng).await,
                4 => self.copy_crc(&mut rng).await,
                5 => self.compare(&mut rng).await,
                6 => self.within(&mut rng).await,
                7 => self.batch(&mut rng).await,
                8 | 9 => self.later(&mut rng).await,
                10 if rng.one_in(10) => self.drain(&mut rng).await,
                _ => self.dualcast(&mut rng).await,
            }
        }
    }

    async fn copy(&self, rng: &mut Rng) {
        let src = self.source(rng);
        let dst = self.ledger.buffer(StableBuf::len(&src) + rng.below(3));
        let Some(result) = self.drive(rng, self.acc.copy(src, dst)).await else { return };
        let (src, dst) = result.unwrap();
        assert_same(&dst.bytes()[..src.bytes().len()], src.bytes(), "copy");
    }

    async fn fill(&self, rng: &mut Rng) {
        let dst = self.source(rng);
        let (len, pattern) = (StableBuf::len(&dst), rng.next().to_le_bytes());
        let Some(result) = self.drive(rng, self.acc.fill(dst, len, pattern)).await else { return };
        assert_same(result.unwrap().bytes(), &fill_oracle(pattern, len), "fill");
    }

    async fn crc(&self, rng: &mut Rng) {
        let (src, seed) = (self.source(rng), rng.next() as u32);
        let Some(result) = self.drive(rng, self.acc.crc32c(src).seed(seed)).await else { return };
        let (crc, src) = result.unwrap();
        assert_eq!(crc, self.table.crc(seed, src.bytes()), "crc of {} bytes", src.bytes().len());
    }

    async fn copy_crc(&self, rng: &mut Rng) {
        let src = self.source(rng);
        let dst = self.ledger.buffer(StableBuf::len(&src));
        let Some(result) = self.drive(rng, self.acc.copy_crc32c(src, dst)).await else { return };
        let (crc, (src, dst)) = result.unwrap();
        assert_eq!(crc, self.table.crc(0, src.bytes()), "crc of {} bytes", src.bytes().len());
        assert_same(dst.bytes(), src.bytes(), "copy with crc");
    }

    async fn compare(&self, rng: &mut Rng) {
        let a = self.source(rng);
        let mut b = self.ledger.of(a.bytes().to_vec());
        let mut expected = None;
        if !b.bytes().is_empty() && rng.one_in(2) {
            let at = rng.below(b.bytes().len());
            b.bytes_mut()[at] ^= 0x10;
            expected = Some(at);
        }
        let Some(result) = self.drive(rng, self.acc.compare(a, b)).await else { return };
        assert_eq!(result.unwrap().0, expected, "compare");
    }

    async fn within(&self, rng: &mut Rng) {
        let buf = self.source(rng);
        let mut expected = buf.bytes().to_vec();
        let len = rng.below(expected.len() + 1);
        let room = expected.len() - len + 1;
        let (from, to) = (rng.below(room), rng.below(room));
        expected.copy_within(from..from + len, to);
        let operation = self.acc.copy_within(buf, from..from + len, to);
        let Some(result) = self.drive(rng, operation).await else { return };
        assert_same(result.unwrap().bytes(), &expected, "move");
    }

    async fn dualcast(&self, rng: &mut Rng) {
        let src = self.source(rng);
        let len = StableBuf::len(&src);
        // The same offset in the page for both, so that a device can do it.
        let place = |buf: Tracked| {
            let begin = 4096 - StableBuf::as_ptr(&buf).addr() % 4096;
            buf.slice_mut(begin..begin + len)
        };
        let (first, second) = (place(self.ledger.buffer(len + 4096)), place(self.ledger.buffer(len + 4096)));
        let operation = self.acc.dualcast(src, first, second);
        let Some(result) = self.drive(rng, operation).await else { return };
        let (src, first, second) = result.unwrap();
        assert_same(&first, src.bytes(), "first destination");
        assert_same(&second, src.bytes(), "second destination");
    }

    /// One of the operations that check themselves.
    async fn later(&self, rng: &mut Rng) {
        let len = 4096 * (1 + rng.below(3));
        let later = later::one(rng.below(KINDS), &self.acc, &self.ledger, rng, len);
        self.drive(rng, later.future).await;
    }

    async fn drain(&self, rng: &mut Rng) {
        if let Some(result) = self.drive(rng, self.acc.drain()).await {
            result.unwrap();
        }
    }

    /// A chain of groups of members, counted as one operation.
    async fn batch(&self, rng: &mut Rng) {
        let mut batch = self.acc.batch();
        for _ in 0..=rng.below(12) {
            let src = self.source(rng);
            let len = StableBuf::len(&src);
            match rng.below(4) {
                0 => batch.copy(src, self.ledger.buffer(len)),
                1 => batch.crc32c(src),
                2 => batch.copy_crc32c(src, self.ledger.buffer(len)),
                _ => {
                    let same = self.ledger.of(src.bytes().to_vec());
                    batch.compare(src, same)
                }
            };
            if rng.one_in(4) {
                batch.fence();
            }
        }
        let Some(items) = self.drive(rng, batch.submit()).await else { return };
        for item in items {
            let value = item.result.unwrap();
            match item.buffers.unwrap() {
                BatchBuffers::Copy(src, dst) => assert_same(dst.bytes(), src.bytes(), "copy in a batch"),
                BatchBuffers::Crc(src) => assert_eq!(value, BatchValue::Crc(self.table.crc(0, src.bytes()))),
                BatchBuffers::CopyCrc(src, dst) => {
                    assert_same(dst.bytes(), src.bytes(), "copy with crc in a batch");
                    assert_eq!(value, BatchValue::Crc(self.table.crc(0, src.bytes())));
                }
                BatchBuffers::Compare(..) => assert_eq!(value, BatchValue::Difference(None)),
                other => panic!("{other:?}"),
            }
        }
    }

    pub(crate) fn blocking(&self, mut rng: Rng, operations: u64) {
        let blocking = self.acc.blocking();
        for _ in 0..operations {
            let src = self.source(&mut rng);
            let mut dst = self.ledger.buffer(StableBuf::len(&src));
            let crc = blocking.copy_crc32c(dst.bytes_mut(), src.bytes()).unwrap();
            assert_eq!(crc, self.table.crc(0, src.bytes()), "blocking");
            assert_same(dst.bytes(), src.bytes(), "blocking");
            self.finished.fetch_add(1, Ordering::Relaxed);
        }
    }
}
