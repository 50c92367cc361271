//! A checked program as plain data: what the driver needs to bind files, elaborate functions and run jobs.
use crate::consts::Constant;
use spc_base::Span;
use spc_ir::method::{Ratio, Rules, Update};
use spc_ir::{Cost, DType, Dim, Keep};
use spc_syntax::ast;
use std::collections::BTreeMap;

/// The size of a declared axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AxisSize {
    Fixed(u64),
    /// Free, within this range; bound by each call.
    Range(u64, u64),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Axis {
    pub name: String,
    pub size: AxisSize,
    pub span: Span,
}

/// A file that the program names. `path` is as written, relative to the file that names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    pub format: String,
    pub path: String,
    pub span: Span,
}

/// One tensor of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelTensor {
    /// Full name: `mini.layer.0.wq`.
    pub path: String,
    /// Name in the weight file; empty for a model without a file (weights are then bound by `path`).
    pub stored: String,
    pub dtype: DType,
    pub dims: Vec<Dim>,
    /// The repetition it belongs to: `mini.layer.0`, or the model's name.
    pub layer: String,
    /// Its values where the model has no file and the caller gives none.
    pub init: Option<Init>,
    pub span: Span,
    /// Its stored name in the program, quotes included, or the place where one would stand; none where the text of a
    /// repetition is a part of the name.
    pub stored_span: Option<Span>,
}

/// How a tensor begins.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    Zeros,
    Ones,
    /// Uniform in +-sqrt(6 / fan_in): variance 2 / fan_in. He et al. 2015.
    Kaiming {
        fan_in: u64,
    },
    /// Uniform in +-sqrt(6 / (fan_in + fan_out)). Glorot and Bengio 2010.
    Glorot {
        fan_in: u64,
        fan_out: u64,
    },
    Normal {
        std: f64,
    },
}

#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    pub name: String,
    pub source: Option<Source>,
    /// In declared order, repetitions unrolled. Tied tensors appear once.
    pub tensors: Vec<ModelTensor>,
    pub root: Member,
    /// The file says what tensors there are, and it is not read yet.
    pub open: bool,
    pub span: Span,
}

/// The tree of names below a model.
#[derive(Clone, Debug, PartialEq)]
pub enum Member {
    /// Index into [`Model::tensors`].
    Tensor(usize),
    Record(BTreeMap<String, Member>),
    /// One record per index of the axis.
    Family {
        axis: String,
        items: Vec<Member>,
    },
}

/// How a member of a data source is computed from its columns.
#[derive(Clone, Debug, PartialEq)]
pub enum Column {
    /// The file's only array (npy), or the field of the member's own name (npz).
    Own,
    /// Columns `from..to` of a table; one column when `single`.
    Columns { from: usize, to: usize, single: bool },
    /// A named field.
    Field(String),
    /// `value op number`, applied in order.
    Scaled { inner: Box<Column>, op: char, by: f64 },
    /// Output `index` of a tokenizer: 0 ids, 1 which positions are real.
    Tokens { tokenizer: String, length: usize, index: usize, span: Span },
    /// Checked, and not read by this version.
    Later { what: String, span: Span },
}

#[derive(Clone, Debug, PartialEq)]
pub struct DataMember {
    pub name: String,
    pub dtype: DType,
    /// Axes after the hidden row axis.
    pub dims: Vec<Dim>,
    pub column: Column,
    pub span: Span,
}

/// Which rows a split holds.
#[derive(Clone, Debug, PartialEq)]
pub enum SplitRows {
    /// Row numbers listed in a text file, one a line.
    File { path: String, span: Span },
    /// All rows that no other split lists.
    Rest,
    /// `0..140`.
    Range(usize, usize),
    /// `80%`, as an exact fraction; see [`Data::seed`] and [`Data::by`].
    Share { num: u64, den: u64 },
}

#[derive(Clone, Debug, PartialEq)]
pub struct Data {
    pub name: String,
    pub source: Source,
    pub members: Vec<DataMember>,
    pub splits: Vec<(String, SplitRows)>,
    /// Seed of the order in which splits by share take rows.
    pub seed: u64,
    /// Member whose values splits by share keep in proportion.
    pub by: Option<String>,
    pub span: Span,
}

/// `data.test.image`: a data source, perhaps a split of it, and a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataRef {
    pub data: String,
    pub split: Option<String>,
    pub member: String,
    pub span: Span,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Report {
    Accuracy(DataRef),
    /// Cosine of each dense result row with its sparse one.
    Cosine,
    /// Cosine of every pair of result rows, dense beside sparse.
    Pairs,
    Size,
    Time,
    /// Checked, and not made by this version.
    Later {
        what: String,
        span: Span,
    },
}

#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    pub name: String,
    pub function: String,
    /// By parameter name.
    pub args: Vec<(String, DataRef)>,
    pub reports: Vec<Report>,
    pub span: Span,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetKind {
    Cpu,
    Cuda,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub name: String,
    pub kind: TargetKind,
    pub threads: usize,
    pub arch: Option<String>,
    /// Sizes of free axes that the plan is tuned for.
    pub tune: BTreeMap<String, u64>,
    pub span: Span,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compare {
    AtLeast,
    AtMost,
    Above,
    Below,
    Equal,
}

/// What is promised about a number.
#[derive(Clone, Debug, PartialEq)]
pub enum Measure {
    /// Bytes of the model's packed weights.
    Size { model: String },
    /// Share of zeros among the elements of these weights.
    Sparsity { weights: Vec<String> },
    /// Share of rows whose greatest result is the label; inputs as in the `run` that calls the function on that data.
    Accuracy { function: String, data: String, split: Option<String> },
    /// Checked, and not measured by this version.
    Later { what: String },
}

#[derive(Clone, Debug, PartialEq)]
pub struct Expect {
    pub measure: Measure,
    pub compare: Compare,
    /// Bytes, or a share between 0 and 1.
    pub value: f64,
    pub span: Span,
    /// The words as written.
    pub text: String,
}

/// What a `plan` item asks of the choice of layouts.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    pub name: String,
    /// The target it is for; all without one.
    pub target: Option<String>,
    pub layouts: Vec<LayoutRule>,
    /// Most nodes that the search may make.
    pub nodes: Option<u64>,
    pub span: Span,
}

/// `forbid(net.w1, csr)`, `prefer(net.w1, dense)`.
#[derive(Clone, Debug, PartialEq)]
pub struct LayoutRule {
    pub prefer: bool,
    pub weights: Vec<String>,
    /// The family of layouts.
    pub layout: String,
    pub span: Span,
}

/// A constraint with its names resolved, except for the roles `in` and `out`, which the functions decide.
#[derive(Clone, Debug, PartialEq)]
pub struct Require {
    pub name: String,
    /// Expanded: no sugar left.
    pub sentence: ast::Sentence,
    pub keeps: Vec<Keep>,
    pub span: Span,
}

/// A part of a training, as shares of the whole run.
#[derive(Clone, Debug, PartialEq)]
pub struct Phase {
    pub name: String,
    pub from: Ratio,
    pub to: Ratio,
    /// Names of the constraints and penalties that it applies.
    pub applies: Vec<String>,
    /// Updates that `apply NAME via UPDATE` gives to constraints, with the place of the update.
    pub vias: Vec<(String, Update, Span)>,
    /// From its beginning masks never change.
    pub freeze: bool,
}

/// A checked `train`. It cannot be run yet.
#[derive(Clone, Debug, PartialEq)]
pub struct Train {
    pub name: String,
    pub steps: Option<u64>,
    pub epochs: Option<u64>,
    pub seed: Option<u64>,
    pub phases: Vec<Phase>,
    pub span: Span,
}

/// A constraint that chooses among the stored pairs of a data source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkChoice {
    /// Name of the constraint.
    pub name: String,
    pub span: Span,
}

/// A constraint on a named value of a function: part of the function's meaning, approximate, left out of the dense program.
#[derive(Clone, Debug, PartialEq)]
pub struct ValueChoice {
    pub name: String,
    pub function: String,
    pub value: String,
    pub span: Span,
}

/// A number for each group, for penalties and budgets that weigh groups.
#[derive(Clone, Debug, PartialEq)]
pub enum GroupWeight {
    Number(f64),
    /// Elements of the group, or the root of that.
    Size,
    SqrtSize,
    Cost(Cost),
    /// A constant of the program.
    Named(String),
}

/// A `group` item that is slices of weights.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    pub name: String,
    /// As a sentence would take them: each with its family.
    pub members: Vec<spc_ir::Member>,
    pub cost: Option<GroupWeight>,
    pub energy: Option<GroupWeight>,
    /// The name's.
    pub span: Span,
}

/// How quantised weights are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoredAs {
    /// Whole multiples of one scale a tile, symmetric around 0.
    Int {
        bits: u32,
    },
    F16,
    Bf16,
}

impl std::fmt::Display for StoredAs {
    /// As it is written in a program.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            StoredAs::Int { bits } => write!(f, "int{bits}"),
            StoredAs::F16 => f.write_str("f16"),
            StoredAs::Bf16 => f.write_str("bf16"),
        }
    }
}

/// One tensor that is quantised, and the tile of one scale.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuantizeTensor {
    pub weight: String,
    pub shape: Vec<u64>,
    pub tile: Vec<u64>,
}

/// A `quantize` item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quantize {
    pub name: String,
    pub to: StoredAs,
    pub tensors: Vec<QuantizeTensor>,
    /// The other factors of products with these tensors are rounded to 8 bits as well.
    pub inputs: bool,
    /// Scales are f16 numbers.
    pub half_scales: bool,
    pub span: Span,
}

/// A checked program.
#[derive(Clone, Debug, PartialEq)]
pub struct Module {
    pub axes: BTreeMap<String, Axis>,
    /// Named constants, in file order.
    pub consts: Vec<Constant>,
    pub models: Vec<Model>,
    pub data: Vec<Data>,
    pub groups: Vec<Group>,
    pub requires: Vec<Require>,
    /// They act after every constraint.
    pub quantizes: Vec<Quantize>,
    /// Constraints on values that are chosen at run time.
    pub choices: Vec<ValueChoice>,
    /// Constraints on the links of data sources: checked only.
    pub links: Vec<LinkChoice>,
    pub runs: Vec<Run>,
    pub targets: Vec<Target>,
    pub plans: Vec<Plan>,
    pub expects: Vec<Expect>,
    pub trains: Vec<Train>,
    /// What constraints and penalties do during training, in file order.
    pub rules: Rules,
    /// Functions of the root file that can be called from outside, in file order.
    pub entries: Vec<String>,
    /// The root file with all sugar expanded.
    pub core: ast::Ast,
    /// The root file as written.
    pub ast: ast::Ast,
}

impl Module {
    pub fn model(&self, name: &str) -> Option<&Model> {
        self.models.iter().find(|m| m.name == name)
    }

    pub fn data(&self, name: &str) -> Option<&Data> {
        self.data.iter().find(|d| d.name == name)
    }

    /// A tensor by its full name.
    pub fn tensor(&self, path: &str) -> Option<&ModelTensor> {
        self.models.iter().flat_map(|m| &m.tensors).find(|t| t.path == path)
    }
}
