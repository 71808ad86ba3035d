//! Owns what it means that the application drops a stream (Y-DROP-1, Y-DROP-6 to Y-DROP-8).
//!
//! A stream is dropped once, and what then leaves is decided at once, by what the application has done with it so far. How it
//! goes on until nothing is left of the stream is drawn in `spec.md`, under DROP, and tried row by row in
//! `tests/stream_ends`.

use crate::proto::key::Key;
use crate::proto::mux::late::Trace;
use crate::proto::mux::{Lifecycle, Mux};
use crate::proto::stream::readiness::Ready;
use crate::proto::stream::{Handle, Handshake, ReceiveState, SendEvent, SendState, Stream};
use crate::stats::add;
use web_time::Instant;

/// How the application lets go of a stream, as far as its handle knows. What comes first here goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leave {
    /// It has closed it before.
    Closed,
    /// In the middle of something, or as one who wants all that is not closed to be reset: with this code.
    Cut(u32),
    /// It has neither read nor written anything.
    Unused,
    /// None of these. `read` of the bytes that count as unread are not: they were read and not reported, or are none of the
    /// application's.
    Done { read: u32 },
}

/// What leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    /// Nothing.
    Silence,
    /// A reset, at once.
    Reset(u32),
    /// What was written; then what this asks for.
    Behind(SendEvent),
}

impl Mux {
    /// The application has dropped the stream.
    ///
    /// `unread` bytes were taken with [`Mux::read`] and not reported: they count as read now.
    pub(crate) fn release(&mut self, key: Key, unread: u32, leave: Leave, now: Instant) {
        self.tick(now);
        let Some(stream) = self.store.get_mut(key) else { return };
        stream.handle = Handle::Released;
        stream.interest = Ready::NONE;
        stream.receive.lent = 0;
        self.flushing.remove(&mut self.store, key);
        if !self.is_linked(key) {
            self.remove(key);
            return;
        }
        let Some(stream) = self.store.get(key) else { return };
        let closing = matches!(self.lifecycle, Lifecycle::Closing { .. });
        match manner(stream, leave, closing) {
            Manner::Silence => {
                self.unlink(key, Trace::None);
                self.remove(key);
                self.close_if_drained();
            }
            Manner::Reset(code) => {
                let told = self.end_with_reset(key, code);
                add(&mut self.ledger.resets.dropped, told.into());
            }
            Manner::Behind(event) => {
                self.give_back(key);
                if let Some(stream) = self.store.get_mut(key) {
                    stream.send.state = stream.send.state.on(event);
                }
                self.end_stall(key);
                self.coalesce_until = None;
                self.queue_data(key);
                self.stop(key, unread, now);
            }
        }
    }
}

fn manner(stream: &Stream, leave: Leave, closing: bool) -> Manner {
    if stream.send.state != SendState::Open {
        return Manner::Behind(SendEvent::Finish);
    }
    let queued = !stream.motion().unsent.is_empty();
    if stream.handshake == Handshake::Lazy && !queued && !stream.owed.syn {
        // Y-OPEN-4: the peer has never heard of it.
        return Manner::Silence;
    }
    // What the application reads no more it has not left unread.
    let reads = matches!(stream.receive.state, ReceiveState::Open | ReceiveState::Finished);
    let unread = match leave {
        Leave::Closed => false,
        // Y-CLOSE-1: a close has promised that what was written before it leaves.
        Leave::Cut(_) if closing && queued => true,
        // Y-DROP-6.
        Leave::Cut(code) => return Manner::Reset(code),
        // Y-DROP-7.
        Leave::Unused => true,
        // Y-DROP-8.
        Leave::Done { read } => reads && stream.receive.window.held() > read,
    };
    match (unread, queued) {
        (false, _) => Manner::Behind(SendEvent::Finish),
        (true, true) => Manner::Behind(SendEvent::Abort),
        (true, false) => Manner::Reset(0),
    }
}
