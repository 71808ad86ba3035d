//! Two ends of a connection over a pipe in memory, and the applications of both.

use crate::live;
use futures::{AsyncReadExt, AsyncWriteExt, FutureExt};
use sluicegate::{Config, Connection, Mode, ReceiveCharge, Stream};
use std::future::poll_fn;
use std::task::{Context, Waker};
use tokio::io::DuplexStream;
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};

type End = Connection<Compat<DuplexStream>>;

pub struct Pair {
    client: End,
    server: End,
    /// Bytes that were live when there was the pipe and no connection.
    before: usize,
}

/// Bytes that the pipe holds each way. It takes them when it is made.
const PIPE: usize = 64 * 1024;

impl Pair {
    pub fn new(charging: ReceiveCharge) -> Self {
        let config = Config::builder().receive_charge(charging).max_incoming_streams(1 << 20).accept_backlog(1 << 10);
        let config = config.build().expect("valid");
        let (mut near, mut far) = tokio::io::duplex(PIPE);
        fill(&mut near, &mut far);
        fill(&mut far, &mut near);
        let before = live();
        let client = Connection::new(near.compat(), config.clone(), Mode::Client);
        let server = Connection::new(far.compat(), config, Mode::Server);
        Self { client, server, before }
    }

    /// Bytes that both ends hold.
    pub fn held(&self) -> usize {
        live().saturating_sub(self.before) + 2 * size_of::<End>()
    }

    /// Polls both until neither can do more.
    pub fn run(&mut self) {
        let cx = &mut Context::from_waker(Waker::noop());
        for _ in 0..32 {
            let _ = self.client.poll(cx);
            let _ = self.server.poll(cx);
        }
    }

    pub fn ping(&mut self) {
        for end in 0..2 {
            let connection = if end == 0 { &mut self.client } else { &mut self.server };
            let mut ping = connection.ping();
            while (&mut ping).now_or_never().is_none() {
                self.run();
            }
        }
    }

    /// Opens streams and has them accepted; each end's handle in turn.
    pub fn open(&mut self, number: usize, streams: &mut Vec<Stream>) {
        for _ in 0..number {
            let mut near = poll_fn(|cx| self.client.poll_outbound(cx)).now_or_never().expect("room").expect("opens");
            let _ = near.flush().now_or_never();
            let far = loop {
                self.step();
                if let Some(far) = poll_fn(|cx| self.server.poll_inbound(cx)).now_or_never() {
                    break far.expect("accepts");
                }
            };
            self.step();
            streams.extend([near, far]);
        }
    }

    fn step(&mut self) {
        let cx = &mut Context::from_waker(Waker::noop());
        let _ = self.client.poll(cx);
        let _ = self.server.poll(cx);
        let _ = self.client.poll(cx);
    }

    /// A byte each way on every stream, which is read.
    pub fn exchange(&mut self, streams: &mut [Stream]) {
        for ends in streams.chunks_exact_mut(2) {
            let [near, far] = ends else { unreachable!("two ends") };
            for (from, to) in [(0, 1), (1, 0)] {
                let ends = [&mut *near, &mut *far];
                assert_eq!(ends[from].write(b"x").now_or_never().expect("room").expect("writes"), 1);
                self.step();
                let mut byte = [0];
                assert_eq!(ends[to].read(&mut byte).now_or_never().expect("there").expect("reads"), 1);
            }
        }
    }

    /// Every end waits for something to read, and gives that up.
    pub fn wait_for(&mut self, streams: &mut [Stream]) {
        for stream in streams.iter_mut() {
            assert!(stream.read(&mut [0]).now_or_never().is_none());
        }
        self.run();
    }

    /// Moves `bytes` from one end of a stream to the other.
    pub fn carry(&mut self, ends: &mut [Stream], bytes: usize) {
        let [near, far] = ends else { unreachable!("two ends") };
        let (data, mut buffer) = (vec![7; 256 * 1024], vec![0; 256 * 1024]);
        let (mut sent, mut received) = (0, 0);
        while received < bytes {
            let rest = &data[..data.len().min(bytes - sent)];
            if let Some(written) = near.write(rest).now_or_never() {
                sent += written.expect("writes");
            }
            self.step();
            while let Some(read) = far.read(&mut buffer).now_or_never() {
                received += read.expect("reads");
            }
        }
    }

    /// Both ends finish, and read to the end.
    pub fn finish(&mut self, streams: &mut [Stream]) {
        for stream in streams.iter_mut() {
            let _ = stream.close().now_or_never();
        }
        self.run();
        for stream in streams.iter_mut() {
            assert_eq!(stream.read(&mut [0]).now_or_never().expect("there").expect("reads"), 0);
        }
    }
}

/// Lets a pipe take its memory, as much as it ever will.
fn fill(from: &mut DuplexStream, to: &mut DuplexStream) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut bytes = vec![0; PIPE];
    from.write_all(&bytes).now_or_never().expect("room").expect("writes");
    to.read_exact(&mut bytes).now_or_never().expect("there").expect("reads");
}
