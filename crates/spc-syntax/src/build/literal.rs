//! Numbers, percentages and texts.
use super::{Builder, Built, Kids, Pair};
use crate::ast::{Expr, ExprKind, Num, Pct, Text};
use spc_base::{Diagnostic, codes};
use spc_grammar::Rule;

impl Builder<'_> {
    pub fn num(&mut self, pair: &Pair<'_>) -> Num {
        let span = self.span(pair);
        let text = pair.as_str().to_owned();
        let digits = text.replace('_', "");
        let int = if digits.bytes().all(|b| b.is_ascii_digit()) { digits.parse().ok() } else { None };
        let mut value: f64 = digits.parse().unwrap_or(0.0);
        if !value.is_finite() {
            value = 0.0;
            self.diagnostics.push(
                Diagnostic::error(codes::SYNTAX, "the number is too large")
                    .at(span, "larger than any 64-bit floating-point number"),
            );
        }
        Num { text, value, int, span }
    }

    /// The size in a shape.
    pub fn size(&mut self, pair: &Pair<'_>) -> u64 {
        match self.num(pair) {
            Num { int: Some(int), .. } => int,
            Num { span, .. } => {
                self.diagnostics
                    .push(Diagnostic::error(codes::SYNTAX, "the size is too large").at(span, "does not fit 64 bits"));
                0
            }
        }
    }

    pub fn pct(&mut self, pair: &Pair<'_>) -> Pct {
        let span = self.span(pair);
        let text = pair.as_str().trim_end_matches('%').to_owned();
        let (num, den) = percent(&text).unwrap_or_else(|| {
            self.diagnostics.push(
                Diagnostic::error(codes::SYNTAX, "the percentage has too many digits")
                    .at(span, "at most 15 digits are exact"),
            );
            (0, 1)
        });
        Pct { text, num, den, span }
    }

    pub fn qty(&mut self, pair: Pair<'_>) -> Built<Expr> {
        let span = self.span(&pair);
        let mut kids = Kids::of(pair);
        let num = self.num(&kids.need(Rule::num)?);
        let unit = self.ident(&kids.need(Rule::unit)?);
        Ok(Expr { kind: ExprKind::Qty { num, unit }, span })
    }

    pub fn text(&mut self, pair: &Pair<'_>) -> Text {
        let span = self.span(pair);
        let raw = pair.as_str();
        let inner = raw.strip_prefix('"').and_then(|s| s.strip_suffix('"')).unwrap_or(raw);
        let mut value = String::with_capacity(inner.len());
        let mut chars = inner.chars();
        while let Some(c) = chars.next() {
            if c != '\\' {
                value.push(c);
                continue;
            }
            match chars.next() {
                Some('n') => value.push('\n'),
                Some('r') => value.push('\r'),
                Some('t') => value.push('\t'),
                Some(c @ ('\\' | '"')) => value.push(c),
                other => {
                    let shown: String = other.into_iter().collect();
                    self.diagnostics.push(
                        Diagnostic::error(codes::SYNTAX, format!("`\\{shown}` is no escape"))
                            .at(span, "known are `\\n`, `\\r`, `\\t`, `\\\\` and `\\\"`")
                            .help("write a backslash as `\\\\`"),
                    );
                }
            }
        }
        Text { value, span }
    }
}

/// `6.25` percent as a fraction in lowest terms; `None` with more than 15 digits.
pub(crate) fn percent(text: &str) -> Option<(u64, u64)> {
    let digits = text.replace('_', "");
    let (whole, part) = digits.split_once('.').unwrap_or((&digits, ""));
    let joined = format!("{whole}{part}");
    let significant = joined.trim_start_matches('0');
    if significant.len() > 15 || part.len() > 15 {
        return None;
    }
    let num: u64 = if significant.is_empty() { 0 } else { significant.parse().ok()? };
    let den = 10u64.checked_pow(u32::try_from(part.len()).ok()?)?.checked_mul(100)?;
    let (mut a, mut b) = (num, den);
    while b != 0 {
        (a, b) = (b, a % b);
    }
    Some((num / a, den / a))
}

#[cfg(test)]
mod tests {
    use super::percent;

    #[test]
    fn percentages_are_exact() {
        assert_eq!(percent("6.25"), Some((1, 16)));
        assert_eq!(percent("100"), Some((1, 1)));
        assert_eq!(percent("0"), Some((0, 1)));
        assert_eq!(percent("0.05"), Some((1, 2000)));
        assert_eq!(percent("33.3"), Some((333, 1000)));
        assert_eq!(percent("1_000.5"), Some((2001, 200)));
        assert_eq!(percent("0.000000000000001"), Some((1, 100_000_000_000_000_000)));
        assert_eq!(percent("1234567890123456"), None);
        assert_eq!(percent("0.0000000000000001"), None);
    }
}
