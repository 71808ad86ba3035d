//! Owns what is counted.

pub(in crate::proto) mod stall;
