//! How long a large transfer takes on a fresh stream.

use super::serve::WRITE;
use crate::muxer::End;
use crate::transfer::{check, send};
use anyhow::{Context, Result, ensure};
use futures::{AsyncReadExt, AsyncWriteExt};
use std::time::{Duration, Instant};

/// How long a connection is there before the stream is opened, at least: round trips have been measured by then.
const WARM: Duration = Duration::from_millis(400);
const ROUND_TRIPS: u32 = 4;

/// In Mbit/s, from the first write to the last byte read.
pub async fn fresh(near: impl End, far: impl End, bytes: usize, round_trip: Duration) -> Result<f64> {
    tokio::time::sleep(WARM.max(round_trip * ROUND_TRIPS)).await;
    let reading = tokio::spawn(async move {
        let mut stream = far.accept().await;
        let (mut buffer, mut received) = (vec![0; WRITE], 0);
        while received < bytes {
            let read = stream.read(&mut buffer).await?;
            ensure!(read > 0, "the end after {received} bytes");
            check(&buffer[..read], received, WRITE);
            received += read;
        }
        anyhow::Ok((Instant::now(), far, stream))
    });
    let mut stream = near.open().await;
    let start = Instant::now();
    send(&mut stream, WRITE, bytes).await;
    stream.flush().await?;
    let (end, ..) = reading.await.context("the reader")??;
    Ok(bytes as f64 * 8e-6 / (end - start).as_secs_f64())
}
