//! A rust-libp2p node in a task of its own: with this crate, or with libp2p-yamux.

use super::Request;
use super::upgrade::Tapped;
use crate::line::{Answer, By};
use crate::support::pattern::{self, CHUNK};
use crate::support::whole::Whole;
use crate::tap::Wire;
use futures::channel::{mpsc, oneshot};
use futures::future::{join, join_all};
use futures::{AsyncReadExt, AsyncWriteExt, StreamExt, select};
use libp2p::core::upgrade::Version;
use libp2p::request_response::{self, ProtocolSupport};
use libp2p::swarm::{self, NetworkBehaviour, SwarmEvent};
use libp2p::{
    Multiaddr, PeerId, Stream, StreamProtocol, Swarm, SwarmBuilder, identify, identity, noise, ping, tcp, yamux,
};
use libp2p_stream::{Control, OpenStreamError};
use sluicegate::Config;
use std::future::Future;
use std::io;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;
use tokio::sync::watch;

pub const ECHO: StreamProtocol = StreamProtocol::new("/sluicegate/echo/1.0.0");
const MESSAGE: StreamProtocol = StreamProtocol::new("/sluicegate/message/1.0.0");
/// Longer than a cell may take.
const LONG: Duration = Duration::from_secs(600);

/// What multiplexes the connections of a host.
pub enum Muxer {
    /// This crate; the tap's wire is put where it says.
    Ours(Config, Arc<Mutex<Option<Wire>>>),
    Libp2p,
}

#[derive(NetworkBehaviour)]
struct Behaviour {
    identify: identify::Behaviour,
    ping: ping::Behaviour,
    /// Takes the echo streams of the peer: every stream is taken, however many come at once.
    echo: request_response::Behaviour<Whole>,
    /// Takes the messages of the peer.
    messages: request_response::Behaviour<Whole>,
    /// Opens those of this node.
    streams: libp2p_stream::Behaviour,
}

/// What is known of the one peer.
#[derive(Clone, Debug, Default)]
struct Known {
    peer: Option<PeerId>,
    connections: u32,
    /// Its agent version, and its protocols.
    identified: Option<Vec<String>>,
    pings: Vec<Duration>,
    messages: Vec<Vec<u8>>,
    /// Messages of which the end did not come.
    broken: usize,
}

enum Call {
    Listen(oneshot::Sender<Multiaddr>),
    Dial(Multiaddr),
}

pub struct Host {
    calls: mpsc::UnboundedSender<Call>,
    control: Control,
    known: watch::Receiver<Known>,
}

impl Host {
    /// A host in a task of its own.
    pub fn start(muxer: Muxer, negotiation: Version) -> Self {
        let (host, task) = Self::new(muxer, negotiation);
        tokio::spawn(task);
        host
    }

    /// A host with a thread of its own, so that it does its work while the other does its own.
    pub fn start_apart(muxer: Muxer, negotiation: Version) -> Self {
        let (tell, host) = std::sync::mpsc::channel();
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let (host, task) = Self::new(muxer, negotiation);
                tell.send(host).expect("is waited for");
                task.await;
            });
        });
        host.recv().expect("starts")
    }

    fn new(muxer: Muxer, negotiation: Version) -> (Self, impl Future<Output = ()> + Send) {
        let swarm = node(muxer, negotiation).expect("valid");
        let control = swarm.behaviour().streams.new_control();
        let ((calls, received), (tell, known)) = (mpsc::unbounded(), watch::channel(Known::default()));
        (Self { calls, control, known }, drive(swarm, received, tell))
    }

    /// The address on which it listens.
    pub async fn listen(&self) -> Multiaddr {
        let (listening, address) = oneshot::channel();
        self.calls.unbounded_send(Call::Listen(listening)).expect("the swarm lives");
        address.await.expect("listens")
    }

    pub async fn dial(&self, address: Multiaddr) {
        self.calls.unbounded_send(Call::Dial(address)).expect("the swarm lives");
        self.peer().await;
    }

    pub async fn answer(&self, request: Request) -> Answer {
        match request {
            Request::Identify => {
                let known = self.known(|known| known.identified.is_some()).await;
                Answer::Ok(known.identified.unwrap_or_default())
            }
            Request::Ping => {
                let before = self.known.borrow().pings.len();
                let known = self.known(|known| known.pings.len() > before).await;
                Answer::Ok(known.pings.last().map(|rtt| rtt.as_micros().to_string()).into_iter().collect())
            }
            Request::Echo { seed, len } => match self.open(ECHO).await {
                Ok(stream) => echo(stream, seed, len).await,
                Err(error) => refused(error),
            },
            Request::Echoes { streams, len } => self.echoes(streams, len).await,
            Request::Messages { count, len } => self.messages(count, len).await,
            Request::Received { len } => {
                let Known { messages, broken, .. } = &*self.known.borrow();
                let whole = messages.iter().filter(|message| **message == pattern::at(0, 0)[..len]).count();
                Answer::Ok(vec![whole.to_string(), (messages.len() - whole + broken).to_string()])
            }
            Request::Connections => Answer::Ok(vec![self.known.borrow().connections.to_string()]),
        }
    }

    async fn known(&self, what: impl FnMut(&Known) -> bool) -> Known {
        self.known.clone().wait_for(what).await.expect("the swarm lives").clone()
    }

    async fn peer(&self) -> PeerId {
        self.known(|known| known.peer.is_some()).await.peer.expect("was waited for")
    }

    async fn open(&self, protocol: StreamProtocol) -> Result<Stream, OpenStreamError> {
        let peer = self.peer().await;
        self.control.clone().open_stream(peer, protocol).await
    }

    async fn messages(&self, count: usize, len: usize) -> Answer {
        let sent = join_all((0..count).map(|_| self.message(len))).await;
        sent.into_iter().find(|answer| !answer.is_ok()).unwrap_or(Answer::Ok(Vec::new()))
    }

    async fn message(&self, len: usize) -> Answer {
        let mut stream = match self.open(MESSAGE).await {
            Ok(stream) => stream,
            Err(error) => return refused(error),
        };
        let sent = async {
            pattern::send(&mut stream, 0, 0, len).await?;
            stream.close().await
        };
        match sent.await {
            Ok(()) => Answer::Ok(Vec::new()),
            Err(error) => failed(&error),
        }
    }

    async fn echoes(&self, streams: usize, len: usize) -> Answer {
        let opened = join_all((0..streams).map(|_| self.open(ECHO))).await;
        let opened = opened.into_iter().enumerate();
        let answers = join_all(opened.map(|(seed, opened)| async move {
            match opened {
                Ok(stream) => echo(stream, seed, len).await,
                Err(error) => refused(error),
            }
        }))
        .await;
        let (mut done, mut refused) = (0, 0);
        for answer in answers {
            match answer {
                Answer::Ok(_) => done += 1,
                Answer::Reset { .. } => refused += 1,
                other => return other,
            }
        }
        Answer::Ok(vec![done.to_string(), refused.to_string()])
    }
}

/// A stream that does not come to be was refused.
fn refused(error: OpenStreamError) -> Answer {
    match error {
        OpenStreamError::Io(error) => failed(&error),
        OpenStreamError::UnsupportedProtocol(_) => Answer::Reset { by: By::Unsaid, code: None },
        other => Answer::Failed(other.to_string()),
    }
}

fn failed(error: &io::Error) -> Answer {
    match error.kind() {
        io::ErrorKind::ConnectionReset => Answer::Reset { by: By::Unsaid, code: None },
        kind => Answer::Failed(format!("{kind}: {error}")),
    }
}

/// Sends these bytes of the pattern and finishes, while it compares what comes back.
async fn echo(stream: Stream, seed: usize, len: usize) -> Answer {
    let (mut reader, mut writer) = stream.split();
    let write = async {
        pattern::send(&mut writer, seed, 0, len).await?;
        writer.close().await
    };
    let read = async {
        let (mut buffer, mut at) = (vec![0; CHUNK], 0);
        loop {
            match reader.read(&mut buffer).await? {
                0 if at == len => return Ok(Answer::Ok(Vec::new())),
                0 => return Ok(Answer::End { at }),
                read if at + read > len || buffer[..read] != pattern::at(seed, at)[..read] => {
                    return Ok(Answer::Differs { at });
                }
                read => at += read,
            }
        }
    };
    match join(write, read).await {
        (Err(error), _) | (_, Err(error)) => failed(&error),
        (Ok(()), Ok(answer)) => answer,
    }
}

fn node(muxer: Muxer, negotiation: Version) -> Result<Swarm<Behaviour>, Box<dyn std::error::Error>> {
    let builder = SwarmBuilder::with_new_identity().with_tokio();
    let (tcp, noise) = (tcp::Config::default(), noise::Config::new);
    let settings = |config: swarm::Config| {
        config.with_idle_connection_timeout(LONG).with_substream_upgrade_protocol_override(negotiation)
    };
    Ok(match muxer {
        Muxer::Ours(config, wire) => {
            let upgrade = Tapped { config, wire };
            builder
                .with_tcp(tcp, noise, move || upgrade.clone())?
                .with_behaviour(behaviour)?
                .with_swarm_config(settings)
                .build()
        }
        Muxer::Libp2p => builder
            .with_tcp(tcp, noise, yamux::Config::default)?
            .with_behaviour(behaviour)?
            .with_swarm_config(settings)
            .build(),
    })
}

fn behaviour(keys: &identity::Keypair) -> Behaviour {
    let requests = request_response::Config::default().with_request_timeout(LONG).with_max_concurrent_streams(1000);
    Behaviour {
        identify: identify::Behaviour::new(identify::Config::new("/ipfs/0.1.0".into(), keys.public())),
        ping: ping::Behaviour::new(ping::Config::new().with_interval(Duration::from_millis(50))),
        echo: request_response::Behaviour::with_codec(Whole, [(ECHO, ProtocolSupport::Full)], requests.clone()),
        messages: request_response::Behaviour::with_codec(Whole, [(MESSAGE, ProtocolSupport::Inbound)], requests),
        streams: libp2p_stream::Behaviour::new(),
    }
}

async fn drive(mut swarm: Swarm<Behaviour>, mut calls: mpsc::UnboundedReceiver<Call>, known: watch::Sender<Known>) {
    let mut listening = None;
    loop {
        select! {
            call = calls.next() => match call {
                Some(Call::Listen(answer)) => {
                    swarm.listen_on("/ip4/127.0.0.1/tcp/0".parse().expect("valid")).expect("listens");
                    listening = Some(answer);
                }
                Some(Call::Dial(address)) => swarm.dial(address).expect("dials"),
                None => return,
            },
            event = swarm.select_next_some() => {
                if let SwarmEvent::NewListenAddr { address, .. } = &event {
                    let address = address.clone().with_p2p(*swarm.local_peer_id()).expect("no peer in it");
                    let _ = listening.take().map(|answer: oneshot::Sender<_>| answer.send(address));
                }
                known.send_modify(|known| learn(&mut swarm, known, event));
            }
        }
    }
}

fn learn(swarm: &mut Swarm<Behaviour>, known: &mut Known, event: SwarmEvent<BehaviourEvent>) {
    use request_response::{Event, InboundFailure, Message};
    match event {
        SwarmEvent::ConnectionEstablished { peer_id, num_established, .. } => {
            known.peer = Some(peer_id);
            known.connections = num_established.get();
        }
        SwarmEvent::ConnectionClosed { num_established, .. } => known.connections = num_established,
        SwarmEvent::OutgoingConnectionError { error, .. } => panic!("cannot dial: {error}"),
        SwarmEvent::Behaviour(BehaviourEvent::Identify(identify::Event::Received { info, .. })) => {
            let protocols = info.protocols.iter().map(ToString::to_string);
            known.identified = Some(std::iter::once(info.agent_version).chain(protocols).collect());
        }
        SwarmEvent::Behaviour(BehaviourEvent::Ping(ping::Event { result: Ok(rtt), .. })) => known.pings.push(rtt),
        SwarmEvent::Behaviour(BehaviourEvent::Echo(Event::Message {
            message: Message::Request { request, channel, .. },
            ..
        })) => {
            // Whoever has asked may be gone.
            let _ = swarm.behaviour_mut().echo.send_response(channel, request);
        }
        SwarmEvent::Behaviour(BehaviourEvent::Messages(Event::Message {
            message: Message::Request { request, .. },
            ..
        })) => known.messages.push(request),
        SwarmEvent::Behaviour(BehaviourEvent::Messages(Event::InboundFailure {
            error: InboundFailure::Io(_), ..
        })) => known.broken += 1,
        _ => {}
    }
}
