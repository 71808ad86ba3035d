//! The rules of yamux, without IO.
//!
//! Everything here takes `&mut self`, and the time as an argument: it knows no lock, waker, clock or runtime. The same
//! code runs in production, in a simulation with a virtual clock and under a fuzzer. [`Mux`] coordinates one end of a
//! connection, and the shell talks only to it. A file is either verbs of `Mux`, below `mux`, or a part that does not
//! know `Mux`. Parts import only parts below them. Uses `wire` and the types that every module shares.

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
pub(crate) use buffer::free_list::FreeList;
pub(crate) use events::notes::{Note, Notes};
pub(crate) use flow::requests::{Charge, WindowDecision};
pub(crate) use key::Key;
pub(crate) use mux::{Admission, Announced, FlushError, Leave, Mux, OpenBlocked, ReadError, Taken, WriteError};
pub(crate) use peer::ends::Confirmation;
pub(crate) use peer::user_pings::PingProgress;
pub(crate) use send::batch::Batch;
pub(crate) use store::id_hash::{IdHash, shrink_sparse};
pub(crate) use stream::readiness::Readiness;
