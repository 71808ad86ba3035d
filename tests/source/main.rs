//! The repository itself: the layout of `src`, the clauses of `spec.md`, and the figures and links of the documents.

mod code;
mod layout;
mod readme;
mod spec;
