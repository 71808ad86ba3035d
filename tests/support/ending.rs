//! A transport that fails in the place of its end, as TLS without close_notify and a socket that was reset do.

use crate::support::Pipe;
use futures::{AsyncRead, AsyncWrite};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

/// What the error says.
pub const FAILURE: &str = "pulled";

/// A transport whose read half fails in the place of its end, with an error of this kind.
pub struct FailsAtEnd(pub Pipe, pub io::ErrorKind);

impl AsyncRead for FailsAtEnd {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let kind = self.1;
        Pin::new(&mut self.0).poll_read(cx, buf).map(|read| match read {
            Ok(0) => Err(io::Error::new(kind, FAILURE)),
            read => read,
        })
    }
}

impl AsyncWrite for FailsAtEnd {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_close(cx)
    }
}
