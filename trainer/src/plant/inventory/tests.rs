//! Inventory against hand-written accounts, its derivatives against differences, its policies against exact costs.

use std::path::Path;

use proptest::prelude::*;

use super::baseline::best_levels;
use super::*;
use crate::evaluate::reference::simulate;
use crate::plant::dynamics::Origin;
use crate::plant::file::{Overrides, parse_plant};
use crate::plant::{PlantModel, load_plant};

fn data(lead_time: usize, lost_sales: bool) -> InventoryData {
    InventoryData {
        demand_mean: vec![6.0, 9.0],
        holding: vec![1.0, 0.7],
        shortage: vec![9.0, 6.5],
        lead_time,
        lost_sales,
    }
}

/// One period of one product with its pipeline as a queue, written down from the model's description.
fn by_hand(data: &InventoryData, i: usize, stock: &mut Vec<f64>, order: f64, demand: f64) -> f64 {
    if data.lead_time == 0 {
        stock[0] += order;
    }
    let left = stock[0] - demand;
    let cost = if left > 0.0 {
        data.holding[i] * left
    } else {
        -data.shortage[i] * left
    };
    stock[0] = if data.lost_sales { left.max(0.0) } else { left };
    if data.lead_time > 0 {
        stock.push(order);
        let arrives = stock.remove(1);
        stock[0] += arrives;
    }
    cost
}

proptest! {
    #[test]
    fn periods_add_up(
        lead_time in 0_usize..5,
        lost_sales: bool,
        x in proptest::collection::vec(-20.0_f64..40.0, 10),
        u in [0.0_f64..30.0, 0.0..30.0],
        demand in [0_u32..25, 0_u32..25],
    ) {
        let data = data(lead_time, lost_sales);
        let stages = data.stages();
        let plant = data.build::<f64>();
        let mut next = vec![0.0; 2 * stages];
        let noise = demand.map(f64::from);
        let found = plant.step(0, &x[..2 * stages], &u, &noise, &mut next);
        let mut cost = 0.0;
        for i in 0..2 {
            let mut stock = x[i * stages..(i + 1) * stages].to_vec();
            cost += by_hand(&data, i, &mut stock, u[i], noise[i]);
            prop_assert_eq!(&stock[..], &next[i * stages..(i + 1) * stages]);
        }
        prop_assert!((found - cost).abs() < 1e-9);
    }

    #[test]
    fn derivatives_are_those_of_differences(
        lead_time in 0_usize..4,
        lost_sales: bool,
        x in proptest::collection::vec(-20.0_f64..40.0, 8),
        u in [0.0_f64..30.0, 0.0..30.0],
        d in proptest::collection::vec(-1.0_f64..1.0, 8),
    ) {
        let data = data(lead_time, lost_sales);
        let n = 2 * data.stages();
        let plant = data.build::<f64>();
        let noise = [7.0, 11.0];
        let value = |x: &[f64], u: &[f64]| {
            let mut next = vec![0.0; n];
            let cost = plant.step(0, x, u, &noise, &mut next);
            0.3 * cost + next.iter().zip(&d).map(|(a, b)| a * b).sum::<f64>()
        };
        let left = |i: usize| x[i * data.stages()] + if lead_time == 0 { u[i] } else { 0.0 } - noise[i];
        prop_assume!(left(0).abs() > 1e-3 && left(1).abs() > 1e-3);
        let mut next = vec![0.0; n];
        plant.step(0, &x[..n], &u, &noise, &mut next);
        let (mut d_x, mut d_u) = (vec![0.0; n], [0.0; 2]);
        plant.vjp(0, &x[..n], &u, &noise, &next, &d[..n], 0.3, &mut d_x, &mut d_u);
        let step = 1e-5;
        for i in 0..n {
            let (mut up, mut down) = (x[..n].to_vec(), x[..n].to_vec());
            up[i] += step;
            down[i] -= step;
            let difference = (value(&up, &u) - value(&down, &u)) / (2.0 * step);
            prop_assert!((difference - d_x[i]).abs() < 1e-6);
        }
        for i in 0..2 {
            let (mut up, mut down) = (u, u);
            up[i] += step;
            down[i] -= step;
            let difference = (value(&x[..n], &up) - value(&x[..n], &down)) / (2.0 * step);
            prop_assert!((difference - d_u[i]).abs() < 1e-6);
        }
    }
}

#[test]
fn at_a_kink_both_slopes_are_replaced_by_zero() {
    let data = data(1, false);
    let plant = data.build::<f64>();
    let (x, u, noise) = ([4.0, 5.0], [0.0, 0.0], [4.0, 3.0]);
    let mut next = [0.0; 2];
    plant.step(0, &x, &u, &noise, &mut next);
    let (mut d_x, mut d_u) = ([0.0; 2], [0.0; 2]);
    plant.vjp(
        0,
        &x,
        &u,
        &noise,
        &next,
        &[0.0, 0.0],
        1.0,
        &mut d_x,
        &mut d_u,
    );
    assert_eq!(d_x, [0.0, 0.7]);
}

/// Levels without fixed cost are those of the newsvendor.
#[test]
fn without_fixed_cost_the_levels_are_the_newsvendors() {
    for (mean, lead_time, holding, shortage) in [(10.0, 2, 1.0, 9.0), (6.0, 0, 1.0, 4.0)] {
        let levels = best_levels(mean, holding, shortage, lead_time, 0.0);
        let demand = Poisson::new(mean * (lead_time + 1) as f64);
        let expected = demand.quantile(shortage / (shortage + holding));
        assert_eq!(levels.up_to, expected as f64);
        assert_eq!(levels.reorder, levels.up_to - 1.0);
    }
}

/// The stationary cost is what a long simulation gives.
#[test]
fn stationary_cost_is_the_average_of_a_long_run() {
    let plant = load_plant("inventory-1", &[("horizon".into(), "200000".into())]).unwrap();
    let baseline = plant.baseline("s-S").unwrap().unwrap();
    let levels = best_levels(10.0, 1.0, 9.0, 2, 64.0);
    let states = plant.draw_states(0, Purpose::Evaluation, 4);
    let episodes = simulate(&plant, baseline.policy.as_ref(), &states, 200_000, 0);
    let mean: f64 = episodes.iter().map(|e| e.cost).sum::<f64>() / 4.0;
    let average = mean / plant.counted_steps(200_000) as f64;
    assert!(
        (average / levels.cost - 1.0).abs() < 2e-3,
        "{average} {levels:?}"
    );
    assert!(
        baseline
            .description
            .contains(&format!("s = {}, S = {}", levels.reorder, levels.up_to))
    );
}

fn read(text: &str) -> crate::Result<PlantModel> {
    let overrides = Overrides::default();
    parse_plant(text, Path::new("p.toml"), &Origin::BuiltIn(&[]), &overrides)
}

#[test]
fn bad_inventories_are_named() {
    let file = |dynamics: &str| {
        format!("name = \"p\"\nhorizon = 10\n[dynamics]\nkind = \"inventory\"\n{dynamics}")
    };
    let good = "demand_mean = 5.0\nholding = 1.0\nshortage = 9.0\nlead_time = 2\n";
    assert!(read(&file(good)).is_ok());
    for (old, new, expected) in [
        (
            "lead_time = 2",
            "lead_time = 10",
            "dynamics.lead_time: found 10; allowed: less than the horizon of 10",
        ),
        (
            "lead_time = 2",
            "lead_time = -1",
            "dynamics.lead_time: found -1",
        ),
        (
            "holding = 1.0",
            "holding = -1.0",
            "dynamics.holding[0]: found -1; allowed: a cost, 0 or more",
        ),
        (
            "shortage = 9.0",
            "shortage = [9.0, -2.0]",
            "dynamics.shortage[1]: found -2",
        ),
        (
            "demand_mean = 5.0",
            "demand_mean = 0.0",
            "dynamics.demand_mean[0]: found 0",
        ),
        (
            "demand_mean = 5.0",
            "demand_mean = [5.0, 6.0, 7.0]\nproducts = 2",
            "dynamics.demand_mean: found 3 numbers",
        ),
        ("holding = 1.0", "", "dynamics.holding: found nothing"),
        (
            "holding = 1.0",
            "holding = 1.0\nstock = 3",
            "dynamics: found unknown field `stock`",
        ),
        (
            "holding = 1.0",
            "holding = 1.0\ngenerator = { products = 3 }",
            "dynamics.demand_mean: found numbers beside a generator",
        ),
    ] {
        let error = read(&file(&good.replace(old, new))).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert_eq!(error.exit_code(), 2);
    }
    let noise = format!(
        "name = \"p\"\nhorizon = 10\nnoise = 1.0\n[dynamics]\nkind = \"inventory\"\n{good}"
    );
    assert!(
        read(&noise)
            .unwrap_err()
            .to_string()
            .contains("has no normal noise")
    );
    let kind = read(&file(good).replace("inventory", "stock"))
        .unwrap_err()
        .to_string();
    assert!(
        kind.contains("dynamics.kind: found \"stock\"; allowed: one of switched-lqr, inventory"),
        "{kind}"
    );
    let late = read(&format!("cost_from = 10\n{}", file(good)))
        .unwrap_err()
        .to_string();
    assert!(
        late.contains("cost_from: found 10; allowed: 0 to 9"),
        "{late}"
    );
}

#[test]
fn fewer_products_are_the_first_of_more() {
    let [few, many] = [3, 7].map(|products| generate(products, 5));
    for (few, many) in few.iter().zip(&many) {
        assert_eq!(few[..], many[..3]);
    }
    assert!(many_in_range(&many));
}

fn many_in_range(lists: &[Vec<f64>; 3]) -> bool {
    let ranges = [6.0..14.0, 0.7..1.3, 6.3..11.7];
    lists
        .iter()
        .zip(ranges)
        .all(|(list, range)| list.iter().all(|v| range.contains(v)))
}

/// On one product every policy comes close to the best (s, S), none below it by more than the noise of the paths.
#[test]
fn tuned_policies_agree_on_one_product() {
    let plant = load_plant("inventory-1", &[]).unwrap();
    let states = plant.draw_states(1, Purpose::Evaluation, 256);
    let cost = |name: &str| {
        let policy = plant.baseline(name).unwrap().unwrap().policy;
        let episodes = simulate(&plant, policy.as_ref(), &states, 100, 1);
        episodes.iter().map(|e| e.cost).sum::<f64>() / 256.0
    };
    let best = cost("s-S");
    for name in ["can-order", "r-S", "q-S"] {
        let ratio = cost(name) / best;
        assert!((0.99..1.25).contains(&ratio), "{name}: {ratio}");
    }
    assert!(plant.baseline("base-stock").unwrap().is_none());
}
