//! The layouts that are tried for every matrix.
use crate::{CostFacts, Form, Layout, Pattern, Refusal, Wide};

/// Tried for every matrix, in this order.
pub const DEFAULT_CANDIDATES: &[Layout] = &[
    Layout::DENSE,
    Layout::Dense { panel: 8 },
    Layout::Dense { panel: 4 },
    Layout::Vx1 { v: 4 },
    Layout::Vx1 { v: 8 },
    Layout::Vx1 { v: 16 },
    Layout::Bsr { r: 4, c: 4 },
    Layout::Bsr { r: 8, c: 8 },
    Layout::Bsr { r: 16, c: 16 },
    Layout::Bsr { r: 16, c: 4 },
    Layout::Nm { n: 1, m: 4 },
    Layout::Nm { n: 2, m: 4 },
    Layout::Nm { n: 4, m: 8 },
    Layout::Csr,
    Layout::Nm16 { n: 1, m: 4 },
    Layout::Nm16 { n: 2, m: 4 },
    Layout::Nm16 { n: 4, m: 8 },
    Layout::Csr16,
    Layout::Bitmap,
];

/// To be tried with values of 16 bits for a matrix of such numbers.
const HALF_CANDIDATES: &[Layout] = &[
    Layout::DENSE,
    Layout::Vx1 { v: 16 },
    Layout::Bsr { r: 16, c: 4 },
    Layout::Nm16 { n: 1, m: 4 },
    Layout::Nm16 { n: 2, m: 4 },
    Layout::Nm16 { n: 4, m: 8 },
];

/// To be tried for a matrix that is quantised and read with activations that are rounded to 8 bits.
pub const QUANTIZED_CANDIDATES: &[Layout] = &[
    Layout::I8 { r: 32 },
    Layout::I8 { r: 16 },
    Layout::I8Nm { n: 1, m: 4 },
    Layout::I8Nm { n: 2, m: 4 },
    Layout::I8Nm { n: 4, m: 8 },
    Layout::I8Csr { c: 4 },
    Layout::I8Csr { c: 8 },
];

/// Cost facts or refusal of every default layout, then of each of `extra` (those that a declared constraint suggests) and of
/// those that the grid of the weights or their form suggests, where they are not among them. The order is that of the two lists.
///
/// # Errors
/// When `weights` is not `[rows, cols]` (then no layout applies).
#[expect(clippy::type_complexity, reason = "a list of layouts, each with facts or a refusal")]
pub fn candidates(
    rows: usize,
    cols: usize,
    weights: &[f32],
    extra: &[Layout],
) -> Result<Vec<(Layout, Result<CostFacts, Refusal>)>, Refusal> {
    let pattern = Pattern::new(rows, cols, weights)?;
    let mut layouts = DEFAULT_CANDIDATES.to_vec();
    let form = Form::ALL.into_iter().find(|f| pattern.has(*f));
    let tried: Vec<Layout> = HALF_CANDIDATES.iter().chain(extra).copied().collect();
    let halves = tried.iter().filter_map(|l| Some(Layout::Half { of: Wide::of(*l, form?)?, form: form? }));
    // Where the activations are integers, groups of 4-bit codes of which some are kept.
    let kept = extra.iter().filter_map(|l| if let Layout::I8Nm { n, m } = l { Some((*n, *m)) } else { None });
    let kept: Vec<(u32, u32)> = kept.collect();
    let scaled = pattern.grid().into_iter().flat_map(|g| g.layouts(cols)).filter_map(|l| match l {
        Layout::Groups { bits: 4, group, scale, kept: false } => Some((group, scale)),
        _ => None,
    });
    let scaled =
        scaled.flat_map(|(group, scale)| kept.iter().map(move |(n, m)| Layout::I4Nm { n: *n, m: *m, group, scale }));
    let scaled: Vec<Layout> = scaled.filter(|l| l.check().is_ok()).collect();
    for layout in extra
        .iter()
        .copied()
        .chain(pattern.grid().into_iter().flat_map(|g| g.layouts(cols)))
        .chain(scaled)
        .chain(halves)
    {
        if !layouts.contains(&layout) {
            layouts.push(layout);
        }
    }
    Ok(layouts.into_iter().map(|layout| (layout, pattern.stats(&layout))).collect())
}
