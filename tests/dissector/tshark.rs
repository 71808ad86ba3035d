//! `tshark` with the dissector, and what it shows of a capture.

use crate::capture::{Capture, Way};
use crate::frame::{Frame, last_field};
use std::collections::{HashMap, VecDeque};
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

/// A `tshark` that runs scripts, for one test.
pub struct Tshark {
    /// Where its captures lie. The last one stays there.
    file: PathBuf,
}

/// What is shown of a capture.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Shown {
    /// The headers, each way.
    pub frames: [Vec<Frame>; 2],
    /// The bodies without their headers, each way.
    pub bodies: [Vec<u8>; 2],
    /// How often each of [`FAULTS`] is marked.
    pub faults: [usize; FAULTS.len()],
}

/// What the dissector marks, and that it fails.
pub const FAULTS: [&str; 6] = [
    "yamux.unknown_version",
    "yamux.unknown_type",
    "yamux.stream_zero",
    "yamux.ignored",
    "yamux.out_of_step",
    "_ws.lua.error",
];

/// The options by which the server's port is one for yamux.
pub const AS_YAMUX: &[&str] = &["-d", "tcp.port==4001,yamux"];

const FIELDS: [&str; 14] = [
    "ip.src",
    "yamux.version",
    "yamux.type",
    "yamux.flags",
    "yamux.flags.syn",
    "yamux.flags.ack",
    "yamux.flags.fin",
    "yamux.flags.rst",
    "yamux.stream",
    "yamux.length",
    "yamux.credit",
    "yamux.code",
    "yamux.ping",
    "yamux.body",
];

const FLAGS: [(&str, u32); 4] =
    [("yamux.flags.syn", 0x1), ("yamux.flags.ack", 0x2), ("yamux.flags.fin", 0x4), ("yamux.flags.rst", 0x8)];

impl Tshark {
    /// `tshark` for the test of that name.
    ///
    /// # Errors
    ///
    /// What is missing.
    pub fn find(test: &str) -> Result<Self, String> {
        static MISSING: OnceLock<Result<(), String>> = OnceLock::new();
        MISSING.get_or_init(runs_scripts).clone()?;
        Ok(Self { file: folder().join(format!("{test}.pcap")) })
    }

    /// What the dissector shows of a capture.
    pub fn show(&self, capture: &Capture, options: &[&str]) -> Shown {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib/yamux.lua");
        capture.write(&self.file).expect("a file");
        let mut command = command(&self.file, &script);
        command.args(["-Y", "yamux", "-T", "fields"]).args(options);
        for field in FIELDS.iter().chain(&FAULTS) {
            command.args(["-e", field]);
        }
        let output = command.output().expect("it runs");
        assert!(output.status.success(), "{command:?}: {}", said(&output));
        let mut shown = Shown::default();
        for line in String::from_utf8(output.stdout).expect("text").lines() {
            shown.add(Columns::of(line));
        }
        shown
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("dissector")
}

fn command(file: &Path, script: &Path) -> Command {
    let mut command = Command::new("tshark");
    // The settings and scripts of a user stay out.
    command.env("HOME", folder()).env_remove("XDG_CONFIG_HOME").stdin(Stdio::null());
    command.arg("-r").arg(file).arg("-X").arg(format!("lua_script:{}", script.display()));
    command
}

/// Newer ones run no scripts for root, unless they are told to where they are installed.
fn runs_scripts() -> Result<(), String> {
    let version = Command::new("tshark").arg("--version").output();
    version.map_err(|error| format!("`tshark` cannot be run: {error}"))?;
    let (file, script) = (folder().join("empty.pcap"), folder().join("script.lua"));
    let written = fs::create_dir_all(folder())
        .and_then(|()| fs::write(&script, "print('it runs')"))
        .and_then(|()| Capture::new().write(&file));
    written.expect("files");
    let output = command(&file, &script).output().expect("it runs");
    let runs = String::from_utf8_lossy(&output.stdout).contains("it runs");
    if runs { Ok(()) } else { Err(format!("`tshark` runs no scripts: {}", said(&output))) }
}

fn said(output: &Output) -> String {
    format!("{}; {}", output.status, String::from_utf8_lossy(&output.stderr).trim_end())
}

impl Shown {
    /// Adds what there is in a packet.
    fn add(&mut self, mut columns: Columns<'_>) {
        let source = columns.take("ip.src");
        let way = Way::BOTH.into_iter().find(|way| Ipv4Addr::from(way.source()).to_string() == source);
        let way = way.expect("an end of the connection") as usize;
        while columns.has("yamux.type") {
            self.frames[way].push(columns.frame());
        }
        while columns.has("yamux.body") {
            self.bodies[way].extend(bytes(columns.take("yamux.body")));
        }
        for (fault, count) in FAULTS.iter().zip(&mut self.faults) {
            while columns.has(fault) {
                columns.take(fault);
                *count += 1;
            }
        }
        assert!(columns.0.values().all(VecDeque::is_empty), "left over: {columns:?}");
    }
}

/// The values of each field in a packet, in their order.
#[derive(Debug)]
struct Columns<'a>(HashMap<&'static str, VecDeque<&'a str>>);

impl<'a> Columns<'a> {
    fn of(line: &'a str) -> Self {
        let columns = line.split('\t').map(|values| values.split(',').filter(|value| !value.is_empty()).collect());
        Self(FIELDS.into_iter().chain(FAULTS).zip(columns).collect())
    }

    fn frame(&mut self) -> Frame {
        let (version, kind) = (self.number("yamux.version"), self.number("yamux.type"));
        let (flags, stream) = (self.number("yamux.flags"), self.number("yamux.stream"));
        for (field, bit) in FLAGS {
            // Versions write it differently.
            let set = matches!(self.take(field), "1" | "True");
            assert_eq!(set, flags & bit != 0, "{field} of {flags:#x}");
        }
        let last = last_field(kind, flags).map(|field| (field, self.number(field)));
        Frame { version, kind, flags, stream, last }
    }

    fn has(&self, field: &str) -> bool {
        !self.0[field].is_empty()
    }

    fn take(&mut self, field: &str) -> &'a str {
        let value = self.0.get_mut(field).and_then(VecDeque::pop_front);
        value.unwrap_or_else(|| panic!("no {field} in {self:?}"))
    }

    fn number(&mut self, field: &str) -> u32 {
        let value = self.take(field);
        let number = match value.strip_prefix("0x") {
            Some(digits) => u32::from_str_radix(digits, 16),
            None => value.parse(),
        };
        number.unwrap_or_else(|error| panic!("{field} is {value}: {error}"))
    }
}

fn bytes(digits: &str) -> impl Iterator<Item = u8> {
    digits.as_bytes().chunks(2).map(|pair| {
        let pair = std::str::from_utf8(pair).expect("digits");
        u8::from_str_radix(pair, 16).expect("hexadecimal digits")
    })
}
