//! Reads `src/` and holds what `CONTRIBUTING.md` says about its layout: which module may use which, which file may name which
//! type, how long files and functions may be, and what each file begins with.
//!
//! A new top-level module needs a row in [`LAYERS`], an exception from a rule a row in [`EXCEPTIONS`].

use std::{fmt, fs, ops::Range, path::Path};

use crate::code::{self, File, Source, Token, group_end, nesting, text};

/// A file that may break a rule, and why. A row that nothing needs any more is a fault itself.
struct Exception {
    /// The file, relative to `src`.
    path: &'static str,
    rule: Rule,
    /// What the fault is about, as it is printed in quotes: a module, a name, a function, or "file".
    what: &'static str,
    why: &'static str,
}

const EXCEPTIONS: &[Exception] = &[
    Exception {
        path: "shell/shared.rs",
        rule: Rule::Names,
        what: "std::sync::atomic",
        why: "a static is older than the order in which tasks run; nobody waits for the number of a connection",
    },
    Exception {
        path: "proto/mod.rs",
        rule: Rule::Coordinator,
        what: "Mux",
        why: "it re-exports what the shell uses and has no code",
    },
];

/// The layer of each top-level module of the crate.
const LAYERS: &[(&str, Layer)] = &[
    ("wire", Layer::Wire),
    ("proto", Layer::Proto),
    ("shell", Layer::Shell),
    ("libp2p", Layer::Api),
    ("connection", Layer::Api),
    ("session", Layer::Api),
    ("stream", Layer::Api),
    ("ping", Layer::Api),
    ("tokio_io", Layer::Api),
    ("metrics", Layer::Api),
    ("config", Layer::Shared),
    ("counting", Layer::Shared),
    ("error", Layer::Shared),
    ("priority", Layer::Shared),
    ("memory", Layer::Shared),
    ("mode", Layer::Shared),
    ("stats", Layer::Shared),
    ("logging", Layer::Shared),
    ("sync", Layer::Shared),
    ("tap", Layer::Shared),
    ("clock", Layer::Shared),
    ("multistream", Layer::Shared),
    ("lib", Layer::Crate),
];

/// From the bottom up. Every layer may use the shared modules, which use only each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Layer {
    Shared,
    Wire,
    Proto,
    Shell,
    Api,
    Crate,
}

impl Layer {
    fn may_use(self, other: Self) -> bool {
        other <= self
    }
}

/// Which modules may use a name.
enum Users {
    Only(&'static [&'static str]),
    AllBut(&'static [&'static str]),
}

/// The names that only some modules may use. A name of several parts is a path, which is found in a `use` too.
const NAMES: &[(&[&str], Users)] = &[
    (&["libp2p_core"], Users::Only(&["libp2p"])),
    (&["prometheus_client"], Users::Only(&["metrics"])),
    (&["Mutex"], Users::Only(&["shell", "memory", "sync"])),
    // `schedules/` controls only the locks and atomics that come from the module `sync`.
    (&["std", "sync", "Mutex"], Users::Only(&["sync"])),
    (&["std", "sync", "RwLock"], Users::Only(&["sync"])),
    (&["std", "sync", "Condvar"], Users::Only(&["sync"])),
    (&["std", "sync", "atomic"], Users::Only(&["sync"])),
    (&["RwLock"], Users::AllBut(&["proto", "wire"])),
    (&["Waker"], Users::AllBut(&["proto", "wire"])),
    (&["Context"], Users::AllBut(&["proto", "wire"])),
    (&["AsyncRead"], Users::AllBut(&["proto", "wire"])),
    (&["AsyncBufRead"], Users::AllBut(&["proto", "wire"])),
    (&["AsyncWrite"], Users::AllBut(&["proto", "wire"])),
    // A connection reads the clock that it was given.
    (&["Instant", "now"], Users::Only(&["clock"])),
    (&["Delay"], Users::Only(&["clock", "sync"])),
    (&["SystemTime"], Users::AllBut(&["proto", "wire"])),
    // A subscriber is foreign code: what happens under the lock is noted there and said by the shell.
    (&["tracing"], Users::Only(&["logging", "shell", "memory"])),
    (&["futures_timer"], Users::Only(&["sync"])),
    (&["tokio"], Users::AllBut(&["proto", "wire"])),
    (&["std", "thread"], Users::AllBut(&["proto", "wire"])),
    (&["std", "net"], Users::AllBut(&["proto", "wire"])),
];

const FILE_LINES: usize = 500;
const FUNCTION_LINES: usize = 80;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    /// A module uses only its own layer, those below it, and the shared modules.
    Layers,
    /// A name is used only by the modules that may use it.
    Names,
    /// The crate forbids unsafe code.
    Unsafe,
    /// A file begins with `//!` and says what it is.
    Header,
    FileLength,
    FunctionLength,
    /// Nothing panics without an `// Invariant:`.
    Panics,
    /// A part of `proto` does not know the coordinator.
    Coordinator,
    /// The fields of the coordinator are private to its folder.
    Fields,
    /// No decision of the coordinator reads a figure.
    Figures,
    /// No file or folder of `proto` imports itself by way of others.
    Cycle,
    /// The lists of this file name nothing that is not there.
    Lists,
}

#[derive(Debug, PartialEq, Eq)]
struct Fault {
    path: String,
    line: usize,
    rule: Rule,
    what: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, line, rule, what } = self;
        write!(f, "src/{path}:{line}: {rule:?}: \"{what}\"")
    }
}

#[test]
fn the_layout_holds() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let cargo = fs::read_to_string(root.join("Cargo.toml")).expect("Cargo.toml");
    let sources = code::parse(&code::read(&root.join("src")));
    let mut faults = judge(&sources, &cargo, EXCEPTIONS);
    faults.extend(missing_modules(&sources));
    faults.extend(missing_coordinator(&sources));
    let faults: Vec<_> = faults.iter().map(Fault::to_string).collect();
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

/// Every fault that no exception covers, and every exception that covers none.
fn judge(sources: &[Source], cargo: &str, exceptions: &[Exception]) -> Vec<Fault> {
    let mut faults = Vec::new();
    for source in sources {
        header(source, &mut faults);
        if !source.only_tests {
            layers(source, &mut faults);
            names(source, &mut faults);
            lengths(source, &mut faults);
            panics(source, &mut faults);
            coordinator(source, &mut faults);
            fields(source, &mut faults);
            figures(source, &mut faults);
        }
    }
    cycles(sources, &mut faults);
    forbids_unsafe(sources, cargo, &mut faults);

    let covers = |exception: &Exception, fault: &Fault| {
        (exception.path, exception.rule, exception.what) == (&*fault.path, fault.rule, &*fault.what)
    };
    let stale: Vec<_> = exceptions
        .iter()
        .filter(|exception| exception.why.is_empty() || !faults.iter().any(|fault| covers(exception, fault)))
        .map(|exception| Fault {
            path: exception.path.to_owned(),
            line: 0,
            rule: Rule::Lists,
            what: format!("the exception for {}", exception.what),
        })
        .collect();
    faults.retain(|fault| !exceptions.iter().any(|exception| covers(exception, fault)));
    faults.extend(stale);
    faults
}

/// Modules that [`LAYERS`] names and the crate does not have: without this, a module that is renamed escapes its rules.
fn missing_modules(sources: &[Source]) -> Vec<Fault> {
    let exists = |module: &str| sources.iter().any(|source| module_name_of(&source.path) == module);
    LAYERS
        .iter()
        .filter(|(module, _)| !exists(module))
        .map(|(module, _)| Fault {
            path: String::new(),
            line: 0,
            rule: Rule::Lists,
            what: format!("the module {module}"),
        })
        .collect()
}

/// The top-level module of a file.
fn module_name_of(path: &str) -> &str {
    path.split('/').next().unwrap_or(path).trim_end_matches(".rs")
}

fn layer_of(module: &str) -> Option<Layer> {
    let found = LAYERS.iter().find(|(name, _)| *name == module);
    found.map(|(_, layer)| *layer)
}

fn fault(source: &Source, line: usize, rule: Rule, what: impl Into<String>) -> Fault {
    Fault { path: source.path.clone(), line, rule, what: what.into() }
}

// Layers

fn layers(source: &Source, faults: &mut Vec<Fault>) {
    let Some(own) = layer_of(module_name_of(&source.path)) else {
        faults.push(fault(source, 1, Rule::Layers, "a module without a layer"));
        return;
    };
    for path in paths(&source.tokens) {
        let Some(target) = resolve(&source.path, &path) else {
            continue;
        };
        // Any other name comes from the crate's root: a re-export, or the crate as a whole.
        let module = match target.first().map(String::as_str) {
            None | Some("*") => "crate",
            Some(module) => module,
        };
        let layer = layer_of(module).unwrap_or(Layer::Crate);
        if !own.may_use(layer) {
            faults.push(fault(source, path.line, Rule::Layers, module));
        }
    }
}

/// A path as it is written, after its groups have been spread out.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Written {
    line: usize,
    /// The modules inside the file in which it is written.
    inside: Vec<String>,
    parts: Vec<String>,
}

/// Every path in the code, one of a single name included.
fn paths(tokens: &[Token]) -> Vec<Written> {
    let mut paths = Vec::new();
    let mut depth = 0;
    let mut modules: Vec<(i32, String)> = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if is_name(tokens, at) {
            if text(tokens, at) == "mod" && text(tokens, at + 2) == "{" {
                modules.push((depth + 1, text(tokens, at + 1).to_owned()));
            }
            let path = Written {
                line: tokens[at].line,
                inside: modules.iter().map(|(_, name)| name.clone()).collect(),
                parts: Vec::new(),
            };
            at = path_end(tokens, at, path, &mut paths);
            continue;
        }
        if modules.last().is_some_and(|(inner, _)| *inner == depth) && text(tokens, at) == "}" {
            modules.pop();
        }
        if matches!(text(tokens, at), "{" | "}") {
            depth += nesting(&tokens[at]);
        }
        at += 1;
    }
    paths
}

/// Reads on from the name or group at `at`, whose path so far is `path`. The index behind it.
fn path_end(tokens: &[Token], mut at: usize, mut path: Written, paths: &mut Vec<Written>) -> usize {
    while is_name(tokens, at) {
        path.line = tokens[at].line;
        path.parts.push(tokens[at].text.clone());
        if text(tokens, at + 1) != "::" {
            paths.push(path);
            return at + 1;
        }
        at += 2;
    }
    if text(tokens, at) != "{" {
        if text(tokens, at) == "*" {
            path.parts.push("*".to_owned());
        }
        paths.push(path);
        return at;
    }
    let end = group_end(tokens, at);
    at += 1;
    while at < end {
        at = if is_name(tokens, at) && matches!(text(tokens, at - 1), "{" | "," | "::") {
            path_end(tokens, at, path.clone(), paths)
        } else {
            at + 1
        };
    }
    end
}

fn is_name(tokens: &[Token], at: usize) -> bool {
    let first = text(tokens, at).chars().next();
    first.is_some_and(|char| char.is_alphabetic() || char == '_')
}

/// The path from the crate's root, if it is a path inside the crate.
fn resolve(file: &str, path: &Written) -> Option<Vec<String>> {
    let (first, rest) = path.parts.split_first()?;
    let mut target: Vec<String> = match first.as_str() {
        "crate" if !rest.is_empty() => return Some(rest.to_vec()),
        "super" if !rest.is_empty() => {
            let parts = file.trim_end_matches(".rs").split('/');
            let parts = parts.filter(|part| !matches!(*part, "mod" | "lib"));
            parts.map(str::to_owned).chain(path.inside.clone()).collect()
        }
        // A crate from outside, something that a `use` brought in, or `pub(super)`.
        _ => return None,
    };
    let ups = path.parts.iter().take_while(|part| *part == "super").count();
    target.truncate(target.len().saturating_sub(ups));
    target.extend_from_slice(&path.parts[ups..]);
    Some(target)
}

// Names

fn names(source: &Source, faults: &mut Vec<Fault>) {
    let module = module_name_of(&source.path);
    let paths = paths(&source.tokens);
    for (word, users) in NAMES {
        let allowed = match users {
            Users::Only(users) => users.contains(&module),
            Users::AllBut(users) => !users.contains(&module),
        };
        let says = |path: &&Written| path.parts.windows(word.len()).any(|part| part == *word);
        for path in paths.iter().filter(|_| !allowed).filter(says) {
            faults.push(fault(source, path.line, Rule::Names, word.join("::")));
        }
    }
    // `Instant::elapsed` looks at the clock too.
    if matches!(module, "proto" | "wire") {
        for calls in source.tokens.windows(3).filter(|calls| is(calls, &[".", "elapsed", "("])) {
            faults.push(fault(source, calls[1].line, Rule::Names, ".elapsed("));
        }
    }
}

fn is(tokens: &[Token], words: &[&str]) -> bool {
    tokens.len() == words.len() && tokens.iter().zip(words).all(|(token, word)| token.text == *word)
}

// Headers and sizes

fn header(source: &Source, faults: &mut Vec<Fault>) {
    let first = source.lines.first().map_or("", String::as_str);
    if first.trim_start_matches("//!").trim().is_empty() || !first.starts_with("//!") {
        faults.push(fault(source, 1, Rule::Header, "file"));
    }
}

fn lengths(source: &Source, faults: &mut Vec<Fault>) {
    if source.lines.len() - source.test_lines > FILE_LINES {
        faults.push(fault(source, source.lines.len(), Rule::FileLength, "file"));
    }
    for (name, lines) in functions(&source.tokens) {
        if lines.len() > FUNCTION_LINES {
            faults.push(fault(source, lines.start, Rule::FunctionLength, name));
        }
    }
}

/// The name and the lines of every function with a body, from its `fn` to its closing brace.
fn functions(tokens: &[Token]) -> Vec<(&str, Range<usize>)> {
    let mut functions = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        if token.text != "fn" || !is_name(tokens, at + 1) {
            continue;
        }
        let mut open = at + 2;
        while open < tokens.len() && !matches!(text(tokens, open), "{" | ";") {
            open = match text(tokens, open) {
                "(" | "[" => group_end(tokens, open),
                _ => open + 1,
            };
        }
        if text(tokens, open) == "{" {
            let close = &tokens[group_end(tokens, open) - 1];
            functions.push((text(tokens, at + 1), token.line..close.line + 1));
        }
    }
    functions
}

// Panics

fn panics(source: &Source, faults: &mut Vec<Fault>) {
    let tokens = &source.tokens;
    for at in 0..tokens.len() {
        let from = |length: usize| &tokens[at..tokens.len().min(at + length)];
        let what = if is(from(4), &[".", "unwrap", "(", ")"]) {
            ".unwrap()"
        } else if is(from(3), &[".", "expect", "("]) {
            ".expect("
        } else if text(tokens, at + 1) == "!" && matches!(text(tokens, at + 2), "(" | "[" | "{") {
            match text(tokens, at) {
                "panic" => "panic!(",
                "todo" => "todo!(",
                "unimplemented" => "unimplemented!(",
                "unreachable" => "unreachable!(",
                _ => continue,
            }
        } else {
            continue;
        };
        // Formatting may move the call to a line below the one on which its statement, or its arm of a `match`, begins.
        let begins = |start: &usize| {
            let before = [*start - 1, start.saturating_sub(2)].map(|before| text(tokens, before));
            matches!(before, [";" | "{" | "}", _] | [">", "="])
        };
        let statement = tokens[(1..=at).rev().find(begins).unwrap_or(0)].line;
        let line = tokens[at].line;
        if !has_invariant(source, line) && !has_invariant(source, statement) {
            faults.push(fault(source, line, Rule::Panics, what));
        }
    }
}

/// Whether the line, or the comment right above it, says `// Invariant:`.
fn has_invariant(source: &Source, line: usize) -> bool {
    let says = |line: usize| {
        let mut comments = source.comments.iter().filter(|comment| comment.line == line);
        comments.any(|comment| comment.text.starts_with("// Invariant:"))
    };
    let is_comment = |line: &usize| source.lines[*line - 1].trim_start().starts_with("//");
    let mut above = (1..line).rev().take_while(is_comment);
    says(line) || above.any(says)
}

// The coordinator of `proto`, and its parts

/// The coordinator, and the file that has its fields.
const COORDINATOR: &str = "Mux";
const COORDINATOR_FILE: &str = "proto/mux/mod.rs";

/// Only the verbs of the coordinator know it: a part takes what it needs as arguments. The simulation and the tests may.
fn coordinator(source: &Source, faults: &mut Vec<Fault>) {
    if module_name_of(&source.path) == "proto" && !source.path.starts_with("proto/mux/") {
        for token in source.tokens.iter().filter(|token| token.text == COORDINATOR) {
            faults.push(fault(source, token.line, Rule::Coordinator, COORDINATOR));
        }
    }
}

/// Where the fields of the coordinator begin and end.
fn coordinator_fields(source: &Source) -> Option<Range<usize>> {
    let found = source.tokens.windows(3).position(|tokens| is(tokens, &["struct", COORDINATOR, "{"]))?;
    let open = found + 2;
    (source.path == COORDINATOR_FILE).then(|| open..group_end(&source.tokens, open))
}

/// A field with any visibility of its own can be seen from outside the folder, or could be one day.
fn fields(source: &Source, faults: &mut Vec<Fault>) {
    for at in coordinator_fields(source).unwrap_or_default() {
        if text(&source.tokens, at) == "pub" {
            let name = if text(&source.tokens, at + 1) == "(" { group_end(&source.tokens, at + 1) } else { at + 1 };
            faults.push(fault(source, source.tokens[at].line, Rule::Fields, text(&source.tokens, name)));
        }
    }
}

/// The only verbs of the coordinator that read its counters.
const FIGURES_FILE: &str = "proto/mux/stats.rs";

/// Elsewhere a counter is only written: borrowed to be raised, added to, or told when a wait begins or ends.
fn figures(source: &Source, faults: &mut Vec<Fault>) {
    if !source.path.starts_with("proto/mux/") || source.path == FIGURES_FILE {
        return;
    }
    let tokens = &source.tokens;
    for at in (3..tokens.len()).filter(|at| is(&tokens[at - 1..=*at], &[".", "counters"])) {
        let is_borrowed = is(&tokens[at.saturating_sub(4)..at - 2], &["&", "mut"]);
        let is_added_to = text(tokens, at + 3) == "." && text(tokens, at + 4) == "add";
        let method = text(tokens, at + 2);
        let times_a_wait = method.starts_with("begin_") || method.starts_with("end_");
        if !is_borrowed && !is_added_to && !times_a_wait {
            faults.push(fault(source, tokens[at].line, Rule::Figures, method));
        }
    }
}

/// Without this, a coordinator that is renamed or moved escapes its rules.
fn missing_coordinator(sources: &[Source]) -> Option<Fault> {
    let missing = !sources.iter().any(|source| coordinator_fields(source).is_some());
    missing.then(|| Fault {
        path: COORDINATOR_FILE.to_owned(),
        line: 0,
        rule: Rule::Lists,
        what: format!("the fields of {COORDINATOR}"),
    })
}

/// An import of one file of `proto` by another.
struct Import {
    from: usize,
    to: usize,
    line: usize,
}

/// Files that import each other, and folders that do. A re-export is no import: it is followed to the file that defines what
/// it names.
fn cycles(sources: &[Source], faults: &mut Vec<Fault>) {
    let imports = imports(sources);
    let file = |at: usize| sources[at].path.as_str();
    let folder = |at: usize| sources[at].path.split('/').nth(1).unwrap_or_default();
    let edges: Vec<_> = imports.iter().map(|import| (file(import.from), file(import.to))).collect();
    let folders: Vec<_> = imports.iter().map(|import| (folder(import.from), folder(import.to))).collect();
    for edges in [&edges, &folders] {
        for (import, (from, to)) in imports.iter().zip(edges) {
            if from != to && reaches(edges, to, from) {
                faults.push(fault(&sources[import.from], import.line, Rule::Cycle, *to));
            }
        }
    }
}

fn reaches(edges: &[(&str, &str)], from: &str, to: &str) -> bool {
    let (mut seen, mut next) = (vec![from], vec![from]);
    while let Some(node) = next.pop() {
        if node == to {
            return true;
        }
        for (_, other) in edges.iter().filter(|(start, _)| *start == node) {
            if !seen.contains(other) {
                seen.push(other);
                next.push(other);
            }
        }
    }
    false
}

/// Every import inside `proto` that crosses a file, but for tests and the simulation.
fn imports(sources: &[Source]) -> Vec<Import> {
    let modules: Vec<_> = sources.iter().map(module_of).collect();
    let uses: Vec<_> = sources.iter().map(|source| used(source, &modules)).collect();
    let mut imports = Vec::new();
    for (from, source) in sources.iter().enumerate().filter(|(_, source)| modules_of_proto(source)) {
        let reexported: Vec<_> =
            uses[from].iter().filter(|(_, _, exported)| *exported).map(|(_, path, _)| path).collect();
        for path in paths(&source.tokens) {
            let Some(target) = absolute(source, &path, &modules) else { continue };
            if reexported.contains(&&target) {
                continue;
            }
            if let Some(to) = definer(&target, &modules, &uses, 0).filter(|to| *to != from)
                && modules_of_proto(&sources[to])
            {
                imports.push(Import { from, to, line: path.line });
            }
        }
    }
    imports
}

fn modules_of_proto(source: &Source) -> bool {
    source.path.starts_with("proto/") && !source.only_tests
}

/// The path of a file's module from the root of the crate.
fn module_of(source: &Source) -> Vec<String> {
    let parts = source.path.trim_end_matches(".rs").split('/');
    parts.filter(|part| !matches!(*part, "mod" | "lib")).map(str::to_owned).collect()
}

/// [`resolve`], and paths that begin with a child module or with `self`.
fn absolute(source: &Source, path: &Written, modules: &[Vec<String>]) -> Option<Vec<String>> {
    let mut child = module_of(source);
    child.extend(path.parts.iter().skip(usize::from(path.parts[0] == "self")).cloned());
    let begins = module_of(source).len() + 1;
    let is_child = child.len() > begins && modules.iter().any(|module| *module == child[..begins]);
    resolve(&source.path, path).or_else(|| is_child.then_some(child))
}

/// What a file's `use` items name: the last part, the path, and whether it is exported.
fn used(source: &Source, modules: &[Vec<String>]) -> Vec<(String, Vec<String>, bool)> {
    let tokens = &source.tokens;
    let mut used = Vec::new();
    for at in (0..tokens.len()).filter(|at| text(tokens, *at) == "use") {
        let end = (at..tokens.len()).find(|end| text(tokens, *end) == ";").unwrap_or(tokens.len());
        let exported = at > 0 && matches!(text(tokens, at - 1), "pub" | ")");
        let paths = paths(&tokens[at + 1..end]);
        let targets = paths.iter().filter_map(|path| absolute(source, path, modules));
        used.extend(targets.filter_map(|target| Some((target.last()?.clone(), target, exported))));
    }
    used
}

/// The file that defines what a path names.
fn definer(
    target: &[String],
    modules: &[Vec<String>],
    uses: &[Vec<(String, Vec<String>, bool)>],
    hops: usize,
) -> Option<usize> {
    let depth = |at: &usize| modules[*at].len();
    let file = (0..modules.len()).filter(|at| target.starts_with(&modules[*at])).max_by_key(depth)?;
    let name = target.get(modules[file].len());
    let via = uses[file].iter().find(|(used, path, _)| Some(used) == name && path != target);
    match via {
        Some((_, path, _)) if hops < 8 => definer(path, modules, uses, hops + 1),
        _ => Some(file),
    }
}

// Unsafe

/// Either `lib.rs` forbids it, or the manifest does.
fn forbids_unsafe(sources: &[Source], cargo: &str, faults: &mut Vec<Fault>) {
    let attribute = ["#", "!", "[", "forbid", "(", "unsafe_code", ")", "]"];
    let by_attribute = sources.iter().any(|source| {
        let mut windows = source.tokens.windows(attribute.len());
        source.path == "lib.rs" && windows.any(|tokens| is(tokens, &attribute))
    });
    let lints = cargo.lines().skip_while(|line| line.trim() != "[lints.rust]").skip(1);
    let by_manifest = lints
        .take_while(|line| !line.starts_with('['))
        .any(|line| line.replace(' ', "").starts_with("unsafe_code=\"forbid\""));
    if !by_attribute && !by_manifest {
        faults.push(Fault {
            path: "lib.rs".to_owned(),
            line: 1,
            rule: Rule::Unsafe,
            what: "unsafe_code is not forbidden".to_owned(),
        });
    }
}

// The tests of the tests: each rule on a sample that breaks it, and on one that comes close and does not.

const CARGO: &str = "[lints.rust]\nmissing_docs = \"warn\"\nunsafe_code = \"forbid\"\n";

/// What is wrong with one file, which is given its header line: line, rule, what.
fn faults_of(path: &str, text: &str) -> Vec<(usize, Rule, String)> {
    let sources = code::parse(&[File::new(path, &format!("//! A module.\n{text}"))]);
    let faults = judge(&sources, CARGO, &[]).into_iter();
    faults.map(|fault| (fault.line, fault.rule, fault.what)).collect()
}

#[track_caller]
fn breaks(rule: Rule, path: &str, text: &str, what: &str) {
    assert_eq!(faults_of(path, text), [(2, rule, what.to_owned())], "{path}: {text}");
}

#[track_caller]
fn holds(path: &str, text: &str) {
    assert_eq!(faults_of(path, text), [], "{path}: {text}");
}

#[test]
fn uses_of_a_higher_layer_are_found() {
    let above = |path, text, what| breaks(Rule::Layers, path, text, what);
    above("wire/mod.rs", "use crate::proto::Mux;", "proto");
    above("wire/header.rs", "use crate::{error::Violation, shell::Shared};", "shell");
    above("wire/header.rs", "use super::super::proto::mux::Mux;", "proto");
    above("wire.rs", "use super::proto;", "proto");
    above("proto/mux.rs", "fn f() { crate::shell::driver::poll() }", "shell");
    above("proto/stream/mod.rs", "use super::super::stream::Stream;", "stream");
    above("proto/stream/send.rs", "use super::super::super::{shell, wire};", "shell");
    above("proto/flow.rs", "mod inner { use super::super::super::shell::X; }", "shell");
    above("shell/driver.rs", "use crate::{connection};", "connection");
    above("shell/driver.rs", "type A = Option<crate::stream::Stream>;", "stream");
    above("error.rs", "use crate::wire::StreamId;", "wire");
    above("memory/limit.rs", "use crate::{memory::Refused, proto::Key};", "proto");
    // Through the crate's root.
    above("proto/mux.rs", "use crate::Config;", "Config");
    above("stream.rs", "use crate::*;", "crate");
    above("stream.rs", "use super::*;", "crate");

    let unknown = [(1, Rule::Layers, "a module without a layer".to_owned())];
    assert_eq!(faults_of("unknown.rs", "fn f() {}"), unknown);
    assert_eq!(faults_of("unknown/inner.rs", "fn f() {}"), unknown);
}

#[test]
fn uses_of_a_lower_layer_are_free() {
    holds("wire/header.rs", "use super::id::StreamId; use crate::error::{self, Violation};");
    holds("proto/mux.rs", "use crate::{config::Config, memory, wire::{Frame, Header as H}};");
    holds("proto/stream/mod.rs", "use super::flow::Window; pub(super) use self::send::Send;");
    holds("proto/flow.rs", "mod inner { use super::super::schedule::X; use super::*; }");
    holds("shell/driver.rs", "use super::shared; pub(in crate::shell) fn f(g: crate::wire::Frame) {}");
    holds("connection.rs", "use crate::{stream::Stream, shell, proto::Mux, wire, priority::Priority};");
    holds("memory/limit.rs", "use super::MemoryManager; use crate::priority::Priority;");
    holds("lib.rs", "pub use connection::Connection; pub use crate::wire::Codec; mod wire;");
    holds("wire/header.rs", "/// See crate::shell.\nconst A: &str = \"crate::shell\";");
    holds("wire/header.rs", "#[cfg(test)]\nmod tests { use crate::{Config, shell::X}; }");
}

#[test]
fn names_outside_their_modules_are_found() {
    let names = |path, text, what| breaks(Rule::Names, path, text, what);
    names("stream.rs", "use libp2p_core::StreamMuxer;", "libp2p_core");
    names("lib.rs", "use ::libp2p_core as core;", "libp2p_core");
    names("connection.rs", "use crate::sync::{Mutex, RwLock};", "Mutex");
    names("proto/mux.rs", "struct A { lock: parking_lot::Mutex<u8> }", "Mutex");
    names("shell/waiters.rs", "use std::sync::{Arc, Mutex};", "std::sync::Mutex");
    names("stats/node.rs", "use std::{fmt, sync::RwLock};", "std::sync::RwLock");
    names("session.rs", "struct A(std::sync::Condvar);", "std::sync::Condvar");
    names("memory/limit.rs", "use std::sync::atomic::AtomicUsize;", "std::sync::atomic");
    names("proto/mux.rs", "use std::task::{Poll, Waker};", "Waker");
    names("proto/mux.rs", "fn f(cx: &mut Context<'_>) {}", "Context");
    names("proto/mux.rs", "fn f() -> Instant { web_time::Instant::now() }", "Instant::now");
    names("proto/mux.rs", "let f = then.map_or_else(Instant::now, g);", "Instant::now");
    names("proto/mux.rs", "fn f(at: Instant) { at.elapsed(); }", ".elapsed(");
    names("wire/codec.rs", "use std::time::{SystemTime as Clock};", "SystemTime");
    names("wire/codec.rs", "impl<T: AsyncRead> A<T> {}", "AsyncRead");
    names("wire/codec.rs", "impl<T> A<T> where T: io::AsyncWrite {}", "AsyncWrite");
    names("wire/codec.rs", "impl<T> AsyncBufRead for A<T> {}", "AsyncBufRead");
    names("wire/codec.rs", "use tokio::spawn;", "tokio");
    names("wire/codec.rs", "static A: RwLock<u8> = B;", "RwLock");
    names("proto/peer/control.rs", "use futures_timer as timer;", "futures_timer");
    names("proto/mux.rs", "fn f() { tracing::debug!(code, \"gone\") }", "tracing");
    names("proto/mux/inbound.rs", "use tracing::debug;", "tracing");
    names("stream/mod.rs", "fn f() { tracing::level_filters::LevelFilter::current(); }", "tracing");
    names("proto/peer/control.rs", "use std::{fmt, net::{IpAddr}};", "std::net");
    names("proto/peer/control.rs", "fn f() { std::thread::yield_now() }", "std::thread");
}

#[test]
fn names_inside_their_modules_are_free() {
    holds("libp2p.rs", "use libp2p_core::StreamMuxer;");
    holds("shell/log.rs", "fn f() { tracing::debug!(code, \"gone\") }");
    holds("proto/mux.rs", "#[cfg(test)]\nmod tests { use tracing::debug; }");
    holds("shell/shared.rs", "use crate::sync::Mutex; fn f(then: Instant) { then.elapsed(); }");
    holds("memory/limit.rs", "use crate::sync::Mutex; use std::{sync::Arc, task::Waker};");
    holds("sync.rs", "use std::sync::{Mutex, atomic::Ordering};");
    holds("connection.rs", "use std::task::Context; use futures::{AsyncRead, AsyncWrite};");
    holds("proto/mux.rs", "/// No Mutex, no Waker, no Instant::now().\nfn f(now: Instant) {}");
    holds("proto/mux.rs", "use std::time::Instant; let elapsed = now - then; fn thread() {}");
    holds("wire/mod.rs", "#[cfg(test)]\nmod tests { use std::sync::Mutex; use tokio::net; }");
}

#[test]
fn files_without_a_header_are_found() {
    for text in ["", "\n//! A module.\n", "// A module.\n", "//!\n", "use std::fmt;\n"] {
        let sources = code::parse(&[File::new("stream.rs", text)]);
        let faults = judge(&sources, CARGO, &[]);
        let rules: Vec<_> = faults.iter().map(|fault| fault.rule).collect();
        assert_eq!(rules, [Rule::Header], "{text:?}");
    }
}

#[test]
fn long_files_are_found() {
    let lines = |count: usize| "// A line.\n".repeat(count);
    let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", lines(FILE_LINES));
    holds("stream.rs", &lines(FILE_LINES - 1));
    holds("stream.rs", &(lines(FILE_LINES - 1) + &tests));
    for text in [lines(FILE_LINES), lines(FILE_LINES) + &tests] {
        let faults = faults_of("stream.rs", &text);
        let rules: Vec<_> = faults.iter().map(|(_, rule, _)| *rule).collect();
        assert_eq!(rules, [Rule::FileLength]);
    }
}

#[test]
fn long_functions_are_found() {
    let function = |head: &str, lines: usize| format!("{head} {{\n{}}}\n", "    f();\n".repeat(lines - 2));
    for head in ["fn long()", "pub(crate) async fn long<T>(a: [u8; 2]) -> X where T: Y"] {
        holds("stream.rs", &function(head, FUNCTION_LINES));
        breaks(Rule::FunctionLength, "stream.rs", &function(head, FUNCTION_LINES + 1), "long");
    }
    let tests = function("fn long()", FUNCTION_LINES + 1);
    holds("stream.rs", &format!("#[cfg(test)]\nmod tests {{ {tests} }}"));
    // Neither a declaration nor a pointer is a function with a body.
    let gap = "\n".repeat(FUNCTION_LINES);
    holds("stream.rs", &format!("trait A {{ fn a(&self); {gap} fn b(f: fn(u8)); }}"));
}

#[test]
fn panics_are_found() {
    let panics = |text, what| breaks(Rule::Panics, "stream.rs", text, what);
    panics("fn f() { a.unwrap(); }", ".unwrap()");
    panics("fn f() { a.expect(\"b\"); }", ".expect(");
    panics("fn f() { panic!(\"b\") }", "panic!(");
    panics("fn f() { std::todo!() }", "todo!(");
    panics("fn f() { unimplemented!{} }", "unimplemented!(");
    panics("fn f() { unreachable!() }", "unreachable!(");
    // The comment has to be right there, and has to begin with the word.
    panics("fn f() { a.unwrap(); } // The Invariant: none", ".unwrap()");
    panics("fn f() { a.unwrap(); } /// Invariant: none", ".unwrap()");
    panics("fn f() { panic!(\"// Invariant: {}\", 1) }", "panic!(");
    for text in [
        "// Invariant: far.\n\na.unwrap();",
        "// Invariant: other.\nb();\na.unwrap();",
        "a.unwrap();\n// Invariant: below.",
        "match a {\n// Invariant: of one arm.\nA => b,\nC => d.unwrap(),\n}",
    ] {
        assert_eq!(faults_of("stream.rs", text).len(), 1, "{text}");
    }
}

#[test]
fn panics_with_an_invariant_are_free() {
    holds("stream.rs", "a.unwrap(); // Invariant: a is some.");
    holds("stream.rs", "// Invariant: a is some.\nlet b = a.expect(\"some\");");
    holds("stream.rs", "// Invariant: a is some, because\n// it was filled above.\na.unwrap();");
    holds("stream.rs", "// Invariant: a is some.\nlet b = a\n    .b(|c| c)\n    .expect(\"some\");");
    holds("stream.rs", "match a {\n// Invariant: yes.\nA => b\n.unwrap(),\n}");
    holds("stream.rs", "a.unwrap_or(1); a.expect_err; b.panic(); f(panic); debug_assert!(c);");
    holds("stream.rs", "//! ```\n//! a.unwrap();\n//! ```\n#[cfg(test)]\nfn f() { a.unwrap() }");
}

#[test]
fn parts_that_name_the_coordinator_are_found() {
    let names = |path, text| breaks(Rule::Coordinator, path, text, "Mux");
    names("proto/key.rs", "use crate::proto::mux::Mux;");
    names("proto/send/pacer.rs", "impl Mux { fn f(&self) {} }");
    names("proto/mod.rs", "pub(crate) use mux::{Admission, Mux};");
    holds("proto/mux/read.rs", "use super::Mux; impl Mux { fn f(&self) {} }");
    holds("proto/send/pacer.rs", "/// What a Mux is.\nfn f(multiplexer: &Other) {}");
    holds("proto/send/pacer.rs", "#[cfg(test)]\nmod tests { use crate::proto::Mux; }");
    holds("shell/shared.rs", "use crate::proto::Mux;");
}

#[test]
fn fields_of_the_coordinator_that_others_see_are_found() {
    let sees = |text, what| breaks(Rule::Fields, COORDINATOR_FILE, text, what);
    sees("struct Mux { a: u8, pub(super) store: Store }", "store");
    sees("struct Mux { pub(in crate::proto) store: Store }", "store");
    sees("pub(crate) struct Mux { pub store: Store, b: u8 }", "store");
    holds(COORDINATOR_FILE, "pub(crate) struct Mux { store: Store, b: u8 }");
    holds(COORDINATOR_FILE, "pub(crate) struct Mux { store: Store } pub(crate) struct Events { pub(crate) ready: u8 }");
    holds("proto/store/mod.rs", "struct Store { pub(in crate::proto) len: usize }");

    let missing = |path: &str, text: &str| missing_coordinator(&code::parse(&[File::new(path, text)])).is_some();
    assert!(!missing(COORDINATOR_FILE, "struct Mux { a: u8 }"));
    assert!(missing(COORDINATOR_FILE, "struct Core { a: u8 }"));
    assert!(missing("proto/mux.rs", "struct Mux { a: u8 }"));
}

#[test]
fn decisions_that_read_figures_are_found() {
    let reads = |text, what| breaks(Rule::Figures, "proto/mux/write.rs", text, what);
    reads("fn f(&self) -> u64 { self.counters.opened }", "opened");
    reads("fn f(&self) -> bool { self.counters.stalled(now) > LONG }", "stalled");
    reads("fn f(&self) { let seen = &self.counters.received; }", "received");
    reads("fn f(view: &View) { view.counters.sent.total() }", "sent");
    for text in [
        "fn f(&mut self) { count(&mut self.counters.opened); }",
        "fn f(&mut self) { let refusals = &mut self.counters.refusals; }",
        "fn f(&mut self) { self.counters.sent.add(&batch.count()); }",
        "fn f(view: &mut View) { view.counters.begin_stall(stall, now); self.counters.end_transport_stall(now); }",
        "struct A<'a> { counters: &'a mut Counters }",
    ] {
        holds("proto/mux/write.rs", text);
    }
    holds(FIGURES_FILE, "fn f(&self) -> u64 { self.counters.opened }");
}

/// Which imports of these files are on a cycle: the file, and what it imports.
fn cycles_of(files: &[(&str, &str)]) -> Vec<(String, String)> {
    let files: Vec<_> = files.iter().map(|(path, text)| File::new(path, &format!("//! A part.\n{text}"))).collect();
    let faults = judge(&code::parse(&files), CARGO, &[]).into_iter();
    let mut found: Vec<_> =
        faults.filter(|fault| fault.rule == Rule::Cycle).map(|fault| (fault.path, fault.what)).collect();
    found.dedup();
    found
}

#[test]
fn import_cycles_are_found() {
    let pair = |a: &str, b: &str| [(a.to_owned(), b.to_owned()), (b.to_owned(), a.to_owned())];
    // Two files of one folder, by each way of writing a path.
    for (one, other) in [
        ("use super::rtt::Rtt;", "use crate::proto::peer::ping::Ping;"),
        ("use crate::proto::{key::Key, peer::{control::A, rtt::Rtt}};", "struct A(super::ping::Ping);"),
        ("fn f() { super::rtt::g() }", "use super::ping;"),
        ("use super::rtt::*;", "use super::ping::{self, Ping};"),
        // Through a re-export.
        ("use super::Rtt;", "use crate::proto::peer::Ping;"),
        ("use crate::proto::Rtt;", "use crate::proto::Ping;"),
    ] {
        let found = cycles_of(&[
            ("proto/mod.rs", "mod peer; pub(crate) use peer::{Ping, rtt::Rtt};"),
            ("proto/peer/mod.rs", "mod ping; mod rtt; pub(super) use ping::Ping; pub(super) use self::rtt::Rtt;"),
            ("proto/peer/ping.rs", one),
            ("proto/peer/rtt.rs", other),
        ]);
        assert_eq!(found, pair("proto/peer/ping.rs", "proto/peer/rtt.rs"), "{one} {other}");
    }
    // A folder and its own file.
    let own = [
        ("proto/peer/mod.rs", "mod ping; use ping::Ping; struct Peer(Ping);"),
        ("proto/peer/ping.rs", "use super::Peer; struct Ping(Peer);"),
    ];
    assert_eq!(cycles_of(&own), pair("proto/peer/mod.rs", "proto/peer/ping.rs"));
    // By way of others; the one that is only used is on no cycle.
    let files = [
        ("proto/a.rs", "use super::b::B; use super::d::D;"),
        ("proto/b.rs", "use super::c::C;"),
        ("proto/c.rs", "use super::a::A;"),
        ("proto/d.rs", "use std::fmt;"),
    ];
    let named: Vec<_> = cycles_of(&files).into_iter().map(|(from, _)| from).collect();
    let edges = |from: &str| named.iter().filter(|name| *name == from).count();
    // Each as a file and as a part of its own.
    assert_eq!(["proto/a.rs", "proto/b.rs", "proto/c.rs", "proto/d.rs"].map(edges), [2, 2, 2, 0]);
    // Folders that import each other, though no two files do.
    let folders = cycles_of(&[
        ("proto/flow/rate.rs", "use crate::proto::peer::rtt::Rtt;"),
        ("proto/flow/window.rs", "use std::fmt;"),
        ("proto/peer/ping.rs", "use crate::proto::flow::window::Window;"),
        ("proto/peer/rtt.rs", "use std::fmt;"),
    ]);
    let expected = [("proto/flow/rate.rs", "peer"), ("proto/peer/ping.rs", "flow")];
    assert_eq!(folders, expected.map(|(from, to)| (from.to_owned(), to.to_owned())));
}

#[test]
fn imports_that_run_one_way_are_free() {
    let free = cycles_of(&[
        ("proto/mod.rs", "mod key; mod mux; mod peer; pub(crate) use key::Key; pub(crate) use mux::Admission;"),
        ("proto/key.rs", "struct Key;"),
        ("proto/mux/mod.rs", "mod read; pub(crate) use read::Admission; use super::peer::Ping; struct Mux { a: Ping }"),
        ("proto/mux/read.rs", "use super::Mux; use crate::proto::Key; enum Admission {} impl Mux {}"),
        ("proto/peer/mod.rs", "mod ping; pub(super) use ping::Ping;"),
        (
            "proto/peer/ping.rs",
            "use super::super::key::Key; struct Ping;\n#[cfg(test)]\nmod tests { use crate::proto::Mux; }",
        ),
        ("shell/shared.rs", "use super::wakers::Wakers; use crate::proto::Key;"),
        ("shell/wakers.rs", "use super::shared::Shared;"),
    ]);
    assert_eq!(free, []);
}

#[test]
fn unsafe_code_has_to_be_forbidden() {
    let rules = |lib: &str, cargo: &str| {
        let sources = code::parse(&[File::new("lib.rs", &format!("//! Lib.\n{lib}\n"))]);
        let faults = judge(&sources, cargo, &[]);
        faults.iter().map(|fault| fault.rule).collect::<Vec<_>>()
    };
    assert_eq!(rules("", CARGO), []);
    assert_eq!(rules("#![forbid(unsafe_code)]", ""), []);
    for (lib, cargo) in [
        ("", ""),
        ("// #![forbid(unsafe_code)]", ""),
        ("#![deny(unsafe_code)]", "[lints.rust]\nunsafe_code = \"deny\"\n"),
        ("", "[lints.clippy]\nunsafe_code = \"forbid\"\n"),
        ("", "[lints.rust]\n\n[lints.clippy]\nunsafe_code = \"forbid\"\n"),
        ("", "[lints.rust]\n# unsafe_code = \"forbid\"\n"),
    ] {
        assert_eq!(rules(lib, cargo), [Rule::Unsafe], "{lib} {cargo}");
    }
}

#[test]
fn exceptions_cover_what_they_name_and_nothing_else() {
    let row = |path, rule, what, why| Exception { path, rule, what, why };
    let sources = code::parse(&[
        File::new("error.rs", "//! A module.\nuse crate::wire::StreamId;\nuse crate::proto::Key;\n"),
        File::new("priority.rs", "//! A module.\nuse crate::wire::StreamId;\n"),
    ]);
    let faults = |exceptions: &[Exception]| {
        let faults = judge(&sources, CARGO, exceptions);
        faults.iter().map(Fault::to_string).collect::<Vec<_>>()
    };
    assert_eq!(
        faults(&[row("error.rs", Rule::Layers, "wire", "an id is part of the message")]),
        ["src/error.rs:3: Layers: \"proto\"", "src/priority.rs:2: Layers: \"wire\"",]
    );
    let stale = [
        row("error.rs", Rule::Layers, "shell", "needed once"),
        row("error.rs", Rule::Names, "wire", "the wrong rule"),
        row("error.rs", Rule::Layers, "wire", ""),
    ];
    let found = faults(&stale);
    let lists: Vec<_> = found.iter().filter(|fault| fault.contains("Lists")).collect();
    assert_eq!(
        lists,
        [
            "src/error.rs:0: Lists: \"the exception for shell\"",
            "src/error.rs:0: Lists: \"the exception for wire\"",
            "src/error.rs:0: Lists: \"the exception for wire\"",
        ]
    );
}

#[test]
fn modules_that_are_not_there_are_found() {
    let files: Vec<_> =
        LAYERS.iter().map(|(module, _)| File::new(&format!("{module}.rs"), "//! A module.\n")).collect();
    assert_eq!(missing_modules(&code::parse(&files)), []);
    let missing = missing_modules(&code::parse(&files[1..]));
    let missing: Vec<_> = missing.iter().map(|fault| &*fault.what).collect();
    assert_eq!(missing, ["the module wire"]);
}
