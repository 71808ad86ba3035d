//! The public API: the small calls that `docs/from-go-yamux.md` promises, each in one test, the traits of public types, and how many
//! names and types of other crates there are.

use crate::support::node::Node;
use crate::support::peer::{Peer, go_away, update};
use crate::support::{pattern, pipe, quiet, run, tcp};
use futures::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use sluicegate::memory::{MemoryScope, Refused, Reservation, Unlimited};
use sluicegate::stats::{
    ConnectionStats, NodeStats, Refusals, ReservedBytes, Resets, Stalled, StreamCounts, StreamStats, Traffic,
};
use sluicegate::wire::{Codec, Direction, Flags, Frame, Header, Parser, PingKind, StreamId, TapEvent};
use sluicegate::{
    Clock, Config, ConfigBuilder, ConfigError, Connection, ConnectionError, Deadlines, MemoryLimit, MemoryManager,
    Mode, OpenError, Ping, PingError, Priority, ReceiveCharge, RefusedOpen, Resetter, Session, SessionDriver, Side,
    Stream, StreamError, Violation,
};
use std::collections::BTreeSet;
use std::error::Error;
use std::fmt::Debug;
use std::fs;
use std::path::Path;
use std::sync::Arc;

#[test]
fn the_transport_and_its_addresses_can_be_reached() {
    run(async {
        let (near, far) = tcp().await;
        let [ours, theirs] = [&near, &far].map(|io| io.get_ref().local_addr().expect("bound"));
        let client = Node::client(near, Config::default());
        let addresses = client.call(|connection| {
            let socket = connection.get_ref().get_ref();
            [socket.local_addr(), socket.peer_addr()].map(|address| address.expect("connected"))
        });
        assert_eq!(addresses.await, [ours, theirs]);
    });
}

#[test]
fn a_stream_names_its_connection() {
    run(async {
        let (near, far) = pipe(4096);
        let (client, server) = (Node::client(near, Config::default()), Node::server(far, Config::default()));
        let near = client.open().await.expect("opens");
        let ids = [client.call(|connection| connection.id()).await, server.call(|connection| connection.id()).await];
        assert_ne!(ids[0], ids[1]);
        assert_eq!((near.connection_id(), near.id()), (ids[0], 1));
        assert_eq!(server.open().await.expect("opens").connection_id(), ids[1]);
        assert_eq!(near.to_string(), format!("stream 1 of connection {}", ids[0]));
        let shown = client.call(|connection| connection.to_string()).await;
        assert_eq!(shown, format!("connection {}", ids[0]));
        let (session, _driver) = Session::new(pipe(4096).0, Config::default(), Mode::Client);
        assert_eq!(session.to_string(), format!("connection {}", session.id()));
    });
}

#[test]
fn close_with_shows_its_code_to_the_peer() {
    for code in [0, 1, 42, u32::MAX] {
        run(async {
            let (near, far) = pipe(4096);
            let (client, mut peer) = (Node::client(near, quiet().build().expect("valid")), Peer::new(far));
            peer.greet().await;
            client.call(move |connection| connection.close_with(code)).await;
            peer.expect_end(code).await;
            peer.shut().await;
            match (code, client.ended().await) {
                (0, Ok(())) => {}
                (1.., Err(ConnectionError::GoAway { by: Side::Local, code: ours })) => assert_eq!(ours, code),
                (_, other) => panic!("{other:?} after {code}"),
            }
        });
    }
}

#[test]
fn a_connection_says_whether_and_why_it_is_over() {
    run(async {
        let (near, far) = pipe(4096);
        let (client, mut peer) = (Node::client(near, quiet().build().expect("valid")), Peer::new(far));
        peer.greet().await;
        let before = client.call(|connection| (connection.is_closed(), connection.closed().is_none())).await;
        assert_eq!(before, (false, true));
        peer.send(go_away(7)).await;
        let error = client.ended().await.expect_err("the peer ended it");
        assert!(matches!(error, ConnectionError::GoAway { by: Side::Remote, code: 7 }), "{error:?}");
        let (closed, reason) = client.call(|connection| (connection.is_closed(), connection.closed())).await;
        assert!(closed && format!("{reason:?}") == format!("{:?}", Some(error)), "{reason:?}");
    });
}

#[test]
fn buffered_reads_give_what_arrived_and_take_what_is_consumed() {
    run(async {
        let (near, far) = pipe(4096);
        let (client, mut peer) = (Node::client(near, quiet().build().expect("valid")), Peer::new(far));
        let mut stream = client.open().await.expect("opens");
        let (_, ()) = futures::join!(stream.flush(), async {
            peer.expect(update(1, Flags::SYN, 0)).await;
            peer.send_data(1, Flags::ACK, b"one\ntwo\nth").await;
            peer.send_data(1, Flags::FIN, b"ree").await;
        });
        assert_eq!(stream.fill_buf().await.expect("open").first(), Some(&b'o'));
        stream.consume_unpin(1);
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await.expect("open") == 0 {
                break;
            }
            lines.push(line);
        }
        assert_eq!(lines, ["ne\n", "two\n", "three"]);
        assert!(stream.fill_buf().await.expect("the end of the file").is_empty());
    });
}

#[test]
fn chunks_are_handed_over_whole_and_give_their_credit_back() {
    const LEN: usize = 3 << 20;
    run(async {
        let budget = Arc::new(MemoryLimit::new(64 << 20));
        let (near, far) = pipe(1 << 16);
        // Windows that stay, so that nothing moves without credit.
        let config = quiet().memory(budget.clone()).max_stream_window(256 << 10).build().expect("valid");
        let (client, server) = (Node::client(near, quiet().build().expect("valid")), Node::server(far, config));
        let mut near = client.open().await.expect("opens");
        let write = async {
            pattern::send(&mut near, 1, 0, LEN).await.expect("credit comes back");
            near.close().await.expect("closes");
        };
        let read = async {
            let mut far = server.accept().await.expect("a stream");
            let (mut held, mut first) = (Vec::new(), [0; 5]);
            far.read_exact(&mut first).await.expect("data");
            assert_eq!(first, pattern::at(1, 0)[..5]);
            while let Some(chunk) = far.read_bytes().await.expect("readable") {
                held.push(chunk);
            }
            assert!(far.read_bytes().await.expect("still the end").is_none());
            held
        };
        let ((), held) = futures::join!(write, read);
        // Nothing that was handed over was used for anything else meanwhile.
        let mut at = 5;
        for chunk in held {
            assert!(!chunk.is_empty());
            for piece in chunk.chunks(pattern::CHUNK) {
                assert!(piece == &pattern::at(1, at)[..piece.len()], "other bytes than were sent at {at}");
                at += piece.len();
            }
        }
        assert_eq!(at, LEN);
        client.close().await.expect("closes");
        server.ended().await.expect("closed in good order");
        assert_eq!(budget.reserved(), 0);
    });
}

#[test]
fn a_wrong_setting_is_an_error_that_names_it() {
    let wrong = Config::builder().accept_backlog(0).build().expect_err("no stream could be opened");
    assert!(matches!(wrong, ConfigError::OutOfRange { field: "accept_backlog", value: 0, min: 1, .. }), "{wrong:?}");
}

/// Every public type has them, so that users can log it, hold it in a task and share it.
#[test]
fn public_types_are_debug_send_and_sync() {
    fn check<T: Debug + Send + Sync + ?Sized>() {}
    fn plain<T: Debug + Send + Sync + Clone + 'static>() {}
    fn value<T: Debug + Send + Sync + Copy + Eq + 'static>() {}
    fn error<T: Error + Send + Sync + Clone + 'static>() {}
    type Io = crate::support::Pipe;

    check::<Connection<Io>>();
    check::<SessionDriver<Io>>();
    check::<Stream>();
    check::<Ping>();
    check::<dyn Clock>();
    check::<dyn MemoryManager>();
    check::<MemoryLimit>();
    check::<Reservation>();
    check::<Parser>();
    check::<Codec>();
    plain::<Session>();
    plain::<Config>();
    plain::<ConfigBuilder>();
    plain::<Deadlines>();
    plain::<Resetter>();
    plain::<MemoryScope>();
    plain::<Unlimited>();
    plain::<NodeStats>();
    plain::<ConnectionStats>();
    plain::<StreamStats>();
    plain::<TapEvent>();
    plain::<Frame<&'static [u8]>>();
    value::<Priority>();
    value::<Mode>();
    value::<Side>();
    value::<ReceiveCharge>();
    value::<RefusedOpen>();
    value::<Direction>();
    value::<Flags>();
    value::<Header>();
    value::<PingKind>();
    value::<StreamId>();
    value::<StreamCounts>();
    value::<Traffic>();
    value::<Stalled>();
    value::<Resets>();
    value::<Refusals>();
    value::<ReservedBytes>();
    error::<ConfigError>();
    error::<ConnectionError>();
    error::<OpenError>();
    error::<PingError>();
    error::<StreamError>();
    error::<Violation>();
    error::<Refused>();
}

#[test]
fn a_connection_over_a_transport_that_is_not_sync_is_send() {
    fn check<T: Send>() {}
    check::<Connection<std::cell::Cell<u8>>>();
    check::<SessionDriver<std::cell::Cell<u8>>>();
}

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).expect("is there")
}

#[test]
fn the_root_has_at_most_26_names() {
    let lib = read("src/lib.rs");
    let mut names = BTreeSet::new();
    for item in lib.split(';') {
        if let Some((_, path)) = item.rsplit_once("\npub use ") {
            let inside = path.split_once('{').map_or(path.rsplit("::").next().unwrap_or(path), |(_, inside)| inside);
            names.extend(inside.trim_end_matches('}').split(',').map(str::trim).filter(|name| !name.is_empty()));
        } else if let Some((_, module)) = item.rsplit_once("\npub mod ") {
            names.insert(module);
        }
    }
    assert!(names.contains("Config") && names.contains("stats") && names.contains("Session"), "{names:?}");
    assert!(names.len() <= 26, "{} names: {names:?}", names.len());
}

/// A dependency that is not in the table of `src/lib.rs` is not part of the API, and says so here.
#[test]
fn every_dependency_is_in_the_table_of_the_api_or_private() {
    const PRIVATE: [&str; 6] = ["futures-timer", "loom", "rand", "shuttle", "thiserror", "tracing"];
    let (lib, manifest) = (read("src/lib.rs"), read("Cargo.toml"));
    let (_, table) = lib.split_once("# Types of other crates").expect("a table");
    let rows = table.lines().take_while(|line| line.starts_with("//!") || line.is_empty());
    let listed: BTreeSet<_> = rows
        .filter_map(|line| line.strip_prefix("//! | `"))
        .filter_map(|row| row.split(" | ").next())
        .flat_map(|cell| cell.split(" (").next().unwrap_or(cell).split(", ").map(|name| name.trim_matches('`')))
        .collect();
    let (_, dependencies) = manifest.split_once("[dependencies]").expect("dependencies");
    let (dependencies, _) = dependencies.split_once("\n[").expect("another table");
    for line in dependencies.lines() {
        let Some((name, _)) = line.split_once(" = ") else { continue };
        assert!(listed.contains(name) != PRIVATE.contains(&name), "{name}: in the table or private?");
    }
    let stale: Vec<_> = listed.iter().filter(|name| !dependencies.contains(&format!("\n{name} = "))).collect();
    assert!(stale.is_empty() && listed.len() >= 6, "{stale:?}");
}
