//! Two swarms over TCP and Noise, with streams of `libp2p-stream`: this crate beside `libp2p-yamux`.

use crate::requests::{ask, clock, serve};
use crate::transfer;
use futures::{AsyncReadExt, AsyncWriteExt, StreamExt};
use libp2p::swarm::SwarmEvent;
use libp2p::{Multiaddr, PeerId, StreamProtocol, Swarm, SwarmBuilder, noise, tcp, yamux};
use libp2p_stream::{Behaviour, Control, IncomingStreams};
use std::time::{Duration, Instant};
use tokio::task::{JoinHandle, JoinSet};

const PROTOCOL: StreamProtocol = StreamProtocol::new("/sluicegate/bench/1");
const WRITE: usize = 64 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upgrade {
    Sluicegate,
    Libp2pYamux,
}

/// A swarm that a task drives.
struct Host {
    id: PeerId,
    address: Multiaddr,
    control: Control,
    incoming: IncomingStreams,
    dials: tokio::sync::mpsc::Sender<Multiaddr>,
    task: JoinHandle<()>,
}

impl Host {
    async fn new(upgrade: Upgrade) -> Self {
        let builder = SwarmBuilder::with_new_identity().with_tokio();
        let (tcp, noise) = (tcp::Config::default().nodelay(true), noise::Config::new);
        let idle = |config: libp2p::swarm::Config| config.with_idle_connection_timeout(Duration::from_secs(600));
        let mut swarm: Swarm<Behaviour> = match upgrade {
            Upgrade::Sluicegate => builder
                .with_tcp(tcp, noise, sluicegate::Config::default)
                .expect("valid")
                .with_behaviour(|_| Behaviour::new())
                .expect("valid")
                .with_swarm_config(idle)
                .build(),
            Upgrade::Libp2pYamux => builder
                .with_tcp(tcp, noise, yamux::Config::default)
                .expect("valid")
                .with_behaviour(|_| Behaviour::new())
                .expect("valid")
                .with_swarm_config(idle)
                .build(),
        };
        swarm.listen_on("/ip4/127.0.0.1/tcp/0".parse().expect("valid")).expect("listens");
        let address = loop {
            if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
                break address;
            }
        };
        let (id, mut control) = (*swarm.local_peer_id(), swarm.behaviour().new_control());
        let incoming = control.accept(PROTOCOL).expect("the first to ask");
        let (dials, mut dialing) = tokio::sync::mpsc::channel::<Multiaddr>(1);
        let task = tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = swarm.select_next_some() => {}
                    Some(address) = dialing.recv() => swarm.dial(address).expect("dials"),
                }
            }
        });
        Self { id, address, control, incoming, dials, task }
    }

    async fn open(&mut self, other: PeerId) -> libp2p::Stream {
        loop {
            match self.control.open_stream(other, PROTOCOL).await {
                Ok(stream) => return stream,
                // The connection is not there yet.
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    }
}

async fn hosts(upgrade: Upgrade) -> (Host, Host) {
    let (client, server) = (Host::new(upgrade).await, Host::new(upgrade).await);
    client.dials.send(server.address.clone()).await.expect("the swarm runs");
    (client, server)
}

/// `bytes` in writes of 64 KiB on one stream.
pub async fn bulk(upgrade: Upgrade, bytes: usize) -> Duration {
    let (mut client, mut server) = hosts(upgrade).await;
    let mut stream = client.open(server.id).await;
    let receiving = tokio::spawn(async move {
        let (_, mut stream) = server.incoming.next().await.expect("a stream");
        transfer::receive(&mut stream, WRITE, bytes).await;
        stream.write_all(b"done").await.expect("writes");
        stream.close().await.expect("closes");
        (server, stream)
    });
    let sending = tokio::spawn(async move {
        let start = Instant::now();
        transfer::send(&mut stream, WRITE, bytes).await;
        stream.close().await.expect("closes");
        let mut answer = [0; 4];
        stream.read_exact(&mut answer).await.expect("reads");
        assert_eq!(&answer, b"done");
        start.elapsed()
    });
    let time = sending.await.expect("sends");
    let (server, _stream) = receiving.await.expect("receives");
    client.task.abort();
    server.task.abort();
    time
}

/// `requests` on `streams` streams together.
pub async fn requests(upgrade: Upgrade, streams: usize, requests: usize) -> Duration {
    let (mut client, mut server) = hosts(upgrade).await;
    let id = server.id;
    let serving = tokio::spawn(async move {
        let mut tasks = JoinSet::new();
        for _ in 0..streams {
            let (_, stream) = server.incoming.next().await.expect("a stream");
            tasks.spawn(serve(stream));
        }
        tasks.join_all().await;
        server
    });
    let mut opened = Vec::new();
    for number in 0..streams {
        let mut stream = client.open(id).await;
        // One after the other: a behaviour drops streams that it cannot hand over at once.
        ask(&mut stream, number, 0).await;
        opened.push(stream);
    }
    let time = clock(opened, requests).await;
    serving.await.expect("serves").task.abort();
    client.task.abort();
    time
}
