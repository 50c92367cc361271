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
    /// The row block number `at` with so many whole strips, and one with so many outputs if its flag is 1, for the tiles of a
    /// group.
    pub(super) fn strips(
        &self,
        b: &mut Builder,
        at: Val,
        whole: Val,
        tail: Option<(usize, Val)>,
        group: Group,
    ) -> Result<(), Bug> {
        let block = self.block(b, at, b.lanes(), 1);
        let tile_bytes = b.int((4 * TOKENS * self.spec.cols.div_ceil(4)) as i64);
        let tiles = self.tiles(b, group);
        let mut result = Ok(());
        b.repeat(tiles, &[group.q, group.s, group.first], |b, _, s| {
            let tokens = Tokens { q: s[0], s: s[1], first: s[2] };
            let left = b.isub(self.n, tokens.first);
            let width = tile_width(b, left);
            let group = b.scale(width, 4);
            let counts: Vec<(usize, Val)> = sizes(b.lanes()).iter().map(|n| (*n, parts(b, *n, width))).collect();
            let tile = Wide { tokens, group, parts: &counts };
            let state: Vec<Val> =
                [block.codes, block.start, block.scale, block.y].into_iter().chain(block.bias).collect();
            let of = |s: &[Val], rows: usize| Block {
                codes: s[0],
                start: s[1],
                scale: s[2],
                y: s[3],
                bias: s.get(4).copied(),
                rows,
                ..block
            };
            let behind = b.repeat(whole, &state, |b, _, s| {
                result = result.clone().and(self.strip(b, of(s, b.lanes()), &tile));
                s.iter().map(|p| b.ptr_off(*p, 4 * b.lanes() as i32)).collect()
            });
            if let Some((rows, here)) = tail {
                b.repeat(here, &[], |b, _, _| {
                    result = result.clone().and(self.strip(b, of(&behind, rows), &tile));
                    Vec::new()
                });
            }
            let twelve = b.int(TOKENS as i64);
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
