//! The role of an end of a connection.

/// The role of this end. It decides which stream ids are whose: a client opens odd ones, a server even ones.
///
/// The two ends of a connection must not have the same mode; where they do, the first stream that either opens ends the
/// connection with [`Violation::Parity`](crate::Violation::Parity).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Opens streams 1, 3, 5 …
    Client,
    /// Opens streams 2, 4, 6 …
    Server,
}

impl Mode {
    pub(crate) const fn first_id(self) -> u32 {
        match self {
            Self::Client => 1,
            Self::Server => 2,
        }
    }

    pub(crate) const fn is_client(self) -> bool {
        matches!(self, Self::Client)
    }
}
