//! Pointwise maths as a small expression tree, shared by `map` nodes and fused epilogues.
//!
//! Text form is prefix: `(mul (mul 0.5 a0) (add 1 (erf (div a0 1.4142135623730951))))`.
use crate::DType;
use std::fmt;

macro_rules! functions {
    ($(#[$doc:meta])* $name:ident { $($var:ident = $text:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($var),* }
        impl $name {
            pub const ALL: &'static [$name] = &[$($name::$var),*];
            pub fn name(self) -> &'static str { match self { $($name::$var => $text),* } }
            pub fn from_name(name: &str) -> Option<$name> { match name { $($text => Some($name::$var),)* _ => None } }
        }
    };
}

functions! {
    /// Functions of one argument. All but `Not` take and give floats (`Neg` and `Abs` also i32).
    UnFn {
        Neg = "neg", Abs = "abs", Sqrt = "sqrt", Exp = "exp", Log = "log", Erf = "erf", Tanh = "tanh",
        Sin = "sin", Cos = "cos", Floor = "floor", Not = "not",
    }
}
functions! {
    /// Functions of two arguments. `Max` and `Min` give NaN when either argument is NaN (IEEE 754 maximum, minimum).
    /// Comparisons give bool and are false on NaN, but for `Ne`, which is true.
    BinFn {
        Add = "add", Sub = "sub", Mul = "mul", Div = "div", Max = "max", Min = "min", Pow = "pow",
        Lt = "lt", Le = "le", Gt = "gt", Ge = "ge", Eq = "eq", Ne = "ne", And = "and", Or = "or",
    }
}

impl BinFn {
    pub fn is_comparison(self) -> bool {
        matches!(self, BinFn::Lt | BinFn::Le | BinFn::Gt | BinFn::Ge | BinFn::Eq | BinFn::Ne)
    }

    pub fn is_logic(self) -> bool {
        matches!(self, BinFn::And | BinFn::Or)
    }
}

/// A pointwise expression over arguments `a0, a1, ..`.
#[derive(Clone, Debug, PartialEq)]
pub enum ScalarExpr {
    Arg(u8),
    /// A literal. It takes the type of the other operand: compare and combine it as that type.
    Const(f64),
    Un(UnFn, Box<ScalarExpr>),
    Bin(BinFn, Box<ScalarExpr>, Box<ScalarExpr>),
    /// `Select(c, a, b)`: a where c is true, else b. The value not chosen has no effect, NaN included.
    Select(Box<ScalarExpr>, Box<ScalarExpr>, Box<ScalarExpr>),
    /// Conversion of type: bool to 0 or 1, i32 to the nearest f32, f32 to i32 by truncation with saturation (NaN is 0).
    Cast(DType, Box<ScalarExpr>),
}

impl ScalarExpr {
    pub fn un(f: UnFn, a: ScalarExpr) -> ScalarExpr {
        ScalarExpr::Un(f, Box::new(a))
    }

    pub fn bin(f: BinFn, a: ScalarExpr, b: ScalarExpr) -> ScalarExpr {
        ScalarExpr::Bin(f, Box::new(a), Box::new(b))
    }

    pub fn select(c: ScalarExpr, a: ScalarExpr, b: ScalarExpr) -> ScalarExpr {
        ScalarExpr::Select(Box::new(c), Box::new(a), Box::new(b))
    }

    pub fn cast(to: DType, a: ScalarExpr) -> ScalarExpr {
        ScalarExpr::Cast(to, Box::new(a))
    }

    /// True if some value on the way is an i32. Epilogues have none: they run lane by lane.
    pub fn has_integers(&self) -> bool {
        matches!(self, ScalarExpr::Cast(DType::I32, _)) || self.children().into_iter().any(ScalarExpr::has_integers)
    }

    pub fn children(&self) -> Vec<&ScalarExpr> {
        match self {
            ScalarExpr::Arg(_) | ScalarExpr::Const(_) => vec![],
            ScalarExpr::Un(_, a) | ScalarExpr::Cast(_, a) => vec![a],
            ScalarExpr::Bin(_, a, b) => vec![a, b],
            ScalarExpr::Select(c, a, b) => vec![c, a, b],
        }
    }

    /// Number of nodes of the tree.
    pub fn size(&self) -> usize {
        1 + self.children().into_iter().map(ScalarExpr::size).sum::<usize>()
    }

    pub fn depth(&self) -> usize {
        1 + self.children().into_iter().map(ScalarExpr::depth).max().unwrap_or(0)
    }

    /// How often argument `n` occurs.
    pub fn uses(&self, n: u8) -> usize {
        match self {
            ScalarExpr::Arg(a) => usize::from(*a == n),
            _ => self.children().into_iter().map(|c| c.uses(n)).sum(),
        }
    }

    /// Number of arguments: one more than the greatest argument number.
    pub fn arity(&self) -> usize {
        match self {
            ScalarExpr::Arg(a) => usize::from(*a) + 1,
            _ => self.children().into_iter().map(ScalarExpr::arity).max().unwrap_or(0),
        }
    }

    /// Replaces every `Arg(n)` by `f(n)`.
    #[must_use]
    pub fn substitute(&self, f: &dyn Fn(u8) -> ScalarExpr) -> ScalarExpr {
        match self {
            ScalarExpr::Arg(a) => f(*a),
            ScalarExpr::Const(c) => ScalarExpr::Const(*c),
            ScalarExpr::Un(u, a) => ScalarExpr::un(*u, a.substitute(f)),
            ScalarExpr::Cast(t, a) => ScalarExpr::cast(*t, a.substitute(f)),
            ScalarExpr::Bin(o, a, b) => ScalarExpr::bin(*o, a.substitute(f), b.substitute(f)),
            ScalarExpr::Select(c, a, b) => ScalarExpr::select(c.substitute(f), a.substitute(f), b.substitute(f)),
        }
    }

    /// Type of the value, given the types of the arguments. `None` in the answer's `Ok` means a literal, whose type
    /// the context decides.
    pub fn dtype(&self, args: &[DType]) -> Result<Option<DType>, String> {
        let both = |a: Option<DType>, b: Option<DType>| match (a, b) {
            (Some(a), Some(b)) if a != b => Err(format!("{a} and {b} do not mix")),
            (a, b) => Ok(a.or(b)),
        };
        match self {
            ScalarExpr::Arg(n) => {
                args.get(usize::from(*n)).copied().map(Some).ok_or_else(|| format!("no argument a{n}"))
            }
            ScalarExpr::Const(_) => Ok(None),
            ScalarExpr::Cast(t, a) => a.dtype(args).map(|_| Some(*t)),
            ScalarExpr::Un(f, a) => match (f, a.dtype(args)?) {
                (UnFn::Not, Some(DType::Bool)) => Ok(Some(DType::Bool)),
                (UnFn::Not, _) => Err("`not` takes a bool".into()),
                (UnFn::Neg | UnFn::Abs, Some(DType::I32)) => Ok(Some(DType::I32)),
                (_, None) => Ok(None),
                (_, Some(DType::F32)) => Ok(Some(DType::F32)),
                (_, Some(t)) => Err(format!("`{}` does not take {t}", f.name())),
            },
            ScalarExpr::Bin(f, a, b) => {
                let t = both(a.dtype(args)?, b.dtype(args)?)?;
                if f.is_logic() {
                    return if t == Some(DType::Bool) { Ok(t) } else { Err(format!("`{}` takes bools", f.name())) };
                }
                if t == Some(DType::Bool) && !matches!(f, BinFn::Eq | BinFn::Ne) {
                    return Err(format!("`{}` does not take bool", f.name()));
                }
                Ok(if f.is_comparison() { Some(DType::Bool) } else { t })
            }
            ScalarExpr::Select(c, a, b) => {
                if c.dtype(args)? != Some(DType::Bool) {
                    return Err("the condition of a select is not bool".into());
                }
                both(a.dtype(args)?, b.dtype(args)?)
            }
        }
    }

    /// Reads the text form. Nesting is bounded by `depth_limit`.
    pub fn parse(text: &str) -> Result<ScalarExpr, String> {
        let spaced = text.replace('(', " ( ").replace(')', " ) ");
        let tokens: Vec<&str> = spaced.split_whitespace().collect();
        let mut at = 0;
        let e = parse_tokens(&tokens, &mut at, 0)?;
        if at == tokens.len() { Ok(e) } else { Err(format!("text after the expression: `{}`", tokens[at])) }
    }
}

fn parse_tokens(tokens: &[&str], at: &mut usize, depth: usize) -> Result<ScalarExpr, String> {
    if depth > 512 {
        return Err("the expression is nested too deeply".into());
    }
    let next = |at: &mut usize| -> Result<String, String> {
        let t = tokens.get(*at).ok_or("the expression ends early")?;
        *at += 1;
        Ok((*t).to_string())
    };
    let t = next(at)?;
    if t != "(" {
        if let Some(n) = t.strip_prefix('a').and_then(|n| n.parse().ok()) {
            return Ok(ScalarExpr::Arg(n));
        }
        return t.parse().map(ScalarExpr::Const).map_err(|_| format!("`{t}` is no argument and no number"));
    }
    let head = next(at)?;
    let arg = |at: &mut usize| parse_tokens(tokens, at, depth + 1);
    let e = if let Some(f) = UnFn::from_name(&head) {
        ScalarExpr::un(f, arg(at)?)
    } else if let Some(f) = BinFn::from_name(&head) {
        let a = arg(at)?;
        ScalarExpr::bin(f, a, arg(at)?)
    } else if head == "select" {
        let (c, a) = (arg(at)?, arg(at)?);
        ScalarExpr::select(c, a, arg(at)?)
    } else if let Some(d) = DType::from_name(&head) {
        ScalarExpr::cast(d, arg(at)?)
    } else {
        return Err(format!("unknown function `{head}`"));
    };
    if next(at)? != ")" {
        return Err(format!("`{head}` has too many arguments"));
    }
    Ok(e)
}

impl fmt::Display for ScalarExpr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ScalarExpr::Arg(n) => write!(f, "a{n}"),
            ScalarExpr::Const(c) => write!(f, "{c}"),
            ScalarExpr::Un(u, a) => write!(f, "({} {a})", u.name()),
            ScalarExpr::Bin(o, a, b) => write!(f, "({} {a} {b})", o.name()),
            ScalarExpr::Select(c, a, b) => write!(f, "(select {c} {a} {b})"),
            ScalarExpr::Cast(t, a) => write!(f, "({t} {a})"),
        }
    }
}
