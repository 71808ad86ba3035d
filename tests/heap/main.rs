//! The live heap against what is reserved, under peers that do their worst (law 11): it stays within 1.1 times what the
//! connections have reserved and 256 KiB for each of them, after every poll; and when they are gone, so is all of it.
//!
//! The peers are scripts that need no heap, so what is counted is this end's alone. One trial runs at a time.

#![allow(unreachable_pub, reason = "a test binary has no users")]

mod floods;
mod node;
mod script;

use floods::{FLOODS, Flood};
use libtest_mimic::{Arguments, Trial};
use node::Node;
use peak_alloc::PeakAlloc;
use sluicegate::Charging;
use std::process::ExitCode;

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

/// Bytes that are allocated now.
fn live() -> usize {
    HEAP.current_usage()
}

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    // What is allocated once and for all, by the runtime of the timers and by thread locals, is not a connection's.
    FLOODS.iter().for_each(|flood| drop(Node::new(flood, 1, Charging::Promised)));
    let cases = FLOODS.iter().flat_map(|flood| flood.connections.iter().map(move |number| (flood, *number)));
    let trials = cases.flat_map(|(flood, number)| {
        [(Charging::Promised, "promised"), (Charging::Used, "used")].map(|(charging, name)| {
            Trial::test(format!("{}_on_{number}_{name}", flood.name), move || {
                withstands(flood, number, charging);
                Ok(())
            })
        })
    });
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}

fn withstands(flood: &'static Flood, connections: usize, charging: Charging) {
    let mut node = Node::new(flood, connections, charging);
    node.run();
    let Node { before, beside, .. } = node;
    println!("     at most {beside:6} bytes of heap a connection beside 1.1 x reserved");
    drop(node);
    assert_eq!(live().saturating_sub(before), 0, "bytes are left when all is over");
}
