//! Plain words for every rule, for messages of the form "expected ..".
use crate::Rule;

/// How a rule is named in a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phrase {
    /// A mark: shown in backticks.
    Mark(&'static str),
    /// A keyword: shown in backticks.
    Word(&'static str),
    /// A keyword that starts a clause of the sentence: shown in backticks; several are summed up.
    Clause(&'static str),
    /// A description.
    Thing(&'static str),
    /// Possible at nearly every place (operators, calls), so that naming it helps nobody.
    Hidden,
}

/// The phrase of a rule. The match is exhaustive, so a new rule cannot go without one.
pub fn phrase(rule: Rule) -> Phrase {
    use Phrase::{Clause, Hidden, Mark, Thing, Word};
    match rule {
        Rule::K_edition => Word("edition"),
        Rule::K_use => Word("use"),
        Rule::K_const => Word("const"),
        Rule::K_axis => Word("axis"),
        Rule::K_axes => Word("axes"),
        Rule::K_model => Word("model"),
        Rule::K_data => Word("data"),
        Rule::K_fn => Word("fn"),
        Rule::K_group => Word("group"),
        Rule::K_mask => Word("mask"),
        Rule::K_score => Word("score"),
        Rule::K_schedule => Word("schedule"),
        Rule::K_pattern => Word("pattern"),
        Rule::K_penalty => Word("penalty"),
        Rule::K_update => Word("update"),
        Rule::K_require => Word("require"),
        Rule::K_penalize => Word("penalize"),
        Rule::K_quantize => Word("quantize"),
        Rule::K_train => Word("train"),
        Rule::K_run => Word("run"),
        Rule::K_target => Word("target"),
        Rule::K_plan => Word("plan"),
        Rule::K_expect => Word("expect"),
        Rule::K_from => Word("from"),
        Rule::K_phase => Word("phase"),
        Rule::K_of => Word("of"),
        Rule::K_to => Word("to"),
        Rule::K_over => Word("over"),
        Rule::K_in => Word("in"),
        Rule::K_if => Word("if"),
        Rule::K_else => Word("else"),
        Rule::K_for => Word("for"),
        Rule::K_where => Word("where"),
        Rule::K_keep => Word("keep"),
        Rule::K_until => Word("until"),
        Rule::K_when => Word("when"),
        Rule::K_state => Word("state"),
        Rule::K_apply => Word("apply"),
        Rule::K_freeze => Word("freeze"),
        Rule::K_restart => Word("restart"),
        Rule::K_sweep => Word("sweep"),
        Rule::K_observe => Word("observe"),
        Rule::K_radial => Word("radial"),
        Rule::K_groups => Word("groups"),
        Rule::K_like => Word("like"),
        Rule::K_above => Word("above"),
        Rule::K_first => Word("first"),
        Rule::K_last => Word("last"),
        Rule::K_cost => Word("cost"),
        Rule::K_energy => Word("energy"),
        Rule::K_per => Clause("per"),
        Rule::K_by => Clause("by"),
        Rule::K_on => Clause("on"),
        Rule::K_at => Clause("at"),
        Rule::K_via => Clause("via"),
        Rule::K_then => Clause("then"),
        Rule::K_min => Clause("min"),
        Rule::K_every => Clause("every"),
        Rule::K_always => Clause("always"),
        Rule::K_except => Clause("except"),
        Rule::K_multiple => Clause("multiple"),
        Rule::K_overlap => Clause("on_overlap"),
        Rule::K_ragged => Clause("ragged"),
        Rule::K_pad => Clause("pad"),

        Rule::P_eq => Mark("="),
        Rule::P_colon => Mark(":"),
        Rule::P_comma => Mark(","),
        Rule::P_arrow => Mark("->"),
        Rule::P_lambda => Mark("=>"),
        Rule::P_lp => Mark("("),
        Rule::P_rp => Mark(")"),
        Rule::P_lb => Mark("["),
        Rule::P_rb => Mark("]"),
        Rule::P_lc => Mark("{"),
        Rule::P_rc => Mark("}"),
        Rule::P_range => Mark(".."),

        Rule::id => Thing("a name"),
        Rule::name => Thing("a name"),
        Rule::str => Thing("a text in double quotes"),
        Rule::int => Thing("a whole number"),
        Rule::num => Thing("a number"),
        Rule::pct => Thing("a percentage such as `25%`"),
        Rule::unit | Rule::qty => Hidden,
        Rule::EOI => Thing("the end of the item"),

        Rule::edition_item
        | Rule::use_item
        | Rule::const_item
        | Rule::axis_item
        | Rule::model_item
        | Rule::data_item
        | Rule::fn_item
        | Rule::group_item
        | Rule::mask_item
        | Rule::score_item
        | Rule::schedule_item
        | Rule::pattern_item
        | Rule::penalty_item
        | Rule::update_item
        | Rule::require_item
        | Rule::penalize_item
        | Rule::quantize_item
        | Rule::train_item
        | Rule::run_item
        | Rule::target_item
        | Rule::plan_item
        | Rule::expect_item => Thing("an item"),
        Rule::item | Rule::file | Rule::lone_item => Thing("an item"),

        Rule::use_path => Thing("a module path such as `std.nn`"),
        Rule::use_list => Thing("names in braces"),
        Rule::axis_decl => Thing("an axis"),
        Rule::source => Word("from"),
        Rule::members => Mark("{"),
        Rule::member => Thing("a member such as `w: f32[O, I]`"),
        Rule::axes => Word("axes"),
        Rule::family => Thing("a repeated member such as `layer[l: L] { .. }`"),
        Rule::tensor => Thing("a member such as `w: f32[O, I]`"),
        Rule::split => Thing("a block such as `split { .. }`"),
        Rule::column => Thing("a member such as `y = column(0)`"),

        Rule::r#type => Thing("a type"),
        Rule::type_name => Thing("a type"),
        Rule::mask_axes => Hidden,
        Rule::like => Thing("a type"),
        Rule::shape => Mark("["),
        Rule::dim => Thing("an axis, a size or `..`"),
        Rule::rest => Mark(".."),
        Rule::composite => Thing("a split axis such as `(H C)`"),
        Rule::record => Thing("a record type in braces"),

        Rule::params => Thing("parameters in parentheses"),
        Rule::param | Rule::named => Thing("a parameter"),
        Rule::result => Mark("->"),
        Rule::one | Rule::many => Thing("a result such as `y: f32[O]`"),
        Rule::sizes => Word("where"),
        Rule::body => Thing("a body: `{ .. }` or `= ..`"),
        Rule::block => Mark("{"),
        Rule::stmt => Thing("a statement such as `y = ..`"),
        Rule::for_stmt => Word("for"),
        Rule::state_stmt => Word("state"),
        Rule::assign => Thing("a statement such as `y = ..`"),
        Rule::guard => Word("where"),
        Rule::lhs | Rule::tuple_lhs | Rule::place => Thing("a name to assign to"),
        Rule::when => Word("when"),

        Rule::sentence | Rule::keep_part => Thing("a sentence `keep .. of ..`"),
        Rule::amount => Thing("an amount such as `25%` or `2 of 4`"),
        Rule::out_of => Thing("a number or a name"),
        Rule::above => Word("above"),
        Rule::target_group => Thing("a group"),
        Rule::clause | Rule::clause_word => Thing("a clause"),
        Rule::per => Clause("per"),
        Rule::scope | Rule::scope_model => Thing("a scope such as `tensor`, `layer` or `model`"),
        Rule::floor => Clause("min"),
        Rule::by => Clause("by"),
        Rule::joint => Thing("`joint`"),
        Rule::on => Clause("on"),
        Rule::except => Clause("except"),
        Rule::selector => Thing("a selector such as `net.*`"),
        Rule::at => Clause("at"),
        Rule::moment | Rule::part_of_run => Thing("a time such as `80%` or `end`"),
        Rule::steps => Word("steps"),
        Rule::every => Clause("every"),
        Rule::via => Clause("via"),
        Rule::always => Clause("always"),
        Rule::kept => Thing("`first` or `last` and a number"),
        Rule::multiple => Clause("multiple"),
        Rule::overlap => Clause("on_overlap"),
        Rule::tail => Clause("pad"),

        Rule::binder => Mark("["),
        Rule::bind => Thing("an index such as `l: L`"),
        Rule::weight => Thing("a weight such as `cost: flops`"),
        Rule::sugar => Thing("a pattern such as `nm(2, 4)`"),
        Rule::label => Thing("a label such as `thin:`"),
        Rule::term | Rule::terms => Thing("a penalty such as `1e-3 * l1() of elements`"),
        Rule::kind => Thing("`radial` or `of groups`"),
        Rule::hooks => Mark("{"),
        Rule::hook => Thing("a hook"),
        Rule::mask_hook => Word("mask"),
        Rule::observe => Word("observe"),
        Rule::handler | Rule::handler_name => Thing("a hook such as `forward(w) = ..`"),

        Rule::train_body => Mark("{"),
        Rule::train_stmt => Thing("a statement"),
        Rule::setting => Thing("a setting such as `batch: 64`"),
        Rule::phase => Word("phase"),
        Rule::apply => Word("apply"),
        Rule::applied => Thing("the name of a constraint"),
        Rule::freeze => Word("freeze"),
        Rule::restart => Word("restart"),
        Rule::sweep => Word("sweep"),
        Rule::block_fields => Mark("{"),
        Rule::field => Thing("a field such as `call: ..`"),
        Rule::field_sep => Thing("`:` or `=`"),

        Rule::expr | Rule::post | Rule::cond | Rule::cond_post | Rule::atom => Thing("an expression"),
        Rule::paren | Rule::list | Rule::if_expr | Rule::lambda | Rule::role_in => Thing("an expression"),
        Rule::arg | Rule::value => Thing("a value"),
        Rule::binding | Rule::over_more => Thing("an index"),
        Rule::share => Hidden,
        Rule::range => Thing("a range such as `10%..80%`"),
        Rule::idx => Thing("an index"),
        Rule::pick => Thing("names in braces"),
        Rule::star => Mark("*"),
        Rule::if_arm => Word("if"),
        Rule::arg_over => Word("over"),
        Rule::arg_by => Word("by"),
        Rule::arg_in => Word("in"),
        Rule::tuple_rest => Mark(","),

        Rule::prefix | Rule::op | Rule::suffix | Rule::args | Rule::index | Rule::axis_slice | Rule::field_get => {
            Hidden
        }
        Rule::WHITESPACE | Rule::COMMENT | Rule::to_line_end | Rule::call_word => Hidden,
        Rule::idc | Rule::free | Rule::kw | Rule::kw_item | Rule::kw_inner => Hidden,
    }
}
