//! The crate `tokio-yamux`.

use super::End;
use crate::line::Answer;
use crate::support::Io;
use async_trait::async_trait;
use futures::channel::mpsc;
use futures::{AsyncRead, AsyncWrite, StreamExt};
use sluicegate::Mode;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::ReadBuf;
use tokio::sync::{Mutex, watch};
use tokio::task::AbortHandle;
use tokio_util::compat::{Compat, FuturesAsyncReadCompatExt, TokioAsyncReadCompatExt};
use tokio_yamux::session::SessionType;
use tokio_yamux::{Config, Control, Session, StreamHandle};

pub struct TokioYamux {
    control: Control,
    accepted: Mutex<mpsc::UnboundedReceiver<StreamHandle>>,
    /// How it ended, once it has.
    ended: watch::Receiver<Option<Answer>>,
    task: AbortHandle,
}

impl TokioYamux {
    pub fn start(io: Io, mode: Mode, window: Option<u32>) -> Box<dyn End> {
        let mut config = Config::default();
        if let Some(window) = window {
            config.max_stream_window_size = window;
        }
        let mode = match mode {
            Mode::Client => SessionType::Client,
            Mode::Server => SessionType::Server,
        };
        let mut session = Session::new(io.compat(), config, mode);
        let control = session.control();
        let ((streams, accepted), (end, ended)) = (mpsc::unbounded(), watch::channel(None));
        let task = tokio::spawn(async move {
            let how = loop {
                match session.next().await {
                    Some(Ok(stream)) => drop(streams.unbounded_send(stream)),
                    Some(Err(error)) => break Answer::Failed(error.to_string()),
                    None => break Answer::Ok(Vec::new()),
                }
            };
            let _ = end.send(Some(how));
        });
        Box::new(Self { control, accepted: Mutex::new(accepted), ended, task: task.abort_handle() })
    }
}

#[async_trait]
impl End for TokioYamux {
    async fn open(&self) -> io::Result<Io> {
        let stream = self.control.clone().open_stream().await.map_err(|error| io::Error::other(error.to_string()))?;
        Ok(Box::new(Stream(stream.compat())))
    }

    async fn accept(&self) -> io::Result<Io> {
        let stream = self.accepted.lock().await.next().await.ok_or(io::ErrorKind::NotConnected)?;
        Ok(Box::new(Stream(stream.compat())))
    }

    async fn close(&self) -> Answer {
        self.control.clone().close().await;
        self.closed().await
    }

    async fn closed(&self) -> Answer {
        let mut ended = self.ended.clone();
        let how = ended.wait_for(Option::is_some).await.ok().and_then(|how| how.clone());
        how.unwrap_or_else(|| Answer::Failed("the connection was dropped".into()))
    }

    fn abort(&self) {
        self.task.abort();
    }
}

/// A stream takes in credit when it is read, so a write that waits for credit peeks.
struct Stream(Compat<StreamHandle>);

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
