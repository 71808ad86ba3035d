//! `contrib/yamux.lua`, the dissector for Wireshark: `tshark` shows what sessions of this crate said, as their taps saw it.
//!
//! `tshark` is needed; where it is missing the tests are ignored and say so, and fail with `DISSECTOR=required`.

#![allow(unreachable_pub, reason = "a test binary has no users")]

#[path = "../support/mod.rs"]
mod support;

mod capture;
mod faults;
mod frame;
mod talk;
mod tshark;

use capture::{Capture, Way};
use frame::Frame;
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use std::collections::BTreeSet;
use std::process::{Command, ExitCode};
use talk::Talk;
use tshark::{AS_YAMUX, FAULTS, Tshark};

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let trials = vec![
        Trial::test("missing_tshark_is_reported", missing_tshark_is_reported),
        Trial::test("talks_have_something_of_everything", talks_have_something_of_everything),
        trial("frames_in_segments_of_all_sizes", |tshark| whole_talk(tshark, BULK, &AWKWARD)),
        trial("frames_in_large_segments", |tshark| whole_talk(tshark, BULK, &[60_000])),
        trial("frames_in_segments_of_a_byte", |tshark| whole_talk(tshark, 300, &[1])),
        trial("malformed_headers_are_marked", faults::malformed_headers_are_marked),
        trial("meaningless_fields_are_noted", faults::meaningless_fields_are_noted),
        trial("frames_follow_a_body_with_holes", faults::frames_follow_a_body_with_holes),
        trial("frames_are_found_again", faults::frames_are_found_again),
        trial("late_bytes_are_passed_over", faults::late_bytes_are_passed_over),
        trial("a_port_can_be_preferred", faults::a_port_can_be_preferred),
    ];
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn trial(name: &'static str, check: impl FnOnce(&Tshark) + Send + 'static) -> Trial {
    Trial::ignorable_test(name, move || match Tshark::find(name) {
        Ok(tshark) => {
            check(&tshark);
            Ok(Completion::Completed)
        }
        Err(missing) if required() => Err(Failed::from(missing)),
        Err(missing) => Ok(Completion::ignored_with(missing)),
    })
}

/// Whether it is a failure that `tshark` is missing.
fn required() -> bool {
    std::env::var("DISSECTOR").is_ok_and(|value| value == "required")
}

/// Enough for a body of 64 KiB, and for credit.
const BULK: usize = 200_000;

/// Where segments end: inside of headers and of bodies, between frames, and after many of them.
const AWKWARD: [usize; 15] = [1, 11, 12, 13, 1448, 1, 5, 24, 3, 30_000, 7, 2, 1460, 36, 60_000];

/// All that two sessions say, with up to `bulk` bytes at once, in a capture whose segments are of `sizes` in turn.
fn whole_talk(tshark: &Tshark, bulk: usize, sizes: &[usize]) {
    let talk = Talk::held(bulk);
    let capture = Capture::of(&talk.bytes, sizes);
    let shown = tshark.show(&capture, AS_YAMUX);
    // As in a window, where packets are read a second time when they are looked at. Too much to be printed.
    let again = [AS_YAMUX, &["-2", "-o", "tcp.relative_sequence_numbers:FALSE"]].concat();
    assert!(shown == tshark.show(&capture, &again), "the second pass shows something else");
    assert_eq!(shown.faults, [0; FAULTS.len()]);
    for way in Way::BOTH {
        let (bodies, handed) = (talk.bodies(way), &talk.sent[way as usize]);
        for (at, (frame, header)) in shown.frames[way as usize].iter().zip(handed).enumerate() {
            assert_eq!(*frame, Frame::of(header), "frame {at}, {way:?}");
        }
        assert_eq!(shown.frames[way as usize].len(), handed.len(), "{way:?}");
        assert!(shown.bodies[way as usize] == bodies, "other bodies, {way:?}");
    }
}

fn talks_have_something_of_everything() -> Result<(), Failed> {
    let talk = Talk::held(BULK);
    let kinds: BTreeSet<_> = talk.sent.iter().flatten().map(|header| (header[1], header[3])).collect();
    // Data, with FIN; credit, with SYN, ACK and RST; pings and their answers; go-aways.
    assert_eq!(Vec::from_iter(kinds), [(0, 0), (0, 4), (1, 0), (1, 1), (1, 2), (1, 8), (2, 1), (2, 2), (3, 0)]);
    Ok(())
}

/// Without `tshark` the tests are ignored with the reason, and fail where it is required.
fn missing_tshark_is_reported() -> Result<(), Failed> {
    for (required, succeeds) in [("", true), ("required", false)] {
        let mut test = Command::new(std::env::current_exe()?);
        test.args(["--exact", "malformed_headers_are_marked", "--color=never"]);
        let output = test.env("PATH", "").env("DISSECTOR", required).output()?;
        let said = String::from_utf8_lossy(&output.stdout);
        if output.status.success() != succeeds || !said.contains("`tshark` cannot be run") {
            return Err(format!("DISSECTOR={required} gives\n{said}").into());
        }
    }
    Ok(())
}
