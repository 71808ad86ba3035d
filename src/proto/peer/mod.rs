//! Owns the state of the peer, and the frames owed to it for the connection as a whole. None of these parts knows the
//! connection.

pub(in crate::proto) mod control;
pub(in crate::proto) mod ends;
pub(in crate::proto) mod half_open;
pub(in crate::proto) mod ping;
pub(in crate::proto) mod rtt;
pub(in crate::proto) mod token_bucket;
pub(in crate::proto) mod tombstones;
pub(in crate::proto) mod user_pings;
