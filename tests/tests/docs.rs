//! The documents name what there is: every relative link, every path in backticks and every test named exists.

use std::path::{Path, PathBuf};

/// The project's root.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// README, changelog and everything in `docs/`.
fn documents() -> Vec<PathBuf> {
    let mut found = vec![root().join("README.md"), root().join("CHANGELOG.md")];
    let mut folders = vec![root().join("docs")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("docs can be listed") {
            let path = entry.expect("docs can be listed").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "md") {
                found.push(path);
            }
        }
    }
    found
}

/// What stands between `open` and `close`, for every pair in `text`.
fn between<'t>(text: &'t str, open: &str, close: &str) -> Vec<&'t str> {
    text.split(open)
        .skip(1)
        .filter_map(|rest| rest.split_once(close).map(|(inside, _)| inside))
        .collect()
}

#[test]
fn every_relative_link_leads_somewhere() {
    let (mut checked, mut broken) = (0, Vec::new());
    for document in documents() {
        let text = std::fs::read_to_string(&document).expect("a document can be read");
        let folder = document.parent().expect("a document is in a folder");
        for link in between(&text, "](", ")") {
            if link.contains("://") || link.starts_with('#') {
                continue;
            }
            let file = link.split('#').next().unwrap_or(link);
            checked += 1;
            if !folder.join(file).exists() {
                broken.push(format!("{}: {link}", document.display()));
            }
        }
    }
    assert!(checked > 10, "only {checked} links found");
    assert!(broken.is_empty(), "broken links: {broken:#?}");
}

#[test]
fn every_source_path_in_backticks_exists() {
    let crates = [
        "policy-format/",
        "firmware/",
        "trainer/",
        "tests/",
        "docs/",
        "plants/",
        ".ci/",
    ];
    let (mut checked, mut missing) = (0, Vec::new());
    for document in documents() {
        let text = std::fs::read_to_string(&document).expect("a document can be read");
        for line in text.lines() {
            for path in line.split('`').skip(1).step_by(2) {
                let is_path = crates.iter().any(|prefix| path.starts_with(prefix))
                    && !path.contains(['*', ' ', '<', '{', '$'])
                    && !path.chars().any(|c| c.is_ascii_uppercase());
                // A test may be named behind its file: `file.rs::test`.
                let file = path.split("::").next().unwrap_or(path);
                if is_path {
                    checked += 1;
                    if !root().join(file).exists() {
                        missing.push(format!("{}: {path}", document.display()));
                    }
                }
            }
        }
    }
    assert!(checked > 5, "only {checked} paths found");
    assert!(missing.is_empty(), "paths that do not exist: {missing:#?}");
}

/// Everything in the crates' Rust files.
fn sources() -> String {
    let crates = ["policy-format", "firmware", "trainer", "tests"];
    let mut folders: Vec<_> = crates.iter().map(|name| root().join(name)).collect();
    let mut text = String::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("sources can be listed") {
            let path = entry.expect("sources can be listed").path();
            if path.is_dir() && !path.ends_with("target") {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                text += &std::fs::read_to_string(&path).expect("a source can be read");
            }
        }
    }
    text
}

/// A claim names the test that would fail if it were not so. `docs/command-line.md` has fields of JSON with such names.
#[test]
fn every_test_named_in_backticks_exists() {
    let sources = sources();
    let (mut checked, mut missing) = (0, Vec::new());
    for document in documents() {
        if document.ends_with("command-line.md") {
            continue;
        }
        let text = std::fs::read_to_string(&document).expect("a document can be read");
        for name in text
            .lines()
            .flat_map(|line| line.split('`').skip(1).step_by(2))
        {
            let is_sentence = name.matches('_').count() >= 3
                && name.starts_with(|c: char| c.is_ascii_lowercase())
                && name
                    .chars()
                    .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
            if is_sentence {
                checked += 1;
                if !sources.contains(&format!("fn {name}(")) {
                    missing.push(format!("{}: {name}", document.display()));
                }
            }
        }
    }
    assert!(checked > 10, "only {checked} names found");
    assert!(
        missing.is_empty(),
        "functions that do not exist: {missing:#?}"
    );
}

#[test]
fn the_readme_gives_the_command_that_ci_runs() {
    let readme = std::fs::read_to_string(root().join("README.md")).expect("README");
    let ci = std::fs::read_to_string(root().join(".ci/run")).expect(".ci/run");
    let command = between(&ci, "TEST_COMMAND=\"", "\"")[0];
    assert!(
        readme.lines().any(|line| line.trim() == command),
        "README.md does not give `{command}`"
    );
}
