//! What runs are about: which applications, on which links, and how they end.

use crate::acceptor::Acceptor;
use crate::apps::Kind;
use crate::finale::Finale;
use crate::weather::Weather;
use std::time::Duration;

#[derive(Debug)]
pub struct Theme {
    pub name: &'static str,
    pub salt: u64,
    /// Seeds in an ordinary run of the tests.
    pub seeds: u64,
    pub kinds: &'static [Kind],
    /// How many of them there are at each end.
    pub counts: &'static [usize],
    pub acceptors: &'static [Acceptor],
    pub finales: &'static [Finale],
    pub weathers: &'static [Weather],
    /// Bytes of memory; `None` is plenty.
    pub budgets: &'static [Option<usize>],
    /// Links are at least as fast, in bytes a second.
    pub slowest: u64,
}

const LATE: Acceptor = Acceptor::Late(Duration::from_secs(5));
const ACCEPTORS: &[Acceptor] = &[Acceptor::Eager, Acceptor::Eager, Acceptor::Slow, LATE, Acceptor::Kept];
const ORDERLY: &[Finale] = &[Finale::Close, Finale::Close, Finale::CloseBoth, Finale::Leave, Finale::Vanish];
const CALM: &[Weather] = &[Weather::Calm];
const PLENTY: &[Option<usize>] = &[None];

/// What the others are changes of.
const PLAIN: Theme = Theme {
    name: "",
    salt: 0,
    seeds: 100,
    kinds: &[],
    counts: &[0, 1, 2, 4],
    acceptors: ACCEPTORS,
    finales: ORDERLY,
    weathers: CALM,
    budgets: PLENTY,
    slowest: 0,
};

pub const MIXED: Theme = Theme {
    name: "mixed",
    salt: 1,
    seeds: 200,
    kinds: &[
        Kind::Echo,
        Kind::Upload,
        Kind::Download,
        Kind::Both,
        Kind::Request,
        Kind::Message,
        Kind::Dropped,
        Kind::EarlyAnswer,
        Kind::HalfRead,
        Kind::Refused,
        Kind::CutShort,
        Kind::Reset,
        Kind::Cancel,
        Kind::Pings,
        Kind::Kept,
        Kind::Urgent,
    ],
    ..PLAIN
};

pub const MESSAGES: Theme = Theme {
    name: "messages",
    salt: 2,
    kinds: &[Kind::Message, Kind::Dropped],
    acceptors: &[Acceptor::AfterEnd, Acceptor::Eager, Acceptor::Slow, LATE, Acceptor::Kept],
    finales: &[Finale::CloseEarly, Finale::CloseEarly, Finale::Close, Finale::Leave],
    ..PLAIN
};

pub const PLAIN_USE: Theme = Theme {
    name: "plain_use",
    salt: 3,
    kinds: &[Kind::Echo, Kind::Upload, Kind::Download, Kind::Both, Kind::Request, Kind::Message],
    ..PLAIN
};

pub const EARLY_ANSWERS: Theme =
    Theme { name: "early_answers", salt: 4, kinds: &[Kind::EarlyAnswer, Kind::HalfRead, Kind::Refused], ..PLAIN };

pub const CUT_SHORT: Theme =
    Theme { name: "cut_short", salt: 5, kinds: &[Kind::CutShort, Kind::Reset, Kind::Message], ..PLAIN };

pub const CANCELLED: Theme = Theme { name: "cancelled", salt: 6, kinds: &[Kind::Cancel, Kind::Message], ..PLAIN };

pub const PINGS: Theme = Theme { name: "pings", salt: 7, kinds: &[Kind::Pings, Kind::Pings, Kind::Upload], ..PLAIN };

pub const KEPT: Theme =
    Theme { name: "kept", salt: 8, kinds: &[Kind::Kept, Kind::Pings], acceptors: &[Acceptor::Kept], ..PLAIN };

pub const UNUSED: Theme =
    Theme { name: "unused", salt: 9, seeds: 20, kinds: &[Kind::Unused, Kind::Kept], slowest: 1_000_000, ..PLAIN };

pub const BURSTS: Theme = Theme {
    name: "bursts",
    salt: 10,
    seeds: 10,
    kinds: &[Kind::Burst, Kind::Request],
    acceptors: &[Acceptor::Eager, LATE, LATE],
    slowest: 1_000_000,
    ..PLAIN
};

pub const PRIORITIES: Theme = Theme {
    name: "priorities",
    salt: 11,
    seeds: 30,
    kinds: &[Kind::Low, Kind::Urgent],
    counts: &[0, 1],
    slowest: 10_000_000,
    ..PLAIN
};

pub const BUDGETS: Theme = Theme {
    name: "budgets",
    salt: 12,
    kinds: &[
        Kind::Echo,
        Kind::Upload,
        Kind::Download,
        Kind::Both,
        Kind::Request,
        Kind::Message,
        Kind::EarlyAnswer,
        Kind::CutShort,
        Kind::Cancel,
    ],
    budgets: &[None, Some(600 << 10), Some(1 << 20), Some(4 << 20)],
    ..PLAIN
};

pub const OUTAGES: Theme = Theme {
    name: "outages",
    salt: 13,
    kinds: &[Kind::Echo, Kind::Upload, Kind::Download, Kind::Request, Kind::Message, Kind::Pings, Kind::Cancel],
    weathers: &[Weather::Outages],
    ..PLAIN
};

pub const CHANGES: Theme = Theme {
    name: "changes",
    salt: 14,
    kinds: &[Kind::Echo, Kind::Upload, Kind::Download, Kind::Request, Kind::Pings],
    weathers: &[Weather::Changes],
    ..PLAIN
};

pub const GO_AWAY: Theme = Theme {
    name: "go_away",
    salt: 15,
    kinds: &[Kind::Echo, Kind::Upload, Kind::Download, Kind::Request, Kind::Message, Kind::Cancel],
    finales: &[Finale::GoAway],
    ..PLAIN
};

pub const LOST: Theme = Theme {
    name: "lost",
    salt: 16,
    kinds: &[
        Kind::Echo,
        Kind::Both,
        Kind::Request,
        Kind::Message,
        Kind::EarlyAnswer,
        Kind::CutShort,
        Kind::Cancel,
        Kind::Pings,
        Kind::Kept,
        Kind::Unused,
    ],
    finales: &[Finale::Cut, Finale::DriverDropped],
    ..PLAIN
};
