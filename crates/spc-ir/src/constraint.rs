//! Constraints on weights after all names are resolved: `keep AMOUNT of GROUP per SCOPE by SCORE`, with tiles as numbers.
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Score {
    /// Largest absolute value (for a single element: its absolute value).
    Abs,
    Norm1,
    Norm2,
    /// A fixed pseudo-random number for each group.
    Random(u64),
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

/// At least `count` groups are kept in each of these scopes, whatever the amount says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Floor {
    pub count: u64,
    pub scope: Scope,
}

/// One tensor under a sentence. Tile sizes are per dimension of the stored tensor, in elements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Name of the weight.
    pub weight: String,
    /// Shape of the weight.
    pub shape: Vec<u64>,
    /// Size of one group along each dimension; all ones is a single element.
    pub group: Vec<u64>,
    /// Size of one scope tile along each dimension; used with [`Scope::Tile`].
    pub scope: Vec<u64>,
    /// Which repetition the tensor belongs to (`mini.layer.3`), for [`Scope::Layer`].
    pub layer: String,
}

/// One `keep` sentence.
#[derive(Clone, Debug, PartialEq)]
pub struct Keep {
    pub amount: Amount,
    pub scope: Scope,
    pub score: Score,
    pub floor: Option<Floor>,
    /// The number kept is rounded up to this multiple.
    pub multiple: u64,
    pub tail: Tail,
    pub members: Vec<Member>,
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
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Scope::Tile => "tile",
            Scope::Tensor => "tensor",
            Scope::Layer => "layer",
            Scope::Model => "model",
        })
    }
}

impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Score::Abs => f.write_str("abs"),
            Score::Norm1 => f.write_str("norm1"),
            Score::Norm2 => f.write_str("norm2"),
            Score::Random(seed) => write!(f, "random({seed})"),
        }
    }
}

impl fmt::Display for Tail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Tail::Exact => "exact",
            Tail::Pad => "pad",
            Tail::Ragged => "ragged",
        })
    }
}
