//! What the layouts of 8-bit codes with one scale a row share. Activations come as unsigned bytes, their integer plus 128, so a
//! sum starts at `start[row] = -128 * (sum of the codes of the row)`.
use crate::format::{length, too_large};
use crate::{CostFacts, Grid, Packed, Pattern, Refusal};

/// Inputs for which no sum of `255 * 127` and its start can leave 32 bits.
const MAX_COLS: usize = 32_768;

pub(crate) fn byte(code: i8) -> u8 {
    u8::from_ne_bytes(code.to_ne_bytes())
}

pub(crate) fn signed(byte: u8) -> i8 {
    i8::from_ne_bytes(byte.to_ne_bytes())
}

/// `start` of a row whose codes have this sum.
pub(crate) fn start(sum: i32) -> u32 {
    u32::from_ne_bytes((-128 * sum).to_ne_bytes())
}

/// The grid of a matrix whose rows have one scale each.
pub(crate) fn grid(p: &Pattern) -> Result<&Grid, Refusal> {
    let grid = p.grid().ok_or_else(|| Refusal("the weights are not whole multiples of one scale a row".into()))?;
    if !grid.by_row() {
        return Err(Refusal("a row has more than one scale".into()));
    }
    if p.cols() > MAX_COLS {
        return Err(Refusal(format!("sums over {} inputs may leave 32 bits", p.cols())));
    }
    Ok(grid)
}

/// Facts of `n` steps of 16 rows by four codes, with `extra` bytes beside the codes, starts and scales.
pub(crate) fn facts(p: &Pattern, n: u64, extra: u64) -> Result<CostFacts, Refusal> {
    let row_blocks = p.rows().div_ceil(STEP_ROWS) as u64;
    let multiplies = n.checked_mul((STEP_ROWS * STEP_CODES) as u64).ok_or_else(too_large)?;
    let ends = row_blocks.checked_mul(8 * STEP_ROWS as u64);
    let stored_bytes = ends.and_then(|e| e.checked_add(extra)?.checked_add(multiplies)).ok_or_else(too_large)?;
    Ok(CostFacts { present: p.present(), stored_bytes, multiplies, activation_loads: n, row_blocks, units: n })
}

/// Rows of a step, and codes of each.
pub(crate) const STEP_ROWS: usize = 16;
pub(crate) const STEP_CODES: usize = 4;
pub(crate) const STEP: usize = STEP_ROWS * STEP_CODES;

/// `start` and `scale` of whole blocks of rows, from the sums of the codes.
pub(crate) fn ends(grid: &Grid, rows: usize, sums: &[i32]) -> (Vec<u32>, Vec<f32>) {
    let scale = |r: usize| if r < rows { grid.scale(r, 0) } else { 0.0 };
    (sums.iter().map(|s| start(*s)).collect(), (0..sums.len()).map(scale).collect())
}

/// Checks the sizes of the matrix, of `start` and of `scale` for `blocks` blocks of `height` rows, and the scales themselves.
pub(crate) fn check_ends(p: &Packed, blocks: usize, height: usize) -> Result<(), String> {
    if p.cols > MAX_COLS {
        return Err(format!("sums over {} inputs may leave 32 bits", p.cols));
    }
    let scale = p.floats("scale");
    length("start", p.words("start").len(), &[blocks, height])?;
    length("scale", scale.len(), &[blocks, height])?;
    match scale.iter().find(|s| !(**s == 0.0 || s.is_normal()) || s.is_sign_negative()) {
        Some(s) => Err(format!("{s} is no scale")),
        None => Ok(()),
    }
}

/// Checks one row against the sum of its codes and whether it has any.
pub(crate) fn check_row(p: &Packed, row: usize, sum: i32, any: bool) -> Result<(), String> {
    if p.words("start").get(row) != Some(&start(sum)) {
        return Err(format!("`start` of row {row} is not -128 times the sum of its codes"));
    }
    let zero = p.floats("scale").get(row) == Some(&0.0);
    if any && zero {
        return Err(format!("row {row}: codes without a scale"));
    }
    if row >= p.rows && !zero {
        return Err("a padding row is not zero".into());
    }
    Ok(())
}
