//! Urgent messages, alone and beside bulk.

use super::row::Bulk;
use super::serve::{ECHO, FILL, MESSAGE, Received, SINK, fill, sink};
use crate::muxer::End;
use anyhow::{Context, Result, bail, ensure};
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use std::future::Future;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;

const INTERVAL: Duration = Duration::from_millis(20);

/// How many messages wait for their answers at the most.
const MOST: usize = 8;

/// Messages after which what is measured begins.
const FIRST: usize = 10;

/// How long answers may take when all messages are sent.
const LAST: Duration = Duration::from_secs(20);

/// How long the parts of a run take.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    pub alone: Duration,
    /// From the beginning of bulk until it is measured.
    pub settle: Duration,
    pub beside: Duration,
}

impl Times {
    pub const WHOLE: Self =
        Self { alone: Duration::from_secs(2), settle: Duration::from_secs(4), beside: Duration::from_secs(10) };
    pub const SHORT: Self =
        Self { alone: Duration::from_secs(1), settle: Duration::from_secs(2), beside: Duration::from_secs(3) };
}

/// What was measured.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub alone: Latencies,
    pub beside: Latencies,
    /// The longest one since bulk began, in milliseconds.
    pub worst: f64,
    /// In Mbit/s.
    pub bulk: f64,
}

/// Round trips of messages, the shortest first; at least one.
#[derive(Clone, Debug)]
pub struct Latencies(Vec<Duration>);

impl Latencies {
    pub fn new(mut times: Vec<Duration>) -> Result<Self> {
        ensure!(!times.is_empty(), "no message was answered");
        times.sort_unstable();
        Ok(Self(times))
    }

    /// In milliseconds.
    pub fn at(&self, quantile: f64) -> f64 {
        let index = ((self.0.len() as f64 * quantile).ceil() as usize).clamp(1, self.0.len()) - 1;
        self.0[index].as_secs_f64() * 1e3
    }
}

/// Where bulk arrives.
pub trait Counts {
    fn received(&mut self) -> impl Future<Output = Result<u64>>;
}

impl Counts for Received {
    async fn received(&mut self) -> Result<u64> {
        Ok(self.bytes())
    }
}

/// Runs it from the near end. `far` says what has arrived there.
pub async fn beside<E: End>(
    near: E,
    mut far: impl Counts,
    streams: usize,
    bulk: Bulk,
    times: Times,
) -> Result<Outcome> {
    let mut urgent = near.open().await;
    E::hurry(&urgent);
    urgent.write_all(&[ECHO]).await?;
    let stop = CancellationToken::new();
    let start = Instant::now();
    let mut messages = tokio::spawn(exchange(urgent, stop.clone()));
    sleep(times.alone).await;

    let began = Instant::now();
    let arrived = Received::default();
    let mut tasks = JoinSet::new();
    for _ in 0..streams {
        let mut stream = near.open().await;
        E::defer(&stream);
        let arrived = arrived.clone();
        tasks.spawn(async move {
            match bulk {
                Bulk::Up => {
                    stream.write_all(&[SINK]).await?;
                    fill(stream).await
                }
                Bulk::Down => {
                    stream.write_all(&[FILL]).await?;
                    stream.flush().await?;
                    sink(stream, arrived).await
                }
            }
        });
    }
    sleep(times.settle).await;
    let measured = Instant::now();
    let before = count(bulk, &arrived, &mut far).await?;
    sleep(times.beside).await;
    let after = count(bulk, &arrived, &mut far).await?;
    let end = Instant::now();
    if let Some(ended) = tasks.try_join_next() {
        ended.context("bulk")?.context("bulk")?;
        bail!("bulk ended");
    }
    stop.cancel();
    let messages =
        timeout(LAST, &mut messages).await.context("some messages were never answered")?.context("urgent")??;
    let alone = messages.iter().skip(FIRST).filter(|message| message.sent >= start && message.answered <= began);
    let beside = messages.iter().filter(|message| message.sent >= measured && message.sent < end);
    let since = messages.iter().filter(|message| message.sent >= began);
    Ok(Outcome {
        worst: Latencies::new(since.map(Message::time).collect())?.at(1.0),
        alone: Latencies::new(alone.map(Message::time).collect())?,
        beside: Latencies::new(beside.map(Message::time).collect())?,
        bulk: (after - before) as f64 * 8e-6 / (end - measured).as_secs_f64(),
    })
}

async fn count(bulk: Bulk, near: &Received, far: &mut impl Counts) -> Result<u64> {
    match bulk {
        Bulk::Up => far.received().await,
        Bulk::Down => Ok(near.bytes()),
    }
}

/// When it was sent and when its answer was there.
struct Message {
    sent: Instant,
    answered: Instant,
}

impl Message {
    fn time(&self) -> Duration {
        self.answered - self.sent
    }
}

/// Sends a message every [`INTERVAL`] until it is told to stop, and waits for the answers to all of them.
///
/// A flush is waited for until the next message: messages come when they come, not when there is room for them. A
/// message is left out while [`MOST`] have not been answered, so that what is measured does not grow with the length of a run.
async fn exchange(stream: impl AsyncRead + AsyncWrite + Unpin, stop: CancellationToken) -> Result<Vec<Message>> {
    let (mut reader, mut writer) = stream.split();
    let waiting = Semaphore::new(MOST);
    let (sent, mut answers) = mpsc::unbounded_channel();
    let sending = async {
        let sent = sent;
        let mut ticks = interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        ticks.tick().await;
        let mut sequence = 0u64;
        while !stop.is_cancelled() {
            if let Ok(place) = waiting.try_acquire() {
                sent.send((Instant::now(), place)).ok().context("the answers have ended")?;
                writer.write_all(&message(sequence)).await?;
                sequence += 1;
            }
            tokio::select! {
                _ = ticks.tick() => {}
                flushed = writer.flush() => {
                    flushed?;
                    ticks.tick().await;
                }
            }
        }
        // Not closed: the far end would answer.
        anyhow::Ok(writer)
    };
    let receiving = async {
        let mut messages = Vec::new();
        while let Some((sent, place)) = answers.recv().await {
            let mut answer = [0; MESSAGE];
            reader.read_exact(&mut answer).await?;
            ensure!(answer == message(messages.len() as u64), "answer {} is wrong", messages.len());
            messages.push(Message { sent, answered: Instant::now() });
            drop(place);
        }
        Ok(messages)
    };
    let (_, messages) = tokio::try_join!(sending, receiving)?;
    Ok(messages)
}

fn message(sequence: u64) -> [u8; MESSAGE] {
    let mut message = [7; MESSAGE];
    message[..8].copy_from_slice(&sequence.to_le_bytes());
    message
}
