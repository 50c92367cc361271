//! What a launch did, summed over its warps.

/// Counts of one launch. They depend on the text, the launch and the data only, not on the schedule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Instructions issued by warps, however many lanes they had.
    pub instructions: u64,
    /// `mma` and `mma.sp` instructions.
    pub matrix: u64,
    pub sparse_matrix: u64,
    /// Products of warp groups, counted once a warp.
    pub group_matrix: u64,
    pub matrix_loads: u64,
    /// 32-byte sectors of global memory that loads and asynchronous copies touched, an instruction of a warp at a time, and
    /// the bytes that their lanes asked for.
    pub load_sectors: u64,
    pub load_bytes: u64,
    pub store_sectors: u64,
    pub store_bytes: u64,
    /// Passes over shared memory beyond one for each 128 bytes: lanes whose words lie in one bank queue up.
    pub bank_conflicts: u64,
    /// Barriers of blocks.
    pub barriers: u64,
}

impl Counters {
    /// Bytes of the touched sectors over the bytes asked for, by loads and by stores. 1 is best for data that each lane needs
    /// for itself; less than 1 means that lanes share.
    pub fn sector_ratios(&self) -> (f64, f64) {
        let ratio = |sectors: u64, bytes: u64| if bytes == 0 { 0.0 } else { 32.0 * sectors as f64 / bytes as f64 };
        (ratio(self.load_sectors, self.load_bytes), ratio(self.store_sectors, self.store_bytes))
    }
}

/// Number of sectors that accesses of `bytes` at these addresses touch.
pub(crate) fn sectors(addresses: &[u64], bytes: u64) -> u64 {
    let mut all: Vec<u64> = addresses.iter().flat_map(|a| a / 32..=(a + bytes - 1) / 32).collect();
    all.sort_unstable();
    all.dedup();
    all.len() as u64
}

/// Passes beyond the first of each group of lanes that together move 128 bytes. Lanes that read one word share it.
pub(crate) fn conflicts(addresses: &[u64], bytes: u64) -> u64 {
    let mut extra = 0;
    for group in addresses.chunks((128 / bytes).clamp(1, 32) as usize) {
        let mut words: Vec<u64> = group.iter().flat_map(|a| a / 4..=(a + bytes - 1) / 4).collect();
        words.sort_unstable();
        words.dedup();
        let mut banks = [0u64; 32];
        for w in words {
            banks[(w % 32) as usize] += 1;
        }
        extra += banks.iter().max().copied().unwrap_or(0).saturating_sub(1);
    }
    extra
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sectors_and_banks_are_counted() {
        let step = |by: u64| (0..32).map(|i| i * by).collect::<Vec<u64>>();
        assert_eq!((sectors(&step(4), 4), sectors(&step(32), 4), sectors(&[30], 4)), (4, 32, 2));
        assert_eq!((conflicts(&step(4), 4), conflicts(&step(8), 4), conflicts(&step(128), 4)), (0, 1, 31));
        assert_eq!(conflicts(&[0; 32], 4), 0, "one word for all");
        assert_eq!((conflicts(&step(16), 16), conflicts(&step(128)[..8], 16)), (0, 7));
    }
}
