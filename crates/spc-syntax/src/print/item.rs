//! Items, signatures and statements.
use super::Printer;
use crate::ast::*;

impl Printer {
    pub fn item(&mut self, item: &ItemKind) {
        self.push(item.word());
        match item {
            ItemKind::Edition(i) => self.after(" ", &i.number.text),
            ItemKind::Use(i) => {
                self.push(" ");
                self.idents(&i.path, ".");
                if !i.names.is_empty() {
                    self.push(".{");
                    self.idents(&i.names, ", ");
                    self.push("}");
                }
            }
            ItemKind::Const(i) => {
                self.after(" ", &i.name.name);
                self.push(" = ");
                self.value(&i.value);
            }
            ItemKind::Axis(i) => {
                self.push(" ");
                self.list(&i.decls, Printer::axis_decl);
            }
            ItemKind::Model(i) | ItemKind::Data(i) => self.model(i),
            ItemKind::Fn(i) => {
                self.after(" ", &i.name.name);
                self.callable(&i.sig, true);
            }
            ItemKind::Score(i) => {
                self.after(" ", &i.name.name);
                self.callable(&i.sig, i.has_params);
            }
            ItemKind::Mask(i) => {
                self.after(" ", &i.name.name);
                self.params(&i.params);
                self.maybe(" = ", Some(&i.value));
            }
            ItemKind::Schedule(i) => {
                self.after(" ", &i.name.name);
                if let Some(params) = &i.params {
                    self.params(params);
                }
                self.binder(&i.binder);
                self.maybe(" = ", Some(&i.value));
            }
            ItemKind::Group(i) => self.group(i),
            ItemKind::Pattern(i) => {
                self.after(" ", &i.name.name);
                self.params(&i.params);
                self.push(" = ");
                self.sentence(&i.sentence);
            }
            ItemKind::Require(i) => {
                self.label(i.name.as_ref());
                match &i.what {
                    Require::Sentence(sentence) => self.sentence(sentence),
                    Require::Sugar { pattern, clauses } => {
                        self.guarded(|word| word == "keep", |p| p.expr(pattern));
                        self.clauses(clauses);
                    }
                }
            }
            ItemKind::Penalize(i) => self.penalize(i),
            ItemKind::Quantize(i) => self.quantize(i),
            ItemKind::Penalty(i) => self.penalty(i),
            ItemKind::Update(i) => self.update(i),
            ItemKind::Train(i) => self.train(i),
            ItemKind::Run(i) => {
                self.after(" ", &i.name.name);
                self.push(" ");
                self.braces(&i.fields, Printer::field);
            }
            ItemKind::Target(i) => {
                self.after(" ", &i.name.name);
                self.maybe(" = ", Some(&i.value));
                if !i.fields.is_empty() {
                    self.push(" ");
                    self.braces(&i.fields, Printer::field);
                }
            }
            ItemKind::Plan(i) => {
                self.after(" ", &i.name.name);
                if let Some(target) = &i.target {
                    self.after(" for ", &target.name);
                }
                self.push(" ");
                self.braces(&i.fields, Printer::field);
            }
            ItemKind::Expect(i) => self.maybe(" ", Some(&i.value)),
        }
    }

    /// Two pieces of text.
    pub fn after(&mut self, word: &str, text: &str) {
        self.push(word);
        self.push(text);
    }

    /// A blank, and the label with its colon if there is one.
    pub fn label(&mut self, name: Option<&Ident>) {
        self.push(" ");
        if let Some(name) = name {
            self.push(&name.name);
            self.push(": ");
        }
    }

    fn model(&mut self, model: &ModelItem) {
        self.after(" ", &model.name.name);
        if let Some(source) = &model.source {
            self.after(" from ", &source.format.name);
            self.push(" ");
            self.text(&source.path);
        }
        if let Some(members) = &model.members {
            self.push(" ");
            self.braces(members, Printer::member);
        }
    }

    fn member(&mut self, member: &Member) {
        match member {
            Member::Axes(m) => {
                self.push("axes { ");
                self.list(&m.decls, Printer::axis_decl);
                self.push(" }");
            }
            Member::Family(m) => {
                self.push(&format!("{}[{}: {}] ", m.name.name, m.index.name, m.axis.name));
                if let Some(path) = &m.path {
                    self.push("= ");
                    self.text(path);
                    self.push(" ");
                }
                self.braces(&m.members, Printer::member);
            }
            Member::Tensor(m) => self.tensor(m),
            Member::Split(m) => {
                self.after(&m.name.name, " ");
                self.braces(&m.fields, Printer::field);
            }
            Member::Column(m) => {
                self.idents(&m.names, ", ");
                self.maybe(" = ", Some(&m.value));
            }
        }
    }

    fn field(&mut self, field: &Field) {
        self.after(&field.name.name, if field.eq { " = " } else { ": " });
        self.value(&field.value);
    }

    pub fn binder(&mut self, binder: &[Bind]) {
        if binder.is_empty() {
            return;
        }
        self.push("[");
        self.list(binder, |p, bind| {
            p.push(&bind.index.name);
            if let Some(axis) = &bind.axis {
                p.after(": ", &axis.name);
            }
        });
        self.push("]");
    }

    fn group(&mut self, group: &GroupItem) {
        self.after(" ", &group.name.name);
        self.binder(&group.binder);
        self.push(" = ");
        self.group_ref(&group.group, false);
        self.maybe(" cost: ", group.cost.as_ref().map(|c| &c.value));
        self.maybe(" energy: ", group.energy.as_ref().map(|c| &c.value));
        if let Some(policy) = &group.on_overlap {
            self.after(" on_overlap ", &policy.value.name);
        }
    }

    pub fn params(&mut self, params: &[Param]) {
        self.push("(");
        self.list(params, |p, param| {
            p.push(&param.name.name);
            if let Some(index) = &param.index {
                p.index(index);
            }
            if let Some(ty) = &param.ty {
                p.push(": ");
                p.ty(ty);
            }
            if let Some(default) = &param.default {
                p.push(" = ");
                p.value(default);
            }
        });
        self.push(")");
    }

    pub fn results(&mut self, results: &Results) {
        self.push(" -> ");
        if results.tuple {
            self.push("(");
        }
        self.list(&results.list, |p, result| {
            p.push(&result.name.name);
            if let Some(index) = &result.index {
                p.index(index);
            }
            if let Some(ty) = &result.ty {
                p.push(": ");
                p.ty(ty);
            }
        });
        if results.tuple {
            self.push(")");
        }
    }

    fn callable(&mut self, sig: &Callable, params: bool) {
        if params {
            self.params(&sig.params);
        }
        if let Some(results) = &sig.results {
            self.results(results);
        }
        if !sig.sizes.is_empty() {
            self.push(" where ");
            self.list(&sig.sizes, Printer::axis_decl);
        }
        self.body(&sig.body);
    }

    pub fn body(&mut self, body: &Body) {
        match body {
            Body::Expr(expr) => self.maybe(" = ", Some(expr)),
            Body::Block(block) => {
                self.push(" ");
                self.braces(&block.stmts, Printer::stmt);
            }
        }
    }

    fn stmt(&mut self, stmt: &Stmt) {
        match stmt {
            Stmt::For(s) => {
                self.after("for ", &s.index.name);
                self.push(" in ");
                self.expr(&s.over);
                self.push(" ");
                self.braces(&s.body.stmts, Printer::stmt);
            }
            Stmt::State(s) => self.state(s),
            Stmt::Assign(s) => self.assign(s),
        }
    }

    pub fn state(&mut self, state: &StateStmt) {
        self.after("state ", &state.name.name);
        if let Some(ty) = &state.ty {
            self.push(": ");
            self.ty(ty);
        }
        self.maybe(" = ", Some(&state.value));
        self.timing(state.timing.as_ref());
    }

    pub fn timing(&mut self, timing: Option<&Timing>) {
        match timing {
            None => {}
            Some(Timing::When(expr)) => self.maybe(" when ", Some(expr)),
            Some(Timing::At(expr)) => self.maybe(" at ", Some(expr)),
            Some(Timing::Every(every)) => {
                self.push(" ");
                self.every(every);
            }
        }
    }

    pub fn assign(&mut self, assign: &Assign) {
        match &assign.lhs.kind {
            LhsKind::Tuple(names) => {
                self.push("(");
                self.idents(names, ", ");
                self.push(")");
            }
            LhsKind::Name { name, index } => {
                self.push(&name.name);
                if let Some(index) = index {
                    self.index(index);
                }
            }
        }
        self.maybe(" = ", Some(&assign.value));
    }
}
