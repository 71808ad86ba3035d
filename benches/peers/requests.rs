//! Requests of 1 KiB and responses of 1 KiB, on one stream or on many at once.

use crate::muxer::{End, Muxer, pair};
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Barrier;
use tokio::task::JoinSet;

const MESSAGE: usize = 1024;

/// `requests` on `streams` streams together, each of which waits for one response before the next request; the first
/// exchange of each stream is not clocked.
pub async fn requests<M: Muxer>(streams: usize, requests: usize) -> Duration {
    let (client, server) = pair::<M>(streams).await;
    let serving = tokio::spawn(async move {
        let mut tasks = JoinSet::new();
        for _ in 0..streams {
            tasks.spawn(serve(server.accept().await));
        }
        tasks.join_all().await;
        server
    });
    let mut opened = Vec::new();
    for number in 0..streams {
        let mut stream = client.open().await;
        ask(&mut stream, number, 0).await;
        opened.push(stream);
    }
    let time = clock(opened, requests).await;
    serving.await.expect("serves");
    time
}

/// How long `requests` take on these streams, a task each; then finishes them.
pub async fn clock<S>(streams: Vec<S>, requests: usize) -> Duration
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (number, share) = (streams.len() + 1, requests / streams.len());
    let (ready, done) = (Arc::new(Barrier::new(number)), Arc::new(Barrier::new(number)));
    let mut tasks = JoinSet::new();
    for (number, mut stream) in streams.into_iter().enumerate() {
        let (ready, done) = (ready.clone(), done.clone());
        tasks.spawn(async move {
            ready.wait().await;
            for sequence in 1..=share {
                ask(&mut stream, number, sequence).await;
            }
            done.wait().await;
            stream.close().await.expect("closes");
            stream
        });
    }
    ready.wait().await;
    let start = Instant::now();
    done.wait().await;
    let time = start.elapsed();
    tasks.join_all().await;
    time
}

pub async fn ask(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), number: usize, sequence: usize) {
    let mut message = [number as u8; MESSAGE];
    message[..8].copy_from_slice(&(number as u64).to_le_bytes());
    message[MESSAGE - 8..].copy_from_slice(&(sequence as u64).to_le_bytes());
    stream.write_all(&message).await.expect("writes");
    stream.flush().await.expect("flushes");
    let mut response = [0; MESSAGE];
    stream.read_exact(&mut response).await.expect("reads");
    // The response is the request from the back to the front.
    message.reverse();
    assert!(response == message, "stream {number}, request {sequence}");
}

/// Answers each request until there are no more.
pub async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let mut message = [0; MESSAGE];
    while stream.read_exact(&mut message).await.is_ok() {
        message.reverse();
        stream.write_all(&message).await.expect("writes");
        stream.flush().await.expect("flushes");
    }
    let _ = stream.close().await;
}
