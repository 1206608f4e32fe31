//! A file on a lane of its own, through the asynchronous traits: copied into, read line by line,
//! read from the middle; under smol, and under tokio with tokio's own functions through an adapter.
//!
//! `cargo run --example file_io`

use futures::io::{self, AsyncBufReadExt, AsyncReadExt, AsyncSeekExt, AsyncWriteExt, BufReader, Cursor};
use futures::{TryStreamExt, future};
use serial_executor::SerialExecutor;
use std::fs::File;
use std::io::SeekFrom;
use tokio_util::compat::FuturesAsyncReadCompatExt;

const POEM: &str = "Tyger Tyger, burning bright,\nIn the forests of the night;\n\
    What immortal hand or eye,\nCould frame thy fearful symmetry?\n";

/// With the functions of `futures::io`.
async fn with_futures(file: &SerialExecutor<File>) -> io::Result<()> {
    let mut file = file.io();
    let copied = io::copy(Cursor::new(POEM), &mut file).await?;
    file.flush().await?; // reports an error of the writes, if it has not been reported yet
    println!("  copied {copied} bytes into it");

    file.seek(SeekFrom::Start(0)).await?;
    let lines = BufReader::new(&mut file).lines();
    let longest = lines.try_fold(0, |longest, line| future::ok(line.len().max(longest))).await?;
    println!("  the longest line has {longest} bytes");
    assert_eq!((copied, longest), (POEM.len() as u64, 33));
    Ok(())
}

/// With the functions of tokio.
async fn with_tokio(file: &SerialExecutor<File>) -> io::Result<()> {
    let mut file = file.io().compat();
    let mut copy = Vec::new();
    tokio::io::AsyncSeekExt::seek(&mut file, SeekFrom::Start(0)).await?;
    tokio::io::copy(&mut file, &mut copy).await?;
    println!("  copied {} bytes out of it", copy.len());
    assert_eq!(copy, POEM.as_bytes());
    Ok(())
}

async fn show(file: &SerialExecutor<File>) -> io::Result<()> {
    with_futures(file).await?;
    // The lane is like any other: calls and operations take turns.
    let length = file.call(|file| file.metadata().map(|metadata| metadata.len())).flatten().await?;
    let mut end = [0; 10];
    let mut io = file.io();
    io.seek(SeekFrom::End(-10)).await?;
    io.read_exact(&mut end).await?;
    println!("  of {length} bytes, the last are {:?}", String::from_utf8_lossy(&end));
    assert_eq!(&end, b"symmetry?\n");
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("under smol:");
    smol::block_on(async {
        let file = SerialExecutor::try_new_with(tempfile::tempfile).await?;
        show(&file).await?;
        file.close().await.map_err(io::Error::other)
    })?;
    println!("under tokio:");
    tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
        let file = SerialExecutor::try_new_with(tempfile::tempfile).await?;
        show(&file).await?;
        with_tokio(&file).await?;
        file.close().await.map_err(io::Error::other)
    })?;
    Ok(())
}
