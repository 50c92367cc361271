//! Definitions and uses in methods and in training.
use super::walk::Walk;
use super::{Def, DefKind};
use spc_syntax::ast::{Hook, StateStmt, Term, TrainStmt};

impl Walk<'_> {
    pub fn terms(&mut self, terms: &[Term]) {
        for t in terms {
            self.group_ref(&t.group);
            self.expr(&t.value);
            self.exprs(&t.guard);
        }
    }

    pub fn state(&mut self, s: &StateStmt) {
        if let Some(ty) = &s.ty {
            self.ty(ty, true);
        }
        self.expr(&s.value);
        if let Some(t) = &s.timing {
            self.timing(t);
        }
        let detail = s.ty.as_ref().map_or_else(|| self.words(s.value.span), |t| self.words(t.span));
        let def = self.new_def(&s.name, DefKind::State, s.span);
        self.bind(Def { detail, ..def });
    }

    pub fn hooks(&mut self, hooks: &[Hook]) {
        for h in hooks {
            match h {
                Hook::State(s) => self.state(s),
                Hook::Assign(a) => self.assign(a),
                Hook::Mask(m) => {
                    self.expr(&m.value);
                    if let Some(t) = &m.timing {
                        self.timing(t);
                    }
                    let detail = self.words(m.value.span);
                    let def = self.new_def(&m.name, DefKind::State, m.span);
                    self.bind(Def { detail, ..def });
                }
                Hook::Observe(o) => {
                    self.indexed(o.span, |w| w.expr(&o.value));
                    let def = self.new_def(&o.name, DefKind::Local, o.span);
                    self.bind(def);
                }
                Hook::Handler(h) => {
                    let def = self.new_def(&h.name, DefKind::Hook, h.span);
                    self.ix.add(def);
                    let outer = (std::mem::replace(&mut self.scope, h.span), self.owner.take());
                    self.scoped(|w| {
                        w.indexed(h.span, |w| {
                            for p in &h.params {
                                let detail = p.ty.as_ref().map(|t| w.words(t.span)).unwrap_or_default();
                                let def = w.new_def(&p.name, DefKind::Param, p.span);
                                w.bind(Def { detail, ..def });
                            }
                            w.param_types(&h.params);
                            if let Some(r) = &h.results {
                                w.results(r);
                            }
                            if let Some(e) = &h.every {
                                w.every(e);
                            }
                            w.body(&h.body);
                        });
                    });
                    (self.scope, self.owner) = outer;
                }
            }
        }
    }

    pub fn train(&mut self, body: &[TrainStmt]) {
        for s in body {
            match s {
                TrainStmt::Phase(p) => {
                    let detail = format!("{}%", p.share.text);
                    let def = self.new_def(&p.name, DefKind::Phase, p.span);
                    self.ix.add(Def { detail, ..def });
                    self.train(&p.body);
                }
                TrainStmt::Apply(a) => {
                    for x in &a.list {
                        self.expr(&x.what);
                        self.exprs(&x.via);
                    }
                }
                TrainStmt::Freeze(_) | TrainStmt::Restart(_) => {}
                TrainStmt::Sweep(s) => {
                    self.global(&s.name);
                    self.expr(&s.value);
                }
                TrainStmt::Setting(s) => {
                    self.expr(&s.value);
                }
                TrainStmt::Assign(a) => self.assign(a),
            }
        }
    }
}
