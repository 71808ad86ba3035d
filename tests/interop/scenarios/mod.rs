//! What must hold between a muxer and ours.

mod bursts;
mod closing;
mod data;
mod early;
mod ends;
mod flow;
mod messages;
mod outage;

use crate::cell::{Cell, Run, Scenario, Setup};
use crate::support::pattern::{receive, send};
use crate::theirs::There;
use sluicegate::{Config, Stream};
use std::time::Duration;

/// A round trip that is long enough for windows to matter, also to a peer that is slow at the moment: 3 MB/s will do.
const FAR: Setup = Setup { latency: Some(Duration::from_millis(20)), window: Some(1 << 20), ..Setup::PLAIN };
/// Windows that stay as they are.
const FIXED: Setup = Setup { window: Some(256 << 10), ..Setup::PLAIN };
/// Many short connections.
const BRIEF: Setup = Setup { rounds: 28, ..Setup::PLAIN };
/// What was sent while the proxy stood still comes at once.
const HELD_UP: Setup = Setup { proxy: true, ..Setup::PLAIN };
const SURPLUS: Setup = Setup { surplus: true, ..HELD_UP };
/// The writer of a stream that was let go of hears of it after seconds.
const PATIENT: Setup = Setup { ahead: true, ..Setup::PLAIN };
/// Settings as they are for users, keep-alive among them.
const OUT: Setup = Setup { rounds: 2, ahead: true, settings: Config::builder, ..HELD_UP };
const IMPATIENT: Setup = Setup { open_timeout: Some(closing::OPEN_TIMEOUT), ..Setup::PLAIN };

macro_rules! scenarios {
    ($($setup:path, $module:ident::$name:ident, $title:literal $(in a $run:ident)?;)*) => {
        &[$(Scenario {
            name: stringify!($name),
            title: $title,
            setup: $setup,
            run: scenarios!(@$($run)?)(|cell| Box::pin($module::$name(cell))),
        }),*]
    };
    (@) => { Run::Connection };
    (@Session) => { Run::Session };
}

pub const SCENARIOS: &[Scenario] = scenarios! {
    Setup::PLAIN, data::echo_nothing, "echo of 0 bytes";
    Setup::PLAIN, data::echo_a_byte, "echo of 1 byte";
    Setup::PLAIN, data::echo_a_mebibyte, "echo of 1 MiB";
    Setup::PLAIN, data::both_ways_at_once, "64 MiB each way at once";
    Setup::PLAIN, data::urgent_beside_bulk, "16 MiB beside 200 urgent messages";
    Setup::PLAIN, data::many_streams, "1,000 streams at once";
    Setup::PLAIN, data::crossing_opens, "both sides open at once";
    Setup::PLAIN, ends::our_half_close, "we half-close, they go on";
    Setup::PLAIN, ends::their_half_close, "they half-close, we go on";
    Setup::PLAIN, ends::our_reset, "we reset with a code";
    Setup::PLAIN, ends::their_reset, "they reset with a code";
    Setup::PLAIN, closing::our_ping, "we ping";
    Setup::PLAIN, closing::their_ping, "they ping";
    FIXED, flow::slow_reader_there, "they read slowly";
    Setup::PLAIN, flow::slow_reader_here, "we read slowly";
    FAR, flow::window_grows_there, "their window passes 256 KiB";
    FAR, flow::window_grows_here, "our window passes 256 KiB";
    Setup::PLAIN, closing::our_go_away, "our go-away, code 0";
    Setup::PLAIN, closing::their_go_away, "their go-away, code 0";
    Setup::PLAIN, closing::our_close_with_a_code, "we close with a code";
    Setup::PLAIN, closing::their_close_with_a_code, "they close with a code";
    Setup::PLAIN, closing::our_close_with_data_queued, "we close with data queued";
    Setup::PLAIN, closing::their_close_with_data_queued, "they write and close";
    IMPATIENT, closing::unanswered_stream, "a stream that is never answered";
    Setup::PLAIN, closing::peer_killed, "the peer is killed";
    BRIEF, messages::their_message_and_close, "they write one message and close, we accept late";
    BRIEF, messages::our_message_and_close, "we write one message and close, they read late";
    PATIENT, early::our_early_answer, "they upload, we answer early and let go";
    Setup::PLAIN, early::their_early_answer, "we upload, they answer early and let go";
    HELD_UP, bursts::their_pings, "40 pings of theirs at once";
    Setup::PLAIN, bursts::our_pings, "40 pings of ours at once" in a Session;
    SURPLUS, bursts::they_open_too_many, "they open 2,400 streams at once, we accept late";
    SURPLUS, bursts::we_open_too_many, "we open 2,400 streams at once, they accept late";
    OUT, outage::outage, "an outage of 12 s, in the middle of an echo and idle";
};

/// The window with which every stream starts.
const WINDOW: usize = 256 << 10;

/// The two ends of a stream that has carried a byte each way.
async fn pair(cell: &Cell, we_open: bool) -> (Stream, There<'_>) {
    let (mut here, there) = if we_open {
        let mut here = cell.ours.open().await.expect("opens");
        send(&mut here, 0, 0, 1).await.expect("open");
        let there = cell.theirs.accept().await;
        there.receive(0, 0, 1).await.ok();
        there.send(0, 0, 1).await.ok();
        (here, there)
    } else {
        let there = cell.theirs.open().await;
        there.send(0, 0, 1).await.ok();
        let here = cell.ours.accept().await.expect("accepts");
        (here, there)
    };
    receive(&mut here, 0, 0, 1).await;
    if !we_open {
        send(&mut here, 0, 0, 1).await.expect("open");
        there.receive(0, 0, 1).await.ok();
    }
    (here, there)
}
