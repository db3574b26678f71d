//! Model-based references: what a plant can be controlled for, and by which simple controllers.

mod averaged;
mod forms;
mod riccati;
mod schedule;
mod simulate;
mod switched;

pub use averaged::AveragedRiccati;
pub use riccati::{Lift, RiccatiModes};
pub use schedule::Schedule;
pub use simulate::{Episode, ReferencePolicy, mean_cost, simulate};
pub use switched::{Law, SwitchedBudget, SwitchedRiccati};

#[cfg(test)]
mod scratch {
    use super::*;
    #[test]
    fn try_out() {
        for name in std::env::var("PLANTS").unwrap_or("switched-lqr-3-2 switched-lqr-8-2 switched-lqr-8-4 switched-lqr-16-4".into()).split(' ') {
            let m = crate::plant::load_plant(name, &[]).unwrap();
            let st = m.test_states().unwrap();
            let modes = RiccatiModes::new(m.lqr_data());
            let f: f64 = (0..modes.count()).map(|d| mean_cost(&simulate(&m, &Schedule::fixed_mode(&modes, d, 20), st, 20, 0))).fold(1e9, f64::min);
            let rr = mean_cost(&simulate(&m, &Schedule::round_robin(&modes, 20), st, 20, 0));
            let t0 = std::time::Instant::now();
            let av = mean_cost(&simulate(&m, &AveragedRiccati::new(&modes).unwrap(), st, 20, 0));
            println!("{name} fixed {f:.4} rr {rr:.4} avg {av:.4} {:?}", t0.elapsed());
            let d = m.dims();
            for sweeps in 1..=2 {
            let t0 = std::time::Instant::now();
            let mut b = SwitchedBudget::for_size(d.state, d.modes);
            b.sweeps = sweeps;
            if let Ok(c) = std::env::var("CAP") { b.max_forms = c.parse().unwrap(); }
            let p = SwitchedRiccati::new(&m, &modes, 20, st, b, &|_, _| {});
            let t1 = t0.elapsed();
            let sizes: Vec<usize> = p.stages().iter().map(Vec::len).collect();
            let closed = mean_cost(&simulate(&m, &p, st, 20, 0));
            let t2 = t0.elapsed();
            let pol = switched::polish(&m, &modes, &p, st);
            let c: f64 = pol.iter().map(|a| a.cost).sum::<f64>() / 1024.0;
            println!("  sweeps {sweeps} closed {closed:.6} polished {c:.6} {t1:?} {t2:?} {:?} {sizes:?}", t0.elapsed());
            }
        }
    }
}
