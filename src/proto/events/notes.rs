//! Owns [`Notes`]: log notes that are taken under the connection's lock and logged by the shell after it.

use crate::error::Violation;
use crate::logging::{is_debug_on, is_trace_on};
use crate::wire::{Header, StreamId};

/// Notes that are not logged yet. Each frame applied or encoded leaves at most two, so the work of one critical section
/// bounds them, as it bounds the headers kept for a tap. None are taken where no subscriber listens to their level.
#[derive(Debug, Default)]
pub(crate) struct Notes(Vec<Note>);

/// One event to log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Note {
    /// A frame arrived.
    Received(Header),
    /// A frame was encoded into the next batch.
    Sent(Header),
    /// An inbound stream was refused.
    Refused {
        stream: StreamId,
        code: u32,
    },
    /// The peer has reset a stream.
    Reset {
        stream: StreamId,
        code: u32,
    },
    /// There was no memory for bytes that arrived on a stream.
    OutOfMemory {
        stream: StreamId,
        code: u32,
    },
    /// The peer sent a go-away.
    GoesAway {
        code: u32,
    },
    Violated(Violation),
}

impl Notes {
    /// A frame arrived: for `trace`.
    pub(in crate::proto) fn received(&mut self, header: Header) {
        if is_trace_on() {
            self.note(Note::Received(header));
        }
    }

    /// A frame was encoded: for `trace`.
    pub(in crate::proto) fn sent(&mut self, header: Header) {
        if is_trace_on() {
            self.note(Note::Sent(header));
        }
    }

    /// An action of the peer: for `debug`.
    pub(in crate::proto) fn debug(&mut self, note: impl FnOnce() -> Note) {
        if is_debug_on() {
            self.note(note());
        }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    #[cold]
    #[inline(never)]
    fn note(&mut self, note: Note) {
        self.0.push(note);
    }
}

impl IntoIterator for Notes {
    type Item = Note;
    type IntoIter = std::vec::IntoIter<Note>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_small() {
        assert!(size_of::<Note>() <= 24, "{}", size_of::<Note>());
    }
}
