//! A network namespace without a name: it exists while something holds it, so that it ends with this process at the latest.

use nix::sched::{CloneFlags, setns, unshare};
use std::fs::{self, File};
use std::io;
use std::panic::resume_unwind;
use std::path::Path;
use std::thread;

pub struct Namespace(File);

impl Namespace {
    pub fn new() -> io::Result<Self> {
        on_a_thread(|| {
            unshare(CloneFlags::CLONE_NEWNET)?;
            Ok(Self(File::open("/proc/thread-self/ns/net")?))
        })
    }

    /// Does some work on a thread that is inside. What it makes there, such as a socket or a child process, stays there.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
        on_a_thread(|| {
            setns(&self.0, CloneFlags::CLONE_NEWNET)?;
            work()
        })
    }

    /// Sets what this namespace has of its own of `/proc/sys/net`.
    pub fn set(&self, name: &str, value: &str) -> io::Result<()> {
        self.inside(|| fs::write(Path::new("/proc/sys/net").join(name), value))
    }
}

fn on_a_thread<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| scope.spawn(work).join().unwrap_or_else(|panic| resume_unwind(panic)))
}
