//! Methods as text, for people and snapshots. Their file form is JSON.
use super::{Body, Compute, Fold, Input, Kind, Lift, Metric, Penalty, Space, Target, Timing, Update, Via};
use std::fmt;

impl fmt::Display for Space {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Space::Scalar => "scalar",
            Space::Scope => "scope",
            Space::Group => "group",
            Space::Element => "element",
        })
    }
}

impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Input::Weight => f.write_str("w"),
            Input::Grad => f.write_str("g"),
            Input::Moments => f.write_str("moments"),
            Input::Rate => f.write_str("lr"),
            Input::Norms => f.write_str("norms"),
            Input::Tau => f.write_str("tau"),
            Input::Size => f.write_str("size"),
            Input::Cost => f.write_str("cost"),
            Input::Energy => f.write_str("energy"),
            Input::State(n) => write!(f, "state {n}"),
            Input::Mask(n) => write!(f, "mask {n}"),
            Input::Previous(n) => write!(f, "previous {n}"),
            Input::Number(n) => write!(f, "{n}"),
            Input::Schedule(s) => write!(f, "schedule {s}"),
            Input::Step => f.write_str("step"),
            Input::Steps => f.write_str("steps"),
            Input::Progress => f.write_str("progress"),
            Input::Param(p) => write!(f, "param {p}"),
            Input::Unknown => f.write_str("unknown"),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Result => f.write_str("result"),
            Target::Weight => f.write_str("w"),
            Target::Moments => f.write_str("moments"),
            Target::State(n) => write!(f, "state {n}"),
            Target::Mask(n) => write!(f, "mask {n}"),
        }
    }
}

impl fmt::Display for Fold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Fold::Sum => "sum",
            Fold::Mean => "mean",
            Fold::Max => "max",
            Fold::Min => "min",
            Fold::Count => "count",
        })
    }
}

impl Body {
    fn show(&self, f: &mut fmt::Formatter<'_>, indent: &str) -> fmt::Result {
        for (i, v) in self.values.iter().enumerate() {
            let name = v.name.as_ref().map(|n| format!(" ({n})")).unwrap_or_default();
            let kind = if v.kind == Kind::Bool { "bool" } else { "float" };
            write!(f, "{indent}%{i}{name}: {kind} {} = ", v.space)?;
            match &v.compute {
                Compute::Input(n) => writeln!(f, "{n}")?,
                Compute::Map { expr, args } => {
                    let list = args.iter().map(|a| format!("%{a}")).collect::<Vec<_>>().join(", ");
                    writeln!(f, "map {expr} of {list}")?;
                }
                Compute::Fold { fold, arg, guard } => {
                    let guard = guard.map(|g| format!(" where %{g}")).unwrap_or_default();
                    writeln!(f, "{fold} %{arg}{guard}")?;
                }
                Compute::CountPer { mask } => writeln!(f, "count %{mask} per scope")?,
                Compute::Select => writeln!(f, "select")?,
                Compute::RandomChoice { seed } => writeln!(f, "random choice, seed {seed}")?,
                Compute::Top { n, by, among } => {
                    let among = among.map(|a| format!(" among %{a}")).unwrap_or_default();
                    writeln!(f, "top %{n} by %{by}{among} per scope")?;
                }
                Compute::Noise { seed } => writeln!(f, "noise, seed {seed}")?,
                Compute::RootOfClips { sum, less, from, to } => writeln!(
                    f,
                    "root t in %{from}..%{to} of sum(%{} * clip(%{} * t + %{}, %{}, %{})) - %{less}",
                    sum.factor, sum.slope, sum.offset, sum.low, sum.high
                )?,
                Compute::Root { body, from, to } => {
                    writeln!(f, "root in %{from}..%{to} of")?;
                    body.show(f, &format!("{indent}  "))?;
                }
                Compute::Outer(o) => writeln!(f, "outer %{o}")?,
            }
        }
        for (t, v) in &self.results {
            writeln!(f, "{indent}{t} <- %{v}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.show(f, "    ")
    }
}

impl fmt::Display for Timing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Timing::Always => f.write_str("before every forward"),
            Timing::Init => f.write_str("at init"),
            Timing::Every { count, until: None } => write!(f, "every {count} steps"),
            Timing::Every { count, until: Some(u) } => write!(f, "every {count} steps until {u}"),
            Timing::At(t) => write!(f, "at {t}"),
        }
    }
}

impl fmt::Display for Update {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "update {}", self.name)?;
        for s in &self.states {
            write!(f, "  state {}\n{}", s.name, s.init)?;
        }
        for m in &self.masks {
            write!(f, "  mask {} {}\n{}", m.name, m.timing, m.rule)?;
        }
        let hooks = [
            ("forward", &self.forward),
            ("backward", &self.backward),
            ("grad", &self.grad),
            ("step", &self.step),
            ("after", &self.after),
        ];
        for (name, body) in hooks {
            if let Some(b) = body {
                write!(f, "  {name}\n{b}")?;
            }
        }
        if let Some(r) = &self.refresh {
            write!(f, "  refresh {}\n{}", r.timing, r.body)?;
        }
        for (name, b) in &self.observers {
            write!(f, "  observe {name}\n{b}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Lift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Lift::Elements => "elements",
            Lift::Groups => "groups",
            Lift::Tree => "tree",
            Lift::Sum => "groups that overlap",
            Lift::Latent => "latent groups",
        })
    }
}

impl fmt::Display for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Via::Prox(Metric::Euclid) {
            return f.write_str("prox(metric: euclid)");
        }
        f.write_str(Via::ALL.iter().find(|(_, v)| v == self).map_or("prox", |(n, _)| n))
    }
}

impl fmt::Display for Penalty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "penalty {}", self.name)?;
        for t in &self.terms {
            let radial = if t.radial { ", radial" } else { "" };
            write!(f, "  of {}{radial}", t.lift)?;
            match &t.guard {
                Some(g) if g.kept => writeln!(f, " where {} keeps", g.constraint)?,
                Some(g) => writeln!(f, " where {} does not keep", g.constraint)?,
                None => writeln!(f)?,
            }
            write!(f, "   weight\n{}   value\n{}", t.weight, t.value)?;
            if let Some(p) = &t.prox {
                write!(f, "   prox\n{p}")?;
            }
        }
        Ok(())
    }
}
