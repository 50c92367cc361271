//! From expression trees to the values of a [`Body`]: pointwise work stays one tree until something needs its value.
use crate::cx::{Cx, Res};
use spc_base::{Span, codes};
use spc_ir::method::{Body, Compute, Input, Kind, Space, Target, Value, ValueId};
use spc_ir::{BinFn, DType, ScalarExpr, UnFn};
use std::rc::Rc;

#[derive(Debug)]
enum Tree {
    Leaf(ValueId),
    Literal(f64),
    Un(UnFn, Rc<Tree>),
    Bin(BinFn, Rc<Tree>, Rc<Tree>),
    Select(Rc<Tree>, Rc<Tree>, Rc<Tree>),
    ToFloat(Rc<Tree>),
}

/// A pointwise expression over values of a body.
#[derive(Clone, Debug)]
pub(crate) struct Ex {
    tree: Rc<Tree>,
    pub space: Space,
    pub kind: Kind,
}

impl Ex {
    pub fn literal(v: f64) -> Ex {
        Ex { tree: Rc::new(Tree::Literal(v)), space: Space::Scalar, kind: Kind::Float }
    }

    /// A comparison of two literals, so that its type is known.
    pub fn truth(b: bool) -> Ex {
        let (less, more) = if b { (0.0, 1.0) } else { (1.0, 0.0) };
        Ex::bin(BinFn::Lt, &Ex::literal(less), &Ex::literal(more))
    }

    pub fn leaf(id: ValueId, space: Space, kind: Kind) -> Ex {
        Ex { tree: Rc::new(Tree::Leaf(id)), space, kind }
    }

    pub fn as_literal(&self) -> Option<f64> {
        match &*self.tree {
            Tree::Literal(v) => Some(*v),
            _ => None,
        }
    }

    pub fn un(f: UnFn, a: &Ex) -> Ex {
        Ex { tree: Rc::new(Tree::Un(f, a.tree.clone())), ..*a }
    }

    /// Both of one kind.
    pub fn bin(f: BinFn, a: &Ex, b: &Ex) -> Ex {
        let kind = if f.is_comparison() || f.is_logic() { Kind::Bool } else { Kind::Float };
        Ex { tree: Rc::new(Tree::Bin(f, a.tree.clone(), b.tree.clone())), space: a.space.max(b.space), kind }
    }

    pub fn select(c: &Ex, a: &Ex, b: &Ex) -> Ex {
        let tree = Rc::new(Tree::Select(c.tree.clone(), a.tree.clone(), b.tree.clone()));
        Ex { tree, space: c.space.max(a.space).max(b.space), kind: a.kind }
    }

    /// True as 1, false as 0; a number stays.
    pub fn float(&self) -> Ex {
        match self.kind {
            Kind::Float => self.clone(),
            Kind::Bool => Ex { tree: Rc::new(Tree::ToFloat(self.tree.clone())), space: self.space, kind: Kind::Float },
        }
    }
}

/// Most arguments of one map.
const MAX_ARGS: usize = 200;
/// Most values of one body.
const MAX_VALUES: usize = 5_000;

#[derive(Debug, Default)]
pub(crate) struct Builder {
    pub body: Body,
}

impl Builder {
    pub fn push(&mut self, compute: Compute, space: Space, kind: Kind) -> Ex {
        let same = |v: &Value| matches!(compute, Compute::Input(_) | Compute::Outer(_)) && v.compute == compute;
        let at = match self.body.values.iter().position(same) {
            Some(at) => at,
            None => {
                self.body.values.push(Value { name: None, compute, space, kind });
                self.body.values.len() - 1
            }
        };
        Ex::leaf(at as ValueId, space, kind)
    }

    pub fn input(&mut self, input: Input, space: Space, kind: Kind) -> Ex {
        self.push(Compute::Input(input), space, kind)
    }

    pub fn number(&mut self, v: f64) -> Ex {
        self.input(Input::Number(v), Space::Scalar, Kind::Float)
    }

    /// The expression as a value.
    pub fn value(&mut self, cx: &mut Cx, e: &Ex, span: Span) -> Res<ValueId> {
        if let Tree::Leaf(id) = &*e.tree {
            return Ok(*id);
        }
        if self.body.values.len() > MAX_VALUES {
            return cx.err(codes::TOO_LARGE, span, "the hook stands for too much work", "here");
        }
        let mut args = Vec::new();
        let expr = self.scalar(&e.tree, &mut args);
        if args.len() > MAX_ARGS {
            return cx.err(codes::TOO_LARGE, span, "the expression reads too many values", "give parts of it a name");
        }
        let compute = Compute::Map { expr, args };
        self.body.values.push(Value { name: None, compute, space: e.space, kind: e.kind });
        Ok(self.body.values.len() as ValueId - 1)
    }

    /// The expression under a name: computed once, read often.
    pub fn named(&mut self, cx: &mut Cx, e: &Ex, name: &str, span: Span) -> Res<Ex> {
        let id = self.value(cx, e, span)?;
        if let Some(v) = self.body.values.get_mut(id as usize)
            && v.name.is_none()
            && !matches!(v.compute, Compute::Input(_))
        {
            v.name = Some(name.to_string());
        }
        Ok(Ex::leaf(id, e.space, e.kind))
    }

    fn scalar(&mut self, t: &Tree, args: &mut Vec<ValueId>) -> ScalarExpr {
        let arg = |id: ValueId, args: &mut Vec<ValueId>| {
            let at = args.iter().position(|a| *a == id).unwrap_or_else(|| {
                args.push(id);
                args.len() - 1
            });
            ScalarExpr::Arg(u8::try_from(at).unwrap_or(u8::MAX))
        };
        match t {
            Tree::Leaf(id) => arg(*id, args),
            // Literals are rounded to f32 inside a map; what that would change is a value of its own.
            Tree::Literal(v) if f64::from(*v as f32) == *v => ScalarExpr::Const(*v),
            Tree::Literal(v) => {
                let compute = Compute::Input(Input::Number(*v));
                let at = self.body.values.iter().position(|x| x.compute == compute).unwrap_or_else(|| {
                    self.body.values.push(Value { name: None, compute, space: Space::Scalar, kind: Kind::Float });
                    self.body.values.len() - 1
                });
                arg(at as ValueId, args)
            }
            Tree::Un(f, a) => ScalarExpr::un(*f, self.scalar(a, args)),
            Tree::Bin(f, a, b) => {
                let a = self.scalar(a, args);
                ScalarExpr::bin(*f, a, self.scalar(b, args))
            }
            Tree::Select(c, a, b) => {
                let (c, a) = (self.scalar(c, args), self.scalar(a, args));
                ScalarExpr::select(c, a, self.scalar(b, args))
            }
            Tree::ToFloat(a) => ScalarExpr::cast(DType::F32, self.scalar(a, args)),
        }
    }

    pub fn result(&mut self, cx: &mut Cx, target: Target, e: &Ex, span: Span) -> Res<()> {
        let id = self.value(cx, e, span)?;
        self.body.results.retain(|(t, _)| *t != target);
        self.body.results.push((target, id));
        Ok(())
    }

    pub fn finish(mut self) -> Body {
        self.body.prune();
        self.body
    }
}
