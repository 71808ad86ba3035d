//! Whatever breaks the protocol: the go-away with code 1 arrives and the transport ends, everyone gets the
//! typed reason again and again, nothing behind the fault is looked at, and all memory comes back.

use crate::support::node::Node;
use crate::support::outcome::{WINDOW, lost, over, read_to_error, violation};
use crate::support::peer::{Peer, data, update};
use crate::support::{Pipe, pipe, quiet, run};
use futures::{AsyncReadExt, AsyncWriteExt};
use sluicegate::wire::{Flags, Header};
use sluicegate::{MemoryLimit, Mode, Violation};
use std::io;
use std::sync::Arc;

/// A fault in a connection between a node and a hand-driven peer that have opened two streams to the node and one from
/// it. Half a stream is none: the first of the peer's has got nothing yet, the second some bytes.
struct Fault {
    row: &'static str,
    mode: Mode,
    bytes: Vec<u8>,
    violation: Violation,
    /// How many bytes the first stream gets to read before the reason; `None` where it has ended before the fault.
    delivered: Option<usize>,
}

impl Fault {
    fn server(row: &'static str, bytes: Vec<u8>, violation: Violation) -> Self {
        Self { row, mode: Mode::Server, bytes, violation, delivered: Some(0) }
    }

    fn client(row: &'static str, bytes: Vec<u8>, violation: Violation) -> Self {
        Self { mode: Mode::Client, ..Self::server(row, bytes, violation) }
    }

    fn delivers(self, delivered: usize) -> Self {
        Self { delivered: Some(delivered), ..self }
    }

    fn after_its_end(self) -> Self {
        Self { delivered: None, ..self }
    }
}

/// A header as it stands on the wire, legal or not.
fn raw(version: u8, kind: u8, flags: u16, id: u32, length: u32) -> Vec<u8> {
    [&[version, kind], &flags.to_be_bytes()[..], &id.to_be_bytes(), &length.to_be_bytes()].concat()
}

fn headers(headers: &[Header]) -> Vec<u8> {
    headers.iter().flat_map(|header| header.encode()).collect()
}

/// A data frame with its body.
fn body(stream: u32, flags: Flags, len: u32) -> Vec<u8> {
    [data(stream, flags, len).encode().as_slice(), &vec![b'b'; len as usize]].concat()
}

const DATA: u8 = 0;
const UPDATE: u8 = 1;

// Y-HDR-3 as well: types above 3.
#[test]
fn y_hdr_2_unknown_versions_and_types() {
    check([
        Fault::server("version 1", raw(1, DATA, 0, 1, 0), Violation::Version(1)),
        Fault::server("version 255", raw(255, 2, 1, 0, 7), Violation::Version(255)),
        Fault::client("before the type", raw(2, 9, 0, 0, 0), Violation::Version(2)),
        Fault::server("type 4", raw(0, 4, 0, 0, 0), Violation::FrameType(4)),
        Fault::client("type 255", raw(0, 255, 0xF, 1, 12), Violation::FrameType(255)),
        Fault::server("behind data", [body(1, Flags::NONE, 3), raw(0, 7, 0, 1, 0)].concat(), Violation::FrameType(7))
            .delivers(3),
    ]);
}

#[test]
fn y_hdr_7_stream_zero() {
    let all = [0, 1, 2, 4, 8, 0xF].map(|flags| [DATA, UPDATE].map(|kind| (kind, flags)));
    for (kind, flags) in all.into_iter().flatten() {
        check([
            Fault::server("of the connection", raw(0, kind, flags, 0, 0), Violation::StreamZero),
            Fault::client("of the connection", raw(0, kind, flags, 0, 5), Violation::StreamZero),
        ]);
    }
}

// Y-HDR-8: a header is judged before its body has come.
#[test]
fn y_flow_2_data_beyond_the_credit() {
    let exceeded = |stream, len, credit| Violation::WindowExceeded { stream, len, credit };
    // Only the header arrives: it is judged before its body.
    let alone = |stream, flags, len| data(stream, flags, len).encode().to_vec();
    check([
        Fault::server("one byte more", alone(1, Flags::NONE, WINDOW + 1), exceeded(1, WINDOW + 1, WINDOW)),
        Fault::server("FIN", alone(1, Flags::FIN, u32::MAX), exceeded(1, u32::MAX, WINDOW)),
        Fault::server("RST", alone(1, Flags::RST, WINDOW + 1), exceeded(1, WINDOW + 1, WINDOW)),
        Fault::client("on a stream of this end's", alone(1, Flags::NONE, u32::MAX), exceeded(1, u32::MAX, WINDOW)),
        Fault::server("never seen", alone(99, Flags::NONE, WINDOW + 1), exceeded(99, WINDOW + 1, 0)),
        Fault::server("never seen, own parity", alone(98, Flags::FIN, u32::MAX), exceeded(98, u32::MAX, 0)),
        Fault::server(
            "reset by the peer, which has used some credit",
            [body(1, Flags::NONE, 100), headers(&[update(1, Flags::RST, 0), data(1, Flags::NONE, WINDOW - 99)])]
                .concat(),
            exceeded(1, WINDOW - 99, WINDOW - 100),
        )
        .after_its_end(),
        Fault::server(
            "all of the credit, then one byte",
            [body(1, Flags::NONE, WINDOW), body(1, Flags::NONE, 1)].concat(),
            exceeded(1, 1, 0),
        )
        .delivers(WINDOW as usize),
        Fault::server(
            "a frame that would leave a hole",
            [body(1, Flags::NONE, 5), body(1, Flags::NONE, WINDOW - 4)].concat(),
            exceeded(1, WINDOW - 4, WINDOW - 5),
        )
        .delivers(5),
        Fault::server(
            "after a FIN",
            headers(&[update(1, Flags::FIN, 0), data(1, Flags::NONE, WINDOW + 1)]),
            exceeded(1, WINDOW + 1, WINDOW),
        )
        .after_its_end(),
    ]);
}

#[test]
fn y_open_8_openings_beyond_the_windows() {
    let exceeded = |len, credit| Violation::WindowExceeded { stream: 5, len, credit };
    let overflow = |delta| Violation::CreditOverflow { stream: 5, credit: WINDOW, delta };
    let syn = |len| data(5, Flags::SYN, len).encode().to_vec();
    let both = Flags::SYN | Flags::RST;
    check([
        Fault::server("one byte more", syn(WINDOW + 1), exceeded(WINDOW + 1, WINDOW)),
        Fault::server("largest", syn(u32::MAX), exceeded(u32::MAX, WINDOW)),
        Fault::server("with a reset", data(5, both, WINDOW + 1).encode().to_vec(), exceeded(WINDOW + 1, WINDOW)),
        Fault::server(
            "the body of the SYN is charged",
            [body(5, Flags::SYN, WINDOW), body(5, Flags::NONE, 1)].concat(),
            exceeded(1, 0),
        ),
        Fault::server(
            "one byte too many",
            headers(&[update(5, Flags::SYN, u32::MAX - WINDOW + 1)]),
            overflow(u32::MAX - WINDOW + 1),
        ),
        Fault::server("largest", headers(&[update(5, Flags::SYN, u32::MAX)]), overflow(u32::MAX)),
    ]);
}

#[test]
fn y_flow_7_credit_beyond_32_bits() {
    let overflow = |stream, credit, delta| Violation::CreditOverflow { stream, credit, delta };
    let most = u32::MAX - WINDOW;
    check([
        Fault::server("in one", headers(&[update(1, Flags::NONE, most + 1)]), overflow(1, WINDOW, most + 1)),
        Fault::server(
            "in two",
            headers(&[update(1, Flags::NONE, most), update(1, Flags::NONE, 1)]),
            overflow(1, u32::MAX, 1),
        ),
        Fault::server("with ACK", headers(&[update(2, Flags::ACK, u32::MAX)]), overflow(2, WINDOW, u32::MAX)),
        // Judged whole: its FIN is none.
        Fault::server("with FIN", headers(&[update(1, Flags::FIN, u32::MAX)]), overflow(1, WINDOW, u32::MAX)),
    ]);
}

// Y-OPEN-7 as well: streams that are open.
#[test]
fn y_open_6_ids_that_are_not_the_peers_to_open() {
    let syns = |stream| [update(stream, Flags::SYN, 0), data(stream, Flags::SYN, 0), data(stream, Flags::SYN, 9)];
    for (own, new) in [(false, true), (true, true), (true, false)] {
        // The id that this end has opened, or the next one.
        let id = |first: u32| first + if new { 2 } else { 0 };
        let with = |header: Header| [headers(&[header]), vec![0; header.body_len() as usize]].concat();
        let flagged =
            |stream| if own { syns(stream).to_vec() } else { vec![update(stream, Flags::SYN | Flags::RST, 3)] };
        for header in flagged(id(2)) {
            check([Fault::server("own parity", with(header), Violation::Parity { stream: id(2) })]);
        }
        for header in flagged(id(1)) {
            check([Fault::client("own parity", with(header), Violation::Parity { stream: id(1) })]);
        }
    }
    let twice = Violation::DuplicateStream { stream: 1 };
    for header in syns(1) {
        check([
            Fault::server("open", headers(&[header]), twice.clone()),
            Fault::server("half closed", headers(&[update(1, Flags::FIN, 0), header]), twice.clone()).after_its_end(),
        ]);
    }
    check([
        Fault::server("with RST", headers(&[update(1, Flags::SYN | Flags::RST, 0)]), twice.clone()),
        Fault::server("with ACK", headers(&[update(1, Flags::SYN | Flags::ACK, 0)]), twice),
        Fault::server(
            "not accepted yet",
            headers(&[update(5, Flags::SYN, 0), update(5, Flags::SYN, 0)]),
            Violation::DuplicateStream { stream: 5 },
        ),
    ]);
}

fn check<const N: usize>(faults: [Fault; N]) {
    for fault in faults {
        println!("{} ({:?})", fault.row, fault.mode);
        run(suffer(fault));
    }
}

async fn suffer(fault: Fault) {
    let budget = Arc::new(MemoryLimit::new(64 << 20));
    let config = quiet().memory(budget.clone()).build().expect("valid");
    let (near, far) = pipe(64 * 1024);
    let (node, mut peer) = (Node::new(near, config, fault.mode), Peer::new(far));
    peer.greet().await;
    let (first, own) = match fault.mode {
        Mode::Server => (1, 2),
        Mode::Client => (2, 1),
    };
    let second = first + 2;
    peer.feed(update(first, Flags::SYN, 0)).await;
    peer.feed(update(second, Flags::SYN, 0)).await;
    peer.send_data(second, Flags::NONE, b"before").await;
    let mut streams = Vec::new();
    for id in [first, second] {
        streams.push((id, node.accept().await.expect("a stream")));
        peer.expect(update(id, Flags::ACK, 0)).await;
    }
    let mut opened = node.open().await.expect("a stream");
    opened.flush().await.expect("flushes");
    peer.expect(update(own, Flags::SYN, 0)).await;
    streams.push((own, opened));

    // What is legal by itself must do nothing behind the fault: no stream is opened, none ends.
    let behind =
        headers(&[update(second, Flags::FIN, 0), update(second + 40, Flags::SYN, 0), data(own, Flags::RST, 0)]);
    send_and_expect_the_end(&mut peer, &[fault.bytes, behind].concat()).await;
    drop(peer);

    assert_eq!(violation(over(&node).await), fault.violation);
    for (id, stream) in &mut streams {
        let delivered = match *id {
            id if id == second => b"before".to_vec(),
            id if id == first => match fault.delivered {
                Some(delivered) => vec![b'b'; delivered],
                None => continue,
            },
            _ => Vec::new(),
        };
        // Twice: errors repeat.
        for expected in [delivered.as_slice(), &[]] {
            let (read, error) = read_to_error(stream).await;
            assert!(read == expected, "{} bytes on stream {id}", read.len());
            check_error(&error, &fault.violation);
            check_error(&stream.write(b"late").await.expect_err("over"), &fault.violation);
            check_error(&stream.close().await.expect_err("over"), &fault.violation);
        }
        assert!(stream.read(&mut [0; 1]).await.is_err());
    }
    drop(streams);
    assert_eq!(violation(node.close().await.expect_err("over")), fault.violation);
    assert_eq!(budget.reserved(), 0);
}

/// The go-away must arrive though the peer is still sending.
async fn send_and_expect_the_end(peer: &mut Peer<Pipe>, bytes: &[u8]) {
    peer.send_raw(bytes).await;
    peer.expect_end(1).await;
}

fn check_error(error: &io::Error, expected: &Violation) {
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    assert_eq!(violation(lost(error)), *expected);
}
