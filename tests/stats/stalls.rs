//! How long writers wait, by what they wait for. Times are lower bounds: a machine may always be slower.

use crate::line::{Line, write};
use crate::manager::Recorder;
use crate::support::outcome::roomy;
use crate::support::quiet;
use sluicegate::{Priority, Stalled, Stream};
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
    line.feed(crate::support::peer::update(stream.id(), sluicegate::wire::Flags::NONE, 1000), &[]);
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

#[test]
fn not_when_the_writer_has_finished_or_is_gone() {
    for reset in [false, true] {
        let mut line = Line::new(quiet().max_send_buffer(64 * 1024));
        let [mut stream] = line.open(Priority::MEDIUM, 0);
        fill(&mut stream);
        match reset {
            true => stream.reset(0),
            false => drop(stream),
        }
        line.poll();
        let over = line.connection.stats().stalled;
        sleep(WHILE);
        assert_eq!(line.connection.stats().stalled, over, "reset: {reset}");
    }
}

#[test]
fn not_when_the_connection_is_over() {
    let mut line = Line::new(quiet().max_send_buffer(64 * 1024));
    let [mut stream] = line.open(Priority::MEDIUM, 0);
    fill(&mut stream);
    drop(line);
    let over = stream.stats().stalled;
    sleep(WHILE);
    assert_eq!(stream.stats().stalled, over);
}
