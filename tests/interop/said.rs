//! What was said in a cell, for a report: to the peer and by it, and by both ends to whoever listens.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex};
use tracing_subscriber::fmt::MakeWriter;

/// Lines that are kept of each kind.
const KEPT: usize = 200;

#[derive(Clone, Default)]
pub struct Said(Arc<Mutex<Lines>>);

#[derive(Default)]
struct Lines {
    /// Requests and answers.
    talk: VecDeque<String>,
    /// Standard error of the peer.
    theirs: VecDeque<String>,
    /// Events of this crate.
    ours: VecDeque<String>,
}

impl Said {
    pub fn line(&self, line: String) {
        keep(&mut self.0.lock().unwrap().talk, line);
    }

    pub fn theirs(&self, line: String) {
        keep(&mut self.0.lock().unwrap().theirs, line);
    }

    pub fn report(&self) -> String {
        let Lines { talk, theirs, ours } = &*self.0.lock().unwrap();
        let part = |title: &str, lines: &VecDeque<String>| {
            let lines: String = lines.iter().map(|line| format!("  {line}\n")).collect();
            format!("{title}:\n{}", if lines.is_empty() { "  nothing\n" } else { &lines })
        };
        part("requests (>) and answers (<)", talk)
            + &part("the peer wrote to standard error", theirs)
            + &part("events at this end", ours)
    }
}

fn keep(lines: &mut VecDeque<String>, line: String) {
    lines.push_back(line);
    if lines.len() > KEPT {
        lines.pop_front();
    }
}

/// An event is written whole.
impl io::Write for Said {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        keep(&mut self.0.lock().unwrap().ours, String::from_utf8_lossy(event).trim_end().to_owned());
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Said {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}
