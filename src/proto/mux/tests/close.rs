//! How connections end, and which of their streams stay: for the application to accept and read, and in memory.

use super::{Bench, id};
use crate::config::{Config, ConfigBuilder, ReceiveCharge};
use crate::error::{ConnectionError, OpenError, Side, StreamError, Violation};
use crate::priority::Priority;
use crate::proto::limits::STREAM_STATE;
use crate::proto::{Admission, Batch, Chunks, Confirmation, FlushError, Key, Leave, OpenBlocked, ReadError, Taken};
use crate::wire::{Flags, Frame, Header, PingKind, StreamId};
use std::io;
use std::sync::Arc;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

fn io_error(kind: io::ErrorKind) -> ConnectionError {
    ConnectionError::Io(Arc::new(kind.into()))
}

fn settings(charging: ReceiveCharge) -> ConfigBuilder {
    Config::builder().receive_charge(charging)
}

impl Bench {
    /// The peer opens a stream, sends so much on it, and perhaps its FIN.
    fn incoming(&mut self, stream: u32, len: usize, fin: bool) {
        let syn = Header::WindowUpdate { id: id(stream), flags: Flags::SYN, value: 0 };
        assert_eq!(self.mux.handle_frame(Frame::Header(syn), self.now), Admission::Reserve);
        let window = self.reserve();
        self.mux.admit(Some(window), self.now);
        if len > 0 {
            self.receive_data(id(stream), len);
        }
        if fin {
            self.receive(Header::Data { id: id(stream), flags: Flags::FIN, len: 0 });
        }
        self.settle();
    }

    /// What is reserved, on which all figures agree.
    fn reserved(&mut self) -> usize {
        self.settle();
        let reserved = self.limit.reserved();
        assert_eq!(self.mux.stats(self.now).reserved.total(), reserved);
        reserved
    }

    /// Reads to the end: how many bytes, and the error that the end is, if it is one.
    fn read_to_end(&mut self, key: Key) -> (usize, Option<StreamError>) {
        let (mut chunks, mut read) = (Chunks::default(), 0);
        loop {
            match self.mux.read(key, &mut chunks) {
                Ok(Taken::Bytes { .. }) => {
                    let len = chunks.clear();
                    self.mux.consume(key, len as u32, self.now);
                    self.mux.returned(key, 0);
                    read += len;
                }
                Ok(Taken::End) => return (read, None),
                Err(ReadError::Failed(error)) => return (read, Some(error)),
                Err(ReadError::Blocked) => panic!("the connection is over"),
            }
        }
    }
}

// ---- the backlog ---------------------------------------------------------------------------------------------------

/// The streams that wait, by what came on them: nothing, bytes, bytes and FIN, FIN.
const WAITING: [(u32, usize, bool); 4] = [(2, 0, false), (4, 5, false), (6, 5, true), (8, 0, true)];

#[test]
fn y_close_9_what_waits_in_the_backlog_outlives_the_connection() {
    let orderly = [ConnectionError::Closed { by: Side::Remote }, ConnectionError::Closed { by: Side::Local }];
    let others = [
        ConnectionError::GoAway { by: Side::Remote, code: 42 },
        ConnectionError::GoAway { by: Side::Local, code: 42 },
        ConnectionError::Violation(Violation::StreamZero),
        ConnectionError::KeepAliveTimeout,
        ConnectionError::WriteTimeout,
        ConnectionError::UnexpectedEof,
        io_error(io::ErrorKind::ConnectionReset),
        ConnectionError::Dropped,
    ];
    for reason in orderly.into_iter().chain(others) {
        for charging in [ReceiveCharge::Window, ReceiveCharge::Buffered] {
            let mut bench = Bench::with(1 << 30, settings(charging));
            WAITING.into_iter().for_each(|(stream, len, fin)| bench.incoming(stream, len, fin));
            bench.mux.fail(reason.clone(), bench.now);
            // Nothing is reserved but for what can be read.
            assert_eq!(bench.reserved(), 2 * 512, "{reason:?}");
            let stays = if reason.is_clean() { &WAITING[..] } else { &WAITING[1..] };
            assert_eq!(bench.mux.stats(bench.now).streams.unaccepted, stays.len() as u64);
            for (stream, len, fin) in stays {
                let key = bench.mux.accept().expect("it waits");
                assert_eq!(bench.mux.stream_id(key), Some(*stream));
                let (read, error) = bench.read_to_end(key);
                assert_eq!((read, error.is_none()), (*len, *fin), "{reason:?}");
                if let Some(error) = error {
                    assert_eq!(format!("{error:?}"), format!("{:?}", StreamError::from(reason.clone())));
                }
                bench.release(key);
            }
            assert!(bench.mux.accept().is_none());
            assert!(bench.send().is_empty(), "accepting owes nothing any more");
            assert_eq!((bench.reserved(), bench.mux.store.len()), (0, 0));
            assert_eq!(bench.mux.stats(bench.now).streams.accepted, stays.len() as u64);
        }
    }
}

#[test]
fn y_close_9_what_nobody_can_accept_any_more_is_given_back_at_once() {
    for reason in [ConnectionError::Closed { by: Side::Remote }, ConnectionError::UnexpectedEof] {
        let mut bench = Bench::new();
        WAITING.into_iter().for_each(|(stream, len, fin)| bench.incoming(stream, len, fin));
        bench.mux.fail(reason, bench.now);
        bench.mux.drain(bench.now);
        assert_eq!((bench.reserved(), bench.mux.store.len(), bench.mux.waiting()), (0, 0, 0));
    }
}

#[test]
fn y_close_9_a_body_cut_off_is_read_as_far_as_it_came() {
    let mut bench = Bench::new();
    bench.incoming(2, 0, false);
    bench.receive(Header::Data { id: id(2), flags: Flags::FIN, len: 100 });
    assert_eq!(bench.mux.handle_frame(Frame::Body(&[7; 40]), bench.now), Admission::Settled);
    bench.mux.handle_eof(true, bench.now);
    let key = bench.mux.accept().expect("some of it came");
    assert_eq!(bench.mux.stream_stats(key, bench.now).expect("held").unread, 40);
    let (read, error) = bench.read_to_end(key);
    assert_eq!(read, 40);
    assert!(matches!(error, Some(StreamError::Connection(ConnectionError::UnexpectedEof))), "{error:?}");
}

// ---- the end of the transport ----------------------------------------------------------------------------------------

/// What has happened before the transport fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Before {
    /// The peer has said go-away, and no stream is open.
    GoAway,
    /// The same with a stream open.
    GoAwayBesideStream,
    /// This end closes, and all has left but its go-away.
    OwnClose,
    /// Both ends close.
    BothClose,
    /// A stream is open, and neither end has sent a frame.
    Nothing,
    /// No stream is open.
    Idle,
    /// This end closes with something written that has not left.
    OwnCloseWithData,
    /// The peer has said go-away, and the transport fails inside a frame.
    GoAwayInsideFrame,
}

impl Before {
    fn set_up(self) -> Bench {
        let mut bench = Bench::new();
        bench.send();
        let (key, stream) = bench.stream(Priority::MEDIUM);
        let go_away = |bench: &mut Bench| bench.receive(Header::GoAway { code: 0 });
        match self {
            Self::GoAway => {
                bench.receive(Header::WindowUpdate { id: stream, flags: Flags::RST, value: 0 });
                bench.release(key);
                go_away(&mut bench);
            }
            Self::GoAwayBesideStream | Self::GoAwayInsideFrame => go_away(&mut bench),
            Self::OwnClose => bench.mux.close(0),
            Self::BothClose => {
                bench.mux.close(0);
                go_away(&mut bench);
            }
            Self::Nothing => {}
            Self::Idle => {
                bench.receive(Header::WindowUpdate { id: stream, flags: Flags::RST, value: 0 });
                bench.release(key);
            }
            Self::OwnCloseWithData => {
                assert_eq!(bench.mux.write(key, b"late", bench.now).expect("room"), 4);
                bench.mux.close(0);
            }
        }
        bench
    }
}

/// As the shell does it: `UnexpectedEof` is the end of the transport (Y-EOF-5).
fn fail_reading(bench: &mut Bench, inside: bool, kind: io::ErrorKind) -> String {
    match kind {
        io::ErrorKind::UnexpectedEof => bench.mux.handle_eof(inside, bench.now),
        kind => bench.mux.handle_read_error(inside, io_error(kind), bench.now),
    }
    match bench.mux.closed().expect("over") {
        ConnectionError::Io(_) => "io".to_owned(),
        ConnectionError::UnexpectedEof => "eof".to_owned(),
        ConnectionError::Closed { by } => format!("closed by {by}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn y_eof_4_an_orderly_end_is_none_of_the_transports_errors() {
    use io::ErrorKind::{ConnectionReset, UnexpectedEof};
    let peer = "closed by the peer";
    let table = [
        // The eight forms that used to be `Io`.
        (Before::GoAway, UnexpectedEof, peer),
        (Before::GoAway, ConnectionReset, peer),
        (Before::GoAwayBesideStream, UnexpectedEof, peer),
        (Before::GoAwayBesideStream, ConnectionReset, peer),
        (Before::OwnClose, UnexpectedEof, "closed by this end"),
        (Before::OwnClose, ConnectionReset, "closed by this end"),
        (Before::BothClose, UnexpectedEof, "closed by this end"),
        (Before::BothClose, ConnectionReset, "closed by this end"),
        // And what stays an error, but for a transport that ends between frames when no stream is open.
        (Before::Idle, UnexpectedEof, peer),
        (Before::Idle, ConnectionReset, "io"),
        (Before::Nothing, UnexpectedEof, "eof"),
        (Before::Nothing, ConnectionReset, "io"),
        (Before::OwnCloseWithData, UnexpectedEof, "eof"),
        (Before::OwnCloseWithData, ConnectionReset, "io"),
        (Before::GoAwayInsideFrame, UnexpectedEof, "eof"),
        (Before::GoAwayInsideFrame, ConnectionReset, "io"),
    ];
    for (before, kind, expected) in table {
        let mut bench = before.set_up();
        let inside = before == Before::GoAwayInsideFrame;
        assert_eq!(fail_reading(&mut bench, inside, kind), expected, "{before:?}, {kind:?}");
    }
}

#[test]
fn y_eof_4_a_close_cut_off_loses_a_queued_fin() {
    for sent in [true, false] {
        let mut bench = Bench::new();
        let (key, _) = bench.stream(Priority::MEDIUM);
        assert!(matches!(bench.mux.finish(key, bench.now), Err(FlushError::Blocked)));
        bench.mux.close(0);
        if sent {
            // All but the flush.
            let mut batch = Default::default();
            assert!(bench.mux.poll_transmit(&mut batch, usize::MAX, bench.now));
            bench.mux.handle_written(0, [], bench.now);
        }
        let expected = if sent { "closed by this end" } else { "io" };
        assert_eq!(fail_reading(&mut bench, false, io::ErrorKind::ConnectionReset), expected);
    }
}

// ---- a stream that is done -------------------------------------------------------------------------------------------

/// How far a stream has come when its connection ends.
#[derive(Clone, Copy, Debug)]
struct Progress {
    peer_finished: bool,
    read: bool,
    sent: bool,
    finished: bool,
}

fn close_after_the_end(progress: Progress, reason: ConnectionError) -> [bool; 2] {
    let Progress { peer_finished, read, sent, finished } = progress;
    let mut bench = Bench::new();
    let (key, stream) = bench.stream(Priority::MEDIUM);
    bench.receive_data(stream, 10);
    if peer_finished {
        bench.receive(Header::Data { id: stream, flags: Flags::FIN, len: 0 });
    }
    if read {
        assert_eq!(bench.read(key), 10);
    }
    assert_eq!(bench.mux.write(key, b"answer", bench.now).expect("room"), 6);
    if sent {
        bench.send();
    }
    if finished {
        assert!(matches!(bench.mux.finish(key, bench.now), Err(FlushError::Blocked)));
    }
    bench.mux.fail(reason, bench.now);
    [bench.mux.finish(key, bench.now).is_ok(), bench.mux.flush(key).is_ok()]
}

#[test]
fn y_close_12_a_close_is_done_where_nothing_was_lost_by_the_end() {
    let done = Progress { peer_finished: true, read: true, sent: true, finished: false };
    for by in [Side::Local, Side::Remote] {
        let closed = ConnectionError::Closed { by };
        for finished in [false, true] {
            assert_eq!(close_after_the_end(Progress { finished, ..done }, closed.clone()), [true; 2]);
        }
        // What was flushed is flushed, whatever else.
        assert_eq!(close_after_the_end(Progress { peer_finished: false, ..done }, closed.clone()), [false, true]);
        assert_eq!(close_after_the_end(Progress { read: false, ..done }, closed.clone()), [false, true]);
        assert_eq!(close_after_the_end(Progress { sent: false, ..done }, closed), [false; 2]);
    }
    let lost = [
        ConnectionError::UnexpectedEof,
        io_error(io::ErrorKind::ConnectionReset),
        ConnectionError::GoAway { by: Side::Remote, code: 42 },
        ConnectionError::Dropped,
    ];
    for reason in lost {
        assert_eq!(close_after_the_end(done, reason), [false, true]);
    }
}

#[test]
fn y_close_12_only_a_fin_encoded_alone_may_be_missing() {
    for together in [true, false] {
        let mut bench = Bench::new();
        let (key, stream) = bench.stream(Priority::MEDIUM);
        bench.receive(Header::Data { id: stream, flags: Flags::FIN, len: 0 });
        assert_eq!(bench.mux.write(key, b"answer", bench.now).expect("room"), 6);
        if !together {
            bench.send();
        }
        assert!(matches!(bench.mux.finish(key, bench.now), Err(FlushError::Blocked)));
        // It is encoded, and the transport takes nothing of it.
        assert!(bench.mux.poll_transmit(&mut Default::default(), usize::MAX, bench.now));
        bench.mux.fail(ConnectionError::Closed { by: Side::Remote }, bench.now);
        assert_eq!(bench.mux.finish(key, bench.now).is_ok(), !together);
    }
}

// ---- no stream can be opened any more ----------------------------------------------------------------------------------

/// Why no stream can be opened, and a stream that is open all the same.
fn dead_end(go_away: bool, timeout: Option<Duration>) -> (Bench, Key, StreamId) {
    let mut bench = Bench::with(1 << 30, Config::builder().drain_timeout(timeout));
    let (key, stream) = bench.stream(Priority::MEDIUM);
    if go_away {
        bench.receive(Header::GoAway { code: 0 });
    } else {
        bench.mux.next_id = None;
    }
    (bench, key, stream)
}

#[test]
fn y_away_4_a_connection_without_ids_closes_with_its_streams() {
    let (mut bench, key, stream) = dead_end(false, None);
    let refused = bench.mux.can_open();
    assert!(matches!(refused, Err(OpenBlocked::Failed(OpenError::StreamsExhausted))), "{refused:?}");
    for _ in 0..2 {
        bench.mux.retire();
    }
    let said = bench.send();
    assert_eq!(said, [Header::GoAway { code: 0 }]);
    // What is open lives on, and what the peer opens is refused.
    assert_eq!(bench.mux.write(key, b"still", bench.now).expect("it lives"), 5);
    let syn = Header::WindowUpdate { id: id(2), flags: Flags::SYN, value: 0 };
    bench.receive(syn);
    assert!(!bench.mux.is_closing());
    bench.receive(Header::WindowUpdate { id: stream, flags: Flags::RST, value: 0 });
    bench.release(key);
    assert!(bench.mux.is_closing());
    bench.send();
    assert!(matches!(bench.mux.closed(), Some(ConnectionError::Closed { by: Side::Local })));
}

#[test]
fn y_away_4_a_connection_that_has_ids_is_not_retired() {
    let mut bench = Bench::new();
    bench.mux.retire();
    bench.mux.wait_for_end(bench.now);
    assert!(!bench.mux.is_closing() && bench.mux.ends.overdue_at().is_none());
}

#[test]
fn y_away_5_an_open_in_vain_waits_for_the_drain_timeout() {
    for go_away in [true, false] {
        let (mut bench, key, _) = dead_end(go_away, Some(60 * SECOND));
        bench.wait(1000 * SECOND);
        assert!(!bench.mux.is_closing(), "nobody wants one");
        bench.mux.wait_for_end(bench.now);
        bench.wait(59 * SECOND);
        // Asked for again and again it is the same wait.
        bench.mux.wait_for_end(bench.now);
        assert!(!bench.mux.is_closing());
        bench.wait(SECOND);
        assert!(bench.mux.is_closing());
        bench.send();
        let by = if go_away { Side::Remote } else { Side::Local };
        let reason = bench.mux.closed().cloned().expect("over");
        assert_eq!(format!("{reason:?}"), format!("{:?}", ConnectionError::Closed { by }));
        bench.release(key);
        // And one that may take for ever does.
        let (mut bench, ..) = dead_end(go_away, None);
        bench.mux.wait_for_end(bench.now);
        bench.wait(100_000 * SECOND);
        assert!(!bench.mux.is_closing());
    }
}

// ---- the memory of streams that have ended -----------------------------------------------------------------------------

/// How nothing more can arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Over {
    Lost,
    Reset,
    Finished,
}

#[test]
fn y_mem_13_all_but_unread_bytes_is_given_back() {
    for charging in [ReceiveCharge::Window, ReceiveCharge::Buffered] {
        for over in [Over::Lost, Over::Reset, Over::Finished] {
            let mut bench = Bench::with(1 << 30, settings(charging));
            let (key, stream) = bench.stream(Priority::MEDIUM);
            bench.receive_data(stream, 512);
            bench.receive_data(stream, 1);
            match over {
                Over::Lost => bench.mux.fail(ConnectionError::UnexpectedEof, bench.now),
                Over::Reset => bench.receive(Header::WindowUpdate { id: stream, flags: Flags::RST, value: 7 }),
                Over::Finished => bench.receive(Header::Data { id: stream, flags: Flags::FIN, len: 0 }),
            }
            // What the stream itself takes, while it is on the wire.
            let books = if over == Over::Finished { STREAM_STATE } else { 0 };
            assert_eq!(bench.reserved(), books + 512 + 1024, "{charging:?} {over:?}");
            let mut chunks = Chunks::default();
            assert!(matches!(bench.mux.read(key, &mut chunks), Ok(Taken::Bytes { due: 0 })));
            assert_eq!(bench.reserved(), books + 512 + 1024);
            // One chunk has been read, and then the only byte of the other.
            assert!(chunks.advance(512));
            bench.mux.consume(key, 512, bench.now);
            assert!(bench.mux.returned(key, chunks.memory()));
            assert_eq!(bench.reserved(), books + 1024);
            assert_eq!(bench.mux.stream_stats(key, bench.now).expect("held").unread, 1);
            assert!(chunks.advance(1));
            bench.mux.consume(key, 1, bench.now);
            bench.mux.returned(key, chunks.memory());
            assert_eq!(bench.reserved(), books, "{charging:?} {over:?}");
            let stats = bench.mux.stream_stats(key, bench.now).expect("held");
            assert_eq!((stats.unread, stats.reserved), (0, books));
            bench.release(key);
        }
    }
}

#[test]
fn y_mem_13_a_window_that_has_grown_is_given_back_with_it() {
    for lost in [true, false] {
        let mut bench = Bench::new();
        let (key, stream) = bench.stream(Priority::MEDIUM);
        let growth = bench.mux.shortfall(key, 16 << 20).expect("it is smaller");
        let decision = growth.put_to(&bench.manager);
        bench.mux.widen(growth, decision);
        assert_eq!(bench.reserved(), 16 << 20);
        bench.receive_data(stream, 1);
        if lost {
            bench.mux.fail(ConnectionError::UnexpectedEof, bench.now);
        } else {
            bench.receive(Header::WindowUpdate { id: stream, flags: Flags::RST, value: 0 });
        }
        assert_eq!(bench.reserved(), 512);
        bench.release(key);
        assert_eq!(bench.reserved(), 0);
    }
}

#[test]
fn y_mem_13_bytes_taken_by_a_handle_stay_reserved() {
    let mut bench = Bench::new();
    let (key, stream) = bench.stream(Priority::MEDIUM);
    bench.receive_data(stream, 100);
    let mut chunks = Chunks::default();
    assert!(matches!(bench.mux.read(key, &mut chunks), Ok(Taken::Bytes { due: 1.. })));
    let before = bench.mux.ends_with_held();
    bench.mux.fail(ConnectionError::UnexpectedEof, bench.now);
    assert_ne!(bench.mux.ends_with_held(), before, "its handle is told to look");
    assert_eq!(bench.reserved(), 512);
    bench.mux.returned(key, 0);
    assert_eq!(bench.reserved(), 0);
}

#[test]
fn y_away_5_a_wait_that_may_take_for_ever_calls_nobody() {
    for (timeout, called) in [(None, false), (Some(SECOND), true)] {
        let (mut bench, ..) = dead_end(true, timeout);
        bench.send();
        let mut wait = || {
            let events = bench.mux.events_mut();
            (events.attention, events.outlook) = (false, false);
            bench.mux.wait_for_end(bench.now);
            let events = bench.mux.events_mut();
            events.attention || events.outlook
        };
        assert_eq!([wait(), wait()], [called, false], "{timeout:?}");
    }
}

#[test]
fn y_close_8_a_stream_that_comes_while_the_last_handle_goes_is_refused() {
    let mut bench = Bench::new();
    bench.stream(Priority::MEDIUM);
    bench.send();
    let syn = Header::WindowUpdate { id: id(2), flags: Flags::SYN, value: 0 };
    assert_eq!(bench.mux.handle_frame(Frame::Header(syn), bench.now), Admission::Reserve);
    bench.mux.drain(bench.now);
    let granted = bench.reserve();
    bench.mux.admit(Some(granted), bench.now);
    assert_eq!(bench.mux.waiting(), 0);
    assert_eq!(bench.send(), [Header::WindowUpdate { id: id(2), flags: Flags::RST, value: 0 }]);
    assert_eq!(bench.mux.num_streams(), 1);
}

// ---- closing as a muxer ----------------------------------------------------------------------------------------------

#[test]
fn y_drop_9_a_muxer_that_closes_resets_what_was_dropped_unanswered() {
    let unanswered = Leave::Done { read: 0, wrote: false };
    let body = Header::Data { id: id(2), flags: Flags::NONE, len: 5 };
    let fin = Header::Data { id: id(2), flags: Flags::FIN, len: 0 };
    let reset = Header::WindowUpdate { id: id(2), flags: Flags::RST, value: 0 };
    let go_away = Header::GoAway { code: 0 };
    // What was written, perhaps by a negotiation; how the stream was left; whether time passed; what leaves.
    let rows: [(usize, Leave, bool, &[Header]); 6] = [
        (0, unanswered, false, &[reset, go_away]),
        (5, unanswered, false, &[body, reset, go_away]),
        (5, Leave::Done { read: 0, wrote: true }, false, &[body, fin, go_away]),
        (0, Leave::Closed, false, &[fin, go_away]),
        (0, unanswered, true, &[fin, go_away]),
        (5, unanswered, true, &[body, fin, go_away]),
    ];
    for (written, leave, before, expected) in rows {
        let mut bench = Bench::new();
        bench.incoming(2, 3, true);
        let key = bench.mux.accept().expect("it waits");
        assert!(matches!(bench.read_to_end(key), (3, None)));
        bench.send();
        if written > 0 {
            assert_eq!(bench.mux.write(key, &[7; 5], bench.now).expect("room"), written);
        }
        if leave == Leave::Closed {
            assert!(bench.mux.finish(key, bench.now).is_err());
        }
        bench.leave(key, leave);
        let mut sent = if before { bench.send() } else { Vec::new() };
        bench.mux.close_muxer(bench.now);
        sent.extend(bench.send());
        assert_eq!(sent, expected, "{written} {leave:?} {before}");
        assert_eq!((bench.reserved(), bench.mux.store.len()), (0, 0));
    }
}

/// A connection with a stream that the peer has not ended, closed by `close`: what follows the FIN.
fn closed_beside_a_stream(dropped: bool, close: impl FnOnce(&mut Bench)) -> (Bench, Vec<Header>) {
    let mut bench = Bench::new();
    let (key, _) = bench.stream(Priority::MEDIUM);
    if dropped {
        bench.release(key);
        bench.send();
        assert_eq!((bench.mux.num_streams(), bench.mux.half_open.len()), (0, 1));
    }
    close(&mut bench);
    let mut batch = Batch::default();
    assert!(bench.mux.poll_transmit(&mut batch, usize::MAX, bench.now));
    let (mut parser, mut pieces) = (crate::wire::Parser::default(), Default::default());
    batch.take(&mut pieces);
    let sent: Vec<u8> = pieces.iter().flatten().copied().collect();
    let mut input = &sent[..];
    let frames = std::iter::from_fn(|| parser.next(&mut input).expect("legal"));
    let headers = frames.filter_map(|frame| if let Frame::Header(header) = frame { Some(header) } else { None });
    let headers = headers.collect();
    (bench, headers)
}

#[test]
fn y_close_14_a_muxer_learns_when_its_go_away_was_read() {
    for dropped in [false, true] {
        let close = |bench: &mut Bench| bench.mux.close_muxer(bench.now);
        let (mut bench, sent) = closed_beside_a_stream(dropped, close);
        let [Header::GoAway { code: 0 }, Header::Ping { kind: PingKind::Request, nonce }] = sent[..] else {
            panic!("{sent:?}")
        };
        assert_eq!(bench.mux.confirmation(), Some(Confirmation::Awaited(nonce)));
        bench.receive(Header::Ping { kind: PingKind::Response, nonce: nonce.wrapping_add(1) });
        assert_eq!(bench.mux.confirmation(), Some(Confirmation::Awaited(nonce)));
        bench.receive(Header::Ping { kind: PingKind::Response, nonce });
        assert_eq!(bench.mux.confirmation(), Some(Confirmation::Received));
        let (bench, sent) = closed_beside_a_stream(dropped, |bench| bench.mux.close(0));
        assert_eq!((sent, bench.mux.confirmation()), (vec![Header::GoAway { code: 0 }], None));
    }
    // A peer without streams closes as well, which says the same.
    let mut bench = Bench::new();
    bench.send();
    bench.mux.close_muxer(bench.now);
    assert_eq!(bench.send(), [Header::GoAway { code: 0 }]);
}
