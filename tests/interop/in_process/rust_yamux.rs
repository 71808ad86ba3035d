//! The crate `yamux`, in the two versions that are in use.

use super::End;
use crate::line::Answer;
use crate::support::Io;
use async_trait::async_trait;
use futures::StreamExt;
use futures::channel::{mpsc, oneshot};
use sluicegate::Mode;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::task::Poll;
use tokio::sync::{Mutex, watch};
use tokio::task::AbortHandle;

fn lost() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "the connection is over")
}

/// Both versions have the same face.
macro_rules! end {
    ($End:ident, $yamux:ident, $windows:expr) => {
        pub struct $End {
            opens: mpsc::UnboundedSender<oneshot::Sender<io::Result<$yamux::Stream>>>,
            accepted: Mutex<mpsc::UnboundedReceiver<$yamux::Stream>>,
            closing: mpsc::UnboundedSender<()>,
            /// How it ended, once it has.
            ended: watch::Receiver<Option<Answer>>,
            task: AbortHandle,
        }

        impl $End {
            pub fn start(io: Io, mode: Mode, window: Option<u32>) -> Box<dyn End> {
                let mode = match mode {
                    Mode::Client => $yamux::Mode::Client,
                    Mode::Server => $yamux::Mode::Server,
                };
                let mut config = $yamux::Config::default();
                let windows: fn(&mut $yamux::Config, Option<u32>) = $windows;
                windows(&mut config, window);
                let connection = $yamux::Connection::new(io, config, mode);
                let ((opens, opening), (streams, accepted)) = (mpsc::unbounded(), mpsc::unbounded());
                let ((closing, close), (end, ended)) = (mpsc::unbounded(), watch::channel(None));
                let task = tokio::spawn(async move {
                    let how = Self::drive(connection, opening, streams, close).await;
                    let _ = end.send(Some(how));
                });
                Box::new(Self { opens, accepted: Mutex::new(accepted), closing, ended, task: task.abort_handle() })
            }

            async fn drive(
                mut connection: $yamux::Connection<Io>,
                mut opening: mpsc::UnboundedReceiver<oneshot::Sender<io::Result<$yamux::Stream>>>,
                accepted: mpsc::UnboundedSender<$yamux::Stream>,
                mut close: mpsc::UnboundedReceiver<()>,
            ) -> Answer {
                let (mut opens, mut closing) = (VecDeque::new(), false);
                poll_fn(|cx| {
                    while let Poll::Ready(Some(())) = close.poll_next_unpin(cx) {
                        closing = true;
                    }
                    if closing {
                        return connection.poll_close(cx).map(|closed| match closed {
                            Ok(()) => Answer::Ok(Vec::new()),
                            Err(error) => Answer::Failed(error.to_string()),
                        });
                    }
                    while let Poll::Ready(Some(open)) = opening.poll_next_unpin(cx) {
                        opens.push_back(open);
                    }
                    while !opens.is_empty() {
                        let Poll::Ready(opened) = connection.poll_new_outbound(cx) else { break };
                        let open = opens.pop_front();
                        open.map(|open| open.send(opened.map_err(io::Error::other)));
                    }
                    while let Poll::Ready(next) = connection.poll_next_inbound(cx) {
                        match next {
                            Some(Ok(stream)) => drop(accepted.unbounded_send(stream)),
                            Some(Err(error)) => return Poll::Ready(Answer::Failed(error.to_string())),
                            None => return Poll::Ready(Answer::Ok(Vec::new())),
                        }
                    }
                    Poll::Pending
                })
                .await
            }
        }

        #[async_trait]
        impl End for $End {
            async fn open(&self) -> io::Result<Io> {
                let (open, opened) = oneshot::channel();
                self.opens.unbounded_send(open).map_err(|_| lost())?;
                Ok(Box::new(opened.await.map_err(|_| lost())??))
            }

            async fn accept(&self) -> io::Result<Io> {
                Ok(Box::new(self.accepted.lock().await.next().await.ok_or_else(lost)?))
            }

            async fn close(&self) -> Answer {
                let _ = self.closing.unbounded_send(());
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
    };
}

// Its windows grow by themselves with the round-trip time.
end!(Yamux014, yamux, |_, _| {});

// Its windows are a setting, and all of the same size.
end!(Yamux012, yamux_0_12, |config, window| {
    if let Some(window) = window {
        config.set_receive_window(window).set_max_buffer_size(window as usize);
    }
});
