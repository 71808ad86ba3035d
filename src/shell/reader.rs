//! Owns [`Reader`]: reads from the transport and parses frames. It has no protocol state and no lock.

use crate::counting::{count_down, count_up};
use crate::error::Violation;
use crate::wire::{Frame, HEADER_LEN, Parser};
use futures::AsyncRead;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// The first size of the buffer, in bytes: a page. It grows when reads fill it.
const FIRST: usize = 4 * 1024;

/// Reads as much as the transport has in one call, and parses frames from it.
#[derive(Debug)]
pub(super) struct Reader {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    max: usize,
    parser: Parser,
}

impl Reader {
    pub(super) fn new(max: usize) -> Self {
        Self { buffer: Vec::new(), start: 0, end: 0, max, parser: Parser::default() }
    }

    /// Reads once, `most` bytes at most. `Ok(0)` is the end of the transport.
    pub(super) fn poll_fill<T>(&mut self, io: &mut T, most: usize, cx: &mut Context<'_>) -> Poll<io::Result<usize>>
    where
        T: AsyncRead + Unpin,
    {
        self.make_room();
        let room = self.buffer.get_mut(self.end..).unwrap_or_default();
        let len = room.len().min(most);
        let room = room.get_mut(..len).unwrap_or_default();
        let read = ready!(Pin::new(io).poll_read(cx, room))?;
        if read > len {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "the transport read more than it may")));
        }
        self.end = count_up(self.end, read);
        Poll::Ready(Ok(read))
    }

    /// Moves the rest of a header to the front; after a read that filled the buffer, makes it larger.
    fn make_room(&mut self) {
        let full = self.end == self.buffer.len();
        self.rewind();
        if full && self.buffer.len() < self.max {
            let size = self.buffer.len().saturating_mul(4).clamp(FIRST, self.max);
            self.buffer.resize(size, 0);
        }
    }

    /// The next frame of what has been read.
    pub(super) fn next(&mut self) -> Result<Option<Frame<&[u8]>>, Violation> {
        let mut input = self.buffer.get(self.start..self.end).unwrap_or_default();
        let before = input.len();
        let frame = self.parser.next(&mut input)?;
        let parsed = count_down(before, input.len());
        self.start = count_up(self.start, parsed);
        Ok(frame)
    }

    /// What was read and not parsed yet.
    pub(super) fn unparsed(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }

    /// The header that comes next, legal or not, if a header comes next and is complete.
    pub(super) fn peek_header(&self) -> Option<[u8; HEADER_LEN]> {
        let input = self.parser.is_between_frames().then(|| self.unparsed())?;
        input.first_chunk().copied()
    }

    /// Bytes of the body under way that have been read and come next.
    pub(super) fn body_ahead(&self) -> usize {
        self.parser.body_left().min(self.unparsed().len())
    }

    /// Whether the transport has ended inside a frame, if it has ended.
    pub(super) const fn is_inside_frame(&self) -> bool {
        self.start < self.end || !self.parser.is_between_frames()
    }

    /// Frees the buffer, except for what was not parsed yet. The next read allocates another.
    pub(super) fn shrink(&mut self) {
        if !self.buffer.is_empty() {
            self.buffer = self.unparsed().to_vec();
            (self.start, self.end) = (0, self.buffer.len());
        }
    }

    /// Moves what was not parsed to the front, so that the buffer does not grow for input that is only inspected.
    pub(super) fn rewind(&mut self) {
        self.buffer.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, count_down(self.end, self.start));
    }

    /// Discards what has been read.
    pub(super) const fn discard(&mut self) {
        (self.start, self.end) = (0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Header;
    use futures::task::noop_waker;

    fn fill(reader: &mut Reader, mut io: impl AsyncRead + Unpin) -> Poll<io::Result<usize>> {
        let waker = noop_waker();
        reader.poll_fill(&mut io, usize::MAX, &mut Context::from_waker(&waker))
    }

    #[test]
    fn one_read_feeds_many_frames_and_the_buffer_grows_to_its_maximum() {
        let frame = Header::GoAway { code: 3 }.encode();
        let bytes: Vec<u8> = frame.iter().copied().cycle().take(64 * 1024).collect();
        let (mut reader, mut io) = (Reader::new(16 * 1024), bytes.as_slice());
        let mut sizes = Vec::new();
        let mut frames = 0;
        while let Poll::Ready(Ok(read @ 1..)) = fill(&mut reader, &mut io as &mut &[u8]) {
            sizes.push(read);
            while let Some(parsed) = reader.next().expect("legal") {
                assert_eq!(parsed, Frame::Header(Header::GoAway { code: 3 }));
                frames += 1;
            }
        }
        assert_eq!(frames, 64 * 1024 / 12);
        assert_eq!(sizes[..2], [4 * 1024, 16 * 1024 - 4]);
        assert!(reader.is_inside_frame());
    }

    #[test]
    fn a_freed_buffer_holds_only_unparsed_bytes() {
        let frame = Header::GoAway { code: 3 }.encode();
        let mut reader = Reader::new(16 * 1024);
        for split in [0, 5, 12] {
            let (head, tail) = frame.split_at(split);
            let _ = fill(&mut reader, head);
            assert!(split == 12 || reader.next().expect("legal").is_none());
            reader.shrink();
            assert_eq!(reader.buffer.capacity(), split);
            let _ = fill(&mut reader, tail);
            assert_eq!(reader.next().expect("legal"), Some(Frame::Header(Header::GoAway { code: 3 })));
            reader.shrink();
            assert_eq!(reader.buffer.capacity(), 0);
        }
    }

    #[test]
    fn a_transport_that_lies_about_its_length_is_an_error() {
        struct Liar;
        impl AsyncRead for Liar {
            fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
                Poll::Ready(Ok(buf.len() + 1))
            }
        }
        let result = fill(&mut Reader::new(4096), Liar);
        assert!(matches!(result, Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::InvalidData));
    }
}
