//! Bytes in which no part looks like another. What arrives is compared with what was sent, byte by byte, so that a loss,
//! a repetition and an exchange between streams all show.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of it")]

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use std::io;
use std::sync::OnceLock;

/// After so many bytes the pattern begins again. A prime, so that no window or frame is a multiple of it.
const LEN: usize = 65_521;
/// Bytes offered to one write.
pub const CHUNK: usize = 16 * 1024;

/// At least [`CHUNK`] bytes of the pattern of `seed`, from `offset` on.
pub fn at(seed: usize, offset: usize) -> &'static [u8] {
    static TABLE: OnceLock<Vec<u8>> = OnceLock::new();
    let table = TABLE.get_or_init(|| {
        let mut state = 0x9E37_79B9_7F4A_7C15_u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        };
        let once: Vec<u8> = (0..LEN).map(|_| next()).collect();
        once.repeat(2)
    });
    let start = (seed * 7919 + offset) % LEN;
    &table[start..start + LEN]
}

/// Writes the bytes `from..to` of a pattern and flushes.
pub async fn send<W: AsyncWrite + Unpin + ?Sized>(io: &mut W, seed: usize, from: usize, to: usize) -> io::Result<()> {
    let mut sent = from;
    while sent < to {
        let len = CHUNK.min(to - sent);
        io.write_all(&at(seed, sent)[..len]).await?;
        sent += len;
    }
    io.flush().await
}

/// Writes the pattern up to `to` or until the write would wait, and says where it has come to.
pub async fn send_until_pending<W: AsyncWrite + Unpin + ?Sized>(
    io: &mut W,
    seed: usize,
    from: usize,
    to: usize,
) -> usize {
    let mut sent = from;
    while sent < to {
        match futures::poll!(io.write(&at(seed, sent)[..CHUNK.min(to - sent)])) {
            std::task::Poll::Ready(written) => sent += written.expect("the stream is open"),
            std::task::Poll::Pending => break,
        }
    }
    sent
}

/// Reads the bytes `from..to` of a pattern.
pub async fn receive<R: AsyncRead + Unpin + ?Sized>(io: &mut R, seed: usize, from: usize, to: usize) {
    let mut buffer = vec![0; CHUNK];
    let mut received = from;
    while received < to {
        let len = CHUNK.min(to - received);
        let read = io.read(&mut buffer[..len]).await.expect("the stream is readable");
        assert_ne!(read, 0, "the stream ends after {received} of {to} bytes");
        assert!(buffer[..read] == at(seed, received)[..read], "other bytes than were sent after {received} of {to}");
        received += read;
    }
}

/// The next read must be the end of the stream.
pub async fn expect_end<R: AsyncRead + Unpin + ?Sized>(io: &mut R) {
    assert_eq!(io.read(&mut [0]).await.expect("the stream ends in good order"), 0, "more bytes than were sent");
}

/// Sends and receives at once, then closes and reads to the end.
pub async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    (out_seed, out): (usize, usize),
    (in_seed, inward): (usize, usize),
) {
    let (mut reader, mut writer) = stream.split();
    let write = async { send(&mut writer, out_seed, 0, out).await.expect("the stream takes it") };
    futures::join!(write, receive(&mut reader, in_seed, 0, inward));
    writer.close().await.expect("closes");
    expect_end(&mut reader).await;
}

/// Receives `len` bytes, sends them back, closes, and reads to the end.
pub async fn echo<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, len: usize) {
    let mut bytes = vec![0; len];
    stream.read_exact(&mut bytes).await.expect("the stream is readable");
    stream.write_all(&bytes).await.expect("the stream takes it");
    stream.close().await.expect("closes");
    expect_end(&mut stream).await;
}
