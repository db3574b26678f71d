//! The reference pages in `docs/` against the program.

use std::path::Path;

use super::support::Hpo;

fn document(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../docs")
        .join(name);
    std::fs::read_to_string(path).unwrap()
}

/// The fenced code blocks of a page: language and content.
fn blocks(text: &str) -> Vec<(String, String)> {
    let mut blocks = Vec::new();
    let mut open: Option<(String, String)> = None;
    for line in text.lines() {
        match (line.strip_prefix("```"), &mut open) {
            (Some(language), None) => open = Some((language.to_owned(), String::new())),
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (None, Some((_, content))) => {
                content.push_str(line);
                content.push('\n');
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a code block is not closed");
    blocks
}

/// The words in backticks.
fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

#[test]
fn plant_file_examples_are_plants() {
    let text = document("plant-file.md");
    let blocks = blocks(&text);
    let hpo = Hpo::new();
    // Files that the examples name are on the page as well, their name in the line above.
    let named = |language: &str| {
        let (_, content) = blocks.iter().find(|(l, _)| l == language).unwrap();
        content.as_str()
    };
    hpo.write("pump.json", named("json"));
    hpo.write("X0.csv", named("csv"));
    let mut plants = 0;
    for (language, content) in &blocks {
        if language == "toml" {
            plants += 1;
            hpo.write("plant.toml", content);
            // Riccati's controllers are for plants without jumps.
            let report = if content.contains("[[jump]]") {
                hpo.json(&["reference", "plant.toml"])
            } else {
                hpo.json(&["eval", "round-robin", "--plant", "plant.toml"])
            };
            let name = report["plant"].as_str().unwrap();
            assert!(content.contains(&format!("name = \"{name}\"")), "{content}");
        }
    }
    assert!(plants >= 4, "{plants} examples");
}

#[test]
fn every_key_of_a_plant_file_is_documented() {
    let text = document("plant-file.md");
    let rows: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .collect();
    let hpo = Hpo::new();
    // The program itself says which keys it knows, when it meets one that it does not.
    for (table, body) in [
        ("", "bogus = 1\n"),
        ("dynamics.", "[dynamics]\nbogus = 1\n"),
        (
            "dynamics.generator.",
            "[dynamics]\ngenerator = { bogus = 1 }\n",
        ),
        ("bounds.", "[bounds]\nbogus = 1\n"),
        ("limits.", "[limits]\nbogus = 1\n"),
        ("dwell.", "[dwell]\nbogus = 1\n"),
        ("envelope.", "[envelope]\nbogus = 1\n"),
        ("supervision.", "[supervision]\nbogus = 1\n"),
        ("initial.", "[initial]\nbogus = 1\n"),
        ("names.", "[names]\nbogus = 1\n"),
        ("units.", "[units]\nbogus = 1\n"),
    ] {
        hpo.write(
            "plant.toml",
            format!("name = \"p\"\n{body}").replace("name = \"p\"\nbogus", "bogus"),
        );
        let message = hpo.run(&["reference", "plant.toml"]).stderr;
        let (_, allowed) = message
            .split_once("unknown field `bogus`; allowed: ")
            .unwrap_or_else(|| panic!("{message}"));
        let keys = quoted(allowed);
        assert!(keys.len() >= 2, "{message}");
        for key in keys {
            // Tables are described by their own keys.
            let is_table = table.is_empty()
                && [
                    "dynamics",
                    "bounds",
                    "limits",
                    "dwell",
                    "masks",
                    "envelope",
                    "supervision",
                    "initial",
                    "names",
                    "units",
                    "jump",
                    "recast",
                ]
                .contains(&key)
                || (table, key) == ("dynamics.", "generator");
            let row = format!("{table}{key}");
            assert!(
                is_table || rows.contains(&row.as_str()),
                "no row for `{row}`"
            );
        }
    }
}

#[test]
fn every_number_of_a_ready_plant_is_documented() {
    let text = document("plant-file.md");
    let plants = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plants");
    let mut found = 0;
    for name in ["satellite-axis", "buck-boost", "three-tank", "geared-car"] {
        let plant = std::fs::read_to_string(plants.join(format!("{name}.toml"))).unwrap();
        let plant: toml::Table = plant.parse().unwrap();
        for key in plant["dynamics"].as_table().unwrap().keys() {
            assert!(
                text.contains(&format!("\n| `dynamics.{key}` |")),
                "{name}: {key}"
            );
            found += 1;
        }
    }
    assert!(found > 40, "{found}");
}

/// Names of the commands in `hpo --help`.
fn commands(hpo: &Hpo) -> Vec<String> {
    let help = hpo.done(&["--help"]);
    let (_, list) = help.split_once("Commands:\n").unwrap();
    let (list, _) = list.split_once("\n\n").unwrap();
    list.lines()
        .filter_map(|line| line.strip_prefix("  ")?.split_whitespace().next())
        .filter(|&name| name != "help")
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_command_and_option_is_documented() {
    let text = document("command-line.md");
    let hpo = Hpo::new();
    let commands = commands(&hpo);
    assert!(commands.len() >= 10, "{commands:?}");
    for command in &commands {
        let title = format!("\n## hpo {command}\n");
        let (_, section) = text
            .split_once(&title)
            .unwrap_or_else(|| panic!("no section `hpo {command}`"));
        let section = section.split("\n## ").next().unwrap();
        let help = hpo.done(&[command, "--help"]);
        for word in help.split(|c: char| c.is_whitespace() || ",:;.".contains(c)) {
            let Some(option) = word.strip_prefix("--").filter(|o| !o.is_empty()) else {
                continue;
            };
            if ["help", "version"].contains(&option) {
                continue;
            }
            let written = format!("`--{option}");
            assert!(section.contains(&written), "hpo {command}: no `--{option}`");
        }
    }
    // And nothing that does not exist.
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("## hpo ") {
            assert!(commands.iter().any(|command| command == name), "{line}");
        }
    }
}

#[test]
fn every_json_key_is_documented() {
    let text = document("command-line.md");
    let hpo = Hpo::new();
    hpo.small_run();
    for args in [
        &[
            "train",
            "switched-lqr-3-2",
            "--epochs",
            "1",
            "--out",
            "other",
        ][..],
        &["eval", "run", "--plant", "switched-lqr-3-2"],
        &["reference", "switched-lqr-3-2"],
        &["inspect", "run"],
        &["plants"],
        &["report", "run"],
        &[
            "compare",
            "switched-lqr-3-2",
            "--seeds",
            "1",
            "--epochs",
            "1",
        ],
        &[
            "gradcheck",
            "switched-lqr-2-2",
            "--samples",
            "4000",
            "--set",
            "horizon=3",
        ],
    ] {
        let section = text
            .split(&format!("\n## hpo {}\n", args[0]))
            .nth(1)
            .unwrap();
        let section = section.split("\n## ").next().unwrap();
        let quoted = quoted(section);
        for key in hpo.json(args).as_object().unwrap().keys() {
            assert!(
                quoted.contains(&key.as_str()),
                "hpo {}: no `{key}`",
                args[0]
            );
        }
    }
}

/// Bias and variance of every option: each key of the settings has a row in docs/algorithm.md with a word about it.
#[test]
fn algorithm_says_what_every_setting_does() {
    let mut settings = trainer::train::settings::Settings::default();
    // Keys that are left out where they have no value.
    settings.policy.selector_hidden = Some(Vec::new());
    settings.policy.control_hidden = Some(Vec::new());
    settings.policy.law_start = Some(0.0);
    settings.critic.forms = 2;
    let text = document("algorithm.md");
    let (_, text) = text.split_once("\n## Settings\n").unwrap();
    let (text, _) = text.split_once("\n## ").unwrap();
    let rows: Vec<(Vec<&str>, &str)> = text
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .map(|row| row.split_once(" | ").unwrap())
        .map(|(keys, effect)| (keys.split(['`', ',', ' ']).collect(), effect))
        .collect();
    let value = serde_json::to_value(&settings).unwrap();
    let mut found = 0;
    for (section, keys) in value.as_object().unwrap() {
        for key in keys.as_object().unwrap().keys() {
            let is = |word: &&str| match word.strip_suffix('*') {
                Some(start) => key.starts_with(start),
                None => *word == key || *word == format!("{section}.{key}"),
            };
            let row = rows.iter().find(|(keys, _)| keys.iter().any(&is));
            let (_, effect) = row.unwrap_or_else(|| panic!("no row for {section}.{key}"));
            assert!(effect.len() > 10, "{section}.{key}: {effect}");
            found += 1;
        }
    }
    assert!(found > 40, "{found} keys");
}
