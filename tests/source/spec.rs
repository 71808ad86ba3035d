//! Holds `spec.md`, the code and the tests together: every clause is cited where it is enforced, every citation names a
//! clause, every clause has a test, and tests are named after what they hold.

use std::{collections::BTreeMap, fs, path::Path};

use crate::code::{self, File, Source};

#[test]
fn every_clause_is_cited_and_every_citation_names_a_clause() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let spec = fs::read_to_string(root.join("spec.md")).expect("spec.md");
    let sources = code::parse(&code::read(&root.join("src")));
    let faults = judge(&spec, &sources);
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn every_clause_is_tested_and_tests_are_named_after_what_they_hold() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let spec = fs::read_to_string(root.join("spec.md")).expect("spec.md");
    let src = code::parse(&code::read(&root.join("src")));
    let tests = code::parse(&code::read(&root.join("tests")));
    let mut faults = untested(&spec, &src, &tests);
    faults.extend(misnamed(&spec, "src", &src));
    faults.extend(misnamed(&spec, "tests", &tests));
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

/// The words of a test's name, those of its clause not counted.
const MOST_WORDS: usize = 12;

/// The clauses that have no test: none is named after them, as `y_flow_3_windows_start` is after `Y-FLOW-3`, and no comment
/// among the tests cites them.
fn untested(spec: &str, src: &[Source], tests: &[Source]) -> Vec<String> {
    // What judges the clauses tests none of them.
    let tests = || tests.iter().filter(|source| !source.path.starts_with("source/"));
    let named = src.iter().chain(tests()).flat_map(test_names).filter_map(|name| named_after(&name.text));
    let cited_in_src = src.iter().flat_map(|source| source.comments.iter().filter(|comment| comment.in_tests));
    let cited = cited_in_src.chain(tests().flat_map(|source| &source.comments));
    let cited = cited.flat_map(|comment| ids(comment.line, &comment.text)).map(|id| id.text);
    let tested: Vec<_> = named.chain(cited).collect();
    let clauses = clauses(spec, &mut Vec::new());
    let untested = clauses.iter().filter(|clause| !tested.contains(&clause.text));
    untested.map(|Id { line, text }| format!("spec.md:{line}: {text} has no test")).collect()
}

/// The tests whose names are long, begin with a key that nothing in this repository explains, or name no clause.
fn misnamed(spec: &str, folder: &str, sources: &[Source]) -> Vec<String> {
    let clauses = clauses(spec, &mut Vec::new());
    let mut faults = Vec::new();
    for source in sources {
        for Id { line, text } in test_names(source) {
            let (clause, words) = (named_after(&text), text.split('_').count());
            let mut fault = |what: &str| faults.push(format!("{folder}/{}:{line}: {text} {what}", source.path));
            if clause.as_ref().is_some_and(|clause| !clauses.iter().any(|id| id.text == *clause)) {
                fault("names no clause");
            }
            if words - if clause.is_some() { 3 } else { 0 } > MOST_WORDS {
                fault("is too long");
            }
            if text.split('_').next().is_some_and(is_key) {
                fault("begins with a key");
            }
        }
    }
    faults
}

/// The names of the tests in a file, with their lines: functions with the attribute, and those right inside of `quickcheck!`.
fn test_names(source: &Source) -> Vec<Id> {
    let mut names = Vec::new();
    let (mut is_test, mut properties) = (false, None);
    for (line, whole) in (1..).zip(&source.lines) {
        let text = whole.trim_start();
        let indent = whole.len() - text.len();
        if properties.is_some_and(|begun| indent <= begun && !text.is_empty()) {
            properties = None;
        }
        if text.starts_with("quickcheck! {") {
            properties = Some(indent);
        }
        match text.strip_prefix("fn ").and_then(|rest| rest.split_once('(')) {
            Some((name, _)) => {
                if std::mem::take(&mut is_test) || properties.is_some_and(|begun| indent == begun + 4) {
                    names.push(Id { line, text: name.to_owned() });
                }
            }
            None => is_test |= text.starts_with("#[test]"),
        }
    }
    names
}

/// The clause that a test is named after.
fn named_after(name: &str) -> Option<String> {
    let mut words = name.split('_');
    let (y, family, number) = (words.next()?, words.next()?, words.next()?);
    let is_number = number.bytes().all(|byte| byte.is_ascii_digit());
    (y == "y" && is_number).then(|| format!("Y-{}-{number}", family.to_ascii_uppercase()))
}

/// One letter and a number.
fn is_key(word: &str) -> bool {
    let digits = word.strip_prefix(|char: char| char.is_ascii_lowercase());
    digits.is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))
}

/// A clause's id: `Y-FLOW-3` is the third of the family `FLOW`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Id {
    line: usize,
    text: String,
}

/// What is wrong between the clauses of `spec` and the citations in `sources`.
fn judge(spec: &str, sources: &[Source]) -> Vec<String> {
    let mut faults = Vec::new();
    let clauses = clauses(spec, &mut faults);
    numbering(&clauses, &mut faults);
    // A family may be named as a whole; that cites none of its clauses.
    let exists = |id: &Id| {
        let family = format!("{}-", id.text);
        let is_family = |clause: &Id| clause.text.starts_with(&family);
        clauses.iter().any(|clause| clause.text == id.text || is_family(clause))
    };

    for (line, text) in (1..).zip(spec.lines()) {
        for id in ids(line, text).iter().filter(|id| !exists(id)) {
            faults.push(format!("spec.md:{line}: {} is no clause", id.text));
        }
    }

    let mut cited = Vec::new();
    for source in sources {
        for comment in &source.comments {
            for id in ids(comment.line, &comment.text) {
                if !exists(&id) {
                    let Id { line, text } = &id;
                    faults.push(format!("src/{}:{line}: {text} is no clause", source.path));
                }
                // What is only cited in a test is tested, but not enforced.
                if !comment.in_tests {
                    cited.push(id.text);
                }
            }
        }
    }
    for clause in clauses.iter().filter(|clause| !cited.contains(&clause.text)) {
        let Id { line, text } = clause;
        faults.push(format!("spec.md:{line}: {text} is cited nowhere in src"));
    }
    faults
}

/// The clauses of a spec: lines that begin with an id in bold, a full stop, and a text.
fn clauses(spec: &str, faults: &mut Vec<String>) -> Vec<Id> {
    let mut clauses = Vec::new();
    for (line, text) in (1..).zip(spec.lines()) {
        let Some(rest) = text.strip_prefix("**Y-") else {
            continue;
        };
        let clause = rest.split_once(".** ").map(|(id, text)| (format!("Y-{id}"), text));
        match clause {
            Some((id, text)) if parts(&id).is_some() && !text.trim().is_empty() => {
                clauses.push(Id { line, text: id });
            }
            _ => faults.push(format!("spec.md:{line}: not a clause: {text}")),
        }
    }
    if clauses.is_empty() {
        faults.push("spec.md: no clauses".to_owned());
    }
    clauses
}

/// Inside a family the clauses are numbered 1, 2, 3 and so on, in the order of the page.
fn numbering(clauses: &[Id], faults: &mut Vec<String>) {
    let mut last = BTreeMap::new();
    for Id { line, text } in clauses {
        let Some((family, number)) = parts(text) else {
            continue;
        };
        let last = last.entry(family).or_insert(0);
        if number != *last + 1 {
            faults.push(format!("spec.md:{line}: {text} follows number {last} of {family}"));
        }
        *last = number;
    }
}

/// The family and the number of a well formed id.
fn parts(id: &str) -> Option<(&str, u32)> {
    let (family, number) = id.strip_prefix("Y-")?.split_once('-')?;
    let well_formed = !family.is_empty()
        && family.bytes().all(|byte| byte.is_ascii_uppercase())
        && number.bytes().all(|byte| byte.is_ascii_digit())
        && !number.starts_with('0');
    let number = number.parse().ok()?;
    well_formed.then_some((family, number))
}

/// Everything in a line that looks like an id, well formed or not.
fn ids(line: usize, text: &str) -> Vec<Id> {
    let is_part = |char: char| char.is_ascii_alphanumeric() || char == '-' || char == '_';
    text.split(|char| !is_part(char))
        .filter(|word| word.starts_with("Y-"))
        .map(|word| Id { line, text: word.trim_end_matches('-').to_owned() })
        .collect()
}

const SPEC: &str = "# A spec\n\n**Y-FLOW-1.** Windows start.\n\n**Y-FLOW-2.** As Y-FLOW-1 says,\nso does Y-FIN-1.\n\n**Y-FIN-1.** Ends.\n";

fn judge_samples(spec: &str, samples: &[(&str, &str)]) -> Vec<String> {
    let files: Vec<_> = samples.iter().map(|(path, text)| File::new(path, text)).collect();
    judge(spec, &code::parse(&files))
}

#[test]
fn a_spec_that_is_cited_in_full_has_no_faults() {
    let faults = judge_samples(
        SPEC,
        &[
            ("flow.rs", "//! Y-FLOW-1: windows.\n\nfn f() {} // Y-FLOW-2.\n"),
            ("fin.rs", "/* See\n (Y-FIN-1, Y-FLOW-1) */\n#[cfg(test)]\nmod tests { /* Y-FIN-1 */ }\n"),
        ],
    );
    assert_eq!(faults, Vec::<String>::new());
}

#[test]
fn a_citation_without_a_clause_is_found() {
    let faults = judge_samples(
        SPEC,
        &[(
            "a.rs",
            "// Y-FLOW-1 Y-FLOW-2 Y-FIN-1\n// Y-FIN-2, Y-FIN-1a\n#[cfg(test)]\nmod tests {\n    // Y-GONE-1\n}\n// Y-FLOW, Y-FLO, Y-GONE, Y\n",
        )],
    );
    assert_eq!(
        faults,
        [
            "src/a.rs:2: Y-FIN-2 is no clause",
            "src/a.rs:2: Y-FIN-1a is no clause",
            "src/a.rs:5: Y-GONE-1 is no clause",
            "src/a.rs:7: Y-FLO is no clause",
            "src/a.rs:7: Y-GONE is no clause",
        ]
    );
}

#[test]
fn a_clause_without_a_citation_is_found() {
    // Neither a string, nor code, nor a test, nor a file of tests is a citation.
    let faults = judge_samples(
        SPEC,
        &[
            ("a.rs", "// Y-FLOW-1, Y-FIN\nconst A: &str = \"// Y-FLOW-2\";\n#[cfg(test)]\nmod sim;\n"),
            ("a/sim.rs", "// Y-FIN-1\n"),
        ],
    );
    assert_eq!(faults, ["spec.md:5: Y-FLOW-2 is cited nowhere in src", "spec.md:8: Y-FIN-1 is cited nowhere in src",]);
}

#[test]
fn gaps_twins_and_malformed_clauses_are_found() {
    let spec =
        "**Y-A-2.** x\n**Y-B-1.** x\n**Y-B-1.** x\n**Y-B-3.** x\n**Y-C-01.** x\n**Y-D-1** x\n**Y-E-1.** \nY-F-1\n";
    let mut faults = Vec::new();
    let clauses = clauses(spec, &mut faults);
    numbering(&clauses, &mut faults);
    assert_eq!(
        faults,
        [
            "spec.md:5: not a clause: **Y-C-01.** x",
            "spec.md:6: not a clause: **Y-D-1** x",
            "spec.md:7: not a clause: **Y-E-1.** ",
            "spec.md:1: Y-A-2 follows number 0 of A",
            "spec.md:3: Y-B-1 follows number 1 of B",
            "spec.md:4: Y-B-3 follows number 1 of B",
        ]
    );
    let faults = judge("nothing here, but Y-F-1\n", &[]);
    assert_eq!(faults, ["spec.md: no clauses", "spec.md:1: Y-F-1 is no clause"]);
}

#[test]
fn a_clause_without_a_test_is_found() {
    let parse = |path, text| code::parse(&[File::new(path, text)]);
    let src =
        parse("a.rs", "// Y-FIN-1\n#[cfg(test)]\nmod tests {\n    #[test]\n    fn y_flow_1_windows_start() {}\n}\n");
    let tests = parse("wire/a.rs", "fn y_fin_1_is_no_test() {}\n// Y-FLOW-2, too.\n#[test]\nfn windows_start() {}\n");
    assert_eq!(untested(SPEC, &src, &tests), ["spec.md:8: Y-FIN-1 has no test"]);
    let named = parse("wire/b.rs", "#[test]\n#[should_panic]\nfn y_fin_1_ends() {}\n");
    assert_eq!(untested(SPEC, &src, &named), ["spec.md:5: Y-FLOW-2 has no test"]);
}

#[test]
fn test_names_that_are_long_or_keyed_are_found() {
    let sources = code::parse(&[File::new(
        "a.rs",
        concat!(
            "#[test]\nfn w77_a_key() {}\n",
            "#[test]\nfn y_flow_1_a_b_c_d_e_f_g_h_i_j_k_l() {}\n",
            "#[test]\nfn y_flow_1_a_b_c_d_e_f_g_h_i_j_k_l_m() {}\n",
            "#[test]\nfn y_flow_9_is_gone() {}\n",
            "fn w77_is_no_test() {}\n",
            "quickcheck! {\n    fn c1_a_property() {\n        fn c2_is_none() {}\n    }\n}\nfn c3_is_none() {}\n",
        ),
    )]);
    assert_eq!(
        misnamed(SPEC, "tests", &sources),
        [
            "tests/a.rs:2: w77_a_key begins with a key",
            "tests/a.rs:6: y_flow_1_a_b_c_d_e_f_g_h_i_j_k_l_m is too long",
            "tests/a.rs:8: y_flow_9_is_gone names no clause",
            "tests/a.rs:11: c1_a_property begins with a key",
        ]
    );
}
