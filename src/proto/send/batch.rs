//! Owns [`Batch`]: encoded frames that are ready for a vectored write, in as few pieces as possible.
//!
//! Small bodies are copied next to their headers, large ones are handed over without a copy. Never decides which frames
//! go into it.

use crate::counting::count_up;
use crate::proto::counters::count_frame;
use crate::stats::{Traffic, add};
use crate::wire::{HEADER_LEN, Header};
use bytes::{Bytes, BytesMut};
use std::collections::VecDeque;

/// Bodies up to this many bytes are copied next to their headers; larger ones become pieces of their own. A choice, as
/// `SMALL_READ` is: below it a copy costs less than one more piece in a vectored write.
const JOIN: usize = 2048;

/// Bytes that a batch allocates at once for headers and copied bodies: more than its headers and the small chunks of
/// one stream need.
const BLOCK: usize = 4 * JOIN;

/// Headers and bodies in the order of the wire. Its storage is reused from batch to batch.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    joined: BytesMut,
    pieces: VecDeque<Bytes>,
    /// Bodies that have been copied: their chunks go back to the free list.
    copied: Vec<Bytes>,
    len: usize,
    /// Bytes of bodies.
    data: usize,
    /// Frames that were put in since the last [`count`](Self::count).
    uncounted: Traffic,
    /// Headers that were put in since they were last taken, where a tap asks for them.
    shown: Option<Vec<[u8; HEADER_LEN]>>,
}

impl Batch {
    /// A batch that keeps its headers for a tap.
    pub(crate) fn showing_headers() -> Self {
        Self { shown: Some(Vec::new()), ..Self::default() }
    }

    pub(crate) fn header(&mut self, header: Header) {
        let bytes = header.encode();
        // While no piece of the block is in use, it is reused from its start.
        if self.len == 0 {
            self.joined.reserve(BLOCK);
        }
        self.joined.extend_from_slice(&bytes);
        self.len = count_up(self.len, bytes.len());
        count_frame(&mut self.uncounted, header);
        if let Some(shown) = &mut self.shown {
            shown.push(bytes);
        }
    }

    pub(crate) fn body(&mut self, body: Bytes) {
        self.len = count_up(self.len, body.len());
        self.data = count_up(self.data, body.len());
        add(&mut self.uncounted.data_bytes, body.len() as u64);
        if body.len() <= JOIN {
            self.joined.extend_from_slice(&body);
            self.copied.push(body);
        } else {
            self.seal();
            self.pieces.push_back(body);
        }
    }

    /// Bodies whose bytes have been copied.
    pub(in crate::proto) fn copied(&mut self) -> std::vec::Drain<'_, Bytes> {
        self.copied.drain(..)
    }

    /// Frames that were put in since this was last called.
    pub(in crate::proto) fn count(&mut self) -> Traffic {
        std::mem::take(&mut self.uncounted)
    }

    /// The headers that were put in since this was last called, where a tap asks for them.
    pub(crate) fn take_shown(&mut self) -> Vec<[u8; HEADER_LEN]> {
        self.shown.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Length in bytes, headers included.
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// Moves the pieces to `pieces` for the write; returns how many bytes of bodies they hold.
    pub(crate) fn take(&mut self, pieces: &mut VecDeque<Bytes>) -> usize {
        self.seal();
        pieces.append(&mut self.pieces);
        self.len = 0;
        std::mem::take(&mut self.data)
    }

    /// Frees the storage of an empty batch.
    pub(crate) fn release_if_idle(&mut self) {
        if self.len == 0 {
            (self.joined, self.pieces, self.copied) = (BytesMut::new(), VecDeque::new(), Vec::new());
        }
    }

    fn seal(&mut self) {
        if !self.joined.is_empty() {
            self.pieces.push_back(self.joined.split().freeze());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Flags, StreamId};
    use quickcheck::quickcheck;

    quickcheck! {
        fn pieces_are_the_frames_in_order(bodies: Vec<u16>) -> bool {
            let id = StreamId::new(1).expect("not zero");
            let (mut batch, mut expected) = (Batch::default(), Vec::new());
            for (i, len) in bodies.iter().enumerate() {
                let len = usize::from(*len) % 5000;
                let header = Header::Data { id, flags: Flags::NONE, len: len as u32 };
                batch.header(header);
                batch.body(Bytes::from(vec![i as u8; len]));
                expected.extend_from_slice(&header.encode());
                expected.extend(std::iter::repeat_n(i as u8, len));
            }
            let (len, mut pieces) = (batch.len(), VecDeque::new());
            let data = batch.take(&mut pieces);
            let actual = pieces.iter().flat_map(|piece| piece.iter().copied()).collect::<Vec<_>>();
            len == expected.len() && data + 12 * bodies.len() == len && actual == expected && batch.len() == 0
        }
    }

    #[test]
    fn small_frames_become_one_piece() {
        let (mut batch, mut pieces) = (Batch::default(), VecDeque::new());
        for _ in 0..100 {
            batch.header(Header::GoAway { code: 0 });
            batch.body(Bytes::from_static(b"small"));
        }
        batch.take(&mut pieces);
        assert_eq!(pieces.len(), 1);
    }
}
