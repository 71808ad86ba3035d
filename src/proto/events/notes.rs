//! Owns [`Notes`]: what there is to log, noted under the connection's lock and said by the shell when that is open.

use crate::error::Violation;
use crate::logging::{is_debug_on, is_trace_on};
use crate::wire::{Header, StreamId};

/// What has happened and was not said yet. At most two notes a frame that is applied or encoded, so that what one critical section
/// may do bounds them, as it bounds the headers that are noted for a tap; none where nobody listens to their level.
#[derive(Debug, Default)]
pub(crate) struct Notes(Vec<Note>);

/// One thing that has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Note {
    /// A frame came.
    Received(Header),
    /// A frame was put into the batch that is written next.
    Sent(Header),
    /// An inbound stream was not taken in.
    Refused {
        stream: StreamId,
        code: u32,
    },
    /// The peer has reset a stream.
    Reset {
        stream: StreamId,
        code: u32,
    },
    /// There was no memory for what arrived on a stream.
    OutOfMemory {
        stream: StreamId,
        code: u32,
    },
    /// The peer goes away.
    GoesAway {
        code: u32,
    },
    Violated(Violation),
}

impl Notes {
    /// A frame came: for `trace`.
    pub(in crate::proto) fn received(&mut self, header: Header) {
        if is_trace_on() {
            self.note(Note::Received(header));
        }
    }

    /// A frame leaves: for `trace`.
    pub(in crate::proto) fn sent(&mut self, header: Header) {
        if is_trace_on() {
            self.note(Note::Sent(header));
        }
    }

    /// What a peer did: for `debug`.
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
