//! Follows the negotiation of a protocol on a stream, for its priority.
//!
//! Owns [`Negotiation`], which parses multistream-select 1.0 from the bytes in both directions: the dialler proposes protocols,
//! the listener repeats the one that it accepts and answers `na` to others. A dialler that has only one to propose may send data
//! right after it, before the answer (the lazy variant). It returns the priority of the protocol, and which bytes are the
//! application's. Uses `config` and `priority`. It never alters a byte; where it cannot parse, it stops, and nothing else happens.

use crate::config::ProtocolPriorities;
use crate::error::Side;
use crate::priority::Priority;

/// The longest message that is read, in bytes: one from each side, and what is around them, is less than the 1 KiB that a
/// stream reserves for itself (`STREAM_STATE`). Stops: a peer that announces a long name from making this end keep it.
const LONGEST: usize = 448;

/// Multistream-select 1.0 fixes them: the first message of each side, and the refusal of a proposal.
const HEADER: &[u8] = b"/multistream/1.0.0\n";
const NOT_AVAILABLE: &[u8] = b"na\n";

/// The negotiation on one stream.
#[derive(Debug)]
pub(crate) struct Negotiation {
    priorities: Option<ProtocolPriorities>,
    dialler: Side,
    proposing: Messages,
    answering: Messages,
    /// What is proposed and not answered yet, with its line feed.
    proposal: Option<Vec<u8>>,
    over: bool,
}

/// The messages of one side: a length of one or two bytes of seven bits, then as many bytes, the last a line feed.
#[derive(Debug, Default)]
struct Messages {
    /// The message that is arriving, behind its length.
    partial: Vec<u8>,
    /// Whether the header has passed, which comes first.
    greeted: bool,
}

/// What the bytes that passed have shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Observed {
    /// How urgent the stream is, where that has become known and makes a difference.
    pub(crate) priority: Option<Priority>,
    /// Some of them were the application's.
    pub(crate) data: bool,
}

/// This is not multistream-select 1.0.
#[derive(Debug)]
struct Unknown;

impl Negotiation {
    /// On a stream that `dialler` has opened.
    pub(crate) fn new(priorities: Option<ProtocolPriorities>, dialler: Side) -> Self {
        let (proposing, answering) = Default::default();
        Self { priorities, dialler, proposing, answering, proposal: None, over: false }
    }

    /// Bytes sent `by` one of the sides pass. The priority becomes known on the dialler's side with the proposal, since its first
    /// data may come with it; on the listener's when it accepts.
    pub(crate) fn observe(&mut self, by: Side, bytes: &[u8]) -> Observed {
        let seen = if by == self.dialler { self.proposed(bytes) } else { self.answered(bytes) };
        seen.unwrap_or_else(|Unknown| {
            self.over = true;
            Observed { priority: None, data: true }
        })
    }

    /// Whether the negotiation is over, or cannot be followed.
    pub(crate) const fn is_over(&self) -> bool {
        self.over
    }

    /// How many bytes of the negotiation the listener is still to send at most, on the dialler's side, to a proposal behind
    /// which there may be data.
    pub(crate) fn bytes_to_come(&self) -> usize {
        let Some(proposal) = self.proposal.as_ref().filter(|_| self.dialler == Side::Local) else { return 0 };
        let message = |len: usize| len.saturating_add(if len < 0x80 { 1 } else { 2 });
        let greeting = if self.answering.greeted { 0 } else { message(HEADER.len()) };
        greeting.saturating_add(message(proposal.len())).saturating_sub(self.answering.partial.len())
    }

    fn proposed(&mut self, mut bytes: &[u8]) -> Result<Observed, Unknown> {
        // What comes behind a proposal is data, or the next proposal once this one is refused.
        if self.proposal.is_some() {
            return Ok(Observed { priority: None, data: !bytes.is_empty() });
        }
        let Some(message) = self.proposing.next(&mut bytes)? else { return Ok(Observed::default()) };
        let priority = if self.dialler == Side::Local { self.priority_of(&message)? } else { None };
        self.proposal = Some(message);
        Ok(Observed { priority, data: !bytes.is_empty() })
    }

    fn answered(&mut self, mut bytes: &[u8]) -> Result<Observed, Unknown> {
        let Some(answer) = self.answering.next(&mut bytes)? else { return Ok(Observed::default()) };
        let proposal = self.proposal.take().ok_or(Unknown)?;
        if answer == NOT_AVAILABLE {
            return Ok(Observed::default());
        }
        if answer != proposal {
            return Err(Unknown);
        }
        self.over = true;
        let priority = if self.dialler == Side::Remote { self.priority_of(&proposal)? } else { None };
        Ok(Observed { priority, data: !bytes.is_empty() })
    }

    fn priority_of(&self, message: &[u8]) -> Result<Option<Priority>, Unknown> {
        let name = message.strip_suffix(b"\n").filter(|name| name.starts_with(b"/")).ok_or(Unknown)?;
        let name = std::str::from_utf8(name).map_err(|_| Unknown)?;
        Ok(self.priorities.as_ref().map(|priorities| priorities.of(name)))
    }
}

impl Messages {
    /// The next message but the header, if it is complete.
    fn next(&mut self, bytes: &mut &[u8]) -> Result<Option<Vec<u8>>, Unknown> {
        while let Some(message) = self.take(bytes)? {
            if self.greeted {
                return Ok(Some(message));
            }
            if message != HEADER {
                return Err(Unknown);
            }
            self.greeted = true;
        }
        Ok(None)
    }

    fn take(&mut self, bytes: &mut &[u8]) -> Result<Option<Vec<u8>>, Unknown> {
        loop {
            if let Some((prefix, len)) = length(&self.partial)? {
                let whole = prefix.saturating_add(len);
                let missing = whole.saturating_sub(self.partial.len());
                self.partial.reserve_exact(missing);
                let (more, rest) = bytes.split_at(missing.min(bytes.len()));
                self.partial.extend_from_slice(more);
                *bytes = rest;
                self.check_greeting()?;
                if self.partial.len() < whole {
                    return Ok(None);
                }
                let mut message = std::mem::take(&mut self.partial);
                message.drain(..prefix);
                return Ok(Some(message));
            }
            let Some((first, rest)) = bytes.split_first() else { return Ok(None) };
            self.partial.reserve_exact(1);
            self.partial.push(*first);
            *bytes = rest;
            self.check_greeting()?;
        }
    }

    /// What does not begin with the header is seen to be something else with its first byte that differs.
    fn check_greeting(&self) -> Result<(), Unknown> {
        match self.partial.split_first() {
            Some((len, text)) if !self.greeted && (usize::from(*len) != HEADER.len() || !HEADER.starts_with(text)) => {
                Err(Unknown)
            }
            _ => Ok(()),
        }
    }
}

/// How long the length is, and what it says; `None` while it is not complete.
fn length(partial: &[u8]) -> Result<Option<(usize, usize)>, Unknown> {
    let (prefix, len) = match partial {
        [] | [0x80..=0xff] => return Ok(None),
        [len @ ..0x80, ..] => (1, usize::from(*len)),
        [low, high @ ..0x80, ..] => (2, usize::from(low & 0x7f) | usize::from(*high) << 7),
        _ => return Err(Unknown),
    };
    if (1..=LONGEST).contains(&len) { Ok(Some((prefix, len))) } else { Err(Unknown) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use quickcheck::quickcheck;
    use std::sync::{Arc, Mutex};

    /// How each side's part of a conversation is sent.
    #[derive(Clone, Copy, Debug)]
    enum Speaker {
        Dialler,
        Listener,
    }
    use Speaker::{Dialler, Listener};

    fn message(text: &str) -> Vec<u8> {
        let len = text.len() + 1;
        let prefix = if len < 0x80 { vec![len as u8] } else { vec![len as u8 | 0x80, (len >> 7) as u8] };
        [prefix, text.as_bytes().to_vec(), vec![b'\n']].concat()
    }

    fn header() -> Vec<u8> {
        message("/multistream/1.0.0")
    }

    /// What a negotiation made of a conversation.
    #[derive(Debug, PartialEq, Eq)]
    struct Outcome {
        asked: Vec<String>,
        priority: Option<Priority>,
        over: bool,
    }

    /// For each piece that passed whether some of it was the application's, and what was still to come then.
    fn data(dialler: Side, conversation: &[(Speaker, Vec<u8>)]) -> Vec<(bool, usize)> {
        let mut negotiation = Negotiation::new(None, dialler);
        let see = |(speaker, bytes): &(Speaker, Vec<u8>)| {
            let Observed { priority, data } = negotiation.observe(side(*speaker, dialler), bytes);
            assert_eq!(priority, None);
            (data, negotiation.bytes_to_come())
        };
        conversation.iter().map(see).collect()
    }

    fn side(speaker: Speaker, dialler: Side) -> Side {
        match (speaker, dialler) {
            (Dialler, side) => side,
            (Listener, Side::Local) => Side::Remote,
            (Listener, Side::Remote) => Side::Local,
        }
    }

    /// Lets the negotiation of `dialler` see the conversation in pieces of `step` bytes; it ends when it says so.
    fn negotiation(dialler: Side, step: usize, conversation: &[(Speaker, Vec<u8>)]) -> Outcome {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let names = asked.clone();
        let by_name = move |name: &str| {
            names.lock().unwrap().push(name.to_owned());
            Priority::new(name.len() as u8)
        };
        let config = Config::builder().priority_by_protocol(by_name).build().expect("valid");
        let priorities = config.priority_by_protocol().expect("set").clone();
        let mut negotiation = Negotiation::new(Some(priorities), dialler);
        let (mut priority, mut over) = (None, false);
        for (speaker, bytes) in conversation {
            let by = side(*speaker, dialler);
            for piece in bytes.chunks(step) {
                if over {
                    break;
                }
                priority = negotiation.observe(by, piece).priority.or(priority);
                over = negotiation.is_over();
                assert!(held(&negotiation) <= 1024, "{} bytes", held(&negotiation));
            }
        }
        drop(negotiation);
        Outcome { asked: std::mem::take(&mut *asked.lock().unwrap()), priority, over }
    }

    fn held(negotiation: &Negotiation) -> usize {
        let buffers =
            [Some(&negotiation.proposing.partial), Some(&negotiation.answering.partial), negotiation.proposal.as_ref()];
        size_of::<Negotiation>() + buffers.into_iter().flatten().map(Vec::capacity).sum::<usize>()
    }

    fn each_way(conversation: &[(Speaker, Vec<u8>)], check: impl Fn(Side, Outcome)) {
        for step in [1, 2, 3, 7, 20, 1000] {
            for dialler in [Side::Local, Side::Remote] {
                check(dialler, negotiation(dialler, step, conversation));
            }
        }
    }

    fn found(name: &str) -> Outcome {
        Outcome { asked: vec![name.to_owned()], priority: Some(Priority::new(name.len() as u8)), over: true }
    }

    #[test]
    fn the_protocol_that_is_taken() {
        let conversation = [
            (Dialler, [header(), message("/echo/1")].concat()),
            (Listener, [header(), message("/echo/1")].concat()),
            (Dialler, message("/not/a/proposal")),
        ];
        each_way(&conversation, |_, outcome| assert_eq!(outcome, found("/echo/1")));
    }

    #[test]
    fn lazily_with_data_before_the_answer_that_looks_like_messages() {
        let conversation = [
            (Dialler, [header(), message("/echo/1"), message("/data/17"), b"na\n".to_vec()].concat()),
            (Dialler, message("/more/data")),
            (Listener, [header(), message("/echo/1"), message("/answer")].concat()),
        ];
        each_way(&conversation, |_, outcome| assert_eq!(outcome, found("/echo/1")));
    }

    #[test]
    fn proposals_that_are_refused_before_one_is_taken() {
        let conversation = [
            (Dialler, [header(), message("/first")].concat()),
            (Listener, [header(), message("na")].concat()),
            (Dialler, message("/the/second")),
            (Listener, message("na")),
            (Dialler, message("/third/one/")),
            (Listener, message("/third/one/")),
        ];
        each_way(&conversation, |dialler, outcome| match dialler {
            Side::Remote => assert_eq!(outcome, found("/third/one/")),
            Side::Local => {
                assert_eq!(outcome.asked, ["/first", "/the/second", "/third/one/"]);
                assert_eq!((outcome.priority, outcome.over), (Some(Priority::new(11)), true));
            }
        });
    }

    #[test]
    fn names_up_to_the_longest_and_no_longer() {
        let name = |len: usize| format!("/{}", "n".repeat(len - 1));
        for (len, known) in [(126, true), (127, true), (128, true), (LONGEST - 1, true), (LONGEST, false)] {
            let name = name(len);
            let conversation =
                [(Dialler, [header(), message(&name)].concat()), (Listener, [header(), message(&name)].concat())];
            let expected =
                || if known { found(&name) } else { Outcome { asked: Vec::new(), priority: None, over: true } };
            each_way(&conversation, |_, outcome| assert_eq!(outcome, expected(), "{len}"));
        }
    }

    #[test]
    fn y_drop_7_bytes_of_the_negotiation_are_told_from_the_applications() {
        let (proposal, whole) = (message("/echo"), header().len() + message("/echo").len());
        let refused = [header(), message("na")].concat();
        // Each in its turn, with a proposal that is refused before.
        let turns = [
            (Dialler, [header(), message("/first")].concat()),
            (Listener, refused),
            (Dialler, proposal.clone()),
            (Listener, proposal.clone()),
        ];
        let left = |proposal: usize| [header().len() + proposal, 0, message("/echo").len(), 0];
        for (dialler, to_come) in [(Side::Local, left(message("/first").len())), (Side::Remote, [0; 4])] {
            let seen = data(dialler, &turns);
            assert_eq!(seen, to_come.map(|to_come| (false, to_come)), "{dialler:?}");
        }
        // Data behind the proposal, and then the answer in pieces with data behind that.
        let answer = [header(), proposal.clone(), b"answer".to_vec()].concat();
        let lazy = [
            (Dialler, [header(), proposal, b"data".to_vec()].concat()),
            (Dialler, b"more".to_vec()),
            (Listener, answer[..10].to_vec()),
            (Listener, answer[10..].to_vec()),
        ];
        assert_eq!(data(Side::Local, &lazy), [(true, whole), (true, whole), (false, whole - 10), (true, 0)]);
        // What is something else is seen with the first byte that differs.
        for other in [&b"\x14"[..], b"\x13/multistreaM", b"GET"] {
            assert_eq!(data(Side::Local, &[(Dialler, other.to_vec())]), [(true, 0)]);
        }
    }

    #[test]
    fn what_is_not_understood_ends_the_watch_and_changes_nothing() {
        let with = |proposal: &[u8]| vec![(Dialler, [header(), proposal.to_vec()].concat())];
        let conversations = [
            vec![(Dialler, message("/multistream/2.0.0"))],
            vec![(
                Dialler,
                b"GET /index.html HTTP/1.1\r\nHost: example.org\r\nAccept: text/html\r\nRange: 0-\r\n\r\n".to_vec(),
            )],
            vec![(Dialler, vec![0xff; 3])],
            vec![(Dialler, vec![0])],
            vec![(Dialler, vec![0x80, 0x80, 1])],
            vec![(Listener, [header(), message("/unasked")].concat())],
            vec![(Dialler, header()), (Listener, [header(), message("na")].concat())],
        ];
        for conversation in conversations {
            each_way(&conversation, |_, outcome| {
                assert_eq!(outcome, Outcome { asked: Vec::new(), priority: None, over: true }, "{conversation:?}");
            });
        }
        // A proposal that is no name: the dialler's side sees that at once, the listener's when it would count.
        for proposal in [message("ls"), message("no/slash"), vec![3, b'/', 0xff, b'\n'], vec![2, b'/', b'x']] {
            let mut conversation = with(&proposal);
            conversation.push((Listener, [header(), proposal].concat()));
            each_way(&conversation, |_, outcome| {
                assert_eq!(outcome, Outcome { asked: Vec::new(), priority: None, over: true }, "{conversation:?}");
            });
        }
        let other = [(Dialler, [header(), message("/a")].concat()), (Listener, [header(), message("/b")].concat())];
        each_way(&other, |dialler, outcome| {
            let asked = if dialler == Side::Local { vec!["/a".to_owned()] } else { Vec::new() };
            assert_eq!((outcome.asked, outcome.over), (asked, true));
        });
    }

    quickcheck! {
        /// Whatever passes, at most 1 KiB is held (asserted in `negotiation`), and nothing panics.
        fn any_bytes_at_all(conversation: Vec<(bool, Vec<u8>)>, step: u8, greeted: bool) -> bool {
            let mut parts = Vec::new();
            if greeted {
                parts.extend([(Dialler, header()), (Listener, header())]);
            }
            parts.extend(conversation.into_iter().map(|(dialler, bytes)| (if dialler { Dialler } else { Listener }, bytes)));
            for dialler in [Side::Local, Side::Remote] {
                negotiation(dialler, usize::from(step).max(1), &parts);
            }
            true
        }
    }
}
