//! The matrix as a table, with a note for everything that is not plain.

use crate::toolchain::target;
use crate::verdict::{Role, Verdict};
use crate::{nodes, peers, scenarios};
use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Mutex;

/// Scenario, peer, role.
pub type Key = (&'static str, &'static str, Role);

/// What has come of the cells so far.
#[derive(Default)]
pub struct Matrix(Mutex<HashMap<Key, Verdict>>);

impl Matrix {
    pub fn enter(&self, cell: Key, verdict: Verdict) {
        self.0.lock().unwrap().insert(cell, verdict);
    }

    /// Writes the table, if all of the cells have run. Says what was done.
    pub fn write(&self, cells: usize) -> io::Result<String> {
        let entered = self.0.lock().unwrap();
        if entered.len() < cells {
            return Ok(format!("{} of {cells} cells have run: no matrix is written", entered.len()));
        }
        let file = target().with_extension("md");
        fs::write(&file, tables(&entered))?;
        Ok(format!("the matrix is in {}", file.display()))
    }
}

/// Notes, each with a number.
#[derive(Default)]
struct Notes(Vec<String>);

impl Notes {
    fn number(&mut self, note: &str) -> usize {
        let at = self.0.iter().position(|other| other == note).unwrap_or_else(|| {
            self.0.push(note.to_owned());
            self.0.len() - 1
        });
        at + 1
    }
}

/// A table for the muxers and one for the whole nodes.
fn tables(entered: &HashMap<Key, Verdict>) -> String {
    let mut notes = Notes::default();
    let muxers: Vec<_> = peers::PEERS.iter().map(|peer| peer.name).collect();
    let scenarios: Vec<_> = scenarios::SCENARIOS.iter().map(|scenario| (scenario.name, scenario.title)).collect();
    let mut tables = table("muxer", &muxers, &scenarios, entered, &mut notes);
    let nodes: Vec<_> = nodes::PEERS.iter().map(|peer| peer.name).collect();
    let scenarios: Vec<_> = nodes::SCENARIOS.iter().map(|scenario| (scenario.name, scenario.title)).collect();
    tables += "\n";
    tables += &table("whole node", &nodes, &scenarios, entered, &mut notes);
    for (at, note) in notes.0.iter().enumerate() {
        let _ = write!(tables, "\n{}. {note}", at + 1);
    }
    tables + "\n"
}

fn table(
    what: &str,
    peers: &[&'static str],
    scenarios: &[(&'static str, &'static str)],
    entered: &HashMap<Key, Verdict>,
    notes: &mut Notes,
) -> String {
    let mut table = format!("| {what} | {} |\n| --- |{}\n", peers.join(" | "), " --- |".repeat(peers.len()));
    for (scenario, title) in scenarios {
        let _ = write!(table, "| {title} |");
        for peer in peers {
            let [dial, listen] = Role::BOTH.map(|role| {
                let verdict = entered.get(&(*scenario, *peer, role));
                verdict.map(|verdict| mark(verdict, notes)).unwrap_or_default()
            });
            let both = if dial == listen { dial } else { format!("{dial} / {listen}") };
            let _ = write!(table, " {both} |");
        }
        table.push('\n');
    }
    table
}

fn mark(verdict: &Verdict, notes: &mut Notes) -> String {
    let with = |mark: &str, reasons: &[String], notes: &mut Notes| {
        let numbers: Vec<_> = reasons.iter().map(|reason| notes.number(reason).to_string()).collect();
        if numbers.is_empty() { mark.to_owned() } else { format!("{mark} <sup>{}</sup>", numbers.join(", ")) }
    };
    match verdict {
        Verdict::Passed(reasons) => with("yes", reasons, notes),
        Verdict::Cannot(why) => with("–", std::slice::from_ref(why), notes),
        Verdict::Missing(_) => "not run".to_owned(),
        Verdict::Failed(_) => "**no**".to_owned(),
    }
}

/// Each peer's version must be the one that is pinned.
pub fn check_versions() -> Result<(), String> {
    let muxers = peers::PEERS.iter().map(|peer| (peer.name, peer.pinned));
    let nodes = nodes::PEERS.iter().map(|peer| (peer.name, peer.pinned));
    for (name, (file, line)) in muxers.chain(nodes) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
        let text = fs::read_to_string(&path).map_err(|error| format!("{file}: {error}"))?;
        if !text.contains(line) {
            return Err(format!("{name}: {file} does not say {line:?}"));
        }
        let version = name.rsplit(' ').next().unwrap_or_default();
        if !line.contains(version) {
            return Err(format!("{name}: {line:?} is another version"));
        }
    }
    Ok(())
}
