//! Cells that take long and do little: they begin before all others, each on a thread of its own.

use crate::cell::{self, Scenario};
use crate::peers::Peer;
use crate::verdict::{Role, Verdict};
use libtest_mimic::Arguments;
use std::thread;

/// A cell that has been begun, if it is among those that are to be run. Its verdict is waited for.
pub fn begin(
    arguments: &Arguments,
    name: &str,
    (peer, role, scenario): (&'static Peer, Role, &'static Scenario),
) -> impl FnOnce() -> Verdict + Send + use<> {
    let begun = is_wanted(arguments, name).then(|| thread::spawn(move || cell::run(peer, role, scenario)));
    move || match begun.map(thread::JoinHandle::join) {
        Some(Ok(verdict)) => verdict,
        Some(Err(_)) => Verdict::Failed("its thread panicked".into()),
        None => cell::run(peer, role, scenario),
    }
}

/// Whether the harness will run a test of this name.
fn is_wanted(arguments: &Arguments, name: &str) -> bool {
    let matches = |filter: &String| if arguments.exact { name == filter } else { name.contains(filter.as_str()) };
    !arguments.list && arguments.filter.as_ref().is_none_or(matches) && !arguments.skip.iter().any(matches)
}
