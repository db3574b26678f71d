//! `hpo gradcheck`: unbiasedness by exact enumeration, and where the variance is.

use clap::Args;

use crate::error::Result;
use crate::plant::load_plant;
use crate::train::gradcheck::{
    CaseReport, GradcheckReport, PartReport, RELATIVE_ERROR, ResponsePoint, gradcheck,
};

/// Check the gradient estimator against exact enumeration on a small set-up of the plant.
#[derive(Args, Clone, Debug)]
pub struct GradcheckArgs {
    /// A ready plant's name or a plant file.
    pub plant: String,
    /// Sampled trajectories, 1024 or more; a case takes up to 32 times as many where its standard error asks for it.
    #[arg(long, default_value_t = 200_000, value_parser = super::count, allow_negative_numbers = true)]
    pub samples: usize,
    /// Seed of states, parameters and samples.
    #[arg(long, default_value_t = 1, value_parser = super::seed, allow_negative_numbers = true)]
    pub seed: u64,
    /// Sizes of the generator's family with two modes, to report variances against dimension.
    #[arg(long, value_delimiter = ',', value_parser = super::count, allow_negative_numbers = true)]
    pub dims: Vec<usize>,
    /// A setting of the plant, such as seed=3.
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = super::key_value)]
    pub sets: Vec<(String, String)>,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// Runs `hpo gradcheck`.
///
/// # Errors
/// For a plant or number of samples that is not acceptable; [`crate::Error::Negative`] if the mean differs from the
/// exact gradient by five standard errors or more, is known to no better than 1 % of it, or would pass without the cross term.
pub fn run(args: &GradcheckArgs) -> Result<()> {
    super::only_plant_keys(&args.sets)?;
    let plant = load_plant(&args.plant, &args.sets)?;
    let report = gradcheck(&plant, args.samples, args.seed, &args.dims)?;
    if args.json {
        super::output::print_json(&report)?;
    } else {
        print(&report, plant.horizon());
    }
    report.verdict()
}

/// The report for people; `horizon` is the plant's.
fn print(report: &GradcheckReport, horizon: usize) {
    let of = if report.horizon < horizon {
        format!(" of {horizon} (as many as can be listed)")
    } else {
        String::new()
    };
    println!(
        "{}: {} steps{of}, {} choice sequences listed, {} parameters, {} sampled trajectories or more",
        report.plant, report.horizon, report.sequences, report.parameters, report.samples
    );
    print_case(
        "far from a discrete best response (random policy)",
        &report.far,
    );
    if let Some(ratio) = report.variance_ratio {
        println!("  variance of the score function over the mixed gradient's, laws  {ratio:.1}");
    }
    print_case(
        "near a discrete best response (the same laws, selector trained alone)",
        &report.near,
    );
    print_path(&report.path);
    if !report.dimensions.is_empty() {
        print_dimensions(report);
    }
}

fn print_path(path: &[ResponsePoint]) {
    println!(
        "\nfrom far to near: bias of the laws' gradient without the cross term, by enumeration; beside it the random \
         selector made as sharp"
    );
    println!(
        "  {:>10}{:>10}{:>14}{:>12}{:>10}{:>22}{:>12}{:>10}",
        "excess, %",
        "entropy",
        "laws' grad.",
        "cross term",
        "bias",
        "as sharp: excess, %",
        "cross term",
        "bias"
    );
    for point in path {
        println!(
            "  {:>10.3}{:>10.4}{:>14.4e}{:>12.4e}{:>10.5}{:>22.2}{:>12.4e}{:>10.5}",
            point.excess_percent,
            point.entropy,
            point.laws_gradient,
            point.cross_term,
            point.relative_bias_of_laws,
            point.as_sharp_excess_percent,
            point.as_sharp_cross_term,
            point.as_sharp_relative_bias_of_laws
        );
    }
}

fn print_dimensions(report: &GradcheckReport) {
    println!("\nagainst dimension: switched-lqr-n-2, policies after ten epochs of training");
    for row in &report.dimensions {
        println!(
            "  n = {}: {} parameters, {} steps, {} seeds",
            row.n, row.parameters, row.horizon, row.seeds
        );
        print_parts(&row.parts);
        for ratio in &row.variance_ratios {
            println!(
                "  score function over mixed, laws, control perturbed by {}: {:.1}",
                ratio.deviation, ratio.ratio
            );
        }
    }
    for growth in &report.variance_ratio_growth {
        println!(
            "  control perturbed by {}: the ratio grows as n^{:.2}",
            growth.deviation, growth.exponent
        );
    }
}

fn print_case(title: &str, case: &CaseReport) {
    println!("\n{title}");
    println!(
        "  exact gradient against finite differences, relative            {:.1e}",
        case.difference_error
    );
    println!(
        "  greatest |z| of the mean                                        {:.2}",
        case.max_z
    );
    println!(
        "  standard error along the exact gradient, relative               {:.3} %{}",
        100.0 * case.relative_standard_error,
        if case.relative_standard_error > RELATIVE_ERROR {
            " (above 1 %: too few trajectories)"
        } else {
            ""
        }
    );
    println!(
        "  trajectories                                                    {}",
        case.trajectories
    );
    println!(
        "  |mean - exact| / |exact|                                        {:.4}",
        case.relative_bias
    );
    println!(
        "  without the cross term: greatest |z|                            {:.1}",
        case.max_z_without_cross_term
    );
    println!(
        "  without the cross term: bias, by enumeration                    {:.4}",
        case.relative_bias_without_cross_term
    );
    print_parts(&case.parts);
}

fn print_parts(parts: &[PartReport]) {
    println!(
        "  {:<30}{:>14}{:>18}{:>12}",
        "part", "variance", "signal to noise", "alignment"
    );
    for part in parts {
        let alignment = part
            .alignment
            .map_or("-".to_owned(), |cosine| format!("{cosine:.4}"));
        println!(
            "  {:<30}{:>14.4e}{:>18.4e}{:>12}",
            part.part, part.variance, part.signal_to_noise, alignment
        );
    }
}
