//! What is held by what does nothing: the heap of connections that have gone quiet. Exact, since the allocator counts.
//!
//! Both ends are in memory and are polled by hand. One trial runs at a time.

#![allow(unreachable_pub, reason = "a test binary has no users")]

#[path = "idle/pair.rs"]
mod pair;

use libtest_mimic::{Arguments, Failed, Trial};
use pair::Pair;
use peak_alloc::PeakAlloc;
use sluicegate::Charging;
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

/// The most that an end of a quiet connection may take, in bytes.
const CONNECTION: usize = 4096;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    // What is allocated once and for all, by the runtime of the timers and by thread locals, is not a connection's.
    drop(Pair::new(Charging::Promised));
    let trials =
        [(Charging::Promised, "promised"), (Charging::Used, "used")].into_iter().flat_map(|(charging, name)| {
            let trial = |what: &str, run: fn(Charging) -> Result<(), Failed>| {
                Trial::test(format!("{what}_{name}"), move || run(charging))
            };
            [
                trial("a_fresh_connection", a_fresh_connection),
                trial("a_connection_after_bulk_and_many_streams", a_connection_after_bulk_and_many_streams),
            ]
        });
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}

/// Says how many bytes are held for each of `number`, and that those are not too many.
fn check(what: &str, held: usize, number: usize, most: usize) -> Result<(), Failed> {
    println!("     {:5} bytes of heap for {what}", held.div_ceil(number));
    if held > most * number { Err(format!("{held} bytes for {number}").into()) } else { Ok(()) }
}

fn a_fresh_connection(charging: Charging) -> Result<(), Failed> {
    let mut pair = Pair::new(charging);
    pair.run();
    pair.ping();
    sleep(QUIET);
    pair.run();
    check("a quiet end", pair.held(), 2, CONNECTION)
}

fn a_connection_after_bulk_and_many_streams(charging: Charging) -> Result<(), Failed> {
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
