//! The estimator hook, by the example's Kalman filter: it estimates what is not measured, its covariance is that of the Riccati
//! equation, and a filter without an estimate is a fault.

#[allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing
)]
#[path = "../examples/kalman.rs"]
mod kalman;

use firmware::supervisor::RECORD_WORDS;
use firmware::{ControlLoop, Estimator, Fault, ResetCause};
use kalman::{CART, Cart, Kalman, cart_filter, cart_policy};

fn started(file: &[u128; 64], length: usize) -> ControlLoop<'_> {
    let mut control = ControlLoop::new();
    let slot = &bytemuck::cast_slice(file)[..length];
    control
        .start(slot, 1, ResetCause::Other, &[0; RECORD_WORDS])
        .unwrap();
    control
}

#[test]
fn the_velocity_is_estimated_and_the_cart_brought_to_rest() {
    let mut file = [0; 64];
    let length = cart_policy(&mut file);
    let mut control = started(&file, length);
    let (mut cart, mut filter) = (Cart::new(), cart_filter());
    let (mut filtered, mut differenced, mut last) = (0.0, 0.0, None);
    for period in 0..400 {
        let x = cart.x;
        let command = control.cycle_with(&mut cart, &mut filter);
        assert_eq!(command.fault(), None);
        if period >= 50 {
            filtered += (filter.x[1] - x[1]).powi(2);
            // Velocity by differences of positions with the sensor's noise: standard deviation 0.02 * sqrt(2) / 0.05.
            differenced += 0.02_f32.powi(2) * 2.0 / 0.05_f32.powi(2);
        }
        last = Some(x);
    }
    assert!(filtered < 0.02 * differenced, "{filtered} {differenced}");
    let [position, velocity] = last.unwrap();
    assert!(
        position.abs() < 0.1 && velocity.abs() < 0.15,
        "{position} {velocity}"
    );
}

#[test]
fn the_covariance_settles_on_the_solution_of_the_riccati_equation() {
    let mut file = [0; 64];
    let length = cart_policy(&mut file);
    let mut control = started(&file, length);
    let (mut cart, mut filter) = (Cart::new(), cart_filter());
    for _ in 0..3000 {
        control.cycle_with(&mut cart, &mut filter);
    }
    let p = filter.p.map(|row| row.map(f64::from));
    // Predicted: m = a p a' + q; then p must be m - m c' (c m c' + r)^-1 c m, in `f64` and for the whole matrix at once.
    let a = CART[0].a.map(|row| row.map(f64::from));
    let mut m = [[0.0; 2]; 2];
    for i in 0..2 {
        for j in 0..2 {
            for k in 0..2 {
                for l in 0..2 {
                    m[i][j] += a[i][k] * p[k][l] * a[j][l];
                }
            }
        }
    }
    m[1][1] += 1e-4;
    let s = m[0][0] + 4e-4;
    for i in 0..2 {
        for j in 0..2 {
            let expected = m[i][j] - m[i][0] * m[0][j] / s;
            let scale = p[0][0].max(p[1][1]);
            assert!((expected - p[i][j]).abs() < 1e-4 * scale, "{p:?}");
        }
    }
}

#[test]
fn a_filter_without_an_estimate_is_a_fault_and_the_fallback_law_acts() {
    let mut file = [0; 64];
    let length = cart_policy(&mut file);
    let mut control = started(&file, length);
    let (mut cart, mut filter) = (Cart::new(), cart_filter());
    for _ in 0..10 {
        control.cycle_with(&mut cart, &mut filter);
    }
    cart.broken = Some(f32::NAN);
    let command = control.cycle_with(&mut cart, &mut filter);
    assert_eq!(command.fault(), Some(Fault::ESTIMATOR_FAILED));
    // Coasting in the weak mode, as the policy's fallback law says.
    assert_eq!((command.mode(), command.control()), (1, &[0.0][..]));
    // The filter itself is sound again at the next measurement; the policy's rule of return is to wait for somebody.
    let command = control.cycle_with(&mut cart, &mut filter);
    assert_eq!(command.fault(), Some(Fault::ESTIMATOR_FAILED));
    assert_eq!(control.record().pending(), Some(Fault::ESTIMATOR_FAILED));
    control.acknowledge();
    let command = control.cycle_with(&mut cart, &mut filter);
    assert_eq!((command.fault(), command.mode()), (None, 0));
    assert_eq!(control.record().pending(), None);
}

/// While the sensor gives nothing the filter goes on by the model, and knows that it knows less.
#[test]
fn a_filter_without_a_measurement_predicts() {
    let mut file = [0; 64];
    let length = cart_policy(&mut file);
    let mut control = started(&file, length);
    let (mut cart, mut filter) = (Cart::new(), cart_filter());
    for _ in 0..4 {
        control.cycle_with(&mut cart, &mut filter);
    }
    let (before, known) = (cart.x, filter.p[0][0]);
    cart.silent = 8;
    let mut x = before;
    for _ in 0..8 {
        x = cart.x;
        let command = control.cycle_with(&mut cart, &mut filter);
        assert_eq!(command.fault(), Some(Fault::SENSOR_FAILED));
    }
    let moved = (x[0] - before[0]).abs();
    let error = (filter.x[0] - x[0]).abs();
    assert!(moved > 0.1 && error < 0.3 * moved, "{moved} {error}");
    assert!(filter.p[0][0] > 2.0 * known, "{} {known}", filter.p[0][0]);
}

/// A step that the model could not make is not forgotten at the next measurement.
#[test]
fn a_filter_that_could_not_predict_has_no_estimate_from_then_on() {
    let mut file = [0; 64];
    let length = cart_policy(&mut file);
    let (mut acting, mut coasting) = (started(&file, length), started(&file, length));
    let strong = acting.cycle_with(&mut Cart::new(), &mut cart_filter());
    let mut silent = Cart::new();
    silent.silent = 1;
    let weak = coasting.cycle_with(&mut silent, &mut cart_filter());
    assert_eq!((strong.mode(), weak.mode()), (0, 1));
    // It knows the strong drive alone.
    let filter = || Kalman {
        modes: &CART[..1],
        ..cart_filter()
    };
    for (missed, sound) in [(&strong, true), (&weak, false)] {
        let mut filter = filter();
        filter.miss(Some(missed));
        for _ in 0..2 {
            let found = filter.update(&[0.5], Some(&strong), &mut [0.0; 2]);
            assert_eq!(found, sound);
        }
    }
}
