//! Owns what decides which bytes leave next, and the memory in which they wait: parts that do not know the connection.

pub(in crate::proto) mod batch;
pub(in crate::proto) mod coalesce;
pub(in crate::proto) mod pacer;
pub(in crate::proto) mod schedule;
pub(in crate::proto) mod send_pool;
