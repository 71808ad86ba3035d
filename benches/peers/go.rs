//! The muxers of Go, as child processes that run the same workloads over sockets of their own.

use crate::contestant::Contestant;
use crate::far::{Link, relay};
use crate::figure::Figure;
use crate::workload::{BULK, IDLE, PINGS, SMALL, TINY};
use crate::workload::{
    Figures, OPEN_CLOSE, OPEN_MANY, OTHERS_OPEN, Sizes, Workload, far_bytes, megabytes, percent_of_link,
};
use serde_json::Value;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;
use tokio::runtime::Runtime;

/// A program of Go, which does what it is told in lines, and answers in lines.
struct Program {
    child: Child,
    ask: ChildStdin,
    answers: BufReader<ChildStdout>,
}

/// The programs, one for each muxer.
pub struct Children {
    go_yamux: Program,
    hashicorp: Program,
}

impl Children {
    /// Builds and starts them.
    pub fn start() -> io::Result<Self> {
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peers/go");
        let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("peers-go");
        let built = Command::new("go").arg("build").arg("-o").arg(&program).arg(".").current_dir(sources).status()?;
        if !built.success() {
            return Err(io::Error::other("the program of Go does not build"));
        }
        Ok(Self { go_yamux: Program::start(&program, "go-yamux")?, hashicorp: Program::start(&program, "hashicorp")? })
    }

    pub fn run(&mut self, workload: Workload, contestant: Contestant, sizes: Sizes, runtime: &Runtime) -> Figures {
        let program = if contestant == Contestant::GoYamux { &mut self.go_yamux } else { &mut self.hashicorp };
        match workload {
            Workload::Bulk => {
                let bytes = sizes.of(BULK, 1 << 20) >> 16 << 16;
                let answer = program.ask(&format!("transfer {} {bytes}", 64 << 10));
                let cpu = number(&answer, "cpu_seconds") / bytes as f64 * f64::from(1 << 30);
                vec![(Figure::Bulk, megabytes(bytes, seconds(&answer))), (Figure::Cpu, cpu)]
            }
            Workload::Small => vec![(Figure::Small, program.transfer(512, sizes.of(SMALL, 1 << 20)))],
            Workload::Tiny => vec![(Figure::Tiny, program.transfer(64, sizes.of(TINY, 1 << 20)))],
            Workload::Requests(streams) => {
                let count = workload.requests(sizes);
                let answer = program.ask(&format!("rr {streams} {count}"));
                vec![(workload.requests_figure(), count as f64 / seconds(&answer).as_secs_f64())]
            }
            Workload::OpenClose => {
                let count = sizes.of(OPEN_CLOSE, 10);
                let answer = program.ask(&format!("openclose {count}"));
                vec![(Figure::OpenClose, count as f64 / seconds(&answer).as_secs_f64())]
            }
            Workload::OpenMany => {
                let mut figures = Vec::new();
                for (figure, count) in OPEN_MANY.into_iter().filter(|(_, count)| *count <= OTHERS_OPEN) {
                    let count = sizes.of(count, 10);
                    let answer = program.ask(&format!("openmany {count}"));
                    figures.push((figure, seconds(&answer).as_secs_f64() * 1e6 / count as f64));
                }
                figures
            }
            Workload::Idle => {
                let answer = program.ask(&format!("idle {}", sizes.of(IDLE, 100)));
                let bytes = number(&answer, "heap_per_stream") + number(&answer, "stack_per_stream").max(0.0);
                vec![(Figure::Idle, bytes)]
            }
            Workload::Latency => {
                let pings = sizes.of(PINGS, PINGS);
                let mut clocked = |bulk| program.ask(&format!("latency {bulk} {pings}"));
                let (alone, beside) = (clocked(0), clocked(1));
                vec![
                    (Figure::LatencyAlone, number(&alone, "p99_ns") / 1e3),
                    (Figure::LatencyBesideBulk, number(&beside, "p99_ns") / 1e3),
                    (Figure::BulkBesideLatency, number(&beside, "bulk_bytes") / number(&beside, "total_ns") * 1e3),
                ]
            }
            Workload::Far => {
                let bytes = far_bytes(contestant, sizes);
                let listening = program.ask(&format!("far {bytes}"));
                let target = listening["listening"].as_str().expect("an address").parse().expect("an address");
                let relay = runtime.block_on(relay(Link::FAR, target));
                let answer = program.ask(&format!("via {relay}"));
                vec![(Figure::Far, percent_of_link(bytes, seconds(&answer)))]
            }
            Workload::IdleConnection | Workload::SwarmBulk | Workload::SwarmRequests(_) | Workload::Reserve => {
                Vec::new()
            }
        }
    }
}

impl Program {
    fn start(program: &Path, library: &str) -> io::Result<Self> {
        let mut child = Command::new(program).arg(library).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (ask, answers) = (child.stdin.take(), child.stdout.take());
        let (Some(ask), Some(answers)) = (ask, answers) else { return Err(io::Error::other("no pipes")) };
        Ok(Self { child, ask, answers: BufReader::new(answers) })
    }

    fn ask(&mut self, line: &str) -> Value {
        writeln!(self.ask, "{line}").expect("the program runs");
        let mut answer = String::new();
        self.answers.read_line(&mut answer).expect("the program runs");
        let answer: Value = serde_json::from_str(&answer).expect("an object");
        assert!(answer.get("error").is_none(), "{line}: {answer}");
        answer
    }

    fn transfer(&mut self, write: usize, bytes: usize) -> f64 {
        let bytes = bytes / write * write;
        megabytes(bytes, seconds(&self.ask(&format!("transfer {write} {bytes}"))))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn number(answer: &Value, name: &str) -> f64 {
    answer[name].as_f64().expect("a number")
}

fn seconds(answer: &Value) -> Duration {
    Duration::from_secs_f64(number(answer, "seconds"))
}
