//! The verifier of graphs. It runs after every pass, in all builds.
use crate::{Cover, Dim, Formula, Graph, Member, NodeId, Op, Part, Size, infer};
use spc_base::Bug;
use std::collections::{BTreeMap, BTreeSet};

impl Graph {
    /// Checks that every node's type is the one its operator and operands give, that there is no cycle, that names are
    /// unique, that free axes exist, and that constraints fit the weights they name (where the graph has them).
    pub fn verify(&self) -> Result<(), Bug> {
        let mut names = BTreeSet::new();
        let mut axes = BTreeSet::new();
        for s in &self.syms {
            if s.lo > s.hi || !axes.insert(&s.name) {
                return Err(Bug::new(format!("the free axis {} is empty or declared twice", s.name)));
            }
        }
        for (id, f) in &self.formulas {
            let earlier = f.terms.iter().all(|(c, t)| *c != 0 && t < id) && f.terms.windows(2).all(|w| w[0].1 < w[1].1);
            let sym = self.sym(*id)?;
            if !earlier || f.div == 0 || f.range(&self.syms) != Some((sym.lo, sym.hi)) {
                return Err(Bug::new(format!("the size of the axis {} does not follow from earlier ones", sym.name)));
            }
        }
        for id in self.order()? {
            let node = self.node(id)?;
            let inputs = self.inputs(id);
            let types = inputs.iter().map(|i| self.node(*i).map(|n| &n.ty)).collect::<Result<Vec<_>, _>>()?;
            let ty = infer(&node.op, &types).map_err(|e| Bug::new(format!("{id}: {e}")))?;
            if ty != node.ty {
                return Err(Bug::new(format!("{id}: the type does not follow from the operands")));
            }
            for d in &ty.dims {
                if let Size::Free(s) = d.size {
                    self.sym(s)?;
                }
            }
            let mut unknown = None;
            node.op.free_axes(&mut |s| unknown = unknown.or(self.sym(s).err().map(|_| s)));
            if let Some(s) = unknown {
                return Err(Bug::new(format!("{id}: no free axis {}", s.0)));
            }
            if let Op::Concat { dim, axis: Dim { size: Size::Free(s), .. } } = &node.op {
                let parts: Option<Vec<Size>> = types.iter().map(|t| Some(t.dims.get(*dim as usize)?.size)).collect();
                let want = parts.and_then(|p| self.flatten(&Formula::sum(&p)?));
                let one = want.as_ref().is_some_and(|w| *w == Formula { terms: vec![(1, *s)], add: 0, div: 1 });
                if want.is_none() || (!one && self.formulas.get(s) != want.as_ref()) {
                    return Err(Bug::new(format!("{id}: the size of joined values is not their sum")));
                }
            }
            if let Op::Input { name, .. } | Op::Weight { name, .. } = &node.op {
                let kind = node.op.name();
                if !names.insert((kind, name.clone())) {
                    return Err(Bug::new(format!("{id}: there are two {kind}s of the name {name}")));
                }
            }
        }
        let mut results = BTreeSet::new();
        for (name, o) in &self.outputs {
            self.node(*o)?;
            if !results.insert(name) {
                return Err(Bug::new(format!("two outputs of the name {name}")));
            }
        }
        if self.outputs.is_empty() {
            return Err(Bug::new("the graph has no output"));
        }
        self.verify_requires()
    }

    fn verify_requires(&self) -> Result<(), Bug> {
        let weights: BTreeMap<String, NodeId> = self.weights().into_iter().collect();
        let mut names = BTreeSet::new();
        for r in &self.requires {
            if r.keeps.is_empty() || !names.insert(&r.name) {
                return Err(Bug::new(format!("constraint {}: it is empty or not the only one of that name", r.name)));
            }
            for m in r.keeps.iter().flat_map(|k| &k.members) {
                if !fits(m) {
                    return Err(Bug::new(format!("constraint {}: groups do not fit {}", r.name, m.weight)));
                }
                let Some(id) = weights.get(&m.weight) else { continue };
                if !self.ty(*id)?.dims.iter().map(|d| d.size.fixed()).eq(m.shape.iter().copied().map(Some)) {
                    return Err(Bug::new(format!("constraint {}: {} has another shape", r.name, m.weight)));
                }
            }
        }
        Ok(())
    }
}

/// Whether groups and scope tiles have the rank of the tensor and no size 0, and parts of slices lie inside it.
fn fits(m: &Member) -> bool {
    let tile = |t: &[u64]| t.len() == m.shape.len() && !t.contains(&0);
    let cover = match &m.cover {
        Cover::Tile(t) => tile(t),
        Cover::Pairs { .. } => matches!(m.shape.as_slice(), [a, b] if a == b),
        Cover::Slices(s) => {
            let part = |p: &Part| {
                let inside = m.shape.get(p.dim as usize).is_some_and(|n| p.start < p.end && p.end <= *n);
                inside && p.inner > 0 && p.size > 0 && s.parts.first().is_some_and(|q| p.size == q.size)
            };
            s.by > 0 && !s.parts.is_empty() && s.parts.iter().all(part)
        }
    };
    cover && tile(&m.scope) && m.floor.as_deref().is_none_or(tile)
}
