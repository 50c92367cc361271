//! Cost facts of matrices of equal columns stacked one below the other, from the facts of each.
use crate::format::too_large;
use crate::{CostFacts, Layout, Refusal};

/// Rows of a block of a layout whose facts add up, and whether it stores pointers (one more than blocks).
fn additive(layout: &Layout) -> Option<(u64, bool)> {
    Some(match *layout {
        Layout::Dense { panel } => (u64::from(panel), false),
        Layout::Vx1 { v } => (u64::from(v), true),
        Layout::Bsr { r, .. } => (u64::from(r), true),
        Layout::Nm { .. } => (1, false),
        Layout::Nm16 { .. } => (16, false),
        Layout::Csr | Layout::Csr16 => (1, true),
        _ => return None,
    })
}

impl CostFacts {
    /// Facts of the matrix that has the rows of all `parts` in their order. Each part is its name, its rows and its facts in
    /// `layout`; all have the same columns.
    ///
    /// # Errors
    /// Why the layout cannot hold them all as one: a part that it cannot hold, a block that two parts would share, a layout
    /// that is not packed so.
    pub fn stacked(layout: &Layout, parts: &[(&str, u64, &Result<CostFacts, Refusal>)]) -> Result<CostFacts, Refusal> {
        let Some((block, pointers)) = additive(layout) else {
            return Err(Refusal(format!("weights in {layout} are not packed as one")));
        };
        let mut sum =
            CostFacts { present: 0, stored_bytes: 0, multiplies: 0, activation_loads: 0, row_blocks: 0, units: 0 };
        for (i, (name, rows, facts)) in parts.iter().enumerate() {
            let f = facts.as_ref().map_err(|r| Refusal(format!("`{name}`: {r}")))?;
            if i + 1 < parts.len() && !rows.is_multiple_of(block) {
                return Err(Refusal(format!("the {rows} rows of `{name}` are no whole blocks of {block}")));
            }
            // Neighbours share the pointer between them.
            let shared = if pointers && i > 0 { 4 } else { 0 };
            let add = |a: u64, b: u64| a.checked_add(b).ok_or_else(too_large);
            sum = CostFacts {
                present: add(sum.present, f.present)?,
                stored_bytes: add(sum.stored_bytes, f.stored_bytes.saturating_sub(shared))?,
                multiplies: add(sum.multiplies, f.multiplies)?,
                activation_loads: add(sum.activation_loads, f.activation_loads)?,
                row_blocks: add(sum.row_blocks, f.row_blocks)?,
                units: add(sum.units, f.units)?,
            };
        }
        if pointers {
            crate::format::fits_pointer(if *layout == Layout::Csr16 { sum.multiplies } else { sum.units })?;
        }
        Ok(sum)
    }
}
