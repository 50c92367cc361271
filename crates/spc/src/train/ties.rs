//! Weights of a program that are one array of the caller's: the rules of both names act on it.
use spc_interp::method::MethodError;
use spc_ir::method::{Body, Does, Lift, Rules, Term, Via};
use spc_ir::{Cover, Keep, Require, Scope};

type Shapes = Vec<(String, Vec<usize>)>;

/// Rules and weights with one name for each pair `(other, name)` of weights that are the same array.
///
/// # Errors
/// A name that is no weight, other shapes, and rules that count or group both as if they were two.
pub(super) fn tied(
    mut rules: Rules,
    mut shapes: Shapes,
    ties: &[(&str, &str)],
) -> Result<(Rules, Shapes), MethodError> {
    for (other, name) in ties {
        let shape = |n: &str| {
            let found = shapes.iter().find(|(s, _)| s == n).map(|(_, s)| s.clone());
            found.ok_or_else(|| MethodError::Missing { weight: n.into() })
        };
        let (want, got) = (shape(name)?, shape(other)?);
        if want != got || other == name {
            let what = format!("`{other}` of the shape {got:?} as the same array as `{name}` of the shape {want:?}");
            return Err(MethodError::NotYet { what });
        }
        for rule in &mut rules.list {
            match &mut rule.does {
                Does::Keep { require, .. } => rename(require, other, name, false)?,
                Does::Penalize { penalty, over, guards, via, .. } => {
                    let apart = matches!(via, Via::Prox(_)) && penalty.terms.iter().all(is_apart);
                    over.iter_mut().try_for_each(|r| rename(r, other, name, apart))?;
                    guards.iter_mut().try_for_each(|g| rename(&mut g.1, other, name, false))?;
                }
            }
        }
        shapes.retain(|(n, _)| n != other);
    }
    Ok((rules, shapes))
}

/// Whether the prox of a term moves each group as if there were no other, so that it does not matter which are counted together.
fn is_apart(t: &Term) -> bool {
    matches!(t.lift, Lift::Elements | Lift::Groups) && t.prox.as_ref().is_some_and(Body::is_separate)
}

fn rename(r: &mut Require, other: &str, name: &str, apart: bool) -> Result<(), MethodError> {
    let rule = r.name.clone();
    r.keeps.iter_mut().try_for_each(|k| within(k, &rule, (other, name), apart))
}

/// In one sentence: the other name stands for the first, or, where both are there and are treated alike, is left out.
fn within(k: &mut Keep, rule: &str, (other, name): (&str, &str), apart: bool) -> Result<(), MethodError> {
    let there = |k: &Keep, n: &str| k.members.iter().any(|m| m.weight == n);
    if there(k, other) && there(k, name) {
        let of = |n: &str| k.members.iter().find(|m| m.weight == n);
        let alike = |a: &spc_ir::Member, b: &spc_ir::Member| {
            matches!(a.cover, Cover::Tile(_))
                && (&a.cover, &a.scope, &a.floor, &a.amount) == (&b.cover, &b.scope, &b.floor, &b.amount)
        };
        let own = |s: Scope| matches!(s, Scope::Tile | Scope::Tensor);
        let apart = apart || (own(k.scope) && k.floor.is_none_or(|f| own(f.scope)));
        if !(apart && of(name).zip(of(other)).is_some_and(|(a, b)| alike(a, b))) {
            let what = format!("`{rule}` over `{name}` and `{other}` together, which are one array");
            return Err(MethodError::NotYet { what });
        }
        k.members.retain(|m| m.weight != other);
    }
    for m in k.members.iter_mut().filter(|m| m.weight == other) {
        m.weight = name.into();
    }
    Ok(())
}
