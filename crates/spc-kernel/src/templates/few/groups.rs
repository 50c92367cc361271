//! Sums of `nm16`: groups of inputs of which each row of a block keeps its own.
use super::{Few, ROWS, Strip, Sums};
use crate::ir::{Addr, Builder, IBin, LoadKind, Op, Val};
use crate::templates::tile::WIDE;
use spc_formats::Fields;

impl Few<'_> {
    /// Sums over groups of which each row keeps its own `n` of `m` inputs.
    pub(super) fn groups(
        &self,
        b: &mut Builder,
        strip: Strip,
        sums: Sums,
        x: Val,
        x_row: i32,
        (n, m): (usize, usize),
    ) -> Vec<Val> {
        let (cols, lanes) = (self.spec.cols, b.lanes());
        let (fields, groups) = (Fields::of(n, m), cols.div_ceil(m));
        let pick = Pick::of(fields, m, lanes);
        // Groups whose activations can be read without looking where the inputs end.
        let safe = match pick.reads(lanes) {
            0 => groups,
            reads if cols >= reads => ((cols - reads) / m + 1).min(groups),
            _ => 0,
        };
        let units = safe / fields.groups;
        let (kind, size) = self.spec.values();
        let unit = Unit { fields, pick, n, m, kind, size };
        let zero = b.vfloat(0.0);
        let mut state = vec![zero; 3 + sums.sets * sums.size()];
        (state[0], state[1], state[2]) = (strip.values, strip.idx, x);
        let slots = fields.groups * n;
        let (v_bytes, i_bytes, x_bytes) = (size * ROWS * slots, 4 * ROWS * fields.words, 4 * m * fields.groups);
        let count = b.int(units as i64);
        let state = b.repeat(count, &state, |b, _, s| {
            let mut acc = s[3..].to_vec();
            if strip.vectors * lanes == ROWS || lanes == WIDE {
                self.ahead(b, s[0], v_bytes);
                self.ahead(b, s[1], i_bytes);
            }
            unit.sums(b, sums, &mut acc, [s[0], s[1], s[2]], x_row, &vec![None; fields.groups]);
            let head = [(0, v_bytes), (1, i_bytes), (2, x_bytes)].map(|(i, n)| b.ptr_off(s[i], n as i32));
            head.into_iter().chain(acc).collect()
        });
        let (mut at, mut acc) = ([state[0], state[1], state[2]], state[3..].to_vec());
        let mut g = units * fields.groups;
        while g < groups {
            let here: Vec<Option<usize>> =
                (g..(g + fields.groups).min(groups)).map(|g| (g >= safe).then(|| (cols - g * m).min(m))).collect();
            unit.sums(b, sums, &mut acc, at, x_row, &here);
            at = [b.ptr_off(at[0], v_bytes as i32), b.ptr_off(at[1], i_bytes as i32), b.ptr_off(at[2], x_bytes as i32)];
            g += fields.groups;
        }
        sums.total(b, &acc)
    }
}

/// How the inputs that the rows keep of a group come into the lanes of their rows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pick {
    /// Four inputs, repeated over the lanes, permuted.
    Quad,
    /// As many inputs as there are lanes, permuted.
    Vector,
    /// Read one by one.
    Gather,
}

impl Pick {
    fn of(fields: Fields, m: usize, lanes: usize) -> Pick {
        match lanes {
            4.. if fields.bits == 2 => Pick::Quad,
            8 | 16 if m <= lanes => Pick::Vector,
            _ => Pick::Gather,
        }
    }

    /// Inputs read from the start of a group, or 0 for only those that are kept.
    fn reads(self, lanes: usize) -> usize {
        match self {
            Pick::Quad => 4,
            Pick::Vector => lanes,
            Pick::Gather => 0,
        }
    }
}

/// The groups that share words of positions.
struct Unit {
    fields: Fields,
    pick: Pick,
    n: usize,
    m: usize,
    /// How values are read, and their bytes.
    kind: LoadKind,
    size: usize,
}

impl Unit {
    /// Adds the groups `here` at values, indices and activations `at`: whole ones, or those of which so many inputs are
    /// left to read.
    fn sums(&self, b: &mut Builder, sums: Sums, acc: &mut [Val], at: [Val; 3], x_row: i32, here: &[Option<usize>]) {
        let lane_bytes = 4 * b.lanes() as i32;
        let row_bytes = 4 * ROWS as i32;
        let [values, idx, x] = at;
        let per_word = self.fields.per_word();
        let mask = (self.pick != Pick::Vector).then(|| b.vint((1 << self.fields.bits) - 1));
        let mut words: Vec<Val> = Vec::new();
        for (j, left) in here.iter().enumerate() {
            let from = |t: usize| Addr::at(x, 4 * (self.m * j) as i32 + x_row * t as i32);
            let inputs: Vec<Option<Val>> = (0..sums.tokens)
                .map(|t| match (self.pick, left) {
                    (Pick::Gather, _) => None,
                    (_, Some(left)) => {
                        let left = b.int(*left as i64);
                        Some(b.load_tail(from(t), left))
                    }
                    (Pick::Quad, None) => Some(b.load(LoadKind::Quad, from(t))),
                    (Pick::Vector, None) => Some(b.load(LoadKind::VF32, from(t))),
                })
                .collect();
            for e in 0..self.n {
                let slot = j * self.n + e;
                if slot.is_multiple_of(per_word) {
                    let word = |v: usize| Addr::at(idx, row_bytes * (slot / per_word) as i32 + lane_bytes * v as i32);
                    words = (0..sums.vectors).map(|v| b.load(LoadKind::VI32, word(v))).collect();
                }
                for (v, word) in words.iter().enumerate() {
                    let shift = (slot % per_word) as u32 * self.fields.bits;
                    let mut position = if shift > 0 { b.op(Op::Shr(*word, shift as u8)) } else { *word };
                    // A permutation takes numbers modulo the lanes, in which four inputs repeat.
                    let exact = self.pick == Pick::Gather || (self.pick == Pick::Quad && left.is_some());
                    if let (Some(mask), true) = (mask, exact) {
                        position = b.ibin(IBin::And, position, mask);
                    }
                    let place = self.size * (ROWS * slot + b.lanes() * v);
                    let w = b.load(self.kind, Addr::at(values, place as i32));
                    for (t, inputs) in inputs.iter().enumerate() {
                        let kept = match inputs {
                            Some(inputs) => b.permute(*inputs, position),
                            None => b.gather(from(t), position),
                        };
                        let place = sums.at(slot, t, v);
                        acc[place] = b.fma(kept, w, acc[place]);
                    }
                }
            }
        }
    }
}
