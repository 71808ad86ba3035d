//! Ping-pongs of 64 bytes on one stream, while another one is full of data, and without that.

use crate::muxer::{End, Muxer, pair};
use crate::transfer::check;
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use hdrhistogram::Histogram;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

const MESSAGE: usize = 64;
const BULK: usize = 64 * 1024;

/// Bytes that have arrived when it flows.
const FLOWS: usize = 16 << 20;

/// Exchanges that are not clocked.
const FIRST: usize = 100;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beside {
    Nothing,
    Bulk,
}

/// What was clocked.
#[derive(Clone, Copy, Debug)]
pub struct Clocked {
    /// The latency that 99 % of the exchanges had at most.
    pub p99: Duration,
    /// What came of the bulk meanwhile: bytes, and in which time.
    pub beside: usize,
    pub time: Duration,
}

/// Clocks `count` exchanges.
pub async fn latency<M: Muxer>(beside: Beside, count: usize) -> Clocked {
    let (client, server) = pair::<M>(2).await;
    let received = Arc::new(AtomicUsize::new(0));
    let receiving = received.clone();
    let serving = tokio::spawn(async move {
        let urgent = server.accept().await;
        M::End::hurry(&urgent);
        let echo = tokio::spawn(echo(urgent));
        let sink = match beside {
            Beside::Nothing => None,
            Beside::Bulk => Some(tokio::spawn(sink(server.accept().await, receiving))),
        };
        echo.await.expect("echoes");
        if let Some(sink) = sink {
            sink.await.expect("reads");
        }
        server
    });
    let mut urgent = client.open().await;
    M::End::hurry(&urgent);
    exchange(&mut urgent, 0).await;
    let stop = CancellationToken::new();
    let bulk = match beside {
        Beside::Nothing => None,
        Beside::Bulk => Some(tokio::spawn(fill(client.open().await, stop.clone()))),
    };
    // It flows before the first message is clocked.
    while beside == Beside::Bulk && received.load(Relaxed) < FLOWS {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let (before, start) = (received.load(Relaxed), Instant::now());
    let clocked = tokio::spawn(async move {
        let mut histogram = Histogram::<u64>::new(3).expect("three digits");
        for sequence in 1..=FIRST + count {
            let start = Instant::now();
            exchange(&mut urgent, sequence).await;
            if sequence > FIRST {
                histogram.record(start.elapsed().as_nanos() as u64).expect("it grows");
            }
        }
        urgent.close().await.expect("closes");
        histogram
    });
    let histogram = clocked.await.expect("pings");
    let (bytes, time) = (received.load(Relaxed) - before, start.elapsed());
    assert!(beside == Beside::Nothing || bytes > 0, "nothing flowed beside it");
    stop.cancel();
    if let Some(bulk) = bulk {
        bulk.await.expect("writes");
    }
    serving.await.expect("serves");
    drop(client);
    Clocked { p99: Duration::from_nanos(histogram.value_at_quantile(0.99)), beside: bytes, time }
}

async fn exchange(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), sequence: usize) {
    let mut message = [7; MESSAGE];
    message[..8].copy_from_slice(&(sequence as u64).to_le_bytes());
    stream.write_all(&message).await.expect("writes");
    stream.flush().await.expect("flushes");
    let mut answer = [0; MESSAGE];
    stream.read_exact(&mut answer).await.expect("reads");
    assert_eq!(answer, message);
}

async fn echo(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let mut message = [0; MESSAGE];
    while stream.read_exact(&mut message).await.is_ok() {
        stream.write_all(&message).await.expect("writes");
        stream.flush().await.expect("flushes");
    }
    let _ = stream.close().await;
}

/// Writes until it is told to stop.
async fn fill(mut stream: impl AsyncWrite + Unpin, stop: CancellationToken) {
    let mut chunk: Vec<u8> = (0..BULK).map(|i| i as u8).collect();
    for index in 0u64.. {
        if stop.is_cancelled() {
            break;
        }
        chunk[..8].copy_from_slice(&index.to_le_bytes());
        stream.write_all(&chunk).await.expect("writes");
    }
    stream.close().await.expect("closes");
}

/// Reads to the end.
async fn sink(mut stream: impl AsyncRead + AsyncWrite + Unpin, received: Arc<AtomicUsize>) {
    let (mut buffer, mut at) = (vec![0; BULK], 0);
    loop {
        match stream.read(&mut buffer).await.expect("reads") {
            0 => break,
            read => {
                check(&buffer[..read], at, BULK);
                at += read;
                received.store(at, Relaxed);
            }
        }
    }
    let _ = stream.close().await;
}
