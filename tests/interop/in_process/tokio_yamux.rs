//! The crate `tokio-yamux`.

mod stream;

use self::stream::Stream;
use super::End;
use crate::line::Answer;
use crate::support::Io;
use async_trait::async_trait;
use futures::StreamExt;
use futures::channel::mpsc;
use sluicegate::Mode;
use std::io;
use tokio::sync::{Mutex, watch};
use tokio::task::AbortHandle;
use tokio_util::compat::{FuturesAsyncReadCompatExt, TokioAsyncReadCompatExt};
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
