//! The linear kernel of `csr16` from row-major to row-major, for few tokens: lanes run over the entries of a row.
//!
//! `y[t][o] = act(sum over stored (o, k) of w * x[t][k] + bias[o])` for the rows `lo..hi` and all `n` tokens.
//!
//! Parameters: `values`, `ptr`, `idx`, `x` `[n][K]`, `y` `[n][O]`, `bias` `[O]` if there is one, `n`, `lo`, `hi`.
use super::LinearSpec;
use super::epilogue::{Columns, Epilogue};
use super::tile::{Count, unrolled};
use crate::ir::{Addr, Builder, FBin, Kernel, LoadKind, Op, RedFn, StoreKind, Ty, Val};
use spc_base::Bug;
use spc_formats::Layout;

/// The entries of a row are a multiple of this.
const WIDTH: usize = 16;

pub fn rowlist(spec: &LinearSpec<'_>) -> Result<Kernel, Bug> {
    if spec.layout != Layout::Csr16 {
        return Err(Bug::new(format!("{} has no kernel over entries of rows", spec.layout)));
    }
    spec.check()?;
    let mut b = Builder::new(spec.name("rowlist"), spec.lanes);
    let (values, ptr) = (b.param("values", Ty::CPtr), b.param("ptr", Ty::CPtr));
    let idx = b.param("idx", Ty::CPtr);
    let (x, y) = (b.param("x", Ty::CPtr), b.param("y", Ty::Ptr));
    let (epilogue, columns) = Epilogue::declare(&mut b, spec, y);
    let (n, lo, hi) = (b.param("n", Ty::I64), b.param("lo", Ty::I64), b.param("hi", Ty::I64));
    let rows = b.isub(hi, lo);
    let (x_row, y_row) = (b.int(4 * spec.cols as i64), b.int(4 * spec.rows as i64));
    b.repeat(rows, &[], |b, i, _| {
        let row = b.iadd(lo, i);
        let at = Addr::indexed(ptr, row, 4);
        let (from, to) = (b.load(LoadKind::U32, at), b.load(LoadKind::U32, at.plus(4)));
        let count = b.isub(to, from);
        let count = b.op(Op::Shr(count, WIDTH.trailing_zeros() as u8));
        let (v, k) = (b.scale(from, 4), b.scale(from, 2));
        let (v, k) = (b.ptr_add(values, v), b.ptr_add(idx, k));
        let to = b.scale(row, 4);
        let to = b.ptr_add(y, to);
        b.repeat(n, &[x, to], |b, _, s| {
            let sum = dot(b, v, k, s[0], count);
            let sum = match columns.bias() {
                Some(p) => {
                    let c = b.load(LoadKind::F32, Addr::indexed(p, row, 4));
                    b.fbin(FBin::Add, sum, c)
                }
                None => sum,
            };
            b.store(StoreKind::F32, Addr::new(s[1]), sum);
            vec![b.ptr_add(s[0], x_row), b.ptr_add(s[1], y_row)]
        });
        Vec::new()
    });
    activate(&mut b, &epilogue, columns, y, n, (lo, rows), y_row)?;
    b.finish()
}

/// The sum over `count` times [`WIDTH`] entries.
fn dot(b: &mut Builder, values: Val, idx: Val, x: Val, count: Val) -> Val {
    let lanes = b.lanes();
    let sets = WIDTH / lanes;
    let zero = b.vfloat(0.0);
    let mut state = vec![zero; 2 + sets.min(4)];
    (state[0], state[1]) = (values, idx);
    let state = unrolled(b, Count::Runtime(count), if lanes == WIDTH { 2 } else { 1 }, state, &|b, s| {
        let mut acc = s[2..].to_vec();
        for part in 0..sets {
            let k = b.load(LoadKind::VU16, Addr::at(s[1], (2 * lanes * part) as i32));
            let v = b.gather(Addr::new(x), k);
            let w = b.load(LoadKind::VF32, Addr::at(s[0], (4 * lanes * part) as i32));
            let own = part % acc.len();
            acc[own] = b.fma(v, w, acc[own]);
        }
        let head = [b.ptr_off(s[0], 4 * WIDTH as i32), b.ptr_off(s[1], 2 * WIDTH as i32)];
        head.into_iter().chain(acc).collect()
    });
    let sum = state[3..].iter().fold(state[2], |sum, p| b.fbin(FBin::Add, sum, *p));
    b.reduce(RedFn::Add, sum)
}

/// The activation of what was stored.
pub(super) fn activate(
    b: &mut Builder,
    epilogue: &Epilogue<'_>,
    columns: Columns,
    y: Val,
    n: Val,
    (lo, rows): (Val, Val),
    y_row: Val,
) -> Result<(), Bug> {
    if !epilogue.is_some() {
        return Ok(());
    }
    let lanes = b.lanes();
    let full = b.op(Op::Shr(rows, lanes.trailing_zeros() as u8));
    let done = b.scale(full, lanes as i64);
    let left = b.isub(rows, done);
    let bytes = b.scale(lo, 4);
    let first = b.ptr_add(y, bytes);
    let columns = epilogue.late(columns).skip(b, bytes);
    let mut result = Ok(());
    b.repeat(n, &[first], |b, _, s| {
        let there = epilogue.there(b, s[0]);
        b.repeat(full, &[], |b, j, _| {
            let at = b.scale(j, 4 * lanes as i64);
            let to = Addr::indexed(s[0], at, 1);
            let v = b.load(LoadKind::VF32, to);
            let c = columns.map(|p| b.load(LoadKind::VF32, Addr::indexed(p, at, 1)));
            match epilogue.activated(b, v, c, Addr::indexed(there, at, 1), None) {
                Ok(v) => b.store(StoreKind::VF32, to, v),
                Err(e) => result = Err(e),
            }
            Vec::new()
        });
        let to = Addr::indexed(s[0], done, 4);
        let v = b.load_tail(to, left);
        let c = columns.map(|p| b.load_tail(Addr::indexed(p, done, 4), left));
        match epilogue.activated(b, v, c, Addr::indexed(there, done, 4), Some(left)) {
            Ok(v) => b.store_tail(to, v, left),
            Err(e) => result = Err(e),
        }
        vec![b.ptr_add(s[0], y_row)]
    });
    result
}
