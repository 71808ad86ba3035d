//! Tests of one core that neither a peer nor a simulation can show: collections that must not grow, the ends of ranges,
//! and long spans of time.

mod charging;
mod close;
mod coalesce;
mod far;
mod open;
mod pacing;
mod paths;
mod read;
mod starving;
mod stream_ends;
mod transport;
mod urgent;
mod urgent_seeds;
mod windows;

use crate::config::{Config, ConfigBuilder};
use crate::error::{ConnectionError, OpenError, Side, StreamError};
use crate::memory::{MemoryLimit, MemoryManager, Reservation};
use crate::mode::Mode;
use crate::priority::Priority;
use crate::proto::{Admission, Batch, Chunks, FlushError, Key, Leave, Mux, ReadError, WriteError};
use crate::proto::{Charge, OpenBlocked, Readiness, Taken};
use crate::wire::{Flags, Frame, Header, Parser, StreamId};
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use web_time::Instant;

struct Bench {
    mux: Mux,
    limit: Arc<MemoryLimit>,
    manager: Arc<dyn MemoryManager>,
    now: Instant,
}

fn id(value: u32) -> StreamId {
    StreamId::new(value).expect("not zero")
}

impl Bench {
    fn new() -> Self {
        Self::with(1 << 30, Config::builder())
    }

    fn with(limit: usize, settings: ConfigBuilder) -> Self {
        Self::of(Mode::Client, limit, settings)
    }

    fn of(mode: Mode, limit: usize, settings: ConfigBuilder) -> Self {
        let limit = Arc::new(MemoryLimit::new(limit));
        let manager: Arc<dyn MemoryManager> = limit.clone();
        let config = settings.keep_alive_interval(None).build().expect("valid");
        let now = Instant::now();
        Self { mux: Mux::new(mode, config, 1, now), limit, manager, now }
    }

    fn reserve(&self) -> Reservation {
        Reservation::new(&self.manager, Charge::new(self.mux.config()).first_reservation(), Priority::ALWAYS)
            .expect("room")
    }

    fn open(&mut self) -> (Key, u32) {
        let (key, id) = self.mux.open(self.reserve()).expect("opens");
        (key, id.value())
    }

    fn receive(&mut self, header: Header) {
        assert_eq!(self.mux.handle_frame(Frame::Header(header), self.now), Admission::Settled);
    }

    /// A stream that both ends know of.
    fn stream(&mut self, priority: Priority) -> (Key, StreamId) {
        let (key, value) = self.open();
        self.mux.choose_priority(key, priority, self.now);
        assert!(self.mux.flush(key).is_err());
        self.send();
        self.receive(Header::WindowUpdate { id: id(value), flags: Flags::ACK, value: 0 });
        (key, id(value))
    }

    /// Data arrives, after what it takes has been asked for.
    fn receive_data(&mut self, id: StreamId, len: usize) {
        self.receive(Header::Data { id, flags: Flags::NONE, len: len as u32 });
        self.receive_body(len);
    }

    fn receive_body(&mut self, len: usize) {
        if let Some(needed) = self.mux.lacks(len) {
            let granted = Reservation::new(&self.manager, needed, Priority::ALWAYS);
            granted.into_iter().for_each(|granted| self.mux.provide(granted));
        }
        assert_eq!(self.mux.handle_frame(Frame::Body(&vec![7; len]), self.now), Admission::Settled);
        self.mux.handle_applied();
        self.settle();
    }

    /// Reads all there is; says how much that was.
    fn read(&mut self, key: Key) -> usize {
        let (mut chunks, mut read) = (Chunks::default(), 0);
        while let Ok(Taken::Bytes { .. }) = self.mux.read(key, &mut chunks) {
            let len = chunks.clear();
            self.mux.consume(key, len as u32, self.now);
            self.settle();
            read += len;
        }
        read
    }

    /// Puts what windows want to the manager.
    fn ask(&mut self) {
        while let Some(request) = self.mux.next_window_request(self.now) {
            let decision = request.put_to(&self.manager);
            self.mux.apply_decision(request, decision);
            self.settle();
        }
    }

    /// Lets time pass, as the shell does.
    fn wait(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(at) = self.mux.poll_timeout().filter(|at| *at <= until) {
            self.now = at;
            self.mux.handle_timeout(at);
            self.settle();
            self.ask();
        }
        self.now = until;
    }

    /// Encodes, writes and flushes all there is. Gives the headers.
    fn send(&mut self) -> Vec<Header> {
        let (mut batch, mut pieces, mut sent) = (Batch::default(), VecDeque::<Bytes>::new(), Vec::new());
        while self.mux.poll_transmit(&mut batch, usize::MAX, self.now) {
            let data = batch.take(&mut pieces);
            sent.extend(pieces.iter().flatten());
            self.mux.handle_written(data, pieces.drain(..), self.now);
        }
        self.mux.handle_flushed(self.mux.last_encoded(), self.now);
        self.settle();
        let (mut parser, mut input) = (Parser::default(), &sent[..]);
        let frames = std::iter::from_fn(|| parser.next(&mut input).expect("legal"));
        frames.filter_map(|frame| if let Frame::Header(header) = frame { Some(header) } else { None }).collect()
    }

    /// What the shell does when the lock is open again.
    fn settle(&mut self) {
        let events = self.mux.events_mut();
        events.ready.clear();
        events.released.clear();
    }

    fn release(&mut self, key: Key) {
        self.leave(key, Leave::Done { read: 0, wrote: true });
    }

    fn leave(&mut self, key: Key, leave: Leave) {
        self.mux.release(key, 0, leave, self.now);
        self.settle();
    }
}

#[test]
fn y_open_1_when_ids_run_out_opening_fails_and_streams_live() {
    let mut bench = Bench::new();
    bench.mux.next_id = Some(id(u32::MAX - 2));
    let streams = [bench.open(), bench.open()];
    assert_eq!(streams.map(|(_, id)| id), [u32::MAX - 2, u32::MAX]);
    let reserved = bench.limit.reserved();
    for _ in 0..2 {
        let reservation = bench.reserve();
        let refused = bench.mux.open(reservation).expect_err("no id is left");
        assert!(matches!(refused, OpenBlocked::Failed(OpenError::StreamsExhausted)), "{refused:?}");
        bench.settle();
        assert_eq!((bench.limit.reserved(), bench.mux.num_streams()), (reserved, 2));
    }
    for (key, id) in streams {
        assert_eq!(bench.mux.write(key, b"still here", bench.now).expect("lives"), 10);
        bench.send();
        assert!(bench.mux.flush(key).is_ok());
        bench.receive(Header::WindowUpdate { id: StreamId::new(id).expect("not zero"), flags: Flags::RST, value: 0 });
        bench.release(key);
    }
    assert_eq!((bench.mux.num_streams(), bench.mux.unacknowledged, bench.limit.reserved()), (0, 0, 0));
    assert!(bench.mux.closed().is_none());
}

// There are peers that give credit for every piece that they read, also after both ends are done with the stream.
#[test]
fn late_credit_for_what_was_sent_is_what_honest_peers_give() {
    let mut bench = Bench::new();
    let (key, id) = bench.stream(Priority::MEDIUM);
    let written = bench.mux.write(key, &[7; 100_000], bench.now).expect("room");
    assert!(written > 10_000, "{written}");
    assert!(bench.mux.finish(key, bench.now).is_err());
    bench.receive(Header::Data { id, flags: Flags::FIN, len: 0 });
    bench.send();
    bench.release(key);
    assert_eq!(bench.mux.num_streams(), 0);
    for _ in 0..written {
        bench.receive(Header::WindowUpdate { id, flags: Flags::NONE, value: 1 });
    }
    assert_eq!(bench.mux.stats(bench.now).useless_frames, 0);
    // There is nothing left that it could give credit for: a few are taken for what its window grows by.
    for _ in 0..100 {
        bench.receive(Header::WindowUpdate { id, flags: Flags::NONE, value: 1 });
    }
    assert_eq!(bench.mux.stats(bench.now).useless_frames, 100 - 16);
}

#[test]
fn y_fin_4_a_fin_is_a_data_frame_of_length_0() {
    let mut bench = Bench::new();
    bench.send();
    let (key, stream) = bench.open();
    assert_eq!(bench.mux.write(key, b"end", bench.now).expect("room"), 3);
    assert!(matches!(bench.mux.finish(key, bench.now), Err(FlushError::Blocked)));
    let id = id(stream);
    let syn = Header::WindowUpdate { id, flags: Flags::SYN, value: 0 };
    let data = |flags, len| Header::Data { id, flags, len };
    assert_eq!(bench.send(), [syn, data(Flags::NONE, 3), data(Flags::FIN, 0)]);
    assert!(bench.mux.finish(key, bench.now).is_ok());
}

/// Fills the send buffers with other streams' data.
fn fill(bench: &mut Bench) {
    fill_at(bench, Priority::MEDIUM);
}

fn fill_at(bench: &mut Bench, priority: Priority) {
    for _ in 0..100 {
        let (key, _) = bench.open();
        bench.mux.choose_priority(key, priority, bench.now);
        while bench.mux.write(key, &[0; 64 * 1024], bench.now).is_ok() {}
    }
}

#[test]
fn a_writer_that_is_woken_in_vain_waits_once() {
    let mut bench = Bench::new();
    let (key, stream) = bench.open();
    assert_eq!(bench.mux.write(key, b"x", bench.now).expect("room"), 1);
    bench.send();
    fill(&mut bench);
    let before = bench.mux.waiting_writers();
    for _ in 0..1000 {
        // The peer reads nothing, so there is no room; but it wakes the writer as often as it likes.
        bench.receive(Header::WindowUpdate { id: id(stream), flags: Flags::NONE, value: 1 });
        bench.settle();
        let blocked = bench.mux.write(key, &[0; 4096], bench.now);
        assert!(matches!(blocked, Err(WriteError::Blocked { .. })), "{blocked:?}");
    }
    assert_eq!(bench.mux.waiting_writers(), before + 1);
}

#[test]
fn a_writer_that_is_gone_waits_no_more() {
    let mut bench = Bench::new();
    fill(&mut bench);
    let before = bench.mux.waiting_writers();
    let streams: Vec<_> = (0..50).map(|_| bench.open().0).collect();
    for key in &streams {
        assert!(bench.mux.write(*key, &[0; 4096], bench.now).is_err());
    }
    assert_eq!(bench.mux.waiting_writers(), before + 50);
    for key in streams {
        bench.release(key);
    }
    assert_eq!(bench.mux.waiting_writers(), before);
    // A stream that is gone takes no turn of a stream that is there.
    bench.send();
    assert_eq!(bench.mux.waiting_writers(), 0);
}

#[test]
fn y_mem_6_a_writer_that_waits_for_credit_stands_in_nobodys_way() {
    let mut bench = Bench::new();
    let (key, _) = bench.open();
    while bench.mux.write(key, &[0; 4096], bench.now).is_ok() {
        bench.send();
    }
    fill(&mut bench);
    assert!(bench.mux.write(key, &[0; 4096], bench.now).is_err());
    let queued = |bench: &Bench| bench.mux.store.get(key).expect("open").active().room_links.is_queued();
    assert!(queued(&bench), "there is no room");
    bench.send();
    // There is, and it has no use for it.
    assert!(bench.mux.write(key, &[0; 4096], bench.now).is_err());
    assert!(!queued(&bench));
}

#[test]
fn a_writer_whose_priority_changes_waits_in_its_new_bucket() {
    let mut bench = Bench::new();
    fill(&mut bench);
    fill_at(&mut bench, Priority::LOW);
    let (key, _) = bench.open();
    let before = bench.mux.waiting_writers();
    for priority in [Priority::LOW, Priority::MEDIUM, Priority::LOW, Priority::MEDIUM] {
        bench.mux.choose_priority(key, priority, bench.now);
        assert!(bench.mux.write(key, &[0; 4096], bench.now).is_err());
        assert_eq!(bench.mux.waiting_writers(), before + 1);
    }
    bench.settle();
    bench.send();
    assert_eq!(bench.mux.waiting_writers(), 0, "all were woken");
}

#[test]
fn a_flush_that_was_given_up_leaves_nothing() {
    let mut bench = Bench::new();
    for _ in 0..100 {
        let (key, _) = bench.open();
        assert!(matches!(bench.mux.flush(key), Err(FlushError::Blocked)));
        assert!(matches!(bench.mux.flush(key), Err(FlushError::Blocked)));
        bench.mux.reset(key, 0, bench.now);
        bench.release(key);
    }
    assert!(bench.mux.flushing.is_empty());
    assert_eq!(bench.mux.num_streams(), 0);
}

#[test]
fn a_failed_close_fails_again_after_the_connections_end() {
    let mut bench = Bench::new();
    let (key, _) = bench.open();
    bench.mux.reset(key, 7, bench.now);
    for _ in 0..2 {
        for failed in [bench.mux.finish(key, bench.now), bench.mux.flush(key)] {
            let Err(FlushError::Failed(StreamError::Reset { by: Side::Local, code: 7 })) = failed else {
                panic!("{failed:?}")
            };
        }
        bench.mux.fail(ConnectionError::Dropped, bench.now);
    }
}

/// A stream on which this much has come from the peer, and then its FIN.
fn received(bench: &mut Bench, body: &[u8]) -> Key {
    let (key, stream) = bench.open();
    assert_eq!(bench.mux.write(key, b"?", bench.now).expect("room"), 1);
    bench.send();
    let len = u32::try_from(body.len()).expect("short");
    bench.receive(Header::Data { id: id(stream), flags: Flags::FIN, len });
    assert_eq!(bench.mux.handle_frame(Frame::Body(body), bench.now), Admission::Settled);
    key
}

#[test]
fn y_rst_4_a_reset_leaves_nothing_to_read_after_the_end() {
    let ends: [fn(&mut Bench, Key); 2] = [
        |bench, key| {
            assert!(matches!(bench.mux.finish(key, bench.now), Err(FlushError::Blocked)));
            bench.send();
        },
        |bench, _| bench.mux.fail(ConnectionError::Dropped, bench.now),
    ];
    for end in ends {
        let mut bench = Bench::new();
        let key = received(&mut bench, b"the second half of what was sent");
        end(&mut bench, key);
        assert!(!bench.mux.is_linked(key));
        // The handle has dropped the first half: with the second one there would be a hole.
        bench.mux.reset(key, 7, bench.now);
        bench.settle();
        assert_eq!(bench.limit.reserved(), 0);
        for _ in 0..2 {
            let read = bench.mux.read(key, &mut Default::default());
            let Err(ReadError::Failed(StreamError::Reset { by: Side::Local, code: 7 })) = read else {
                panic!("{read:?}")
            };
        }
        bench.release(key);
        assert_eq!(bench.mux.store.len(), 0);
    }
}

#[test]
fn y_open_4_a_stream_that_was_reset_before_its_syn_has_no_tombstone() {
    let mut bench = Bench::new();
    let (key, stream) = bench.open();
    bench.mux.reset(key, 7, bench.now);
    bench.release(key);
    assert_eq!(bench.mux.tombstones.get_mut(id(stream)), None);
    assert_eq!((bench.mux.num_streams(), bench.mux.unacknowledged, bench.limit.reserved()), (0, 0, 0));
}

#[test]
fn asking_how_a_ping_stands_is_no_work_for_the_driver() {
    let (mut bench, mut ticket) = (Bench::new(), None);
    bench.mux.ping(&mut ticket, bench.now).expect("open");
    assert!(std::mem::take(&mut bench.mux.events_mut().attention), "the first time there is a ping to send");
    bench.send();
    bench.mux.events_mut().attention = false;
    bench.mux.ping(&mut ticket, bench.now).expect("open");
    assert!(!bench.mux.events_mut().attention, "the driver would be woken for ever");
}

impl Mux {
    fn waiting_writers(&self) -> usize {
        self.store
            .keys()
            .filter_map(|key| self.store.get(key))
            .filter(|stream| stream.active().room_links.is_queued() && stream.interest.contains(Readiness::WRITE))
            .count()
    }
}
