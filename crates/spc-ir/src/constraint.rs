//! Constraints on weights after all names are resolved: `keep AMOUNT of GROUP per SCOPE by SCORE`, with groups as numbers.
use crate::ScalarExpr;
use std::fmt;

/// How many groups are kept in each scope.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Amount {
    /// An exact count.
    Count(u64),
    /// `n of m`: scopes hold exactly m groups (or a ragged, or padded, rest).
    OutOf { n: u64, m: u64 },
    /// A share as an exact fraction; keeps max(1, ceil(share * groups)).
    Share { num: u64, den: u64 },
    /// Groups whose score is above the threshold.
    Above(f64),
    /// Groups whose cost together is at most this share of the cost of all. Never exceeds it, unless a floor does.
    Budget { num: u64, den: u64, of: Cost },
}

/// What a budget counts. The number for one element is in [`Member::cost`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cost {
    Params,
    Bytes,
    /// Multiplications for one position of every free axis.
    Flops,
}

/// Over which set the amount is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Tiles of each tensor; their size is in [`Member::scope`].
    Tile,
    Tensor,
    /// One index of the innermost repetition ([`Member::layer`]).
    Layer,
    Model,
}

/// A number for each group, computed from the weights that are still present.
#[derive(Clone, Debug, PartialEq)]
pub enum Score {
    /// Largest absolute value (for a single element: its absolute value).
    Abs,
    Norm1,
    Norm2,
    /// A fixed pseudo-random number for each group.
    Random(u64),
    /// The sum over a group's elements of this expression of the weight (`a0`) and its gradient (`a1`).
    Map(ScalarExpr),
    /// As `Map`, with the norm of the input that an element meets over a data source (`a2`), and the source as written.
    Inputs(ScalarExpr, String),
    /// A score that needs data, as written: it is checked, and cannot be computed here.
    Data(String),
}

impl Score {
    /// True when gradients are needed.
    pub fn needs_gradients(&self) -> bool {
        matches!(self, Score::Map(e) | Score::Inputs(e, _) if e.uses(1) > 0)
    }

    /// The data over which inputs are measured.
    pub fn data(&self) -> Option<&str> {
        match self {
            Score::Inputs(_, data) => Some(data),
            _ => None,
        }
    }

    /// True when the weights alone give the score.
    pub fn is_of_weights(&self) -> bool {
        !matches!(self, Score::Data(_) | Score::Inputs(..)) && !self.needs_gradients()
    }
}

/// What happens to scopes or groups at the edge that are not whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tail {
    /// There are none: sizes divide.
    Exact,
    /// As if padded with zeros: a short scope keeps what a whole one keeps.
    Pad,
    /// A short scope keeps its share, rounded up.
    Ragged,
}

/// In each of these scopes at least `count` groups are kept, and at least this share of the groups over which the amount is
/// counted, whatever the amount says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Floor {
    pub count: u64,
    /// Numerator and denominator; rounded up.
    pub share: Option<(u64, u64)>,
    pub scope: Scope,
}

/// What an element means that lies in several groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overlap {
    /// It stays when all of them are kept.
    Sum,
    /// It stays when one of them is kept.
    Latent,
    /// Groups are nested; it stays when all of them are kept.
    Tree,
}

/// The groups of one tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cover {
    /// Tiles cut from the origin, by their size along each dimension; all ones is a single element, the shape is the tensor.
    Tile(Vec<u64>),
    /// What carries an axis: see [`Slices`].
    Slices(Slices),
    /// A square matrix: each position is a group, or, undirected, (i, j) together with (j, i).
    Pairs { undirected: bool },
}

/// Slices along one instance of an axis. Members of one family share their groups: group j is the union of all members'
/// slices j. Elements that no part covers are in no group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slices {
    /// Number of the axis instance within the sentence.
    pub family: u32,
    /// Neighbouring positions of the axis that make one group.
    pub by: u64,
    /// Where the axis lies in this tensor; at least one. Where parts of one tensor meet, an element is in several groups.
    pub parts: Vec<Part>,
}

/// A range `start..end` of a dimension that carries the axis: position i stands at `((i - start) / inner) % size` of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    pub dim: u32,
    pub start: u64,
    pub end: u64,
    /// Positions of the dimension per step of the axis: the product of the axes merged inside of it.
    pub inner: u64,
    /// Size of the axis, the same in all members of a family.
    pub size: u64,
}

impl Part {
    /// A whole dimension that is the axis.
    pub fn whole(dim: u32, size: u64) -> Part {
        Part { dim, start: 0, end: size, inner: 1, size }
    }

    /// Place on the axis of position `i` of the dimension.
    pub fn place(&self, i: u64) -> Option<u64> {
        if i < self.start || i >= self.end || self.inner == 0 || self.size == 0 {
            return None;
        }
        Some((i - self.start) / self.inner % self.size)
    }
}

impl Slices {
    /// Number of groups.
    pub fn groups(&self) -> u64 {
        self.parts.first().map_or(0, |p| p.size.div_ceil(self.by.max(1)))
    }
}

/// One tensor under a sentence. Tile sizes are per dimension of the stored tensor, in elements.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    /// Name of the weight.
    pub weight: String,
    /// Shape of the weight.
    pub shape: Vec<u64>,
    pub cover: Cover,
    /// Size of one scope tile along each dimension; used with [`Scope::Tile`] and tiles.
    pub scope: Vec<u64>,
    /// Which repetition the tensor belongs to (`mini.layer.3`), for [`Scope::Layer`]. A family is in its first member's.
    pub layer: String,
    /// Tile of a floor per tile, where it is another than `scope`.
    pub floor: Option<Vec<u64>>,
    /// An amount of its own, with [`Scope::Tensor`] and [`Scope::Tile`].
    pub amount: Option<Amount>,
    /// Cost of one element, for budgets.
    pub cost: u64,
}

impl Member {
    /// A tensor cut into tiles.
    pub fn tile(weight: impl Into<String>, shape: &[u64], group: &[u64], scope: &[u64], layer: &str) -> Member {
        Member {
            weight: weight.into(),
            shape: shape.into(),
            cover: Cover::Tile(group.into()),
            scope: scope.into(),
            layer: layer.into(),
            floor: None,
            amount: None,
            cost: 1,
        }
    }

    /// A tensor of a family of slices.
    pub fn slices(weight: impl Into<String>, shape: &[u64], slices: Slices, layer: &str) -> Member {
        Member { cover: Cover::Slices(slices), ..Member::tile(weight, shape, shape, shape, layer) }
    }

    /// The group's size along each dimension, where groups are tiles.
    pub fn group(&self) -> Option<&[u64]> {
        match &self.cover {
            Cover::Tile(t) => Some(t),
            Cover::Slices(_) | Cover::Pairs { .. } => None,
        }
    }
}

/// One `keep` sentence.
#[derive(Clone, Debug, PartialEq)]
pub struct Keep {
    pub amount: Amount,
    pub scope: Scope,
    pub score: Score,
    /// A choice is scored by what the next sentence can keep of it.
    pub joint: bool,
    pub floor: Option<Floor>,
    /// The number kept is rounded up to this multiple; under a budget, down.
    pub multiple: u64,
    pub tail: Tail,
    /// Needed where groups overlap.
    pub overlap: Option<Overlap>,
    pub members: Vec<Member>,
}

impl Keep {
    /// A sentence by `abs`, without further clauses.
    pub fn new(amount: Amount, scope: Scope, members: Vec<Member>) -> Keep {
        Keep {
            amount,
            scope,
            score: Score::Abs,
            joint: false,
            floor: None,
            multiple: 1,
            tail: Tail::Exact,
            overlap: None,
            members,
        }
    }
}

/// A named constraint: its sentences, each choosing among what the one before kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Require {
    pub name: String,
    pub keeps: Vec<Keep>,
}

impl Require {
    /// Names of the weights it acts on, ascending and unique.
    pub fn weights(&self) -> Vec<&str> {
        let mut v: Vec<&str> = self.keeps.iter().flat_map(|k| &k.members).map(|m| m.weight.as_str()).collect();
        v.sort_unstable();
        v.dedup();
        v
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Amount::Count(n) => write!(f, "{n}"),
            Amount::OutOf { n, m } => write!(f, "{n} of {m}"),
            Amount::Share { num, den } => write!(f, "{num}/{den}"),
            Amount::Above(t) => write!(f, "above {t:?}"),
            Amount::Budget { num, den, of } => write!(f, "{num}/{den} of {of}"),
        }
    }
}

/// The word of each value, as `Display` writes it and the text form reads it.
macro_rules! words {
    ($($name:ident { $($var:ident = $text:literal),* })*) => {
        $(impl $name {
            pub const ALL: &'static [$name] = &[$($name::$var),*];
            pub fn name(self) -> &'static str { match self { $($name::$var => $text),* } }
            pub fn from_name(name: &str) -> Option<$name> { match name { $($text => Some($name::$var),)* _ => None } }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.write_str(self.name()) }
        })*
    };
}

words! {
    Cost { Params = "params", Bytes = "bytes", Flops = "flops" }
    Scope { Tile = "tile", Tensor = "tensor", Layer = "layer", Model = "model" }
    Tail { Exact = "exact", Pad = "pad", Ragged = "ragged" }
    Overlap { Sum = "sum", Latent = "latent", Tree = "tree" }
}

impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Score::Abs => f.write_str("abs"),
            Score::Norm1 => f.write_str("norm1"),
            Score::Norm2 => f.write_str("norm2"),
            Score::Random(seed) => write!(f, "random({seed})"),
            Score::Map(e) => write!(f, "map {e}"),
            Score::Inputs(e, data) => {
                write!(f, "inputs {e} {}", serde_json::to_string(data).unwrap_or_else(|_| format!("{data:?}")))
            }
            Score::Data(text) => {
                write!(f, "data {}", serde_json::to_string(text).unwrap_or_else(|_| format!("{text:?}")))
            }
        }
    }
}
