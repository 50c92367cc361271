//! Expressions and types.
use super::Printer;
use crate::ast::*;

/// How tightly an expression binds; the larger of the powers in `build::expr`.
fn power(expr: &Expr) -> u8 {
    match &expr.kind {
        ExprKind::Arrow { .. } => 1,
        ExprKind::Range { .. } => 3,
        ExprKind::Binary { op, .. } => match op {
            BinaryOp::Or => 5,
            BinaryOp::And => 7,
            op if op.is_comparison() => 9,
            BinaryOp::Join => 11,
            BinaryOp::Add | BinaryOp::Sub => 13,
            BinaryOp::Mul | BinaryOp::Div => 15,
            _ => 19,
        },
        ExprKind::Unary { .. } => 17,
        _ => 100,
    }
}

/// True if an `if` stands in the expression outside brackets.
fn bare_if(expr: &Expr) -> bool {
    match &expr.kind {
        ExprKind::If(_) => true,
        ExprKind::Arrow { from, to } | ExprKind::Range { from, to } => bare_if(from) || bare_if(to),
        ExprKind::Binary { lhs, rhs, .. } => bare_if(lhs) || bare_if(rhs),
        ExprKind::Unary { arg, .. } => bare_if(arg),
        _ => false,
    }
}

impl Printer {
    /// An expression where a lambda, a share and a sentence may stand too.
    pub fn value(&mut self, expr: &Expr) {
        match &expr.kind {
            ExprKind::Lambda { params, body } => {
                self.push("(");
                self.idents(params, ", ");
                self.push(") => ");
                self.expr(body);
            }
            ExprKind::Share { part, of } => {
                self.expr(part);
                self.push(" of ");
                self.share_of(of);
            }
            ExprKind::Keep(sentence) => self.sentence(sentence),
            _ => self.expr(expr),
        }
    }

    pub fn share_of(&mut self, of: &ShareOf) {
        match of {
            ShareOf::Count(num) => self.push(&num.text),
            ShareOf::Name(name) => self.push(&name.name),
        }
    }

    pub fn expr(&mut self, expr: &Expr) {
        self.operand(expr, 0);
    }

    /// An operand that must bind at least as tightly as `min`.
    fn operand(&mut self, expr: &Expr, min: u8) {
        if power(expr) < min {
            self.push("(");
            self.operand(expr, 0);
            self.push(")");
            return;
        }
        match &expr.kind {
            ExprKind::Num(num) => self.push(&num.text),
            ExprKind::Pct(pct) => {
                self.push(&pct.text);
                self.push("%");
            }
            ExprKind::Qty { num, unit } => {
                self.push(&num.text);
                self.push(" ");
                self.push(&unit.name);
            }
            ExprKind::Str(text) => self.text(text),
            ExprKind::Name(name) => self.push(&name.name),
            ExprKind::Tuple(items) => {
                self.push("(");
                self.list(items, Printer::expr);
                self.push(")");
            }
            ExprKind::List(items) => {
                self.push("[");
                self.list(items, Printer::expr);
                self.push("]");
            }
            ExprKind::If(choice) => self.if_expr(choice),
            ExprKind::Call { callee, args } => {
                self.base(callee);
                self.push("(");
                self.args(args);
                self.push(")");
            }
            ExprKind::Index { base, idx } => {
                self.base(base);
                self.index(idx);
            }
            ExprKind::Slice { base, args } => {
                self.base(base);
                self.push("@(");
                self.args(args);
                self.push(")");
            }
            ExprKind::Member { base, name } => {
                self.base(base);
                self.push(".");
                self.push(&name.name);
            }
            ExprKind::Star { base } => {
                self.base(base);
                self.push(".*");
            }
            ExprKind::Pick { base, names } => {
                self.base(base);
                self.push(".{");
                self.idents(names, ", ");
                self.push("}");
            }
            ExprKind::Unary { op, arg } => {
                self.push(op.symbol());
                self.operand(arg, 17);
            }
            ExprKind::Binary { op, lhs, rhs, .. } => self.binary(*op, lhs, rhs),
            ExprKind::Range { from, to } => {
                self.operand(from, 3);
                self.push("..");
                self.operand(to, 4);
            }
            ExprKind::Arrow { from, to } => {
                self.operand(from, 1);
                self.push(" -> ");
                self.operand(to, 2);
            }
            // The parser puts these three only where `value` prints them.
            ExprKind::Lambda { .. } | ExprKind::Share { .. } | ExprKind::Keep(_) => self.value(expr),
        }
    }

    fn binary(&mut self, op: BinaryOp, lhs: &Expr, rhs: &Expr) {
        let (left, right, tight) = match op {
            BinaryOp::Or => (5, 6, false),
            BinaryOp::And => (7, 8, false),
            op if op.is_comparison() => (10, 10, false),
            BinaryOp::Join => (11, 12, false),
            BinaryOp::Add | BinaryOp::Sub => (13, 14, false),
            BinaryOp::Mul | BinaryOp::Div => (15, 16, false),
            // To the right; a sign may stand after `^` without parentheses.
            _ => (20, 17, true),
        };
        self.operand(lhs, left);
        if tight {
            self.push(op.symbol());
        } else {
            self.push(" ");
            self.push(op.symbol());
            self.push(" ");
        }
        self.operand(rhs, right);
    }

    /// What a call, an index or a member sticks to.
    fn base(&mut self, expr: &Expr) {
        let bare = matches!(
            expr.kind,
            ExprKind::Name(_)
                | ExprKind::Tuple(_)
                | ExprKind::List(_)
                | ExprKind::Call { .. }
                | ExprKind::Index { .. }
                | ExprKind::Slice { .. }
                | ExprKind::Member { .. }
                | ExprKind::Star { .. }
                | ExprKind::Pick { .. }
        );
        if bare {
            self.expr(expr);
        } else {
            self.push("(");
            self.expr(expr);
            self.push(")");
        }
    }

    fn if_expr(&mut self, choice: &If) {
        for arm in &choice.arms {
            self.push("if ");
            if bare_if(&arm.cond) {
                self.push("(");
                self.expr(&arm.cond);
                self.push(")");
            } else {
                self.expr(&arm.cond);
            }
            self.push(" { ");
            self.expr(&arm.value);
            self.push(" } else ");
        }
        self.push("{ ");
        self.expr(&choice.otherwise);
        self.push(" }");
    }

    pub fn index(&mut self, idx: &[Idx]) {
        self.push("[");
        self.list(idx, |p, idx| match &idx.kind {
            IdxKind::Rest => p.push(".."),
            IdxKind::Composite(names) => {
                p.push("(");
                p.idents(names, " ");
                p.push(")");
            }
            IdxKind::Expr(expr) => p.expr(expr),
        });
        self.push("]");
    }

    fn args(&mut self, args: &[Arg]) {
        for (i, arg) in args.iter().enumerate() {
            if i > 0 {
                self.push(", ");
            }
            let after_over = i.checked_sub(1).is_some_and(|n| !args[n].over.is_empty());
            self.arg(arg, after_over);
        }
    }

    /// `after_over`: the argument before ends in a list of indices, which a bare word would continue.
    fn arg(&mut self, arg: &Arg, after_over: bool) {
        if let Some(label) = &arg.label {
            self.push(&label.name);
            self.push(": ");
        }
        if matches!(arg.value.kind, ExprKind::Keep(_)) {
            self.value(&arg.value);
            return;
        }
        let continues = after_over && arg.label.is_none();
        self.guarded(|word| word == "keep" || (continues && !word.is_empty()), |p| p.value(&arg.value));
        if !arg.over.is_empty() {
            self.push(" over ");
            self.list(&arg.over, |p, binding| {
                p.push(&binding.name.name);
                p.maybe(" in ", binding.within.as_ref());
            });
        }
        self.maybe(" by ", arg.by.as_ref());
        self.maybe(" where ", arg.guard.as_ref());
        self.maybe(" in ", arg.within.as_ref());
        if let Some(scope) = &arg.per {
            self.push(" per ");
            self.scope(scope);
        }
    }

    /// A word and an expression, if there is one.
    pub fn maybe(&mut self, word: &str, expr: Option<&Expr>) {
        if let Some(expr) = expr {
            self.push(word);
            self.expr(expr);
        }
    }

    pub fn ty(&mut self, ty: &Type) {
        match &ty.kind {
            TypeKind::Named { name, mask_axes, shape } => {
                self.push(&name.name);
                if !mask_axes.is_empty() {
                    self.push("(");
                    self.idents(mask_axes, ", ");
                    self.push(")");
                }
                if let Some(shape) = shape {
                    self.push("[");
                    self.list(shape, Printer::dim);
                    self.push("]");
                }
            }
            TypeKind::Record(members) => {
                self.push("{ ");
                self.list(members, Printer::tensor);
                self.push(" }");
            }
            TypeKind::Like { name, of } => {
                self.push(&name.name);
                self.push(" like ");
                self.push(&of.name);
            }
        }
    }

    fn dim(&mut self, dim: &Dim) {
        match &dim.kind {
            DimKind::Rest => self.push(".."),
            DimKind::Composite(names) => {
                self.push("(");
                self.idents(names, " ");
                self.push(")");
            }
            DimKind::Axis(name) => self.push(&name.name),
            DimKind::Size(size) => self.push(&size.to_string()),
        }
    }

    pub fn tensor(&mut self, tensor: &TensorDecl) {
        self.push(&tensor.name.name);
        self.push(": ");
        self.ty(&tensor.ty);
        self.maybe(" = ", tensor.value.as_ref());
    }

    pub fn axis_decl(&mut self, decl: &AxisDecl) {
        self.push(&decl.name.name);
        self.maybe(" = ", decl.value.as_ref());
    }
}
