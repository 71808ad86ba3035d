//! A transfer that takes the same instructions in every run: two connections over a pipe in memory, on one thread,
//! polled in turn. `benches/instructions.sh` counts them.
//!
//! `instructions WRITE COUNT` writes COUNT times WRITE bytes to one stream, flushes once, and reads all of it.

use futures::{AsyncReadExt, AsyncWriteExt, FutureExt};
use sluicegate::{Config, Connection, Mode, Stream};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use tokio_util::compat::TokioAsyncReadCompatExt;

fn main() {
    let mut arguments = std::env::args().skip(1).filter_map(|argument| argument.parse().ok());
    let (write, count) = (arguments.next().unwrap_or(64 * 1024), arguments.next().unwrap_or(100));
    let done = transfer(write, count).now_or_never();
    assert_eq!(done, Some(write * count), "nothing in it waits for anything else");
}

/// Says how many bytes have arrived.
async fn transfer(write: usize, count: usize) -> usize {
    let (near, far) = tokio::io::duplex(256 * 1024);
    let mut client = Connection::new(near.compat(), Config::default(), Mode::Client);
    let mut server = Connection::new(far.compat(), Config::default(), Mode::Server);
    let stream = poll_fn(|cx| client.poll_outbound(cx)).await.expect("opens");
    let mut sending = pin!(send(stream, write, count).fuse());
    let (mut reader, mut received) = (None, 0);
    let cx = &mut Context::from_waker(Waker::noop());
    loop {
        let _ = sending.as_mut().poll(cx);
        let _ = client.poll(cx);
        let _ = server.poll(cx);
        if let Poll::Ready(accepted) = server.poll_inbound(cx) {
            reader = Some(accepted.expect("accepts"));
        }
        if let Some(reader) = &mut reader
            && receive(reader, &mut received, cx)
        {
            return received;
        }
    }
}

async fn send(mut stream: Stream, write: usize, count: usize) {
    let bytes = vec![7; write];
    for _ in 0..count {
        stream.write_all(&bytes).await.expect("writes");
    }
    stream.close().await.expect("closes");
}

/// Reads all there is; says whether it has come to the end.
fn receive(reader: &mut Stream, received: &mut usize, cx: &mut Context<'_>) -> bool {
    let mut buffer = [0; 64 * 1024];
    loop {
        match pin!(reader.read(&mut buffer)).poll(cx) {
            Poll::Ready(read) => match read.expect("reads") {
                0 => return true,
                read => *received += read,
            },
            Poll::Pending => return false,
        }
    }
}
