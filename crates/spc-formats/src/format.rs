//! The functions that every layout has, and checks that several share.
use crate::{Array, ArrayKind, CostFacts, Packed, Pattern, Refusal};

/// A matrix to be packed, with its pattern. `weights.len() == rows * cols` holds.
pub(crate) struct Matrix<'a> {
    pub weights: &'a [f32],
    pub pattern: &'a Pattern,
}

impl Matrix<'_> {
    pub fn rows(&self) -> usize {
        self.pattern.rows()
    }
    pub fn cols(&self) -> usize {
        self.pattern.cols()
    }
    /// Weight at `(row, col)`, or zero outside the matrix.
    pub fn at(&self, row: usize, col: usize) -> f32 {
        if row < self.rows() && col < self.cols() { self.weights[row * self.cols() + col] } else { 0.0 }
    }
}

/// One storage layout. Parameters have passed `Layout::check`.
pub(crate) trait Format {
    fn schema(&self) -> &'static [(&'static str, ArrayKind)];
    /// Cost facts from the pattern alone. Refuses exactly what `pack` refuses, in the same words.
    fn stats(&self, pattern: &Pattern) -> Result<CostFacts, Refusal>;
    /// Arrays in the order of `schema`. Called only after `stats` accepted the pattern.
    fn pack(&self, matrix: &Matrix<'_>) -> Vec<Array>;
    /// Everything that a kernel relies on. `p.arrays` has the names and types of `schema`. Takes O(stored).
    fn validate(&self, p: &Packed) -> Result<(), String>;
    /// Weight at `(row, col)`, both in range, of validated data. Zero when absent.
    fn get(&self, p: &Packed, row: usize, col: usize) -> f32;
    /// Calls `f(row, col, weight)` for each present weight of validated data once, in storage order.
    fn for_each(&self, p: &Packed, f: &mut dyn FnMut(usize, usize, f32));
}

/// A weight is present when it is not zero. NaN is present.
pub(crate) fn present(w: f32) -> bool {
    w != 0.0
}

pub(crate) fn to_u32(n: usize) -> u32 {
    // Callers have refused anything larger.
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// Refuses a stored count that a `u32` pointer cannot hold.
pub(crate) fn fits_pointer(n: u64) -> Result<(), Refusal> {
    if n <= u64::from(u32::MAX) { Ok(()) } else { Err(Refusal(format!("{n} stored units do not fit 32-bit pointers"))) }
}

pub(crate) fn too_large() -> Refusal {
    Refusal("the packed size does not fit 64 bits".into())
}

/// Checks an array's length against the product of `factors`, in checked arithmetic.
pub(crate) fn length(name: &str, actual: usize, factors: &[usize]) -> Result<(), String> {
    let expected = factors.iter().try_fold(1usize, |a, b| a.checked_mul(*b));
    if expected == Some(actual) {
        return Ok(());
    }
    let product: Vec<String> = factors.iter().map(ToString::to_string).collect();
    Err(format!("`{name}` has {actual} elements, expected {}", product.join(" x ")))
}

/// Checks block pointers: `blocks + 1` of them, from 0, never falling, up to `n`.
pub(crate) fn pointers(ptr: &[u32], blocks: usize, n: usize) -> Result<(), String> {
    if blocks.checked_add(1) != Some(ptr.len()) {
        return Err(format!("`ptr` has {} elements, expected {blocks} + 1", ptr.len()));
    }
    if ptr.first() != Some(&0) {
        return Err("`ptr` does not start at 0".into());
    }
    if let Some(i) = ptr.windows(2).position(|w| w[0] > w[1]) {
        return Err(format!("`ptr` falls after element {i}"));
    }
    if ptr.last().map(|p| *p as usize) != Some(n) {
        return Err(format!("`ptr` does not end at {n}, the length of `idx`"));
    }
    Ok(())
}

/// Half-open range of row block `b`. `ptr` is validated and `b + 1 < ptr.len()`.
pub(crate) fn span(ptr: &[u32], b: usize) -> std::ops::Range<usize> {
    ptr[b] as usize..ptr[b + 1] as usize
}

/// Checks that the indices of each block ascend strictly (so none occurs twice) and lie below `bound`.
pub(crate) fn ascending(ptr: &[u32], idx: &[u32], bound: usize) -> Result<(), String> {
    for b in 0..ptr.len().saturating_sub(1) {
        let list = &idx[span(ptr, b)];
        if let Some(i) = list.iter().find(|i| **i as usize >= bound) {
            return Err(format!("row block {b}: index {i} is out of range"));
        }
        if list.windows(2).any(|w| w[0] >= w[1]) {
            return Err(format!("row block {b}: indices do not ascend"));
        }
    }
    Ok(())
}
