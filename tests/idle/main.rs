//! What is held by what does nothing: the heap of open streams on which nothing moves, and of connections that have gone
//! quiet. Exact, since the allocator counts; what the application itself holds of a stream, its handle, is not counted.
//!
//! Both ends are in memory and are polled by hand. One trial runs at a time.

#![allow(unreachable_pub, reason = "a test binary has no users")]

mod pair;

use libtest_mimic::{Arguments, Failed, Trial};
use pair::Pair;
use peak_alloc::PeakAlloc;
use sluicegate::ReceiveCharge;
use std::process::ExitCode;
use std::thread::sleep;
use std::time::Duration;

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

/// Bytes that are allocated now.
fn live() -> usize {
    HEAP.current_usage()
}

/// After this a connection on which nothing moves has given back what it does not need.
const QUIET: Duration = Duration::from_millis(1500);

const STREAMS: usize = 10_000;

/// The most that a stream on which nothing moves may take, both ends together, in bytes.
const STREAM: usize = 400;

/// The most that an end of a quiet connection may take, in bytes.
const CONNECTION: usize = 4096;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    // What is allocated once and for all, by the runtime of the timers and by thread locals, is not a connection's.
    drop(Pair::new(ReceiveCharge::Window));
    let trials = [(ReceiveCharge::Window, "window"), (ReceiveCharge::Buffered, "buffered")].into_iter().flat_map(
        |(charging, name)| {
            let trial = |what: &str, run: fn(ReceiveCharge) -> Result<(), Failed>| {
                Trial::test(format!("{what}_{name}"), move || run(charging))
            };
            [
                trial("streams_after_a_byte_each_way", streams_after_a_byte_each_way),
                trial("streams_whose_readers_gave_up", streams_whose_readers_gave_up),
                trial("a_fresh_connection", a_fresh_connection),
                trial("a_connection_after_bulk_and_many_streams", a_connection_after_bulk_and_many_streams),
            ]
        },
    );
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}

/// Says how many bytes are held for each of `number`, and that those are not too many.
fn check(what: &str, held: usize, number: usize, most: usize) -> Result<(), Failed> {
    println!("     {:5} bytes of heap for {what}", held.div_ceil(number));
    if held > most * number { Err(format!("{held} bytes for {number}").into()) } else { Ok(()) }
}

/// At once, not after a while.
fn streams_after_a_byte_each_way(charging: ReceiveCharge) -> Result<(), Failed> {
    let mut pair = Pair::new(charging);
    let mut streams = Vec::with_capacity(2 * STREAMS);
    let before = live();
    pair.open(STREAMS, &mut streams);
    pair.exchange(&mut streams);
    check("a stream, both ends", live().saturating_sub(before), STREAMS, STREAM)?;
    drop(streams);
    pair.run();
    sleep(QUIET);
    pair.run();
    check("a quiet end", pair.held(), 2, CONNECTION)
}

/// Somebody has waited on every stream, on both ends, and does so no more.
fn streams_whose_readers_gave_up(charging: ReceiveCharge) -> Result<(), Failed> {
    let mut pair = Pair::new(charging);
    let mut streams = Vec::with_capacity(2 * STREAMS);
    let before = live();
    pair.open(STREAMS, &mut streams);
    pair.exchange(&mut streams);
    pair.wait_for(&mut streams);
    pair.exchange(&mut streams);
    sleep(QUIET);
    pair.run();
    check("a stream, both ends", live().saturating_sub(before), STREAMS, STREAM)
}

fn a_fresh_connection(charging: ReceiveCharge) -> Result<(), Failed> {
    let mut pair = Pair::new(charging);
    pair.run();
    pair.ping();
    sleep(QUIET);
    pair.run();
    check("a quiet end", pair.held(), 2, CONNECTION)
}

fn a_connection_after_bulk_and_many_streams(charging: ReceiveCharge) -> Result<(), Failed> {
    let mut pair = Pair::new(charging);
    let mut streams = Vec::with_capacity(2 * 1000);
    pair.run();
    let mut bulk = Vec::with_capacity(2);
    pair.open(1, &mut bulk);
    pair.carry(&mut bulk, 64 << 20);
    drop(bulk);
    pair.open(1000, &mut streams);
    pair.exchange(&mut streams);
    pair.finish(&mut streams);
    drop(streams);
    pair.run();
    sleep(QUIET);
    pair.run();
    check("a quiet end", pair.held(), 2, CONNECTION)
}
