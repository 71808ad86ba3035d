//! Owns [`Chunks`]: the chunks that a reader has taken off a stream, unread ones and used ones; and [`ChunkListPool`],
//! the free list of the storage for them.
//!
//! A small message is one chunk and needs no storage. More chunks use storage that returns to the connection as soon as
//! all of them are read: no allocation while bytes flow (`tests/allocations.rs`), on any link.

use crate::counting::count_up;
use crate::proto::buffer::chunk_pool::reusable;
use crate::proto::buffer::free_list::FreeList;
use bytes::{Buf, Bytes, BytesMut};
use std::collections::VecDeque;

/// Chunks that held fewer bytes than this are not recycled: half of the largest chunk. Trades the allocation of such a chunk
/// against that of `More`, which a small message on an idle stream then does without.
const LARGE: usize = 4 * 1024;

/// Storage for more chunks than this is not kept. 64 full chunks hold 512 KiB, two first windows, in 4 KiB of storage.
const MANY: usize = 64;

/// Storages that the free list keeps: 8 of at most 4 KiB are an eighth of a connection's fixed 256 KiB (docs/memory.md).
const KEPT: usize = 8;

/// Chunks that were taken and are not read yet; none of them is empty.
#[derive(Debug, Default)]
pub(crate) struct Chunks {
    first: Bytes,
    /// Bytes of memory of the first chunk.
    room: u32,
    more: Option<Box<More>>,
}

/// Further chunks, unread and used.
#[derive(Debug, Default)]
struct More {
    unread: VecDeque<Bytes>,
    /// Unused room of the last chunk, in bytes: the others are full.
    slack: u32,
    /// Chunks that were read to their end, to be recycled.
    spent: Vec<BytesMut>,
}

/// The free list of storage.
#[derive(Debug, Default)]
pub(in crate::proto) struct ChunkListPool {
    kept: FreeList<Box<More>>,
}

impl Chunks {
    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_empty()
    }

    /// The first chunk; empty if there is none.
    pub(crate) const fn first(&self) -> &Bytes {
        &self.first
    }

    /// Takes the first chunk.
    pub(crate) fn pop(&mut self) -> Option<Bytes> {
        Some(self.next()).filter(|first| !first.is_empty())
    }

    /// Replaces the first chunk by the next one.
    fn next(&mut self) -> Bytes {
        let next = self.more.as_mut().and_then(|more| Some((more.unread.pop_front()?, more)));
        let (next, slack) = next.map_or((Bytes::new(), 0), |(next, more)| {
            let slack = if more.unread.is_empty() { std::mem::take(&mut more.slack) } else { 0 };
            (next, slack)
        });
        self.room = count_up(u32::try_from(next.len()).unwrap_or(u32::MAX), slack);
        std::mem::replace(&mut self.first, next)
    }

    /// Bytes of memory of the unread chunks.
    pub(crate) fn memory(&self) -> usize {
        let behind = |more: &More| count_up(more.unread.iter().map(Bytes::len).sum::<usize>(), more.slack as usize);
        count_up(self.more.as_deref().map_or(0, behind), self.room as usize)
    }

    /// Counts bytes of the first chunk as read; returns whether they were the rest of it.
    pub(crate) fn advance(&mut self, bytes: usize) -> bool {
        self.first.advance(bytes);
        let ended = self.first.is_empty();
        if ended {
            let spent = self.next();
            if let Some(more) = &mut self.more
                && let Some(chunk) = reusable(spent)
            {
                more.spent.push(chunk);
            }
        }
        ended
    }

    /// Drops the unread chunks; returns how many bytes they held.
    pub(crate) fn clear(&mut self) -> usize {
        self.room = 0;
        let more = self.more.as_mut().map_or(0, |more| {
            more.slack = 0;
            more.unread.drain(..).map(|chunk| chunk.len()).sum()
        });
        count_up(std::mem::take(&mut self.first).len(), more)
    }

    /// Drops the used chunks, and the storage where no unread chunk is in it.
    pub(in crate::proto) fn forget_spent(&mut self) {
        if self.is_empty() {
            self.more = None;
        } else if let Some(more) = &mut self.more {
            more.spent = Vec::new();
        }
    }

    /// Takes the used chunks.
    pub(in crate::proto) fn spent(&mut self) -> Option<impl Iterator<Item = BytesMut> + '_> {
        self.more.as_mut().map(|more| more.spent.drain(..))
    }
}

impl ChunkListPool {
    /// Appends a chunk.
    pub(in crate::proto) fn push(&mut self, chunks: &mut Chunks, chunk: BytesMut) {
        if chunk.len() >= LARGE || !chunks.is_empty() {
            chunks.more.get_or_insert_with(|| self.kept.take().unwrap_or_default());
        }
        let room = u32::try_from(chunk.capacity()).unwrap_or(u32::MAX);
        let slack = u32::try_from(chunk.capacity().saturating_sub(chunk.len())).unwrap_or(u32::MAX);
        match &mut chunks.more {
            Some(more) if !chunks.first.is_empty() => {
                more.slack = slack;
                more.unread.push_back(chunk.freeze());
            }
            Some(_) | None => (chunks.room, chunks.first) = (room, chunk.freeze()),
        }
    }

    /// Takes back storage that the reader does not need any more.
    pub(in crate::proto) fn put(&mut self, chunks: &mut Chunks) {
        if chunks.is_empty()
            && let Some(more) = chunks.more.take()
            && more.unread.capacity().max(more.spent.capacity()) <= MANY
        {
            self.kept.put(more, KEPT);
        }
    }

    /// Frees all storage.
    pub(in crate::proto) fn clear(&mut self) {
        self.kept.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quickcheck::quickcheck;

    quickcheck! {
        fn every_byte_comes_out_in_order(sizes: Vec<u16>, steps: Vec<u16>) -> bool {
            let (mut chunk_lists, mut chunks, mut left) = (ChunkListPool::default(), Chunks::default(), 0);
            for size in sizes.iter().filter(|size| **size > 0) {
                chunk_lists.push(&mut chunks, BytesMut::from(&vec![7; usize::from(*size)][..]));
                left += usize::from(*size);
            }
            for step in steps {
                let len = chunks.first().len();
                if step % 5 == 0 {
                    left -= chunks.pop().map_or(0, |chunk| chunk.len());
                } else {
                    chunks.advance(len.min(usize::from(step)));
                    left -= len.min(usize::from(step));
                }
                if chunks.is_empty() != (left == 0) {
                    return false;
                }
            }
            let cleared = chunks.clear();
            chunk_lists.put(&mut chunks);
            cleared == left && chunks.is_empty() && chunks.more.is_none() && chunks.memory() == 0
        }

        /// Full chunks, the last of which has room for more, as they are taken off a stream.
        fn the_memory_behind_what_is_unread_is_known(full: u8, last: u16, steps: Vec<u16>) -> bool {
            let (mut chunk_lists, mut chunks) = (ChunkListPool::default(), Chunks::default());
            let mut rooms = vec![1000; usize::from(full % 20)];
            rooms.iter().for_each(|room| chunk_lists.push(&mut chunks, BytesMut::from(&vec![7; *room][..])));
            let mut chunk = BytesMut::with_capacity(8192);
            chunk.resize(1 + usize::from(last) % 8192, 7);
            rooms.push(chunk.capacity());
            chunk_lists.push(&mut chunks, chunk);
            for step in steps {
                if chunks.memory() != rooms.iter().sum::<usize>() {
                    return false;
                }
                let len = chunks.first().len();
                if !chunks.is_empty() && chunks.advance(len.min(usize::from(step) + 1)) {
                    rooms.remove(0);
                }
            }
            chunks.memory() == rooms.iter().sum::<usize>()
        }
    }

    #[test]
    fn a_small_chunk_leaves_nothing_and_storage_for_more_is_used_again() {
        let (mut chunk_lists, mut chunks) = (ChunkListPool::default(), Chunks::default());
        chunk_lists.push(&mut chunks, BytesMut::from(&[7; 10][..]));
        chunks.advance(10);
        assert!(chunks.is_empty() && chunks.more.is_none());
        for _ in 0..3 {
            (0..3).for_each(|_| chunk_lists.push(&mut chunks, BytesMut::from(&[7; 10][..])));
            let place: *const More = &**chunks.more.as_ref().expect("more than one");
            assert_eq!(chunk_lists.kept.len(), 0);
            (0..3).for_each(|_| assert!(chunks.advance(10)));
            chunk_lists.put(&mut chunks);
            assert!(chunks.more.is_none() && chunk_lists.kept.iter().all(|more| std::ptr::eq(&**more, place)));
            assert_eq!(chunk_lists.kept.len(), 1);
        }
    }
}
