//! Whole programs: they parse, print and parse again to the same tree.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod common;
use common::{good, samples};
use spc_syntax::{dump, print};

#[test]
fn samples_parse_without_diagnostics() {
    let mut items = 0;
    let mut words = std::collections::BTreeSet::new();
    for (_, text) in samples() {
        let ast = good(&text);
        items += ast.items.len();
        words.extend(ast.items.iter().map(|i| i.kind.word()));
        assert!(!ast.docs.is_empty());
    }
    assert!(items >= 178, "{items}");
    assert_eq!(words.len(), spc_grammar::ITEM_WORDS.len(), "an item word has no sample: {words:?}");
}

#[test]
fn printed_samples_are_the_same_programs() {
    for (path, text) in samples() {
        let ast = good(&text);
        let printed = print(&ast);
        let again = good(&printed);
        assert!(ast.same(&again), "{}\n{printed}", path.display());
        assert_eq!(print(&again), printed, "{}: printing is not stable", path.display());
    }
}

#[test]
fn spans_are_the_words() {
    for (path, text) in samples() {
        for item in good(&text).items {
            let words = &text[item.span.start as usize..item.span.end as usize];
            assert!(words.starts_with(item.kind.word()), "{}: {words}", path.display());
            assert_eq!(words, words.trim(), "{}", path.display());
            if let Some(name) = item.kind.name() {
                assert_eq!(&text[name.span.start as usize..name.span.end as usize], name.name);
            }
            let last = words.lines().last().unwrap();
            assert!(!last.trim_start().starts_with("//"), "{}: a comment ends the span: {words}", path.display());
        }
    }
}

#[test]
fn docs_belong_to_the_item_after_them() {
    let ast = good(
        "//! File.\n\n/// One.\n///  Two.\naxis B // free\n////no doc\nconst x = 1\n/// Of y.\nconst y = 2\n//! End.\n",
    );
    let docs: Vec<Vec<&str>> =
        ast.items.iter().map(|i| i.docs.iter().map(|d| d.text.as_str()).collect::<Vec<_>>()).collect();
    assert_eq!(docs, [vec!["One.", " Two."], vec![], vec!["Of y."]]);
    assert_eq!(ast.docs.iter().map(|d| d.text.as_str()).collect::<Vec<_>>(), ["File.", "End."]);
}

#[test]
fn line_ends_and_a_byte_order_mark_do_not_matter() {
    for (_, text) in samples() {
        let ast = good(&text);
        assert!(ast.same(&good(&text.replace('\n', "\r\n"))));
        assert!(ast.same(&good(&format!("\u{feff}{text}"))));
    }
}

#[test]
fn the_dump_is_stable() {
    let text =
        "/// Doc.\nrequire a: keep 2 of 4 of elements per tile(in: 4) by abs(w * g) on net.{b, c} always first 1\n";
    let expected = "\
Ast 0..103
  items:
    - Item 9..102
        docs:
          - \"Doc.\" 0..8
        kind: Require
          name: a 17..18
          what: Sentence 20..102
            amount: Of 25..31
              part: Num 2 25..26
              of: Count 4 30..31
            group: GroupRef 35..43
              group: Name elements 35..43
            clauses: Clauses
              per: Per 44..59
                scope: Expr Call 48..59 48..59
                  callee: Name tile 48..52
                  args:
                    - Arg 53..58
                        label: in 53..55
                        value: Num 4 57..58
              by: By 60..73
                score: Call 63..73
                  callee: Name abs 63..66
                  args:
                    - Arg 67..72
                        value: Binary 67..72
                          op: *
                          lhs: Name w 67..68
                          rhs: Name g 71..72
              on: Pick 77..87 74..87
                base: Name net 77..80
                names:
                  - b 82..83
                  - c 85..86
              always: 88..102
                - Always 95..102
                    end: First
                    count: Num 1 101..102
";
    assert_eq!(dump(&good(text)), expected);
}
