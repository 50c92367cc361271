//! The same checks over every layout: packing loses nothing, the facts tell the truth, and corrupted data is refused.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use proptest::prelude::*;
use spc_formats::{Array, DEFAULT_CANDIDATES, Layout, Packed, Pattern, Refusal, candidates, pack, stats, validate};

/// How many [`layouts`] gives.
const LAYOUTS: usize = DEFAULT_CANDIDATES.len() + 19;

/// The defaults and some odd ones.
fn layouts() -> Vec<Layout> {
    let odd = [
        Layout::Dense { panel: 4 },
        Layout::Dense { panel: 7 },
        Layout::Vx1 { v: 1 },
        Layout::Vx1 { v: 3 },
        Layout::Vx1 { v: 12 },
        Layout::Bsr { r: 1, c: 1 },
        Layout::Bsr { r: 3, c: 2 },
        Layout::Bsr { r: 2, c: 5 },
        Layout::Nm { n: 1, m: 1 },
        Layout::Nm { n: 3, m: 5 },
        Layout::Nm { n: 2, m: 256 },
        Layout::Nm { n: 4, m: 4 },
        Layout::Nm16 { n: 3, m: 5 },
        Layout::Nm16 { n: 1, m: 1 },
        Layout::Nm16 { n: 3, m: 4 },
        Layout::Nm16 { n: 11, m: 16 },
        Layout::Vnm16 { v: 16, m: 8 },
        Layout::Vnm16 { v: 32, m: 5 },
        Layout::Vnm16 { v: 48, m: 256 },
    ];
    DEFAULT_CANDIDATES.iter().copied().chain(odd).collect()
}

/// A small reproducible generator.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
    fn below(&mut self, n: u64) -> u64 {
        (self.next() >> 11) % n
    }
    fn weight(&mut self) -> f32 {
        match self.below(24) {
            0 => f32::NAN,
            1 => f32::INFINITY,
            2 => f32::NEG_INFINITY,
            3 => f32::from_bits(1),
            4 => f32::from_bits(0xFFC0_1234),
            _ => self.below(2000) as f32 / 100.0 - 9.995,
        }
    }
}

/// A matrix that `layout` accepts, with about `percent` of its units present.
fn fitting(layout: &Layout, rows: usize, cols: usize, percent: u64, seed: u64) -> Vec<f32> {
    let mut noise = Noise(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let mut w = vec![0.0f32; rows * cols];
    let (height, width) = match *layout {
        Layout::Vx1 { v } => (v as usize, 1),
        Layout::Bsr { r, c } => (r as usize, c as usize),
        _ => (1, 1),
    };
    for top in (0..rows).step_by(height) {
        for left in (0..cols).step_by(width) {
            let partial = left + width > cols;
            if noise.below(100) >= percent {
                continue;
            }
            for row in top..(top + height).min(rows) {
                if partial && left >= width {
                    w[row * cols + left - width..row * cols + left].fill(0.0);
                }
                for col in left..(left + width).min(cols) {
                    w[row * cols + col] = if noise.below(10) == 0 { -0.0 } else { noise.weight() };
                }
            }
        }
    }
    if *layout == Layout::Csr16 && !cols.is_multiple_of(16) {
        // Padding needs a place.
        w.chunks_mut(cols).filter(|row| row.iter().all(|x| *x != 0.0)).for_each(|row| row[cols / 2] = 0.0);
    }
    if let Layout::Vnm16 { v, m } = *layout {
        for panel in w.chunks_mut((v as usize * cols).max(1)) {
            for first in (0..cols).step_by(m as usize) {
                let width = (m as usize).min(cols - first) as u64;
                let chosen: Vec<usize> = (0..4).map(|_| first + noise.below(width) as usize).collect();
                for row in panel.chunks_mut(cols) {
                    let two = [0, 1].map(|_| chosen[noise.below(4) as usize]);
                    let kept = |c: usize| width > 1 && two.contains(&c);
                    (first..first + width as usize).filter(|c| !kept(*c)).for_each(|c| row[c] = 0.0);
                }
            }
        }
    }
    if let Layout::Nm { n, m } | Layout::Nm16 { n, m } = *layout {
        for row in w.chunks_mut(cols.max(1)) {
            for group in row.chunks_mut(m as usize) {
                let keep = if group.len() < n as usize { group.len() - 1 } else { n as usize };
                while group.iter().filter(|x| **x != 0.0).count() > keep {
                    let at = noise.below(group.len() as u64) as usize;
                    group[at] = 0.0;
                }
            }
        }
    }
    w
}

/// Bits, with both zeros alike.
fn bits(w: &[f32]) -> Vec<u32> {
    w.iter().map(|x| if *x == 0.0 { 0 } else { x.to_bits() }).collect()
}

/// Packs and checks everything that holds for each layout. `Err` carries the refusal.
fn round_trip(layout: &Layout, rows: usize, cols: usize, w: &[f32]) -> Result<Packed, Refusal> {
    let facts = stats(layout, rows, cols, w);
    let packed = match pack(layout, rows, cols, w) {
        Ok(packed) => packed,
        Err(refusal) => {
            assert_eq!(facts, Err(refusal.clone()), "{layout}: stats and pack disagree");
            return Err(refusal);
        }
    };
    let facts = facts.expect("stats accept what pack accepts");
    let values = packed.array("values").unwrap().len() as u64;
    assert_eq!(facts.stored_bytes, packed.bytes(), "{layout} {rows} x {cols}");
    // A bitmap multiplies by every bit, and zeros stand behind its values.
    let bitmap = (facts.present + 16, (rows.div_ceil(16) * cols * 16) as u64);
    let stored = if *layout == Layout::Bitmap { bitmap } else { (values, values) };
    assert_eq!((values, facts.multiplies), stored, "{layout} {rows} x {cols}");
    assert_eq!(facts.present, w.iter().filter(|x| **x != 0.0).count() as u64);
    assert!(facts.activation_loads <= facts.multiplies);
    let checked = validate(packed.clone()).unwrap_or_else(|e| panic!("{layout} {rows} x {cols}: {e}"));
    assert_eq!(bits(&checked.unpack().unwrap()), bits(w), "{layout} {rows} x {cols}");
    let mut seen = 0;
    checked.for_each(|row, col, x| {
        assert_eq!(x.to_bits(), w[row * cols + col].to_bits(), "{layout} at {row}, {col}");
        seen += 1;
    });
    assert_eq!(seen, facts.present, "{layout}: each present weight once");
    for row in 0..rows {
        for col in 0..cols {
            let got = checked.get(row, col).unwrap();
            assert_eq!(bits(&[got]), bits(&[w[row * cols + col]]), "{layout} at {row}, {col}");
        }
    }
    assert_eq!((checked.get(rows, 0), checked.get(0, cols)), (None, None));
    Ok(packed)
}

#[test]
fn every_layout_keeps_what_fits_it_at_every_odd_size() {
    for layout in layouts() {
        for (rows, cols) in [(1, 1), (1, 9), (9, 1), (3, 4), (5, 7), (8, 8), (16, 16), (17, 33), (33, 65), (20, 130)] {
            for percent in [0, 20, 60, 100] {
                let w = fitting(&layout, rows, cols, percent, 7 + percent);
                let result = round_trip(&layout, rows, cols, &w);
                match (&layout, result) {
                    (Layout::Bsr { c, .. }, result) if *c as usize > cols => {
                        let text = format!("blocks of {c} columns do not fit {cols} columns");
                        assert_eq!(result, Err(Refusal(text)));
                    }
                    // Two neighbours may both have been made; the generator empties only one of them.
                    (Layout::Bsr { c, .. }, Err(r)) => assert!(!cols.is_multiple_of(*c as usize), "{layout}: {r}"),
                    (_, result) => assert!(result.is_ok(), "{layout} {rows} x {cols} {percent}%: {result:?}"),
                }
            }
        }
    }
}

#[test]
fn empty_rows_full_rows_and_empty_matrices() {
    for layout in layouts() {
        for (rows, cols) in [(0, 0), (0, 5), (5, 0)] {
            let result = round_trip(&layout, rows, cols, &[]);
            let bsr_too_wide = matches!(layout, Layout::Bsr { c, .. } if c as usize > cols);
            assert_eq!(result.is_err(), bsr_too_wide, "{layout} {rows} x {cols}");
        }
        let mut w = vec![0.0f32; 20 * 16];
        w[3 * 16..4 * 16].fill(1.5);
        w[19 * 16 + 15] = -2.0;
        let full_row_fits = !matches!(layout, Layout::Nm { n, m } | Layout::Nm16 { n, m } if n < m)
            && !matches!(layout, Layout::Vnm16 { .. });
        // 16 columns are a multiple of every block width but 5; row 3 is full, so both last blocks are needed there.
        let whole = !matches!(layout, Layout::Bsr { c: 5, .. });
        assert_eq!(round_trip(&layout, 20, 16, &w).is_ok(), full_row_fits && whole, "{layout}");
    }
}

#[test]
fn byte_formats_are_as_documented() {
    let (f, u, b) =
        (|a: &[f32]| Array::F32(a.to_vec()), |a: &[u32]| Array::U32(a.to_vec()), |a: &[u8]| Array::U8(a.to_vec()));
    let w = [1., 0., 2., 0., 0., 3., 0., 0., 4., 0., 0., 0., 5., 0., 6.]; // 3 x 5
    let arrays = |text: &str, rows, cols, w: &[f32]| -> Vec<Array> {
        let packed = pack(&text.parse().unwrap(), rows, cols, w).unwrap();
        packed.arrays.into_iter().map(|(_, a)| a).collect()
    };
    assert_eq!(arrays("csr", 3, 5, &w), [u(&[0, 2, 4, 6]), u(&[0, 2, 0, 3, 2, 4]), f(&[1., 2., 3., 4., 5., 6.])]);
    let vectors = [1., 3., 2., 0., 0., 4., 5., 0., 6., 0.];
    assert_eq!(arrays("vx1(2)", 3, 5, &w), [u(&[0, 3, 5]), u(&[0, 2, 3, 2, 4]), f(&vectors)]);
    let panel = [1., 3., 0., 0., 2., 0., 0., 4., 0., 0., 0., 0., 0., 0., 5., 0., 0., 0., 6., 0.];
    assert_eq!(arrays("dense(2)", 3, 5, &w), [f(&panel)]);
    let kept = [1., 2., 0., 0., 3., 4., 0., 0., 5., 0., 0., 0.];
    // Row 2 keeps column 4, alone in a group of one: nothing is left for the padding of nm(2,4).
    assert!(pack(&"nm(2,4)".parse().unwrap(), 3, 5, &w).is_err());
    let mut v = w;
    v[14] = 0.0;
    assert_eq!(arrays("nm(2,4)", 3, 5, &v), [b(&[0, 2, 0, 0, 0, 3, 0, 0, 2, 0, 0, 0]), f(&kept)]);
    // Blocks of 2 x 2 over 5 columns: the last block column starts at 3 and owns column 4 only.
    let m = [1., 2., 0., 0., 3., 4., 5., 0., 0., 6.]; // 2 x 5
    assert_eq!(arrays("bsr(2,2)", 2, 5, &m), [u(&[0, 2]), u(&[0, 3]), f(&[1., 4., 2., 5., 0., 0., 3., 6.])]);
}

#[test]
fn refusals_name_the_place() {
    let refusal = |text: &str, rows, cols, w: &[f32]| stats(&text.parse().unwrap(), rows, cols, w).unwrap_err().0;
    let mut w = vec![0.0; 4 * 12];
    w[3 * 12 + 8..3 * 12 + 11].fill(1.0);
    assert_eq!(refusal("nm(2,4)", 4, 12, &w), "row 3, group 2 keeps 3 of 4");
    let short = "row 0, group 1 is short and keeps 1 of 1, so that padding has no place";
    assert_eq!(refusal("nm(2,4)", 1, 5, &[0., 0., 0., 0., 1.]), short);
    let both = "5 columns are no multiple of 4, and row block 0 has weights in both of the last two blocks";
    assert_eq!(refusal("bsr(1,4)", 1, 5, &[0., 1., 0., 0., 1.]), both);
    assert!(stats(&"bsr(1,4)".parse().unwrap(), 1, 5, &[1., 0., 0., 0., 1.]).is_ok());
    assert_eq!(refusal("csr", 2, 2, &[0.; 3]), "3 values are not a matrix of 2 x 2");
    assert!(pack(&Layout::Nm { n: 3, m: 2 }, 1, 1, &[1.0]).is_err());
}

#[test]
fn texts_round_trip_and_nonsense_is_refused() {
    for layout in layouts() {
        assert_eq!(layout.to_string().parse(), Ok(layout));
    }
    assert_eq!("dense".parse(), Ok(Layout::DENSE));
    assert_eq!("bsr(16, 4)".parse(), Ok(Layout::Bsr { r: 16, c: 4 }));
    let bad = ["", "csr(", "csr()", "csr(1)", "vx1", "vx1()", "vx1(0)", "vx1(257)", "vx1(-1)", "bsr(4)", "bsr(4,4,4)"];
    for text in bad.into_iter().chain(["nm(3,2)", "nm(0,4)", "nm(2,4", "Dense(16)", "dense(99999999999)", "nm(2,4)x"]) {
        assert!(text.parse::<Layout>().is_err(), "{text}");
    }
}

/// All the ways in which one array can be wrong in length, and index arrays in content.
fn corruptions(packed: &Packed) -> Vec<(String, Packed)> {
    let mut out = Vec::new();
    let mut push = |what: &str, change: &dyn Fn(&mut Packed)| {
        let mut p = packed.clone();
        change(&mut p);
        out.push((what.to_string(), p));
    };
    for i in 0..packed.arrays.len() {
        let (name, array) = &packed.arrays[i];
        push(&format!("{name} missing"), &|p| drop(p.arrays.remove(i)));
        push(&format!("{name} renamed"), &|p| p.arrays[i].0 = "other");
        push(&format!("{name} of another type"), &|p| {
            p.arrays[i].1 = if matches!(p.arrays[i].1, Array::U8(_)) { Array::U32(vec![]) } else { Array::U8(vec![]) };
        });
        push(&format!("{name} longer"), &|p| match &mut p.arrays[i].1 {
            Array::F32(a) => a.push(0.0),
            Array::U32(a) => a.push(a.last().copied().unwrap_or(0)),
            Array::U8(a) => a.push(0),
        });
        push(&format!("{name} empty"), &|p| match &mut p.arrays[i].1 {
            Array::F32(a) => a.clear(),
            Array::U32(a) => a.clear(),
            Array::U8(a) => a.clear(),
        });
        match array {
            Array::U32(a) if *name == "ptr" => {
                let at = a.windows(2).position(|w| w[0] < w[1]).unwrap();
                push("ptr falls", &|p| set_u32(p, i, at, a[a.len() - 1] + 1));
                push("ptr does not start at 0", &|p| set_u32(p, i, 0, 1));
                push("ptr passes the end", &|p| set_u32(p, i, a.len() - 1, u32::MAX));
            }
            Array::U32(a) => {
                push("idx at the end", &|p| set_u32(p, i, a.len() - 1, packed.cols as u32));
                push("idx huge", &|p| set_u32(p, i, 0, u32::MAX));
                push("idx twice", &|p| {
                    let first = if let Array::U32(a) = &p.arrays[i].1 { a[0] } else { 0 };
                    set_u32(p, i, 1, first);
                });
            }
            Array::U8(_) => {
                push("position out of the group", &|p| set_u8(p, i, 0, 255));
                push("position twice", &|p| {
                    let first = if let Array::U8(a) = &p.arrays[i].1 { a[0] } else { 0 };
                    set_u8(p, i, 1, first);
                });
            }
            Array::F32(_) => {}
        }
    }
    push("rows huge", &|p| p.rows = usize::MAX);
    push("cols huge", &|p| p.cols = usize::MAX);
    push("32-bit rows", &|p| p.rows = u32::MAX as usize);
    push("no rows", &|p| p.rows = 0);
    out
}

fn set_u32(p: &mut Packed, array: usize, at: usize, x: u32) {
    if let Array::U32(a) = &mut p.arrays[array].1 {
        a[at] = x;
    }
}

fn set_f32(p: &mut Packed, array: usize, at: usize, x: f32) {
    if let Array::F32(a) = &mut p.arrays[array].1 {
        a[at] = x;
    }
}

fn set_u8(p: &mut Packed, array: usize, at: usize, x: u8) {
    if let Array::U8(a) = &mut p.arrays[array].1 {
        a[at] = x;
    }
}

#[test]
fn every_corruption_is_refused() {
    for layout in layouts() {
        // Whole in every shape: 30 columns carry blocks and groups of 1, 2, 3, 5; 16-wide ones get 48.
        let cols = if matches!(layout, Layout::Bsr { c: 5, .. }) { 30 } else { 48 };
        let mut w = vec![0.0f32; 20 * cols];
        let (per_group, group) = match layout {
            Layout::Nm { n, m } | Layout::Nm16 { n, m } => (n as usize, m as usize),
            Layout::Vnm16 { m, .. } => (2, m as usize),
            _ => (16, 16),
        };
        for row in w.chunks_mut(cols) {
            for g in row.chunks_mut(group) {
                let keep = per_group.min(g.len()).max(1);
                g[..keep].fill(1.0);
            }
            if per_group > 3 && matches!(layout, Layout::Nm { m: 5.., .. }) {
                row.fill(0.0);
                row[0] = 1.0;
            }
        }
        if let Layout::Nm { n: 3, m: 5 } = layout {
            w.iter_mut().enumerate().for_each(|(i, x)| *x = f32::from(i % cols % 5 < 2));
        }
        let packed = round_trip(&layout, 20, cols, &w).unwrap_or_else(|r| panic!("{layout}: {r}"));
        for (what, bad) in corruptions(&packed) {
            // A single entry a group leaves no second to repeat.
            if what == "position twice" && matches!(layout, Layout::Nm { n: 1, .. }) {
                continue;
            }
            // Any word of positions may be right, and the second byte of a column is most often zero already: see below.
            let fields = matches!(layout, Layout::Nm16 { .. }) && what.starts_with("idx");
            if (fields && !what.contains(' ')) || (layout == Layout::Csr16 && what == "position twice") {
                continue;
            }
            // Nor is any mask wrong by itself, and the first bytes of shared columns and picks are alike: see below.
            if what.starts_with("position") && matches!(layout, Layout::Bitmap | Layout::Vnm16 { .. }) {
                continue;
            }
            if fields && ["idx at the end", "idx huge", "idx twice"].contains(&what.as_str()) {
                continue;
            }
            if layout == (Layout::Nm { n: 1, m: 1 }) && what == "position out of the group" {
                continue;
            }
            assert!(validate(bad).is_err(), "{layout}: {what}");
        }
        let zeroed: Vec<(&str, Array)> = Vec::new();
        assert!(validate(Packed { arrays: zeroed, ..packed }).is_err());
    }
}

#[test]
fn padding_and_shared_elements_must_be_zero() {
    let spoil = |layout: Layout, rows: usize, cols: usize, w: &[f32], at: usize| {
        let mut packed = pack(&layout, rows, cols, w).unwrap();
        let Some((_, Array::F32(values))) = packed.arrays.iter_mut().find(|(n, _)| *n == "values") else { panic!() };
        values[at] = 1.0;
        validate(packed)
    };
    let ones = [1.0; 6];
    assert!(spoil(Layout::Dense { panel: 4 }, 3, 2, &ones, 3).is_err());
    assert!(spoil(Layout::Vx1 { v: 4 }, 3, 2, &ones, 7).is_err());
    assert!(spoil(Layout::Bsr { r: 4, c: 2 }, 3, 2, &ones, 3).is_err());
    // 1 x 3 in blocks of 2 columns: block 1 starts at column 1, shares it, owns column 2.
    assert!(spoil(Layout::Bsr { r: 1, c: 2 }, 1, 3, &[0.0, 0.0, 5.0], 0).is_err());
    assert!(spoil(Layout::Bsr { r: 1, c: 2 }, 1, 3, &[1.0, 0.0, 5.0], 1).is_err());
    // A padding entry that turns into a weight repeats a position.
    assert!(spoil(Layout::Nm { n: 3, m: 4 }, 1, 4, &[0.0, 2.0, 0.0, 0.0], 1).is_err());
}

#[test]
fn positions_and_columns_for_few_tokens_are_checked() {
    let nm: Layout = "nm16(2,4)".parse().unwrap();
    let mut w = vec![0.0f32; 17 * 6];
    (w[1], w[2], w[6 * 16 + 4]) = (1.0, 2.0, 3.0);
    let change = |layout: &Layout, cols: usize, w: &[f32], f: &dyn Fn(&mut Packed)| {
        let mut p = pack(layout, w.len() / cols, cols, w).unwrap();
        f(&mut p);
        validate(p).map(|_| ()).unwrap_err()
    };
    let nm = |f: &dyn Fn(&mut Packed)| change(&nm, 6, &w, f);
    // Row 0, group 0 keeps positions 1 and 2; group 1 has two columns.
    assert_eq!(pack(&"nm16(2,4)".parse().unwrap(), 17, 6, &w).unwrap().array("idx").unwrap().len(), 32);
    assert_eq!(nm(&|p| set_u32(p, 0, 0, 0b0101)), "row 0, group 0: positions do not ascend");
    assert_eq!(nm(&|p| set_u32(p, 0, 0, 0b0110)), "row 0, group 0: positions do not ascend");
    assert_eq!(nm(&|p| set_u32(p, 0, 0, 0b10_1001)), "row 0, group 1: a position is out of range");
    assert_eq!(nm(&|p| set_u32(p, 0, 0, 1 << 8 | 0b1001)), "a bit that no position needs is not zero");
    assert_eq!(nm(&|p| set_u32(p, 0, 31, 1 << 30)), "a bit that no position needs is not zero");
    // Row 16, group 1 keeps position 0; its padding may not stand there too.
    assert_eq!(nm(&|p| set_u32(p, 0, 16, 0)), "row 16, group 1: padding takes the place of a weight");
    assert_eq!(nm(&|p| set_f32(p, 1, 64 + 3, 1.0)), "a padding row is not zero");
    assert_eq!(nm(&|p| set_f32(p, 1, 0, 0.0)), "row 0, group 0: padding stands before a weight");

    let csr = |f: &dyn Fn(&mut Packed)| change(&Layout::Csr16, 6, &w, f);
    assert_eq!(csr(&|p| set_u8(p, 1, 1, 1)), "row 0: a column is out of range");
    assert_eq!(csr(&|p| set_u8(p, 1, 2, 1)), "row 0: columns do not ascend");
    assert_eq!(csr(&|p| set_u8(p, 1, 4, 2)), "row 0: padding takes the place of a weight");
    assert_eq!(csr(&|p| set_f32(p, 2, 0, 0.0)), "row 0: padding stands before a weight");
    assert_eq!(csr(&|p| (1..17).for_each(|i| set_u32(p, 0, i, 15))), "row 0: the entries do not fill vectors");
    let only_padding = |p: &mut Packed| (0..2).for_each(|i| set_f32(p, 2, i, 0.0));
    assert_eq!(csr(&only_padding), "row 0: there is more padding than a vector holds");
    assert!(stats(&Layout::Csr16, 1, 65_537, &vec![0.0; 65_537]).unwrap_err().0.contains("16 bits"));
    assert!(stats(&Layout::Csr16, 1, 3, &[1.0; 3]).unwrap_err().0.contains("no place"));
}

#[test]
fn masks_and_shared_columns_are_checked() {
    let change = |layout: &str, w: &[f32], f: &dyn Fn(&mut Packed)| {
        let mut p = pack(&layout.parse().unwrap(), w.len() / 6, 6, w).unwrap();
        f(&mut p);
        validate(p).map(|_| ()).unwrap_err()
    };
    let mut w = vec![0.0f32; 17 * 6];
    (w[1], w[2], w[6 * 3 + 2], w[6 * 16 + 4]) = (1.0, 2.0, 3.0, 4.0);
    let bits = |f: &dyn Fn(&mut Packed)| change("bitmap", &w, f);
    let packed = pack(&Layout::Bitmap, 17, 6, &w).unwrap();
    assert_eq!(packed.array("ptr"), Some(&Array::U32(vec![0, 3, 4])));
    assert_eq!(packed.array("mask").map(Array::len), Some(24));
    assert_eq!(bits(&|p| set_u8(p, 1, 2, 3)), "row block 0: 4 bits for 3 values");
    assert_eq!(bits(&|p| set_u8(p, 1, 4, 8)), "row block 0: 2 bits for 3 values");
    assert_eq!(bits(&|p| set_u8(p, 1, 12 + 9, 1)), "row block 1: a row past the last has a weight");
    assert_eq!(bits(&|p| set_u32(p, 0, 1, 4)), "row block 0: 3 bits for 4 values");
    assert_eq!(bits(&|p| set_f32(p, 2, 3, -0.0)), "value 3 is zero");
    assert_eq!(bits(&|p| set_f32(p, 2, 4, -0.0)), "the end is not zero");
    let short = |p: &mut Packed| p.arrays[2].1 = Array::F32(vec![0.0; 15]);
    assert_eq!(bits(&short), "`values` is shorter than the zeros at its end");

    // Groups of five and one column; rows 0 and 3 keep columns 1 and 2, so 0 and 3 are chosen with them.
    w[6 * 16 + 4] = 0.0;
    let shared = |f: &dyn Fn(&mut Packed)| change("vnm16(16,5)", &w, f);
    let packed = pack(&"vnm16(16,5)".parse().unwrap(), 17, 6, &w).unwrap();
    let Some(Array::U8(idx)) = packed.array("idx") else { panic!() };
    assert_eq!(idx[..16], [0, 0, 1, 0, 2, 0, 3, 0, 5, 0, 5, 0, 5, 0, 5, 0]);
    assert_eq!(shared(&|p| set_u8(p, 0, 2, 0)), "row block 0: column 0 cannot stand at place 1 of group 0");
    assert_eq!(shared(&|p| set_u8(p, 0, 6, 5)), "row block 0: column 5 cannot stand at place 3 of group 0");
    assert_eq!(shared(&|p| set_u8(p, 0, 7, 1)), "row block 0: column 259 cannot stand at place 3 of group 0");
    assert_eq!(shared(&|p| set_u8(p, 0, 10, 4)), "row block 0: column 4 cannot stand at place 1 of group 1");
    assert_eq!(shared(&|p| set_u8(p, 0, 16, 1)), "row block 0: column 1 cannot stand at place 0 of group 2");
    // Row 0 picks places 1 and 2.
    assert_eq!(shared(&|p| set_u8(p, 1, 0, 0b0101)), "row 0, group 0: positions do not ascend");
    assert_eq!(shared(&|p| set_u8(p, 1, 0, 0b1_1001)), "row 0, group 1: a position is out of range");
    assert_eq!(shared(&|p| set_u8(p, 1, 1, 1)), "a bit that no position needs is not zero");
    assert_eq!(shared(&|p| set_u8(p, 1, 6, 0b1010)), "row 3, group 0: padding takes the place of a weight");
    assert_eq!(shared(&|p| set_f32(p, 2, 0, 0.0)), "row 0, group 0: padding stands before a weight");
    assert_eq!(shared(&|p| set_f32(p, 2, 64 + 1, 1.0)), "a padding row is not zero");
    assert_eq!(shared(&|p| set_u8(p, 1, 32 + 2, 1)), "a padding row is not zero");
    w[5] = 1.0;
    let refused = |layout: &str, w: &[f32]| stats(&layout.parse().unwrap(), 17, 6, w).unwrap_err().0;
    assert_eq!(refused("vnm16(16,5)", &w), "row 0, group 1 keeps its one column, so that padding has no place");
    (w[0], w[6 * 2 + 3]) = (1.0, 1.0);
    assert_eq!(refused("vnm16(16,6)", &w), "rows 0..16, group 0 use 5 of 6 columns");
    w[6 * 2 + 3] = 0.0;
    assert_eq!(refused("vnm16(16,6)", &w), "row 0, group 0 keeps 4 of 6");
}

#[test]
fn a_foreign_file_cannot_ask_for_endless_work() {
    // Without columns, rows cost nothing and hold nothing.
    let nothing = |layout, arrays| validate(Packed { layout, rows: u32::MAX as usize, cols: 0, arrays });
    let dense = nothing(Layout::DENSE, vec![("values", Array::F32(vec![]))]).unwrap();
    assert_eq!(dense.unpack(), Ok(vec![]));
    let nm = nothing(Layout::Nm { n: 2, m: 4 }, vec![("idx", Array::U8(vec![])), ("values", Array::F32(vec![]))]);
    assert_eq!(nm.unwrap().unpack(), Ok(vec![]));
    let side = u32::MAX as usize;
    let values = vec![("values", Array::F32(vec![]))];
    assert!(validate(Packed { layout: Layout::DENSE, rows: side, cols: side, arrays: values }).is_err());
}

#[test]
fn candidates_keep_their_order_and_take_declared_layouts() {
    let declared = [Layout::Nm { n: 3, m: 8 }, Layout::Csr, Layout::Nm { n: 3, m: 8 }];
    let w: Vec<f32> = (0..16 * 32).map(|i| f32::from(i % 4 < 2) * (1.0 + (i as f32).sqrt())).collect();
    let list = candidates(16, 32, &w, &declared).unwrap();
    let names: Vec<String> = list.iter().map(|(l, _)| l.to_string()).collect();
    assert_eq!(names.len(), DEFAULT_CANDIDATES.len() + 1);
    assert_eq!(names.last().map(String::as_str), Some("nm(3,8)"));
    let ok: Vec<&str> = list.iter().zip(&names).filter(|((_, r), _)| r.is_ok()).map(|(_, n)| n.as_str()).collect();
    let dense = ["dense(16)", "dense(8)", "dense(4)"];
    let tiles = ["vx1(4)", "vx1(8)", "vx1(16)", "bsr(4,4)", "bsr(8,8)", "bsr(16,16)", "bsr(16,4)"];
    let fine = ["nm(2,4)", "nm(4,8)", "csr", "nm16(2,4)", "nm16(4,8)", "csr16", "bitmap"];
    assert_eq!(ok, dense.into_iter().chain(tiles).chain(fine).collect::<Vec<_>>());
    assert!(candidates(3, 3, &[1.0], &[]).is_err());
}

#[test]
fn facts_of_a_known_matrix() {
    // 64 x 64, every second 16 x 1 vector present.
    let w: Vec<f32> = (0..64 * 64).map(|i| f32::from((i / 64 / 16 + i % 64) % 2 == 0)).collect();
    let p = Pattern::new(64, 64, &w).unwrap();
    let of = |t: &str| p.stats(&t.parse().unwrap()).unwrap();
    let vx1 = of("vx1(16)");
    assert_eq!((vx1.multiplies, vx1.activation_loads, vx1.row_blocks, vx1.units), (2048, 128, 4, 128));
    assert_eq!((vx1.stored_bytes, vx1.loads_per_multiply()), (2048 * 4 + 128 * 4 + 5 * 4, 1.0 / 16.0));
    assert_eq!(of("dense(16)").multiplies, 4096);
    assert_eq!(of("bsr(16,4)").multiplies, 4096);
    assert_eq!(of("csr").stored_bytes, 2048 * 8 + 65 * 4);
    assert_eq!((of("nm(2,4)").multiplies, of("nm(2,4)").stored_bytes), (2048, 2048 * 5));
    assert_eq!(of("nm(2,4)").loads_per_multiply(), 1.0);
    // Four bytes for a weight and two bits for its position; a load of activations for sixteen rows of a group.
    assert_eq!((of("nm16(2,4)").multiplies, of("nm16(2,4)").stored_bytes), (2048, 2048 * 4 + 2048 / 4));
    assert_eq!(of("nm16(2,4)").activation_loads, 4 * 16);
    assert_eq!(of("csr16").stored_bytes, 2048 * 6 + 65 * 4);
    // A bit for every weight; sixteen values at the end and a pointer for each sixteen rows.
    assert_eq!((of("bitmap").multiplies, of("bitmap").stored_bytes), (4096, 2048 * 4 + 4096 / 8 + 16 * 4 + 5 * 4));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn packing_loses_nothing(which in 0usize..LAYOUTS, rows in 0usize..40, cols in 0usize..70, percent in 0u64..=100, seed: u64) {
        let layout = layouts()[which];
        let w = fitting(&layout, rows, cols, percent, seed);
        let result = round_trip(&layout, rows, cols, &w);
        prop_assert!(result.is_ok() || matches!(layout, Layout::Bsr { .. }), "{} {:?}", layout, result);
    }

    #[test]
    fn any_matrix_is_packed_or_refused_alike(which in 0usize..LAYOUTS, rows in 0usize..20, cols in 0usize..40, percent in 0u64..=100, seed: u64) {
        let w = fitting(&Layout::Csr, rows, cols, percent, seed);
        let _ = round_trip(&layouts()[which], rows, cols, &w);
    }

    #[test]
    fn foreign_data_never_panics(
        which in 0usize..LAYOUTS,
        rows in prop_oneof![0usize..9, any::<usize>()],
        cols in prop_oneof![0usize..9, any::<usize>()],
        ptr in prop::collection::vec(prop_oneof![0u32..6, any::<u32>()], 0..9),
        idx in prop::collection::vec(prop_oneof![0u32..9, any::<u32>()], 0..9),
        small in prop::collection::vec(any::<u8>(), 0..12),
        values in prop::collection::vec(any::<f32>(), 0..40),
    ) {
        let layout = layouts()[which];
        let arrays = layout.schema().iter().map(|(name, kind)| (*name, match kind {
            spc_formats::ArrayKind::F32 => Array::F32(values.clone()),
            spc_formats::ArrayKind::U8 => Array::U8(small.clone()),
            spc_formats::ArrayKind::U32 if *name == "ptr" => Array::U32(ptr.clone()),
            spc_formats::ArrayKind::U32 => Array::U32(idx.clone()),
        })).collect();
        if let Ok(checked) = validate(Packed { layout, rows, cols, arrays }) {
            checked.for_each(|row, col, w| {
                assert!(row < rows && col < cols);
                assert_eq!(checked.get(row, col).map(f32::to_bits), Some(w.to_bits()));
            });
            let _ = (checked.get(0, 0), checked.get(rows, cols), checked.get(rows.wrapping_sub(1), cols.wrapping_sub(1)));
        }
    }

    #[test]
    fn one_flipped_word_is_refused_or_harmless(which in 0usize..LAYOUTS, rows in 1usize..24, cols in 1usize..40, seed: u64, array in 0usize..3, at: usize, to: u32) {
        let layout = layouts()[which];
        let w = fitting(&layout, rows, cols, 50, seed);
        let Ok(mut packed) = pack(&layout, rows, cols, &w) else { return Ok(()) };
        let n = packed.arrays.len();
        match &mut packed.arrays[array % n].1 {
            Array::F32(a) if !a.is_empty() => { let i = at % a.len(); a[i] = f32::from_bits(to); }
            Array::U32(a) if !a.is_empty() => { let i = at % a.len(); a[i] = to % 50; }
            Array::U8(a) if !a.is_empty() => { let i = at % a.len(); a[i] = to as u8; }
            _ => {}
        }
        if let Ok(checked) = validate(packed) {
            let dense = checked.unpack().unwrap();
            let mut count = 0;
            checked.for_each(|row, col, w| { count += 1; assert_eq!(dense[row * cols + col].to_bits(), w.to_bits()); });
            // No element is stored twice, whatever the bytes say.
            assert_eq!(count, dense.iter().filter(|w| **w != 0.0).count());
        }
    }
}

#[test]
fn whole_multiples_of_scales_are_tried_as_codes() {
    let tried = |w: &[f32]| -> Vec<String> {
        let list = candidates(2, 96, w, &[]).unwrap();
        list[DEFAULT_CANDIDATES.len()..].iter().map(|(l, r)| format!("{l} {}", r.is_ok())).collect()
    };
    // A scale for each 32 inputs: 32, then 16, all of them and those that are kept.
    let codes = |by: f32| -> Vec<f32> {
        let code = |i: usize| if i.is_multiple_of(32) { 7.0 } else { (i % 15) as f32 - 7.0 };
        (0..192).map(|i| code(i) * ((1 + i / 32) as f32 * by)).collect()
    };
    let all = ["q4(32,16) true", "kept4(32,16) true", "q4(16,16) true", "kept4(16,16) true"];
    assert_eq!(tried(&codes(1.0))[..4], all);
    // They are bf16 numbers, too.
    assert_eq!(tried(&codes(1.0))[4..6], ["dense_bf16(16) true", "vx1_bf16(16) true"]);
    let mut w = codes(0.3);
    assert_eq!(tried(&w), all.map(|l| l.replace(",16", ",32")));
    w.iter_mut().enumerate().for_each(|(i, w)| *w = (i as f32).sqrt());
    assert!(tried(&w).is_empty());
}
