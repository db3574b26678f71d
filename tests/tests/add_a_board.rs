//! Follows `docs/add-a-board.md` to the letter: takes every file from the page, builds the board, runs it.

mod hil_support;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use hil_support::policies::good_policy;
use hil_support::{BOTH_LINKS, assert_no_panic_machinery, class, config_of, firmware_of, hil};
use trainer::device::board::{BOARDS, Board, Core, Emulator};
use trainer::device::budget::Budget;
use trainer::device::build::project_root;
use trainer::device::qemu::LinkKind;

/// The page's line for the table.
const ENTRY: Board = include!("add_a_board/entry.rs");

/// The files of the page: a line that is nothing but a path in bold, and the fenced block behind it.
fn files(page: &str) -> Vec<(PathBuf, String)> {
    let mut lines = page.lines();
    let mut files = Vec::new();
    while let Some(line) = lines.next() {
        let Some(path) = line.strip_prefix("**").and_then(|l| l.strip_suffix("**")) else {
            continue;
        };
        let block = lines
            .by_ref()
            .skip_while(|line| !line.starts_with("```"))
            .skip(1)
            .take_while(|line| !line.starts_with("```"));
        let content: String = block.flat_map(|line| [line, "\n"]).collect();
        files.push((path.into(), content));
    }
    files
}

/// Links everything in `from`, hidden files included, into `to`, except `but`.
fn link_all(from: &Path, to: &Path, but: &[&str]) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let name = entry.unwrap().file_name();
        if !but.iter().any(|other| name == *other) {
            symlink(from.join(&name), to.join(&name)).unwrap();
        }
    }
}

/// The project with the page's files in it: everything else is links, so that the sources stay as they are.
fn project_with(files: &[(PathBuf, String)]) -> PathBuf {
    let root = project_root().unwrap();
    // Always the same folder: what cargo built for it last time is found again.
    let copy = root.join("target/add-a-board");
    if copy.exists() {
        fs::remove_dir_all(&copy).unwrap();
    }
    link_all(&root, &copy, &["target", ".git", "firmware"]);
    link_all(&root.join("firmware"), &copy.join("firmware"), &["boards"]);
    let boards = Path::new("firmware/boards");
    link_all(&root.join(boards), &copy.join(boards), &[]);
    for (path, content) in files {
        let path = copy.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    copy
}

#[test]
fn a_board_made_by_the_page_gives_the_hosts_bits() {
    let root = project_root().unwrap();
    let page = fs::read_to_string(root.join("docs/add-a-board.md")).unwrap();
    let mut files = files(&page);
    let table = files.pop().unwrap();
    assert_eq!(table.0, Path::new("trainer/src/device/board.rs"));
    assert_eq!(table.1, include_str!("add_a_board/entry.rs"));
    assert_eq!(files.len(), 4);
    let folder = Path::new("firmware/boards").join(ENTRY.folder);
    assert!(files.iter().all(|(path, _)| path.starts_with(&folder)));
    assert!(BOARDS.iter().all(|board| board.name != ENTRY.name));

    let copy = project_with(&files);
    let folder = copy.join(folder);
    // The table is compiled in; only the folder differs, because the board lies in the copy.
    let board: &'static Board = Box::leak(Box::new(Board {
        folder: String::leak(folder.to_str().unwrap().to_owned()),
        ..ENTRY
    }));
    let firmware = firmware_of(board);
    assert!(folder.join("Cargo.lock").exists());
    assert_no_panic_machinery(&firmware.elf);
    let budget = Budget::of(board).unwrap();
    assert_eq!(
        budget.over_memory(&firmware.sizes),
        [],
        "{:?}",
        firmware.sizes
    );
    for link in BOTH_LINKS {
        let mut config = config_of(board, &firmware, link);
        (config.episodes, config.steps) = (2, 5);
        config.hostile = if link == LinkKind::Semihosting {
            200
        } else {
            0
        };
        let report = hil(&config, &good_policy(class())).unwrap();
        report.verdict().unwrap();
        assert_eq!((report.steps, report.mismatches), (10, 0));
        if let Some(count) = report.instructions {
            // The same core as mps2-an385, so the same instructions; a wrong clock in the page would show.
            let known = trainer::device::board::find("mps2-an385").unwrap();
            let known = hil(
                &config_of(known, &firmware_of(known), link),
                &good_policy(class()),
            );
            let known = known.unwrap().instructions.unwrap();
            assert!(
                (count.mean / known.mean - 1.0).abs() < 0.01,
                "{count:?} {known:?}"
            );
        }
    }
}
