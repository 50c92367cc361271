//! Tile registers: the state that products of 8-bit matrices run on.
//!
//! A kernel of 16 lanes has [`TILES`] of them beside its values. A tile is 16 rows of 64 bytes, in memory one after another.
//! It holds something only after a statement has written it, and keeps it until the kernel ends.
use super::Addr;

/// Number of tile registers.
pub const TILES: u8 = 8;

/// Bytes of a tile.
pub const TILE_BYTES: usize = 1024;

/// Rows of a tile.
pub const TILE_ROWS: usize = 16;

/// Most bytes of memory of its own that a kernel may ask for.
pub const MAX_LOCAL: u32 = 48 << 10;

/// A statement on tile registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TileOp {
    /// All zero.
    Zero(u8),
    /// From [`TILE_BYTES`] bytes at an address without an index.
    Load(u8, Addr),
    /// To as many bytes there.
    Store(u8, Addr),
    /// `Dot(c, s, u)`, three different ones: with rows of 16 integers of 32 bits in `c`, signed bytes in `s` and unsigned ones
    /// in `u`, `c[i][j]` plus the sum over k < 16 and b < 4 of `s[i][4k + b] * u[k][4j + b]`. Wraps.
    Dot(u8, u8, u8),
}

impl TileOp {
    /// The address of a load or a store.
    pub fn addr(&self) -> Option<&Addr> {
        match self {
            TileOp::Load(_, a) | TileOp::Store(_, a) => Some(a),
            TileOp::Zero(_) | TileOp::Dot(..) => None,
        }
    }

    /// Tiles that must hold something before.
    pub fn reads(&self) -> Vec<u8> {
        match *self {
            TileOp::Zero(_) | TileOp::Load(..) => vec![],
            TileOp::Store(t, _) => vec![t],
            TileOp::Dot(c, s, u) => vec![c, s, u],
        }
    }

    /// The tile that holds something afterwards.
    pub fn writes(&self) -> Option<u8> {
        match *self {
            TileOp::Zero(t) | TileOp::Load(t, _) => Some(t),
            TileOp::Store(..) | TileOp::Dot(..) => None,
        }
    }
}

/// [`TileOp::Dot`] on bytes.
pub fn dot(c: &mut [u8; TILE_BYTES], s: &[u8; TILE_BYTES], u: &[u8; TILE_BYTES]) {
    for (i, row) in c.as_chunks_mut::<64>().0.iter_mut().enumerate() {
        for (j, sum) in row.as_chunks_mut::<4>().0.iter_mut().enumerate() {
            let mut total = i32::from_le_bytes(*sum);
            for k in 0..TILE_ROWS {
                for b in 0..4 {
                    let (x, y) = (s[64 * i + 4 * k + b] as i8, u[64 * k + 4 * j + b]);
                    total = total.wrapping_add(i32::from(x) * i32::from(y));
                }
            }
            *sum = total.to_le_bytes();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dot_of_extremes_does_not_saturate() {
        let (mut c, s, u) = ([0u8; TILE_BYTES], [0x80u8; TILE_BYTES], [0xffu8; TILE_BYTES]);
        dot(&mut c, &s, &u);
        dot(&mut c, &s, &u);
        assert_eq!(c.as_chunks::<4>().0[37], (2 * 64 * -128 * 255i32).to_le_bytes());
    }

    #[test]
    fn a_dot_takes_rows_of_the_first_and_columns_of_the_second() {
        let (mut c, mut s, mut u) = ([0u8; TILE_BYTES], [0u8; TILE_BYTES], [0u8; TILE_BYTES]);
        // Row 3, group 5, byte 2 times group 5, column 7, byte 2.
        s[64 * 3 + 4 * 5 + 2] = (-9i8) as u8;
        u[64 * 5 + 4 * 7 + 2] = 200;
        dot(&mut c, &s, &u);
        let sums: Vec<i32> = c.as_chunks::<4>().0.iter().map(|b| i32::from_le_bytes(*b)).collect();
        assert!(sums.iter().enumerate().all(|(i, v)| *v == if i == 16 * 3 + 7 { -1800 } else { 0 }));
    }
}
