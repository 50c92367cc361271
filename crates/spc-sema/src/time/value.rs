//! Values that schedules are made of, before they are a [`Schedule`](spc_ir::method::Schedule).
use spc_ir::method::{Moment, Ratio, TimeExpr, Unit};
use spc_ir::{BinFn, UnFn};
use std::rc::Rc;

/// A number over time. No unit: that of a parameter which takes any.
#[derive(Clone, Debug)]
pub(crate) struct Timed {
    pub expr: Rc<TimeExpr>,
    pub unit: Option<Unit>,
}

#[derive(Clone, Debug)]
pub(crate) enum Val {
    Num(Timed),
    /// `10%..80%`
    Range(Timed, Timed),
    /// `100% -> 20%`
    Change(Timed, Timed),
    List(Vec<Val>),
}

impl Val {
    /// What it is, for messages.
    pub fn what(&self) -> &'static str {
        match self {
            Val::Num(t) => match t.unit {
                Some(Unit::Share) => "a percentage",
                Some(Unit::Steps) => "a number of steps",
                Some(Unit::Truth) => "a condition",
                _ => "a number",
            },
            Val::Range(..) => "a range",
            Val::Change(..) => "a change",
            Val::List(_) => "a list",
        }
    }
}

impl Timed {
    pub fn new(expr: TimeExpr, unit: Unit) -> Timed {
        Timed { expr: Rc::new(fold(expr)), unit: Some(unit) }
    }

    pub fn exact(r: Ratio, unit: Unit) -> Timed {
        Timed { expr: Rc::new(TimeExpr::Exact(r)), unit: Some(unit) }
    }

    pub fn param(name: &str, unit: Option<Unit>) -> Timed {
        Timed { expr: Rc::new(TimeExpr::Param(name.to_string())), unit }
    }

    /// The number, when it is the same at all times.
    pub fn constant(&self) -> Option<f64> {
        let s = spc_ir::method::Schedule { expr: (*self.expr).clone(), unit: Unit::Number };
        if self.expr.is_constant() { s.at(&Moment::END).ok().map(|q| q.value) } else { None }
    }

    pub fn is_zero(&self) -> bool {
        matches!(&*self.expr, TimeExpr::Exact(r) if *r == Ratio::ZERO)
    }

    /// The whole number, when it is one and the same at all times.
    pub fn int(&self) -> Option<i64> {
        match &*self.expr {
            TimeExpr::Exact(r) if r.is_int() => Some(r.num()),
            _ => None,
        }
    }

    pub fn un(f: UnFn, a: &Timed) -> Timed {
        let expr = fold(TimeExpr::Un(f, Box::new((*a.expr).clone())));
        Timed { expr: Rc::new(expr), unit: a.unit }
    }

    pub fn bin(f: BinFn, a: &Timed, b: &Timed, unit: Option<Unit>) -> Timed {
        let expr = fold(TimeExpr::Bin(f, Box::new((*a.expr).clone()), Box::new((*b.expr).clone())));
        Timed { expr: Rc::new(expr), unit }
    }

    pub fn pick(c: &Timed, a: &Timed, b: &Timed, unit: Option<Unit>) -> Timed {
        let (c, a, b) = ((*c.expr).clone(), (*a.expr).clone(), (*b.expr).clone());
        Timed { expr: Rc::new(TimeExpr::If(Box::new(c), Box::new(a), Box::new(b))), unit }
    }

    /// Number of nodes, up to `limit`.
    pub fn size(&self, limit: usize) -> usize {
        fn count(e: &TimeExpr, left: &mut usize) {
            if *left == 0 {
                return;
            }
            *left -= 1;
            match e {
                TimeExpr::Un(_, a) => count(a, left),
                TimeExpr::Bin(_, a, b) => [a, b].into_iter().for_each(|e| count(e, left)),
                TimeExpr::If(c, a, b) => [c, a, b].into_iter().for_each(|e| count(e, left)),
                _ => {}
            }
        }
        let mut left = limit;
        count(&self.expr, &mut left);
        limit - left
    }
}

/// A constant expression becomes its value.
fn fold(e: TimeExpr) -> TimeExpr {
    let parts_constant = match &e {
        TimeExpr::Un(_, a) => leaf(a),
        TimeExpr::Bin(_, a, b) => leaf(a) && leaf(b),
        _ => false,
    };
    if !parts_constant {
        return e;
    }
    let s = spc_ir::method::Schedule { expr: e, unit: Unit::Number };
    match s.at(&Moment::END) {
        Ok(q) => q.exact.map_or(TimeExpr::Value(q.value), TimeExpr::Exact),
        Err(_) => s.expr,
    }
}

fn leaf(e: &TimeExpr) -> bool {
    matches!(e, TimeExpr::Exact(_) | TimeExpr::Value(_))
}
