//! The other end of a connection, wherever it runs.

use crate::child::Child;
use crate::in_process::InProcess;
use crate::line::{Answer, Request, Span};
use crate::said::Said;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// A peer with one connection to us.
pub struct Theirs {
    remote: Remote,
    said: Said,
    names: AtomicU32,
}

pub enum Remote {
    Child(Arc<Child>),
    InProcess(InProcess),
}

/// A stream of theirs.
pub struct There<'a> {
    theirs: &'a Theirs,
    name: u32,
}

impl Theirs {
    pub fn new(remote: Remote, said: Said) -> Self {
        Self { remote, said, names: AtomicU32::new(1) }
    }

    pub async fn ask(&self, request: Request) -> Answer {
        match &self.remote {
            Remote::Child(child) => child.request(request).await,
            Remote::InProcess(end) => {
                self.said.line(format!("> {request}"));
                let answer = end.request(request).await;
                self.said.line(format!("< {request}: {answer:?}"));
                answer
            }
        }
    }

    /// Opens a stream; the answer where that fails.
    pub async fn try_open(&self) -> Result<There<'_>, Answer> {
        let name = self.name();
        match self.ask(Request::Open(name)).await {
            Answer::Ok(_) => Ok(There { theirs: self, name }),
            other => Err(other),
        }
    }

    pub async fn open(&self) -> There<'_> {
        self.try_open().await.unwrap_or_else(|answer| panic!("the peer cannot open: {answer:?}"))
    }

    pub async fn accept(&self) -> There<'_> {
        let name = self.name();
        self.ask(Request::Accept(name)).await.ok();
        There { theirs: self, name }
    }

    /// Ends the peer at once, without a word.
    pub fn kill(&self) {
        self.said.line("the peer is killed".into());
        match &self.remote {
            Remote::Child(child) => child.kill(),
            Remote::InProcess(end) => end.abort(),
        }
    }

    fn name(&self) -> u32 {
        self.names.fetch_add(1, Ordering::Relaxed)
    }
}

impl There<'_> {
    pub async fn send(&self, seed: usize, from: usize, to: usize) -> Answer {
        self.theirs.ask(Request::Send(self.name, Span { seed, from, to })).await
    }

    pub async fn receive(&self, seed: usize, from: usize, to: usize) -> Answer {
        self.theirs.ask(Request::Receive(self.name, Span { seed, from, to })).await
    }

    /// What comes where the stream should end: `ok` is its end.
    pub async fn end(&self) -> Answer {
        self.theirs.ask(Request::End(self.name)).await
    }

    pub async fn finish(&self) -> Answer {
        self.theirs.ask(Request::Finish(self.name)).await
    }

    pub async fn reset(&self, code: u32) -> Answer {
        self.theirs.ask(Request::Reset(self.name, code)).await
    }

    /// Lets go of the stream, as users of the implementation do who want no more of it.
    pub async fn let_go(&self) -> Answer {
        self.theirs.ask(Request::Drop(self.name)).await
    }

    pub async fn echo(&self) -> Answer {
        self.theirs.ask(Request::Echo(self.name)).await
    }

    /// Sends and receives at once, then finishes and expects the end.
    pub async fn exchange(&self, (out_seed, out): (usize, usize), (in_seed, inward): (usize, usize)) {
        let (sent, received) = futures::join!(self.send(out_seed, 0, out), self.receive(in_seed, 0, inward));
        sent.ok();
        received.ok();
        self.finish().await.ok();
        self.end().await.ok();
    }
}
