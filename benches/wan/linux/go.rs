//! go-yamux at the far end: a child process in its namespace, which does on each stream what the first byte on it asks for.

use super::beside::Counts;
use super::path::{FAR, Path};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// The program, which the bench `peers` has as well.
pub struct Program(PathBuf);

/// One that runs. It ends with its standard input, so at the latest with this process.
pub struct Running {
    child: Child,
    ask: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Program {
    pub fn build() -> io::Result<Self> {
        let sources = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("benches/peers/go");
        let program = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("wan-go");
        let built = Command::new("go").arg("build").arg("-o").arg(&program).arg(".").current_dir(sources).status()?;
        if !built.success() {
            return Err(io::Error::other("the program of Go does not build"));
        }
        Ok(Self(program))
    }

    /// Starts it at the far end; a connection to it.
    pub fn start(&self, path: &Path) -> Result<(Running, TcpStream)> {
        let mut command = Command::new(&self.0);
        command.arg("go-yamux").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = path.far.inside(|| command.spawn())?;
        let (ask, answers) = (child.stdin.take().context("a pipe")?, child.stdout.take().context("a pipe")?);
        let mut running = Running { child, ask, answers: BufReader::new(answers) };
        let listening = running.ask("wan")?;
        let listening: SocketAddr = listening["listening"].as_str().context("an address")?.parse()?;
        let near = path.near.inside(|| TcpStream::connect((FAR, listening.port())))?;
        near.set_nodelay(true)?;
        Ok((running, near))
    }
}

impl Running {
    fn ask(&mut self, line: &str) -> Result<Value> {
        writeln!(self.ask, "{line}")?;
        let mut answer = String::new();
        self.answers.read_line(&mut answer)?;
        let answer: Value = serde_json::from_str(&answer).context("the program of Go ended")?;
        ensure!(answer.get("error").is_none(), "the program of Go: {answer}");
        Ok(answer)
    }
}

impl Counts for Running {
    async fn received(&mut self) -> Result<u64> {
        self.ask("count")?["bytes"].as_u64().context("a number")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
