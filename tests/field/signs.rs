//! Signs of life of a transport, as its connection sees them: by them a time-out is judged.

use std::time::Duration;

#[derive(Clone, Copy, Debug, Default)]
pub struct Signs {
    /// Since the last byte that was read.
    silence: Stretch,
    /// Since bytes were first refused, until some are taken.
    full: Stretch,
    /// The same while a flush is pending.
    unflushed: Stretch,
}

/// A time that begins and ends over and over, and how long it was at most.
#[derive(Clone, Copy, Debug, Default)]
struct Stretch {
    since: Option<Duration>,
    longest: Duration,
}

impl Stretch {
    fn begin(&mut self, now: Duration) {
        self.since.get_or_insert(now);
    }

    fn end(&mut self, now: Duration) {
        self.longest = self.longest(now);
        self.since = None;
    }

    fn longest(&self, now: Duration) -> Duration {
        self.longest.max(self.since.map_or(Duration::ZERO, |since| now - since))
    }
}

impl Signs {
    pub fn on_read(&mut self, now: Duration) {
        self.silence.end(now);
        self.silence.begin(now);
    }

    /// A write has taken bytes, or none.
    pub fn on_write(&mut self, taken: bool, now: Duration) {
        if taken {
            self.full.end(now);
            self.unflushed.end(now);
        } else {
            self.full.begin(now);
        }
    }

    pub fn on_flush(&mut self, done: bool, now: Duration) {
        if done { self.unflushed.end(now) } else { self.unflushed.begin(now) }
    }

    /// The longest time without a byte that was read.
    pub fn silence(&self, now: Duration) -> Duration {
        self.silence.since.map_or(now, |_| self.silence.longest(now))
    }

    /// The longest time for which bytes waited and none was taken.
    pub fn full(&self, now: Duration) -> Duration {
        self.full.longest(now).max(self.unflushed.longest(now))
    }
}
