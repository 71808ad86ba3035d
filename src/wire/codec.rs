//! Owns [`Codec`]: the [`Parser`] behind `asynchronous_codec`'s traits, for whoever drives frames by hand.

use super::{Frame, Parser};
use crate::counting::count_down;
use asynchronous_codec::{Decoder, Encoder};
use bytes::{Buf, Bytes, BytesMut};
use std::io;

/// Reads and writes [`Frame`]s through `asynchronous_codec::Framed`.
///
/// It checks the syntax of headers and nothing else: a length may lie, a body may be cut anywhere. That is what a
/// hand-driven peer in a test is for.
#[derive(Clone, Debug, Default)]
pub struct Codec {
    parser: Parser,
}

impl Decoder for Codec {
    type Item = Frame<Bytes>;
    type Error = io::Error;

    fn decode(&mut self, src: &mut BytesMut) -> Result<Option<Self::Item>, Self::Error> {
        let mut input: &[u8] = src;
        let before = input.len();
        let frame =
            self.parser.next(&mut input).map_err(|violation| io::Error::new(io::ErrorKind::InvalidData, violation))?;
        let taken = count_down(before, input.len());
        Ok(match frame {
            None => None,
            Some(Frame::Header(header)) => {
                src.advance(taken);
                Some(Frame::Header(header))
            }
            Some(Frame::Body(_)) => Some(Frame::Body(src.split_to(taken).freeze())),
        })
    }
}

impl Encoder for Codec {
    type Item<'a> = Frame<Bytes>;
    type Error = io::Error;

    fn encode(&mut self, frame: Self::Item<'_>, dst: &mut BytesMut) -> Result<(), Self::Error> {
        match frame {
            Frame::Header(header) => dst.extend_from_slice(&header.encode()),
            Frame::Body(body) => dst.extend_from_slice(&body),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Header;
    use quickcheck::quickcheck;

    quickcheck! {
        fn y_hdr_1_codec_round_trip(headers: Vec<Header>) -> bool {
            let (mut codec, mut bytes) = (Codec::default(), BytesMut::new());
            let mut expected = Vec::new();
            for header in headers {
                expected.push(Frame::Header(header));
                if header.body_len() > 0 {
                    expected.push(Frame::Body(Bytes::from(vec![7; header.body_len() as usize])));
                }
            }
            for frame in &expected {
                codec.encode(frame.clone(), &mut bytes).expect("encoding cannot fail");
            }
            let decoded: Vec<_> = std::iter::from_fn(|| codec.decode(&mut bytes).expect("legal")).collect();
            decoded == expected && bytes.is_empty()
        }
    }

    #[test]
    fn illegal_bytes_are_invalid_data() {
        let error = Codec::default()
            .decode(&mut BytesMut::from(&[0u8, 6, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0][..]))
            .expect_err("type 6");
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert_eq!(error.to_string(), "unknown frame type 6");
    }
}
