//! Owns the receive half of a stream: its state, the window it grants and its unread bytes.

use crate::counting::count_up;
use crate::proto::buffer::chunk_pool::{self, ChunkPool, append};
use crate::proto::buffer::chunks::{ChunkListPool, Chunks};
use crate::proto::flow::window::ReceiveWindow;
use bytes::BytesMut;
use std::collections::VecDeque;
use std::fmt;

/// The receive half.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proto) enum ReceiveState {
    /// The peer may send, the application may read.
    Open,
    /// The application reads no more; later bytes are discarded.
    Stopped,
    /// The peer has finished: end of file after the buffered bytes.
    Finished,
    /// The peer has finished and the application reads no more.
    Done,
    /// The stream was reset: an error after the buffered bytes.
    Reset,
}

/// Events of the receive half.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proto) enum ReceiveEvent {
    /// The peer's FIN arrived.
    Fin,
    /// The application reads no more.
    Stop,
    /// The peer's RST arrived.
    RemoteReset,
    /// This end reset the stream.
    LocalReset,
}

impl ReceiveState {
    /// The next state. Events without a meaning in a state leave it as it is.
    #[must_use]
    pub(in crate::proto) const fn on(self, event: ReceiveEvent) -> Self {
        match (self, event) {
            (Self::Open, ReceiveEvent::Fin) => Self::Finished,
            (Self::Open, ReceiveEvent::Stop) => Self::Stopped,
            (Self::Stopped, ReceiveEvent::Fin) | (Self::Finished, ReceiveEvent::Stop) => Self::Done,
            (Self::Open | Self::Stopped, ReceiveEvent::RemoteReset) => Self::Reset,
            (_, ReceiveEvent::LocalReset) => Self::Reset,
            // Y-RST-3: after a FIN the read half keeps its data and its end.
            (state, _) => state,
        }
    }

    /// Whether the application will see no more bytes of the peer.
    pub(in crate::proto) const fn is_over(self) -> bool {
        !matches!(self, Self::Open)
    }
}

/// A stream's receive half.
#[derive(Debug)]
pub(in crate::proto) struct Receive {
    pub(in crate::proto) state: ReceiveState,
    pub(in crate::proto) window: ReceiveWindow,
    /// Bytes of memory in the chunks that the stream's handle has taken, as far as it has reported.
    pub(in crate::proto) lent: u32,
    /// The interval of [`Inflow`](crate::proto::flow::inflow::Inflow) in which bytes last arrived.
    pub(in crate::proto) interval: u8,
}

impl Receive {
    pub(in crate::proto) fn new(window: u32) -> Self {
        Self { state: ReceiveState::Open, window: ReceiveWindow::new(window), lent: 0, interval: 0 }
    }
}

/// Unread bytes. Chunks grow with the bytes that arrive, so a frame of one byte costs about one byte (Y-MEM-7).
pub(in crate::proto) struct ReceiveBuffer {
    chunks: VecDeque<BytesMut>,
}

impl fmt::Debug for ReceiveBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} chunks", self.chunks.len())
    }
}

impl ReceiveBuffer {
    pub(super) const fn new() -> Self {
        Self { chunks: VecDeque::new() }
    }

    /// How many chunks its storage has room for.
    pub(super) fn room(&self) -> usize {
        self.chunks.capacity()
    }

    /// Bytes of memory that the next `len` bytes allocate.
    pub(super) fn allocation(&self, len: usize) -> usize {
        chunk_pool::allocation(&self.chunks, len)
    }

    /// Appends bytes of a body.
    pub(in crate::proto) fn push(&mut self, bytes: &[u8], free_chunks: &mut ChunkPool) {
        append(&mut self.chunks, bytes, free_chunks);
    }

    pub(in crate::proto) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Copies all bytes into `into`, if there are no more than `most` and they fit; the chunks go to `reuse`.
    pub(in crate::proto) fn copy_all(
        &mut self,
        into: &mut [u8],
        most: usize,
        mut reuse: impl FnMut(BytesMut),
    ) -> Option<usize> {
        let len = self.chunks.iter().map(BytesMut::len).sum();
        let mut room = into.get_mut(..len).filter(|_| (1..=most).contains(&len))?;
        for chunk in self.chunks.drain(..) {
            let (filled, rest) = std::mem::take(&mut room).split_at_mut_checked(chunk.len())?;
            filled.copy_from_slice(&chunk);
            room = rest;
            reuse(chunk);
        }
        Some(len)
    }

    /// Moves chunks from the front into `chunks` until that has grown by `enough` bytes.
    pub(in crate::proto) fn take(&mut self, chunks: &mut Chunks, chunk_lists: &mut ChunkListPool, enough: usize) {
        let mut taken = 0;
        while taken < enough {
            let Some(chunk) = self.chunks.pop_front() else { return };
            taken = count_up(chunk.len(), taken);
            chunk_lists.push(chunks, chunk);
        }
    }

    /// How many bytes there are. Looks at every chunk.
    pub(in crate::proto) fn len(&self) -> u32 {
        let len: usize = self.chunks.iter().map(BytesMut::len).sum();
        u32::try_from(len).unwrap_or(u32::MAX)
    }

    /// Drops all bytes, and frees their memory; returns how many there were.
    pub(in crate::proto) fn clear(&mut self) -> u32 {
        let len = self.len();
        self.chunks = VecDeque::new();
        len
    }

    /// Bytes of memory of all chunks.
    pub(in crate::proto) fn capacity(&self) -> usize {
        self.chunks.iter().map(BytesMut::capacity).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::{ReceiveEvent::*, ReceiveState::*, *};
    use crate::proto::limits::INITIAL_WINDOW;

    #[test]
    fn every_event_in_every_state() {
        let table = [
            (Open, Fin, Finished),
            (Open, Stop, Stopped),
            (Open, RemoteReset, Reset),
            (Open, LocalReset, Reset),
            (Stopped, Fin, Done),
            (Stopped, Stop, Stopped),
            (Stopped, RemoteReset, Reset),
            (Stopped, LocalReset, Reset),
            (Finished, Fin, Finished),
            (Finished, Stop, Done),
            (Finished, RemoteReset, Finished),
            (Finished, LocalReset, Reset),
            (Done, Fin, Done),
            (Done, Stop, Done),
            (Done, RemoteReset, Done),
            (Done, LocalReset, Reset),
            (Reset, Fin, Reset),
            (Reset, Stop, Reset),
            (Reset, RemoteReset, Reset),
            (Reset, LocalReset, Reset),
        ];
        for (state, event, next) in table {
            assert_eq!(state.on(event), next, "{state:?} on {event:?}");
        }
        assert_eq!([Open, Stopped, Finished, Done, Reset].map(ReceiveState::is_over), [false, true, true, true, true]);
    }

    #[test]
    fn y_mem_7_a_window_of_one_byte_frames_costs_about_one_window() {
        for window in [INITIAL_WINDOW, 4 << 20] {
            let (mut buffer, mut free_chunks) = (ReceiveBuffer::new(), ChunkPool::default());
            for i in 0..window {
                buffer.push(&[i as u8], &mut free_chunks);
            }
            let chunks = buffer.chunks.len() * size_of::<BytesMut>();
            assert!(buffer.capacity() + chunks <= window as usize / 10 * 11);
            let (mut next, mut taken) = (0u32, Chunks::default());
            buffer.take(&mut taken, &mut ChunkListPool::default(), usize::MAX);
            for byte in std::iter::from_fn(|| taken.pop()).flatten() {
                assert_eq!(byte, next as u8);
                next += 1;
            }
            assert_eq!(next, window);
        }
    }
}
