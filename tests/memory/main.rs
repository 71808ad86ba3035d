//! The memory manager as its implementers and users see it: what is asked for, when, and that it all comes back.

mod charging;
mod ended;
mod expecting;
mod faults;
mod growth;
mod opening;
mod scopes;
#[path = "../support/mod.rs"]
mod support;
