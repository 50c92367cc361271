//! Methods and what applies them in time.
use super::Printer;
use crate::ast::*;

impl Printer {
    fn terms(&mut self, terms: &[Term]) {
        for (i, term) in terms.iter().enumerate() {
            if i > 0 {
                self.push(" then ");
            }
            self.expr(&term.value);
            self.push(" of ");
            self.group_ref(&term.group, false);
            self.maybe(" where ", term.guard.as_ref());
        }
    }

    pub fn penalize(&mut self, item: &PenalizeItem) {
        self.label(item.name.as_ref());
        self.terms(&item.terms);
        self.clauses(&item.clauses);
    }

    pub fn quantize(&mut self, item: &QuantizeItem) {
        self.label(item.name.as_ref());
        self.expr(&item.what.what);
        self.maybe(" except ", item.what.except.as_ref());
        self.maybe(" to ", Some(&item.to));
        self.clauses(&item.clauses);
    }

    pub fn penalty(&mut self, item: &PenaltyItem) {
        self.after(" ", &item.name.name);
        self.params(&item.params);
        match item.kind {
            Some(PenaltyKind::Radial) => self.push(" radial"),
            Some(PenaltyKind::OfGroups) => self.push(" of groups"),
            None => {}
        }
        match &item.body {
            PenaltyBody::Hooks(hooks) => {
                self.push(" ");
                self.braces(hooks, Printer::hook);
            }
            PenaltyBody::Terms(terms) => {
                self.push(" = ");
                self.terms(terms);
            }
            PenaltyBody::Expr(expr) => self.maybe(" = ", Some(expr)),
        }
    }

    pub fn update(&mut self, item: &UpdateItem) {
        self.after(" ", &item.name.name);
        self.params(&item.params);
        self.push(" ");
        self.braces(&item.hooks, Printer::hook);
    }

    fn hook(&mut self, hook: &Hook) {
        match hook {
            Hook::Mask(h) => {
                self.after("mask ", &h.name.name);
                self.maybe(" = ", Some(&h.value));
                self.timing(h.timing.as_ref());
            }
            Hook::State(h) => self.state(h),
            Hook::Observe(h) => {
                self.after("observe ", &h.name.name);
                self.maybe(" = ", Some(&h.value));
            }
            Hook::Handler(h) => {
                self.push(&h.name.name);
                self.params(&h.params);
                if let Some(results) = &h.results {
                    self.results(results);
                }
                if let Some(every) = &h.every {
                    self.push(" ");
                    self.every(every);
                }
                self.body(&h.body);
            }
            Hook::Assign(h) => self.assign(h),
        }
    }

    pub fn train(&mut self, item: &TrainItem) {
        self.after(" ", &item.name.name);
        self.push(" ");
        self.braces(&item.body, Printer::train_stmt);
    }

    fn train_stmt(&mut self, stmt: &TrainStmt) {
        match stmt {
            TrainStmt::Phase(s) => {
                self.push(&format!("phase {} {}% ", s.name.name, s.share.text));
                self.braces(&s.body, Printer::train_stmt);
            }
            TrainStmt::Apply(s) => {
                self.push("apply ");
                self.list(&s.list, |p, applied| {
                    p.expr(&applied.what);
                    p.maybe(" via ", applied.via.as_ref());
                });
            }
            TrainStmt::Freeze(s) => self.after("freeze ", &s.what.name),
            TrainStmt::Restart(_) => self.push("restart"),
            TrainStmt::Sweep(s) => {
                self.after("sweep ", &s.name.name);
                self.maybe(" = ", Some(&s.value));
            }
            TrainStmt::Setting(s) => {
                self.after(&s.name.name, ": ");
                self.value(&s.value);
            }
            TrainStmt::Assign(s) => self.assign(s),
        }
    }
}
