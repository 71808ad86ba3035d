//! The end of a stream as one state machine, both ends of it, row by row: what the application has done, what the peer has
//! done, what is under way and what credit there is; and exactly which frames leave.

use super::*;
use crate::proto::limits::{HALF_OPEN, HALF_OPEN_CREDIT, HALF_OPEN_GRACE, INITIAL_WINDOW};
use std::fmt::Write as _;

/// What is done to a stream at one of its ends.
#[derive(Clone, Copy, Debug)]
enum Do {
    Write(usize),
    /// Writes until there is no credit left.
    UseUp,
    Read,
    Close,
    CloseRead,
    Reset(u32),
    Afar(u32),
    Drop(Leave),
}
use Do::*;

/// What happens next. The near end is the one whose stream is dropped.
#[derive(Clone, Copy, Debug)]
enum Act {
    Near(Do),
    Far(Do),
    /// Milliseconds pass.
    Wait(u64),
    /// The transport of the near end takes nothing.
    Stall,
    Flow,
    /// Of the next body of the far end half arrives; then
    Half,
    /// the rest.
    Rest,
}
use Act::*;

const GRACE: u64 = HALF_OPEN_GRACE.as_millis() as u64;
/// How exact the time is in which a peer is told.
const EXACT: u64 = 100;
const DONE: Leave = Leave::Done { read: 0, wrote: true };
const READ: Leave = Leave::Done { read: 100, wrote: true };

/// A row: what happens, with the frames that cross because of it, and what the far end then reads and how it writes.
type Row = (&'static str, &'static [(Act, &'static str)], [&'static str; 2]);

/// Settings with which the round trip is measured once.
fn few_pings() -> ConfigBuilder {
    Config::builder().measure_rtt_interval(Duration::from_secs(24 * 60 * 60))
}

/// Two ends and a stream.
struct Duo {
    near: Bench,
    far: Bench,
    keys: [Key; 2],
    stalls: bool,
    /// Half of the next body arrives only; so much of it is missing.
    half: bool,
    missing: usize,
    log: String,
    /// What was logged last: its end and kind, and bytes.
    last: Option<(char, usize)>,
}

impl Duo {
    /// A stream that one of them has opened, that is known to both, and that the near end has used.
    fn new(near_opens: bool) -> Self {
        let settings = || few_pings().max_send_buffer(1 << 20).max_stream_window(INITIAL_WINDOW);
        let [near, far] = if near_opens { [Mode::Client, Mode::Server] } else { [Mode::Server, Mode::Client] };
        let [mut near, mut far] = [near, far].map(|mode| Bench::of(mode, 1 << 30, settings()));
        far.now = near.now;
        let (opener, acceptor) = if near_opens { (&mut near, &mut far) } else { (&mut far, &mut near) };
        let (opened, _) = opener.open();
        assert!(opener.mux.flush(opened).is_err());
        for header in opener.send() {
            if acceptor.mux.handle_frame(Frame::Header(header), acceptor.now) == Admission::Reserve {
                let granted = acceptor.reserve();
                acceptor.mux.admit(Some(granted), acceptor.now);
            }
        }
        let accepted = acceptor.mux.accept().expect("opened");
        for header in acceptor.send() {
            opener.receive(header);
        }
        let keys = if near_opens { [opened, accepted] } else { [accepted, opened] };
        let mut duo = Self { near, far, keys, stalls: false, half: false, missing: 0, log: String::new(), last: None };
        duo.exchange();
        duo.log.clear();
        duo
    }

    fn act(&mut self, act: Act) {
        match act {
            Near(what) => self.perform(0, what),
            Far(what) => self.perform(1, what),
            Wait(time) => {
                for bench in [&mut self.near, &mut self.far] {
                    bench.wait(Duration::from_millis(time));
                }
            }
            Stall => self.stalls = true,
            Flow => self.stalls = false,
            Half => self.half = true,
            Rest => self.near.receive_body(std::mem::take(&mut self.missing)),
        }
        self.exchange();
    }

    fn perform(&mut self, side: usize, what: Do) {
        let (key, bench) = (self.keys[side], if side == 0 { &mut self.near } else { &mut self.far });
        let now = bench.now;
        match what {
            Write(len) => self.write(side, len),
            UseUp => self.write(side, usize::MAX),
            Read => drop(bench.read(key)),
            Close => drop(bench.mux.finish(key, bench.now)),
            CloseRead => bench.mux.stop(key, 0, now),
            Reset(code) => bench.mux.reset(key, code, bench.now),
            Afar(code) => assert!(bench.mux.reset_from_afar(key, code, bench.now)),
            Drop(leave) => bench.leave(key, leave),
        }
    }

    /// Writes, as the transport takes it. What fails is to be asked for in the end.
    fn write(&mut self, side: usize, mut len: usize) {
        while len > 0 {
            let (key, bench) = (self.keys[side], if side == 0 { &mut self.near } else { &mut self.far });
            let Ok(written) = bench.mux.write(key, &vec![7; len.min(16 << 10)], bench.now) else { return };
            len -= written;
            self.exchange();
        }
    }

    /// Lets everything cross that is to, and logs it.
    fn exchange(&mut self) {
        loop {
            let sent = if self.stalls { Vec::new() } else { self.near.send() };
            for header in &sent {
                self.note("n", *header);
                Self::deliver(&mut self.far, *header);
            }
            let answers = self.far.send();
            for header in &answers {
                self.note("f", *header);
                match *header {
                    Header::Data { len: len @ 1.., .. } if std::mem::take(&mut self.half) => {
                        let half = len as usize / 2;
                        self.near.receive(*header);
                        self.near.receive_body(half);
                        self.missing = len as usize - half;
                    }
                    header => Self::deliver(&mut self.near, header),
                }
            }
            self.near.settle();
            self.far.settle();
            if sent.is_empty() && answers.is_empty() {
                break;
            }
        }
    }

    fn deliver(to: &mut Bench, header: Header) {
        to.receive(header);
        if let Header::Data { len: len @ 1.., .. } = header {
            to.receive_body(len as usize);
        }
    }

    /// Data that follows data is one entry.
    fn note(&mut self, who: &str, header: Header) {
        let entry = match header {
            Header::Data { flags: Flags::NONE, len, .. } => {
                let who = who.chars().next().expect("a name");
                let before = self.last.take().filter(|(last, _)| *last == who && !self.log.is_empty());
                if before.is_some() {
                    let start = self.log.rfind(who).expect("logged");
                    self.log.truncate(start);
                }
                let bytes = len as usize + before.map_or(0, |(_, bytes)| bytes);
                let _ = write!(self.log, "{who} data {bytes}, ");
                self.last = Some((who, bytes));
                return;
            }
            Header::Data { flags: Flags::FIN, len: 0, .. } => "fin".to_owned(),
            Header::WindowUpdate { flags: Flags::RST, value, .. } => format!("rst {value}"),
            Header::WindowUpdate { flags: Flags::NONE, value, .. } => format!("credit {value}"),
            Header::Ping { .. } => return,
            other => panic!("{other:?}"),
        };
        self.last = None;
        let _ = write!(self.log, "{who} {entry}, ");
    }

    /// What is to be read, and how that ends; and how a write fails, if it does.
    fn outcome(bench: &mut Bench, key: Key) -> [String; 2] {
        let read = bench.read(key);
        let end = match bench.mux.read(key, &mut Chunks::default()) {
            Ok(_) => "end".to_owned(),
            Err(ReadError::Blocked) => "open".to_owned(),
            Err(ReadError::Failed(error)) => brief(&error),
        };
        let write = match bench.mux.write(key, b"more", bench.now) {
            Ok(_) | Err(WriteError::Blocked { .. }) => "open".to_owned(),
            Err(WriteError::Failed(error)) => brief(&error),
        };
        [format!("{read} {end}"), write]
    }
}

fn brief(error: &StreamError) -> String {
    match error {
        StreamError::Reset { by: Side::Remote, code } => format!("reset {code}"),
        StreamError::Reset { by: Side::Local, code } => format!("reset local {code}"),
        StreamError::WriteClosed => "closed".to_owned(),
        other => panic!("{other:?}"),
    }
}

/// Every row with a stream that the near end has opened, and with one that it has accepted.
fn holds(rows: &[Row]) {
    for (name, acts, expected) in rows {
        for near_opens in [true, false] {
            let mut duo = Duo::new(near_opens);
            for (number, (act, frames)) in acts.iter().enumerate() {
                duo.log.clear();
                duo.last = None;
                duo.act(*act);
                let seen = duo.log.trim_end_matches(", ");
                assert_eq!(seen, *frames, "{name}, near opens: {near_opens}, {number}: {act:?}");
            }
            let key = duo.keys[1];
            assert_eq!(Duo::outcome(&mut duo.far, key), *expected, "{name}, near opens: {near_opens}");
            // Whatever has happened, nothing is left when the far end lets go as well, and no end has broken a rule.
            duo.perform(1, Drop(Leave::CutShort(9)));
            duo.exchange();
            for bench in [&mut duo.near, &mut duo.far] {
                bench.wait(Duration::from_secs(10));
                let left = (bench.mux.store.len(), bench.mux.half_open.len(), bench.limit.reserved());
                assert_eq!(left, (0, 0, 0), "{name}, near opens: {near_opens}");
                assert!(bench.mux.closed().is_none() && bench.mux.stats(bench.now).useless_frames == 0, "{name}");
            }
        }
    }
}

#[test]
fn y_drop_1_what_was_written_goes_out_and_then_a_fin() {
    holds(&[
        ("dropped", &[(Near(Write(10)), "n data 10"), (Near(Drop(DONE)), "n fin")], ["10 end", "open"]),
        (
            "dropped while the transport takes nothing",
            &[(Stall, ""), (Near(Write(10)), ""), (Near(Drop(DONE)), ""), (Flow, "n data 10, n fin")],
            ["10 end", "open"],
        ),
        (
            "dropped after it was closed",
            &[(Near(Write(10)), "n data 10"), (Near(Close), "n fin"), (Near(Drop(Leave::Closed)), "")],
            ["10 end", "open"],
        ),
        (
            "dropped after the close was begun",
            &[
                (Stall, ""),
                (Near(Write(10)), ""),
                (Near(Close), ""),
                (Near(Drop(Leave::Closed)), ""),
                (Flow, "n data 10, n fin"),
            ],
            ["10 end", "open"],
        ),
        (
            "closed, with bytes unread that are nobody's then",
            &[(Far(Write(100)), "f data 100"), (Near(Close), "n fin"), (Near(Drop(Leave::Closed)), "")],
            ["0 end", "open"],
        ),
        (
            "both ends at once",
            &[
                (Near(Write(1)), "n data 1"),
                (Far(Write(1)), "f data 1"),
                (Near(Read), ""),
                (Far(Read), ""),
                (Stall, ""),
                (Near(Drop(DONE)), ""),
                (Far(Close), "f fin"),
                (Flow, "n fin"),
            ],
            ["0 end", "closed"],
        ),
        (
            "the peer had finished",
            &[
                (Far(Write(5)), "f data 5"),
                (Far(Close), "f fin"),
                (Near(Read), ""),
                (Near(Write(10)), "n data 10"),
                (Near(Drop(DONE)), "n fin"),
            ],
            ["10 end", "closed"],
        ),
    ]);
}

#[test]
fn y_drop_2_data_for_a_finished_and_dropped_stream_is_discarded() {
    holds(&[
        (
            "while the peer has credit",
            &[
                (Near(Write(10)), "n data 10"),
                (Near(Drop(DONE)), "n fin"),
                (Far(Write(5_000)), "f data 5000"),
                (Wait(100_000), ""),
                (Far(Write(5_000)), "f data 5000"),
            ],
            ["10 end", "open"],
        ),
        (
            "until it finishes",
            &[
                (Near(Write(10)), "n data 10"),
                (Near(Drop(DONE)), "n fin"),
                (Far(Write(5_000)), "f data 5000"),
                (Far(Close), "f fin"),
                (Wait(100_000), ""),
            ],
            ["10 end", "closed"],
        ),
        (
            "or resets",
            &[
                (Near(Write(10)), "n data 10"),
                (Near(Drop(DONE)), "n fin"),
                (Far(Reset(7)), "f rst 7"),
                (Wait(100_000), ""),
            ],
            ["0 reset local 7", "reset local 7"],
        ),
        (
            "read no more, then closed, and the stream is held",
            &[
                (Near(CloseRead), ""),
                (Near(Close), "n fin"),
                (Far(Write(5_000)), "f data 5000"),
                (Wait(100_000), ""),
                (Near(Drop(Leave::Closed)), ""),
            ],
            ["0 end", "open"],
        ),
    ]);
}

#[test]
fn y_drop_3_a_peer_without_credit_is_told_once_in_time() {
    holds(&[
        (
            "after the drop",
            &[
                (Near(Write(10)), "n data 10"),
                (Near(Drop(DONE)), "n fin"),
                (Far(UseUp), "f data 262144"),
                (Wait(GRACE - EXACT), ""),
                (Wait(2 * EXACT), "n rst 0"),
                (Wait(100_000), ""),
            ],
            ["10 end", "reset 0"],
        ),
        (
            "before it",
            &[
                (Near(Write(10)), "n data 10"),
                (Far(UseUp), "f data 262144"),
                (Near(Close), "n fin"),
                (Wait(100_000), ""),
                (Near(Drop(Leave::Closed)), ""),
                (Wait(GRACE - EXACT), ""),
                (Wait(2 * EXACT), "n rst 0"),
            ],
            ["10 end", "reset 0"],
        ),
        (
            "but for less than a frame is worth",
            &[
                (Near(Write(10)), "n data 10"),
                (Near(Drop(DONE)), "n fin"),
                (Far(Write(256_000)), "f data 256000"),
                (Wait(GRACE + EXACT), "n rst 0"),
            ],
            ["10 end", "reset 0"],
        ),
        (
            "not if it finishes before",
            &[
                (Near(Write(10)), "n data 10"),
                (Near(Drop(DONE)), "n fin"),
                (Far(UseUp), "f data 262144"),
                (Wait(GRACE - EXACT), ""),
                (Far(Close), "f fin"),
                (Wait(100_000), ""),
            ],
            ["10 end", "closed"],
        ),
        (
            "read no more, closed and held",
            &[
                (Near(CloseRead), ""),
                (Near(Close), "n fin"),
                (Far(UseUp), "f data 262144"),
                (Wait(GRACE + EXACT), "n rst 0"),
                (Near(Drop(Leave::Closed)), ""),
            ],
            ["0 end", "reset 0"],
        ),
    ]);
}

#[test]
fn y_drop_5_the_rest_of_a_body_belongs_to_the_dropped_stream() {
    holds(&[
        (
            "there is credit left",
            &[
                (Near(Close), "n fin"),
                (Half, ""),
                (Far(Write(100)), "f data 100"),
                (Near(Drop(Leave::Closed)), ""),
                (Rest, ""),
                (Wait(100_000), ""),
                (Far(Write(100)), "f data 100"),
            ],
            ["0 end", "open"],
        ),
        (
            "it was the last credit: the time runs from its end",
            &[
                (Near(Close), "n fin"),
                (Far(Write(262_000)), "f data 262000"),
                (Half, ""),
                (Far(UseUp), "f data 144"),
                (Near(Drop(Leave::Closed)), ""),
                (Wait(100_000), ""),
                (Rest, ""),
                (Wait(GRACE - EXACT), ""),
                (Wait(2 * EXACT), "n rst 0"),
            ],
            ["0 end", "reset 0"],
        ),
        (
            "it comes after the drop",
            &[
                (Near(Write(10)), "n data 10"),
                (Near(Drop(DONE)), "n fin"),
                (Far(Write(262_000)), "f data 262000"),
                (Wait(GRACE - EXACT), ""),
                (Half, ""),
                (Far(UseUp), "f data 144"),
                (Wait(100_000), ""),
                (Rest, ""),
                (Wait(GRACE + EXACT), "n rst 0"),
            ],
            ["10 end", "reset 0"],
        ),
    ]);
}

#[test]
fn y_drop_6_what_was_cut_short_is_reset_at_once_with_its_code() {
    holds(&[
        (
            "nothing waits",
            &[(Near(Write(10)), "n data 10"), (Near(Drop(Leave::CutShort(7))), "n rst 7")],
            ["10 reset 7", "reset 7"],
        ),
        (
            "what waits is dropped",
            &[(Stall, ""), (Near(Write(10)), ""), (Near(Drop(Leave::CutShort(0))), ""), (Flow, "n rst 0")],
            ["0 reset 0", "reset 0"],
        ),
        (
            "the peer had finished",
            &[(Far(Close), "f fin"), (Near(Drop(Leave::CutShort(7))), "n rst 7")],
            ["0 reset 7", "closed"],
        ),
        (
            "a body is under way",
            &[(Half, ""), (Far(Write(100)), "f data 100"), (Near(Drop(Leave::CutShort(7))), "n rst 7"), (Rest, "")],
            ["0 reset 7", "reset 7"],
        ),
        (
            "it was closed: nothing is cut short",
            &[(Near(Close), "n fin"), (Near(Drop(Leave::CutShort(7))), "")],
            ["0 end", "open"],
        ),
        (
            "it was reset: once is enough",
            &[(Near(Reset(3)), "n rst 3"), (Near(Drop(Leave::CutShort(7))), "")],
            ["0 reset 3", "reset 3"],
        ),
        (
            "it was reset and that has not left",
            &[(Stall, ""), (Near(Reset(3)), ""), (Near(Drop(Leave::CutShort(7))), ""), (Flow, "n rst 3")],
            ["0 reset 3", "reset 3"],
        ),
    ]);
}

#[test]
fn y_drop_7_what_was_not_used_is_reset() {
    holds(&[
        ("nothing came", &[(Near(Drop(Leave::Unused)), "n rst 0")], ["0 reset 0", "reset 0"]),
        (
            "a request came whole",
            &[(Far(Write(5)), "f data 5"), (Far(Close), "f fin"), (Near(Drop(Leave::Unused)), "n rst 0")],
            ["0 reset 0", "closed"],
        ),
        (
            "the bytes of its negotiation go out first",
            &[(Stall, ""), (Near(Write(30)), ""), (Near(Drop(Leave::Unused)), ""), (Flow, "n data 30, n rst 0")],
            ["30 reset 0", "reset 0"],
        ),
    ]);
}

#[test]
fn y_drop_8_unread_bytes_turn_the_fin_into_a_reset() {
    holds(&[
        (
            "behind what was written",
            &[
                (Far(Write(100)), "f data 100"),
                (Stall, ""),
                (Near(Write(10)), ""),
                (Near(Drop(DONE)), ""),
                (Flow, "n data 10, n rst 0"),
            ],
            ["10 reset 0", "reset 0"],
        ),
        (
            "at once where that has left",
            &[(Far(Write(100)), "f data 100"), (Near(Write(10)), "n data 10"), (Near(Drop(DONE)), "n rst 0")],
            ["10 reset 0", "reset 0"],
        ),
        (
            "though the peer has finished",
            &[
                (Far(Write(100)), "f data 100"),
                (Far(Close), "f fin"),
                (Stall, ""),
                (Near(Write(10)), ""),
                (Near(Drop(DONE)), ""),
                (Flow, "n data 10, n rst 0"),
            ],
            ["10 reset 0", "closed"],
        ),
        (
            "they are under way",
            &[
                (Near(Write(10)), "n data 10"),
                (Half, ""),
                (Far(Write(100)), "f data 100"),
                (Near(Read), ""),
                (Near(Drop(DONE)), "n rst 0"),
                (Rest, ""),
            ],
            ["10 reset 0", "reset 0"],
        ),
        (
            "what comes meanwhile is discarded, and there is no credit for it",
            &[
                (Far(Write(100)), "f data 100"),
                (Stall, ""),
                (Near(Write(10)), ""),
                (Near(Drop(DONE)), ""),
                (Far(UseUp), "f data 262044"),
                (Flow, "n data 10, n rst 0"),
            ],
            ["10 reset 0", "reset 0"],
        ),
        (
            "the peer resets it before: once is enough",
            &[
                (Far(Write(100)), "f data 100"),
                (Stall, ""),
                (Near(Write(10)), ""),
                (Near(Drop(DONE)), ""),
                (Far(Reset(5)), "f rst 5"),
                (Flow, ""),
            ],
            ["0 reset local 5", "reset local 5"],
        ),
        (
            "read and not reported is read",
            &[(Far(Write(100)), "f data 100"), (Near(Write(10)), "n data 10"), (Near(Drop(READ)), "n fin")],
            ["10 end", "open"],
        ),
        (
            "what is read no more is not left unread",
            &[
                (Far(Write(100)), "f data 100"),
                (Near(CloseRead), ""),
                (Near(Write(10)), "n data 10"),
                (Near(Drop(DONE)), "n fin"),
            ],
            ["10 end", "open"],
        ),
    ]);
}

#[test]
fn y_flow_10_credit_is_given_while_this_end_still_writes() {
    holds(&[
        (
            "read no more",
            &[
                (Near(CloseRead), ""),
                (Far(Write(200_000)), "f data 131072, n credit 131072, f data 68928"),
                (Near(Close), "n fin"),
                (Far(Write(100)), "f data 100"),
                (Wait(100_000), ""),
                (Near(Drop(Leave::Closed)), ""),
            ],
            ["0 end", "open"],
        ),
        (
            "dropped, and data and FIN wait for the transport",
            &[
                (Stall, ""),
                (Near(Write(10)), ""),
                (Near(Drop(DONE)), ""),
                (Far(Write(200_000)), "f data 200000"),
                (Flow, "n credit 200000, n data 10, n fin"),
                (Far(UseUp), "f data 262144"),
                (Wait(GRACE + EXACT), "n rst 0"),
            ],
            ["10 end", "reset 0"],
        ),
    ]);
}

#[test]
fn y_rst_8_a_reset_from_elsewhere_does_what_one_here_does() {
    holds(&[
        (
            "open",
            &[(Far(Write(100)), "f data 100"), (Near(Afar(7)), "n rst 7"), (Near(Drop(DONE)), "")],
            ["0 reset 7", "reset 7"],
        ),
        (
            "half closed",
            &[(Near(Close), "n fin"), (Near(Afar(7)), "n rst 7"), (Near(Drop(Leave::Closed)), "")],
            ["0 end", "reset 7"],
        ),
        (
            "what waits is dropped",
            &[(Stall, ""), (Near(Write(10)), ""), (Near(Afar(7)), ""), (Flow, "n rst 7"), (Near(Drop(DONE)), "")],
            ["0 reset 7", "reset 7"],
        ),
    ]);
}

// What the application has taken and not looked at since is in memory: it stays reserved, and nothing else does.
#[test]
fn y_rst_8_what_was_taken_stays_reserved_until_it_is_given_up() {
    for settings in [Config::builder(), Config::builder().receive_charge(crate::config::ReceiveCharge::Buffered)] {
        let mut bench = Bench::with(1 << 30, settings);
        let (key, id) = bench.stream(Priority::MEDIUM);
        bench.receive_data(id, 200_000);
        let mut chunks = Chunks::default();
        assert!(bench.mux.read(key, &mut chunks).is_ok());
        let taken = chunks.clear();
        assert!((60_000..80_000).contains(&taken), "{taken}");
        assert!(bench.mux.reset_from_afar(key, 7, bench.now));
        for sent in [None, Some(bench.send())] {
            let reserved = bench.limit.reserved();
            assert!((taken..taken + (32 << 10)).contains(&reserved), "{reserved} for {taken}, sent {sent:?}");
        }
        // It is looked at, or dropped: both give up what there is.
        bench.mux.consume(key, taken as u32, bench.now);
        let read = bench.mux.read(key, &mut chunks);
        assert!(matches!(read, Err(ReadError::Failed(StreamError::Reset { by: Side::Local, code: 7 }))), "{read:?}");
        bench.settle();
        assert_eq!(bench.limit.reserved(), 0);
        bench.release(key);
        assert!(!bench.mux.reset_from_afar(key, 8, bench.now));
        assert_eq!(bench.mux.store.len(), 0);
    }
}

#[test]
fn y_rst_8_a_stream_that_was_dropped_is_left_alone() {
    let mut bench = Bench::with(1 << 30, few_pings());
    let (key, _) = bench.stream(Priority::MEDIUM);
    assert_eq!(bench.mux.write(key, b"all of it", bench.now).expect("room"), 9);
    bench.release(key);
    assert!(!bench.mux.reset_from_afar(key, 7, bench.now));
    assert_eq!(bench.send().len(), 2, "the data and the FIN");
}

// hashicorp/yamux sends all it has credit for in one frame: its writer is blocked for ever where the rest of that is
// swallowed.
#[test]
fn y_drop_5_a_window_in_one_frame_is_answered_in_time() {
    for arrived in [0, 1, 1024, INITIAL_WINDOW - 1, INITIAL_WINDOW] {
        for fin in [false, true] {
            let mut bench = Bench::with(1 << 30, few_pings());
            let (key, id) = bench.stream(Priority::MEDIUM);
            let flags = if fin { Flags::FIN } else { Flags::NONE };
            bench.receive(Header::Data { id, flags, len: INITIAL_WINDOW });
            bench.receive_body(arrived as usize);
            bench.read(key);
            bench.ask();
            assert_eq!(bench.mux.write(key, &[7; 100], bench.now).expect("room"), 100);
            assert!(bench.mux.finish(key, bench.now).is_err());
            bench.send();
            bench.leave(key, Leave::Closed);
            bench.wait(Duration::from_secs(60));
            let told = [Header::WindowUpdate { id, flags: Flags::RST, value: 0 }];
            let rest = (INITIAL_WINDOW - arrived) as usize;
            if rest > 0 {
                assert_eq!(bench.send(), [], "{arrived}: its frame is under way");
                bench.receive_body(rest);
                bench.wait(HALF_OPEN_GRACE + Duration::from_millis(EXACT));
            }
            // Where most of it was read before the FIN there was credit for that.
            let none = fin || arrived >= INITIAL_WINDOW / 2;
            assert_eq!(bench.send(), if none { &[][..] } else { &told }, "{arrived} {fin}");
            assert_eq!((bench.mux.store.len(), bench.limit.reserved()), (0, 0));
        }
    }
}

#[test]
fn y_drop_4_beyond_the_bound_no_peer_waits_for_ever() {
    let mut bench = Bench::with(1 << 30, few_pings());
    let mut ids = Vec::new();
    for _ in 0..HALF_OPEN + 1 {
        let (key, id) = bench.stream(Priority::MEDIUM);
        assert_eq!(bench.mux.write(key, b"?", bench.now).expect("room"), 1);
        bench.release(key);
        ids.push(id);
        if ids.len() <= HALF_OPEN {
            assert_eq!(bench.send().len(), 2);
        }
    }
    assert_eq!(bench.send().len(), 2, "nobody who has credit is told");
    // One of those that were forgotten writes, and then knows; another one finishes.
    let data = Header::Data { id: ids[0], flags: Flags::NONE, len: 5 };
    for expected in [&[Header::WindowUpdate { id: ids[0], flags: Flags::RST, value: 0 }][..], &[]] {
        bench.receive(data);
        bench.receive_body(5);
        assert_eq!(bench.send(), expected);
    }
    bench.receive(Header::Data { id: ids[1], flags: Flags::FIN, len: 5 });
    bench.receive_body(5);
    assert_eq!(bench.send(), []);
    // An idle connection forgets no half-open stream either.
    bench.wait(Duration::from_secs(100));
    assert_eq!(bench.mux.half_open.len(), HALF_OPEN + 1 - HALF_OPEN / 8);
    let last = ids[HALF_OPEN];
    bench.receive_data(last, (INITIAL_WINDOW - HALF_OPEN_CREDIT) as usize);
    bench.receive_data(last, 1);
    bench.wait(HALF_OPEN_GRACE + Duration::from_millis(EXACT));
    assert_eq!(bench.send(), [Header::WindowUpdate { id: last, flags: Flags::RST, value: 0 }]);
    assert!(bench.mux.closed().is_none());
}

// A new stream of the same id is not taken for the old one.
#[test]
fn y_open_5_a_reused_id_is_not_reset_for_the_old_stream() {
    let mut bench = Bench::of(Mode::Server, 1 << 30, few_pings());
    bench.send();
    let open = |bench: &mut Bench| {
        let syn = Header::WindowUpdate { id: id(1), flags: Flags::SYN, value: 0 };
        assert_eq!(bench.mux.handle_frame(Frame::Header(syn), bench.now), Admission::Reserve);
        let granted = bench.reserve();
        bench.mux.admit(Some(granted), bench.now);
        bench.mux.accept().expect("opened")
    };
    let key = open(&mut bench);
    assert_eq!(bench.mux.write(key, b"!", bench.now).expect("room"), 1);
    bench.release(key);
    bench.send();
    bench.receive_data(id(1), INITIAL_WINDOW as usize);
    bench.wait(HALF_OPEN_GRACE * 2);
    // The reset is owed when the peer opens the id again.
    let again = open(&mut bench);
    assert_eq!(bench.send(), [Header::WindowUpdate { id: id(1), flags: Flags::ACK, value: 0 }]);
    bench.wait(HALF_OPEN_GRACE * 2);
    assert_eq!((bench.send(), bench.mux.is_linked(again)), (vec![], true));
}

/// Lazy negotiation: the dialler writes, closes and drops, and the listener's answer is late. A thousand times of a thousand
/// the listener can still write.
#[test]
fn y_drop_2_an_answer_to_one_who_has_left_costs_nothing() {
    for n in 0..1_000 {
        let mut duo = Duo::new(true);
        duo.act(Near(Write(1 + n)));
        duo.act(Near(Close));
        duo.act(Near(Drop(Leave::Closed)));
        duo.act(Far(Write(30)));
        let key = duo.keys[1];
        assert_eq!(Duo::outcome(&mut duo.far, key), [format!("{} end", 1 + n), "open".to_owned()]);
    }
}

#[test]
fn y_drop_6_what_was_written_before_a_close_leaves_before_the_reset() {
    for closes in [true, false] {
        let mut bench = Bench::new();
        let (key, id) = bench.stream(Priority::MEDIUM);
        bench.send();
        assert_eq!(bench.mux.write(key, b"taken", bench.now).expect("room"), 5);
        if closes {
            bench.mux.close(0);
        }
        bench.leave(key, Leave::CutShort(7));
        let data = Header::Data { id, flags: Flags::NONE, len: 5 };
        let reset = |value| Header::WindowUpdate { id, flags: Flags::RST, value };
        let expected = if closes { vec![data, reset(0), Header::GoAway { code: 0 }] } else { vec![reset(7)] };
        assert_eq!(bench.send(), expected);
    }
}

#[test]
fn y_drop_3_a_driver_that_sleeps_learns_of_the_time() {
    for drops in [true, false] {
        let mut bench = Bench::with(1 << 30, few_pings());
        let (key, id) = bench.stream(Priority::MEDIUM);
        bench.receive_data(id, INITIAL_WINDOW as usize);
        assert!(bench.mux.finish(key, bench.now).is_err());
        bench.send();
        assert!(bench.mux.finish(key, bench.now).is_ok());
        // The connection is idle, and only a distant measurement would wake it.
        bench.wait(Duration::from_secs(5));
        let before = bench.mux.poll_timeout().expect("measures");
        let events = bench.mux.events_mut();
        (events.attention, events.outlook) = (false, false);
        if drops {
            bench.leave(key, Leave::Closed);
        } else {
            bench.mux.stop(key, 0, bench.now);
        }
        assert!(bench.mux.events_mut().outlook, "{drops}");
        assert!(bench.mux.poll_timeout().expect("a peer is told") < before);
    }
}

#[test]
fn y_rst_8_a_reset_from_elsewhere_leaves_an_ended_stream_alone() {
    let mut bench = Bench::new();
    let (key, id) = bench.stream(Priority::MEDIUM);
    bench.receive_data(id, 100);
    bench.receive(Header::Data { id, flags: Flags::FIN, len: 0 });
    assert!(bench.mux.finish(key, bench.now).is_err());
    bench.send();
    assert!(!bench.mux.reset_from_afar(key, 7, bench.now));
    assert_eq!(bench.read(key), 100);
    assert!(matches!(bench.mux.read(key, &mut Chunks::default()), Ok(Taken::End)));
}

#[test]
fn y_open_5_a_reused_id_owes_nothing_of_a_refusal() {
    let mut bench = Bench::with(1 << 30, few_pings().accept_backlog(1));
    bench.send();
    let syn = |bench: &mut Bench, id: u32| {
        let header = Header::WindowUpdate { id: super::id(id), flags: Flags::SYN, value: 0 };
        if bench.mux.handle_frame(Frame::Header(header), bench.now) == Admission::Reserve {
            let granted = bench.reserve();
            bench.mux.admit(Some(granted), bench.now);
        }
    };
    syn(&mut bench, 2);
    // The transport takes nothing: the reset is owed.
    syn(&mut bench, 4);
    bench.receive(Header::WindowUpdate { id: id(4), flags: Flags::RST, value: 0 });
    let first = bench.mux.accept().expect("it waits");
    syn(&mut bench, 4);
    let second = bench.mux.accept().expect("there is room again");
    let resets = |sent: Vec<Header>| {
        sent.iter().filter(|header| matches!(header, Header::WindowUpdate { flags: Flags::RST, .. })).count()
    };
    assert_eq!(resets(bench.send()), 0);
    assert!(bench.mux.write(second, b"alive", bench.now).is_ok() && bench.mux.write(first, b"too", bench.now).is_ok());
}

#[test]
fn y_mem_13_what_is_still_to_come_is_not_unread_once_nobody_reads() {
    let mut bench = Bench::new();
    let (key, id) = bench.stream(Priority::MEDIUM);
    assert!(bench.mux.finish(key, bench.now).is_err());
    bench.send();
    bench.receive(Header::Data { id, flags: Flags::NONE, len: 100 });
    bench.receive_body(10);
    bench.mux.stop(key, 0, bench.now);
    assert_eq!(bench.mux.stream_stats(key, bench.now).expect("held").unread, 0);
}

#[test]
fn y_open_5_a_refused_stream_has_credit_of_its_own() {
    let mut bench = Bench::with(1 << 30, few_pings().accept_backlog(1));
    bench.send();
    let syn = |bench: &mut Bench, stream: u32| {
        let header = Header::WindowUpdate { id: id(stream), flags: Flags::SYN, value: 0 };
        if bench.mux.handle_frame(Frame::Header(header), bench.now) == Admission::Reserve {
            let granted = bench.reserve();
            bench.mux.admit(Some(granted), bench.now);
        }
    };
    syn(&mut bench, 2);
    let key = bench.mux.accept().expect("it waits");
    bench.send();
    bench.receive_data(id(2), INITIAL_WINDOW as usize - 5_000);
    assert!(bench.mux.finish(key, bench.now).is_err());
    bench.send();
    bench.leave(key, Leave::Closed);
    // Another one fills the backlog.
    syn(&mut bench, 4);
    syn(&mut bench, 2);
    bench.receive_data(id(2), 6_000);
    assert!(bench.mux.closed().is_none(), "{:?}", bench.mux.closed());
}
