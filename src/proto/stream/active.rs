//! Owns [`ActiveState`]: the fields that only an active stream needs, and when such a state is kept to be used again.
//!
//! Most streams are idle and have none. The store decides when a stream takes one and gives it back. With other savings this
//! brought an idle stream to 364 bytes on both ends together, and a 64-byte write to 2 % fewer instructions; a free list as
//! long as there are streams, with small messages copied, `rr1000` from 240,000 to 284,000 a second (docs/performance.md).
//! Memory and instructions do not depend on the link.

use super::{Links, ReceiveBuffer, SendBuffer};
use crate::proto::buffer::free_list::FreeList;
use crate::proto::flow::requests::CreditState;

/// States that the free list keeps however few streams there are, with room for up to `MANY` chunks each
/// (docs/scaling.md): 16 of at most 4 KiB are a quarter of a connection's fixed 256 KiB (docs/memory.md).
const KEPT: usize = 16;

/// A state whose buffers have room for more chunks than this is not kept at all.
const MANY: usize = 64;

/// Chunks that the buffers of the other states have room for at most: `STREAM_STATE`, the charge of a stream itself,
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

impl ActiveState {
    pub(in crate::proto) const fn new() -> Self {
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

    /// Moves the state of an idle stream to the free list.
    pub(in crate::proto) fn release(active: &mut Option<Box<Self>>, idle: &mut FreeList<Box<Self>>, streams: usize) {
        let room = if idle.len() < KEPT { MANY } else { FEW };
        if active.as_deref().is_some_and(Self::is_over)
            && let Some(mut active) = active.take()
            && active.unsent.room().max(active.unread.room()) <= room
        {
            active.woken = false;
            idle.put(active, states_kept(streams));
        }
    }
}

/// How many states the free list keeps where there are so many `streams`: each stream has been charged for one.
pub(in crate::proto) fn states_kept(streams: usize) -> usize {
    KEPT.max(streams)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::buffer::chunk_pool::ChunkPool;
    use crate::proto::flow::window::ReceiveWindow;
    use crate::proto::limits::STREAM_STATE;
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
        let (mut idle_states, streams) = (FreeList::default(), 100);
        for chunks in [MANY, MANY, FEW] {
            (0..streams).for_each(|_| ActiveState::release(&mut used(chunks), &mut idle_states, streams));
            let heavy = idle_states.iter().filter(|active| active.unsent.room() > FEW).count();
            assert_eq!((heavy, idle_states.len()), (KEPT, if chunks == FEW { streams } else { KEPT }));
        }
        idle_states.shrink(states_kept(50));
        assert_eq!(idle_states.len(), 50);
        idle_states.shrink(states_kept(0));
        assert_eq!(idle_states.len(), KEPT);
        assert!(idle_states.capacity() <= 4 * KEPT, "{}", idle_states.capacity());
        ActiveState::release(&mut used(2 * MANY), &mut idle_states, streams);
        assert_eq!(idle_states.len(), KEPT);
    }

    #[test]
    fn a_light_state_is_covered_by_the_streams_own_charge() {
        let light = size_of::<ActiveState>() + 2 * FEW * size_of::<BytesMut>() + ReceiveWindow::MEASURING;
        assert!(size_of::<Stream>() + light <= STREAM_STATE, "{} and {light}", size_of::<Stream>());
    }
}
