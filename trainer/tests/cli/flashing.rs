//! `hpo flash` and `hpo export --image`, with a probe-rs that only plays one.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use policy_format::{ContainerWriter, RawPolicy, SectionId, reseal};
use trainer::device::board::{BOARDS, find};
use trainer::device::flash::identity::{self, IDENTITY_LEN};
use trainer::export::PolicyBuffer;

use super::support::{Hpo, Outcome};

/// Plays probe-rs: notes its arguments, keeps what is downloaded, and gives it back.
const PROBE_RS: &str = r#"#!/bin/sh
echo "probe-rs $*" >> "$FAKE/calls"
case $FAKE_MOOD in
  lonely) echo "Error: No connected probes were found." >&2; exit 1;;
  asleep) exec sleep 60;;
  broken) echo "Error: the flash algorithm died" >&2; exit 7;;
esac
command=$1
while [ $# -gt 0 ]; do
  case $1 in --output) output=$2;; --base-address) base=$2;; b32) address=$2;; esac
  last=$1
  shift
done
case $command in
  download) cp "$last" "$FAKE/$base";;
  read)
    cp "$FAKE/$address" "$output"
    # What stands at the slot is longer than the record in front of it.
    [ "$FAKE_MOOD" != forgetful ] || [ "$(wc -c < "$output")" -le 160 ] ||
      printf x | dd of="$output" bs=1 seek=40 conv=notrunc 2>/dev/null;;
esac
"#;

/// A folder with a small run and a probe-rs.
struct Desk {
    hpo: Hpo,
    policy: Vec<u8>,
    class: u32,
}

impl Desk {
    fn new() -> Self {
        let hpo = Hpo::new();
        let policy = hpo.small_run();
        let class = class_of(&policy);
        fs::create_dir(hpo.path("bin")).unwrap();
        hpo.write("bin/probe-rs", PROBE_RS);
        let executable = fs::Permissions::from_mode(0o755);
        fs::set_permissions(hpo.path("bin/probe-rs"), executable).unwrap();
        fs::create_dir(hpo.path("fake")).unwrap();
        let desk = Self { hpo, policy, class };
        for board in BOARDS {
            // The last one at an address wins; a test that cares writes its own.
            desk.firmware_on_the_board(board.name, class);
        }
        desk
    }

    fn firmware_on_the_board(&self, name: &str, class: u32) {
        self.firmware_of_a_kind(name, class, 0, None);
    }

    /// `kind`: 1 signed policies only, 2 two slots; with one public key at most.
    fn firmware_of_a_kind(&self, name: &str, class: u32, kind: u32, key: Option<[u8; 32]>) {
        let own = 32 + key.map_or(0, |key| key.len());
        let mut record = vec![0x5A; IDENTITY_LEN - own];
        record.extend(key.iter().flatten());
        record.extend(b"HPOBOARD");
        let count = u32::from(key.is_some());
        record.extend((2 | kind << 8 | count << 16).to_le_bytes());
        record.extend(class.to_le_bytes());
        record.extend(name.bytes());
        record.resize(IDENTITY_LEN, 0);
        let address = identity::address(find(name).unwrap());
        self.hpo.write(&format!("fake/{address:#010x}"), record);
    }

    /// Runs `hpo` with the probe-rs in one of its moods.
    fn run(&self, args: &[&str], mood: &str) -> Outcome {
        let output = self
            .hpo
            .command(args)
            .env(
                "PATH",
                format!("{}:/usr/bin:/bin", self.hpo.path("bin").display()),
            )
            .env("FAKE", self.hpo.path("fake"))
            .env("FAKE_MOOD", mood)
            .output()
            .unwrap();
        Outcome {
            code: output.status.code().unwrap(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// What probe-rs was called with since the last time.
    fn calls(&self) -> Vec<String> {
        let path = self.hpo.path("fake/calls");
        let text = fs::read_to_string(&path).unwrap_or_default();
        let _ = fs::remove_file(path);
        text.lines().map(str::to_owned).collect()
    }

    fn slot(&self, board: &str) -> Option<Vec<u8>> {
        let address = find(board).unwrap().policy_address;
        fs::read(self.hpo.path(&format!("fake/{address:#010x}"))).ok()
    }
}

fn class_of(policy: &[u8]) -> u32 {
    RawPolicy::parse(PolicyBuffer::new(policy).bytes())
        .unwrap()
        .target_class()
}

#[test]
fn a_dry_run_says_what_would_be_done_on_every_board() {
    let desk = Desk::new();
    for board in BOARDS {
        let args = ["flash", "run", "--board", board.name, "--dry-run"];
        let text = desk.hpo.done(&args);
        let lines: Vec<&str> = text.lines().collect();
        match board.probe {
            Some(probe) => {
                assert_eq!(lines.len(), 4, "{text}");
                let chip = format!("--chip {}", probe.chip);
                assert!(
                    lines
                        .iter()
                        .all(|l| l.starts_with("probe-rs ") && l.contains(&chip))
                );
                let download = format!(
                    "--verify --binary-format bin --base-address {:#010x} {}",
                    board.policy_address,
                    desk.hpo.path("run/policy.hpo").display()
                );
                assert!(lines[1].ends_with(&download), "{text}");
            }
            None => {
                let machine = format!(
                    "qemu-system-arm -machine {} ",
                    board.emulator.unwrap().machine
                );
                assert!(
                    lines[0].starts_with(&machine) && lines[0].contains(" -S -gdb "),
                    "{text}"
                );
                let write = format!("M{:x},{:x}: ", board.policy_address, desk.policy.len());
                assert!(lines[1].starts_with(&write), "{text}");
            }
        }
        let report = desk.hpo.json(&args);
        assert_eq!(report["dry_run"], true);
        assert_eq!(
            (&report["verified"], &report["booted"]),
            (&false.into(), &serde_json::Value::Null)
        );
        assert_eq!(report["steps"].as_array().unwrap().len(), lines.len());
        assert_eq!(report["target_class"], desk.class);
    }
    assert_eq!(desk.calls(), [""; 0], "a dry run starts nothing");
    let args = [
        "flash",
        "run",
        "--board",
        "rp2350",
        "--firmware",
        "--dry-run",
    ];
    let text = desk.hpo.done(&args);
    let elf = format!("rp2350-{}.elf", desk.class);
    assert!(text.lines().next().unwrap().ends_with(&elf), "{text}");
    let args = [
        "flash",
        "run",
        "--board",
        "mps2-an386",
        "--gdb",
        "127.0.0.1:3333",
        "--dry-run",
    ];
    let text = desk.hpo.done(&args);
    assert!(text.starts_with("connect to tcp:127.0.0.1:3333"), "{text}");
    assert!(text.contains("system_reset"), "{text}");
}

#[test]
fn the_calls_of_probe_rs_are_those_of_the_dry_run() {
    let desk = Desk::new();
    for board in BOARDS.iter().filter(|board| board.probe.is_some()) {
        desk.firmware_on_the_board(board.name, desk.class);
        let args = [
            "flash",
            "run",
            "--board",
            board.name,
            "--probe",
            "1366:1015:7",
        ];
        let promised = desk.hpo.done(&[&args[..], &["--dry-run"]].concat());
        let outcome = desk.run(&[&args[..], &["--json"]].concat(), "good");
        assert_eq!(outcome.code, 0, "{outcome:?}");
        assert_eq!(desk.calls(), promised.lines().collect::<Vec<_>>());
        assert_eq!(desk.slot(board.name).unwrap(), desk.policy);
        let report: serde_json::Value = serde_json::from_str(&outcome.stdout).unwrap();
        assert_eq!(
            (&report["verified"], &report["tool"]),
            (&true.into(), &"probe-rs".into())
        );
        assert_eq!(report["bytes"], desk.policy.len());
        // The table is there to have one slot after the other written.
        fs::remove_file(
            desk.hpo
                .path(&format!("fake/{:#010x}", board.policy_address)),
        )
        .unwrap();
    }
}

#[test]
fn what_goes_wrong_at_the_probe_is_told() {
    let desk = Desk::new();
    desk.firmware_on_the_board("nrf52840", desk.class);
    let args = ["flash", "run", "--board", "nrf52840", "--timeout", "2"];
    for (mood, code, parts) in [
        (
            "lonely",
            3,
            &[
                "No connected probes",
                "connect a debug probe",
                "probe-rs list",
            ][..],
        ),
        ("asleep", 3, &["did not end within 2 s", "probe-rs read"]),
        ("broken", 3, &["the flash algorithm died", "exit status: 7"]),
    ] {
        let outcome = desk.run(&args, mood);
        assert_eq!(
            (outcome.code, outcome.stdout.as_str()),
            (code, ""),
            "{outcome:?}"
        );
        for part in parts {
            assert!(outcome.stderr.contains(part), "{mood}: {}", outcome.stderr);
        }
        assert_eq!(desk.slot("nrf52840"), None, "{mood}: nothing was written");
    }
    desk.calls();
    // It forgets a byte: the slot does not read back.
    let outcome = desk.run(&args, "forgetful");
    assert_eq!(outcome.code, 1, "{outcome:?}");
    assert!(
        outcome.stderr.contains("read back at 0x00080028"),
        "{}",
        outcome.stderr
    );
    // The reset comes before the reading: no firmware runs on with a policy that changed under it.
    let calls: Vec<_> = desk
        .calls()
        .iter()
        .map(|c| c.split(' ').nth(1).unwrap().to_owned())
        .collect();
    assert_eq!(calls, ["read", "download", "reset", "read"]);

    // No such program at all.
    fs::remove_file(desk.hpo.path("bin/probe-rs")).unwrap();
    let outcome = desk.run(&args, "good");
    assert_eq!(outcome.code, 3, "{outcome:?}");
    assert!(
        outcome.stderr.contains("cargo install probe-rs-tools"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn the_firmware_of_another_board_or_class_is_left_alone() {
    let desk = Desk::new();
    let args = ["flash", "run", "--board", "stm32f405"];
    let refused = |name: &str, class, says: &str| {
        desk.firmware_on_the_board(name, class);
        let outcome = desk.run(&args, "good");
        assert_eq!(outcome.code, 2, "{outcome:?}");
        assert!(outcome.stderr.contains(says), "{}", outcome.stderr);
        assert_eq!(desk.calls().len(), 1, "one reading, no writing");
    };
    // The two chips have the same memory map.
    refused("stm32f407", desk.class, "the firmware of stm32f407");
    refused("stm32f405", desk.class ^ 1, "--firmware to replace it");
    desk.hpo.write("fake/0x0807ff60", [0xFF; IDENTITY_LEN]);
    let outcome = desk.run(&args, "good");
    assert_eq!(outcome.code, 2);
    assert!(
        outcome.stderr.contains("no firmware of this project"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn firmware_with_slots_or_of_other_keys_is_left_alone() {
    let desk = Desk::new();
    let hpo = &desk.hpo;
    for key in ["ours", "theirs"] {
        hpo.done(&["keygen", "-o", key]);
        let file = format!("{key}.hpo");
        hpo.done(&["export", "run", "--sign", key, "-o", &file]);
    }
    let text = String::from_utf8(hpo.read("ours.pub")).unwrap();
    let digits = text.trim();
    let ours: [u8; 32] =
        std::array::from_fn(|at| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).unwrap());
    let flash = |file: &str| desk.run(&["flash", file, "--board", "nrf52840"], "good");
    for (kind, key, file, says) in [
        (2, None, "run", "`hpo push`"),
        (3, Some(ours), "ours.hpo", "`hpo push`"),
        (1, Some(ours), "run", "Unsigned"),
        (1, Some(ours), "theirs.hpo", "UnknownKey"),
    ] {
        desk.firmware_of_a_kind("nrf52840", desk.class, kind, key);
        let outcome = flash(file);
        assert_eq!(outcome.code, 2, "{outcome:?}");
        assert!(outcome.stderr.contains(says), "{says}: {outcome:?}");
        assert!(
            outcome.stderr.contains("nothing was written"),
            "{outcome:?}"
        );
        assert_eq!(desk.calls().len(), 1, "one reading, no writing");
        assert_eq!(desk.slot("nrf52840"), None);
    }
    let outcome = flash("ours.hpo");
    assert_eq!(outcome.code, 0, "{outcome:?}");
    assert_eq!(desk.slot("nrf52840").unwrap(), hpo.read("ours.hpo"));
    // Keys are for firmware that is written, and hold for it before anything is built.
    desk.calls();
    let board = ["--board", "nrf52840"];
    hpo.refuses(
        &[&["flash", "ours.hpo", "--keys", "ours.pub"], &board[..]].concat(),
        &["--keys", "--firmware"],
    );
    let with = ["--firmware", "--keys", "ours.pub"];
    hpo.refuses(
        &[&["flash", "theirs.hpo"], &board[..], &with].concat(),
        &["UnknownKey", "nothing was written"],
    );
    let args = [&["flash", "ours.hpo"], &board[..], &with, &["--dry-run"]].concat();
    assert!(hpo.done(&args).contains("-signed-"));
    assert_eq!(desk.calls(), [""; 0]);
}

/// The policy with an optional section of `bytes` bytes.
fn padded(policy: &[u8], bytes: usize) -> Vec<u8> {
    let buffer = PolicyBuffer::new(policy);
    let raw = RawPolicy::parse(buffer.bytes()).unwrap();
    let mut out = vec![0; policy.len() + bytes + 64];
    let mut writer = ContainerWriter::new(&mut out, raw.target_class(), raw.sections().count() + 1);
    for section in raw.sections() {
        writer.section(section.id, section.flags & 1 == 1);
        writer.put(raw.section(section.id).unwrap());
    }
    writer.section(SectionId(999), false);
    writer.put(&vec![0; bytes]);
    let length = writer.finish().unwrap();
    out.truncate(length);
    out
}

#[test]
fn a_policy_that_the_board_would_refuse_is_not_written() {
    let desk = Desk::new();
    let hpo = &desk.hpo;
    let flash = ["flash", "bad.hpo", "--board", "nrf52840"];
    let refused = |bytes: &[u8], part: &str| {
        hpo.write("bad.hpo", bytes);
        hpo.refuses(&flash, &["bad.hpo: ", part]);
        hpo.refuses(
            &["export", "bad.hpo", "--image", "bin", "--board", "nrf52840"],
            &["bad.hpo: ", part],
        );
    };
    refused(b"", "file has 0 bytes");
    refused(&desk.policy[..desk.policy.len() - 16], "total length");
    let image = hpo.path("image.hex");
    let image = image.to_str().unwrap();
    hpo.done(&[
        "export", "run", "--image", "hex", "--board", "nrf52840", "-o", image,
    ]);
    refused(&fs::read(image).unwrap(), "magic");
    // Sound, but the golden vectors tell.
    let mut changed = desk.policy.clone();
    let gains = {
        let buffer = PolicyBuffer::new(&desk.policy);
        let raw = RawPolicy::parse(buffer.bytes()).unwrap();
        let gains = raw
            .sections()
            .find(|section| section.id == SectionId::GAINS);
        let gains = gains.expect("a small run has gains");
        gains.offset..gains.offset + raw.section(gains.id).unwrap().len()
    };
    for word in changed[gains].chunks_exact_mut(4) {
        // A bit of the mantissa; what is zero may be padding.
        word[2] ^= if word == [0; 4] { 0 } else { 0x40 };
    }
    reseal(&mut changed);
    refused(&changed, "GoldenMismatch");
    // The least slot, of the microbit, is too small.
    hpo.write("big.hpo", padded(&desk.policy, 128 << 10));
    hpo.refuses(
        &["flash", "big.hpo", "--board", "microbit"],
        &["big.hpo: length: found ", "131056, the slot of microbit"],
    );
    let other = (desk.class ^ 1).to_string();
    hpo.refuses(
        &[
            "flash",
            "run",
            "--board",
            "nrf52840",
            "--target-class",
            &other,
        ],
        &["target_class", &desk.class.to_string(), &other],
    );
    hpo.refuses(&["flash", "run", "--board", "mps9"], &["mps9", "nrf52840"]);
    hpo.refuses(
        &["flash", "none.hpo", "--board", "nrf52840"],
        &["none.hpo: cannot read"],
    );
    hpo.refuses(
        &["flash", "run", "--board", "nrf52840", "--timeout", "0"],
        &["timeout"],
    );
    assert_eq!(desk.calls(), [""; 0]);
}

#[test]
fn images_hold_the_policy() {
    let desk = Desk::new();
    let hpo = &desk.hpo;
    let export = |format: &str, board: &str| {
        hpo.json(&["export", "run", "--image", format, "--board", board])
    };
    let report = export("bin", "stm32f407");
    assert_eq!(hpo.read("policy.bin"), desk.policy);
    assert_eq!(report["output"], "policy.bin");
    assert_eq!(report["image"]["address"], 0x0808_0000);
    assert_eq!(report["image"]["bytes"], desk.policy.len());
    export("uf2", "rp2350");
    let file = hpo.read("policy.uf2");
    assert_eq!(file.len(), 512 * desk.policy.len().div_ceil(256));
    assert_eq!(file[12..16], 0x1010_0000_u32.to_le_bytes());
    assert_eq!(file[28..32], 0xE48B_FF59_u32.to_le_bytes());
    let payload: Vec<u8> = file
        .chunks(512)
        .flat_map(|block| block[32..288].to_vec())
        .collect();
    assert_eq!(payload[..desk.policy.len()], desk.policy);
    export("hex", "mps2-an386");
    let text = String::from_utf8(hpo.read("policy.hex")).unwrap();
    assert_eq!(text.lines().next(), Some(":020000040030CA"));
    assert_eq!(text.lines().last(), Some(":00000001FF"));
    // Without an image all is as before.
    let report = hpo.json(&["export", "run"]);
    assert_eq!(
        (&report["output"], &report["image"]),
        (&"policy.hpo".into(), &serde_json::Value::Null)
    );
    assert_eq!(hpo.read("policy.hpo"), desk.policy);

    hpo.refuses(
        &["export", "run", "--image", "uf2", "--board", "microbit"],
        &["uf2", "microbit"],
    );
    hpo.refuses(&["export", "run", "--image", "hex"], &["--board"]);
    hpo.refuses(&["export", "run", "--board", "microbit"], &["--image"]);
    hpo.refuses(
        &["export", "run", "--image", "hex", "--board", "mps9"],
        &["mps9"],
    );
    hpo.refuses(
        &["export", "run", "--image", "srec", "--board", "rp2350"],
        &["srec", "uf2"],
    );
}
