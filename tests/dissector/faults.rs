//! What is not as it should be: headers, and captures.

use crate::capture::{Capture, Way};
use crate::frame::Frame;
use crate::tshark::{AS_YAMUX, FAULTS, Shown, Tshark};

const DATA: [u8; 12] = header(0, 0, 0, 1, 1000);
const PING: [u8; 12] = header(0, 2, 1, 0, 7);
const PONG: [u8; 12] = header(0, 2, 2, 0, 7);

const fn header(version: u8, kind: u8, flags: u8, stream: u8, last: u16) -> [u8; 12] {
    let [high, low] = last.to_be_bytes();
    [version, kind, 0, flags, 0, 0, 0, stream, 0, 0, high, low]
}

/// What is marked.
fn marked(shown: &Shown) -> Vec<&'static str> {
    FAULTS.into_iter().zip(shown.faults).flat_map(|(fault, count)| vec![fault; count]).collect()
}

/// What is shown of frames without bodies in one segment: all of it, and what is marked.
fn check(tshark: &Tshark, said: &[[u8; 12]], faults: &[&str]) {
    let mut capture = Capture::new();
    capture.segment(Way::ToServer, &said.concat());
    let shown = tshark.show(&capture, AS_YAMUX);
    assert_eq!(marked(&shown), faults);
    let not_looked_at = usize::from(faults.contains(&"yamux.out_of_step"));
    let frames: Vec<_> = said[..said.len() - not_looked_at].iter().map(Frame::of).collect();
    assert_eq!(shown.frames, [frames, Vec::new()]);
}

pub fn malformed_headers_are_marked(tshark: &Tshark) {
    check(tshark, &[PING, header(1, 0, 0, 1, 0), PING], &["yamux.unknown_version", "yamux.out_of_step"]);
    check(tshark, &[PING, header(0, 4, 0, 1, 0), PING], &["yamux.unknown_type", "yamux.out_of_step"]);
    let without_stream = [header(0, 0, 0, 0, 0), PING, header(0, 1, 1, 0, 5), PING];
    check(tshark, &without_stream, &["yamux.stream_zero", "yamux.stream_zero"]);
}

pub fn meaningless_fields_are_noted(tshark: &Tshark) {
    let of_a_stream = [header(0, 2, 1, 3, 0), header(0, 3, 0, 3, 0)];
    check(tshark, &of_a_stream, &["yamux.ignored", "yamux.ignored"]);
    check(tshark, &[header(0, 1, 0x11, 1, 0), PING], &["yamux.ignored"]);
}

/// A capture lacks parts of a body: a segment, and the end of a packet.
pub fn frames_follow_a_body_with_holes(tshark: &Tshark) {
    let mut capture = Capture::new();
    capture.most = 40 + 300;
    // 288 bytes are captured of 400, none of 300, and all of 300.
    capture.segment(Way::ToServer, &[&DATA[..], &[1; 400]].concat());
    capture.lose(Way::ToServer, 300);
    capture.segment(Way::ToServer, &[2; 300]);
    capture.segment(Way::ToServer, &PING);
    let shown = tshark.show(&capture, AS_YAMUX);
    assert_eq!(shown.frames, [[DATA, PING].each_ref().map(Frame::of).into(), Vec::new()]);
    assert_eq!(shown.bodies, [[[1; 288].as_slice(), &[2; 300]].concat(), Vec::new()]);
    assert!(marked(&shown).is_empty());
}

/// A capture lacks a header, or begins with something else.
pub fn frames_are_found_again(tshark: &Tshark) {
    let mut capture = Capture::new();
    capture.segment(Way::ToServer, &PING);
    capture.lose(Way::ToServer, 12);
    capture.segment(Way::ToServer, &[1; 500]);
    capture.segment(Way::ToServer, &PING);
    capture.segment(Way::ToClient, b"\x13/multistream/1.0.0\n");
    capture.segment(Way::ToClient, &PING);
    let shown = tshark.show(&capture, AS_YAMUX);
    assert_eq!(shown.frames[Way::ToServer as usize], [PING, PING].each_ref().map(Frame::of));
    assert_eq!(shown.frames[Way::ToClient as usize].last(), Some(&Frame::of(&PING)));
    assert_eq!(marked(&shown), ["yamux.unknown_version", "yamux.out_of_step", "yamux.out_of_step"]);
}

/// A capture has bytes again, or after those that follow them.
pub fn late_bytes_are_passed_over(tshark: &Tshark) {
    let mut capture = Capture::new();
    capture.segment(Way::ToServer, &PING);
    capture.late_segment(Way::ToServer, PING.len(), &[PING, PONG].concat());
    capture.segment(Way::ToServer, &PING);

    capture.lose(Way::ToClient, PING.len());
    let start = [&DATA[..], &[1; 400]].concat();
    capture.segment(Way::ToClient, &start);
    capture.late_segment(Way::ToClient, PING.len() + start.len(), &PING);
    capture.segment(Way::ToClient, &[&[2; 600][..], &PONG].concat());

    // Else such segments are not handed to dissectors at all.
    let options = [AS_YAMUX, &["-o", "tcp.no_subdissector_on_error:FALSE"]].concat();
    let shown = tshark.show(&capture, &options);
    assert_eq!(shown.frames[Way::ToServer as usize], [PING, PONG, PING].each_ref().map(Frame::of));
    assert_eq!(shown.frames[Way::ToClient as usize], [DATA, PONG].each_ref().map(Frame::of));
    assert!(marked(&shown).is_empty());
}

pub fn a_port_can_be_preferred(tshark: &Tshark) {
    let mut capture = Capture::new();
    capture.segment(Way::ToServer, &PING);
    let shows_it = |options: &[&str]| !tshark.show(&capture, options).frames[0].is_empty();
    assert!(shows_it(&["-o", "yamux.port:4001"]));
    assert!(!shows_it(&["-o", "yamux.port:4002"]));
    assert!(!shows_it(&[]));
}
