//! Row blocks of `i8(R)` in loops over strips of one vector and over parts of a tile's tokens: code that does not grow with the
//! height of the blocks. All of them in kernels of 4 or 8 lanes, the last one where outputs are missing in those of 16.
use super::blocks8::{Block, Blocks, Group, Part, TOKENS, Tokens, WIDTHS, tile_width};
use super::tile::WIDE;
use crate::ir::{Builder, Cmp, IBin, LBin, Val};
use spc_base::Bug;

/// Tokens of the parts that there is code for, the greatest first. A tile is made of the greatest that divides its width.
fn sizes(lanes: usize) -> &'static [usize] {
    if lanes >= WIDE && lanes < 16 { &[6, 4, 2, 1] } else { &[4, 2, 1] }
}

/// How many parts of `size` tokens a tile of the width, which is known at run time, is made of.
fn parts(b: &mut Builder, size: usize, width: Val) -> Val {
    let sizes = sizes(b.lanes());
    let mut count = b.int(0);
    for w in WIDTHS.into_iter().filter(|w| sizes.iter().find(|s| w.is_multiple_of(**s)) == Some(&size)) {
        let (this, n) = (b.int(w as i64), b.int((w / size) as i64));
        let here = b.icmp(Cmp::Eq, width, this);
        count = b.select(here, n, count);
    }
    count
}

/// A tile of tokens whose width is known at run time: the bytes of four inputs of all its tokens, and how many parts of each
/// size it is made of.
struct Wide<'a> {
    tokens: Tokens,
    group: Val,
    parts: &'a [(usize, Val)],
}

impl Blocks<'_> {
    /// The row block number `at`, whichever it is, for the tiles of a group. Kernels that have other code for whole row blocks
    /// come here with the last one.
    pub(super) fn strips(&self, b: &mut Builder, at: Val, group: Group) -> Result<(), Bug> {
        let lanes = b.lanes();
        let block = self.block(b, at, lanes, 1);
        let (full, left) = (self.spec.rows / self.height, self.spec.rows % self.height);
        let (all, few) = (b.int((self.height / lanes) as i64), b.int((left / lanes) as i64));
        let (full, one, zero) = (b.int(full as i64), b.int(1), b.int(0));
        let last = b.icmp(Cmp::Eq, at, full);
        let whole = b.select(last, few, all);
        let tail = b.select(last, one, zero);
        let (bytes, tile_bytes) = (4 * lanes as i64, (4 * TOKENS * self.spec.cols.div_ceil(4)) as i64);
        let (tile_bytes, twelve) = (b.int(tile_bytes), b.int(TOKENS as i64));
        let tiles = self.tiles(b, group);
        let mut result = Ok(());
        b.repeat(tiles, &[group.q, group.s, group.first], |b, _, s| {
            let tokens = Tokens { q: s[0], s: s[1], first: s[2] };
            let left_over = b.isub(self.n, tokens.first);
            let width = tile_width(b, left_over);
            let group = b.scale(width, 4);
            let counts: Vec<(usize, Val)> = sizes(lanes).iter().map(|n| (*n, parts(b, *n, width))).collect();
            let tile = Wide { tokens, group, parts: &counts };
            let of = |b: &mut Builder, strip: Val, rows: usize| {
                let skip = b.scale(strip, bytes);
                Block {
                    codes: b.ptr_add(block.codes, skip),
                    start: b.ptr_add(block.start, skip),
                    scale: b.ptr_add(block.scale, skip),
                    y: b.ptr_add(block.y, skip),
                    columns: block.columns.skip(b, skip),
                    rows,
                    ..block
                }
            };
            b.repeat(whole, &[], |b, i, _| {
                let strip = of(b, i, lanes);
                result = result.clone().and_then(|()| self.strip(b, strip, &tile));
                Vec::new()
            });
            if !left.is_multiple_of(lanes) {
                b.repeat(tail, &[], |b, _, _| {
                    let strip = of(b, whole, left % lanes);
                    result = result.clone().and_then(|()| self.strip(b, strip, &tile));
                    Vec::new()
                });
            }
            vec![b.ptr_add(s[0], tile_bytes), b.ptr_off(s[1], 4 * TOKENS as i32), b.iadd(s[2], twelve)]
        });
        result
    }

    /// Tiles of a group, a narrow one behind the last whole one among them.
    fn tiles(&self, b: &mut Builder, group: Group) -> Val {
        let (twelve, zero, one, narrow) = (b.int(TOKENS as i64), b.int(0), b.int(1), b.int(WIDTHS[3] as i64));
        let done = b.imul(group.tiles, twelve);
        let left = b.isub(self.n, group.first);
        let left = b.isub(left, done);
        let (more, fits) = (b.icmp(Cmp::Gt, left, zero), b.icmp(Cmp::Le, left, narrow));
        let here = b.logic(LBin::And, more, fits);
        let narrow = b.select(here, one, zero);
        b.iadd(group.tiles, narrow)
    }

    /// One vector of outputs for a tile of tokens.
    fn strip(&self, b: &mut Builder, block: Block, tile: &Wide<'_>) -> Result<(), Bug> {
        let mut result = Ok(());
        for (size, count) in tile.parts {
            let (one, most) = (b.int(1), b.int(*size as i64));
            b.repeat(*count, &[], |b, i, _| {
                // Backwards, as the tokens of a part: what is past the last token comes before it.
                let before = b.isub(*count, one);
                let number = b.isub(before, i);
                let token = b.imul(number, most);
                let skip = b.scale(token, 4);
                let tokens = Tokens {
                    q: b.ptr_add(tile.tokens.q, skip),
                    s: b.ptr_add(tile.tokens.s, skip),
                    first: b.ibin(IBin::Add, tile.tokens.first, token),
                };
                let part = Part { row: 0, vectors: 1, token: 0, tokens: *size };
                result = result.clone().and(self.part(b, block, tokens, tile.group, part));
                Vec::new()
            });
        }
        result
    }
}
