//! What may be seen of a stream, by what both ends have done with it: [`Oracle`] judges every read, every error, and in
//! the end what nobody has seen.

use crate::facts::{Facts, Moment};
use sluicegate::{ConnectionError, Side, StreamError};
use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

/// The code with which streams are refused here.
pub const REFUSAL: u32 = 77;
/// What a stream may send before any credit.
const WINDOW: u64 = 256 * 1024;
/// The earliest reset of a stream that nobody reads any more, after its peer has dropped it. A coarse clock may see it pass a
/// little sooner.
const LATE_RESET: Duration = Duration::from_millis(3_000 - 200);

/// What one end has done with a stream, and seen of it.
#[derive(Clone, Debug, Default)]
pub struct Record {
    pub written: u64,
    pub flushed: u64,
    pub read: u64,
    /// Something was tried on it.
    pub tried: bool,
    /// The last write was short or is pending.
    pub cut: bool,
    /// When its close was asked for.
    pub finishing: Option<Moment>,
    /// Its close was Ok.
    pub finished: bool,
    pub stopped: bool,
    pub reset: Option<u32>,
    pub dropped: Option<(Moment, Drop)>,
    pub end: Option<End>,
}

/// What a drop amounts to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drop {
    Finish,
    /// What was written arrives first.
    ResetAfterAll,
    Reset,
    /// One or the other: bytes are on their way, and it depends on how much of a frame has arrived.
    FinishOrResetAfterAll,
    /// It depends on what had arrived.
    Either,
}

/// What reading has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Eof,
    Error,
}

impl Record {
    /// What dropping it now amounts to, with so many bytes unread of those that the peer has written.
    pub fn drop_means(&self, unread: u32, written: u64, panicking: bool) -> Drop {
        if self.finishing.is_some() {
            Drop::Finish
        } else if self.cut || panicking {
            Drop::Reset
        } else if self.written == 0 && self.read == 0 && self.end.is_none() {
            // Also where an attempt was made: what it came to is not for the peer to know.
            if self.tried { Drop::Either } else { Drop::Reset }
        } else if unread > 0 {
            Drop::ResetAfterAll
        } else if written > self.read {
            Drop::FinishOrResetAfterAll
        } else {
            Drop::Finish
        }
    }

    fn dropped_as(&self) -> Option<Drop> {
        self.dropped.map(|(_, means)| means)
    }

    /// When this end finished the stream, if that is certain.
    fn surely_ended(&self) -> Option<Moment> {
        let dropped = self.dropped.filter(|(_, means)| *means == Drop::Finish).map(|(at, _)| at);
        self.finishing.or(dropped)
    }

    /// When this end finished the stream, if it may have.
    pub fn ended_well(&self) -> Option<Moment> {
        let finishes = |means| matches!(means, Drop::Finish | Drop::FinishOrResetAfterAll | Drop::Either);
        let dropped = self.dropped.filter(|(_, means)| finishes(*means)).map(|(at, _)| at);
        self.finishing.or(dropped)
    }
}

/// A stream: what the client did with it, and the server.
#[derive(Clone, Debug, Default)]
pub struct Both {
    ends: [Record; 2],
    /// Who opened it.
    opener: usize,
    accepted: bool,
}

#[derive(Debug, Default)]
pub struct Oracle {
    pub facts: Facts,
    streams: BTreeMap<u32, Both>,
    /// Streams of each end that its peer has not accepted, now and at most.
    waiting: [usize; 2],
    most_waiting: [usize; 2],
    moments: u64,
}

/// Byte `index` of stream `id`, either way: an echo is the same as what it answers.
pub fn pattern(id: u32, index: u64) -> u8 {
    ((u64::from(id) << 33 ^ index).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8
}

impl Oracle {
    pub fn record(&mut self, side: usize, id: u32) -> &mut Record {
        &mut self.streams.entry(id).or_default().ends[side]
    }

    fn both(&self, id: u32) -> &Both {
        self.streams.get(&id).expect("it was opened")
    }

    /// Now, after all that was before.
    pub fn moment(&mut self, time: Duration) -> Moment {
        self.moments += 1;
        Moment { order: self.moments, time }
    }

    pub fn on_open(&mut self, side: usize, id: u32) {
        let both = Both { opener: side, ..Both::default() };
        assert!(self.streams.insert(id, both).is_none(), "stream {id} is opened twice");
        self.waiting[side] += 1;
        self.most_waiting[side] = self.most_waiting[side].max(self.waiting[side]);
    }

    pub fn on_accept(&mut self, side: usize, id: u32) {
        let both = self.streams.get_mut(&id).expect("accepted before it was opened");
        assert!(both.opener != side && !both.accepted, "end {side} accepts stream {id}: {both:?}");
        both.accepted = true;
        self.waiting[1 - side] -= 1;
    }

    /// Streams of the other end that have said something and that end `side` has not accepted.
    pub fn unaccepted(&self, side: usize) -> usize {
        let said = |both: &Both| both.ends[both.opener].written > 0 || both.ends[both.opener].finishing.is_some();
        let failed = |both: &Both| both.ends[both.opener].end == Some(End::Error);
        self.streams
            .values()
            .filter(|both| both.opener != side && !both.accepted && said(both) && !failed(both))
            .count()
    }

    pub fn on_read(&mut self, side: usize, id: u32, bytes: &[u8]) {
        let start = self.record(side, id).read;
        for (index, byte) in (start..).zip(bytes) {
            assert_eq!(*byte, pattern(id, index), "end {side} stream {id} byte {index}");
        }
        self.record(side, id).read += bytes.len() as u64;
        let (read, written) = (self.record(side, id).read, self.both(id).ends[1 - side].written);
        assert!(read <= written, "end {side} stream {id} has read {read} of {written}");
    }

    /// An end of file: the peer has finished, and this was all.
    pub fn on_eof(&mut self, side: usize, id: u32) {
        let peer = self.both(id).ends[1 - side].clone();
        let own = self.record(side, id);
        own.end = Some(End::Eof);
        assert!(peer.ended_well().is_some(), "end {side} stream {id}: an end of file, but {peer:?}; own {own:?}");
        assert_eq!(own.read, peer.written, "end {side} stream {id}: an end of file too early; {peer:?}");
    }

    pub fn on_read_error(&mut self, side: usize, id: u32, error: &io::Error, now: Duration) {
        self.record(side, id).end = Some(End::Error);
        let why = inside(error);
        let (both, facts) = (self.both(id), &self.facts);
        let (own, peer) = (&both.ends[side], &both.ends[1 - side]);
        let explained = match &why {
            StreamError::ReadClosed => own.stopped,
            StreamError::Connection(reason) => {
                // What was finished before an orderly end is read to its end.
                let whole =
                    peer.surely_ended().is_some_and(|at| facts.closed[1 - side].is_none_or(|closed| at < closed));
                let complete = whole && !facts.lost() && facts.closed[side].is_none() && !facts.drained[side];
                facts.explain_end(side, reason, now) && !complete
            }
            other => self.explain_reset(side, id, other, false),
        };
        assert!(
            explained,
            "end {side} stream {id}: reading fails with {why:?} at {now:?}, but own {own:?}, peer {peer:?}, {facts:?}"
        );
    }

    pub fn on_write_error(&mut self, side: usize, id: u32, closing: bool, error: &io::Error, now: Duration) {
        let why = inside(error);
        let (both, facts) = (self.both(id), &self.facts);
        let (own, peer) = (&both.ends[side], &both.ends[1 - side]);
        let explained = match &why {
            StreamError::WriteClosed => own.finishing.is_some(),
            StreamError::Connection(reason) => {
                // Both have said all they had to say, and know it.
                let complete = closing && own.end == Some(End::Eof) && own.flushed == own.written && reason.is_clean();
                facts.explain_end(side, reason, now) && !complete
            }
            StreamError::Reset { by: Side::Remote, .. } => {
                let left = peer
                    .finishing
                    .or(peer.dropped.map(|(at, _)| at))
                    .filter(|_| peer.stopped || peer.dropped.is_some());
                let unread = left.is_some_and(|at| now >= at.time + LATE_RESET && own.written >= WINDOW);
                unread || self.explain_reset(side, id, &why, true)
            }
            other => self.explain_reset(side, id, other, true),
        };
        assert!(
            explained,
            "end {side} stream {id}: writing fails with {why:?} at {now:?}, but own {own:?}, peer {peer:?}, {facts:?}"
        );
    }

    fn explain_reset(&self, side: usize, id: u32, error: &StreamError, writing: bool) -> bool {
        let both = self.both(id);
        let (own, peer, facts) = (&both.ends[side], &both.ends[1 - side], &self.facts);
        match error {
            StreamError::Reset { by: Side::Local, code } => own.reset == Some(*code),
            StreamError::OutOfMemory => facts.scarce[side],
            StreamError::Reset { by: Side::Remote, code } => {
                let dropped = match peer.dropped_as() {
                    Some(Drop::Reset | Drop::Either) => true,
                    Some(Drop::ResetAfterAll | Drop::FinishOrResetAfterAll) => writing || own.read == peer.written,
                    Some(Drop::Finish) | None => false,
                };
                let unseen = both.opener == side && !both.accepted;
                let crowded = facts.scarce[1 - side] || self.most_waiting[side] > facts.backlog[1 - side];
                let refused = *code == REFUSAL && unseen && crowded;
                let overrun = *code == REFUSAL && facts.scarce[1 - side];
                let leaving = *code == 0 && unseen && (facts.is_leaving(side) || facts.is_leaving(1 - side));
                peer.reset == Some(*code) || dropped || refused || overrun || leaving
            }
            StreamError::Connection(_) => unreachable!("explained by the facts"),
            _ => false,
        }
    }

    /// The run is over: what was finished before an orderly end, and came to an end that accepts all it gets, must have
    /// been accepted. What was read of it was judged when it was read.
    pub fn on_over(&self, side: usize) {
        let facts = &self.facts;
        let hears = !facts.lost() && facts.closed[1 - side].is_none() && !facts.drained[1 - side] && !facts.went_away();
        let crowded = facts.scarce[1 - side] || self.most_waiting[side] > facts.backlog[1 - side];
        if !hears || crowded {
            return;
        }
        for (id, both) in self.streams.iter().filter(|(_, both)| both.opener == side && !both.accepted) {
            let own = &both.ends[side];
            let in_time = own.surely_ended().is_some_and(|at| facts.closed[side].is_none_or(|closed| at < closed));
            let said = own.written > 0 || own.finished;
            let lost = in_time && said && own.reset.is_none();
            assert!(!lost, "stream {id} of end {side} was never accepted: {own:?}, {facts:?}");
        }
    }
}

/// The stream error inside.
fn inside(error: &io::Error) -> StreamError {
    let inside = error.get_ref().and_then(|inside| inside.downcast_ref::<StreamError>());
    inside.unwrap_or_else(|| panic!("no stream error inside {error:?}")).clone()
}

/// Whether `reason` is the loss of the connection by time-out.
pub fn is_time_out(reason: &ConnectionError) -> bool {
    matches!(reason, ConnectionError::WriteTimeout | ConnectionError::KeepAliveTimeout)
}

/// A stream of end 0 that end 1 has accepted, with some bytes on it.
#[cfg(test)]
fn used(record: Record) -> Oracle {
    let mut oracle = Oracle::default();
    oracle.on_open(0, 1);
    oracle.on_accept(1, 1);
    *oracle.record(0, 1) = record;
    oracle
}

#[cfg(test)]
fn moment(order: u64) -> Moment {
    Moment { order, time: Duration::ZERO }
}

#[test]
#[should_panic(expected = "an end of file, but")]
fn an_end_of_file_of_what_was_cut_short_is_a_fault() {
    let record = Record { written: 5, cut: true, ..Record::default() };
    let dropped = Some((moment(1), record.drop_means(0, 0, false)));
    used(Record { dropped, ..record }).on_eof(1, 1);
}

#[test]
#[should_panic(expected = "an end of file too early")]
fn a_byte_that_is_missing_at_the_end_is_a_fault() {
    let mut oracle = used(Record { written: 2, finishing: Some(moment(1)), ..Record::default() });
    oracle.on_read(1, 1, &[pattern(1, 0)]);
    oracle.on_eof(1, 1);
}

#[test]
#[should_panic(expected = "reading fails")]
fn a_reset_of_what_was_finished_is_a_fault() {
    let mut oracle = used(Record { written: 2, finishing: Some(moment(1)), ..Record::default() });
    oracle.on_read_error(1, 1, &StreamError::Reset { by: Side::Remote, code: 0 }.into(), Duration::ZERO);
}

#[test]
#[should_panic(expected = "was never accepted")]
fn a_message_that_nobody_was_given_is_a_fault() {
    let mut oracle = Oracle { facts: Facts { backlog: [256; 2], ..Facts::default() }, ..Oracle::default() };
    oracle.on_open(0, 1);
    *oracle.record(0, 1) = Record { written: 2, finishing: Some(moment(1)), ..Record::default() };
    oracle.facts.closed[0] = Some(moment(2));
    oracle.on_over(0);
}
