//! Holds `spec.md` and the code together: every clause is cited where it is enforced, and every citation names a clause.

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
