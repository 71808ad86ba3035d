//! Tasks and IO: the only part of the crate that uses wakers, a lock, a clock and a transport.
//!
//! It holds no rule of the protocol: it moves bytes between the transport and the [`Mux`](crate::proto::Mux), does outside the
//! lock what must not be done with it held, and wakes the tasks that wait. [`Driver`] is the task that does IO; `shared` is what
//! it shares with the handles of streams.

#[cfg(feature = "libp2p")]
mod accept_grace;
mod after_unlock;
mod deadline;
mod driver;
mod end_signal;
mod inner;
mod log;
mod open;
mod reader;
mod reserve;
mod shared;
mod timer;
mod waiters;
mod wakers;
mod writer;

#[cfg(feature = "libp2p")]
pub(crate) use accept_grace::AcceptGrace;
pub(crate) use deadline::Deadline;
pub(crate) use driver::Driver;
pub(crate) use end_signal::EndSignal;
pub(crate) use inner::WaitFor;
pub(crate) use open::PendingOpen;
pub(crate) use shared::{LockAttempts, Shared};
pub(crate) use timer::Timer;
pub(crate) use waiters::WaiterSlot;
