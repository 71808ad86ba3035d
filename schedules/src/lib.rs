//! The orders in which tasks may come to the locks and atomics of the crate, tried one after the other: whatever the
//! order, nobody who waits is left asleep.
//!
//! The crate is built with the locks and atomics of a tool (`src/sync.rs` there), which decides at each of them who goes
//! on. A wake-up that is lost ends in an order in which nobody can, and the tool reports that.
//!
//! ```sh
//! RUSTFLAGS='--cfg sluicegate_schedules="shuttle"' cargo test   # connections, under thousands of orders
//! RUSTFLAGS='--cfg sluicegate_schedules="loom"' cargo test      # budgets, under all orders with few switches
//! ```
//!
//! A connection has too many steps for all of their orders. [`explore`] draws them from a seed: half of them at random, and
//! half such that a task runs on until one of a few places drawn in advance, which finds what takes few switches in
//! unlikely places. `SEED=8 SCHEDULES=100000` tries others, and more. An order that fails is printed, and
//! `SCHEDULE=9101… cargo test <the test>` runs it again, step by step the same.
//!
//! Under loom a test that fails does so in the same order each time: to run it again is to see it again.
//! `LOOM_MAX_PREEMPTIONS=4` tries more.

#[cfg(not(any(sluicegate_schedules = "loom", sluicegate_schedules = "shuttle")))]
compile_error!("who decides on the order? RUSTFLAGS='--cfg sluicegate_schedules=\"shuttle\"', or \"loom\"");

#[cfg(sluicegate_schedules = "shuttle")]
mod ends;
#[cfg_attr(sluicegate_schedules = "loom", path = "explore_all.rs")]
mod explore;
#[cfg(sluicegate_schedules = "shuttle")]
mod link;
#[cfg(sluicegate_schedules = "shuttle")]
mod peer;

pub use self::explore::explore;
#[cfg(sluicegate_schedules = "shuttle")]
pub use self::{
    ends::{Node, WINDOW, pair, settings},
    link::Link,
    peer::{End, Peer},
};
