//! Files whose jumps are refused: by file and field, with what was found and what is allowed.

use super::*;

/// What a tolerance on volumes let pass: a gap of 100 in a million, one beyond two thousand million, a hole of a millionth.
#[test]
fn gaps_are_found_whatever_the_numbers() {
    let line = |upper: &str, regions: &str| {
        let bounds = format!("[bounds]\nlower = 0.0\nupper = {upper}\n");
        let text = format!(
            "name = \"p\"\nhorizon = 5\n[dynamics]\nA = [[1.0]]\nB = [[1.0]]\nQ = [[1.0]]\nR = [[0.1]]\n{bounds}\
             [[jump]]\nkind = \"regions\"\nregions = [{regions}]\n"
        );
        read(&text, None).map(|_| ())
    };
    for (upper, regions, part) in [
        (
            "1e6",
            "{ upper = 500000.0 }, { lower = 500100.0 }",
            "from 500000 to 500100",
        ),
        (
            "1e12",
            "{ upper = 2e9 }, { lower = 3e9 }",
            "from 2000000000 to 3000000000",
        ),
        (
            "20.0",
            "{ upper = 5.0 }, { lower = 5.0000001 }",
            "from 5 to 5.0000001",
        ),
        ("20.0", "{ upper = 5.0 }", "from 5 to 20"),
    ] {
        let error = line(upper, regions).unwrap_err().to_string();
        assert!(error.contains("a gap: no region has control 0"), "{error}");
        assert!(error.contains(part), "{error}");
    }
    // Edges that are one number in binary32: the region between them would be a point of its neighbour.
    for (upper, regions) in [
        (
            "20.0",
            "{ upper = 5.0, cost = 5.0 }, { lower = 5.0, upper = 5.0000000001 }, { lower = 5.0000000001, cost = 5.0 }",
        ),
        (
            "2e8",
            "{ upper = 1e8, cost = 5.0 }, { lower = 1e8, upper = 100000003.0 }, { lower = 100000003.0, cost = 5.0 }",
        ),
    ] {
        let error = line(upper, regions).unwrap_err().to_string();
        assert!(
            error.contains("found region \"region 1\" behind region \"region 0\""),
            "{error}"
        );
        assert!(
            error.contains("in binary32, in which policies are trained and act"),
            "{error}"
        );
    }
    let error = line("20.0", "{ upper = 5.0000001 }, { lower = 5.0 }").unwrap_err();
    assert!(
        error
            .to_string()
            .contains("which overlap (control 0 from 5 to 5.0000001)"),
        "{error}"
    );
    line(
        "1e12",
        "{ lower = 7.0, upper = 7.0 }, { upper = 2e9 }, { lower = 2e9 }",
    )
    .unwrap();
}

/// Numbers that are infinite in binary32 are refused where they stand; training on one of them did not end.
#[test]
fn numbers_beyond_binary32_are_named() {
    let free = "name = \"p\"\nhorizon = 5\n[dynamics]\nA = [[1.0]]\nB = [[1.0]]\nQ = [[1.0]]\nR = [[0.1]]\n[[jump]]\n";
    for (jump, expected) in [
        (
            "kind = \"regions\"\nregions = [{ upper = 1e39 }, { lower = 1e39, cost = 1.0 }]",
            "jump[0].regions[0].upper: found 1e39; allowed: a magnitude of at most 3.4e38",
        ),
        (
            "kind = \"minimum-impulse\"\nminimum = 1e39",
            "jump[0].minimum: found",
        ),
        (
            "kind = \"dead-zone\"\nthreshold = 1e39",
            "jump[0].threshold: found",
        ),
        ("kind = \"fixed-cost\"\ncost = 1e39", "jump[0].cost: found"),
        (
            "kind = \"regions\"\nregions = [{ gain = 1e39 }]",
            "jump[0].regions[0].gain: found 1e39",
        ),
    ] {
        let error = read(&format!("{free}{jump}\n"), None).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert_eq!(error.exit_code(), 2);
    }
    let bounds = "[bounds]\nlower = -1e39\nupper = 1.0\n";
    let text = free.replace("[[jump]]\n", bounds);
    let error = read(&text, None).unwrap_err().to_string();
    assert!(error.contains("bounds.lower: found -1e39"), "{error}");
}

/// A price may fall to nothing, as decimals have it.
#[test]
fn a_cost_of_nothing_is_no_negative_cost() {
    with(
        "[[jump]]\nkind = \"regions\"\ncontrols = [1]\nregions = [{ upper = 3.0, cost = 0.3, price = -0.1 }, { lower = 3.0 }]\n",
    );
}

#[test]
fn bad_jumps_are_named() {
    let cases = [
        (
            "kind = \"dead-zone\"\ncontrols = [0]\nthreshold = -1.0",
            "jump[0].threshold: found -1",
        ),
        (
            "kind = \"dead-zone\"\ncontrols = [0]\nthreshold = 5.0",
            "jump[0].threshold: found 5; allowed: less than 5",
        ),
        (
            "kind = \"dead-zone\"\ncontrols = [1]\nthreshold = 1.0",
            "jump[0].threshold: found 1; allowed: less than",
        ),
        (
            "kind = \"fixed-cost\"\ncontrols = [2]\ncost = -1.0",
            "jump[0].cost: found -1",
        ),
        (
            "kind = \"fixed-cost\"\ncontrols = [2]",
            "jump[0].cost: found nothing",
        ),
        (
            "kind = \"fixed-cost\"\ncontrols = [3]\ncost = 1.0",
            "jump[0].controls[0]: found 3",
        ),
        (
            "kind = \"fixed-cost\"\ncontrols = [1, 1]\ncost = 1.0",
            "jump[0].controls[1]: found 1",
        ),
        (
            "kind = \"fixed-cost\"\ncost = 1.0\nunit = \"kg\"",
            "jump[0].unit: found \"kg\"",
        ),
        (
            "kind = \"fixed-cost\"\ncost = 1.0\nthreshold = 1.0",
            "jump[0].threshold: found it with kind",
        ),
        ("kind = \"step\"", "jump[0].kind: found \"step\""),
        (
            "kind = \"minimum\"\ncontrols = [0]\nminimum = 1.0",
            "jump[0].kind: found a control that may be -5",
        ),
        (
            "kind = \"quantity-discount\"\ncontrols = [1]\nbreaks = [3.0, 2.0]\nprices = [1.0, 1.0, 1.0]",
            "jump[0].breaks[1]: found 2",
        ),
        (
            "kind = \"quantity-discount\"\ncontrols = [1]\nbreaks = [3.0]\nprices = [1.0]",
            "jump[0].prices: found 1 prices",
        ),
        (
            "kind = \"quantity-discount\"\ncontrols = [1]\nbreaks = [3.0]\nprices = [1.0, -1.0]",
            "jump[0].prices[1]: found -1",
        ),
        (
            "kind = \"regions\"\ncontrols = [1]\nregions = [{ upper = 4.0 }, { lower = 3.0 }]",
            "overlap (control 1 from 3 to 4); allowed: regions that share edges only",
        ),
        (
            "kind = \"regions\"\ncontrols = [1]\nregions = [{ upper = 3.0 }, { lower = 4.0 }]",
            "found a gap: no region has control 1 from 3 to 4; allowed",
        ),
        (
            "kind = \"regions\"\ncontrols = [1]\nregions = [{ upper = 3.0 }, { lower = 3.0000000000000004 }]",
            "found a gap: no region has control 1 from 3 to 3.0000000000000004; allowed",
        ),
        // A point belongs to the region that is listed first.
        (
            "kind = \"regions\"\ncontrols = [1]\nregions = [{ name = \"all\", cost = 9.0 }, { name = \"point\", lower = 5.0, upper = 5.0 }]",
            "found region \"point\" behind region \"all\", to which its controls belong (control 1 at 5); allowed: a region of no width listed before",
        ),
        (
            "kind = \"regions\"\ncontrols = [1]\nregions = [{ upper = 0.0 }, { upper = 0.0 }, { lower = 0.0 }]",
            "found region \"region 1\" behind region \"region 0\"",
        ),
        (
            "kind = \"regions\"\ncontrols = [0, 1]\nregions = [{ upper = [0.0, 8.0] }, { lower = [0.0, 0.0], upper = [0.0, 4.0] }, { lower = [0.0, 0.0] }]",
            "behind region \"region 0\", to which its controls belong (control 0 at 0, control 1 from 0 to 4)",
        ),
        (
            "kind = \"regions\"\ncontrols = [1]\nregions = [{ name = \"rest\", lower = 1.0, upper = 1.0 }, { upper = 3.0, forbidden = true }, { lower = 3.0 }]",
            "found a forbidden region and region \"rest\", which overlap (control 1 at 1)",
        ),
        (
            "kind = \"regions\"\ncontrols = [1]\nregions = [{}, { lower = 2.0, upper = 2.0, forbidden = true }]",
            "found a forbidden region of no width (control 1 at 2)",
        ),
        (
            "kind = \"regions\"\ncontrols = [1]\nregions = [{ upper = 3.0, forbidden = true }, { upper = 1.0, forbidden = true }, { lower = 3.0 }]",
            "found two forbidden regions, which overlap (control 1 from 0 to 1)",
        ),
        (
            "kind = \"regions\"\ncontrols = [1]\nregions = [{ name = \"a\", upper = 3.0 }, { name = \"a\", lower = 3.0 }]",
            "jump[0].regions[1].name: found \"a\", as an earlier region",
        ),
        (
            "kind = \"regions\"\ncontrols = [1]\nregions = [{ upper = 3.0 }, { lower = 3.0, forbidden = true, cost = 1.0 }]",
            "jump[0].regions[1].cost: found it where no control may lie",
        ),
        (
            "kind = \"regions\"\ncontrols = [1]\nregions = [{ name = \"a region with a name of many words that goes on until it is too long\" }]",
            "jump.regions: found \"mode0/a region with a name",
        ),
        (
            "kind = \"regions\"\ncontrols = [1]\nregions = [{ cost = 1.0, price = -0.5 }]",
            "jump[0].regions[0].price: found -0.5, with which the region's cost falls to -3; allowed",
        ),
        (
            "kind = \"regions\"\ncontrols = [1]\nregions = [{ lower = 4.0, upper = 3.0 }]",
            "jump[0].regions[0].lower[0]: found 4",
        ),
        (
            "kind = \"regions\"\ncontrols = [1]\nregions = [{ lower = -1.0 }]",
            "inside the control bounds, 0 to 8",
        ),
        (
            "kind = \"regions\"\ncontrols = [1]\nregions = [{ upper = 3.0, mode = 2 }, { lower = 3.0, mode = 0 }]",
            "jump[0].regions[0].mode: found 2",
        ),
        (
            "kind = \"regions\"\ncontrols = [1]\nregions = [{ upper = 3.0, mode = 1 }, { lower = 3.0 }]",
            "a mode in every region, or in none",
        ),
    ];
    for (jump, expected) in cases {
        let error = read(&format!("{BASE}[[jump]]\n{jump}\n"), None).unwrap_err();
        assert!(error.to_string().contains(expected), "{jump}: {error}");
        assert_eq!(error.exit_code(), 2);
    }
    let twice = "[[jump]]\nkind = \"fixed-cost\"\ncontrols = [2]\ncost = 1.0\n";
    for (text, jumps, expected) in [
        (
            format!("{BASE}{twice}{twice}"),
            None,
            "jump[1].controls: found control 2",
        ),
        (
            format!("{BASE}{twice}[limits]\nrate = 1.0\n"),
            None,
            "jump: found rate limits",
        ),
        (
            format!("{BASE}{twice}[dwell]\nsteps = 2\n"),
            None,
            "dwell times or masks beside 2 factors",
        ),
        (
            format!("{BASE}{twice}"),
            Some("smoothed"),
            "recast.width: found nothing",
        ),
        (
            format!("{BASE}{twice}"),
            Some("round"),
            "recast.treatment: found \"round\"",
        ),
        (
            format!("{BASE}{twice}[recast]\nwidth = 1.0\n"),
            Some("smoothed"),
            "jump[0].kind: found a jump that has no such treatment",
        ),
        (BASE.to_owned(), Some("raw"), "on a plant without jumps"),
        (
            format!("{BASE}[recast]\nwidth = 1.0\n"),
            None,
            "recast: found a plant without [[jump]]",
        ),
    ] {
        let error = read(&text, jumps).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}
