//! One case: two sessions over a new link, bulk streams one way, and a small stream both ways beside them.

use crate::link;
use crate::pattern;
use anyhow::{Context as _, ensure};
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use futures_timer::Delay;
use hdrhistogram::Histogram;
use sluicegate::{Config, Mode, Priority, Session, Stream};
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// Bytes of a message on the small stream.
const MESSAGE: usize = 64;
/// Between two messages, answered or not.
const INTERVAL: Duration = Duration::from_millis(5);
/// Before the first message, so that bulk is flowing by then.
const WARM_UP: Duration = Duration::from_millis(200);
/// Bytes of one write or read of bulk.
const CHUNK: usize = 32 * 1024;

/// What a stream says it is with its first byte.
const SMALL: u8 = b's';
const BULK: u8 = b'b';

/// Who is urgent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Priorities {
    /// Everything is `MEDIUM`.
    Off,
    /// Bulk is `LOW`, the small stream is `HIGH`.
    On,
}

/// What is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    pub(crate) bulk: u16,
    pub(crate) priorities: Priorities,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) case: Case,
    /// From when a message was due to when its echo had arrived, in microseconds.
    pub(crate) latency: Histogram<u64>,
    /// Bulk bytes a second that arrived, and were right, while messages were sent.
    pub(crate) throughput: f64,
}

impl Outcome {
    /// How long this share of the messages took at most.
    pub(crate) fn milliseconds(&self, share: f64) -> f64 {
        self.latency.value_at_quantile(share) as f64 / 1000.0
    }
}

impl Case {
    pub(crate) fn name(self) -> String {
        let priorities = match self.priorities {
            Priorities::Off => "off",
            Priorities::On => "on",
        };
        match self.bulk {
            0 => "no bulk".into(),
            1 => format!("1 bulk stream, priorities {priorities}"),
            bulk => format!("{bulk} bulk streams, priorities {priorities}"),
        }
    }

    /// Measures for that long.
    pub(crate) async fn run(self, link: link::Settings, time: Duration) -> anyhow::Result<Outcome> {
        let (near, far) = link::new(link);
        let (client, driver) = Session::new(near, Config::default(), Mode::Client);
        let client_driver = tokio::spawn(driver);
        let (server, driver) = Session::new(far, Config::default(), Mode::Server);
        let server_driver = tokio::spawn(driver);
        let arrived = Arc::new(AtomicU64::new(0));
        let serving = tokio::spawn(serve(server, arrived.clone()));

        let stop = Arc::new(AtomicBool::new(false));
        let mut bulk = JoinSet::new();
        for _ in 0..self.bulk {
            let stream = client.open().await?;
            if self.priorities == Priorities::On {
                stream.set_priority(Priority::LOW);
            }
            bulk.spawn(pour(stream, stop.clone()));
        }
        let small = client.open().await?;
        if self.priorities == Priorities::On {
            small.set_priority(Priority::HIGH);
        }
        Delay::new(WARM_UP).await;
        let (before, start) = (arrived.load(Ordering::Relaxed), Instant::now());
        let latency = ask(small, time).await.context("the small stream failed")?;
        let throughput = (arrived.load(Ordering::Relaxed) - before) as f64 / start.elapsed().as_secs_f64();

        stop.store(true, Ordering::Relaxed);
        let mut sent = 0;
        while let Some(stream) = bulk.join_next().await {
            sent += stream?.context("a bulk stream failed")?;
        }
        client.close().await?;
        client_driver.await??;
        server_driver.await??;
        serving.await??;
        let arrived = arrived.load(Ordering::Relaxed);
        ensure!(arrived == sent, "{arrived} of {sent} bytes have arrived as they were sent");
        Ok(Outcome { case: self, latency, throughput })
    }
}

/// The far end. Counts the bulk bytes that have `arrived`.
async fn serve(session: Session, arrived: Arc<AtomicU64>) -> io::Result<()> {
    let mut streams = JoinSet::new();
    while let Ok(mut stream) = session.accept().await {
        let arrived = arrived.clone();
        streams.spawn(async move {
            let mut kind = [0];
            stream.read_exact(&mut kind).await?;
            match kind {
                [SMALL] => echo(stream).await,
                _ => drain(stream, &arrived).await,
            }
        });
    }
    streams.join_all().await.into_iter().collect()
}

async fn echo(mut stream: Stream) -> io::Result<()> {
    // On the way back there is nothing to overtake.
    while let Some(bytes) = stream.read_bytes().await? {
        stream.write_all(&bytes).await?;
    }
    stream.close().await
}

async fn drain(mut stream: Stream, arrived: &AtomicU64) -> io::Result<()> {
    let (id, mut at) = (stream.id().into(), 0);
    while let Some(bytes) = stream.read_bytes().await? {
        let right = pattern::right(id, at, &bytes) as u64;
        arrived.fetch_add(right, Ordering::Relaxed);
        at += bytes.len() as u64;
    }
    stream.close().await
}

/// Writes as much as the stream takes until it is told to stop; says how many bytes that were.
async fn pour(mut stream: Stream, stop: Arc<AtomicBool>) -> io::Result<u64> {
    let (id, mut sent) = (stream.id().into(), 0);
    stream.write_all(&[BULK]).await?;
    while !stop.load(Ordering::Relaxed) {
        let piece = pattern::bytes(id, sent, CHUNK);
        stream.write_all(piece).await?;
        sent += piece.len() as u64;
    }
    stream.close().await?;
    // The far end closes when it has read all.
    match stream.read(&mut [0]).await? {
        0 => Ok(sent),
        _ => Err(io::Error::other("there is an answer to bulk")),
    }
}

/// Sends messages for that long, and measures how long each takes to come back.
///
/// They are sent when they are due, whether the one before has been answered or not: an answer that is late delays no
/// measurement.
async fn ask(stream: Stream, time: Duration) -> anyhow::Result<Histogram<u64>> {
    let (number, messages) = (stream.id().into(), (time.as_micros() / INTERVAL.as_micros()) as u32);
    let (read, mut write) = stream.split();
    write.write_all(&[SMALL]).await?;
    let start = Instant::now();
    let sends = async {
        let mut sent = 0;
        while sent < messages {
            Delay::new((start + sent * INTERVAL).saturating_duration_since(Instant::now())).await;
            // More than one where the stream has taken nothing for a while.
            let due = 1 + (start.elapsed().as_micros() / INTERVAL.as_micros()) as u32;
            let due = due.clamp(sent, messages);
            send(&mut write, number, u64::from(sent)..u64::from(due)).await?;
            sent = due;
        }
        write.close().await?;
        anyhow::Ok(())
    };
    let ((), latency) = tokio::try_join!(sends, listen(read, number, messages, start))?;
    Ok(latency)
}

async fn send(to: &mut (impl AsyncWrite + Unpin), number: u64, messages: Range<u64>) -> io::Result<()> {
    let (mut at, end) = (messages.start * MESSAGE as u64, messages.end * MESSAGE as u64);
    while at < end {
        let piece = pattern::bytes(number, at, (end - at) as usize);
        to.write_all(piece).await?;
        at += piece.len() as u64;
    }
    Ok(())
}

async fn listen(
    mut from: impl AsyncRead + Unpin,
    number: u64,
    messages: u32,
    start: Instant,
) -> anyhow::Result<Histogram<u64>> {
    // Up to a minute, to three digits.
    let mut latency = Histogram::new_with_bounds(1, 60_000_000, 3)?;
    for message in 0..messages {
        let mut echo = [0; MESSAGE];
        from.read_exact(&mut echo).await?;
        let took = (start + message * INTERVAL).elapsed();
        latency.saturating_record(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
        let right = pattern::right(number, u64::from(message) * MESSAGE as u64, &echo);
        ensure!(right == MESSAGE, "message {message} came back with a wrong byte");
    }
    ensure!(from.read(&mut [0]).await? == 0, "there is more than what was sent");
    Ok(latency)
}
