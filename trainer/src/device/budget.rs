//! A board's budget: what firmware and policy may take, from the `budget.toml` beside its memory map.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::board::Board;
use super::build::{Sizes, Variant, folder, project_root};
use crate::{Error, Result};

/// Flash that regions may take beside what a board's file allows its default firmware: on every core the map and the checks of its section.
const REGIONS_FLASH_BYTES: u64 = 1536;

/// Greatest figures of a firmware and of the policy on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Budget {
    /// Bytes of flash, without a policy.
    pub flash_bytes: u64,
    /// Bytes of RAM, without the stack.
    pub ram_bytes: u64,
    /// Bytes of stack, as painted and measured.
    pub stack_bytes: u64,
    /// Instructions of one control step.
    pub instructions: u64,
}

/// A board's `budget.toml`: the budget of its default firmware, and what other firmware may take beside it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    flash_bytes: u64,
    ram_bytes: u64,
    stack_bytes: u64,
    instructions: u64,
    slots: Option<More>,
    signed: Option<More>,
}

/// Bytes that a feature may take.
#[derive(Clone, Copy, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct More {
    flash_bytes: u64,
    ram_bytes: u64,
    stack_bytes: u64,
}

/// A figure beyond its budget.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Over {
    /// The budget's field.
    pub what: &'static str,
    /// The figure.
    pub found: u64,
    /// What the budget allows.
    pub allowed: u64,
}

impl Budget {
    /// The budget of the default firmware of `board`, from the project's folder.
    ///
    /// # Errors
    /// [`Error::Usage`] without the project's folder, [`Error::Io`] if the file cannot be read,
    /// [`Error::Input`] if it is not a budget.
    pub fn of(board: &Board) -> Result<Self> {
        Self::of_variant(board, &Variant::default())
    }

    /// The budget of a variant of the board's firmware: what it does more may take more.
    ///
    /// # Errors
    /// As [`Budget::of`]; [`Error::Input`] also if the file says nothing of slots or signatures and the variant has them.
    pub fn of_variant(board: &Board, variant: &Variant) -> Result<Self> {
        Self::read(
            &folder(&project_root()?, board).join("budget.toml"),
            variant,
        )
    }

    /// Reads a budget file for a variant of the firmware.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be read, [`Error::Input`] if it is not a budget, or has none for the variant.
    pub fn read(path: &Path, variant: &Variant) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|e| Error::io(path, "cannot read", e))?;
        let file: File = toml::from_str(&text).map_err(|e| {
            Error::input(
                path,
                "budget",
                e.message(),
                "flash_bytes, ram_bytes, stack_bytes and instructions, whole numbers; tables slots and signed with what these take",
            )
        })?;
        let more = |table: &'static str, wanted: bool, more: Option<More>| match (wanted, more) {
            (false, _) => Ok(More::default()),
            (true, Some(more)) => Ok(more),
            (true, None) => Err(Error::input(
                path,
                table,
                "no table",
                format!(
                    "[{table}] with flash_bytes, ram_bytes and stack_bytes that firmware with it may take beside"
                ),
            )),
        };
        // The firmware tells it to a policy as a word of 32 bits; a step takes some.
        if !(1..=u64::from(u32::MAX)).contains(&file.instructions) {
            return Err(Error::input(
                path,
                "instructions",
                file.instructions,
                "1 to 4294967295",
            ));
        }
        let slots = more("slots", variant.slots, file.slots)?;
        let signed = more("signed", !variant.keys.is_empty(), file.signed)?;
        let regions = if variant.regions {
            REGIONS_FLASH_BYTES
        } else {
            0
        };
        Ok(Self {
            flash_bytes: file.flash_bytes + slots.flash_bytes + signed.flash_bytes + regions,
            ram_bytes: file.ram_bytes + slots.ram_bytes + signed.ram_bytes,
            stack_bytes: file.stack_bytes + slots.stack_bytes + signed.stack_bytes,
            instructions: file.instructions,
        })
    }

    /// What of a firmware's memory is beyond the budget; empty if nothing is.
    #[must_use]
    pub fn over_memory(&self, sizes: &Sizes) -> Vec<Over> {
        over(&[
            ("flash_bytes", sizes.flash_bytes, self.flash_bytes),
            ("ram_bytes", sizes.ram_bytes, self.ram_bytes),
        ])
    }

    /// What of a run is beyond the budget: stack, and instructions where they were counted.
    #[must_use]
    pub fn over_run(&self, stack_bytes: u32, instructions: Option<u64>) -> Vec<Over> {
        over(&[
            ("stack_bytes", stack_bytes.into(), self.stack_bytes),
            (
                "instructions",
                instructions.unwrap_or_default(),
                self.instructions,
            ),
        ])
    }
}

fn over(figures: &[(&'static str, u64, u64)]) -> Vec<Over> {
    figures
        .iter()
        .filter(|(_, found, allowed)| found > allowed)
        .map(|&(what, found, allowed)| Over {
            what,
            found,
            allowed,
        })
        .collect()
}

/// `Ok` if nothing is beyond the budget.
///
/// # Errors
/// [`Error::Negative`] that names every figure beyond it.
pub fn verdict(board: &str, over: &[Over]) -> Result<()> {
    if over.is_empty() {
        return Ok(());
    }
    let figures: Vec<_> = over
        .iter()
        .map(|o| format!("{} is {}, the budget allows {}", o.what, o.found, o.allowed))
        .collect();
    Err(Error::Negative(format!("{board}: {}", figures.join("; "))))
}

#[cfg(test)]
mod tests {
    use super::super::board::BOARDS;
    use super::*;

    const BUDGET: Budget = Budget {
        flash_bytes: 100,
        ram_bytes: 10,
        stack_bytes: 20,
        instructions: 1_000,
    };

    #[test]
    fn what_is_at_the_budget_passes_and_one_more_does_not() {
        let sizes = |flash_bytes, ram_bytes| Sizes {
            flash_bytes,
            ram_bytes,
        };
        assert!(BUDGET.over_memory(&sizes(100, 10)).is_empty());
        let beyond = BUDGET.over_memory(&sizes(101, 11));
        assert_eq!(beyond.len(), 2);
        assert!(BUDGET.over_run(20, Some(1_000)).is_empty());
        assert!(BUDGET.over_run(20, None).is_empty());
        assert_eq!(BUDGET.over_run(21, Some(1_001)).len(), 2);
        let error = verdict("a-board", &beyond).unwrap_err();
        assert_eq!(error.exit_code(), 1);
        assert_eq!(
            error.to_string(),
            "a-board: flash_bytes is 101, the budget allows 100; ram_bytes is 11, the budget allows 10"
        );
    }

    #[test]
    fn every_board_has_a_budget() {
        for board in BOARDS {
            let budget = Budget::of(board).unwrap();
            assert!(
                budget.flash_bytes > 0 && budget.instructions > 0,
                "{}",
                board.name
            );
        }
    }

    #[test]
    fn a_bad_budget_names_file_and_fields() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("budget.toml");
        let whole = "flash_bytes = 100\nram_bytes = 10\nstack_bytes = 20\ninstructions = 1000\n";
        for text in [
            "flash_bytes = 1",
            "flash = 1",
            "instructions = -1",
            "x",
            &format!("{whole}[slots]\ninstructions = 1"),
            &format!("{whole}[other]\nram_bytes = 1"),
        ] {
            std::fs::write(&path, text).unwrap();
            let error = Budget::read(&path, &Variant::default()).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            let text = error.to_string();
            assert!(
                text.contains("budget.toml") && text.contains("ram_bytes"),
                "{text}"
            );
        }
    }

    /// The board's build script reads these notations too.
    #[test]
    fn instructions_are_a_word_that_is_not_zero() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("budget.toml");
        let read = |instructions: &str| {
            let text = format!(
                "flash_bytes = 100\nram_bytes = 10\nstack_bytes = 20\ninstructions = {instructions}\n"
            );
            std::fs::write(&path, text).unwrap();
            Budget::read(&path, &Variant::default())
        };
        for text in [
            "1_000",
            "1000 # a period of 10 ms",
            "0x3E8",
            "0o1750",
            "0b1111101000",
        ] {
            assert_eq!(read(text).unwrap(), BUDGET, "{text}");
        }
        for text in ["0", "4294967296"] {
            let error = read(text).unwrap_err().to_string();
            assert!(
                error.contains("instructions") && error.contains(text),
                "{error}"
            );
        }
    }

    #[test]
    fn slots_and_signatures_have_budgets_of_their_own() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("budget.toml");
        let whole = "flash_bytes = 100\nram_bytes = 10\nstack_bytes = 20\ninstructions = 1000\n";
        std::fs::write(
            &path,
            format!("{whole}[slots]\nflash_bytes = 7\nram_bytes = 3"),
        )
        .unwrap();
        assert_eq!(Budget::read(&path, &Variant::default()).unwrap(), BUDGET);
        let slots = Variant {
            slots: true,
            ..Variant::default()
        };
        let budget = Budget::read(&path, &slots).unwrap();
        assert_eq!(
            (budget.flash_bytes, budget.ram_bytes, budget.stack_bytes),
            (107, 13, 20)
        );
        let signed = Variant {
            keys: vec![firmware::PublicKey([1; 32])],
            ..slots.clone()
        };
        let error = Budget::read(&path, &signed).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains("[signed]"), "{error}");
        let text = format!("{whole}[slots]\nstack_bytes = 1\n[signed]\nstack_bytes = 5");
        std::fs::write(&path, text).unwrap();
        assert_eq!(Budget::read(&path, &signed).unwrap().stack_bytes, 26);
    }
}
