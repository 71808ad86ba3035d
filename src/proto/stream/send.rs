//! Owns the send half of a stream: its state, the peer's credit and the data that is not encoded yet.

use crate::counting::{count_down, count_up};
use crate::proto::buffer::chunk_pool::{ChunkPool, append};
use crate::proto::flow::window::SendWindow;
use bytes::{Bytes, BytesMut};
use std::collections::VecDeque;
use std::fmt;

/// The send half.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proto) enum SendState {
    /// The application may write.
    Open,
    /// The application has finished; the FIN follows the queued data.
    Closing,
    /// The application has dropped the stream and will not read the peer's bytes: a reset follows the queued data.
    Aborting,
    /// The FIN has been put into a batch.
    Closed,
    /// The stream was reset by either side.
    Reset,
}

/// Events of the send half.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proto) enum SendEvent {
    /// The application finished, or dropped the stream.
    Finish,
    /// The application dropped the stream, and the peer must be told that no application reads.
    Abort,
    /// The FIN was put into a batch.
    FinQueued,
    /// A reset, by either side.
    Reset,
}

impl SendState {
    /// The next state. Events without a meaning in a state leave it as it is.
    #[must_use]
    pub(in crate::proto) const fn on(self, event: SendEvent) -> Self {
        match (self, event) {
            (Self::Open, SendEvent::Finish) => Self::Closing,
            (Self::Open | Self::Closing, SendEvent::Abort) => Self::Aborting,
            // Y-FIN-4: this is the only transition that sends a FIN, so there is never a second one.
            (Self::Closing, SendEvent::FinQueued) => Self::Closed,
            (Self::Open | Self::Closing | Self::Aborting, SendEvent::Reset) => Self::Reset,
            (state, _) => state,
        }
    }

    /// Whether nothing more will ever be sent on this half.
    pub(in crate::proto) const fn is_over(self) -> bool {
        matches!(self, Self::Closed | Self::Reset)
    }
}

/// A stream's send half.
#[derive(Debug)]
pub(in crate::proto) struct Send {
    pub(in crate::proto) state: SendState,
    pub(in crate::proto) window: SendWindow,
    /// The connection ended before all written data was sent.
    pub(in crate::proto) lost: bool,
    /// Turn of the send pool in which the stream was last written to.
    pub(in crate::proto) turn: u16,
    /// The application has dropped the stream without closing or writing anything.
    pub(in crate::proto) unanswered: bool,
    /// The FIN is the only frame of the stream in its last batch.
    pub(in crate::proto) fin_alone: bool,
    /// The number of the last batch that holds a frame of this stream.
    pub(in crate::proto) last_batch: u64,
}

impl Send {
    pub(in crate::proto) const fn new() -> Self {
        Self {
            state: SendState::Open,
            window: SendWindow::INITIAL,
            lost: false,
            turn: 0,
            unanswered: false,
            fin_alone: false,
            last_batch: 0,
        }
    }
}

/// Written data, covered by credit, not encoded yet. Small writes share a chunk.
pub(in crate::proto) struct SendBuffer {
    chunks: VecDeque<BytesMut>,
    len: usize,
}

impl fmt::Debug for SendBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes in {} chunks", self.len, self.chunks.len())
    }
}

impl SendBuffer {
    pub(super) const fn new() -> Self {
        Self { chunks: VecDeque::new(), len: 0 }
    }

    pub(in crate::proto) const fn len(&self) -> usize {
        self.len
    }

    pub(in crate::proto) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many chunks its storage has room for.
    pub(super) fn room(&self) -> usize {
        self.chunks.capacity()
    }

    /// Copies `bytes` in.
    pub(in crate::proto) fn push(&mut self, bytes: &[u8], free_chunks: &mut ChunkPool) {
        self.len = count_up(self.len, bytes.len());
        append(&mut self.chunks, bytes, free_chunks);
    }

    /// Takes up to `max` bytes off the front, as one piece.
    pub(in crate::proto) fn pop(&mut self, max: usize) -> Option<Bytes> {
        let front = self.chunks.front_mut()?;
        let piece = front.split_to(max.min(front.len())).freeze();
        if front.is_empty() {
            self.chunks.pop_front();
        }
        self.len = count_down(self.len, piece.len());
        Some(piece)
    }

    /// Drops all data, and frees its memory.
    pub(in crate::proto) fn clear(&mut self) -> usize {
        if self.chunks.capacity() > 0 {
            self.chunks = VecDeque::new();
        }
        std::mem::take(&mut self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::{SendEvent as E, SendState as S, *};
    use quickcheck::quickcheck;

    #[test]
    fn every_event_in_every_state() {
        let table = [
            (S::Open, E::Finish, S::Closing),
            (S::Open, E::Abort, S::Aborting),
            (S::Open, E::FinQueued, S::Open),
            (S::Open, E::Reset, S::Reset),
            (S::Closing, E::Finish, S::Closing),
            (S::Closing, E::Abort, S::Aborting),
            (S::Closing, E::FinQueued, S::Closed),
            (S::Closing, E::Reset, S::Reset),
            (S::Aborting, E::Finish, S::Aborting),
            (S::Aborting, E::Abort, S::Aborting),
            (S::Aborting, E::FinQueued, S::Aborting),
            (S::Aborting, E::Reset, S::Reset),
            (S::Closed, E::Finish, S::Closed),
            (S::Closed, E::Abort, S::Closed),
            (S::Closed, E::FinQueued, S::Closed),
            (S::Closed, E::Reset, S::Closed),
            (S::Reset, E::Finish, S::Reset),
            (S::Reset, E::Abort, S::Reset),
            (S::Reset, E::FinQueued, S::Reset),
            (S::Reset, E::Reset, S::Reset),
        ];
        for (state, event, next) in table {
            assert_eq!(state.on(event), next, "{state:?} on {event:?}");
        }
        let states = [S::Open, S::Closing, S::Aborting, S::Closed, S::Reset];
        assert_eq!(states.map(S::is_over), [false, false, false, true, true]);
    }

    quickcheck! {
        fn what_goes_in_comes_out_in_order(writes: Vec<Vec<u8>>, cuts: Vec<u16>) -> bool {
            let mut buffer = SendBuffer::new();
            let (mut expected, mut actual) = (Vec::new(), Vec::new());
            let mut cuts = cuts.into_iter();
            for write in writes {
                buffer.push(&write, &mut ChunkPool::default());
                expected.extend_from_slice(&write);
                if let Some(piece) = cuts.next().and_then(|cut| buffer.pop(usize::from(cut).max(1))) {
                    actual.extend_from_slice(&piece);
                }
                if buffer.len() != expected.len() - actual.len() {
                    return false;
                }
            }
            while let Some(piece) = buffer.pop(usize::MAX) {
                actual.extend_from_slice(&piece);
            }
            buffer.is_empty() && actual == expected
        }
    }

    #[test]
    fn small_writes_share_chunks() {
        let mut buffer = SendBuffer::new();
        for _ in 0..64 * 1024 {
            buffer.push(&[1], &mut ChunkPool::default());
        }
        assert!(buffer.chunks.len() <= 12, "{} chunks", buffer.chunks.len());
        assert_eq!(buffer.clear(), 64 * 1024);
    }
}
