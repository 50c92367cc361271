//! The size of a launch as a formula over the number of tokens.
use std::fmt;
use std::str::FromStr;

/// `ceildiv(N, tokens) * tiles` blocks. The text form (`ceildiv(N, 64) * 3`) is what the manifest holds; the two round
/// trip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    /// Tokens of a block.
    pub tokens: u32,
    /// Blocks for each group of tokens.
    pub tiles: u32,
}

impl Grid {
    /// Largest number of tokens of one launch: token numbers must stay in range of `int` in a partly empty block.
    pub const MAX_TOKENS: u64 = i32::MAX as u64 - 1024;

    /// Number of blocks for `n` tokens; 0 means that there is nothing to launch. `None` where one launch cannot do it.
    pub fn blocks(self, n: u64) -> Option<u32> {
        if n > Grid::MAX_TOKENS || self.tokens == 0 {
            return None;
        }
        let blocks = n.div_ceil(u64::from(self.tokens)).checked_mul(u64::from(self.tiles))?;
        i32::try_from(blocks).ok().and_then(|b| u32::try_from(b).ok())
    }
}

impl fmt::Display for Grid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ceildiv(N, {}) * {}", self.tokens, self.tiles)
    }
}

impl FromStr for Grid {
    type Err = String;

    fn from_str(text: &str) -> Result<Grid, String> {
        let bad = || format!("`{text}` is not a grid formula");
        let rest = text.strip_prefix("ceildiv(N, ").ok_or_else(bad)?;
        let (tokens, tiles) = rest.split_once(") * ").ok_or_else(bad)?;
        let number = |t: &str| t.parse::<u32>().ok().filter(|n| *n > 0).ok_or_else(bad);
        Ok(Grid { tokens: number(tokens)?, tiles: number(tiles)? })
    }
}

impl serde::Serialize for Grid {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Grid {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Grid, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_formula_reads_back_and_counts_blocks() {
        let g = Grid { tokens: 64, tiles: 3 };
        assert_eq!(g.to_string(), "ceildiv(N, 64) * 3");
        assert_eq!(g.to_string().parse(), Ok(g));
        for bad in ["", "ceildiv(N, 64)", "ceildiv(N, 0) * 3", "ceildiv(N, 64) * 0", "ceildiv(N, x) * 3"] {
            assert!(bad.parse::<Grid>().is_err(), "{bad}");
        }
        let counts: Vec<_> = [0, 1, 64, 65].into_iter().map(|n| g.blocks(n)).collect();
        assert_eq!(counts, [Some(0), Some(3), Some(3), Some(6)]);
        assert_eq!(g.blocks(Grid::MAX_TOKENS + 1), None);
        assert_eq!(Grid { tokens: 1, tiles: 2 }.blocks(Grid::MAX_TOKENS), None);
        assert_eq!(g.blocks(u64::MAX), None);
    }
}
