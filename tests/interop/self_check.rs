//! The harness under test: what it reports when something is wrong or missing.

use crate::cell::{self, Cell, Outcome, Run, Scenario, Setup};
use crate::peers::PEERS;
use crate::support::pattern::{receive, send};
use crate::verdict::{Role, Verdict};
use std::process::{Command, Output};

/// A cell that fails shows what was said to the peer, and the frames that crossed.
pub fn failures_are_explained() -> Result<(), String> {
    static SCENARIO: Scenario = Scenario {
        name: "failure",
        title: "a failure",
        setup: Setup::PLAIN,
        run: Run::Connection(|cell| Box::pin(fail(cell))),
    };
    let verdict = cell::run(&PEERS[0], Role::Dial, &SCENARIO);
    let Verdict::Failed(report) = verdict else { return Err(format!("{verdict:?}")) };
    let parts = [
        "on purpose",
        "> echo 1",
        "the peer wrote to standard error:\n  nothing",
        "events at this end",
        "ours    Data { id: StreamId(1), flags: Flags(0), len: 5 }",
        "theirs  Data { id: StreamId(1), flags: Flags(2), len: 5 }",
    ];
    match parts.iter().find(|part| !report.contains(**part)) {
        Some(part) => Err(format!("{part:?} is not in the report:\n{report}")),
        None => Ok(()),
    }
}

async fn fail(cell: Cell) -> Outcome {
    let mut here = cell.ours.open().await.expect("opens");
    let echo = async { cell.theirs.accept().await.echo().await };
    let talk = async {
        send(&mut here, 0, 0, 5).await.expect("open");
        receive(&mut here, 0, 0, 5).await;
        panic!("on purpose");
    };
    futures::join!(echo, talk).1
}

/// Without a toolchain its cells are ignored with the reason, and fail where they are required.
pub fn missing_toolchains_are_reported() -> Result<(), String> {
    const CELL: &str = "hashicorp/yamux-0.1.2::we_dial::echo_a_byte";
    let run = |required: &str| -> Result<(Output, String), String> {
        let program = std::env::current_exe().map_err(|error| error.to_string())?;
        let mut cell = Command::new(program);
        cell.args(["--exact", CELL, "--color=never"]).env("PATH", "").env("INTEROP", required);
        let output = cell.output().map_err(|error| error.to_string())?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        Ok((output, said))
    };
    let (output, said) = run("")?;
    if !output.status.success() || !said.contains("ignored (`go` cannot be run") {
        return Err(format!("not ignored with a reason:\n{said}"));
    }
    let (output, said) = run("required")?;
    if output.status.success() || !said.contains("`go` cannot be run") {
        return Err(format!("not failed with a reason:\n{said}"));
    }
    Ok(())
}
