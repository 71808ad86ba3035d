//! The memory manager as its implementers and users see it: what is asked for, when, and that it all comes back.

#[path = "support/api.rs"]
mod api;
#[path = "memory/charging.rs"]
mod charging;
#[path = "memory/ended.rs"]
mod ended;
#[path = "memory/expecting.rs"]
mod expecting;
#[path = "memory/faults.rs"]
mod faults;
#[path = "memory/growth.rs"]
mod growth;
mod line;
#[path = "memory/manager.rs"]
mod manager;
#[path = "memory/opening.rs"]
mod opening;
#[path = "memory/scopes.rs"]
mod scopes;
mod support;
