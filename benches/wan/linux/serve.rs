//! The far end: it does on each stream what the first byte on it asks for.

use crate::muxer::End;
use crate::transfer::check;
use anyhow::{Context, Result, bail};
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use tokio::task::JoinSet;

/// The length of an urgent message.
pub const MESSAGE: usize = 64;

/// The length of a write of bulk.
pub const WRITE: usize = 64 * 1024;

/// What a stream is for, as its first byte says.
pub const ECHO: u8 = b'e';
pub const SINK: u8 = b's';
pub const FILL: u8 = b'f';

/// How many bytes of bulk have arrived at an end.
#[derive(Clone, Debug, Default)]
pub struct Received(Arc<AtomicU64>);

impl Received {
    pub fn bytes(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Serves an end for as long as it is polled.
pub async fn serve<E: End>(end: E, received: Received) -> Result<()> {
    let mut streams = JoinSet::new();
    loop {
        tokio::select! {
            mut stream = end.accept() => {
                let received = received.clone();
                streams.spawn(async move {
                    let kind = kind(&mut stream).await?;
                    match kind {
                        ECHO => E::hurry(&stream),
                        _ => E::defer(&stream),
                    }
                    act(stream, kind, received).await
                });
            }
            Some(ended) = streams.join_next() => ended.context("a stream of the far end")??,
        }
    }
}

/// What a new stream is for.
pub async fn kind(stream: &mut (impl AsyncRead + Unpin)) -> Result<u8> {
    let mut kind = [0];
    stream.read_exact(&mut kind).await?;
    Ok(kind[0])
}

/// Does what a stream of this kind is for, until the peer ends it or its connection.
pub async fn act(stream: impl AsyncRead + AsyncWrite + Unpin, kind: u8, received: Received) -> Result<()> {
    match kind {
        ECHO => echo(stream).await,
        SINK => sink(stream, received).await,
        FILL => fill(stream).await,
        other => bail!("no kind of stream: {other}"),
    }
}

async fn echo(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> Result<()> {
    let mut message = [0; MESSAGE];
    loop {
        let first = stream.read(&mut message).await?;
        if first == 0 {
            return Ok(stream.close().await?);
        }
        stream.read_exact(&mut message[first..]).await?;
        stream.write_all(&message).await?;
        stream.flush().await?;
    }
}

/// Reads until the end, and counts.
pub async fn sink(mut stream: impl AsyncRead + Unpin, received: Received) -> Result<()> {
    let (mut buffer, mut at) = (vec![0; WRITE], 0);
    loop {
        let read = stream.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        check(&buffer[..read], at, WRITE);
        at += read;
        received.0.fetch_add(read as u64, Relaxed);
    }
}

/// Writes until that fails.
pub async fn fill(mut stream: impl AsyncWrite + Unpin) -> Result<()> {
    let mut chunk: Vec<u8> = (0..WRITE).map(|place| place as u8).collect();
    for index in 0u64.. {
        chunk[..8].copy_from_slice(&index.to_le_bytes());
        stream.write_all(&chunk).await?;
    }
    Ok(())
}
