//! The traits of `tokio::io` on [`Stream`], and [`Session`] over tokio's transports. The only module that names `tokio`.
//!
//! Owns nothing: each method calls that of the `futures` trait.

use crate::config::Config;
use crate::mode::Mode;
use crate::proto::limits::SMALL_READ;
use crate::session::{Session, SessionDriver};
use crate::stream::{Got, Stream};
use futures::AsyncWrite as _;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncBufRead, AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};

impl Session {
    /// [`Session::new`] over a transport with tokio's traits.
    pub fn over_tokio<T>(io: T, config: Config, mode: Mode) -> (Self, SessionDriver<Compat<T>>)
    where
        T: AsyncRead + AsyncWrite + Unpin,
    {
        Self::new(io.compat(), config, mode)
    }
}

impl AsyncRead for Stream {
    /// Reads at least one byte, or nothing at the end of the stream or where there is no room in `buf`.
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        let room = buf.initialize_unfilled_to(buf.remaining().min(SMALL_READ));
        match ready!(this.poll_get(room, cx))? {
            Got::End => {}
            Got::Copied(read) => buf.advance(read),
            Got::Chunks => {
                this.hand_out(buf.remaining(), |piece| buf.put_slice(piece));
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncBufRead for Stream {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        futures::AsyncBufRead::poll_fill_buf(self, cx)
    }

    /// More than [`poll_fill_buf`](AsyncBufRead::poll_fill_buf) gave counts as all of it.
    fn consume(self: Pin<&mut Self>, amt: usize) {
        futures::AsyncBufRead::consume(self, amt);
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        futures::AsyncWrite::poll_write(self, cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        futures::AsyncWrite::poll_write_vectored(self, cx, bufs)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        futures::AsyncWrite::poll_flush(self, cx)
    }

    /// Finishes the write half; ready when its FIN was flushed. Reading goes on. Shutting down again is `Ok`.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_close(cx)
    }
}
