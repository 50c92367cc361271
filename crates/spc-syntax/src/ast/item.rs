//! Items.
use super::{
    AxisDecl, Bind, Callable, Clause, Clauses, Doc, Expr, GroupRef, Ident, Num, Param, PenalizeItem, PenaltyItem,
    QuantizeItem, Sentence, Span, TensorDecl, Text, TrainItem, UpdateItem,
};

/// One item with the doc comment that stands before it.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// `///` lines.
    pub docs: Vec<Doc>,
    pub kind: ItemKind,
    /// From the item's word to its last word, docs excluded.
    pub span: Span,
}

#[derive(Clone, Debug, PartialEq)]
pub enum ItemKind {
    Edition(EditionItem),
    Use(UseItem),
    Const(ConstItem),
    Axis(AxisItem),
    Model(ModelItem),
    Data(ModelItem),
    Fn(FnItem),
    Group(GroupItem),
    Mask(MaskItem),
    Score(ScoreItem),
    Schedule(ScheduleItem),
    Pattern(PatternItem),
    Penalty(PenaltyItem),
    Update(UpdateItem),
    Require(RequireItem),
    Penalize(PenalizeItem),
    Quantize(QuantizeItem),
    Train(TrainItem),
    Run(RunItem),
    Target(TargetItem),
    Plan(PlanItem),
    Expect(ExpectItem),
}

impl ItemKind {
    /// The word that starts the item.
    pub fn word(&self) -> &'static str {
        match self {
            ItemKind::Edition(_) => "edition",
            ItemKind::Use(_) => "use",
            ItemKind::Const(_) => "const",
            ItemKind::Axis(_) => "axis",
            ItemKind::Model(_) => "model",
            ItemKind::Data(_) => "data",
            ItemKind::Fn(_) => "fn",
            ItemKind::Group(_) => "group",
            ItemKind::Mask(_) => "mask",
            ItemKind::Score(_) => "score",
            ItemKind::Schedule(_) => "schedule",
            ItemKind::Pattern(_) => "pattern",
            ItemKind::Penalty(_) => "penalty",
            ItemKind::Update(_) => "update",
            ItemKind::Require(_) => "require",
            ItemKind::Penalize(_) => "penalize",
            ItemKind::Quantize(_) => "quantize",
            ItemKind::Train(_) => "train",
            ItemKind::Run(_) => "run",
            ItemKind::Target(_) => "target",
            ItemKind::Plan(_) => "plan",
            ItemKind::Expect(_) => "expect",
        }
    }

    /// The name that the item defines. An unlabelled `require`, `edition`, `use`, `axis` and `expect` have none.
    pub fn name(&self) -> Option<&Ident> {
        match self {
            ItemKind::Edition(_) | ItemKind::Use(_) | ItemKind::Axis(_) | ItemKind::Expect(_) => None,
            ItemKind::Const(i) => Some(&i.name),
            ItemKind::Model(i) | ItemKind::Data(i) => Some(&i.name),
            ItemKind::Fn(i) => Some(&i.name),
            ItemKind::Group(i) => Some(&i.name),
            ItemKind::Mask(i) => Some(&i.name),
            ItemKind::Score(i) => Some(&i.name),
            ItemKind::Schedule(i) => Some(&i.name),
            ItemKind::Pattern(i) => Some(&i.name),
            ItemKind::Penalty(i) => Some(&i.name),
            ItemKind::Update(i) => Some(&i.name),
            ItemKind::Require(i) => i.name.as_ref(),
            ItemKind::Penalize(i) => i.name.as_ref(),
            ItemKind::Quantize(i) => i.name.as_ref(),
            ItemKind::Train(i) => Some(&i.name),
            ItemKind::Run(i) => Some(&i.name),
            ItemKind::Target(i) => Some(&i.name),
            ItemKind::Plan(i) => Some(&i.name),
        }
    }
}

/// `edition 1`
#[derive(Clone, Debug, PartialEq)]
pub struct EditionItem {
    pub number: Num,
}

/// `use std.nn`, `use std.penalties.{group_l2, mcp}`
#[derive(Clone, Debug, PartialEq)]
pub struct UseItem {
    /// At least one name.
    pub path: Vec<Ident>,
    /// The names in braces; empty when there are no braces.
    pub names: Vec<Ident>,
    /// The path with its names.
    pub path_span: Span,
}

/// `const EARLY = [8, 8]`
#[derive(Clone, Debug, PartialEq)]
pub struct ConstItem {
    pub name: Ident,
    pub value: Expr,
}

/// `axis B = 1..512, T`
#[derive(Clone, Debug, PartialEq)]
pub struct AxisItem {
    pub decls: Vec<AxisDecl>,
}

/// `model NAME from FORMAT "path" { members }`, and `data` alike.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelItem {
    pub name: Ident,
    pub source: Option<Source>,
    /// `None` without braces.
    pub members: Option<Vec<Member>>,
}

/// `from safetensors "path"`
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    pub format: Ident,
    pub path: Text,
    pub span: Span,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Member {
    Axes(AxesBlock),
    Family(Family),
    Tensor(TensorDecl),
    Split(Split),
    Column(Column),
}

impl Member {
    pub fn span(&self) -> Span {
        match self {
            Member::Axes(m) => m.span,
            Member::Family(m) => m.span,
            Member::Tensor(m) => m.span,
            Member::Split(m) => m.span,
            Member::Column(m) => m.span,
        }
    }
}

/// `axes { D = 384, L = 6 }`
#[derive(Clone, Debug, PartialEq)]
pub struct AxesBlock {
    pub decls: Vec<AxisDecl>,
    pub span: Span,
}

/// `layer[l: L] = "encoder.layer.{l}" { .. }`: members repeated over an axis.
#[derive(Clone, Debug, PartialEq)]
pub struct Family {
    pub name: Ident,
    pub index: Ident,
    pub axis: Ident,
    /// Prefix of stored names, the index in braces.
    pub path: Option<Text>,
    pub members: Vec<Member>,
    pub span: Span,
}

/// `split { train = 80%, seed = 7 }`: a member of data that names its parts.
#[derive(Clone, Debug, PartialEq)]
pub struct Split {
    /// `split` in every known use.
    pub name: Ident,
    pub fields: Vec<Field>,
    pub span: Span,
}

/// `ids, real = wordpiece(..)` in data; `head = embed` (tied) in a model.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// At least one.
    pub names: Vec<Ident>,
    pub value: Expr,
    pub span: Span,
}

/// `name: value` or `name = value`.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    pub name: Ident,
    /// Written with `=`; otherwise with `:`.
    pub eq: bool,
    pub value: Expr,
    pub span: Span,
}

#[derive(Clone, Debug, PartialEq)]
pub struct FnItem {
    pub name: Ident,
    pub sig: Callable,
}

/// `group neuron[l, f: F] = slices(F) of net.layer[l]  cost: flops`
#[derive(Clone, Debug, PartialEq)]
pub struct GroupItem {
    pub name: Ident,
    /// Empty without brackets.
    pub binder: Vec<Bind>,
    pub group: GroupRef,
    pub cost: Option<Clause<Expr>>,
    pub energy: Option<Clause<Expr>>,
    pub on_overlap: Option<Clause<Ident>>,
}

/// `mask causal(q, k) = k <= q`
#[derive(Clone, Debug, PartialEq)]
pub struct MaskItem {
    pub name: Ident,
    pub params: Vec<Param>,
    pub value: Expr,
}

/// `score s(x: f32[J]) -> y: f32[J] { .. }`; `has_params` is false when no parentheses are written.
#[derive(Clone, Debug, PartialEq)]
pub struct ScoreItem {
    pub name: Ident,
    pub has_params: bool,
    pub sig: Callable,
}

/// `schedule decay(beta: f32) = ..`, `schedule active[l: L] = ..`
#[derive(Clone, Debug, PartialEq)]
pub struct ScheduleItem {
    pub name: Ident,
    pub params: Option<Vec<Param>>,
    /// Empty without brackets.
    pub binder: Vec<Bind>,
    pub value: Expr,
}

/// `pattern nm(n: int, m: int) = keep ..`
#[derive(Clone, Debug, PartialEq)]
pub struct PatternItem {
    pub name: Ident,
    pub params: Vec<Param>,
    pub sentence: Sentence,
}

/// `require NAME: keep ..` or `require NAME: nm(2, 4) on net.*`
#[derive(Clone, Debug, PartialEq)]
pub struct RequireItem {
    pub name: Option<Ident>,
    pub what: Require,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Require {
    Sentence(Sentence),
    /// A pattern by name; a clause written here replaces the pattern's own.
    Sugar {
        pattern: Expr,
        clauses: Clauses,
    },
}

/// `run test { call: ..  report: [..] }`
#[derive(Clone, Debug, PartialEq)]
pub struct RunItem {
    pub name: Ident,
    pub fields: Vec<Field>,
}

/// `target laptop = cpu(threads: 2) { B = 1 }`
#[derive(Clone, Debug, PartialEq)]
pub struct TargetItem {
    pub name: Ident,
    pub value: Expr,
    /// Empty without braces.
    pub fields: Vec<Field>,
}

/// `plan fast for laptop { .. }`
#[derive(Clone, Debug, PartialEq)]
pub struct PlanItem {
    pub name: Ident,
    pub target: Option<Ident>,
    pub fields: Vec<Field>,
}

/// `expect size(net) <= 60 MiB`
#[derive(Clone, Debug, PartialEq)]
pub struct ExpectItem {
    pub value: Expr,
}
