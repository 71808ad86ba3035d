//! The small calls that `docs/from-go-yamux.md` promises, each in one test.

use crate::support::node::Node;
use crate::support::peer::{Peer, go_away, update};
use crate::support::{pattern, pipe, quiet, run, tcp};
use futures::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use sluicegate::wire::Flags;
use sluicegate::{Config, ConfigError, ConnectionError, MemoryLimit, Mode, Session, Side};
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
