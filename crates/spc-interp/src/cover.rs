//! The groups of one sentence: which tensors they are cut from, and which tensors share them.
use crate::groups::Grid;
use spc_ir::{Cover, Keep, Member, Part, Scope, Slices, Tail};

/// How one member is cut into groups.
#[derive(Clone, Debug)]
pub(crate) enum Cut {
    Grid(Grid),
    Slices(SliceMap),
    /// A square matrix of this size; undirected pairs are numbered by their place in the lower triangle.
    Pairs {
        size: usize,
        undirected: bool,
    },
}

/// Slices of one tensor.
#[derive(Clone, Debug)]
pub(crate) struct SliceMap {
    shape: Vec<usize>,
    groups: usize,
    /// For each part its dimension, and for each position along it the group, or [`NONE`].
    parts: Vec<(usize, Vec<u32>)>,
}

const NONE: u32 = u32::MAX;

fn size(n: u64) -> Result<usize, String> {
    usize::try_from(n).map_err(|_| format!("a size of {n} is too large"))
}

/// Number of elements, if it is at most 2^32.
fn elements(shape: &[u64]) -> Result<usize, String> {
    let n = shape.iter().try_fold(1u64, |n, d| n.checked_mul(*d)).filter(|n| *n <= u64::from(u32::MAX));
    n.ok_or_else(|| "more than 2^32 elements in one tensor".to_string()).and_then(size)
}

impl Cut {
    /// The reason when groups do not fit the tensor.
    pub fn new(m: &Member, keep: &Keep) -> Result<Cut, String> {
        let tile = (keep.scope == Scope::Tile).then_some(m.scope.as_slice());
        match &m.cover {
            Cover::Tile(group) => Ok(Cut::Grid(Grid::new(&m.shape, group, tile, keep.tail)?)),
            _ if tile.is_some() => Err("only tiles and elements are counted per tile".into()),
            Cover::Slices(s) => SliceMap::new(&m.shape, s, keep.tail).map(Cut::Slices),
            Cover::Pairs { undirected } => match m.shape.as_slice() {
                [a, b] if a == b => {
                    elements(&m.shape)?;
                    Ok(Cut::Pairs { size: size(*a)?, undirected: *undirected })
                }
                _ => Err("pairs are cut from a square matrix".into()),
            },
        }
    }

    pub fn grid(&self) -> Option<&Grid> {
        if let Cut::Grid(g) = self { Some(g) } else { None }
    }

    pub fn elements(&self) -> usize {
        match self {
            Cut::Grid(g) => g.elements(),
            Cut::Slices(s) => s.shape.iter().product(),
            Cut::Pairs { size, .. } => size * size,
        }
    }

    pub fn groups(&self) -> usize {
        match self {
            Cut::Grid(g) => g.groups(),
            Cut::Slices(s) => s.groups,
            Cut::Pairs { size, undirected: false } => size * size,
            Cut::Pairs { size, undirected: true } => size * (size + 1) / 2,
        }
    }

    /// Calls `f(element, group)` for every element and each group that it is in, elements in row-major order.
    pub fn each(&self, mut f: impl FnMut(usize, usize)) {
        match self {
            Cut::Grid(g) => g.each(f),
            Cut::Slices(s) => s.each(f),
            Cut::Pairs { size, undirected } => {
                for i in 0..*size {
                    for j in 0..*size {
                        let (a, b) = (i.max(j), i.min(j));
                        f(i * size + j, if *undirected { a * (a + 1) / 2 + b } else { i * size + j });
                    }
                }
            }
        }
    }

    /// True when an element may be in more than one group of this cut.
    pub fn overlaps(&self) -> bool {
        let Cut::Slices(s) = self else { return false };
        s.parts.iter().enumerate().any(|(i, (d, at))| {
            s.parts[..i]
                .iter()
                .any(|(e, other)| d != e || at.iter().zip(other).any(|(a, b)| a != b && *a != NONE && *b != NONE))
        })
    }

    /// Index of an element along dimension 0.
    pub fn row(&self, element: usize) -> usize {
        match self {
            Cut::Grid(g) => g.row(element),
            Cut::Slices(s) => element / s.shape.iter().skip(1).product::<usize>().max(1),
            Cut::Pairs { size, .. } => element / (*size).max(1),
        }
    }
}

impl SliceMap {
    fn new(shape: &[u64], s: &Slices, tail: Tail) -> Result<SliceMap, String> {
        elements(shape)?;
        let first = s.parts.first().ok_or("slices without a part")?;
        if s.by == 0 || s.parts.iter().any(|p| p.size != first.size || p.inner == 0 || p.size == 0) {
            return Err("slices of different or no size".into());
        }
        if tail == Tail::Exact && first.size % s.by != 0 {
            return Err(format!("groups of {} positions do not divide an axis of {}", s.by, first.size));
        }
        let groups = u32::try_from(s.groups()).ok().filter(|g| *g != NONE).ok_or("too many slices")?;
        let map = |p: &Part| {
            let n = *shape.get(p.dim as usize).ok_or("no such dimension")?;
            if p.start >= p.end || p.end > n {
                return Err(format!("a slice {}..{} of a dimension of {n}", p.start, p.end));
            }
            let group = |i| p.place(i).and_then(|at| u32::try_from(at / s.by).ok()).unwrap_or(NONE);
            Ok((p.dim as usize, (0..n).map(group).collect()))
        };
        let parts = s.parts.iter().map(map).collect::<Result<_, String>>()?;
        let shape = shape.iter().map(|n| size(*n)).collect::<Result<_, _>>()?;
        Ok(SliceMap { shape, groups: groups as usize, parts })
    }

    fn each(&self, mut f: impl FnMut(usize, usize)) {
        let total: usize = self.shape.iter().product();
        let stride = |d: usize| self.shape.iter().skip(d + 1).product::<usize>();
        if let [(dim, at)] = self.parts.as_slice() {
            let inner = stride(*dim);
            let mut e = 0;
            while e < total {
                for g in at {
                    for _ in 0..inner {
                        if *g != NONE {
                            f(e, *g as usize);
                        }
                        e += 1;
                    }
                }
            }
            return;
        }
        let strides: Vec<usize> = self.parts.iter().map(|(d, _)| stride(*d)).collect();
        let mut seen: Vec<u32> = Vec::with_capacity(self.parts.len());
        for e in 0..total {
            seen.clear();
            for ((_, at), stride) in self.parts.iter().zip(&strides) {
                let g = at[e / stride % at.len()];
                if g != NONE && !seen.contains(&g) {
                    seen.push(g);
                    f(e, g as usize);
                }
            }
        }
    }
}

/// Groups with one numbering: those of one tensor, or those that a family of slices shares.
#[derive(Clone, Debug)]
pub(crate) struct Space {
    /// Members, ascending.
    pub members: Vec<usize>,
    pub groups: usize,
}

/// The spaces of a sentence in the order of their first members, and the space of each member.
pub(crate) fn spaces(keep: &Keep, cuts: &[Cut]) -> Result<(Vec<Space>, Vec<usize>), String> {
    let mut list: Vec<Space> = Vec::new();
    let mut of = Vec::with_capacity(cuts.len());
    let mut families: Vec<(u32, u64, usize)> = Vec::new();
    for (i, (m, cut)) in keep.members.iter().zip(cuts).enumerate() {
        let Cover::Slices(s) = &m.cover else {
            of.push(list.len());
            list.push(Space { members: vec![i], groups: cut.groups() });
            continue;
        };
        match families.iter().find(|f| f.0 == s.family) {
            Some((_, by, space)) => {
                if list[*space].groups != cut.groups() || *by != s.by {
                    return Err("members of one family have different numbers of groups".into());
                }
                list[*space].members.push(i);
                of.push(*space);
            }
            None => {
                families.push((s.family, s.by, list.len()));
                of.push(list.len());
                list.push(Space { members: vec![i], groups: cut.groups() });
            }
        }
    }
    Ok((list, of))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(shape: &[u64], by: u64, parts: &[Part]) -> Cut {
        let s = Slices { family: 0, by, parts: parts.to_vec() };
        Cut::Slices(SliceMap::new(shape, &s, Tail::Ragged).unwrap())
    }

    fn groups(c: &Cut) -> Vec<Vec<usize>> {
        let mut out = vec![vec![]; c.elements()];
        c.each(|e, g| out[e].push(g));
        out
    }

    #[test]
    fn strides_offsets_and_neighbours() {
        // `[(A B)]` with A = 2, B = 3: slices of the outer, then of the inner axis.
        let outer = Part { dim: 0, start: 0, end: 6, inner: 3, size: 2 };
        let inner = Part { dim: 0, start: 0, end: 6, inner: 1, size: 3 };
        let flat = |c: &Cut| groups(c).concat();
        assert_eq!(flat(&map(&[6], 1, &[outer])), [0, 0, 0, 1, 1, 1]);
        assert_eq!(flat(&map(&[6], 1, &[inner])), [0, 1, 2, 0, 1, 2]);
        assert_eq!(flat(&map(&[6], 2, &[inner])), [0, 0, 1, 0, 0, 1]);
        // Behind a concatenation the axis starts at an offset; what stands before is in no group.
        let late = Part { dim: 1, start: 1, end: 3, inner: 1, size: 2 };
        assert_eq!(groups(&map(&[2, 3], 1, &[late])), [vec![], vec![0], vec![1], vec![], vec![0], vec![1]]);
        assert_eq!(map(&[2, 3], 1, &[late]).row(4), 1);
    }

    #[test]
    fn square_tensors_overlap() {
        let both = [Part::whole(0, 2), Part::whole(1, 2)];
        let c = map(&[2, 2], 1, &both);
        assert!(c.overlaps() && !map(&[2, 2], 1, &both[..1]).overlaps());
        assert_eq!(groups(&c), [vec![0], vec![0, 1], vec![1, 0], vec![1]]);
        // Two halves of one dimension do not meet.
        let half = |start| Part { dim: 0, start, end: start + 2, inner: 1, size: 2 };
        let c = map(&[4], 1, &[half(0), half(2)]);
        assert!(!c.overlaps());
        assert_eq!(groups(&c), [vec![0], vec![1], vec![0], vec![1]]);
    }

    #[test]
    fn undirected_pairs_share_a_group() {
        let c = Cut::Pairs { size: 3, undirected: true };
        assert_eq!(groups(&c).concat(), [0, 1, 3, 1, 2, 4, 3, 4, 5]);
        assert_eq!((c.groups(), c.row(5)), (6, 1));
        let c = Cut::Pairs { size: 3, undirected: false };
        assert_eq!(groups(&c).concat(), (0..9).collect::<Vec<_>>());
    }
}
