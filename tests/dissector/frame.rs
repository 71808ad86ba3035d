//! Headers, as the dissector names their fields.

/// A header.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame {
    pub version: u32,
    pub kind: u32,
    pub flags: u32,
    pub stream: u32,
    /// The last field with its name; nothing where the type is unknown.
    pub last: Option<(&'static str, u32)>,
}

const DATA: u32 = 0;
const WINDOW_UPDATE: u32 = 1;
const PING: u32 = 2;
const GO_AWAY: u32 = 3;
const RST: u32 = 0x8;

impl Frame {
    /// Reads a header. Not with the crate's codec, which takes only legal ones.
    pub fn of(header: &[u8; 12]) -> Self {
        let [version, kind, f0, f1, i0, i1, i2, i3, l0, l1, l2, l3] = *header;
        let (kind, flags) = (kind.into(), u16::from_be_bytes([f0, f1]).into());
        let stream = u32::from_be_bytes([i0, i1, i2, i3]);
        let last = last_field(kind, flags).map(|field| (field, u32::from_be_bytes([l0, l1, l2, l3])));
        Self { version: version.into(), kind, flags, stream, last }
    }
}

/// The name of the last field of such headers.
pub fn last_field(kind: u32, flags: u32) -> Option<&'static str> {
    match kind {
        DATA => Some("yamux.length"),
        WINDOW_UPDATE if flags & RST == 0 => Some("yamux.credit"),
        WINDOW_UPDATE | GO_AWAY => Some("yamux.code"),
        PING => Some("yamux.ping"),
        _ => None,
    }
}
