//! What happens to a sum before it is stored: `act(sum + bias, ..)`, where the other arguments are a value of the result's shape,
//! numbers for each output, or one number.
use super::LinearSpec;
use super::expr::{Emitter, calls};
use crate::ir::{Addr, Builder, FBin, LoadKind, StoreKind, Ty, Val};
use spc_base::Bug;
use spc_ir::{Beside, DType, ScalarExpr};

/// The bias and the channels of an epilogue.
const COLUMNS: usize = 1 + Beside::Channel.most();

/// Names of the parameters of the operands beside a sum, in order.
const NAMES: [&str; 4] = ["e1", "e2", "e3", "e4"];

/// The parameter that is operand number `i` beside a sum.
pub fn beside_name(i: usize) -> Option<&'static str> {
    NAMES.get(i).copied()
}

/// Vectors along the outputs: the bias, then what an epilogue reads for each output. Pointers to the numbers of one output and
/// those after it, or numbers that were loaded.
#[derive(Clone, Copy, Default)]
pub(super) struct Columns([Option<Val>; COLUMNS]);

impl Columns {
    pub fn map(self, mut f: impl FnMut(Val) -> Val) -> Columns {
        Columns(self.0.map(|c| c.map(&mut f)))
    }

    /// The pointers `bytes` further.
    pub fn skip(self, b: &mut Builder, bytes: Val) -> Columns {
        self.map(|p| b.ptr_add(p, bytes))
    }

    pub fn off(self, b: &mut Builder, bytes: i32) -> Columns {
        self.map(|p| b.ptr_off(p, bytes))
    }

    /// A vector of each, `at` bytes behind the pointers; of `n` lanes, where they are not all there.
    pub fn load(self, b: &mut Builder, at: i32, n: Option<Val>) -> Columns {
        self.map(|p| vector(b, Addr::at(p, at), n))
    }

    /// The same number in every lane.
    pub fn splat(self, b: &mut Builder, at: i32) -> Columns {
        self.map(|p| b.load(LoadKind::Splat, Addr::at(p, at)))
    }

    pub fn bias(self) -> Option<Val> {
        self.0[0]
    }

    fn only_bias(self) -> Columns {
        let mut out = Columns::default();
        out.0[0] = self.0[0];
        out
    }

    fn without_bias(mut self) -> Columns {
        self.0[0] = None;
        self
    }
}

/// A vector of floats, or the first `n`.
fn vector(b: &mut Builder, at: Addr, n: Option<Val>) -> Val {
    match n {
        Some(n) => b.load_tail(at, n),
        None => b.load(LoadKind::VF32, at),
    }
}

pub(super) fn put(b: &mut Builder, at: Addr, v: Val, n: Option<Val>) {
    match n {
        Some(n) => b.store_tail(at, v, n),
        None => b.store(StoreKind::VF32, at, v),
    }
}

/// Whether lanes run over outputs, so that columns are vectors, or over tokens.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Lanes {
    Outputs,
    Tokens,
}

/// A part of the results that is stored already: `rows` rows of `vectors` vectors from `base` on, `stride` bytes apart, the last
/// vector of `tail` floats where it is not full.
#[derive(Clone, Copy)]
pub(super) struct Stored {
    pub base: Val,
    pub stride: Val,
    pub rows: usize,
    pub vectors: usize,
    pub tail: Option<usize>,
}

/// What follows a sum, in a kernel that is being built.
#[derive(Clone, Copy)]
pub(super) struct Epilogue<'a> {
    act: Option<&'a ScalarExpr>,
    beside: &'a [Beside],
    /// Where the results begin, and the operand of their shape.
    y: Val,
    residual: Option<Val>,
    scalar: Option<Val>,
}

impl<'a> Epilogue<'a> {
    /// Declares the bias and what the epilogue reads; `y` points to all results.
    pub fn declare(b: &mut Builder, spec: &LinearSpec<'a>, y: Val) -> (Epilogue<'a>, Columns) {
        let mut columns = Columns::default();
        columns.0[0] = spec.bias.then(|| b.param("bias", Ty::CPtr));
        let mut out = Epilogue { act: spec.act, beside: spec.beside, y, residual: None, scalar: None };
        let mut channel = 1;
        for (kind, name) in spec.beside.iter().zip(NAMES) {
            let p = b.param(name, Ty::CPtr);
            match kind {
                Beside::Residual => out.residual = Some(p),
                Beside::Scalar => out.scalar = Some(p),
                Beside::Channel => {
                    columns.0[channel.min(COLUMNS - 1)] = Some(p);
                    channel += 1;
                }
            }
        }
        (out, columns)
    }

    pub fn is_some(&self) -> bool {
        self.act.is_some()
    }

    /// True if the activation is applied by [`Epilogue::pass`] to what is stored already.
    pub fn deferred(&self) -> bool {
        self.act.is_some_and(calls)
    }

    /// The columns that [`Epilogue::value`] reads.
    pub fn early(&self, columns: Columns) -> Columns {
        if self.deferred() { columns.only_bias() } else { columns }
    }

    /// The columns that are read by what runs over stored results.
    pub fn late(&self, columns: Columns) -> Columns {
        columns.without_bias()
    }

    /// The operand of the results' shape where the result at `y` is; whatever, where there is none.
    pub fn there(&self, b: &mut Builder, y: Val) -> Val {
        let Some(r) = self.residual else { return y };
        let far = b.ptr_diff(y, self.y);
        b.ptr_add(r, far)
    }

    /// The value to store for a sum. `columns` are loaded, `there` is the address of the result behind [`Epilogue::there`].
    pub fn value(&self, b: &mut Builder, sum: Val, columns: Columns, there: Addr, n: Option<Val>) -> Result<Val, Bug> {
        let v = match columns.bias() {
            Some(c) => b.fbin(FBin::Add, sum, c),
            None => sum,
        };
        if self.deferred() { Ok(v) } else { self.activated(b, v, columns, there, n) }
    }

    /// The activation of a vector, whatever it is.
    pub fn activated(
        &self,
        b: &mut Builder,
        v: Val,
        columns: Columns,
        there: Addr,
        n: Option<Val>,
    ) -> Result<Val, Bug> {
        let Some(e) = self.act else { return Ok(v) };
        let missing = || Bug::new("an operand of an epilogue is missing");
        let (mut args, mut channels) = (vec![v], columns.0.into_iter().skip(1));
        for kind in self.beside {
            args.push(match kind {
                Beside::Residual => vector(b, there, n),
                Beside::Channel => channels.next().flatten().ok_or_else(missing)?,
                Beside::Scalar => b.load(LoadKind::Splat, Addr::new(self.scalar.ok_or_else(missing)?)),
            });
        }
        let types = vec![DType::F32; args.len()];
        Emitter { args: &args, types: &types, vector: true }.emit(b, e, DType::F32)
    }

    /// Applies an activation that calls functions to what is stored. `columns` point to what belongs to the first output.
    pub fn pass(&self, b: &mut Builder, stored: Stored, columns: Columns, lanes: Lanes) -> Result<(), Bug> {
        if self.deferred() { self.apply(b, stored, columns, lanes) } else { Ok(()) }
    }

    /// As [`Epilogue::pass`], whatever the activation is.
    pub fn apply(&self, b: &mut Builder, stored: Stored, columns: Columns, lanes: Lanes) -> Result<(), Bug> {
        if self.act.is_none() {
            return Ok(());
        }
        let Stored { base, stride, rows, vectors, tail } = stored;
        let (bytes, columns) = (4 * b.lanes() as i64, self.late(columns));
        let (rows, full) = (b.int(rows as i64), b.int((vectors - usize::from(tail.is_some())) as i64));
        let mut failed = Ok(());
        b.repeat(rows, &[base], |b, i, s| {
            let (row, there) = (s[0], self.there(b, s[0]));
            let of_row = match lanes {
                Lanes::Tokens => columns.map(|p| b.load(LoadKind::Splat, Addr::indexed(p, i, 4))),
                Lanes::Outputs => columns,
            };
            let mut one = |b: &mut Builder, j: Val, n: Option<Val>| {
                let at = b.scale(j, bytes);
                let addr = Addr::indexed(row, at, 1);
                let columns = match lanes {
                    Lanes::Tokens => of_row,
                    Lanes::Outputs => columns.map(|p| vector(b, Addr::indexed(p, at, 1), n)),
                };
                let v = vector(b, addr, n);
                match self.activated(b, v, columns, Addr::indexed(there, at, 1), n) {
                    Ok(v) => put(b, addr, v, n),
                    Err(e) => failed = Err(e),
                }
            };
            b.repeat(full, &[], |b, j, _| {
                one(b, j, None);
                Vec::new()
            });
            if let Some(n) = tail {
                let n = b.int(n as i64);
                one(b, full, Some(n));
            }
            vec![b.ptr_add(row, stride)]
        });
        failed
    }
}
