//! What the suites share: checking a text, rendering its diagnostics, random weights that satisfy its constraints.
#![allow(dead_code)]
pub mod doc;
pub mod exec;
pub mod pages;
pub mod plans;
pub mod schema;
pub mod spc;
pub mod weights;

use spc_base::{Diagnostic, FileId, Limits};
use spc_ir::{Graph, Op};
use spc_report::{Renderer, SourceMap};
use spc_sema::{Checked, FIRST_LIBRARY_FILE, Library};
use std::collections::BTreeMap;
use std::path::PathBuf;

pub type Weights = BTreeMap<String, Vec<f32>>;

pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Sources by the numbers that spans use.
pub fn sources(path: &str, text: &str) -> SourceMap {
    let mut map = SourceMap::default();
    map.insert(FileId(0), path.to_string(), text.to_string());
    for (id, f) in (FIRST_LIBRARY_FILE..).zip(spc_stdlib::FILES) {
        map.insert(FileId(id), f.path, f.text);
    }
    map
}

/// Parses and checks; all diagnostics in order.
pub fn front(text: &str) -> (Checked, Vec<Diagnostic>) {
    let checked = spc_sema::front(text, FileId(0), &Library::load(), &Limits::default());
    let diags = checked.diagnostics.clone();
    (checked, diags)
}

pub fn render(path: &str, text: &str, diags: &[Diagnostic]) -> String {
    let map = sources(path, text);
    let r = Renderer::default();
    diags.iter().map(|d| r.render(d, &map)).collect::<Vec<_>>().join("\n")
}

/// A program that must check without a diagnostic.
pub fn sound(path: &str, text: &str) -> Checked {
    let (checked, diags) = front(text);
    assert!(diags.is_empty(), "{}", render(path, text, &diags));
    checked
}

/// A small generator of numbers: splitmix64.
#[derive(Clone, Debug)]
pub struct Rng(pub u64);

impl Rng {
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.bits() % n.max(1)
    }

    /// Uniform in -1..1.
    pub fn float(&mut self) -> f32 {
        ((self.bits() >> 40) as f32 / (1u64 << 23) as f32) - 1.0
    }
}

/// Random values for every weight of a graph, from a seed and the name.
pub fn random_weights(g: &Graph, seed: u64) -> Weights {
    let mut out = Weights::new();
    for (name, n) in g.weights() {
        let shape = g.ty(n).unwrap().shape(&[]).unwrap();
        let mut rng = Rng(name.bytes().fold(seed, |h, b| h.wrapping_mul(31).wrapping_add(u64::from(b))));
        out.insert(name, (0..shape.iter().product()).map(|_| rng.float()).collect());
    }
    out
}

/// The same weights after the constraints of the graph.
pub fn projected(g: &Graph, weights: &Weights) -> Weights {
    let mut w = weights.clone();
    spc_interp::project(&g.requires, &mut w).unwrap();
    spc_interp::verify_requires(&g.requires, &w).unwrap();
    w
}

/// The graph of a program with one entry function, after the passes.
pub fn optimised(checked: &Checked) -> Graph {
    let graphs: Vec<&Graph> = checked.graphs.values().collect();
    assert_eq!(graphs.len(), 1, "one entry function is expected");
    spc_ir::passes::run(graphs[0], None).unwrap().0
}

/// Input names of a graph with their types.
pub fn inputs(g: &Graph) -> Vec<(String, spc_ir::Type)> {
    g.named_inputs().into_iter().map(|(name, n)| (name, g.ty(n).unwrap().clone())).collect()
}

pub fn is_linear(op: &Op) -> bool {
    matches!(op, Op::Linear { .. })
}

/// Layouts that the constraints of a graph name: N:M, column vectors, blocks.
pub fn declared(g: &Graph) -> Vec<spc_formats::Layout> {
    use spc_formats::Layout;
    let mut out = Vec::new();
    for k in g.requires.iter().flat_map(|r| &r.keeps) {
        for m in &k.members {
            let layout = match (k.amount, m.group().unwrap_or_default()) {
                (spc_ir::Amount::OutOf { n, m }, [1, 1]) => Layout::Nm { n: n as u32, m: m as u32 },
                (_, [v, 1]) if *v > 1 => Layout::Vx1 { v: *v as u32 },
                (_, [r, c]) if *r > 1 => Layout::Bsr { r: *r as u32, c: *c as u32 },
                _ => continue,
            };
            if !out.contains(&layout) {
                out.push(layout);
            }
        }
    }
    out
}
