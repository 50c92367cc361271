//! Diagnostics as rustc's JSON, one object a line.
use crate::diagnostics::level_name;
use crate::{SourceMap, human};
use serde_json::{Value, json};
use spc_base::{Diagnostic, Span};

pub fn render(d: &Diagnostic, sources: &SourceMap) -> String {
    let labels = d.primary.iter().map(|l| (l, true)).chain(d.secondary.iter().map(|l| (l, false)));
    let spans: Vec<Value> = labels.filter_map(|(l, primary)| span(l.span, primary, &l.text, sources)).collect();
    let mut children: Vec<Value> = Vec::new();
    children.extend(d.notes.iter().map(|n| child("note", n, Vec::new())));
    children.extend(d.help.iter().map(|h| child("help", h, Vec::new())));
    if let Some(fix) = &d.fix {
        let mut place = span(fix.span, true, "", sources);
        if let Some(place) = &mut place {
            place["suggested_replacement"] = json!(fix.replacement);
            place["suggestion_applicability"] = json!(if fix.guess { "MaybeIncorrect" } else { "MachineApplicable" });
        }
        let text = format!("replace it by `{}`", fix.replacement);
        children.push(child("help", &text, place.into_iter().collect()));
    }
    let object = json!({
        "$message_type": "diagnostic",
        "message": d.message,
        "code": { "code": d.code.name(), "explanation": spc_base::lookup(&d.code.name()).map(|e| e.page) },
        "level": level_name(d.level),
        "spans": spans,
        "children": children,
        "rendered": human::render(d, sources, false, 120),
    });
    object.to_string() + "\n"
}

fn child(level: &str, message: &str, spans: Vec<Value>) -> Value {
    json!({ "message": message, "code": null, "level": level, "spans": spans, "children": [], "rendered": null })
}

/// Nothing for a span in a file that is not known.
fn span(span: Span, primary: bool, label: &str, sources: &SourceMap) -> Option<Value> {
    let range = sources.range(span)?;
    let (start, end) = sources.places(span)?;
    let (first, lines) = sources.lines(span.file, std::slice::from_ref(&range))?;
    let shown = sources.text(span.file).and_then(|t| t.get(lines)).unwrap_or_default();
    let text: Vec<Value> = shown
        .lines()
        .zip(first..)
        .map(|(line, number)| {
            let clipped: String = line.chars().take(1000).collect();
            let from = if number == start.line { start.column } else { 1 };
            let to = if number == end.line { end.column } else { 1 + line.chars().count() };
            json!({ "text": clipped, "highlight_start": from, "highlight_end": to })
        })
        .collect();
    Some(json!({
        "file_name": start.path,
        "byte_start": range.start,
        "byte_end": range.end,
        "line_start": start.line,
        "line_end": end.line,
        "column_start": start.column,
        "column_end": end.column,
        "is_primary": primary,
        "text": text,
        "label": if label.is_empty() { Value::Null } else { json!(label) },
        "suggested_replacement": null,
        "suggestion_applicability": null,
        "expansion": null,
    }))
}

#[cfg(test)]
mod tests {
    use crate::diagnostics::tests::{diagnostic, sources};
    use crate::{Format, Renderer};
    use serde_json::Value;

    #[test]
    fn the_shape_is_rustcs() {
        let text = Renderer { format: Format::Json, ..Renderer::default() }.render(&diagnostic(), &sources());
        assert_eq!(text.lines().count(), 1);
        let v: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&v["code"]["code"], &v["level"]), (&"SP0202".into(), &"error".into()));
        assert_eq!(v["message"], "there is no axis `O`");
        let s = &v["spans"][0];
        let numbers: Vec<u64> = ["byte_start", "byte_end", "line_start", "column_start", "line_end", "column_end"]
            .map(|k| s[k].as_u64().unwrap())
            .into();
        assert_eq!(numbers, [33, 34, 3, 10, 3, 11]);
        assert_eq!((&s["file_name"], &s["label"]), (&"net.sp".into(), &"no axis of this name".into()));
        assert_eq!(s["text"][0]["text"], "  w: f32[O, I]");
        assert_eq!(v["spans"][1]["is_primary"], false);
        let levels: Vec<&str> =
            v["children"].as_array().unwrap().iter().map(|c| c["level"].as_str().unwrap()).collect();
        assert_eq!(levels, ["note", "help", "help"]);
        assert_eq!(v["children"][2]["spans"][0]["suggested_replacement"], "B");
        assert!(v["rendered"].as_str().unwrap().starts_with("error[SP0202]"));
    }
}
