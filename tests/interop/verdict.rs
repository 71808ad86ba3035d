//! What came of a cell.

use crate::said::Said;
use std::any::Any;
use std::cell::RefCell;
use std::future::Future;
use std::panic::{self, AssertUnwindSafe};
use std::time::Duration;

/// What we are in a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    Dial,
    Listen,
}

impl Role {
    pub const BOTH: [Self; 2] = [Self::Dial, Self::Listen];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Dial => "we_dial",
            Self::Listen => "we_listen",
        }
    }
}

#[derive(Clone, Debug)]
pub enum Verdict {
    /// All of it holds, with notes on what the peer lacks.
    Passed(Vec<String>),
    /// The peer's API has no means to do its part.
    Cannot(String),
    /// What the peer needs is not on this machine.
    Missing(String),
    Failed(String),
}

/// The longest that a cell may take, on a machine under load.
const LIMIT: Duration = Duration::from_secs(120);

thread_local! {
    /// The attempt that this thread is making, if it is, and its first panic.
    static PANIC: RefCell<Option<Option<String>>> = const { RefCell::new(None) };
}

/// Keeps the first panic of an attempt for its cell, instead of printing it between other cells.
pub fn keep_panics() {
    let print = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        PANIC.with_borrow_mut(|attempt| match attempt {
            Some(kept) => {
                kept.get_or_insert_with(|| info.to_string());
            }
            None => print(info),
        });
    }));
}

/// What an attempt gives on a runtime of its own, which then ends with everything on it; what went wrong otherwise. What
/// this crate has to say meanwhile goes to `log`.
pub fn within<T>(log: &Said, attempt: impl Future<Output = T>) -> Result<T, String> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
    let events = tracing_subscriber::fmt()
        .with_env_filter("sluicegate=debug")
        .with_ansi(false)
        .without_time()
        .with_writer(log.clone())
        .finish();
    let bounded = async { tokio::time::timeout(LIMIT, attempt).await };
    PANIC.set(Some(None));
    let result = panic::catch_unwind(AssertUnwindSafe(|| {
        tracing::subscriber::with_default(events, || {
            let result = runtime.block_on(bounded);
            // What is left on it may have something to say, and ends here.
            drop(runtime);
            result
        })
    }));
    match (result, PANIC.take().flatten()) {
        (Ok(Ok(value)), None) => Ok(value),
        (Ok(Err(_)), None) => Err(format!("took longer than {} s", LIMIT.as_secs())),
        // A task of the attempt may panic as well.
        (_, Some(panic)) => Err(panic),
        (Err(payload), None) => Err(unsaid(&*payload)),
    }
}

fn unsaid(payload: &(dyn Any + Send)) -> String {
    payload.downcast_ref::<&str>().map_or_else(|| "a panic".to_owned(), |what| (*what).to_owned())
}
