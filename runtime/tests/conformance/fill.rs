//! Fills.

use dsa::buf::StableBufMut;

use crate::backend::{Backend, By};
use crate::moves::{SIZES, by_size};
use crate::support::{assert_same, fill_oracle};

const PATTERN: [u8; 8] = [0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88];

pub(crate) async fn fills_of_every_size(backend: &Backend) {
    for len in SIZES {
        let what = format!("fill of {len}");
        let fill = backend.accelerator.fill(Vec::with_capacity(len), len, PATTERN);
        let dst = backend.run(by_size(len), &what, fill).await.unwrap();
        assert_same(&dst, &fill_oracle(PATTERN, len), &what);
        let fill = backend.accelerator.fill(dst, len, 0xa5u8);
        let dst = backend.run(by_size(len), &what, fill).await.unwrap();
        assert_same(&dst, &vec![0xa5; len], &what);
    }
}

pub(crate) async fn fills_start_with_the_pattern(backend: &Backend) {
    // Wherever the region starts and ends, its first byte is the pattern's first.
    for start in [0, 1, 3, 7, 8, 13, 64] {
        for len in [1, 7, 8, 9, 4099, 65_543] {
            let dst = vec![0; start + len + 11].slice_mut(start..start + len);
            let fill = backend.accelerator.fill(dst, len, PATTERN);
            let dst = backend.run(By::Device, "fill", fill).await.unwrap().into_inner();
            assert_same(&dst[start..start + len], &fill_oracle(PATTERN, len), &format!("{len} from {start}"));
            assert!(dst[..start].iter().chain(&dst[start + len..]).all(|&byte| byte == 0), "out of bounds");
        }
    }
}

pub(crate) async fn fills_leave_the_rest_alone(backend: &Backend) {
    let fill = backend.accelerator.fill(vec![9u8; 9000], 5000, dsa::Pattern::ZERO);
    let dst = backend.run(By::Device, "fill", fill).await.unwrap();
    assert_same(&dst[..5000], &[0; 5000], "filled");
    assert_same(&dst[5000..], &[9; 4000], "behind");
}
