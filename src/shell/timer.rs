//! Owns [`Timer`]: one alarm of the connection's clock, set to the earliest deadline. It knows nothing of what the deadline is for.

use crate::clock::{Sleep, Time};
use futures::FutureExt;
use std::fmt;
use std::task::Context;
use std::time::Duration;
use web_time::Instant;

/// The longest time an alarm is set for, so that `now + LONGEST` can be represented. A later deadline is checked again then.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// An alarm. A deadline that moves away lets it ring early, which costs less than setting it again with every frame.
#[derive(Default)]
pub(crate) struct Timer {
    alarm: Option<(Sleep, Instant)>,
}

#[expect(clippy::arithmetic_side_effects, reason = "an instant at most LONGEST from now can be represented")]
impl Timer {
    /// Makes sure that the task is woken at `deadline`. Returns whether that has passed already.
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
