//! Owns the model of a stream: what each side did with it, and so what the other side may see.

use crate::error::{Side, StreamError};
use crate::proto::limits::{HALF_OPEN_CREDIT, INITIAL_WINDOW};
use std::collections::HashMap;

/// The code with which the simulated ends refuse streams.
pub(super) const REFUSAL: u32 = 77;

/// What one side has done with a stream, and seen of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Record {
    pub(super) written: u64,
    pub(super) read: u64,
    pub(super) finished: bool,
    pub(super) stopped: bool,
    pub(super) dropped: bool,
    /// The code of the reset that dropping it was.
    pub(super) aborted: Option<u32>,
    pub(super) reset: Option<u32>,
    /// The end of file or error that reading came to.
    pub(super) read_end: Option<ReadEnd>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReadEnd {
    Eof,
    Error,
}

impl Record {
    /// Whether this side will send no more, and said so in good order.
    fn ended_well(&self) -> bool {
        (self.finished || self.dropped) && self.reset.is_none() && self.aborted.is_none()
    }

    /// Whether this side tells its peer with a reset, after its own end, that it will read no more: only one that has used
    /// up what credit it had, which is the first window at least.
    fn may_answer_with_reset(&self, peer: &Self) -> bool {
        let left = self.dropped || (self.finished && self.stopped);
        left && peer.written >= u64::from(INITIAL_WINDOW - HALF_OPEN_CREDIT)
    }

    /// Whether its peer may never read anything more, nor say so by itself.
    pub(super) fn has_left(&self) -> bool {
        self.dropped && self.aborted.is_none() && self.reset.is_none()
    }
}

/// All streams of a run, by id; a record for each side.
#[derive(Debug, Default)]
pub(super) struct Oracle {
    streams: HashMap<u32, [Record; 2]>,
    /// Whether an end may reset a stream for want of memory.
    may_run_out: [bool; 2],
}

/// Byte `index` that side `side` writes to stream `id`.
pub(super) fn pattern(side: usize, id: u32, index: u64) -> u8 {
    let mixed = (u64::from(id) << 33 ^ index).wrapping_add(side as u64 * 7919).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed >> 56) as u8
}

impl Oracle {
    pub(super) fn new(may_run_out: [bool; 2]) -> Self {
        Self { may_run_out, ..Self::default() }
    }

    pub(super) fn record(&mut self, side: usize, id: u32) -> &mut Record {
        &mut self.streams.entry(id).or_default()[side]
    }

    fn peer(&mut self, side: usize, id: u32) -> &Record {
        self.record(1 - side, id)
    }

    /// Side `side` has read `bytes`: they must be the next ones of what the peer wrote.
    pub(super) fn on_read(&mut self, side: usize, id: u32, bytes: &[u8]) {
        let start = self.record(side, id).read;
        for (index, byte) in (start..).zip(bytes) {
            assert_eq!(*byte, pattern(1 - side, id, index), "side {side} stream {id} byte {index}");
        }
        let read = start + bytes.len() as u64;
        self.record(side, id).read = read;
        let written = self.peer(side, id).written;
        assert!(read <= written, "side {side} stream {id} read {read} of {written}");
    }

    /// Side `side` has come to the end of file.
    pub(super) fn on_eof(&mut self, side: usize, id: u32) {
        let peer = self.peer(side, id).clone();
        let own = self.record(side, id);
        assert!(peer.ended_well() || peer.finished, "side {side} stream {id}: end of file, but {peer:?}");
        assert_eq!(own.read, peer.written, "side {side} stream {id}: end of file too early");
        own.read_end = Some(ReadEnd::Eof);
    }

    /// An operation of side `side` has failed.
    pub(super) fn on_error(&mut self, side: usize, id: u32, error: &StreamError, connection_may_end: bool) {
        let peer = self.peer(side, id).clone();
        let own = self.record(side, id).clone();
        let explained = match error {
            StreamError::Reset { by: Side::Local, code } => own.reset == Some(*code),
            StreamError::Reset { by: Side::Remote, code } => {
                let peer_did = peer.reset == Some(*code) || peer.aborted == Some(*code);
                let refused = *code == REFUSAL && peer.written == 0 && peer.read == 0;
                let ran_out = *code == REFUSAL && self.may_run_out[1 - side];
                let going_away = *code == 0 && connection_may_end;
                peer_did || refused || ran_out || going_away || (*code == 0 && peer.may_answer_with_reset(&own))
            }
            StreamError::OutOfMemory => self.may_run_out[side],
            StreamError::WriteClosed => own.finished,
            StreamError::ReadClosed => own.stopped,
            // The core knows of none.
            StreamError::DeadlineExceeded => false,
            StreamError::Connection(_) => connection_may_end,
        };
        assert!(explained, "side {side} stream {id}: {error:?}, but own {own:?} and peer {peer:?}");
    }

    /// The other end has closed in good order, and side `side` has read what there was on these streams: of each that the
    /// other has finished that is all, up to the end of file.
    pub(super) fn check_delivered(&self, side: usize, ids: &[u32]) {
        // Either end may have reset some for want of memory.
        for id in ids.iter().filter(|_| self.may_run_out == [false; 2]) {
            let (own, peer) = (&self.streams[id][side], &self.streams[id][1 - side]);
            let disturbed = own.reset.is_some() || peer.reset.is_some() || own.stopped;
            if peer.finished && !disturbed {
                assert_eq!(own.read_end, Some(ReadEnd::Eof), "side {side} stream {id}: {own:?} of {peer:?}");
            }
        }
    }

    /// Everything has been read to its end: each reader whose stream was not reset has seen all bytes.
    pub(super) fn check_complete(&self) {
        for (id, [near, far]) in &self.streams {
            for (side, own, peer) in [(0, near, far), (1, far, near)] {
                let undisturbed = own.reset.is_none() && peer.reset.is_none() && !own.stopped && !own.dropped;
                if undisturbed && own.read_end == Some(ReadEnd::Eof) {
                    assert_eq!(own.read, peer.written, "side {side} stream {id}");
                }
            }
        }
    }
}
