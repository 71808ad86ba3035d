//! A Swarm: TCP, Noise, a muxer, and libp2p-stream as its only behaviour.

use crate::link::OverLink;
use anyhow::bail;
use futures::{FutureExt, StreamExt};
use libp2p::swarm::{self, SwarmEvent};
use libp2p::{Multiaddr, PeerId, Swarm, SwarmBuilder, noise, tcp, yamux};
use libp2p_stream::{Behaviour, Control};
use sluicegate::Config;
use std::time::Duration;
use tokio::sync::oneshot;

/// Which muxer a node speaks.
pub(crate) enum Muxer {
    Sluicegate(Config),
    Libp2pYamux,
}

/// A libp2p node.
pub(crate) struct Node {
    swarm: Swarm<Behaviour>,
}

impl Node {
    /// A node that speaks `muxer`, and sends at most `rate` bytes a second on a connection, if that is not 0.
    pub(crate) fn new(muxer: Muxer, rate: u64) -> anyhow::Result<Self> {
        let tcp = tcp::Config::default().nodelay(true);
        let behaviour = |_: &_| Behaviour::new();
        // Streams come and go, and the connection is closed when the work is done.
        let settings = |config: swarm::Config| config.with_idle_connection_timeout(Duration::MAX);
        let builder = SwarmBuilder::with_new_identity().with_tokio();
        let swarm = match muxer {
            Muxer::Sluicegate(upgrade) => builder
                .with_tcp(tcp, noise::Config::new, move || OverLink { upgrade, rate })?
                .with_behaviour(behaviour)?
                .with_swarm_config(settings)
                .build(),
            Muxer::Libp2pYamux => builder
                .with_tcp(tcp, noise::Config::new, move || OverLink { upgrade: yamux::Config::default(), rate })?
                .with_behaviour(behaviour)?
                .with_swarm_config(settings)
                .build(),
        };
        Ok(Self { swarm })
    }

    pub(crate) fn id(&self) -> PeerId {
        *self.swarm.local_peer_id()
    }

    /// Opens and accepts streams.
    pub(crate) fn control(&self) -> Control {
        self.swarm.behaviour().new_control()
    }

    /// Listens on a free port of loopback; says where.
    pub(crate) async fn listen(&mut self) -> anyhow::Result<Multiaddr> {
        self.swarm.listen_on("/ip4/127.0.0.1/tcp/0".parse()?)?;
        loop {
            match self.swarm.select_next_some().await {
                SwarmEvent::NewListenAddr { address, .. } => return Ok(address),
                SwarmEvent::ListenerClosed { reason, .. } => bail!("cannot listen: {reason:?}"),
                _ => {}
            }
        }
    }

    /// Connects to the node that listens there.
    pub(crate) async fn connect(&mut self, address: Multiaddr) -> anyhow::Result<()> {
        self.swarm.dial(address)?;
        loop {
            match self.swarm.select_next_some().await {
                SwarmEvent::ConnectionEstablished { .. } => return Ok(()),
                SwarmEvent::OutgoingConnectionError { error, .. } => bail!("cannot connect: {error}"),
                _ => {}
            }
        }
    }

    /// Drives the node until its connection is over; says why. `hang_up` closes the connection to that peer.
    pub(crate) async fn run(mut self, hang_up: oneshot::Receiver<PeerId>) -> String {
        let mut hang_up = hang_up.fuse();
        loop {
            tokio::select! {
                event = self.swarm.select_next_some() => match event {
                    SwarmEvent::ConnectionClosed { cause: Some(cause), .. } => return cause.to_string(),
                    SwarmEvent::ConnectionClosed { cause: None, .. } => return "it was closed".into(),
                    SwarmEvent::IncomingConnectionError { error, .. } => return error.to_string(),
                    event => tracing::debug!(?event),
                },
                Ok(peer) = &mut hang_up => {
                    let _ = self.swarm.disconnect_peer_id(peer);
                }
            }
        }
    }
}
