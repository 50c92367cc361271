//! `const` items: values known when the file is checked.
use crate::cx::{Cx, Res, Stop};
use crate::scope::{Names, Origin};
use spc_base::{Diagnostic, Span, codes};
use spc_ir::method::Ratio;
use spc_syntax::ast::{Arg, Ast, BinaryOp, Expr, ExprKind, IdxKind, Item, ItemKind, UnaryOp};
use std::collections::BTreeMap;

/// The value of a constant.
#[derive(Clone, Debug, PartialEq)]
pub enum ConstValue {
    Num(f64),
    /// A percentage as written: an exact fraction in lowest terms.
    Pct {
        num: u64,
        den: u64,
    },
    Bool(bool),
    List(Vec<ConstValue>),
}

impl ConstValue {
    /// The number, where there is one.
    pub fn number(&self) -> Option<f64> {
        match self {
            ConstValue::Num(n) => Some(*n),
            ConstValue::Pct { num, den } => Some(*num as f64 / *den as f64),
            ConstValue::Bool(_) | ConstValue::List(_) => None,
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            ConstValue::Num(_) | ConstValue::Pct { .. } => "a number",
            ConstValue::Bool(_) => "true or false",
            ConstValue::List(_) => "a list",
        }
    }
}

/// A checked `const` of the root file.
#[derive(Clone, Debug, PartialEq)]
pub struct Constant {
    pub name: String,
    pub value: ConstValue,
    /// Written `dial(..)`: a caller may set another value; this one is the default.
    pub dial: bool,
    pub span: Span,
}

type Key = (Origin, String);

/// Every constant of the program and of the library that has a value.
#[derive(Clone, Debug, Default)]
pub struct Consts {
    values: BTreeMap<Key, ConstValue>,
}

impl Consts {
    /// Evaluates all constants; broken ones are reported and left out.
    pub fn collect(cx: &mut Cx, names: &Names<'_>) -> Consts {
        let mut e = Eval { names, done: BTreeMap::new(), stack: Vec::new() };
        for (name, item) in &names.items {
            if matches!(item.kind, ItemKind::Const(_)) {
                let _ = e.constant(cx, &None, name, item.span);
            }
        }
        for module in names.lib.modules() {
            for item in names.lib.items(module) {
                if let ItemKind::Const(c) = &item.kind {
                    let _ = e.constant(cx, &Some(module.to_string()), &c.name.name, item.span);
                }
            }
        }
        let values = e.done.into_iter().filter_map(|(k, v)| v.ok().map(|v| (k, v)));
        Consts { values: values.collect() }
    }

    /// The value of a constant, seen from a file. `None` for names of other kinds and for broken constants.
    pub fn get(&self, names: &Names<'_>, from: &Origin, name: &str) -> Option<&ConstValue> {
        let (origin, item) = names.item(from, name)?;
        let name = item.kind.name()?.name.clone();
        self.values.get(&(origin, name))
    }

    /// The root file's constants, in file order.
    pub fn listed(&self, ast: &Ast) -> Vec<Constant> {
        let constant = |i: &Item| match &i.kind {
            ItemKind::Const(c) => Some(Constant {
                name: c.name.name.clone(),
                value: self.values.get(&(None, c.name.name.clone()))?.clone(),
                dial: is_dial(&c.value),
                span: c.name.span,
            }),
            _ => None,
        };
        ast.items.iter().filter_map(constant).collect()
    }
}

fn is_dial(e: &Expr) -> bool {
    matches!(&e.kind, ExprKind::Call { callee, .. } if callee.as_name().is_some_and(|n| n.as_str() == "dial"))
}

struct Eval<'a, 'n> {
    names: &'n Names<'a>,
    done: BTreeMap<Key, Res<ConstValue>>,
    /// Constants whose value is being worked out.
    stack: Vec<Key>,
}

impl Eval<'_, '_> {
    fn constant(&mut self, cx: &mut Cx, from: &Origin, name: &str, span: Span) -> Res<ConstValue> {
        let Some((origin, Item { kind: ItemKind::Const(c), .. })) = self.names.item(from, name) else {
            let known = self.names.known_from(from);
            return cx.unknown(span, "constant", name, known);
        };
        let key = (origin.clone(), c.name.name.clone());
        if let Some(v) = self.done.get(&key) {
            return v.clone();
        }
        if self.stack.contains(&key) || self.stack.len() >= 64 {
            return cx.report(
                Diagnostic::error(codes::RECURSION, format!("`{name}` is defined by itself"))
                    .at(span, "used in its own value")
                    .also(c.name.span, "the constant"),
            );
        }
        self.stack.push(key.clone());
        let v = self.value(cx, &origin, &c.value);
        self.stack.pop();
        self.done.insert(key, v.clone());
        v
    }

    fn value(&mut self, cx: &mut Cx, from: &Origin, e: &Expr) -> Res<ConstValue> {
        cx.spend(1, e.span)?;
        match &e.kind {
            ExprKind::Num(n) => Ok(ConstValue::Num(n.value)),
            ExprKind::Pct(p) => Ok(ConstValue::Pct { num: p.num, den: p.den }),
            ExprKind::Name(n) => match n.as_str() {
                "true" => Ok(ConstValue::Bool(true)),
                "false" => Ok(ConstValue::Bool(false)),
                "inf" => Ok(ConstValue::Num(f64::INFINITY)),
                _ => self.constant(cx, from, n.as_str(), n.span),
            },
            ExprKind::List(list) => {
                list.iter().map(|x| self.value(cx, from, x)).collect::<Res<Vec<_>>>().map(ConstValue::List)
            }
            ExprKind::Unary { op: UnaryOp::Neg, arg } => self.number(cx, from, arg).map(|x| ConstValue::Num(-x)),
            ExprKind::Unary { op: UnaryOp::Not, arg } => match self.value(cx, from, arg)? {
                ConstValue::Bool(b) => Ok(ConstValue::Bool(!b)),
                other => self.wrong(cx, arg.span, "true or false", &other),
            },
            ExprKind::Binary { op, lhs, rhs, .. } => self.binary(cx, from, e.span, *op, lhs, rhs),
            ExprKind::If(i) => {
                for arm in &i.arms {
                    match self.value(cx, from, &arm.cond)? {
                        ConstValue::Bool(true) => return self.value(cx, from, &arm.value),
                        ConstValue::Bool(false) => {}
                        other => return self.wrong(cx, arm.cond.span, "true or false", &other),
                    }
                }
                self.value(cx, from, &i.otherwise)
            }
            ExprKind::Index { base, idx } => {
                let list = match self.value(cx, from, base)? {
                    ConstValue::List(list) => list,
                    other => return self.wrong(cx, base.span, "a list", &other),
                };
                let [spc_syntax::ast::Idx { kind: IdxKind::Expr(i), .. }] = idx.as_slice() else {
                    return cx.err(codes::INDEX, e.span, "a list has one index", "indexed here");
                };
                let n = self.number(cx, from, i)?;
                pick(cx, i.span, &list, n).cloned()
            }
            ExprKind::Call { callee, args } => self.call(cx, from, e.span, callee, args),
            _ => cx.err(
                codes::WRONG_KIND,
                e.span,
                "a constant is a number, a percentage, true or false, or a list of these",
                "not known when the file is checked",
            ),
        }
    }

    fn call(&mut self, cx: &mut Cx, from: &Origin, span: Span, callee: &Expr, args: &[Arg]) -> Res<ConstValue> {
        let name = callee.as_name().map(|n| n.as_str()).unwrap_or_default();
        if let Some(bad) = args.iter().find(|a| !a.is_plain() || a.label.is_some()) {
            return cx.err(codes::ARGUMENT, bad.span, "a plain value is needed in a constant", "here");
        }
        let values = match name {
            "dial" => {
                let [a] = args else { return cx.err(codes::ARGUMENT, span, "`dial` takes its default value", "here") };
                return self.value(cx, from, &a.value);
            }
            "size" => return cx.err(codes::WRONG_KIND, span, "an axis has no size outside a function", "here"),
            _ => args.iter().map(|a| self.number(cx, from, &a.value)).collect::<Res<Vec<f64>>>()?,
        };
        let value = match (name, values.as_slice()) {
            ("abs", [x]) => x.abs(),
            ("sqrt", [x]) => x.sqrt(),
            ("exp", [x]) => x.exp(),
            ("log", [x]) => x.ln(),
            ("floor", [x]) => x.floor(),
            ("min", [x, y]) => x.min(*y),
            ("max", [x, y]) => x.max(*y),
            ("pow", [x, y]) => x.powf(*y),
            ("abs" | "sqrt" | "exp" | "log" | "floor" | "min" | "max" | "pow", _) => {
                return cx.err(codes::ARGUMENT, span, format!("arguments do not fit `{name}`"), "here");
            }
            _ => {
                let known = ["dial", "abs", "sqrt", "exp", "log", "floor", "min", "max", "pow"];
                return cx.unknown(callee.span, "function for constants", name, known);
            }
        };
        Ok(ConstValue::Num(value))
    }

    fn binary(
        &mut self,
        cx: &mut Cx,
        from: &Origin,
        span: Span,
        op: BinaryOp,
        lhs: &Expr,
        rhs: &Expr,
    ) -> Res<ConstValue> {
        if matches!(op, BinaryOp::And | BinaryOp::Or) {
            let (a, b) = (self.value(cx, from, lhs)?, self.value(cx, from, rhs)?);
            return match (a, b) {
                (ConstValue::Bool(a), ConstValue::Bool(b)) => {
                    Ok(ConstValue::Bool(if op == BinaryOp::And { a && b } else { a || b }))
                }
                (ConstValue::Bool(_), other) => self.wrong(cx, rhs.span, "true or false", &other),
                (other, _) => self.wrong(cx, lhs.span, "true or false", &other),
            };
        }
        let (a, b) = (self.value(cx, from, lhs)?, self.value(cx, from, rhs)?);
        if let Some(share) = share(op, &a, &b) {
            return Ok(share);
        }
        let number = |cx: &mut Cx, e: &Expr, v: &ConstValue| match v.number() {
            Some(n) => Ok(n),
            None => self.wrong(cx, e.span, "a number", v),
        };
        let (x, y) = (number(cx, lhs, &a)?, number(cx, rhs, &b)?);
        Ok(match op {
            BinaryOp::Add => ConstValue::Num(x + y),
            BinaryOp::Sub => ConstValue::Num(x - y),
            BinaryOp::Mul => ConstValue::Num(x * y),
            BinaryOp::Div => ConstValue::Num(x / y),
            BinaryOp::Pow => ConstValue::Num(x.powf(y)),
            BinaryOp::Lt => ConstValue::Bool(x < y),
            BinaryOp::Le => ConstValue::Bool(x <= y),
            BinaryOp::Gt => ConstValue::Bool(x > y),
            BinaryOp::Ge => ConstValue::Bool(x >= y),
            BinaryOp::Eq => ConstValue::Bool(x == y),
            BinaryOp::Ne => ConstValue::Bool(x != y),
            BinaryOp::And | BinaryOp::Or | BinaryOp::Join => {
                return cx.err(codes::WRONG_KIND, span, "`&` joins slices of a group", "not a number operator");
            }
        })
    }

    fn number(&mut self, cx: &mut Cx, from: &Origin, e: &Expr) -> Res<f64> {
        let v = self.value(cx, from, e)?;
        match v.number() {
            Some(n) => Ok(n),
            None => self.wrong(cx, e.span, "a number", &v),
        }
    }

    fn wrong<T>(&self, cx: &mut Cx, span: Span, want: &str, found: &ConstValue) -> Res<T> {
        cx.err(codes::WRONG_KIND, span, format!("{want} is needed, found {}", found.kind()), "here")
    }
}

/// Arithmetic that gives a percentage: sums, products and parts of percentages. Exact, else nothing.
fn share(op: BinaryOp, a: &ConstValue, b: &ConstValue) -> Option<ConstValue> {
    let pct = |v: &ConstValue| matches!(v, ConstValue::Pct { .. });
    let of = |v: &ConstValue| match v {
        ConstValue::Pct { num, den } => Ratio::new(i128::from(*num), i128::from(*den)),
        ConstValue::Num(n) if n.fract() == 0.0 && n.abs() < 9e15 => Some(Ratio::int(*n as i64)),
        _ => None,
    };
    let both = pct(a) && pct(b);
    let (x, y) = (of(a)?, of(b)?);
    let r = match op {
        BinaryOp::Add if both => x.checked_add(y),
        BinaryOp::Sub if both => x.checked_sub(y),
        BinaryOp::Mul if pct(a) || pct(b) => x.checked_mul(y),
        BinaryOp::Div if pct(a) && !pct(b) => x.checked_div(y),
        _ => None,
    }?;
    Some(ConstValue::Pct { num: u64::try_from(r.num()).ok()?, den: u64::try_from(r.den()).ok()? })
}

/// One entry of a list; the index is checked.
pub fn pick<'l, T>(cx: &mut Cx, span: Span, list: &'l [T], n: f64) -> Result<&'l T, Stop> {
    let at = if n >= 0.0 && n.fract() == 0.0 && n < list.len() as f64 { list.get(n as usize) } else { None };
    match at {
        Some(v) => Ok(v),
        None => {
            let text = format!("index {n} is outside the list (0..{})", list.len());
            cx.err(codes::INDEX, span, text, "out of range")
        }
    }
}
