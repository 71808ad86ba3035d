//! What is measured, in which unit, and what it has to reach.

use crate::contestant::Contestant;
use crate::score::Scores;

/// A row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Figure {
    Bulk,
    Cpu,
    Small,
    Tiny,
    Requests1,
    Requests100,
    Requests1000,
    OpenClose,
    OpenMany1000,
    OpenMany10000,
    OpenMany100000,
    Idle,
    IdleConnection,
    LatencyAlone,
    LatencyBesideBulk,
    BulkBesideLatency,
    Far,
    FarWide,
    FarExpected,
    SwarmBulk,
    SwarmRequests1,
    SwarmRequests100,
    Reserve1,
    Reserve2,
}

/// Which way is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    More,
    Less,
}

/// What a figure is held against.
#[derive(Clone, Copy, Debug)]
pub enum Against {
    /// So many times the best other yamux.
    Best(f64),
    /// So many times one of the others.
    One(Contestant, f64),
    /// So many times another figure of this crate.
    Own(Figure, f64),
    /// A number.
    Number(f64),
}

impl Figure {
    /// Name and unit.
    pub const fn label(self) -> (&'static str, &'static str) {
        match self {
            Self::Bulk => ("bulk", "MB/s"),
            Self::Cpu => ("cpu", "s/GiB"),
            Self::Small => ("small", "MB/s"),
            Self::Tiny => ("tiny", "MB/s"),
            Self::Requests1 => ("rr1", "/s"),
            Self::Requests100 => ("rr100", "/s"),
            Self::Requests1000 => ("rr1000", "/s"),
            Self::OpenClose => ("openclose", "/s"),
            Self::OpenMany1000 => ("open-many 1,000", "µs/stream"),
            Self::OpenMany10000 => ("open-many 10,000", "µs/stream"),
            Self::OpenMany100000 => ("open-many 100,000", "µs/stream"),
            Self::Idle => ("idle", "B/stream"),
            Self::IdleConnection => ("idle connection", "B/end"),
            Self::LatencyAlone => ("latency alone", "µs, p99"),
            Self::LatencyBesideBulk => ("latency beside bulk", "µs, p99"),
            Self::BulkBesideLatency => ("that bulk", "MB/s"),
            Self::Far => ("far", "% of link"),
            Self::FarWide => ("far, wide", "% of link"),
            Self::FarExpected => ("far, expected", "% of link"),
            Self::SwarmBulk => ("swarm bulk", "MB/s"),
            Self::SwarmRequests1 => ("swarm rr1", "/s"),
            Self::SwarmRequests100 => ("swarm rr100", "/s"),
            Self::Reserve1 => ("reserve, 1 thread", "ns"),
            Self::Reserve2 => ("reserve, 2 threads", "ns"),
        }
    }

    pub const fn better(self) -> Better {
        match self {
            Self::Cpu
            | Self::OpenMany1000
            | Self::OpenMany10000
            | Self::OpenMany100000
            | Self::Idle
            | Self::IdleConnection
            | Self::LatencyAlone
            | Self::LatencyBesideBulk
            | Self::Reserve1
            | Self::Reserve2 => Better::Less,
            _ => Better::More,
        }
    }

    /// What this crate has to reach: all of these.
    pub fn targets(self) -> Vec<Against> {
        use Contestant::{RustYamux, Tcp};
        match self {
            Self::Bulk => vec![Against::One(Tcp, 0.95), Against::One(RustYamux, 2.0)],
            Self::Cpu => vec![Against::One(RustYamux, 0.5)],
            Self::Small => vec![Against::Best(5.0)],
            Self::Tiny => vec![Against::Best(15.0)],
            Self::Requests1 => vec![Against::Best(1.3)],
            Self::Requests100 => vec![Against::Best(2.0)],
            Self::Requests1000 => vec![Against::Best(3.0)],
            Self::OpenClose => vec![Against::Best(2.0)],
            Self::OpenMany100000 => vec![Against::Own(Self::OpenMany1000, 1.3)],
            Self::Idle => vec![Against::Number(400.0)],
            Self::IdleConnection => vec![Against::Number(4096.0)],
            Self::LatencyBesideBulk => vec![Against::Best(0.5), Against::Own(Self::LatencyAlone, 2.0)],
            Self::Far | Self::FarWide | Self::FarExpected => vec![Against::Number(95.0)],
            Self::SwarmBulk => vec![Against::One(RustYamux, 1.3)],
            Self::SwarmRequests1 | Self::SwarmRequests100 => vec![Against::One(RustYamux, 1.5)],
            Self::Reserve1 => vec![Against::Number(150.0)],
            // Two threads together do at least 1.2 times as much as one.
            Self::Reserve2 => vec![Against::Own(Self::Reserve1, 2.0 / 1.2)],
            Self::OpenMany1000 | Self::OpenMany10000 | Self::LatencyAlone | Self::BulkBesideLatency => Vec::new(),
        }
    }
}

impl Against {
    /// What that is in numbers, and in words; nothing where it was not measured.
    pub fn value(self, figure: Figure, scores: &Scores) -> Option<(f64, String)> {
        let sign = match figure.better() {
            Better::More => '≥',
            Better::Less => '≤',
        };
        match self {
            Self::Best(factor) => {
                let rivals = Contestant::ALL.into_iter().filter(|contestant| contestant.is_rival());
                let medians = rivals.filter_map(|rival| Some((scores.median(figure, rival)?, rival)));
                let (best, rival) = medians.reduce(|a, b| {
                    let first = match figure.better() {
                        Better::More => a.0 >= b.0,
                        Better::Less => a.0 <= b.0,
                    };
                    if first { a } else { b }
                })?;
                Some((best * factor, format!("{sign} {factor} × the best, {}", rival.name())))
            }
            Self::One(contestant, factor) => {
                let value = scores.median(figure, contestant)?;
                Some((value * factor, format!("{sign} {factor} × {}", contestant.name())))
            }
            Self::Own(other, factor) => {
                let value = scores.median(other, Contestant::Sluicegate)?;
                Some((value * factor, format!("{sign} {factor:.2} × {}", other.label().0)))
            }
            Self::Number(number) => Some((number, format!("{sign} {number}"))),
        }
    }
}
