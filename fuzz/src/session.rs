//! A connection that is sent anything at all: it never panics, never reserves more than its budget, and gives all of it
//! back; what it says when it is over it says again.

use super::input::Input;
use super::link::Link;
use futures::{AsyncRead, AsyncWrite};
use sluicegate::wire::HEADER_LEN;
use sluicegate::{Config, Connection, MemoryLimit, Mode, Stream};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

const WINDOW: usize = 256 * 1024;

pub fn session(input: &[u8]) {
    let mut input = Input::new(input);
    let budget = Arc::new(MemoryLimit::new((1 + input.below(8)) * WINDOW));
    let mode = if input.below(2) == 0 { Mode::Client } else { Mode::Server };
    let config = Config::builder().memory(budget.clone()).receive_charge(input.receive_charge());
    let config = config.keep_alive_interval(None).accept_backlog(4).build();
    let (near, far) = Link::pair();
    let mut connection = Connection::new(near, config.expect("valid"), mode);
    let mut streams = Vec::new();
    let cx = &mut Context::from_waker(Waker::noop());
    while !input.is_empty() {
        feed(&far, &mut input);
        act(&mut connection, &mut streams, &mut input, cx);
        let polled = connection.poll(cx);
        assert!(budget.reserved() <= budget.limit());
        if polled.is_ready() {
            let again = connection.poll(cx);
            assert_eq!(format!("{polled:?}"), format!("{again:?}"), "it changes its mind");
        }
        far.inbound().bytes.clear();
    }
    drop(streams);
    drop(connection);
    assert_eq!(budget.reserved(), 0, "memory is left");
}

/// A header of few ids and short bodies, so that frames meet, or any bytes; all of it arrives at once or bit by bit.
fn feed(far: &Link, input: &mut Input<'_>) {
    let mut way = far.outbound();
    match input.below(8) {
        0 => {
            let len = input.below(64);
            way.bytes.extend(input.take(len));
        }
        1 => way.ended |= input.below(16) == 0,
        _ => {
            let len = input.below(48) as u8;
            let kind = input.below(4) as u8;
            let mut header = [0, kind, 0, input.byte() & 15, 0, 0, 0, input.byte() & 15, 0, 0, 0, len];
            header[8] = if input.below(32) == 0 { input.byte() } else { 0 };
            way.bytes.extend(header);
            if kind == 0 {
                way.bytes.extend(std::iter::repeat_n(kind, usize::from(len)));
            }
        }
    }
    way.readable = if input.below(4) == 0 { input.below(2 * HEADER_LEN) } else { usize::MAX };
    drop(way);
    far.inbound().room = if input.below(8) == 0 { input.below(32) } else { usize::MAX };
}

fn act(connection: &mut Connection<Link>, streams: &mut Vec<Stream>, input: &mut Input<'_>, cx: &mut Context<'_>) {
    match input.below(16) {
        0 => streams.extend(ready(connection.poll_outbound(cx))),
        1 => drop(Pin::new(&mut connection.ping()).poll(cx)),
        2 if input.below(8) == 0 => connection.go_away(),
        3 if input.below(16) == 0 => connection.close_with(input.byte().into()),
        4..=6 => streams.extend(ready(connection.poll_inbound(cx))),
        action if !streams.is_empty() => {
            let index = input.below(streams.len());
            let stream = &mut streams[index];
            match action {
                7..=9 => drop(Pin::new(stream).poll_read(cx, &mut [0; 40])),
                10 | 11 => drop(Pin::new(stream).poll_write(cx, &[7; 300])),
                12 => drop(Pin::new(stream).poll_close(cx)),
                13 => stream.close_read(),
                14 => stream.reset(input.byte().into()),
                _ => drop(streams.swap_remove(index)),
            }
        }
        _ => {}
    }
}

fn ready<E>(opened: Poll<Result<Stream, E>>) -> Option<Stream> {
    match opened {
        Poll::Ready(Ok(stream)) => Some(stream),
        Poll::Ready(Err(_)) | Poll::Pending => None,
    }
}
