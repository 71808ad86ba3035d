//! A transport on which any one call goes wrong: whoever waits is woken and told why, nothing is lost in silence, nothing
//! leaks (Y-CLOSE-4, Y-CLOSE-5, Y-CLOSE-6, Y-CLOSE-7, Y-EOF-2, Y-EOF-3).
//!
//! Two ends do with each other all that there is to do. That is run once without a fault, which counts the calls to the
//! transport of one end; then once for each of these calls, which goes wrong. What every such run must come to is in
//! `run`; here is what differs: the reason that the connection is over for.

#![allow(unreachable_pub, reason = "a test binary has no users")]

mod end;
mod flawed;
mod run;
mod scenario;
mod talk;

use crate::support::quiet;
use crate::support::stage::assert_same;
use end::Wait;
use flawed::{Call, Fault, Flaw};
use run::{Outcome, Run};
use sluicegate::{ConnectionError, Mode, Side};
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::Duration;

/// The ends whose transport is flawed, each in its turn.
const ENDS: [Mode; 2] = [Mode::Client, Mode::Server];

/// The scenario without a fault.
fn unharmed(flawed: Mode) -> Outcome {
    Run::start(flawed, None, quiet()).finish()
}

/// The scenario once for each call to the transport, which goes wrong; gives the fault, the call, and what came of it.
fn each_call(flaw: Flaw) -> impl Iterator<Item = (Mode, Call, Fault, Outcome)> {
    ENDS.into_iter().flat_map(move |flawed| {
        let calls = unharmed(flawed).calls.into_iter().enumerate();
        calls.map(move |(at, call)| {
            let fault = Fault { at, flaw };
            let outcome = Run::start(flawed, Some(fault), quiet()).finish();
            assert_eq!(outcome.calls.get(at), Some(&call), "another call than without {fault:?}");
            (flawed, call, fault, outcome)
        })
    })
}

/// Why the connection is over where all goes well: the client closes it.
fn good_order(flawed: Mode) -> ConnectionError {
    ConnectionError::Closed { by: if flawed == Mode::Client { Side::Local } else { Side::Remote } }
}

fn transport(kind: ErrorKind) -> ConnectionError {
    ConnectionError::Io(Arc::new(io::Error::from(kind)))
}

#[test]
fn the_scenario_repeats_and_every_wait_occurs_in_it() {
    for flawed in ENDS {
        let first = unharmed(flawed);
        assert!(first.complete);
        assert_same(&first.reason, good_order(flawed));
        assert!(first.calls.len() >= 80, "{} calls are too few to be all there is", first.calls.len());
        for call in [Call::Read, Call::Write, Call::Flush, Call::Close] {
            assert!(first.calls.contains(&call), "no {call:?}");
        }
        for _ in 0..20 {
            assert_eq!(unharmed(flawed).calls, first.calls);
        }
    }
    // A fault finds somebody who waits for each of these, and for a writer whose window is full one that waits for long.
    let waits = unharmed(Mode::Client).waits;
    let longest = |what| waits.iter().filter(|wait| wait.0 == what).map(|wait| wait.1.len()).max().unwrap_or(0);
    for what in Wait::ALL {
        assert!(longest(what) > 1, "{} calls at most while a task waits for {what:?}", longest(what));
    }
    assert!(longest(Wait::Write) > 20, "the window is never full");
}

#[test]
fn y_close_4_a_call_that_fails_is_the_reason_that_everybody_is_told() {
    for kind in [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe, ErrorKind::Other] {
        for (flawed, call, fault, outcome) in each_call(Flaw::Fails(kind)) {
            if !survived(flawed, fault, &outcome) {
                assert_same(&outcome.reason, transport(kind));
                assert!(call != Call::Read || outcome.after(fault).is_empty(), "{fault:?}: touched after the end");
            }
            left_alone(call, fault, &outcome);
        }
    }
}

#[test]
fn y_eof_2_a_transport_that_ends_or_takes_nothing_loses_nothing_in_silence() {
    for (flawed, call, fault, outcome) in each_call(Flaw::Nothing) {
        match call {
            Call::Flush | Call::Close => unimpressed(flawed, fault, &outcome),
            Call::Read | Call::Write if survived(flawed, fault, &outcome) => left_alone(call, fault, &outcome),
            Call::Read => {
                // Y-EOF-1: where neither end knows of a stream of the other, there is nothing to lose.
                let early = fault.at < 6 && outcome.reason.is_clean();
                let expected = ConnectionError::Closed { by: Side::Remote };
                assert_same(&outcome.reason, if early { expected } else { ConnectionError::UnexpectedEof });
                left_alone(call, fault, &outcome);
            }
            Call::Write => {
                assert_same(&outcome.reason, transport(ErrorKind::WriteZero));
                left_alone(call, fault, &outcome);
            }
        }
    }
}

#[test]
fn a_call_that_moves_one_byte_does_no_harm() {
    for flaw in [Flaw::OneByte, Flaw::Bytewise] {
        for (flawed, _, fault, outcome) in each_call(flaw) {
            unimpressed(flawed, fault, &outcome);
        }
    }
}

/// All of them wait at the same time.
#[test]
fn y_close_5_a_transport_that_stalls_ends_the_connection_in_time() {
    let settings = || {
        let interval = Some(Duration::from_millis(50));
        quiet().keep_alive_interval(interval).connection_write_timeout(Duration::from_millis(200))
    };
    let mut runs = Vec::new();
    for flaw in [Flaw::Stalls, Flaw::Silent] {
        for flawed in ENDS {
            let faults = (0..unharmed(flawed).calls.len()).map(|at| Fault { at, flaw });
            runs.extend(faults.map(|fault| (flawed, fault, Run::start(flawed, Some(fault), settings()))));
        }
    }
    assert!(runs.iter_mut().any(|(.., run)| !run.go_on()), "nobody ever waits");
    for (flawed, fault, run) in runs {
        let outcome = run.finish();
        assert!(outcome.calls.len() > fault.at, "{fault:?} has not come about");
        if survived(flawed, fault, &outcome) {
            continue;
        }
        match (fault.flaw, &outcome.reason) {
            (_, ConnectionError::KeepAliveTimeout) => {}
            // Which of the two comes first is a matter of when the last ping was sent.
            (Flaw::Stalls, ConnectionError::WriteTimeout) => {}
            (_, other) => panic!("{other:?} at the {flawed:?} after {fault:?}"),
        }
    }
}

/// Whether the fault came so late that all was done before it.
fn survived(flawed: Mode, fault: Fault, outcome: &Outcome) -> bool {
    const LAST_CALLS: usize = 16;
    if outcome.complete {
        assert!(fault.at + LAST_CALLS > unharmed(flawed).calls.len(), "nobody noticed {fault:?}");
        assert!(outcome.reason.is_clean(), "{:?}", outcome.reason);
    }
    outcome.complete
}

/// The fault is none.
fn unimpressed(flawed: Mode, fault: Fault, outcome: &Outcome) {
    assert!(outcome.complete, "{:?} at the {flawed:?} after {fault:?}", outcome.reason);
    assert_same(&outcome.reason, good_order(flawed));
}

/// After a read that failed or found the end nothing is read, and after a call of another kind that failed nothing else
/// is done: the peer's last bytes are looked at, for they may explain it (Y-CLOSE-6).
fn left_alone(call: Call, fault: Fault, outcome: &Outcome) {
    let after = outcome.after(fault);
    let allowed = |next: &Call| (*next == Call::Read) != (call == Call::Read);
    assert!(after.iter().all(allowed), "{after:?} after the {call:?} of {fault:?}");
}
