//! Owns [`ActiveState`]: the fields that only an active stream needs, and the free list of these states.
//!
//! Most streams are idle and have none. The store decides when a stream takes one and gives it back.

use super::{Links, ReceiveBuffer, SendBuffer};
use crate::proto::flow::requests::CreditState;

/// States that the free list keeps however few streams there are, with room for up to `MANY` chunks each
/// (docs/scaling.md): 16 of at most 4 KiB are a quarter of a connection's fixed 256 KiB (docs/memory.md).
const KEPT: usize = 16;

/// A state whose buffers have room for more chunks than this is not kept at all.
const MANY: usize = 64;

/// Chunks that the buffers of the other states have room for at most: `STREAM_BOOKS`, the charge of a stream itself,
/// covers them.
const FEW: usize = 4;

/// Bytes on their way, and the stream's places in the queues. Idle streams have none of these.
#[derive(Debug)]
pub(in crate::proto) struct ActiveState {
    /// Written data that is not encoded yet.
    pub(in crate::proto) unsent: SendBuffer,
    /// Bytes that arrived and are not read.
    pub(in crate::proto) unread: ReceiveBuffer,
    /// There is new data for the reader, which may be about to write.
    pub(in crate::proto) reader_pending: bool,
    /// Whether the writer was woken for room in the send buffers, and has got none since.
    pub(in crate::proto) woken: bool,
    pub(in crate::proto) credit_state: CreditState,
    /// Credit that may leave although the rest waits for memory, in bytes.
    pub(in crate::proto) minimum_credit: u32,
    pub(in crate::proto) control_links: Links,
    pub(in crate::proto) data_links: Links,
    pub(in crate::proto) flush_links: Links,
    pub(in crate::proto) room_links: Links,
}

/// The state of a stream that has none.
pub(super) static IDLE: ActiveState = ActiveState::new();

/// The free list. States come and go with every message, so they are not allocated for each.
#[derive(Debug, Default)]
pub(in crate::proto) struct ActiveStates {
    #[expect(clippy::vec_box, reason = "they go from stream to stream as boxes")]
    kept: Vec<Box<ActiveState>>,
}

impl ActiveState {
    const fn new() -> Self {
        Self {
            unsent: SendBuffer::new(),
            unread: ReceiveBuffer::new(),
            reader_pending: false,
            woken: false,
            credit_state: CreditState::Settled,
            minimum_credit: 0,
            control_links: Links::new(),
            data_links: Links::new(),
            flush_links: Links::new(),
            room_links: Links::new(),
        }
    }

    /// Whether the stream does not need the state.
    fn is_over(&self) -> bool {
        let links = [self.control_links, self.data_links, self.flush_links, self.room_links];
        self.unsent.is_empty()
            && self.unread.is_empty()
            && !links.iter().any(Links::is_queued)
            && self.credit_state == CreditState::Settled
            && self.minimum_credit == 0
    }
}

impl ActiveStates {
    pub(in crate::proto) fn take(&mut self) -> Box<ActiveState> {
        self.kept.pop().unwrap_or_else(|| Box::new(ActiveState::new()))
    }

    /// Takes the state of an idle stream back. The free list keeps as many as there are `streams`: each stream has been
    /// charged for one.
    pub(in crate::proto) fn put(&mut self, active: &mut Option<Box<ActiveState>>, streams: usize) {
        let room = if self.kept.len() < KEPT { MANY } else { FEW };
        if active.as_deref().is_some_and(ActiveState::is_over)
            && let Some(mut active) = active.take()
            && self.kept.len() < KEPT.max(streams)
            && active.unsent.room().max(active.unread.room()) <= room
        {
            active.woken = false;
            self.kept.push(active);
        }
    }

    /// Shrinks the free list to the present number of `streams`.
    pub(in crate::proto) fn shrink(&mut self, streams: usize) {
        let most = KEPT.max(streams);
        self.kept.truncate(most);
        if self.kept.capacity() > most.saturating_mul(4) {
            self.kept.shrink_to(most.saturating_mul(2));
        }
    }

    /// Frees all of them.
    pub(in crate::proto) fn clear(&mut self) {
        self.kept = Vec::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::buffer::chunk_pool::ChunkPool;
    use crate::proto::flow::window::ReceiveWindow;
    use crate::proto::limits::STREAM_BOOKS;
    use crate::proto::stream::Stream;
    use bytes::BytesMut;

    /// One that has had so many chunks to send.
    fn used(chunks: usize) -> Option<Box<ActiveState>> {
        let (mut active, mut free_chunks) = (ActiveState::new(), ChunkPool::default());
        while active.unsent.room() < chunks {
            active.unsent.push(&[7; 8 * 1024], &mut free_chunks);
        }
        while active.unsent.pop(usize::MAX).is_some() {}
        Some(Box::new(active))
    }

    #[test]
    fn states_beyond_a_few_are_kept_light() {
        let (mut idle_states, streams) = (ActiveStates::default(), 100);
        for chunks in [MANY, MANY, FEW] {
            (0..streams).for_each(|_| idle_states.put(&mut used(chunks), streams));
            let heavy = idle_states.kept.iter().filter(|active| active.unsent.room() > FEW).count();
            assert_eq!((heavy, idle_states.kept.len()), (KEPT, if chunks == FEW { streams } else { KEPT }));
        }
        idle_states.shrink(50);
        assert_eq!(idle_states.kept.len(), 50);
        idle_states.shrink(0);
        assert_eq!(idle_states.kept.len(), KEPT);
        assert!(idle_states.kept.capacity() <= 4 * KEPT, "{}", idle_states.kept.capacity());
        idle_states.put(&mut used(2 * MANY), streams);
        assert_eq!(idle_states.kept.len(), KEPT);
    }

    #[test]
    fn a_light_state_is_covered_by_the_streams_own_charge() {
        let light = size_of::<ActiveState>() + 2 * FEW * size_of::<BytesMut>() + ReceiveWindow::MEASURING;
        assert!(size_of::<Stream>() + light <= STREAM_BOOKS, "{} and {light}", size_of::<Stream>());
    }
}
