//! Settings: defaults, `--set`, and messages that name key, finding and what is allowed.

use super::*;
use crate::error::{Error, Result};

const SMOOTH: PlantTraits = PlantTraits {
    states: 4,
    factors: 1,
    linear: true,
    modes: 4,
    homogeneous: true,
    horizon: 20,
    jumps: false,
};
const ROUGH: PlantTraits = PlantTraits {
    states: 4,
    factors: 1,
    linear: true,
    modes: 4,
    homogeneous: false,
    horizon: 20,
    jumps: false,
};

fn resolve(plant: PlantTraits, sets: &[(&str, &str)]) -> Result<Settings> {
    let sets: Vec<(String, String)> = sets
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect();
    Settings::resolve(&sets, plant)
}

/// The message of a refusal; every one is a usage error.
#[track_caller]
fn refusal(plant: PlantTraits, sets: &[(&str, &str)]) -> String {
    let error = resolve(plant, sets).expect_err("to be refused");
    assert!(matches!(error, Error::Usage(_)), "{error:?}");
    assert_eq!(error.exit_code(), 2);
    error.to_string()
}

#[track_caller]
fn assert_names(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "`{part}` is not in: {message}");
    }
}

#[test]
fn unknown_keys_are_refused() {
    assert_names(
        &refusal(SMOOTH, &[("train.epoch", "3")]),
        &["train.epoch", "unknown field", "allowed", "`epochs`"],
    );
    assert_names(&refusal(SMOOTH, &[("epoch", "3")]), &["epoch", "`epochs`"]);
    assert_names(
        &refusal(SMOOTH, &[("policy.law_per_mode", "3")]),
        &["policy.law_per_mode", "`laws_per_mode`"],
    );
    assert_names(
        &refusal(SMOOTH, &[("plant.horizon", "3")]),
        &[
            "plant.horizon",
            "unknown section `plant`",
            "allowed",
            "train, policy, critic",
        ],
    );
}

#[test]
fn wrong_types_are_refused() {
    for (key, value, allowed) in [
        ("train.epochs", "many", "a whole number"),
        ("train.epochs", "-1", "a whole number"),
        ("train.epochs", "1.5", "a whole number"),
        ("train.clip", "wide", "a number"),
        ("train.bootstrap", "1", "a boolean"),
        ("train.cross_term", "maybe", "`on`"),
        ("train.variant", "theory", "`exact`"),
        ("train.advantage", "ppo", "`look-ahead`"),
        ("policy.selector_hidden", "16", "a sequence"),
        ("policy.selector_hidden", "[16, \"x\"]", "a whole number"),
        ("critic.hidden", "none", "a sequence"),
    ] {
        let message = refusal(SMOOTH, &[(key, value)]);
        assert_names(&message, &[key, "found", value, "allowed", allowed]);
    }
}

#[test]
fn values_out_of_range_are_refused() {
    for (key, value) in [
        ("train.epochs", "0"),
        ("train.batch", "8"),
        ("train.batch", "24"),
        ("train.batch", "1000000"),
        ("train.batches_per_epoch", "0"),
        ("train.passes", "0"),
        ("train.minibatches", "0"),
        ("train.minibatches", "21"),
        ("train.critic_passes", "101"),
        ("train.validate_every", "0"),
        ("train.validation_states", "0"),
        ("train.gae_lambda", "1.5"),
        ("train.gae_lambda", "nan"),
        ("train.clip", "0"),
        ("train.clip", "inf"),
        ("train.entropy_start", "0"),
        ("train.entropy_end", "-1"),
        ("train.gradient_norm", "0"),
        ("train.step_gains", "0"),
        ("train.step_scores", "-0.1"),
        ("train.step_networks", "nan"),
        ("train.step_critic", "0"),
        ("train.step_final", "0"),
        ("train.step_final", "2"),
        ("train.pathwise_weight", "-1"),
        ("policy.laws_per_mode", "0"),
        ("policy.laws_per_mode", "257"),
        ("policy.score_spread", "-1"),
        ("policy.score_spread", "1e30"),
        ("policy.selector_hidden", "[0]"),
        ("policy.selector_hidden", "[1, 1, 1, 1, 1]"),
        ("policy.control_hidden", "[2000]"),
        ("critic.hidden", "[0]"),
    ] {
        assert_names(
            &refusal(SMOOTH, &[(key, value)]),
            &[key, "found", "allowed"],
        );
    }
}

#[test]
fn impossible_combinations_are_refused() {
    let exact = ("train.variant", "exact");
    type Refused<'a> = (PlantTraits, &'a [(&'a str, &'a str)], &'a [&'a str]);
    let cases: [Refused; 7] = [
        (
            SMOOTH,
            &[("policy.scores", "false")],
            &["policy.scores", "policy.selector_hidden"],
        ),
        (
            SMOOTH,
            &[("policy.gains", "false")],
            &["policy.gains", "policy.control_hidden"],
        ),
        (
            ROUGH,
            &[("policy.input", "unit-norm")],
            &["policy.input", "affine"],
        ),
        (
            SMOOTH,
            &[exact, ("train.passes", "2")],
            &["train.passes", "exact"],
        ),
        (
            SMOOTH,
            &[exact, ("train.advantage", "gae")],
            &["train.advantage", "exact", "look-ahead"],
        ),
        (
            SMOOTH,
            &[exact, ("train.choice_weight", "norm")],
            &["train.choice_weight", "cost"],
        ),
        (
            SMOOTH,
            &[("policy.scores", "maybe")],
            &["policy.scores", "a boolean"],
        ),
    ];
    for (plant, sets, parts) in cases {
        let message = refusal(plant, sets);
        assert_names(&message, parts);
        assert_names(&message, &["found", "allowed"]);
    }
}

#[test]
fn defaults_follow_the_plant_and_the_variant() {
    let smooth = resolve(SMOOTH, &[]).expect("defaults");
    assert_eq!(smooth, Settings::default());
    let rough = resolve(ROUGH, &[]).expect("defaults");
    assert_eq!(rough.policy.input, InputKind::Affine);
    assert!(rough.policy.selector_hidden.is_some() && rough.policy.control_hidden.is_some());
    let exact = resolve(SMOOTH, &[("variant", "exact")]).expect("exact");
    assert_eq!(exact.train.cross_term, CrossTerm::On);
    assert_eq!(exact.train.choice_weight, ChoiceWeight::Cost);
    // What is set explicitly wins over what the variant brings.
    let off = resolve(SMOOTH, &[("cross_term", "off"), ("variant", "\"exact\"")]).expect("off");
    assert_eq!(off.train.cross_term, CrossTerm::Off);
    // The last of two values counts, for the defaults that depend on it too.
    let back = resolve(
        SMOOTH,
        &[("variant", "exact"), ("train.variant", "practical")],
    );
    assert_eq!(back.expect("practical"), Settings::default());
}

#[test]
fn bare_words_integers_and_lists_are_read() {
    let settings = resolve(
        SMOOTH,
        &[
            ("train.advantage", "monte-carlo"),
            ("epochs", "7"),
            ("train.clip", "1"),
            ("policy.selector_hidden", "[16, 8]"),
            ("policy.control_hidden", "[]"),
        ],
    )
    .expect("good settings");
    assert_eq!(settings.train.advantage, Advantage::MonteCarlo);
    assert_eq!(settings.train.epochs, 7);
    assert_eq!(settings.train.clip, 1.0);
    assert_eq!(settings.policy.selector_hidden, Some(vec![16, 8]));
    assert_eq!(settings.policy.control_hidden, Some(vec![]));
}

/// What a run directory holds reads back to the same settings, and every key in it can be set.
#[test]
fn settings_survive_their_own_text() {
    for plant in [SMOOTH, ROUGH] {
        let settings = resolve(plant, &[]).expect("defaults");
        let text = toml::to_string(&settings).expect("text");
        assert_eq!(
            toml::from_str::<Settings>(&text).expect("settings"),
            settings
        );
        let table: toml::Table = text.parse().expect("table");
        for (section, fields) in table {
            for (key, value) in fields.as_table().expect("section") {
                let same = resolve(plant, &[(&format!("{section}.{key}"), &value.to_string())]);
                assert_eq!(same.expect("its own value"), settings, "{section}.{key}");
            }
        }
    }
}

/// Every preset is allowed as it stands, on both kinds of plants, and survives its own text.
#[test]
fn presets_are_allowed() {
    use clap::ValueEnum as _;
    for plant in [SMOOTH, ROUGH] {
        for algo in Algorithm::value_variants() {
            for structure in Structure::value_variants() {
                let sets = [
                    ("train.algo", algo.name()),
                    ("policy.structure", structure.name()),
                ];
                let settings = resolve(plant, &sets).expect("a preset");
                assert_eq!(settings, Settings::preset(*algo, *structure, plant));
                assert_eq!(settings.train.algo, *algo);
                assert_eq!(settings.policy.structure, *structure);
                let networks = *structure != Structure::Quadratic || !plant.homogeneous;
                assert_eq!(settings.policy.selector_hidden.is_some(), networks);
                let text = toml::to_string(&settings).expect("text");
                assert_eq!(
                    toml::from_str::<Settings>(&text).expect("settings"),
                    settings
                );
            }
        }
    }
}

/// The preset of the last word wins, and what is set by hand wins over the preset.
#[test]
fn sets_win_over_the_preset() {
    let sets = [
        ("policy.structure", "plain"),
        ("policy.gains", "true"),
        ("algo", "hpo"),
        ("train.algo", "ppo"),
        ("train.passes", "3"),
    ];
    let settings = resolve(SMOOTH, &sets).expect("settings");
    assert_eq!(settings.train.algo, Algorithm::Ppo);
    assert_eq!(settings.train.passes, 3);
    assert_eq!(settings.train.advantage, Advantage::Gae);
    assert!(settings.policy.gains && !settings.policy.scores);
}

#[test]
fn unknown_presets_are_refused() {
    assert_names(
        &refusal(SMOOTH, &[("train.algo", "trpo")]),
        &["train.algo", "trpo", "allowed", "`ppo`"],
    );
    assert_names(
        &refusal(SMOOTH, &[("policy.structure", "deep")]),
        &["policy.structure", "deep", "allowed", "`plain`"],
    );
}

/// What an algorithm cannot do is refused instead of ignored.
#[test]
fn combinations_of_algorithms_are_checked() {
    let cases: [(&[(&str, &str)], &str); 7] = [
        (
            &[("train.algo", "ppo"), ("train.advantage", "look-ahead")],
            "look-ahead",
        ),
        (
            &[("train.algo", "reinforce"), ("train.passes", "2")],
            "passes",
        ),
        (
            &[("train.algo", "gumbel"), ("train.variant", "exact")],
            "exact",
        ),
        (
            &[("train.algo", "gumbel"), ("train.cross_term", "off")],
            "cross_term",
        ),
        (
            &[("train.algo", "ppo"), ("train.cross_term", "auto")],
            "cross_term",
        ),
        (
            &[("train.algo", "ppo"), ("train.noise_start", "0.001")],
            "noise_least",
        ),
        (
            &[("train.cross_term", "auto"), ("train.batch", "16")],
            "train.batch",
        ),
    ];
    for (sets, part) in cases {
        assert_names(&refusal(SMOOTH, sets), &["allowed", part]);
    }
}

#[test]
fn nonlinear_plants_have_networks_and_gains_by_default() {
    let nonlinear = PlantTraits {
        linear: false,
        ..ROUGH
    };
    let settings = resolve(nonlinear, &[]).unwrap();
    assert_eq!(settings.policy.structure, Structure::Structured);
    assert_eq!(settings.policy.laws_per_mode, 1);
    assert!(settings.policy.gains && settings.policy.control_hidden.is_some());
    assert_eq!(settings.train.advantage, Advantage::LookAhead);
    assert_eq!(settings.train.gradient_norm, 10.0);
    for other in [
        ROUGH,
        PlantTraits {
            jumps: true,
            ..nonlinear
        },
        PlantTraits {
            modes: 1,
            ..nonlinear
        },
    ] {
        let settings = resolve(other, &[]).unwrap();
        assert_eq!(settings.policy.structure, Structure::Quadratic);
    }
}
