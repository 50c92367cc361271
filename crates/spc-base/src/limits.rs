//! Bounds on untrusted input. Exceeding one is a diagnostic, never a crash.

/// What the front end accepts before it refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Largest source text in bytes.
    pub source_bytes: usize,
    /// Deepest nesting of brackets.
    pub nesting: usize,
    /// Most nodes that one entry function may elaborate to.
    pub graph_nodes: usize,
    /// Most diagnostics reported for one program.
    pub diagnostics: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { source_bytes: 16 << 20, nesting: 256, graph_nodes: 200_000, diagnostics: 100 }
    }
}
