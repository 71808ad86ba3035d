//! Owns [`ActiveState`]: what only an active stream has, and the free list of those that are not needed.
//!
//! Most streams wait for something to happen and have none. The store decides when one is taken and given back.

use super::{Links, ReceiveBuffer, SendBuffer};
use crate::proto::flow::requests::CreditState;

/// How many are kept to be used again, however few streams there are, and however many chunks there was room for.
const KEPT: usize = 16;

/// A buffer that has room for more chunks than this is not kept at all.
const MANY: usize = 64;

/// Chunks that the buffers of the others have room for at most: what a stream is charged for itself covers it.
const FEW: usize = 4;

/// What is on its way, and where the stream stands in line for it. Most streams wait for something to happen: they have
/// none.
#[derive(Debug)]
pub(in crate::proto) struct ActiveState {
    /// What was written and not encoded yet.
    pub(in crate::proto) unsent: SendBuffer,
    /// What has arrived and was not read.
    pub(in crate::proto) unread: ReceiveBuffer,
    /// There is something new for the reader, who may be about to write.
    pub(in crate::proto) reader_pending: bool,
    /// Whether its writer was woken for room in the send buffers, and has got none since.
    pub(in crate::proto) woken: bool,
    pub(in crate::proto) credit_state: CreditState,
    /// Credit that may leave though the rest of it waits, in bytes.
    pub(in crate::proto) minimum_credit: u32,
    pub(in crate::proto) control_links: Links,
    pub(in crate::proto) data_links: Links,
    pub(in crate::proto) flush_links: Links,
    pub(in crate::proto) room_links: Links,
}

/// That of a stream which has none.
pub(super) static IDLE: ActiveState = ActiveState::new();

/// Those that nobody needs at the moment: what comes and goes with every message is not allocated for each.
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

    /// Whether the stream is as well off without.
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

    /// Takes that of a stream back on which nothing moves any more. As many are kept as there are `streams`: each has been
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

    /// There are fewer `streams` now.
    pub(in crate::proto) fn shrink(&mut self, streams: usize) {
        let most = KEPT.max(streams);
        self.kept.truncate(most);
        if self.kept.capacity() > most.saturating_mul(4) {
            self.kept.shrink_to(most.saturating_mul(2));
        }
    }

    /// Gives them back to the allocator.
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
