//! Whole nodes: a rust-libp2p node with this crate, and a node of another implementation or with another muxer. TCP,
//! Noise and yamux, as they are negotiated in the field.

mod host;
mod scenarios;
mod upgrade;

pub use scenarios::SCENARIOS;

use crate::child::Child;
use crate::line::Answer;
use crate::manners;
use crate::said::Said;
use crate::tap::Wire;
use crate::toolchain::{Program, Source, Unbuilt};
use crate::verdict::{Role, Verdict, within};
use futures::future::LocalBoxFuture;
use host::{ECHO, Host, Muxer};
use libp2p::core::upgrade::Version;
use sluicegate::stats::NodeStats;
use sluicegate::{Config, MemoryLimit, Priority};
use std::fmt;
use std::sync::{Arc, Mutex};

/// An implementation of libp2p.
#[derive(Debug)]
pub struct Peer {
    pub name: &'static str,
    /// The file, and the line in it, that pins the version.
    pub pinned: (&'static str, &'static str),
    /// The program; none where it runs in the process of the test.
    source: Option<Source>,
}

pub const PEERS: &[Peer] = &[
    Peer {
        name: "rust-libp2p 0.57.1",
        pinned: ("Cargo.lock", "name = \"libp2p\"\nversion = \"0.57.1\""),
        source: None,
    },
    Peer {
        name: "go-libp2p 0.51.0",
        pinned: ("tests/interop/go/node/go.mod", "github.com/libp2p/go-libp2p v0.51.0\n"),
        source: Some(Source::GoNode),
    },
    Peer {
        name: "js-libp2p 3.3.11",
        pinned: ("tests/interop/js/package.json", "\"libp2p\": \"3.3.11\""),
        source: Some(Source::Js),
    },
    Peer {
        name: "py-libp2p 0.8.1",
        pinned: ("tests/interop/py/requirements.txt", "libp2p==0.8.1 "),
        source: Some(Source::Py),
    },
];

/// Something that must hold between two nodes.
pub struct Scenario {
    pub name: &'static str,
    /// What the matrix says of it.
    pub title: &'static str,
    /// Bytes that the streams of our node may reserve.
    pub budget: usize,
    /// How the protocols of streams are negotiated by the nodes of rust-libp2p.
    pub negotiation: Version,
    pub run: fn(Pair) -> LocalBoxFuture<'static, ()>,
}

/// Two nodes with a connection.
pub struct Pair {
    pub ours: Node,
    pub theirs: Node,
    pub budget: Arc<MemoryLimit>,
    /// The figures of our node.
    pub stats: NodeStats,
    wire: Arc<Mutex<Option<Wire>>>,
}

impl Pair {
    /// Resets that our node has sent.
    pub fn resets_by_us(&self) -> usize {
        self.wire.lock().unwrap().as_ref().map_or(0, Wire::resets_by_us)
    }
}

/// What a node is asked to do, as `README.md` describes it.
#[derive(Clone, Copy, Debug)]
pub enum Request {
    Identify,
    Ping,
    Echo { seed: usize, len: usize },
    Echoes { streams: usize, len: usize },
    Connections,
    Messages { count: usize, len: usize },
    Received { len: usize },
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Identify => f.write_str("identify"),
            Self::Ping => f.write_str("ping"),
            Self::Echo { seed, len } => write!(f, "echo {seed} {len}"),
            Self::Echoes { streams, len } => write!(f, "echoes {streams} {len}"),
            Self::Connections => f.write_str("connections"),
            Self::Messages { count, len } => write!(f, "messages {count} {len}"),
            Self::Received { len } => write!(f, "received {len}"),
        }
    }
}

/// A node, wherever it runs.
pub enum Node {
    Child(Box<Child>),
    Host(Box<Host>, Said),
}

impl Node {
    pub async fn ask(&self, request: Request) -> Answer {
        match self {
            Self::Child(child) => child.request(request).await,
            Self::Host(host, said) => {
                said.line(format!("> {request}, in this process"));
                let answer = host.answer(request).await;
                said.line(format!("< {request}: {answer:?}"));
                answer
            }
        }
    }

    /// Where it listens.
    async fn listen(&self) -> String {
        match self {
            Self::Child(child) => child.request("listen").await.values().swap_remove(0),
            Self::Host(host, _) => host.listen().await.to_string(),
        }
    }

    async fn dial(&self, address: &str) {
        match self {
            Self::Child(child) => child.request(format!("dial {address}")).await.ok(),
            Self::Host(host, _) => host.dial(address.parse().expect("an address")).await,
        }
    }
}

/// Runs a scenario with a peer.
pub fn run(peer: &'static Peer, role: Role, scenario: &'static Scenario) -> Verdict {
    let program = match peer.source.map(Source::program).transpose() {
        Ok(program) => program,
        Err(Unbuilt::Missing(what)) => return Verdict::Missing(what),
        Err(Unbuilt::Broken(what)) => return Verdict::Failed(what),
    };
    let (said, wire) = (Said::default(), Arc::new(Mutex::new(None::<Wire>)));
    let (budget, stats) = (Arc::new(MemoryLimit::new(scenario.budget)), NodeStats::default());
    let settings = Config::builder().memory(budget.clone()).stats(stats.clone()).priority_by_protocol(priority);
    let attempt = async {
        let muxer = Muxer::Ours(settings.build().expect("valid"), wire.clone());
        let ours = Node::Host(Box::new(Host::start(muxer, scenario.negotiation)), said.clone());
        let theirs = start(program.as_ref(), scenario.negotiation, &said);
        let (dialer, listener) = if role == Role::Dial { (&ours, &theirs) } else { (&theirs, &ours) };
        dialer.dial(&listener.listen().await).await;
        (scenario.run)(Pair { ours, theirs, budget: budget.clone(), stats: stats.clone(), wire: wire.clone() }).await;
    };
    if let Err(what) = within(&said, attempt) {
        let frames = wire.lock().unwrap().as_ref().map(Wire::report).unwrap_or_default();
        return Verdict::Failed(format!("{what}\n{}{frames}", said.report()));
    }
    if budget.reserved() != 0 {
        return Verdict::Failed(format!("{} bytes are still reserved", budget.reserved()));
    }
    match manners::check(&stats.total(), false) {
        Ok(()) => Verdict::Passed(Vec::new()),
        Err(what) => Verdict::Failed(what),
    }
}

/// What is urgent for our node: pings are, echoes are not.
fn priority(protocol: &str) -> Priority {
    match protocol {
        "/ipfs/ping/1.0.0" => Priority::HIGH,
        echo if echo == ECHO.as_ref() => Priority::LOW,
        _ => Priority::MEDIUM,
    }
}

fn start(program: Option<&Program>, negotiation: Version, said: &Said) -> Node {
    match program {
        Some(program) => Node::Child(Box::new(Child::start(program, "node", said.clone()))),
        None => Node::Host(Box::new(Host::start_apart(Muxer::Libp2p, negotiation)), said.clone()),
    }
}
