//! Clocks in virtual time. One is tokio's, which stands still while tasks run and jumps to the next timer when all of them wait.

use futures::Future;
use sluicegate::{Clock, ConfigBuilder};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// The clock of the runtime in which it is asked.
#[derive(Debug)]
pub struct Paused;

impl Clock for Paused {
    fn now(&self) -> Instant {
        tokio::time::Instant::now().into_std()
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + Sync>> {
        Box::pin(tokio::time::sleep(duration))
    }
}

/// Runs a test in virtual time, on one thread.
pub fn run_paused<F: Future>(test: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    // In a box, for the sake of the time that it takes to compile: see `run`.
    let test: Pin<Box<dyn Future<Output = F::Output> + '_>> = Box::pin(test);
    runtime.expect("a runtime").block_on(test)
}

/// Settings under which a connection goes by that clock.
pub fn paused(settings: ConfigBuilder) -> ConfigBuilder {
    settings.clock(Arc::new(Paused))
}

/// The virtual time.
pub fn now() -> Instant {
    Paused.now()
}

/// A clock that advances only when a test advances it.
#[derive(Clone, Debug)]
pub struct Manual(Arc<Mutex<Alarms>>);

#[derive(Debug)]
struct Alarms {
    now: Instant,
    waiting: Vec<(Instant, Waker)>,
}

struct Alarm {
    clock: Manual,
    at: Instant,
}

impl Manual {
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(Alarms { now: Instant::now(), waiting: Vec::new() })))
    }

    /// Goes on to the next alarm, which wakes whoever waits for it; says whether there was one.
    pub fn advance(&self) -> bool {
        let mut alarms = self.0.lock().expect("not poisoned");
        let Some(next) = alarms.waiting.iter().map(|(at, _)| *at).min() else { return false };
        let now = alarms.now.max(next);
        alarms.now = now;
        let due: Vec<_> = alarms.waiting.extract_if(.., |(at, _)| *at <= now).collect();
        drop(alarms);
        due.into_iter().for_each(|(_, waker)| waker.wake());
        true
    }
}

impl Clock for Manual {
    fn now(&self) -> Instant {
        self.0.lock().expect("not poisoned").now
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + Sync>> {
        Box::pin(Alarm { clock: self.clone(), at: self.now() + duration })
    }
}

impl Future for Alarm {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut alarms = self.clock.0.lock().expect("not poisoned");
        if alarms.now >= self.at {
            return Poll::Ready(());
        }
        alarms.waiting.retain(|(_, waker)| !waker.will_wake(cx.waker()));
        alarms.waiting.push((self.at, cx.waker().clone()));
        Poll::Pending
    }
}
