//! Keys and signatures: `hpo keygen`, `hpo export --sign`, `hpo verify`, `hpo inspect`.

use serde_json::Value;

use super::support::Hpo;

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// A run's policy, two keys, and the policy signed with the first.
fn signed() -> (Hpo, Vec<u8>) {
    let hpo = Hpo::new();
    let plain = hpo.small_run();
    hpo.write("plain.hpo", &plain);
    for key in ["ours", "theirs"] {
        hpo.done(&["keygen", "-o", key]);
    }
    let export = [
        "export",
        "plain.hpo",
        "--sign",
        "ours",
        "--security-counter",
        "7",
        "-o",
        "signed.hpo",
    ];
    assert!(hpo.done(&export).contains("security counter 7"));
    (hpo, plain)
}

#[test]
fn a_signed_policy_verifies_with_its_key_alone() {
    let (hpo, plain) = signed();
    let verify = |file: &str, key: &str| hpo.run(&["verify", file, "--key", key]);
    assert_eq!(verify("signed.hpo", "ours.pub").code, 0);
    let wrong = verify("signed.hpo", "theirs.pub");
    assert_eq!(wrong.code, 1, "{wrong:?}");
    assert!(wrong.stderr.contains("UnknownKey"), "{wrong:?}");
    let missing = verify("plain.hpo", "ours.pub");
    assert_eq!(missing.code, 1, "{missing:?}");
    assert!(missing.stderr.contains("Unsigned"), "{missing:?}");
    assert_eq!(hpo.run(&["verify", "plain.hpo", "--unsigned"]).code, 0);
    // One bit of the signature, with the CRC repaired.
    let mut damaged = hpo.read("signed.hpo");
    let last = damaged.len() - 1;
    damaged[last] ^= 1;
    policy_format::reseal(&mut damaged);
    hpo.write("damaged.hpo", &damaged);
    let outcome = verify("damaged.hpo", "ours.pub");
    assert_eq!(outcome.code, 1, "{outcome:?}");
    assert!(outcome.stderr.contains("BadSignature"), "{outcome:?}");
    // Signing twice gives the same bytes, and signing costs a table entry and a section.
    hpo.done(&[
        "export",
        "signed.hpo",
        "--sign",
        "ours",
        "--security-counter",
        "7",
        "-o",
        "again.hpo",
    ]);
    assert_eq!(hpo.read("again.hpo"), hpo.read("signed.hpo"));
    assert_eq!(hpo.read("signed.hpo").len(), plain.len() + 16 + 96);
}

#[test]
fn reports_name_key_and_counter() {
    let (hpo, _) = signed();
    let inspected = json(&hpo.done(&["inspect", "signed.hpo", "--json"]));
    assert_eq!(
        (&inspected["signed"], &inspected["security_counter"]),
        (&true.into(), &7.into())
    );
    let plain = json(&hpo.done(&["inspect", "plain.hpo", "--json"]));
    assert_eq!(
        (&plain["signed"], &plain["key_id"]),
        (&false.into(), &Value::Null)
    );
    let verified = json(&hpo.done(&["verify", "signed.hpo", "--key", "ours.pub", "--json"]));
    assert_eq!(verified["key_id"], inspected["key_id"]);
    assert_eq!(verified["security_counter"], 7);
    let made = json(&hpo.done(&["keygen", "-o", "third", "--json"]));
    assert_eq!(made["public_key"].as_str().unwrap().len(), 64);
    assert_ne!(made["key_id"], inspected["key_id"]);
}

#[test]
fn keys_are_private_and_never_overwritten() {
    use std::os::unix::fs::PermissionsExt as _;
    let hpo = Hpo::new();
    hpo.write("p.hpo", hpo.small_run());
    hpo.done(&["keygen", "-o", "key"]);
    let mode = |name: &str| hpo.path(name).metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("key"), 0o600);
    let before = hpo.read("key");
    hpo.refuses(
        &["keygen", "-o", "key"],
        &["key: found a file", "never overwritten"],
    );
    hpo.write("other.pub", "mine");
    hpo.refuses(&["keygen", "-o", "other"], &["other.pub: found a file"]);
    assert!(!hpo.path("other").exists());
    assert_eq!(hpo.read("key"), before);
    std::fs::set_permissions(hpo.path("key"), std::fs::Permissions::from_mode(0o644)).unwrap();
    hpo.refuses(
        &["export", "p.hpo", "--sign", "key", "-o", "out.hpo"],
        &["key: permissions: found 644; allowed: 600"],
    );
    assert!(!hpo.path("out.hpo").exists());
}

#[test]
fn files_that_are_no_keys() {
    let (hpo, _) = signed();
    hpo.write("short.pub", "abcd");
    hpo.refuses(
        &["verify", "signed.hpo", "--key", "short.pub"],
        &["short.pub: key: found 4 characters", "64 digits"],
    );
    hpo.refuses(
        &["verify", "signed.hpo", "--key", "ours"],
        &["ours: key: found"],
    );
    hpo.refuses(
        &["verify", "signed.hpo", "--key", "none.pub"],
        &["none.pub"],
    );
    hpo.refuses(
        &["export", "plain.hpo", "--sign", "none", "-o", "o.hpo"],
        &["none: cannot read"],
    );
    hpo.refuses(
        &["export", "plain.hpo", "--sign", "ours.pub", "-o", "o.hpo"],
        &["ours.pub: key: found a public key", "a private key"],
    );
    hpo.refuses(
        &["firmware", "mps2-an386", "--keys", "short.pub"],
        &["short.pub: key"],
    );
}
