//! The streams of `tokio-yamux` with the traits of `futures`.

use futures::{AsyncRead, AsyncWrite};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::ReadBuf;
use tokio_util::compat::Compat;
use tokio_yamux::StreamHandle;

/// A stream takes in credit when it is read, so a write that waits for credit peeks.
pub struct Stream(pub Compat<StreamHandle>);

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            if let Poll::Ready(written) = Pin::new(&mut self.0).poll_write(cx, buf) {
                return Poll::Ready(written);
            }
            let stream = self.0.get_mut();
            let _ = stream.poll_peek(cx, &mut ReadBuf::new(&mut [0]));
            if stream.send_window() == 0 {
                return Poll::Pending;
            }
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_close(cx)
    }
}
