//! Many operations as one submission: a log that gathers records from all over memory, checksums each on the way, and
//! marks the whole as complete when everything else is in place.
//!
//! ```sh
//! cargo run -p dsa-examples --example batch
//! ```

use std::error::Error;

use dsa::buf::{Pool, PoolBuf};
use dsa::stats::Event;
use dsa::{BatchBuffers, BatchValue};

const RECORDS: usize = 16;
const COMPLETE: [u8; 8] = *b"COMPLETE";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let accelerator = dsa_examples::accelerator()?;
    let pool = Pool::builder().buffers(RECORDS + 1).size(64 * 1024).build()?;
    let buffer = || pool.try_get().ok_or("the pool has a buffer for each member");

    // Sources are of one type and destinations of another; here vectors are gathered into pool buffers.
    let mut batch = accelerator.batch::<Vec<u8>, PoolBuf>();
    for number in 0..RECORDS {
        batch.copy_crc32c(record(number), buffer()?);
    }
    // Members run in any order, at the same time. What is behind the fence waits for everything before it.
    batch.fence();
    batch.fill(buffer()?, 4096, COMPLETE);
    let items = batch.submit().await;

    // One item for each member, in the order in which they were added: its value, and its buffers.
    assert_eq!(items.len(), RECORDS + 1);
    for (number, item) in items.into_iter().enumerate() {
        match (item.result?, item.buffers) {
            (BatchValue::Crc(crc), Some(BatchBuffers::CopyCrc(source, target))) => {
                assert_eq!(source, record(number));
                assert_eq!(target[..], source[..]);
                assert_eq!(crc, dsa::blocking::crc32c(&source));
            }
            (BatchValue::Done, Some(BatchBuffers::Fill(marker))) => {
                assert_eq!(number, RECORDS);
                assert_eq!(marker[..], COMPLETE.repeat(512));
            }
            (value, _) => return Err(format!("member {number} gave {value:?}").into()),
        }
    }

    let stats = accelerator.stats();
    let submissions = stats.event(Event::Submissions);
    println!("{} operations in {submissions} submission(s) to the device", RECORDS + 1);
    assert!(submissions < RECORDS as u64, "the batch was taken apart");
    Ok(())
}

/// A record of 8 to 38 KiB.
fn record(number: usize) -> Vec<u8> {
    (0..8192 + number * 2000).map(|i| (i * 31 + number) as u8).collect()
}
