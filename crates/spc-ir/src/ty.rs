//! Types of values: an element type and named, ordered dimensions whose sizes are numbers or free symbols.
use std::fmt;

/// Element types that programs compute with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DType {
    F32,
    I32,
    Bool,
}

impl DType {
    pub const ALL: [DType; 3] = [DType::F32, DType::I32, DType::Bool];

    pub fn name(self) -> &'static str {
        match self {
            DType::F32 => "f32",
            DType::I32 => "i32",
            DType::Bool => "bool",
        }
    }

    pub fn from_name(name: &str) -> Option<DType> {
        DType::ALL.into_iter().find(|d| d.name() == name)
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A free axis of a graph: its size is bound by each call, within `lo..=hi`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sym {
    pub name: String,
    pub lo: u64,
    pub hi: u64,
}

/// Index into a graph's table of free axes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SymId(pub u32);

/// The size of one dimension.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Size {
    Fixed(u64),
    Free(SymId),
}

impl Size {
    pub fn fixed(self) -> Option<u64> {
        match self {
            Size::Fixed(n) => Some(n),
            Size::Free(_) => None,
        }
    }

    /// The size under a binding of the free axes (indexed by [`SymId`]).
    pub fn bind(self, syms: &[u64]) -> Option<u64> {
        match self {
            Size::Fixed(n) => Some(n),
            Size::Free(s) => syms.get(s.0 as usize).copied(),
        }
    }
}

/// One dimension: the name of its axis (`D`, or `(H C)` for a split axis stored as one) and its size.
///
/// The name is for people and for coupling; two dimensions combine when their *sizes* agree, because `spc-sema` has
/// already matched the names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dim {
    pub axis: String,
    pub size: Size,
}

impl Dim {
    pub fn fixed(axis: impl Into<String>, size: u64) -> Dim {
        Dim { axis: axis.into(), size: Size::Fixed(size) }
    }

    pub fn free(axis: impl Into<String>, sym: SymId) -> Dim {
        Dim { axis: axis.into(), size: Size::Free(sym) }
    }
}

/// Type of a value: element type and dimensions, outermost first (row-major).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Type {
    pub dtype: DType,
    pub dims: Vec<Dim>,
}

impl Type {
    pub fn new(dtype: DType, dims: Vec<Dim>) -> Type {
        Type { dtype, dims }
    }

    pub fn scalar(dtype: DType) -> Type {
        Type { dtype, dims: Vec::new() }
    }

    pub fn rank(&self) -> usize {
        self.dims.len()
    }

    pub fn sizes(&self) -> Vec<Size> {
        self.dims.iter().map(|d| d.size).collect()
    }

    /// Rows and columns of a weight that a linear reads: its first dimension, and all others as one. `None` for other ranks
    /// than 2 and more, or where a size is free or does not fit.
    pub fn matrix(&self) -> Option<(usize, usize)> {
        let shape = self.shape(&[])?;
        let (rows, rest) = shape.split_first().filter(|(_, rest)| !rest.is_empty())?;
        Some((*rows, rest.iter().try_fold(1usize, |n, d| n.checked_mul(*d))?))
    }

    /// Concrete shape under a binding of the free axes.
    pub fn shape(&self, syms: &[u64]) -> Option<Vec<usize>> {
        self.dims.iter().map(|d| d.size.bind(syms).and_then(|n| usize::try_from(n).ok())).collect()
    }
}
