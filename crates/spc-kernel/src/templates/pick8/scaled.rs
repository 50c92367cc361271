//! Sums of `i4nm`: codes of 4 bits with a scale for each group of inputs.
//!
//! A code is taken from its half of a byte as sixteen times itself. The integers come with 128 added to each, which a second
//! sum, of 128 times the codes, takes off again; both are exact.
use super::{Picked, ROWS, STEP, Strip, Tile};
use crate::ir::{Addr, Builder, LoadKind, Op, Val};
use spc_formats::Steps;

/// The scales of groups of inputs.
#[derive(Clone, Copy)]
pub(super) struct Scales {
    /// Inputs of a group.
    pub group: usize,
    pub half: bool,
}

impl Picked<'_> {
    /// Sums as floats, times the scales of the weights.
    pub(super) fn scaled(
        &self,
        b: &mut Builder,
        block: Val,
        tile: Tile,
        strip: Strip,
        (steps, scales): (Steps, Scales),
    ) -> Vec<Val> {
        let groups = self.spec.cols.div_ceil(scales.group);
        let of_group = scales.group / steps.m * steps.n / 4;
        let (count, word) = (groups * of_group, steps.per_word());
        let size = if scales.half { 2 } else { 4 };
        let place = |b: &mut Builder, p: Val, vectors: usize, bytes: usize, of_row: i64| {
            let skip = b.scale(block, (vectors * bytes) as i64);
            let p = b.ptr_add(p, skip);
            strip.of(b, p, of_row)
        };
        let idx = place(b, self.idx, count.div_ceil(word), STEP, 4);
        let codes = place(b, self.codes, count.div_ceil(2), STEP, 4);
        let scale = place(b, self.scale, groups, ROWS * size, size as i64);
        // A round has whole words and whole pairs of steps.
        let round = (1..).find(|g| (g * of_group).is_multiple_of(word.max(2))).unwrap_or(1);
        let zero = b.vfloat(0.0);
        let acc = vec![zero; tile.tokens];
        let state: Vec<Val> = [idx, codes, scale, tile.q].into_iter().chain(acc).collect();
        let rounds = b.int((groups / round) as i64);
        let state = b.repeat(rounds, &state, |b, _, s| {
            for line in (0..round * of_group).step_by(2) {
                self.ahead(b, s[1], (STEP * line / 2) as i32, strip);
                if line.is_multiple_of(word) {
                    self.ahead(b, s[0], (STEP * line / word) as i32, strip);
                }
            }
            self.ahead(b, s[2], 0, strip);
            let acc = self.groups(b, [s[0], s[1], s[2], s[3]], &s[4..], (steps, scales), round);
            let moved = [
                STEP * round * of_group / word,
                STEP * round * of_group / 2,
                ROWS * size * round,
                scales.group * round,
            ];
            let head: Vec<Val> = moved.iter().zip(s).map(|(n, p)| b.ptr_off(*p, *n as i32)).collect();
            head.into_iter().chain(acc).collect()
        });
        self.groups(b, [state[0], state[1], state[2], state[3]], &state[4..], (steps, scales), groups % round)
    }

    /// `count` groups behind positions, codes, scales and integers `at`.
    fn groups(
        &self,
        b: &mut Builder,
        at: [Val; 4],
        acc: &[Val],
        (steps, scales): (Steps, Scales),
        count: usize,
    ) -> Vec<Val> {
        let [idx, codes, scale, q] = at;
        let of_group = scales.group / steps.m * steps.n / 4;
        let mut acc = acc.to_vec();
        let (mut word, mut pair) = (None, None);
        for g in 0..count {
            let none = b.vint(0);
            let (mut sums, mut added) = (vec![none; acc.len()], none);
            for step in g * of_group..(g + 1) * of_group {
                let positions = match word {
                    Some(w) if step % steps.per_word() > 0 => w,
                    _ => b.load(LoadKind::VI32, Addr::at(idx, (STEP * (step / steps.per_word())) as i32)),
                };
                word = Some(positions);
                let both = match pair {
                    Some(p) if step % 2 > 0 => p,
                    _ => b.load(LoadKind::VI32, Addr::at(codes, (STEP * (step / 2)) as i32)),
                };
                pair = Some(both);
                let high = if step % 2 == 0 { b.op(Op::Shl(both, 4)) } else { both };
                let mask = b.vint(0xf0f0_f0f0u32 as i32);
                let w = b.ibin(crate::ir::IBin::And, high, mask);
                let numbers = self.numbers(b, steps, step, positions);
                for (t, sum) in sums.iter_mut().enumerate() {
                    let x = self.picked(b, q, &numbers, t);
                    *sum = b.dot4(*sum, x, w);
                }
                let offset = b.vint(0x8080_8080u32 as i32);
                added = b.dot4(added, offset, w);
            }
            let (kind, size) = if scales.half { (LoadKind::VF16, 2) } else { (LoadKind::VF32, 4) };
            let s = b.load(kind, Addr::at(scale, (ROWS * size * g) as i32));
            for (sum, acc) in sums.iter().zip(&mut acc) {
                let d = b.isub(*sum, added);
                let d = b.op(Op::Shr(d, 4));
                let d = b.op(Op::IToF(d));
                *acc = b.fma(d, s, *acc);
            }
        }
        acc
    }
}
