//! The pattern of the zeros of one stored tensor, in one pass over its bytes. Takes time in the number of bytes and memory in
//! the length of a row: eleven bit maps of one row, whatever the size of the file.
use spc_io::{Presence, StoredTensor};

/// Longest row whose pattern is looked for: 2 MiB for each of its bit maps.
const MOST_COLS: usize = 1 << 24;

/// Ranges of dead positions that are listed.
const MOST_RANGES: usize = 64;

/// Sizes of groups along a row that are tried for `n of m`.
const GROUPS: [u32; 6] = [2, 4, 8, 16, 32, 64];

/// Heights and widths of blocks that are tried where a pattern holds nearly.
const SIZES: [u64; 7] = [1, 2, 4, 8, 16, 32, 64];

/// A block holds a pattern nearly where so large a part of the blocks that are needed is present.
const NEARLY: f64 = 0.99;

/// Positions that are zero throughout, as ranges with the end left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dead {
    pub count: u64,
    /// The first ones.
    pub ranges: Vec<(u64, u64)>,
}

impl Dead {
    fn add(&mut self, at: u64) {
        self.count += 1;
        if let Some((_, end)) = self.ranges.last_mut().filter(|(_, end)| *end == at) {
            *end += 1;
        } else if self.ranges.len() < MOST_RANGES {
            self.ranges.push((at, at + 1));
        }
    }
}

/// Blocks that hold a pattern nearly: the share of their elements that is present.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Near {
    pub rows: u64,
    pub cols: u64,
    pub fill: f64,
}

/// The zeros of a matrix.
#[derive(Clone, Debug, PartialEq)]
pub struct Matrix {
    pub rows: u64,
    pub cols: u64,
    pub dead_rows: Dead,
    pub dead_cols: Dead,
    /// `(n, m)`: at most n of each m consecutive elements of a row, each tighter than those before it, and used to nine
    /// tenths at least.
    pub groups: Vec<(u32, u32)>,
    /// The largest block, height by width, of which each one (counted from the first row and column) is present or absent
    /// as a whole. 1 by 1 always is such a block.
    pub block: (u64, u64),
    /// A larger block whose blocks are nearly full.
    pub near: Option<Near>,
}

/// What a tensor holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Zeros {
    pub elements: u64,
    pub present: u64,
    /// NaN or infinite.
    pub not_finite: u64,
    /// Of tensors with two dimensions or more and rows that are not too long.
    pub matrix: Option<Matrix>,
}

/// Rows and columns under which a tensor is looked at: all dimensions but the last by the last; of four dimensions and more,
/// as convolutions have, the first by all others.
pub fn as_matrix(shape: &[usize]) -> Option<(usize, usize)> {
    let product = |dims: &[usize]| dims.iter().try_fold(1usize, |n, d| n.checked_mul(*d));
    match shape {
        [] | [_] => None,
        [rows @ .., cols] if shape.len() < 4 => Some((product(rows)?, *cols)),
        [rows, cols @ ..] => Some((*rows, product(cols)?)),
    }
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Unions of the rows of a block, and how many elements the blocks that are needed have.
struct Level {
    height: u64,
    union: Vec<u64>,
    open: u64,
    covered: [u64; SIZES.len()],
}

/// For each of [`SIZES`], the first bit of every block of that width.
const FIRSTS: [u64; SIZES.len()] = [
    u64::MAX,
    0x5555_5555_5555_5555,
    0x1111_1111_1111_1111,
    0x0101_0101_0101_0101,
    0x0001_0001_0001_0001,
    0x0000_0001_0000_0001,
    1,
];

/// The first bit of each block of `width` bits that has a bit set.
fn blocks(word: u64, width: u64, firsts: u64) -> u64 {
    let (mut x, mut step) = (word, 1);
    while step < width {
        x |= x >> step;
        step *= 2;
    }
    x & firsts
}

impl Level {
    fn close(&mut self, cols: u64) {
        if self.open == 0 {
            return;
        }
        for ((covered, width), firsts) in self.covered.iter_mut().zip(SIZES).zip(FIRSTS) {
            let mut columns = 0;
            for (i, word) in self.union.iter().enumerate() {
                let touched = blocks(*word, width, firsts);
                columns += u64::from(touched.count_ones()) * width;
                // The last block may reach over the end of the row.
                let end = (i as u64 + 1) * 64;
                let last = (cols - 1) / width * width;
                if end > last && last >= i as u64 * 64 && touched >> (last % 64) & 1 == 1 {
                    columns -= last + width - cols;
                }
            }
            *covered += columns * self.open;
        }
        self.union.fill(0);
        self.open = 0;
    }
}

struct Scan {
    cols: u64,
    row: u64,
    alive: Vec<u64>,
    before: Vec<u64>,
    dead_rows: Dead,
    row_step: u64,
    col_step: u64,
    most: [u32; GROUPS.len()],
    levels: Vec<Level>,
}

impl Scan {
    fn new(cols: usize) -> Scan {
        let words = cols.div_ceil(64);
        let level = |height| Level { height, union: vec![0; words], open: 0, covered: [0; SIZES.len()] };
        Scan {
            cols: cols as u64,
            row: 0,
            alive: vec![0; words],
            before: vec![0; words],
            dead_rows: Dead::default(),
            row_step: 0,
            col_step: 0,
            most: [0; GROUPS.len()],
            levels: SIZES.into_iter().map(level).collect(),
        }
    }

    fn row(&mut self, bits: &[u64]) {
        if bits.iter().all(|w| *w == 0) {
            self.dead_rows.add(self.row);
        }
        if self.row > 0 && bits != self.before {
            self.row_step = gcd(self.row_step, self.row);
        }
        self.before.copy_from_slice(bits);
        self.alive.iter_mut().zip(bits).for_each(|(a, b)| *a |= b);
        if self.col_step != 1 {
            self.changes(bits);
        }
        for (most, m) in self.most.iter_mut().zip(GROUPS) {
            for word in bits {
                let ones = |i: u32| (word >> i & (u64::MAX >> (64 - m))).count_ones();
                *most = (0..64).step_by(m as usize).map(ones).fold(*most, u32::max);
            }
        }
        for l in &mut self.levels {
            l.union.iter_mut().zip(bits).for_each(|(a, b)| *a |= b);
            l.open += 1;
            if l.open == l.height {
                l.close(self.cols);
            }
        }
        self.row += 1;
    }

    /// Columns at which a row changes between present and absent.
    fn changes(&mut self, bits: &[u64]) {
        let mut carry = bits.first().map_or(0, |w| w & 1);
        for (i, word) in bits.iter().enumerate() {
            let mut changed = word ^ (word << 1 | carry);
            carry = word >> 63;
            while changed != 0 {
                let at = i as u64 * 64 + u64::from(changed.trailing_zeros());
                changed &= changed - 1;
                // Behind the last column there are zeros that are none of the row.
                if at < self.cols {
                    self.col_step = gcd(self.col_step, at);
                }
                if self.col_step == 1 {
                    return;
                }
            }
        }
    }

    fn finish(mut self, present: u64) -> Matrix {
        let (rows, cols) = (self.row, self.cols);
        let elements = rows.saturating_mul(cols);
        self.levels.iter_mut().for_each(|l| l.close(cols));
        let mut dead_cols = Dead::default();
        for c in (0..cols).filter(|c| self.alive[(c / 64) as usize] >> (c % 64) & 1 == 0) {
            dead_cols.add(c);
        }
        let density = present as f64 / elements.max(1) as f64;
        let mut groups: Vec<(u32, u32)> = Vec::new();
        for (n, m) in self.most.into_iter().zip(GROUPS) {
            let tighter = groups.iter().all(|(n2, m2)| n * m2 < n2 * m);
            if n > 0 && n < m && u64::from(m) <= cols && tighter && density * f64::from(m) >= 0.9 * f64::from(n) {
                groups.push((n, m));
            }
        }
        let block = (gcd(self.row_step, rows), gcd(self.col_step, cols));
        let mut near: Option<Near> = None;
        for l in &self.levels {
            for (covered, width) in l.covered.into_iter().zip(SIZES) {
                let (fill, share) = (present as f64 / covered.max(1) as f64, covered as f64 / elements.max(1) as f64);
                let area = l.height * width;
                let larger = area > block.0.saturating_mul(block.1) && near.is_none_or(|n| area > n.rows * n.cols);
                if larger && fill >= NEARLY && share <= 0.95 {
                    near = Some(Near { rows: l.height, cols: width, fill });
                }
            }
        }
        Matrix { rows, cols, dead_rows: self.dead_rows, dead_cols, groups, block, near }
    }
}

/// Looks at a tensor; `bytes` are its elements.
pub fn zeros(t: &StoredTensor, bytes: &[u8], how: Presence) -> Zeros {
    let elements = (bytes.len() / how.size()) as u64;
    let matrix = as_matrix(&t.shape).filter(|(rows, cols)| *rows > 0 && *cols > 0 && *cols <= MOST_COLS);
    // A part at a time where there are no rows.
    let width = matrix.map_or(1 << 16, |(_, cols)| cols);
    let mut scan = matrix.map(|(_, cols)| Scan::new(cols));
    let mut bits = vec![0u64; width.div_ceil(64)];
    let (mut present, mut not_finite) = (0u64, 0u64);
    for part in bytes.chunks(width.saturating_mul(how.size())) {
        not_finite += how.bits(part, &mut bits);
        present += bits.iter().map(|w| u64::from(w.count_ones())).sum::<u64>();
        if let Some(s) = &mut scan {
            s.row(&bits);
        }
    }
    Zeros { elements, present, not_finite, matrix: scan.map(|s| s.finish(present)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use spc_io::StoredType;

    /// What is found in a matrix of bytes.
    fn found(rows: usize, cols: usize, at: impl Fn(usize, usize) -> bool) -> Matrix {
        let bytes: Vec<u8> = (0..rows * cols).map(|i| u8::from(at(i / cols, i % cols))).collect();
        let t = StoredTensor {
            name: "w".into(),
            dtype: StoredType::U8,
            shape: vec![rows, cols],
            start: 0,
            end: bytes.len() as u64,
        };
        let z = zeros(&t, &bytes, StoredType::U8.presence().unwrap());
        assert_eq!((z.elements, z.present), (bytes.len() as u64, bytes.iter().map(|b| u64::from(*b)).sum()));
        z.matrix.unwrap()
    }

    fn noise(i: usize) -> u64 {
        let h = (i as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        (h ^ (h >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 40
    }

    #[test]
    fn blocks_are_found_in_their_size() {
        for (r, c, rows, cols) in
            [(16, 1, 64, 70), (4, 4, 20, 36), (1, 8, 9, 72), (3, 5, 12, 65), (16, 16, 96, 96), (2, 64, 6, 256)]
        {
            let m = found(rows, cols, |i, j| noise(i / r * 1000 + j / c).is_multiple_of(3));
            assert_eq!(m.block, (r as u64, c as u64), "{r} x {c}");
        }
        let m = found(7, 90, |i, j| noise(i * 90 + j).is_multiple_of(4));
        assert_eq!((m.block, m.near, m.groups), ((1, 1), None, vec![]));
    }

    /// The definitions, looked at element by element.
    #[test]
    fn blocks_agree_with_the_definition() {
        for case in 0..60usize {
            let (rows, cols) = (1 + noise(case) as usize % 12, 1 + noise(case + 100) as usize % 140);
            let (r, c) = (1 + noise(case + 200) as usize % 4, 1 + noise(case + 300) as usize % 9);
            let at = |i: usize, j: usize| noise(case * 77 + i / r * 1000 + j / c).is_multiple_of(3);
            let m = found(rows, cols, at);
            let whole = |h: usize, w: usize| {
                rows % h == 0
                    && cols % w == 0
                    && (0..rows).all(|i| (0..cols).all(|j| at(i, j) == at(i / h * h, j / w * w)))
            };
            let best = |f: &dyn Fn(usize) -> bool, n: usize| (1..=n).rev().find(|h| f(*h)).unwrap() as u64;
            let expected = (best(&|h| whole(h, 1), rows), best(&|w| whole(1, w), cols));
            assert_eq!(m.block, expected, "case {case}: {rows} x {cols}");
            let dead = (0..rows).filter(|i| (0..cols).all(|j| !at(*i, j))).count();
            assert_eq!(m.dead_rows.count, dead as u64);
            let dead: Vec<usize> = (0..cols).filter(|j| (0..rows).all(|i| !at(i, *j))).collect();
            let listed: Vec<usize> = m.dead_cols.ranges.iter().flat_map(|(a, b)| *a as usize..*b as usize).collect();
            assert_eq!(listed, dead);
        }
    }

    #[test]
    fn groups_are_the_tightest_that_hold() {
        let m = found(8, 128, |i, j| (j + i) % 4 < 2);
        assert_eq!(m.groups, [(2, 4)]);
        let m = found(8, 96, |i, j| (j * 5 + i) % 8 == 3 || (j * 5 + i) % 8 == 4);
        assert_eq!(m.groups.last(), Some(&(2, 8)));
        // One group too full, in the last, short group.
        let m = found(8, 67, |i, j| (j + i) % 4 < 2 || j > 63);
        assert!(m.groups.iter().all(|g| *g != (2, 4)), "{:?}", m.groups);
        assert_eq!(found(4, 64, |_, _| true).groups, []);
        assert_eq!(found(4, 64, |_, _| false).groups, []);
    }

    #[test]
    fn a_hole_in_a_block_leaves_it_nearly_whole() {
        let kept = |i: usize, j: usize| noise(i / 16 * 1000 + j / 4).is_multiple_of(3);
        let hole = (0..100).find(|j| kept(17, *j)).unwrap() + 1;
        let m = found(64, 100, |i, j| kept(i, j) && (i, j) != (17, hole));
        assert_eq!(m.block, (1, 1));
        let near = m.near.unwrap();
        assert_eq!((near.rows, near.cols), (16, 4));
        assert!(near.fill > 0.99 && near.fill < 1.0, "{}", near.fill);
    }

    #[test]
    fn shapes_become_matrices() {
        assert_eq!(as_matrix(&[]), None);
        assert_eq!(as_matrix(&[7]), None);
        assert_eq!(as_matrix(&[3, 4]), Some((3, 4)));
        assert_eq!(as_matrix(&[2, 3, 4]), Some((6, 4)));
        assert_eq!(as_matrix(&[8, 3, 3, 3]), Some((8, 27)));
        assert_eq!(as_matrix(&[usize::MAX, 2, 3]), None);
        for (rows, cols) in [(1, 1), (1, 64), (65, 1)] {
            let m = found(rows, cols, |_, _| false);
            assert_eq!((m.dead_rows.count, m.dead_cols.count), (rows as u64, cols as u64));
            assert_eq!(m.block, (rows as u64, cols as u64));
        }
    }
}
