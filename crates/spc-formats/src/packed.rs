//! Packed matrices: raw, and validated.
use crate::format::Matrix;
use crate::half::Values;
use crate::{ArrayKind, Layout, Pattern, Refusal};

/// A stored array.
#[derive(Clone, Debug, PartialEq)]
pub enum Array {
    F32(Vec<f32>),
    U32(Vec<u32>),
    U8(Vec<u8>),
}

impl Array {
    pub fn kind(&self) -> ArrayKind {
        match self {
            Array::F32(_) => ArrayKind::F32,
            Array::U32(_) => ArrayKind::U32,
            Array::U8(_) => ArrayKind::U8,
        }
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        match self {
            Array::F32(a) => a.len(),
            Array::U32(a) => a.len(),
            Array::U8(a) => a.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Size in bytes.
    pub fn bytes(&self) -> u64 {
        let size = if self.kind() == ArrayKind::U8 { 1 } else { 4 };
        (self.len() as u64).saturating_mul(size)
    }
}

/// A packed matrix that nobody has checked. The arrays are named as in [`Layout::schema`].
#[derive(Clone, Debug, PartialEq)]
pub struct Packed {
    pub layout: Layout,
    pub rows: usize,
    pub cols: usize,
    pub arrays: Vec<(&'static str, Array)>,
}

impl Packed {
    pub fn array(&self, name: &str) -> Option<&Array> {
        self.arrays.iter().find(|(n, _)| *n == name).map(|(_, a)| a)
    }

    /// Size of all arrays in bytes.
    pub fn bytes(&self) -> u64 {
        self.arrays.iter().map(|(_, a)| a.bytes()).fold(0, u64::saturating_add)
    }

    /// The `values` array, or nothing when it is missing or of another type.
    pub(crate) fn values(&self) -> Values<'_> {
        match (self.layout, self.array("values")) {
            (Layout::Half { form, .. }, Some(Array::U8(a))) => Values::Half(form, a),
            (_, Some(Array::F32(a))) => Values::F32(a),
            _ => Values::F32(&[]),
        }
    }

    pub(crate) fn floats(&self, name: &str) -> &[f32] {
        if let Some(Array::F32(a)) = self.array(name) { a } else { &[] }
    }

    pub(crate) fn words(&self, name: &str) -> &[u32] {
        if let Some(Array::U32(a)) = self.array(name) { a } else { &[] }
    }

    pub(crate) fn small(&self, name: &str) -> &[u8] {
        if let Some(Array::U8(a)) = self.array(name) { a } else { &[] }
    }
}

/// Packs `weights` (`[rows, cols]`, row-major).
///
/// # Errors
/// The words why this layout cannot hold this matrix.
pub fn pack(layout: &Layout, rows: usize, cols: usize, weights: &[f32]) -> Result<Packed, Refusal> {
    let pattern = Pattern::new(rows, cols, weights)?;
    pattern.stats(layout)?;
    let matrix = Matrix { weights, pattern: &pattern };
    let arrays = layout.with(|f| f.pack(&matrix));
    let names = layout.schema().iter().map(|(name, _)| *name);
    Ok(Packed { layout: *layout, rows, cols, arrays: names.zip(arrays).collect() })
}

/// Packed data whose every pointer and index was proved to be in range.
#[derive(Clone, Debug, PartialEq)]
pub struct Validated(Packed);

/// Proves that every access a kernel makes to `packed` stays inside its arrays and inside the activations: names, types
/// and lengths agree, pointers rise from 0 to the end, indices are in range and no element is stored twice; padding is
/// zero. Takes time in the size of the data.
///
/// # Errors
/// What is wrong, in words.
pub fn validate(packed: Packed) -> Result<Validated, String> {
    packed.layout.check().map_err(|r| r.0)?;
    for (name, size) in [("rows", packed.rows), ("cols", packed.cols)] {
        if u32::try_from(size).is_err() {
            return Err(format!("{size} {name} do not fit 32 bits"));
        }
    }
    let schema = packed.layout.schema();
    let found: Vec<(&str, ArrayKind)> = packed.arrays.iter().map(|(n, a)| (*n, a.kind())).collect();
    if found != schema {
        return Err(format!("{} stores {schema:?}, found {found:?}", packed.layout));
    }
    packed.layout.with(|f| f.validate(&packed))?;
    Ok(Validated(packed))
}

impl Validated {
    pub fn packed(&self) -> &Packed {
        &self.0
    }

    pub fn into_packed(self) -> Packed {
        self.0
    }

    pub fn layout(&self) -> Layout {
        self.0.layout
    }

    pub fn rows(&self) -> usize {
        self.0.rows
    }

    pub fn cols(&self) -> usize {
        self.0.cols
    }

    /// The weight at `(row, col)`: zero when absent, `None` outside the matrix.
    pub fn get(&self, row: usize, col: usize) -> Option<f32> {
        let inside = row < self.0.rows && col < self.0.cols;
        inside.then(|| self.0.layout.with(|f| f.get(&self.0, row, col)))
    }

    /// Calls `f(row, col, weight)` for each present weight once, in storage order.
    pub fn for_each(&self, mut f: impl FnMut(usize, usize, f32)) {
        self.0.layout.with(|format| format.for_each(&self.0, &mut f));
    }

    /// The matrix, row-major, with `+0.0` where absent.
    ///
    /// # Errors
    /// When the dense size does not fit memory. Compare the shape with a declared one before unpacking foreign data.
    pub fn unpack(&self) -> Result<Vec<f32>, String> {
        let too_large = || format!("{} x {} values do not fit memory", self.0.rows, self.0.cols);
        let size = self.0.rows.checked_mul(self.0.cols).ok_or_else(too_large)?;
        let mut out: Vec<f32> = Vec::new();
        out.try_reserve_exact(size).map_err(|_| too_large())?;
        out.resize(size, 0.0);
        self.for_each(|row, col, w| out[row * self.0.cols + col] = w);
        Ok(out)
    }
}
