//! Names that the language itself gives a meaning.

/// Where a name may stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    Type,
    Function,
    Group,
    Scope,
    Score,
    /// How quantised weights are stored.
    Form,
    Role,
    Value,
    /// What a percentage may be counted in.
    Cost,
    Via,
    Report,
    Promise,
    /// How a tensor starts in a model without a file.
    Start,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Builtin {
    pub name: &'static str,
    pub class: Class,
    /// How it is written.
    pub form: &'static str,
    pub doc: &'static str,
}

const fn b(name: &'static str, class: Class, form: &'static str, doc: &'static str) -> Builtin {
    Builtin { name, class, form, doc }
}

/// All of them; a name occurs once for each class.
pub const BUILTINS: &[Builtin] = &[
    b("f32", Class::Type, "f32[..]", "32-bit floating point."),
    b("i32", Class::Type, "i32[..]", "32-bit integer."),
    b("bool", Class::Type, "bool[..]", "True or false. Bool times number is the number or 0."),
    b("float", Class::Type, "float[..]", "Any floating type, the same one throughout a call."),
    b(
        "int",
        Class::Type,
        "int",
        "A whole number known when checking. As a function, `int(t)` is the number of an index.",
    ),
    b("amount", Class::Type, "amount", "How much is kept: a count, a percentage or a schedule."),
    b("pct", Class::Type, "pct", "A percentage."),
    b("constraint", Class::Type, "constraint", "The `require` that an update acts for."),
    b("cache", Class::Type, "cache[L, B, S, D]", "State of the caller, which grows along one axis."),
    b("exp", Class::Function, "exp(x)", "e to the power x."),
    b("log", Class::Function, "log(x)", "Natural logarithm."),
    b("sqrt", Class::Function, "sqrt(x)", "Square root."),
    b("erf", Class::Function, "erf(x)", "The error function."),
    b("tanh", Class::Function, "tanh(x)", "Hyperbolic tangent."),
    b("sin", Class::Function, "sin(x)", "Sine."),
    b("cos", Class::Function, "cos(x)", "Cosine."),
    b("floor", Class::Function, "floor(x)", "The largest whole number not above x."),
    b("abs", Class::Function, "abs(x)", "Absolute value. As a score: larger absolute values are kept."),
    b("max", Class::Function, "max(a, b)  max(e over i)", "The larger of two values, or the largest along an index."),
    b("min", Class::Function, "min(a, b)  min(e over i)", "The smaller of two values, or the smallest along an index."),
    b("sum", Class::Function, "sum(e over i)", "The sum along an index."),
    b("mean", Class::Function, "mean(e over i)", "The mean along an index."),
    b("pow", Class::Function, "pow(x, y)", "x to the power y."),
    b("size", Class::Function, "size(A)", "The size of an axis. As a report or promise: bytes of the packed weights."),
    b("float", Class::Function, "float(n)", "An i32 or bool tensor as f32."),
    b("product", Class::Function, "product(e over i)", "The product along an index."),
    b("any", Class::Function, "any(m over i)", "Whether one of the entries is true."),
    b("argmax", Class::Function, "argmax(e over i)", "The index of the largest entry, the first of several."),
    b("softmax", Class::Function, "softmax(a over S)", "Shares of exp(a) along an axis."),
    b("logsumexp", Class::Function, "logsumexp(e over i)", "log(sum(exp(e) over i)), without overflow."),
    b("last", Class::Function, "last(x, along: T)", "The slice at the greatest index of an axis."),
    b("concat", Class::Function, "concat(a, b, along: D)", "Values joined along an axis."),
    b("gather", Class::Function, "gather(x, r)", "x where the relation holds, 0 elsewhere."),
    b("append", Class::Function, "append(cache, k: k, v: v)", "A cache with new keys and values at its end."),
    b("empty", Class::Function, "empty()", "A cache without tokens."),
    b(
        "top",
        Class::Function,
        "top(n, by: abs(w), among: m, per: c)",
        "In an update: the n best groups of each scope of a constraint.",
    ),
    b(
        "root",
        Class::Function,
        "root((t) => f, 0..inf)",
        "In a penalty of groups: where a nondecreasing function is 0.",
    ),
    b("unbias", Class::Function, "unbias(x, beta)", "In an update: a moving average as if it had always run."),
    b(
        "input_norm",
        Class::Function,
        "input_norm(x)",
        "In a score: the norm of the input that a weight meets, over data.",
    ),
    b("select", Class::Function, "select(keep ..)", "Which groups the sentence keeps, as a mask or relation."),
    b("count", Class::Function, "count(m)", "How many entries are true."),
    b("rank", Class::Function, "rank(x over i)", "The place of each entry in descending order."),
    b("sign", Class::Function, "sign(x)", "-1, 0 or 1."),
    b("clip", Class::Function, "clip(x, low, high)", "x, but not below low or above high."),
    b("previous", Class::Function, "previous(m)", "The value at the step before."),
    b("elements", Class::Group, "elements", "Single weights."),
    b(
        "tile",
        Class::Group,
        "tile(out: 16, in: 1)",
        "Blocks of a tensor. Axes not named have size 1, `all` is the whole axis.",
    ),
    b("slices", Class::Group, "slices(F)", "For each index of an axis, everything that carries the axis there."),
    b("tensors", Class::Group, "tensors", "Whole tensors."),
    b("pairs", Class::Group, "pairs(link)", "Stored pairs of a relation."),
    b("tensor", Class::Scope, "per tensor", "The amount is counted in each tensor."),
    b("layer", Class::Scope, "per layer", "The amount is counted in each index of the innermost repetition."),
    b("model", Class::Scope, "per model", "The amount is counted over the whole model."),
    b("norm1", Class::Score, "by norm1", "The sum of absolute values of a group."),
    b("norm2", Class::Score, "by norm2", "The Euclidean norm of a group."),
    b("random", Class::Score, "by random(seed)", "A fixed pseudo-random order."),
    b("int8", Class::Form, "to int8", "8-bit integers with a scale for each tile."),
    b("int4", Class::Form, "to int4", "4-bit integers with a scale for each tile."),
    b("f16", Class::Form, "to f16", "16-bit floating point."),
    b("bf16", Class::Form, "to bf16", "16-bit floating point with the range of f32."),
    b("in", Class::Role, "in", "The axes of a weight that its product sums over."),
    b("out", Class::Role, "out", "The axes of a weight that its product does not sum over."),
    b("all", Class::Role, "all", "The whole axis."),
    b("flops", Class::Cost, "50% of flops", "Multiplications and additions."),
    b("true", Class::Value, "true", "The bool that holds."),
    b("false", Class::Value, "false", "The bool that does not hold."),
    b("inf", Class::Value, "inf", "Infinity."),
    b("step", Class::Value, "step", "The number of the training step."),
    b("progress", Class::Value, "progress", "Share of the run that is done, 0% to 100%."),
    b("g", Class::Value, "g", "The gradient with respect to what `forward` returned."),
    b("w", Class::Value, "w", "The weight that a score is computed for."),
    b(
        "prox",
        Class::Via,
        "via prox",
        "The penalty acts by its proximal step after the optimiser's, in the optimiser's metric; `prox(metric: euclid)` in the usual one.",
    ),
    b("subgrad", Class::Via, "via subgrad", "The penalty's subgradient is added to the gradient."),
    b("decay", Class::Via, "via decay", "The penalty acts with the optimiser's decoupled decay."),
    b("probe", Class::Via, "via probe", "The gradient is taken at a perturbed point."),
    b("accuracy", Class::Report, "accuracy(data.label)", "Share of rows whose greatest result is the label."),
    b("cosine", Class::Report, "cosine", "Cosine of each dense result row with its sparse one."),
    b("time", Class::Report, "time", "Time of a call, dense beside sparse."),
    b("sparsity", Class::Promise, "sparsity(net.w) >= 50%", "Share of zeros among the elements of weights."),
    b("kept", Class::Promise, "kept(group) == 20", "How many groups are kept."),
    b(
        "speedup",
        Class::Promise,
        "speedup(f, on: target, over: dense) >= 1.5",
        "Time of another program over this one's.",
    ),
    b("pairs", Class::Report, "pairs", "Cosine of each pair of result rows, dense beside sparse."),
    b("spearman", Class::Report, "spearman", "Rank correlation of dense and sparse results."),
    b("perplexity", Class::Report, "perplexity(data.tokens)", "Perplexity of a language model on tokens."),
    b("kaiming", Class::Start, "kaiming()", "Normal values whose variance is 2 over the number of inputs."),
    b("glorot", Class::Start, "glorot()", "Values whose variance follows from the numbers of inputs and outputs."),
    b("zeros", Class::Start, "zeros()", "Zeros."),
    b("ones", Class::Start, "ones()", "Ones."),
    b("normal", Class::Start, "normal(std: 0.02)", "Normal values."),
    b("cpu", Class::Value, "cpu(threads: 1)", "Compile for the processor of this machine."),
    b("cuda", Class::Value, "cuda(arch: \"sm_90a\")", "Write CUDA C++."),
    b("column", Class::Function, "column(3)", "One column of a table."),
    b("columns", Class::Function, "columns(0..64)", "A range of columns of a table."),
    b("field", Class::Function, "field(\"name\")", "A named array of the file."),
    b("rows", Class::Function, "rows(\"file\")", "Row numbers listed in a text file, one a line."),
    b("rest", Class::Value, "rest", "All rows that no other split lists."),
    b(
        "wordpiece",
        Class::Function,
        "wordpiece(\"tokenizer.json\", length: 128)",
        "Token ids, and which positions are real.",
    ),
];

/// Number of the first builtin of a name.
pub fn find(name: &str) -> Option<usize> {
    BUILTINS.iter().position(|b| b.name == name)
}

/// The first builtin of a name.
pub fn builtin(name: &str) -> Option<&'static Builtin> {
    BUILTINS.get(find(name)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cx::Cx;
    use spc_syntax::ast::Ident;

    fn of(class: Class) -> impl Iterator<Item = &'static str> {
        BUILTINS.iter().filter(move |b| b.class == class).map(|b| b.name)
    }

    /// The lists that completion and hover show are those that the checker accepts.
    #[test]
    fn the_lists_are_those_of_the_checker() {
        for name in of(Class::Type) {
            let span = spc_base::Span::default();
            let tensor = crate::model::dtype(&mut Cx::default(), &Ident { name: name.into(), span }).is_ok();
            let other = matches!(name, "int" | "amount" | "pct" | "constraint" | "cache");
            assert!(tensor != other, "{name}");
        }
        for name in crate::elab::builtin::NAMES {
            assert!(BUILTINS.iter().any(|b| b.name == *name), "`{name}` is missing");
        }
        let mut forms: Vec<&str> = of(Class::Form).collect();
        forms.sort_unstable();
        let mut known = crate::require::FORMS.to_vec();
        known.sort_unstable();
        assert_eq!(forms, known);
    }
}
