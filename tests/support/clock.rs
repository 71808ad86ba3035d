//! A clock in virtual time: tokio's, which stands still while tasks run and jumps to the next timer when all of them wait.

use futures::Future;
use sluicegate::{Clock, ConfigBuilder};
use std::pin::Pin;
use std::sync::Arc;
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
