//! From a random selector to a discrete best response, the laws left as they are.
//!
//! The cross term of the laws' gradient is `E sum_t sum_c Q_t(s_t, c) D_s pi(c | s_t) D s_t`. A selector that is a
//! best response to the laws puts its mode boundaries where the Q of the neighbours are equal, and away from a
//! boundary `D_s pi` vanishes as it grows sharp: either way the sum over c vanishes almost everywhere. The
//! pathwise part does not: the laws are not optimal. A selector as sharp but wrong shows that it is the response that does it.

use super::setup::{SetUp, norm};

/// Points of the way behind the first: at each the excess over the best response is half of that before.
const HALVINGS: i32 = 7;
/// Most Adam steps.
const STEPS: i32 = 1000;
/// Adam's step size.
const STEP: f64 = 0.01;

/// The random policy, and policies with the same laws on the way of exact gradient descent on the selector alone: those
/// at which the excess of the expected cost over `bound` (the cost of the best choice sequences) has first
/// fallen to a half, a quarter and so on to 1/128; fewer where a selector of this structure does not come so near.
pub(super) fn path(setup: &SetUp, random: &[f64], bound: f64) -> Vec<Vec<f64>> {
    let mut parameters = random.to_vec();
    let selector = setup.selector_parameters();
    let mut path = vec![parameters.clone()];
    let far = setup.objective(random) - bound;
    let (mut mean, mut square) = (vec![0.0; selector], vec![0.0; selector]);
    for step in 1..=STEPS {
        let gradient = setup.gradient(&parameters, 1.0);
        // Adam (Kingma, Ba 2015) with decays 0.9 and 0.99.
        let (young, slow) = (1.0 - 0.9_f64.powi(step), 1.0 - 0.99_f64.powi(step));
        for i in 0..selector {
            mean[i] += 0.1 * (gradient[i] - mean[i]);
            square[i] += 0.01 * (gradient[i] * gradient[i] - square[i]);
            let direction = mean[i] / young / ((square[i] / slow).sqrt() + 1e-12);
            parameters[i] -= STEP * direction;
        }
        let reached = path.len() as i32;
        if setup.objective(&parameters) - bound <= far * 0.5_f64.powi(reached) {
            path.push(parameters.clone());
            if reached == HALVINGS {
                break;
            }
        }
    }
    path
}

/// Multiplies all logits by `factor`: scores and the selector network's output layer are linear.
pub(super) fn scale_logits(setup: &SetUp, parameters: &mut [f64], factor: f64) {
    let scores = setup
        .model
        .scores()
        .and_then(|scores| scores.layers().last());
    let network = setup.model.selector().and_then(|net| net.layers().last());
    for (_, _, weights, bias) in scores.into_iter().chain(network) {
        for range in [weights, bias] {
            parameters[range].iter_mut().for_each(|p| *p *= factor);
        }
    }
}

/// Norms of the laws' exact gradient, of the cross term in it, and of the whole gradient.
pub(super) fn cross_term(setup: &SetUp, parameters: &[f64]) -> (f64, f64, f64) {
    let exact = setup.gradient(parameters, 1.0);
    let without = setup.gradient(parameters, 0.0);
    let cross: Vec<f64> = exact.iter().zip(&without).map(|(e, w)| e - w).collect();
    let laws = setup.selector_parameters()..;
    (norm(&exact[laws]), norm(&cross), norm(&exact))
}

/// The selector of `parameters` with its logits multiplied by the factor that gives it that mean entropy (in nats), by
/// bisection over 1/100 to 1,000.
pub(super) fn with_entropy(setup: &SetUp, parameters: &[f64], entropy: f64) -> Vec<f64> {
    let scaled = |exponent: f64| {
        let mut scaled = parameters.to_vec();
        scale_logits(setup, &mut scaled, exponent.exp());
        scaled
    };
    let (mut soft, mut sharp) = (-100.0_f64.ln(), 1000.0_f64.ln());
    for _ in 0..40 {
        let middle = 0.5 * (soft + sharp);
        if setup.entropy(&scaled(middle)) > entropy {
            soft = middle;
        } else {
            sharp = middle;
        }
    }
    scaled(0.5 * (soft + sharp))
}
