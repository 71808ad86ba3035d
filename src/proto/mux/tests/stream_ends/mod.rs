//! The end of a stream as one state machine, both ends of it, row by row: what the application has done, what the peer has
//! done, what is under way and what credit there is; and exactly which frames leave.

mod cut_short;
mod dropped;
mod half_open;
mod resets;
mod reused_ids;

use super::*;
use crate::proto::limits::{HALF_OPEN_GRACE, INITIAL_WINDOW};
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
