//! What the peers do.

use crate::script::{Frame, Reads, Script};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sluicegate::Violation;
use sluicegate::wire::{Flags, Header, PingKind, StreamId};
use std::iter::{once, repeat_n};

const WINDOW: u32 = 256 * 1024;

/// What the application does meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Application {
    /// Accepts every stream, and reads none.
    Keeps,
    /// Accepts every stream, and reads a few bytes of each with every poll.
    Sips,
    /// Accepts every stream and drops it at once.
    Drops,
    /// Accepts none.
    Waits,
    /// Opens so many streams and writes to them all.
    Writes(usize),
}

impl Application {
    pub fn accepts(self) -> bool {
        matches!(self, Self::Keeps | Self::Sips | Self::Drops)
    }
}

pub struct Flood {
    pub name: &'static str,
    /// On how many connections at once it is tried.
    pub connections: &'static [usize],
    pub budget: usize,
    pub streams: usize,
    pub backlog: usize,
    pub application: Application,
    /// The script of one of the peers.
    pub script: fn(u64) -> Script,
    pub ends: Ends,
}

/// What becomes of each connection.
#[derive(Clone, Copy)]
pub enum Ends {
    /// It lives on.
    Never,
    /// It ends for this violation.
    For(fn(&Violation) -> bool),
    /// Whatever the seed brings.
    Perhaps,
}

const GIB: usize = 1 << 30;

const fn flood(name: &'static str, script: fn(u64) -> Script) -> Flood {
    Flood {
        name,
        connections: &[1, 10, 100],
        budget: GIB,
        streams: 1000,
        backlog: 256,
        application: Application::Keeps,
        script,
        ends: Ends::Never,
    }
}

pub const FLOODS: &[Flood] = &[
    Flood { streams: 2, ..flood("frames_of_one_byte_to_the_brim", |_| one_byte_frames(2)) },
    Flood { ends: Ends::For(useless), ..flood("empty_frames", |_| after_syn(data(1, 0), 100_000)) },
    Flood { application: Application::Waits, ..flood("streams_beyond_the_backlog", |_| syns(2_000)) },
    Flood { budget: 8 << 20, ..flood("streams_beyond_the_budget", |_| syns(2_000)) },
    Flood { streams: 10, ..flood("streams_beyond_their_number", |_| syns(2_000)) },
    Flood {
        ends: Ends::For(refused),
        streams: 10,
        ..flood("streams_beyond_all_and_nothing_is_read", |_| deaf(syns_of(100_000)))
    },
    Flood { ends: Ends::For(rapid), ..flood("rapid_resets", |_| all(opened_and_reset())) },
    Flood { ends: Ends::For(pings), ..flood("pings_and_nothing_is_read", |_| deaf(repeat_n(ping(), 100_000))) },
    flood("credit_by_the_byte", |_| after_syn(update(1, Flags::NONE, 1), 100_000)),
    Flood { ends: Ends::For(useless), ..flood("data_for_streams_that_never_were", |_| all(strays())) },
    Flood { ends: Ends::For(beyond_credit), ..flood("data_for_streams_that_are_over", |_| all(late_data())) },
    Flood { ends: Ends::For(window), ..flood("a_body_of_4_gib", |_| after_syn(data(1, u32::MAX), 1)) },
    Flood { ends: Ends::For(useless), ..flood("fins", |_| after_syn(fin(1), 100_000)) },
    Flood { ends: Ends::For(useless), ..flood("go_aways", |_| all(once(syn(1)).chain(repeat_n(go_away(), 100_000)))) },
    Flood {
        application: Application::Writes(1000),
        connections: &[1, 10],
        backlog: 1000,
        ..flood("a_thousand_writers_and_nothing_is_read", |_| deaf(std::iter::empty()))
    },
    Flood { connections: &[1], budget: 4 * GIB, streams: 10_000, ..flood("idle_streams", |_| syns(10_000)) },
    Flood { application: Application::Drops, ..flood("streams_that_come_and_go", |_| all(short_streams())) },
    Flood { application: Application::Drops, ..flood("dropped_streams_and_nothing_is_read", |_| deaf(syns_of(1_000))) },
    Flood {
        application: Application::Sips,
        connections: &[1, 10],
        backlog: 1000,
        ..flood("finished_streams_that_wait_for_an_answer", |_| deaf(finished()))
    },
    Flood { budget: 8 << 20, ..flood("data_beyond_the_budget", |_| all(full_windows(100))) },
    Flood { application: Application::Sips, streams: 50, ..flood("readers_of_little", |_| all(full_windows(50))) },
    Flood { ends: Ends::Perhaps, ..flood("everything_mixed", |seed| mixed(seed, Reads::Everything)) },
    Flood { ends: Ends::Perhaps, ..flood("everything_mixed_and_nothing_is_read", |seed| mixed(seed, Reads::Nothing)) },
    Flood {
        ends: Ends::Perhaps,
        application: Application::Drops,
        ..flood("everything_mixed_for_nobody", |seed| mixed(seed, Reads::Everything))
    },
];

fn useless(violation: &Violation) -> bool {
    matches!(violation, Violation::UselessFrames)
}

fn rapid(violation: &Violation) -> bool {
    matches!(violation, Violation::RapidReset)
}

fn refused(violation: &Violation) -> bool {
    matches!(violation, Violation::RefusedFlood)
}

fn pings(violation: &Violation) -> bool {
    matches!(violation, Violation::PingFlood)
}

fn beyond_credit(violation: &Violation) -> bool {
    matches!(violation, Violation::WindowExceeded { len: 100, .. })
}

fn window(violation: &Violation) -> bool {
    matches!(violation, Violation::WindowExceeded { len: u32::MAX, .. })
}

// ---- scripts ---------------------------------------------------------------------------------------------------------

fn all(frames: impl Iterator<Item = Header> + Send + 'static) -> Script {
    Script::new(frames.map(Frame::of), Reads::Everything)
}

fn deaf(frames: impl Iterator<Item = Header> + Send + 'static) -> Script {
    Script::new(frames.map(Frame::of), Reads::Nothing)
}

fn syns_of(streams: u32) -> impl Iterator<Item = Header> + Send {
    (0..streams).map(|n| syn(2 * n + 1))
}

fn syns(streams: u32) -> Script {
    all(syns_of(streams))
}

fn after_syn(header: Header, times: usize) -> Script {
    all(once(syn(1)).chain(repeat_n(header, times)))
}

fn one_byte_frames(streams: u32) -> Script {
    all(syns_of(streams).chain((0..WINDOW).flat_map(move |_| (0..streams).map(|n| data(2 * n + 1, 1)))))
}

/// Requests without a word: there is nothing to read, and an answer is still to come.
fn finished() -> impl Iterator<Item = Header> + Send {
    (0..1_000).map(|n| update(2 * n + 1, Flags::SYN | Flags::FIN, 0))
}

/// As much as the first windows take, a few KiB of each stream in turn.
fn full_windows(streams: u32) -> impl Iterator<Item = Header> + Send {
    const PIECE: u32 = 5_000;
    syns_of(streams).chain((0..WINDOW / PIECE).flat_map(move |_| (0..streams).map(|n| data(2 * n + 1, PIECE))))
}

fn opened_and_reset() -> impl Iterator<Item = Header> + Send {
    (0..100_000).map(|n| update(2 * n + 1, Flags::SYN | Flags::RST, 0))
}

/// Of all ids that there are, each once: none of them was ever opened.
fn strays() -> impl Iterator<Item = Header> + Send {
    (0..100_000).map(|n| data(2 * n + 1, 100))
}

/// Streams that the peer has reset, and data for each of them.
fn late_data() -> impl Iterator<Item = Header> + Send {
    let over = (0..100).flat_map(|n| [syn(2 * n + 1), update(2 * n + 1, Flags::RST, 0)]);
    over.chain((0..100_000).flat_map(|_| (0..100).map(|n| data(2 * n + 1, 100))))
}

/// Opened, used and finished by the peer, one after the other.
fn short_streams() -> impl Iterator<Item = Header> + Send {
    (0..20_000).flat_map(|n| [syn(2 * n + 1), data(2 * n + 1, 100), fin(2 * n + 1)])
}

/// Frames of all kinds for few streams, so that they meet in every state; none of them breaks a rule by itself.
fn mixed(seed: u64, reads: Reads) -> Script {
    let mut chance = StdRng::seed_from_u64(seed);
    let frames = (0..50_000).map(move |_| {
        let stream = 2 * chance.random_range(0..40) + 1;
        match chance.random_range(0..14) {
            0..=2 => syn(stream),
            3 => update(stream, Flags::SYN | Flags::FIN, 10),
            4..=7 => data(stream, chance.random_range(0..2_000)),
            8 => update(stream, Flags::NONE, chance.random_range(0..1_000)),
            9 => update(stream, Flags::RST, 7),
            10 => fin(stream),
            11 => update(stream, Flags::ACK, 0),
            12 => ping(),
            _ => Header::Ping { kind: PingKind::Response, nonce: 1 },
        }
    });
    Script::new(frames.map(Frame::of), reads)
}

// ---- frames ----------------------------------------------------------------------------------------------------------

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

fn ping() -> Header {
    Header::Ping { kind: PingKind::Request, nonce: 7 }
}

fn go_away() -> Header {
    Header::GoAway { code: 0 }
}
