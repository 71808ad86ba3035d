//! The matrix of interoperation: peer x role x scenario, each cell a test of its own. `tests/interop/README.md` says how
//! the foreign peers are steered.

#![allow(unreachable_pub, reason = "a test binary has no users")]

#[path = "../support/mod.rs"]
mod support;

mod ahead;
mod cell;
mod child;
mod in_process;
mod line;
mod manners;
mod matrix;
mod nodes;
mod peers;
mod proxy;
mod said;
mod scenarios;
mod self_check;
mod tap;
mod theirs;
mod toolchain;
mod verdict;

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use matrix::Matrix;
use std::num::NonZero;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use toolchain::Source;
use verdict::{Role, Verdict};

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    if !arguments.list && arguments.filter.is_none() {
        Source::build_ahead();
    }
    // Most cells wait more than they compute: for a peer to start, for a round trip, for a reader that is slow.
    arguments.test_threads.get_or_insert_with(|| 2 * thread::available_parallelism().map_or(1, NonZero::get));
    let matrix = Arc::new(Matrix::default());
    verdict::keep_panics();
    let checks = [
        check("versions_are_those_that_are_pinned", matrix::check_versions),
        check("failures_are_explained", self_check::failures_are_explained),
        check("missing_toolchains_are_reported", self_check::missing_toolchains_are_reported),
    ];
    let others = checks.len();
    let mut trials = Vec::from(checks);
    for scenario in scenarios::SCENARIOS {
        for peer in peers::PEERS {
            for role in Role::BOTH {
                let key = (scenario.name, peer.name, role);
                trials.push(if scenario.setup.ahead {
                    let run = ahead::begin(&arguments, &name(key), (peer, role, scenario));
                    trial(&matrix, key, run)
                } else {
                    trial(&matrix, key, move || cell::run(peer, role, scenario))
                });
            }
        }
    }
    for scenario in nodes::SCENARIOS {
        for peer in nodes::PEERS {
            for role in Role::BOTH {
                let cell = (scenario.name, peer.name, role);
                trials.push(trial(&matrix, cell, move || nodes::run(peer, role, scenario)));
            }
        }
    }
    let cells = trials.len() - others;
    let conclusion = libtest_mimic::run(&arguments, trials);
    if !arguments.list {
        match matrix.write(cells) {
            Ok(said) => println!("{said}\n{}", manners::report()),
            Err(error) => {
                eprintln!("the matrix cannot be written: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
    conclusion.exit_code()
}

fn check(name: &str, holds: fn() -> Result<(), String>) -> Trial {
    Trial::test(name, move || Ok(holds()?))
}

/// The name of a cell's test.
fn name((scenario, peer, role): matrix::Key) -> String {
    format!("{}::{}::{scenario}", peer.replace(' ', "-"), role.name())
}

/// A cell as a test.
fn trial(matrix: &Arc<Matrix>, key: matrix::Key, run: impl FnOnce() -> Verdict + Send + 'static) -> Trial {
    let matrix = matrix.clone();
    Trial::ignorable_test(name(key), move || {
        let verdict = run();
        matrix.enter(key, verdict.clone());
        match verdict {
            Verdict::Passed(_) => Ok(Completion::Completed),
            Verdict::Cannot(why) => Ok(Completion::ignored_with(why)),
            Verdict::Missing(what) if required() => Err(Failed::from(what)),
            Verdict::Missing(what) => Ok(Completion::ignored_with(what)),
            Verdict::Failed(what) => Err(Failed::from(what)),
        }
    })
}

/// Whether a toolchain that is missing is a failure.
fn required() -> bool {
    std::env::var("INTEROP").is_ok_and(|value| value == "required")
}
