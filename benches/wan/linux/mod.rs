//! Which rows are run with whom, and in which order. All of it needs Linux.

mod beside;
mod contestant;
mod fresh;
mod go;
mod namespace;
mod path;
mod plot;
mod priority;
mod relay;
mod report;
mod row;
mod serve;
mod swarm;
mod tcp;
mod verify;

use self::beside::{Counts, Times, beside};
use self::contestant::Contestant;
use self::go::Program;
use self::path::{Buffers, Congestion, Path};
use self::relay::Tally;
use self::report::{Figures, Report};
use self::row::{Bulk, Row, Work};
use self::serve::{Received, serve};
use self::swarm::{Plan, Upgrade, swarms};
use self::tcp::tokio_socket;
use self::verify::Measured;
use crate::Options;
use crate::muxer::{Driver, End, Mode, Muxer, Needs, RustYamux, Sluicegate, TokioYamux, Unpaced};
use anyhow::{Context, Result, anyhow, bail};
use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// How often a path is measured before it counts as none.
const TRIES: u32 = 3;

/// How much smaller a transfer is in short form.
const SHORT_BYTES: usize = 4;

pub fn run(options: &Options) -> ExitCode {
    if options.list {
        Row::ALL.iter().for_each(|row| println!("{}", row.name));
        return ExitCode::SUCCESS;
    }
    if let Err(error) = Path::new(Row::ALL[0].link, Congestion::Cubic, Buffers::Default, 0) {
        eprintln!("wan does not run here: it needs root, network namespaces, /dev/net/tun and iproute2 ({error})");
        return ExitCode::from(u8::from(options.required));
    }
    priority::nice();
    if options.real_time {
        priority::real_time(1);
    }
    match run_rows(options) {
        Ok(report) => {
            println!("{report}");
            ExitCode::from(u8::from(report.has_failed() || options.required && report.has_gaps()))
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run_rows(options: &Options) -> Result<Report> {
    let rows = rows(options)?;
    let contestants = contestants(options)?;
    let program = options.go.then(Program::build).transpose().context("go-yamux")?;
    let mut report = Report::default();
    for row in rows {
        eprintln!("{}: the path", row.name);
        if !row.congestion.is_available() {
            report.no_path(row, format!("the kernel has no {}", row.congestion.name()));
            continue;
        }
        match measured(&row) {
            Ok(measured) => report.path(row, measured),
            Err(why) => {
                report.no_path(row, format!("{why:#}"));
                continue;
            }
        }
        let who: Vec<_> = contestants.iter().filter(|one| row.takes_part(**one, options.short)).collect();
        let at_once = if row.is_slow() { options.at_once as usize } else { 1 };
        for round in 1..=if options.short { 1 } else { options.runs } {
            for group in who.chunks(at_once) {
                let runs = group.iter().map(|contestant| {
                    eprintln!("{}: run {round}, {}", row.name, contestant.name());
                    let run = Run { row, contestant: **contestant, seed: u64::from(round), short: options.short };
                    (**contestant, run)
                });
                for (contestant, outcome) in together(runs.collect(), program.as_ref()) {
                    if let Err(error) = &outcome {
                        eprintln!("{}: run {round}, {}: {error:#}", row.name, contestant.name());
                    }
                    report.add(row, contestant, outcome);
                }
            }
        }
    }
    if let Some(path) = &options.plot {
        let svg = plot::draw(&report).map_err(|error| anyhow!("no plot: {error}"))?;
        std::fs::write(path, svg).context("the plot cannot be written")?;
    }
    Ok(report)
}

fn rows(options: &Options) -> Result<Vec<Row>> {
    let short = Row::SHORT.map(String::from);
    let asked = if options.rows.is_empty() && options.short { &short[..] } else { &options.rows };
    for name in asked {
        if !Row::ALL.iter().any(|row| row.name.starts_with(name.as_str())) {
            bail!("no row is called {name}; --list says how they are called");
        }
    }
    let is_asked = |row: &Row| asked.is_empty() || asked.iter().any(|name| row.name.starts_with(name.as_str()));
    Ok(Row::ALL.into_iter().filter(is_asked).collect())
}

fn contestants(options: &Options) -> Result<Vec<Contestant>> {
    // An exact name is its own and no other's beginning.
    let by = |asked: &str, name: &str| {
        let exact = Contestant::ALL.iter().any(|contestant| contestant.name() == asked);
        if exact { name == asked } else { name.starts_with(asked) }
    };
    for asked in &options.only {
        if !Contestant::ALL.iter().any(|contestant| by(asked, contestant.name())) {
            bail!("nobody is called {asked}");
        }
    }
    let takes_part = |contestant: &Contestant| {
        let asked = options.only.is_empty() || options.only.iter().any(|asked| by(asked, contestant.name()));
        asked && (options.go || *contestant != Contestant::ToGoYamux)
    };
    Ok(Contestant::ALL.into_iter().filter(takes_part).collect())
}

fn path(row: &Row, seed: u64) -> io::Result<Path> {
    Path::new(row.link, row.congestion, row.buffers(), seed)
}

/// What the path of a row is, if it is what it is to be.
fn measured(row: &Row) -> Result<Measured> {
    // What is lost would be missing from the rate.
    let link = path::Link { loss: 0.0, ..row.link };
    let mut tries = 1;
    loop {
        let path = Path::new(link, row.congestion, row.buffers(), 0)?;
        match verify::measure(&path, &link, row.congestion)? {
            measured if measured.is(&link) => return Ok(measured),
            // The machine may have been busy for a moment.
            _ if tries < TRIES => tries += 1,
            measured => bail!("it has {measured}"),
        }
    }
}

/// One contestant, once.
#[derive(Clone, Copy)]
struct Run {
    row: Row,
    contestant: Contestant,
    seed: u64,
    short: bool,
}

type Outcomes = Vec<(Contestant, Result<(Figures, Tally)>)>;

/// Each on a thread and a path of its own. What panics has failed.
fn together(runs: Vec<(Contestant, Run)>, program: Option<&Program>) -> Outcomes {
    thread::scope(|scope| {
        let started: Vec<_> =
            runs.into_iter().map(|(contestant, run)| (contestant, scope.spawn(move || run.run(program)))).collect();
        let ended = started.into_iter().map(|(contestant, thread)| {
            let outcome = thread.join().unwrap_or_else(|_| Err(anyhow!("it panicked")));
            (contestant, outcome)
        });
        ended.collect()
    })
}

impl Run {
    fn run(self, program: Option<&Program>) -> Result<(Figures, Tally)> {
        let path = Arc::new(path(&self.row, self.seed)?);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let figures = match self.row.work {
            Work::Swarm { streams, bulk } => {
                let plan = Plan { streams, bulk, interval: Duration::from_millis(20), times: self.times() };
                Figures::beside(&swarms(&path, self.upgrade()?, plan)?)
            }
            Work::SwarmStays { streams } => {
                let beside = Duration::from_secs(if self.short { 5 } else { 60 });
                let times = Times { settle: Duration::ZERO, beside, ..self.times() };
                let plan = Plan { streams, bulk: Bulk::Up, interval: Duration::from_secs(1), times };
                Figures::beside(&swarms(&path, self.upgrade()?, plan)?)
            }
            Work::Beside { .. } | Work::Fresh { .. } => runtime.block_on(self.over(&path, program))?,
        };
        runtime.shutdown_timeout(Duration::from_secs(1));
        let path = Arc::try_unwrap(path).ok().context("somebody still uses the path")?;
        Ok((figures, path.end()))
    }

    async fn over(self, path: &Arc<Path>, program: Option<&Program>) -> Result<Figures> {
        match self.contestant {
            Contestant::Sluicegate => self.pair::<Sluicegate, Sluicegate>(path).await,
            Contestant::Unpaced => self.pair::<Unpaced, Unpaced>(path).await,
            Contestant::ToRustYamux => self.pair::<Sluicegate, RustYamux>(path).await,
            Contestant::RustYamux => self.pair::<RustYamux, RustYamux>(path).await,
            Contestant::TokioYamux => self.pair::<TokioYamux, TokioYamux>(path).await,
            Contestant::Tcp => {
                let (near, far) = tcp::pair(path.clone());
                self.ends(near, far).await
            }
            Contestant::ToGoYamux => {
                let (running, socket) = program.context("go-yamux was not built")?.start(path)?;
                self.beside(Sluicegate::end(tokio_socket(socket), Mode::Client, Needs::streams(1)), running).await
            }
        }
    }

    async fn pair<N: Muxer, F: Muxer>(self, path: &Path) -> Result<Figures> {
        let (near, far) = path.connect()?;
        let needs = Needs::streams(1);
        let near = N::end(tokio_socket(near), Mode::Client, needs);
        self.ends(near, F::end(tokio_socket(far), Mode::Server, needs)).await
    }

    async fn ends(self, near: impl End, far: impl End) -> Result<Figures> {
        if let Work::Fresh { bytes } = self.row.work {
            let bytes = if self.short { bytes / SHORT_BYTES } else { bytes };
            return Ok(Figures::Fresh(fresh::fresh(near, far, bytes, self.row.link.round_trip).await?));
        }
        let received = Received::default();
        let serving = received.clone();
        let _far = Driver::spawn(async move {
            if let Err(error) = serve(far, serving).await {
                eprintln!("the far end: {error:#}");
            }
        });
        self.beside(near, received).await
    }

    async fn beside(self, near: impl End, far: impl Counts) -> Result<Figures> {
        let Work::Beside { streams, bulk } = self.row.work else { bail!("not with this one") };
        Ok(Figures::beside(&beside(near, far, streams, bulk, self.times()).await?))
    }

    fn times(&self) -> Times {
        if self.short { Times::SHORT } else { Times::WHOLE }
    }

    fn upgrade(&self) -> Result<Upgrade> {
        match self.contestant {
            Contestant::Sluicegate => Ok(Upgrade::Sluicegate),
            Contestant::Unpaced => Ok(Upgrade::Unpaced),
            Contestant::RustYamux => Ok(Upgrade::Libp2pYamux),
            _ => Err(anyhow!("not in a Swarm")),
        }
    }
}
