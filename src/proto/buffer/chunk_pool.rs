//! Owns [`ChunkPool`]: the free list of chunks, by size, and how a buffer grows by chunks.
//!
//! A busy connection uses chunks at the rate of its link. Freeing and allocating each of them costs more than copying
//! its bytes, once the allocator returns pages to the system. Never decides how much memory may be kept.

use crate::counting::{count_down, count_up};
use bytes::{Bytes, BytesMut};
use std::collections::VecDeque;

/// Size of the largest chunks, in bytes. Measured: 16 KiB 5 % and 64 KiB 12 % faster on a quiet machine, no difference
/// on a busy one. A chunk stays as long as one byte of it is unread, and with 16 KiB more streams ended where memory
/// was scarce (docs/performance.md).
pub(in crate::proto) const CHUNK: usize = 8 * 1024;

/// Size of the smallest chunks, with which a buffer begins.
const MIN_CHUNK: usize = 512;

/// Number of chunk sizes, each twice the one before: 512 x 2^4 is `CHUNK`.
const SIZES: usize = 5;

/// The free list: empty chunks, by size.
#[derive(Debug, Default)]
pub(in crate::proto) struct ChunkPool {
    chunks: [Vec<BytesMut>; SIZES],
    /// Bytes that are kept.
    len: usize,
    /// Sizes that were taken recently.
    asked: [bool; SIZES],
}

impl ChunkPool {
    /// Takes a chunk for `wanted` bytes behind one of `last` bytes. Chunks grow with the buffer, so that one byte costs
    /// about one byte.
    pub(in crate::proto) fn take(&mut self, last: usize, wanted: usize) -> BytesMut {
        let size = chunk_size(last, wanted);
        let place = place(size);
        if let Some(asked) = self.asked.get_mut(place) {
            *asked = true;
        }
        match self.chunks.get_mut(place).and_then(Vec::pop) {
            Some(chunk) => {
                self.len = count_down(self.len, size);
                chunk
            }
            None => chunk(size),
        }
    }

    /// Puts a [`reusable`] chunk on the free list, and drops others where it would hold more than `most` bytes.
    pub(in crate::proto) fn keep(&mut self, mut chunk: BytesMut, most: usize) {
        // A chunk that was read in pieces has room before the bytes that it shows. Blocks of headers come here, too, and only those
        // of a chunk size are kept: a buffer is charged for what it asked for (Y-MEM-9).
        let size =
            sizes().find(|size| chunk.try_reclaim(*size)).filter(|size| *size == chunk.capacity() && *size <= most);
        let Some((size, own)) = size.and_then(|size| Some((size, self.chunks.get_mut(place(size))?))) else { return };
        own.push(chunk);
        self.len = count_up(self.len, size);
        self.shrink(most);
    }

    /// Puts the chunk behind `bytes` on the free list, as [`keep`](Self::keep) does, if it has no other holder.
    pub(in crate::proto) fn put(&mut self, bytes: Bytes, most: usize) {
        if let Some(chunk) = reusable(bytes) {
            self.keep(chunk, most);
        }
    }

    /// Bytes that are kept.
    pub(in crate::proto) const fn len(&self) -> usize {
        self.len
    }

    /// Drops chunks until at most `bytes` are kept: first those of sizes that were not taken recently, then those of
    /// the size with the most bytes.
    pub(in crate::proto) fn shrink(&mut self, bytes: usize) {
        while self.len > bytes {
            let all = self.chunks.iter_mut().zip(self.asked).rev().zip(sizes());
            let kept = all.filter(|((chunks, _), _)| !chunks.is_empty());
            let most = kept.max_by_key(|((chunks, asked), size)| (!asked, chunks.len().saturating_mul(*size)));
            let Some(((chunks, asked), size)) = most else { return };
            chunks.pop();
            if asked {
                // All sizes were taken recently: starts to record anew.
                self.asked = [false; SIZES];
            }
            self.len = count_down(self.len, size);
        }
        if self.len == 0 {
            self.chunks = Default::default();
        }
    }
}

/// The chunk behind `bytes`, emptied, if it is of a chunk size and has no other holder.
pub(in crate::proto) fn reusable(bytes: Bytes) -> Option<BytesMut> {
    let mut chunk = bytes.try_into_mut().ok()?;
    chunk.clear();
    sizes().any(|size| chunk.try_reclaim(size)).then_some(chunk)
}

/// The sizes of chunks, from the largest on.
fn sizes() -> impl Iterator<Item = usize> {
    (0..SIZES).map(|halvings| CHUNK >> halvings)
}

/// Index of the list for chunks of a size.
fn place(size: usize) -> usize {
    sizes()
        .position(|other| other <= size)
        .map_or(0, |largest_first| SIZES.saturating_sub(1).saturating_sub(largest_first))
}

/// A new chunk.
fn chunk(size: usize) -> BytesMut {
    let mut chunk = BytesMut::with_capacity(size);
    // Allocates its reference count now, and not with each use.
    drop(chunk.split_off(size));
    chunk
}

/// Size of a chunk for `wanted` bytes behind one of `last` bytes.
fn chunk_size(last: usize, wanted: usize) -> usize {
    last.saturating_mul(2).max(wanted).clamp(MIN_CHUNK, CHUNK).next_power_of_two()
}

/// Size of the last chunk of a buffer, and its unused room.
fn tail(chunks: &VecDeque<BytesMut>) -> (usize, usize) {
    chunks.back().map_or((0, 0), |tail| (tail.capacity(), tail.capacity().saturating_sub(tail.len())))
}

/// Bytes of memory that appending `len` bytes to a buffer's chunks allocates.
pub(in crate::proto) fn allocation(chunks: &VecDeque<BytesMut>, len: usize) -> usize {
    let (mut last, room) = tail(chunks);
    let (mut left, mut allocated) = (len.saturating_sub(room), 0);
    while left > 0 {
        last = chunk_size(last, left);
        allocated = count_up(last, allocated);
        left = left.saturating_sub(last);
    }
    allocated
}

/// Appends `bytes` to the chunks of a buffer.
pub(in crate::proto) fn append(chunks: &mut VecDeque<BytesMut>, bytes: &[u8], free_chunks: &mut ChunkPool) {
    match chunks.back_mut().filter(|tail| tail.capacity().saturating_sub(tail.len()) >= bytes.len()) {
        // Most writes fit into the last chunk.
        Some(tail) => tail.extend_from_slice(bytes),
        None => append_chunks(chunks, bytes, free_chunks),
    }
}

/// The same where the last chunk has too little room.
#[inline(never)]
fn append_chunks(chunks: &mut VecDeque<BytesMut>, mut bytes: &[u8], free_chunks: &mut ChunkPool) {
    while !bytes.is_empty() {
        let (last, room) = tail(chunks);
        if room == 0 {
            chunks.push_back(free_chunks.take(last, bytes.len()));
            continue;
        }
        let (head, rest) = bytes.split_at(room.min(bytes.len()));
        if let Some(tail) = chunks.back_mut() {
            tail.extend_from_slice(head);
        }
        bytes = rest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Buf;
    use quickcheck::quickcheck;

    quickcheck! {
        fn what_is_allocated_is_known_before(lens: Vec<u16>) -> bool {
            let (mut chunks, mut free_chunks, mut expected) = (VecDeque::new(), ChunkPool::default(), 0);
            // Some are there to be used again.
            let full = [(); 3].map(|()| full(&mut free_chunks).0);
            full.into_iter().for_each(|chunk| free_chunks.put(chunk.freeze(), 3 * CHUNK));
            for len in lens {
                expected += allocation(&chunks, usize::from(len));
                append(&mut chunks, &vec![0; usize::from(len)], &mut free_chunks);
                if chunks.iter().map(BytesMut::capacity).sum::<usize>() != expected {
                    return false;
                }
            }
            true
        }
    }

    #[test]
    fn y_mem_9_a_chunk_read_in_pieces_is_kept_whole() {
        for read in [1, 1024, 3072, 4095, 4096] {
            let mut pool = ChunkPool::default();
            let mut chunk = pool.take(2048, 1);
            chunk.extend_from_slice(&[7; 4096]);
            chunk.advance(read);
            chunk.clear();
            pool.keep(chunk, CHUNK);
            assert_eq!(pool.len(), 4096, "{read}");
            assert_eq!(pool.take(2048, 1).capacity(), 4096, "{read}");
        }
    }

    #[test]
    fn y_mem_9_what_is_of_no_chunk_size_is_not_kept() {
        for capacity in [513, 3072, 4097, CHUNK + 1, 2 * CHUNK] {
            let mut pool = ChunkPool::default();
            pool.put(BytesMut::with_capacity(capacity).split().freeze(), 4 * CHUNK);
            let mut block = BytesMut::with_capacity(capacity);
            block.extend_from_slice(&vec![7; capacity]);
            pool.put(block.freeze(), 4 * CHUNK);
            assert_eq!(pool.len(), 0, "{capacity}");
        }
    }

    /// A full chunk, and where it is.
    fn full(free_chunks: &mut ChunkPool) -> (BytesMut, *const u8) {
        let mut chunk = free_chunks.take(CHUNK, 1);
        chunk.resize(CHUNK, 7);
        let place = chunk.as_ptr();
        (chunk, place)
    }

    #[test]
    fn a_chunk_that_was_read_to_its_end_is_used_again() {
        let mut free_chunks = ChunkPool::default();
        let (chunk, place) = full(&mut free_chunks);
        let mut bytes = chunk.freeze();
        bytes.advance(CHUNK);
        free_chunks.put(bytes, CHUNK);
        assert_eq!(free_chunks.len(), CHUNK);
        let (chunk, again) = full(&mut free_chunks);
        assert_eq!((again, chunk.capacity(), free_chunks.len()), (place, CHUNK, 0));
    }

    #[test]
    fn a_chunk_in_pieces_is_reused_after_the_last_piece() {
        let mut free_chunks = ChunkPool::default();
        let (mut chunk, place) = full(&mut free_chunks);
        let first = chunk.split_to(100).freeze();
        let second = chunk.split_to(CHUNK - 100).freeze();
        drop(chunk);
        free_chunks.put(first, CHUNK);
        assert_eq!(free_chunks.len(), 0);
        free_chunks.put(second, CHUNK);
        assert_eq!((free_chunks.len(), full(&mut free_chunks).1), (CHUNK, place));
    }

    #[test]
    fn chunks_are_kept_by_size_and_the_commonest_give_way() {
        let mut free_chunks = ChunkPool::default();
        let mut small = free_chunks.take(0, 10);
        assert_eq!(small.capacity(), MIN_CHUNK);
        small.extend_from_slice(b"small");
        let place = small.as_ptr();
        free_chunks.put(small.freeze(), CHUNK);
        free_chunks.put(Bytes::from_static(b"nobody's"), CHUNK);
        assert_eq!(free_chunks.len(), MIN_CHUNK);
        let (one, other) = (full(&mut free_chunks).0, full(&mut free_chunks).0);
        free_chunks.put(one.freeze(), 2 * CHUNK);
        assert_eq!(free_chunks.len(), CHUNK + MIN_CHUNK);
        // There is no room for all of them.
        free_chunks.put(other.freeze(), 2 * CHUNK);
        assert_eq!(free_chunks.len(), CHUNK + MIN_CHUNK);
        // None that is larger than all that may be kept.
        let large = full(&mut free_chunks).0;
        free_chunks.put(large.freeze(), CHUNK - 1);
        assert_eq!((free_chunks.len(), free_chunks.take(0, 1).as_ptr()), (MIN_CHUNK, place));
    }

    #[test]
    fn what_nobody_asks_for_gives_way_to_what_is_in_use() {
        let (mut free_chunks, most) = (ChunkPool::default(), 4 * 1024);
        let idle = [(); 4].map(|()| free_chunks.take(0, 1));
        idle.into_iter().for_each(|chunk| free_chunks.keep(chunk, most));
        // Three times 1 KiB come and go, and beside the idle ones there is room for two.
        let mut places = Vec::new();
        for round in 0..4 {
            let chunks = [(); 3].map(|()| free_chunks.take(0, 1024));
            let now = chunks.each_ref().map(|chunk| chunk.as_ptr());
            assert!(round < 2 || now.iter().all(|place| places.contains(place)), "round {round}");
            places = now.into();
            chunks.into_iter().for_each(|chunk| free_chunks.keep(chunk, most));
            assert!(free_chunks.len() > most - 1024 && free_chunks.len() <= most, "round {round}");
        }
    }

    #[test]
    fn sizes_have_places_of_their_own() {
        let places: Vec<_> = sizes().map(place).collect();
        assert_eq!(places, [4, 3, 2, 1, 0]);
        assert_eq!(sizes().last(), Some(MIN_CHUNK));
        let wanted =
            [(0, 1), (0, 513), (512, 1), (1024, 9000), (CHUNK, 1)].map(|(last, wanted)| chunk_size(last, wanted));
        assert_eq!(wanted, [512, 1024, 1024, CHUNK, CHUNK]);
    }
}
