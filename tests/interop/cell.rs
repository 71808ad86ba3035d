//! A cell of the matrix: one peer, one role, one scenario, over connections of its own.

use crate::child::Child;
use crate::in_process::InProcess;
use crate::line::Answer;
use crate::manners;
use crate::peers::{Lack, Peer, Start};
use crate::proxy::{self, Proxy};
use crate::said::Said;
use crate::support::far::far;
use crate::support::node::Node;
use crate::support::{Io, pipe, quiet, tcp};
use crate::tap::{Tap, Wire};
use crate::theirs::{Remote, Theirs};
use crate::toolchain::{Program, Unbuilt};
use crate::verdict::{Role, Verdict, within};
use futures::future::LocalBoxFuture;
use sluicegate::stats::NodeStats;
use sluicegate::{Config, ConfigBuilder, MemoryLimit, Mode, Session};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::compat::TokioAsyncReadCompatExt;

/// Bytes that the streams of a cell may reserve here.
const BUDGET: usize = 1 << 30;

/// Something that must hold with every peer in either role.
pub struct Scenario {
    pub name: &'static str,
    /// What the matrix says of it.
    pub title: &'static str,
    pub setup: Setup,
    pub run: Run,
}

/// What is run, with this end as a connection or as a session.
#[derive(Clone, Copy)]
pub enum Run {
    Connection(fn(Cell) -> LocalBoxFuture<'static, Outcome>),
    Session(fn(Cell<Session>) -> LocalBoxFuture<'static, Outcome>),
}

/// What a scenario wants to be different.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// The time that bytes are under way.
    pub latency: Option<Duration>,
    /// The largest receive window of the peer in bytes, where that is a setting.
    pub window: Option<u32>,
    /// After how many milliseconds the peer gives up on a stream that is not acknowledged, where it does.
    pub open_timeout: Option<u32>,
    /// Connections with the peer, one after another.
    pub rounds: usize,
    /// Whether a proxy is between the two, which stalls on command.
    pub proxy: bool,
    /// More streams are opened than there may be.
    pub surplus: bool,
    /// It takes long and does little: it is run beside all others, and begins before them.
    pub ahead: bool,
    /// How this end is configured, but for its memory.
    pub settings: fn() -> ConfigBuilder,
}

impl Setup {
    pub const PLAIN: Self = Self {
        latency: None,
        window: None,
        open_timeout: None,
        rounds: 1,
        proxy: false,
        surplus: false,
        ahead: false,
        settings: || quiet().max_incoming_streams(2000),
    };
}

/// What a scenario came to, where nothing was wrong.
pub enum Outcome {
    Passed,
    /// The peer has no means to do its part.
    Cannot(String),
}

/// A connection between this crate and a peer.
pub struct Cell<O = Node<Io>> {
    pub ours: O,
    pub theirs: Theirs,
    pub peer: &'static Peer,
    pub role: Role,
    pub wire: Wire,
    pub budget: Arc<MemoryLimit>,
    pub stats: NodeStats,
    /// How many connections were there before.
    pub round: usize,
    proxy: Option<Proxy>,
    notes: Notes,
}

type Notes = Arc<Mutex<BTreeSet<&'static str>>>;

impl<O> Cell<O> {
    /// The proxy between the two ends.
    pub fn proxy(&self) -> &Proxy {
        self.proxy.as_ref().expect("the setup has one")
    }

    /// Says in the matrix what the peer lacks, where the scenario does without it.
    pub fn note(&self, note: &'static str) {
        self.notes.lock().unwrap().insert(note);
    }
}

/// Over what a peer of this process is reached.
#[derive(Clone, Copy, Debug)]
enum Transport {
    Tcp,
    /// It holds 4 KiB each way.
    Pipe,
}

/// One connection of a cell, and what is left of it for a report.
struct Attempt<'a> {
    peer: &'static Peer,
    role: Role,
    setup: Setup,
    transport: Transport,
    program: Option<&'a Program>,
    budget: Arc<MemoryLimit>,
    stats: NodeStats,
    notes: Notes,
    said: Said,
    wire: Mutex<Option<Wire>>,
}

/// Runs a scenario with a peer.
pub fn run(peer: &'static Peer, role: Role, scenario: &'static Scenario) -> Verdict {
    let (program, transports): (_, &[Transport]) = match peer.start {
        Start::InProcess(_) if scenario.setup.proxy => (None, &[Transport::Tcp]),
        Start::InProcess(_) => (None, &[Transport::Tcp, Transport::Pipe]),
        Start::Child(source, _) => match source.program() {
            Ok(program) => (Some(program), &[Transport::Tcp]),
            Err(Unbuilt::Missing(what)) => return Verdict::Missing(what),
            Err(Unbuilt::Broken(what)) => return Verdict::Failed(what),
        },
    };
    let (notes, mut cannot) = (Notes::default(), None);
    for transport in transports {
        let attempt = Attempt {
            peer,
            role,
            setup: scenario.setup,
            transport: *transport,
            program: program.as_ref(),
            budget: Arc::new(MemoryLimit::new(BUDGET)),
            stats: NodeStats::default(),
            notes: notes.clone(),
            said: Said::default(),
            wire: Mutex::default(),
        };
        match attempt.run(scenario.run) {
            Ok(Outcome::Passed) => {}
            Ok(Outcome::Cannot(why)) => cannot = Some(why),
            Err(what) => return Verdict::Failed(what),
        }
    }
    match cannot {
        Some(why) => Verdict::Cannot(why),
        None => Verdict::Passed(notes.lock().unwrap().iter().map(|note| (*note).to_owned()).collect()),
    }
}

impl Attempt<'_> {
    /// What it comes to, or all that is known of what went wrong.
    fn run(&self, scenario: Run) -> Result<Outcome, String> {
        let outcome = within(&self.said, self.rounds(scenario)).map_err(|what| {
            let wire = self.wire.lock().unwrap().as_ref().map(Wire::report).unwrap_or_default();
            format!("over {:?}: {what}\n{}{wire}", self.transport, self.said.report())
        })?;
        match self.budget.reserved() {
            0 => manners::check(&self.stats.total(), self.setup.surplus).map(|()| outcome),
            left => Err(format!("{left} bytes are still reserved")),
        }
    }

    async fn rounds(&self, scenario: Run) -> Outcome {
        let child = match (self.peer.start, self.program) {
            (Start::Child(_, implementation), Some(program)) => {
                Some(Arc::new(Child::start(program, implementation, self.said.clone())))
            }
            _ => None,
        };
        let mut outcome = Outcome::Passed;
        for round in 0..self.setup.rounds {
            let child = child.clone();
            outcome = match scenario {
                Run::Connection(run) => run(self.connect(child, round, connection).await).await,
                Run::Session(run) => run(self.connect(child, round, session).await).await,
            };
            if let Outcome::Cannot(_) = outcome {
                break;
            }
        }
        outcome
    }

    async fn connect<O>(
        &self,
        child: Option<Arc<Child>>,
        round: usize,
        start: impl AsyncFnOnce(Io, Config, Mode) -> O,
    ) -> Cell<O> {
        let (io, remote) = match (self.peer.start, child) {
            (Start::Child(..), Some(child)) => (self.reach(&child).await, Remote::Child(child)),
            (Start::InProcess(start), _) => {
                let (near, far) = in_memory_or_tcp(self.transport).await;
                let mode = if self.role == Role::Dial { Mode::Server } else { Mode::Client };
                (near, Remote::InProcess(InProcess::new(start(far, mode, self.setup.window))))
            }
            (Start::Child(..), None) => unreachable!("a child has a program"),
        };
        let io = match self.setup.latency {
            Some(latency) => Box::new(far(io, latency)),
            None => io,
        };
        let (io, proxy) = if self.setup.proxy {
            let (io, proxy) = proxy::between(io).await;
            (io, Some(proxy))
        } else {
            (io, None)
        };
        let (io, wire) = Tap::new(io);
        *self.wire.lock().unwrap() = Some(wire.clone());
        // Room for more than a window in the send buffer: what holds a writer is the peer.
        let config = (self.setup.settings)().memory(self.budget.clone()).stats(self.stats.clone());
        let config = config.max_send_buffer(16 << 20).build().expect("valid");
        let mode = if self.role == Role::Dial { Mode::Client } else { Mode::Server };
        Cell {
            ours: start(Box::new(io), config, mode).await,
            theirs: Theirs::new(remote, self.said.clone()),
            peer: self.peer,
            role: self.role,
            wire,
            budget: self.budget.clone(),
            stats: self.stats.clone(),
            round,
            proxy,
            notes: self.notes.clone(),
        }
    }

    /// A connection with a child, that it or we have dialed.
    async fn reach(&self, child: &Child) -> Io {
        let open_timeout = self.setup.open_timeout.filter(|_| !self.peer.lacks(Lack::OpenTimeout));
        let mut settings = String::new();
        for (key, value) in [("window", self.setup.window), ("open_timeout", open_timeout)] {
            if let Some(value) = value {
                settings += &format!(" {key}={value}");
            }
        }
        let socket = match self.role {
            Role::Dial => {
                let address = child.request(format!("listen{settings}")).await.values();
                TcpStream::connect(&address[0]).await.expect("the peer listens")
            }
            Role::Listen => {
                let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
                let address = listener.local_addr().expect("bound");
                let dial = child.request(format!("dial {address}{settings}"));
                let (dialed, accepted) = futures::join!(dial, listener.accept());
                dialed.ok();
                accepted.expect("the peer dials").0
            }
        };
        socket.set_nodelay(true).expect("a socket");
        Box::new(socket.compat())
    }
}

async fn connection(io: Io, config: Config, mode: Mode) -> Node<Io> {
    let ours = Node::new(io, config, mode);
    // With the first ping answered, the next one is a new one: it comes behind all that was said before it.
    ours.ping().await.expect("answered");
    ours
}

async fn session(io: Io, config: Config, mode: Mode) -> Session {
    let (ours, driver) = Session::new(io, config, mode);
    tokio::spawn(driver);
    ours.ping().await.expect("answered");
    ours
}

async fn in_memory_or_tcp(transport: Transport) -> (Io, Io) {
    match transport {
        Transport::Tcp => {
            let (near, far) = tcp().await;
            (Box::new(near), Box::new(far))
        }
        Transport::Pipe => {
            let (near, far) = pipe(4096);
            (Box::new(near), Box::new(far))
        }
    }
}

impl From<Answer> for Outcome {
    /// An answer that says that the peer has no means.
    fn from(answer: Answer) -> Self {
        match answer {
            Answer::Unsupported(why) => Self::Cannot(why),
            other => panic!("the peer answers {other:?}"),
        }
    }
}
