//! What applications see: streams, sessions and connections, their ends, deadlines, priorities and figures.

#![allow(unreachable_pub, reason = "a test binary has no users")]

mod closing;
mod deadlines;
mod dropping;
mod error_sources;
mod flush_under_load;
mod opening;
mod priority;
mod session;
mod stats;
mod streams;
#[path = "../support/mod.rs"]
mod support;
mod surface;
mod virtual_time;
mod wakers;
