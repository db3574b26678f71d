//! What can be held without a board, an emulator or a program: admission, commands, records, comparison.

use ed25519_dalek::SigningKey;

use super::*;
use crate::device::board::{BOARDS, find};
use crate::export::signing::{public_of, sign};

fn config(board: &str) -> FlashConfig {
    FlashConfig {
        board: find(board).unwrap(),
        policy: "policy.hpo".into(),
        target_class: None,
        firmware: false,
        keys: Vec::new(),
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
            "probe-rs read --non-interactive --chip STM32F405RGTx --output read-back.bin --format binary b32 0x0807ff60 40",
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

/// What firmware of this kind has in front of its slot, with whatever lies before that.
fn record(name: &str, class: u32, kind: u32, keys: &[PublicKey]) -> Vec<u8> {
    let own = 32 + 32 * keys.len();
    let mut record = vec![0xA5; identity::IDENTITY_LEN - own];
    record.extend(keys.iter().rev().flat_map(|key| key.0));
    record.extend(b"HPOBOARD");
    record.extend((2 | kind << 8 | (keys.len() as u32) << 16).to_le_bytes());
    record.extend(class.to_le_bytes());
    record.extend(name.bytes());
    record.resize(identity::IDENTITY_LEN, 0);
    record
}

/// The smallest policy, and its target class.
fn policy() -> (PolicyBuffer, u32) {
    let bytes = include_bytes!("../../../../policy-format/tests/golden/v1-single-choice.hpo");
    let policy = PolicyBuffer::new(bytes);
    let class = RawPolicy::parse(policy.bytes()).unwrap().target_class();
    (policy, class)
}

#[test]
fn only_the_right_firmware_is_left_in_place() {
    let board = find("mps2-an386").unwrap();
    let (policy, class) = policy();
    let right = record("mps2-an386", class, 0, &[]);
    identity::check(&right, board, &policy).unwrap();
    let last = right.len() - 32;
    let mut newer = right.clone();
    newer[last + 8] = 3;
    let many = [PublicKey([1; 32]); 4];
    for (found, says) in [
        (
            record("mps2-an385", class, 0, &[]),
            "firmware of mps2-an385",
        ),
        (
            record("mps2-an386", class ^ 1, 0, &[]),
            "which the firmware",
        ),
        (record("", class, 0, &[]), "firmware of "),
        (newer, "no firmware"),
        (record("mps2-an386", class, 4, &[]), "no firmware"),
        (record("mps2-an386", class, 1, &[]), "no firmware"),
        (record("mps2-an386", class, 0, &many), "no firmware"),
        (record("mps2-an386", class, 2, &[]), "`hpo push`"),
        (record("mps2-an386", class, 3, &many), "`hpo push`"),
        (record("mps2-an386", class, 1, &many), "no signature (fault"),
        (vec![0xFF; identity::IDENTITY_LEN], "no firmware"),
        (vec![0; identity::IDENTITY_LEN], "no firmware"),
        (right[..right.len() - 1].to_vec(), "no firmware"),
        (right[right.len() - 31..].to_vec(), "no firmware"),
        (Vec::new(), "no firmware"),
    ] {
        let error = identity::check(&found, board, &policy).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        let text = error.to_string();
        assert!(
            text.contains(says) && text.contains("nothing was written"),
            "{says}: {text}"
        );
    }
}

#[test]
fn a_signature_is_held_against_the_keys_of_the_firmware_on_the_board() {
    let board = find("mps2-an386").unwrap();
    let (plain, class) = policy();
    let keys: Vec<_> = (0..5)
        .map(|seed| SigningKey::from_bytes(&[seed; 32]))
        .collect();
    let public: Vec<_> = keys.iter().map(public_of).collect();
    for count in 1..=4 {
        let found = record("mps2-an386", class, 1, &public[..count]);
        let known = identity::Identity::parse(&found).unwrap();
        assert_eq!(known.keys.as_deref(), Some(&public[..count]));
        for (index, key) in keys.iter().enumerate() {
            let signed = sign(&plain, key, 1).unwrap();
            let checked = identity::check(&found, board, &signed);
            assert_eq!(checked.is_ok(), index < count, "{count} {index}");
            let mut damaged = signed.clone();
            *damaged.bytes_mut().last_mut().unwrap() ^= 1;
            policy_format::reseal(damaged.bytes_mut());
            let error = identity::check(&found, board, &damaged).unwrap_err();
            let fault = if index < count {
                "BadSignature"
            } else {
                "UnknownKey"
            };
            let text = error.to_string();
            assert!(
                error.exit_code() == 2
                    && text.contains(fault)
                    && text.contains("nothing was written"),
                "{text}"
            );
        }
    }
    // A firmware that asks for none takes a signed one, too.
    let signed = sign(&plain, &keys[0], 1).unwrap();
    identity::check(&record("mps2-an386", class, 0, &[]), board, &signed).unwrap();
}

#[test]
fn more_keys_than_the_record_holds_are_refused_before_anything_is_built() {
    let variant = Variant {
        keys: vec![PublicKey([1; 32]); identity::MOST_KEYS + 1],
        ..Variant::default()
    };
    let board = find("mps2-an386").unwrap();
    let error = build_variant(board, 0, &variant, &|_| {}).unwrap_err();
    assert_eq!(error.exit_code(), 2);
    assert!(error.to_string().contains("at most 4"), "{error}");
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
