//! A service that checksums uploads: a TCP server on the loopback interface, with its own clients.
//!
//! The server reads an upload block by block into pool buffers. While the device checksums one block the next one
//! arrives, and the chain of CRCs makes one checksum of them. Then it answers with length and CRC-32C.
//!
//! ```sh
//! cargo run -p dsa-examples --example checksum_stream
//! ```

use std::error::Error;
use std::io;
use std::net::SocketAddr;

use dsa::Accelerator;
use dsa::buf::{Pool, PoolBuf};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// Bytes of each upload.
const UPLOADS: [usize; 6] = [0, 1, 65_536, 1_000_003, 2 << 20, 4 << 20];
/// The server's unit of work.
const BLOCK: usize = 64 * 1024;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let accelerator = dsa_examples::accelerator()?;
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    let server = tokio::spawn(serve(listener, accelerator));

    let mut clients = JoinSet::new();
    for (number, len) in UPLOADS.into_iter().enumerate() {
        clients.spawn(upload(address, (0..len).map(|i| (i * 7 + i / 256 + number) as u8).collect()));
    }
    for verified in clients.join_all().await {
        println!("{}", verified?);
    }
    server.await??;
    Ok(())
}

/// Serves as many connections as there are uploads, all at the same time.
async fn serve(listener: TcpListener, accelerator: Accelerator) -> io::Result<()> {
    // Memory that is mapped and touched ahead: the device meets no missing page. Two buffers for each connection.
    let pool = Pool::builder().buffers(2 * UPLOADS.len()).size(BLOCK).build()?;
    let mut connections = JoinSet::new();
    for _ in UPLOADS {
        let (stream, _) = listener.accept().await?;
        connections.spawn(checksum(stream, accelerator.clone(), pool.clone()));
    }
    connections.join_all().await.into_iter().collect()
}

/// One connection: reads to the end of the upload and answers.
async fn checksum(mut stream: TcpStream, accelerator: Accelerator, pool: Pool) -> io::Result<()> {
    let buffer = || pool.try_get().ok_or_else(|| io::Error::other("more connections than buffers"));
    let (mut full, mut empty) = (buffer()?, buffer()?);
    let (mut crc, mut len) = (0, 0);
    loop {
        // The block that has arrived is checksummed while the next one arrives. In the first round there is none yet:
        // the checksum of no bytes is the seed.
        len += full.len() as u64;
        let (checksummed, filled) = tokio::join!(accelerator.crc32c(full).seed(crc), fill(&mut stream, empty));
        (crc, empty) = checksummed?;
        full = filled?;
        if full.is_empty() {
            break;
        }
    }
    stream.write_u64_le(len).await?;
    stream.write_u32_le(crc).await?;
    stream.shutdown().await
}

/// Fills a buffer from the connection; less at the end of the upload, nothing behind it.
async fn fill(stream: &mut TcpStream, mut buffer: PoolBuf) -> io::Result<PoolBuf> {
    buffer.set_len(buffer.capacity());
    let mut len = 0;
    while len < buffer.len() {
        match stream.read(&mut buffer[len..]).await? {
            0 => break,
            n => len += n,
        }
    }
    buffer.set_len(len);
    Ok(buffer)
}

/// A client: uploads some bytes and holds the answer against a computation of its own.
async fn upload(address: SocketAddr, data: Vec<u8>) -> io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(&data).await?;
    stream.shutdown().await?;
    let (len, crc) = (stream.read_u64_le().await?, stream.read_u32_le().await?);
    assert_eq!(len, data.len() as u64);
    assert_eq!(crc, crc32c(&data), "upload of {len} bytes");
    Ok(format!("{len:>8} bytes: {crc:#010x}, as expected"))
}

/// CRC-32C bit by bit, straight from its definition: slow, and nobody's code but this example's.
fn crc32c(data: &[u8]) -> u32 {
    !data.iter().fold(!0, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ (0x82F6_3B78 & (crc & 1).wrapping_neg()))
    })
}
