//! Large blocking copies that device and CPU do together.

use dsa::Split;
use dsa::stats::{Operation, Path};

use crate::backend::Backend;
use crate::support::{Rng, assert_same, seed};

/// Random lengths, places and shares: the bytes, all of them, and no others.
pub(crate) async fn shared_copies(backend: &Backend) {
    const EDGE: usize = 100;
    let mut rng = Rng::new(seed());
    let most = (2 << 20) + 5000;
    let (src, fresh) = (rng.bytes(most + EDGE), rng.bytes(most + 2 * EDGE));
    for round in 0..12 {
        let len = match round {
            0 => Split::LEAST - 1,
            1 => Split::LEAST,
            2 => most,
            _ => Split::LEAST + rng.below(most - Split::LEAST),
        };
        let split = match rng.below(3) {
            0 => Split::Percent(rng.below(101) as u8),
            _ => Split::Auto,
        };
        let (from, to) = (rng.below(EDGE), rng.below(EDGE));
        let mut dst = fresh.clone();
        let before = backend.accelerator.stats();
        let path = backend.accelerator.blocking().split(split).memcpy(&mut dst[to..to + len], &src[from..from + len]);
        let done = backend.accelerator.stats().since(&before);
        let what = format!("{split:?} of {len} from {from} to {to}");
        assert_same(&dst[to..to + len], &src[from..from + len], &what);
        assert_same(&dst[..to], &fresh[..to], &what);
        assert_same(&dst[to + len..], &fresh[to + len..], &what);
        let by = [Path::Device, Path::Cpu].map(|path| done.bytes(path, Operation::Copy));
        assert_eq!(by[0] + by[1], len as u64, "{what}: {by:?}");
        assert_eq!(path, Ok(if by[1] == 0 { Path::Device } else { Path::Cpu }), "{what}: {by:?}");
        if len >= Split::LEAST && backend.has_device() {
            assert!(by[1] > 0, "{what}: none by the CPU");
        }
    }
}
