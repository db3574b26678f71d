//! Model-based references: what a plant can be controlled for, and by which simple controllers.

mod averaged;
mod certified;
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
            let lifted: Vec<Vec<f64>> = st.iter().map(|x| modes.lift().lift(x).as_slice().to_vec()).collect();
            let strong = certified::all_channels_strong(&modes, 20, &lifted).unwrap();
            println!("  strong {:.4}", strong.iter().sum::<f64>() / 1024.0);
            let cap = std::env::var("CAP").unwrap_or("500".into()).parse().unwrap();
            let t0 = std::time::Instant::now();
            let c = certified::certify(&modes, 20, &lifted, cap, &|w| println!("    {w} {:?}", t0.elapsed()));
            if let Some(c) = c { println!("  cert {:.6} width {} largest {} {:?}", c.values.iter().sum::<f64>() / 1024.0, c.width, c.largest_set, t0.elapsed()); }
        }
    }
}
