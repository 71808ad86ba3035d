//! The work: streams that carry a known pattern, and one that pings.
//!
//! A bulk stream begins with a request of 17 bytes: which way the data goes, which stream it is, and how long it is.
//! The node answers with one byte, so that the next stream is not opened before this one has arrived. Whoever receives
//! compares every byte; the node also answers with how many of them were right.

use crate::pattern;
use crate::stats::Stats;
use anyhow::{Context as _, ensure};
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, StreamExt};
use libp2p::{PeerId, StreamProtocol};
use libp2p_stream::{Control, IncomingStreams};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

/// Moves data.
pub(crate) const BULK: StreamProtocol = StreamProtocol::new("/sluicegate/example/bulk/1");
/// Echoes eight bytes at a time.
pub(crate) const PING: StreamProtocol = StreamProtocol::new("/sluicegate/example/ping/1");
const HELLO: u8 = 0x5C;
const CHUNK: usize = 32 * 1024;

/// Which way the data of a stream goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// From the peer to the node.
    In = 0,
    /// From the node to the peer.
    Out = 1,
}

/// What one stream has to move.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Job {
    pub(crate) way: Way,
    pub(crate) number: u64,
    pub(crate) bytes: u64,
}

impl Job {
    const LEN: usize = 17;

    fn encode(self) -> [u8; Self::LEN] {
        let mut request = [0; Self::LEN];
        request[0] = self.way as u8;
        request[1..9].copy_from_slice(&self.number.to_be_bytes());
        request[9..].copy_from_slice(&self.bytes.to_be_bytes());
        request
    }

    async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Self> {
        let (mut way, mut number, mut bytes) = ([0], [0; 8], [0; 8]);
        stream.read_exact(&mut way).await?;
        stream.read_exact(&mut number).await?;
        stream.read_exact(&mut bytes).await?;
        let way = match way {
            [0] => Way::In,
            [1] => Way::Out,
            _ => return Err(io::ErrorKind::InvalidData.into()),
        };
        Ok(Self { way, number: u64::from_be_bytes(number), bytes: u64::from_be_bytes(bytes) })
    }
}

/// The node: serves what the peer asks for.
pub(crate) fn serve(mut control: Control, stats: Arc<Stats>) -> anyhow::Result<()> {
    tokio::spawn(serve_pings(control.accept(PING)?));
    tokio::spawn(serve_bulk(control.accept(BULK)?, stats));
    Ok(())
}

async fn serve_pings(mut incoming: IncomingStreams) {
    while let Some((_, mut stream)) = incoming.next().await {
        tokio::spawn(async move {
            let mut ping = [0; 8];
            while stream.read_exact(&mut ping).await.is_ok() {
                stream.write_all(&ping).await?;
                stream.flush().await?;
            }
            stream.close().await
        });
    }
}

async fn serve_bulk(mut incoming: IncomingStreams, stats: Arc<Stats>) {
    while let Some((_, mut stream)) = incoming.next().await {
        let stats = stats.clone();
        // What fails here is missed at the other end, which reports it.
        tokio::spawn(async move {
            let job = Job::read(&mut stream).await?;
            stream.write_all(&[HELLO]).await?;
            stream.flush().await?;
            match job.way {
                Way::In => {
                    let right = receive(&mut stream, job, &stats).await?;
                    stream.write_all(&right.to_be_bytes()).await?;
                }
                Way::Out => send(&mut stream, job).await?,
            }
            stream.close().await
        });
    }
}

/// The peer: moves all jobs, each on a stream of its own. No data moves before all streams are open, or until the node
/// has refused one: so there are as many at once as it has memory for. A refused one is tried again when another has
/// ended.
pub(crate) async fn move_all(
    mut control: Control,
    node: PeerId,
    jobs: impl Iterator<Item = Job>,
    stats: Arc<Stats>,
) -> anyhow::Result<()> {
    let ended = Arc::new(Notify::new());
    let go = watch::Sender::new(false);
    let mut running = JoinSet::new();
    for job in jobs {
        let mut stream = loop {
            match control.open_stream(node, BULK).await {
                Ok(stream) => break stream,
                Err(error) => {
                    tracing::debug!(%error, "refused");
                    stats.refused.fetch_add(1, Ordering::Relaxed);
                    go.send_replace(true);
                    let _ = tokio::time::timeout(Duration::from_millis(50), ended.notified()).await;
                }
            }
        };
        stream.write_all(&job.encode()).await?;
        stream.flush().await?;
        let mut hello = [0];
        stream.read_exact(&mut hello).await?;
        ensure!(hello == [HELLO], "the node said {hello:?} instead of hello");
        stats.opened.fetch_add(1, Ordering::Relaxed);
        let (stats, ended, mut gate) = (stats.clone(), ended.clone(), go.subscribe());
        running.spawn(async move {
            gate.wait_for(|go| *go).await?;
            let result = run(stream, job, &stats).await;
            stats.finished.fetch_add(1, Ordering::Relaxed);
            ended.notify_one();
            result.with_context(|| format!("stream {} failed", job.number))
        });
        // A failure is not worth waiting for the other streams.
        while let Some(result) = running.try_join_next() {
            result??;
        }
    }
    go.send_replace(true);
    while let Some(result) = running.join_next().await {
        result??;
    }
    Ok(())
}

async fn run(mut stream: libp2p::Stream, job: Job, stats: &Stats) -> anyhow::Result<()> {
    let right = match job.way {
        Way::In => {
            send(&mut stream, job).await?;
            stream.close().await?;
            let mut right = [0; 8];
            stream.read_exact(&mut right).await?;
            ensure!(stream.read(&mut [0]).await? == 0, "there is more after the receipt");
            u64::from_be_bytes(right)
        }
        Way::Out => {
            let right = receive(&mut stream, job, stats).await?;
            stream.close().await?;
            right
        }
    };
    ensure!(right == job.bytes, "{right} of {} bytes have arrived as they were sent", job.bytes);
    Ok(())
}

async fn send(stream: &mut (impl AsyncWrite + Unpin), job: Job) -> io::Result<()> {
    let mut sent = 0;
    while sent < job.bytes {
        let chunk = pattern::bytes(job.number, sent, CHUNK.min(usize::try_from(job.bytes - sent).unwrap_or(CHUNK)));
        stream.write_all(chunk).await?;
        sent += chunk.len() as u64;
    }
    stream.flush().await
}

/// Reads to the end of the stream; says how many bytes were right, up to the first that was not.
async fn receive(stream: &mut (impl AsyncRead + Unpin), job: Job, stats: &Stats) -> io::Result<u64> {
    let mut buffer = vec![0; CHUNK];
    let (mut right, mut intact) = (0, true);
    loop {
        let read = stream.read(&mut buffer).await?;
        if read == 0 {
            return Ok(right);
        }
        if intact {
            let fit = pattern::right(job.number, right, &buffer[..read]);
            intact = fit == read;
            right += fit as u64;
            stats.bytes.fetch_add(fit as u64, Ordering::Relaxed);
        }
    }
}

/// Opens the ping stream, before there is a lot of them.
pub(crate) async fn open_ping(mut control: Control, node: PeerId) -> anyhow::Result<libp2p::Stream> {
    control.open_stream(node, PING).await.context("the ping stream could not be opened")
}

/// Pings until `done`, and records how long each answer took.
pub(crate) async fn ping(
    mut stream: libp2p::Stream,
    interval: Duration,
    stats: Arc<Stats>,
    done: Arc<AtomicBool>,
) -> anyhow::Result<()> {
    for number in 0_u64.. {
        let start = Instant::now();
        stream.write_all(&number.to_be_bytes()).await?;
        stream.flush().await?;
        let mut answer = [0; 8];
        stream.read_exact(&mut answer).await?;
        ensure!(answer == number.to_be_bytes(), "ping {number} was answered with {answer:?}");
        stats.record_ping(start.elapsed());
        if done.load(Ordering::Relaxed) {
            break;
        }
        tokio::time::sleep(interval).await;
    }
    stream.close().await?;
    Ok(())
}
