//! A memory manager that writes down what it is asked, and refuses where it is told to.

#![allow(unreachable_pub, reason = "a module of a test binary")]

use futures::future::BoxFuture;
use sluicegate::memory::Refused;
use sluicegate::{MemoryLimit, MemoryManager, Priority};
use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// What stays reserved for a stream that was let go of, until the peer has been told.
pub const BOOKS: usize = 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    Reserve(usize, u8),
    Refuse(usize, u8),
    Release(usize),
}

use Call::{Refuse, Release, Reserve};

/// Says of the n-th reservation, counted from 0, whether it is granted.
type Rule = dyn Fn(usize, usize, Priority) -> bool + Send + Sync;

pub struct Recorder {
    rule: Box<Rule>,
    calls: Mutex<Vec<Call>>,
    asked: AtomicUsize,
    held: AtomicI64,
    lowest: AtomicI64,
    highest: AtomicI64,
}

impl Recorder {
    pub fn new() -> Arc<Self> {
        Self::granting(|_, _, _| true)
    }

    /// Grants what `rule` says.
    pub fn granting(rule: impl Fn(usize, usize, Priority) -> bool + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self {
            rule: Box::new(rule),
            calls: Mutex::default(),
            asked: AtomicUsize::new(0),
            held: AtomicI64::new(0),
            lowest: AtomicI64::new(0),
            highest: AtomicI64::new(0),
        })
    }

    /// The calls since this was asked last.
    pub fn calls(&self) -> Vec<Call> {
        std::mem::take(&mut self.calls.lock().unwrap())
    }

    /// Reservations that were asked for, granted or not.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    pub fn held(&self) -> i64 {
        self.held.load(Ordering::SeqCst)
    }

    /// The most that was ever held.
    pub fn highest(&self) -> i64 {
        self.highest.load(Ordering::SeqCst)
    }

    /// All has been released, and never more than that.
    pub fn assert_balanced(&self) {
        assert_eq!((self.held(), self.lowest.load(Ordering::SeqCst)), (0, 0));
    }

    fn record(&self, call: Call) {
        self.calls.lock().unwrap().push(call);
    }
}

impl MemoryManager for Recorder {
    fn reserve(&self, bytes: usize, priority: Priority) -> Result<(), Refused> {
        if !(self.rule)(self.asked.fetch_add(1, Ordering::SeqCst), bytes, priority) {
            self.record(Refuse(bytes, priority.value()));
            return Err(Refused::new(bytes));
        }
        self.record(Reserve(bytes, priority.value()));
        let held = self.held.fetch_add(bytes as i64, Ordering::SeqCst) + bytes as i64;
        self.highest.fetch_max(held, Ordering::SeqCst);
        Ok(())
    }

    fn release(&self, bytes: usize) {
        self.record(Release(bytes));
        let held = self.held.fetch_sub(bytes as i64, Ordering::SeqCst) - bytes as i64;
        self.lowest.fetch_min(held, Ordering::SeqCst);
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").field("held", &self.held()).finish_non_exhaustive()
    }
}

/// A budget that cannot tell when memory is released.
#[derive(Debug)]
pub struct Mute(pub MemoryLimit);

impl MemoryManager for Mute {
    fn reserve(&self, bytes: usize, priority: Priority) -> Result<(), Refused> {
        self.0.reserve(bytes, priority)
    }

    fn release(&self, bytes: usize) {
        self.0.release(bytes);
    }
}

/// A budget that counts who waits for it.
#[derive(Debug)]
pub struct Watched {
    pub limit: MemoryLimit,
    waiting: Arc<AtomicUsize>,
}

struct Waiting(Arc<AtomicUsize>);

impl Watched {
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit: MemoryLimit::new(limit), waiting: Arc::default() })
    }

    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::SeqCst)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl MemoryManager for Watched {
    fn reserve(&self, bytes: usize, priority: Priority) -> Result<(), Refused> {
        self.limit.reserve(bytes, priority)
    }

    fn release(&self, bytes: usize) {
        self.limit.release(bytes);
    }

    fn released(&self, bytes: usize, priority: Priority) -> Option<BoxFuture<'static, ()>> {
        let released = self.limit.released(bytes, priority)?;
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let waiting = Waiting(self.waiting.clone());
        Some(Box::pin(async move {
            let _waiting = waiting;
            released.await;
        }))
    }
}
