//! JSON schemas, as far as those in `docs/` need: types, constants, members, items, patterns, least values, references.
use serde_json::Value;

/// What of `v` is not as the schema says, each with its place.
pub fn faults(v: &Value, schema: &Value) -> Vec<String> {
    let mut out = Vec::new();
    walk(v, schema, schema, "", &mut out);
    out
}

/// The schema that a reference leads to.
fn target<'a>(part: &'a Value, whole: &'a Value) -> &'a Value {
    match part.get("$ref").and_then(Value::as_str) {
        Some(path) => whole.pointer(path.trim_start_matches('#')).unwrap_or_else(|| panic!("no {path}")),
        None => part,
    }
}

fn kind(v: &Value) -> &'static str {
    match v {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(n) if n.is_i64() || n.is_u64() => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn walk(v: &Value, part: &Value, whole: &Value, at: &str, out: &mut Vec<String>) {
    let s = target(part, whole);
    let known = [
        "$schema",
        "$defs",
        "$ref",
        "title",
        "description",
        "type",
        "additionalProperties",
        "required",
        "properties",
        "items",
        "const",
        "enum",
        "pattern",
        "minimum",
        "minProperties",
        "maxProperties",
    ];
    for word in s.as_object().unwrap().keys() {
        assert!(known.contains(&word.as_str()), "this reader does not know `{word}`");
    }
    let mut bad = |why: String| out.push(format!("{at}: {why}"));
    let is = |t: &Value| t.as_str().is_some_and(|t| t == kind(v) || (t == "number" && kind(v) == "integer"));
    if let Some(t) = s.get("type")
        && !t.as_array().map_or(is(t), |list| list.iter().any(is))
    {
        bad(format!("{} is not of type {t}", kind(v)));
        return;
    }
    if s.get("const").is_some_and(|c| c != v) || s.get("enum").is_some_and(|e| !e.as_array().unwrap().contains(v)) {
        bad(format!("{v} is no value that is allowed"));
    }
    if let (Some(p), Some(text)) = (s.get("pattern"), v.as_str())
        && !fancy_regex::Regex::new(p.as_str().unwrap()).unwrap().is_match(text).unwrap()
    {
        bad(format!("{text} does not match {p}"));
    }
    if let (Some(least), Some(n)) = (s.get("minimum").and_then(Value::as_f64), v.as_f64())
        && n < least
    {
        bad(format!("{n} is less than {least}"));
    }
    if let (Some(items), Some(list)) = (s.get("items"), v.as_array()) {
        list.iter().enumerate().for_each(|(i, x)| walk(x, items, whole, &format!("{at}/{i}"), out));
    }
    let Some(map) = v.as_object() else { return };
    let count = |word: &str, otherwise: u64| s.get(word).and_then(Value::as_u64).unwrap_or(otherwise);
    if !(count("minProperties", 0)..=count("maxProperties", u64::MAX)).contains(&(map.len() as u64)) {
        out.push(format!("{at}: {} members", map.len()));
    }
    for name in s.get("required").and_then(Value::as_array).into_iter().flatten() {
        if !map.contains_key(name.as_str().unwrap()) {
            out.push(format!("{at}: no {name}"));
        }
    }
    for (name, x) in map {
        let at = format!("{at}/{name}");
        match (s.get("properties").and_then(|p| p.get(name)), s.get("additionalProperties")) {
            (Some(p), _) => walk(x, p, whole, &at, out),
            (None, Some(Value::Bool(false))) => out.push(format!("{at}: an unknown member")),
            (None, Some(p)) if p.is_object() => walk(x, p, whole, &at, out),
            _ => {}
        }
    }
}

/// Compact JSON of `v`, members in the order in which the schema *requires* them.
pub fn ordered(v: &Value, part: &Value, whole: &Value) -> String {
    let s = target(part, whole);
    match v {
        Value::Array(list) => {
            let items = s.get("items").unwrap_or(s);
            let list: Vec<String> = list.iter().map(|x| ordered(x, items, whole)).collect();
            format!("[{}]", list.join(","))
        }
        Value::Object(map) => {
            let first = s.get("required").and_then(Value::as_array).cloned().unwrap_or_default();
            let first: Vec<&str> = first.iter().filter_map(Value::as_str).filter(|n| map.contains_key(*n)).collect();
            let rest = map.keys().map(String::as_str).filter(|n| !first.contains(n));
            let one = |name: &str| {
                let p = s.get("properties").and_then(|p| p.get(name)).or(s.get("additionalProperties")).unwrap_or(s);
                format!("{}:{}", Value::from(name), ordered(&map[name], p, whole))
            };
            let all: Vec<String> = first.iter().copied().chain(rest).map(one).collect();
            format!("{{{}}}", all.join(","))
        }
        other => other.to_string(),
    }
}
