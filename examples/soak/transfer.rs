//! The opening side of a transfer: it sends bytes, and compares the bytes that come back.

use crate::pattern;
use crate::trouble::{GIVEN_UP, Trouble, within};
use rand::RngExt as _;
use rand::rngs::StdRng;
use sluicegate::{Priority, Session, Stream};
use std::fmt;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The code of a planned reset.
pub(crate) const RESET: u32 = 0x1002;

/// The code of the reset that a writer gets where the other end has dropped the stream.
const DROPPED: u32 = 0;

/// Size of reads and writes, in bytes.
const PIECE: usize = 32 * 1024;

/// Bytes of the largest transfer, one way, as a power of two: four first windows.
const LARGEST: f64 = 20.0;

/// How the stream ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Manner {
    /// Data flows both ways at once, and both halves are finished.
    Whole,
    /// The opening end resets it after sending half.
    ResetByOpener,
    /// The accepting end resets it after receiving half.
    ResetByAcceptor,
    /// The opening end drops it after writing everything, and nothing comes back.
    DroppedByOpener,
    /// The accepting end drops it at once.
    DroppedByAcceptor,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Transfer {
    /// Seed of the bytes.
    pub(crate) number: u64,
    pub(crate) manner: Manner,
    /// Bytes sent, and bytes that come back.
    pub(crate) out: u64,
    pub(crate) back: u64,
    priority: Priority,
}

impl Transfer {
    pub(crate) const HEADER: usize = 25;

    pub(crate) fn random(rng: &mut StdRng) -> Self {
        use Manner::*;
        let mut size = || rng.random_range(0.0..=LARGEST).exp2() as u64;
        let (out, back) = (size(), size());
        let manner = match rng.random_range(0..10) {
            0 => ResetByOpener,
            1 => ResetByAcceptor,
            2 => DroppedByOpener,
            3 => DroppedByAcceptor,
            _ => Whole,
        };
        Self { number: rng.random(), manner, out, back, priority: Priority::new(rng.random()) }
    }

    /// The first bytes of the stream: a description of the transfer.
    fn header(&self) -> [u8; Self::HEADER] {
        let mut header = [0; Self::HEADER];
        header[..8].copy_from_slice(&self.number.to_be_bytes());
        header[8..16].copy_from_slice(&self.out.to_be_bytes());
        header[16..24].copy_from_slice(&self.back.to_be_bytes());
        header[24] = self.manner as u8;
        header
    }

    pub(crate) fn parse(header: &[u8; Self::HEADER]) -> Result<Self, Trouble> {
        use Manner::*;
        let number = |at: usize| header[at..at + 8].iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
        let all = [Whole, ResetByOpener, ResetByAcceptor, DroppedByOpener, DroppedByAcceptor];
        let manner = all.into_iter().find(|manner| *manner as u8 == header[24]);
        let manner = manner.ok_or_else(|| Trouble::wrong("the first bytes of a stream are not what was sent"))?;
        Ok(Self { number: number(0), out: number(8), back: number(16), manner, priority: Priority::default() })
    }

    /// Seed of the bytes that come back.
    pub(crate) fn answer(&self) -> u64 {
        self.number.wrapping_add(1)
    }

    /// Bytes that the receivers have compared at least, once the transfer is over.
    pub(crate) const fn compared(&self) -> u64 {
        match self.manner {
            Manner::Whole => self.out + self.back,
            Manner::DroppedByOpener => self.out,
            Manner::ResetByAcceptor => self.out / 2,
            Manner::ResetByOpener | Manner::DroppedByAcceptor => 0,
        }
    }

    pub(crate) async fn carry_out(&self, session: &Session) -> Result<(), Trouble> {
        let mut stream = within("to open a stream", session.open()).await?;
        stream.set_priority(self.priority);
        let result = self.play(&mut stream).await;
        if result.is_err() {
            stream.reset(GIVEN_UP);
        }
        result
    }

    async fn play(&self, stream: &mut Stream) -> Result<(), Trouble> {
        match self.manner {
            Manner::Whole => {
                let (mut read, mut write) = tokio::io::split(stream);
                let out = async {
                    self.say(&mut write, self.out).await?;
                    within("to finish a stream", write.shutdown()).await
                };
                tokio::try_join!(out, receive(&mut read, self.answer(), self.back)).map(|_| ())
            }
            Manner::ResetByOpener => {
                self.say(stream, self.out / 2).await?;
                stream.reset(RESET);
                Ok(())
            }
            Manner::ResetByAcceptor => match self.say(stream, self.out).await {
                Ok(()) => receive_reset(stream, self.answer(), 0).await,
                Err(trouble) => unless_reset(trouble, RESET),
            },
            Manner::DroppedByOpener => self.say(stream, self.out).await,
            Manner::DroppedByAcceptor => {
                let ended = async {
                    self.say(stream, self.out).await?;
                    receive(stream, self.answer(), 0).await
                };
                ended.await.or_else(|trouble| unless_reset(trouble, DROPPED))
            }
        }
    }

    /// Writes the description of the transfer, and so many bytes of it.
    async fn say(&self, to: &mut (impl AsyncWrite + Unpin), len: u64) -> Result<(), Trouble> {
        within("to write the first bytes", to.write_all(&self.header())).await?;
        send(to, self.number, len).await
    }
}

/// Writes `len` bytes.
pub(crate) async fn send(to: &mut (impl AsyncWrite + Unpin), number: u64, len: u64) -> Result<(), Trouble> {
    let mut sent = 0;
    while sent < len {
        let left = usize::try_from(len - sent).unwrap_or(PIECE);
        let piece = pattern::bytes(number, sent, left.min(PIECE));
        within(&format!("to write at {sent} of {len}"), to.write_all(piece)).await?;
        sent += piece.len() as u64;
    }
    Ok(())
}

/// Reads `len` bytes and the end of the stream, and compares them.
pub(crate) async fn receive(from: &mut (impl AsyncRead + Unpin), number: u64, len: u64) -> Result<(), Trouble> {
    let received = compare(from, number, len).await?;
    if received == len { Ok(()) } else { Err(Trouble::wrong(format!("the stream ends at {received} of {len} bytes"))) }
}

/// Reads up to `len` bytes, and compares them; then the other end must reset the stream.
pub(crate) async fn receive_reset(stream: &mut Stream, number: u64, len: u64) -> Result<(), Trouble> {
    match compare(stream, number, len).await {
        Ok(received) => Err(Trouble::wrong(format!("the stream ends at {received} bytes, but it is reset"))),
        Err(trouble) => unless_reset(trouble, RESET),
    }
}

/// Reads to the end of the stream, which must come after at most `most` bytes; returns how many came.
async fn compare(from: &mut (impl AsyncRead + Unpin), number: u64, most: u64) -> Result<u64, Trouble> {
    let (mut received, mut buffer) = (0, vec![0; PIECE]);
    loop {
        let read = within(&format!("to read at {received} of {most}"), from.read(&mut buffer)).await?;
        if read == 0 {
            return Ok(received);
        }
        let right = pattern::right(number, received, &buffer[..read]);
        received += read as u64;
        if right < read || received > most {
            let at = (received - read as u64 + right as u64).min(most);
            return Err(Trouble::wrong(format!("byte {at} of {most} is wrong")));
        }
    }
}

/// A reset by the other end is no error where it was planned.
pub(crate) fn unless_reset(trouble: Trouble, expected: u32) -> Result<(), Trouble> {
    match trouble {
        Trouble::Reset(code) if code == expected => Ok(()),
        other => Err(other),
    }
}

impl fmt::Display for Transfer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "transfer {:016x} ({:?}, {} bytes out and {} back)", self.number, self.manner, self.out, self.back)
    }
}
