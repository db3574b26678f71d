//! `hpo report`: a page that stands alone.

use super::support::{Hpo, PLANT, SMALL};

/// Tags must close in the order in which they were opened, and nothing may be loaded or run.
fn check_page(html: &str) {
    for banned in ["<script", "src=", "href=", "url(", "@import", "NaN", "inf "] {
        assert!(!html.contains(banned), "found {banned}");
    }
    let links = html.matches("http").count();
    let names = html.matches("xmlns=\"http://www.w3.org/2000/svg\"").count();
    assert_eq!(links, names, "only the namespace of SVG is a URL");
    let (_, body) = html.split_once("<body>").unwrap();
    let mut open = vec!["body"];
    for part in body.split('<').skip(1) {
        let tag = part.split('>').next().unwrap();
        let name = tag.split([' ', '/']).find(|n| !n.is_empty()).unwrap();
        if tag.starts_with('/') {
            if name == "html" {
                break;
            }
            assert_eq!(open.pop(), Some(name), "at </{name}>");
        } else if !tag.ends_with('/') && name != "br" {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "{open:?}");
}

#[test]
fn the_page_shows_every_part_and_stands_alone() {
    let hpo = Hpo::new();
    hpo.small_run();
    let summary = hpo.json(&["report", "run", "-o", "page.html", "--steps", "50"]);
    let html = String::from_utf8(hpo.read("page.html")).unwrap();
    check_page(&html);
    assert_eq!(summary["bytes"].as_u64(), Some(html.len() as u64));
    let eval = hpo.json(&["eval", "run", "--plant", PLANT]);
    assert_eq!(summary["mean_cost"], eval["mean_cost"]);
    assert_eq!(summary["gap_percent"], eval["gap_percent"]);
    let reference = hpo.json(&["reference", PLANT]);
    for key in ["optimal_cost", "averaged_riccati_cost", "round_robin_cost"] {
        let cost = format!("{:.4}", reference[key].as_f64().unwrap());
        assert!(html.contains(&cost), "no {key} {cost}");
    }
    for part in [
        "certified lower bound",
        "fixed mode 1",
        "Learning",
        "Gradient norms",
        "Entropy",
        "Episodes",
        "Stage cost",
        "Mode maps",
        "same mode on",
        "When plant and model differ",
        "dropout",
        "Beyond the horizon",
        "episodes of 50 steps with process noise",
        "The policy",
        "hpo train switched-lqr-3-2 --algo hpo",
        "--set train.batch=16",
        "All settings",
    ] {
        assert!(html.contains(part), "no `{part}`");
    }
    repeats(&hpo, &html, "run", "again");
}

/// The command that the page shows makes the same policy.
fn repeats(hpo: &Hpo, html: &str, run: &str, again: &str) {
    let (_, command) = html.split_once("<pre class=\"command\">hpo ").unwrap();
    let (command, _) = command.split_once("</pre>").unwrap();
    let words: Vec<&str> = command.split(' ').chain(["--out", again]).collect();
    hpo.done(&words);
    let policy = |run: &str| hpo.read(&format!("{run}/policy.hpo"));
    assert_eq!(policy(again), policy(run), "{command}");
}

/// A start decides defaults; a start from a policy names its file.
#[test]
fn the_command_of_a_run_with_a_start_repeats_it() {
    let hpo = Hpo::new();
    for (start, run) in [("averaged-riccati", "first"), ("first", "second")] {
        let args = [
            "train", PLANT, "--start", start, "--epochs", "2", "--out", run,
        ];
        let laws = ["--set", "policy.laws_per_mode=2"];
        hpo.done(&[&args[..], &laws, &SMALL].concat());
        hpo.done(&["report", run, "--steps", "0"]);
        let html = String::from_utf8(hpo.read(&format!("{run}/report.html"))).unwrap();
        assert!(html.contains(&format!("--start {start}")), "{start}");
        repeats(&hpo, &html, run, &format!("{run}-again"));
    }
}

#[test]
fn a_plant_without_a_valid_reference_is_said_to_have_none() {
    let hpo = Hpo::new();
    hpo.write(
        "noisy.toml",
        "name = \"noisy <plant>\"\nnoise = 0.1\n[dynamics]\ngenerator = { n = 2, modes = 2 }\n",
    );
    let args = ["train", "noisy.toml", "--epochs", "2", "--out", "run"];
    hpo.done(&[&args, &SMALL[..]].concat());
    let summary = hpo.json(&["report", "run", "--plant", "noisy.toml"]);
    assert!(summary["gap_percent"].is_null() && summary["gap_percent_certified"].is_null());
    let html = String::from_utf8(hpo.read("run/report.html")).unwrap();
    check_page(&html);
    for part in [
        "No reference for the optimum is valid on this plant",
        "no valid reference on this plant",
        "noisy &lt;plant&gt;",
        "averaged Riccati (dashed)",
        "not valid",
    ] {
        assert!(html.contains(part), "no `{part}`");
    }
    assert!(html.contains("steps with the plant's own process noise"));
    assert!(
        !html.contains("without the noise"),
        "nothing is compared with a plant without noise"
    );
    // Without --steps the page has its runs beyond the horizon; 0 leaves them out.
    assert!(html.contains("Beyond the horizon") && html.contains("episodes of 10000 steps"));
    hpo.done(&["report", "run", "--plant", "noisy.toml", "--steps", "0"]);
    let html = String::from_utf8(hpo.read("run/report.html")).unwrap();
    assert!(!html.contains("Beyond the horizon"));
    hpo.refuses(
        &["report", "run", "--plant", PLANT],
        &["--plant: found switched-lqr-3-2; allowed: the plant of the run"],
    );
}

/// Under affine terms averaged Riccati has no solution; where the bounds are active too, nothing stands beside the policy.
#[test]
fn maps_without_a_controller_beside_say_so_and_the_curve_begins_before_the_first_epoch() {
    let hpo = Hpo::new();
    hpo.write(
        "pushed.toml",
        "name = \"pushed\"\nhorizon = 6\nnoise = 0.1\n[dynamics]\nA = [[1.1, 0.1], [0.0, 1.05]]\n\
         B = [[[1.0], [0.1]], [[0.1], [1.0]]]\nQ = [[1.0, 0.0], [0.0, 1.0]]\nR = [[0.1]]\naffine = [0.1, 0.0]\n\
         [initial]\nhalf_width = 2.0\n",
    );
    let args = ["train", "pushed.toml", "--epochs", "1", "--out", "run"];
    hpo.done(&[&args, &SMALL[..]].concat());
    hpo.done(&["report", "run", "--plant", "pushed.toml"]);
    let html = String::from_utf8(hpo.read("run/report.html")).unwrap();
    check_page(&html);
    for part in [
        "the policy alone, since no Riccati controller is valid on this plant",
        "averaged Riccati: the plant has affine terms",
    ] {
        assert!(html.contains(part), "no `{part}`");
    }
    assert!(!html.contains("(right)"));
    // One epoch, one validation, and the start's.
    let (_, cost) = html.split_once("aria-label=\"Cost\"").unwrap();
    let (cost, _) = cost.split_once("</svg>").unwrap();
    let validation = cost
        .rsplit("<path d=\"")
        .find(|path| path.contains("#0072b2"))
        .unwrap();
    let points = validation
        .split('"')
        .next()
        .unwrap()
        .matches(['M', 'L'])
        .count();
    assert_eq!(points, 2, "{validation}");
    hpo.refuses(
        &["eval", "averaged-riccati", "--plant", "pushed.toml"],
        &["averaged-riccati: the plant has affine terms"],
    );
}

/// Such a plant has no Riccati controller and no process noise, but has controllers to compare with.
#[test]
fn a_plant_with_classical_controllers_is_compared_with_the_cheapest() {
    let hpo = Hpo::new();
    let args = ["train", "geared-car", "--epochs", "1", "--out", "run"];
    hpo.done(&[&args, &SMALL[..]].concat());
    hpo.done(&["report", "run", "--steps", "300"]);
    let html = String::from_utf8(hpo.read("run/report.html")).unwrap();
    check_page(&html);
    let eval = hpo.json(&["eval", "run", "--plant", "geared-car"]);
    let name = eval["baseline"].as_str().unwrap();
    let difference = eval["baseline_gap_percent"].as_f64().unwrap();
    for part in [
        &format!("<div class=\"name\">difference to {name}</div>"),
        &format!("<th>difference to {name}</th>"),
        &format!(" % against {name}"),
        "Beyond the horizon",
        "no process noise on this plant",
    ] {
        assert!(html.contains(part), "no `{part}`");
    }
    let shown = match difference.abs() {
        d if d >= 1e5 => format!("{difference:+.1e} %"),
        d if d >= 100.0 => format!("{difference:+.0} %"),
        _ => format!("{difference:+.2} %"),
    };
    assert!(
        html.matches(&shown).count() >= 3,
        "card, card, table: {shown}"
    );
    for part in [
        "process noise of the plant",
        "with process noise",
        "without the noise",
        "switched-riccati",
        "has no solution",
        "no valid reference",
    ] {
        assert!(!html.contains(part), "`{part}`");
    }
}

#[test]
fn a_diverged_run_says_so() {
    let hpo = Hpo::new();
    let args = ["train", PLANT, "--epochs", "3", "--out", "1"];
    let bad = [&args, &SMALL[..], &["--set", "train.step_gains=100"]].concat();
    let diverges = |args: &[&str]| {
        let outcome = hpo.run(args);
        assert_eq!(outcome.code, 1, "{outcome:?}");
        assert!(
            outcome.stderr.contains("training diverged in epoch"),
            "{outcome:?}"
        );
    };
    diverges(&bad);
    hpo.done(&["report", "1", "--steps", "0"]);
    let html = String::from_utf8(hpo.read("1/report.html")).unwrap();
    check_page(&html);
    for part in [
        "Training diverged.",
        "training diverged in epoch",
        "train.step_gains = 1e2",
        "policy.hpo in the run directory",
    ] {
        assert!(html.contains(part), "no `{part}`");
    }
    // It diverges again, with the same words.
    let before = hpo.read("1/diverged.json");
    // The run's name is a digit of the message as well, and only its place is not repeated.
    let said = String::from_utf8(before.clone()).unwrap();
    assert_eq!(said.matches("the run directory").count(), 1, "{said}");
    diverges(&[&bad[..], &["--resume"]].concat());
    assert_eq!(hpo.read("1/diverged.json"), before);
    // A run that does not diverge when it is resumed (of another version, say) has no such file, and its page no such words.
    hpo.small_run();
    hpo.write("run/diverged.json", &before);
    let small = ["train", PLANT, "--epochs", "2", "--out", "run", "--resume"];
    hpo.done(&[&small, &SMALL[..]].concat());
    assert!(!hpo.path("run/diverged.json").exists());
    hpo.done(&["report", "run", "--steps", "0"]);
    let html = String::from_utf8(hpo.read("run/report.html")).unwrap();
    assert!(!html.contains("Training diverged."));
    hpo.write("run/diverged.json", "hello");
    hpo.refuses(&["report", "run"], &["diverged.json: JSON"]);
}

#[test]
fn what_is_no_run_is_refused() {
    let hpo = Hpo::new();
    hpo.small_run();
    hpo.refuses(&["report", "nowhere"], &["nowhere: found no folder"]);
    hpo.refuses(&["report", "run/policy.hpo"], &["found no folder"]);
    std::fs::create_dir(hpo.path("empty")).unwrap();
    hpo.refuses(&["report", "empty"], &["without settings.toml"]);
    hpo.refuses(&["report", "run", "-o", "no/page.html"], &["no/page.html"]);
    hpo.refuses(
        &["report", "run", "--steps", "20"],
        &["--steps: found 20; allowed: 21 to"],
    );
    let settings = hpo.read("run/settings.toml");
    hpo.write("run/settings.toml", "bogus = 1\n");
    hpo.refuses(&["report", "run"], &["settings.toml: settings", "bogus"]);
    hpo.write("run/settings.toml", settings);
    let metrics = hpo.read("run/metrics.jsonl");
    hpo.write("run/metrics.jsonl", "hello\n");
    hpo.refuses(&["report", "run"], &["metrics.jsonl: line 1"]);
    hpo.write("run/metrics.jsonl", metrics);
    std::fs::remove_file(hpo.path("run/policy.hpo")).unwrap();
    hpo.refuses(&["report", "run"], &["without policy.hpo"]);
}
