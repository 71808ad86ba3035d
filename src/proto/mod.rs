//! Ground floor: the rules of yamux.
//!
//! Everything here takes `&mut self` and the time as an argument and does no IO: it knows no lock, waker, clock or
//! runtime. The same code runs in production, in a simulation with a virtual clock and under a fuzzer. [`Mux`] is the
//! room that the shell talks to; the others are its parts. Uses `wire` and the pantry.

mod buffer;
mod counters;
mod events;
mod flow;
mod key;
pub(crate) mod limits;
mod mux;
mod peer;
mod send;
mod store;
mod stream;

#[cfg(test)]
mod sim;

pub(crate) use buffer::chunks::Chunks;
pub(crate) use events::notes::{Note, Notes};
pub(crate) use flow::requests::{Answer, first_reservation};
pub(crate) use key::Key;
pub(crate) use mux::{Admission, Announced, FlushError, Leave, Mux, OpenBlocked, ReadError, Taken, WriteError};
pub(crate) use peer::user_pings::PingProgress;
pub(crate) use send::batch::Batch;
pub(crate) use store::id_hash::{Spread, trim};
pub(crate) use stream::readiness::Ready;
