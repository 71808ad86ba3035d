//! Owns [`Chunks`]: what a reader has taken off a stream and has not read yet, and what it has read and others can use; and
//! [`ChunkListPool`], the free list of the storage for them.
//!
//! A small message is one chunk, and takes nothing but that. Only where there is more is storage at hand for it, which
//! goes back to the connection as soon as all is read.

use crate::proto::buffer::chunk_pool::reusable;
use bytes::{Buf, Bytes, BytesMut};
use std::collections::VecDeque;

/// Chunks of which less than this many bytes arrived are not worth keeping for others.
const LARGE: usize = 4 * 1024;

/// Storage for more chunks than this is not kept.
const MANY: usize = 64;

/// How many are kept.
const KEPT: usize = 8;

/// Chunks that were taken and not read yet, none of them empty.
#[derive(Debug, Default)]
pub(crate) struct Chunks {
    first: Bytes,
    /// Bytes of memory behind the first.
    room: u32,
    more: Option<Box<More>>,
}

/// What there is beside a small chunk.
#[derive(Debug, Default)]
struct More {
    unread: VecDeque<Bytes>,
    /// Bytes that the last of them has room for beside its own: the others are full.
    slack: u32,
    /// Chunks that were read to their end, for their memory.
    spent: Vec<BytesMut>,
}

/// Storage that readers have given back.
#[derive(Debug, Default)]
pub(in crate::proto) struct ChunkListPool {
    #[expect(clippy::vec_box, reason = "they go from hand to hand as boxes")]
    kept: Vec<Box<More>>,
}

impl Chunks {
    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_empty()
    }

    /// The first of them; empty if there is none.
    pub(crate) const fn first(&self) -> &Bytes {
        &self.first
    }

    /// Takes the first of them out.
    pub(crate) fn pop(&mut self) -> Option<Bytes> {
        Some(self.next()).filter(|first| !first.is_empty())
    }

    /// Puts the next one in the place of the first.
    fn next(&mut self) -> Bytes {
        let next = self.more.as_mut().and_then(|more| Some((more.unread.pop_front()?, more)));
        let (next, slack) = next.map_or((Bytes::new(), 0), |(next, more)| {
            let slack = if more.unread.is_empty() { std::mem::take(&mut more.slack) } else { 0 };
            (next, slack)
        });
        self.room = u32::try_from(next.len()).unwrap_or(u32::MAX).saturating_add(slack);
        std::mem::replace(&mut self.first, next)
    }

    /// Bytes of memory that hold what is unread.
    pub(crate) fn memory(&self) -> usize {
        let behind =
            |more: &More| more.unread.iter().map(Bytes::len).sum::<usize>().saturating_add(more.slack as usize);
        self.more.as_deref().map_or(0, behind).saturating_add(self.room as usize)
    }

    /// Bytes of the first of them have been read.
    /// Says whether that was the rest of it.
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

    /// Drops what is unread; says how many bytes that was.
    pub(crate) fn clear(&mut self) -> usize {
        self.room = 0;
        let more = self.more.as_mut().map_or(0, |more| {
            more.slack = 0;
            more.unread.drain(..).map(|chunk| chunk.len()).sum()
        });
        std::mem::take(&mut self.first).len().saturating_add(more)
    }

    /// Drops what others could use, and the storage for more where nothing is in it.
    pub(in crate::proto) fn forget_spent(&mut self) {
        if self.is_empty() {
            self.more = None;
        } else if let Some(more) = &mut self.more {
            more.spent = Vec::new();
        }
    }

    /// Chunks that others can use.
    pub(in crate::proto) fn spent(&mut self) -> Option<impl Iterator<Item = BytesMut> + '_> {
        self.more.as_mut().map(|more| more.spent.drain(..))
    }
}

impl ChunkListPool {
    /// Puts a chunk behind the others.
    pub(in crate::proto) fn push(&mut self, chunks: &mut Chunks, chunk: BytesMut) {
        if chunk.len() >= LARGE || !chunks.is_empty() {
            chunks.more.get_or_insert_with(|| self.kept.pop().unwrap_or_default());
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

    /// Takes storage back that is not needed any more.
    pub(in crate::proto) fn put(&mut self, chunks: &mut Chunks) {
        if chunks.is_empty()
            && let Some(more) = chunks.more.take()
            && self.kept.len() < KEPT
            && more.unread.capacity().max(more.spent.capacity()) <= MANY
        {
            self.kept.push(more);
        }
    }

    /// Gives it back to the allocator.
    pub(in crate::proto) fn clear(&mut self) {
        self.kept = Vec::new();
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
            assert!(chunk_lists.kept.is_empty());
            (0..3).for_each(|_| assert!(chunks.advance(10)));
            chunk_lists.put(&mut chunks);
            assert!(chunks.more.is_none() && std::ptr::eq(&*chunk_lists.kept[0], place));
        }
    }
}
