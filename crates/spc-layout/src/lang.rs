//! The term language of the e-graph. What a node *is* stands in the node: attributes are leaf children with dense ids, so
//! that patterns can bind them and order does not depend on history.
use egg::{Id, define_language};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

/// Mixed into the hash of every id, so that tests can show that nothing depends on it.
#[cfg(test)]
pub(crate) fn salt() -> u32 {
    SALT.with(std::cell::Cell::get)
}

#[cfg(test)]
thread_local! {
    pub(crate) static SALT: std::cell::Cell<u32> = const { std::cell::Cell::new(0) };
}

#[cfg(not(test))]
const fn salt() -> u32 {
    0
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident $prefix:literal),* $(,)?) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub(crate) struct $name(pub u32);
        impl Hash for $name {
            fn hash<H: Hasher>(&self, state: &mut H) {
                state.write_u32(self.0 ^ salt());
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }
        impl FromStr for $name {
            type Err = ();
            fn from_str(s: &str) -> Result<Self, ()> {
                s.strip_prefix($prefix).and_then(|r| r.parse().ok()).map(Self).ok_or(())
            }
        }
    )*};
}
ids!(
    /// A value of the model, by position.
    V "v",
    /// A weight layout, by its place in the model's table.
    Lay "w",
);

/// Activation layout as a leaf.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum In {
    Rm,
    Fm,
}

impl fmt::Display for In {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == In::Rm { "rm" } else { "fm" })
    }
}

impl FromStr for In {
    type Err = ();
    fn from_str(s: &str) -> Result<In, ()> {
        match s {
            "rm" => Ok(In::Rm),
            "fm" => Ok(In::Fm),
            _ => Err(()),
        }
    }
}

define_language! {
    /// A *logical* node says what is computed. `(at L x)` asks for value x in activation layout L; it is never part of a
    /// plan. A *physical* node (`k.*`) is a kernel call and determines its bytes completely.
    pub(crate) enum Nn {
        "none" = Nothing,
        V(V), Lay(Lay), In(In),
        "nil" = Nil, "cons" = Cons([Id; 2]),
        "linear" = Linear([Id; 3]),   // epilogue or none, the linear, input
        "with" = With([Id; 3]),       // an epilogue that reads others: the node, operands of its shape, other operands
        "map" = Map([Id; 3]),         // the node, operands of its shape, scalar operands
        "op" = Op([Id; 2]),           // the node, operands
        "part" = Part([Id; 2]),       // the part, the linear that it is a range of
        "ref" = Ref([Id; 1]),         // the value of this name
        "same" = Same([Id; 2]),       // the value, another one that may be read in its place
        "at" = At([Id; 2]),
        "k.nil" = KNil, "k.cons" = KCons([Id; 2]),
        "k.mm" = KMm([Id; 5]),        // output layout, weight layout, epilogue, the linear, input
        "k.map" = KMap([Id; 4]),      // layout, the node, operands, scalars
        "k.op" = KOp([Id; 2]),
        "k.unfold" = KUnfold([Id; 2]), // a matrix of windows, feature-major; what it is made of
        "k.channels" = KChannels([Id; 2]), // a transpose, and the feature-major matrix that it reads
        "k.part" = KPart([Id; 2]),    // the part, the linear that it is a range of
        "k.same" = KSame([Id; 2]),    // the value, the one that is read in its place
        "k.cvt" = KCvt([Id; 2]),      // to layout, value in the other layout
    }
}
