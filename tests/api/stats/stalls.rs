//! How long writers wait, by what they wait for. Times are lower bounds: a machine may always be slower.

use crate::support::line::{Line, write};
use crate::support::manager::Recorder;
use crate::support::outcome::roomy;
use crate::support::peer::update;
use crate::support::quiet;
use futures::{AsyncWriteExt, FutureExt};
use sluicegate::stats::{NodeStats, Stalled};
use sluicegate::wire::Flags;
use sluicegate::{Priority, Stream};
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::Duration;

const WINDOW: usize = 256 * 1024;
const WHILE: Duration = Duration::from_millis(20);

/// Writes until that has to wait; says how much that was.
fn fill(stream: &mut Stream) -> usize {
    let (mut written, bytes) = (0, vec![7; WINDOW]);
    loop {
        match write(stream, &bytes) {
            0 => return written,
            some => written += some,
        }
    }
}

/// Which of the figures are not zero.
fn causes(stalled: Stalled) -> [bool; 3] {
    [stalled.window, stalled.socket, stalled.memory].map(|time| !time.is_zero())
}

#[test]
fn for_credit() {
    let mut line = Line::new(roomy());
    let [mut stream] = line.open(Priority::MEDIUM, 0);
    line.give(usize::MAX);
    let mut written = 0;
    while written < WINDOW {
        written += fill(&mut stream);
        line.poll();
    }
    assert_eq!(written, WINDOW);
    assert_eq!(fill(&mut stream), 0);
    sleep(WHILE);
    let stats = stream.stats();
    assert!(stats.stalled.window >= WHILE);
    assert_eq!(causes(stats.stalled), [true, false, false]);
    // It ends when credit arrives, whether or not somebody writes then.
    line.feed(update(stream.id(), Flags::NONE, 1000), &[]);
    line.poll();
    let over = stream.stats().stalled;
    assert!(over.window >= WHILE);
    sleep(WHILE);
    assert_eq!(stream.stats().stalled, over);
    // What a stream has waited is not forgotten with it.
    drop(stream);
    line.poll();
    assert_eq!(line.connection.stats().stalled, over);
    assert_eq!(line.connection.stats().transport_stalled, Duration::ZERO);
}

#[test]
fn for_the_transport() {
    let mut line = Line::new(quiet().max_send_buffer(64 * 1024));
    let [mut stream] = line.open(Priority::MEDIUM, 0);
    fill(&mut stream);
    line.poll();
    sleep(WHILE);
    let stats = line.connection.stats();
    assert_eq!(causes(stats.stalled), [false, true, false]);
    assert!(stats.stalled.socket >= WHILE && stats.transport_stalled >= WHILE);
    line.give(usize::MAX);
    let over = (stream.stats().stalled, line.connection.stats().transport_stalled);
    sleep(WHILE);
    assert_eq!((stream.stats().stalled, line.connection.stats().transport_stalled), over);
    assert_eq!(line.connection.stats().stalled, over.0);
}

#[test]
fn for_memory() {
    let manager = Recorder::granting(|_, _, priority| priority == Priority::ALWAYS);
    let mut line = Line::new(quiet().memory(manager));
    let [mut stream] = line.open(Priority::MEDIUM, 0);
    fill(&mut stream);
    sleep(WHILE);
    let stats = stream.stats();
    assert!(stats.stalled.memory >= WHILE);
    assert_eq!(causes(stats.stalled), [false, false, true]);
    line.drain();
    let over = stream.stats().stalled;
    sleep(WHILE);
    assert_eq!(stream.stats().stalled, over);
}

/// A stream whose writer waits for room, after a while of that.
fn waiting() -> (Line, Stream) {
    let mut line = Line::new(quiet().max_send_buffer(64 * 1024));
    let [mut stream] = line.open(Priority::MEDIUM, 0);
    fill(&mut stream);
    sleep(WHILE);
    (line, stream)
}

/// What the connection says of waits; it must have been told of the first while, and go no further.
fn over(line: &Line) {
    let over = line.connection.stats().stalled;
    assert!(over.socket >= WHILE, "{over:?}");
    sleep(WHILE);
    assert_eq!(line.connection.stats().stalled, over);
}

#[test]
fn until_the_stream_is_reset() {
    let (line, mut stream) = waiting();
    stream.reset(0);
    over(&line);
    drop(stream);
    over(&line);
}

#[test]
fn until_the_stream_is_dropped() {
    let (line, stream) = waiting();
    drop(stream);
    over(&line);
}

#[test]
fn until_the_write_half_is_closed() {
    let (line, mut stream) = waiting();
    assert!(stream.close().now_or_never().is_none());
    over(&line);
}

#[test]
fn until_the_writer_would_have_to_ask_anew() {
    let (line, stream) = waiting();
    stream.set_priority(Priority::LOW);
    over(&line);
}

#[test]
fn until_the_connection_is_dropped() {
    let (line, stream) = waiting();
    drop(line);
    let over = stream.stats().stalled;
    assert!(over.socket >= WHILE);
    sleep(WHILE);
    assert_eq!(stream.stats().stalled, over);
}

#[test]
fn a_transport_that_is_gone_is_not_waited_for() {
    let (stats, config) = (NodeStats::default(), quiet().max_send_buffer(64 * 1024));
    let mut line = Line::new(config.stats(stats.clone()));
    let [mut stream] = line.open(Priority::MEDIUM, 0);
    fill(&mut stream);
    line.poll();
    sleep(WHILE);
    let before = stats.total();
    drop(line);
    let over = stats.total();
    assert!(over.transport_stalled >= before.transport_stalled && before.transport_stalled >= WHILE);
    assert!(over.stalled.socket >= before.stalled.socket, "a counter falls");
    sleep(WHILE);
    assert_eq!(stats.total().transport_stalled, over.transport_stalled);
}

/// The manager refuses only when the stream has been reset behind its back: nobody waits then.
#[test]
fn not_for_memory_that_is_refused_when_the_stream_is_over() {
    let seen = Arc::new(Mutex::new(None::<Line>));
    let inside = seen.clone();
    let manager = Recorder::granting(move |_, _, priority| {
        if priority == Priority::ALWAYS {
            return true;
        }
        let mut line = inside.lock().unwrap();
        let line = line.as_mut().expect("it is there when a writer asks");
        line.feed(update(1, Flags::RST, 7), &[]);
        line.poll();
        false
    });
    let mut line = Line::new(quiet().memory(manager));
    let [mut stream] = line.open(Priority::MEDIUM, 0);
    *seen.lock().unwrap() = Some(line);
    let mut written = Ok(0);
    while written.is_ok() {
        written = stream.write(&vec![7; WINDOW]).now_or_never().unwrap_or(Ok(0));
    }
    drop(stream);
    let line = seen.lock().unwrap().take().expect("it is there");
    assert_eq!(line.connection.stats().refusals.send_buffers, 1);
    let over = line.connection.stats().stalled;
    sleep(WHILE);
    assert_eq!(line.connection.stats().stalled, over);
}
