//! Own plants: adjoint, plant file, refusals.

use serde::Deserialize;

use super::*;
use crate::numeric::{Dual, Purpose, Stream};
use crate::plant::{Plant, load_plant};

/// Two states, two modes, every operation of a scalar.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Bench {
    stiffness: f64,
    gains: Vec<f64>,
    price: f64,
}

impl OwnPlant for Bench {
    const KIND: &'static str = "test-bench";
    const UNCERTAIN: &'static [&'static str] = &["stiffness", "gains"];

    fn dims(&self) -> Dims {
        Dims {
            state: 2,
            control: 1,
            modes: 2,
            noise: 1,
        }
    }

    #[inline]
    fn step<T: Real, S: Scalar<T>>(
        &self,
        seconds: f64,
        mode: usize,
        x: &[S],
        u: &[S],
        noise: &[S],
        next: &mut [S],
    ) -> S {
        let (h, k, gain) = (
            T::from_f64(seconds),
            T::from_f64(self.stiffness),
            T::from_f64(self.gains[mode]),
        );
        let spring = (x[0] * x[0] + S::constant(T::from(1.0)))
            .chain(|v| Real::sqrt(v), |v| T::from(0.5) / Real::sqrt(v));
        next[0] = x[0].add_scaled(h, x[1]) + noise[0] * T::from(0.1);
        next[1] =
            (x[1] - x[0] * spring * (h * k)).clamp(T::from(-2.0), T::from(2.0)) + u[0] * (h * gain);
        x[0] * x[0] + u[0] * u[0] * T::from_f64(self.price)
    }

    fn check(&self) -> std::result::Result<(), (&'static str, String, &'static str)> {
        if self.price >= 0.0 {
            Ok(())
        } else {
            Err(("price", self.price.to_string(), "a number, 0 or more"))
        }
    }

    fn rule(&self, x: &[f64], must: Option<usize>, u: &mut [f64]) -> Option<usize> {
        let mode = must.unwrap_or(usize::from(x[0] > 0.0));
        u[0] = -x[0] - self.gains[mode] * x[1];
        Some(mode)
    }
}

fn load(dynamics: &str) -> Result<crate::plant::PlantModel> {
    register::<Bench>();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bench.toml");
    let text =
        format!("name = \"bench\"\nhorizon = 10\nsample_time_s = 0.1\n[dynamics]\n{dynamics}\n");
    std::fs::write(&file, text).unwrap();
    load_plant(file.to_str().unwrap(), &[])
}

const GOOD: &str = "kind = \"test-bench\"\nstiffness = 2.0\ngains = [1.0, -0.5]\nprice = 0.3";

#[test]
fn the_adjoint_is_that_of_the_equations() {
    let plant = load(GOOD).unwrap();
    let built = plant.build::<f64>();
    for seed in 0..50 {
        let mut stream = Stream::new(seed, Purpose::Generator, 8);
        let mut draw = || 2.0 * stream.normal();
        let (x, u, w) = ([draw(), draw()], [draw()], [draw()]);
        let (d_next, d_cost) = ([draw(), draw()], draw());
        for mode in 0..2 {
            let value = |x: &[f64], u: &[f64]| {
                let mut next = [0.0; 2];
                let cost: f64 = built.step(mode, x, u, &w, &mut next);
                cost * d_cost + next[0] * d_next[0] + next[1] * d_next[1]
            };
            let (mut d_x, mut d_u) = ([9.0; 2], [9.0; 1]);
            built.vjp(mode, &x, &u, &w, &[], &d_next, d_cost, &mut d_x, &mut d_u);
            for i in 0..3 {
                let moved = |by: f64| {
                    let (mut x, mut u) = (x, u);
                    if i < 2 {
                        x[i] += by
                    } else {
                        u[0] += by
                    }
                    value(&x, &u)
                };
                let difference = (moved(1e-6) - moved(-1e-6)) / 2e-6;
                let found = if i < 2 { d_x[i] } else { d_u[0] };
                assert!(
                    (found - difference).abs() < 1e-6 * (1.0 + found.abs()),
                    "{found} {difference}"
                );
                // The object's forward derivative is the transpose of its adjoint.
                let dual = |at: usize, value: f64| {
                    Dual::<f64, f64>::new(value, f64::from(u8::from(at == i)))
                };
                let (xd, ud) = ([dual(0, x[0]), dual(1, x[1])], [dual(2, u[0])]);
                let mut next = [Dual::fixed(0.0); 2];
                let cost = built.step(mode, &xd, &ud, &[Dual::fixed(w[0])], &mut next);
                let along = cost.tangent * d_cost
                    + next[0].tangent * d_next[0]
                    + next[1].tangent * d_next[1];
                assert!((found - along).abs() < 1e-12 * (1.0 + found.abs()));
            }
        }
    }
}

#[test]
fn a_plant_file_names_the_kind_and_reads_back() {
    let plant = load(GOOD).unwrap();
    assert_eq!(plant.family().kind(), "test-bench");
    assert_eq!(plant.baseline_names(), [RULE]);
    let text = plant.resolved_toml();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("again.toml");
    std::fs::write(&file, text).unwrap();
    let again = load_plant(file.to_str().unwrap(), &[]).unwrap();
    assert_eq!(plant.family(), again.family());
    // Mismatch: the uncertain numbers, and no other.
    let mut other = plant.family().clone();
    other.scale_parameters(&mut || 2.0);
    let table = other.to_table();
    assert_eq!(table["stiffness"].as_float(), Some(4.0));
    assert_eq!(table["gains"].as_array().unwrap()[1].as_float(), Some(-1.0));
    assert_eq!(table["price"].as_float(), Some(0.3));
    assert_ne!(plant.family(), &other);
}

#[test]
fn wrong_files_are_refused_with_their_place() {
    let refuse = |dynamics: &str, parts: &[&str]| {
        let error = load(dynamics).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        let message = error.to_string();
        for part in parts {
            assert!(message.contains(part), "`{part}` is not in: {message}");
        }
    };
    refuse(
        &GOOD.replace("0.3", "-0.3"),
        &["dynamics.price: found -0.3", "0 or more"],
    );
    refuse(&GOOD.replace("price", "prize"), &["dynamics", "prize"]);
    refuse(
        &GOOD.replace("test-bench", "bench"),
        &["dynamics.kind", "\"bench\"", "test-bench", "switched-lqr"],
    );
    refuse(
        &GOOD.replace("test-bench", "own"),
        &["dynamics.kind", "registers"],
    );
}
