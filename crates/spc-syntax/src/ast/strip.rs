//! Sets every span of a tree to the default, so that trees compare by content.
use super::table::nodes;
use super::*;

pub(super) trait Strip {
    fn strip(&mut self);
}

impl Strip for Span {
    fn strip(&mut self) {
        *self = Span::default();
    }
}

impl<T: Strip> Strip for Vec<T> {
    fn strip(&mut self) {
        self.iter_mut().for_each(Strip::strip);
    }
}

impl<T: Strip> Strip for Option<T> {
    fn strip(&mut self) {
        self.iter_mut().for_each(Strip::strip);
    }
}

impl<T: Strip> Strip for Box<T> {
    fn strip(&mut self) {
        (**self).strip();
    }
}

impl<T: Strip> Strip for Clause<T> {
    fn strip(&mut self) {
        self.value.strip();
        self.span.strip();
    }
}

/// Nothing to strip inside.
macro_rules! leaf {
    ($($ty:ty),* $(,)?) => { $(impl Strip for $ty { fn strip(&mut self) {} })* };
}

/// Strips the named fields. The pattern has no `..`, so a new field cannot be forgotten.
macro_rules! fields {
    ($($ty:ident { $($field:ident),* $(,)? })*) => {
        $(impl Strip for $ty { fn strip(&mut self) { let $ty { $($field),* } = self; $($field.strip();)* } })*
    };
}

/// Strips the payload of every variant.
macro_rules! variants {
    ($($ty:ident { $($variant:ident $(($a:ident))? $({ $($field:ident),* })?),* $(,)? })*) => {
        $(impl Strip for $ty {
            fn strip(&mut self) {
                match self { $($ty::$variant $(($a))? $({ $($field),* })? => { $($a.strip();)? $($($field.strip();)*)? })* }
            }
        })*
    };
}

leaf!(String, bool, u64, f64, UnaryOp, BinaryOp, End, Tail, PenaltyKind);

impl Strip for Ast {
    fn strip(&mut self) {
        let Ast { file: _, docs, items, span } = self;
        docs.strip();
        items.strip();
        span.strip();
    }
}

nodes!(fields, fields, fields, variants);
