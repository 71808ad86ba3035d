//! The tasks of a run, on one thread and in virtual time.
//!
//! Which of the woken tasks is polled next is the seed's to say. When none is woken, time jumps to the next alarm; when
//! there is no alarm either, or when somebody waits for longer than is stated, the run has failed, and it says who waits
//! for what.

use crate::chance::Chance;
use crate::clock::Timers;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

/// For how long an operation may wait for which nothing else is stated.
const LIMIT: Duration = Duration::from_secs(300);
/// More polls of one task in one moment are those of a task that wakes itself for nothing.
const SPIN: u32 = 20_000;
/// How often it is looked for those that wait for too long.
const CHECK: Duration = Duration::from_millis(500);

#[derive(Clone)]
pub struct World(Rc<Inner>);

struct Inner {
    timers: Timers,
    woken: Arc<Mutex<Vec<usize>>>,
    tasks: RefCell<BTreeMap<usize, Task>>,
    chance: RefCell<Chance>,
    order: Order,
    /// What a poll takes.
    pace: Duration,
    current: Cell<usize>,
    next: Cell<usize>,
    waits: RefCell<BTreeMap<usize, Wait>>,
    polls: Cell<u64>,
    /// Tasks that the run waits for.
    counting: Cell<usize>,
    /// When it was looked at whether somebody waits for too long.
    checked: Cell<Duration>,
}

/// Who is next among the woken.
#[derive(Clone, Copy, Debug)]
pub enum Order {
    Any,
    First,
    Last,
}

struct Task {
    name: String,
    /// Not there while it is polled.
    future: Option<Pin<Box<dyn Future<Output = ()>>>>,
    signal: Arc<Signal>,
    /// Whether the run goes on until it is over.
    counts: bool,
    /// When it was polled last, and how often in that moment.
    polled: (Duration, u32),
}

struct Signal {
    task: usize,
    queued: AtomicBool,
    woken: Arc<Mutex<Vec<usize>>>,
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        if !self.queued.swap(true, Ordering::Relaxed) {
            self.woken.lock().expect("one thread").push(self.task);
        }
    }
}

/// What a task waits for.
struct Wait {
    task: usize,
    what: &'static str,
    since: Duration,
    until: Option<Duration>,
}

impl World {
    pub fn new(order: Order, pace: Duration, chance: Chance) -> Self {
        Self(Rc::new(Inner {
            timers: Timers::new(),
            woken: Arc::default(),
            tasks: RefCell::default(),
            chance: RefCell::new(chance),
            order,
            pace,
            current: Cell::new(0),
            next: Cell::new(0),
            waits: RefCell::default(),
            polls: Cell::new(0),
            counting: Cell::new(0),
            checked: Cell::new(Duration::ZERO),
        }))
    }

    pub fn timers(&self) -> &Timers {
        &self.0.timers
    }

    pub fn now(&self) -> Duration {
        self.0.timers.now()
    }

    /// Polls so far: two runs of one seed agree in it.
    pub fn polls(&self) -> u64 {
        self.0.polls.get()
    }

    /// A task that the run waits for.
    pub fn spawn(&self, name: String, task: impl Future<Output = ()> + 'static) {
        self.enter(name, true, task);
    }

    /// A task that the run does not wait for.
    pub fn spawn_aside(&self, name: &str, task: impl Future<Output = ()> + 'static) {
        self.enter(name.to_owned(), false, task);
    }

    fn enter(&self, name: String, counts: bool, future: impl Future<Output = ()> + 'static) {
        let task = self.number();
        let signal = Arc::new(Signal { task, queued: AtomicBool::new(false), woken: self.0.woken.clone() });
        let future: Pin<Box<dyn Future<Output = ()>>> = Box::pin(future);
        let entry = Task { name, future: Some(future), signal: signal.clone(), counts, polled: (Duration::ZERO, 0) };
        self.0.tasks.borrow_mut().insert(task, entry);
        self.0.counting.set(self.0.counting.get() + usize::from(counts));
        signal.wake();
    }

    fn number(&self) -> usize {
        self.0.next.set(self.0.next.get() + 1);
        self.0.next.get()
    }

    /// Waits for something that is over within [`LIMIT`].
    pub async fn op<F: Future>(&self, what: &'static str, future: F) -> F::Output {
        self.op_within(what, LIMIT, future).await
    }

    /// The same with another limit.
    pub async fn op_within<F: Future>(&self, what: &'static str, limit: Duration, future: F) -> F::Output {
        let _waiting = self.wait(what, Some(self.now() + limit));
        future.await
    }

    /// Waits for as long as it takes.
    pub async fn op_patiently<F: Future>(&self, what: &'static str, future: F) -> F::Output {
        let _waiting = self.wait(what, None);
        future.await
    }

    fn wait(&self, what: &'static str, until: Option<Duration>) -> Waiting {
        let (number, task) = (self.number(), self.0.current.get());
        let wait = Wait { task, what, since: self.now(), until };
        self.0.waits.borrow_mut().insert(number, wait);
        Waiting(self.clone(), number)
    }

    pub async fn sleep(&self, time: Duration) {
        self.0.timers.sleep_until(self.now() + time).await;
    }

    /// What `future` gives, unless that takes longer.
    pub async fn timeout<F: Future>(&self, time: Duration, future: F) -> Option<F::Output> {
        let mut alarm = self.0.timers.sleep_until(self.now() + time);
        let mut future = pin!(future);
        poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending => Pin::new(&mut alarm).poll(cx).map(|()| None),
        })
        .await
    }

    /// Runs until all tasks that count are over.
    pub fn run(&self) {
        loop {
            while let Some(task) = self.next_task() {
                self.poll(task);
            }
            if self.0.counting.get() == 0 {
                break;
            }
            if !self.0.timers.jump() {
                self.fail("nobody will be woken any more");
            }
            let now = self.now();
            if now < self.0.checked.get() + CHECK {
                continue;
            }
            self.0.checked.set(now);
            if self.0.waits.borrow().values().any(|wait| wait.until.is_some_and(|until| until < now)) {
                self.fail("somebody has waited for too long");
            }
        }
        let tasks = std::mem::take(&mut *self.0.tasks.borrow_mut());
        drop(tasks);
    }

    fn next_task(&self) -> Option<usize> {
        let mut woken = self.0.woken.lock().expect("one thread");
        match (self.0.order, woken.len()) {
            (_, 0) => None,
            (Order::First, _) => Some(woken.remove(0)),
            (Order::Last, _) => woken.pop(),
            (Order::Any, len) => Some(woken.swap_remove(self.0.chance.borrow_mut().below(len as u64) as usize)),
        }
    }

    fn poll(&self, number: usize) {
        let now = self.now();
        let (mut future, signal) = {
            let mut tasks = self.0.tasks.borrow_mut();
            let Some(task) = tasks.get_mut(&number) else { return };
            task.polled = if task.polled.0 == now { (now, task.polled.1 + 1) } else { (now, 0) };
            if task.polled.1 > SPIN {
                let name = task.name.clone();
                drop(tasks);
                self.fail(&format!("{name} spins"));
            }
            (task.future.take().expect("polled once at a time"), task.signal.clone())
        };
        signal.queued.store(false, Ordering::Relaxed);
        let waker = Waker::from(signal);
        let outer = self.0.current.replace(number);
        let over = future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready();
        self.0.polls.set(self.0.polls.get() + 1);
        if over {
            // While it is the current one: what it holds may want to say who holds it.
            drop(future);
            let task = self.0.tasks.borrow_mut().remove(&number);
            let counts = task.is_some_and(|task| task.counts);
            self.0.counting.set(self.0.counting.get() - usize::from(counts));
        } else if let Some(task) = self.0.tasks.borrow_mut().get_mut(&number) {
            task.future = Some(future);
        }
        self.0.current.set(outer);
        if !self.0.pace.is_zero() {
            self.0.timers.pass(self.0.pace);
        }
    }

    /// Ends the run, and says who waits for what.
    fn fail(&self, why: &str) -> ! {
        let tasks = self.0.tasks.borrow();
        let waits = self.0.waits.borrow();
        let name = |task: &usize| tasks.get(task).map_or("a task that is over", |task| &task.name);
        let mut lines: Vec<_> = waits
            .values()
            .map(|wait| format!("  {} waits for {} since {:?}", name(&wait.task), wait.what, wait.since))
            .collect();
        let silent =
            tasks.iter().filter(|(number, task)| task.counts && !waits.values().any(|wait| wait.task == **number));
        lines.extend(silent.map(|(_, task)| format!("  {} is not over", task.name)));
        panic!("at {:?}: {why}:\n{}", self.now(), lines.join("\n"));
    }
}

/// Somebody waits for as long as this lives.
struct Waiting(World, usize);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.0.waits.borrow_mut().remove(&self.1);
    }
}

/// Something that happens once, and that any number of tasks may wait for.
#[derive(Default)]
pub struct Flag {
    up: Cell<bool>,
    waiting: RefCell<Vec<Waker>>,
}

impl Flag {
    pub fn raise(&self) {
        self.up.set(true);
        self.waiting.take().into_iter().for_each(Waker::wake);
    }

    pub fn is_up(&self) -> bool {
        self.up.get()
    }

    pub async fn raised(&self) {
        poll_fn(|cx| {
            if self.is_up() {
                return Poll::Ready(());
            }
            self.waiting.borrow_mut().push(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

#[cfg(test)]
fn alone(task: impl Future<Output = ()> + 'static) {
    let world = World::new(Order::Any, Duration::ZERO, Chance::new(0));
    world.spawn("it".to_owned(), task);
    world.run();
}

#[test]
#[should_panic(expected = "nobody will be woken any more")]
fn a_task_that_nobody_wakes_is_a_fault() {
    alone(std::future::pending());
}

#[test]
#[should_panic(expected = "it spins")]
fn a_task_that_wakes_itself_for_nothing_is_a_fault() {
    alone(poll_fn(|cx| {
        cx.waker().wake_by_ref();
        Poll::Pending
    }));
}

#[test]
#[should_panic(expected = "it waits for a thing")]
fn a_wait_that_is_too_long_is_a_fault() {
    let world = World::new(Order::Any, Duration::ZERO, Chance::new(0));
    let waits = world.clone();
    let waiting = async move { waits.op("a thing", waits.sleep(2 * LIMIT)).await };
    world.spawn("it".to_owned(), waiting);
    world.run();
}
