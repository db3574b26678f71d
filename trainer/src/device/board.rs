//! The table of boards.

use crate::{Error, Result};

/// What the host has to know about a board. The crate in `firmware/boards/<name>` is the other half.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Board {
    /// Name on the command line, of the board's crate and of its ELF.
    pub name: &'static str,
    /// What it is, in one line.
    pub description: &'static str,
    /// Rust target.
    pub target: &'static str,
    /// QEMU's name of the machine.
    pub machine: &'static str,
    /// Address of the policy slot.
    pub policy_address: u64,
    /// Bytes of the policy slot; the number of loaded bytes stands in the word behind it.
    pub slot_bytes: usize,
    /// Argument of QEMU's `-icount` for runs that count instructions.
    pub icount: &'static str,
    /// Ticks of the firmware's counter per instruction under `icount`.
    pub ticks_per_instruction: f64,
}

/// Every board.
pub const BOARDS: &[Board] = &[Board {
    name: "mps2-an386",
    description: "QEMU's Arm MPS2 AN386, Cortex-M4F at 25 MHz",
    target: "thumbv7em-none-eabihf",
    machine: "mps2-an386",
    policy_address: 0x0030_0000,
    slot_bytes: 0x000F_FFF0,
    // One instruction is 2^6 ns of virtual time, one tick of the 25 MHz timer 40 ns.
    icount: "shift=6,sleep=off",
    ticks_per_instruction: 1.6,
}];

/// The board with this name.
///
/// # Errors
/// [`Error::Usage`] that lists the boards.
pub fn find(name: &str) -> Result<&'static Board> {
    BOARDS
        .iter()
        .find(|board| board.name == name)
        .ok_or_else(|| {
            let names: Vec<_> = BOARDS.iter().map(|board| board.name).collect();
            Error::Usage(format!(
                "board: found {name:?}; allowed: {}",
                names.join(", ")
            ))
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::setup::TARGETS;

    #[test]
    fn set_up_covers_every_board() {
        for board in BOARDS {
            assert!(TARGETS.contains(&board.target), "{}", board.name);
            assert_eq!(find(board.name).unwrap(), board);
        }
    }

    #[test]
    fn an_unknown_board_lists_the_known_ones() {
        let error = find("mps9").unwrap_err();
        assert_eq!(error.exit_code(), 2);
        let text = error.to_string();
        assert!(
            text.contains("mps9") && text.contains("mps2-an386"),
            "{text}"
        );
    }
}
