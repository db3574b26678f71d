//! The table of boards.

use policy_format::CoreClass;

use crate::{Error, Result};

/// What the host has to know about a board; the crate that `folder` names is the other half.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Board {
    /// Name on the command line and of the built ELF.
    pub name: &'static str,
    /// What it is, in one line.
    pub description: &'static str,
    /// Its core.
    pub core: Core,
    /// Folder of its crate: a name in `firmware/boards` or an absolute path. Its last part is the crate's name.
    pub folder: &'static str,
    /// Cargo feature of the crate to build with, if it serves several boards.
    pub feature: Option<&'static str>,
    /// Address of the policy slot.
    pub policy_address: u64,
    /// Bytes of the policy slot.
    pub slot_bytes: usize,
    /// How QEMU runs it; `None` for a real board, which is built here and cannot be run.
    pub emulator: Option<Emulator>,
    /// How a real board is flashed; `None` for an emulated one.
    pub probe: Option<Probe>,
}

/// How a real board is flashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// The chip's name in probe-rs's registry (`probe-rs chip list`).
    pub chip: &'static str,
    /// Its family in UF2 images: the public list in github.com/microsoft/uf2, and for RP2350 section 5.5.3 of its datasheet.
    pub uf2_family: u32,
    /// Whether a UF2 image can hold the firmware: the boot ROM of RP2350 writes all of the flash, while the UF2
    /// bootloaders of the other chips lie where this firmware starts.
    pub uf2_firmware: bool,
}

/// How QEMU runs a board. The number of bytes loaded into the slot goes to the word behind the slot.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Emulator {
    /// QEMU's name of the machine.
    pub machine: &'static str,
    /// Argument of QEMU's `-icount` for runs that count instructions: one takes 2^shift ns of virtual time.
    pub icount: &'static str,
    /// Ticks of the firmware's counter per instruction under `icount`: 256 * 2^shift ns * clock.
    pub ticks_per_instruction: f64,
}

/// The cores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Core {
    /// Cortex-M0: Armv6-M, no FPU.
    M0,
    /// Cortex-M3: Armv7-M, no FPU.
    M3,
    /// Cortex-M4 with FPU: Armv7E-M.
    M4F,
    /// Cortex-M7 with FPU: Armv7E-M.
    M7,
    /// Cortex-M33 with FPU: Armv8-M mainline.
    M33,
    /// Cortex-M55 with FPU: Armv8.1-M mainline.
    M55,
}

impl Core {
    /// The class of cores with the same instruction counts, as in a policy's budget.
    #[must_use]
    pub const fn class(self) -> CoreClass {
        match self {
            Core::M0 => CoreClass::Armv6M,
            Core::M3 => CoreClass::Armv7M,
            Core::M4F | Core::M7 => CoreClass::Armv7EMFpu,
            Core::M33 | Core::M55 => CoreClass::Armv8MFpu,
        }
    }

    /// The Rust target.
    #[must_use]
    pub const fn target(self) -> &'static str {
        match self {
            Core::M0 => "thumbv6m-none-eabi",
            Core::M3 => "thumbv7m-none-eabi",
            Core::M4F | Core::M7 => "thumbv7em-none-eabihf",
            Core::M33 | Core::M55 => "thumbv8m.main-none-eabihf",
        }
    }

    /// Whether it computes binary32 in hardware: with that every finite input takes the same number
    /// of instructions through the network.
    #[must_use]
    pub const fn has_fpu(self) -> bool {
        !matches!(self, Core::M0 | Core::M3)
    }
}

/// Every board: emulated ones from the least core to the greatest, then real ones.
pub const BOARDS: &[Board] = &[
    Board {
        name: "microbit",
        description: "QEMU's BBC micro:bit, nRF51822, Cortex-M0 at 16 MHz",
        core: Core::M0,
        folder: "microbit",
        feature: None,
        policy_address: 0x0002_0000,
        slot_bytes: (128 << 10) - 16,
        emulator: Some(Emulator {
            machine: "microbit",
            icount: "shift=6,sleep=off",
            ticks_per_instruction: 256.0 * 1.024,
        }),
        probe: None,
    },
    mps2(
        "mps2-an385",
        "QEMU's Arm MPS2 AN385, Cortex-M3 at 25 MHz",
        Core::M3,
    ),
    mps2(
        "mps2-an386",
        "QEMU's Arm MPS2 AN386, Cortex-M4F at 25 MHz",
        Core::M4F,
    ),
    Board {
        name: "netduinoplus2",
        description: "QEMU's Netduino Plus 2, STM32F405, Cortex-M4F at 168 MHz",
        core: Core::M4F,
        folder: "netduinoplus2",
        feature: None,
        policy_address: 0x0808_0000,
        slot_bytes: (512 << 10) - 16,
        emulator: Some(Emulator {
            machine: "netduinoplus2",
            icount: "shift=3,sleep=off",
            ticks_per_instruction: 256.0 * 1.344,
        }),
        probe: None,
    },
    mps2(
        "mps2-an500",
        "QEMU's Arm MPS2 AN500, Cortex-M7 at 25 MHz",
        Core::M7,
    ),
    Board {
        name: "mps2-an505",
        description: "QEMU's Arm MPS2 AN505, Cortex-M33 at 20 MHz",
        core: Core::M33,
        folder: "mps2-an505",
        feature: None,
        policy_address: 0x1010_0000,
        slot_bytes: (1 << 20) - 16,
        emulator: Some(Emulator {
            machine: "mps2-an505",
            icount: "shift=6,sleep=off",
            ticks_per_instruction: 256.0 * 1.28,
        }),
        probe: None,
    },
    Board {
        name: "mps3-an547",
        description: "QEMU's Arm MPS3 AN547, Cortex-M55 at 32 MHz",
        core: Core::M55,
        folder: "mps3-an547",
        feature: None,
        policy_address: 0x1004_0000,
        slot_bytes: (256 << 10) - 16,
        emulator: Some(Emulator {
            machine: "mps3-an547",
            icount: "shift=6,sleep=off",
            ticks_per_instruction: 256.0 * 2.048,
        }),
        probe: None,
    },
    Board {
        name: "stm32f405",
        description: "STM32F405RG, Cortex-M4F at 168 MHz",
        core: Core::M4F,
        folder: "stm32f4",
        feature: Some("stm32f405"),
        policy_address: 0x0808_0000,
        slot_bytes: 512 << 10,
        emulator: None,
        probe: Some(Probe {
            chip: "STM32F405RGTx",
            uf2_family: 0x5775_5A57,
            uf2_firmware: false,
        }),
    },
    Board {
        name: "stm32f407",
        description: "STM32F407VG, Cortex-M4F at 168 MHz",
        core: Core::M4F,
        folder: "stm32f4",
        feature: Some("stm32f407"),
        policy_address: 0x0808_0000,
        slot_bytes: 512 << 10,
        emulator: None,
        probe: Some(Probe {
            chip: "STM32F407VGTx",
            uf2_family: 0x5775_5A57,
            uf2_firmware: false,
        }),
    },
    Board {
        name: "nrf52840",
        description: "nRF52840, Cortex-M4F at 64 MHz",
        core: Core::M4F,
        folder: "nrf52840",
        feature: None,
        policy_address: 0x0008_0000,
        slot_bytes: 512 << 10,
        emulator: None,
        probe: Some(Probe {
            chip: "nRF52840_xxAA",
            uf2_family: 0xADA5_2840,
            uf2_firmware: false,
        }),
    },
    Board {
        name: "rp2350",
        description: "RP2350, Cortex-M33 at 150 MHz",
        core: Core::M33,
        folder: "rp2350",
        feature: None,
        policy_address: 0x1010_0000,
        slot_bytes: 1 << 20,
        emulator: None,
        probe: Some(Probe {
            chip: "RP235x",
            uf2_family: 0xE48B_FF59,
            uf2_firmware: true,
        }),
    },
];

/// One of the three MPS2 boards that differ in the core alone.
const fn mps2(name: &'static str, description: &'static str, core: Core) -> Board {
    Board {
        name,
        description,
        core,
        folder: name,
        feature: None,
        policy_address: 0x0030_0000,
        slot_bytes: (1 << 20) - 16,
        emulator: Some(Emulator {
            machine: name,
            icount: "shift=6,sleep=off",
            ticks_per_instruction: 256.0 * 1.6,
        }),
        probe: None,
    }
}

/// The boards that QEMU runs.
pub fn emulated() -> impl Iterator<Item = &'static Board> {
    BOARDS.iter().filter(|board| board.emulator.is_some())
}

impl Board {
    /// How QEMU runs the board.
    ///
    /// # Errors
    /// [`Error::Usage`] that lists the emulated boards, for a real one.
    pub fn emulator(&self) -> Result<Emulator> {
        self.emulator.ok_or_else(|| {
            let names: Vec<_> = emulated().map(|board| board.name).collect();
            Error::Usage(format!(
                "board: found {}, a real board that is only built; QEMU runs: {}",
                self.name,
                names.join(", ")
            ))
        })
    }
}

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
            assert!(TARGETS.contains(&board.core.target()), "{}", board.name);
            assert_eq!(find(board.name).unwrap(), board);
        }
    }

    #[test]
    fn a_board_is_either_emulated_or_real() {
        for board in BOARDS {
            assert_ne!(
                board.emulator.is_some(),
                board.probe.is_some(),
                "{}",
                board.name
            );
            assert_eq!(board.policy_address % 16, 0, "{}", board.name);
        }
    }

    #[test]
    fn a_real_board_is_not_run() {
        let error = find("rp2350").unwrap().emulator().unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains("microbit"), "{error}");
        assert_eq!(emulated().count(), 7);
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
