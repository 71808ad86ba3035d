//! Windows after the round trip was measured too short, by a first ping on a path that has become longer or by a coarse
//! clock (Y-FLOW-12, Y-FLOW-13), and windows that must not change because it was not.

use super::far::{FAR, MIB, MILLI, Opener, Outcome, Path, Reader, Transfer};
use crate::config::Config;
use crate::proto::limits::{INITIAL_WINDOW, NEAR_WINDOW};
use std::time::Duration;

const NEAR: Duration = Duration::from_micros(50);

fn begin(path: Path, tick: Duration, bytes: u64) -> Transfer {
    let config = Config::builder().keep_alive_interval(None).build().expect("valid");
    Transfer::new(path, config, bytes).begun(tick)
}

fn run(transfer: Transfer) -> Outcome {
    transfer.run(Opener::Sender, Reader::Eager)
}

/// A first ping that took so long, and then a path like this.
fn after(short: Duration, path: Path, bytes: u64) -> Outcome {
    let mut transfer = begin(Path { round_trip: short, ..path }, Duration::ZERO, bytes);
    transfer.ends.iter_mut().for_each(|end| end.line.path = path);
    run(transfer)
}

#[test]
fn y_flow_12_a_round_trip_measured_too_short_does_not_keep_windows_small() {
    for (short, millis) in [(NEAR, 80), (NEAR, 20), (MILLI, 80), (10 * MILLI, 80), (NEAR, 300)] {
        let path = Path { round_trip: millis * MILLI, ..FAR };
        let right = run(begin(path, Duration::ZERO, 512 * MIB));
        let outcome = after(short, path, 512 * MIB);
        let most = right.time * 10 / 7;
        println!("{short:?}, then {millis} ms: {:?} in place of {:?}", outcome.time, right.time);
        assert!(outcome.time < most, "{short:?} {millis} ms: {outcome:?} {right:?}");
        assert!(outcome.reader.largest_receive_window <= right.reader.largest_receive_window * 5 / 4, "{outcome:?}");
    }
}

#[test]
fn y_flow_13_a_coarse_clock_does_not_keep_windows_small() {
    for (tick, millis) in [(100, 80), (100, 30), (100, 150), (16, 30), (16, 10), (16, 80)] {
        let path = Path { round_trip: millis * MILLI, ..FAR };
        let (right, outcome) = (run(begin(path, Duration::ZERO, 256 * MIB)), run(begin(path, tick * MILLI, 256 * MIB)));
        println!("a clock of {tick} ms, {millis} ms: {:?} in place of {:?}", outcome.time, right.time);
        assert!(outcome.time <= 2 * right.time, "{tick} ms, {millis} ms: {outcome:?} {right:?}");
    }
}

/// Of a sender that has so much every so often and waits for nothing.
fn bursts(path: Path, every: Duration, bytes: u64) -> (Outcome, String) {
    let mut transfer = begin(path, Duration::ZERO, bytes * 200);
    transfer.bursts = Some((every, bytes));
    let text = format!("{path:?}, {bytes} bytes every {every:?}");
    (run(transfer), text)
}

#[test]
fn y_flow_12_a_sender_that_has_nothing_to_send_makes_no_window_larger() {
    for round_trip in [NEAR, MILLI, 10 * MILLI] {
        for bytes in [16, 64, 100, 128, 200, 256] {
            for millis in [20, 100, 1000] {
                let path = Path { rate: 12_500_000, round_trip, queue: 25 * MILLI };
                let (outcome, text) = bursts(path, millis * MILLI, bytes * 1024);
                let window = u64::from(outcome.reader.largest_receive_window);
                assert!(window <= (2 * path.product()).max(u64::from(INITIAL_WINDOW)) * 11 / 10, "{text}: {outcome:?}");
            }
        }
    }
}

#[test]
fn y_flow_12_a_full_link_that_pauses_makes_no_window_larger() {
    for (megabits, round_trip, stands) in [(100, 20 * MILLI, 200), (1000, NEAR, 50), (50, 50 * MILLI, 1000)] {
        let path = Path { rate: megabits * 125_000, round_trip, queue: 25 * MILLI };
        let bytes = 20 * path.rate.min(12_500_000);
        let mut transfer = begin(path, Duration::ZERO, bytes);
        transfer.stall = Some((700 * MILLI, stands * MILLI));
        let outcome = run(transfer);
        let window = u64::from(outcome.reader.largest_receive_window);
        assert!(window <= (2 * path.product()).max(u64::from(NEAR_WINDOW)), "{path:?}: {outcome:?}");
    }
}
