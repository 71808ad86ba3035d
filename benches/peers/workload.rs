//! The workloads, their sizes, and who runs them.

use crate::contestant::Contestant;
use crate::far::{Link, Opener, Windows, far};
use crate::figure::Figure;
use crate::latency::{Beside, latency};
use crate::muxer::{Muxer, RustYamux, Sluicegate, Tcp, TokioYamux};
use crate::requests::requests;
use crate::swarm::Upgrade;
use crate::{heap, reserve, streams, swarm, transfer};
use std::time::Duration;
use tokio::runtime::Runtime;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workload {
    Bulk,
    Small,
    Tiny,
    Requests(usize),
    OpenClose,
    OpenMany,
    Idle,
    IdleConnection,
    Latency,
    Far,
    SwarmBulk,
    SwarmRequests(usize),
    Reserve,
}

/// What was measured.
pub type Figures = Vec<(Figure, f64)>;

/// How much of each workload there is.
#[derive(Clone, Copy, Debug)]
pub struct Sizes(pub f64);

impl Sizes {
    pub fn part(self, of: f64) -> Self {
        Self(self.0 / of)
    }

    /// So many, scaled; at least `least`.
    pub fn of(self, whole: usize, least: usize) -> usize {
        ((whole as f64 * self.0) as usize).max(least)
    }
}

impl Workload {
    pub const ALL: [Self; 16] = [
        Self::Bulk,
        Self::Small,
        Self::Tiny,
        Self::Requests(1),
        Self::Requests(100),
        Self::Requests(1000),
        Self::OpenClose,
        Self::OpenMany,
        Self::Idle,
        Self::IdleConnection,
        Self::Latency,
        Self::Far,
        Self::SwarmBulk,
        Self::SwarmRequests(1),
        Self::SwarmRequests(100),
        Self::Reserve,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Bulk => "bulk",
            Self::Small => "small",
            Self::Tiny => "tiny",
            Self::Requests(1) => "rr1",
            Self::Requests(100) => "rr100",
            Self::Requests(_) => "rr1000",
            Self::OpenClose => "openclose",
            Self::OpenMany => "open-many",
            Self::Idle => "idle-streams",
            Self::IdleConnection => "idle-connection",
            Self::Latency => "latency",
            Self::Far => "far",
            Self::SwarmBulk => "swarm-bulk",
            Self::SwarmRequests(1) => "swarm-rr1",
            Self::SwarmRequests(_) => "swarm-rr100",
            Self::Reserve => "reserve",
        }
    }

    /// Whether it counts something that no clock shows.
    pub const fn is_exact(self) -> bool {
        matches!(self, Self::Idle | Self::IdleConnection)
    }

    pub fn run(self, contestant: Contestant, sizes: Sizes, runtime: &Runtime) -> Figures {
        match (self, contestant) {
            (Self::SwarmBulk | Self::SwarmRequests(_), Contestant::Sluicegate) => {
                self.run_swarms(Upgrade::Sluicegate, sizes, runtime)
            }
            (Self::SwarmBulk | Self::SwarmRequests(_), Contestant::RustYamux) => {
                self.run_swarms(Upgrade::Libp2pYamux, sizes, runtime)
            }
            (Self::Reserve, Contestant::Sluicegate) => reserved(sizes),
            (_, Contestant::Sluicegate) => self.run_muxer::<Sluicegate>(contestant, sizes, runtime),
            (
                Self::Bulk | Self::Small | Self::Tiny | Self::Requests(1) | Self::Latency | Self::Far,
                Contestant::Tcp,
            ) => self.run_muxer::<Tcp>(contestant, sizes, runtime),
            (_, Contestant::RustYamux) => self.run_muxer::<RustYamux>(contestant, sizes, runtime),
            (_, Contestant::TokioYamux) => self.run_muxer::<TokioYamux>(contestant, sizes, runtime),
            (_, Contestant::Tcp | Contestant::GoYamux | Contestant::Hashicorp) => Vec::new(),
        }
    }

    fn run_muxer<M: Muxer>(self, contestant: Contestant, sizes: Sizes, runtime: &Runtime) -> Figures {
        match self {
            Self::Bulk => {
                let bytes = sizes.of(BULK, 1 << 20) >> 16 << 16;
                let taken = runtime.block_on(transfer::transfer::<M>(64 << 10, bytes));
                vec![
                    (Figure::Bulk, megabytes(bytes, taken.time)),
                    (Figure::Cpu, taken.cpu.as_secs_f64() / bytes as f64 * f64::from(1 << 30)),
                ]
            }
            Self::Small => vec![(Figure::Small, self.small::<M>(512, sizes.of(SMALL, 1 << 20), runtime))],
            Self::Tiny => vec![(Figure::Tiny, self.small::<M>(64, sizes.of(TINY, 1 << 20), runtime))],
            Self::Requests(streams) => {
                let count = self.requests(sizes);
                let time = runtime.block_on(requests::<M>(streams, count));
                vec![(self.requests_figure(), count as f64 / time.as_secs_f64())]
            }
            Self::OpenClose => {
                let count = sizes.of(OPEN_CLOSE, 10);
                let time = runtime.block_on(streams::open_close::<M>(count));
                vec![(Figure::OpenClose, count as f64 / time.as_secs_f64())]
            }
            Self::OpenMany => OPEN_MANY
                .into_iter()
                .filter(|(_, most)| contestant == Contestant::Sluicegate || *most <= OTHERS_OPEN)
                .map(|(figure, count)| {
                    let count = sizes.of(count, 10);
                    let time = runtime.block_on(streams::open_many::<M>(count));
                    (figure, time.as_secs_f64() * 1e6 / count as f64)
                })
                .collect(),
            Self::Idle => vec![(Figure::Idle, heap::per_stream::<M>(sizes.of(IDLE, 100)))],
            Self::IdleConnection => vec![(Figure::IdleConnection, heap::per_connection::<M>(sizes.of(64 << 20, 1)))],
            Self::Latency => {
                let micros = |time: Duration| time.as_secs_f64() * 1e6;
                let pings = sizes.of(PINGS, PINGS);
                let alone = runtime.block_on(latency::<M>(Beside::Nothing, pings));
                let mut figures = vec![(Figure::LatencyAlone, micros(alone.p99))];
                // Plain TCP has one stream.
                if contestant != Contestant::Tcp {
                    let beside = runtime.block_on(latency::<M>(Beside::Bulk, pings));
                    figures.push((Figure::LatencyBesideBulk, micros(beside.p99)));
                    figures.push((Figure::BulkBesideLatency, megabytes(beside.beside, beside.time)));
                }
                figures
            }
            Self::Far => {
                let bytes = far_bytes(contestant, sizes);
                [
                    (Figure::Far, Opener::Sender, Windows::Default),
                    (Figure::FarWide, Opener::Sender, Windows::Twice),
                    (Figure::FarExpected, Opener::Receiver, Windows::Twice),
                ]
                .into_iter()
                // Plain TCP has one stream, which nobody opens, and those of the others grow as far without a setting
                // or not at all.
                .filter(|(figure, ..)| contestant == Contestant::Sluicegate || *figure == Figure::Far)
                .map(|(figure, opener, windows)| {
                    let time = runtime.block_on(far::<M>(Link::FAR, opener, windows, bytes));
                    (figure, percent_of_link(bytes, time))
                })
                .collect()
            }
            Self::SwarmBulk | Self::SwarmRequests(_) | Self::Reserve => Vec::new(),
        }
    }

    fn small<M: Muxer>(self, write: usize, bytes: usize, runtime: &Runtime) -> f64 {
        let bytes = bytes / write * write;
        megabytes(bytes, runtime.block_on(transfer::transfer::<M>(write, bytes)).time)
    }

    fn run_swarms(self, upgrade: Upgrade, sizes: Sizes, runtime: &Runtime) -> Figures {
        match self {
            Self::SwarmBulk => {
                let bytes = sizes.of(BULK / 4, 1 << 20) >> 16 << 16;
                vec![(Figure::SwarmBulk, megabytes(bytes, runtime.block_on(swarm::bulk(upgrade, bytes))))]
            }
            Self::SwarmRequests(streams) => {
                let count = self.requests(sizes);
                let time = runtime.block_on(swarm::requests(upgrade, streams, count));
                vec![(self.requests_figure(), count as f64 / time.as_secs_f64())]
            }
            _ => Vec::new(),
        }
    }

    /// How many requests there are on all streams together.
    pub fn requests(self, sizes: Sizes) -> usize {
        let (streams, whole) = match self {
            Self::Requests(1) => (1, 20_000),
            Self::Requests(streams) => (streams, 100_000),
            Self::SwarmRequests(1) => (1, 10_000),
            Self::SwarmRequests(streams) => (streams, 40_000),
            _ => return 0,
        };
        sizes.of(whole, streams) / streams * streams
    }

    pub const fn requests_figure(self) -> Figure {
        match self {
            Self::SwarmRequests(1) => Figure::SwarmRequests1,
            Self::SwarmRequests(_) => Figure::SwarmRequests100,
            Self::Requests(1) => Figure::Requests1,
            Self::Requests(100) => Figure::Requests100,
            _ => Figure::Requests1000,
        }
    }
}

pub const BULK: usize = 1 << 30;
pub const SMALL: usize = 64 << 20;
pub const TINY: usize = 16 << 20;
pub const OPEN_CLOSE: usize = 5_000;
pub const IDLE: usize = 10_000;
/// Never fewer: what is beside them has to come in between.
pub const PINGS: usize = 1_000;

pub const OPEN_MANY: [(Figure, usize); 3] =
    [(Figure::OpenMany1000, 1_000), (Figure::OpenMany10000, 10_000), (Figure::OpenMany100000, 100_000)];

/// With more streams some take minutes.
pub const OTHERS_OPEN: usize = 10_000;

/// Muxers whose windows do not grow are as fast with less, and take minutes for all of it.
pub fn far_bytes(contestant: Contestant, sizes: Sizes) -> usize {
    let whole = match contestant {
        Contestant::TokioYamux | Contestant::Hashicorp => 8 << 20,
        _ => 256 << 20,
    };
    sizes.of(whole, 1 << 20) >> 16 << 16
}

pub fn percent_of_link(bytes: usize, time: Duration) -> f64 {
    bytes as f64 / Link::FAR.bytes_per_second as f64 / time.as_secs_f64() * 100.0
}

pub fn megabytes(bytes: usize, time: Duration) -> f64 {
    bytes as f64 / 1e6 / time.as_secs_f64()
}

fn reserved(sizes: Sizes) -> Figures {
    let count = sizes.of(2_000_000, 1000);
    [(Figure::Reserve1, 1), (Figure::Reserve2, 2)]
        .map(|(figure, threads)| (figure, reserve::reserve(threads, count).as_nanos() as f64))
        .to_vec()
}
