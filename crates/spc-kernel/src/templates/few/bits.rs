//! Sums of `bitmap`: for each column sixteen bits say which rows have a weight, and the weights stand packed.
//!
//! The pointer into the values moves by the number of bits, which does not wait for anything but the masks: they are known far
//! ahead of the values.
use super::{Few, ROWS, Strip, Sums};
use crate::ir::{Addr, Builder, IBin, LoadKind, Op, Val};
use crate::templates::tile::WIDE;

/// Columns of a round of wide code.
const ROUND: usize = 8;

impl Few<'_> {
    /// Sums over all columns, of which each row of the block has its own.
    pub(super) fn bits(&self, b: &mut Builder, strip: Strip, sums: Sums, x: Val, x_row: i32) -> Vec<Val> {
        let lanes = b.lanes();
        let by = if lanes >= WIDE { (ROUND / sums.vectors).max(sums.sets) } else { 1 };
        // Column `u` behind the masks and activations; the result is where the next column's values begin.
        let column = |b: &mut Builder, acc: &mut [Val], u: usize, [mut values, masks, x]: [Val; 3]| {
            // Eight lanes have a byte of their own each.
            let kind = if lanes == 8 { LoadKind::U8 } else { LoadKind::U16 };
            let mut bits = b.load(kind, Addr::at(masks, 2 * u as i32));
            let mut weights = Vec::with_capacity(sums.vectors);
            for v in 0..sums.vectors {
                let mut own = bits;
                if lanes == 8 && v > 0 {
                    bits = b.load(kind, Addr::at(masks, 2 * u as i32 + 1));
                    own = bits;
                } else if v > 0 {
                    own = b.op(Op::Shr(own, (lanes * v) as u8));
                }
                if lanes < 8 && lanes * (v + 1) < ROWS {
                    let mask = b.int((1 << lanes) - 1);
                    own = b.ibin(IBin::And, own, mask);
                }
                let packed = b.load(LoadKind::VF32, Addr::new(values));
                weights.push(b.expand(packed, own));
                let kept = b.op(Op::Ones(own));
                let bytes = b.scale(kept, 4);
                values = b.ptr_add(values, bytes);
            }
            for t in 0..sums.tokens {
                let input = b.load(LoadKind::Splat, Addr::at(x, x_row * t as i32 + 4 * u as i32));
                for (v, w) in weights.iter().enumerate() {
                    let place = sums.at(u, t, v);
                    acc[place] = b.fma(*w, input, acc[place]);
                }
            }
            values
        };
        let round = |b: &mut Builder, state: &[Val], columns: usize| {
            let mut acc = state[3..].to_vec();
            if columns > 1 {
                // Half of the weights are what this layout is for.
                self.ahead(b, state[0], 2 * ROWS * columns);
                self.ahead(b, state[1], 2 * columns);
            }
            let mut values = state[0];
            for u in 0..columns {
                values = column(b, &mut acc, u, [values, state[1], state[2]]);
            }
            let head = [values, b.ptr_off(state[1], 2 * columns as i32), b.ptr_off(state[2], 4 * columns as i32)];
            head.into_iter().chain(acc).collect::<Vec<Val>>()
        };
        let zero = b.vfloat(0.0);
        let mut state = vec![zero; 3 + sums.sets * sums.size()];
        (state[0], state[1], state[2]) = (strip.values, strip.idx, x);
        let (rounds, rest) = (self.spec.cols / by, self.spec.cols % by);
        for (count, columns) in [(rounds, by), (rest, 1)] {
            if count > 0 {
                let count = b.int(count as i64);
                state = b.repeat(count, &state, |b, _, s| round(b, s, columns));
            }
        }
        sums.total(b, &state[3..])
    }
}
