//! One connection: both ends of it, and both ends of each of its streams.

use crate::lane::Lane;
use crate::pipe::Pipe;
use crate::tally::Tally;
use anyhow::Context as _;
use futures::future::poll_fn;
use futures::{AsyncWriteExt, future};
use sluicegate::{Config, ConnectionError, Mode, Session};
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub(crate) struct Pair {
    number: usize,
    client: End,
    server: End,
    /// Bytes that each stream must have moved each way, since it was opened, at the end of the present round.
    goal: u64,
}

struct End {
    session: Session,
    driver: JoinHandle<Result<(), ConnectionError>>,
    lanes: Vec<Lane>,
}

impl Pair {
    /// Ready when either end has had an answer from the other.
    pub(crate) async fn connect(number: usize, (near, far): (Pipe, Pipe), config: Config) -> anyhow::Result<Self> {
        let (client, server) = (End::new(near, config.clone(), Mode::Client), End::new(far, config, Mode::Server));
        future::try_join(client.session.ping(), server.session.ping()).await.context("a ping is not answered")?;
        Ok(Self { number, client, server, goal: 0 })
    }

    /// Its index among all connections.
    pub(crate) fn number(&self) -> usize {
        self.number
    }

    /// Opens so many streams; ready when both ends have all of them.
    pub(crate) async fn open(mut self, streams: usize) -> anyhow::Result<Self> {
        let number = self.number as u64;
        // No two transfers of the same connection, and no two connections side by side, carry the same bytes.
        let transfer = |id: u32, from: Mode| (number << 20) + 2 * u64::from(id) + u64::from(from == Mode::Server);
        let open = async {
            for _ in 0..streams {
                let mut stream = self.client.session.open().await.context("a stream is not opened")?;
                // The SYN is sent although there is no data.
                stream.flush().await?;
                let (ours, theirs) = (transfer(stream.id(), Mode::Client), transfer(stream.id(), Mode::Server));
                self.client.lanes.push(Lane::new(stream, ours, theirs));
            }
            anyhow::Ok(())
        };
        let accept = async {
            for _ in 0..streams {
                let stream = self.server.session.accept().await.context("a stream is not accepted")?;
                let (ours, theirs) = (transfer(stream.id(), Mode::Server), transfer(stream.id(), Mode::Client));
                self.server.lanes.push(Lane::new(stream, ours, theirs));
            }
            anyhow::Ok(())
        };
        future::try_join(open, accept).await?;
        Ok(self)
    }

    /// Moves so many bytes over every stream, both ways, so many times.
    pub(crate) async fn work(mut self, rounds: u32, bytes: u64, tally: Arc<Tally>) -> anyhow::Result<Self> {
        let start = Instant::now();
        for _ in 0..rounds {
            self.move_all(bytes, Some(&tally)).await?;
        }
        tally.finish(start.elapsed());
        self.lanes().for_each(Lane::wait);
        Ok(self)
    }

    /// Moves so many bytes over every stream, both ways.
    pub(crate) async fn exchange(mut self, bytes: u64) -> anyhow::Result<Self> {
        self.move_all(bytes, None).await?;
        self.lanes().for_each(Lane::wait);
        Ok(self)
    }

    /// Progress is counted as data arrives.
    async fn move_all(&mut self, bytes: u64, tally: Option<&Tally>) -> anyhow::Result<()> {
        self.goal += bytes;
        let (goal, number) = (self.goal, self.number);
        poll_fn(|cx| {
            let before = self.received();
            let done = self.poll_exchange(goal, cx);
            if let Some(tally) = tally {
                tally.serve(number, self.received() - before);
            }
            done
        })
        .await
        .with_context(|| format!("connection {number} fails"))
    }

    fn poll_exchange(&mut self, goal: u64, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut done = Poll::Ready(Ok(()));
        for lane in self.lanes() {
            if lane.poll_exchange(goal, cx)?.is_pending() {
                done = Poll::Pending;
            }
        }
        done
    }

    /// Sends nothing, and waits on every stream until it is stopped. Any data that arrives is an error.
    pub(crate) async fn rest(mut self, mut stop: watch::Receiver<bool>) -> anyhow::Result<Self> {
        let number = self.number;
        let disturbed = poll_fn(|cx| {
            let mut lanes = self.lanes();
            lanes
                .find_map(|lane| match lane.poll_silence(cx) {
                    Poll::Ready(error) => Some(Poll::Ready(error)),
                    Poll::Pending => None,
                })
                .unwrap_or(Poll::Pending)
        });
        tokio::select! {
            error = disturbed => return Err(error).with_context(|| format!("connection {number} is not left in peace")),
            stopped = stop.wait_for(|stop| *stop) => stopped.map(drop).context("nobody says when to stop")?,
        }
        Ok(self)
    }

    /// Closes gracefully.
    pub(crate) async fn close(self) -> anyhow::Result<()> {
        let Self { client, server, number, .. } = self;
        client.session.close().await.with_context(|| format!("connection {number} does not close in good order"))?;
        for end in [client, server] {
            end.driver.await?.with_context(|| format!("connection {number} has failed"))?;
        }
        Ok(())
    }

    fn received(&mut self) -> u64 {
        self.lanes().map(|lane| lane.received()).sum()
    }

    fn lanes(&mut self) -> impl Iterator<Item = &mut Lane> {
        self.client.lanes.iter_mut().chain(&mut self.server.lanes)
    }
}

impl End {
    fn new(io: Pipe, config: Config, mode: Mode) -> Self {
        let (session, driver) = Session::new(io, config, mode);
        Self { session, driver: tokio::spawn(driver), lanes: Vec::new() }
    }
}
