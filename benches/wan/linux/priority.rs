//! Which threads get a core first.

use rustix::process::setpriority_process;
use rustix::thread::gettid;
use std::process::{Command, Stdio};

const NICE: i32 = -15;

/// This thread, and those that it starts from now on, before most others. Without it figures are only rougher.
pub fn nice() {
    let _ = setpriority_process(None, NICE);
}

/// The same before all that have no such priority, or a smaller number. Without it what is late is counted.
pub fn real_time(number: u8) {
    let (number, thread) = (number.to_string(), gettid().as_raw_nonzero().to_string());
    let _ = Command::new("chrt").args(["--rr", "--pid", &number, &thread]).stdin(Stdio::null()).output();
}
