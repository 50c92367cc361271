//! A weight as the sum of two with disjoint supports: what fills a structure well, and what is left over. Each product is a
//! linear of its own and their sum goes where the product went, so only the order of sums changes (class R).
use super::{Fold, Made, Recipe, Restructure};
use crate::{BinFn, Dim, Graph, NodeId, Op, Patch, PatchRef, ScalarExpr};
use serde::{Deserialize, Serialize};
use spc_base::Bug;
use std::fmt;

/// The rule's name in plans, with its exactness class.
pub const SPLIT: &str = "split-residual R";

/// Most operands and most expression nodes of a pointwise node that takes the sum in.
const MAX_OPERANDS: usize = 8;
const MAX_SIZE: usize = 64;

/// Which elements of a matrix are the structured part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Fit {
    /// All of a tile of `rows` x `cols` that has at least `least` present elements; tiles begin at multiples of their size,
    /// the last ones may be cut.
    Tiles { rows: u32, cols: u32, least: u32 },
    /// The `n` largest of every `m` neighbours in a row; of equals, the first.
    OutOf { n: u32, m: u32 },
}

impl fmt::Display for Fit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fit::Tiles { rows, cols, least } => write!(f, "tiles {rows}x{cols} from {least}"),
            Fit::OutOf { n, m } => write!(f, "{n} of {m}"),
        }
    }
}

/// How much of some rows a fit takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// Present elements of the structured part, and of the rest.
    pub kept: u64,
    pub rest: u64,
    /// Elements that a layout of this structure stores for the structured part.
    pub stored: u64,
}

impl Fit {
    /// Whether the numbers are ones that a plan may have.
    pub fn check(&self) -> Result<(), String> {
        let fine = match self {
            Fit::Tiles { rows, cols, least } => {
                let sides = (1..=256).contains(rows) && (1..=256).contains(cols);
                sides && *least >= 1 && *least <= rows * cols && rows * cols > 1
            }
            Fit::OutOf { n, m } => *n >= 1 && n < m && *m <= 64,
        };
        if fine { Ok(()) } else { Err(format!("{self} is no structure of a weight")) }
    }

    /// Calls `put` with the place of every present element and whether it is of the structured part. `values` are whole rows.
    fn each(&self, cols: usize, values: &[f32], put: &mut dyn FnMut(usize, bool)) -> u64 {
        if cols == 0 {
            return 0;
        }
        let rows = values.len() / cols;
        let mut stored = 0u64;
        match *self {
            Fit::Tiles { rows: r, cols: c, least } => {
                let (r, c) = (r.max(1) as usize, c.max(1) as usize);
                for top in (0..rows).step_by(r) {
                    let bottom = top.saturating_add(r).min(rows);
                    let mut counts = vec![0u32; cols.div_ceil(c)];
                    let block = &values[top * cols..bottom * cols];
                    for row in block.chunks_exact(cols) {
                        for (j, w) in row.iter().enumerate() {
                            counts[j / c] += u32::from(*w != 0.0);
                        }
                    }
                    stored += counts.iter().filter(|n| **n >= least).count() as u64 * (r * c) as u64;
                    for (i, w) in block.iter().enumerate() {
                        if *w != 0.0 {
                            put(top * cols + i, counts[i % cols / c] >= least);
                        }
                    }
                }
            }
            Fit::OutOf { n, m } => {
                let (n, m) = (n as usize, m.max(1) as usize);
                let mut order: Vec<usize> = Vec::with_capacity(m);
                for (y, row) in values.chunks_exact(cols).enumerate() {
                    for (g, group) in row.chunks(m).enumerate() {
                        let at = y * cols + g * m;
                        order.clear();
                        order.extend((0..group.len()).filter(|i| group[*i] != 0.0));
                        if order.len() > n {
                            order.sort_by(|a, b| group[*b].abs().total_cmp(&group[*a].abs()).then(a.cmp(b)));
                        }
                        order.iter().enumerate().for_each(|(place, i)| put(at + i, place < n));
                        stored += n as u64;
                    }
                }
            }
        }
        stored
    }

    /// What it takes of whole rows.
    pub fn share(&self, cols: usize, values: &[f32]) -> Share {
        let mut s = Share::default();
        let stored = self.each(cols, values, &mut |_, kept| if kept { s.kept += 1 } else { s.rest += 1 });
        Share { stored, ..s }
    }

    /// One of the two parts of a matrix, with zeros where the other one has values.
    pub fn part(&self, cols: usize, values: &[f32], structured: bool) -> Vec<f32> {
        let mut out = vec![0.0; values.len()];
        self.each(cols, values, &mut |i, kept| {
            if kept == structured {
                out[i] = values[i];
            }
        });
        out
    }
}

/// Name of one part of a weight.
pub fn split_name(weight: &str, fit: &Fit, structured: bool) -> String {
    if structured { format!("{weight}{{{fit}}}") } else { format!("{weight}{{beyond {fit}}}") }
}

/// Whether a made weight is the rest of a split: its elements are counted with the structured part.
pub fn is_rest(name: &str) -> bool {
    name.ends_with('}') && name.contains("{beyond ")
}

/// A linear that may become the sum of two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    pub linear: NodeId,
    pub weight: String,
    pub fit: Fit,
}

/// The weight of a linear that could be split, or why it cannot.
pub fn splittable(g: &Graph, linear: NodeId) -> Result<Result<String, String>, Bug> {
    let operands = g.inputs(linear);
    let (Op::Linear { .. }, [x, w, ..]) = (&g.node(linear)?.op, operands.as_slice()) else {
        return Err(Bug::new("only linears are split"));
    };
    let Op::Weight { name, ty } = &g.node(*w)?.op else { return Err(Bug::new("a linear reads no weight")) };
    Ok(if ty.rank() != 2 {
        Err("it has more than rows and columns".into())
    } else if g.readers(*w) != [linear] || g.is_output(*w) {
        Err("it is read more than once".into())
    } else if g.rounded(*x)?.is_some() {
        Err("its products are sums of integers, which are scaled once".into())
    } else {
        Ok(name.clone())
    })
}

impl Split {
    /// The steps that it is: the two parts.
    pub fn steps(&self, rows: u64, because: [String; 2]) -> Vec<Restructure> {
        let one = |(structured, because): (bool, String)| Restructure {
            rule: SPLIT.into(),
            from: vec![self.weight.clone()],
            rows: vec![rows],
            made: Some(split_name(&self.weight, &self.fit, structured)),
            how: Some(Recipe::Split { fit: self.fit, structured }),
            because,
        };
        [true, false].into_iter().zip(because).map(one).collect()
    }

    /// The two beside the one.
    pub fn fold(&self, g: &Graph) -> Result<Fold, Bug> {
        let made = [true, false].map(|structured| Made {
            name: split_name(&self.weight, &self.fit, structured),
            from: vec![self.weight.clone()],
            how: Recipe::Split { fit: self.fit, structured },
        });
        Ok(Fold::of(SPLIT, vec![self.weight.clone()], made.into(), self.patch(g)?))
    }

    /// Two linears and their sum, in what alone reads the product where that is pointwise, else in a node of its own.
    pub fn patch(&self, g: &Graph) -> Result<Patch, Bug> {
        let odd = || Bug::new("what is split is no longer what it was");
        let mut p = Patch::new("split-residual");
        let operands = g.inputs(self.linear);
        let (Op::Linear { act, .. }, [x, w, rest @ ..]) = (&g.node(self.linear)?.op, operands.as_slice()) else {
            return Err(odd());
        };
        let weight = |structured| Op::Weight {
            name: split_name(&self.weight, &self.fit, structured),
            ty: g.ty(*w).cloned().unwrap_or_else(|_| crate::Type::new(crate::DType::F32, Vec::<Dim>::new())),
        };
        let kept = p.add(g, weight(true), &[])?;
        let mut inputs = vec![PatchRef::Old(*x), kept];
        inputs.extend(rest.iter().map(|b| PatchRef::Old(*b)));
        let a = p.add(g, Op::Linear { bias: !rest.is_empty(), act: None }, &inputs)?;
        let left = p.add(g, weight(false), &[])?;
        let b = p.add(g, Op::Linear { bias: false, act: None }, &[PatchRef::Old(*x), left])?;
        let rank = g.ty(self.linear)?.rank() as u32;
        let whole: Vec<u32> = (0..rank).collect();
        let sum = |a: u8, b: u8| ScalarExpr::bin(BinFn::Add, ScalarExpr::Arg(a), ScalarExpr::Arg(b));
        if act.is_none()
            && let [reader] = g.readers(self.linear).as_slice()
            && !g.is_output(self.linear)
            && let Op::Map { expr, at } = &g.node(*reader)?.op
        {
            let list = g.inputs(*reader);
            let mine: Vec<usize> = (0..list.len()).filter(|i| list[*i] == self.linear).collect();
            if let [i] = mine.as_slice()
                && at.get(*i) == Some(&whole)
                && list.len() < MAX_OPERANDS
                && !expr.has_integers()
                && expr.size() + 2 * expr.uses(*i as u8) <= MAX_SIZE
            {
                let (i, new) = (*i as u8, list.len() as u8);
                let expr = expr.substitute(&|k| if k == i { sum(i, new) } else { ScalarExpr::Arg(k) });
                let mut refs: Vec<PatchRef> = list.into_iter().map(PatchRef::Old).collect();
                *refs.get_mut(usize::from(i)).ok_or_else(odd)? = a;
                refs.push(b);
                let at = at.iter().cloned().chain([whole]).collect();
                let y = p.add(g, Op::Map { expr, at }, &refs)?;
                p.replace(g, *reader, y)?;
                return Ok(p);
            }
        }
        let expr = act.as_ref().map_or_else(|| sum(0, 1), |e| e.substitute(&|_| sum(0, 1)));
        let y = p.add(g, Op::Map { expr, at: vec![whole.clone(), whole] }, &[a, b])?;
        p.replace(g, self.linear, y)?;
        Ok(p)
    }
}

/// The graph with linears split, one after the other. Constraints speak of the weights as they were, so the result has none.
pub fn split(g: &Graph, list: &[Split]) -> Result<Graph, Bug> {
    let mut out = g.clone();
    for s in list {
        s.patch(&out)?.apply(&mut out)?;
    }
    out.requires.clear();
    let out = out.compact()?;
    out.verify().map_err(|b| Bug::new(format!("after split-residual: {}", b.0)))?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_disjoint_and_sum_to_the_whole() {
        // 5 rows of 6: tiles of 2 x 2 are cut at the bottom; ties, NaN and infinity among the values.
        let mut w = vec![0.0f32; 30];
        for (i, v) in [(0, 1.0), (1, -1.0), (6, 2.0), (4, 3.0), (13, f32::NAN), (24, 5.0), (25, f32::INFINITY)] {
            w[i] = v;
        }
        for fit in [
            Fit::Tiles { rows: 2, cols: 2, least: 2 },
            Fit::Tiles { rows: 16, cols: 1, least: 2 },
            Fit::OutOf { n: 1, m: 4 },
        ] {
            let (a, b) = (fit.part(6, &w, true), fit.part(6, &w, false));
            for ((a, b), w) in a.iter().zip(&b).zip(&w) {
                assert!(*a == 0.0 || *b == 0.0);
                assert_eq!((a + b).to_bits(), w.to_bits(), "{fit}");
            }
            let s = fit.share(6, &w);
            let present = |p: &[f32]| p.iter().filter(|v| **v != 0.0).count() as u64;
            assert_eq!((s.kept, s.rest), (present(&a), present(&b)), "{fit}");
        }
        // The tile of three and the one of the last row stay, single elements do not.
        let a = Fit::Tiles { rows: 2, cols: 2, least: 2 }.part(6, &w, true);
        assert_eq!([a[0], a[1], a[6], a[4], a[24]], [1.0, -1.0, 2.0, 0.0, 5.0]);
        // Of equals the first; NaN and infinity count as the largest.
        let a = Fit::OutOf { n: 1, m: 4 }.part(6, &w, true);
        assert_eq!([a[0], a[1], a[4], a[24]], [1.0, 0.0, 3.0, 0.0]);
        assert!(a[13].is_nan() && a[25] == f32::INFINITY);
        assert_eq!(Fit::OutOf { n: 1, m: 4 }.share(0, &[]), Share::default());
    }

    #[test]
    fn numbers_of_a_file_are_checked() {
        for fit in [
            Fit::Tiles { rows: 0, cols: 1, least: 1 },
            Fit::Tiles { rows: 1, cols: 1, least: 1 },
            Fit::Tiles { rows: 4, cols: 1, least: 5 },
            Fit::Tiles { rows: u32::MAX, cols: u32::MAX, least: 1 },
            Fit::OutOf { n: 0, m: 4 },
            Fit::OutOf { n: 4, m: 4 },
            Fit::OutOf { n: 1, m: 65 },
        ] {
            assert!(fit.check().is_err(), "{fit}");
        }
        assert!(Fit::OutOf { n: 2, m: 4 }.check().is_ok());
        assert!(is_rest(&split_name("m.w", &Fit::OutOf { n: 2, m: 4 }, false)));
        assert!(!is_rest(&split_name("m.w", &Fit::OutOf { n: 2, m: 4 }, true)) && !is_rest("m.w"));
    }
}
