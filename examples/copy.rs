//! The first steps: copy, look at the result, and see who did the work.
//!
//! ```sh
//! cargo run -p dsa-examples --example copy
//! ```

use std::error::Error;

use dsa::buf::StableBuf;
use dsa::stats::Path;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let accelerator = dsa_examples::accelerator()?;

    // An operation takes its buffers by value and gives them back. The destination needs capacity, not content: nobody
    // zeroes a megabyte that is about to be overwritten.
    let source: Vec<u8> = (0..1u32 << 20).map(|i| (i % 251) as u8).collect();
    let (source, target) = accelerator.copy(source, Vec::with_capacity(1 << 20)).await?;
    assert_eq!(source, target);

    // A part of a buffer is a slice that owns the whole.
    let middle = source.slice(1000..101_000);
    let (middle, part) = accelerator.copy_to_vec(middle).await?;
    let source = middle.into_inner();
    assert_eq!(part, source[1000..101_000]);

    // A mistake is found before anything is submitted, and both buffers come back with the error.
    let failed = accelerator.copy(source, Vec::with_capacity(10)).await.expect_err("10 bytes are too few");
    println!("refused: {failed}");
    let (source, _target) = failed.into_buffers().ok_or("the buffers of a refused operation come back")?;

    // Installed once, the accelerator is what the free functions use.
    accelerator.clone().install().map_err(|_| "something used the free functions before")?;
    let (crc, source) = dsa::crc32c(source).await?;
    let (crc_of_copy, _) = dsa::crc32c(target).await?;
    assert_eq!(crc, crc_of_copy);

    // Small operations are not worth the way to the device; the CPU does them, with the same result.
    let (_, small) = dsa::copy_to_vec(source.slice(..100)).await?;
    assert_eq!(small.len(), 100);
    let stats = accelerator.stats();
    println!(
        "{} operations on the device, {} on the CPU",
        stats.total_operations(Path::Device),
        stats.total_operations(Path::Cpu)
    );
    assert_eq!(stats.total_operations(Path::Device) + stats.total_operations(Path::Cpu), 5);
    Ok(())
}
