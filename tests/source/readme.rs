//! The figures of the README and of `docs/memory.md` that follow from a budget, against the budget itself.

use sluicegate::{Config, MemoryLimit, MemoryManager, Priority};
use std::path::Path;

const MIB: usize = 1 << 20;
/// What an idle or a busy connection may hold beside its reservations.
const FIXED: usize = 256 << 10;

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).expect("is there")
}

/// The rows of the table that begins with these cells, as their cells.
fn table(text: &str, header: &str) -> Vec<Vec<String>> {
    let rows = text.lines().skip_while(|line| !line.starts_with(header)).skip(2);
    let rows = rows
        .take_while(|line| line.starts_with('|'))
        .map(|row| row.trim_matches('|').split('|').map(|cell| cell.trim().replace(',', "")).collect::<Vec<_>>());
    let rows: Vec<_> = rows.collect();
    assert!(!rows.is_empty(), "no table under {header}");
    rows
}

/// "64 MiB" as bytes.
fn bytes(cell: &str) -> usize {
    let (number, unit) = cell.split_once(' ').expect("a number and a unit");
    let unit = match unit {
        "KiB" => 1 << 10,
        "MiB" => MIB,
        "GiB" => 1 << 30,
        _ => panic!("{cell}"),
    };
    (number.parse::<f64>().expect("a number") * unit as f64) as usize
}

/// How often `bytes` are granted at `priority` from a fresh budget.
fn granted(limit: usize, bytes: usize, priority: Priority) -> usize {
    let budget = MemoryLimit::new(limit);
    (0..).take_while(|_| budget.reserve(bytes, priority).is_ok()).count()
}

#[test]
fn limits_are_worked_out_right() {
    let window = Config::default().initial_stream_window() as usize;
    for row in table(&read("README.md"), "| budget | connections |") {
        let [budget, connections, streams, low, medium, high, most] = &row[..] else { panic!("{row:?}") };
        let (limit, connections) = (bytes(budget), connections.parse::<usize>().expect("a number"));
        assert_eq!(streams.parse(), Ok(granted(limit, window, Priority::ALWAYS)), "{row:?}");
        for (cell, priority) in [(low, Priority::LOW), (medium, Priority::MEDIUM), (high, Priority::HIGH)] {
            let exact = granted(limit, 1024, priority) as f64 / 1024.0;
            assert!((exact - bytes(cell) as f64 / MIB as f64).abs() <= 0.5, "{cell} is {exact} MiB: {row:?}");
        }
        assert_eq!(bytes(most), limit + connections * FIXED, "{row:?}");
    }
}

/// Everything under a folder that can be read as text.
fn all(folder: &Path) -> String {
    let mut text = String::new();
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        match entry.path() {
            // Programs of other languages, and what they bring along.
            path if path.ends_with("interop") => {}
            path if path.is_dir() => text += &all(&path),
            path => text += &std::fs::read_to_string(path).unwrap_or_default(),
        }
    }
    text
}

/// What stands between backticks.
fn quoted(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

#[test]
fn what_shows_a_claim_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let code = all(&root.join("tests")) + &all(&root.join("src"));
    let claims = table(&read("README.md"), "| what | sluicegate | rust-yamux |");
    for row in claims.into_iter().chain(table(&read("SECURITY.md"), "| guarantee | number |")) {
        let shown_by: Vec<_> = row.last().into_iter().flat_map(|cell| quoted(cell)).collect();
        assert!(!shown_by.is_empty(), "nothing shows {row:?}");
        for name in shown_by {
            let there =
                if name.contains('/') { root.join(name).exists() } else { code.contains(&format!("fn {name}(")) };
            assert!(there, "there is no {name}");
        }
    }
}

#[test]
fn every_link_leads_somewhere() {
    let pages = [
        "README.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "benches/README.md",
        "docs/from-go-yamux.md",
        "docs/from-libp2p-yamux.md",
        "docs/interop.md",
        "docs/memory.md",
        "docs/performance.md",
        "docs/scaling.md",
        "docs/troubleshooting.md",
        "tests/interop/README.md",
    ];
    for page in pages {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(page);
        for target in read(page).split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let (file, heading) = target.split_once('#').unwrap_or((target, ""));
            if file.contains("://") {
                continue;
            }
            let target = if file.is_empty() { path.clone() } else { path.with_file_name(file) };
            let text = std::fs::read_to_string(&target).unwrap_or_else(|_| panic!("{page} links to {file}"));
            let mut headings = text.lines().filter_map(|line| line.strip_prefix("##"));
            let found = headings
                .any(|title| title.trim_start_matches('#').trim_start().to_lowercase().replace(' ', "-") == heading);
            assert!(heading.is_empty() || found, "{page} links to {heading} of {file}");
        }
    }
}

#[test]
fn shares_of_the_levels() {
    let levels = [("`LOW`", 101), ("`MEDIUM` (default)", 152), ("`HIGH`", 203), ("`ALWAYS`", 255)];
    let rows = table(&read("README.md"), "| priority | value |");
    assert_eq!(rows.len(), levels.len());
    for (row, (name, value)) in rows.iter().zip(levels) {
        let share = granted(100_000, 1, Priority::new(value)) as f64 / 1000.0;
        assert_eq!((row[0].as_str(), row[1].parse()), (name, Ok(value)));
        assert!(row[2].starts_with(&format!("{share:.1}")) || row[2] == "100 %", "{row:?}: {share}");
    }
}

#[test]
fn throughput_of_a_window_over_a_round_trip() {
    for row in table(&read("docs/memory.md"), "| round trip |") {
        let millis: f64 = row[0].strip_suffix(" ms").and_then(|millis| millis.parse().ok()).expect("milliseconds");
        let rate = |cell: &str| {
            let (number, unit) = cell.split_once(' ').expect("a number and a unit");
            number.parse::<f64>().expect("a number") * if unit == "Gbit/s" { 1e9 } else { 1e6 }
        };
        for (cell, window) in row[1..].iter().zip([256 << 10, MIB, 16 * MIB]) {
            let exact = window as f64 * 8.0 / (millis / 1000.0);
            assert!((rate(cell) / exact - 1.0).abs() < 0.04, "{cell} is {exact}");
        }
    }
}
