//! Whether boxes tile a box, by comparison of their edges alone: no tolerance, however large or small the numbers are.

/// A closed box, an interval per axis; ends may be infinite.
pub(super) type Cell = [(f64, f64)];

/// Edges looked at after which [`uncovered`] gives up: some seconds.
const MAX_WORK: usize = 1 << 28;

/// Where two boxes meet; an axis with its first end above its second: nowhere.
pub(super) fn meet(a: &Cell, b: &Cell) -> Vec<(f64, f64)> {
    let both = a.iter().zip(b);
    both.map(|(a, b)| (a.0.max(b.0), a.1.min(b.1))).collect()
}

/// Whether the box has a point less than the dimension of `whole`: no width on an axis on which `whole` has one.
pub(super) fn is_flat(cell: &Cell, whole: &Cell) -> bool {
    let mut axes = cell.iter().zip(whole);
    axes.any(|(cell, whole)| cell.0 == cell.1 && whole.0 < whole.1)
}

/// Whether `other` takes a part of `cell` that has the dimension of `cell`: more than an edge of it.
pub(super) fn takes_of(other: &Cell, cell: &Cell) -> bool {
    let mut axes = meet(other, cell).into_iter().zip(cell);
    axes.all(|(both, cell)| both.0 < both.1 || (both.0 == both.1 && cell.0 == cell.1))
}

/// Whether `cell` has points in the interior of `other`, both inside `whole`, of which an axis without width has none but interior.
pub(super) fn inside_of(other: &Cell, cell: &Cell, whole: &Cell) -> bool {
    let mut axes = cell.iter().zip(other).zip(whole);
    axes.all(|((cell, other), whole)| {
        whole.0 == whole.1 || (other.0 < other.1 && cell.0 < other.1 && cell.1 > other.0)
    })
}

/// A part of `whole` that has its dimension and lies in none of the boxes; `Ok(None)`: they cover it.
///
/// Cuts the box in two along an edge of the boxes, and the parts again, until one box holds each part; of all edges along the one that
/// goes through the fewest boxes. Boxes that came from cuts, one after the other, come apart by as many.
///
/// # Errors
/// The number of parts after which it gave up.
pub(super) fn uncovered(whole: &Cell, boxes: &[&Cell]) -> Result<Option<Vec<(f64, f64)>>, usize> {
    let mut stack = vec![(whole.to_vec(), boxes.to_vec())];
    let (mut parts, mut work) = (0, 0);
    while let Some((part, mut near)) = stack.pop() {
        near.retain(|cell| takes_of(cell, &part));
        if near.is_empty() {
            return Ok(Some(part));
        }
        parts += 1;
        work += near.len() * part.len();
        if work > MAX_WORK {
            return Err(parts);
        }
        // No edge inside the part: a box holds it.
        if let Some((axis, edge)) = best_cut(&part, &near) {
            let (mut below, mut above) = (part.clone(), part);
            below[axis].1 = edge;
            above[axis].0 = edge;
            stack.push((below, near.clone()));
            stack.push((above, near));
        }
    }
    Ok(None)
}

/// Of the boxes' edges inside `part` the one that goes through the fewest of them, as axis and place.
fn best_cut(part: &Cell, boxes: &[&Cell]) -> Option<(usize, f64)> {
    let mut best = None;
    let mut fewest = usize::MAX;
    for (axis, &(least, most)) in part.iter().enumerate() {
        let ends = |end: fn(&(f64, f64)) -> f64| {
            let mut ends: Vec<f64> = boxes.iter().map(|cell| end(&cell[axis])).collect();
            ends.sort_by(f64::total_cmp);
            ends
        };
        let (lows, highs) = (ends(|cell| cell.0), ends(|cell| cell.1));
        for &edge in lows.iter().chain(&highs) {
            if least < edge && edge < most {
                let begun = lows.partition_point(|&low| low < edge);
                let ended = highs.partition_point(|&high| high <= edge);
                if begun - ended < fewest {
                    (best, fewest) = (Some((axis, edge)), begun - ended);
                }
            }
        }
        if fewest == 0 {
            break;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Boxes = Vec<Vec<(f64, f64)>>;

    /// A box, and it cut again and again at random: boxes that tile it.
    fn tiled() -> impl Strategy<Value = (Vec<(f64, f64)>, Boxes)> {
        let scale = prop_oneof![Just(1e-6), Just(1.0), Just(1e6), Just(1e12)];
        let axes = proptest::collection::vec((scale, any::<bool>()), 1..4);
        let cuts =
            proptest::collection::vec((any::<usize>(), any::<usize>(), 0.05..0.95_f64), 0..12);
        (axes, cuts).prop_map(|(axes, cuts)| {
            let whole: Vec<(f64, f64)> = axes
                .iter()
                .map(|&(scale, endless)| {
                    (-scale, if endless { f64::INFINITY } else { 2.0 * scale })
                })
                .collect();
            let mut boxes = vec![whole.clone()];
            for (index, axis, share) in cuts {
                let index = index % boxes.len();
                let axis = axis % axes.len();
                let (low, high) = boxes[index][axis];
                let top = if high.is_finite() {
                    high
                } else {
                    low.abs() * 3.0 + 1.0
                };
                let edge = low + share * (top - low);
                if low < edge && edge < high {
                    let mut above = boxes[index].clone();
                    boxes[index][axis].1 = edge;
                    above[axis].0 = edge;
                    boxes.push(above);
                }
            }
            (whole, boxes)
        })
    }

    fn seen(boxes: &Boxes) -> Vec<&Cell> {
        boxes.iter().map(Vec::as_slice).collect()
    }

    proptest! {
        #[test]
        fn tiles_cover_and_do_not_meet((whole, boxes) in tiled()) {
            prop_assert_eq!(uncovered(&whole, &seen(&boxes)), Ok(None));
            for (i, a) in boxes.iter().enumerate() {
                prop_assert!(!is_flat(a, &whole));
                for b in &boxes[..i] {
                    prop_assert!(!takes_of(a, b) && !takes_of(b, a) && !inside_of(a, b, &whole));
                }
            }
        }

        /// The least that can be wrong, one end of one tile moved by one unit in its last place, is found and is where it is.
        #[test]
        fn the_next_number_is_a_gap_or_an_overlap((whole, mut boxes) in tiled(), index: usize, axis: usize) {
            let index = index % boxes.len();
            let axis = axis % whole.len();
            let tile = boxes[index].clone();
            boxes[index][axis].0 = tile[axis].0.next_up();
            let gap = uncovered(&whole, &seen(&boxes)).unwrap().unwrap();
            prop_assert_eq!(gap[axis], (tile[axis].0, tile[axis].0.next_up()));
            prop_assert!(takes_of(&tile, &gap));
            if tile[axis].0 > whole[axis].0 {
                boxes[index][axis].0 = tile[axis].0.next_down();
                prop_assert!(uncovered(&whole, &seen(&boxes)).unwrap().is_none());
                let others = boxes.iter().enumerate().filter(|&(i, _)| i != index);
                prop_assert!(others.into_iter().any(|(_, other)| takes_of(other, &boxes[index])));
            }
        }

        #[test]
        fn a_missing_tile_is_found((whole, mut boxes) in tiled(), index: usize) {
            let tile = boxes.swap_remove(index % boxes.len());
            let gap = uncovered(&whole, &seen(&boxes)).unwrap().unwrap();
            prop_assert!(takes_of(&tile, &gap) && !is_flat(&gap, &whole));
            prop_assert_eq!(meet(&tile, &gap), gap);
        }
    }

    /// As many regions as there may be, in as many controls as people have, cut from one box at random.
    #[test]
    fn the_greatest_number_of_tiles_is_taken_apart() {
        for axes in [1, 2, 8, 16, 32, 200] {
            let mut number = 12_345_u64;
            let mut below = |limit: usize| {
                number = number
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                (number >> 33) as usize % limit
            };
            let whole = vec![(0.0, 1.0); axes];
            let mut boxes = vec![whole.clone()];
            while boxes.len() < 256 {
                let (index, axis) = (below(boxes.len()), below(axes));
                let (low, high) = boxes[index][axis];
                let edge = low + (high - low) * (1 + below(99)) as f64 / 100.0;
                let mut above = boxes[index].clone();
                boxes[index][axis].1 = edge;
                above[axis].0 = edge;
                boxes.push(above);
            }
            assert_eq!(uncovered(&whole, &seen(&boxes)), Ok(None), "{axes}");
            let tile = boxes.remove(below(256));
            let gap = uncovered(&whole, &seen(&boxes)).unwrap().unwrap();
            assert!(takes_of(&tile, &gap), "{axes}");
        }
    }

    /// Many axes are no harder than few: a joint fixed cost of 200 products is one box over all.
    #[test]
    fn many_axes_and_a_hole_among_them() {
        let whole = vec![(0.0, f64::INFINITY); 200];
        assert_eq!(uncovered(&whole, &[&whole]), Ok(None));
        let mut low = whole.clone();
        low[199].1 = 1e9;
        let hole = uncovered(&whole, &[&low]).unwrap().unwrap();
        assert_eq!(hole[199], (1e9, f64::INFINITY));
    }

    #[test]
    fn a_point_is_in_what_holds_it_and_on_the_edge_of_what_ends_there() {
        let whole = [(0.0, 20.0)];
        let point = [(5.0, 5.0)];
        assert!(is_flat(&point, &whole) && !is_flat(&[(3.0, 3.0)], &[(3.0, 3.0)]));
        assert!(takes_of(&whole, &point) && !takes_of(&point, &whole));
        assert!(takes_of(&point, &point));
        assert!(
            inside_of(&[(0.0, 6.0)], &point, &whole) && !inside_of(&[(0.0, 5.0)], &point, &whole)
        );
    }
}
