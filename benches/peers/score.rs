//! What was measured, round by round, and the tables of it.

use crate::contestant::Contestant;
use crate::figure::{Better, Figure};
use std::collections::BTreeMap;
use std::fmt::Write;

/// Figures of all rounds.
#[derive(Debug, Default)]
pub struct Scores(BTreeMap<Figure, BTreeMap<Contestant, Vec<f64>>>);

impl Scores {
    pub fn add(&mut self, figure: Figure, contestant: Contestant, value: f64) {
        self.0.entry(figure).or_default().entry(contestant).or_default().push(value);
    }

    fn rounds(&self, figure: Figure, contestant: Contestant) -> &[f64] {
        self.0.get(&figure).and_then(|row| row.get(&contestant)).map_or(&[], Vec::as_slice)
    }

    pub fn median(&self, figure: Figure, contestant: Contestant) -> Option<f64> {
        median(self.rounds(figure, contestant).to_vec())
    }

    /// This crate's figure over another one's, in each round.
    pub fn ratios(&self, figure: Figure, contestant: Contestant) -> Vec<f64> {
        let ours = self.rounds(figure, Contestant::Sluicegate);
        ours.iter().zip(self.rounds(figure, contestant)).map(|(ours, theirs)| ours / theirs).collect()
    }

    /// The median of these.
    pub fn ratio(&self, figure: Figure, contestant: Contestant) -> Option<f64> {
        median(self.ratios(figure, contestant))
    }

    pub fn figures(&self) -> impl Iterator<Item = Figure> {
        self.0.keys().copied()
    }

    fn contestants(&self) -> Vec<Contestant> {
        let took_part = |contestant: &Contestant| self.0.values().any(|row| row.contains_key(contestant));
        Contestant::ALL.into_iter().filter(took_part).collect()
    }

    /// Medians of each.
    pub fn medians_table(&self) -> String {
        let mut table = String::new();
        let contestants = self.contestants();
        heading(&mut table, "workload | unit", &contestants);
        for figure in self.figures() {
            let (name, unit) = figure.label();
            let _ = write!(table, "| {name} | {unit} |");
            for contestant in &contestants {
                let _ = match self.median(figure, *contestant) {
                    Some(median) => write!(table, " {} |", number(median)),
                    None => write!(table, " – |"),
                };
            }
            table.push('\n');
        }
        table
    }

    /// This crate's figures over the others', with the spread of the rounds.
    pub fn ratios_table(&self) -> String {
        let mut table = String::new();
        let others: Vec<_> =
            self.contestants().into_iter().filter(|contestant| *contestant != Contestant::Sluicegate).collect();
        heading(&mut table, "workload | better", &others);
        for figure in self.figures() {
            if others.iter().all(|other| self.ratios(figure, *other).is_empty()) {
                continue;
            }
            let better = match figure.better() {
                Better::More => "more",
                Better::Less => "less",
            };
            let _ = write!(table, "| {} | {better} |", figure.label().0);
            for other in &others {
                let ratios = self.ratios(figure, *other);
                let (low, high) =
                    (ratios.iter().copied().fold(f64::MAX, f64::min), ratios.iter().copied().fold(0.0, f64::max));
                let _ = match median(ratios) {
                    Some(ratio) => write!(table, " {} ({}..{}) |", number(ratio), number(low), number(high)),
                    None => write!(table, " – |"),
                };
            }
            table.push('\n');
        }
        table
    }

    /// What was to be reached, and what was.
    pub fn targets_table(&self) -> String {
        let mut table =
            String::from("| workload | to reach | is that | sluicegate | |\n| --- | --- | ---: | ---: | --- |\n");
        for figure in self.figures() {
            let Some(ours) = self.median(figure, Contestant::Sluicegate) else { continue };
            let (name, unit) = figure.label();
            for target in figure.targets() {
                let Some((value, words)) = target.value(figure, self) else { continue };
                let reached = match figure.better() {
                    Better::More => ours >= value,
                    Better::Less => ours <= value,
                };
                let verdict = if reached { "reached" } else { "missed" };
                let (value, ours) = (number(value), number(ours));
                let _ = writeln!(table, "| {name} | {words} | {value} {unit} | {ours} | {verdict} |");
            }
        }
        table
    }
}

fn heading(table: &mut String, first: &str, contestants: &[Contestant]) {
    let _ = write!(table, "| {first} |");
    for contestant in contestants {
        let _ = write!(table, " {} |", contestant.name());
    }
    let _ = writeln!(table, "\n| --- | --- |{}", " ---: |".repeat(contestants.len()));
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// Three digits that matter.
fn number(value: f64) -> String {
    match value {
        ..0.995 => format!("{value:.3}"),
        ..9.95 => format!("{value:.2}"),
        ..99.5 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}
