//! The ranges of the settings.
//!
//! Owns what is valid, and why. Uses nothing else of the crate. Never changes a setting.

use std::{ops::RangeInclusive, time::Duration};

use super::{ConfigError, KIB, MIB, Settings, YAMUX_WINDOW};

impl Settings {
    /// The first fault: counts, then sizes, then times.
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        self.validate_counts()?;
        self.validate_sizes()?;
        self.validate_times()
    }

    fn validate_counts(&self) -> Result<(), ConfigError> {
        within(
            "accept_backlog",
            self.accept_backlog as u64,
            1..=65_536,
            "with none no stream could open, and each one may hold a window",
        )?;
        within(
            "ping_backlog",
            self.ping_backlog as u64,
            1..=1024,
            "with none no ping could be answered, and each is held in memory",
        )?;
        more_than_zero("max_incoming_streams", self.max_incoming_streams > 0, "every inbound stream would be refused")
    }

    fn validate_sizes(&self) -> Result<(), ConfigError> {
        let windows = u64::from(YAMUX_WINDOW)..=u64::from(1024 * MIB);
        for (field, bytes) in
            [("initial_stream_window", self.initial_stream_window), ("max_stream_window", self.max_stream_window)]
        {
            within(
                field,
                u64::from(bytes),
                windows.clone(),
                "yamux starts every window at 256 KiB, and no link needs more than 1 GiB",
            )?;
        }
        if self.initial_stream_window > self.max_stream_window {
            return Err(ConfigError::WindowOrder { initial: self.initial_stream_window, max: self.max_stream_window });
        }
        within(
            "read_buffer_size",
            self.read_buffer_size as u64,
            u64::from(4 * KIB)..=u64::from(MIB),
            "less costs a system call for every few frames, and every connection holds it",
        )?;
        within(
            "max_message_size",
            u64::from(self.max_message_size),
            u64::from(KIB)..=u64::from(64 * KIB),
            "less is mostly headers, and more makes urgent streams wait",
        )?;
        within(
            "max_send_buffer",
            self.max_send_buffer as u64,
            u64::from(64 * KIB)..=u64::from(64 * MIB),
            "the first 64 KiB are a fixed cost, and more than 64 MiB only adds delay",
        )
    }

    fn validate_times(&self) -> Result<(), ConfigError> {
        // Every platform's clocks and timers count milliseconds, and no network needs more than a day.
        const TIMES: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(24 * 60 * 60);
        let pause = "less would ping the peer without pause, and more would never ping it";
        if let Some(interval) = self.keep_alive_interval {
            within_time("keep_alive_interval", interval, TIMES, pause)?;
        }
        within_time("measure_rtt_interval", self.measure_rtt_interval, TIMES, pause)?;
        within_time(
            "connection_write_timeout",
            self.connection_write_timeout,
            TIMES,
            "less would end every connection at once, and more would keep dead ones",
        )?;
        within_time(
            "close_timeout",
            self.close_timeout,
            TIMES,
            "less would close nothing, and more would never give up",
        )?;
        if let Some(timeout) = self.drain_timeout {
            within_time("drain_timeout", timeout, TIMES, "less would end streams at once, and `None` never does")?;
        }
        within_time(
            "write_coalesce_delay",
            self.write_coalesce_delay,
            Duration::ZERO..=Duration::from_secs(1),
            "a write that is not flushed would seem lost",
        )
    }
}

fn within_time(
    field: &'static str,
    value: Duration,
    range: RangeInclusive<Duration>,
    why: &'static str,
) -> Result<(), ConfigError> {
    if range.contains(&value) {
        return Ok(());
    }
    Err(ConfigError::TimeOutOfRange { field, value, min: *range.start(), max: *range.end(), why })
}

fn within(field: &'static str, value: u64, range: RangeInclusive<u64>, why: &'static str) -> Result<(), ConfigError> {
    if range.contains(&value) {
        return Ok(());
    }
    Err(ConfigError::OutOfRange { field, value, min: *range.start(), max: *range.end(), why })
}

fn more_than_zero(field: &'static str, holds: bool, why: &'static str) -> Result<(), ConfigError> {
    if holds {
        return Ok(());
    }
    Err(ConfigError::Zero { field, why })
}

#[cfg(test)]
mod tests {
    use std::mem;

    use super::*;
    use crate::config::{Config, ConfigBuilder, RefusedOpen};
    use crate::priority::Priority;

    fn settings() -> ConfigBuilder {
        Config::builder()
    }

    /// The outcome, without the reason, which is prose.
    fn build(builder: ConfigBuilder) -> Result<(), ConfigError> {
        let mut outcome = builder.build().map(drop);
        if let Err(
            ConfigError::OutOfRange { why, .. }
            | ConfigError::Zero { why, .. }
            | ConfigError::TimeOutOfRange { why, .. },
        ) = &mut outcome
        {
            assert!(!mem::take(why).is_empty());
        }
        outcome
    }

    /// `set` takes `min` and `max` and what is between them, and refuses what is next to them.
    fn range(field: &'static str, min: u64, max: u64, set: fn(ConfigBuilder, u64) -> ConfigBuilder) {
        for value in [min, min + 1, max - 1, max] {
            assert_eq!(build(set(settings(), value)), Ok(()), "{field} {value}");
        }
        for value in [0, min - 1, max + 1, u64::from(u32::MAX)] {
            let expected = ConfigError::OutOfRange { field, value, min, max, why: "" };
            assert_eq!(build(set(settings(), value)), Err(expected));
        }
    }

    #[test]
    fn counts_and_sizes_are_valid_within_both_edges_only() {
        range("accept_backlog", 1, 65_536, |b, v| b.accept_backlog(v as usize));
        range("ping_backlog", 1, 1024, |b, v| b.ping_backlog(v as usize));
        range("read_buffer_size", 4096, 1 << 20, |b, v| b.read_buffer_size(v as usize));
        range("max_message_size", 1024, 65_536, |b, v| b.max_message_size(v as u32));
        range("max_send_buffer", 65_536, 64 << 20, |b, v| b.max_send_buffer(v as usize));
        // Each window while the other leaves it room.
        range("initial_stream_window", 262_144, 1 << 30, |b, v| {
            b.max_stream_window(1 << 30).initial_stream_window(v as u32)
        });
        range("max_stream_window", 262_144, 1 << 30, |b, v| b.max_stream_window(v as u32));
    }

    /// `set` takes any time from `min` to `max`.
    fn times(field: &'static str, min: Duration, max: Duration, set: fn(ConfigBuilder, Duration) -> ConfigBuilder) {
        for value in [min, max] {
            assert_eq!(build(set(settings(), value)), Ok(()), "{field} {value:?}");
        }
        let nano = Duration::from_nanos(1);
        for value in [min.checked_sub(nano), Some(max + nano), Some(Duration::MAX)].into_iter().flatten() {
            let expected = ConfigError::TimeOutOfRange { field, value, min, max, why: "" };
            assert_eq!(build(set(settings(), value)), Err(expected));
        }
    }

    #[test]
    fn times_are_valid_within_their_range_only() {
        let (min, max) = (Duration::from_millis(1), Duration::from_secs(86_400));
        times("keep_alive_interval", min, max, |b, v| b.keep_alive_interval(Some(v)));
        times("measure_rtt_interval", min, max, |b, v| b.measure_rtt_interval(v));
        times("connection_write_timeout", min, max, |b, v| b.connection_write_timeout(v));
        times("close_timeout", min, max, |b, v| b.close_timeout(v));
        times("drain_timeout", min, max, |b, v| b.drain_timeout(Some(v)));
        times("write_coalesce_delay", Duration::ZERO, Duration::from_secs(1), |b, v| b.write_coalesce_delay(v));
        assert_eq!(build(settings().keep_alive_interval(None)), Ok(()));
        assert_eq!(build(settings().drain_timeout(None)), Ok(()));
    }

    #[test]
    fn windows_are_valid_in_order_only() {
        let rows = [
            // (initial, max, in order)
            (262_144, 262_144, true),
            (16_777_216, 16_777_216, true),
            (16_777_217, 16_777_216, false),
            (262_145, 262_144, false),
            (1 << 30, 1 << 30, true),
            (1 << 30, (1 << 30) - 1, false),
        ];
        for (initial, max, in_order) in rows {
            let expected = if in_order { Ok(()) } else { Err(ConfigError::WindowOrder { initial, max }) };
            let one = settings().initial_stream_window(initial).max_stream_window(max);
            let other = settings().max_stream_window(max).initial_stream_window(initial);
            assert_eq!(build(one), expected);
            assert_eq!(build(other), expected);
        }
    }

    #[test]
    fn max_incoming_streams_is_valid_above_zero_only() {
        let expected = ConfigError::Zero { field: "max_incoming_streams", why: "" };
        assert_eq!(build(settings().max_incoming_streams(0)), Err(expected));
        for streams in [1, usize::MAX] {
            assert_eq!(build(settings().max_incoming_streams(streams)), Ok(()));
        }
    }

    #[test]
    fn settings_without_a_range_take_every_value() {
        for value in [0, 1, u32::MAX] {
            assert_eq!(build(settings().refusal_code(value)), Ok(()));
        }
        for value in [0, 128, 255] {
            assert_eq!(build(settings().default_priority(Priority::new(value))), Ok(()));
        }
        for choice in [RefusedOpen::Fail, RefusedOpen::Wait] {
            assert_eq!(build(settings().refused_open(choice)), Ok(()));
        }
    }
}
