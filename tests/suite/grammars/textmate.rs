//! The TextMate grammar, read by a small interpreter of the parts of the format that it uses: `match` with captures,
//! `begin`/`end` with inner patterns, and `include` of the repository.
use super::queries::sample;
use fancy_regex::Regex;
use serde_json::Value;
use std::collections::BTreeSet;

/// Scopes by the number of the group they belong to.
type Scopes = Vec<(usize, String)>;

struct Rule {
    name: Option<String>,
    begin: Regex,
    captures: Scopes,
    inside: Option<Inside>,
}

/// Where a rule with a begin ends, and what may stand between.
struct Inside {
    end: Regex,
    captures: Scopes,
    rules: Vec<Rule>,
}

fn grammar() -> Value {
    let path = crate::top().join("grammar/textmate/spc.tmLanguage.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// The regular expression of the rule `nth` under a name of the repository.
pub fn pattern_of(name: &str, nth: usize) -> String {
    grammar()["repository"][name]["patterns"][nth]["match"].as_str().unwrap().to_string()
}

fn captures(value: &Value) -> Scopes {
    let map = value.as_object().into_iter().flatten();
    map.map(|(n, c)| (n.parse().unwrap(), c["name"].as_str().unwrap().to_string())).collect()
}

fn rules(list: &Value, repository: &Value) -> Vec<Rule> {
    let mut out = Vec::new();
    for entry in list.as_array().into_iter().flatten() {
        if let Some(name) = entry["include"].as_str() {
            let group = &repository[name.strip_prefix('#').unwrap()];
            assert!(group.is_object(), "{name} is not in the repository");
            out.extend(rules(&group["patterns"], repository));
            continue;
        }
        let known =
            ["name", "match", "captures", "begin", "end", "beginCaptures", "endCaptures", "patterns", "comment"];
        assert!(entry.as_object().unwrap().keys().all(|k| known.contains(&k.as_str())), "{entry}");
        let regex = |key: &str| entry[key].as_str().map(|r| Regex::new(r).unwrap());
        let inside = regex("end").map(|end| Inside {
            end,
            captures: captures(&entry["endCaptures"]),
            rules: rules(&entry["patterns"], repository),
        });
        let first = captures(if inside.is_some() { &entry["beginCaptures"] } else { &entry["captures"] });
        let begin = regex("match").or_else(|| regex("begin")).unwrap();
        out.push(Rule { name: entry["name"].as_str().map(String::from), begin, captures: first, inside });
    }
    out
}

/// Scopes of a line, from the outside in, for each piece of it: byte range and names.
fn scopes(line: &str, rules: &[Rule]) -> Vec<(usize, usize, Vec<String>)> {
    let mut names: Vec<Vec<String>> = vec![Vec::new(); line.len()];
    walk(line, 0, rules, None, &mut names);
    let mut out: Vec<(usize, usize, Vec<String>)> = Vec::new();
    for (i, name) in names.into_iter().enumerate() {
        match out.last_mut() {
            Some(last) if last.2 == name => last.1 = i + 1,
            _ => out.push((i, i + 1, name)),
        }
    }
    out
}

fn mark(names: &mut [Vec<String>], from: usize, to: usize, name: &str) {
    names[from..to].iter_mut().for_each(|n| n.push(name.to_string()));
}

fn mark_captures(found: &fancy_regex::Captures<'_>, list: &[(usize, String)], names: &mut [Vec<String>]) {
    for (n, name) in list {
        if let Some(part) = found.get(*n) {
            mark(names, part.start(), part.end(), name);
        }
    }
}

/// Colours a line from `at` on, until `end` is found or the line is over. The earliest rule wins, then the first.
fn walk(
    line: &str,
    mut at: usize,
    rules: &[Rule],
    end: Option<(&Regex, &[(usize, String)])>,
    names: &mut [Vec<String>],
) -> usize {
    while at < line.len() {
        let stop = end.and_then(|(e, c)| e.captures_from_pos(line, at).unwrap().map(|m| (m, c)));
        let best = rules
            .iter()
            .filter_map(|r| r.begin.captures_from_pos(line, at).unwrap().map(|m| (m, r)))
            .filter(|(m, _)| m.get(0).unwrap().end() > m.get(0).unwrap().start())
            .min_by_key(|(m, _)| m.get(0).unwrap().start());
        let whole = |m: &fancy_regex::Captures<'_>| (m.get(0).unwrap().start(), m.get(0).unwrap().end());
        if let Some((m, c)) = &stop {
            let (from, to) = whole(m);
            if best.as_ref().is_none_or(|(b, _)| from <= whole(b).0) {
                mark_captures(m, c, names);
                return to;
            }
        }
        let Some((found, rule)) = best else { return line.len() };
        let (from, mut to) = whole(&found);
        mark_captures(&found, &rule.captures, names);
        if let Some(inside) = &rule.inside {
            to = walk(line, to, &inside.rules, Some((&inside.end, &inside.captures)), names);
        }
        if let Some(name) = &rule.name {
            names[from..to].iter_mut().for_each(|n| n.insert(0, name.clone()));
        }
        at = to;
    }
    at
}

fn all_rules() -> Vec<Rule> {
    let grammar = grammar();
    rules(&grammar["patterns"], &grammar["repository"])
}

/// One line per line of the sample: its text, then each piece with its scopes.
pub fn shown() -> String {
    let rules = all_rules();
    let mut out = String::new();
    for line in sample().lines() {
        out.push_str(line);
        out.push('\n');
        for (from, to, names) in scopes(line, &rules) {
            if !line[from..to].trim().is_empty() {
                out.push_str(&format!("    {} {}\n", &line[from..to], names.join(" ")));
            }
        }
    }
    out
}

fn scope_of(line: &str, word: &str) -> String {
    let at = line.find(word).unwrap();
    let pieces = scopes(line, &all_rules());
    pieces.iter().find(|p| p.0 <= at && at < p.1).unwrap().2.join(" ")
}

#[test]
fn every_piece_of_the_sample_has_a_scope_by_the_conventions() {
    let first: BTreeSet<&str> =
        ["comment", "constant", "entity", "keyword", "punctuation", "string", "support", "variable"].into();
    let rules = all_rules();
    for line in sample().lines() {
        for (from, to, names) in scopes(line, &rules) {
            let piece = &line[from..to];
            assert!(piece.trim().is_empty() || !names.is_empty(), "`{piece}` in `{line}` has no scope");
            for name in names {
                assert!(first.contains(name.split('.').next().unwrap()) && name.ends_with(".spc"), "{name}");
            }
        }
    }
}

#[test]
fn kinds_of_words_have_their_scopes() {
    for word in spc_grammar::ITEM_WORDS {
        assert_eq!(scope_of(&format!("{word} x"), word), "keyword.declaration.spc");
    }
    for (line, word, scope) in [
        ("  batch: 64   epochs: 30", "epochs", "variable.parameter.spc"),
        ("  batch: 64   epochs: 30", "64", "constant.numeric.spc"),
        ("expect size(x) <= 60 MiB", "MiB", "keyword.other.unit.spc"),
        ("require a: keep 25% of x", "keep", "keyword.other.clause.spc"),
        ("require a: keep 25% of x", "25%", "constant.numeric.percentage.spc"),
        ("require a: keep 25% of x", "a", "entity.name.label.spc"),
        ("const y = f(keep: 1)", "keep", "variable.parameter.spc"),
        ("const y = a - keep + min", "keep", "variable.other.spc"),
        ("const y = a.group.of", "group", "variable.other.member.spc"),
        ("const y = min(a)", "min", "entity.name.function.call.spc"),
        ("const y = D * w", "D", "entity.name.type.axis.spc"),
        ("x = \"a{l}b\"", "{l}", "string.quoted.double.spc constant.other.placeholder.spc"),
        ("//// no doc", "no", "comment.line.double-slash.spc"),
        ("/// doc", "doc", "comment.line.documentation.spc"),
        ("//! doc", "doc", "comment.line.documentation.spc"),
        ("fn g(x) = x", "g", "entity.name.function.spc"),
        ("  forward(w) = w", "forward", "entity.name.function.spc"),
        ("  x = \"// no comment\" // one", "no", "string.quoted.double.spc"),
        ("  x = \"open", "open", "string.quoted.double.spc"),
    ] {
        assert_eq!(scope_of(line, word), scope, "{word} in {line}");
    }
}
