//! Text form of a graph. `Graph::parse(&g.to_string())` equals `g` for every graph whose ids are dense.
use crate::derived::Shown;
use crate::{
    Amount, Cost, DType, Dim, Formula, Graph, NodeId, Op, ReduceFn, ScalarExpr, Size, Sym, SymId, Top, Type,
    constraint_text,
};
use std::fmt::{self, Write};

pub(crate) fn list<T: fmt::Display>(items: impl IntoIterator<Item = T>, sep: &str) -> String {
    items.into_iter().map(|i| i.to_string()).collect::<Vec<_>>().join(sep)
}

/// A name in quotes, as JSON writes it: what [`unquote`] reads back.
pub(crate) fn quote(name: &str) -> String {
    serde_json::to_string(name).unwrap_or_else(|_| format!("{name:?}"))
}

impl Graph {
    fn dim_text(&self, d: &Dim) -> String {
        match d.size {
            Size::Fixed(n) => format!("{}={n}", d.axis),
            Size::Free(s) => match self.syms.get(s.0 as usize) {
                Some(sym) => format!("{}=?{}", d.axis, sym.name),
                None => format!("{}=?{}", d.axis, s.0),
            },
        }
    }

    /// `f32[B=?B, I=64]`.
    pub fn type_text(&self, t: &Type) -> String {
        format!("{}[{}]", t.dtype, list(t.dims.iter().map(|d| self.dim_text(d)), ", "))
    }

    fn op_text(&self, op: &Op) -> String {
        let places = |at: &[Vec<u32>]| list(at.iter().map(|p| format!("[{}]", list(p, " "))), " ");
        match op {
            Op::Input { name, .. } | Op::Weight { name, .. } => format!("{} {}", op.name(), quote(name)),
            Op::Const { value, dtype } => format!("const {dtype} {value:?}"),
            Op::Iota { dim } => format!("iota [{}]", self.dim_text(dim)),
            Op::Map { expr, at } => format!("map {expr} at {}", places(at)),
            Op::Broadcast { dims, at } => {
                let dims = list(dims.iter().map(|d| self.dim_text(d)), ", ");
                format!("broadcast [{dims}] at [{}]", list(at, " "))
            }
            Op::Contract { lhs, rhs, out } => {
                format!("contract [{}] [{}] -> [{}]", list(lhs, " "), list(rhs, " "), list(out, " "))
            }
            Op::Reduce { f, dims } => format!("reduce {} [{}]", f.name(), list(dims, " ")),
            Op::Gather { dim } => format!("gather {dim}"),
            Op::Transpose { perm } => format!("transpose [{}]", list(perm, " ")),
            Op::Split { dim, into } => {
                format!("split {dim} [{}]", list(into.iter().map(|d| self.dim_text(d)), ", "))
            }
            Op::Merge { dim, count } => format!("merge {dim} {count}"),
            Op::Concat { dim, axis } => format!("concat {dim} [{}]", self.dim_text(axis)),
            Op::Window { dim, into, coeff, offset } => {
                let dims = list(into.iter().map(|d| self.dim_text(d)), ", ");
                format!("window {dim} [{dims}] coeff [{}] offset {offset}", list(coeff, " "))
            }
            Op::Size { dim } => format!("size [{}]", self.dim_text(dim)),
            Op::Top(t) => format!(
                "top [{}] keep {} multiple {} first {} last {}{} {}",
                list(&t.dims, " "),
                t.amount,
                t.multiple,
                t.first,
                t.last,
                if t.among { " among" } else { "" },
                quote(&t.name)
            ),
            Op::Rank { dims, name } => format!("rank [{}] {}", list(dims, " "), quote(name)),
            Op::Round { last } => format!("round {last}"),
            Op::Linear { bias, act } => {
                let act = act.as_ref().map(|e| format!(" act {e}")).unwrap_or_default();
                format!("linear{}{act}", if *bias { " bias" } else { "" })
            }
        }
    }

    /// Hash of the text form, 16 hexadecimal digits (FNV-1a, 64 bits). A check against mix-ups, not against attackers.
    pub fn fingerprint(&self) -> String {
        let h = self
            .to_string()
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01b3));
        format!("{h:016x}")
    }

    /// Reads the text form back.
    pub fn parse(text: &str) -> Result<Graph, String> {
        let mut g: Option<Graph> = None;
        let mut done = false;
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() {
                continue;
            }
            let at = |e: String| format!("line {}: {e}", number + 1);
            if let Some(rest) = line.strip_prefix("graph ") {
                let name = rest.strip_suffix('{').ok_or_else(|| at("`{` expected".into()))?.trim();
                let name = unquote(name).map_err(at)?;
                if g.replace(Graph::new(name)).is_some() {
                    return Err(at("a second graph".into()));
                }
                continue;
            }
            let graph = g.as_mut().ok_or_else(|| at("`graph` expected".into()))?;
            if done {
                return Err(at("text after the graph".into()));
            }
            if line == "}" {
                done = true;
            } else {
                parse_line(graph, line).map_err(at)?;
            }
        }
        if done { g.ok_or_else(|| "no graph".into()) } else { Err("the graph is not closed".into()) }
    }
}

impl fmt::Display for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "graph {} {{", quote(&self.name))?;
        for (i, s) in (0u32..).zip(&self.syms) {
            write!(f, "  sym {} = {}..{}", s.name, s.lo, s.hi)?;
            match self.formulas.get(&SymId(i)) {
                Some(formula) => writeln!(f, " by {}", Shown(formula, &self.syms))?,
                None => writeln!(f)?,
            }
        }
        for id in self.ids() {
            let Ok(node) = self.node(id) else { continue };
            let mut line = format!("{id} = {}", self.op_text(&node.op));
            let inputs = self.inputs(id);
            if !inputs.is_empty() {
                write!(line, " ({})", list(inputs, ", "))?;
            }
            writeln!(f, "  {line} : {}", self.type_text(&node.ty))?;
        }
        for (name, o) in &self.outputs {
            writeln!(f, "  output {} = {o}", quote(name))?;
        }
        constraint_text::write(f, &self.requires)?;
        writeln!(f, "}}")
    }
}

/// Splits a line into words; brackets and quoted strings stay whole.
fn words(line: &str) -> Result<Vec<String>, String> {
    let mut out: Vec<String> = Vec::new();
    let mut word = String::new();
    let (mut depth, mut quoted, mut escaped) = (0usize, false, false);
    for c in line.chars() {
        if quoted {
            word.push(c);
            if escaped {
                escaped = false;
            } else if c == '\\' {
                escaped = true;
            } else if c == '"' {
                quoted = false;
            }
            continue;
        }
        match c {
            '"' => quoted = true,
            '[' | '(' => depth += 1,
            ']' | ')' => depth = depth.checked_sub(1).ok_or("a bracket is closed that is not open")?,
            _ => {}
        }
        if c.is_whitespace() && depth == 0 {
            if !word.is_empty() {
                out.push(std::mem::take(&mut word));
            }
        } else {
            word.push(c);
        }
    }
    if depth > 0 || quoted {
        return Err("a bracket or a quote is not closed".into());
    }
    if !word.is_empty() {
        out.push(word);
    }
    Ok(out)
}

pub(crate) fn unquote(word: &str) -> Result<String, String> {
    serde_json::from_str::<String>(word).map_err(|_| format!("`{word}` is not a quoted name"))
}

pub(crate) fn number<T: std::str::FromStr>(word: &str) -> Result<T, String> {
    word.parse().map_err(|_| format!("`{word}` is not a number in range"))
}

pub(crate) fn inside(word: &str, open: char, close: char) -> Result<&str, String> {
    word.strip_prefix(open).and_then(|w| w.strip_suffix(close)).ok_or_else(|| format!("`{open}..{close}` expected"))
}

pub(crate) fn numbers<T: std::str::FromStr>(word: &str) -> Result<Vec<T>, String> {
    inside(word, '[', ']')?.split_whitespace().map(number).collect()
}

fn node_id(word: &str) -> Result<NodeId, String> {
    word.strip_prefix('%').ok_or_else(|| format!("`{word}` is not a node")).and_then(number).map(NodeId)
}

fn parse_dim(g: &Graph, text: &str) -> Result<Dim, String> {
    let (axis, size) = text.trim().rsplit_once('=').ok_or_else(|| format!("`{text}` is not a dimension"))?;
    let size = match size.strip_prefix('?') {
        Some(name) => {
            let i = g.syms.iter().position(|s| s.name == name).ok_or_else(|| format!("no free axis {name}"))?;
            Size::Free(SymId(i as u32))
        }
        None => Size::Fixed(number(size)?),
    };
    Ok(Dim { axis: axis.to_string(), size })
}

fn parse_dims(g: &Graph, word: &str) -> Result<Vec<Dim>, String> {
    let body = inside(word, '[', ']')?;
    if body.trim().is_empty() {
        return Ok(Vec::new());
    }
    body.split(',').map(|d| parse_dim(g, d)).collect()
}

fn parse_type(g: &Graph, word: &str) -> Result<Type, String> {
    let open = word.find('[').ok_or("`[` expected in a type")?;
    let dtype = DType::from_name(&word[..open]).ok_or_else(|| format!("unknown type `{word}`"))?;
    Ok(Type::new(dtype, parse_dims(g, &word[open..])?))
}

fn parse_line(g: &mut Graph, line: &str) -> Result<(), String> {
    let w = words(line)?;
    let get = |i: usize| w.get(i).map(String::as_str).ok_or_else(|| "the line ends early".to_string());
    match get(0)? {
        "sym" => {
            let (lo, hi) = get(3)?.split_once("..").ok_or("`lo..hi` expected")?;
            let sym = Sym { name: get(1)?.to_string(), lo: number(lo)?, hi: number(hi)? };
            if w.len() > 4 {
                let formula = parse_formula(g, get(5)?, get(7)?)?;
                g.formulas.insert(SymId(g.syms.len() as u32), formula);
            }
            g.syms.push(sym);
            Ok(())
        }
        "output" => {
            let id = node_id(get(3)?)?;
            g.node(id).map_err(|e| e.0)?;
            g.outputs.push((unquote(get(1)?)?, id));
            Ok(())
        }
        "keep" => constraint_text::parse_keep(g, &w),
        "on" => constraint_text::parse_member(g, &w),
        first => {
            let id = node_id(first)?;
            let colon = w.iter().rposition(|x| x == ":").ok_or("`:` and a type expected")?;
            let ty = parse_type(g, &w[colon + 1..].join(" "))?;
            let mut end = colon;
            let mut inputs = Vec::new();
            let takes = !matches!(get(2)?, "input" | "weight" | "const" | "iota" | "size");
            if takes {
                end = end.checked_sub(1).ok_or("operands expected")?;
                let text = inside(get(end)?, '(', ')')?;
                inputs = text.split(',').map(|x| node_id(x.trim())).collect::<Result<_, _>>()?;
            }
            let body = w.get(2..end).ok_or("an operator expected")?;
            let op = parse_op(g, body, &ty)?;
            for i in &inputs {
                g.node(*i).map_err(|e| e.0)?;
            }
            let new = g.add(op, &inputs).map_err(|e| e.0)?;
            if new != id {
                return Err(format!("node {id} stands where {new} is expected"));
            }
            if g.node(new).map_err(|e| e.0)?.ty != ty {
                return Err(format!("the type of {id} does not follow from its operands"));
            }
            Ok(())
        }
    }
}

/// `(1*S + 63)` over 64.
fn parse_formula(g: &Graph, sum: &str, div: &str) -> Result<Formula, String> {
    let mut f = Formula { terms: Vec::new(), add: 0, div: number(div)? };
    for part in inside(sum, '(', ')')?.split(" + ") {
        match part.split_once('*') {
            Some((c, name)) => {
                let s = g.syms.iter().position(|s| s.name == name).ok_or_else(|| format!("no free axis {name}"))?;
                f.terms.push((number(c)?, SymId(s as u32)));
            }
            None => f.add = number(part)?,
        }
    }
    Ok(f)
}

pub(crate) fn parse_amount(w: &[&str]) -> Result<Amount, String> {
    Ok(match w {
        ["above", t] => Amount::Above(number(t)?),
        [share, "of", of] if share.contains('/') => {
            let (a, b) = share.split_once('/').unwrap_or_default();
            let of = Cost::from_name(of).ok_or_else(|| format!("unknown cost `{of}`"))?;
            Amount::Budget { num: number(a)?, den: number(b)?, of }
        }
        [n, "of", m] => Amount::OutOf { n: number(n)?, m: number(m)? },
        [n] => match n.split_once('/') {
            Some((a, b)) => Amount::Share { num: number(a)?, den: number(b)? },
            None => Amount::Count(number(n)?),
        },
        _ => return Err("an amount expected".into()),
    })
}

fn one_dim(g: &Graph, word: &str) -> Result<Dim, String> {
    let mut dims = parse_dims(g, word)?;
    dims.pop().filter(|_| dims.is_empty()).ok_or_else(|| "one dimension expected".to_string())
}

/// `top [dims] keep AMOUNT multiple n first n last n [among] "name"`.
fn parse_top(w: &[String]) -> Result<Top, String> {
    let w: Vec<&str> = w.iter().map(String::as_str).collect();
    let at = w.iter().position(|x| *x == "multiple").ok_or("`multiple` expected")?;
    let amount = parse_amount(w.get(3..at).ok_or("an amount expected")?)?;
    let (among, name, n) = match &w[at..] {
        [_, a, "first", b, "last", c, "among", name] => (true, *name, [a, b, c]),
        [_, a, "first", b, "last", c, name] => (false, *name, [a, b, c]),
        _ => return Err("`multiple n first n last n [among] name` expected".into()),
    };
    let [multiple, first, last] = [number(n[0])?, number(n[1])?, number(n[2])?];
    let dims = numbers(w.get(1).ok_or("positions expected")?)?;
    Ok(Top { dims, amount, multiple, first, last, among, name: unquote(name)? })
}

fn parse_op(g: &Graph, w: &[String], ty: &Type) -> Result<Op, String> {
    let get = |i: usize| w.get(i).map(String::as_str).ok_or_else(|| "the operator ends early".to_string());
    Ok(match get(0)? {
        "input" => Op::Input { name: unquote(get(1)?)?, ty: ty.clone() },
        "weight" => Op::Weight { name: unquote(get(1)?)?, ty: ty.clone() },
        "const" => Op::Const { dtype: DType::from_name(get(1)?).ok_or("unknown type")?, value: number(get(2)?)? },
        "iota" => Op::Iota { dim: one_dim(g, get(1)?)? },
        "size" => Op::Size { dim: one_dim(g, get(1)?)? },
        "concat" => Op::Concat { dim: number(get(1)?)?, axis: one_dim(g, get(2)?)? },
        "window" => Op::Window {
            dim: number(get(1)?)?,
            into: parse_dims(g, get(2)?)?,
            coeff: numbers(get(4)?)?,
            offset: number(get(6)?)?,
        },
        "top" => Op::Top(parse_top(w)?),
        "round" => Op::Round { last: number(get(1)?)? },
        "rank" => Op::Rank { dims: numbers(get(1)?)?, name: unquote(get(2)?)? },
        "map" => {
            let at = w.get(3..).ok_or("positions expected")?.iter().map(|p| numbers(p)).collect::<Result<_, _>>()?;
            Op::Map { expr: ScalarExpr::parse(get(1)?)?, at }
        }
        "broadcast" => Op::Broadcast { dims: parse_dims(g, get(1)?)?, at: numbers(get(3)?)? },
        "contract" => Op::Contract { lhs: numbers(get(1)?)?, rhs: numbers(get(2)?)?, out: numbers(get(4)?)? },
        "reduce" => Op::Reduce { f: ReduceFn::from_name(get(1)?).ok_or("unknown reduction")?, dims: numbers(get(2)?)? },
        "gather" => Op::Gather { dim: number(get(1)?)? },
        "transpose" => Op::Transpose { perm: numbers(get(1)?)? },
        "split" => Op::Split { dim: number(get(1)?)?, into: parse_dims(g, get(2)?)? },
        "merge" => Op::Merge { dim: number(get(1)?)?, count: number(get(2)?)? },
        "linear" => {
            let bias = w.iter().any(|x| x == "bias");
            let act = w.iter().position(|x| x == "act").map(|i| get(i + 1)).transpose()?;
            Op::Linear { bias, act: act.map(ScalarExpr::parse).transpose()? }
        }
        other => return Err(format!("unknown operator `{other}`")),
    })
}
