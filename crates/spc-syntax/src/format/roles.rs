//! What the grammar says about the words of a text, as far as the layout asks.
use pest::iterators::Pairs;
use spc_grammar::Rule;
use std::collections::BTreeMap;

/// A sign before its operand.
pub const PREFIX: u16 = 1;
/// An operator between two operands.
pub const OP: u16 = 1 << 1;
/// `..` for all other axes.
pub const REST: u16 = 1 << 2;
/// `[` of a list, not of an index or a shape.
pub const LIST: u16 = 1 << 3;
/// `(` that sticks to the word before it.
pub const STICKS: u16 = 1 << 4;
/// The first word of a member, statement or field.
pub const ENTRY: u16 = 1 << 5;
/// `{` around entries.
pub const BLOCK: u16 = 1 << 6;
/// `{` around names to pick.
pub const PICK: u16 = 1 << 7;
/// The first word of a clause.
pub const CLAUSE: u16 = 1 << 8;
/// The `where` of computed sizes.
pub const SIZES: u16 = 1 << 9;
/// The first word of an item.
pub const ITEM: u16 = 1 << 10;
/// The first word of a result, a guard and the like: a line may end before it, but is not broken there for its length.
pub const RARE: u16 = 1 << 11;
/// `else` or `then`.
pub const BRANCH: u16 = 1 << 12;
/// `keep` that starts a sentence.
pub const KEEP: u16 = 1 << 13;

/// `if` that is no `else if`.
pub const IF: u16 = 1 << 14;

/// Roles by offset.
pub struct Roles {
    flags: Vec<u16>,
    /// Where numbers, quantities and texts end, by where they start.
    ends: BTreeMap<usize, usize>,
}

impl Roles {
    /// No roles yet, for a text of so many bytes.
    pub fn new(bytes: usize) -> Roles {
        Roles { flags: vec![0; bytes + 1], ends: BTreeMap::new() }
    }

    fn mark(&mut self, at: usize, flag: u16) {
        if let Some(f) = self.flags.get_mut(at) {
            *f |= flag;
        }
    }

    /// Adds those of the item that starts at an offset.
    pub fn add(&mut self, start: usize, item: &Pairs<'_, Rule>) {
        self.mark(start, ITEM);
        for pair in item.clone().flatten() {
            let rule = pair.as_rule();
            let flag = flag(rule);
            let ends = matches!(rule, Rule::qty | Rule::num | Rule::pct | Rule::int | Rule::str);
            if flag == 0 && !ends {
                continue;
            }
            let span = pair.as_span();
            let at = start + span.start();
            self.mark(at, flag);
            if ends {
                let end = self.ends.entry(at).or_default();
                *end = (*end).max(start + span.end());
            }
        }
    }

    pub fn at(&self, offset: usize) -> u16 {
        self.flags.get(offset).copied().unwrap_or_default()
    }

    pub fn end(&self, offset: usize) -> Option<usize> {
        self.ends.get(&offset).copied()
    }
}

fn flag(rule: Rule) -> u16 {
    match rule {
        Rule::prefix => PREFIX,
        Rule::op => OP,
        Rule::rest => REST,
        Rule::list => LIST,
        Rule::args | Rule::params | Rule::mask_axes => STICKS,
        Rule::axes
        | Rule::family
        | Rule::tensor
        | Rule::split
        | Rule::column
        | Rule::for_stmt
        | Rule::state_stmt
        | Rule::assign
        | Rule::mask_hook
        | Rule::observe
        | Rule::handler
        | Rule::phase
        | Rule::apply
        | Rule::freeze
        | Rule::restart
        | Rule::sweep
        | Rule::setting
        | Rule::field => ENTRY,
        Rule::members | Rule::block | Rule::hooks | Rule::train_body | Rule::block_fields => BLOCK,
        Rule::pick | Rule::use_list => PICK,
        Rule::per
        | Rule::floor
        | Rule::by
        | Rule::on
        | Rule::except
        | Rule::at
        | Rule::every
        | Rule::via
        | Rule::always
        | Rule::multiple
        | Rule::overlap
        | Rule::tail
        | Rule::weight => CLAUSE,
        Rule::sizes => SIZES,
        Rule::result | Rule::guard | Rule::when | Rule::arg_over | Rule::arg_by | Rule::arg_in | Rule::kind => RARE,
        Rule::K_then | Rule::K_else => BRANCH,
        Rule::K_keep => KEEP,
        Rule::if_expr => IF,
        _ => 0,
    }
}
