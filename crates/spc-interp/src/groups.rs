//! Which group an element belongs to, and which scope tile a group belongs to.
use spc_ir::Tail;

/// One tensor cut into groups, and the groups into scope tiles. Both are numbered row-major.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Grid {
    /// Per dimension: elements, elements per group, number of groups, groups per scope tile.
    shape: Vec<usize>,
    group: Vec<usize>,
    counts: Vec<usize>,
    scope: Vec<usize>,
}

impl Grid {
    /// The reason when tiles do not fit. Scope tiles are looked at only when `scope` is given.
    pub fn new(shape: &[u64], group: &[u64], scope: Option<&[u64]>, tail: Tail) -> Result<Grid, String> {
        let rank = shape.len();
        let tiled = scope.is_some();
        let scope = scope.unwrap_or(shape);
        if group.len() != rank || scope.len() != rank {
            return Err(format!("tiles of rank {} and {} on a tensor of rank {rank}", group.len(), scope.len()));
        }
        let size = |n: u64| usize::try_from(n).map_err(|_| format!("a size of {n} is too large"));
        let mut g = Grid { shape: vec![], group: vec![], counts: vec![], scope: vec![] };
        for d in 0..rank {
            let (n, t, s) = (size(shape[d])?, size(group[d])?, size(scope[d])?);
            if t == 0 || (tiled && s == 0) {
                return Err("a tile of size 0".into());
            }
            if tail == Tail::Exact && n % t != 0 {
                return Err(format!("groups of {t} do not divide dimension {d} of size {n}"));
            }
            let per_scope = if tiled {
                if s % t != 0 && s < n {
                    return Err(format!("groups of {t} do not divide scopes of {s} in dimension {d}"));
                }
                if tail == Tail::Exact && n % s != 0 {
                    return Err(format!("scopes of {s} do not divide dimension {d} of size {n}"));
                }
                s.div_ceil(t)
            } else {
                n.div_ceil(t).max(1)
            };
            g.shape.push(n);
            g.group.push(t);
            g.counts.push(n.div_ceil(t));
            g.scope.push(per_scope);
        }
        let product = |v: &[usize]| v.iter().try_fold(1usize, |n, d| n.checked_mul(*d));
        match (product(&g.shape), product(&g.scope)) {
            (Some(n), Some(s)) if u32::try_from(n).is_ok() && u32::try_from(s).is_ok() => Ok(g),
            _ => Err("more than 2^32 elements in one tensor or scope".into()),
        }
    }

    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    pub fn groups(&self) -> usize {
        self.counts.iter().product()
    }

    /// Groups of a scope tile that is not cut by an edge.
    pub fn whole(&self) -> usize {
        self.scope.iter().product()
    }

    /// Number of scope tiles.
    pub fn tiles(&self) -> usize {
        self.counts.iter().zip(&self.scope).map(|(n, s)| n.div_ceil(*s)).product()
    }

    /// Index along each dimension of number `index` in a grid of these sizes.
    fn position(mut index: usize, sizes: &[usize]) -> Vec<usize> {
        let mut at = vec![0; sizes.len()];
        for (a, n) in at.iter_mut().zip(sizes).rev() {
            *a = index % (*n).max(1);
            index /= (*n).max(1);
        }
        at
    }

    fn index(at: impl Iterator<Item = usize>, sizes: &[usize]) -> usize {
        at.zip(sizes).fold(0, |i, (a, n)| i * n + a)
    }

    /// The scope tile of a group.
    pub fn tile_of(&self, group: usize) -> usize {
        let at = Grid::position(group, &self.counts);
        let tiles: Vec<usize> = self.counts.iter().zip(&self.scope).map(|(n, s)| n.div_ceil(*s)).collect();
        Grid::index(at.into_iter().zip(&self.scope).map(|(a, s)| a / s), &tiles)
    }

    /// The groups of a scope tile, ascending.
    pub fn tile(&self, tile: usize) -> Vec<usize> {
        let tiles: Vec<usize> = self.counts.iter().zip(&self.scope).map(|(n, s)| n.div_ceil(*s)).collect();
        let mut list = vec![0usize];
        for (d, t) in Grid::position(tile, &tiles).into_iter().enumerate() {
            let range = t * self.scope[d]..((t + 1) * self.scope[d]).min(self.counts[d]);
            list = list.into_iter().flat_map(|i| range.clone().map(move |a| i * self.counts[d] + a)).collect();
        }
        list
    }

    /// Calls `f(element, group)` for every element, in row-major order.
    pub fn each(&self, mut f: impl FnMut(usize, usize)) {
        let (Some((last, outer)), Some(width)) = (self.shape.split_last(), self.group.last()) else {
            return f(0, 0);
        };
        let across = self.counts.last().copied().unwrap_or(1);
        let mut element = 0;
        for row in 0..outer.iter().product() {
            let at = Grid::position(row, outer);
            let first =
                Grid::index(at.iter().zip(&self.group).map(|(a, g)| a / g), &self.counts[..outer.len()]) * across;
            for j in 0..*last {
                f(element, first + j / width);
                element += 1;
            }
        }
    }

    /// Index of an element along dimension 0.
    pub fn row(&self, element: usize) -> usize {
        Grid::position(element, &self.shape).first().copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid(shape: &[u64], group: &[u64], scope: &[u64], tail: Tail) -> Result<Grid, String> {
        Grid::new(shape, group, Some(scope), tail)
    }

    #[test]
    fn elements_groups_and_tiles() {
        let g = grid(&[4, 6], &[2, 1], &[2, 3], Tail::Exact).unwrap();
        assert_eq!((g.groups(), g.tiles(), g.whole(), g.elements()), (12, 4, 3, 24));
        let mut of = [99; 24];
        g.each(|e, i| of[e] = i);
        assert_eq!(of[..12], [0, 1, 2, 3, 4, 5, 0, 1, 2, 3, 4, 5]);
        assert_eq!(of[12..18], [6, 7, 8, 9, 10, 11]);
        assert_eq!(g.tile(3), [9, 10, 11]);
        for t in 0..g.tiles() {
            assert!(g.tile(t).iter().all(|i| g.tile_of(*i) == t));
        }
        assert_eq!(g.row(13), 2);
    }

    #[test]
    fn edges() {
        let m = |tail| grid(&[3, 5], &[2, 2], &[2, 4], tail);
        assert!(m(Tail::Exact).is_err());
        let g = m(Tail::Pad).unwrap();
        assert_eq!((g.groups(), g.tiles(), g.whole()), (6, 4, 2));
        assert_eq!((g.tile(0), g.tile(1), g.tile(3)), (vec![0, 1], vec![2], vec![5]));
        let mut of = [0; 15];
        g.each(|e, i| of[e] = i);
        assert_eq!(of, [0, 0, 1, 1, 2, 0, 0, 1, 1, 2, 3, 3, 4, 4, 5]);
        // A scope of the whole axis needs no whole groups.
        let g = grid(&[1, 10], &[1, 4], &[1, 10], Tail::Ragged).unwrap();
        assert_eq!((g.tiles(), g.whole()), (1, 3));
        assert!(grid(&[1, 10], &[1, 4], &[1, 6], Tail::Ragged).is_err());
        assert!(grid(&[2], &[0], &[1], Tail::Pad).is_err());
        assert!(grid(&[u64::MAX], &[1], &[1], Tail::Pad).is_err());
    }

    #[test]
    fn scalars_and_empty_tensors() {
        let g = grid(&[], &[], &[], Tail::Exact).unwrap();
        assert_eq!((g.groups(), g.tiles(), g.tile(0)), (1, 1, vec![0]));
        let g = grid(&[0, 4], &[1, 4], &[1, 4], Tail::Exact).unwrap();
        assert_eq!((g.groups(), g.tiles()), (0, 0));
        g.each(|_, _| unreachable!());
    }
}
