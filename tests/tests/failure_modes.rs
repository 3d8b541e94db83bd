//! The table of failure modes in docs/reliability.md: each of its rows names tests that exist, or says why there is none.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::path::Path;

const ROWS: usize = 38;
/// What a row without a test says.
const HONEST: [&str; 2] = ["not on one machine", "not tested"];

/// Names of the functions in every Rust file below a folder.
fn functions(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() && !entry.ends_with("target") {
            functions(&entry, found);
        } else if entry.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&entry).unwrap();
            found.extend(text.split("fn ").skip(1).filter_map(|rest| rest.split(['(', '<']).next()).map(str::to_owned));
        }
    }
}

/// Number and last cell of each row of the table.
fn rows(page: &str) -> Vec<(usize, &str)> {
    let row = |line| {
        let mut cells = str::split(line, '|').map(str::trim);
        let number = cells.nth(1)?.parse().ok()?;
        Some((number, cells.nth(1)?))
    };
    page.lines().filter_map(row).collect()
}

#[test]
fn every_failure_mode_names_tests_that_exist_or_says_that_there_is_none() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let page = std::fs::read_to_string(root.join("docs/reliability.md")).unwrap();
    let mut known = BTreeSet::new();
    for folder in ["controller", "crates", "manager", "meeting-bot", "tests"] {
        functions(&root.join(folder), &mut known);
    }
    let rows = rows(&page);
    let numbers: Vec<usize> = rows.iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, (1..=ROWS).collect::<Vec<_>>());
    for (number, cell) in rows {
        let named: Vec<&str> = cell.split('`').skip(1).step_by(2).collect();
        let missing: Vec<&&str> = named.iter().filter(|name| !known.contains(**name)).collect();
        assert!(missing.is_empty(), "row {number} names {missing:?}, which is nowhere");
        assert!(!named.is_empty() || HONEST.iter().any(|words| cell.contains(words)), "row {number} names no test");
    }
}
