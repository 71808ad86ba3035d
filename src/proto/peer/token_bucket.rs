//! Owns [`TokenBucket`]: how often a peer may still do something useless.

use crate::proto::limits::Allowance;
use web_time::Instant;

/// A token bucket over an [`Allowance`].
#[derive(Clone, Debug)]
pub(in crate::proto) struct TokenBucket {
    allowance: Allowance,
    left: u32,
    filled: Instant,
}

/// The budget is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proto) struct Exhausted;

impl TokenBucket {
    pub(in crate::proto) fn new(allowance: Allowance, now: Instant) -> Self {
        Self { allowance, left: allowance.burst, filled: now }
    }

    /// Takes a token.
    pub(in crate::proto) fn spend(&mut self, now: Instant) -> Result<(), Exhausted> {
        if self.left == 0 {
            self.refill(now);
        }
        self.left = self.left.checked_sub(1).ok_or(Exhausted)?;
        Ok(())
    }

    /// Returns a token.
    pub(in crate::proto) fn earn(&mut self) {
        self.left = self.left.saturating_add(1).min(self.allowance.burst);
    }

    /// Adds the tokens of the time that has passed; a fraction of a token stays in the clock.
    fn refill(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.filled);
        let tokens = elapsed.as_millis().saturating_mul(u128::from(self.allowance.per_second)) / 1000;
        if tokens > 0 {
            let tokens = u32::try_from(tokens).unwrap_or(u32::MAX);
            self.left = self.left.saturating_add(tokens).min(self.allowance.burst);
            self.filled = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_burst_then_a_rate() {
        let start = Instant::now();
        let mut budget = TokenBucket::new(Allowance { burst: 10, per_second: 100 }, start);
        for _ in 0..10 {
            assert_eq!(budget.spend(start), Ok(()));
        }
        assert_eq!(budget.spend(start), Err(Exhausted));
        let later = start + Duration::from_millis(30);
        for _ in 0..3 {
            assert_eq!(budget.spend(later), Ok(()));
        }
        assert_eq!(budget.spend(later), Err(Exhausted));
        budget.earn();
        assert_eq!(budget.spend(later), Ok(()));
        assert_eq!(budget.spend(later + Duration::from_secs(3600)), Ok(()));
    }

    #[test]
    fn earning_and_waiting_never_pass_the_burst() {
        let start = Instant::now();
        let mut budget = TokenBucket::new(Allowance { burst: 2, per_second: 1 }, start);
        for _ in 0..5 {
            budget.earn();
        }
        assert_eq!([(); 3].map(|()| budget.spend(start)), [Ok(()), Ok(()), Err(Exhausted)]);
        let later = start + Duration::from_secs(100);
        assert_eq!([(); 3].map(|()| budget.spend(later)), [Ok(()), Ok(()), Err(Exhausted)]);
    }

    #[test]
    fn a_clock_that_steps_back_is_harmless() {
        let start = Instant::now() + Duration::from_secs(10);
        let mut budget = TokenBucket::new(Allowance { burst: 1, per_second: 1000 }, start);
        assert_eq!(budget.spend(start), Ok(()));
        assert_eq!(budget.spend(start - Duration::from_secs(5)), Err(Exhausted));
    }
}
