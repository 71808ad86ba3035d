//! Times as people write them on a command line.

use std::time::Duration;

/// A time: `90`, `90s`, `30m`, `2h`.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let seconds: u64 = match unit.trim() {
        "" | "s" => 1,
        "m" => 60,
        "h" => 60 * 60,
        _ => return Err("expected a time in seconds, plain or with s, m or h".into()),
    };
    let number: u64 = number.parse().map_err(|_| "expected a time, as in 90s or 30m".to_string())?;
    number.checked_mul(seconds).map(Duration::from_secs).ok_or_else(|| "is longer than time will last".to_string())
}
