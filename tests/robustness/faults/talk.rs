//! A stream in the hands of a task: what is read is always what was sent, as far as it goes.

use super::end::{End, Stopped, Wait};
use crate::support::outcome::stream_error;
use crate::support::pattern::{self, CHUNK};
use futures::{AsyncReadExt, AsyncWriteExt};
use sluicegate::{Side, Stream, StreamError};
use std::rc::Rc;

pub struct Talk {
    end: Rc<End>,
    stream: Stream,
}

impl Talk {
    /// Opens a stream that says first what it is for.
    pub async fn open(end: Rc<End>, topic: u8) -> Result<Self, Stopped> {
        let mut talk = Self::open_unnamed(end).await?;
        talk.write(&[topic]).await?;
        Ok(talk)
    }

    pub async fn open_unnamed(end: Rc<End>) -> Result<Self, Stopped> {
        let stream = end.wait(Wait::Open, end.session.open()).await?;
        Ok(Self { end, stream })
    }

    /// Accepts a stream.
    pub async fn accept(end: Rc<End>) -> Result<Self, Stopped> {
        let stream = end.wait(Wait::Accept, end.session.accept()).await?;
        Ok(Self { end, stream })
    }

    /// What the stream is for.
    pub async fn topic(&mut self) -> Result<u8, Stopped> {
        let mut topic = [0];
        match self.read(&mut topic).await? {
            0 => panic!("a stream that ended before its first byte"),
            _ => Ok(topic[0]),
        }
    }

    /// Sends `len` bytes of a pattern.
    pub async fn send(&mut self, seed: usize, len: usize) -> Result<(), Stopped> {
        for from in (0..len).step_by(CHUNK) {
            self.write(&pattern::at(seed, from)[..CHUNK.min(len - from)]).await?;
        }
        Ok(())
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), Stopped> {
        Ok(self.end.wait(Wait::Write, self.stream.write_all(bytes)).await?)
    }

    pub async fn flush(&mut self) -> Result<(), Stopped> {
        Ok(self.end.wait(Wait::Flush, self.stream.flush()).await?)
    }

    /// Ends the write half.
    pub async fn finish(&mut self) -> Result<(), Stopped> {
        Ok(self.end.wait(Wait::Finish, self.stream.close()).await?)
    }

    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Stopped> {
        Ok(self.end.wait(Wait::Read, self.stream.read(buffer)).await?)
    }

    /// Reads `len` bytes of a pattern. An end of file before that is one for data that were lost.
    pub async fn receive(&mut self, seed: usize, len: usize) -> Result<(), Stopped> {
        let (mut received, mut buffer) = (0, vec![0; CHUNK]);
        while received < len {
            let most = CHUNK.min(len - received);
            let read = self.read(&mut buffer[..most]).await?;
            assert_ne!(read, 0, "an end of file after {received} of {len} bytes");
            assert!(buffer[..read] == pattern::at(seed, received)[..read], "other bytes than were sent at {received}");
            received += read;
        }
        Ok(())
    }

    pub async fn receive_end(&mut self) -> Result<(), Stopped> {
        assert_eq!(self.read(&mut [0]).await?, 0, "more bytes than were sent");
        Ok(())
    }

    pub fn reset(&mut self, code: u32) {
        self.stream.reset(code);
    }

    /// The peer resets the stream, with this code.
    pub async fn receive_reset(&mut self, expected: u32) -> Result<(), Stopped> {
        let read = self.end.wait(Wait::Read, self.stream.read(&mut [0])).await;
        match stream_error(&read.expect_err("a reset is no end of file, and no bytes came before it")) {
            StreamError::Reset { by, code } => assert_eq!((by, code), (Side::Remote, expected)),
            StreamError::Connection(reason) => return Err(reason.into()),
            other => panic!("{other:?} is no reset"),
        }
        Ok(())
    }
}
