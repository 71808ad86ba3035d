//! Owns what is known of the peer and owed to it for the connection as a whole: parts that do not know the connection.

pub(in crate::proto) mod control;
pub(in crate::proto) mod ends;
pub(in crate::proto) mod half_open;
pub(in crate::proto) mod ping;
pub(in crate::proto) mod rtt;
pub(in crate::proto) mod token_bucket;
pub(in crate::proto) mod tombstones;
pub(in crate::proto) mod user_pings;
