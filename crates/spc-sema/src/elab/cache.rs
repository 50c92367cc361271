//! Caches of keys and values, ranks, and relations asked by index.
use super::Elab;
use super::value::{Frame, TVal, Val};
use crate::cx::{Res, Stop};
use spc_base::{Diagnostic, Span, codes};
use spc_ir::{DType, Dim, Formula, Op, Size, Type};
use spc_syntax::ast::{self, Arg, Idx, IdxKind};
use std::collections::BTreeMap;

/// Members of a cache.
const PARTS: [&str; 2] = ["k", "v"];

/// True for `empty()`.
fn is_empty_cache(members: &BTreeMap<String, Val>) -> bool {
    members.len() == 1 && members.get("len") == Some(&Val::Num(0.0))
}

/// True for keys and values with their length, or without any.
fn is_cache(members: &BTreeMap<String, Val>) -> bool {
    is_empty_cache(members) || (members.len() == 3 && ["k", "v", "len"].iter().all(|m| members.contains_key(*m)))
}

impl Elab<'_, '_> {
    /// A cache as two inputs, `NAME.k` and `NAME.v`. Its length is the size of the last axis but one.
    pub(super) fn cache_input(&mut self, param: &ast::Param, ty: Type) -> Res<Val> {
        self.made_up_cache(param.name.span, &param.name.name, &ty.dims)
    }

    /// A cache of these axes as inputs of the graph.
    pub(super) fn made_up_cache(&mut self, span: Span, name: &str, dims: &[Dim]) -> Res<Val> {
        if dims.len() < 2 {
            let text = "a cache has an axis along which it grows, and an axis of channels";
            return self.cx.err(codes::CACHE, span, text, "expected `cache[.., S, C]`");
        }
        let mut members = BTreeMap::new();
        for part in PARTS {
            let name = format!("{name}.{part}");
            let ty = Type::new(DType::F32, dims.to_vec());
            let node = self.add(span, Op::Input { name: name.clone(), ty }, &[])?;
            self.origins.set(node, &self.g, span, format!("the input `{name}`"));
            members.insert(part.to_string(), self.whole(node)?);
        }
        let len = self.length_of(dims, span)?;
        members.insert("len".into(), len);
        Ok(Val::Record(members))
    }

    fn length_of(&mut self, dims: &[Dim], span: Span) -> Res<Val> {
        let d = dims.len().checked_sub(2).and_then(|i| dims.get(i)).ok_or(Stop)?.clone();
        match d.size {
            Size::Fixed(n) => Ok(Val::Num(n as f64)),
            Size::Free(_) => {
                let node = self.add(span, Op::Size { dim: d }, &[])?;
                Ok(Val::Tensor(TVal { node, labels: Vec::new() }))
            }
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

    /// `empty()`: a cache of no positions.
    pub(super) fn empty_cache(&mut self, span: Span, args: &[Arg]) -> Res<Val> {
        if !args.is_empty() {
            return self.cx.err(codes::ARGUMENT, span, "`empty` takes nothing", "here");
        }
        Ok(Val::Record(BTreeMap::from([("len".to_string(), Val::Num(0.0))])))
    }

    /// `append(cache, k: .., v: ..)`: a longer cache. The new values have the cache's axes; the one along which it grows may
    /// have another name.
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
            let new = self.expr(frame, &a.value)?;
            let new = self.tensor(&new, a.span)?;
            let t = match members.get(part).cloned() {
                Some(Val::Tensor(old)) => self.appended(&old, &new, a.span)?,
                _ => new,
            };
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
                .note(format!("the cache has [{need}]; it grows along `{}`", od[at].axis));
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
