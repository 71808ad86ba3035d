//! Reads Rust source for the tests that judge it: `layout.rs` and `spec.rs`.
//!
//! Knows just enough of the language to tell code from comments and literals, and to tell what is compiled for tests only. It is
//! no parser: what it cannot make out it takes for code.

#![allow(dead_code, reason = "each of the two tests uses its part")]

use std::{fs, path::Path};

/// A file below `src`, with its path relative to it, `/` between the parts.
pub(crate) struct File {
    pub(crate) path: String,
    pub(crate) text: String,
}

impl File {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned() }
    }
}

/// Every `.rs` file below `dir`, sorted by path.
pub(crate) fn read(dir: &Path) -> Vec<File> {
    fn walk(root: &Path, dir: &Path, files: &mut Vec<File>) {
        for entry in fs::read_dir(dir).expect("a directory of sources") {
            let path = entry.expect("a directory entry").path();
            if path.is_dir() {
                walk(root, &path, files);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let parts = path.strip_prefix(root).expect("a path below the root");
                let parts: Vec<_> = parts.iter().map(|part| part.to_string_lossy()).collect();
                let text = fs::read_to_string(&path).expect("a source file in UTF-8");
                files.push(File::new(&parts.join("/"), &text));
            }
        }
    }
    let mut files = Vec::new();
    walk(dir, dir, &mut files);
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}

/// A file taken apart.
pub(crate) struct Source {
    pub(crate) path: String,
    /// The lines of the file, line 1 first.
    pub(crate) lines: Vec<String>,
    /// The code that is not compiled for tests only.
    pub(crate) tokens: Vec<Token>,
    pub(crate) comments: Vec<Comment>,
    /// How many lines belong to something that is compiled for tests only.
    pub(crate) test_lines: usize,
    /// Whether the whole file is compiled for tests only.
    pub(crate) only_tests: bool,
    /// The modules that are declared here for tests only and live in a file of their own.
    test_modules: Vec<String>,
}

/// A name, a number, `::`, or one character of anything else. Literals are blank but for their quotes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) line: usize,
    pub(crate) text: String,
}

/// One line of a comment, with its slashes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Comment {
    pub(crate) line: usize,
    pub(crate) text: String,
    pub(crate) in_tests: bool,
}

/// Takes all files of a crate apart. A file whose module is declared for tests only has no tokens.
pub(crate) fn parse(files: &[File]) -> Vec<Source> {
    let mut sources: Vec<_> = files.iter().map(parse_file).collect();
    let test_modules: Vec<String> = sources
        .iter()
        .flat_map(|source| {
            let dir = module_dir(&source.path);
            let modules = source.test_modules.iter();
            modules.map(move |name| format!("{dir}{name}"))
        })
        .collect();
    for source in &mut sources {
        let declared = test_modules
            .iter()
            .any(|module| source.path == format!("{module}.rs") || source.path.starts_with(&format!("{module}/")));
        if source.only_tests || declared {
            source.only_tests = true;
            source.test_lines = source.lines.len();
            source.tokens.clear();
            for comment in &mut source.comments {
                comment.in_tests = true;
            }
        }
    }
    sources
}

/// The directory of a file's child modules, ending in `/` unless it is the root.
fn module_dir(path: &str) -> String {
    let (dir, name) = path.rsplit_once('/').unwrap_or(("", path));
    let mut parts: Vec<&str> = dir.split('/').filter(|part| !part.is_empty()).collect();
    if !matches!(name, "lib.rs" | "mod.rs") {
        parts.push(name.trim_end_matches(".rs"));
    }
    parts.iter().map(|part| format!("{part}/")).collect()
}

fn parse_file(file: &File) -> Source {
    let (code, mut comments) = split(&file.text);
    let all = tokenize(&code);
    let lines: Vec<String> = file.text.lines().map(str::to_owned).collect();

    let mut tokens = Vec::new();
    let mut is_test_line = vec![false; lines.len() + 2];
    let mut test_modules = Vec::new();
    let mut only_tests = false;
    let mut at = 0;
    while at < all.len() {
        match test_attribute(&all, at) {
            Some(Attribute::Inner) => {
                only_tests = true;
                at += 1;
            }
            Some(Attribute::Outer { end }) => {
                let (item, end) = item(&all, end);
                if let [.., module, name, semicolon] = item
                    && module.text == "mod"
                    && semicolon.text == ";"
                {
                    test_modules.push(name.text.clone());
                }
                is_test_line[all[at].line..=all[end - 1].line].fill(true);
                at = end;
            }
            None => {
                tokens.push(all[at].clone());
                at += 1;
            }
        }
    }
    for comment in &mut comments {
        comment.in_tests = is_test_line[comment.line];
    }
    Source {
        path: file.path.clone(),
        test_lines: is_test_line.iter().filter(|is_test| **is_test).count(),
        lines,
        tokens,
        comments,
        only_tests,
        test_modules,
    }
}

/// Blanks comments and literals out of the code, and hands the comments out. Lines stay where they are.
fn split(text: &str) -> (String, Vec<Comment>) {
    let chars: Vec<char> = text.chars().collect();
    let mut code = String::with_capacity(text.len());
    let mut comments = Vec::new();
    let mut line = 1;
    let mut at = 0;
    while at < chars.len() {
        let (kind, end) = piece(&chars, at);
        let piece = &chars[at..end];
        match kind {
            Piece::Code => code.extend(piece),
            Piece::Comment => {
                let text: String = piece.iter().collect();
                for (below, text) in text.split('\n').enumerate() {
                    comments.push(Comment { line: line + below, text: text.trim().to_owned(), in_tests: false });
                }
            }
            Piece::Literal => code.push('"'),
        }
        if kind != Piece::Code {
            code.push(' ');
            code.extend(piece.iter().filter(|char| **char == '\n'));
        }
        if kind == Piece::Literal {
            code.push('"');
        }
        line += piece.iter().filter(|char| **char == '\n').count();
        at = end;
    }
    (code, comments)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Piece {
    Code,
    Comment,
    Literal,
}

/// What begins at `at`, and where it ends.
fn piece(chars: &[char], at: usize) -> (Piece, usize) {
    let next = |offset: usize| chars.get(at + offset).copied();
    match chars[at] {
        '/' if next(1) == Some('/') => {
            let length = chars[at..].iter().take_while(|char| **char != '\n').count();
            (Piece::Comment, at + length)
        }
        '/' if next(1) == Some('*') => (Piece::Comment, block_comment_end(chars, at)),
        '"' => (Piece::Literal, quoted_end(chars, at)),
        '\'' if next(1) == Some('\\') || next(2) == Some('\'') => (Piece::Literal, quoted_end(chars, at)),
        char if is_name(char) => {
            let length = chars[at..].iter().take_while(|char| is_name(**char)).count();
            let name: String = chars[at..at + length].iter().collect();
            let raw = matches!(&*name, "r" | "br" | "cr");
            match raw.then(|| raw_string_end(chars, at + length)).flatten() {
                Some(end) => (Piece::Literal, end),
                None => (Piece::Code, at + length),
            }
        }
        _ => (Piece::Code, at + 1),
    }
}

fn is_name(char: char) -> bool {
    char.is_alphanumeric() || char == '_'
}

fn block_comment_end(chars: &[char], start: usize) -> usize {
    let mut depth = 0;
    let mut at = start;
    while at < chars.len() {
        match &chars[at..chars.len().min(at + 2)] {
            ['/', '*'] => depth += 1,
            ['*', '/'] => depth -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
        if depth == 0 {
            break;
        }
    }
    at
}

fn quoted_end(chars: &[char], start: usize) -> usize {
    let mut at = start + 1;
    while at < chars.len() && chars[at] != chars[start] {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    chars.len().min(at + 1)
}

/// `start` is behind the `r`. `None` if no raw string begins there.
fn raw_string_end(chars: &[char], start: usize) -> Option<usize> {
    let hashes = chars[start..].iter().take_while(|char| **char == '#').count();
    let open = start + hashes;
    if chars.get(open) != Some(&'"') {
        return None;
    }
    let closes = |at: &usize| {
        chars[*at] == '"' && chars[at + 1..].iter().take(hashes).filter(|char| **char == '#').count() == hashes
    };
    let close = (open + 1..chars.len()).find(closes);
    Some(close.map_or(chars.len(), |close| close + 1 + hashes))
}

fn tokenize(code: &str) -> Vec<Token> {
    let chars: Vec<char> = code.chars().collect();
    let mut tokens = Vec::new();
    let mut line = 1;
    let mut at = 0;
    while at < chars.len() {
        let length = match chars[at] {
            char if is_name(char) => chars[at..].iter().take_while(|char| is_name(**char)).count(),
            ':' if chars.get(at + 1) == Some(&':') => 2,
            _ => 1,
        };
        if chars[at] == '\n' {
            line += 1;
        } else if !chars[at].is_whitespace() {
            tokens.push(Token { line, text: chars[at..at + length].iter().collect() });
        }
        at += length;
    }
    tokens
}

enum Attribute {
    /// `#![cfg(test)]`, for the whole file.
    Inner,
    /// `#[cfg(test)]`, for the item that begins at `end`.
    Outer { end: usize },
}

/// The attribute at `at`, if it leaves something to tests only.
fn test_attribute(tokens: &[Token], at: usize) -> Option<Attribute> {
    let inner = text(tokens, at + 1) == "!";
    let open = if inner { at + 2 } else { at + 1 };
    if text(tokens, at) != "#" || text(tokens, open) != "[" || text(tokens, open + 1) != "cfg" {
        return None;
    }
    let end = group_end(tokens, open);
    if !needs_test(tokens.get(open + 3..end.saturating_sub(2))?) {
        return None;
    }
    Some(if inner { Attribute::Inner } else { Attribute::Outer { end } })
}

/// Whether a `cfg` predicate can hold in tests only.
fn needs_test(predicate: &[Token]) -> bool {
    let arguments = || {
        let inside = predicate.get(2..predicate.len() - 1).unwrap_or_default();
        let mut depth = 0;
        inside
            .split(move |token| {
                depth += nesting(token);
                depth == 0 && token.text == ","
            })
            .filter(|argument| !argument.is_empty())
    };
    match text(predicate, 0) {
        "test" => true,
        "all" => arguments().any(needs_test),
        "any" => arguments().all(needs_test),
        _ => false,
    }
}

/// The item at `start` without its attributes, and the index behind it.
fn item(tokens: &[Token], mut start: usize) -> (&[Token], usize) {
    while text(tokens, start) == "#" {
        start = group_end(tokens, start + 1);
    }
    const KEYWORDS: [&str; 16] = [
        "async",
        "const",
        "enum",
        "extern",
        "fn",
        "impl",
        "let",
        "macro_rules",
        "mod",
        "pub",
        "static",
        "struct",
        "trait",
        "type",
        "union",
        "use",
    ];
    // A field, a variant or an argument may end in a comma; in an item a comma says nothing.
    let is_item = KEYWORDS.contains(&text(tokens, start));
    let mut depth = 0;
    let mut end = start;
    while end < tokens.len() {
        let token = &tokens[end];
        depth += nesting(token);
        if depth < 0 {
            break;
        }
        end += 1;
        if depth == 0 && (matches!(&*token.text, ";" | "}") || (!is_item && token.text == ",")) {
            break;
        }
    }
    (&tokens[start..end], end.max(1))
}

/// The index behind the group that `open` begins.
pub(crate) fn group_end(tokens: &[Token], open: usize) -> usize {
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        depth += nesting(token);
        if depth == 0 {
            return at + 1;
        }
    }
    tokens.len()
}

/// By how much a token changes the depth of brackets.
pub(crate) fn nesting(token: &Token) -> i32 {
    match &*token.text {
        "(" | "[" | "{" => 1,
        ")" | "]" | "}" => -1,
        _ => 0,
    }
}

/// The token at `at`, or nothing behind the end.
pub(crate) fn text(tokens: &[Token], at: usize) -> &str {
    tokens.get(at).map_or("", |token| &token.text)
}

fn parse_one(text: &str) -> Source {
    parse(&[File::new("sample.rs", text)]).remove(0)
}

fn words(source: &Source) -> String {
    let words: Vec<_> = source.tokens.iter().map(|token| &*token.text).collect();
    words.join(" ")
}

#[test]
fn source_tells_code_from_comments_and_literals() {
    let source = parse_one(concat!(
        "//! Top.\n",
        "let a = \"// no \\\" comment\"; // one\n",
        "let b = r#\"\"quoted\" // no\"#; /* two\n",
        "   /* three */ four */ let c = '\"'; let d = '\\'';\n",
        "fn f<'a>(x: &'a u8) {} // 'five'\n",
        "let r#type = b'x';\n",
    ));
    assert_eq!(
        words(&source),
        "let a = \" \" ; let b = \" \" ; let c = \" \" ; let d = \" \" ; \
         fn f < ' a > ( x : & ' a u8 ) { } let r # type = b \" \" ;"
    );
    let comments: Vec<_> = source.comments.iter().map(|comment| (comment.line, &*comment.text)).collect();
    assert_eq!(
        comments,
        [(1, "//! Top."), (2, "// one"), (3, "/* two"), (4, "/* three */ four */"), (5, "// 'five'"),]
    );
    assert_eq!(source.tokens.last().map(|token| token.line), Some(6));
}

#[test]
fn source_leaves_out_what_is_for_tests_only() {
    let source = parse_one(concat!(
        "fn kept() {}\n",
        "#[cfg(test)]\n",
        "#[allow(dead_code)]\n",
        "fn gone<A, B>(a: A, b: B) { // in a test\n",
        "}\n",
        "#[cfg(not(test))] fn kept_too() {}\n",
        "#[cfg(any(test, unix))] fn kept_as_well() {}\n",
        "#[cfg(all(unix, any(test)))] use gone::{a, b};\n",
        "struct S { #[cfg(test)] gone: Vec<u8>, kept: u8 } // outside\n",
        "enum E { Kept, #[cfg(test)] Gone }\n",
        "#[cfg(test)] mod tests { mod gone { fn gone() {} } }\n",
    ));
    let words = words(&source);
    assert!(!words.contains("gone") && !words.contains("Gone"), "{words}");
    for kept in ["kept (", "kept_too", "kept_as_well", "kept : u8 }", "Kept , }"] {
        assert!(words.contains(kept), "{kept} in {words}");
    }
    let in_tests: Vec<_> = source.comments.iter().map(|comment| comment.in_tests).collect();
    // Line 9 holds both, and counts as a test line: comments there are rare enough.
    assert_eq!(in_tests, [true, true]);
    assert_eq!(source.test_lines, 8);
}

#[test]
fn source_leaves_out_files_that_are_for_tests_only() {
    let sources = parse(&[
        File::new("lib.rs", "mod a;\n#[cfg(test)]\nmod sim;\n"),
        File::new("sim.rs", "// Test.\nfn gone() {}\n"),
        File::new("sim/peer.rs", "fn gone() {}\n"),
        File::new("simple.rs", "fn kept() {}\n"),
        File::new("a.rs", "#[cfg(test)] pub(crate) mod tests;\n"),
        File::new("a/tests.rs", "fn gone() {}\n"),
        File::new("a/mod.rs", "#[cfg(test)] mod more;\n"),
        File::new("a/more.rs", "fn gone() {}\n"),
        File::new("whole.rs", "//! Top.\n#![cfg(test)]\nfn gone() {}\n"),
    ]);
    let only_tests: Vec<_> = sources.iter().filter(|source| source.only_tests).map(|source| &*source.path).collect();
    assert_eq!(only_tests, ["sim.rs", "sim/peer.rs", "a/tests.rs", "a/more.rs", "whole.rs"]);
    for source in &sources {
        assert!(!words(source).contains("gone"), "{}", source.path);
        assert!(source.comments.iter().all(|comment| comment.in_tests));
    }
}
