//! Sizes: of axes as numbers, and computed ones (`where P = (H + 2 * pad - K) / stride + 1`).
use super::Elab;
use super::value::{Frame, TVal, Val};
use crate::cx::Res;
use spc_base::{Diagnostic, Span, codes};
use spc_ir::{DType, Dim, Formula, Op, Size};
use spc_syntax::ast::{Arg, AxisDecl, BinaryOp, Expr, ExprKind, FnItem, UnaryOp};

/// Sizes stay below this; whole numbers up to here are exact.
const MAX_SIZE: f64 = (1u64 << 40) as f64;

/// A number made of sizes: known now, or when the free axes in it are bound. A formula is exact until it is rounded down.
enum Number {
    Known(f64),
    Free(Formula),
}

/// A number as an exact fraction with a small denominator, where it is one.
fn fraction(x: f64) -> Option<(i64, u64)> {
    let scale = (0..=20).map(|k| 1u64 << k).find(|s| (x * *s as f64).fract() == 0.0)?;
    let n = x * scale as f64;
    (n.abs() < MAX_SIZE).then_some((n as i64, scale))
}

impl Number {
    fn formula(self) -> Option<Formula> {
        match self {
            Number::Free(f) => Some(f),
            Number::Known(x) => fraction(x).map(|(add, div)| Formula { terms: Vec::new(), add, div }),
        }
    }

    fn add(self, other: Number, sign: i64) -> Option<Number> {
        match (self, other) {
            (Number::Known(x), Number::Known(y)) => Some(Number::Known(x + sign as f64 * y)),
            (x, y) => x.formula()?.plus(&y.formula()?.times(sign, 1)?).map(Number::Free),
        }
    }

    /// `None` for a product of two free sizes, too.
    fn mul(self, other: Number) -> Option<Number> {
        match (self, other) {
            (Number::Known(x), Number::Known(y)) => Some(Number::Known(x * y)),
            (Number::Known(x), Number::Free(f)) | (Number::Free(f), Number::Known(x)) => {
                let (n, d) = fraction(x)?;
                f.times(n, d).map(Number::Free)
            }
            (Number::Free(_), Number::Free(_)) => None,
        }
    }

    fn div(self, other: Number) -> Option<Number> {
        match (self, other) {
            (Number::Known(x), Number::Known(y)) => Some(Number::Known(x / y)),
            (Number::Free(f), Number::Known(y)) => {
                let (n, d) = fraction(y)?;
                f.times(i64::try_from(d).ok()?.checked_mul(n.signum())?, n.unsigned_abs()).map(Number::Free)
            }
            (_, Number::Free(_)) => None,
        }
    }
}

impl Elab<'_, '_> {
    /// Gives every computed axis of the signature its size.
    pub(super) fn computed_sizes(&mut self, frame: &mut Frame, f: &FnItem) -> Res<()> {
        self.sized |= !f.sig.sizes.is_empty();
        for decl in &f.sig.sizes {
            let d = self.computed_size(frame, decl)?;
            match frame.axes.get(&decl.name.name) {
                Some(e) if e.size == d.size => {}
                Some(e) => {
                    let text = format!("axis `{}` has two sizes", decl.name.name);
                    let d = Diagnostic::error(codes::AXIS_SIZE, text)
                        .at(decl.span, format!("computed{} here", self.size_text(&d)))
                        .note(match e.size {
                            Size::Fixed(_) => format!("it is declared{}", self.size_text(e)),
                            Size::Free(_) => "it is declared with a range".to_string(),
                        });
                    let d = match e.size {
                        Size::Fixed(_) => d,
                        Size::Free(_) => d.help("a computed axis is not declared: its name belongs to the function"),
                    };
                    return self.cx.report(d);
                }
                None => {
                    frame.axes.insert(decl.name.name.clone(), d);
                }
            }
        }
        Ok(())
    }

    fn computed_size(&mut self, frame: &mut Frame, decl: &AxisDecl) -> Res<Dim> {
        let name = &decl.name.name;
        let Some(value) = &decl.value else {
            return self.cx.err(
                codes::AXIS_SIZE,
                decl.span,
                format!("the size of `{name}` is missing"),
                "write `= ..`",
            );
        };
        let mut base = None;
        let n = match self.size_number(frame, value, &mut base)? {
            Number::Known(n) => n.floor(),
            Number::Free(f) => match self.free_computed(name, f, base.as_ref(), decl.span)? {
                Ok(d) => return Ok(d),
                Err(n) => n,
            },
        };
        if !(1.0..MAX_SIZE).contains(&n) {
            let text = format!("the computed size of axis `{name}` is {n}");
            let d = Diagnostic::error(codes::AXIS_SIZE, text)
                .at(decl.span, "sizes are from 1 to 2^40")
                .note("a computed size is rounded down to a whole number");
            return self.cx.report(d);
        }
        Ok(self.derived(base.as_ref(), name, n as u64))
    }

    /// An axis whose size follows from free ones when they are bound, or the number that it always is.
    fn free_computed(&mut self, name: &str, f: Formula, base: Option<&Dim>, span: Span) -> Res<Result<Dim, f64>> {
        let size = self.g.derive(name, f);
        let (Some(size), Some(base)) = (size, base) else {
            return self.cx.err(codes::TOO_LARGE, span, format!("the size of axis `{name}` is too large"), "here");
        };
        let Size::Free(s) = size else { return Ok(Err(size.fixed().map_or(0.0, |n| n as f64))) };
        let (own, hi) = self.g.sym(s).map(|y| (y.name.clone(), y.hi)).unwrap_or_default();
        if hi == 0 || hi as f64 >= MAX_SIZE {
            let d = Diagnostic::error(codes::AXIS_SIZE, format!("the computed size of axis `{name}` is at most {hi}"))
                .at(span, "sizes are from 1 to 2^40")
                .note("free axes are taken at the ends of their ranges");
            return self.cx.report(d);
        }
        if base.size == size {
            return Ok(Ok(base.clone()));
        }
        let root = base.axis.split(':').next().unwrap_or(name);
        Ok(Ok(Dim::free(format!("{root}:{own}"), s)))
    }

    /// An axis of a computed size. It is known by the axis that it was computed from and by its size; where that is the
    /// size of that axis, it is that axis.
    pub(super) fn derived(&self, base: Option<&Dim>, name: &str, n: u64) -> Dim {
        let root = base.map_or(name, |b| b.axis.split(':').next().unwrap_or(name));
        let own = match base {
            Some(b) if b.axis == root => b.size.fixed(),
            _ => None,
        };
        let declared = self.p.axes.get(root).and_then(|a| match a.size {
            crate::module::AxisSize::Fixed(n) => Some(n),
            crate::module::AxisSize::Range(..) => None,
        });
        match own.or(declared) {
            Some(m) if m == n => Dim::fixed(root, n),
            _ => Dim::fixed(format!("{root}:{n}"), n),
        }
    }

    /// A number made of sizes of axes, numbers and integer parameters. The first axis met goes to `base`.
    fn size_number(&mut self, frame: &mut Frame, e: &Expr, base: &mut Option<Dim>) -> Res<Number> {
        self.cx.spend(1, e.span)?;
        match &e.kind {
            ExprKind::Name(n) if !frame.env.contains_key(&n.name) && frame.axes.contains_key(&n.name) => {
                let Some(d) = frame.axes.get(&n.name).cloned() else { return Err(crate::cx::Stop) };
                let number = match d.size {
                    Size::Fixed(n) => Number::Known(n as f64),
                    Size::Free(s) => Number::Free(Formula { terms: vec![(1, s)], add: 0, div: 1 }),
                };
                base.get_or_insert(d);
                Ok(number)
            }
            ExprKind::Unary { op: UnaryOp::Neg, arg } => {
                let x = self.size_number(frame, arg, base)?;
                self.in_size(Number::Known(0.0).add(x, -1), e.span)
            }
            ExprKind::Binary { op, lhs, rhs, .. } => {
                let (x, y) = (self.size_number(frame, lhs, base)?, self.size_number(frame, rhs, base)?);
                let z = match op {
                    BinaryOp::Add => x.add(y, 1),
                    BinaryOp::Sub => x.add(y, -1),
                    BinaryOp::Mul => x.mul(y),
                    BinaryOp::Div => x.div(y),
                    _ => return self.cx.err(codes::WRONG_KIND, e.span, "a size is made with + - * /", "here"),
                };
                self.in_size(z, e.span)
            }
            _ => match self.expr(frame, e)? {
                Val::Num(n) => Ok(Number::Known(n)),
                Val::Static(n) => Ok(Number::Known(n as f64)),
                other => {
                    let kind = self.kind(&other);
                    let text = format!("a size is a number that is known now, not {kind}");
                    self.cx.err(codes::WRONG_KIND, e.span, text, "here")
                }
            },
        }
    }

    fn in_size(&mut self, x: Option<Number>, span: Span) -> Res<Number> {
        match x {
            Some(x) => Ok(x),
            None => {
                let text = "a size computed from a free axis is a sum of multiples and parts of axes";
                let d = Diagnostic::error(codes::AXIS_SIZE, text)
                    .at(span, "not of this form")
                    .help("write it as in `(2 * H + W - 4) / 2 + 1`");
                self.cx.report(d)
            }
        }
    }

    /// `size(C)`: the number of indices of an axis.
    pub(super) fn size_of(&mut self, frame: &Frame, span: Span, args: &[Arg]) -> Res<Val> {
        let [a] = args else { return self.cx.err(codes::ARGUMENT, span, "`size` takes one axis", "here") };
        let Some(n) = a.value.as_name() else {
            return self.cx.err(codes::WRONG_KIND, a.span, "`size` takes the name of an axis", "not an axis");
        };
        let Some(d) = frame.axes.get(&n.name).cloned() else {
            return crate::model::unknown_axis(self.cx, self.p.axes, n);
        };
        match d.size.fixed() {
            Some(n) => Ok(Val::Num(n as f64)),
            None => self.free_size(span, &d),
        }
    }

    /// The size of a free axis, known when the function is called.
    pub(super) fn free_size(&mut self, span: Span, d: &Dim) -> Res<Val> {
        let node = self.add(span, Op::Size { dim: d.clone() }, &[])?;
        self.cast(span, DType::F32, &Val::Tensor(TVal { node, labels: Vec::new() }))
    }

    /// ` (size 4)`, where the size is known and means something.
    pub(super) fn size_text(&self, d: &Dim) -> String {
        match d.size.fixed() {
            Some(n) if !self.alone => format!(" (size {n})"),
            _ => String::new(),
        }
    }
}
