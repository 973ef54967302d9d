//! CRC-32C, alone and with a copy.

use std::sync::LazyLock;

use dsa::buf::StableBuf;

use crate::backend::{Backend, By};
use crate::moves::{SIZES, by_size};
use crate::support::{Rng, assert_same, crc_oracle, seed};

/// Data of every size with its CRC from 0 and from a seed. Bit by bit takes its time, so it is done once for all back
/// ends.
static CASES: LazyLock<Vec<Case>> = LazyLock::new(|| {
    let mut rng = Rng::new(seed());
    SIZES.map(|len| Case::new(rng.bytes(len))).into()
});

const SEED: u32 = 0xdead_beef;

struct Case {
    data: Vec<u8>,
    crc: u32,
    seeded: u32,
}

impl Case {
    fn new(data: Vec<u8>) -> Self {
        let (crc, seeded) = (crc_oracle(0, &data), crc_oracle(SEED, &data));
        Self { data, crc, seeded }
    }
}

pub(crate) async fn check_vectors(backend: &Backend) {
    // RFC 3720, section B.4, and the customary nine digits.
    let up: Vec<u8> = (0..32).collect();
    let down: Vec<u8> = (0..32).rev().collect();
    let mut read_command = vec![0u8; 48];
    for (at, byte) in [(0, 0x01), (1, 0xc0), (16, 0x14), (22, 0x04), (27, 0x14), (31, 0x18), (32, 0x28), (40, 0x02)] {
        read_command[at] = byte;
    }
    let vectors: [(Vec<u8>, u32); 6] = [
        (b"123456789".to_vec(), 0xe306_9283),
        (vec![0; 32], 0x8a91_36aa),
        (vec![0xff; 32], 0x62a8_ab43),
        (up, 0x46dd_794e),
        (down, 0x113f_db5c),
        (read_command, 0xd996_3a56),
    ];
    for (data, expected) in vectors {
        assert_eq!(crc_oracle(0, &data), expected, "the oracle itself");
        let what = format!("crc of {data:02x?}");
        let (crc, data) = backend.run(By::Device, &what, backend.accelerator.crc32c(data)).await.unwrap();
        assert_eq!(crc, expected, "{what}");
        let copy = backend.accelerator.copy_crc32c(data, Vec::with_capacity(48));
        let (crc, (src, dst)) = backend.run(By::Device, &what, copy).await.unwrap();
        assert_eq!((crc, src), (expected, dst), "{what}");
    }
}

pub(crate) async fn checksums_of_every_size(backend: &Backend) {
    for case in &*CASES {
        let (len, by) = (case.data.len(), by_size(case.data.len()));
        let operation = backend.accelerator.crc32c(case.data.clone());
        let (crc, data) = backend.run(by, "crc", operation).await.unwrap();
        assert_eq!(crc, case.crc, "{len} bytes");
        let operation = backend.accelerator.crc32c(data).seed(SEED);
        let (crc, data) = backend.run(by, "crc", operation).await.unwrap();
        assert_eq!(crc, case.seeded, "{len} bytes from a seed");
        assert_same(&data, &case.data, "source");
    }
}

pub(crate) async fn checksums_at_every_alignment(backend: &Backend) {
    let data = Rng::new(seed()).bytes(5000);
    for start in [0, 1, 2, 3, 4, 5, 6, 7, 8, 63, 64, 65] {
        for len in [1, 9, 64, 4096] {
            let expected = crc_oracle(0, &data[start..start + len]);
            let operation = backend.accelerator.crc32c(data.clone().slice(start..start + len));
            let (crc, _) = backend.run(By::Device, "crc", operation).await.unwrap();
            assert_eq!(crc, expected, "{len} bytes from {start}");
        }
    }
}

pub(crate) async fn checksums_chain(backend: &Backend) {
    let case = CASES.last().unwrap();
    let mut crc = 0;
    let mut rest = bytes::Bytes::from(case.data.clone());
    for cut in [0, 1, 8, 100, 4096, 70_000, 300_000, usize::MAX] {
        let part = rest.split_to(cut.min(rest.len()));
        (crc, _) = backend.run(by_size(part.len()), "crc", backend.accelerator.crc32c(part).seed(crc)).await.unwrap();
    }
    assert_eq!(crc, case.crc);
}

pub(crate) async fn copies_with_checksum(backend: &Backend) {
    for case in &*CASES {
        let (len, by) = (case.data.len(), by_size(case.data.len()));
        let operation = backend.accelerator.copy_crc32c(case.data.clone(), Vec::with_capacity(len));
        let (crc, (src, dst)) = backend.run(by, "copy with crc", operation).await.unwrap();
        assert_eq!(crc, case.crc, "{len} bytes");
        assert_same(&src, &case.data, "source");
        assert_same(&dst, &case.data, "destination");
        let operation = backend.accelerator.copy_crc32c(src, vec![0; len + 3]).seed(SEED);
        let (crc, (src, dst)) = backend.run(by, "copy with crc", operation).await.unwrap();
        assert_eq!(crc, case.seeded, "{len} bytes from a seed");
        assert_same(&dst[..len], &src, "destination");
        assert_eq!(dst[len..], [0; 3], "out of bounds");
    }
}
