//! Options of the futures, and many of them at once.

use dsa::stats::{Path, Reason};
use dsa::{Accelerator, Error};

use crate::backend::{Backend, By};
use crate::support::{Rng, assert_same, crc_oracle, seed, within};

pub(crate) async fn routes(backend: &Backend) {
    let acc = &backend.accelerator;
    let data = Rng::new(seed()).bytes(70_000);
    let forced = acc.stats().reason(Reason::Forced);
    let operation = acc.copy(data.clone(), vec![0; 70_000]).cpu_only();
    let (src, dst) = backend.run(By::Cpu, "cpu only", operation).await.unwrap();
    assert_same(&dst, &src, "cpu only");
    assert_eq!(acc.stats().reason(Reason::Forced) - forced, 1);
    let operation = acc.copy(src, vec![0; 70_000]).device_only();
    if backend.has_device() {
        let (src, dst) = backend.run(By::Device, "device only", operation).await.unwrap();
        assert_same(&dst, &src, "device only");
        // Never done by a device, so there is nobody to do it.
        let entangled = acc.copy_within(src, 0..60_000, 1).device_only();
        let (error, buffers) = backend.run(By::Nobody, "entangled", entangled).await.unwrap_err().into_parts();
        assert_eq!(error, Error::DeviceOnly(Reason::Unsupported));
        assert_same(&buffers.unwrap(), &data, "untouched");
    } else {
        let failed = backend.run(By::Nobody, "device only", operation).await.unwrap_err();
        assert_eq!(failed.error(), &Error::DeviceOnly(Reason::NoDevice));
        let (src, dst) = failed.into_buffers().unwrap();
        assert_same(&src, &data, "source");
        assert_same(&dst, &vec![0; 70_000], "untouched");
    }
}

pub(crate) async fn cache_control(backend: &Backend) {
    let acc = &backend.accelerator;
    let data = Rng::new(seed()).bytes(70_000);
    for on in [true, false] {
        let copy = acc.copy(data.clone(), Vec::with_capacity(70_000)).cache_control(on);
        let (src, dst) = backend.run(By::Device, "copy", copy).await.unwrap();
        assert_same(&dst, &src, "copy");
        let fill = acc.fill(dst, 70_000, 9u8).cache_control(on);
        let dst = backend.run(By::Device, "fill", fill).await.unwrap();
        assert_same(&dst, &vec![9; 70_000], "fill");
        let crc = acc.crc32c(src).cache_control(on);
        let (crc, src) = backend.run(By::Device, "crc", crc).await.unwrap();
        let copy = acc.copy_crc32c(src, dst).cache_control(on);
        let (with_copy, (src, dst)) = backend.run(By::Device, "copy with crc", copy).await.unwrap();
        assert_eq!(crc, with_copy);
        let compare = acc.compare(src, dst).cache_control(on);
        assert_eq!(backend.run(By::Device, "compare", compare).await.unwrap().0, None);
    }
}

pub(crate) async fn another_accelerator(backend: &Backend) {
    let other = Accelerator::cpu();
    let operation = other.crc32c(vec![5u8; 9000]).on(&backend.accelerator);
    let (crc, data) = backend.run(By::Device, "on", operation).await.unwrap();
    assert_eq!(crc, crc_oracle(0, &data));
    assert_eq!(other.stats().total_operations(Path::Cpu), 0);
}

/// More operations than there are queue entries or slots: what does not fit is done by the CPU, and nothing waits.
pub(crate) async fn many_at_once(backend: &Backend) {
    const COUNT: usize = 200;
    let before = backend.accelerator.stats();
    let mut rng = Rng::new(seed());
    let tasks: Vec<_> = (0..COUNT)
        .map(|_| {
            let data = {
                let len = 1 + rng.below(9000);
                rng.bytes(len)
            };
            let copy = backend.accelerator.copy_to_vec(data);
            tokio::spawn(async move { within("copy", copy).await.unwrap() })
        })
        .collect();
    for task in tasks {
        let (src, dst) = task.await.unwrap();
        assert_same(&dst, &src, "copy");
    }
    let done = backend.accelerator.stats().since(&before);
    assert_eq!(done.total_operations(Path::Device) + done.total_operations(Path::Cpu), COUNT as u64);
    assert!(!backend.has_device() || done.total_operations(Path::Device) >= 4, "{done}");
}
