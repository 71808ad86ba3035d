//! One end of the scenario: its session, what becomes of its tasks, and what they have waited for.

use super::flawed::{Calls, Flawed};
use crate::support::outcome::lost;
use crate::support::stage::assert_same;
use futures::channel::oneshot;
use futures::executor::LocalSpawner;
use futures::task::LocalSpawnExt;
use sluicegate::{Config, ConnectionError, Mode, OpenError, PingError, Session, SessionDriver};
use std::cell::RefCell;
use std::io;
use std::ops::Range;
use std::rc::Rc;

/// What a task waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    Open,
    Accept,
    Ping,
    Read,
    Write,
    Flush,
    /// The FIN of a stream.
    Finish,
    /// The end of the connection, in good order.
    Close,
}

impl Wait {
    pub const ALL: [Self; 8] =
        [Self::Open, Self::Accept, Self::Ping, Self::Read, Self::Write, Self::Flush, Self::Finish, Self::Close];
}

/// Why a task could not do what the scenario says: its connection was over.
#[derive(Clone, Debug)]
pub struct Stopped(pub ConnectionError);

pub struct End {
    pub session: Session,
    spawner: LocalSpawner,
    calls: Calls,
    tasks: RefCell<Vec<Task>>,
    waits: RefCell<Vec<(Wait, Range<usize>)>>,
}

/// A task, and what came of it once it is over.
struct Task {
    name: &'static str,
    result: Option<Result<(), Stopped>>,
}

impl End {
    /// A session over `io` whose driver is the first task.
    pub fn new(io: Flawed, config: Config, mode: Mode, spawner: LocalSpawner) -> Rc<Self> {
        let calls = io.calls();
        let (session, driver) = Session::new(io, config, mode);
        let (tasks, waits) = (RefCell::default(), RefCell::default());
        let end = Rc::new(Self { session, spawner, calls: calls.clone(), tasks, waits });
        drop(end.start("driver", drive(driver, calls)));
        end
    }

    /// A task of its own, with wakers of its own. The receiver hears when it is over.
    pub fn start(
        self: &Rc<Self>,
        name: &'static str,
        role: impl Future<Output = Result<(), Stopped>> + 'static,
    ) -> oneshot::Receiver<()> {
        let (over, told) = oneshot::channel();
        let (end, number) = (self.clone(), self.tasks.borrow().len());
        self.tasks.borrow_mut().push(Task { name, result: None });
        let task = async move {
            let result = role.await;
            end.tasks.borrow_mut()[number].result = Some(result);
            let _ = over.send(());
        };
        self.spawner.spawn_local(task).expect("the pool lives");
        told
    }

    /// Waits, and notes which calls to the transport were made meanwhile.
    pub async fn wait<R>(&self, what: Wait, done: impl Future<Output = R>) -> R {
        let from = self.calls.count();
        let result = done.await;
        self.waits.borrow_mut().push((what, from..self.calls.count()));
        result
    }

    pub fn calls(&self) -> &Calls {
        &self.calls
    }

    pub fn waits(&self) -> Vec<(Wait, Range<usize>)> {
        self.waits.borrow().clone()
    }

    /// The tasks that are not over.
    pub fn waiting(&self) -> Vec<&'static str> {
        self.tasks.borrow().iter().filter(|task| task.result.is_none()).map(|task| task.name).collect()
    }

    /// The tasks that have not done all that they should, and why.
    pub fn stopped(&self) -> Vec<(&'static str, Stopped)> {
        let tasks = self.tasks.borrow();
        let stopped = tasks.iter().filter_map(|task| Some((task.name, task.result.clone()?.err()?)));
        stopped.collect()
    }
}

/// Drives a connection to its end, and asks it again after that.
async fn drive(mut driver: SessionDriver<Flawed>, calls: Calls) -> Result<(), Stopped> {
    let result = (&mut driver).await;
    let touched = calls.count();
    for _ in 0..3 {
        assert_same((&mut driver).await, &result);
    }
    drop(driver);
    // Y-CLOSE-7.
    assert_eq!(calls.count(), touched, "the transport is touched after the end");
    Ok(result?)
}

impl From<ConnectionError> for Stopped {
    fn from(reason: ConnectionError) -> Self {
        Self(reason)
    }
}

impl From<OpenError> for Stopped {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Connection(reason) => Self(reason),
            other => panic!("{other:?} is not the end of the connection"),
        }
    }
}

impl From<PingError> for Stopped {
    fn from(error: PingError) -> Self {
        match error {
            PingError::Connection(reason) => Self(reason),
            other => panic!("{other:?} is not the end of the connection"),
        }
    }
}

impl From<io::Error> for Stopped {
    fn from(error: io::Error) -> Self {
        Self(lost(&error))
    }
}
