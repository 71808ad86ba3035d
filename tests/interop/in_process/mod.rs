//! Peers in this process: the other muxers of Rust, which do what the lines ask of the foreign ones.

mod rust_yamux;
mod tokio_yamux;

pub use rust_yamux::{Yamux012, Yamux014};
pub use tokio_yamux::TokioYamux;

use crate::line::{Answer, By, Request, Span};
use crate::support::{Io, pattern};
use async_trait::async_trait;
use futures::io::{ReadHalf, WriteHalf};
use futures::{AsyncReadExt, AsyncWriteExt};
use sluicegate::Mode;
use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{Mutex as Turn, MutexGuard};

/// A connection of another implementation, driven by a task of its own.
#[async_trait]
pub trait End: Send + Sync {
    async fn open(&self) -> io::Result<Io>;

    /// The next stream that the peer has opened. One call at a time.
    async fn accept(&self) -> io::Result<Io>;

    /// Ends the connection in good order, and waits for that.
    async fn close(&self) -> Answer;

    /// Waits until the connection is over, and says what the API says of it.
    async fn closed(&self) -> Answer;

    /// Drops the connection and its transport, without a word to the other end.
    fn abort(&self);
}

/// How an [`End`] is started over a transport: in a role, with the largest receive window where that is a setting.
pub type Start = fn(Io, Mode, Option<u32>) -> Box<dyn End>;

/// An [`End`] with the streams that the test has named.
pub struct InProcess {
    end: Box<dyn End>,
    accepting: Turn<()>,
    streams: Mutex<HashMap<u32, Arc<Halves>>>,
}

/// Each half serves one request at a time. A half that has ended is given up: an end holds on to a stream as long as its
/// handle lives.
struct Halves {
    reader: Turn<Option<ReadHalf<Io>>>,
    writer: Turn<Option<WriteHalf<Io>>>,
}

impl InProcess {
    pub fn new(end: Box<dyn End>) -> Self {
        Self { end, accepting: Turn::new(()), streams: Mutex::default() }
    }

    pub async fn request(&self, request: Request) -> Answer {
        match request {
            Request::Open(stream) => self.name(stream, self.end.open().await),
            Request::Accept(stream) => {
                let _turn = self.accepting.lock().await;
                self.name(stream, self.end.accept().await)
            }
            Request::Send(stream, span) => send(&mut *self.halves(stream).writer().await, span).await,
            Request::Receive(stream, span) => receive(&mut *self.halves(stream).reader().await, span).await,
            Request::End(stream) => self.halves(stream).end().await,
            Request::Finish(stream) => self.halves(stream).finish().await,
            Request::Echo(stream) => self.halves(stream).echo().await,
            Request::Reset(stream, 0) => self.halves(stream).reset().await,
            Request::Drop(stream) => self.halves(stream).reset().await,
            Request::Reset(..) => unsupported("its API resets without a code"),
            Request::Close(0) => self.end.close().await,
            Request::Close(_) => unsupported("its API closes without a code"),
            Request::Closed => self.end.closed().await,
            Request::GoAway => unsupported("its API sends a go-away only to end its session"),
            Request::Ping => unsupported("its API sends no pings"),
            Request::Streams => unsupported("its API does not count streams"),
        }
    }

    pub fn abort(&self) {
        self.end.abort();
    }

    fn name(&self, name: u32, stream: io::Result<Io>) -> Answer {
        let stream = match stream {
            Ok(stream) => stream,
            Err(error) => return failed(&error),
        };
        let (reader, writer) = stream.split();
        let halves = Halves { reader: Turn::new(Some(reader)), writer: Turn::new(Some(writer)) };
        self.streams.lock().unwrap_or_else(PoisonError::into_inner).insert(name, Arc::new(halves));
        Answer::Ok(Vec::new())
    }

    fn halves(&self, name: u32) -> Arc<Halves> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner).get(&name).expect("a stream of that name").clone()
    }
}

impl Halves {
    async fn reader(&self) -> tokio::sync::MappedMutexGuard<'_, ReadHalf<Io>> {
        MutexGuard::map(self.reader.lock().await, |half| half.as_mut().expect("this half has not ended"))
    }

    async fn writer(&self) -> tokio::sync::MappedMutexGuard<'_, WriteHalf<Io>> {
        MutexGuard::map(self.writer.lock().await, |half| half.as_mut().expect("this half has not ended"))
    }

    async fn end(&self) -> Answer {
        let ended = self.reader().await.read(&mut [0]).await;
        match ended {
            Ok(0) => {
                self.reader.lock().await.take();
                Answer::Ok(Vec::new())
            }
            Ok(_) => Answer::More,
            Err(error) => failed(&error),
        }
    }

    async fn finish(&self) -> Answer {
        let closed = self.writer().await.close().await;
        if closed.is_ok() {
            self.writer.lock().await.take();
        }
        done(closed)
    }

    async fn echo(&self) -> Answer {
        let copied = futures::io::copy(&mut *self.reader().await, &mut *self.writer().await).await;
        let bytes = match copied {
            Ok(bytes) => bytes.to_string(),
            Err(error) => return failed(&error),
        };
        self.reader.lock().await.take();
        match self.finish().await {
            Answer::Ok(_) => Answer::Ok(vec![bytes]),
            other => other,
        }
    }

    /// A stream is reset by dropping it.
    async fn reset(&self) -> Answer {
        drop((self.reader.lock().await.take(), self.writer.lock().await.take()));
        Answer::Ok(Vec::new())
    }
}

async fn send(writer: &mut WriteHalf<Io>, Span { seed, from, to }: Span) -> Answer {
    done(pattern::send(writer, seed, from, to).await)
}

async fn receive(reader: &mut ReadHalf<Io>, Span { seed, from, to }: Span) -> Answer {
    let mut buffer = vec![0; pattern::CHUNK];
    let mut at = from;
    while at < to {
        let len = buffer.len().min(to - at);
        match reader.read(&mut buffer[..len]).await {
            Ok(0) => return Answer::End { at },
            Ok(read) if buffer[..read] == pattern::at(seed, at)[..read] => at += read,
            Ok(_) => return Answer::Differs { at },
            Err(error) => return failed(&error),
        }
    }
    Answer::Ok(Vec::new())
}

fn done(result: io::Result<()>) -> Answer {
    result.map_or_else(|error| failed(&error), |()| Answer::Ok(Vec::new()))
}

/// These APIs tell of a reset by the kind of the error, and never of a code.
fn failed(error: &io::Error) -> Answer {
    match error.kind() {
        io::ErrorKind::ConnectionReset => Answer::Reset { by: By::Unsaid, code: None },
        kind => Answer::Failed(format!("{kind}: {error}")),
    }
}

fn unsupported(why: &str) -> Answer {
    Answer::Unsupported(why.into())
}
