//! Plant files and files of states that are not acceptable.

use super::support::Hpo;

const GOOD: &str = r#"name = "two-valves"
horizon = 5

[dynamics]
A = [[1.0, 0.1], [0.0, 1.0]]
B = [[[1.0], [0.0]], [[0.0], [1.0]]]
Q = [[1.0, 0.0], [0.0, 1.0]]
R = [[0.1]]
"#;

/// Every command that reads a plant refuses it with the same words.
fn refused_by_all(hpo: &Hpo, plant: &str, parts: &[&str]) {
    hpo.refuses(&["train", plant, "--out", "run"], parts);
    hpo.refuses(&["reference", plant], parts);
    hpo.refuses(&["eval", "fixed-mode:0", "--plant", plant], parts);
}

#[test]
fn the_good_file_is_accepted() {
    let hpo = Hpo::new();
    hpo.write("plant.toml", GOOD);
    hpo.json(&["reference", "plant.toml"]);
    hpo.json(&["eval", "fixed-mode:1", "--plant", "plant.toml"]);
}

#[test]
fn bad_plant_files_are_refused_with_file_field_found_and_allowed() {
    let a = "A = [[1.0, 0.1], [0.0, 1.0]]";
    let b = "B = [[[1.0], [0.0]], [[0.0], [1.0]]]";
    let r = "R = [[0.1]]";
    let matrices = GOOD.split_once("[dynamics]\n").unwrap().1;
    for (old, new, parts) in [
        // Unknown keys, at the top and in a table.
        (
            "horizon = 5",
            "horizn = 5",
            &[
                "line 2: found unknown field `horizn`",
                "allowed: one of `name`",
            ][..],
        ),
        (
            "[dynamics]",
            "[dynamics]\nC = 1",
            &["found unknown field `C`", "`A`, `B`, `Q`, `R`"],
        ),
        // Wrong shapes.
        (
            b,
            "B = [[[1.0], [0.0]], [[0.0], [1.0], [2.0]]]",
            &["dynamics.B[1]: found 3 x 1; allowed: 2 x 1"],
        ),
        (
            r,
            "R = [[0.1, 0.0]]",
            &["dynamics.R[0]: found 1 x 2; allowed: 1 x 1"],
        ),
        (
            a,
            "A = [[1.0, 0.1], [0.0]]",
            &["dynamics.A[1]: found 1 numbers; allowed: 2 numbers"],
        ),
        (
            "Q = [[1.0, 0.0], [0.0, 1.0]]",
            "Q = 1.0",
            &["dynamics.Q: found `1.0`; allowed: a matrix"],
        ),
        // Not square.
        (
            a,
            "A = [[1.0, 0.1]]",
            &["dynamics.A: found 1 x 2; allowed: a square matrix"],
        ),
        // Not numbers.
        (
            a,
            "A = [[1.0, nan], [0.0, 1.0]]",
            &["dynamics.A[0][1]: found NaN; allowed: a finite number"],
        ),
        (
            r,
            "R = [[inf]]",
            &["dynamics.R[0][0]: found inf; allowed: a finite number"],
        ),
        (
            r,
            "R = [[-0.1]]",
            &["dynamics.R[0]: found least eigenvalue -0.1; allowed: a symmetric positive definite"],
        ),
        // No modes.
        (
            b,
            "B = []",
            &["dynamics.B: found 0 elements; allowed: ", "1 to 256"],
        ),
        (
            matrices,
            "generator = { n = 4, modes = 0 }\n",
            &["dynamics.generator.modes: found 0; allowed: 1 to n = 4"],
        ),
        // Horizon.
        (
            "horizon = 5",
            "horizon = 0",
            &["horizon: found 0; allowed: 1 to 1000000 steps"],
        ),
        (
            "horizon = 5",
            "",
            &["horizon: found nothing; allowed: a number of steps"],
        ),
        // Not TOML at all.
        ("[dynamics]", "[dynamics", &["line 4", "allowed: "]),
        // A file that is not there.
        (
            matrices,
            "file = \"matrices.npz\"\n",
            &["matrices.npz: cannot read: No such file"],
        ),
    ] {
        assert!(GOOD.contains(old), "{old}");
        let hpo = Hpo::new();
        hpo.write("plant.toml", GOOD.replace(old, new));
        // An error in a file that the plant names is about that file.
        let file = if parts[0].contains(".npz") {
            ""
        } else {
            "plant.toml: "
        };
        refused_by_all(&hpo, "plant.toml", &[&[file], parts].concat());
    }
}

#[test]
fn a_missing_plant_file_is_refused() {
    let hpo = Hpo::new();
    let parts = ["nowhere/plant.toml: cannot read: No such file"];
    refused_by_all(&hpo, "nowhere/plant.toml", &parts);
}

#[test]
fn an_unknown_plant_is_answered_with_the_ready_plants() {
    let hpo = Hpo::new();
    let parts = [
        "unknown plant `two-tanks`",
        "switched-lqr-3-2, switched-lqr-8-2, switched-lqr-8-4, switched-lqr-16-4",
        "switched-lqr-N-M",
        "*.toml",
    ];
    refused_by_all(&hpo, "two-tanks", &parts);
}

#[test]
fn bad_states_are_refused_by_line() {
    let hpo = Hpo::new();
    hpo.write("plant.toml", GOOD);
    hpo.write("good.csv", "1,2\n3,4\n");
    let evaluated = [
        "eval",
        "round-robin",
        "--plant",
        "plant.toml",
        "--states",
        "good.csv",
    ];
    assert_eq!(hpo.json(&evaluated)["episodes"], 2);
    for (text, part) in [
        (
            "1,2\n3,x\n",
            "X0.csv: line 2, number 2: found `x`; allowed: a finite number",
        ),
        (
            "1,2\n\nNaN,1\n",
            "X0.csv: line 3, number 1: found `NaN`; allowed: a finite number",
        ),
        (
            "1,2,3\n",
            "X0.csv: line 1: found 3 numbers; allowed: 2 numbers, one per state",
        ),
        (
            "",
            "X0.csv: states: found no line; allowed: at least one initial state",
        ),
    ] {
        hpo.write("X0.csv", text);
        let states = ["--states", "X0.csv"];
        hpo.refuses(
            &[&["reference", "plant.toml"], &states[..]].concat(),
            &[part],
        );
        let eval = ["eval", "fixed-mode:0", "--plant", "plant.toml"];
        hpo.refuses(&[&eval, &states[..]].concat(), &[part]);
    }
    hpo.refuses(
        &["reference", "plant.toml", "--states", "missing.csv"],
        &["missing.csv: cannot read: No such file"],
    );
}
