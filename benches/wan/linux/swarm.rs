//! Two Swarms over TCP and Noise, one in each namespace: pings of `/ipfs/ping` beside streams of another protocol.

use super::beside::{Latencies, Outcome, Times};
use super::path::{FAR, Path};
use super::row::Bulk;
use super::serve::{FILL, Received, SINK, act, fill, kind, sink};
use crate::muxer::without_pacing;
use anyhow::{Context, Result, anyhow, bail};
use futures::{AsyncWriteExt, StreamExt};
use libp2p::swarm::{NetworkBehaviour, SwarmEvent};
use libp2p::{Multiaddr, PeerId, StreamProtocol, Swarm, SwarmBuilder, noise, ping, tcp, yamux};
use libp2p_stream::Control;
use sluicegate::{Config, Priority};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

const PROTOCOL: StreamProtocol = StreamProtocol::new("/sluicegate/bulk/1");
const PORT: u16 = 4001;

/// The pings of the far Swarm, as they are by default.
const SELDOM: Duration = Duration::from_secs(15);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upgrade {
    Sluicegate,
    Unpaced,
    Libp2pYamux,
}

/// What is asked of the near one.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub streams: usize,
    pub bulk: Bulk,
    /// From the answer to a ping until the next one.
    pub interval: Duration,
    pub times: Times,
}

/// Runs it. It fails when a ping fails, or the connection ends.
pub fn swarms(path: &Path, upgrade: Upgrade, plan: Plan) -> Result<Outcome> {
    let (tells, told) = mpsc::channel();
    let (arrived, end) = (Received::default(), CancellationToken::new());
    thread::scope(|scope| {
        let (arriving, ends) = (arrived.clone(), end.clone());
        let far = scope.spawn(move || path.far.inside(|| Ok(block_on(listen(upgrade, &tells, arriving, ends)))));
        let far_id = told.recv().context("the far Swarm");
        let outcome = path.near.inside(|| Ok(block_on(async { dial(upgrade, far_id?, plan, &arrived).await })));
        end.cancel();
        far.join().map_err(|_| anyhow!("the far Swarm panicked"))???;
        outcome?
    })
}

fn block_on<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

#[derive(NetworkBehaviour)]
struct Behaviour {
    ping: ping::Behaviour,
    streams: libp2p_stream::Behaviour,
}

fn swarm(upgrade: Upgrade, interval: Duration) -> Result<Swarm<Behaviour>> {
    let (tcp, noise) = (tcp::Config::default().nodelay(true), noise::Config::new);
    let builder = SwarmBuilder::with_new_identity().with_tokio();
    let behaviour = |_: &_| Behaviour {
        ping: ping::Behaviour::new(ping::Config::new().with_interval(interval)),
        streams: libp2p_stream::Behaviour::new(),
    };
    let idle = |config: libp2p::swarm::Config| config.with_idle_connection_timeout(Duration::from_secs(600));
    let ours = Config::builder().priority_by_protocol(|protocol| match protocol {
        name if name == PROTOCOL.as_ref() => Priority::LOW,
        "/ipfs/ping/1.0.0" => Priority::HIGH,
        _ => Priority::MEDIUM,
    });
    let ours = match upgrade {
        Upgrade::Sluicegate => ours.build()?,
        Upgrade::Unpaced => without_pacing(ours).build()?,
        Upgrade::Libp2pYamux => {
            let builder = builder.with_tcp(tcp, noise, yamux::Config::default)?;
            return Ok(builder.with_behaviour(behaviour)?.with_swarm_config(idle).build());
        }
    };
    let builder = builder.with_tcp(tcp, noise, move || ours.clone())?;
    Ok(builder.with_behaviour(behaviour)?.with_swarm_config(idle).build())
}

/// The far one, until it is told to end.
async fn listen(
    upgrade: Upgrade,
    tells: &mpsc::Sender<PeerId>,
    arrived: Received,
    end: CancellationToken,
) -> Result<()> {
    let mut swarm = swarm(upgrade, SELDOM)?;
    swarm.listen_on(format!("/ip4/{FAR}/tcp/{PORT}").parse()?)?;
    let mut incoming = swarm.behaviour().streams.new_control().accept(PROTOCOL)?;
    let mut streams = JoinSet::new();
    loop {
        tokio::select! {
            () = end.cancelled() => return Ok(()),
            event = swarm.select_next_some() => match event {
                SwarmEvent::NewListenAddr { .. } => drop(tells.send(*swarm.local_peer_id())),
                SwarmEvent::ListenerClosed { reason, .. } => bail!("cannot listen: {reason:?}"),
                _ => {}
            },
            Some((_, mut stream)) = incoming.next() => {
                let arrived = arrived.clone();
                streams.spawn(async move {
                    let kind = kind(&mut stream).await?;
                    act(stream, kind, arrived).await
                });
            }
        }
    }
}

/// The near one.
async fn dial(upgrade: Upgrade, far: PeerId, plan: Plan, far_arrived: &Received) -> Result<Outcome> {
    let mut swarm = swarm(upgrade, plan.interval)?;
    let address: Multiaddr = format!("/ip4/{FAR}/tcp/{PORT}").parse()?;
    swarm.dial(address.with_p2p(far).map_err(|_| anyhow!("two peers in an address"))?)?;
    let mut control = swarm.behaviour().streams.new_control();
    let mut near = Near { swarm, pings: Vec::new() };
    while near.pings.is_empty() {
        near.event().await?;
    }
    near.pings.clear();
    near.run(plan.times.alone).await?;
    let alone = near.latencies()?;

    let arrived = Received::default();
    let mut tasks = JoinSet::new();
    let arriving = arrived.clone();
    // The Swarm has to run meanwhile.
    tasks.spawn(async move {
        let mut bulk = JoinSet::new();
        for _ in 0..plan.streams {
            let stream = open(&mut control, far).await?;
            bulk.spawn(flow(stream, plan.bulk, arriving.clone()));
        }
        bulk.join_next().await.context("no streams")?.context("bulk")?
    });
    near.pings.clear();
    near.run(plan.times.settle).await?;
    let mut worst = near.pings.iter().copied().max().unwrap_or_default();
    let counted = if plan.bulk == Bulk::Up { far_arrived } else { &arrived };
    near.pings.clear();
    let (before, start) = (counted.bytes(), Instant::now());
    near.run(plan.times.beside).await?;
    let (bytes, time) = (counted.bytes() - before, start.elapsed());
    if let Some(ended) = tasks.try_join_next() {
        ended.context("bulk")?.context("bulk")?;
        bail!("bulk ended");
    }
    worst = near.pings.iter().copied().max().unwrap_or_default().max(worst);
    Ok(Outcome {
        alone,
        beside: near.latencies()?,
        worst: worst.as_secs_f64() * 1e3,
        bulk: bytes as f64 * 8e-6 / time.as_secs_f64(),
    })
}

async fn open(control: &mut Control, far: PeerId) -> Result<libp2p::Stream> {
    control.open_stream(far, PROTOCOL).await.map_err(|error| anyhow!("cannot open a stream: {error}"))
}

async fn flow(mut stream: libp2p::Stream, bulk: Bulk, arrived: Received) -> Result<()> {
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
}

struct Near {
    swarm: Swarm<Behaviour>,
    pings: Vec<Duration>,
}

impl Near {
    async fn run(&mut self, time: Duration) -> Result<()> {
        let sleep = tokio::time::sleep(time);
        tokio::pin!(sleep);
        loop {
            tokio::select! {
                () = &mut sleep => return Ok(()),
                event = self.event() => event?,
            }
        }
    }

    async fn event(&mut self) -> Result<()> {
        match self.swarm.select_next_some().await {
            SwarmEvent::Behaviour(BehaviourEvent::Ping(ping)) => self.pings.push(ping.result.context("a ping")?),
            SwarmEvent::ConnectionClosed { cause: Some(cause), .. } => bail!("the connection ended: {cause}"),
            SwarmEvent::ConnectionClosed { cause: None, .. } => bail!("the connection was closed"),
            SwarmEvent::OutgoingConnectionError { error, .. } => bail!("cannot connect: {error}"),
            _ => {}
        }
        Ok(())
    }

    fn latencies(&self) -> Result<Latencies> {
        Latencies::new(self.pings.clone())
    }
}
