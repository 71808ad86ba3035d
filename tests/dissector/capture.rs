//! Captures of one TCP connection, written as files that `tshark` reads.

use std::fs;
use std::io;
use std::path::Path;

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    ToServer,
    ToClient,
}

impl Way {
    pub const BOTH: [Self; 2] = [Self::ToServer, Self::ToClient];

    /// The IPv4 address that bytes come from.
    pub const fn source(self) -> [u8; 4] {
        [10, 0, 0, 1 + self as u8]
    }

    /// The port that they come from.
    const fn port(self) -> u16 {
        match self {
            Self::ToServer => 50_000,
            Self::ToClient => 4001,
        }
    }

    const fn back(self) -> Self {
        match self {
            Self::ToServer => Self::ToClient,
            Self::ToClient => Self::ToServer,
        }
    }
}

/// A capture, as the bytes of its file.
pub struct Capture {
    file: Vec<u8>,
    /// The sequence number of the next byte, each way.
    next: [u32; 2],
    packets: u32,
    /// So many bytes of a packet are captured at most.
    pub most: u32,
}

const SYN: u8 = 0x02;
const PSH: u8 = 0x08;
const ACK: u8 = 0x10;

const IP_LEN: usize = 20;
const TCP_LEN: usize = 20;

impl Capture {
    /// A connection on which nothing has been sent yet.
    pub fn new() -> Self {
        // A pcap file, version 2.4, in which packets begin with their IPv4 header.
        let mut file = Vec::new();
        file.extend([0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 1 << 18, 228].into_iter().flat_map(u32::to_le_bytes));
        // The numbers of one way run over on the way.
        let mut capture = Self { file, next: [1000, u32::MAX - 1000], packets: 0, most: u32::MAX };
        capture.packet(Way::ToServer, SYN, &[]);
        capture.advance(Way::ToServer, 1);
        capture.packet(Way::ToClient, SYN | ACK, &[]);
        capture.advance(Way::ToClient, 1);
        capture.packet(Way::ToServer, ACK, &[]);
        capture
    }

    /// What was written to a connection, in segments of `sizes` in turn, or less where the other end begins to write.
    pub fn of(bytes: &[(Way, Vec<u8>)], sizes: &[usize]) -> Self {
        let mut capture = Self::new();
        let mut sizes = sizes.iter().copied().cycle();
        for turn in bytes.chunk_by(|(one, _), (next, _)| one == next) {
            let way = turn[0].0;
            let turn: Vec<u8> = turn.iter().flat_map(|(_, bytes)| bytes).copied().collect();
            let mut rest = &turn[..];
            while let (false, Some(size)) = (rest.is_empty(), sizes.next()) {
                let (segment, after) = rest.split_at(size.min(rest.len()));
                capture.segment(way, segment);
                rest = after;
            }
        }
        capture
    }

    pub fn segment(&mut self, way: Way, bytes: &[u8]) {
        self.packet(way, PSH | ACK, bytes);
        self.advance(way, bytes.len());
    }

    /// A segment of so many bytes is sent and not captured.
    pub fn lose(&mut self, way: Way, len: usize) {
        self.advance(way, len);
    }

    /// A segment whose first `behind` bytes, or all of it, should have been there earlier.
    pub fn late_segment(&mut self, way: Way, behind: usize, bytes: &[u8]) {
        let next = self.next[way as usize];
        self.next[way as usize] = next.wrapping_sub(u32::try_from(behind).expect("a segment"));
        self.packet(way, PSH | ACK, bytes);
        self.next[way as usize] = next;
        self.advance(way, bytes.len().saturating_sub(behind));
    }

    pub fn write(&self, path: &Path) -> io::Result<()> {
        fs::write(path, &self.file)
    }

    fn advance(&mut self, way: Way, len: usize) {
        let next = &mut self.next[way as usize];
        *next = next.wrapping_add(u32::try_from(len).expect("a segment"));
    }

    fn packet(&mut self, way: Way, flags: u8, payload: &[u8]) {
        let back = way.back();
        let len = u16::try_from(IP_LEN + TCP_LEN + payload.len()).expect("a packet");
        let mut packet = vec![0x45, 0];
        packet.extend(len.to_be_bytes());
        // Not fragmented, 64 hops, TCP. There are no checksums, as where a network card adds them.
        packet.extend([0, 0, 0x40, 0, 64, 6, 0, 0]);
        packet.extend(way.source());
        packet.extend(back.source());
        packet.extend(way.port().to_be_bytes());
        packet.extend(back.port().to_be_bytes());
        packet.extend(self.next[way as usize].to_be_bytes());
        packet.extend(self.next[back as usize].to_be_bytes());
        packet.extend([0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
        packet.extend(payload);

        // A packet every millisecond.
        let (seconds, micros) = (self.packets / 1000, self.packets % 1000 * 1000);
        let captured = self.most.min(len.into());
        self.file.extend([seconds, micros, captured, len.into()].into_iter().flat_map(u32::to_le_bytes));
        self.file.extend(&packet[..captured as usize]);
        self.packets += 1;
    }
}
