//! What was measured, and the tables of it.

use super::beside::Outcome;
use super::contestant::Contestant;
use super::relay::Tally;
use super::row::{Row, Work};
use super::verify::Measured;
use anyhow::Result;
use std::fmt::{self, Formatter, Write};

/// Of one run.
#[derive(Clone, Copy, Debug)]
pub enum Figures {
    Beside(Beside),
    /// In Mbit/s.
    Fresh(f64),
}

/// In milliseconds, and in Mbit/s.
#[derive(Clone, Copy, Debug)]
pub struct Beside {
    pub alone: f64,
    pub p50: f64,
    pub p99: f64,
    pub worst: f64,
    pub bulk: f64,
}

impl Figures {
    pub fn beside(outcome: &Outcome) -> Self {
        Self::Beside(Beside {
            alone: outcome.alone.at(0.5),
            p50: outcome.beside.at(0.5),
            p99: outcome.beside.at(0.99),
            worst: outcome.worst,
            bulk: outcome.bulk,
        })
    }

    fn of_beside(&self) -> Option<Beside> {
        match self {
            Self::Beside(beside) => Some(*beside),
            Self::Fresh(_) => None,
        }
    }

    fn of_fresh(&self) -> Option<f64> {
        match self {
            Self::Beside(_) => None,
            Self::Fresh(rate) => Some(*rate),
        }
    }
}

/// A row that was run, or could not be.
pub struct Entry {
    pub row: Row,
    path: Result<Measured, String>,
    tally: Tally,
    runs: Vec<(Contestant, Result<Figures, String>)>,
}

#[derive(Default)]
pub struct Report(Vec<Entry>);

impl Report {
    pub fn path(&mut self, row: Row, measured: Measured) {
        self.0.push(Entry { row, path: Ok(measured), tally: Tally::default(), runs: Vec::new() });
    }

    pub fn no_path(&mut self, row: Row, why: String) {
        self.0.push(Entry { row, path: Err(why), tally: Tally::default(), runs: Vec::new() });
    }

    /// To the row that was reported last.
    pub fn add(&mut self, row: Row, contestant: Contestant, run: Result<(Figures, Tally)>) {
        let Some(entry) = self.0.iter_mut().find(|entry| entry.row.name == row.name) else { return };
        let figures = match run {
            Ok((figures, tally)) => {
                entry.tally.add(tally);
                Ok(figures)
            }
            Err(error) => Err(format!("{error:#}")),
        };
        entry.runs.push((contestant, figures));
    }

    pub fn entries(&self) -> &[Entry] {
        &self.0
    }

    /// Whether a run did not come to its end.
    pub fn has_failed(&self) -> bool {
        self.0.iter().any(|entry| entry.runs.iter().any(|(_, run)| run.is_err()))
    }

    /// Whether a row was left out.
    pub fn has_gaps(&self) -> bool {
        self.0.iter().any(|entry| entry.path.is_err())
    }
}

impl Entry {
    pub fn contestants(&self) -> Vec<Contestant> {
        Contestant::ALL.into_iter().filter(|contestant| self.runs.iter().any(|(one, _)| one == contestant)).collect()
    }

    /// The runs of one of them, in their order; nothing where one failed.
    fn runs(&self, of: Contestant) -> impl Iterator<Item = Option<&Figures>> {
        self.runs.iter().filter(move |(one, _)| *one == of).map(|(_, run)| run.as_ref().ok())
    }

    /// The median of a figure.
    pub fn beside(&self, of: Contestant, figure: impl Fn(Beside) -> f64) -> Option<f64> {
        median(self.runs(of).flatten().filter_map(Figures::of_beside).map(figure).collect())
    }

    /// The median of the quotients of a figure and another one's in the same run.
    fn beside_to(&self, of: Contestant, to: Contestant, figure: impl Fn(Beside) -> f64) -> Option<f64> {
        let quotient =
            |(of, to): (Option<&Figures>, Option<&Figures>)| Some(figure(of?.of_beside()?) / figure(to?.of_beside()?));
        median(self.runs(of).zip(self.runs(to)).filter_map(quotient).collect())
    }

    fn fresh(&self, of: Contestant) -> Option<f64> {
        median(self.runs(of).flatten().filter_map(Figures::of_fresh).collect())
    }

    fn fresh_to(&self, of: Contestant, to: Contestant) -> Option<f64> {
        let quotient = |(of, to): (Option<&Figures>, Option<&Figures>)| Some(of?.of_fresh()? / to?.of_fresh()?);
        median(self.runs(of).zip(self.runs(to)).filter_map(quotient).collect())
    }

    fn is_fresh(&self) -> bool {
        matches!(self.row.work, Work::Fresh { .. })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        paths(self, f)?;
        if self.0.iter().any(|entry| !entry.is_fresh()) {
            latencies(self, f)?;
            targets(self, f)?;
        }
        if self.0.iter().any(Entry::is_fresh) {
            throughput(self, f)?;
        }
        failures(self, f)
    }
}

fn paths(report: &Report, f: &mut Formatter<'_>) -> fmt::Result {
    writeln!(
        f,
        "Paths as they were asked for and measured (a transfer and small messages over plain TCP); what the relay did in all runs:\n"
    )?;
    writeln!(f, "| row | path | TCP | measured | packets | lost | dropped | over 1 ms late |")?;
    writeln!(f, "| --- | --- | --- | --- | ---: | ---: | ---: | ---: |")?;
    for Entry { row, path, tally, .. } in &report.0 {
        let link = row.link;
        let (rate, round_trip) = (link.bits_per_second / 1_000_000, link.round_trip.as_millis());
        let mut text = format!("{rate} Mbit/s, {round_trip} ms, queue {} KiB", link.queue >> 10);
        if link.loss > 0.0 {
            write!(text, ", {} % lost", link.loss * 100.0)?;
        }
        let measured = match path {
            Ok(measured) => measured.to_string(),
            Err(why) => format!("left out: {why}"),
        };
        let late = percent(tally.late as f64 / tally.passed as f64);
        let Tally { passed, dropped, lost, .. } = tally;
        let (name, congestion) = (row.name, row.congestion.name());
        writeln!(f, "| {name} | {text} | {congestion} | {measured} | {passed} | {lost} | {dropped} | {late} |")?;
    }
    Ok(())
}

fn latencies(report: &Report, f: &mut Formatter<'_>) -> fmt::Result {
    writeln!(
        f,
        "\nUrgent messages, alone and beside bulk (ms; the worst since bulk began), and that bulk (Mbit/s); medians of runs, and of ratios within a run:\n"
    )?;
    writeln!(
        f,
        "| row | who | alone p50 | p50 | p99 | worst | p50 to alone | p99 to alone | p50 to rust-yamux | p50 to pacing off | bulk | bulk to pacing off |"
    )?;
    writeln!(f, "| --- | --- |{}", " ---: |".repeat(10))?;
    for entry in report.0.iter().filter(|entry| !entry.is_fresh()) {
        for one in entry.contestants() {
            let cells = [
                entry.beside(one, |figures| figures.alone),
                entry.beside(one, |figures| figures.p50),
                entry.beside(one, |figures| figures.p99),
                entry.beside(one, |figures| figures.worst),
                entry.beside(one, |figures| figures.p50 / figures.alone),
                entry.beside(one, |figures| figures.p99 / figures.alone),
                entry.beside_to(one, Contestant::RustYamux, |figures| figures.p50),
                entry.beside_to(one, Contestant::Unpaced, |figures| figures.p50),
                entry.beside(one, |figures| figures.bulk),
                entry.beside_to(one, Contestant::Unpaced, |figures| figures.bulk),
            ];
            line(f, &[entry.row.name, one.name()], &cells)?;
        }
    }
    Ok(())
}

/// What this crate has to reach, in the rows that say so.
fn targets(report: &Report, f: &mut Formatter<'_>) -> fmt::Result {
    writeln!(f, "\nWhat is to be reached:\n")?;
    writeln!(f, "| row | who | p50 to alone | is | p99 to alone | is | bulk to pacing off | is | |")?;
    writeln!(f, "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |")?;
    for entry in &report.0 {
        for one in entry.contestants() {
            let Some(target) = entry.row.target(one) else { continue };
            let p50 = entry.beside(one, |figures| figures.p50 / figures.alone);
            let p99 = entry.beside(one, |figures| figures.p99 / figures.alone);
            let bulk = entry.beside_to(one, Contestant::Unpaced, |figures| figures.bulk);
            let (Some(p50_is), Some(p99_is)) = (p50, p99) else { continue };
            // Where pacing off did not run, the rest is what can be said.
            let reached = p50_is <= target.p50 && p99_is <= target.p99 && bulk.is_none_or(|bulk| bulk >= target.bulk);
            let cells = [Some(target.p50), p50, Some(target.p99), p99, Some(target.bulk), bulk];
            let verdict = if reached { "reached" } else { "missed" };
            write!(f, "| {} | {} |", entry.row.name, one.name())?;
            cells.iter().try_for_each(|cell| write!(f, " {} |", number(*cell)))?;
            writeln!(f, " {verdict} |")?;
        }
    }
    Ok(())
}

fn throughput(report: &Report, f: &mut Formatter<'_>) -> fmt::Result {
    use Contestant::{RustYamux, Sluicegate, Tcp, TokioYamux};
    writeln!(
        f,
        "\nThroughput of one fresh stream with default settings (Mbit/s); to be reached: 0.97 of plain TCP, 1.0 of rust-yamux:\n"
    )?;
    writeln!(f, "| row | plain TCP | rust-yamux | tokio-yamux | sluicegate | to plain TCP | to rust-yamux |")?;
    writeln!(f, "| --- |{}", " ---: |".repeat(6))?;
    for entry in report.0.iter().filter(|entry| entry.is_fresh()) {
        let cells = [
            entry.fresh(Tcp),
            entry.fresh(RustYamux),
            entry.fresh(TokioYamux),
            entry.fresh(Sluicegate),
            entry.fresh_to(Sluicegate, Tcp),
            entry.fresh_to(Sluicegate, RustYamux),
        ];
        line(f, &[entry.row.name], &cells)?;
    }
    Ok(())
}

fn failures(report: &Report, f: &mut Formatter<'_>) -> fmt::Result {
    for entry in &report.0 {
        for (one, run) in &entry.runs {
            if let Err(why) = run {
                writeln!(f, "\nfailed: {}, {}: {why}", entry.row.name, one.name())?;
            }
        }
    }
    Ok(())
}

fn line(f: &mut Formatter<'_>, names: &[&str], cells: &[Option<f64>]) -> fmt::Result {
    names.iter().try_for_each(|name| write!(f, "| {name} "))?;
    f.write_str("|")?;
    cells.iter().try_for_each(|cell| write!(f, " {} |", number(*cell)))?;
    f.write_str("\n")
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

fn percent(share: f64) -> String {
    if share.is_nan() { "–".into() } else { format!("{:.2} %", share * 100.0) }
}

/// Three digits that matter.
fn number(value: Option<f64>) -> String {
    match value {
        None => "–".into(),
        Some(value) if value < 9.95 => format!("{value:.2}"),
        Some(value) if value < 99.5 => format!("{value:.1}"),
        Some(value) => format!("{value:.0}"),
    }
}
