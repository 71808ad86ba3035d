//! Other implementations of yamux as peers in this process: each scenario is written once and runs with every peer, in
//! both roles, over loopback TCP and over a small pipe.

#![allow(unreachable_pub, reason = "a test binary has no users")]

mod support;

#[path = "peers/data.rs"]
mod data;
#[path = "peers/ending.rs"]
mod ending;
#[path = "peers/ends.rs"]
mod ends;
#[path = "peers/flow.rs"]
mod flow;
#[path = "peers/pattern.rs"]
mod pattern;

use ends::{End, Io, Ours, Peer, Window};
use sluicegate::Mode;

/// A connection between this crate and a peer.
struct Cell {
    ours: Box<Ours>,
    theirs: Box<dyn End>,
    peer: Peer,
}

impl Cell {
    /// Both ways to choose who opens: the opener, then the one who accepts.
    fn openers(&self) -> [(&dyn End, &dyn End); 2] {
        let (ours, theirs): (&dyn End, _) = (&*self.ours, &*self.theirs);
        [(ours, theirs), (theirs, ours)]
    }
}

/// Runs a scenario in every role over every transport.
fn everywhere(peer: Peer, scenario: impl AsyncFn(Cell)) {
    for mode in [Mode::Client, Mode::Server] {
        for transport in ["tcp", "pipe"] {
            eprintln!("{} over {transport}, we are the {mode:?}", peer.name);
            support::run(async {
                let (near, far): (Io, Io) = if transport == "tcp" {
                    let (near, far) = support::tcp().await;
                    (Box::new(near), Box::new(far))
                } else {
                    let (near, far) = support::pipe(4096);
                    (Box::new(near), Box::new(far))
                };
                scenario(cell(peer, near, far, mode)).await;
            });
        }
    }
}

fn cell(peer: Peer, near: Io, far: Io, mode: Mode) -> Cell {
    // Room for a whole window in the send buffer: what holds a writer is the peer.
    let config = support::quiet().max_send_buffer(1 << 20).build().expect("valid");
    let ours = Box::new(Ours::start(near, mode, config));
    Cell { ours, theirs: (peer.start)(far, other(mode), Window::Initial), peer }
}

fn other(mode: Mode) -> Mode {
    match mode {
        Mode::Client => Mode::Server,
        Mode::Server => Mode::Client,
    }
}

/// A test for every scenario and peer.
macro_rules! scenarios {
    ($($module:ident::$scenario:ident)*) => {
        mod rust_yamux {
            $(#[test] fn $scenario() { crate::everywhere(crate::ends::RUST_YAMUX, crate::$module::$scenario) })*
        }
        mod tokio_yamux {
            $(#[test] fn $scenario() { crate::everywhere(crate::ends::TOKIO_YAMUX, crate::$module::$scenario) })*
        }
    };
}

scenarios! {
    data::n19_echo_of_nothing_one_byte_and_a_mebibyte
    data::n19_eight_mebibytes_each_way_at_once
    data::n19_two_hundred_streams_at_once
    data::n19_streams_opened_by_both_sides_at_once
    flow::n19_slow_reader_over_there_holds_our_writer
    flow::n19_slow_reader_here_holds_their_writer
    ending::n19_half_close_and_data_the_other_way
    ending::n19_our_reset_is_seen
    ending::n19_their_reset_is_seen
    ending::n19_our_close_with_data_queued
    ending::n19_their_close_with_data_queued
    ending::n19_lost_peer_is_no_end_of_file
}
