//! Virtual time: [`Timers`] holds it and the alarms, a [`View`] of it is the clock that one end goes by.

use sluicegate::Clock;
use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// The time since the start of the run, and who is to be woken when.
#[derive(Clone)]
pub struct Timers(Arc<Mutex<State>>);

struct State {
    base: Instant,
    now: Duration,
    alarms: BTreeMap<(Duration, u64), Waker>,
    next: u64,
}

impl Timers {
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(State {
            base: Instant::now(),
            now: Duration::ZERO,
            alarms: BTreeMap::new(),
            next: 0,
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("one thread")
    }

    pub fn now(&self) -> Duration {
        self.state().now
    }

    pub fn sleep_until(&self, at: Duration) -> Sleep {
        Sleep { timers: self.clone(), at, alarm: None }
    }

    /// Time goes on by this much; whose alarm it passes is woken.
    pub fn pass(&self, time: Duration) {
        let now = self.now() + time;
        self.go_to(now);
    }

    /// Time jumps to the next alarm, if there is one.
    pub fn jump(&self) -> bool {
        let next = self.state().alarms.keys().next().map(|(at, _)| *at);
        next.inspect(|at| self.go_to(*at)).is_some()
    }

    fn go_to(&self, at: Duration) {
        let mut state = self.state();
        state.now = state.now.max(at);
        let after = state.now + Duration::from_nanos(1);
        let later = state.alarms.split_off(&(after, 0));
        let due = std::mem::replace(&mut state.alarms, later);
        drop(state);
        due.into_values().for_each(Waker::wake);
    }
}

/// Ready at a moment.
pub struct Sleep {
    timers: Timers,
    at: Duration,
    alarm: Option<(Duration, u64)>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        let mut state = this.timers.state();
        if state.now >= this.at {
            return Poll::Ready(());
        }
        let alarm = *this.alarm.get_or_insert_with(|| {
            state.next += 1;
            (this.at, state.next)
        });
        state.alarms.insert(alarm, cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(alarm) = self.alarm {
            self.timers.state().alarms.remove(&alarm);
        }
    }
}

/// The clock of one end.
#[derive(Clone)]
pub struct View {
    pub timers: Timers,
    /// It shows multiples of this.
    pub tick: Duration,
    /// Its alarms ring late by this.
    pub late: Duration,
}

impl Clock for View {
    fn now(&self) -> Instant {
        let state = self.timers.state();
        let shown = match self.tick.as_nanos() {
            0 => state.now,
            tick => Duration::from_nanos((state.now.as_nanos() / tick * tick) as u64),
        };
        state.base + shown
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + Sync>> {
        Box::pin(self.timers.sleep_until(self.timers.now().saturating_add(duration).saturating_add(self.late)))
    }
}

impl fmt::Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "View {{ tick: {:?}, late: {:?} }}", self.tick, self.late)
    }
}
