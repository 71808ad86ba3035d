//! Two connections of this crate on a link that cuts and holds up as it likes, with applications that do anything: neither
//! ever breaks the protocol for the other, and every byte that is read is the next of those that were written.

use super::input::Input;
use super::link::Link;
use futures::{AsyncRead, AsyncWrite};
use sluicegate::{Config, Connection, ConnectionError, MemoryLimit, Mode, Priority, Stream};
use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

struct End {
    mode: Mode,
    connection: Connection<Link>,
    link: Link,
    budget: Arc<MemoryLimit>,
    streams: Vec<Stream>,
    /// Bytes written and read on each stream.
    written: HashMap<u32, usize>,
    read: HashMap<u32, usize>,
}

pub fn pair(input: &[u8]) {
    let mut input = Input::new(input);
    let (near, far) = Link::pair();
    let mut ends = [End::new(near, Mode::Client, &mut input), End::new(far, Mode::Server, &mut input)];
    while !input.is_empty() {
        let side = input.below(2);
        ends[side].act(&mut input);
        for end in &mut ends {
            end.move_bytes(&mut input);
        }
        check(&ends);
    }
    let budgets = ends.each_ref().map(|end| end.budget.clone());
    drop(ends);
    assert_eq!(budgets.map(|budget| budget.reserved()), [0, 0], "memory is left");
}

fn check(ends: &[End; 2]) {
    for (end, other) in [(&ends[0], &ends[1]), (&ends[1], &ends[0])] {
        if let Some(ConnectionError::Violation(violation)) = end.connection.closed() {
            panic!("one end of ours breaks the protocol for the other: {violation}");
        }
        assert!(end.budget.reserved() <= end.budget.limit());
        for (id, read) in &end.read {
            assert!(read <= other.written.get(id).unwrap_or(&0), "more was read than written");
        }
    }
}

/// The byte of a stream at a place, by who writes it.
fn pattern(writer: Mode, id: u32, at: usize) -> u8 {
    (at ^ (at >> 8)) as u8 ^ id as u8 ^ if writer == Mode::Client { 0x55 } else { 0 }
}

impl End {
    fn new(link: Link, mode: Mode, input: &mut Input<'_>) -> Self {
        let budget = Arc::new(MemoryLimit::new((2 + input.below(30)) << 18));
        let config = Config::builder().memory(budget.clone()).receive_charge(input.receive_charge());
        let config = config.keep_alive_interval(None).accept_backlog(1 + input.below(8));
        let connection = Connection::new(link.clone(), config.build().expect("valid"), mode);
        let (written, read) = Default::default();
        Self { mode, connection, link, budget, streams: Vec::new(), written, read }
    }

    fn move_bytes(&mut self, input: &mut Input<'_>) {
        let much = |input: &mut Input<'_>| if input.below(3) == 0 { input.below(64) } else { usize::MAX };
        self.link.inbound().readable = much(input);
        self.link.outbound().room = much(input);
        let _ = self.connection.poll(&mut Context::from_waker(Waker::noop()));
    }

    fn act(&mut self, input: &mut Input<'_>) {
        let cx = &mut Context::from_waker(Waker::noop());
        match input.below(12) {
            0 => {
                if let Poll::Ready(Ok(stream)) = self.connection.poll_outbound(cx) {
                    self.streams.push(stream);
                }
            }
            1 | 2 => {
                if let Poll::Ready(Ok(stream)) = self.connection.poll_inbound(cx) {
                    self.streams.push(stream);
                }
            }
            3 if input.below(16) == 0 => self.connection.go_away(),
            action if !self.streams.is_empty() => {
                let index = input.below(self.streams.len());
                self.use_stream(action, index, input, cx);
            }
            _ => {}
        }
    }

    fn use_stream(&mut self, action: usize, index: usize, input: &mut Input<'_>, cx: &mut Context<'_>) {
        let mode = self.mode;
        let stream = &mut self.streams[index];
        let id = stream.id();
        match action {
            4 | 5 => {
                let at = self.written.entry(id).or_default();
                let len = [1, 100, 5_000, 70_000][input.below(4)];
                let bytes: Vec<u8> = (*at..*at + len).map(|at| pattern(mode, id, at)).collect();
                if let Poll::Ready(Ok(written)) = Pin::new(stream).poll_write(cx, &bytes) {
                    *at += written;
                }
            }
            6 | 7 => {
                let at = self.read.entry(id).or_default();
                let mut buffer = vec![0; [1, 100, 100_000][input.below(3)]];
                if let Poll::Ready(Ok(read)) = Pin::new(stream).poll_read(cx, &mut buffer) {
                    let other = if mode == Mode::Client { Mode::Server } else { Mode::Client };
                    let right = (*at..*at + read).map(|at| pattern(other, id, at));
                    assert!(buffer[..read].iter().copied().eq(right), "other bytes than were written");
                    *at += read;
                }
            }
            8 => drop(Pin::new(stream).poll_close(cx)),
            9 if input.below(4) == 0 => stream.reset(input.byte().into()),
            10 => stream.set_priority(Priority::new(input.byte())),
            11 if input.below(4) == 0 => drop(self.streams.swap_remove(index)),
            _ => drop(Pin::new(stream).poll_flush(cx)),
        }
    }
}
