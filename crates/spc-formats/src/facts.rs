//! What the cost model sees of a layout.

/// Integer facts about one matrix in one layout. All are exact; ratios are left to the reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CostFacts {
    /// Present weights of the matrix (the same in every layout).
    pub present: u64,
    /// Bytes of all arrays together.
    pub stored_bytes: u64,
    /// Multiply-adds for one token, stored zeros included.
    pub multiplies: u64,
    /// Activation values read for one token. `activation_loads / multiplies` is the loads per multiply.
    pub activation_loads: u64,
    /// Row blocks (rows that one register tile computes together).
    pub row_blocks: u64,
    /// Stored units: panels, column vectors, blocks, groups or elements.
    pub units: u64,
}

impl CostFacts {
    /// Activation loads per multiply-add; 0 when nothing is multiplied.
    pub fn loads_per_multiply(&self) -> f64 {
        if self.multiplies == 0 { 0.0 } else { self.activation_loads as f64 / self.multiplies as f64 }
    }
}
