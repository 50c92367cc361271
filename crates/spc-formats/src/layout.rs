//! The names of the storage layouts and their text form.
use crate::Refusal;
use crate::bitmap::Bitmap;
use crate::blocks8::Blocks8;
use crate::bsr::Bsr;
use crate::csr::Csr;
use crate::csr16::Csr16;
use crate::dense::Dense;
use crate::format::Format;
use crate::groups::Groups;
use crate::half::{Form, Half, Wide};
use crate::mma1::Mma1;
use crate::mma24::Mma24;
use crate::mma32::Mma32;
use crate::nm::Nm;
use crate::nm4::Nm4;
use crate::nm8::Nm8;
use crate::nm16::Nm16;
use crate::pick8::Pick8;
use crate::vnm::Vnm;
use crate::vnm16::Vnm16;
use crate::vx1::Vx1;
use std::fmt;
use std::str::FromStr;

/// A storage layout with its parameters. Text form: `dense(16)`, `vx1(8)`, `bsr(4,4)`, `nm(2,4)`, `csr`, `nm16(2,4)`, `csr16`, `bitmap`,
/// `q4(32,16)`; the two
/// round trip. `dense` alone reads as `dense(16)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Layout {
    /// Packed panels of `panel` rows, every weight stored.
    Dense { panel: u32 },
    /// Column vectors: `v` consecutive rows share their list of columns.
    Vx1 { v: u32 },
    /// Blocks of `r` rows by `c` columns.
    Bsr { r: u32, c: u32 },
    /// At most `n` present weights in each group of `m` consecutive columns of a row.
    Nm { n: u32, m: u32 },
    /// Blocks of `r` rows by 4 columns, codes of 8 bits with one scale a row, for activations of 8 bits.
    I8 { r: u32 },
    /// As `Nm16` in codes of 8 bits with one scale a row, for activations of 8 bits.
    I8Nm { n: u32, m: u32 },
    /// As `I8Nm` in codes of 4 bits with one scale of `scale` bits (16 or 32) for each `group` inputs of a row (16, 32 or 64).
    I4Nm { n: u32, m: u32, group: u32, scale: u32 },
    /// Any pattern in codes of 8 bits with one scale a row, `c` (4 or 8) from a window of 64 inputs, for activations of 8 bits.
    I8Csr { c: u32 },
    /// 2:4 in bf16, in the fragment order of sparse tensor cores.
    Mma24,
    /// Blocks of `r` rows by 32 columns in bf16, in the fragment order of tensor cores.
    Mma32 { r: u32 },
    /// Columns of `r` rows in bf16, 32 gathered to a block of `Mma32`.
    Mma1 { r: u32 },
    /// `v` rows share 4 of each `m` columns, of which each keeps 2, in bf16 and the order of `Mma24`.
    Vnm { v: u32, m: u32 },
    /// `v` rows share 4 of each `m` columns, of which each keeps 2, in f32, sixteen rows side by side. For few tokens.
    Vnm16 { v: u32, m: u32 },
    /// One list of columns for each row.
    Csr,
    /// As `Nm`, with `m` up to 16: sixteen rows side by side, positions in 2 or 4 bits. For few tokens.
    Nm16 { n: u32, m: u32 },
    /// As `Csr`, with columns in 16 bits and rows of whole vectors. For few tokens.
    Csr16,
    /// One bit for every weight, sixteen rows side by side, and the present ones alone. For few tokens.
    Bitmap,
    /// Codes of `bits` (4 or 8) with one scale of `scale` bits (16 or 32) for each `group` inputs of a row (16, 32 or 64): of all
    /// groups, or of those `kept`, that hold a weight.
    Groups { bits: u32, group: u32, scale: u32, kept: bool },
    /// Another layout with values of 16 bits, for few tokens.
    Half { of: Wide, form: Form },
}

/// Element type of a stored array.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ArrayKind {
    F32,
    U32,
    U8,
}

/// Largest parameter of any layout: an `nm` position is one byte.
const MAX_PARAMETER: u32 = 256;

impl Layout {
    /// The baseline layout.
    pub const DENSE: Layout = Layout::Dense { panel: 16 };

    /// Word before the parameters.
    pub fn kind(&self) -> &'static str {
        match self {
            Layout::Dense { .. } => "dense",
            Layout::Vx1 { .. } => "vx1",
            Layout::Bsr { .. } => "bsr",
            Layout::Nm { .. } => "nm",
            Layout::I8 { .. } => "i8",
            Layout::I8Nm { .. } => "i8nm",
            Layout::I4Nm { .. } => "i4nm",
            Layout::I8Csr { .. } => "i8csr",
            Layout::Mma24 => "mma24",
            Layout::Mma32 { .. } => "mma32",
            Layout::Mma1 { .. } => "mma1",
            Layout::Vnm { .. } => "vnm",
            Layout::Vnm16 { .. } => "vnm16",
            Layout::Csr => "csr",
            Layout::Nm16 { .. } => "nm16",
            Layout::Csr16 => "csr16",
            Layout::Bitmap => "bitmap",
            Layout::Groups { bits: 4, kept: false, .. } => "q4",
            Layout::Groups { kept: false, .. } => "q8",
            Layout::Groups { bits: 4, kept: true, .. } => "kept4",
            Layout::Groups { kept: true, .. } => "kept8",
            Layout::Half { of, form } => match (of, form) {
                (Wide::Dense { .. }, Form::Bf16) => "dense_bf16",
                (Wide::Dense { .. }, Form::F16) => "dense_f16",
                (Wide::Vx1 { .. }, Form::Bf16) => "vx1_bf16",
                (Wide::Vx1 { .. }, Form::F16) => "vx1_f16",
                (Wide::Bsr { .. }, Form::Bf16) => "bsr_bf16",
                (Wide::Bsr { .. }, Form::F16) => "bsr_f16",
                (Wide::Nm16 { .. }, Form::Bf16) => "nm16_bf16",
                (Wide::Nm16 { .. }, Form::F16) => "nm16_f16",
                (Wide::Mma24, _) => "mma24_f16",
                (Wide::Mma32 { .. }, _) => "mma32_f16",
                (Wide::Mma1 { .. }, _) => "mma1_f16",
                (Wide::Vnm { .. }, _) => "vnm_f16",
            },
        }
    }

    /// Names and element types of the arrays that this layout stores, in order.
    pub fn schema(&self) -> &'static [(&'static str, ArrayKind)] {
        self.with(|f| f.schema())
    }

    /// True if the kernels of this layout read activations that are rounded to 8 bits a token.
    pub fn needs_integers(&self) -> bool {
        matches!(self, Layout::I8 { .. } | Layout::I8Nm { .. } | Layout::I8Csr { .. } | Layout::I4Nm { .. })
    }

    /// True if they read them token by token, each token's integers in a row of their own.
    pub fn needs_integer_rows(&self) -> bool {
        matches!(self, Layout::I8Nm { .. } | Layout::I8Csr { .. } | Layout::I4Nm { .. })
    }

    /// True if only GPUs have kernels of this layout.
    pub fn needs_tensor_cores(&self) -> bool {
        matches!(self.with_bf16(), Layout::Mma24 | Layout::Mma32 { .. } | Layout::Mma1 { .. } | Layout::Vnm { .. })
    }

    /// Of a layout of tensor cores with f16 numbers the one with bf16 numbers; every other is itself.
    #[must_use]
    pub fn with_bf16(self) -> Layout {
        match self {
            Layout::Half { of, .. } if of.on_tensor_cores() => of.layout(),
            other => other,
        }
    }

    /// Whether a kernel reads and writes feature-major activations.
    pub fn feature_major(&self) -> bool {
        match self {
            Layout::Dense { .. } | Layout::Vx1 { .. } | Layout::Bsr { .. } | Layout::Nm { .. } | Layout::Csr => true,
            Layout::I8 { .. } | Layout::I8Nm { .. } | Layout::I8Csr { .. } | Layout::I4Nm { .. } => false,
            Layout::Nm16 { .. } | Layout::Vnm16 { .. } | Layout::Csr16 | Layout::Bitmap => false,
            Layout::Groups { .. } | Layout::Half { .. } => false,
            Layout::Mma24 | Layout::Mma32 { .. } | Layout::Mma1 { .. } | Layout::Vnm { .. } => false,
        }
    }

    /// Whether a kernel reads and writes activations as they are, token by token. Vectors run over the rows of a block, which
    /// must be whole vectors of four.
    pub fn row_major(&self) -> bool {
        match self {
            Layout::I8 { .. } | Layout::I8Nm { .. } | Layout::I8Csr { .. } | Layout::I4Nm { .. } => true,
            Layout::Dense { .. } | Layout::Nm16 { .. } | Layout::Csr16 | Layout::Bitmap => true,
            Layout::Vnm16 { .. } | Layout::Groups { .. } => true,
            Layout::Vx1 { v } => v.is_multiple_of(4),
            Layout::Bsr { r, .. } => r.is_multiple_of(4),
            Layout::Nm { .. } | Layout::Csr => false,
            Layout::Half { of, .. } => of.layout().row_major(),
            Layout::Mma24 | Layout::Mma32 { .. } | Layout::Mma1 { .. } | Layout::Vnm { .. } => false,
        }
    }

    /// The layout of the same matrices whose kernels are made for any number of tokens.
    #[must_use]
    pub fn for_many(self) -> Layout {
        match self {
            Layout::Nm16 { n, m } => Layout::Nm { n, m },
            Layout::Csr16 | Layout::Bitmap | Layout::Vnm16 { .. } => Layout::Csr,
            Layout::Half { of, .. } if !of.on_tensor_cores() => of.layout().for_many(),
            other => other,
        }
    }

    /// Whether the parameters are usable: each in `1..=256`, `n <= m`, `m` of `nm16` and `i8nm` at most 16, `r` of `i8` and `v` of
    /// `vnm16` multiples of 16.
    pub fn check(&self) -> Result<(), Refusal> {
        let ok = |x: u32| (1..=MAX_PARAMETER).contains(&x);
        let fine = match *self {
            Layout::Dense { panel } => ok(panel),
            Layout::Vx1 { v } => ok(v),
            Layout::Bsr { r, c } => ok(r) && ok(c),
            Layout::Nm { n, m } => ok(n) && ok(m) && n <= m,
            Layout::I8 { r } => ok(r) && r.is_multiple_of(16),
            Layout::Nm16 { n, m } | Layout::I8Nm { n, m } => ok(n) && m <= 16 && n <= m,
            Layout::Mma32 { r } => [32, 64, 128].contains(&r),
            Layout::Mma1 { r } => [16, 32, 64, 128].contains(&r),
            Layout::Vnm { v, m } => [32, 64, 128].contains(&v) && (5..=MAX_PARAMETER).contains(&m),
            Layout::Vnm16 { v, m } => ok(v) && v.is_multiple_of(16) && (5..=MAX_PARAMETER).contains(&m),
            Layout::Groups { bits, group, scale, .. } => {
                [4, 8].contains(&bits) && [16, 32, 64].contains(&group) && [16, 32].contains(&scale)
            }
            Layout::Half { of, .. } => return of.layout().check(),
            Layout::I4Nm { n, m, group, scale } => {
                let whole = ok(n) && m <= 16 && n <= m && group.is_multiple_of(m) && (group / m * n).is_multiple_of(4);
                whole && [16, 32, 64].contains(&group) && [16, 32].contains(&scale)
            }
            Layout::I8Csr { c } => [4, 8].contains(&c),
            Layout::Csr | Layout::Csr16 | Layout::Bitmap | Layout::Mma24 => true,
        };
        if fine { Ok(()) } else { Err(Refusal(format!("{self} has a parameter out of range"))) }
    }

    /// The one registry of formats.
    pub(crate) fn with<T>(&self, f: impl FnOnce(&dyn Format) -> T) -> T {
        let size = |x: u32| x as usize;
        match *self {
            Layout::Dense { panel } => f(&Dense { panel: size(panel) }),
            Layout::Vx1 { v } => f(&Vx1 { v: size(v) }),
            Layout::Bsr { r, c } => f(&Bsr { r: size(r), c: size(c) }),
            Layout::Nm { n, m } => f(&Nm { n: size(n), m: size(m) }),
            Layout::I8 { r } => f(&Blocks8 { r: size(r) }),
            Layout::I8Nm { n, m } => f(&Nm8 { n: size(n), m: size(m) }),
            Layout::I4Nm { n, m, group, scale } => {
                f(&Nm4 { n: size(n), m: size(m), group: size(group), half: scale == 16 })
            }
            Layout::I8Csr { c } => f(&Pick8 { codes: size(c) }),
            Layout::Mma24 => f(&Mma24),
            Layout::Mma32 { r } => f(&Mma32 { r: size(r) }),
            Layout::Mma1 { r } => f(&Mma1 { r: size(r) }),
            Layout::Vnm { v, m } => f(&Vnm { v: size(v), m: size(m) }),
            Layout::Vnm16 { v, m } => f(&Vnm16 { v: size(v), m: size(m) }),
            Layout::Csr => f(&Csr),
            Layout::Nm16 { n, m } => f(&Nm16 { n: size(n), m: size(m) }),
            Layout::Csr16 => f(&Csr16),
            Layout::Bitmap => f(&Bitmap),
            Layout::Groups { bits, group, scale, kept } => {
                f(&Groups { bits, group: size(group), half: scale == 16, kept })
            }
            Layout::Half { of, form } => f(&Half { of, form }),
        }
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Layout::Dense { panel } => write!(f, "dense({panel})"),
            Layout::Vx1 { v } => write!(f, "vx1({v})"),
            Layout::Bsr { r, c } => write!(f, "bsr({r},{c})"),
            Layout::Nm { n, m } => write!(f, "nm({n},{m})"),
            Layout::I8 { r } => write!(f, "i8({r})"),
            Layout::I8Nm { n, m } => write!(f, "i8nm({n},{m})"),
            Layout::I4Nm { n, m, group, scale } => write!(f, "i4nm({n},{m},{group},{scale})"),
            Layout::I8Csr { c } => write!(f, "i8csr({c})"),
            Layout::Mma24 => f.write_str("mma24"),
            Layout::Mma32 { r } => write!(f, "mma32({r})"),
            Layout::Mma1 { r } => write!(f, "mma1({r})"),
            Layout::Vnm { v, m } => write!(f, "vnm({v},{m})"),
            Layout::Vnm16 { v, m } => write!(f, "vnm16({v},{m})"),
            Layout::Csr => f.write_str("csr"),
            Layout::Nm16 { n, m } => write!(f, "nm16({n},{m})"),
            Layout::Csr16 => f.write_str("csr16"),
            Layout::Bitmap => f.write_str("bitmap"),
            Layout::Groups { group, scale, .. } => write!(f, "{}({group},{scale})", self.kind()),
            Layout::Half { of: Wide::Mma24, .. } => f.write_str(self.kind()),
            Layout::Half {
                of: Wide::Dense { panel: a } | Wide::Vx1 { v: a } | Wide::Mma32 { r: a } | Wide::Mma1 { r: a },
                ..
            } => write!(f, "{}({a})", self.kind()),
            Layout::Half {
                of: Wide::Bsr { r: a, c: b } | Wide::Nm16 { n: a, m: b } | Wide::Vnm { v: a, m: b },
                ..
            } => write!(f, "{}({a},{b})", self.kind()),
        }
    }
}

impl FromStr for Layout {
    type Err = Refusal;

    fn from_str(text: &str) -> Result<Layout, Refusal> {
        let bad = || Refusal(format!("`{text}` is not a storage layout"));
        let (word, numbers) = match text.split_once('(') {
            None => (text, Vec::new()),
            Some((word, rest)) => {
                let inner = rest.strip_suffix(')').ok_or_else(bad)?;
                let numbers: Result<Vec<u32>, _> = inner.split(',').map(|n| n.trim().parse()).collect();
                (word, numbers.map_err(|_| bad())?)
            }
        };
        if let Some((base, form)) = word.rsplit_once('_') {
            let form = Form::ALL.into_iter().find(|f| f.name() == form).ok_or_else(bad)?;
            let rest = text.strip_prefix(word).ok_or_else(bad)?;
            let of = format!("{base}{rest}").parse().ok().and_then(|l| Wide::of(l, form));
            let of = of.filter(|of| rest.is_empty() == (*of == Wide::Mma24));
            return of.map(|of| Layout::Half { of, form }).ok_or_else(bad);
        }
        let layout = match (word, numbers.as_slice()) {
            ("dense", []) => Layout::DENSE,
            ("dense", [panel]) => Layout::Dense { panel: *panel },
            ("vx1", [v]) => Layout::Vx1 { v: *v },
            ("bsr", [r, c]) => Layout::Bsr { r: *r, c: *c },
            ("nm", [n, m]) => Layout::Nm { n: *n, m: *m },
            ("i8", [r]) => Layout::I8 { r: *r },
            ("i8nm", [n, m]) => Layout::I8Nm { n: *n, m: *m },
            ("i4nm", [n, m, group, scale]) => Layout::I4Nm { n: *n, m: *m, group: *group, scale: *scale },
            ("i8csr", [c]) => Layout::I8Csr { c: *c },
            ("mma32", [r]) => Layout::Mma32 { r: *r },
            ("mma1", [r]) => Layout::Mma1 { r: *r },
            ("vnm16", [v, m]) => Layout::Vnm16 { v: *v, m: *m },
            ("vnm", [v, m]) => Layout::Vnm { v: *v, m: *m },
            ("mma24", []) if !text.contains('(') => Layout::Mma24,
            ("nm16", [n, m]) => Layout::Nm16 { n: *n, m: *m },
            ("q4" | "q8" | "kept4" | "kept8", [group, scale]) => Layout::Groups {
                bits: if word.ends_with('4') { 4 } else { 8 },
                group: *group,
                scale: *scale,
                kept: word.starts_with('k'),
            },
            ("csr", []) if !text.contains('(') => Layout::Csr,
            ("csr16", []) if !text.contains('(') => Layout::Csr16,
            ("bitmap", []) if !text.contains('(') => Layout::Bitmap,
            _ => return Err(bad()),
        };
        layout.check()?;
        Ok(layout)
    }
}
