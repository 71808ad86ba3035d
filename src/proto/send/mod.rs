//! Owns the send path: scheduling, pacing and coalescing, the send buffers and the batch. None of these parts knows the
//! connection.

pub(in crate::proto) mod batch;
pub(in crate::proto) mod coalesce;
pub(in crate::proto) mod delivery;
pub(in crate::proto) mod pacer;
mod pauses;
pub(in crate::proto) mod schedule;
pub(in crate::proto) mod send_pool;
