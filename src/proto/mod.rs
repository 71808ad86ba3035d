//! Ground floor: the rules of yamux.
//!
//! Everything here takes `&mut self` and the time as an argument and does no IO: it knows no lock, waker, clock or
//! runtime. The same code runs in production, in a simulation with a virtual clock and under a fuzzer. [`Mux`] is the
//! room that the shell talks to; the others are its parts. Uses `wire` and the pantry.

mod announce;
mod app;
mod arrivals;
mod budget;
mod chunks;
mod control;
mod debts;
mod ends;
mod flow;
mod gathering;
mod half_open;
mod inbound;
mod late;
mod ledger;
mod lifetime;
pub(crate) mod limits;
mod liveness;
mod mux;
mod notes;
mod outbound;
mod pool;
mod ready;
mod release;
mod rest;
mod retire;
mod rtt;
mod schedule;
mod spares;
mod spread;
mod stall;
mod store;
mod stream;
mod tombstones;
mod transmit;
mod urgency;
mod user_pings;
mod windows;
mod withheld;

#[cfg(test)]
mod sim;
#[cfg(test)]
mod tests;

pub(crate) use announce::Announced;
pub(crate) use app::{FlushError, ReadError, Taken, WriteError};
pub(crate) use chunks::Chunks;
pub(crate) use ends::Confirmation;
pub(crate) use inbound::Admission;
pub(crate) use liveness::PingProgress;
pub(crate) use mux::{Mux, OpenBlocked};
pub(crate) use notes::{Note, Notes};
pub(crate) use ready::Ready;
pub(crate) use release::Leave;
pub(crate) use spread::{Spread, trim};
pub(crate) use store::Key;
pub(crate) use transmit::Batch;
pub(crate) use windows::{Answer, first_reservation};
