//! Tasks that meet at the lock of a connection: whoever waits is woken, whatever the order.

#![cfg(sluicegate_schedules = "shuttle")]

#[path = "connection/closing.rs"]
mod closing;
#[path = "connection/dropping.rs"]
mod dropping;
#[path = "connection/flushing.rs"]
mod flushing;
#[path = "connection/halves.rs"]
mod halves;
#[path = "connection/opening.rs"]
mod opening;
#[path = "connection/pinging.rs"]
mod pinging;
#[path = "connection/reading.rs"]
mod reading;
#[path = "connection/waiting.rs"]
mod waiting;
#[path = "connection/writing.rs"]
mod writing;
