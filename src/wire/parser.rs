//! Owns [`Parser`]: where in the byte stream the next header is.

use super::{HEADER_LEN, Header};
use crate::counting::count_down;
use crate::error::Violation;

/// A piece of the byte stream: a header, or bytes of the body that the last header announced.
///
/// A body comes in as many pieces as it arrives in, none of them empty, so that a slow one is delivered as far as it is
/// there and none is ever sized by its announced length (Y-HDR-6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame<B> {
    /// The start of a frame.
    Header(Header),
    /// The next bytes of the current frame's body.
    Body(B),
}

/// Cuts a byte stream into [`Frame`]s. The only state is how much of a body is still to come.
#[derive(Clone, Debug, Default)]
pub struct Parser {
    body_left: u32,
}

impl Parser {
    /// Takes the next frame off the front of `input`; `None` when that needs more bytes than there are.
    ///
    /// # Errors
    ///
    /// See [`Header::decode`]. The input is then left where it was, and so is the parser.
    pub fn next<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Frame<&'a [u8]>>, Violation> {
        if self.body_left > 0 {
            let len = input.len().min(usize::try_from(self.body_left).unwrap_or(usize::MAX));
            let (body, rest) = input.split_at(len);
            *input = rest;
            self.body_left = count_down(self.body_left, u32::try_from(len).unwrap_or(u32::MAX));
            return Ok((len > 0).then_some(Frame::Body(body)));
        }
        let Some((bytes, rest)) = input.split_first_chunk::<HEADER_LEN>() else {
            return Ok(None);
        };
        let header = Header::decode(bytes)?;
        *input = rest;
        self.body_left = header.body_len();
        Ok(Some(Frame::Header(header)))
    }

    /// Bytes that the last header's body still lacks.
    pub(crate) fn body_left(&self) -> usize {
        usize::try_from(self.body_left).unwrap_or(usize::MAX)
    }

    /// Whether the last header's body is complete.
    pub const fn is_between_frames(&self) -> bool {
        self.body_left == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Flags, StreamId};
    use quickcheck::quickcheck;

    /// Feeds `bytes` in pieces of `step` and joins what comes out, a header with its whole body.
    fn parse(bytes: &[u8], step: usize) -> Vec<(Header, Vec<u8>)> {
        let (mut parser, mut pending, mut out) = (Parser::default(), Vec::new(), Vec::new());
        for piece in bytes.chunks(step.max(1)) {
            pending.extend_from_slice(piece);
            let mut input = pending.as_slice();
            while let Some(frame) = parser.next(&mut input).expect("legal") {
                match frame {
                    Frame::Header(header) => out.push((header, Vec::new())),
                    Frame::Body(body) => out.last_mut().expect("after a header").1.extend_from_slice(body),
                }
            }
            pending = input.to_vec();
        }
        assert!(parser.is_between_frames() && pending.is_empty());
        out
    }

    quickcheck! {
        fn fragmentation_changes_nothing(headers: Vec<Header>, step: u8) -> bool {
            let expected: Vec<_> = headers.iter().map(|h| (*h, vec![0xA5; h.body_len() as usize])).collect();
            let mut bytes = Vec::new();
            for (header, body) in &expected {
                bytes.extend_from_slice(&header.encode());
                bytes.extend_from_slice(body);
            }
            parse(&bytes, usize::from(step)) == expected
        }

        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) -> bool {
            let (mut parser, mut input) = (Parser::default(), bytes.as_slice());
            while let Ok(Some(_)) = parser.next(&mut input) {}
            input.len() <= bytes.len()
        }
    }

    #[test]
    fn y_hdr_6_a_huge_announced_length_yields_the_bytes_that_came() {
        let id = StreamId::new(1).expect("not zero");
        let header = Header::Data { id, flags: Flags::NONE, len: u32::MAX };
        let (mut parser, mut bytes) = (Parser::default(), header.encode().to_vec());
        bytes.push(9);
        let mut input = bytes.as_slice();
        assert_eq!(parser.next(&mut input), Ok(Some(Frame::Header(header))));
        assert_eq!(parser.next(&mut input), Ok(Some(Frame::Body(&[9u8][..]))));
        assert_eq!(parser.next(&mut input), Ok(None));
        assert!(!parser.is_between_frames());
    }

    #[test]
    fn an_illegal_header_is_reported_again_and_again() {
        let bytes = [9u8; HEADER_LEN];
        let (mut parser, mut input) = (Parser::default(), &bytes[..]);
        for _ in 0..2 {
            assert_eq!(parser.next(&mut input), Err(Violation::Version(9)));
        }
    }
}
