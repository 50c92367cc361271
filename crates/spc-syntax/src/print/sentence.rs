//! The sentence and its clauses.
use super::Printer;
use crate::ast::*;

/// Words that would end a `by joint` before its score.
const AFTER_JOINT: [&str; 9] = ["then", "min", "except", "every", "always", "multiple", "on_overlap", "ragged", "pad"];

impl Printer {
    pub fn sentence(&mut self, sentence: &Sentence) {
        self.push("keep ");
        match &sentence.amount.kind {
            AmountKind::Plain(expr) => self.guarded(|word| word == "above", |p| p.expr(expr)),
            AmountKind::Of { part, of } => {
                self.guarded(|word| word == "above", |p| p.expr(part));
                self.push(" of ");
                self.share_of(of);
            }
            AmountKind::Above(expr) => {
                self.push("above ");
                self.expr(expr);
            }
        }
        self.push(" of ");
        let plain = matches!(sentence.amount.kind, AmountKind::Plain(_));
        self.group_ref(&sentence.group, plain);
        self.clauses(&sentence.clauses);
        if let Some(then) = &sentence.then {
            self.push(" then ");
            self.sentence(then);
        }
    }

    /// `after_plain`: the group stands after an amount of one expression, where `a of b` would make `a` a cost.
    pub fn group_ref(&mut self, group: &GroupRef, after_plain: bool) {
        let word = matches!(group.group.kind, ExprKind::Name(_) | ExprKind::Num(_));
        if after_plain && word && group.of.is_some() {
            self.push("(");
            self.expr(&group.group);
            self.push(")");
        } else {
            self.expr(&group.group);
        }
        self.maybe(" of ", group.of.as_ref());
    }

    pub fn scope(&mut self, scope: &Scope) {
        match &scope.kind {
            ScopeKind::Model => self.push("model"),
            ScopeKind::Tensor => self.push("tensor"),
            ScopeKind::Layer => self.push("layer"),
            ScopeKind::Expr(expr) => self.expr(expr),
        }
    }

    pub fn clauses(&mut self, clauses: &Clauses) {
        let Clauses { per, floor, by, on, except, at, every, via, always, multiple, on_overlap, tail } = clauses;
        if let Some(per) = per {
            self.push(" per ");
            self.scope(&per.scope);
        }
        if let Some(floor) = floor {
            self.push(" min ");
            self.expr(&floor.amount);
            self.push(" per ");
            self.scope(&floor.scope);
        }
        if let Some(by) = by {
            self.by(by);
        }
        self.maybe(" on ", on.as_ref().map(|c| &c.value));
        self.maybe(" except ", except.as_ref().map(|c| &c.value));
        self.maybe(" multiple ", multiple.as_ref().map(|c| &c.value));
        if let Some(always) = always {
            self.push(" always ");
            self.list(&always.value, |p, kept| {
                p.push(if kept.end == End::First { "first " } else { "last " });
                p.expr(&kept.count);
            });
        }
        match tail.as_ref().map(|c| c.value) {
            Some(Tail::Pad) => self.push(" pad"),
            Some(Tail::Ragged) => self.push(" ragged"),
            None => {}
        }
        if let Some(policy) = on_overlap {
            self.push(" on_overlap ");
            self.push(&policy.value.name);
        }
        self.maybe(" via ", via.as_ref().map(|c| &c.value));
        self.maybe(" at ", at.as_ref().map(|c| &c.value));
        if let Some(every) = every {
            self.push(" ");
            self.every(every);
        }
    }

    fn by(&mut self, by: &By) {
        self.push(" by");
        if by.joint {
            self.push(" joint");
        }
        if let Some(score) = &by.score {
            self.push(" ");
            let joint = by.joint;
            self.guarded(|word| if joint { AFTER_JOINT.contains(&word) } else { word == "joint" }, |p| p.expr(score));
        }
    }

    pub fn every(&mut self, every: &Every) {
        self.push("every ");
        let simple = matches!(every.count.kind, ExprKind::Num(_) | ExprKind::Name(_) | ExprKind::Call { .. });
        if every.unit.is_some() && !simple {
            self.push("(");
            self.expr(&every.count);
            self.push(")");
        } else {
            self.expr(&every.count);
        }
        if let Some(unit) = &every.unit {
            self.push(" ");
            self.push(&unit.name);
        }
        self.maybe(" until ", every.until.as_ref());
    }
}
