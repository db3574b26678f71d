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
            (Axis::symmetric_log("x"), Axis::symmetric_log("y")),
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

/// Heights of the filled circles' centres.
fn circles(svg: &str) -> Vec<f64> {
    let all = svg.split(" cy=\"").skip(1);
    all.map(|part| part.split('"').next().unwrap().parse().unwrap())
        .collect()
}

#[test]
fn a_long_legend_makes_the_chart_higher_and_leaves_the_plot_as_it_was() {
    let chart = |names: usize| Chart {
        x: Axis::linear("x"),
        y: Axis::linear("y"),
        series: (0..names)
            .map(|i| Series {
                name: format!("an algorithm with a structure, {i}"),
                points: vec![(0.0, 0.0), (1.0, 10.0)],
                mark: Mark::Filled,
                ..Series::default()
            })
            .collect(),
        ..Chart::default()
    };
    let size = (440.0, 320.0);
    let height = |svg: &str| -> f64 {
        let part = svg.split(" height=\"").nth(1).unwrap();
        part.split('"').next().unwrap().parse().unwrap()
    };
    // The last circles are those of the last series.
    let extent = |svg: &str| {
        let y = circles(svg);
        y[y.len() - 2] - y[y.len() - 1]
    };
    let (few, many) = (
        charts("few", &[chart(1)], 1, size),
        charts("many", &[chart(16), chart(1)], 2, size),
    );
    assert!(height(&many) > height(&few) + 100.0);
    let long = charts("many", &[chart(16)], 1, size);
    assert!(extent(&few) > 200.0, "{}", extent(&few));
    assert!((extent(&long) - extent(&few)).abs() < 0.2);
}

#[test]
fn a_label_longer_than_its_axis_goes_on_in_a_second_line_of_the_same_size() {
    assert_eq!(wrapped("one two three", 8), ["one two", "three"]);
    assert_eq!(wrapped("one two three", 80), ["one two three"]);
    assert_eq!(wrapped("unbreakable", 3), ["unbreakable"]);
    let chart = Chart {
        y: Axis::linear("gap to the cheapest classical controller, % (validation)"),
        series: vec![series(&[(0.0, 1.0)])],
        ..Chart::default()
    };
    let svg = chart.elements(440.0, 320.0);
    assert_eq!(svg.matches("rotate(-90)").count(), 2);
    let of_full_size = "rotate(-90)\" text-anchor=\"middle\" font-size=\"11.5\"";
    assert_eq!(svg.matches(of_full_size).count(), 2);
}

/// A mark on the end of an axis would be cut by the frame or cover a tick.
#[test]
fn marks_keep_off_the_ends_of_the_axes() {
    let chart = Chart {
        x: Axis::linear("x"),
        y: Axis::linear("y"),
        series: vec![Series {
            points: vec![(0.0, 0.0), (10.0, 10.0)],
            mark: Mark::Filled,
            ..Series::default()
        }],
        ..Chart::default()
    };
    let svg = chart.elements(400.0, 300.0);
    let y = circles(&svg);
    // The frame goes from 28 to 256.
    assert!(
        (y[0] - 248.0).abs() < 0.1 && (y[1] - 36.0).abs() < 0.1,
        "{y:?}"
    );
}

#[test]
fn a_series_without_a_point_is_not_listed_and_one_with_one_point_is_seen() {
    let mut empty = series(&[]);
    empty.name = "nothing".into();
    let mut below = series(&[(1.0, -1.0)]);
    below.name = "below zero".into();
    let mut one = series(&[(1.0, 2.0)]);
    (one.name, one.mark) = ("alone".into(), Mark::Line);
    let chart = Chart {
        x: Axis::linear("x"),
        y: Axis::log("y"),
        series: vec![empty, below, one],
        ..Chart::default()
    };
    let svg = chart.elements(400.0, 300.0);
    assert!(!svg.contains("nothing") && !svg.contains("below zero"));
    assert!(svg.contains("<title>alone: 1 / 2</title>"));
}

#[test]
fn tick_labels_do_not_run_into_each_other() {
    let mut axis = Axis::linear("n");
    let sizes = [6.0, 10.0, 14.0, 20.0, 100.0];
    axis.ticks = Some(sizes.iter().map(|&v| (v, format!("size-{v}"))).collect());
    let chart = Chart {
        x: axis,
        series: vec![series(&[(6.0, 1.0), (100.0, 2.0)])],
        ..Chart::default()
    };
    let svg = chart.elements(440.0, 300.0);
    assert!(svg.contains("size-6<") && svg.contains("size-100<"));
    assert!(!svg.contains("size-10<"));
}

#[test]
fn the_symmetric_axis_shows_both_signs_in_order() {
    let axis = Axis::symmetric_log("");
    let values = [-100.0, -1.0, -0.1, -0.05, 0.0, 0.05, 0.1, 1.0, 100.0];
    let places: Vec<f64> = values.iter().map(|&v| axis.at(v)).collect();
    assert_eq!(places[4], 0.0);
    assert!(places.windows(2).all(|w| w[0] < w[1]), "{places:?}");
    for (a, b) in places.iter().zip(places.iter().rev()) {
        assert!((a + b).abs() < 1e-12);
    }
    let labels = |low: f64, high: f64| -> Vec<String> {
        let (range, list) = ticks(&axis, Some((axis.at(low), axis.at(high))));
        assert!(list.iter().all(|(at, _)| (range.0..=range.1).contains(at)));
        list.into_iter().map(|t| t.1).collect()
    };
    let wide = ["-0.1", "0", "0.1", "1", "10", "100"];
    assert_eq!(labels(-0.32, 430.0), wide);
    let near = ["-0.2", "-0.1", "-0.05", "0", "0.05", "0.1"];
    assert_eq!(labels(-0.32, 0.12), near);
    let linear = ["-0.02", "-0.01", "0", "0.01", "0.02", "0.03"];
    assert_eq!(labels(-0.02, 0.03), linear);
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
        assert!(list.len() >= 2 || width < 0.1, "{width}: {list:?}");
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
