//! Owns [`Patience`]: when reading waits for whoever accepts streams, and how long. No clock, no lock.

use crate::proto::limits::{BACKLOG_PATIENCE, BACKLOG_PATIENCE_SHARE, BACKLOG_PATIENCE_WINDOW};
use std::time::Duration;
use web_time::Instant;

/// Who accepts within this is as prompt as a task can be, and costs nothing of the share. A fifth of
/// the wait (`BACKLOG_PATIENCE`), and many turns of a task, which take microseconds.
const PROMPT: Duration = Duration::from_millis(1);

/// A peer that opens without waiting for acknowledgements may open more at once than the backlog holds. That is no
/// overflow where streams are accepted as they come, so reading waits for that: a moment where nobody accepts, and a
/// small share of the time where somebody does slowly.
#[derive(Debug, Default)]
pub(super) struct Patience {
    wait: Option<Wait>,
    /// How many streams had been accepted when reading last waited in vain. It waits again when there are more.
    in_vain: Option<u64>,
    /// When the share of the time will have made up for the waits so far.
    made_up: Option<Instant>,
}

/// Reading waits, since a stream was taken in after so many were accepted.
#[derive(Debug)]
struct Wait {
    accepted: u64,
    since: Instant,
    round: Round,
}

/// Time may pass because nobody ran at all, this end included: only a second round in vain says that nobody accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Round {
    First,
    Second,
}

#[expect(clippy::arithmetic_side_effects, reason = "instants a second from now can be told, as can ten times 5 ms")]
impl Patience {
    /// A stream was taken in, and more than half of the backlog is taken. Says whether reading waits from now on.
    pub(super) fn begin(&mut self, accepted: u64, now: Instant) -> bool {
        let spent = self.made_up.is_some_and(|at| at > now + BACKLOG_PATIENCE_WINDOW);
        if spent || self.in_vain == Some(accepted) {
            return false;
        }
        self.wait = Some(Wait { accepted, since: now, round: Round::First });
        true
    }

    /// Says whether reading still waits. Once it does not, it goes on with what was read before.
    pub(super) fn lasts(&mut self, accepted: u64, now: Instant) -> bool {
        let Some(Wait { accepted: before, since, round }) = self.wait else { return false };
        let (nobody, over) = (accepted == before, now >= since + BACKLOG_PATIENCE);
        if nobody && !over {
            return true;
        }
        let waited = now.saturating_duration_since(since).min(BACKLOG_PATIENCE);
        if waited > PROMPT {
            self.made_up = Some(self.made_up.map_or(now, |at| at.max(now)) + waited * BACKLOG_PATIENCE_SHARE);
        }
        if nobody && round == Round::First {
            self.wait = Some(Wait { accepted, since: now, round: Round::Second });
            return true;
        }
        if nobody {
            self.in_vain = Some(accepted);
        }
        self.wait = None;
        false
    }

    /// Until when reading waits, if it does.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.wait.as_ref().map(|wait| wait.since + BACKLOG_PATIENCE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn reading_waits_once_for_one_who_does_not_accept() {
        let (start, mut patience) = (Instant::now(), Patience::default());
        assert!(!patience.lasts(0, start) && patience.deadline().is_none());
        assert!(patience.begin(0, start) && patience.lasts(0, start));
        let until = start + BACKLOG_PATIENCE;
        assert_eq!(patience.deadline(), Some(until));
        assert!(patience.lasts(0, until - BACKLOG_PATIENCE / 2));
        // However late this end comes to look, whoever accepts has as long once more.
        let late = until + 10 * BACKLOG_PATIENCE;
        assert!(patience.lasts(0, late));
        let until = late + BACKLOG_PATIENCE;
        assert_eq!(patience.deadline(), Some(until));
        assert!(!patience.lasts(0, until) && patience.deadline().is_none());
        for later in 0..100 {
            assert!(!patience.begin(0, until + later * BACKLOG_PATIENCE));
        }
        assert!(patience.begin(1, until));
    }

    #[test]
    fn reading_goes_on_as_soon_as_a_stream_is_accepted() {
        let (start, mut patience) = (Instant::now(), Patience::default());
        assert!(patience.begin(7, start) && patience.lasts(7, start));
        assert!(!patience.lasts(8, start) && patience.deadline().is_none());
        assert!(patience.begin(8, start));
    }

    #[test]
    fn a_prompt_acceptor_costs_nothing() {
        let (mut now, mut patience) = (Instant::now(), Patience::default());
        for accepted in 0..100_000 {
            assert!(patience.begin(accepted, now));
            now += PROMPT;
            assert!(!patience.lasts(accepted + 1, now));
        }
    }

    /// One who accepts a stream just before each wait is over holds up a share of the reading, and no more.
    #[test]
    fn waits_for_a_slow_acceptor_take_a_share_of_the_time() {
        let (start, mut patience) = (Instant::now(), Patience::default());
        let (mut now, mut waited) = (start, Duration::ZERO);
        let slow = BACKLOG_PATIENCE * 9 / 10;
        for accepted in 0.. {
            if now > start + Duration::from_secs(60) {
                break;
            }
            if patience.begin(accepted, now) {
                waited += slow;
            }
            now += slow;
            assert!(!patience.lasts(accepted + 1, now));
        }
        let share = Duration::from_secs(60) / BACKLOG_PATIENCE_SHARE;
        let burst = BACKLOG_PATIENCE_WINDOW / BACKLOG_PATIENCE_SHARE;
        assert!(waited > share && waited < share + burst + 2 * BACKLOG_PATIENCE, "{waited:?}");
    }
}
