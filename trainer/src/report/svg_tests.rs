use super::*;

fn series(points: &[(f64, f64)]) -> Series {
    Series {
        name: "a < b & \"c\"".into(),
        points: points.to_vec(),
        mark: Mark::LineAndMarks,
        ..Series::default()
    }
}

/// Numbers in path data and attributes must be numbers, and tags must close.
fn check(svg: &str) {
    assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    let mut open = Vec::new();
    for part in svg.split('<').skip(1) {
        let tag = part.split('>').next().unwrap();
        let name = tag.split([' ', '/']).find(|n| !n.is_empty()).unwrap();
        if tag.starts_with('/') {
            assert_eq!(open.pop(), Some(name), "{svg}");
        } else if !tag.ends_with('/') {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "{open:?}");
}

#[test]
fn charts_are_well_formed_whatever_the_data() {
    for points in [
        &[][..],
        &[(1.0, 1.0)],
        &[(0.0, 0.0), (1.0, 0.0)],
        &[
            (1.0, -5.0),
            (2.0, f64::NAN),
            (3.0, f64::INFINITY),
            (4.0, 1e300),
        ],
        &[(1e-12, 1e-9), (1e12, 1e9)],
    ] {
        for (x, y) in [
            (Axis::linear("x"), Axis::linear("y")),
            (Axis::log("x"), Axis::log("y & z")),
        ] {
            let mut one = series(points);
            one.spread = points.iter().map(|p| (p.0, p.1 - 1.0, p.1 + 1.0)).collect();
            let mut band = one.clone();
            band.mark = Mark::Line;
            let chart = Chart {
                title: "<script>".into(),
                x,
                y,
                series: vec![one, band],
            };
            let svg = panels("all", &[chart.elements(400.0, 250.0)], 2, (400.0, 250.0));
            check(&svg);
            assert!(!svg.contains("<script>"));
        }
    }
}

#[test]
fn a_straight_line_is_drawn_straight_and_ends_in_the_frame() {
    let points: Vec<(f64, f64)> = (0..=10)
        .map(|i| (f64::from(i), 3.0 * f64::from(i)))
        .collect();
    let chart = Chart {
        x: Axis::linear("x"),
        y: Axis::linear("y"),
        series: vec![Series {
            points,
            ..Series::default()
        }],
        ..Chart::default()
    };
    let svg = chart.elements(400.0, 300.0);
    let data = svg.rsplit("<path d=\"M").next().unwrap();
    let data = data.split('"').next().unwrap();
    let drawn: Vec<(f64, f64)> = data
        .split('L')
        .map(|pair| {
            let (x, y) = pair.split_once(' ').unwrap();
            (x.parse().unwrap(), y.parse().unwrap())
        })
        .collect();
    assert_eq!(drawn.len(), 11);
    let slope = (drawn[10].1 - drawn[0].1) / (drawn[10].0 - drawn[0].0);
    assert!(slope < 0.0, "greater values stand higher");
    for (x, y) in &drawn {
        assert!((y - drawn[0].1 - slope * (x - drawn[0].0)).abs() < 0.2);
        assert!((0.0..400.0).contains(x) && (0.0..300.0).contains(y));
    }
}

#[test]
fn ticks_are_round_and_cover_the_data() {
    let (range, list) = ticks(&Axis::linear(""), Some((0.13, 9.7)));
    assert_eq!(range, (0.0, 10.0));
    let labels: Vec<&str> = list.iter().map(|t| t.1.as_str()).collect();
    assert_eq!(labels, ["0", "2", "4", "6", "8", "10"]);
    let (_, list) = ticks(&Axis::log(""), Some((-1.0, 3.0)));
    let labels: Vec<&str> = list.iter().map(|t| t.1.as_str()).collect();
    assert_eq!(labels, ["0.1", "1", "10", "100", "1000"]);
    for width in [0.01_f64, 0.2, 0.9, 2.0, 7.0, 30.0] {
        let (_, list) = ticks(&Axis::log(""), Some((0.3, 0.3 + width)));
        assert!(list.len() <= 16, "{width}: {list:?}");
    }
}

#[test]
fn numbers_are_short() {
    for (value, text) in [
        (0.0, "0"),
        (-0.0, "0"),
        (1.25, "1.25"),
        (9999.0, "9999"),
        (25_000.0, "25k"),
        (2.5e6, "2.5M"),
        (5e9, "5G"),
        (1e-5, "1e-5"),
        (1e300, "1e300"),
    ] {
        assert_eq!(short(value), text);
    }
}
