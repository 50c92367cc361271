//! From scores to what is chosen: tiles of axes, the choice itself, and the answer as true and false for every element.
use super::Elab;
use super::value::{TVal, Val};
use crate::cx::{Res, Stop};
use spc_base::{Diagnostic, Span, codes};
use spc_ir::{Amount, BinFn, DType, Dim, Formula, Op, ReduceFn, ScalarExpr, Size, Top};

/// How much of an axis is one group, or one scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Width {
    /// That many neighbouring indices; the last piece may be cut.
    Each(u64),
    /// The whole axis.
    All,
}

/// An axis of a group or a scope.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Along {
    /// The label that values carry.
    pub label: String,
    pub dim: Dim,
    pub width: Width,
    pub span: Span,
}

impl Along {
    /// `slices(S)`, `tile(S: 64)`.
    pub fn text(&self) -> String {
        let axis = self.dim.axis.split(':').next().unwrap_or_default();
        match self.width {
            Width::Each(1) => format!("slices({axis})"),
            Width::Each(n) => format!("tile({axis}: {n})"),
            Width::All => format!("tile({axis}: all)"),
        }
    }
}

/// `keep AMOUNT of GROUP per SCOPE`, with its words resolved.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Choice {
    pub groups: Vec<Along>,
    /// `None`: every axis of the score that the group lacks.
    pub scope: Option<Vec<Along>>,
    pub amount: Amount,
    pub multiple: u64,
    pub first: u64,
    pub last: u64,
    /// For messages at run time.
    pub name: String,
    pub span: Span,
}

/// The label and the axis of the tiles of an axis.
fn tiles_of(a: &Along) -> String {
    format!("{}:tiles", a.label.replace('#', "+"))
}

/// The label of the elements inside of a tile.
fn inside_of(a: &Along) -> String {
    format!("{}:in", a.label.replace('#', "+"))
}

impl Elab<'_, '_> {
    /// What is chosen, as true and false along the axes of the groups and of those scopes that the score tells apart.
    /// `among` (along axes of the score, not of tiles) says what there is to choose from.
    pub(super) fn choose(&mut self, c: &Choice, score: TVal, among: Option<TVal>, at: Span) -> Res<TVal> {
        if self.ty(score.node)?.dtype != DType::F32 {
            return self.cx.err(codes::SCORE_AXES, at, "a score is f32", "of another type");
        }
        let scope = match &c.scope {
            Some(s) => s.clone(),
            None => {
                let dims = self.ty(score.node)?.dims;
                let rest = score.labels.iter().zip(dims).filter(|(l, _)| !c.groups.iter().any(|g| g.label == **l));
                rest.map(|(l, dim)| Along { label: l.clone(), dim, width: Width::Each(1), span: at }).collect()
            }
        };
        let mut score = score;
        let mut among = among;
        // The axes that are chosen along, by label and axis of the value.
        let mut chosen: Vec<(Along, String)> = Vec::new();
        let mut scopes: Vec<(Along, String)> = Vec::new();
        for (a, is_group) in c.groups.iter().map(|a| (a, true)).chain(scope.iter().map(|a| (a, false))) {
            let (s, label) = self.pieces(score, a, at)?;
            score = s;
            if let Some(m) = among {
                among = Some(self.any_of_pieces(m, a, label.as_deref())?);
            }
            match label {
                Some(l) if is_group => chosen.push((a.clone(), l)),
                Some(l) => scopes.push((a.clone(), l)),
                None if is_group => {
                    let text = format!("the score does not tell groups along `{}` apart", a.dim.axis);
                    let d = Diagnostic::error(codes::SCORE_AXES, text)
                        .at(at, format!("lacks axis `{}`", a.dim.axis))
                        .also(a.span, "the groups");
                    return self.cx.report(d);
                }
                None => {}
            }
        }
        let known: Vec<&String> = chosen.iter().chain(&scopes).map(|(_, l)| l).collect();
        if let Some(i) = score.labels.iter().position(|l| !known.contains(&l)) {
            let axis = self.ty(score.node)?.dims[i].axis.clone();
            let text = format!("axis `{axis}` of the score is neither in the group nor in the scope");
            let d = Diagnostic::error(codes::SCORE_AXES, text)
                .at(at, format!("one number for each index of `{axis}`"))
                .also(c.span, "chosen here")
                .help(format!("add `{axis}` to `per`, or reduce the score over it"));
            return self.cx.report(d);
        }
        if let Some(m) = &among {
            let labels: Vec<String> = score.labels.iter().chain(&m.labels).cloned().collect();
            let mut all: Vec<String> = Vec::new();
            labels.into_iter().for_each(|l| {
                if !all.contains(&l) {
                    all.push(l);
                }
            });
            let mut dims = Vec::new();
            let (ds, dm) = (self.ty(score.node)?.dims, self.ty(m.node)?.dims);
            for l in &all {
                let of = |t: &TVal, d: &[Dim]| t.labels.iter().position(|x| x == l).and_then(|i| d.get(i).cloned());
                dims.push(of(&score, &ds).or_else(|| of(m, &dm)).ok_or(Stop)?);
            }
            score = self.arrange(at, &score, &all, &dims)?;
            among = Some(self.arrange(at, m, &all, &dims)?);
        }
        let place = |l: &String| score.labels.iter().position(|m| m == l).map(|i| i as u32);
        let mut dims: Vec<u32> = chosen.iter().filter_map(|(_, l)| place(l)).collect();
        dims.sort_unstable();
        let top = Top {
            dims,
            amount: c.amount,
            multiple: c.multiple,
            first: c.first,
            last: c.last,
            among: among.is_some(),
            name: c.name.clone(),
        };
        let operands: Vec<_> = [score.node].into_iter().chain(among.map(|m| m.node)).collect();
        let node = self.add(c.span, Op::Top(top), &operands)?;
        let mut mask = TVal { node, labels: score.labels };
        for (a, label) in chosen.into_iter().chain(scopes) {
            mask = self.spread_out(mask, &a, &label, c.span)?;
        }
        Ok(mask)
    }

    /// The value with one number for each piece of an axis: the greatest of its elements. Gives the label of the pieces;
    /// none where the value does not depend on the axis, or the axis is one piece.
    fn pieces(&mut self, t: TVal, a: &Along, at: Span) -> Res<(TVal, Option<String>)> {
        let dims = self.ty(t.node)?.dims;
        if let Some(i) = t.labels.iter().position(|l| *l == a.label) {
            return match a.width {
                Width::Each(1) => Ok((t, Some(a.label.clone()))),
                Width::All => match self.reduce(at, ReduceFn::Max, &t, std::slice::from_ref(&a.label))? {
                    Val::Tensor(t) => Ok((t, None)),
                    _ => Err(Stop),
                },
                Width::Each(n) => {
                    let everywhere = self.all_true(&dims[i])?;
                    let there = self.windows(&everywhere, 0, a, n, at)?;
                    let cut = self.windows(&t, i, a, n, at)?;
                    let least = Val::Num(f64::NEG_INFINITY);
                    let v = self.select(at, &Val::Tensor(there), &Val::Tensor(cut), &least)?;
                    let v = self.tensor(&v, at)?;
                    match self.reduce(at, ReduceFn::Max, &v, &[inside_of(a)])? {
                        Val::Tensor(t) => Ok((t, Some(tiles_of(a)))),
                        _ => Err(Stop),
                    }
                }
            };
        }
        // The score may be written for the pieces: a computed axis of as many indices.
        if let Width::Each(n) = a.width
            && n > 1
        {
            let size = self.piece_count(a, n, at)?;
            let root = a.dim.axis.split(':').next().unwrap_or_default().to_string();
            let fits = |d: &Dim| d.size == size && d.axis.contains(':') && d.axis.split(':').next() == Some(&root);
            if let Some(i) = dims.iter().position(fits) {
                let mut t = t;
                t.labels[i] = tiles_of(a);
                return Ok((t, Some(tiles_of(a))));
            }
        }
        Ok((t, None))
    }

    /// True for a piece that has an element for which the value is true.
    fn any_of_pieces(&mut self, t: TVal, a: &Along, label: Option<&str>) -> Res<TVal> {
        let Some(i) = t.labels.iter().position(|l| *l == a.label) else { return Ok(t) };
        let (t, over) = match (a.width, label) {
            (Width::Each(1), Some(_)) => return Ok(t),
            (Width::Each(n), Some(_)) => (self.windows(&t, i, a, n, a.span)?, inside_of(a)),
            _ => (t, a.label.clone()),
        };
        let at = t.labels.iter().position(|l| *l == over).ok_or(Stop)?;
        let node = self.add(a.span, Op::Reduce { f: ReduceFn::Any, dims: vec![at as u32] }, &[t.node])?;
        let labels = t.labels.iter().filter(|l| **l != over).cloned().collect();
        Ok(TVal { node, labels })
    }

    /// From pieces back to the elements of the axis.
    fn spread_out(&mut self, t: TVal, a: &Along, label: &str, at: Span) -> Res<TVal> {
        let Width::Each(n) = a.width else { return Ok(t) };
        let Some(i) = t.labels.iter().position(|l| l == label).filter(|_| n > 1) else { return Ok(t) };
        let number = self.add(at, Op::Iota { dim: a.dim.clone() }, &[])?;
        let expr = ScalarExpr::bin(BinFn::Div, ScalarExpr::Arg(0), ScalarExpr::Const(n as f64));
        let piece = self.add(at, Op::Map { expr, at: vec![vec![0]] }, &[number])?;
        let node = self.add(at, Op::Gather { dim: i as u32 }, &[t.node, piece])?;
        let mut labels = t.labels;
        labels[i].clone_from(&a.label);
        Ok(TVal { node, labels })
    }

    fn piece_count(&mut self, a: &Along, n: u64, at: Span) -> Res<Size> {
        let size = Formula::pieces(a.dim.size, n).and_then(|f| self.g.derive(&a.dim.axis, f));
        match size {
            Some(s) => Ok(s),
            None => self.cx.err(codes::TOO_LARGE, at, format!("tiles of {n} are too large"), "here"),
        }
    }

    /// Cuts dimension `i` into pieces of `n`: labels `S:tiles` and `S:in`. What lies behind the end is 0.
    fn windows(&mut self, t: &TVal, i: usize, a: &Along, n: u64, at: Span) -> Res<TVal> {
        let size = self.piece_count(a, n, at)?;
        let into = vec![Dim { axis: tiles_of(a), size }, Dim::fixed(inside_of(a), n)];
        self.check_rank(at, t.labels.len() + 1)?;
        let step = i64::try_from(n).unwrap_or(i64::MAX);
        let op = Op::Window { dim: i as u32, into, coeff: vec![step, 1], offset: 0 };
        let node = self.add(at, op, &[t.node])?;
        let mut labels = t.labels.clone();
        labels.splice(i..=i, [tiles_of(a), inside_of(a)]);
        Ok(TVal { node, labels })
    }

    fn all_true(&mut self, d: &Dim) -> Res<TVal> {
        let span = Span::default();
        let one = self.add(span, Op::Const { value: 1.0, dtype: DType::Bool }, &[])?;
        let node = self.add(span, Op::Broadcast { dims: vec![d.clone()], at: vec![] }, &[one])?;
        Ok(TVal { node, labels: vec![d.axis.clone()] })
    }
}
