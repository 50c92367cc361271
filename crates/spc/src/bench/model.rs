//! `spc bench --check-model`.
use crate::constants::cost_table;
use crate::failure::Res;
use crate::run::Done;
use crate::session::Session;
use serde_json::json;
use spc_base::Bug;
use spc_bench::{Checked, Summary, check_model, summary};
use spc_report::{Align, Table, percent, times};

/// Measures what the cost model would choose, on the shapes of two small models, and compares with the best.
pub fn check_model_here(s: &mut Session<'_>, as_json: bool) -> Res<Done> {
    let isa = s.cpu(1).isa;
    let table = cost_table(s)?;
    let world = s.world;
    let heard = |done, total| s.progress.step("checking the model", done, total);
    let list = check_model(&table, isa, &|| world.now(), &heard)?;
    let all = summary(&list);
    if as_json {
        let value = json!({
            "isa": isa.name(),
            "cost_table": { "name": table.name, "hash": table.hash() },
            "summary": all,
            "cells": list,
        });
        let text = serde_json::to_string_pretty(&value).map_err(|e| Bug::new(e.to_string()))?;
        return Ok((text + "\n").into());
    }
    Ok(format!("{}, cost table {} ({})\n{}{}", isa.name(), table.name, table.hash(), missed(&list), verdict(&all))
        .into())
}

/// The cells whose pick was not among the best.
fn missed(list: &[Checked]) -> String {
    use Align::{Left, Right};
    let columns = [
        ("missed", Left),
        ("shape", Right),
        ("tokens", Right),
        ("zeros", Left),
        ("picked", Left),
        ("best", Left),
        ("slower", Right),
    ];
    let mut t = Table::new(columns);
    for c in list.iter().filter(|c| c.regret > 1.1) {
        t.row([
            c.model.to_string(),
            format!("{}x{}", c.rows, c.cols),
            c.tokens.to_string(),
            c.pattern.to_string(),
            c.picked.clone(),
            c.best.clone(),
            times(c.regret),
        ]);
    }
    if t.is_empty() { String::new() } else { t.render() }
}

fn verdict(s: &Summary) -> String {
    format!(
        "{} cells: the pick takes at most 1.1 times what the best takes in {}; rank correlation {:.3}; median error {}\n",
        s.cells,
        percent(s.good),
        s.ranks,
        percent(s.error)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_misses_are_listed() {
        let cell = |regret: f64, picked: &str| Checked {
            model: "m",
            rows: 8,
            cols: 4,
            tokens: 16,
            pattern: "2 of 4",
            picked: picked.into(),
            best: "csr".into(),
            regret,
            ranks: 1.0,
            errors: vec![0.1],
            candidates: vec![],
        };
        let list = [cell(1.0, "csr"), cell(1.1, "vx1(4)"), cell(1.5, "nm(2,4)")];
        let text = missed(&list);
        assert!(text.contains("nm(2,4)") && text.contains("1.50x") && !text.contains("vx1(4)"), "{text}");
        assert_eq!(missed(&list[..1]), "");
        assert!(verdict(&summary(&list)).contains("in 66.7 %; rank correlation 1.000; median error 10.0 %"));
    }
}
