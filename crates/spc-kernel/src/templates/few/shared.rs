//! Sums of `vnm16`: the rows of a panel share four columns of each group, whose activations are gathered once for all of them, and
//! each row picks two of the four.
use super::{Few, ROWS, Strip, Sums};
use crate::ir::{Addr, Builder, IBin, LoadKind, Op, RedFn, Val};
use crate::templates::tile::WIDE;

/// Groups of a window, entries of a group, and columns of a window.
const WINDOW: usize = 4;
const KEPT: usize = 2;
const COLUMNS: usize = 16;

/// Bytes of the columns, and of the positions of sixteen rows, of a window.
const WORDS: i32 = 32;

impl Few<'_> {
    /// Sums over windows of four groups, of which a matrix with inputs in groups of `m` has so many.
    pub(super) fn shared(&self, b: &mut Builder, strip: Strip, sums: Sums, x: Val, x_row: i32, m: usize) -> Vec<Val> {
        let groups = self.spec.cols.div_ceil(m);
        let windows = groups.div_ceil(WINDOW);
        let of = Window { sums, x, x_row, pick_block: WORDS * windows as i32, value_block: (128 * groups) as i32 };
        let zero = b.vfloat(0.0);
        let mut state = vec![zero; 3 + sums.sets * sums.size()];
        (state[0], state[1], state[2]) = (strip.values, strip.idx, strip.count);
        let full = b.int((groups / WINDOW) as i64);
        let state = b.repeat(full, &state, |b, _, s| {
            let mut acc = s[3..].to_vec();
            if b.lanes() >= WIDE {
                self.ahead(b, s[0], 4 * ROWS * KEPT * WINDOW);
            }
            of.add(b, &mut acc, [s[0], s[1], s[2]], WINDOW);
            let bytes = (4 * ROWS * KEPT * WINDOW) as i32;
            let head = [b.ptr_off(s[0], bytes), b.ptr_off(s[1], WORDS), b.ptr_off(s[2], WORDS)];
            head.into_iter().chain(acc).collect()
        });
        let mut acc = state[3..].to_vec();
        if !groups.is_multiple_of(WINDOW) {
            of.add(b, &mut acc, [state[0], state[1], state[2]], groups % WINDOW);
        }
        sums.total(b, &acc)
    }
}

struct Window {
    sums: Sums,
    x: Val,
    x_row: i32,
    /// Bytes from the positions of a block of sixteen rows to those of the next, and from its values to the next one's.
    pick_block: i32,
    value_block: i32,
}

impl Window {
    /// Adds the first `groups` groups of the window at `values`, `columns` and `picks`.
    fn add(&self, b: &mut Builder, acc: &mut [Val], [values, columns, picks]: [Val; 3], groups: usize) {
        let lanes = b.lanes();
        let from = |t: usize| Addr::at(self.x, self.x_row * t as i32);
        let parts = (4 * groups).div_ceil(lanes).min(COLUMNS / lanes);
        // One lane looks its column up; more get those of all by a gather.
        let mut inputs: Vec<Val> = Vec::new();
        for part in 0..if lanes == 1 { 0 } else { parts } {
            let k = b.load(LoadKind::VU16, Addr::at(columns, (2 * lanes * part) as i32));
            inputs.extend((0..self.sums.tokens).map(|t| b.gather(from(t), k)));
        }
        for v in 0..self.sums.vectors {
            let (block, row) = ((v * lanes / ROWS) as i32, v * lanes % ROWS);
            let word = b.load(LoadKind::VU16, Addr::at(picks, self.pick_block * block + 2 * row as i32));
            for slot in 0..groups * KEPT {
                let first = slot / KEPT * 4;
                let place = self.value_block * block + (4 * (ROWS * slot + row)) as i32;
                let position = if slot > 0 { b.op(Op::Shr(word, 2 * slot as u8)) } else { word };
                let position = if lanes == 4 { position } else { self.within(b, position, first % lanes) };
                let w = b.load(LoadKind::VF32, Addr::at(values, place));
                let found = (lanes == 1).then(|| {
                    let position = b.reduce(RedFn::Add, position);
                    b.load(LoadKind::U16, Addr::indexed(columns, position, 2).plus(2 * first as i32))
                });
                for t in 0..self.sums.tokens {
                    let kept = match found {
                        Some(k) => b.load(LoadKind::Splat, Addr { index: Some((k, 4)), ..from(t) }),
                        None => b.permute(inputs[first / lanes * self.sums.tokens + t], position),
                    };
                    let at = self.sums.at(slot, t, v);
                    acc[at] = b.fma(kept, w, acc[at]);
                }
            }
        }
    }

    /// Positions of 2 bits, counted from lane `first` of the vector that has their group.
    fn within(&self, b: &mut Builder, position: Val, first: usize) -> Val {
        let mask = b.vint(3);
        let position = b.ibin(IBin::And, position, mask);
        if first == 0 || b.lanes() == 1 {
            return position;
        }
        let first = b.vint(first as i32);
        b.ibin(IBin::Or, position, first)
    }
}
