//! `vnm16(V,M)`: V rows share the choice of 4 of every M neighbouring columns, and each row keeps 2 of those 4 (V:2:M), in f32 and
//! sixteen rows side by side, so that vectors run over rows.
//!
//! ```text
//! idx u8[P][T][16][2] (columns), pick u8[nb][T][16][2], values f32[nb][G][2][16]
//! P = ceil(O/V), nb = P V/16, G = ceil(K/M), T = ceil(G/4); V a multiple of 16
//! ```
//!
//! A window is four groups: 16 columns in `idx`, four a group, ascending among those that are chosen. A lane of `pick` is 16 bits
//! of its row, eight positions of 2 bits, two a group, the first in the lowest; those of groups past the last are zero.
//!
//! The present weights of a row come first in their group, by ascending position. What is left of the two entries has the value zero
//! and the first position at which the row has no weight. Where a group has fewer than four columns the first of them stands for
//! the rest, where a window has fewer than four groups column 0 does; no position names them. A group of one column is refused
//! where a row keeps it: padding has no place.
use crate::format::{Format, Matrix, length, present, too_large};
use crate::mma24::GROUP;
use crate::pattern::count;
use crate::vnm::columns_of_groups;
use crate::{Array, ArrayKind, CostFacts, Packed, Pattern, Refusal};

/// Rows of a block.
const ROWS: usize = 16;

/// Columns that a row keeps of the [`GROUP`] that rows share.
const KEPT: usize = 2;

/// Groups of a window, and its columns.
const WINDOW: usize = 4;
const COLUMNS: usize = WINDOW * GROUP;

/// Columns that 16 bits tell apart.
const MAX_COLS: usize = 1 << 16;

pub(crate) struct Vnm16 {
    pub v: usize,
    pub m: usize,
}

fn half(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[2 * at], bytes[2 * at + 1]])
}

impl Vnm16 {
    /// Blocks of whole panels.
    fn blocks(&self, rows: usize) -> usize {
        rows.div_ceil(self.v) * (self.v / ROWS)
    }

    fn groups(&self, cols: usize) -> usize {
        cols.div_ceil(self.m)
    }

    fn windows(&self, cols: usize) -> usize {
        self.groups(cols).div_ceil(WINDOW)
    }

    /// Columns of a group that positions may name.
    fn width(&self, cols: usize, g: usize) -> usize {
        self.m.min(cols - g * self.m).min(GROUP)
    }

    /// Index into `values`.
    fn value(&self, cols: usize, row: usize, g: usize, e: usize) -> usize {
        ((row / ROWS * self.groups(cols) + g) * KEPT + e) * ROWS + row % ROWS
    }

    /// Index into `pick`, and the lowest bit of the position.
    fn place(&self, cols: usize, row: usize, g: usize, e: usize) -> (usize, usize) {
        let at = (row / ROWS * self.windows(cols) + g / WINDOW) * ROWS + row % ROWS;
        (at, 2 * (g % WINDOW * KEPT + e))
    }

    fn position(&self, p: &Packed, row: usize, g: usize, e: usize) -> usize {
        let (at, shift) = self.place(p.cols, row, g, e);
        usize::from(half(p.small("pick"), at) >> shift & 3)
    }

    /// Column of a position in a group of a row.
    fn column(&self, p: &Packed, row: usize, g: usize, position: usize) -> usize {
        let at = (row / self.v * self.windows(p.cols) + g / WINDOW) * COLUMNS + g % WINDOW * GROUP + position;
        usize::from(half(p.small("idx"), at))
    }

    /// The columns of a panel, [`COLUMNS`] a window. `union` are those with weights.
    fn columns(&self, cols: usize, union: &[u64]) -> Vec<usize> {
        let mut out = columns_of_groups(cols, self.m, union, |first| first);
        out.resize(self.windows(cols) * COLUMNS, 0);
        out
    }
}

impl Format for Vnm16 {
    fn schema(&self) -> &'static [(&'static str, ArrayKind)] {
        &[("idx", ArrayKind::U8), ("pick", ArrayKind::U8), ("values", ArrayKind::F32)]
    }

    fn stats(&self, p: &Pattern) -> Result<CostFacts, Refusal> {
        if p.cols() > MAX_COLS {
            return Err(Refusal(format!("{} columns do not fit 16 bits", p.cols())));
        }
        let (panels, mut union) = (p.rows().div_ceil(self.v), Vec::new());
        for b in 0..if p.cols() == 0 { 0 } else { panels } {
            let rows = b * self.v..((b + 1) * self.v).min(p.rows());
            p.union(rows.start, self.v, &mut union);
            for (g, first) in (0..p.cols()).step_by(self.m).enumerate() {
                let last = (first + self.m).min(p.cols());
                let chosen = count(&union, first, last) as usize;
                if chosen > GROUP {
                    return Err(Refusal(format!("rows {rows:?}, group {g} use {chosen} of {} columns", self.m)));
                }
                for row in rows.clone() {
                    let kept = count(p.row(row), first, last) as usize;
                    if kept > KEPT {
                        return Err(Refusal(format!("row {row}, group {g} keeps {kept} of {}", self.m)));
                    }
                    if kept == 1 && last - first == 1 {
                        return Err(Refusal(format!(
                            "row {row}, group {g} keeps its one column, so that padding has no place"
                        )));
                    }
                }
            }
        }
        let (windows, groups) = (self.windows(p.cols()) as u64, self.groups(p.cols()) as u64);
        let blocks = self.blocks(p.rows()) as u64;
        let times = |a: u64, b: u64| a.checked_mul(b).ok_or_else(too_large);
        let multiplies = times(times(blocks, groups)?, (KEPT * ROWS) as u64)?;
        let (picks, columns) = (times(times(blocks, windows)?, 2 * ROWS as u64)?, times(windows, panels as u64)?);
        let bytes = times(multiplies, 4)?
            .checked_add(picks)
            .and_then(|b| b.checked_add(columns.checked_mul(2 * COLUMNS as u64)?));
        Ok(CostFacts {
            present: p.present(),
            stored_bytes: bytes.ok_or_else(too_large)?,
            multiplies,
            activation_loads: columns * COLUMNS as u64,
            row_blocks: panels as u64,
            units: times(blocks, windows)?,
        })
    }

    fn pack(&self, m: &Matrix<'_>) -> Vec<Array> {
        let (rows, cols) = (m.rows(), m.cols());
        let (blocks, groups, windows) = (self.blocks(rows), self.groups(cols), self.windows(cols));
        let mut picks = vec![0u16; blocks * windows * ROWS];
        let mut values = vec![0.0; blocks * groups * KEPT * ROWS];
        let (mut idx, mut union) = (Vec::new(), Vec::new());
        for b in 0..rows.div_ceil(self.v) {
            m.pattern.union(b * self.v, self.v, &mut union);
            let columns = self.columns(cols, &union);
            for row in b * self.v..((b + 1) * self.v).min(rows) {
                for g in 0..groups {
                    let named = &columns[g * GROUP..][..self.width(cols, g)];
                    let absent = named.iter().position(|c| !present(m.at(row, *c))).unwrap_or(0);
                    let mut kept = named.iter().enumerate().filter(|(_, c)| present(m.at(row, **c)));
                    for e in 0..KEPT {
                        let (position, w) = kept.next().map_or((absent, 0.0), |(i, c)| (i, m.at(row, *c)));
                        values[self.value(cols, row, g, e)] = w;
                        let (at, shift) = self.place(cols, row, g, e);
                        picks[at] |= (position as u16) << shift;
                    }
                }
            }
            // `stats` has refused columns that do not fit.
            idx.extend(columns.into_iter().flat_map(|c| (c as u16).to_le_bytes()));
        }
        let picks = picks.into_iter().flat_map(u16::to_le_bytes).collect();
        vec![Array::U8(idx), Array::U8(picks), Array::F32(values)]
    }

    fn validate(&self, p: &Packed) -> Result<(), String> {
        if p.cols > MAX_COLS {
            return Err(format!("{} columns do not fit 16 bits", p.cols));
        }
        let (groups, windows) = (self.groups(p.cols), self.windows(p.cols));
        let (panels, blocks) = (p.rows.div_ceil(self.v), self.blocks(p.rows));
        let (idx, picks, values) = (p.small("idx"), p.small("pick"), p.floats("values"));
        length("idx", idx.len(), &[panels, windows, COLUMNS, 2])?;
        length("pick", picks.len(), &[blocks, windows, ROWS, 2])?;
        length("values", values.len(), &[blocks, groups, KEPT, ROWS])?;
        // Without groups there is nothing to look at, however many rows.
        if groups == 0 {
            return Ok(());
        }
        for panel in 0..panels {
            for at in 0..windows * COLUMNS {
                let (g, i) = (at / GROUP, at % GROUP);
                let column = usize::from(half(idx, panel * windows * COLUMNS + at));
                let before = || usize::from(half(idx, panel * windows * COLUMNS + at - 1));
                let fits = match g {
                    g if g >= groups => column == 0,
                    g if i >= self.width(p.cols, g) => column == g * self.m,
                    g => column < p.cols && column / self.m == g && (i == 0 || before() < column),
                };
                if !fits {
                    return Err(format!("row block {panel}: column {column} cannot stand at place {i} of group {g}"));
                }
            }
        }
        for row in 0..blocks * ROWS {
            for g in 0..groups {
                let fault = |text: &str| Err(format!("row {row}, group {g}: {text}"));
                let at = [0, 1].map(|e| (self.position(p, row, g, e), values[self.value(p.cols, row, g, e)]));
                let [(first, a), (second, b)] = at;
                if row >= p.rows {
                    if present(a) || present(b) || first + second > 0 {
                        return Err("a padding row is not zero".into());
                    }
                    continue;
                }
                if first.max(second) >= self.width(p.cols, g) {
                    return fault("a position is out of range");
                }
                match (present(a), present(b)) {
                    (false, true) => return fault("padding stands before a weight"),
                    (true, true) if first >= second => return fault("positions do not ascend"),
                    (true, false) if first == second => return fault("padding takes the place of a weight"),
                    _ => {}
                }
            }
            let past = groups % WINDOW * KEPT * 2;
            let last = (row / ROWS * windows + windows - 1) * ROWS + row % ROWS;
            if past > 0 && half(picks, last) >> past != 0 {
                return Err("a bit that no position needs is not zero".into());
            }
        }
        Ok(())
    }

    fn get(&self, p: &Packed, row: usize, col: usize) -> f32 {
        let g = col / self.m;
        let entry = |e| {
            let w = p.floats("values")[self.value(p.cols, row, g, e)];
            (self.column(p, row, g, self.position(p, row, g, e)), w)
        };
        let mut pair = [entry(0), entry(1)].into_iter();
        pair.find(|(c, w)| *c == col && present(*w)).map_or(0.0, |(_, w)| w)
    }

    fn for_each(&self, p: &Packed, f: &mut dyn FnMut(usize, usize, f32)) {
        let groups = self.groups(p.cols);
        for (i, w) in p.floats("values").iter().enumerate().filter(|(_, w)| present(**w)) {
            let (slot, lane) = (i / ROWS, i % ROWS);
            let (e, g, block) = (slot % KEPT, slot / KEPT % groups, slot / KEPT / groups);
            let row = block * ROWS + lane;
            f(row, self.column(p, row, g, self.position(p, row, g, e)), *w);
        }
    }
}
