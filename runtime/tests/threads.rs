//! Large blocking calls without a device by several threads. The pool of threads is the process's, so there is one test only.

use std::cmp::Ordering;

use dsa::Accelerator;
use dsa::cpu;
use dsa::stats::{Operation, Path, Reason};

/// Smaller than what is divided, just so, and more.
const SIZES: [usize; 5] = [1, 4096, (1 << 20) - 1, (1 << 20) + 4097, 3 << 20];

/// Whoever divides, and into however many parts: the result is that of one thread, and it is one operation.
#[test]
fn divided_calls_do_all_of_it_and_count_once() {
    // More than there may be processors.
    rayon::ThreadPoolBuilder::new().num_threads(4).build_global().unwrap();
    for (len, threads) in SIZES.into_iter().flat_map(|len| [0, 1, 2, 8].map(|threads| (len, threads))) {
        let what = format!("{len} bytes, {threads} threads");
        let acc = Accelerator::cpu();
        let calls = acc.blocking().threads(threads);
        let src: Vec<_> = (0..len).map(|i| (i * 31 + i / 257) as u8).collect();
        let (mut copy, mut other) = (vec![0; len], vec![0; len]);
        let crc = cpu::crc32c(0, &src);

        assert_eq!(calls.memcpy(&mut copy, &src), Ok(Path::Cpu), "{what}");
        assert!(copy == src, "{what}: the copy differs");
        assert_eq!(calls.crc32c(&src), crc, "{what}");
        assert_eq!(calls.copy_crc32c(&mut other, &src), Ok(crc), "{what}");
        assert!(other == src, "{what}: the other copy differs");
        assert_eq!(calls.memcmp(&copy, &src), Ordering::Equal, "{what}");
        copy[len - 1] ^= 1;
        assert_eq!(calls.first_difference(&copy, &src), Ok(Some(len - 1)), "{what}");
        assert_eq!(calls.memset(&mut copy, 7u8), Path::Cpu, "{what}");
        assert!(copy.iter().all(|byte| *byte == 7), "{what}: not filled");

        let stats = acc.stats();
        for (operation, count) in [
            (Operation::Copy, 1),
            (Operation::Crc32c, 1),
            (Operation::CopyCrc32c, 1),
            (Operation::Compare, 2),
            (Operation::Fill, 1),
        ] {
            assert_eq!(stats.operations(Path::Cpu, operation), count, "{what}: {operation}");
            assert_eq!(stats.bytes(Path::Cpu, operation), count * len as u64, "{what}: {operation}");
        }
        assert_eq!((stats.reason(Reason::NoDevice), stats.total_operations(Path::Device)), (6, 0), "{what}");
    }
}
