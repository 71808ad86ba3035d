//! `ConfigError`: which setting is not valid, and why.
//!
//! Owns one variant for each kind of fault. Uses nothing else of the crate. Never decides what is valid: `validate` does.

use std::time::Duration;

/// A setting that is not valid, with its value and the reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A number is outside of its range.
    #[error("{field} is {value}, but must be {min}..={max}: {why}")]
    OutOfRange {
        /// The setting, by the name of its setter.
        field: &'static str,
        /// Its value.
        value: u64,
        /// The least that is valid.
        min: u64,
        /// The most that is valid.
        max: u64,
        /// Why there is such a range.
        why: &'static str,
    },
    /// A number is zero.
    #[error("{field} is 0, but must be more: {why}")]
    Zero {
        /// The setting, by the name of its setter.
        field: &'static str,
        /// Why it cannot be zero.
        why: &'static str,
    },
    /// A time is outside of its range.
    #[error("{field} is {value:?}, but must be {min:?}..={max:?}: {why}")]
    TimeOutOfRange {
        /// The setting, by the name of its setter.
        field: &'static str,
        /// Its value.
        value: Duration,
        /// The shortest that is valid.
        min: Duration,
        /// The longest that is valid.
        max: Duration,
        /// Why there is such a range.
        why: &'static str,
    },
    /// A stream's first window is larger than its largest.
    #[error("initial_stream_window is {initial}, but must be at most max_stream_window, which is {max}")]
    WindowOrder {
        /// `initial_stream_window`, in bytes.
        initial: u32,
        /// `max_stream_window`, in bytes.
        max: u32,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_name_the_setting_its_value_and_the_reason() {
        let rows = [
            (
                ConfigError::OutOfRange { field: "ping_backlog", value: 0, min: 1, max: 1024, why: "a reason" },
                "ping_backlog is 0, but must be 1..=1024: a reason",
            ),
            (
                ConfigError::Zero { field: "max_incoming_streams", why: "a reason" },
                "max_incoming_streams is 0, but must be more: a reason",
            ),
            (
                ConfigError::TimeOutOfRange {
                    field: "write_coalesce_delay",
                    value: Duration::from_millis(1500),
                    min: Duration::ZERO,
                    max: Duration::from_secs(1),
                    why: "a reason",
                },
                "write_coalesce_delay is 1.5s, but must be 0ns..=1s: a reason",
            ),
            (
                ConfigError::WindowOrder { initial: 524_288, max: 262_144 },
                "initial_stream_window is 524288, but must be at most max_stream_window, which is 262144",
            ),
        ];
        for (error, expected) in rows {
            assert_eq!(error.to_string(), expected);
        }
    }
}
