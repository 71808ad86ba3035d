//! Any bytes, cut anywhere: the parser finds the same frames, and what it takes for legal is written as it was read.

use sluicegate::wire::{Frame, HEADER_LEN, Header, Parser};

pub fn codec(input: &[u8]) {
    let Some((step, bytes)) = input.split_first() else { return };
    let (whole, pieces) = (parse(bytes, bytes.len().max(1)), parse(bytes, usize::from(*step).max(1)));
    assert_eq!(whole, pieces, "frames depend on how they arrive");
    for header in whole.headers {
        let encoded = header.encode();
        assert_eq!(Header::decode(&encoded), Ok(header));
    }
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Parsed {
    headers: Vec<Header>,
    body: Vec<u8>,
    /// What the parser said at last, and how many bytes it left.
    end: Option<String>,
    left: usize,
}

fn parse(bytes: &[u8], step: usize) -> Parsed {
    let (mut parser, mut pending, mut parsed) = (Parser::default(), Vec::new(), Parsed::default());
    for piece in bytes.chunks(step) {
        pending.extend_from_slice(piece);
        let mut input = pending.as_slice();
        loop {
            match parser.next(&mut input) {
                Ok(Some(Frame::Header(header))) => parsed.headers.push(header),
                Ok(Some(Frame::Body(body))) => parsed.body.extend_from_slice(body),
                Ok(None) => break,
                Err(violation) => {
                    parsed.end = Some(violation.to_string());
                    return parsed;
                }
            }
        }
        assert!(input.len() < HEADER_LEN, "more than a header waits");
        pending = input.to_vec();
    }
    parsed.left = pending.len();
    parsed
}
