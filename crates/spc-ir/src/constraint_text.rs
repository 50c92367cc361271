//! Text form of constraints: a `keep` line for each sentence, an `on` line for each of its members.
use crate::text::{inside, list, number, numbers, parse_amount, quote, unquote};
use crate::{Amount, Cover, Floor, Graph, Keep, Member, Overlap, Part, Require, Scope, Score, Slices, Tail};
use std::fmt::{self, Write};

/// Writes all constraints of a graph.
pub(crate) fn write(f: &mut fmt::Formatter<'_>, requires: &[Require]) -> fmt::Result {
    for r in requires {
        for k in &r.keeps {
            let joint = if k.joint { "joint " } else { "" };
            write!(f, "  keep {} {} per {} by {joint}{}", quote(&r.name), k.amount, k.scope, k.score)?;
            if let Some(fl) = &k.floor {
                let share = fl.share.map_or_else(String::new, |(a, b)| format!(" or {a}/{b}"));
                write!(f, " min {}{share} per {}", fl.count, fl.scope)?;
            }
            write!(f, " multiple {} {}", k.multiple, k.tail)?;
            if let Some(o) = k.overlap {
                write!(f, " overlap {o}")?;
            }
            writeln!(f)?;
            for m in &k.members {
                writeln!(f, "    {}", member_text(m)?)?;
            }
        }
    }
    Ok(())
}

fn member_text(m: &Member) -> Result<String, fmt::Error> {
    let n = |v: &[u64]| format!("[{}]", list(v, " "));
    let mut out = format!("on {} {}", quote(&m.weight), n(&m.shape));
    match &m.cover {
        Cover::Tile(t) => write!(out, " group {}", n(t))?,
        Cover::Pairs { undirected } => write!(out, " pairs {}", if *undirected { "undirected" } else { "directed" })?,
        Cover::Slices(s) => {
            write!(out, " slices {} by {}", s.family, s.by)?;
            for p in &s.parts {
                write!(out, " part [{} {} {} {} {}]", p.dim, p.start, p.end, p.inner, p.size)?;
            }
        }
    }
    write!(out, " scope {} layer {}", n(&m.scope), quote(&m.layer))?;
    if let Some(t) = &m.floor {
        write!(out, " floor {}", n(t))?;
    }
    if let Some(a) = &m.amount {
        write!(out, " amount {a}")?;
    }
    if m.cost != 1 {
        write!(out, " cost {}", m.cost)?;
    }
    Ok(out)
}

/// The words of a line, read one after the other.
struct Words<'a> {
    list: &'a [String],
    at: usize,
}

impl<'a> Words<'a> {
    fn peek(&self) -> &'a str {
        self.list.get(self.at).map_or("", String::as_str)
    }

    fn next(&mut self) -> Result<&'a str, String> {
        let word = self.list.get(self.at).ok_or("the line ends early")?;
        self.at += 1;
        Ok(word)
    }

    fn take(&mut self, word: &str) -> bool {
        let found = self.peek() == word;
        self.at += usize::from(found);
        found
    }

    fn need(&mut self, word: &str) -> Result<(), String> {
        if self.take(word) { Ok(()) } else { Err(format!("`{word}` expected, found `{}`", self.peek())) }
    }

    fn num<T: std::str::FromStr>(&mut self) -> Result<T, String> {
        number(self.next()?)
    }

    fn one_of<T>(&mut self, what: &str, from: impl Fn(&str) -> Option<T>) -> Result<T, String> {
        let word = self.next()?;
        from(word).ok_or_else(|| format!("unknown {what} `{word}`"))
    }

    fn amount(&mut self) -> Result<Amount, String> {
        let rest: Vec<&str> = self.list.get(self.at..).unwrap_or_default().iter().map(String::as_str).collect();
        let n = match rest.as_slice() {
            ["above", ..] => 2,
            [_, "of", ..] => 3,
            _ => 1,
        };
        self.at += n;
        parse_amount(rest.get(..n).ok_or("the line ends early")?)
    }

    fn score(&mut self) -> Result<Score, String> {
        Ok(match self.next()? {
            "abs" => Score::Abs,
            "norm1" => Score::Norm1,
            "norm2" => Score::Norm2,
            "map" => Score::Map(crate::ScalarExpr::parse(self.next()?)?),
            "inputs" => Score::Inputs(crate::ScalarExpr::parse(self.next()?)?, unquote(self.next()?)?),
            "data" => Score::Data(unquote(self.next()?)?),
            other => {
                let seed = other.strip_prefix("random").ok_or_else(|| format!("unknown score `{other}`"))?;
                Score::Random(number(inside(seed, '(', ')')?)?)
            }
        })
    }

    fn end(&self) -> Result<(), String> {
        if self.at == self.list.len() { Ok(()) } else { Err(format!("`{}` is not expected here", self.peek())) }
    }
}

/// Reads a `keep` line.
pub(crate) fn parse_keep(g: &mut Graph, words: &[String]) -> Result<(), String> {
    let mut w = Words { list: words, at: 0 };
    w.need("keep")?;
    let name = unquote(w.next()?)?;
    let mut keep = Keep::new(w.amount()?, Scope::Model, Vec::new());
    w.need("per")?;
    keep.scope = w.one_of("scope", Scope::from_name)?;
    w.need("by")?;
    keep.joint = w.take("joint");
    keep.score = w.score()?;
    if w.take("min") {
        let count = w.num()?;
        let share = match w.take("or") {
            true => {
                let (a, b) = w.next()?.split_once('/').ok_or("a share `a/b` expected")?;
                Some((number(a)?, number(b)?))
            }
            false => None,
        };
        w.need("per")?;
        keep.floor = Some(Floor { count, share, scope: w.one_of("scope", Scope::from_name)? });
    }
    w.need("multiple")?;
    keep.multiple = w.num()?;
    keep.tail = w.one_of("tail", Tail::from_name)?;
    if w.take("overlap") {
        keep.overlap = Some(w.one_of("overlap", Overlap::from_name)?);
    }
    w.end()?;
    match g.requires.last_mut() {
        Some(r) if r.name == name => r.keeps.push(keep),
        _ => g.requires.push(Require { name, keeps: vec![keep] }),
    }
    Ok(())
}

/// Reads an `on` line.
pub(crate) fn parse_member(g: &mut Graph, words: &[String]) -> Result<(), String> {
    let mut w = Words { list: words, at: 0 };
    w.need("on")?;
    let weight = unquote(w.next()?)?;
    let shape: Vec<u64> = numbers(w.next()?)?;
    let cover = match w.next()? {
        "group" => Cover::Tile(numbers(w.next()?)?),
        "pairs" => Cover::Pairs {
            undirected: match w.next()? {
                "undirected" => true,
                "directed" => false,
                other => return Err(format!("unknown kind of pairs `{other}`")),
            },
        },
        "slices" => {
            let family = w.num()?;
            w.need("by")?;
            let mut s = Slices { family, by: w.num()?, parts: Vec::new() };
            while w.take("part") {
                let v: Vec<u64> = numbers(w.next()?)?;
                let [dim, start, end, inner, size] = v.as_slice() else { return Err("a part has five numbers".into()) };
                let dim = u32::try_from(*dim).map_err(|_| "a dimension out of range")?;
                s.parts.push(Part { dim, start: *start, end: *end, inner: *inner, size: *size });
            }
            Cover::Slices(s)
        }
        other => return Err(format!("unknown kind of group `{other}`")),
    };
    w.need("scope")?;
    let scope: Vec<u64> = numbers(w.next()?)?;
    w.need("layer")?;
    let layer = unquote(w.next()?)?;
    let mut m = Member { cover, layer, ..Member::tile(weight, &shape, &[], &scope, "") };
    if w.take("floor") {
        m.floor = Some(numbers(w.next()?)?);
    }
    if w.take("amount") {
        m.amount = Some(w.amount()?);
    }
    if w.take("cost") {
        m.cost = w.num()?;
    }
    w.end()?;
    let keep = g.requires.last_mut().and_then(|r| r.keeps.last_mut()).ok_or("a member before its sentence")?;
    keep.members.push(m);
    Ok(())
}
