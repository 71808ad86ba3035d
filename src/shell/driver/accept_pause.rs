//! Owns [`AcceptPause`]: when the driver stops reading for the application to accept streams, and for how long. It uses times
//! that it is given, and no clock and no lock.
//!
//! It holds Y-OPEN-13 on any link: without it a burst of opens resets streams that are about to be accepted.

use crate::proto::limits::{ACCEPT_PAUSE, ACCEPT_PAUSE_SHARE, ACCEPT_PAUSE_WINDOW};
use std::time::Duration;
use web_time::Instant;

/// A pause that is shorter does not count towards the share: the application accepts as promptly as a task can.
const PROMPT: Duration = Duration::from_millis(1);

/// A peer that opens without waiting for acknowledgements may open more streams at once than the backlog holds. That is no
/// overflow where streams are accepted as they come, so the driver pauses reading for it: for a moment if the application does
/// not accept, and for a small share of the time if it accepts slowly.
#[derive(Debug, Default)]
pub(super) struct AcceptPause {
    pause: Option<Pause>,
    /// How many streams had been accepted when a pause last ended without another one. There is no new pause until there are
    /// more.
    expired_at: Option<u64>,
    /// When the pauses so far will be no more than their share of the time.
    paid_off: Option<Instant>,
}

/// Reading is paused. So many streams had been accepted when it began.
#[derive(Debug)]
struct Pause {
    accepted: u64,
    since: Instant,
    round: Round,
}

/// Time may also pass because no task of this process ran: only after a second round without an accept is the application taken
/// not to accept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Round {
    First,
    Second,
}

#[expect(
    clippy::arithmetic_side_effects,
    reason = "instants a second from now can be represented, as can ten times 5 ms"
)]
impl AcceptPause {
    /// A stream was added to the backlog, which is more than half full. Returns whether reading is paused from now on.
    pub(super) fn start(&mut self, accepted: u64, now: Instant) -> bool {
        let spent = self.paid_off.is_some_and(|at| at > now + ACCEPT_PAUSE_WINDOW);
        if spent || self.expired_at == Some(accepted) {
            return false;
        }
        self.pause = Some(Pause { accepted, since: now, round: Round::First });
        true
    }

    /// Whether reading is still paused. When it is not any more, it continues with what was read before.
    pub(super) fn is_active(&mut self, accepted: u64, now: Instant) -> bool {
        let Some(Pause { accepted: before, since, round }) = self.pause else { return false };
        let (none_accepted, over) = (accepted == before, now >= since + ACCEPT_PAUSE);
        if none_accepted && !over {
            return true;
        }
        let paused = now.saturating_duration_since(since).min(ACCEPT_PAUSE);
        if paused > PROMPT {
            self.paid_off = Some(self.paid_off.map_or(now, |at| at.max(now)) + paused * ACCEPT_PAUSE_SHARE);
        }
        if none_accepted && round == Round::First {
            self.pause = Some(Pause { accepted, since: now, round: Round::Second });
            return true;
        }
        if none_accepted {
            self.expired_at = Some(accepted);
        }
        self.pause = None;
        false
    }

    /// Until when reading is paused, if it is.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.pause.as_ref().map(|pause| pause.since + ACCEPT_PAUSE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn an_application_that_does_not_accept_pauses_reading_once() {
        let (start, mut pause) = (Instant::now(), AcceptPause::default());
        assert!(!pause.is_active(0, start) && pause.deadline().is_none());
        assert!(pause.start(0, start) && pause.is_active(0, start));
        let until = start + ACCEPT_PAUSE;
        assert_eq!(pause.deadline(), Some(until));
        assert!(pause.is_active(0, until - ACCEPT_PAUSE / 2));
        // However late the driver is polled, the application has as long once more.
        let late = until + 10 * ACCEPT_PAUSE;
        assert!(pause.is_active(0, late));
        let until = late + ACCEPT_PAUSE;
        assert_eq!(pause.deadline(), Some(until));
        assert!(!pause.is_active(0, until) && pause.deadline().is_none());
        for later in 0..100 {
            assert!(!pause.start(0, until + later * ACCEPT_PAUSE));
        }
        assert!(pause.start(1, until));
    }

    #[test]
    fn an_accept_ends_the_pause() {
        let (start, mut pause) = (Instant::now(), AcceptPause::default());
        assert!(pause.start(7, start) && pause.is_active(7, start));
        assert!(!pause.is_active(8, start) && pause.deadline().is_none());
        assert!(pause.start(8, start));
    }

    #[test]
    fn prompt_accepts_do_not_count_towards_the_share() {
        let (mut now, mut pause) = (Instant::now(), AcceptPause::default());
        for accepted in 0..100_000 {
            assert!(pause.start(accepted, now));
            now += PROMPT;
            assert!(!pause.is_active(accepted + 1, now));
        }
    }

    /// An application that accepts a stream just before each pause is over holds up a share of the reading, and no more.
    #[test]
    fn pauses_for_slow_accepts_take_their_share_of_the_time() {
        let (start, mut pause) = (Instant::now(), AcceptPause::default());
        let (mut now, mut paused) = (start, Duration::ZERO);
        let slow = ACCEPT_PAUSE * 9 / 10;
        for accepted in 0.. {
            if now > start + Duration::from_secs(60) {
                break;
            }
            if pause.start(accepted, now) {
                paused += slow;
            }
            now += slow;
            assert!(!pause.is_active(accepted + 1, now));
        }
        let share = Duration::from_secs(60) / ACCEPT_PAUSE_SHARE;
        let burst = ACCEPT_PAUSE_WINDOW / ACCEPT_PAUSE_SHARE;
        assert!(paused > share && paused < share + burst + 2 * ACCEPT_PAUSE, "{paused:?}");
    }
}
