//! Without async: the calls of the C library on borrowed slices, done by the device.
//!
//! These may borrow because they do not return before the device is done. They suit threads that would wait anyway.
//!
//! ```sh
//! cargo run -p dsa-examples --example blocking_memcpy
//! ```

use std::cmp::Ordering;
use std::error::Error;

use dsa::stats::Path;

fn main() -> Result<(), Box<dyn Error>> {
    let accelerator = dsa_examples::accelerator()?;
    let calls = accelerator.blocking();
    let source: Vec<u8> = (0..3_000_000u32).map(|i| (i >> 3) as u8).collect();
    let mut target = vec![0; source.len()];

    // Each call says who did it: the device, or at least in part the CPU.
    let path = calls.memcpy(&mut target, &source)?;
    assert_eq!(target, source);
    println!("memcpy of {} bytes: done by the {path}", source.len());
    assert_eq!(path, Path::Device);
    assert_eq!(calls.memcmp(&target, &source), Ordering::Equal);

    // Source and destination may overlap in a move.
    calls.memmove(&mut target, 0..1_000_000, 500_000)?;
    assert_eq!(target[500_000..1_500_000], source[..1_000_000]);
    assert_eq!(calls.first_difference(&target, &source)?, Some(500_000));

    calls.memset(&mut target[..100_000], 0xffu8);
    assert!(target[..100_000].iter().all(|&byte| byte == 0xff));
    assert_eq!(calls.crc32c(b"123456789"), 0xE306_9283);

    // Several at once: what is started in a scope runs at the same time, and the scope ends when all of it has. The
    // borrow checker keeps everybody else off the memory meanwhile.
    let (first, second) = target.split_at_mut(1_500_000);
    let crc = calls.scope(|scope| {
        scope.copy(first, &source[..1_500_000])?;
        scope.copy(second, &source[1_500_000..])?;
        // The source is only read, so it may be read by several.
        Ok::<_, dsa::Error>(scope.crc32c(&source).wait())
    })?;
    assert_eq!(target, source);
    assert_eq!(crc, calls.crc32c(&target));
    println!("two halves copied and {crc:#010x} computed at the same time");
    Ok(())
}
