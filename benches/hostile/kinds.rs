//! What peers send: honest ones, to compare with, and hostile ones. What an honest peer sends is read at once.

use sluicegate::wire::{Flags, HEADER_LEN, Header, PingKind, StreamId};

/// What the application does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Application {
    /// Accepts every stream, and reads the first of them.
    Reads,
    /// Accepts every stream, and reads none.
    Keeps,
    /// Accepts every stream and drops it at once.
    Drops,
    /// Accepts none.
    Waits,
}

/// Whether the peer reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reads {
    Everything,
    Nothing,
}

/// Which of the limits leaves no room for one more stream; the others do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    Number,
    Memory,
    Backlog,
    None,
}

pub(crate) struct Kind {
    pub(crate) name: &'static str,
    pub(crate) application: Application,
    pub(crate) reads: Reads,
    /// Bytes that arrive before the peer waits for the other end.
    pub(crate) at_once: usize,
    pub(crate) full: Full,
    /// What comes first for each of the streams that are there before the flood begins.
    pub(crate) before: fn(u32) -> Vec<Header>,
    /// The flood: a frame by its number, with so many streams open.
    pub(crate) frame: fn(u32, u32) -> Header,
    /// The violation with which the connection ends; `None` where it lives on.
    pub(crate) ends: Option<&'static str>,
    /// The honest kind whose frames are about as large.
    pub(crate) like: &'static str,
}

const HONEST_1: &str = "honest-1";
const HONEST_100: &str = "honest-100";

/// What an honest peer sends before it sees what was given back, and as many refused streams as may be owed a reset.
const AT_ONCE: usize = 2048 * HEADER_LEN;
/// As many pings as may be owed an answer.
const PINGS_AT_ONCE: usize = 32 * HEADER_LEN;

const fn honest(name: &'static str, frame: fn(u32, u32) -> Header) -> Kind {
    Kind { application: Application::Reads, like: name, ..flood(name, frame) }
}

const fn flood(name: &'static str, frame: fn(u32, u32) -> Header) -> Kind {
    let (application, reads, full) = (Application::Keeps, Reads::Everything, Full::None);
    Kind {
        name,
        application,
        reads,
        at_once: AT_ONCE,
        full,
        before: |id| vec![syn(id)],
        frame,
        ends: None,
        like: HONEST_1,
    }
}

const fn fatal(name: &'static str, ends: &'static str, frame: fn(u32, u32) -> Header) -> Kind {
    Kind { ends: Some(ends), ..flood(name, frame) }
}

pub(crate) const KINDS: &[Kind] = &[
    honest(HONEST_1, |_, _| data(1, 1)),
    honest(HONEST_100, |_, _| data(1, 100)),
    honest("honest-512", |_, _| data(1, 512)),
    honest("honest-16384", |_, _| data(1, 16_384)),
    Kind { application: Application::Drops, ..flood("short-streams", short_stream) },
    flood("unread-1", |n, streams| data(one_of(n, streams), 1)),
    flood("credit-1", |n, streams| update(one_of(n, streams), Flags::NONE, 1)),
    Kind { at_once: PINGS_AT_ONCE, ..flood("pings", |_, _| PING) },
    Kind { reads: Reads::Nothing, ..fatal("pings-unread", "PingFlood", |_, _| PING) },
    Kind { full: Full::Number, ..flood("syns-beyond-number", next_syn) },
    Kind { full: Full::Memory, ..flood("syns-beyond-memory", next_syn) },
    Kind { full: Full::Backlog, application: Application::Waits, ..flood("syns-beyond-backlog", next_syn) },
    Kind { full: Full::Number, reads: Reads::Nothing, ..fatal("syns-beyond-number-unread", "RefusedFlood", next_syn) },
    fatal("syns-with-reset", "RapidReset", |n, streams| update(next(n, streams), Flags::SYN | Flags::RST, 0)),
    fatal("empty", "UselessFrames", |n, streams| data(one_of(n, streams), 0)),
    Kind { like: HONEST_100, ..fatal("unknown-streams", "UselessFrames", |n, streams| data(next(n, streams), 100)) },
    Kind {
        application: Application::Drops,
        before: |id| vec![syn(id), fin(id)],
        like: HONEST_100,
        ..fatal("closed-streams", "WindowExceeded", |n, streams| data(one_of(n, streams), 100))
    },
    fatal("fins", "UselessFrames", |n, streams| fin(one_of(n, streams))),
    fatal("go-aways", "UselessFrames", |_, _| Header::GoAway { code: 0 }),
    fatal("body-of-4-gib", "WindowExceeded", |_, _| data(1, u32::MAX)),
];

const PING: Header = Header::Ping { kind: PingKind::Request, nonce: 7 };

/// Turn by turn all streams that are open.
fn one_of(n: u32, streams: u32) -> u32 {
    2 * (n % streams) + 1
}

/// Ids that were not used before.
fn next(n: u32, streams: u32) -> u32 {
    2 * (streams + n) + 1
}

fn next_syn(n: u32, streams: u32) -> Header {
    syn(next(n, streams))
}

/// Opened, used and finished by the peer, one after the other.
fn short_stream(n: u32, streams: u32) -> Header {
    let id = next(n / 3, streams);
    match n % 3 {
        0 => syn(id),
        1 => data(id, 100),
        _ => fin(id),
    }
}

fn id(value: u32) -> StreamId {
    StreamId::new(value).expect("not zero")
}

fn syn(stream: u32) -> Header {
    update(stream, Flags::SYN, 0)
}

fn update(stream: u32, flags: Flags, value: u32) -> Header {
    Header::WindowUpdate { id: id(stream), flags, value }
}

fn data(stream: u32, len: u32) -> Header {
    Header::Data { id: id(stream), flags: Flags::NONE, len }
}

fn fin(stream: u32) -> Header {
    Header::Data { id: id(stream), flags: Flags::FIN, len: 0 }
}
