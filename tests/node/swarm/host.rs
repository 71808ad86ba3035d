//! A libp2p swarm in a task of its own, with handles to use it from a test.

use crate::support::pattern::{receive, send};
use crate::support::whole::Whole;
use futures::channel::{mpsc, oneshot};
use futures::{AsyncReadExt, AsyncWriteExt, StreamExt, select};
use libp2p::core::upgrade::Version;
use libp2p::request_response::{self, ProtocolSupport};
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::swarm::{ConnectionError, NetworkBehaviour, SwarmEvent};
use libp2p::{Multiaddr, PeerId, Stream, StreamProtocol, Swarm, SwarmBuilder, noise, ping, tcp, yamux};
use libp2p_stream::{Control, OpenStreamError};
use sluicegate::Config;
use std::collections::HashMap;
use std::io;
use std::time::Duration;
use tokio::task::JoinHandle;

/// Streams of this protocol are echoed by every host.
pub const ECHO: StreamProtocol = StreamProtocol::new("/sluicegate/echo/1");
/// Requests of this protocol are reversed by every host.
pub const REVERSE: StreamProtocol = StreamProtocol::new("/sluicegate/reverse/1");

/// What multiplexes the connections of a host.
#[derive(Clone)]
pub enum Muxer {
    /// This crate with settings.
    Ours(Config),
    /// This crate in the place of `libp2p::yamux::Config::default`.
    Default,
    /// `libp2p-yamux`.
    Libp2p,
}

/// Whether a host pings its peers; each ping keeps a stream open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pings {
    On,
    Off,
}

#[derive(NetworkBehaviour)]
pub struct Behaviour {
    requests: request_response::Behaviour<Whole>,
    ping: Toggle<ping::Behaviour>,
    streams: libp2p_stream::Behaviour,
}

/// What a host has noticed of its connections.
#[derive(Debug)]
pub enum Notice {
    Connected(PeerId),
    Closed(Option<ConnectionError>),
    Pinged,
}

enum Call {
    Dial(Multiaddr),
    Request(PeerId, Vec<u8>, oneshot::Sender<Vec<u8>>),
    Disconnect(PeerId),
}

/// A swarm that reverses requests and echoes streams.
pub struct Host {
    pub id: PeerId,
    pub address: Multiaddr,
    pub control: Control,
    notices: mpsc::UnboundedReceiver<Notice>,
    calls: mpsc::UnboundedSender<Call>,
    task: JoinHandle<()>,
    echo: JoinHandle<()>,
}

/// As the README shows it.
fn swarm(muxer: Muxer, pings: Pings, version: Version) -> Result<Swarm<Behaviour>, Box<dyn std::error::Error>> {
    let builder = SwarmBuilder::with_new_identity().with_tokio();
    let (tcp, noise) = (tcp::Config::default(), noise::Config::new);
    // Longer than a test: one ping, and no end of a connection that nobody asked for.
    let timeout = Duration::from_secs(600);
    let behaviour = || Behaviour {
        requests: request_response::Behaviour::with_codec(
            Whole,
            [(REVERSE, ProtocolSupport::Full)],
            request_response::Config::default(),
        ),
        ping: (pings == Pings::On).then(|| ping::Behaviour::new(ping::Config::new().with_interval(timeout))).into(),
        streams: libp2p_stream::Behaviour::new(),
    };
    let settings = |config: libp2p::swarm::Config| {
        config.with_idle_connection_timeout(timeout).with_substream_upgrade_protocol_override(version)
    };
    Ok(match muxer {
        Muxer::Ours(config) => builder
            .with_tcp(tcp, noise, move || config.clone())?
            .with_behaviour(|_| behaviour())?
            .with_swarm_config(settings)
            .build(),
        Muxer::Default => builder
            .with_tcp(tcp, noise, Config::default)?
            .with_behaviour(|_| behaviour())?
            .with_swarm_config(settings)
            .build(),
        Muxer::Libp2p => builder
            .with_tcp(tcp, noise, yamux::Config::default)?
            .with_behaviour(|_| behaviour())?
            .with_swarm_config(settings)
            .build(),
    })
}

impl Host {
    pub async fn new(muxer: Muxer, pings: Pings) -> Self {
        Self::negotiating(muxer, pings, Version::V1).await
    }

    /// One that negotiates the protocols of its streams with this variant of multistream-select.
    pub async fn negotiating(muxer: Muxer, pings: Pings, version: Version) -> Self {
        let mut swarm = swarm(muxer, pings, version).expect("valid");
        swarm.listen_on("/ip4/127.0.0.1/tcp/0".parse().expect("valid")).expect("listens");
        let address = loop {
            if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
                break address;
            }
        };
        let id = *swarm.local_peer_id();
        let mut control = swarm.behaviour().streams.new_control();
        let mut incoming = control.accept(ECHO).expect("the first to ask");
        let echo = tokio::spawn(async move {
            while let Some((_, stream)) = incoming.next().await {
                tokio::spawn(echo(stream));
            }
        });
        let ((calls, received), (noticed, notices)) = (mpsc::unbounded(), mpsc::unbounded());
        let task = tokio::spawn(drive(swarm, received, noticed));
        Self { id, address, control, notices, calls, task, echo }
    }

    /// Dials, and waits until both know of the connection.
    pub async fn connect(&mut self, other: &mut Self) {
        self.call(Call::Dial(other.address.clone()));
        let (here, there) = (self.id, other.id);
        assert!(matches!(self.notice().await, Notice::Connected(id) if id == there));
        assert!(matches!(other.notice().await, Notice::Connected(id) if id == here));
    }

    /// What comes back for a request.
    pub async fn request(&self, peer: PeerId, request: Vec<u8>) -> Vec<u8> {
        let (answer, response) = oneshot::channel();
        self.call(Call::Request(peer, request, answer));
        response.await.expect("answered")
    }

    pub fn disconnect(&self, peer: PeerId) {
        self.call(Call::Disconnect(peer));
    }

    fn call(&self, call: Call) {
        self.calls.unbounded_send(call).expect("the swarm lives");
    }

    pub async fn notice(&mut self) -> Notice {
        self.notices.next().await.expect("the swarm lives")
    }

    /// Why the connection was closed, once it is.
    pub async fn closed(&mut self) -> Option<ConnectionError> {
        loop {
            if let Notice::Closed(cause) = self.notice().await {
                return cause;
            }
        }
    }

    /// Nothing has happened to the connection so far.
    pub fn expect_connected(&mut self) {
        if let Ok(notice) = self.notices.try_recv() {
            panic!("{notice:?} where nothing was expected");
        }
    }

    /// Opens a stream, and has a first byte echoed. A host drops streams that come faster than it takes them, so one
    /// follows the other.
    pub async fn open(&mut self, peer: PeerId) -> Result<Stream, OpenStreamError> {
        let mut stream = self.control.open_stream(peer, ECHO).await?;
        send(&mut stream, 0, 0, 1).await?;
        receive(&mut stream, 0, 0, 1).await;
        Ok(stream)
    }

    /// Drops the swarm.
    pub async fn stop(self) {
        drop((self.calls, self.control));
        self.task.await.expect("the swarm does not panic");
        self.echo.await.expect("the echo does not panic");
    }
}

async fn echo(mut stream: Stream) -> io::Result<()> {
    let (reader, mut writer) = (&mut stream).split();
    futures::io::copy(reader, &mut writer).await?;
    writer.close().await
}

async fn drive(
    mut swarm: Swarm<Behaviour>,
    mut calls: mpsc::UnboundedReceiver<Call>,
    notices: mpsc::UnboundedSender<Notice>,
) {
    let mut waiting = HashMap::new();
    loop {
        select! {
            call = calls.next() => match call {
                Some(Call::Dial(address)) => swarm.dial(address).expect("dials"),
                Some(Call::Request(peer, request, answer)) => {
                    let id = swarm.behaviour_mut().requests.send_request(&peer, request);
                    waiting.insert(id, answer);
                }
                Some(Call::Disconnect(peer)) => swarm.disconnect_peer_id(peer).expect("connected"),
                None => return,
            },
            event = swarm.select_next_some() => {
                let notice = match event {
                    SwarmEvent::ConnectionEstablished { peer_id, .. } => Notice::Connected(peer_id),
                    SwarmEvent::ConnectionClosed { cause, .. } => Notice::Closed(cause),
                    SwarmEvent::Behaviour(BehaviourEvent::Ping(ping::Event { result, .. })) => {
                        result.expect("the peer answers");
                        Notice::Pinged
                    }
                    SwarmEvent::Behaviour(BehaviourEvent::Requests(event)) => {
                        answer(&mut swarm, &mut waiting, event);
                        continue;
                    }
                    _ => continue,
                };
                let _ = notices.unbounded_send(notice);
            }
        }
    }
}

type Waiting = HashMap<request_response::OutboundRequestId, oneshot::Sender<Vec<u8>>>;

fn answer(swarm: &mut Swarm<Behaviour>, waiting: &mut Waiting, event: request_response::Event<Vec<u8>, Vec<u8>>) {
    use request_response::{Event, Message};
    match event {
        Event::Message { message: Message::Request { mut request, channel, .. }, .. } => {
            request.reverse();
            swarm.behaviour_mut().requests.send_response(channel, request).expect("the requester waits");
        }
        Event::Message { message: Message::Response { request_id, response }, .. } => {
            let _ = waiting.remove(&request_id).expect("was asked").send(response);
        }
        Event::ResponseSent { .. } => {}
        failure => panic!("{failure:?}"),
    }
}
