//! Random linear kernels.
use super::ending::Ending;
use super::{Binder, Case, U, f32_bytes};
use crate::ir::random::Rng;
use crate::templates::{
    LinearSpec, TILE, Tuning, feature_blocks, few, groups, padded_tokens, panel, position, rowblock_tuned, rowlist,
    to_feature_major, to_row_major,
};
use spc_base::Bug;
use spc_formats::{Array, Blocking, Form, Layout, Wide, pack, validate};

pub(super) fn array_bytes(a: &Array) -> Vec<u8> {
    match a {
        Array::F32(v) => f32_bytes(v),
        Array::U32(v) => v.iter().flat_map(|v| v.to_le_bytes()).collect(),
        Array::U8(v) => v.clone(),
    }
}

/// Weights of which some fit the layout: `[rows, cols]`, row-major.
pub fn weights(rng: &mut Rng, layout: Layout, rows: usize, cols: usize) -> Vec<f32> {
    let density = [0, 1, 10, 25, 50, 100][rng.below(6)];
    let mut w = vec![0.0f32; rows * cols];
    let value = |rng: &mut Rng| (rng.below(2001) as f32 - 1000.0) / 1000.0;
    match layout {
        Layout::Nm { n, m } | Layout::Nm16 { n, m } => {
            let (n, m) = (n as usize, m as usize);
            for row in w.chunks_mut(cols.max(1)) {
                for group in row.chunks_mut(m) {
                    // A short group must keep a free place for padding.
                    let most = n.min(group.len().saturating_sub(usize::from(group.len() < m)));
                    for _ in 0..most {
                        let at = rng.below(group.len());
                        group[at] = value(rng);
                    }
                }
            }
        }
        Layout::Vnm16 { v, m } => {
            let (v, m) = (v as usize, m as usize);
            for panel in w.chunks_mut((v * cols).max(1)) {
                for first in (0..cols).step_by(m) {
                    let width = m.min(cols - first);
                    let chosen: Vec<usize> = (0..4).map(|_| first + rng.below(width)).collect();
                    for row in panel.chunks_mut(cols) {
                        // A group of one column has no place for padding.
                        for _ in 0..if width > 1 { rng.below(3) } else { 0 } {
                            row[chosen[rng.below(4)]] = value(rng);
                        }
                    }
                }
            }
        }
        Layout::Half { of, form } => {
            let mut w = weights(rng, of.layout(), rows, cols);
            // Eight bits are left, which both forms hold.
            w.iter_mut().filter(|w| form.narrow(**w).is_none()).for_each(|w| *w = (*w * 64.0).round() / 64.0);
            return w;
        }
        Layout::Groups { bits, group, scale, .. } => return grouped(rng, (rows, cols), (bits, group as usize, scale)),
        _ => {
            let empty_row = rng.below(rows.max(1));
            let full_row = rng.below(rows.max(1));
            for (r, row) in w.chunks_mut(cols.max(1)).enumerate() {
                for x in row.iter_mut() {
                    let keep = (rng.below(100) < density || r == full_row) && r != empty_row;
                    *x = if keep { value(rng) } else { [0.0, -0.0][rng.below(2)] };
                }
            }
        }
    }
    w
}

fn layout(rng: &mut Rng, lanes: usize) -> Layout {
    match rng.below(14) {
        0 => Layout::Dense { panel: (lanes * (1 + rng.below(5))) as u32 },
        1 => Layout::Vx1 { v: [1, 2, 3, 4, 6, 8, 16, 32, 80][rng.below(9)] },
        2 => Layout::Bsr { r: [1, 2, 4, 5, 8, 16, 32][rng.below(7)], c: [1, 2, 3, 4, 8, 11, 16, 17][rng.below(8)] },
        3 => Layout::Nm { n: [1, 2, 3][rng.below(3)], m: [3, 4, 8][rng.below(3)] },
        4 => Layout::Nm { n: 11, m: 32 },
        5 => Layout::Csr,
        6 => {
            let m = 1 + rng.below(16);
            Layout::Nm16 { n: 1 + rng.below(m) as u32, m: m as u32 }
        }
        7 => [Layout::Nm16 { n: 2, m: 4 }, Layout::Nm16 { n: 1, m: 4 }, Layout::Nm16 { n: 4, m: 8 }][rng.below(3)],
        8 => Layout::Csr16,
        10 => Layout::Bitmap,
        11 => Layout::Vnm16 { v: [16, 32, 48, 64, 128][rng.below(5)], m: [5, 8, 9, 16, 32][rng.below(5)] },
        9 => {
            let (m, by) = (1 + rng.below(16) as u32, lanes.max(4));
            let of = match rng.below(4) {
                0 => Wide::Dense { panel: (lanes * (1 + rng.below(5))) as u32 },
                1 => Wide::Vx1 { v: (by * (1 + rng.below(3))) as u32 },
                2 => Wide::Bsr { r: (by * (1 + rng.below(2))) as u32, c: [1, 2, 3, 4, 17][rng.below(5)] },
                _ => Wide::Nm16 { n: 1 + rng.below(m as usize) as u32, m },
            };
            Layout::Half { of, form: Form::ALL[rng.below(2)] }
        }
        _ => Layout::Groups {
            bits: [4, 8][rng.below(2)],
            group: [16, 32, 64][rng.below(3)],
            scale: [16, 32][rng.below(2)],
            kept: rng.below(2) == 0,
        },
    }
}

/// Whole multiples of a scale for each group, some groups without any.
fn grouped(rng: &mut Rng, (rows, cols): (usize, usize), (bits, group, scale): (u32, usize, u32)) -> Vec<f32> {
    let top = if bits == 4 { 7 } else { 127 };
    let mut w = vec![0.0f32; rows * cols];
    let empty = rng.below(rows);
    for (r, row) in w.chunks_mut(cols).enumerate() {
        for g in row.chunks_mut(group) {
            let s = (1 + rng.below(2000)) as f32 / if scale == 16 { 1024.0 } else { 997.0 };
            if r != empty && rng.below(3) > 0 {
                g.iter_mut().for_each(|v| *v = (rng.below(2 * top + 1) as f32 - top as f32) * s);
                g[0] = top as f32 * s;
            }
        }
    }
    w
}

/// An order of loops; narrow code has one only.
fn tuning(rng: &mut Rng, lanes: usize, few: bool) -> Tuning {
    if lanes < 8 {
        return Tuning::PLAIN;
    }
    let (cols, rows) = ([1, 4, 11, 64][rng.below(4)], [1, 3, u32::MAX][rng.below(3)]);
    let unit = if few && lanes == 16 { [0, 1, 4, 8][rng.below(4)] } else { 0 };
    let blocking = Blocking { cols, rows: if unit > 0 { rows.saturating_mul(unit) } else { rows }, unit };
    Tuning {
        blocking: (rng.below(3) > 0).then_some(blocking),
        tokens: TILE * (1 + rng.below(4)),
        weights_ahead: [0, 256, 4096][rng.below(3)],
        rows_ahead: [0, 1, 6][rng.below(3)],
        by_span: rng.below(2) == 0,
    }
}

/// A linear kernel with random shape, layout, weights, bias and epilogue. `None` if the layout refuses the weights.
/// With `finite`, all activations are finite; without, there is no epilogue.
pub fn linear(rng: &mut Rng, lanes: usize, finite: bool) -> Result<Option<Case>, Bug> {
    let layout = layout(rng, lanes);
    sized(rng, lanes, finite, None, (layout, false))
}

/// A linear kernel of lists of one or two rows in several blocks of inputs, in units of row blocks.
pub fn linear_in_units(rng: &mut Rng, finite: bool) -> Result<Option<Case>, Bug> {
    let layout = [Layout::Csr, Layout::Vx1 { v: 1 }, Layout::Vx1 { v: 2 }][rng.below(3)];
    sized(rng, 16, finite, None, (layout, true))
}

/// A small linear kernel of so many tokens.
pub fn long_linear(rng: &mut Rng, lanes: usize, tokens: usize) -> Result<Option<Case>, Bug> {
    let layout = layout(rng, lanes);
    sized(rng, lanes, true, Some(tokens), (layout, false))
}

/// With `units` the lists of the layout come in units and in several blocks of inputs.
fn sized(
    rng: &mut Rng,
    lanes: usize,
    finite: bool,
    many: Option<usize>,
    (layout, units): (Layout, bool),
) -> Result<Option<Case>, Bug> {
    let grouped = matches!(layout, Layout::Groups { .. });
    let (tall, wide) = match (grouped, many) {
        (true, None) => (6, 600),
        (true, Some(_)) => (2, 100),
        (false, None) => (40, 40),
        (false, Some(_)) => (18, 12),
    };
    let (rows, cols) = (1 + rng.below(tall), 1 + rng.below(wide));
    let row_major = layout.row_major() && (!layout.feature_major() || rng.below(2) == 0);
    let some = [1, 2, 7, 15, 16, 17, 33, 48, 50, 100, 145, 200];
    let tokens: usize = match many {
        Some(n) => n,
        None if grouped || row_major && rng.below(2) == 0 => 1 + rng.below(9),
        None => some[rng.below(12)],
    };
    let ending = Ending::random(rng, tokens, rows)?.filter(|_| finite);
    let (act, beside) = ending.as_ref().map_or((None, &[][..]), |e| (Some(&e.expr), e.beside));
    let spec = LinearSpec { layout, rows, cols, bias: rng.below(2) == 0, act, beside, lanes };
    let w = weights(rng, layout, rows, cols);
    let row_major = row_major && spec.panel_lanes() == lanes && !units;
    let Ok(packed) = pack(&layout, rows, cols, &w) else { return Ok(None) };
    let mut tuning = tuning(rng, lanes, matches!(layout, Layout::Csr | Layout::Vx1 { v: 1 | 2 }));
    if units {
        let (unit, rows) = ([1, 4, 8][rng.below(3)], [1, 2, 5][rng.below(3)]);
        tuning.blocking = Some(Blocking { cols: [1, 4, 11][rng.below(3)], rows: unit * rows, unit });
    }
    let kernel = match spec.base() {
        Layout::Dense { .. } if row_major => panel(&spec)?,
        Layout::Csr16 => rowlist(&spec)?,
        Layout::Groups { .. } => groups(&spec)?,
        _ if row_major => few(&spec)?,
        _ => rowblock_tuned(&spec, tuning)?,
    };

    let mut b = Binder::new();
    let packed = validate(packed).map_err(Bug::new)?;
    for (name, a) in &packed.packed().arrays {
        let arranged = tuning.blocks(&spec).filter(|_| !row_major).and_then(|k| packed.arranged(name, k));
        b.buffer(name, array_bytes(arranged.as_ref().unwrap_or(a)));
    }
    let bias: Vec<f32> = (0..rows).map(|_| rng.float().clamp(-2.0, 2.0)).collect();
    let bias: Vec<f32> = bias.into_iter().map(|v| if v.is_nan() { 0.5 } else { v }).collect();
    b.buffer("bias", f32_bytes(&bias));
    let np = padded_tokens(tokens as u64).unwrap_or(0) as usize;
    let plain = |rng: &mut Rng| (rng.below(4001) as f32 - 2000.0) / 1000.0;
    let x: Vec<f32> = (0..tokens * cols).map(|_| if finite { plain(rng) } else { rng.float() }).collect();
    // Token t, feature f of a matrix of `features` features.
    let at =
        |t: usize, f: usize, features: usize| if row_major { t * features + f } else { position(t, f, features, np) };
    let (x_len, y_len) = if row_major { (tokens * cols, tokens * rows) } else { (np * cols, np * rows) };
    let mut stored = vec![0.0f32; x_len];
    for t in 0..tokens {
        for f in 0..cols {
            stored[at(t, f, cols)] = x[t * cols + f];
        }
    }
    b.buffer("x", f32_bytes(&stored));
    if let Some(e) = &ending {
        e.bind(&mut b, y_len, &|t, o| at(t, o, rows))?;
    }
    let y = b.buffer("y", f32_bytes(&vec![-77.0; y_len]));
    b.int("np", np);
    b.int("n", tokens);

    let mut want = vec![None; y_len];
    let mut or_nan = vec![false; y_len];
    for t in 0..tokens {
        for o in 0..rows {
            let row = || w[o * cols..][..cols].iter().zip(&x[t * cols..][..cols]);
            let terms: Vec<f64> =
                row().filter(|(w, _)| **w != 0.0).map(|(w, x)| f64::from(*w) * f64::from(*x)).collect();
            or_nan[at(t, o, rows)] = row().any(|(w, x)| *w == 0.0 && !x.is_finite());
            let size: f64 = terms.iter().map(|t| t.abs()).sum();
            let c = if spec.bias { f64::from(bias[o]) } else { 0.0 };
            let sum: f64 = terms.iter().sum::<f64>() + c;
            // gamma(n+1) for the sum; then what follows it.
            let n = (cols + 2) as f64;
            // A result below the normal range is off by at most half of the least number.
            let error = n * U / (1.0 - n * U) * (size + c.abs()) + n * f64::from(f32::from_bits(1));
            let (value, error) = ending.as_ref().map_or((sum, error), |e| e.of(sum, error, t, o));
            want[at(t, o, rows)] = Some((value, error));
        }
    }
    let range = if row_major { spec.blocks() } else { tuning.range(&spec) };
    Ok(Some(Case { or_nan, ..b.case(kernel, range, y, want)? }))
}

/// A conversion between activation layouts. The result is exact, pads included.
pub fn converted(rng: &mut Rng, lanes: usize) -> Result<Case, Bug> {
    let (tokens, features) = (1 + rng.below(120), 1 + rng.below(50));
    let np = padded_tokens(tokens as u64).unwrap_or(0) as usize;
    let value = |t: usize, f: usize| (t * features + f) as f32;
    let rm: Vec<f32> = (0..tokens * features).map(|i| i as f32).collect();
    let mut fm = vec![0.0f32; features * np];
    for (t, f) in (0..tokens).flat_map(|t| (0..features).map(move |f| (t, f))) {
        fm[position(t, f, features, np)] = value(t, f);
    }
    let to_fm = rng.below(2) == 0;
    let (x, y) = if to_fm { (rm, fm) } else { (fm, rm) };
    let kernel = if to_fm { to_feature_major(features, lanes)? } else { to_row_major(features, lanes)? };
    let mut b = Binder::new();
    b.buffer("x", f32_bytes(&x));
    let out = b.buffer("y", f32_bytes(&vec![-1.0; y.len()]));
    b.int("n", tokens);
    b.int("np", np);
    b.case(kernel, feature_blocks(features, lanes), out, y.iter().map(|v| Some((f64::from(*v), 0.0))).collect())
}
