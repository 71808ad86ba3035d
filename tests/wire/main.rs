//! The frames of a connection, seen and sent by a peer that is driven by hand.

#![allow(unreachable_pub, reason = "a test binary has no users")]

mod acknowledgement;
mod bursts;
mod credit;
mod ends;
mod faults;
mod floods;
mod flow;
mod framing;
mod go_away;
mod manners;
mod opening;
mod ping;
mod refusal;
mod resets;
#[path = "../support/mod.rs"]
mod support;
mod tolerance;
mod violations;
