//! Verbs of [`Mux`] for reading from a stream.
//!
//! `Blocked` is a value here. It becomes `Pending` in the shell, which stores a waker in the same critical section. The
//! stream's interest says what the task waits for.

use super::{Lifecycle, Mux};
use crate::error::StreamError;
use crate::proto::buffer::chunks::Chunks;
use crate::proto::key::Key;
use crate::proto::limits::SMALL_READ;
use crate::proto::stream::ReceiveState;
use crate::proto::stream::readiness::Readiness;
use bytes::Bytes;
use web_time::Instant;

/// The result of a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// Bytes. The reader reports them with [`Mux::consume`] when the application has used them: at the latest after
    /// `due` bytes, or where that is 0 after every chunk.
    Bytes { due: u32 },
    /// End of file: the peer has finished.
    End,
}

/// Bytes taken off a stream in one go, the last chunk excepted. Eight full chunks. Measured: one lock and one task
/// switch less for every 8 KiB, which made bulk 1.3 to 1.5 times as fast (docs/performance.md).
const TAKE: usize = 64 * 1024;

/// Why nothing was read.
#[derive(Debug)]
pub(crate) enum ReadError {
    Blocked,
    Failed(StreamError),
}

impl Mux {
    /// Copies all unread bytes, if they are few and fit. Returns how many there were, and the result that
    /// [`Taken::Bytes`] stands for.
    pub(crate) fn read_small(&mut self, key: Key, into: &mut [u8]) -> Option<(usize, Taken)> {
        // Chunks of a closed connection do not go to the free list.
        let alive = !matches!(self.lifecycle, Lifecycle::Closed(_));
        let stream = self.store.get_mut(key).filter(|_| alive)?;
        self.pending_readers.end(stream);
        let read = stream.active.as_mut()?.unread.copy_all(into, SMALL_READ, |chunk| self.send_pool.reuse(chunk))?;
        let (due, over) = (stream.due(), stream.is_receive_over());
        stream.receive.lent = 0;
        match self.view(key).filter(|_| over) {
            // Y-MEM-13.
            Some(mut view) => view.give_back(),
            None => self.store.release_if_idle(key),
        }
        Some((read, Taken::Bytes { due }))
    }

    /// Takes bytes off a stream, as whole chunks.
    pub(crate) fn read(&mut self, key: Key, chunks: &mut Chunks) -> Result<Taken, ReadError> {
        self.send_syn(key);
        let Some(stream) = self.store.get_mut(key) else { return Err(ReadError::Failed(StreamError::ReadClosed)) };
        self.pending_readers.end(stream);
        stream.receive.lent = 0;
        // Y-RST-2: what arrived before an end of any kind is delivered before it.
        if let Some(active) = stream.active.as_mut().filter(|active| !active.unread.is_empty()) {
            active.unread.take(chunks, &mut self.chunk_lists, TAKE);
            stream.receive.lent = u32::try_from(chunks.memory()).unwrap_or(u32::MAX);
            let due = stream.due();
            self.store.release_if_idle(key);
            return Ok(Taken::Bytes { due });
        }
        let end = match (stream.receive.state, &self.lifecycle) {
            // Y-FIN-1.
            (ReceiveState::Finished, _) => Ok(Taken::End),
            (ReceiveState::Reset, _) => Err(ReadError::Failed(stream.reset_error())),
            (ReceiveState::Stopped | ReceiveState::Done, _) => Err(ReadError::Failed(StreamError::ReadClosed)),
            // Y-EOF-2: a lost connection is never an end of file.
            (ReceiveState::Open, Lifecycle::Closed(reason)) => Err(ReadError::Failed(reason.clone().into())),
            (ReceiveState::Open, Lifecycle::Open | Lifecycle::Closing { .. }) => {
                stream.interest = stream.interest | Readiness::READ;
                return Err(ReadError::Blocked);
            }
        };
        // No more bytes can arrive, and none are left (Y-MEM-4).
        if let Some(mut view) = self.view(key) {
            view.give_back();
        }
        end
    }

    /// Takes back chunks whose bytes have been used.
    pub(crate) fn recycle(&mut self, spent: impl IntoIterator<Item = Bytes>) {
        if !matches!(self.lifecycle, Lifecycle::Closed(_)) {
            self.send_pool.recycle(spent);
        }
    }

    /// Takes back a reader's spare memory: chunks that were read to their end, and the storage for them.
    pub(crate) fn reuse(&mut self, chunks: &mut Chunks) {
        if matches!(self.lifecycle, Lifecycle::Closed(_)) {
            chunks.forget_spent();
            return;
        }
        chunks.spent().into_iter().flatten().for_each(|chunk| self.send_pool.reuse(chunk));
        self.chunk_lists.put(chunks);
    }

    /// The application has used `bytes`, or they were discarded: memory is given back, credit may be due, and the
    /// window may have to grow.
    pub(crate) fn consume(&mut self, key: Key, bytes: u32, now: Instant) {
        let now = self.advance(now);
        let (top, share) = (self.pacer.top(), self.pinger.rtt.round_trip().and_then(|time| self.inflow.share(time)));
        let Some(mut view) = self.view(key) else { return };
        // Y-PRIO-8.
        let makes_way = top.is_some_and(|top| view.stream.priority.bucket() < top);
        view.stream.receive.window.consume(bytes, now);
        view.stream.receive.window.limit(share.filter(|_| makes_way));
        view.discharge();
        self.watch(key, now);
        self.request_window(key);
        self.sync(key, now);
    }

    /// The same once the connection is over, when time no longer matters.
    pub(crate) fn consume_late(&mut self, key: Key, bytes: u32) {
        if bytes > 0 {
            self.consume(key, bytes, self.latest);
        }
    }

    /// The handle of a stream still holds `memory` bytes of taken chunks, their unused room included. Returns whether
    /// no more bytes can arrive: then the handle reports each chunk that has been read.
    pub(crate) fn returned(&mut self, key: Key, memory: usize) -> bool {
        let Some(mut view) = self.view(key) else { return false };
        view.stream.receive.lent = u32::try_from(memory).unwrap_or(u32::MAX);
        let over = view.stream.is_receive_over();
        if over {
            view.give_back();
        }
        over
    }
}
