//! `hpo plants`: the ready plants.

use clap::Parser;
use serde_json::json;

use crate::Result;
use crate::plant::{load_plant, ready_names};

/// Show the ready plants.
#[derive(Debug, Parser)]
pub struct PlantsArgs {
    /// Print one JSON object instead of a table.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// Those of [`load_plant`]; none for the plants that the program was built with.
pub fn run(args: &PlantsArgs) -> Result<()> {
    let plants = ready_names()
        .into_iter()
        .map(|name| load_plant(name, &[]))
        .collect::<Result<Vec<_>>>()?;
    if args.json {
        let list: Vec<_> = plants
            .iter()
            .map(|plant| {
                let dims = plant.dims();
                json!({
                    "name": plant.name(),
                    "n": dims.state,
                    "m": dims.control,
                    "modes": dims.modes,
                    "horizon": plant.horizon(),
                    "test_states": plant.test_states().map_or(0, <[_]>::len),
                    "target_class": plant.target_class(),
                    "description": plant.description(),
                    "source": plant.source(),
                })
            })
            .collect();
        println!("{}", json!({ "plants": list }));
        return Ok(());
    }
    println!(
        "{:<20} {:>4} {:>4} {:>4} {:>8}  source",
        "name", "n", "m", "M", "horizon"
    );
    for plant in &plants {
        let dims = plant.dims();
        println!(
            "{:<20} {:>4} {:>4} {:>4} {:>8}  {}",
            plant.name(),
            dims.state,
            dims.control,
            dims.modes,
            plant.horizon(),
            plant.source()
        );
    }
    println!(
        "{:<20} {:>4} {:>4} {:>4} {:>8}  generator; --set seed=3 for another draw",
        "switched-lqr-N-M", "N", "N", "M", 20
    );
    Ok(())
}
