//! Linears that read one value become one linear over their weights stacked; each of them is then a range of its features.
//! Every sum stays what it was, so the values keep their bits as far as the kernels of the layout do (class B).
use super::joined_name;
use crate::{Dim, Graph, NodeId, Op, Patch, PatchRef, ReduceFn, Size, Type};
use spc_base::Bug;
use std::collections::BTreeMap;

/// The rule's name in plans, with its exactness class.
pub const MERGE: &str = "merge-siblings B";

/// More siblings than this are offered all together only, not two by two.
const PAIRS_UP_TO: usize = 3;

/// Linears that may become one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Siblings {
    /// Ascending by node.
    pub linears: Vec<NodeId>,
    pub weights: Vec<String>,
    /// Weights of their biases; none, or one for each.
    pub biases: Vec<String>,
    /// Outputs of each.
    pub rows: Vec<u64>,
}

/// What `node` is a range of, if it reads neighbouring features of a linear: the linear, and the first feature.
pub fn part_of(g: &Graph, node: NodeId) -> Result<Option<(NodeId, u64)>, Bug> {
    let Op::Window { dim, into, coeff, offset } = &g.node(node)?.op else { return Ok(None) };
    let from = g.inputs(node).first().copied().ok_or_else(|| Bug::new("a window without an operand"))?;
    let source = g.node(from)?;
    let size = |d: Option<&Dim>| d.and_then(|d| d.size.fixed());
    let whole = size(source.ty.dims.get(*dim as usize));
    let (Some(n), Some(whole), Ok(first)) = (size(into.first()), whole, u64::try_from(*offset)) else {
        return Ok(None);
    };
    let inside = first.checked_add(n).is_some_and(|end| end <= whole);
    let last = *dim as usize + 1 == source.ty.rank();
    let is = matches!(source.op, Op::Linear { .. }) && last && into.len() == 1 && coeff == &[1] && inside;
    Ok(is.then_some((from, first)))
}

/// Whether all that reads `node` is an operator that can read a range of features where it lies without a view of it: on a GPU,
/// where views are whole values.
pub fn read_in_place(g: &Graph, node: NodeId) -> Result<bool, Bug> {
    if g.is_output(node) {
        return Ok(false);
    }
    for r in g.readers(node) {
        match &g.node(r)?.op {
            Op::Map { .. } | Op::Contract { .. } | Op::Broadcast { .. } | Op::Transpose { .. } | Op::Concat { .. } => {}
            Op::Reduce { f, .. } if *f != ReduceFn::ArgMax => {}
            _ => return Ok(false),
        }
    }
    Ok(true)
}

/// As [`part_of`], where every reader can read it so: the range is no value of its own on a GPU.
pub fn range_in_place(g: &Graph, node: NodeId) -> Result<Option<(NodeId, u64)>, Bug> {
    match part_of(g, node)? {
        Some(found) if read_in_place(g, node)? => Ok(Some(found)),
        _ => Ok(None),
    }
}

/// Whether something that reads `node` cannot read a range of features in place, and what.
fn needs_a_copy(g: &Graph, node: NodeId) -> Result<Option<&'static str>, Bug> {
    if g.is_output(node) {
        return Ok(Some("is a result"));
    }
    for r in g.readers(node) {
        let found = match &g.node(r)?.op {
            Op::Map { .. } | Op::Contract { .. } | Op::Reduce { .. } => None,
            Op::Split { .. } | Op::Transpose { .. } | Op::Broadcast { .. } => needs_a_copy(g, r)?,
            Op::Linear { .. } => Some("is read by a linear"),
            _ => Some("is read by an operator that needs it in one piece"),
        };
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

/// The weight that a node is, if nothing else than `reader` reads it.
fn sole_weight(g: &Graph, node: NodeId, reader: NodeId) -> Result<Option<String>, Bug> {
    let own = g.readers(node) == [reader] && !g.is_output(node);
    match &g.node(node)?.op {
        Op::Weight { name, .. } if own => Ok(Some(name.clone())),
        _ => Ok(None),
    }
}

/// Groups that may become one, and weights that may not, each with the reason.
pub type Found = (Vec<Siblings>, Vec<(String, String)>);

/// Groups of linears that may become one, and weights that read a value together with others and may not, with the reason.
pub fn siblings(g: &Graph) -> Result<Found, Bug> {
    let mut by_input: BTreeMap<(NodeId, bool), Vec<NodeId>> = BTreeMap::new();
    let mut inputs: BTreeMap<NodeId, usize> = BTreeMap::new();
    for n in g.order()? {
        if let (Op::Linear { bias, .. }, Some(x)) = (&g.node(n)?.op, g.inputs(n).first()) {
            by_input.entry((*x, *bias)).or_default().push(n);
            *inputs.entry(*x).or_default() += 1;
        }
    }
    let (mut groups, mut refused) = (Vec::new(), Vec::new());
    for ((x, bias), mut list) in by_input {
        if inputs.get(&x).is_none_or(|n| *n < 2) {
            continue;
        }
        list.sort_unstable();
        let mut all = Siblings { linears: vec![], weights: vec![], biases: vec![], rows: vec![] };
        for n in list {
            let operands = g.inputs(n);
            let Some(w) = operands.get(1).copied() else { continue };
            let Op::Weight { name, ty } = &g.node(w)?.op else { continue };
            let sole = sole_weight(g, w, n)?.is_some();
            let biased = match operands.get(2) {
                Some(b) => sole_weight(g, *b, n)?,
                None => None,
            };
            let copy = needs_a_copy(g, n)?;
            let reason = if !sole {
                Some("it is read more than once".to_string())
            } else if ty.rank() != 2 {
                Some("it has more than rows and columns".into())
            } else if bias && biased.is_none() {
                Some("its bias is no weight of its own".into())
            } else if !matches!(g.node(n)?.op, Op::Linear { act: None, .. }) {
                Some("a function follows in the same operator".into())
            } else {
                copy.map(|c| format!("its product {c}"))
            };
            if let Some(reason) = reason {
                refused.push((name.clone(), reason));
                continue;
            }
            all.linears.push(n);
            all.weights.push(name.clone());
            all.biases.extend(biased);
            all.rows.push(ty.dims.first().and_then(|d| d.size.fixed()).unwrap_or(0));
        }
        match all.linears.len() {
            0 => {}
            1 => {
                let reason = if bias { "no other with a bias" } else { "no other without a bias" };
                let reason = format!("{reason} reads the same value and may be merged");
                refused.extend(all.weights.pop().map(|w| (w, reason)));
            }
            n => {
                if n > 2 && n <= PAIRS_UP_TO {
                    for (a, b) in (0..n).flat_map(|a| (a + 1..n).map(move |b| (a, b))) {
                        groups.push(all.only(&[a, b]));
                    }
                }
                groups.push(all);
            }
        }
    }
    Ok((groups, refused))
}

impl Siblings {
    fn only(&self, which: &[usize]) -> Siblings {
        fn pick<T: Clone>(list: &[T], which: &[usize]) -> Vec<T> {
            which.iter().filter_map(|i| list.get(*i).cloned()).collect()
        }
        Siblings {
            linears: pick(&self.linears, which),
            weights: pick(&self.weights, which),
            biases: pick(&self.biases, which),
            rows: pick(&self.rows, which),
        }
    }

    /// Name of the weight that is made.
    pub fn made(&self) -> String {
        joined_name(&self.weights)
    }

    /// Name of the bias that is made, if there is one.
    pub fn made_bias(&self) -> Option<String> {
        (!self.biases.is_empty()).then(|| joined_name(&self.biases))
    }

    /// The merged linear and its parts. Each sibling is replaced by its part.
    pub fn patch(&self, g: &Graph) -> Result<Patch, Bug> {
        let odd = || Bug::new("siblings are no longer what they were");
        let mut p = Patch::new("merge-siblings");
        let first = *self.linears.first().ok_or_else(odd)?;
        let operands = g.inputs(first);
        let (Some(x), Some(w)) = (operands.first(), operands.get(1)) else { return Err(odd()) };
        let dims = &g.ty(*w)?.dims;
        let total = self.rows.iter().try_fold(0u64, |a, n| a.checked_add(*n)).ok_or_else(odd)?;
        let outputs = Dim::fixed("O", total);
        let dtype = g.ty(*w)?.dtype;
        let weight = |name: String, dims: Vec<Dim>| Op::Weight { name, ty: Type::new(dtype, dims) };
        let cols = dims.get(1).cloned().ok_or_else(odd)?;
        let w = p.add(g, weight(self.made(), vec![outputs.clone(), cols]), &[])?;
        let mut inputs = vec![PatchRef::Old(*x), w];
        if let Some(name) = self.made_bias() {
            inputs.push(p.add(g, weight(name, vec![outputs]), &[])?);
        }
        let y = p.add(g, Op::Linear { bias: inputs.len() > 2, act: None }, &inputs)?;
        let mut at = 0u64;
        for (n, rows) in self.linears.iter().zip(&self.rows) {
            let own = g.ty(*n)?.dims.last().cloned().ok_or_else(odd)?;
            if own.size != Size::Fixed(*rows) {
                return Err(odd());
            }
            let dim = (g.ty(*n)?.rank() - 1) as u32;
            let offset = i64::try_from(at).map_err(|_| odd())?;
            let part = p.add(g, Op::Window { dim, into: vec![own], coeff: vec![1], offset }, &[y])?;
            p.replace(g, *n, part)?;
            at += rows;
        }
        Ok(p)
    }
}

/// The graph with groups merged: of each group the linears that are listed become parts. Constraints speak of the weights as
/// they were, so the result has none.
pub fn merge(g: &Graph, taken: &[(&Siblings, &[NodeId])]) -> Result<Graph, Bug> {
    let mut out = g.clone();
    let mut replaced = Vec::new();
    for (group, linears) in taken {
        let pairs = group.patch(g)?.offer(&mut out)?;
        replaced.extend(pairs.into_iter().filter(|(old, _)| linears.contains(old)));
    }
    for (old, new) in replaced {
        out.redirect(old, new);
    }
    out.requires.clear();
    let out = out.compact()?;
    out.verify().map_err(|b| Bug::new(format!("after merge-siblings: {}", b.0)))?;
    Ok(out)
}
