//! Policy files that are not acceptable, through `hpo inspect`, `hpo eval` and `hpo export`.

use policy_format::{ContainerWriter, RawPolicy, SectionId, reseal};
use trainer::export::PolicyBuffer;

use super::support::{Hpo, PLANT};

const EVAL: [&str; 4] = ["eval", "bad.hpo", "--plant", PLANT];

/// Writes `bytes` to a policy file that inspect and eval must refuse with the same words.
fn refused(hpo: &Hpo, bytes: &[u8], part: &str) {
    hpo.write("bad.hpo", bytes);
    hpo.refuses(&["inspect", "bad.hpo"], &["bad.hpo: ", part]);
    hpo.refuses(&EVAL, &["bad.hpo: ", part]);
}

/// The file with one more section, which holds eight bytes.
fn with_section(bytes: &[u8], id: u32, critical: bool) -> Vec<u8> {
    let buffer = PolicyBuffer::new(bytes);
    let raw = RawPolicy::parse(buffer.bytes()).unwrap();
    let mut out = vec![0; bytes.len() + 64];
    let sections = raw.sections().count() + 1;
    let mut writer = ContainerWriter::new(&mut out, raw.target_class(), sections);
    for section in raw.sections() {
        writer.section(section.id, section.flags & 1 == 1);
        writer.put(raw.section(section.id).unwrap());
    }
    writer.section(SectionId(id), critical);
    writer.put(b"whatever");
    let length = writer.finish().unwrap();
    out.truncate(length);
    out
}

/// Offset of a section's first byte.
fn start_of(bytes: &[u8], id: SectionId) -> usize {
    let buffer = PolicyBuffer::new(bytes);
    let raw = RawPolicy::parse(buffer.bytes()).unwrap();
    let section = raw.sections().find(|section| section.id == id).unwrap();
    section.offset
}

#[test]
fn truncated_files() {
    let hpo = Hpo::new();
    let good = hpo.small_run();
    let whole = good.len();
    refused(&hpo, &[], "file has 0 bytes; a header alone has 32");
    refused(&hpo, &good[..1], "file has 1 bytes");
    refused(&hpo, &good[..31], "file has 31 bytes");
    for length in [32, 33, 100, whole / 2, whole - 16, whole - 1] {
        let part = format!("header states a total length of {whole} bytes; found {length}");
        refused(&hpo, &good[..length], &part);
    }
}

#[test]
fn flipped_bits() {
    let hpo = Hpo::new();
    let good = hpo.small_run();
    let flipped = |bit: usize| {
        let mut bytes = good.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        bytes
    };
    refused(&hpo, &flipped(0), "a policy file starts with");
    refused(&hpo, &flipped(16 * 8 + 5), "the header states");
    // Content, the target class, and the last byte of the file.
    for bit in [24 * 8 + 1, good.len() * 4 + 3, good.len() * 8 - 1] {
        refused(&hpo, &flipped(bit), "CRC-32 is 0x");
    }
}

#[test]
fn other_versions_sections_and_lengths() {
    let hpo = Hpo::new();
    let good = hpo.small_run();

    let mut newer = good.clone();
    newer[8] = 2;
    reseal(&mut newer);
    refused(
        &hpo,
        &newer,
        "format version is 2; this reader knows version 1",
    );

    refused(
        &hpo,
        &with_section(&good, 4000, true),
        "critical section UNKNOWN (4000) is unknown to this reader",
    );

    let mut longer = good.clone();
    longer.extend([0; 16]);
    let part = format!("found {}", longer.len());
    refused(&hpo, &longer, &part);
    // The same with a header that owns up to them.
    let length = (longer.len() as u32).to_le_bytes();
    longer[12..16].copy_from_slice(&length);
    reseal(&mut longer);
    let part = format!("its sections end at {}", good.len());
    refused(&hpo, &longer, &part);
}

#[test]
fn an_unknown_optional_section_changes_nothing() {
    let hpo = Hpo::new();
    let good = hpo.small_run();
    hpo.write("more.hpo", with_section(&good, 4000, false));
    let cost = |policy: &str| hpo.json(&["eval", policy, "--plant", PLANT])["mean_cost"].clone();
    assert_eq!(cost("more.hpo"), cost("run"));
    hpo.done(&["inspect", "more.hpo"]);
}

#[test]
fn weights_that_are_no_numbers_or_not_the_ones_that_were_exported() {
    let hpo = Hpo::new();
    let good = hpo.small_run();
    let gains = start_of(&good, SectionId::GAINS);
    for number in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut bytes = good.clone();
        bytes[gains..gains + 4].copy_from_slice(&number.to_le_bytes());
        reseal(&mut bytes);
        refused(
            &hpo,
            &bytes,
            "word 0 of section GAINS (6) is not a finite float",
        );
    }
    // All offsets of the gains one greater: a valid file, but the golden vectors know better.
    let mut bytes = good.clone();
    for choice in 0..8 {
        let block = gains + choice * 64;
        bytes[block..block + 4].copy_from_slice(&1.0_f32.to_le_bytes());
    }
    reseal(&mut bytes);
    hpo.write("bad.hpo", &bytes);
    for args in [&["inspect", "bad.hpo"][..], &EVAL] {
        hpo.fails(1, args, &["bad.hpo: ", "golden vector 0: control 0 is"]);
    }
}

#[test]
fn a_policy_for_another_plant() {
    let hpo = Hpo::new();
    hpo.small_run();
    hpo.refuses(
        &["eval", "run", "--plant", "switched-lqr-8-2"],
        &[
            "run: ",
            "states: found 3; allowed: 8, as plant switched-lqr-8-2 has",
        ],
    );
    // The same sizes, another plant.
    let text = "name = \"other\"\n[dynamics]\ngenerator = { n = 3, modes = 2 }\n";
    hpo.write("other.toml", text);
    hpo.refuses(
        &["eval", "run", "--plant", "other.toml"],
        &[
            "run: ",
            "target class: found 0x",
            "; allowed: 0x",
            "the class of plant other",
        ],
    );
}

#[test]
fn folders_and_missing_files() {
    let hpo = Hpo::new();
    std::fs::create_dir(hpo.path("empty")).unwrap();
    let parts =
        ["empty: found a folder without policy.hpo; allowed: a policy file or a run directory"];
    hpo.refuses(&["inspect", "empty"], &parts);
    hpo.refuses(&["eval", "empty", "--plant", PLANT], &parts);
    hpo.refuses(&["export", "empty"], &parts);
    let parts = ["none.hpo: cannot read: No such file"];
    hpo.refuses(&["inspect", "none.hpo"], &parts);
    hpo.refuses(&["eval", "none.hpo", "--plant", PLANT], &parts);
}

#[test]
fn export_writes_the_run_s_policy_and_never_a_bad_one() {
    let hpo = Hpo::new();
    let good = hpo.small_run();
    hpo.done(&["export", "run", "-o", "out.hpo"]);
    assert_eq!(hpo.read("out.hpo"), good);
    // Below a file nothing can be written, whoever runs the tests.
    let parts = ["out.hpo/x.hpo: cannot write"];
    hpo.refuses(&["export", "run", "-o", "out.hpo/x.hpo"], &parts);
    // `fails` checks that out.hpo keeps its content.
    hpo.write("run/policy.hpo", &good[..100]);
    let parts = ["run: ", "total length"];
    hpo.refuses(&["export", "run", "-o", "out.hpo"], &parts);
}
