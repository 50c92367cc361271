//! Random linears of 8-bit weights and activations, and the rounding of activations.
use super::ending::Ending;
use super::{Binder, Case, U, f32_bytes};
use crate::ir::random::Rng;
use crate::templates::{
    LinearSpec, ORDER, SCRATCH, blocks8, padded_tokens, pick8, place, round_rows, round_tokens, round_tokens16,
    row_bytes, tile_place, tiles8,
};
use spc_base::Bug;
use spc_formats::{Layout, pack, validate};

const TOKENS: [usize; 14] = [1, 2, 3, 4, 5, 8, 9, 11, 12, 13, 23, 24, 30, 50];

const KEPT: [(usize, usize); 10] = [(1, 2), (1, 4), (2, 4), (3, 4), (2, 5), (4, 8), (3, 7), (1, 11), (1, 16), (5, 16)];

/// A random linear of `i8(R)`, `i8nm(N,M)`, `i8csr(C)` or `i4nm(N,M,G,S)`. `None` if nothing is stored.
pub fn rounded_linear(rng: &mut Rng, lanes: usize) -> Result<Option<Case>, Bug> {
    rounded(rng, lanes, None, None)
}

/// A small one of so many tokens, on tile registers where that is said.
pub fn long_rounded_linear(rng: &mut Rng, lanes: usize, tokens: usize, tiles: bool) -> Result<Option<Case>, Bug> {
    rounded(rng, lanes, tiles.then_some(true), Some(tokens))
}

/// A random linear of `i8(R)` of 16 lanes, on tile registers or not: the same one for the same numbers. `None` if nothing is
/// stored.
pub fn tiled_linear(rng: &mut Rng, tiles: bool) -> Result<Option<Case>, Bug> {
    rounded(rng, 16, Some(tiles), None)
}

/// With `blocks`, of `i8(R)`, on tiles or not.
fn rounded(rng: &mut Rng, lanes: usize, blocks: Option<bool>, many: Option<usize>) -> Result<Option<Case>, Bug> {
    let kept = KEPT[rng.below(KEPT.len())];
    let (group, scale_bits) = ([16, 32, 64][rng.below(3)], [16, 32][rng.below(2)]);
    let four = Layout::I4Nm { n: kept.0 as u32, m: kept.1 as u32, group, scale: scale_bits };
    let layout = match rng.below(4) {
        _ if blocks.is_some() => Layout::I8 { r: [16, 32, 48, 64][rng.below(4)] },
        3 if four.check().is_ok() => four,
        0 => Layout::I8 { r: [16, 32, 48][rng.below(3)] },
        1 => Layout::I8Nm { n: kept.0 as u32, m: kept.1 as u32 },
        _ => Layout::I8Csr { c: [4, 8][rng.below(2)] },
    };
    let (tall, widest) = if many.is_some() { (36, 12) } else { (70, [40, 150][rng.below(2)]) };
    let (rows, cols) = (1 + rng.below(tall), 1 + rng.below(widest));
    let tokens = match (many, blocks) {
        (Some(n), _) => n,
        (None, Some(_)) => 1 + rng.below(150),
        (None, None) => TOKENS[rng.below(TOKENS.len())],
    };
    let tiles = blocks == Some(true);
    let density = [5, 30, 100][rng.below(3)];
    let ending = Ending::random(rng, tokens, rows)?;
    let (act, beside) = ending.as_ref().map_or((None, &[][..]), |e| (Some(&e.expr), e.beside));
    let spec = LinearSpec { layout, rows, cols, bias: rng.below(2) == 0, act, beside, lanes };
    let regular = matches!(layout, Layout::I8Nm { .. } | Layout::I4Nm { .. });
    let (top, group) = if let Layout::I4Nm { group, .. } = layout { (7, group as usize) } else { (127, cols) };
    let mut w = vec![0.0f32; rows * cols];
    for row in w.chunks_mut(cols) {
        // Of each group at most so many, here these, there those.
        let turn = rng.below(kept.1);
        for (g, part) in row.chunks_mut(group).enumerate() {
            let scale = (1 + rng.below(500)) as f32 / if top == 7 { 1024.0 } else { 9000.0 };
            for (i, v) in part.iter_mut().enumerate() {
                let absent = regular && (g * group + i + turn) % kept.1 >= kept.0;
                if rng.below(100) < density && !absent {
                    *v = (rng.below(2 * top + 1) as f32 - top as f32) * scale;
                }
            }
            // The greatest code occurs, as after rounding.
            if let Some(v) = part.iter_mut().find(|v| **v != 0.0) {
                *v = if rng.below(2) == 0 { top as f32 } else { -(top as f32) } * scale;
            }
        }
    }
    let Ok(packed) = pack(&layout, rows, cols, &w) else { return Ok(None) };
    let mut b = Binder::new();
    let packed = validate(packed).map_err(|e| Bug::new(e.to_string()))?;
    for (name, a) in &packed.packed().arrays {
        let arranged = if tiles { packed.arranged(name, ORDER) } else { None };
        b.buffer(name, super::linear::array_bytes(arranged.as_ref().unwrap_or(a)));
    }
    let padded = padded_tokens(tokens as u64).unwrap_or(0) as usize;
    // What pads hold is read and not used.
    let by_row = layout.needs_integer_rows();
    let mut q = vec![0xa5u8; if by_row { tokens * row_bytes(cols) } else { padded * 4 * cols.div_ceil(4) }];
    let integers: Vec<i32> = (0..tokens * cols).map(|_| rng.below(255) as i32 - 127).collect();
    for (i, v) in integers.iter().enumerate() {
        let at = match () {
            () if by_row => i / cols * row_bytes(cols) + i % cols,
            () if tiles => tile_place(i / cols, i % cols, cols),
            () => place(i / cols, i % cols, tokens, cols),
        };
        q[at] = (v + 128) as u8;
    }
    b.buffer("q", q);
    let scales: Vec<f32> =
        (0..padded).map(|t| if t < tokens { (1 + rng.below(90)) as f32 / 1000.0 } else { f32::NAN }).collect();
    b.buffer("s", f32_bytes(&scales));
    let bias: Vec<f32> = (0..rows).map(|_| (rng.below(401) as f32 - 200.0) / 100.0).collect();
    b.buffer("bias", f32_bytes(&bias));
    let y = b.buffer("y", f32_bytes(&vec![-77.0; tokens * rows]));
    b.int("n", tokens);
    if let Some(e) = &ending {
        e.bind(&mut b, tokens * rows, &|t, o| t * rows + o)?;
    }
    let mut want = Vec::with_capacity(tokens * rows);
    for t in 0..tokens {
        for o in 0..rows {
            let terms = (0..cols)
                .map(|k| f64::from(w[o * cols + k]) * f64::from(integers[t * cols + k]) * f64::from(scales[t]));
            let size: f64 = terms.clone().map(f64::abs).sum();
            let c = if spec.bias { f64::from(bias[o]) } else { 0.0 };
            let sum = terms.sum::<f64>() + c;
            // The sum of products is exact; what follows rounds a few times, and a stored weight is a rounded product.
            let error = (6.0 + cols.div_ceil(group) as f64) * U * (size + c.abs());
            want.push(Some(ending.as_ref().map_or((sum, error), |e| e.of(sum, error, t, o))));
        }
    }
    let kernel = match () {
        () if by_row => pick8(&spec)?,
        () if tiles => tiles8(&spec)?,
        () => blocks8(&spec)?,
    };
    Ok(Some(b.case(kernel, spec.blocks(), y, want)?))
}

/// The rounding of tokens: the scales are the result. Besides, the places and values of all integers in the buffer `q`.
pub fn rounding(rng: &mut Rng, lanes: usize) -> Result<(Case, Vec<(usize, u8)>), Bug> {
    // Now and then more inputs than a tile of tokens is rounded with at once.
    let wide = rng.below(12) == 0;
    let cols = if wide { 2900 + rng.below(70) } else { 1 + rng.below(170) };
    let tokens = if wide { 1 + rng.below(17) } else { TOKENS[rng.below(TOKENS.len())] };
    let mut x: Vec<f32> = (0..tokens * cols).map(|_| (rng.below(4001) as f32 - 2000.0) / 1000.0).collect();
    for row in x.chunks_mut(cols) {
        match rng.below(12) {
            0 => row.fill(0.0),
            1 => row.iter_mut().for_each(|v| *v *= 1e-40),
            2 => row[0] = f32::INFINITY,
            3 => row[cols - 1] = f32::NAN,
            4 => row[0] = 1e30,
            _ => {}
        }
    }
    let padded = padded_tokens(tokens as u64).unwrap_or(0) as usize;
    let mut b = Binder::new();
    b.buffer("x", f32_bytes(&x));
    let (by_row, tiles) = (rng.below(2) == 0, lanes == 16 && rng.below(2) == 0);
    b.buffer("q", vec![7u8; if by_row { tokens * row_bytes(cols) } else { padded * 4 * cols.div_ceil(4) }]);
    let scales = b.buffer("scales", f32_bytes(&vec![-77.0; tokens]));
    b.buffer("scratch", vec![0; tokens * SCRATCH]);
    b.int("n", tokens);
    let (mut want, mut integers) = (Vec::new(), Vec::new());
    for (t, row) in x.chunks(cols).enumerate() {
        let r = crate::math::RoundedToken::of(row.iter().copied());
        want.push(Some((f64::from(r.scale), 0.0)));
        let at = |k: usize| match () {
            () if by_row => t * row_bytes(cols) + k,
            () if tiles => tile_place(t, k, cols),
            () => place(t, k, tokens, cols),
        };
        integers.extend(row.iter().enumerate().map(|(k, v)| (at(k), (r.integer(*v) + 128) as u8)));
    }
    let kernel = match () {
        () if by_row => round_rows(cols, lanes)?,
        () if tiles => round_tokens16(cols, lanes)?,
        () => round_tokens(cols, lanes)?,
    };
    Ok((b.case(kernel, tokens, scales, want)?, integers))
}
