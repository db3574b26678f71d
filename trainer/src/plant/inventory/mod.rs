//! Inventory of several products with random demand, lead time, holding and shortage cost.
//!
//! A period: the order u_i is placed; demand D_i arrives and is met from what is on hand; cost is
//! `sum_i h_i (y_i)+ + b_i (-y_i)+` with y_i = x_i - D_i what is left on hand; then the order of L - 1 periods ago arrives. With lead time
//! L = 0 the order is there before demand. What is short is owed (backlog: y_i stays negative) or lost (y_i becomes 0, b_i is the cost of a
//! lost unit). The state of a product is what is on hand (negative: owed), then the orders under way, the next one first: max(L, 1) numbers.
//! A fixed cost of ordering is a jump of the plant file (`[[jump]]` of kind `fixed-cost`), not part of this family.
//!
//! Pathwise derivatives: cost and transition are Lipschitz and piecewise linear, with kinks at y_i = 0. Demand is a count and orders are real
//! numbers, so a kink is met with probability 0 unless a policy keeps to whole numbers; there both one-sided slopes are replaced by 0. The
//! derivative by demand is never needed.

mod baseline;

use serde::Deserialize;
use toml::{Table, Value};

use super::baseline::Baseline;
use super::disturbance::{MAX_POISSON_MEAN, Poisson};
use super::family::{BaselineSetting, Family, FamilyNames, Loaded, ReadAt, SafeLaw, Scaling};
use super::outlined::{Equations, outlined};
use super::values::{MAX_SIZE, numbers};
use super::{Dims, Disturbance, Plant};
use crate::Result;
use crate::numeric::{Purpose, Real, Scalar, Stream};

/// Longest lead time in periods.
const MAX_LEAD_TIME: usize = 32;

/// The numbers of an inventory problem; vectors have an entry per product.
#[derive(Clone, Debug, PartialEq)]
pub struct InventoryData {
    /// Mean of the Poisson demand of a period.
    pub demand_mean: Vec<f64>,
    /// Cost of a unit on hand at the end of a period.
    pub holding: Vec<f64>,
    /// Cost of a unit that is short at the end of a period.
    pub shortage: Vec<f64>,
    /// Periods from an order to its arrival.
    pub lead_time: usize,
    /// Whether unmet demand is lost; else it is owed.
    pub lost_sales: bool,
}

/// The `[dynamics]` table.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct InventoryTable {
    products: Option<i64>,
    demand_mean: Option<Value>,
    holding: Option<Value>,
    shortage: Option<Value>,
    lead_time: i64,
    #[serde(default)]
    lost_sales: bool,
    generator: Option<GeneratorTable>,
}

/// `generator = { products = 10, seed = 0 }`
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct GeneratorTable {
    products: i64,
    #[serde(default)]
    seed: u64,
}

impl InventoryData {
    /// Products.
    #[must_use]
    pub fn products(&self) -> usize {
        self.demand_mean.len()
    }

    /// Numbers of state per product.
    #[must_use]
    pub fn stages(&self) -> usize {
        self.lead_time.max(1)
    }

    /// What is on hand and under way of product `i` in state `x`.
    #[must_use]
    pub fn position(&self, x: &[f64], i: usize) -> f64 {
        let stages = self.stages();
        x[i * stages..(i + 1) * stages].iter().sum()
    }
}

/// Heterogeneous products: mean demand uniform on [6, 14], holding on [0.7, 1.3], shortage on [6.3, 11.7]; numbers of product i from a
/// stream of its own, so that fewer products are the first of more. Ranges: settings of arXiv 2605.14297's repository.
fn generate(products: usize, seed: u64) -> [Vec<f64>; 3] {
    let mut lists = [Vec::new(), Vec::new(), Vec::new()];
    for i in 0..products {
        let mut stream = Stream::new(seed, Purpose::Generator, i as u64);
        for (list, (low, high)) in lists.iter_mut().zip([(6.0, 14.0), (0.7, 1.3), (6.3, 11.7)]) {
            list.push(low + (high - low) * stream.uniform());
        }
    }
    lists
}

impl Family for InventoryData {
    const KIND: &'static str = "inventory";
    type Simulator<T: Real> = Inventory<T>;

    fn read(table: Table, at: &ReadAt<'_>) -> Result<Loaded<Self>> {
        let table: InventoryTable = at.table(table)?;
        let products = |found: i64, key: &str| {
            let number = usize::try_from(found).ok();
            number
                .filter(|n| (1..=MAX_SIZE).contains(n))
                .ok_or_else(|| {
                    at.place(key)
                        .error(found, format!("1 to {MAX_SIZE} products"))
                })
        };
        let lead_time = usize::try_from(table.lead_time).ok();
        let lead_time = lead_time.filter(|&l| l <= MAX_LEAD_TIME).ok_or_else(|| {
            at.place("lead_time")
                .error(table.lead_time, format!("0 to {MAX_LEAD_TIME} periods"))
        })?;
        let given = [
            ("demand_mean", &table.demand_mean),
            ("holding", &table.holding),
            ("shortage", &table.shortage),
        ];
        let mut seed_used = None;
        let lists = if let Some(generator) = table.generator {
            let count = products(generator.products, "generator.products")?;
            if let Some((key, _)) = given.iter().find(|(_, value)| value.is_some()) {
                return Err(at
                    .place(key)
                    .error("numbers beside a generator", "one of the two"));
            }
            if table.products.is_some() {
                return Err(at
                    .place("products")
                    .error("it beside a generator", "one of the two"));
            }
            let seed = at.seed.unwrap_or(generator.seed);
            seed_used = Some(seed);
            generate(count, seed)
        } else {
            if at.seed.is_some() {
                return Err(crate::Error::Usage(format!(
                    "seed: {} has given numbers; only an inventory with `generator = {{ products = .., seed = .. }}` takes a seed",
                    at.file.display()
                )));
            }
            let lengths = given
                .iter()
                .filter_map(|(_, value)| value.as_ref()?.as_array());
            let count = match table.products {
                Some(found) => products(found, "products")?,
                None => lengths.map(Vec::len).max().unwrap_or(1),
            };
            let mut lists = [Vec::new(), Vec::new(), Vec::new()];
            for (list, (key, value)) in lists.iter_mut().zip(given) {
                let place = at.place(key);
                let Some(value) = value else {
                    return Err(place.error("nothing", "a number, or one per product"));
                };
                *list = place.vector(value, count)?;
            }
            lists
        };
        let [demand_mean, holding, shortage] = lists;
        for (i, &mean) in demand_mean.iter().enumerate() {
            if !(mean > 0.0 && mean <= MAX_POISSON_MEAN) {
                let allowed = format!("greater than 0, at most {MAX_POISSON_MEAN}");
                return Err(at.place("demand_mean").at(i).error(mean, allowed));
            }
        }
        for (key, costs) in [("holding", &holding), ("shortage", &shortage)] {
            if let Some(i) = costs.iter().position(|&cost| cost < 0.0) {
                return Err(at.place(key).at(i).error(costs[i], "a cost, 0 or more"));
            }
        }
        Ok(Loaded {
            data: Self {
                demand_mean,
                holding,
                shortage,
                lead_time,
                lost_sales: table.lost_sales,
            },
            horizon: None,
            seed: seed_used,
        })
    }

    fn to_table(&self) -> Table {
        let mut table = Table::new();
        table.insert("demand_mean".into(), numbers(&self.demand_mean));
        table.insert("holding".into(), numbers(&self.holding));
        table.insert("shortage".into(), numbers(&self.shortage));
        table.insert("lead_time".into(), Value::Integer(self.lead_time as i64));
        table.insert("lost_sales".into(), self.lost_sales.into());
        table
    }

    fn dims(&self) -> Dims {
        let products = self.products();
        Dims {
            state: products * self.stages(),
            control: products,
            modes: 1,
            noise: products,
        }
    }

    fn build<T: Real>(&self) -> Inventory<T> {
        let single = |values: &[f64]| values.iter().map(|&v| T::from_f64(v)).collect();
        Inventory {
            dims: self.dims(),
            stages: self.stages(),
            at_once: self.lead_time == 0,
            lost_sales: self.lost_sales,
            holding: single(&self.holding),
            shortage: single(&self.shortage),
        }
    }

    fn check_horizon(&self, horizon: usize, at: &std::path::Path) -> Result<()> {
        if self.lead_time < horizon {
            return Ok(());
        }
        let place = super::values::Place::new(at, "dynamics.lead_time");
        Err(place.error(
            self.lead_time,
            format!("less than the horizon of {horizon}, so that an order arrives within it"),
        ))
    }

    fn disturbance(&self) -> Disturbance {
        Disturbance::Poisson(
            self.demand_mean
                .iter()
                .map(|&mean| Poisson::new(mean))
                .collect(),
        )
    }

    /// Holding and shortage cost of every product. Demand is not scaled: its draws belong to the seed.
    fn scale_parameters(&mut self, factor: &mut dyn FnMut() -> f64) {
        for value in self.holding.iter_mut().chain(&mut self.shortage) {
            *value *= factor();
        }
    }

    fn baseline_names(&self) -> &'static [&'static str] {
        &["s-S", "can-order", "r-S", "q-S"]
    }

    fn baseline(&self, name: &str, setting: &BaselineSetting<'_>) -> Result<Option<Baseline>> {
        baseline::make(self, name, setting)
    }

    fn scaling(&self) -> Scaling {
        let per_state = |f: &dyn Fn(f64) -> f64| -> Vec<f64> {
            let means = self.demand_mean.iter();
            means
                .flat_map(|&mean| std::iter::repeat_n(f(mean), self.stages()))
                .collect()
        };
        let costs = self.demand_mean.iter().zip(&self.holding);
        Scaling {
            shift: per_state(&|mean| mean),
            scale: per_state(&|mean| 0.5 / mean),
            control_offset: self.demand_mean.iter().map(|mean| 2.0 * mean).collect(),
            control_scale: self.demand_mean.clone(),
            stage_cost: costs
                .map(|(mean, holding)| 2.0 * mean * holding)
                .sum::<f64>()
                .max(1e-6),
        }
    }

    /// Orders the mean demand in every period: on average stocks stay where they are.
    fn safe_law(&self) -> SafeLaw {
        let dims = self.dims();
        SafeLaw {
            mode: 0,
            gain: vec![0.0; dims.control * dims.state],
            offset: self.demand_mean.clone(),
        }
    }

    fn names(&self) -> FamilyNames {
        let unit = || "units".to_owned();
        let state = (0..self.products()).flat_map(|i| {
            (0..self.stages()).map(move |stage| match stage {
                0 => format!("on hand {i}"),
                1 => format!("arrives next {i}"),
                _ => format!("arrives in {stage} {i}"),
            })
        });
        FamilyNames {
            state: state.map(|name| (name, unit())).collect(),
            control: (0..self.products())
                .map(|i| (format!("order {i}"), unit()))
                .collect(),
            modes: Vec::new(),
        }
    }
}

/// [`InventoryData`] rounded to `T`; see [`Plant`].
#[derive(Clone, Debug)]
pub struct Inventory<T> {
    dims: Dims,
    stages: usize,
    /// Lead time 0.
    at_once: bool,
    lost_sales: bool,
    holding: Vec<T>,
    shortage: Vec<T>,
}

impl<T: Real> Inventory<T> {
    /// What is left on hand of product `i` when demand has been met.
    #[inline(always)]
    fn left<S: Scalar<T>>(&self, i: usize, x: &[S], u: &[S], demand: &[S]) -> S {
        let there = if self.at_once {
            x[i * self.stages] + u[i]
        } else {
            x[i * self.stages]
        };
        there - demand[i]
    }
}

/// Beyond any stock: what is not bounded.
fn huge<T: Real>() -> T {
    T::from_f64(1e30)
}

impl<T: Real> Equations<T> for Inventory<T> {
    #[inline(always)]
    fn step_inline<S: Scalar<T>>(
        &self,
        _mode: usize,
        x: &[S],
        u: &[S],
        noise: &[S],
        next: &mut [S],
    ) -> S {
        let zero = T::default();
        let mut cost = S::constant(zero);
        for i in 0..self.dims.control {
            let left = self.left(i, x, u, noise);
            let over = left.clamp(zero, huge());
            cost = cost
                .add_scaled(self.holding[i], over)
                .add_scaled(self.shortage[i], over - left);
            let first = i * self.stages;
            next[first] = if self.lost_sales { over } else { left };
            if self.at_once {
                continue;
            }
            if self.stages == 1 {
                next[first] = next[first] + u[i];
                continue;
            }
            next[first] = next[first] + x[first + 1];
            for stage in 1..self.stages - 1 {
                next[first + stage] = x[first + stage + 1];
            }
            next[first + self.stages - 1] = u[i];
        }
        cost
    }

    #[inline(always)]
    fn vjp_inline<S: Scalar<T>>(
        &self,
        _mode: usize,
        x: &[S],
        u: &[S],
        noise: &[S],
        _next: &[S],
        d_next: &[S],
        d_cost: S,
        d_x: &mut [S],
        d_u: &mut [S],
    ) {
        let zero = T::default();
        for i in 0..self.dims.control {
            let left = self.left(i, x, u, noise);
            let over = left.gate(zero, huge());
            let under = left.gate(-huge::<T>(), zero);
            let first = i * self.stages;
            let mut d_left = (over * self.holding[i]).add_scaled(-self.shortage[i], under) * d_cost;
            d_left = d_left
                + if self.lost_sales {
                    over * d_next[first]
                } else {
                    d_next[first]
                };
            d_x[first] = d_left;
            if self.at_once {
                d_u[i] = d_left;
                continue;
            }
            if self.stages == 1 {
                d_u[i] = d_next[first];
                continue;
            }
            d_x[first + 1] = d_next[first];
            for stage in 1..self.stages - 1 {
                d_x[first + stage + 1] = d_next[first + stage];
            }
            d_u[i] = d_next[first + self.stages - 1];
        }
    }
}

impl<T: Real> Plant<T> for Inventory<T> {
    #[inline(always)]
    fn dims(&self) -> Dims {
        self.dims
    }

    outlined!();

    /// Stock is not clamped.
    #[inline(always)]
    fn count_clamped<S: Scalar<T>>(&self, _next: &[S]) -> u32 {
        0
    }
}

#[cfg(test)]
mod tests;
