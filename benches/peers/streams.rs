//! Streams that come and go, and streams that stay.

use crate::muxer::{End, Muxer, pair};
use futures::{AsyncReadExt, AsyncWriteExt};
use std::time::{Duration, Instant};

/// Streams that wait for the first byte of the peer at once: fewer than any muxer allows.
const UNANSWERED: usize = 128;

/// Streams one after the other: open, two bytes, FIN, the two bytes back, FIN.
pub async fn open_close<M: Muxer>(count: usize) -> Duration {
    let (client, server) = pair::<M>(1).await;
    let serving = tokio::spawn(async move {
        for _ in 0..count {
            let mut stream = server.accept().await;
            tokio::spawn(async move {
                let mut bytes = Vec::with_capacity(2);
                stream.read_to_end(&mut bytes).await.expect("reads");
                stream.write_all(&bytes).await.expect("writes");
                stream.close().await.expect("closes");
            });
        }
        server
    });
    let clocked = tokio::spawn(async move {
        let start = Instant::now();
        for index in 0..count {
            let mut stream = client.open().await;
            let bytes = (index as u16).to_le_bytes();
            stream.write_all(&bytes).await.expect("writes");
            stream.close().await.expect("closes");
            let mut answer = Vec::with_capacity(2);
            stream.read_to_end(&mut answer).await.expect("reads");
            assert_eq!(answer, bytes, "stream {index}");
        }
        (start.elapsed(), client)
    });
    let (time, _client) = clocked.await.expect("opens");
    serving.await.expect("serves");
    time
}

/// Both ends' handles of streams that are open.
pub struct Held<E: End> {
    pub near: Vec<E::Stream>,
    pub far: Vec<E::Stream>,
}

impl<E: End> Held<E> {
    pub fn with_capacity(streams: usize) -> Self {
        Self { near: Vec::with_capacity(streams), far: Vec::with_capacity(streams) }
    }

    /// Opens `streams` more; a byte crosses each way.
    pub async fn open(&mut self, client: &E, server: &E, streams: usize) {
        let last = self.near.len() + streams;
        while self.near.len() < last {
            let from = self.near.len();
            for _ in from..last.min(from + UNANSWERED) {
                let mut stream = client.open().await;
                stream.write_all(&[1]).await.expect("writes");
                stream.flush().await.expect("flushes");
                self.near.push(stream);
            }
            while self.far.len() < self.near.len() {
                let mut stream = server.accept().await;
                let mut byte = [0];
                stream.read_exact(&mut byte).await.expect("reads");
                stream.write_all(&byte).await.expect("writes");
                stream.flush().await.expect("flushes");
                self.far.push(stream);
            }
            for stream in &mut self.near[from..] {
                let mut byte = [0];
                stream.read_exact(&mut byte).await.expect("reads");
                assert_eq!(byte, [1]);
            }
        }
    }

    /// Finishes each from both ends, and waits until each has seen that.
    pub async fn close(mut self) {
        for turn in 0..2 {
            let (finishing, waiting) =
                if turn == 0 { (&mut self.near, &mut self.far) } else { (&mut self.far, &mut self.near) };
            for stream in finishing {
                stream.close().await.expect("closes");
            }
            for stream in waiting {
                assert_eq!(stream.read(&mut [0]).await.expect("reads"), 0);
            }
        }
    }
}

/// `streams` opened, held and closed.
pub async fn open_many<M: Muxer>(streams: usize) -> Duration {
    let (client, server) = pair::<M>(streams).await;
    let clocked = tokio::spawn(async move {
        let start = Instant::now();
        let mut held = Held::<M::End>::with_capacity(streams);
        held.open(&client, &server, streams).await;
        held.close().await;
        (start.elapsed(), client, server)
    });
    clocked.await.expect("opens").0
}
