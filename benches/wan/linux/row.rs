//! The rows: paths, what is done on them, and what this crate has to reach there.

use super::contestant::Contestant;
use super::path::{Buffers, Congestion, Link};
use std::time::Duration;

#[derive(Clone, Copy, Debug)]
pub struct Row {
    pub name: &'static str,
    pub link: Link,
    pub congestion: Congestion,
    pub work: Work,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Urgent messages beside so many streams of bulk.
    Beside { streams: usize, bulk: Bulk },
    /// So many bytes on one fresh stream.
    Fresh { bytes: usize },
    /// Pings of two Swarms beside so many streams of bulk.
    Swarm { streams: usize, bulk: Bulk },
    /// Pings once a second beside an upload of a minute: none may fail, and the connection stays.
    SwarmStays { streams: usize },
}

/// Where bulk flows, seen from the end that sends the urgent messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bulk {
    Up,
    Down,
}

/// What this crate has to reach beside bulk: the first two over the median of the urgent messages alone, the last over the bulk of
/// the same build without pacing.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    pub p50: f64,
    pub p99: f64,
    pub bulk: f64,
}

const MEGABIT: u64 = 1_000_000;
const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

const fn link(megabits: u64, round_trip: u64, queue: usize) -> Link {
    let round_trip = Duration::from_millis(round_trip);
    Link { bits_per_second: megabits * MEGABIT, round_trip, queue, loss: 0.0 }
}

const HOME: Link = link(20, 40, 256 * KIB);
const LOSSY: Link = Link { loss: 0.005, ..HOME };
const SLOW: Link = link(2, 40, 256 * KIB);
const FAST: Link = link(200, 20, MIB);

const fn beside(name: &'static str, link: Link, congestion: Congestion, streams: usize, bulk: Bulk) -> Row {
    Row { name, link, congestion, work: Work::Beside { streams, bulk } }
}

/// The queue holds two bandwidth-delay products: the slow start of TCP overshoots by one.
const fn fresh(name: &'static str, megabits: u64, round_trip: u64, bytes: usize) -> Row {
    let queue = 2 * (megabits * MEGABIT / 8 * round_trip / 1000) as usize;
    Row { name, link: link(megabits, round_trip, queue), congestion: Congestion::Cubic, work: Work::Fresh { bytes } }
}

impl Row {
    pub const ALL: [Self; 21] = [
        beside("20M-1-up", HOME, Congestion::Cubic, 1, Bulk::Up),
        beside("20M-8-up", HOME, Congestion::Cubic, 8, Bulk::Up),
        beside("20M-1-bbr-up", HOME, Congestion::Bbr, 1, Bulk::Up),
        beside("20M-8-bbr-up", HOME, Congestion::Bbr, 8, Bulk::Up),
        beside("20M-loss-4-up", LOSSY, Congestion::Cubic, 4, Bulk::Up),
        beside("2M-4-up", SLOW, Congestion::Cubic, 4, Bulk::Up),
        beside("200M-4-up", FAST, Congestion::Cubic, 4, Bulk::Up),
        beside("20M-1-down", HOME, Congestion::Cubic, 1, Bulk::Down),
        beside("20M-8-down", HOME, Congestion::Cubic, 8, Bulk::Down),
        beside("20M-1-bbr-down", HOME, Congestion::Bbr, 1, Bulk::Down),
        beside("20M-8-bbr-down", HOME, Congestion::Bbr, 8, Bulk::Down),
        beside("20M-loss-4-down", LOSSY, Congestion::Cubic, 4, Bulk::Down),
        beside("2M-4-down", SLOW, Congestion::Cubic, 4, Bulk::Down),
        beside("200M-4-down", FAST, Congestion::Cubic, 4, Bulk::Down),
        fresh("fresh-100M-80ms", 100, 80, 64 * MIB),
        fresh("fresh-500M-40ms", 500, 40, 256 * MIB),
        fresh("fresh-100M-200ms", 100, 200, 64 * MIB),
        fresh("fresh-1G-100ms", 1000, 100, 512 * MIB),
        Self {
            name: "swarm-20M-1-up",
            link: HOME,
            congestion: Congestion::Cubic,
            work: Work::Swarm { streams: 1, bulk: Bulk::Up },
        },
        Self {
            name: "swarm-20M-8-up",
            link: HOME,
            congestion: Congestion::Cubic,
            work: Work::Swarm { streams: 8, bulk: Bulk::Up },
        },
        Self {
            name: "swarm-2M-stays",
            link: link(2, 40, MIB),
            congestion: Congestion::Cubic,
            work: Work::SwarmStays { streams: 4 },
        },
    ];

    /// What `--short` runs where no rows are named.
    pub const SHORT: [&'static str; 4] = ["20M-8-up", "20M-8-down", "fresh-100M-80ms", "swarm-20M-8-up"];

    pub fn buffers(&self) -> Buffers {
        match self.work {
            Work::Fresh { .. } => Buffers::Wide,
            _ => Buffers::Default,
        }
    }

    /// Whether several of them can run at once on a small machine.
    pub fn is_slow(&self) -> bool {
        self.link.bits_per_second <= HOME.bits_per_second
    }

    pub fn takes_part(&self, contestant: Contestant, short: bool) -> bool {
        use Contestant::{RustYamux, Sluicegate, Tcp, ToRustYamux, TokioYamux, Unpaced};
        match self.work {
            // The short form has no time for all of them.
            Work::Beside { bulk: Bulk::Up, .. } if short => matches!(contestant, Sluicegate | RustYamux),
            Work::Beside { bulk: Bulk::Down, .. } if short => matches!(contestant, Sluicegate | ToRustYamux),
            Work::Beside { .. } => true,
            Work::Fresh { .. } => matches!(contestant, Sluicegate | RustYamux | TokioYamux | Tcp),
            Work::Swarm { .. } | Work::SwarmStays { .. } if short => contestant == Sluicegate,
            Work::Swarm { .. } => matches!(contestant, Sluicegate | Unpaced | RustYamux),
            Work::SwarmStays { .. } => matches!(contestant, Sluicegate | Unpaced | RustYamux),
        }
    }

    pub fn target(&self, contestant: Contestant) -> Option<Target> {
        let (p50, p99, bulk) = match self.work {
            _ if !contestant.is_ours() => return None,
            Work::Beside { bulk: Bulk::Down, .. } if contestant != Contestant::Sluicegate => (1.6, 3.0, 0.93),
            Work::Beside { .. } if self.link.loss > 0.0 => (1.6, 3.0, 0.9),
            Work::Beside { .. } if self.link.bits_per_second < HOME.bits_per_second => (2.0, 3.5, 0.93),
            Work::Beside { .. } if self.link.bits_per_second > HOME.bits_per_second => (1.4, 2.2, 0.95),
            Work::Beside { .. } => (1.25, 1.9, 0.95),
            Work::Swarm { .. } => (1.3, 2.0, 0.93),
            Work::Fresh { .. } | Work::SwarmStays { .. } => return None,
        };
        Some(Target { p50, p99, bulk })
    }
}
