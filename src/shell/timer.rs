//! Owns [`Timer`]: one alarm, set to the earliest deadline.

use crate::clock::{Sleep, Time};
use futures::FutureExt;
use std::fmt;
use std::task::Context;
use std::time::Duration;
use web_time::Instant;

/// The longest time an alarm is set for. Deadlines further off are looked at again then. It is the longest
/// time that a setting may have, and timers of every platform can tell it (browsers count milliseconds in 31 bits: 24 days).
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// An alarm. A deadline that moves away lets it ring early, which costs less than setting it again with every frame.
#[derive(Default)]
pub(crate) struct Timer {
    alarm: Option<(Sleep, Instant)>,
}

#[expect(clippy::arithmetic_side_effects, reason = "an instant at most LONGEST from now can be told")]
impl Timer {
    /// Makes sure that the task is woken at `deadline`. Says whether that has passed already.
    pub(crate) fn poll(&mut self, time: &Time, deadline: Option<Instant>, now: Instant, cx: &mut Context<'_>) -> bool {
        let Some(deadline) = deadline else { return false };
        let left = deadline.saturating_duration_since(now).min(LONGEST);
        if left.is_zero() {
            return true;
        }
        let at = now + left;
        match &mut self.alarm {
            None => self.alarm = Some((time.sleep(left), at)),
            Some((delay, set)) if at < *set => {
                time.reset(delay, left);
                *set = at;
            }
            Some(_) => {}
        }
        while let Some((delay, set)) = &mut self.alarm {
            if delay.poll_unpin(cx).is_pending() {
                break;
            }
            time.reset(delay, left);
            *set = at;
        }
        false
    }
}

impl fmt::Debug for Timer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timer").field("set", &self.alarm.as_ref().map(|(_, at)| at)).finish()
    }
}
