//! A connection in a task of its own, with handles to use it from a test.

use super::Transport;
use futures::channel::{mpsc, oneshot};
use futures::{SinkExt, StreamExt};
use sluicegate::{Config, Connection, ConnectionError, Mode, OpenError, Ping, PingError, Stream};
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::task::JoinHandle;

type Call<T> = Box<dyn FnOnce(&mut Connection<T>) + Send>;

/// Drives a connection. Streams are accepted only when [`Node::accept`] is called.
pub struct Node<T> {
    calls: mpsc::UnboundedSender<Command<T>>,
    pub task: JoinHandle<Result<(), ConnectionError>>,
}

enum Command<T> {
    Open(oneshot::Sender<Result<Stream, OpenError>>),
    Accept(oneshot::Sender<Result<Stream, ConnectionError>>),
    Ping(oneshot::Sender<Result<Duration, PingError>>),
    Call(Call<T>),
    Close,
}

impl<T: Transport> Node<T> {
    pub fn new(io: T, config: Config, mode: Mode) -> Self {
        let (calls, commands) = mpsc::unbounded();
        let task = tokio::spawn(drive(Connection::new(io, config, mode), commands));
        Self { calls, task }
    }

    pub fn client(io: T, config: Config) -> Self {
        Self::new(io, config, Mode::Client)
    }

    pub fn server(io: T, config: Config) -> Self {
        Self::new(io, config, Mode::Server)
    }

    async fn ask<R>(&self, command: impl FnOnce(oneshot::Sender<R>) -> Command<T>) -> R {
        let (answer, result) = oneshot::channel();
        self.calls.clone().send(command(answer)).await.expect("the driver lives as long as the node");
        result.await.expect("the driver answers")
    }

    pub async fn open(&self) -> Result<Stream, OpenError> {
        self.ask(Command::Open).await
    }

    pub async fn accept(&self) -> Result<Stream, ConnectionError> {
        self.ask(Command::Accept).await
    }

    pub async fn ping(&self) -> Result<Duration, PingError> {
        self.ask(Command::Ping).await
    }

    /// Runs `f` on the connection.
    pub async fn call<R: Send + 'static>(&self, f: impl FnOnce(&mut Connection<T>) -> R + Send + 'static) -> R {
        self.ask(|answer| Command::Call(Box::new(move |connection| drop(answer.send(f(connection)))))).await
    }

    pub async fn num_streams(&self) -> usize {
        self.call(|connection| connection.num_streams()).await
    }

    /// Closes in good order and gives the driver's result.
    pub async fn close(self) -> Result<(), ConnectionError> {
        self.calls.clone().send(Command::Close).await.expect("the driver lives");
        self.task.await.expect("the driver does not panic")
    }

    /// The driver's result, once the connection has ended by itself. Calls still work after it.
    pub async fn ended(&self) -> Result<(), ConnectionError> {
        loop {
            if let Some(reason) = self.call(|connection| connection.closed()).await {
                return if reason.is_clean() { Ok(()) } else { Err(reason) };
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

/// Polls the connection until it was closed by [`Node::close`], or has ended and the node is gone.
async fn drive<T: Transport>(
    mut connection: Connection<T>,
    mut commands: mpsc::UnboundedReceiver<Command<T>>,
) -> Result<(), ConnectionError> {
    let (mut opens, mut accepts, mut pings) = (VecDeque::new(), VecDeque::new(), Vec::new());
    let mut closing = false;
    poll_fn(|cx| {
        let mut gone = false;
        loop {
            match commands.poll_next_unpin(cx) {
                Poll::Ready(Some(Command::Open(answer))) => opens.push_back(answer),
                Poll::Ready(Some(Command::Accept(answer))) => accepts.push_back(answer),
                Poll::Ready(Some(Command::Ping(answer))) => pings.push((connection.ping(), answer)),
                Poll::Ready(Some(Command::Call(call))) => call(&mut connection),
                Poll::Ready(Some(Command::Close)) => closing = true,
                Poll::Ready(None) => {
                    gone = true;
                    break;
                }
                Poll::Pending => break,
            }
        }
        let ended = if closing { connection.poll_close(cx) } else { connection.poll(cx) };
        answer(&mut opens, cx, |cx| connection.poll_outbound(cx));
        answer(&mut accepts, cx, |cx| connection.poll_inbound(cx));
        pings.retain_mut(|(ping, answer): &mut (Ping, oneshot::Sender<_>)| match Pin::new(ping).poll(cx) {
            Poll::Pending => !answer.is_canceled(),
            Poll::Ready(result) => {
                let _ = std::mem::replace(answer, oneshot::channel().0).send(result);
                false
            }
        });
        match ended {
            Poll::Ready(result) if closing || gone => Poll::Ready(result),
            _ if gone => Poll::Ready(Ok(())),
            _ => Poll::Pending,
        }
    })
    .await
}

/// Serves the oldest callers first; those that have given up are skipped.
fn answer<R>(
    waiting: &mut VecDeque<oneshot::Sender<R>>,
    cx: &mut Context<'_>,
    mut poll: impl FnMut(&mut Context<'_>) -> Poll<R>,
) {
    waiting.retain(|answer| !answer.is_canceled());
    while !waiting.is_empty() {
        let Poll::Ready(result) = poll(cx) else { return };
        if let Some(answer) = waiting.pop_front() {
            let _ = answer.send(result);
        }
    }
}
