use std::path::Path;

use crate::plant::PlantModel;
use crate::plant::dynamics::Origin;
use crate::plant::file::{Overrides, parse_plant};
use policy_format::{FallbackKind, ModeHistory};

const PLANT: &str = r#"
name = "constrained"
horizon = 10
sample_time_s = 0.02
[dynamics]
A = [[[1.0, 0.1], [0.0, 1.0]], [[0.9, 0.0], [0.1, 1.0]], [[1.0, 0.0], [0.0, 1.0]]]
B = [[[0.0], [1.0]], [[1.0], [0.0]], [[1.0], [1.0]]]
Q = [[1.0, 0.0], [0.0, 1.0]]
R = [[0.1]]
[initial]
half_width = [1.0, 2.0]
"#;

fn read(extra: &str) -> crate::Result<PlantModel> {
    let text = format!("{PLANT}\n{extra}");
    parse_plant(
        &text,
        Path::new("c.toml"),
        &Origin::Folder(Path::new(".").to_path_buf()),
        &Overrides::default(),
    )
}

const EVERYTHING: &str = r#"
[limits]
u_min = -2.0
u_max = 3.0
rate = 12.5
start = 0.5
[dwell]
steps = [1, 2, 3]
hysteresis = 0.25
[masks]
follow = [[0, 1], [0, 1, 2], [1, 2]]
[envelope]
lower = [-5.0, -6.0]
upper = 7.0
typical_upper = [0.5, 7.0]
[supervision]
fallback = "hold"
recover_after = 5
deadline_s = 0.03
max_age_s = 0.01
frozen_after = 4
"#;

#[test]
fn every_key_is_read() {
    let plant = read(EVERYTHING).unwrap();
    let bounds = plant.bounds().unwrap();
    assert_eq!((&bounds.lower, &bounds.upper), (&vec![-2.0], &vec![3.0]));
    let rate = plant.constraints().rate.as_ref().unwrap();
    assert_eq!((rate.step[0], rate.start[0]), (0.25, 0.5));
    let modes = plant.constraints().modes.as_ref().unwrap();
    assert_eq!((modes.hysteresis, &modes.dwell), (0.25, &vec![1, 2, 3]));
    let rules = modes.view();
    assert!(rules.may_follow(0, 1) && !rules.may_follow(0, 2));
    let history = ModeHistory::start().then(2).then(2);
    assert!(rules.dwells(history) && !rules.dwells(history.then(2)));
    let [lower, upper, low, high] = plant.watch().envelope.as_ref().unwrap();
    assert_eq!(
        (lower.as_slice(), upper.as_slice()),
        (&[-5.0, -6.0][..], &[7.0, 7.0][..])
    );
    // The box of initial states where the file states nothing.
    assert_eq!(
        (low.as_slice(), high.as_slice()),
        (&[-1.0, -2.0][..], &[0.5, 7.0][..])
    );
    let supervision = plant.watch().supervision.unwrap();
    assert_eq!(supervision.fallback, FallbackKind::Hold);
    assert_eq!(
        (supervision.recover_after, supervision.frozen_after),
        (5, 4)
    );
    assert_eq!(
        (supervision.deadline_us, supervision.max_age_us),
        (30_000, 10_000)
    );
}

#[test]
fn a_resolved_file_reads_back() {
    for extra in [
        EVERYTHING,
        "[limits]\nrate = 0.3333333333\n",
        "[dwell]\nsteps = 4\n",
    ] {
        let plant = read(extra).unwrap();
        let again = parse_plant(
            &plant.resolved_toml(),
            Path::new("again.toml"),
            &Origin::Folder(Path::new(".").to_path_buf()),
            &Overrides::default(),
        )
        .unwrap();
        assert_eq!(plant.constraints(), again.constraints());
        assert_eq!(plant.watch(), again.watch());
        assert_eq!(plant.bounds(), again.bounds());
        assert_eq!(plant.target_class(), again.target_class());
    }
}

#[test]
fn defaults_restrict_nothing() {
    let plant = read("").unwrap();
    assert!(plant.constraints().is_empty());
    assert_eq!(*plant.watch(), crate::plant::Watch::default());
    // Zero moved into the bounds.
    let plant = read("[limits]\nu_min = 1\nu_max = 2\nrate = 1\n").unwrap();
    assert_eq!(plant.constraints().rate.as_ref().unwrap().start, [1.0]);
}

#[test]
fn every_mistake_names_its_field() {
    for (extra, field) in [
        ("[limits]\nu_min = 2\nu_max = 1\n", "limits.u_min[0]"),
        ("[limits]\nu_min = 2\n", "limits.u_max"),
        ("[limits]\nu_max = 2\n", "limits.u_min"),
        (
            "[bounds]\nlower = 0\nupper = 1\n[limits]\nu_min = 0\nu_max = 1\n",
            "limits.u_min",
        ),
        ("[limits]\nrate = 0\n", "limits.rate[0]"),
        ("[limits]\nrate = -1\n", "limits.rate[0]"),
        ("[limits]\nrate = [1, 2]\n", "limits.rate"),
        ("[limits]\nrate = nan\n", "limits.rate"),
        ("[limits]\nstart = 1\n", "limits.start"),
        (
            "[limits]\nu_min = 0\nu_max = 1\nrate = 1\nstart = 2\n",
            "limits.start[0]",
        ),
        ("[limits]\nspeed = 1\n", "speed"),
        ("[dwell]\nsteps = 0\n", "dwell.steps[0]"),
        ("[dwell]\nsteps = 11\n", "dwell.steps[0]"),
        ("[dwell]\nsteps = [1, 2.5, 1]\n", "dwell.steps[1]"),
        ("[dwell]\nsteps = [1, 2]\n", "dwell.steps"),
        ("[dwell]\nhysteresis = -0.1\n", "dwell.hysteresis"),
        ("[dwell]\nhysteresis = inf\n", "dwell.hysteresis"),
        ("[masks]\nfollow = [[0], [1]]\n", "masks.follow"),
        ("[masks]\nfollow = [[0], [], [1]]\n", "masks.follow[1]"),
        ("[masks]\nfollow = [[0], [3], [1]]\n", "masks.follow[1][0]"),
        ("[masks]\nfollow = [[0], [1], [-1]]\n", "masks.follow[2][0]"),
        ("[envelope]\nlower = 2\nupper = 1\n", "envelope.lower[0]"),
        (
            "[envelope]\nlower = 0\nupper = 1\ntypical_lower = 2\n",
            "envelope.typical_lower[0]",
        ),
        ("[envelope]\nlower = -1e300\nupper = 1\n", "envelope.lower"),
        (
            "[supervision]\nfallback = \"stop\"\n",
            "supervision.fallback",
        ),
        (
            "[supervision]\nrecover_after = -1\n",
            "supervision.recover_after",
        ),
        (
            "[supervision]\ndeadline_s = 0.01\n",
            "supervision.deadline_s",
        ),
        (
            "[supervision]\ndeadline_s = 3000\n",
            "supervision.deadline_s",
        ),
        ("[supervision]\nmax_age_s = 0\n", "supervision.max_age_s"),
        (
            "[supervision]\nfrozen_after = 1\n",
            "supervision.frozen_after",
        ),
    ] {
        let error = read(extra).expect_err(extra).to_string();
        assert!(error.contains(field), "{extra}: {error}");
        assert!(error.contains("c.toml"), "{extra}: {error}");
    }
}
