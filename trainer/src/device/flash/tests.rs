//! What can be held without a board, an emulator or a program: admission, commands, records, comparison.

use super::*;
use crate::device::board::{BOARDS, find};

fn config(board: &str) -> FlashConfig {
    FlashConfig {
        board: find(board).unwrap(),
        policy: "policy.hpo".into(),
        target_class: None,
        firmware: false,
        probe: None,
        gdb: None,
        dry_run: true,
        timeout: Duration::from_secs(5),
    }
}

fn lines(config: &FlashConfig, elf: Option<&str>) -> Vec<String> {
    let chip = config.board.probe.unwrap();
    let calls = probe::calls(
        config,
        &chip,
        Path::new("/a b/policy.hpo"),
        8304,
        elf.map(Path::new),
    );
    calls.iter().map(probe::Call::line).collect()
}

#[test]
fn the_commands_of_probe_rs_are_these() {
    assert_eq!(
        lines(&config("stm32f405"), None),
        [
            "probe-rs read --non-interactive --chip STM32F405RGTx --output read-back.bin --format binary b32 0x0807ffe0 8",
            "probe-rs download --non-interactive --chip STM32F405RGTx --disable-progressbars --verify --binary-format bin \
             --base-address 0x08080000 '/a b/policy.hpo'",
            "probe-rs reset --non-interactive --chip STM32F405RGTx",
            "probe-rs read --non-interactive --chip STM32F405RGTx --output read-back.bin --format binary b32 0x08080000 2076",
        ]
    );
    let mut with = config("rp2350");
    with.probe = Some("2e8a:000c:E66".into());
    let lines = lines(&with, Some("/rp2350-7.elf"));
    assert_eq!(lines.len(), 4);
    assert_eq!(
        lines[0],
        "probe-rs download --non-interactive --chip RP235x --probe 2e8a:000c:E66 --disable-progressbars --verify \
         --binary-format elf /rp2350-7.elf"
    );
    assert!(
        lines
            .iter()
            .all(|line| line.contains(" --probe 2e8a:000c:E66"))
    );
    assert!(
        lines[1].contains("--base-address 0x10100000 "),
        "{}",
        lines[1]
    );
}

#[test]
fn every_real_board_is_written_at_its_own_slot_and_chip() {
    let mut chips = Vec::new();
    for board in BOARDS.iter().filter(|board| board.probe.is_some()) {
        let lines = lines(&config(board.name), None);
        let chip = board.probe.unwrap().chip;
        assert!(
            lines
                .iter()
                .all(|line| line.contains(&format!(" --chip {chip}")))
        );
        assert!(lines[1].contains(&format!(" {:#010x} ", board.policy_address)));
        assert!(!chips.contains(&chip), "{chip}");
        chips.push(chip);
    }
    assert_eq!(chips.len(), 4);
}

fn record(name: &str, class: u32) -> Vec<u8> {
    let mut record = b"HPOBOARD\x01\0\0\0".to_vec();
    record.extend(class.to_le_bytes());
    record.extend(name.bytes());
    record.resize(identity::IDENTITY_LEN, 0);
    record
}

#[test]
fn only_the_right_firmware_is_left_in_place() {
    let board = find("mps2-an386").unwrap();
    identity::check(&record("mps2-an386", 7), board, 7).unwrap();
    let mut newer = record("mps2-an386", 7);
    newer[8] = 2;
    for (found, says) in [
        (record("mps2-an385", 7), "firmware of mps2-an385"),
        (record("mps2-an386", 8), "8, which the firmware"),
        (record("", 7), "firmware of "),
        (newer, "no firmware"),
        (vec![0xFF; 32], "no firmware"),
        (vec![0; 32], "no firmware"),
        (record("mps2-an386", 7)[..31].to_vec(), "no firmware"),
        (Vec::new(), "no firmware"),
    ] {
        let error = identity::check(&found, board, 7).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        let text = error.to_string();
        assert!(
            text.contains(says) && text.contains("nothing was written"),
            "{text}"
        );
    }
}

#[test]
fn every_difference_is_found() {
    compare(0x100, b"abc", b"abc").unwrap();
    for (found, at) in [
        (&b"xbc"[..], "0x00000100"),
        (b"abx", "0x00000102"),
        (b"ab", "0x00000102"),
        (b"abcd", "0x00000103"),
    ] {
        let error = compare(0x100, b"abc", found).unwrap_err();
        assert_eq!(error.exit_code(), 1);
        assert!(error.to_string().contains(at), "{error}");
    }
}

#[test]
fn options_of_the_other_kind_of_board_are_refused() {
    let real = FlashConfig {
        gdb: Some("localhost:1".into()),
        ..config("nrf52840")
    };
    let emulated = FlashConfig {
        probe: Some("1:2".into()),
        ..config("microbit")
    };
    for (config, option) in [(real, "--gdb"), (emulated, "--probe")] {
        let error = flash(&config, &|_| {}).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains(option), "{error}");
    }
}
