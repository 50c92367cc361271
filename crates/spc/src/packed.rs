//! Packed weights in a safetensors file, as `docs/packed.md` describes: the arrays of a weight are the tensors
//! `PREFIX.ARRAY`, and the metadata key `layouts` lists weight, layout, rows, columns and prefix as JSON. Nothing is trusted.
use serde::{Deserialize, Serialize};
use spc_formats::{Array, ArrayKind, Layout, Packed, Validated, validate};
use spc_io::{Header, StoredType, WeightFile};
use std::collections::BTreeSet;

/// The metadata key of the list.
pub const LAYOUTS: &str = "layouts";

/// One packed weight of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredLayout {
    pub weight: String,
    pub layout: String,
    pub rows: usize,
    pub cols: usize,
    pub prefix: String,
}

/// An array of a layout: its own name, its name in the file, its type.
type Named = (&'static str, String, ArrayKind);

impl StoredLayout {
    /// The layout, and its arrays.
    ///
    /// # Errors
    /// For words that are no layout.
    pub fn arrays(&self) -> Result<(Layout, Vec<Named>), String> {
        let layout: Layout = self.layout.parse().map_err(|e| format!("`{}`: {e}", self.weight))?;
        let names = layout.schema().iter().map(|(name, kind)| (*name, format!("{}.{name}", self.prefix), *kind));
        Ok((layout, names.collect()))
    }
}

/// The packed weights that a file lists, none where it has no list.
///
/// # Errors
/// For a list that is none, or that has a weight twice in one layout.
pub fn entries(header: &Header) -> Result<Vec<StoredLayout>, String> {
    let Some(text) = header.metadata().get(LAYOUTS) else { return Ok(Vec::new()) };
    let list: Vec<StoredLayout> =
        serde_json::from_str(text).map_err(|e| format!("`{LAYOUTS}` of the metadata: {e}"))?;
    let mut seen = BTreeSet::new();
    for l in &list {
        if !seen.insert((&l.weight, &l.layout)) {
            return Err(format!("`{}` is listed twice as {}", l.weight, l.layout));
        }
    }
    Ok(list)
}

/// Reads one packed weight and proves that it is one.
///
/// # Errors
/// What is wrong, in words that name the weight.
pub fn load(file: &WeightFile, entry: &StoredLayout) -> Result<Validated, String> {
    let (layout, names) = entry.arrays()?;
    let mut arrays = Vec::new();
    for (name, stored, kind) in names {
        arrays.push((name, array(file, &stored, kind)?));
    }
    let packed = Packed { layout, rows: entry.rows, cols: entry.cols, arrays };
    validate(packed).map_err(|e| format!("`{}` in {layout}: {e}", entry.weight))
}

fn array(file: &WeightFile, name: &str, kind: ArrayKind) -> Result<Array, String> {
    let found = file.header().get(name).map_err(|d| d.message)?.dtype;
    let wanted = match kind {
        ArrayKind::F32 => StoredType::F32,
        ArrayKind::U32 => StoredType::U32,
        ArrayKind::U8 => StoredType::U8,
    };
    if found != wanted {
        return Err(format!("`{name}` is {found}, expected {wanted}"));
    }
    let fail = |d: spc_base::Diagnostic| d.message;
    Ok(match kind {
        ArrayKind::F32 => Array::F32(file.f32(name).map_err(fail)?.to_vec()),
        ArrayKind::U32 => Array::U32(file.u32(name).map_err(fail)?),
        ArrayKind::U8 => Array::U8(file.bytes(name).map_err(fail)?.to_vec()),
    })
}
