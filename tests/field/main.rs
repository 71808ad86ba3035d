//! Whole connections in virtual time: the applications of users, on links of all kinds, and an oracle that knows what must
//! arrive.
//!
//! Every run is a function of its seed. A failing one prints it, and the theme;
//! `SLUICEGATE_SEED=<n> cargo test --test field <theme>` runs it alone and says what was drawn. `SLUICEGATE_SEEDS=<n>` runs
//! n times as many as usual, and with `SLUICEGATE_GO_ON=1` a failing one does not keep the others from being run.
//! `SLUICEGATE_WITHOUT` leaves out applications, transports and endings by their names.

#![allow(unreachable_pub, reason = "a test binary exports nothing")]

mod acceptor;
mod apps;
mod chance;
mod clock;
mod end;
mod facts;
mod finale;
mod oracle;
mod run;
mod signs;
mod theme;
mod transport;
mod watched;
mod weather;
mod wire;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use theme::Theme;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|value| value.parse().ok())
}

/// Runs the theme for every seed, or for the one that the environment names.
fn for_each_seed(theme: &Theme) {
    let (only, times) = (number("SLUICEGATE_SEED"), number("SLUICEGATE_SEEDS").unwrap_or(1));
    let go_on = number("SLUICEGATE_GO_ON").is_some();
    let (mut failed, mut polls) = (0, 0);
    let seeds = only.map_or(0..theme.seeds * times, |seed| seed..seed + 1);
    let count = seeds.end - seeds.start;
    for seed in seeds {
        match catch_unwind(AssertUnwindSafe(|| run::run(theme, seed))) {
            Ok((took, time)) => {
                polls += took;
                if only.is_some() {
                    eprintln!("{took} polls, {time:?}");
                }
            }
            Err(panic) => {
                eprintln!("failing seed: SLUICEGATE_SEED={seed} cargo test --test field {}", theme.name);
                failed += 1;
                if !go_on {
                    resume_unwind(panic);
                }
            }
        }
    }
    eprintln!("{}: {count} seeds, {polls} polls, {failed} failed", theme.name);
    assert_eq!(failed, 0, "of {count} seeds");
}

#[test]
fn runs_are_functions_of_their_seed() {
    let run_all = || [0, 1, 2, 3].map(|seed| run::run(&theme::PLAIN_USE, seed));
    assert_eq!(run_all(), run_all());
}

macro_rules! themes {
    ($($name:ident: $theme:ident,)*) => {
        $(
            #[test]
            fn $name() {
                for_each_seed(&theme::$theme);
            }
        )*
    };
}

themes! {
    mixed: MIXED,
    messages: MESSAGES,
    plain_use: PLAIN_USE,
    early_answers: EARLY_ANSWERS,
    cut_short: CUT_SHORT,
    cancelled: CANCELLED,
    pings: PINGS,
    kept: KEPT,
    unused: UNUSED,
    bursts: BURSTS,
    priorities: PRIORITIES,
    budgets: BUDGETS,
    outages: OUTAGES,
    changes: CHANGES,
    go_away: GO_AWAY,
    lost: LOST,
}
