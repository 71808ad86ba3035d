//! The live heap against what is reserved, under peers that do their worst (law 11): it stays within 1.1 times what the
//! connections have reserved and 256 KiB for each of them, after every poll; and when they are gone, so is all of it.
//!
//! The peers are scripts that need no heap, so what is counted is this end's alone. The allocator counts for a whole process:
//! each trial runs in one of its own, so that as many run at once as there are cores.

#![allow(unreachable_pub, reason = "a test binary has no users")]

mod floods;
mod node;
mod script;

use floods::{FLOODS, Flood};
use libtest_mimic::{Arguments, Failed, Trial};
use node::Node;
use peak_alloc::PeakAlloc;
use sluicegate::ReceiveCharge;
use std::env;
use std::process::{Command, ExitCode};

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

/// Bytes that are allocated now.
fn live() -> usize {
    HEAP.current_usage()
}

/// Set for a process that runs one trial and nothing else.
const ALONE: &str = "SLUICEGATE_HEAP_ALONE";

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    let is_alone = env::var_os(ALONE).is_some();
    if is_alone {
        arguments.test_threads = Some(1);
        // What is allocated once and for all, by the runtime of the timers and by thread locals, is not a connection's.
        FLOODS.iter().for_each(|flood| drop(Node::new(flood, 1, ReceiveCharge::Window)));
    }
    let cases = FLOODS.iter().flat_map(|flood| flood.connections.iter().map(move |number| (flood, *number)));
    let trials = cases.flat_map(|(flood, number)| {
        [(ReceiveCharge::Window, "window"), (ReceiveCharge::Buffered, "buffered")].map(|(charging, kind)| {
            let name = format!("{}_on_{number}_{kind}", flood.name);
            if is_alone {
                Trial::test(name, move || {
                    withstands(flood, number, charging);
                    Ok(())
                })
            } else {
                Trial::test(name.clone(), move || run_alone(&name))
            }
        })
    });
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}

/// Runs a trial in a process of its own and says what that said, which must be that the trial passed.
fn run_alone(name: &str) -> Result<(), Failed> {
    let output = Command::new(env::current_exe()?).args(["--exact", name]).env(ALONE, "1").output()?;
    let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if !output.status.success() || !said.contains("1 passed") {
        return Err(format!("{}\n{said}{complained}", output.status).into());
    }
    said.lines().filter(|line| line.contains("bytes of heap")).for_each(|line| println!("{line} in {name}"));
    Ok(())
}

fn withstands(flood: &'static Flood, connections: usize, charging: ReceiveCharge) {
    let mut node = Node::new(flood, connections, charging);
    node.run();
    let Node { before, beside, .. } = node;
    println!("     at most {beside:6} bytes of heap a connection beside 1.1 x reserved");
    drop(node);
    assert_eq!(live().saturating_sub(before), 0, "bytes are left when all is over");
}
