//! One stream, one direction, writes of one size: bulk, small and tiny.

use crate::muxer::{End, Muxer, pair};
use cpu_time::ProcessTime;
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use std::time::{Duration, Instant};

/// A number at the front of each write, so that nothing can be lost, repeated or out of order.
const TAG: usize = size_of::<u64>();

/// What a transfer took, both ends together.
#[derive(Clone, Copy, Debug)]
pub struct Taken {
    pub time: Duration,
    pub cpu: Duration,
}

/// `bytes` in writes of `write` bytes without a flush, until the reader's answer to the end of them is there.
pub async fn transfer<M: Muxer>(write: usize, bytes: usize) -> Taken {
    let (client, server) = pair::<M>(1).await;
    let receiver = tokio::spawn(async move {
        let mut stream = server.accept().await;
        receive(&mut stream, write, bytes).await;
        stream.write_all(b"done").await.expect("writes");
        stream.close().await.expect("closes");
        (server, stream)
    });
    let sender = tokio::spawn(async move {
        let (time, cpu) = (Instant::now(), ProcessTime::now());
        let mut stream = client.open().await;
        send(&mut stream, write, bytes).await;
        stream.close().await.expect("closes");
        let mut answer = [0; 4];
        stream.read_exact(&mut answer).await.expect("reads");
        assert_eq!(&answer, b"done");
        (Taken { time: time.elapsed(), cpu: cpu.elapsed() }, client)
    });
    let (taken, _client) = sender.await.expect("sends");
    receiver.await.expect("receives");
    taken
}

pub async fn send(stream: &mut (impl AsyncWrite + Unpin), write: usize, bytes: usize) {
    let mut chunk: Vec<u8> = (0..write).map(|i| i as u8).collect();
    for index in 0..bytes / write {
        chunk[..TAG].copy_from_slice(&(index as u64).to_le_bytes());
        stream.write_all(&chunk).await.expect("writes");
    }
}

/// Reads to the end and checks what [`send`] wrote.
pub async fn receive(stream: &mut (impl AsyncRead + Unpin), write: usize, bytes: usize) {
    let mut buffer = vec![0; 64 * 1024];
    let mut received = 0;
    loop {
        let read = stream.read(&mut buffer).await.expect("reads");
        if read == 0 {
            break;
        }
        check(&buffer[..read], received, write);
        received += read;
    }
    assert_eq!(received, bytes / write * write);
}

/// Checks the number of each write that begins in `bytes`, which are `at` bytes from the start, and their last one.
pub fn check(bytes: &[u8], at: usize, write: usize) {
    let first = at.next_multiple_of(write);
    for start in (first..at + bytes.len()).step_by(write) {
        if let Some(tag) = bytes[start - at..].first_chunk::<TAG>() {
            assert_eq!(u64::from_le_bytes(*tag), (start / write) as u64, "byte {start}");
        }
    }
    for offset in [0, bytes.len() - 1] {
        let place = (at + offset) % write;
        assert!(place < TAG || bytes[offset] == place as u8, "byte {}", at + offset);
    }
}
