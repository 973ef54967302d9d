//! The caller's mistakes: found before anything is submitted, named, and with the buffers given back unchanged. Beside
//! them the operations on nothing, which are no mistakes.

mod support;

use std::io;
use std::sync::Arc;
use std::task::Poll;

use dsa::buf::{Pool, StableBufMut};
use dsa::stats::{Event, Path, Reason};
use dsa::{Accelerator, BuildError, Error, Policy};
use dsa_emulator::{Config, Device, OpenError, WqConfig};
use support::poll_once;
use support::refusal::{View, refused};
use support::tracked::{Ledger, Tracked};

fn accelerator() -> Accelerator {
    let device = Device::new(Config::sapphire_rapids().queue(WqConfig::shared(16))).unwrap();
    Accelerator::builder().emulator(&device).min_device_size(0).build().unwrap()
}

#[test]
fn capacity_too_small() {
    let acc = accelerator();
    let (src, dst) = (vec![1u8; 100], Vec::with_capacity(99));
    assert_eq!(dst.capacity(), 99);
    let expected = Error::CapacityTooSmall { needed: 100, capacity: 99 };
    let (error, (src, dst)) = refused(&acc, acc.copy(src, dst));
    assert_eq!(error, expected);
    assert_eq!((src.as_slice(), dst.as_slice()), (&[1; 100][..], &[][..]));
    let (error, (src, dst)) = refused(&acc, acc.copy_crc32c(src, dst).seed(5));
    assert_eq!(error, expected);
    let (error, (src, first, dst)) = refused(&acc, acc.dualcast(src, vec![0; 100], dst));
    assert_eq!((error, first.len()), (expected.clone(), 100));
    let (error, (_, dst, _)) = refused(&acc, acc.dualcast(src, dst, first));
    assert_eq!(error, expected);
    let (error, dst) = refused(&acc, acc.fill(dst, 100, 7u8));
    assert_eq!((error, dst.len(), dst.capacity()), (expected, 0, 99));
    // The same on the CPU.
    let (error, _) = refused(&acc, acc.fill(dst, 100, 7u8).cpu_only());
    assert!(matches!(error, Error::CapacityTooSmall { .. }));
}

#[test]
fn length_mismatch() {
    let acc = accelerator();
    for (left, right) in [(0, 1), (1, 0), (4096, 4097)] {
        let (error, (a, b)) = refused(&acc, acc.compare(vec![1u8; left], vec![1u8; right]));
        assert_eq!(error, Error::LengthMismatch { left, right });
        assert_eq!((a.len(), b.len()), (left, right));
    }
}

#[test]
fn out_of_bounds() {
    let acc = accelerator();
    let data: Vec<u8> = (0..100).collect();
    let out = |start, end| Error::OutOfBounds { start, end, len: 100 };
    let mut buf = data.clone();
    // Capacity is no excuse: only initialised bytes can be moved, and only onto such.
    buf.reserve(1000);
    let mut check = |range: std::ops::Range<usize>, dst, expected| {
        let (error, back) = refused(&acc, acc.copy_within(std::mem::take(&mut buf), range.clone(), dst));
        assert_eq!(error, expected, "{range:?} to {dst}");
        assert_eq!(back, data);
        buf = back;
    };
    check(0..101, 0, out(0, 101));
    check(101..101, 0, out(101, 101));
    #[expect(clippy::reversed_empty_ranges, reason = "that is the mistake")]
    check(7..6, 0, out(7, 6));
    check(0..50, 51, out(51, 101));
    check(0..1, usize::MAX, out(usize::MAX, usize::MAX));
    check(0..usize::MAX, 0, out(0, usize::MAX));
    let (error, _) = refused(&acc, acc.copy_within(buf, 0..=usize::MAX, 0));
    assert_eq!(error, out(0, usize::MAX));
}

#[test]
fn overlapping_buffers() {
    let acc = accelerator();
    let memory: Arc<Box<[u8]>> = Arc::new((0..=255).collect());
    for (from, to, overlap) in [(0, 0, 100), (0, 99, 1), (99, 0, 1), (10, 30, 80), (30, 10, 80)] {
        let views = || (View::of(&memory, from, 100), View::of(&memory, to, 100));
        let (src, dst) = views();
        let (error, (src, dst)) = refused(&acc, acc.copy(src, dst));
        assert_eq!(error, Error::Overlap { overlap }, "{from} and {to}");
        let (error, (src, dst)) = refused(&acc, acc.copy_crc32c(src, dst));
        assert_eq!(error, Error::Overlap { overlap });
        let (error, (src, dst, elsewhere)) = refused(&acc, acc.dualcast(src, dst, vec![0; 100]));
        assert_eq!(error, Error::Overlap { overlap });
        let (error, (_, elsewhere, _)) = refused(&acc, acc.dualcast(src, elsewhere, dst));
        assert_eq!((error, elsewhere), (Error::Overlap { overlap }, vec![0; 100]));
        let (first, second) = views();
        let (error, (src, ..)) = refused(&acc, acc.dualcast(vec![1u8; 100], first, second));
        assert_eq!((error, src), (Error::Overlap { overlap }, vec![1; 100]));
    }
    assert!(memory.iter().enumerate().all(|(i, &byte)| usize::from(byte) == i), "written");
    // Sources may be the same memory.
    support::block_on("compare", async {
        let views = (View::of(&memory, 0, 100), View::of(&memory, 50, 100));
        assert_eq!(acc.compare(views.0, views.1).await.unwrap().0, Some(0));
    });
}

#[test]
fn device_only_without_a_device() {
    let acc = Accelerator::cpu();
    let ledger = Ledger::new();
    let buffer = || ledger.of(vec![3; 9000]);
    let expected = Error::DeviceOnly(Reason::NoDevice);
    assert_eq!(refused(&acc, acc.copy(buffer(), buffer()).device_only()).0, expected);
    assert_eq!(refused(&acc, acc.crc32c(buffer()).device_only()).0, expected);
    assert_eq!(refused(&acc, acc.copy_crc32c(buffer(), buffer()).device_only()).0, expected);
    assert_eq!(refused(&acc, acc.compare(buffer(), buffer()).device_only()).0, expected);
    assert_eq!(refused(&acc, acc.fill(buffer(), 9000, 0u8).device_only()).0, expected);
    assert_eq!(refused(&acc, acc.dualcast(buffer(), buffer(), buffer()).device_only()).0, expected);
    assert_eq!(refused(&acc, acc.copy_to_vec(buffer()).device_only()).0, expected);
    let (error, back) = refused(&acc, acc.copy_within(buffer(), ..100, 500).device_only());
    assert_eq!((error, back.bytes()), (expected, &[3; 9000][..]));
    drop(back);
    assert_eq!(ledger.alive(), 0);
}

#[test]
fn device_only_on_a_queue_that_cannot() {
    let queue = WqConfig::shared(16).without(idxd_sys::opcode::COMPARE);
    let device = Device::new(Config::sapphire_rapids().queue(queue)).unwrap();
    let acc = Accelerator::builder().emulator(&device).min_device_size(0).build().unwrap();
    let compare = acc.compare(vec![1u8; 100], vec![1u8; 100]).device_only();
    assert_eq!(refused(&acc, compare).0, Error::DeviceOnly(Reason::Unsupported));
    // Destinations of a dualcast with different offsets in their pages.
    let pool = Pool::builder().buffers(2).size(8192).build().unwrap();
    let [mut first, mut second] = [pool.try_get().unwrap(), pool.try_get().unwrap()];
    first.set_len(8192);
    second.set_len(8192);
    let dualcast = acc.dualcast(vec![1u8; 100], first.slice_mut(1..), second.slice_mut(2..)).device_only();
    assert_eq!(refused(&acc, dualcast).0, Error::DeviceOnly(Reason::Unsupported));
}

#[test]
fn nothing_to_do_is_done_at_once_and_by_nobody() {
    let acc = accelerator();
    for device_only in [false, true] {
        macro_rules! at_once {
            ($operation:expr) => {{
                let mut operation = $operation;
                if device_only {
                    operation = operation.device_only();
                }
                let Poll::Ready(Ok(result)) = poll_once(&mut operation) else { panic!("pending or refused") };
                result
            }};
        }
        let empty = Vec::<u8>::new;
        assert_eq!(at_once!(acc.copy(empty(), vec![1, 2])), (empty(), vec![1, 2]));
        assert_eq!(at_once!(acc.copy_to_vec(empty())), (empty(), empty()));
        assert_eq!(at_once!(acc.copy_within(vec![1, 2], 1..1, 2)), vec![1, 2]);
        assert_eq!(at_once!(acc.fill(vec![1, 2], 0, 9u8)), vec![1, 2]);
        assert_eq!(at_once!(acc.crc32c(empty())), (0, empty()));
        assert_eq!(at_once!(acc.crc32c(empty()).seed(77)), (77, empty()));
        assert_eq!(at_once!(acc.copy_crc32c(empty(), vec![1]).seed(77)), (77, (empty(), vec![1])));
        assert_eq!(at_once!(acc.compare(empty(), empty())), (None, (empty(), empty())));
        assert_eq!(at_once!(acc.dualcast(empty(), vec![1], empty())), (empty(), vec![1], empty()));
    }
    let stats = acc.stats();
    assert_eq!(stats.event(Event::Submissions), 0);
    assert_eq!(stats.total_operations(Path::Device) + stats.total_operations(Path::Cpu), 0);
}

#[test]
fn errors_become_io_errors_of_a_fitting_kind() {
    let acc = Accelerator::cpu();
    let Poll::Ready(Err(failed)) = poll_once(&mut acc.copy(vec![1u8; 5], Vec::new())) else { panic!("accepted") };
    let text = "the destination has room for 0 bytes, the operation writes 5: reserve more before the call";
    assert_eq!(failed.to_string(), text);
    let error = io::Error::from(failed);
    assert_eq!((error.kind(), error.to_string().as_str()), (io::ErrorKind::InvalidInput, text));
    let kind = |error: Error| io::Error::from(error).kind();
    assert_eq!(kind(Error::LengthMismatch { left: 1, right: 2 }), io::ErrorKind::InvalidInput);
    assert_eq!(kind(Error::OutOfBounds { start: 1, end: 2, len: 1 }), io::ErrorKind::InvalidInput);
    assert_eq!(kind(Error::Overlap { overlap: 1 }), io::ErrorKind::InvalidInput);
    assert_eq!(kind(Error::DeviceOnly(Reason::NoDevice)), io::ErrorKind::Unsupported);
    assert_eq!(kind(Error::Unresponsive), io::ErrorKind::Other);
}

#[test]
fn a_failed_operation_gives_up_its_buffers_once() {
    let acc = accelerator();
    let ledger = Ledger::new();
    // Never looked at, turned into an error, taken back.
    drop(acc.copy(ledger.buffer(10), ledger.buffer(9)));
    let failed = |operation: &mut dsa::Copy<Tracked, Tracked>| match poll_once(operation) {
        Poll::Ready(Err(failed)) => failed,
        _ => panic!("accepted"),
    };
    drop(io::Error::from(failed(&mut acc.copy(ledger.buffer(10), ledger.buffer(9)))));
    drop(failed(&mut acc.copy(ledger.buffer(10), ledger.buffer(9))).into_buffers());
    assert_eq!((ledger.made(), ledger.dropped()), (6, 6));
}

#[test]
fn senseless_configurations() {
    let device = Device::new(Config::sapphire_rapids()).unwrap();
    let mut policy = Policy::default();
    policy.slots_per_lane = 0;
    let error = Accelerator::builder().policy(policy).build().unwrap_err();
    assert!(matches!(error, BuildError::Policy { field: "slots_per_lane", value: 0, .. }), "{error}");
    let mut policy = Policy::default();
    policy.max_resumes = 256;
    let error = Accelerator::builder().policy(policy).build().unwrap_err();
    assert!(matches!(error, BuildError::Policy { field: "max_resumes", value: 256, .. }), "{error}");
    let error = Accelerator::builder().emulator_queue(&device, 7).build().unwrap_err();
    assert!(matches!(error, BuildError::Emulator { queue: 7, source: OpenError::NoQueue }), "{error}");
    device.disable().unwrap();
    let error = Accelerator::builder().emulator(&device).build().unwrap_err();
    assert!(matches!(error, BuildError::Emulator { queue: 0, source: OpenError::Disabled }), "{error}");
}

#[test]
#[should_panic(expected = "options must be set before the first poll")]
fn options_come_first() {
    let acc = accelerator();
    let mut operation = acc.crc32c(vec![1u8; 1 << 20]);
    let _ = poll_once(&mut operation);
    drop(operation.seed(1));
}
