//! The line protocol that `README.md` describes: requests to a peer and its answers, as types and as lines.

use std::fmt;

/// A part of the pattern of `seed`.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    pub seed: usize,
    pub from: usize,
    pub to: usize,
}

/// What a peer with one connection is asked to do. Streams are named by numbers.
#[derive(Clone, Copy, Debug)]
pub enum Request {
    Open(u32),
    Accept(u32),
    Send(u32, Span),
    Receive(u32, Span),
    End(u32),
    Finish(u32),
    Reset(u32, u32),
    Drop(u32),
    Echo(u32),
    Ping,
    GoAway,
    Close(u32),
    Closed,
    Streams,
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open(stream) => write!(f, "open {stream}"),
            Self::Accept(stream) => write!(f, "accept {stream}"),
            Self::Send(stream, Span { seed, from, to }) => write!(f, "send {stream} {seed} {from} {to}"),
            Self::Receive(stream, Span { seed, from, to }) => write!(f, "receive {stream} {seed} {from} {to}"),
            Self::End(stream) => write!(f, "end {stream}"),
            Self::Finish(stream) => write!(f, "finish {stream}"),
            Self::Reset(stream, code) => write!(f, "reset {stream} {code}"),
            Self::Drop(stream) => write!(f, "drop {stream}"),
            Self::Echo(stream) => write!(f, "echo {stream}"),
            Self::Ping => f.write_str("ping"),
            Self::GoAway => f.write_str("goaway"),
            Self::Close(code) => write!(f, "close {code}"),
            Self::Closed => f.write_str("closed"),
            Self::Streams => f.write_str("streams"),
        }
    }
}

/// Which end did something, as an API tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    Local,
    Remote,
    Unsaid,
}

/// What a peer answers: what its API said, and no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Ok(Vec<String>),
    End { at: usize },
    More,
    Differs { at: usize },
    Reset { by: By, code: Option<u32> },
    GoAway { by: By, code: Option<u32> },
    Failed(String),
    Unsupported(String),
}

impl Answer {
    /// The answer in the words that follow a tag; `None` where they are none.
    pub fn parse(line: &str) -> Option<Self> {
        let (result, rest) = line.split_once(' ').unwrap_or((line, ""));
        let mut words = rest.split(' ');
        Some(match result {
            "ok" => Self::Ok(rest.split_whitespace().map(str::to_owned).collect()),
            "end" => Self::End { at: words.next()?.parse().ok()? },
            "more" => Self::More,
            "differs" => Self::Differs { at: words.next()?.parse().ok()? },
            "reset" => Self::Reset { by: side(words.next()?)?, code: code(words.next()?)? },
            "goaway" => Self::GoAway { by: side(words.next()?)?, code: code(words.next()?)? },
            "failed" => Self::Failed(rest.to_owned()),
            "unsupported" => Self::Unsupported(rest.to_owned()),
            _ => return None,
        })
    }

    pub fn is_ok(&self) -> bool {
        matches!(self, Self::Ok(_))
    }

    /// The values of an `ok`.
    #[track_caller]
    pub fn values(self) -> Vec<String> {
        match self {
            Self::Ok(values) => values,
            other => panic!("the peer answers {other:?}"),
        }
    }

    #[track_caller]
    pub fn ok(self) {
        self.values();
    }
}

fn side(word: &str) -> Option<By> {
    Some(match word {
        "local" => By::Local,
        "remote" => By::Remote,
        "?" => By::Unsaid,
        _ => return None,
    })
}

fn code(word: &str) -> Option<Option<u32>> {
    if word == "-" { Some(None) } else { word.parse().ok().map(Some) }
}
