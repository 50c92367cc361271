//! Definitions and uses in items.
use super::expr::dims;
use super::walk::Walk;
use super::{Def, DefId, DefKind, Imported, Place, To};
use spc_base::Span;
use spc_syntax::ast::{
    Assign, AxisDecl, Bind, Block, Body, Callable, Column, ExpectItem, Field, GroupItem, Item, ItemKind, Lhs, LhsKind,
    Member, ModelItem, Param, PenaltyBody, Require, ResultDecl, Results, Stmt, Timing, UseItem,
};

impl Walk<'_> {
    // ---- first pass: what the file names

    /// Items, axes, members of models and data, and what `use` brings, before any body is read.
    pub fn declare_all(&mut self, items: &[&Item]) {
        self.imports(items);
        for item in items {
            self.owner = None;
            if let ItemKind::Axis(a) = &item.kind {
                a.decls.iter().for_each(|d| self.axis_decl(d, None));
            }
            let Some(name) = item.kind.name() else { continue };
            let kind = DefKind::Item(item.kind.word());
            let def = Def {
                scope: self.whole(),
                docs: Self::docs(&item.docs),
                detail: self.header(item),
                ..self.new_def(name, kind, item.span)
            };
            let id = self.ix.add(def);
            self.ix.items.entry(name.name.clone()).or_insert(id);
            self.heads.insert(name.span.start, id);
            self.owner = Some(id);
            match &item.kind {
                ItemKind::Model(m) | ItemKind::Data(m) => {
                    let tensor = if matches!(item.kind, ItemKind::Data(_)) { DefKind::Column } else { DefKind::Tensor };
                    self.members(m.members.as_deref().unwrap_or_default(), tensor);
                }
                ItemKind::Fn(f) => self.params(&f.sig.params, item.span),
                ItemKind::Score(s) => self.params(&s.sig.params, item.span),
                ItemKind::Pattern(p) => self.params(&p.params, item.span),
                ItemKind::Mask(m) => self.params(&m.params, item.span),
                ItemKind::Penalty(p) => self.params(&p.params, item.span),
                ItemKind::Update(u) => self.params(&u.params, item.span),
                ItemKind::Schedule(s) => {
                    self.params(s.params.as_deref().unwrap_or_default(), item.span);
                    self.binder(&s.binder, item.span);
                }
                ItemKind::Group(g) => self.binder(&g.binder, item.span),
                _ => {}
            }
        }
        self.owner = None;
    }

    /// The item's first words, up to its body: `fn linear(x: f32[B, I]) -> y: f32[B, O]`.
    fn header(&self, item: &Item) -> String {
        let end = match &item.kind {
            ItemKind::Fn(f) => body_start(&f.sig),
            ItemKind::Score(s) => body_start(&s.sig),
            ItemKind::Model(m) | ItemKind::Data(m) => m.source.as_ref().map_or(m.name.span.end, |s| s.span.end),
            ItemKind::Penalty(_) | ItemKind::Update(_) | ItemKind::Train(_) | ItemKind::Plan(_) => {
                let words = self.text.get(item.span.start as usize..item.span.end as usize).unwrap_or_default();
                let cut = words.find('{').unwrap_or(words.len());
                item.span.start + u32::try_from(cut).unwrap_or(0)
            }
            _ => item.span.end,
        };
        let text = self.words(Span { end: end.max(item.span.start), ..item.span });
        let text = text.replace("( ", "(").replace(", )", ")").replace(", }", " }").replace(" )", ")");
        text.trim_end_matches(['{', '=', ' ']).to_string()
    }

    /// What `use` brings; nothing while the library's own names are collected.
    pub fn imports(&mut self, items: &[&Item]) {
        for item in items {
            if let ItemKind::Use(u) = &item.kind {
                self.import(u);
            }
        }
    }

    fn import(&mut self, u: &UseItem) {
        let Some(modules) = self.modules else { return };
        let [std, module, rest @ ..] = u.path.as_slice() else { return };
        if std.as_str() != "std" || !modules.modules().any(|m| m == module.as_str()) {
            return;
        }
        let m = module.name.clone();
        self.used(module.span, To::Module(m.clone()));
        if rest.is_empty() && u.names.is_empty() {
            self.ix.imports.insert(m.clone(), Imported::Module(m));
            return;
        }
        for name in rest.iter().take(1).chain(&u.names) {
            if let Some(place) = modules.get(&m, name.as_str()) {
                self.used(name.span, To::Def(place));
                self.ix.imports.insert(name.name.clone(), Imported::Item(place));
            }
        }
    }

    fn axis_decl(&mut self, d: &AxisDecl, parent: Option<DefId>) {
        let name = d.name.as_str();
        if let Some(first) = self.ix.axes.get(name).copied() {
            self.written(d.name.span, first);
            let value = d.value.as_ref().map(|v| self.words(v.span)).unwrap_or_default();
            if let Some(def) = self.ix.defs.get_mut(first).filter(|d| d.detail.is_empty()) {
                def.detail = value;
            }
            return;
        }
        let def = Def {
            scope: self.whole(),
            parent,
            detail: d.value.as_ref().map(|v| self.words(v.span)).unwrap_or_default(),
            ..self.new_def(&d.name, DefKind::Axis, d.span)
        };
        let id = self.ix.add(def);
        self.ix.axes.insert(name.to_string(), id);
    }

    fn members(&mut self, members: &[Member], tensor: DefKind) {
        for m in members {
            match m {
                Member::Axes(block) => block.decls.iter().for_each(|d| self.axis_decl(d, None)),
                Member::Tensor(t) => {
                    let def = self.tensor_def(t, tensor);
                    self.ix.add(def);
                }
                Member::Family(f) => {
                    let path = f.path.as_ref().map(|p| format!(" = \"{}\"", p.value)).unwrap_or_default();
                    let detail = format!("{}[{}: {}]{path}", f.name.name, f.index.name, f.axis.name);
                    let def = Def {
                        detail,
                        dims: Some(vec![f.axis.name.clone()]),
                        ..self.new_def(&f.name, DefKind::Family, f.span)
                    };
                    let outer = self.owner.replace(self.ix.defs.len());
                    self.ix.add(def);
                    self.members(&f.members, tensor);
                    self.owner = outer;
                }
                Member::Split(s) => {
                    for f in &s.fields {
                        let detail = self.words(f.value.span);
                        let def = self.new_def(&f.name, DefKind::Part, f.span);
                        self.ix.add(Def { detail, ..def });
                    }
                }
                Member::Column(c) => self.column(c, tensor),
            }
        }
    }

    fn column(&mut self, c: &Column, tensor: DefKind) {
        let detail = self.words(c.value.span);
        for name in &c.names {
            let alias = tensor == DefKind::Tensor;
            let kind = if alias { DefKind::Alias } else { DefKind::Column };
            let target = c.value.as_name().filter(|_| alias);
            let target = target.and_then(|n| self.ix.child(self.owner?, n.as_str())).map(|d| self.place(d));
            let dims = target.and_then(|p| self.def(p)?.dims.clone());
            let def = self.new_def(name, kind, c.span);
            self.ix.add(Def { detail: detail.clone(), stands_for: target, dims, ..def });
        }
    }

    /// Parameters as members of the item, so that calls find their labels.
    fn params(&mut self, params: &[Param], whole: Span) {
        for p in params {
            let def = self.param(p, whole);
            let id = self.ix.add(def);
            if let Some(ty) = &p.ty {
                let outer = self.owner.replace(id);
                self.record_members(id, ty);
                self.owner = outer;
            }
        }
    }

    fn param(&self, p: &Param, scope: Span) -> Def {
        Def {
            scope,
            detail: p.ty.as_ref().map(|t| self.words(t.span)).unwrap_or_default(),
            dims: p.ty.as_ref().and_then(dims),
            required: p.default.is_none(),
            ..self.new_def(&p.name, DefKind::Param, p.span)
        }
    }

    fn binder(&mut self, binder: &[Bind], scope: Span) {
        for b in binder {
            let detail = b.axis.as_ref().map(|a| a.name.clone()).unwrap_or_default();
            let def = self.new_def(&b.index, DefKind::Index, b.span);
            self.ix.add(Def { scope, detail, ..def });
        }
    }

    // ---- second pass: bodies

    pub fn item(&mut self, item: &Item) {
        self.owner = item.kind.name().and_then(|n| self.heads.get(&n.span.start).copied());
        self.scope = item.span;
        self.index_scope = item.span;
        self.scoped(|w| {
            w.open_owner();
            w.item_body(&item.kind, item.span);
        });
        self.owner = None;
    }

    /// Parameters and binders of the item were declared in the first pass; here they become names.
    fn open_owner(&mut self) {
        let Some(owner) = self.owner else { return };
        for id in self.ix.children(owner) {
            let Some(d) = self.ix.def(id) else { continue };
            let name = d.name.clone();
            let scopes = match d.kind {
                DefKind::Param => &mut self.values,
                DefKind::Index => &mut self.indices,
                _ => continue,
            };
            if let Some(top) = scopes.last_mut() {
                top.insert(name, id);
            }
        }
    }

    fn item_body(&mut self, kind: &ItemKind, span: Span) {
        match kind {
            ItemKind::Edition(_) | ItemKind::Use(_) => {}
            ItemKind::Const(c) => {
                self.expr(&c.value);
            }
            ItemKind::Axis(a) => self.exprs(a.decls.iter().filter_map(|d| d.value.as_ref())),
            ItemKind::Model(m) | ItemKind::Data(m) => self.model(m),
            ItemKind::Fn(f) => self.callable(&f.sig, span),
            ItemKind::Score(s) => self.callable(&s.sig, span),
            ItemKind::Group(g) => self.group(g),
            ItemKind::Mask(m) => {
                self.param_types(&m.params);
                self.expr(&m.value);
            }
            ItemKind::Schedule(s) => {
                self.param_types(s.params.as_deref().unwrap_or_default());
                s.binder.iter().filter_map(|b| b.axis.as_ref()).for_each(|a| {
                    self.axis(a);
                });
                self.expr(&s.value);
            }
            ItemKind::Pattern(p) => {
                self.param_types(&p.params);
                self.sentence(&p.sentence);
            }
            ItemKind::Penalty(p) => {
                self.param_types(&p.params);
                match &p.body {
                    PenaltyBody::Hooks(h) => self.hooks(h),
                    PenaltyBody::Terms(t) => self.terms(t),
                    PenaltyBody::Expr(e) => {
                        self.expr(e);
                    }
                }
            }
            ItemKind::Update(u) => {
                self.param_types(&u.params);
                self.hooks(&u.hooks);
            }
            ItemKind::Require(r) => match &r.what {
                Require::Sentence(s) => self.sentence(s),
                Require::Sugar { pattern, clauses } => {
                    self.expr(pattern);
                    self.clauses(clauses);
                }
            },
            ItemKind::Penalize(p) => {
                self.terms(&p.terms);
                self.clauses(&p.clauses);
            }
            ItemKind::Quantize(q) => {
                self.expr(&q.what.what);
                self.exprs(&q.what.except);
                self.expr(&q.to);
                self.clauses(&q.clauses);
            }
            ItemKind::Train(t) => self.train(&t.body),
            ItemKind::Run(r) => self.fields(&r.fields),
            ItemKind::Target(t) => {
                self.expr(&t.value);
                self.target_fields(&t.fields);
            }
            ItemKind::Plan(p) => {
                if let Some(t) = &p.target {
                    self.global(t);
                }
                self.fields(&p.fields);
            }
            ItemKind::Expect(ExpectItem { value }) => {
                self.expr(value);
            }
        }
    }

    fn fields(&mut self, fields: &[Field]) {
        self.exprs(fields.iter().map(|f| &f.value));
    }

    /// `{ B = 1 }`: names of axes.
    fn target_fields(&mut self, fields: &[Field]) {
        for f in fields {
            self.axis(&f.name);
            self.expr(&f.value);
        }
    }

    fn model(&mut self, m: &ModelItem) {
        self.member_types(m.members.as_deref().unwrap_or_default());
    }

    fn member_types(&mut self, members: &[Member]) {
        for m in members {
            match m {
                Member::Axes(b) => self.exprs(b.decls.iter().filter_map(|d| d.value.as_ref())),
                Member::Tensor(t) => {
                    self.ty(&t.ty, false);
                    self.exprs(&t.value);
                }
                Member::Family(f) => {
                    self.axis(&f.axis);
                    self.scoped(|w| {
                        let outer = std::mem::replace(&mut w.scope, f.span);
                        let def = w.new_def(&f.index, DefKind::Index, f.index.span);
                        w.bind(Def { detail: f.axis.name.clone(), parent: None, ..def });
                        w.scope = outer;
                        w.member_types(&f.members);
                    });
                }
                Member::Split(s) => self.exprs(s.fields.iter().map(|f| &f.value)),
                Member::Column(c) => match (c.value.as_name(), self.owner) {
                    (Some(n), Some(owner)) if self.ix.child(owner, n.as_str()).is_some() => {
                        if let Some(d) = self.ix.child(owner, n.as_str()) {
                            self.used_def(n.span, d);
                        }
                    }
                    _ => {
                        self.expr(&c.value);
                    }
                },
            }
        }
    }

    fn group(&mut self, g: &GroupItem) {
        for a in g.binder.iter().filter_map(|b| b.axis.as_ref()) {
            self.axis(a);
        }
        self.group_ref(&g.group);
        for clause in [&g.cost, &g.energy].into_iter().flatten() {
            self.expr(&clause.value);
        }
    }

    /// Types and defaults; their upper-case names become axis parameters where the file has no such axis.
    pub fn param_types(&mut self, params: &[Param]) {
        for p in params {
            if let Some(ty) = &p.ty {
                self.ty(ty, true);
            }
            if let Some(idx) = &p.index {
                self.idx(idx, None, true);
            }
            self.exprs(&p.default);
        }
    }

    fn callable(&mut self, sig: &Callable, span: Span) {
        self.param_types(&sig.params);
        self.sizes(&sig.sizes);
        if let Some(r) = &sig.results {
            self.results(r);
        }
        self.indexed(span, |w| w.body(&sig.body));
    }

    fn sizes(&mut self, sizes: &[AxisDecl]) {
        for d in sizes {
            let detail = d.value.as_ref().map(|v| self.words(v.span)).unwrap_or_default();
            let def = self.new_def(&d.name, DefKind::AxisParam, d.span);
            self.bind(Def { detail, ..def });
        }
        self.exprs(sizes.iter().filter_map(|d| d.value.as_ref()));
    }

    pub fn results(&mut self, r: &Results) {
        for ResultDecl { name, index, ty, span } in &r.list {
            if let Some(ty) = ty {
                self.ty(ty, true);
            }
            if let Some(idx) = index {
                self.idx(idx, None, true);
            }
            // A handler may give back what it takes: `refresh(w) -> w`.
            let known = self.values.last().and_then(|s| s.get(name.as_str())).copied();
            if let Some(def) = known {
                self.written(name.span, def);
                continue;
            }
            let def = self.new_def(name, DefKind::Result, *span);
            let detail = ty.as_ref().map(|t| self.words(t.span)).unwrap_or_default();
            self.bind(Def { detail, dims: ty.as_ref().and_then(dims), ..def });
        }
    }

    pub fn body(&mut self, body: &Body) {
        match body {
            Body::Expr(e) => {
                self.expr(e);
            }
            Body::Block(b) => self.block(b),
        }
    }

    fn block(&mut self, block: &Block) {
        for s in &block.stmts {
            match s {
                Stmt::Assign(a) => self.assign(a),
                Stmt::State(s) => self.state(s),
                Stmt::For(f) => {
                    self.expr(&f.over);
                    let hidden = self.values.last().and_then(|s| s.get(f.index.as_str())).copied();
                    let outer = std::mem::replace(&mut self.scope, f.span);
                    let detail = self.words(f.over.span);
                    let def = self.new_def(&f.index, DefKind::Index, f.index.span);
                    self.bind(Def { detail, parent: None, ..def });
                    self.scope = outer;
                    self.block(&f.body);
                    // Values assigned inside live on; the index does not.
                    if let Some(top) = self.values.last_mut() {
                        match hidden {
                            Some(def) => top.insert(f.index.name.clone(), def),
                            None => top.remove(f.index.as_str()),
                        };
                    }
                }
            }
        }
    }

    pub fn timing(&mut self, t: &Timing) {
        match t {
            Timing::When(e) | Timing::At(e) => {
                self.expr(e);
            }
            Timing::Every(e) => self.every(e),
        }
    }

    pub fn assign(&mut self, a: &Assign) {
        self.indexed(a.span, |w| {
            if let LhsKind::Name { index: Some(idx), .. } = &a.lhs.kind {
                w.idx(idx, None, true);
            }
            w.expr(&a.value);
            w.lhs(&a.lhs, a);
        });
    }

    fn lhs(&mut self, lhs: &Lhs, a: &Assign) {
        match &lhs.kind {
            LhsKind::Tuple(names) => {
                for n in names.iter().filter(|n| n.as_str() != "_") {
                    self.assigned(n, a, None, None);
                }
            }
            LhsKind::Name { name, index } => {
                let stands = if index.is_none() { self.leads_to(&a.value) } else { None };
                let dims = index.as_ref().map(|idx| idx.iter().map(|i| self.axis_of(i)).collect());
                self.assigned(name, a, stands, dims);
            }
        }
    }

    /// The axis that an index on the left runs over, or the index itself where that cannot be seen.
    fn axis_of(&self, idx: &spc_syntax::ast::Idx) -> String {
        let words = self.words(idx.span);
        let def = self.indices.iter().rev().find_map(|s| s.get(&words)).and_then(|d| self.ix.def(*d));
        def.map(|d| d.detail.clone()).filter(|d| !d.is_empty()).unwrap_or(words)
    }

    fn assigned(
        &mut self,
        name: &spc_syntax::ast::Ident,
        a: &Assign,
        stands: Option<Place>,
        dims: Option<Vec<String>>,
    ) {
        let known = self.values.iter().rev().find_map(|s| s.get(name.as_str())).copied();
        if let Some(def) = known {
            self.written(name.span, def);
            return;
        }
        // What has no members is no better known by the name of what it was made from.
        let stands = stands.filter(|p| self.index_of(*p).is_some_and(|ix| !ix.children(p.def).is_empty()));
        let def = self.new_def(name, DefKind::Local, a.span);
        self.bind(Def { dims, stands_for: stands, ..def });
    }
}

fn body_start(sig: &Callable) -> u32 {
    match &sig.body {
        Body::Block(b) => b.span.start,
        Body::Expr(e) => e.span.start,
    }
}
