//! A readable dump of the tree for `--emit=ast`: one node a line, children indented, spans as byte ranges.
//!
//! ```text
//! Ast 0..10
//!   items:
//!     - Item 0..10
//!         kind: Axis
//!           decls:
//!             - AxisDecl 5..10
//!                 name: B 5..6
//!                 value: Num 4 9..10
//! ```
//! Absent options, empty lists and `false` are left out. The text is stable and meant for snapshots.
use crate::ast::table::nodes;
use crate::ast::*;

/// Dumps the whole tree.
pub fn dump(ast: &Ast) -> String {
    let mut out = String::new();
    line(0, &format!("Ast{}", ast.span.head()), &mut out);
    ast.docs.field("docs", 1, &mut out);
    ast.items.field("items", 1, &mut out);
    out
}

/// A node in the dump: a head on its line, and lines below.
trait Dump {
    /// What stands on the node's own line, each word after a blank.
    fn head(&self) -> String;

    /// The head as the payload of a variant, whose name already says much; `span` asks for the node's span.
    fn tail(&self, span: bool) -> String {
        let _ = span;
        self.head()
    }

    /// The lines below, indented by `depth`.
    fn below(&self, depth: usize, out: &mut String);

    /// The node as a field of another.
    fn field(&self, name: &str, depth: usize, out: &mut String) {
        line(depth, &format!("{name}:{}", self.head()), out);
        self.below(depth + 1, out);
    }

    /// The span, for nodes that are nothing else.
    fn as_span(&self) -> Option<Span> {
        None
    }
}

fn line(depth: usize, text: &str, out: &mut String) {
    for _ in 0..depth {
        out.push_str("  ");
    }
    out.push_str(text);
    out.push('\n');
}

impl Dump for Span {
    fn head(&self) -> String {
        format!(" {}..{}", self.start, self.end)
    }

    fn below(&self, _: usize, _: &mut String) {}

    /// Spans stand on the line of the node that they belong to.
    fn field(&self, _: &str, _: usize, _: &mut String) {}

    fn as_span(&self) -> Option<Span> {
        Some(*self)
    }
}

impl<T: Dump> Dump for Option<T> {
    fn head(&self) -> String {
        self.as_ref().map(Dump::head).unwrap_or_default()
    }

    fn below(&self, depth: usize, out: &mut String) {
        self.iter().for_each(|inner| inner.below(depth, out));
    }

    fn field(&self, name: &str, depth: usize, out: &mut String) {
        self.iter().for_each(|inner| inner.field(name, depth, out));
    }
}

impl<T: Dump> Dump for Box<T> {
    fn head(&self) -> String {
        (**self).head()
    }

    fn tail(&self, span: bool) -> String {
        (**self).tail(span)
    }

    fn below(&self, depth: usize, out: &mut String) {
        (**self).below(depth, out);
    }
}

impl<T: Dump> Dump for Vec<T> {
    fn head(&self) -> String {
        String::new()
    }

    fn below(&self, depth: usize, out: &mut String) {
        for item in self {
            line(depth, &format!("-{}", item.head()), out);
            item.below(depth + 2, out);
        }
    }

    fn field(&self, name: &str, depth: usize, out: &mut String) {
        if !self.is_empty() {
            line(depth, &format!("{name}:"), out);
            self.below(depth + 1, out);
        }
    }
}

impl<T: Dump> Dump for Clause<T> {
    fn head(&self) -> String {
        format!("{}{}", self.value.tail(false), self.span.head())
    }

    fn below(&self, depth: usize, out: &mut String) {
        self.value.below(depth, out);
    }
}

impl Dump for bool {
    fn head(&self) -> String {
        format!(" {self}")
    }

    fn below(&self, _: usize, _: &mut String) {}

    fn field(&self, name: &str, depth: usize, out: &mut String) {
        if *self {
            line(depth, &format!("{name}: true"), out);
        }
    }
}

/// Plain values.
macro_rules! plain {
    ($($ty:ty: |$it:ident| $text:expr;)*) => {
        $(impl Dump for $ty {
            fn head(&self) -> String {
                let $it = self;
                format!(" {}", $text)
            }

            fn below(&self, _: usize, _: &mut String) {}
        })*
    };
}

plain! {
    u64: |n| n;
    UnaryOp: |op| op.symbol();
    BinaryOp: |op| op.symbol();
    End: |e| format!("{e:?}");
    Tail: |t| format!("{t:?}");
    PenaltyKind: |k| format!("{k:?}");
}

/// How a node of one word reads.
trait Word {
    fn word(&self) -> String;
}

impl Word for Ident {
    fn word(&self) -> String {
        self.name.clone()
    }
}

impl Word for Text {
    fn word(&self) -> String {
        format!("{:?}", self.value)
    }
}

impl Word for Doc {
    fn word(&self) -> String {
        format!("{:?}", self.text)
    }
}

impl Word for Num {
    fn word(&self) -> String {
        self.text.clone()
    }
}

impl Word for Pct {
    fn word(&self) -> String {
        format!("{}%", self.text)
    }
}

macro_rules! words {
    ($($ty:ident { $($field:ident),* })*) => {
        $(impl Dump for $ty {
            fn head(&self) -> String {
                self.tail(true)
            }

            fn tail(&self, span: bool) -> String {
                let span = if span { self.span.head() } else { String::new() };
                format!(" {}{span}", self.word())
            }

            fn below(&self, _: usize, _: &mut String) {}
        })*
    };
}

macro_rules! kinds {
    ($($ty:ident { kind, span })*) => {
        $(impl Dump for $ty {
            fn head(&self) -> String {
                let $ty { kind, span } = self;
                format!("{}{}", kind.tail(false), span.head())
            }

            fn below(&self, depth: usize, out: &mut String) {
                self.kind.below(depth, out);
            }
        })*
    };
}

macro_rules! fields {
    ($($ty:ident { $($field:ident),* })*) => {
        $(impl Dump for $ty {
            fn head(&self) -> String {
                format!(" {}{}", stringify!($ty), self.tail(true))
            }

            fn tail(&self, span: bool) -> String {
                let $ty { $($field),* } = self;
                let spans = [$($field.as_span()),*];
                spans.into_iter().flatten().next().filter(|_| span).map(|s| s.head()).unwrap_or_default()
            }

            fn below(&self, depth: usize, out: &mut String) {
                let $ty { $($field),* } = self;
                $($field.field(stringify!($field), depth, out);)*
            }
        })*
    };
}

macro_rules! variants {
    ($($ty:ident { $($variant:ident $(($a:ident))? $({ $($field:ident),* })?),* $(,)? })*) => {
        $(impl Dump for $ty {
            fn head(&self) -> String {
                self.tail(true)
            }

            fn tail(&self, span: bool) -> String {
                let _ = span;
                match self {
                    $($ty::$variant $(($a))? $({ $($field: _),* })? => {
                        let tails: &[String] = &[$($a.tail(span))?];
                        format!(" {}{}", stringify!($variant), tails.concat())
                    })*
                }
            }

            fn below(&self, depth: usize, out: &mut String) {
                let _ = (depth, &out);
                match self {
                    $($ty::$variant $(($a))? $({ $($field),* })? => {
                        $($a.below(depth, out);)?
                        $($($field.field(stringify!($field), depth, out);)*)?
                    })*
                }
            }
        })*
    };
}

nodes!(words, kinds, fields, variants);
