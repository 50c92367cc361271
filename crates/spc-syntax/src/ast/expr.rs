//! Expressions.
use super::{Ident, Scope, Sentence, Span, Text};

#[derive(Clone, Debug, PartialEq)]
pub struct Expr {
    pub kind: ExprKind,
    /// Includes enclosing parentheses.
    pub span: Span,
}

#[derive(Clone, Debug, PartialEq)]
pub enum ExprKind {
    Num(Num),
    Pct(Pct),
    /// `60 MiB`, `100 steps`. The unit is one of steps, step, epochs, tokens, bytes, KiB, MiB, GiB, ms, us.
    Qty {
        num: Num,
        unit: Ident,
    },
    Str(Text),
    /// A plain name. `in` is one too (the role of axes), as is `all`, `inf`, `true`.
    Name(Ident),
    /// Two or more values in parentheses.
    Tuple(Vec<Expr>),
    List(Vec<Expr>),
    If(Box<If>),
    /// `(t, s) => t >= s`
    Lambda {
        params: Vec<Ident>,
        body: Box<Expr>,
    },
    Call {
        callee: Box<Expr>,
        args: Vec<Arg>,
    },
    /// `x[b, t, d]`
    Index {
        base: Box<Expr>,
        idx: Vec<Idx>,
    },
    /// `wq@(H: h)`
    Slice {
        base: Box<Expr>,
        args: Vec<Arg>,
    },
    /// `net.layer`
    Member {
        base: Box<Expr>,
        name: Ident,
    },
    /// `net.*`
    Star {
        base: Box<Expr>,
    },
    /// `net.{gate, up}`
    Pick {
        base: Box<Expr>,
        names: Vec<Ident>,
    },
    Unary {
        op: UnaryOp,
        arg: Box<Expr>,
    },
    Binary {
        op: BinaryOp,
        /// Span of the operator itself.
        op_span: Span,
        lhs: Box<Expr>,
        rhs: Box<Expr>,
    },
    /// `0..64`, `10%..80%`
    Range {
        from: Box<Expr>,
        to: Box<Expr>,
    },
    /// `100% -> 20%`: start and end value of a schedule.
    Arrow {
        from: Box<Expr>,
        to: Box<Expr>,
    },
    /// `40% of flops`, `2 of 4`, `10%..80% of steps`. `part` is a `Num`, a `Pct` or a `Range` of two `Pct`.
    Share {
        part: Box<Expr>,
        of: ShareOf,
    },
    /// `keep ..` as an argument, for example of `select`.
    Keep(Box<Sentence>),
}

/// The whole that a part is taken of.
#[derive(Clone, Debug, PartialEq)]
pub enum ShareOf {
    /// A literal count: `2 of 4`.
    Count(Num),
    /// A name: `2 of m`, `50% of flops`, `10%..80% of steps`.
    Name(Ident),
}

impl ShareOf {
    pub fn span(&self) -> Span {
        match self {
            ShareOf::Count(n) => n.span,
            ShareOf::Name(n) => n.span,
        }
    }
}

/// `if a { x } else if b { y } else { z }`: arms in order, never empty.
#[derive(Clone, Debug, PartialEq)]
pub struct If {
    pub arms: Vec<IfArm>,
    pub otherwise: Expr,
}

#[derive(Clone, Debug, PartialEq)]
pub struct IfArm {
    pub cond: Expr,
    pub value: Expr,
    pub span: Span,
}

/// A number without sign.
#[derive(Clone, Debug, PartialEq)]
pub struct Num {
    /// As written, with underscores.
    pub text: String,
    /// Finite.
    pub value: f64,
    /// Set when the text is an integer (no point, no exponent) that fits.
    pub int: Option<u64>,
    pub span: Span,
}

/// A percentage as an exact fraction: `6.25%` is 1 / 16.
#[derive(Clone, Debug, PartialEq)]
pub struct Pct {
    /// As written, without the percent sign.
    pub text: String,
    /// Numerator and denominator in lowest terms.
    pub num: u64,
    pub den: u64,
    pub span: Span,
}

impl Pct {
    pub fn fraction(&self) -> f64 {
        self.num as f64 / self.den as f64
    }
}

/// One argument of a call with the words that may follow it:
/// `sum(e over i, j in r)`, `count(m in link[n])`, `count(m per c)`, `mean(abs(w) where !m)`, `rank(x by abs)`.
#[derive(Clone, Debug, PartialEq)]
pub struct Arg {
    pub label: Option<Ident>,
    pub value: Expr,
    /// Empty without `over`.
    pub over: Vec<Binding>,
    pub by: Option<Expr>,
    /// `where ..`
    pub guard: Option<Expr>,
    /// `in ..`
    pub within: Option<Expr>,
    pub per: Option<Scope>,
    pub span: Span,
}

impl Arg {
    /// True when nothing but the value (and perhaps a label) is written.
    pub fn is_plain(&self) -> bool {
        self.over.is_empty() && self.by.is_none() && self.guard.is_none() && self.within.is_none() && self.per.is_none()
    }
}

/// `i` or `i in set` after `over`.
#[derive(Clone, Debug, PartialEq)]
pub struct Binding {
    pub name: Ident,
    pub within: Option<Expr>,
    pub span: Span,
}

/// One entry between index brackets.
#[derive(Clone, Debug, PartialEq)]
pub struct Idx {
    pub kind: IdxKind,
    pub span: Span,
}

#[derive(Clone, Debug, PartialEq)]
pub enum IdxKind {
    /// `..`
    Rest,
    /// `(h c)`: the indices of a composite axis, outer first; at least two.
    Composite(Vec<Ident>),
    Expr(Expr),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnaryOp {
    Neg,
    Not,
}

impl UnaryOp {
    pub fn symbol(self) -> &'static str {
        match self {
            UnaryOp::Neg => "-",
            UnaryOp::Not => "!",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BinaryOp {
    Or,
    And,
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    /// `&`: union of slices in a group.
    Join,
    Add,
    Sub,
    Mul,
    Div,
    /// `^`, to the right.
    Pow,
}

impl BinaryOp {
    pub fn symbol(self) -> &'static str {
        match self {
            BinaryOp::Or => "||",
            BinaryOp::And => "&&",
            BinaryOp::Eq => "==",
            BinaryOp::Ne => "!=",
            BinaryOp::Lt => "<",
            BinaryOp::Le => "<=",
            BinaryOp::Gt => ">",
            BinaryOp::Ge => ">=",
            BinaryOp::Join => "&",
            BinaryOp::Add => "+",
            BinaryOp::Sub => "-",
            BinaryOp::Mul => "*",
            BinaryOp::Div => "/",
            BinaryOp::Pow => "^",
        }
    }

    pub fn is_comparison(self) -> bool {
        matches!(self, BinaryOp::Eq | BinaryOp::Ne | BinaryOp::Lt | BinaryOp::Le | BinaryOp::Gt | BinaryOp::Ge)
    }
}

impl Expr {
    /// The name, when the expression is a plain name.
    pub fn as_name(&self) -> Option<&Ident> {
        match &self.kind {
            ExprKind::Name(name) => Some(name),
            _ => None,
        }
    }

    /// The value, when the expression is an integer literal.
    pub fn as_int(&self) -> Option<u64> {
        match &self.kind {
            ExprKind::Num(num) => num.int,
            _ => None,
        }
    }

    /// The text, when the expression is a quoted text.
    pub fn as_str(&self) -> Option<&str> {
        match &self.kind {
            ExprKind::Str(text) => Some(&text.value),
            _ => None,
        }
    }
}
