//! Names in expressions, types and sentences.
use super::walk::{Meaning, Target, Walk};
use super::{Def, DefKind, Place};
use spc_syntax::ast::{
    AmountKind, Arg, Clauses, DimKind, Every, Expr, ExprKind, GroupRef, Ident, Idx, IdxKind, Scope, ScopeKind,
    Sentence, ShareOf, TensorDecl, Type, TypeKind,
};

/// Axis names of a shape, as a message would write them.
pub(super) fn dims(ty: &Type) -> Option<Vec<String>> {
    let TypeKind::Named { shape: Some(shape), .. } = &ty.kind else { return None };
    let name = |d: &spc_syntax::ast::Dim| match &d.kind {
        DimKind::Rest => "..".to_string(),
        DimKind::Composite(parts) => {
            format!("({})", parts.iter().map(Ident::as_str).collect::<Vec<_>>().join(" "))
        }
        DimKind::Axis(a) => a.name.clone(),
        DimKind::Size(n) => n.to_string(),
    };
    Some(shape.iter().map(name).collect())
}

impl Walk<'_> {
    // ---- types

    /// The axes of a type. With `owner`, names that are no axes of the file become axis parameters of that signature.
    pub fn ty(&mut self, ty: &Type, signature: bool) {
        match &ty.kind {
            TypeKind::Named { name, mask_axes, shape } => {
                self.global_builtin(name);
                for a in mask_axes {
                    self.type_axis(a, signature);
                }
                for d in shape.iter().flatten() {
                    match &d.kind {
                        DimKind::Axis(a) => self.type_axis(a, signature),
                        DimKind::Composite(parts) => parts.iter().for_each(|a| self.type_axis(a, signature)),
                        DimKind::Rest | DimKind::Size(_) => {}
                    }
                }
            }
            TypeKind::Record(members) => {
                for m in members {
                    self.ty(&m.ty, signature);
                    self.exprs(&m.value);
                }
            }
            TypeKind::Like { name, of } => {
                self.global_builtin(name);
                self.name(of);
            }
        }
    }

    fn global_builtin(&mut self, name: &Ident) {
        if let Some(b) = super::builtin::find(name.as_str()) {
            self.used(name.span, super::To::Builtin(b));
        }
    }

    fn type_axis(&mut self, name: &Ident, signature: bool) {
        if !self.axis(name) && signature {
            let def = self.new_def(name, DefKind::AxisParam, name.span);
            self.bind(def);
        }
    }

    /// The members of a record type become members of `of`.
    pub fn record_members(&mut self, of: super::DefId, ty: &Type) {
        let TypeKind::Record(members) = &ty.kind else { return };
        for m in members {
            let def = self.tensor_def(m, DefKind::Member);
            self.ix.add(Def { parent: Some(of), ..def });
        }
    }

    pub fn tensor_def(&self, m: &TensorDecl, kind: DefKind) -> Def {
        Def {
            detail: self.words(m.ty.span),
            dims: dims(&m.ty),
            required: m.value.is_none(),
            ..self.new_def(&m.name, kind, m.span)
        }
    }

    // ---- expressions

    /// Reads an expression; what it leads to when that has members.
    pub fn expr(&mut self, e: &Expr) -> Meaning {
        match &e.kind {
            ExprKind::Num(_) | ExprKind::Pct(_) | ExprKind::Qty { .. } | ExprKind::Str(_) => None,
            ExprKind::Name(n) => self.name(n),
            ExprKind::Tuple(list) | ExprKind::List(list) => {
                self.exprs(list);
                None
            }
            ExprKind::If(i) => {
                for arm in &i.arms {
                    self.expr(&arm.cond);
                    self.expr(&arm.value);
                }
                self.expr(&i.otherwise);
                None
            }
            ExprKind::Lambda { params, body } => {
                let outer = std::mem::replace(&mut self.scope, e.span);
                self.scoped(|w| {
                    for p in params {
                        let def = w.new_def(p, DefKind::Param, p.span);
                        w.bind(Def { parent: None, ..def });
                    }
                    w.expr(body);
                });
                self.scope = outer;
                None
            }
            ExprKind::Call { callee, args } => {
                let f = self.expr(callee);
                self.args(&f, args);
                None
            }
            ExprKind::Slice { base, args } => {
                let m = self.expr(base);
                self.args(&None, args);
                m
            }
            ExprKind::Index { base, idx } => {
                let m = self.expr(base);
                let dims = self.dims_of(&m);
                self.idx(idx, dims.as_deref(), false);
                m
            }
            ExprKind::Member { base, name } => {
                let m = self.expr(base);
                self.member(m, name)
            }
            ExprKind::Star { base } => self.expr(base),
            ExprKind::Pick { base, names } => {
                let m = self.expr(base);
                for n in names {
                    self.member(m.clone(), n);
                }
                None
            }
            ExprKind::Unary { arg, .. } => {
                self.expr(arg);
                None
            }
            ExprKind::Binary { lhs, rhs, .. } => {
                self.expr(lhs);
                self.expr(rhs);
                None
            }
            ExprKind::Range { from, to } | ExprKind::Arrow { from, to } => {
                self.expr(from);
                self.expr(to);
                None
            }
            ExprKind::Share { part, of } => {
                self.expr(part);
                self.share(of);
                None
            }
            ExprKind::Keep(s) => {
                self.sentence(s);
                None
            }
        }
    }

    fn share(&mut self, of: &ShareOf) {
        if let ShareOf::Name(n) = of {
            self.name(n);
        }
    }

    /// Entries between index brackets. `dims`: the axes of what is indexed. On the left side new names are made.
    pub fn idx(&mut self, idx: &[Idx], dims: Option<&[String]>, left: bool) {
        let n = idx.len();
        for (i, entry) in idx.iter().enumerate() {
            // With `..` among the axes or the indices, positions count from the end.
            let axis = dims.and_then(|d| {
                let open = d.iter().any(|a| a == "..") || idx.iter().any(|x| x.kind == IdxKind::Rest);
                if open { (d.len() + i).checked_sub(n).and_then(|k| d.get(k)) } else { d.get(i) }
            });
            match &entry.kind {
                IdxKind::Rest => {}
                IdxKind::Composite(parts) => {
                    let axes = axis.and_then(|a| a.strip_prefix('(')?.strip_suffix(')')).unwrap_or_default();
                    let axes: Vec<&str> = axes.split_whitespace().collect();
                    for (k, p) in parts.iter().enumerate() {
                        self.index_name(p, axes.get(k).map(ToString::to_string), left);
                    }
                }
                IdxKind::Expr(e) => match e.as_name() {
                    Some(n) => self.index_name(n, axis.filter(|a| !a.starts_with('(') && *a != "..").cloned(), left),
                    None => self.index_expr(e),
                },
            }
        }
    }

    /// An affine index `s*h + r - p` or a tensor as an index.
    fn index_expr(&mut self, e: &Expr) {
        match &e.kind {
            ExprKind::Name(n) => self.index_name(n, None, false),
            ExprKind::Binary { lhs, rhs, .. } => {
                self.index_expr(lhs);
                self.index_expr(rhs);
            }
            ExprKind::Unary { arg, .. } => self.index_expr(arg),
            _ => {
                self.expr(e);
            }
        }
    }

    /// A name in index position: an index of the statement, else a value in scope, else a new index.
    fn index_name(&mut self, name: &Ident, axis: Option<String>, left: bool) {
        let known = self.indices.iter().rev().find_map(|s| s.get(name.as_str())).copied();
        if let Some(def) = known {
            self.used_def(name.span, def);
            if let Some(d) = self.ix.defs.get_mut(def).filter(|d| d.detail.is_empty()) {
                d.detail = axis.unwrap_or_default();
            }
            return;
        }
        let value = self.values.iter().rev().any(|s| s.contains_key(name.as_str()));
        let global = self.ix.items.contains_key(name.as_str()) || self.ix.axes.contains_key(name.as_str());
        if !left && (value || global) {
            self.name(name);
        } else {
            self.index(name, axis);
        }
    }

    fn args(&mut self, callee: &Meaning, args: &[Arg]) {
        for a in args {
            if let Some(l) = &a.label
                && !self.label(callee, l)
            {
                self.axis(l);
            }
            self.arg(a);
        }
    }

    fn arg(&mut self, a: &Arg) {
        self.indexed(if a.over.is_empty() { self.index_scope } else { a.span }, |w| {
            for b in &a.over {
                w.exprs(&b.within);
                let local = w.indices.iter().rev().find_map(|s| s.get(b.name.as_str())).copied();
                if let Some(def) = local {
                    w.used_def(b.name.span, def);
                } else if !w.axis(&b.name) {
                    w.index(&b.name, None);
                }
            }
            w.expr(&a.value);
            w.exprs(&a.by);
            w.exprs(&a.guard);
            w.exprs(&a.within);
            if let Some(s) = &a.per {
                w.amount_scope(s);
            }
            // An index first met inside stays known to what follows in the statement.
            if a.over.is_empty()
                && let Some(top) = w.indices.pop()
            {
                if let Some(outer) = w.indices.last_mut() {
                    outer.extend(top);
                }
                w.indices.push(std::collections::BTreeMap::new());
            }
        });
    }

    // ---- sentences

    pub fn sentence(&mut self, s: &Sentence) {
        let group = self.group_ref(&s.group);
        // Binders of the group are known in its amount: `keep active[l] of expert`.
        let opened = self.opened.len();
        if let Some(Target::Def(p)) = group {
            self.opened.push(p);
        }
        match &s.amount.kind {
            AmountKind::Plain(e) | AmountKind::Above(e) => {
                self.expr(e);
            }
            AmountKind::Of { part, of } => {
                self.expr(part);
                self.share(of);
            }
        }
        self.clauses(&s.clauses);
        self.opened.truncate(opened);
        if let Some(then) = &s.then {
            self.sentence(then);
        }
    }

    pub fn group_ref(&mut self, g: &GroupRef) -> Meaning {
        let opened = self.opened.len();
        if let Some(of) = &g.of
            && let Some(Target::Def(p)) = self.expr(of)
        {
            self.opened.push(p);
        }
        let m = self.expr(&g.group);
        self.opened.truncate(opened);
        m
    }

    pub fn amount_scope(&mut self, s: &Scope) {
        match &s.kind {
            ScopeKind::Model | ScopeKind::Tensor | ScopeKind::Layer => {
                let word = self.words(s.span);
                if let Some(b) = super::builtin::find(&word) {
                    self.used(s.span, super::To::Builtin(b));
                }
            }
            ScopeKind::Expr(e) => {
                self.expr(e);
            }
        }
    }

    pub fn every(&mut self, e: &Every) {
        self.expr(&e.count);
        self.exprs(&e.until);
    }

    pub fn clauses(&mut self, c: &Clauses) {
        if let Some(p) = &c.per {
            self.amount_scope(&p.scope);
        }
        if let Some(f) = &c.floor {
            self.expr(&f.amount);
            self.amount_scope(&f.scope);
        }
        if let Some(by) = &c.by {
            self.exprs(&by.score);
        }
        for clause in [&c.on, &c.except, &c.at, &c.via, &c.multiple].into_iter().flatten() {
            self.expr(&clause.value);
        }
        if let Some(e) = &c.every {
            self.every(e);
        }
        for a in c.always.iter().flat_map(|a| &a.value) {
            self.expr(&a.count);
        }
    }

    /// The place that an expression leads to, read a second time without recording uses.
    pub fn leads_to(&mut self, e: &Expr) -> Option<Place> {
        let (uses, defs) = (self.ix.uses.len(), self.ix.defs.len());
        let m = match &e.kind {
            ExprKind::Name(_) | ExprKind::Member { .. } | ExprKind::Star { .. } | ExprKind::Index { .. } => {
                self.path(e)
            }
            _ => None,
        };
        debug_assert!(defs == self.ix.defs.len());
        self.ix.uses.truncate(uses);
        match m {
            Some(Target::Def(p)) => Some(p),
            _ => None,
        }
    }

    fn path(&mut self, e: &Expr) -> Meaning {
        match &e.kind {
            ExprKind::Name(n) => self.name(n),
            ExprKind::Member { base, name } => {
                let m = self.path(base);
                self.member(m, name)
            }
            ExprKind::Star { base } | ExprKind::Index { base, .. } => self.path(base),
            _ => None,
        }
    }
}
