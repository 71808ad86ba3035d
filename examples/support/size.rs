//! Sizes as people write them on a command line.

/// A number of bytes: `4096`, `64KiB`, `16 MiB`, `1GiB`.
pub(crate) fn parse(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let scale: u64 = match unit.trim() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err("expected a number of bytes, plain or with KiB, MiB or GiB".into()),
    };
    let number: u64 = number.parse().map_err(|_| "expected a number of bytes, as in 4096 or 16MiB".to_string())?;
    number.checked_mul(scale).ok_or_else(|| "is more than 2^64 bytes".to_string())
}
