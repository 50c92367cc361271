//! Functions of the file inside hooks: `fn` items that compute numbers from numbers.
use super::Ex;
use super::expr::Elab;
use crate::cx::{Cx, Res};
use crate::scope::Origin;
use spc_base::{Diagnostic, Span, codes};
use spc_syntax::ast::{Arg, Body, FnItem, LhsKind, Stmt, TypeKind};
use std::collections::BTreeMap;

/// Deepest chain of calls.
const MAX_CALLS: usize = 32;

impl<'a> Elab<'a> {
    /// Writes a function out where it is called. It sees its parameters and nothing of the hook.
    pub(super) fn inline(&mut self, cx: &mut Cx, origin: Origin, f: &'a FnItem, args: &[Arg], span: Span) -> Res<Ex> {
        let key = (origin.clone(), f.name.name.clone());
        if self.stack.contains(&key) || self.stack.len() > MAX_CALLS {
            let d = Diagnostic::error(codes::RECURSION, format!("`{}` calls itself", f.name.name))
                .at(span, "this call never ends")
                .also(f.name.span, "the function");
            return cx.report(d);
        }
        let mut given: BTreeMap<String, Ex> = BTreeMap::new();
        let mut position = 0;
        for a in args {
            let param = match &a.label {
                Some(l) => f.sig.params.iter().find(|p| p.name.name == l.name),
                None => {
                    position += 1;
                    f.sig.params.get(position - 1)
                }
            };
            let Some(p) = param.filter(|p| a.is_plain() && !given.contains_key(&p.name.name)) else {
                let text = format!("`{}` takes {} plain arguments", f.name.name, f.sig.params.len());
                return cx.err(codes::ARGUMENT, a.span, text, "does not fit");
            };
            let x = self.expr(cx, &a.value)?;
            given.insert(p.name.name.clone(), x);
        }
        for p in &f.sig.params {
            let number = match p.ty.as_ref().map(|t| &t.kind) {
                None => true,
                Some(TypeKind::Named { name, shape: None, .. }) => {
                    matches!(name.as_str(), "f32" | "float" | "bool" | "int" | "pct")
                }
                Some(_) => false,
            };
            if !number {
                let d = Diagnostic::error(codes::WRONG_KIND, format!("`{}` takes tensors", f.name.name))
                    .at(span, "called in a hook")
                    .also(p.span, "not a number")
                    .help("a function that a hook calls has parameters without a type, or of type f32");
                return cx.report(d);
            }
        }
        self.stack.push(key);
        let hidden = (
            std::mem::replace(&mut self.vars, given),
            std::mem::take(&mut self.times),
            std::mem::take(&mut self.memory),
            std::mem::take(&mut self.constraints),
            std::mem::take(&mut self.shared),
            std::mem::replace(&mut self.origin, origin),
        );
        let out = self.function(cx, f, span);
        (self.vars, self.times, self.memory, self.constraints, self.shared, self.origin) = hidden;
        self.stack.pop();
        out
    }

    fn function(&mut self, cx: &mut Cx, f: &'a FnItem, span: Span) -> Res<Ex> {
        for p in &f.sig.params {
            if self.vars.contains_key(&p.name.name) {
                continue;
            }
            let Some(d) = &p.default else {
                let d = Diagnostic::error(codes::ARGUMENT, format!("`{}` needs `{}`", f.name.name, p.name.name))
                    .at(span, "an argument is missing")
                    .also(p.span, "this parameter has no default");
                return cx.report(d);
            };
            let x = self.expr(cx, d)?;
            self.vars.insert(p.name.name.clone(), x);
        }
        let block = match &f.sig.body {
            Body::Expr(e) => return self.expr(cx, e),
            Body::Block(b) => b,
        };
        for s in &block.stmts {
            let Stmt::Assign(a) = s else {
                let text = "a function that a hook calls has only assignments";
                return cx.err(codes::HOOK, s.span(), text, "not an assignment");
            };
            let LhsKind::Name { name, index: None } = &a.lhs.kind else {
                return cx.err(codes::HOOK, a.lhs.span, "a plain name is needed here", "not a name");
            };
            let x = self.expr(cx, &a.value)?;
            let x = self.b.named(cx, &x, name.as_str(), a.value.span)?;
            self.vars.insert(name.name.clone(), x);
        }
        let results: Vec<&str> = f.sig.results.iter().flat_map(|r| &r.list).map(|r| r.name.as_str()).collect();
        match results.as_slice() {
            [one] => match self.vars.get(*one) {
                Some(x) => Ok(x.clone()),
                None => {
                    cx.err(codes::RESULT, f.name.span, format!("the result `{one}` is never assigned"), "declared here")
                }
            },
            _ => cx.err(codes::RESULT, span, format!("`{}` gives no single number", f.name.name), "called in a hook"),
        }
    }
}
