//! The data of a plan: which storage layout for which weight, which activation layout on which edge, what is fused, and
//! why. Weight layouts are opaque words here; `spc-formats` gives them meaning.
use crate::NodeId;
use crate::structure::Restructure;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

impl Serialize for NodeId {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_u32(self.0)
    }
}

impl<'de> Deserialize<'de> for NodeId {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<NodeId, D::Error> {
        u32::deserialize(d).map(NodeId)
    }
}

/// How the bytes of an activation lie: token-major or feature-major.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Act {
    /// Row-major `[N][F]`.
    Rm,
    /// Feature-major `[F][Np]`, N rounded up to a multiple of 16.
    Fm,
}

/// Which cost table priced the plan.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CostTableRef {
    pub name: String,
    pub hash: String,
}

/// One linear: the layout of its weight, of its input and of its output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinearPlan {
    pub node: NodeId,
    pub weight: String,
    pub layout: String,
    pub x: Act,
    pub y: Act,
    /// The `map` that runs as the epilogue (see [`crate::Epilogue`]); its value is then what the kernel writes, and the value of
    /// `node` itself is never stored. Its other operands are read in the kernel, values of the result's shape in the layout `y`.
    pub epilogue: Option<NodeId>,
    pub predicted_ps: u64,
}

/// A value is needed in a second layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Convert {
    pub node: NodeId,
    pub to: Act,
    pub predicted_ps: u64,
}

/// One layout that a weight could have had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Candidate {
    pub layout: String,
    pub stored_bytes: Option<u64>,
    pub multiplies: Option<u64>,
    /// Predicted time of this linear alone in this layout.
    pub kernel_ps: Option<u64>,
    /// Predicted time of the best whole plan that uses this layout here.
    pub plan_ps: Option<u64>,
    /// Why the layout cannot be used, where it cannot.
    pub refused: Option<String>,
    /// Measured time of this linear alone in this layout, where it was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measured_ps: Option<u64>,
}

/// The time of one kernel that was measured, and that took the place of its prediction.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measured {
    pub node: NodeId,
    pub layout: String,
    /// How the activations lie that it reads and writes.
    pub act: Act,
    pub ps: u64,
}

/// The reason for one choice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Why {
    pub node: NodeId,
    pub weight: String,
    pub rows: u64,
    pub cols: u64,
    pub nonzeros: u64,
    pub winner: String,
    pub candidates: Vec<Candidate>,
    /// Distance to the next best plan, in thousandths of the best plan's time.
    pub margin_permille: Option<u64>,
    /// What would change the choice, one sentence each.
    pub flips: Vec<String>,
}

/// Layouts, kernels and conversions for one graph, and the reason for each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    pub format: u32,
    pub function: String,
    pub target: String,
    pub cost_table: CostTableRef,
    /// Sizes of the free axes that the plan is tuned for.
    pub tuned_for: BTreeMap<String, u64>,
    /// Hash of the text form of the graph that the plan was made for.
    pub graph: String,
    pub linears: Vec<LinearPlan>,
    /// Layout in which each stored value is produced; a value not listed is row-major.
    pub values: BTreeMap<NodeId, Act>,
    pub converts: Vec<Convert>,
    pub total_ps: u64,
    /// Predicted time of the best plan whose weights are all dense.
    pub dense_ps: u64,
    /// False when a bound stopped the search, so that a better plan may exist.
    pub exact: bool,
    /// The bounds that were hit, in words.
    pub bounds: Vec<String>,
    /// Rewrite rules that the plan rests on, with their exactness class (`fuse-fun B`).
    pub rules: Vec<String>,
    /// Changes of structure that were looked at, taken or not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub structure: Vec<Restructure>,
    pub why: Vec<Why>,
    /// Kernels that were measured; empty where all are predicted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub measured: Vec<Measured>,
}

/// The plan format that this version writes and reads.
pub const PLAN_FORMAT: u32 = 1;

impl Plan {
    /// The weights of the program that are in a planned weight: those that it was made of, or itself.
    pub fn sources<'a>(&'a self, weight: &'a str) -> Vec<&'a str> {
        let mut out = Vec::new();
        let mut stack = vec![weight];
        // A step is made of what earlier steps make, so this ends.
        while let Some(name) = stack.pop() {
            match self.structure.iter().find(|s| s.made.as_deref() == Some(name)) {
                Some(step) if stack.len() <= self.structure.len() => {
                    // Of what is computed the first is what it is like; the others are factors and terms.
                    let many = if step.how.is_some() { 1 } else { step.from.len() };
                    stack.extend(step.from.iter().take(many).rev().map(String::as_str));
                }
                _ => out.push(name),
            }
            if out.len() > 4096 {
                break;
            }
        }
        out
    }

    /// The plan of `graph` in which nothing is chosen: every weight dense in this layout, every value row-major.
    pub fn all_dense(graph: &crate::Graph, target: &str, dense: &str) -> Result<Plan, spc_base::Bug> {
        let mut linears = Vec::new();
        for node in graph.order()? {
            if let crate::Op::Linear { .. } = graph.node(node)?.op {
                let weight = graph.inputs(node).get(1).copied();
                let weight = weight.map(|w| graph.node(w)).transpose()?;
                let weight = match weight.map(|n| &n.op) {
                    Some(crate::Op::Weight { name, .. }) => name.clone(),
                    _ => return Err(spc_base::Bug::new("a linear reads no weight")),
                };
                let layout = dense.to_string();
                let plan = LinearPlan { node, weight, layout, x: Act::Rm, y: Act::Rm, epilogue: None, predicted_ps: 0 };
                linears.push(plan);
            }
        }
        Ok(Plan {
            format: PLAN_FORMAT,
            function: graph.name.clone(),
            target: target.to_string(),
            cost_table: CostTableRef::default(),
            tuned_for: BTreeMap::new(),
            graph: graph.fingerprint(),
            linears,
            values: BTreeMap::new(),
            converts: Vec::new(),
            total_ps: 0,
            dense_ps: 0,
            exact: true,
            bounds: Vec::new(),
            rules: Vec::new(),
            structure: Vec::new(),
            why: Vec::new(),
            measured: Vec::new(),
        })
    }

    /// Checks the plan against the graph it is for: every linear planned once, over its own weight; epilogues are maps that a
    /// kernel can end with, each of one linear that nothing else reads; layouts only where a value can have them.
    pub fn verify(&self, graph: &crate::Graph) -> Result<(), String> {
        use crate::Op;
        let text = |e: spc_base::Bug| e.0;
        if self.format != PLAN_FORMAT {
            return Err(format!("plan format {} is not {PLAN_FORMAT}", self.format));
        }
        if self.graph != graph.fingerprint() {
            return Err("the plan was made for another program".into());
        }
        let (mut planned, mut ends) = (std::collections::BTreeSet::new(), std::collections::BTreeSet::new());
        for l in &self.linears {
            if !planned.insert(l.node) {
                return Err(format!("{} is planned twice", l.node));
            }
            let node = graph.node(l.node).map_err(text)?;
            let Op::Linear { .. } = &node.op else { return Err(format!("{} is not a linear", l.node)) };
            let w = graph.inputs(l.node).get(1).copied().ok_or("a linear without a weight")?;
            if !matches!(&graph.node(w).map_err(text)?.op, Op::Weight { name, .. } if *name == l.weight) {
                return Err(format!("{} does not read the weight {}", l.node, l.weight));
            }
            if let Some(m) = l.epilogue {
                if crate::Epilogue::fused(graph, l.node, m).map_err(text)?.is_none() {
                    return Err(format!("{m} cannot be the epilogue of {}", l.node));
                }
                if !ends.insert(m) {
                    return Err(format!("{m} is the epilogue of two linears"));
                }
            }
            let written = l.epilogue.unwrap_or(l.node);
            if self.values.get(&written).copied().unwrap_or(Act::Rm) != l.y {
                return Err(format!("the layout of {written} is not the one its kernel writes"));
            }
        }
        for n in graph.ids() {
            if matches!(graph.node(n).map_err(text)?.op, Op::Linear { .. }) && !planned.contains(&n) {
                return Err(format!("{n} is not planned"));
            }
        }
        let mut seen = std::collections::BTreeSet::new();
        for c in &self.converts {
            graph.node(c.node).map_err(text)?;
            let own = self.values.get(&c.node).copied().unwrap_or(Act::Rm);
            if own == c.to || !seen.insert((c.node, c.to)) {
                return Err(format!("{} is converted to a layout that it has", c.node));
            }
        }
        for n in self.values.keys() {
            graph.node(*n).map_err(text)?;
        }
        Ok(())
    }
}
