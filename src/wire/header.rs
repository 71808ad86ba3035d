//! Owns [`Header`]: the twelve bytes that start every frame, parsed into what they mean.

use super::{Flags, StreamId};
use crate::error::Violation;

/// Length of an encoded header, in bytes, which yamux fixes.
pub const HEADER_LEN: usize = 12;

/// The version and the types of frames, as yamux numbers them (Y-HDR-1).
const VERSION: u8 = 0;
const DATA: u8 = 0;
const WINDOW_UPDATE: u8 = 1;
const PING: u8 = 2;
const GO_AWAY: u8 = 3;

/// What the twelve bytes at the start of a frame say.
///
/// Fields that mean nothing for a type (the id of a ping or go-away, flags of a go-away) are not kept (Y-HDR-5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Header {
    /// `len` bytes of a stream's data follow.
    Data {
        /// The stream.
        id: StreamId,
        /// What else happens to the stream.
        flags: Flags,
        /// Length of the body, in bytes.
        len: u32,
    },
    /// More credit for the peer to send; with [`Flags::RST`], an error code instead.
    WindowUpdate {
        /// The stream.
        id: StreamId,
        /// What else happens to the stream.
        flags: Flags,
        /// Bytes of credit, or the code of a reset.
        value: u32,
    },
    /// A ping or a pong.
    Ping {
        /// Which of them.
        kind: PingKind,
        /// The value that a pong repeats.
        nonce: u32,
    },
    /// The sender will open nothing more (code 0), or ends the connection.
    GoAway {
        /// 0 normal, 1 protocol error, 2 internal error; others are an application's.
        code: u32,
    },
}

/// What a ping frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PingKind {
    /// SYN is set, with or without ACK: it wants to be answered.
    Request,
    /// ACK alone is set: an answer.
    Response,
    /// Neither is set: it means nothing.
    Unflagged,
}

impl Header {
    /// Reads a header.
    ///
    /// # Errors
    ///
    /// A [`Violation`] for an unknown version or type, and for stream id 0 on a frame that belongs to a stream.
    pub fn decode(bytes: &[u8; HEADER_LEN]) -> Result<Self, Violation> {
        let [version, kind, f0, f1, i0, i1, i2, i3, l0, l1, l2, l3] = *bytes;
        // Y-HDR-2.
        if version != VERSION {
            return Err(Violation::Version(version));
        }
        // Y-HDR-4: undefined flag bits fall away here.
        let flags = Flags::from_bits(u16::from_be_bytes([f0, f1]));
        let id = u32::from_be_bytes([i0, i1, i2, i3]);
        let length = u32::from_be_bytes([l0, l1, l2, l3]);
        match kind {
            DATA => {
                let id = StreamId::new(id).ok_or(Violation::StreamZero)?;
                Ok(Self::Data { id, flags, len: length })
            }
            WINDOW_UPDATE => {
                let id = StreamId::new(id).ok_or(Violation::StreamZero)?;
                Ok(Self::WindowUpdate { id, flags, value: length })
            }
            PING => Ok(Self::Ping { kind: PingKind::of(flags), nonce: length }),
            GO_AWAY => Ok(Self::GoAway { code: length }),
            // Y-HDR-3.
            kind => Err(Violation::FrameType(kind)),
        }
    }

    /// Writes the header (Y-HDR-1).
    pub fn encode(self) -> [u8; HEADER_LEN] {
        let (kind, flags, id, length) = match self {
            Self::Data { id, flags, len } => (DATA, flags, id.value(), len),
            Self::WindowUpdate { id, flags, value } => (WINDOW_UPDATE, flags, id.value(), value),
            Self::Ping { kind, nonce } => (PING, kind.flags(), 0, nonce),
            Self::GoAway { code } => (GO_AWAY, Flags::NONE, 0, code),
        };
        let [f0, f1] = flags.bits().to_be_bytes();
        let [i0, i1, i2, i3] = id.to_be_bytes();
        let [l0, l1, l2, l3] = length.to_be_bytes();
        [VERSION, kind, f0, f1, i0, i1, i2, i3, l0, l1, l2, l3]
    }

    /// Length of the body that follows, in bytes.
    pub const fn body_len(self) -> u32 {
        match self {
            Self::Data { len, .. } => len,
            Self::WindowUpdate { .. } | Self::Ping { .. } | Self::GoAway { .. } => 0,
        }
    }
}

impl PingKind {
    const fn of(flags: Flags) -> Self {
        if flags.contains(Flags::SYN) {
            Self::Request
        } else if flags.contains(Flags::ACK) {
            Self::Response
        } else {
            Self::Unflagged
        }
    }

    const fn flags(self) -> Flags {
        match self {
            Self::Request => Flags::SYN,
            Self::Response => Flags::ACK,
            Self::Unflagged => Flags::NONE,
        }
    }
}

#[cfg(test)]
impl quickcheck::Arbitrary for Header {
    fn arbitrary(g: &mut quickcheck::Gen) -> Self {
        let id = StreamId::new(u32::arbitrary(g).max(1)).expect("not zero");
        let flags = Flags::from_bits(u16::arbitrary(g));
        match u8::arbitrary(g) % 4 {
            0 => Self::Data { id, flags, len: u32::arbitrary(g) % 3000 },
            1 => Self::WindowUpdate { id, flags, value: u32::arbitrary(g) },
            2 => Self::Ping {
                kind: *g.choose(&[PingKind::Request, PingKind::Response, PingKind::Unflagged]).expect("three"),
                nonce: u32::arbitrary(g),
            },
            _ => Self::GoAway { code: u32::arbitrary(g) },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quickcheck::quickcheck;

    quickcheck! {
        fn y_hdr_1_header_round_trip(header: Header) -> bool {
            Header::decode(&header.encode()) == Ok(header)
        }

        fn any_twelve_bytes_decode_to_what_encodes_to_their_meaning(a: u64, b: u32) -> bool {
            let mut bytes = [0; HEADER_LEN];
            bytes[..8].copy_from_slice(&a.to_be_bytes());
            bytes[8..].copy_from_slice(&b.to_be_bytes());
            bytes[0] %= 2;
            bytes[1] %= 6;
            match Header::decode(&bytes) {
                Ok(header) => bytes[0] == 0 && bytes[1] < 4 && Header::decode(&header.encode()) == Ok(header),
                Err(Violation::Version(v)) => v == bytes[0] && v != 0,
                Err(Violation::FrameType(t)) => t == bytes[1] && t > 3,
                Err(Violation::StreamZero) => bytes[4..8] == [0; 4] && bytes[1] < 2,
                Err(_) => false,
            }
        }
    }

    #[test]
    fn y_hdr_1_layout_is_the_twelve_bytes_of_the_specification() {
        let id = StreamId::new(0x0102_0304).expect("not zero");
        let header = Header::Data { id, flags: Flags::SYN | Flags::FIN, len: 0x0A0B_0C0D };
        assert_eq!(header.encode(), [0, 0, 0, 5, 1, 2, 3, 4, 0x0A, 0x0B, 0x0C, 0x0D]);
        let header = Header::WindowUpdate { id, flags: Flags::RST, value: 0x1002 };
        assert_eq!(header.encode(), [0, 1, 0, 8, 1, 2, 3, 4, 0, 0, 0x10, 2]);
        let header = Header::Ping { kind: PingKind::Response, nonce: 7 };
        assert_eq!(header.encode(), [0, 2, 0, 2, 0, 0, 0, 0, 0, 0, 0, 7]);
        assert_eq!(Header::GoAway { code: 1 }.encode(), [0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    }

    #[test]
    fn y_hdr_5_what_means_nothing_is_dropped() {
        let decode = |bytes| Header::decode(&bytes);
        let id = StreamId::new(1).expect("not zero");
        assert_eq!(
            decode([0, 0, 0xFF, 0xF4, 0, 0, 0, 1, 0, 0, 0, 0]),
            Ok(Header::Data { id, flags: Flags::FIN, len: 0 })
        );
        assert_eq!(decode([0, 3, 0, 0xF, 0, 0, 0, 9, 0, 0, 0, 2]), Ok(Header::GoAway { code: 2 }));
        assert_eq!(
            decode([0, 2, 0, 0xD, 0, 0, 0, 9, 0, 0, 0, 2]),
            Ok(Header::Ping { kind: PingKind::Request, nonce: 2 })
        );
    }

    #[test]
    fn y_ping_1_a_ping_with_both_flags_is_a_request() {
        assert_eq!(PingKind::of(Flags::SYN | Flags::ACK), PingKind::Request);
        assert_eq!(PingKind::of(Flags::FIN), PingKind::Unflagged);
    }
}
