//! A peer in a process of its own, steered by lines.

use crate::line::Answer;
use crate::said::Said;
use crate::toolchain::Program;
use futures::channel::oneshot;
use std::collections::HashMap;
use std::fmt::Display;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWriteExt, BufReader};
use tokio::process::{ChildStdin, Command};

/// A child process. It is killed when this is dropped.
pub struct Child {
    process: Mutex<tokio::process::Child>,
    stdin: tokio::sync::Mutex<ChildStdin>,
    state: Arc<Mutex<State>>,
    said: Said,
}

#[derive(Default)]
struct State {
    requests: u64,
    waiting: HashMap<u64, oneshot::Sender<Answer>>,
    /// The process answers no more.
    over: bool,
}

impl Child {
    pub fn start(Program(program, first): &Program, implementation: &str, said: Said) -> Self {
        let mut process = Command::new(program)
            .args(first)
            .arg(implementation)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the program that was built starts");
        let stdin = tokio::sync::Mutex::new(process.stdin.take().expect("piped"));
        let state = Arc::new(Mutex::new(State::default()));
        tokio::spawn(answers(process.stdout.take().expect("piped"), state.clone(), said.clone()));
        tokio::spawn(log(process.stderr.take().expect("piped"), said.clone()));
        Self { process: Mutex::new(process), stdin, state, said }
    }

    /// Sends a request and waits for its answer.
    pub async fn request(&self, request: impl Display) -> Answer {
        let (tag, answered) = {
            let mut state = self.state.lock().unwrap();
            if state.over {
                return gone();
            }
            state.requests += 1;
            let (answer, answered) = oneshot::channel();
            let tag = state.requests;
            state.waiting.insert(tag, answer);
            (tag, answered)
        };
        let line = format!("{tag} {request}\n");
        self.said.line(format!("> {}", line.trim_end()));
        // Where the process is gone, the end of its output says so.
        let _ = self.stdin.lock().await.write_all(line.as_bytes()).await;
        answered.await.unwrap_or_else(|_| gone())
    }

    /// Ends the process at once.
    pub fn kill(&self) {
        self.process.lock().unwrap().start_kill().expect("the process lives");
    }
}

fn gone() -> Answer {
    Answer::Failed("the process is gone".into())
}

/// Hands each answer to whoever waits for it.
async fn answers(stdout: impl AsyncRead + Unpin, state: Arc<Mutex<State>>, said: Said) {
    let mut lines = BufReader::new(stdout).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        said.line(format!("< {line}"));
        let answer = line.split_once(' ').and_then(|(tag, rest)| Some((tag.parse().ok()?, Answer::parse(rest)?)));
        let Some((tag, answer)) = answer else {
            said.line("this was no answer".into());
            break;
        };
        let waiting = state.lock().unwrap().waiting.remove(&tag);
        // Whoever has asked may wait no longer.
        let _ = waiting.map(|waiting| waiting.send(answer));
    }
    let mut state = state.lock().unwrap();
    state.over = true;
    state.waiting.clear();
}

async fn log(stderr: impl AsyncRead + Unpin, said: Said) {
    let mut lines = BufReader::new(stderr).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        said.theirs(line);
    }
}
