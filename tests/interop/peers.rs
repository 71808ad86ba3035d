//! The implementations that we talk to, and what their APIs offer to a test.

use crate::in_process::{self, TokioYamux, Yamux012, Yamux014};
use crate::toolchain::Source;

/// An implementation.
#[derive(Debug)]
pub struct Peer {
    /// Its name, and behind the last blank its version.
    pub name: &'static str,
    /// The file, and the line in it, that pins the version.
    pub pinned: (&'static str, &'static str),
    pub start: Start,
    /// Streams that it may have open at once.
    pub streams: usize,
    /// Streams of its own that it may have open at once.
    pub opens: usize,
    /// As many of 2,400 streams as it opens at once.
    pub at_once: usize,
    /// As many of 2,400 streams as may be announced to it at once.
    pub takes_at_once: usize,
    /// The code with which its API is asked to close.
    pub close_code: u32,
    /// What a go-away with code 0 does to it.
    pub go_away: OnGoAway,
    /// What of a stream can still be read when our go-away has ended the session.
    pub left_at_close: Left,
    /// Bytes of a stream that it gives credit for though they are not read.
    pub reads_ahead: usize,
    pub lacks: &'static [Lack],
}

impl Peer {
    pub fn lacks(&self, what: Lack) -> bool {
        self.lacks.contains(&what)
    }
}

/// Where an implementation runs.
#[derive(Clone, Copy, Debug)]
pub enum Start {
    /// In a process of its own; the word chooses it among those that the program has.
    Child(Source, &'static str),
    InProcess(in_process::Start),
}

/// What a scenario has to do without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lack {
    /// The announcement of a stream that carries nothing but its end.
    EmptyStreams,
    /// More than a window our way after our half of a stream has ended.
    WritingPastFin,
    /// Codes on its resets, and a word of those on ours and on our go-away.
    Codes,
    /// An error for the reader of a stream that we have reset.
    ResetForReader,
    /// A close that waits for what its streams have queued.
    QueueAtClose,
    /// A close with a code that leaves its streams unfinished.
    UnfinishedClose,
    /// Reading, and with it answers to pings, while a stream of its is not read.
    ReadingOn,
    /// A call for a ping.
    PingCall,
    /// A time after which it gives up on a stream that is not acknowledged.
    OpenTimeout,
    /// A go-away when it is closed.
    GoAwayAtClose,
    /// Writers that wait for credit for as long as the reader takes.
    WaitingForCredit,
}

/// What a connection does when it is told with code 0 that it may open nothing more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnGoAway {
    /// Its streams live on.
    Drains,
    /// It ends with all its streams, and with the transport.
    Ends,
    /// It ends with all its streams, and leaves the transport to us.
    EndsAlone,
}

/// What a reader still gets of a stream that has been sent whole, when the connection is closed right after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    Everything,
    /// As much as it can read without giving credit, which is less than half a window.
    BelowCredit,
    Nothing,
}

/// What most of them have in common.
const PLAIN: Peer = Peer {
    name: "",
    pinned: ("", ""),
    start: Start::Child(Source::GoMuxer, ""),
    streams: 1000,
    opens: 1000,
    at_once: 2400,
    takes_at_once: 2400,
    close_code: 0x1002,
    go_away: OnGoAway::Ends,
    left_at_close: Left::Everything,
    reads_ahead: 0,
    lacks: &[Lack::Codes, Lack::OpenTimeout],
};

/// What the two packages for JavaScript have in common.
const JS: Peer = Peer {
    close_code: 2,
    go_away: OnGoAway::EndsAlone,
    reads_ahead: 64 << 10,
    lacks: &[Lack::Codes, Lack::OpenTimeout, Lack::UnfinishedClose],
    ..PLAIN
};

pub const PEERS: &[Peer] = &[
    Peer {
        name: "rust-yamux 0.14.1",
        pinned: ("Cargo.lock", "name = \"yamux\"\nversion = \"0.14.1\""),
        start: Start::InProcess(Yamux014::start),
        streams: 500,
        opens: 500,
        at_once: 500,
        takes_at_once: 500,
        lacks: &[Lack::Codes, Lack::OpenTimeout, Lack::EmptyStreams, Lack::ResetForReader],
        ..PLAIN
    },
    Peer {
        name: "rust-yamux 0.12.1",
        pinned: ("Cargo.lock", "name = \"yamux\"\nversion = \"0.12.1\""),
        start: Start::InProcess(Yamux012::start),
        lacks: &[Lack::Codes, Lack::OpenTimeout, Lack::EmptyStreams, Lack::ResetForReader],
        ..PLAIN
    },
    Peer {
        name: "tokio-yamux 0.3.20",
        pinned: ("Cargo.lock", "name = \"tokio-yamux\"\nversion = \"0.3.20\""),
        start: Start::InProcess(TokioYamux::start),
        lacks: &[Lack::Codes, Lack::OpenTimeout, Lack::WritingPastFin, Lack::QueueAtClose, Lack::ReadingOn],
        ..PLAIN
    },
    Peer {
        name: "go-yamux 3.0.2",
        pinned: ("tests/interop/go/muxer/go.mod", "github.com/libp2p/go-yamux/v3 v3.0.2\n"),
        start: Start::Child(Source::GoMuxer, "go-yamux-v3"),
        go_away: OnGoAway::Drains,
        left_at_close: Left::BelowCredit,
        lacks: &[Lack::Codes, Lack::OpenTimeout, Lack::QueueAtClose, Lack::GoAwayAtClose],
        ..PLAIN
    },
    Peer {
        name: "go-yamux 3.1.2",
        pinned: ("tests/interop/go/muxer/v3.1.2.mod", "github.com/libp2p/go-yamux/v3 v3.1.2\n"),
        start: Start::Child(Source::GoMuxerNewestV3, "go-yamux-v3"),
        go_away: OnGoAway::Drains,
        left_at_close: Left::BelowCredit,
        lacks: &[Lack::Codes, Lack::OpenTimeout, Lack::QueueAtClose, Lack::GoAwayAtClose],
        ..PLAIN
    },
    Peer {
        name: "go-yamux 5.1.0",
        pinned: ("tests/interop/go/muxer/go.mod", "github.com/libp2p/go-yamux/v5 v5.1.0\n"),
        start: Start::Child(Source::GoMuxer, "go-yamux-v5"),
        left_at_close: Left::Nothing,
        lacks: &[Lack::OpenTimeout, Lack::QueueAtClose, Lack::GoAwayAtClose],
        ..PLAIN
    },
    Peer {
        name: "hashicorp/yamux 0.1.2",
        pinned: ("tests/interop/go/muxer/go.mod", "github.com/hashicorp/yamux v0.1.2\n"),
        start: Start::Child(Source::GoMuxer, "hashicorp"),
        go_away: OnGoAway::Drains,
        lacks: &[Lack::Codes, Lack::QueueAtClose, Lack::GoAwayAtClose],
        ..PLAIN
    },
    Peer {
        name: "@chainsafe/libp2p-yamux 8.0.1",
        pinned: ("tests/interop/js/package.json", "\"@chainsafe/libp2p-yamux\": \"8.0.1\""),
        start: Start::Child(Source::Js, "chainsafe-yamux"),
        ..JS
    },
    Peer {
        name: "@libp2p/yamux 8.0.3",
        pinned: ("tests/interop/js/package.json", "\"@libp2p/yamux\": \"8.0.3\""),
        start: Start::Child(Source::Js, "libp2p-yamux"),
        ..JS
    },
    Peer {
        name: "py-libp2p yamux 0.8.1",
        pinned: ("tests/interop/py/requirements.txt", "libp2p==0.8.1 "),
        start: Start::Child(Source::Py, "py-yamux"),
        opens: 256,
        at_once: 256,
        left_at_close: Left::Nothing,
        lacks: &[Lack::Codes, Lack::OpenTimeout, Lack::PingCall, Lack::WaitingForCredit],
        ..PLAIN
    },
];
