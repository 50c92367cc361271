//! Rows of a table by their numbers.
use super::nest::{Sizes, too_large};
use crate::extent::Extent;
use crate::ir::{Addr, Builder, Cmp, IBin, Kernel, LBin, LoadKind, Op, StoreKind, Ty, Val};
use spc_base::Bug;
use spc_ir::DType;

/// A table `[before, rows, after]` and the number of ids; all contiguous.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatherSpec {
    pub name: String,
    pub dtype: DType,
    pub before: Extent,
    pub rows: Extent,
    pub after: Extent,
    pub ids: Extent,
    pub lanes: usize,
}

/// `y[p][i][..] = table[p][ids[i]][..]`, and what `lo..hi` counts.
///
/// An id outside `0..rows` reads nothing: its part of `y` becomes NaN (0 for integers and bools), and the i32 at
/// `status` becomes 1. Parameters: `table`, `ids` (i32), `y`, `status`, the sizes of free axes `s<id>`, `lo`, `hi`.
pub fn gather(spec: &GatherSpec) -> Result<(Kernel, Extent), Bug> {
    let mut b = Builder::new(spec.name.clone(), spec.lanes);
    let (table, ids) = (b.param("table", Ty::CPtr), b.param("ids", Ty::CPtr));
    let (y, status) = (b.param("y", Ty::Ptr), b.param("status", Ty::Ptr));
    let sizes = Sizes::params(&mut b, [&spec.before, &spec.rows, &spec.after, &spec.ids]);
    let (lo, hi) = (b.param("lo", Ty::I64), b.param("hi", Ty::I64));
    let (rows, after) = (sizes.value(&mut b, &spec.rows)?, sizes.value(&mut b, &spec.after)?);
    let id_count = sizes.value(&mut b, &spec.ids)?;
    let size = super::nest::element_bytes(spec.dtype) as i64;
    let row_bytes = b.scale(after, size);
    let zero = b.int(0);
    let count = b.isub(hi, lo);
    b.repeat(count, &[], |b, i, _| {
        let at = b.iadd(lo, i);
        let (part, which) = if spec.before.is_one() {
            (zero, at)
        } else {
            (b.ibin(IBin::Div, at, id_count), b.ibin(IBin::Rem, at, id_count))
        };
        let id = b.load(LoadKind::I32, Addr::indexed(ids, which, 4));
        let (low, high) = (b.icmp(Cmp::Ge, id, zero), b.icmp(Cmp::Lt, id, rows));
        let good = b.logic(LBin::And, low, high);
        let to = b.imul(at, row_bytes);
        let to = b.ptr_add(y, to);
        let first = b.imul(part, rows);
        let row = b.iadd(first, id);
        let from = b.imul(row, row_bytes);
        let from = b.ptr_add(table, from);
        let copied = b.select(good, after, zero);
        let filled = b.isub(after, copied);
        copy(b, spec.dtype, from, to, copied);
        fill(b, spec.dtype, to, filled);
        let bad = b.op(Op::Not(good));
        b.when(bad, |b| {
            let one = b.int(1);
            b.store(StoreKind::I32, Addr::new(status), one);
        });
        Vec::new()
    });
    Ok((b.finish()?, spec.before.times(&spec.ids).ok_or_else(too_large)?))
}

pub(super) fn copy(b: &mut Builder, dtype: DType, from: Val, to: Val, count: Val) {
    if dtype == DType::Bool {
        b.repeat(count, &[], |b, i, _| {
            let v = b.load(LoadKind::U8, Addr::indexed(from, i, 1));
            b.store(StoreKind::U8, Addr::indexed(to, i, 1), v);
            Vec::new()
        });
        return;
    }
    // 32-bit elements are moved as floats, which keeps their bits.
    let lanes = b.lanes();
    let full = b.op(Op::Shr(count, lanes.trailing_zeros() as u8));
    b.repeat(full, &[], |b, i, _| {
        let at = b.scale(i, 4 * lanes as i64);
        let v = b.load(LoadKind::VF32, Addr::indexed(from, at, 1));
        b.store(StoreKind::VF32, Addr::indexed(to, at, 1), v);
        Vec::new()
    });
    let done = b.scale(full, lanes as i64);
    let left = b.isub(count, done);
    b.repeat(left, &[], |b, i, _| {
        let at = b.iadd(done, i);
        let v = b.load(LoadKind::F32, Addr::indexed(from, at, 4));
        b.store(StoreKind::F32, Addr::indexed(to, at, 4), v);
        Vec::new()
    });
}

fn fill(b: &mut Builder, dtype: DType, to: Val, count: Val) {
    b.repeat(count, &[], |b, i, _| {
        match dtype {
            DType::F32 => {
                let v = b.float(f32::NAN);
                b.store(StoreKind::F32, Addr::indexed(to, i, 4), v);
            }
            DType::I32 => {
                let v = b.int(0);
                b.store(StoreKind::I32, Addr::indexed(to, i, 4), v);
            }
            DType::Bool => {
                let v = b.int(0);
                b.store(StoreKind::U8, Addr::indexed(to, i, 1), v);
            }
        }
        Vec::new()
    });
}
