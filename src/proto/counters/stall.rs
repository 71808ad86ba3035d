//! Owns [`Stall`]: the cause and the start of a writer's wait; and [`Clocks`], the sums of waits over all streams.
//!
//! A sum is the total of finished waits, and the number and the sum of the start times of those that still last, so that
//! it can be read at any time without visiting the streams. No decision about what is sent depends on it.

use crate::counting::{count_down, count_up};
use crate::stats::Stalled;
use std::time::Duration;
use web_time::Instant;

/// The cause of a writer's wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proto) enum Cause {
    /// Credit from the peer.
    Window,
    /// The transport.
    Socket,
    /// The memory manager.
    Memory,
}

/// The waits of one stream. It costs one pointer until the first wait.
#[derive(Debug, Default)]
pub(in crate::proto) struct Stall(Option<Box<Waits>>);

#[derive(Debug, Default)]
struct Waits {
    current: Option<(Cause, Instant)>,
    past: Stalled,
}

/// The waits of all streams of a connection, and those of its transport.
#[derive(Debug)]
pub(in crate::proto) struct Clocks {
    window: Clock,
    socket: Clock,
    memory: Clock,
    transport: Clock,
    /// Since when the transport has been full.
    transport_since: Option<Instant>,
}

/// The total time of a kind of wait.
#[derive(Clone, Copy, Debug)]
struct Clock {
    epoch: Instant,
    over: Duration,
    waiting: u32,
    /// The sum of the starts of present waits, each as the time since the epoch.
    beginnings: Duration,
}

impl Stall {
    /// The writer waits from `now` on, if it does not yet.
    pub(in crate::proto) fn begin(&mut self, cause: Cause, now: Instant, clocks: &mut Clocks) {
        if self.cause() != Some(cause) {
            self.end(now, clocks);
            self.0.get_or_insert_default().current = Some((cause, now));
            clocks.of(cause).begin(now);
        }
    }

    /// The writer waits no longer.
    pub(in crate::proto) fn end(&mut self, now: Instant, clocks: &mut Clocks) {
        let Some(waits) = &mut self.0 else { return };
        let Some((cause, since)) = waits.current.take() else { return };
        let past = of(&mut waits.past, cause);
        *past = past.saturating_add(now.saturating_duration_since(since));
        clocks.of(cause).end(since, now);
    }

    /// The cause of the present wait.
    pub(in crate::proto) fn cause(&self) -> Option<Cause> {
        self.0.as_ref()?.current.map(|(cause, _)| cause)
    }

    /// How long it has waited so far.
    pub(in crate::proto) fn so_far(&self, now: Instant) -> Stalled {
        let Some(waits) = &self.0 else { return Stalled::default() };
        let mut stalled = waits.past;
        if let Some((cause, since)) = waits.current {
            let waited = of(&mut stalled, cause);
            *waited = waited.saturating_add(now.saturating_duration_since(since));
        }
        stalled
    }
}

const fn of(stalled: &mut Stalled, cause: Cause) -> &mut Duration {
    match cause {
        Cause::Window => &mut stalled.window,
        Cause::Socket => &mut stalled.socket,
        Cause::Memory => &mut stalled.memory,
    }
}

impl Clocks {
    pub(in crate::proto) const fn new(epoch: Instant) -> Self {
        let clock = Clock { epoch, over: Duration::ZERO, waiting: 0, beginnings: Duration::ZERO };
        Self { window: clock, socket: clock, memory: clock, transport: clock, transport_since: None }
    }

    const fn of(&mut self, cause: Cause) -> &mut Clock {
        match cause {
            Cause::Window => &mut self.window,
            Cause::Socket => &mut self.socket,
            Cause::Memory => &mut self.memory,
        }
    }

    /// The transport is full from `now` on, if it was not before.
    pub(in crate::proto) fn transport_begins(&mut self, now: Instant) {
        if self.transport_since.is_none() {
            self.transport_since = Some(now);
            self.transport.begin(now);
        }
    }

    /// The transport takes bytes again.
    pub(in crate::proto) fn transport_ends(&mut self, now: Instant) {
        if let Some(since) = self.transport_since.take() {
            self.transport.end(since, now);
        }
    }

    /// The waits of all streams.
    pub(in crate::proto) fn so_far(&self, now: Instant) -> Stalled {
        Stalled { window: self.window.so_far(now), socket: self.socket.so_far(now), memory: self.memory.so_far(now) }
    }

    pub(in crate::proto) fn transport_so_far(&self, now: Instant) -> Duration {
        self.transport.so_far(now)
    }
}

impl Clock {
    fn since_epoch(&self, at: Instant) -> Duration {
        at.saturating_duration_since(self.epoch)
    }

    fn begin(&mut self, now: Instant) {
        self.waiting = count_up(self.waiting, 1);
        self.beginnings = self.beginnings.saturating_add(self.since_epoch(now));
    }

    fn end(&mut self, since: Instant, now: Instant) {
        self.over = self.over.saturating_add(now.saturating_duration_since(since));
        self.waiting = count_down(self.waiting, 1);
        self.beginnings = self.beginnings.saturating_sub(self.since_epoch(since));
    }

    fn so_far(&self, now: Instant) -> Duration {
        let elapsed = self.since_epoch(now).saturating_mul(self.waiting);
        self.over.saturating_add(elapsed.saturating_sub(self.beginnings))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quickcheck::quickcheck;

    const CAUSES: [Cause; 3] = [Cause::Window, Cause::Socket, Cause::Memory];

    quickcheck! {
        /// The sums equal those of the streams, whatever each waits for and however often that changes.
        fn the_clocks_are_the_sum_of_the_streams(steps: Vec<(u8, u8, u16)>) -> bool {
            let epoch = Instant::now();
            let (mut clocks, mut now) = (Clocks::new(epoch), epoch);
            let mut streams: [Stall; 4] = Default::default();
            for (stream, what, millis) in steps {
                now += Duration::from_millis(millis.into());
                let stream = &mut streams[usize::from(stream) % 4];
                match CAUSES.get(usize::from(what) % 4) {
                    Some(cause) => stream.begin(*cause, now, &mut clocks),
                    None => stream.end(now, &mut clocks),
                }
                let later = now + Duration::from_secs(1);
                let mut sum = Stalled::default();
                streams.iter().for_each(|stream| sum.add(&stream.so_far(later)));
                if sum != clocks.so_far(later) {
                    return false;
                }
            }
            true
        }
    }

    #[test]
    fn a_wait_is_counted_to_its_end_and_by_its_cause() {
        let epoch = Instant::now();
        let at = |seconds| epoch + Duration::from_secs(seconds);
        let (mut clocks, mut stall) = (Clocks::new(epoch), Stall::default());
        stall.end(at(1), &mut clocks);
        stall.begin(Cause::Window, at(1), &mut clocks);
        stall.begin(Cause::Window, at(2), &mut clocks);
        stall.begin(Cause::Memory, at(4), &mut clocks);
        assert_eq!(stall.cause(), Some(Cause::Memory));
        stall.end(at(9), &mut clocks);
        let [window, memory] = [3, 5].map(Duration::from_secs);
        assert_eq!(stall.so_far(at(20)), Stalled { window, memory, ..Stalled::default() });
        assert_eq!(clocks.so_far(at(20)), stall.so_far(at(20)));
        clocks.transport_begins(at(10));
        assert_eq!(clocks.transport_so_far(at(13)), Duration::from_secs(3));
        clocks.transport_begins(at(12));
        clocks.transport_ends(at(14));
        clocks.transport_ends(at(15));
        assert_eq!(clocks.transport_so_far(at(20)), Duration::from_secs(4));
    }
}
