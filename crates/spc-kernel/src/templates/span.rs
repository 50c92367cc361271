//! Which tokens a pass of a feature-major kernel computes, and where their activations and results lie.
use super::LinearSpec;
use super::feature_major::{TILE, TOKEN_PAD, remainders};
use crate::ir::{Addr, Builder, Val};
use spc_formats::Layout;

/// Tiles of tokens that one pass over the weights computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub tiles: usize,
    /// Tokens of each.
    pub width: usize,
    /// Tokens of a narrower last tile, or none.
    pub tail: usize,
}

impl Span {
    pub fn tokens(self) -> usize {
        self.tiles * self.width + self.tail
    }
}

/// Spans of wide code, largest first. A pattern that few rows share needs several tiles at once to have enough sums in
/// flight, but where lists are `long`. A narrower tile is the last of all, so what full groups of tokens leave never asks for one.
pub fn spans(lanes: usize, spec: &LinearSpec<'_>, long: bool) -> Vec<Span> {
    let one = |width| Span { tiles: 1, width, tail: 0 };
    let far = 4 * TILE * spec.cols.max(spec.rows) * 2 >= i32::MAX as usize;
    let mut all = Vec::new();
    if lanes == 16 && few_rows(spec) && !far && !long {
        all.push(Span { tiles: 3, width: TILE, tail: 0 });
        for tiles in [2, 1] {
            all.extend(remainders().map(|tail| Span { tiles, width: TILE, tail }));
            all.push(Span { tiles, width: TILE, tail: 0 });
        }
    } else {
        all.push(one(TILE));
    }
    all.into_iter().chain(remainders().map(one)).collect()
}

/// Whether one or two rows share a list of columns.
pub fn few_rows(spec: &LinearSpec<'_>) -> bool {
    matches!(spec.layout, Layout::Csr | Layout::Vx1 { v: 1 | 2 })
}

/// One feature of the activations.
#[derive(Clone, Copy)]
pub struct Feature {
    /// Pointer to it in the first tile.
    pub at: Val,
    /// 64 times its number, where there is a narrower last tile.
    pub lines: Option<Val>,
}

/// Pointers into the first tile and into a narrower last one.
#[derive(Clone, Copy)]
pub struct Ptrs {
    pub main: Val,
    pub tail: Option<Val>,
}

/// Vectors of tokens that are computed together.
#[derive(Clone, Copy)]
pub struct At {
    /// First token, feature 0.
    pub x: Ptrs,
    pub y: Ptrs,
    /// Bytes from one feature to the next.
    pub stride: Val,
    /// The tiles that the vectors fill; nothing if they are part of a tile whose width only the call tells.
    pub span: Option<Span>,
    /// Those of one tile, or all of several.
    pub vectors: usize,
}

impl At {
    pub fn known_stride(self) -> Option<i64> {
        self.span.map(|s| 4 * s.width as i64)
    }

    /// Tokens of the narrower last tile.
    pub fn tail_width(self) -> usize {
        self.span.map_or(0, |s| s.tail)
    }

    /// Bytes of `count` features.
    pub fn features(self, b: &mut Builder, count: Val) -> Val {
        match self.known_stride() {
            Some(s) => b.scale(count, s),
            None => b.imul(count, self.stride),
        }
    }

    /// The same tokens `count` features on.
    pub fn skip(self, b: &mut Builder, p: Val, count: usize) -> Val {
        match self.known_stride().map(|s| i32::try_from(s * count as i64)) {
            Some(Ok(bytes)) => b.ptr_off(p, bytes),
            _ if count == 1 => b.ptr_add(p, self.stride),
            _ => {
                let bytes = b.scale(self.stride, count as i64);
                b.ptr_add(p, bytes)
            }
        }
    }

    pub fn skip_both(self, b: &mut Builder, p: Ptrs, count: usize) -> Ptrs {
        let tail = p.tail.map(|t| b.ptr_off(t, (4 * self.tail_width() * count) as i32));
        Ptrs { main: self.skip(b, p.main, count), tail }
    }

    pub fn tiles(self) -> usize {
        self.span.map_or(1, |s| s.tiles)
    }

    /// Vectors in tiles of the full width, and in each of them.
    pub fn full(self, lanes: usize) -> (usize, usize) {
        let full = self.vectors - self.tail_width() / lanes;
        (full, full / self.tiles().max(1))
    }

    /// Bytes from the first token to vector `j` of the full tiles, in a value of `features` features.
    pub fn offset(self, j: usize, lanes: usize, features: usize) -> i32 {
        let token = j * lanes;
        let Some(span) = self.span else { return 4 * token as i32 };
        let (tile, within) = (token / span.width, token % span.width);
        (4 * (tile * span.width * features + within)) as i32
    }

    /// Address of vector `j` of a feature of the activations.
    pub fn activation(self, f: Feature, j: usize, lanes: usize, features: usize) -> Addr {
        let (full, _) = self.full(lanes);
        match (self.x.tail, f.lines) {
            (Some(tail), Some(lines)) if j >= full => {
                let scale = self.tail_width() / TOKEN_PAD;
                Addr::indexed(tail, lines, scale as u8).plus((4 * lanes * (j - full)) as i32)
            }
            _ => Addr::at(f.at, self.offset(j, lanes, features)),
        }
    }

    /// Address of vector `j` of row `i` of a tile of results; in wide code only.
    pub fn result(self, y: Ptrs, i: usize, j: usize, lanes: usize, features: usize) -> Addr {
        let (full, _) = self.full(lanes);
        match y.tail {
            Some(tail) if j >= full => Addr::at(tail, (4 * (i * self.tail_width() + (j - full) * lanes)) as i32),
            _ => {
                let stride = self.known_stride().unwrap_or(0) as usize;
                Addr::at(y.main, (i * stride) as i32 + self.offset(j, lanes, features))
            }
        }
    }
}
