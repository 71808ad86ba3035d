//! A peer that needs no heap: frames are made when they are read, and what is written is thrown away or not taken.

use futures::{AsyncRead, AsyncWrite};
use sluicegate::wire::Header;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

/// A header and the bytes that follow it, all of them zeros.
#[derive(Clone, Copy, Debug)]
pub struct Frame {
    pub header: [u8; 12],
    pub body: u32,
}

impl Frame {
    pub fn of(header: Header) -> Self {
        Self { header: header.encode(), body: header.body_len() }
    }
}

/// Whether the peer reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    Everything,
    Nothing,
}

pub struct Script {
    frames: Box<dyn Iterator<Item = Frame> + Send>,
    /// What has been given of the frame at hand, header and body.
    frame: Option<(Frame, usize)>,
    reads: Reads,
}

impl Script {
    pub fn new(frames: impl Iterator<Item = Frame> + Send + 'static, reads: Reads) -> Self {
        Self { frames: Box::new(frames), frame: None, reads }
    }

    /// Fills as much of `buf` as the script has for it.
    fn fill(&mut self, buf: &mut [u8]) -> usize {
        let mut filled = 0;
        while filled < buf.len() {
            let Some((frame, given)) = self.frame.take().or_else(|| self.frames.next().map(|frame| (frame, 0))) else {
                break;
            };
            let room = &mut buf[filled..];
            let piece = match frame.header.get(given..) {
                Some(rest) if !rest.is_empty() => {
                    let len = rest.len().min(room.len());
                    room[..len].copy_from_slice(&rest[..len]);
                    len
                }
                _ => {
                    let len = (frame.header.len() + frame.body as usize - given).min(room.len());
                    room[..len].fill(0);
                    len
                }
            };
            filled += piece;
            let given = given + piece;
            if given < frame.header.len() + frame.body as usize {
                self.frame = Some((frame, given));
            }
        }
        filled
    }
}

impl AsyncRead for Script {
    /// When the script has ended there is nothing more, but no end either: the peer keeps the connection.
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        match self.fill(buf) {
            0 => Poll::Pending,
            filled => Poll::Ready(Ok(filled)),
        }
    }
}

impl AsyncWrite for Script {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.reads {
            Reads::Everything => Poll::Ready(Ok(buf.len())),
            Reads::Nothing => Poll::Pending,
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
