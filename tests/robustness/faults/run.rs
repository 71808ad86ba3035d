//! One run of the scenario, with a fault or without, in one thread and in an order that is always the same.

use super::end::{End, Stopped, Wait};
use super::flawed::{Call, Fault, Flawed};
use super::scenario;
use crate::support::clock::Manual;
use crate::support::stage::assert_same;
use crate::support::{pipe, quiet};
use futures::FutureExt;
use futures::executor::LocalPool;
use sluicegate::{ConfigBuilder, ConnectionError, MemoryLimit, Mode};
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

/// Bytes that the pipe holds each way: less than a window, so that the transport has to wait, too.
const PIPE: usize = 32 * 1024;

/// Alarms that ring in a run.
const ALARMS: usize = 1_000;

pub struct Run {
    flawed: Mode,
    fault: Option<Fault>,
    pool: LocalPool,
    clock: Manual,
    /// The end whose transport is flawed, and the other one.
    near: Rc<End>,
    far: Rc<End>,
    budgets: [Arc<MemoryLimit>; 2],
}

/// What came of a run.
pub struct Outcome {
    /// Why the connection is over at the flawed end.
    pub reason: ConnectionError,
    /// Whether every task at both ends has done all that it should.
    pub complete: bool,
    /// The calls to the flawed transport.
    pub calls: Vec<Call>,
    /// What the tasks of the flawed end waited for, and during which calls.
    pub waits: Vec<(Wait, Range<usize>)>,
}

impl Outcome {
    /// The calls to the flawed transport after the one that went wrong.
    pub fn after(&self, fault: Fault) -> &[Call] {
        &self.calls[fault.at + 1..]
    }
}

/// Says which run it was, if it panics.
struct Label(Mode, Option<Fault>);

impl Drop for Label {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("with {:?} at the {:?}", self.1, self.0);
        }
    }
}

impl Run {
    /// Starts, and goes on until nothing moves any more. The end in this mode has the flawed transport and the
    /// `settings`; the other one waits for as long as it must.
    pub fn start(flawed: Mode, fault: Option<Fault>, settings: ConfigBuilder) -> Self {
        let (pool, clock) = (LocalPool::new(), Manual::new());
        let budgets = [(); 2].map(|()| Arc::new(MemoryLimit::new(64 << 20)));
        let (near, far) = pipe(PIPE);
        let other = if flawed == Mode::Client { Mode::Server } else { Mode::Client };
        let end = |io, settings: ConfigBuilder, mode, budget: &Arc<MemoryLimit>| {
            let settings = match mode {
                Mode::Client => scenario::client_settings(settings),
                Mode::Server => scenario::server_settings(settings),
            };
            let settings = settings.memory(budget.clone()).clock(Arc::new(clock.clone()));
            let config = settings.build().expect("valid");
            let end = End::new(io, config, mode, pool.spawner());
            match mode {
                Mode::Client => scenario::client(&end),
                Mode::Server => scenario::server(&end),
            }
            end
        };
        let near = end(Flawed::new(near, fault), settings, flawed, &budgets[0]);
        let far = end(Flawed::new(far, None), quiet(), other, &budgets[1]);
        let mut run = Self { flawed, fault, pool, clock, near, far, budgets };
        run.go_on();
        run
    }

    /// Lets time pass until all tasks are over, at most as many alarms as any end of a connection needs.
    fn wait(&mut self) {
        let alarms = (0..ALARMS).find(|_| self.go_on() || !self.clock.advance());
        assert!(alarms.is_some(), "time passes, and nothing ends");
    }

    /// Goes on until nothing moves any more; says whether all tasks are over.
    pub fn go_on(&mut self) -> bool {
        let _label = Label(self.flawed, self.fault);
        self.pool.run_until_stalled();
        [&self.near, &self.far].iter().all(|end| end.waiting().is_empty())
    }

    /// Checks what must be true of every run that is over, and takes it down.
    pub fn finish(mut self) -> Outcome {
        self.wait();
        let Self { flawed, fault, pool, near, far, budgets, .. } = self;
        let _label = Label(flawed, fault);
        let (reason, far_reason) = (reason(&near), reason(&far));
        let complete = stopped(&near, &reason) + stopped(&far, &far_reason) == 0;
        assert!(!complete || budgets.iter().all(|budget| budget.peak() > 1 << 20), "no memory was counted");
        let (calls, waits) = (near.calls().all(), near.waits());
        drop((pool, near, far));
        for budget in &budgets {
            assert_eq!(budget.reserved(), 0, "bytes are reserved for nothing");
            assert_eq!(Arc::strong_count(budget), 1, "somebody still holds the budget");
        }
        Outcome { reason, complete, calls, waits }
    }
}

/// Why the connection is over, once all who waited for that have been woken.
fn reason(end: &End) -> ConnectionError {
    let waiting = end.waiting();
    assert!(waiting.is_empty(), "{waiting:?} wait for ever");
    end.session.closed().now_or_never().expect("the driver is done")
}

/// How many tasks were stopped; each must have been told the one reason (Y-CLOSE-4).
fn stopped(end: &End, reason: &ConnectionError) -> usize {
    let stopped = end.stopped();
    for (name, Stopped(told)) in &stopped {
        assert_same((name, told), (name, reason));
    }
    stopped.len()
}
