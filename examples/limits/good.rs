//! A good peer: it sends requests, each on a stream of its own, which the node echoes, and keeps a bulk stream busy as
//! well. It compares every byte. A stream that is refused is tried again.

use crate::node::REFUSED;
use crate::pattern;
use crate::tally::Tally;
use anyhow::Context as _;
use sluicegate::{Config, Mode, Session, Side, StreamError};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;

/// Concurrent requests of a peer.
pub(crate) const REQUESTS: usize = 2;
/// Streams that a peer has open at once: its requests, and one for bulk.
pub(crate) const STREAMS: usize = REQUESTS + 1;

/// Pause between an answer and the next request, so that the attack gets time of the node as well.
const PAUSE: Duration = Duration::from_millis(1);
/// Bytes of a bulk stream, and how often they are sent: about 8 MB/s.
const CHUNK: usize = 64 * 1024;
const CHUNK_INTERVAL: Duration = Duration::from_millis(8);
/// Pause before a refused stream is tried again.
const RETRY: Duration = Duration::from_millis(20);

/// Runs until `stop` turns true, then closes. Fails with the first wrong byte, and with any error but a refusal.
pub(crate) async fn run(
    number: u64,
    node: SocketAddr,
    tally: Arc<Tally>,
    stop: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let socket = TcpStream::connect(node).await?;
    socket.set_nodelay(true)?;
    let (session, driver) = Session::over_tokio(socket, Config::default(), Mode::Client);
    let driver = tokio::spawn(driver);
    let worker = Worker { session: session.clone(), tally, stop };
    let first = number * STREAMS as u64;
    tokio::try_join!(
        async { worker.request(first).await.context("a request failed") },
        async { worker.request(first + 1).await.context("a request failed") },
        async { worker.bulk(first + 2).await.context("the bulk stream failed") },
    )?;
    session.close().await.context("the connection does not close in good order")?;
    driver.await?.context("the connection failed")
}

struct Worker {
    session: Session,
    tally: Arc<Tally>,
    stop: watch::Receiver<bool>,
}

impl Worker {
    fn is_stopped(&self) -> bool {
        *self.stop.borrow()
    }

    /// One request after the other, each on a new stream.
    async fn request(&self, number: u64) -> anyhow::Result<()> {
        for turn in 0_u64.. {
            // A request in progress is finished, unless the node goes on refusing it.
            let len = 1 + turn.wrapping_mul(7919) % (32 * 1024);
            let start = Instant::now();
            while !self.admitted(self.ask(number + turn, len)).await? {
                if self.is_stopped() {
                    return Ok(());
                }
            }
            self.tally.answered(start.elapsed());
            if self.is_stopped() {
                return Ok(());
            }
            tokio::time::sleep(PAUSE).await;
        }
        Ok(())
    }

    async fn ask(&self, number: u64, len: u64) -> io::Result<()> {
        let mut stream = self.session.open().await?;
        send(&mut stream, number, 0, len).await?;
        stream.shutdown().await?;
        let mut received = 0;
        while let Some(bytes) = stream.read_bytes().await? {
            check(number, received, &bytes)?;
            received += bytes.len() as u64;
        }
        complete(received, len)
    }

    /// One stream for the whole run, with data both ways at once.
    async fn bulk(&self, number: u64) -> anyhow::Result<()> {
        while !self.admitted(self.pump(number)).await? && !self.is_stopped() {}
        Ok(())
    }

    async fn pump(&self, number: u64) -> io::Result<()> {
        let (read, write) = tokio::io::split(self.session.open().await?);
        let (sent, received) = tokio::try_join!(self.fill(number, write), self.drain(number, read))?;
        complete(received, sent)
    }

    /// Sends until it is stopped; returns the number of bytes.
    async fn fill(&self, number: u64, mut to: impl AsyncWrite + Unpin) -> io::Result<u64> {
        let mut sent = 0;
        let mut ticks = tokio::time::interval(CHUNK_INTERVAL);
        while !self.is_stopped() {
            ticks.tick().await;
            send(&mut to, number, sent, CHUNK as u64).await?;
            sent += CHUNK as u64;
        }
        to.shutdown().await?;
        Ok(sent)
    }

    /// Compares the echo up to its end; returns the number of bytes.
    async fn drain(&self, number: u64, mut from: impl AsyncRead + Unpin) -> io::Result<u64> {
        let (mut received, mut buffer) = (0, vec![0; CHUNK]);
        loop {
            let read = from.read(&mut buffer).await?;
            if read == 0 {
                return Ok(received);
            }
            check(number, received, &buffer[..read])?;
            received += read as u64;
            self.tally.echoed(read as u64);
        }
    }

    /// Whether the request succeeded; waits a little if the node has refused the stream.
    async fn admitted(&self, done: impl Future<Output = io::Result<()>>) -> io::Result<bool> {
        match done.await {
            Ok(()) => Ok(true),
            Err(error) if is_refusal(&error) => {
                self.tally.refused();
                tokio::time::sleep(RETRY).await;
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }
}

async fn send(to: &mut (impl AsyncWrite + Unpin), number: u64, from: u64, len: u64) -> io::Result<()> {
    let mut sent = 0;
    while sent < len {
        let left = usize::try_from(len - sent).unwrap_or(CHUNK);
        let piece = pattern::bytes(number, from + sent, left);
        to.write_all(piece).await?;
        sent += piece.len() as u64;
    }
    Ok(())
}

fn check(number: u64, at: u64, bytes: &[u8]) -> io::Result<()> {
    match pattern::right(number, at, bytes) {
        right if right == bytes.len() => Ok(()),
        right => Err(io::Error::other(format!("byte {} of transfer {number} came back wrong", at + right as u64))),
    }
}

fn complete(received: u64, sent: u64) -> io::Result<()> {
    if received == sent {
        return Ok(());
    }
    Err(io::Error::other(format!("{received} of {sent} bytes came back")))
}

/// The node has refused this stream.
fn is_refusal(error: &io::Error) -> bool {
    let stream = error.get_ref().and_then(|inner| inner.downcast_ref::<StreamError>());
    matches!(stream, Some(StreamError::Reset { by: Side::Remote, code: REFUSED }))
}
