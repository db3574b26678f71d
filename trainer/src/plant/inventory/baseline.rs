//! Classical policies: (s, S), can-order, (R, S) and (Q, S).
//!
//! With backlog, the cost of a period L later depends on the inventory position y after ordering alone:
//! `G(y) = E[h (y - D)+ + b (D - y)+]`, D the demand of L + 1 periods. Lost sales have no such reduction; the same parameters are taken as a
//! start there and only what the search varies is tuned.

use rayon::prelude::*;

use super::InventoryData;
use crate::error::{Error, Result};
use crate::numeric::{Purpose, Stream};
use crate::plant::baseline::{Baseline, ReferencePolicy};
use crate::plant::disturbance::Poisson;
use crate::plant::family::{BaselineSetting, Family};
use crate::plant::recast::Jumps;
use crate::plant::{Disturbance, Plant};

/// Seed and number of the demand paths that parameters are tuned on; evaluations name others.
const TUNING_SEED: u64 = 0x7475_6e65;
const TUNING_PATHS: usize = 128;
/// Longest review period that is tried.
const MAX_REVIEW: usize = 40;

/// See [`Family::baseline`].
pub(super) fn make(
    data: &InventoryData,
    name: &str,
    setting: &BaselineSetting<'_>,
) -> Result<Option<Baseline>> {
    let problem = Problem::new(data, setting)?;
    Ok(match name {
        "s-S" => Some(problem.independent()),
        "can-order" => Some(problem.can_order()),
        "r-S" => Some(problem.periodic()),
        "q-S" => Some(problem.joint_demand()),
        _ => None,
    })
}

/// Data, joint fixed cost, and what policies are tuned for.
struct Problem<'a> {
    data: &'a InventoryData,
    setting: &'a BaselineSetting<'a>,
    fixed: f64,
    jumps: Option<Jumps>,
}

/// When and up to what is ordered.
#[derive(Clone, Debug)]
struct OrderUpTo {
    data: InventoryData,
    jumps: Option<Jumps>,
    /// Order-up-to levels.
    up_to: Vec<f64>,
    /// A product at or below its level orders.
    must: Vec<f64>,
    /// If some product must, those at or below this order too.
    can: Vec<f64>,
    /// All products order where their positions together are at or below this.
    together: f64,
    /// All products order in every so many periods; 0: not by the clock.
    every: usize,
}

impl ReferencePolicy for OrderUpTo {
    fn act(&self, t: usize, x: &[f64], u: &mut [f64]) -> usize {
        let mut sum = 0.0;
        let mut some = false;
        for (i, u) in u.iter_mut().enumerate() {
            *u = self.data.position(x, i);
            sum += *u;
            some |= *u <= self.must[i];
        }
        let all = sum <= self.together || (self.every > 0 && t.is_multiple_of(self.every));
        for (i, u) in u.iter_mut().enumerate() {
            let position = *u;
            let orders = all || (some && position <= self.can[i].max(self.must[i]));
            *u = if orders {
                (self.up_to[i] - position).max(0.0)
            } else {
                0.0
            };
        }
        let mode = self.jumps.as_ref().map(|jumps| jumps.mode_of(0, u));
        mode.flatten().unwrap_or(0)
    }
}

/// The best (s, S) of one product, by its exact stationary cost.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Levels {
    pub(super) reorder: f64,
    pub(super) up_to: f64,
    /// Stationary average cost of a period.
    pub(super) cost: f64,
}

/// `G(y)` for whole y from `-offset` on.
struct PeriodCost {
    offset: i64,
    values: Vec<f64>,
}

impl PeriodCost {
    fn new(mean: f64, holding: f64, shortage: f64, least: i64, most: i64) -> Self {
        let demand: Vec<f64> = Poisson::new(mean).probabilities().collect();
        let cost = |y: i64| -> f64 {
            let terms = demand.iter().enumerate().map(|(d, p)| {
                let left = (y - d as i64) as f64;
                p * (holding * left.max(0.0) + shortage * (-left).max(0.0))
            });
            terms.sum()
        };
        Self {
            offset: -least,
            values: (least..=most).map(cost).collect(),
        }
    }

    fn at(&self, y: i64) -> f64 {
        self.values[(y + self.offset) as usize]
    }
}

/// Least stationary cost over all whole s < S within the range that matters, by renewal theory (Zheng and Federgruen 1991 prove that
/// some (s, S) is optimal; here every pair is computed): with m the renewal density of demand,
/// `c(s, S) = (K + sum_{j < S - s} m_j G(S - j)) / sum_{j < S - s} m_j`.
pub(super) fn best_levels(
    mean: f64,
    holding: f64,
    shortage: f64,
    lead_time: usize,
    fixed: f64,
) -> Levels {
    let over = mean * (lead_time + 1) as f64;
    let spread = libm::sqrt(over);
    let batch = libm::sqrt(2.0 * fixed * mean / holding.max(1e-9)).min(50.0 * mean);
    let most = (over + 6.0 * spread + 3.0 * batch + 10.0).ceil() as i64;
    let least = (over - 8.0 * spread - 3.0 * batch - 10.0).floor() as i64;
    let cost = PeriodCost::new(over, holding, shortage, least, most);
    let demand: Vec<f64> = Poisson::new(mean).probabilities().collect();
    let length = (most - least) as usize;
    let mut density = vec![0.0; length];
    for j in 0..length {
        let before: f64 = (1..=j.min(demand.len() - 1))
            .map(|d| demand[d] * density[j - d])
            .sum();
        density[j] = (f64::from(u8::from(j == 0)) + before) / (1.0 - demand[0]);
    }
    let mut best = Levels {
        reorder: 0.0,
        up_to: 0.0,
        cost: f64::INFINITY,
    };
    for up_to in least + 1..=most {
        let (mut numerator, mut cycle) = (fixed, 0.0);
        for j in 0..up_to - least {
            let weight = density[j as usize];
            numerator += weight * cost.at(up_to - j);
            cycle += weight;
            if numerator / cycle < best.cost {
                best = Levels {
                    reorder: (up_to - j - 1) as f64,
                    up_to: up_to as f64,
                    cost: numerator / cycle,
                };
            }
        }
    }
    best
}

impl<'a> Problem<'a> {
    fn new(data: &'a InventoryData, setting: &'a BaselineSetting<'a>) -> Result<Self> {
        let refuse = |found: &str| {
            Err(Error::Usage(format!(
                "inventory policies: found {found}; allowed: no jump, or one of kind fixed-cost over all products"
            )))
        };
        let fixed = match setting.jumps {
            None => 0.0,
            Some(jumps) => match jumps.list.as_slice() {
                [jump] if jump.controls.len() == data.products() => {
                    let ones = vec![1.0; data.products()];
                    let at = |values: &[f64]| jump.region_of(values).map(|r| &jump.regions[r]);
                    let (rest, order) = (at(&vec![0.0; data.products()]), at(&ones));
                    match (rest, order) {
                        (Some(rest), Some(order))
                            if rest.cost == 0.0 && order.price == 0.0 && order.gain == 1.0 =>
                        {
                            order.cost
                        }
                        _ => return refuse("another jump"),
                    }
                }
                _ => return refuse("several jumps, or one that leaves products out"),
            },
        };
        Ok(Self {
            data,
            setting,
            fixed,
            jumps: setting.jumps.cloned(),
        })
    }

    fn nothing(&self) -> OrderUpTo {
        let never = vec![f64::NEG_INFINITY; self.data.products()];
        OrderUpTo {
            data: self.data.clone(),
            jumps: self.jumps.clone(),
            up_to: never.clone(),
            must: never.clone(),
            can: never,
            together: f64::NEG_INFINITY,
            every: 0,
        }
    }

    /// Mean cost per path on the tuning paths.
    fn cost(&self, policy: &OrderUpTo) -> f64 {
        let plant = self.data.build::<f64>();
        let dims = self.data.dims();
        let demand = Disturbance::Poisson(
            self.data
                .demand_mean
                .iter()
                .map(|&mean| Poisson::new(mean))
                .collect(),
        );
        let costs: Vec<f64> = (0..TUNING_PATHS as u64)
            .into_par_iter()
            .map(|path| {
                let mut stream = Stream::new(TUNING_SEED, Purpose::InitialState, path);
                let initial = self.setting.initial;
                let edges = initial.center.iter().zip(&initial.half_width);
                let mut x: Vec<f64> = edges
                    .map(|(center, half)| center + half * (2.0 * stream.uniform() - 1.0))
                    .collect();
                let mut stream = Stream::new(TUNING_SEED, Purpose::Noise, path);
                let (mut u, mut w) = (vec![0.0; dims.control], vec![0.0; dims.noise]);
                let mut next = vec![0.0; dims.state];
                let mut total = 0.0;
                for t in 0..self.setting.horizon {
                    policy.act(t, &x, &mut u);
                    demand.draw(&mut stream, &mut w);
                    let cost = plant.step(0, &x, &u, &w, &mut next);
                    if t >= self.setting.cost_from {
                        let ordered = u.iter().any(|&u| u > 0.0);
                        total += cost + if ordered { self.fixed } else { 0.0 };
                    }
                    std::mem::swap(&mut x, &mut next);
                }
                total
            })
            .collect();
        costs.iter().sum::<f64>() / TUNING_PATHS as f64
    }

    /// The cheapest of some policies on the tuning paths; the first on ties.
    fn tuned(&self, candidates: impl Iterator<Item = (String, OrderUpTo)>) -> (String, OrderUpTo) {
        let mut best = (f64::INFINITY, String::new(), self.nothing());
        for (text, policy) in candidates {
            let cost = self.cost(&policy);
            if cost < best.0 {
                best = (cost, text, policy);
            }
        }
        (best.1, best.2)
    }

    fn baseline(&self, name: &'static str, kind: &str, best: (String, OrderUpTo)) -> Baseline {
        let (text, policy) = best;
        let lost = if self.data.lost_sales {
            "; base levels are those of backlog"
        } else {
            ""
        };
        Baseline {
            name,
            description: format!("{kind}, {text}{lost}"),
            policy: Box::new(policy),
        }
    }

    /// Every product by an (s, S) of its own, for a share of the joint fixed cost that is searched for.
    fn independent(&self) -> Baseline {
        let products = self.data.products();
        let levels = |share: f64| -> Vec<Levels> {
            (0..products)
                .map(|i| {
                    let data = self.data;
                    let fixed = share * self.fixed / products as f64;
                    let (h, b) = (data.holding[i], data.shortage[i]);
                    best_levels(data.demand_mean[i], h, b, data.lead_time, fixed)
                })
                .collect()
        };
        // One product: the fixed cost is its own, and the levels are exact.
        let shares: &[f64] = if products == 1 && !self.data.lost_sales {
            &[1.0]
        } else {
            &[0.05, 0.1, 0.2, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0, 3.0, 5.0]
        };
        let best = self.tuned(shares.iter().map(|&share| {
            let levels = levels(share);
            let text = if let [one] = levels.as_slice() {
                format!(
                    "s = {}, S = {}, stationary average cost {:.6} a period",
                    one.reorder, one.up_to, one.cost
                )
            } else {
                format!("levels for {share} of an equal share of the fixed cost")
            };
            let mut policy = self.nothing();
            policy.up_to = levels.iter().map(|l| l.up_to).collect();
            policy.must = levels.iter().map(|l| l.reorder).collect();
            (text, policy)
        }));
        self.baseline("s-S", "independent (s, S)", best)
    }

    /// Order-up-to levels that are best where all products order every `review` periods; the cost of that without the fixed cost.
    fn review_levels(&self, review: usize) -> Vec<f64> {
        let data = self.data;
        (0..data.products())
            .map(|i| {
                let (h, b) = (data.holding[i], data.shortage[i]);
                // The least S with average P(demand of L + 1 .. L + review periods <= S) at least b / (b + h).
                let variables: Vec<Vec<f64>> = (1..=review)
                    .map(|k| {
                        let mean = data.demand_mean[i] * (data.lead_time + k) as f64;
                        Poisson::new(mean).probabilities().collect()
                    })
                    .collect();
                let target = if h + b > 0.0 { b / (b + h) } else { 0.0 };
                let mut sum = 0.0;
                let mut level = 0;
                loop {
                    let at = |p: &Vec<f64>| p.get(level).copied().unwrap_or(0.0);
                    sum += variables.iter().map(at).sum::<f64>() / review as f64;
                    if sum >= target || level > 1_000_000 {
                        return level as f64;
                    }
                    level += 1;
                }
            })
            .collect()
    }

    /// Review periods worth trying.
    fn reviews(&self) -> std::ops::RangeInclusive<usize> {
        let data = self.data;
        let rate: f64 = data
            .demand_mean
            .iter()
            .zip(&data.holding)
            .map(|(m, h)| m * h)
            .sum();
        let cycle = libm::sqrt(2.0 * self.fixed / rate.max(1e-9));
        let most = (2.0 * cycle).ceil() as usize + 2;
        1..=most.clamp(2, MAX_REVIEW.min(self.setting.horizon))
    }

    /// (R, S): all products up to their levels every R periods.
    fn periodic(&self) -> Baseline {
        let best = self.tuned(self.reviews().map(|review| {
            let mut policy = self.nothing();
            policy.up_to = self.review_levels(review);
            policy.every = review;
            (format!("R = {review}"), policy)
        }));
        self.baseline("r-S", "(R, S)", best)
    }

    /// (Q, S): all products up to their levels when demand since the last order has reached Q.
    fn joint_demand(&self) -> Baseline {
        let total: f64 = self.data.demand_mean.iter().sum();
        let best = self.tuned(self.reviews().flat_map(|review| {
            let up_to = self.review_levels(review);
            let sum: f64 = up_to.iter().sum();
            [-0.9, -0.6, -0.3, 0.0, 0.3].map(|shift| {
                let mut policy = self.nothing();
                let demand = ((review as f64 + shift) * total).round();
                policy.together = sum - demand;
                policy.up_to.clone_from(&up_to);
                (
                    format!("Q = {demand}, levels for a review of {review}"),
                    policy,
                )
            })
        }));
        self.baseline("q-S", "(Q, S)", best)
    }

    /// Can-order (s, c, S): a product at its must-order level lets those at their can-order levels order too.
    fn can_order(&self) -> Baseline {
        let data = self.data;
        let best = self.tuned(self.reviews().flat_map(|review| {
            let up_to = self.review_levels(review);
            let candidates = [-2.0, -1.5, -1.0, -0.5, 0.0, 0.5].into_iter().flat_map(move |safety| {
                [0.3, 0.6, 0.8, 1.0].map(|can| (safety, can))
            });
            candidates
                .map(|(safety, can)| {
                    let mut policy = self.nothing();
                    let demand = data.demand_mean.iter();
                    policy.must = demand
                        .map(|mean| {
                            let over = mean * (data.lead_time + 1) as f64;
                            (over + safety * libm::sqrt(over)).round()
                        })
                        .collect();
                    let pairs = policy.must.iter().zip(&up_to);
                    policy.can = pairs.map(|(s, top)| (s + can * (top - s)).round()).collect();
                    policy.up_to.clone_from(&up_to);
                    let text = format!(
                        "levels for a review of {review}, must-order {safety} deviations above lead time demand, can-order {can} of \
                         the way up"
                    );
                    (text, policy)
                })
                .collect::<Vec<_>>()
        }));
        self.baseline("can-order", "can-order (s, c, S)", best)
    }
}
