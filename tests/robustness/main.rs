//! Transports of every kind, also those that are slow, stall or fail, and what is left of a connection on them.

#![allow(unreachable_pub, reason = "a test binary has no users")]

mod connection_ends;
mod faults;
mod outages;
mod slow_flush;
#[path = "../support/mod.rs"]
mod support;
mod transports;
