//! Caches of keys and values, rotary positions, ranks, and relations asked by index.
use super::Elab;
use super::value::{Frame, TVal, Val};
use crate::cx::{Res, Stop};
use spc_base::{Diagnostic, Span, codes};
use spc_ir::{BinFn, DType, Dim, Formula, Op, Size, Type, UnFn};
use spc_syntax::ast::{self, Arg, Idx, IdxKind};
use std::collections::BTreeMap;

/// Members of a cache.
const PARTS: [&str; 2] = ["k", "v"];

/// True for keys and values with their length.
fn is_cache(members: &BTreeMap<String, Val>) -> bool {
    members.len() == 3 && ["k", "v", "len"].iter().all(|m| members.contains_key(*m))
}

impl Elab<'_, '_> {
    /// A cache as two inputs, `NAME.k` and `NAME.v`. Its length is the size of the last axis but one.
    pub(super) fn cache_input(&mut self, param: &ast::Param, ty: Type) -> Res<Val> {
        if ty.rank() < 2 {
            let text = "a cache has an axis of positions and an axis of channels";
            return self.cx.err(codes::CACHE, param.span, text, "expected `cache[.., S, C]`");
        }
        let mut members = BTreeMap::new();
        for part in PARTS {
            let name = format!("{}.{part}", param.name.name);
            let node = self.add(param.span, Op::Input { name: name.clone(), ty: ty.clone() }, &[])?;
            self.origins.set(node, &self.g, param.name.span, format!("the input `{name}`"));
            members.insert(part.to_string(), self.whole(node)?);
        }
        let len = self.length_of(&ty.dims, param.span)?;
        members.insert("len".into(), len);
        Ok(Val::Record(members))
    }

    fn length_of(&mut self, dims: &[Dim], span: Span) -> Res<Val> {
        let d = dims.len().checked_sub(2).and_then(|i| dims.get(i)).ok_or(Stop)?.clone();
        match d.size {
            Size::Fixed(n) => Ok(Val::Num(n as f64)),
            Size::Free(_) => self.free_size(span, &d),
        }
    }

    /// An argument for a parameter `cache[.., S, C]`.
    pub(super) fn fit_cache(
        &mut self,
        inner: &mut Frame,
        name: &str,
        shape: &[ast::Dim],
        v: Val,
        span: Span,
    ) -> Res<Val> {
        match v {
            Val::Record(members) if is_cache(&members) => {
                for part in PARTS {
                    if let Some(Val::Tensor(t)) = members.get(part) {
                        self.fit_shape(inner, &format!("{name}.{part}"), shape, t, span)?;
                    }
                }
                Ok(Val::Record(members))
            }
            Val::Poison => Err(Stop),
            other => {
                let kind = self.kind(&other);
                self.cx.err(codes::CACHE, span, format!("`{name}` is a cache, found {kind}"), "in this call")
            }
        }
    }

    /// `kv[l]`: the cache of one repetition. An index takes the outermost axis away.
    pub(super) fn index_cache(
        &mut self,
        frame: &mut Frame,
        span: Span,
        members: BTreeMap<String, Val>,
        idx: &[Idx],
    ) -> Res<Val> {
        if !is_cache(&members) {
            return self.cx.err(codes::WRONG_KIND, span, "a group of tensors has no axes to index", "indexed here");
        }
        let mut members = members;
        for i in idx {
            let IdxKind::Expr(e) = &i.kind else {
                return self.cx.err(codes::CACHE, i.span, "a cache is indexed by numbers", "here");
            };
            let at = self.count_of(frame, e)?;
            for part in PARTS {
                let Some(Val::Tensor(t)) = members.get(part).cloned() else { return Err(Stop) };
                let dims = self.ty(t.node)?.dims;
                let size = dims.first().and_then(|d| d.size.fixed());
                if dims.len() < 3 || size.is_none_or(|n| at >= n) {
                    let text = format!("the cache has no index {at} here");
                    let have = super::select::axis_list(&dims);
                    return self.cx.err(codes::CACHE, i.span, text, format!("its axes are [{have}]"));
                }
                let number = self.add(span, Op::Const { value: at as f64, dtype: DType::I32 }, &[])?;
                let node = self.add(span, Op::Gather { dim: 0 }, &[t.node, number])?;
                members.insert(part.to_string(), self.whole(node)?);
            }
        }
        Ok(Val::Record(members))
    }

    /// `append(cache, k: .., v: ..)`: a longer cache. The new values have the cache's axes; the one that stands for its
    /// positions may have another name.
    pub(super) fn append(&mut self, frame: &mut Frame, span: Span, args: &[Arg]) -> Res<Val> {
        let find = |name: &str| args.iter().find(|a| a.label.as_ref().is_some_and(|l| l.as_str() == name));
        let (Some(first), Some(k), Some(v), 3) = (args.first(), find("k"), find("v"), args.len()) else {
            let text = "`append` takes a cache, keys and values";
            return self.cx.err(codes::CACHE, span, text, "expected `append(cache, k: .., v: ..)`");
        };
        let members = match self.expr(frame, &first.value)? {
            Val::Record(m) if is_cache(&m) => m,
            Val::Poison => return Err(Stop),
            other => {
                let kind = self.kind(&other);
                return self.cx.err(codes::CACHE, first.span, format!("a cache is needed, not {kind}"), "here");
            }
        };
        let mut out = BTreeMap::new();
        let mut dims = Vec::new();
        for (part, a) in PARTS.into_iter().zip([k, v]) {
            let Some(Val::Tensor(old)) = members.get(part).cloned() else { return Err(Stop) };
            let new = self.expr(frame, &a.value)?;
            let new = self.tensor(&new, a.span)?;
            let t = self.appended(&old, &new, a.span)?;
            dims = self.ty(t.node)?.dims;
            out.insert(part.to_string(), Val::Tensor(t));
        }
        out.insert("len".into(), self.length_of(&dims, span)?);
        Ok(Val::Record(out))
    }

    fn appended(&mut self, old: &TVal, new: &TVal, span: Span) -> Res<TVal> {
        let (od, nd) = (self.ty(old.node)?.dims, self.ty(new.node)?.dims);
        let at = od.len().checked_sub(2).ok_or(Stop)?;
        let mut rest =
            (0..nd.len()).filter(|i| !old.labels.contains(&new.labels[*i]) || new.labels[*i] == old.labels[at]);
        let own = rest.next().filter(|_| rest.next().is_none());
        let mut want = old.labels.clone();
        if let Some(own) = own {
            want[at].clone_from(&new.labels[own]);
        }
        if own.is_none() || want.len() != new.labels.len() || !want.iter().all(|l| new.labels.contains(l)) {
            let (have, need) = (super::select::axis_list(&nd), super::select::axis_list(&od));
            let d = Diagnostic::error(codes::CACHE, "what is appended has other axes than the cache")
                .at(span, format!("has [{have}]"))
                .note(format!("the cache has [{need}]; `{}` is its axis of positions", od[at].axis));
            return self.cx.report(d);
        }
        let mut sizes = od.clone();
        let size = own.and_then(|o| nd.get(o)).ok_or(Stop)?.size;
        sizes[at].size = size;
        let new = self.arrange(span, new, &want, &sizes)?;
        let along = od[at].clone();
        let axis = match Formula::sum(&[along.size, size]).and_then(|f| self.g.derive(&along.axis, f)) {
            Some(Size::Fixed(n)) => self.derived(Some(&along), &along.axis, n),
            Some(Size::Free(s)) => {
                let name = self.g.sym(s).map(|y| y.name.clone()).unwrap_or_default();
                let root = along.axis.split(':').next().unwrap_or_default();
                Dim::free(format!("{root}:{name}"), s)
            }
            None => return self.cx.err(codes::TOO_LARGE, span, "the cache is too large", "here"),
        };
        let node = self.add(span, Op::Concat { dim: at as u32, axis }, &[old.node, new.node])?;
        match self.whole(node)? {
            Val::Tensor(t) => Ok(t),
            _ => Err(Stop),
        }
    }

    /// `rotate(x, base: 1e4, at: n)`: rotary positions, Su et al. 2021, arXiv 2104.09864, in the half-split convention:
    /// channel i of the first half turns with channel i of the second. The last axis holds the channels, the one before it
    /// the positions n, n + 1, ..
    pub(super) fn rotate(&mut self, frame: &mut Frame, span: Span, args: &[Arg]) -> Res<Val> {
        let find = |name: &str| args.iter().find(|a| a.label.as_ref().is_some_and(|l| l.as_str() == name));
        let known = args.iter().skip(1).all(|a| a.label.as_ref().is_some_and(|l| matches!(l.as_str(), "base" | "at")));
        let (Some(x), Some(base), true) = (args.first().filter(|a| a.label.is_none()), find("base"), known) else {
            let text = "`rotate` takes a value, a base, and the position of its first element";
            return self.cx.err(codes::ARGUMENT, span, text, "expected `rotate(x, base: 1e4, at: 0)`");
        };
        let v = self.expr(frame, &x.value)?;
        let t = self.tensor(&v, x.span)?;
        let base = match self.expr(frame, &base.value)?.plain() {
            Val::Num(n) if n > 0.0 && n.is_finite() => n,
            _ => return self.cx.err(codes::ARGUMENT, base.span, "the base is a positive number", "here"),
        };
        let at = match find("at") {
            Some(a) => self.expr(frame, &a.value)?,
            None => Val::Num(0.0),
        };
        let dims = self.ty(t.node)?.dims;
        let (rank, n) = (dims.len(), dims.last().and_then(|d| d.size.fixed()));
        let Some(n) = n.filter(|n| rank >= 2 && n % 2 == 0 && *n > 0) else {
            let have = super::select::axis_list(&dims);
            let text = "`rotate` takes channels in its last axis, an even number, and positions in the one before";
            return self.cx.err(codes::RANK, x.span, text, format!("has [{have}]"));
        };
        let half = n as f64 / 2.0;
        let (channel, position) = (t.labels[rank - 1].clone(), t.labels[rank - 2].clone());
        let number = |e: &mut Self, d: &Dim, l: &String| -> Res<Val> {
            let node = e.add(span, Op::Iota { dim: d.clone() }, &[])?;
            Ok(Val::Tensor(TVal { node, labels: vec![l.clone()] }))
        };
        let c = number(self, &dims[rank - 1], &channel)?;
        let first = self.binary(span, BinFn::Lt, &c, &Val::Num(half))?;
        // The partner of channel i, and i modulo the half.
        let (up, down) =
            (self.binary(span, BinFn::Add, &c, &Val::Num(half))?, self.binary(span, BinFn::Sub, &c, &Val::Num(half))?);
        let partner = self.select(span, &first, &up, &down)?;
        let within = self.select(span, &first, &c, &down)?;
        let within = self.cast(span, DType::F32, &within)?;
        let power = self.binary(span, BinFn::Mul, &within, &Val::Num(-2.0 * base.ln() / n as f64))?;
        let frequency = self.unary(span, UnFn::Exp, &power)?;
        let p = number(self, &dims[rank - 2], &position)?;
        let p = self.cast(span, DType::F32, &p)?;
        let p = self.binary(span, BinFn::Add, &p, &at)?;
        // Every position meets every channel.
        let (p, f) = (self.tensor(&p, span)?, self.tensor(&frequency, span)?);
        let pair = [position.clone(), channel.clone()];
        let both = [dims[rank - 2].clone(), dims[rank - 1].clone()];
        let (p, f) = (self.arrange(span, &p, &pair, &both)?, self.arrange(span, &f, &pair, &both)?);
        let angle = self.binary(span, BinFn::Mul, &Val::Tensor(p), &Val::Tensor(f))?;
        let (cos, sin) = (self.unary(span, UnFn::Cos, &angle)?, self.unary(span, UnFn::Sin, &angle)?);
        let ids = self.tensor(&partner, span)?;
        let node = self.add(span, Op::Gather { dim: rank as u32 - 1 }, &[t.node, ids.node])?;
        let other = Val::Tensor(TVal { node, labels: t.labels.clone() });
        let straight = self.binary(span, BinFn::Mul, &Val::Tensor(t.clone()), &cos)?;
        let turned = self.binary(span, BinFn::Mul, &other, &sin)?;
        let away = self.unary(span, UnFn::Neg, &turned)?;
        let turned = self.select(span, &first, &away, &turned)?;
        let y = self.binary(span, BinFn::Add, &straight, &turned)?;
        let y = self.tensor(&y, span)?;
        self.arrange(span, &y, &t.labels, &dims).map(Val::Tensor)
    }

    /// `rank(x over S)`: the place of each element in the order of `select`, from 0.
    pub(super) fn rank_of(&mut self, frame: &mut Frame, span: Span, args: &[Arg]) -> Res<Val> {
        let [a] = args else { return self.cx.err(codes::ARGUMENT, span, "`rank` takes one value", "here") };
        if self.ix.on || a.over.is_empty() || a.guard.is_some() || a.within.is_some() || a.by.is_some() {
            let text = "`rank` takes a whole tensor and the axes that it is ranked over";
            return self.cx.err(codes::ARGUMENT, span, text, "expected `rank(x over S)`");
        }
        let v = self.expr(frame, &a.value)?;
        let t = self.tensor(&v, a.span)?;
        if self.ty(t.node)?.dtype != DType::F32 {
            return self.cx.err(codes::TYPE, a.span, "`rank` takes f32", "of another type");
        }
        let mut dims = Vec::new();
        for b in &a.over {
            let label = frame.axes.get(&b.name.name).map(|d| d.axis.clone());
            match label.and_then(|l| t.labels.iter().position(|m| *m == l)) {
                Some(i) => dims.push(i as u32),
                None => return crate::model::unknown_axis(self.cx, self.p.axes, &b.name),
            }
        }
        dims.sort_unstable();
        dims.dedup();
        let node = self.add(span, Op::Rank { dims, name: "rank".into() }, &[t.node])?;
        Ok(Val::Tensor(TVal { node, labels: t.labels }))
    }

    /// A relation asked by the indices of a computation: each of its axes is the index over that axis, those of the call
    /// from the last one on first.
    pub(super) fn ask_relation(&mut self, span: Span, r: &TVal, values: &[Val]) -> Res<Val> {
        let dims = self.ty(r.node)?.dims;
        let mut labels = vec![String::new(); dims.len()];
        let mut asked: Vec<String> =
            values.iter().filter_map(|v| if let Val::Index(l) = v { Some(l.clone()) } else { None }).collect();
        for (i, d) in dims.iter().enumerate().rev() {
            let over = |l: &String| self.ix.dims.get(l).is_some_and(|(e, _)| super::value::same_axis(e, d));
            let from_call = asked.iter().rposition(over).map(|at| asked.remove(at));
            let label = from_call.or_else(|| {
                self.ix
                    .dims
                    .keys()
                    .find(|l| over(l) && !labels.contains(l) && !values.contains(&Val::Index((*l).clone())))
                    .cloned()
            });
            let Some(l) = label else {
                let text =
                    format!("axis `{}` of the relation does not occur where it is read", super::value::axis_word(d));
                return self.cx.err(codes::AXIS_MISMATCH, span, text, "read here");
            };
            labels[i] = l;
        }
        Ok(Val::Tensor(TVal { node: r.node, labels }))
    }
}
