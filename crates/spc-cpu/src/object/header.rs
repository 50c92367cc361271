//! The C header of an object.
use super::weights::HEADER_BYTES;
use super::{ABI_VERSION, Options};
use crate::buffer::ALIGN;
use spc_ir::{DType, Sym};
use spc_kernel::{Port, Program};
use std::fmt::Write as _;

/// An array that a function reads or writes.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Array {
    name: String,
    ty: &'static str,
    /// As in the program, `[B, 64]`.
    shape: String,
    strides: String,
}

/// A function as C sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    name: String,
    /// Free axes by their C names.
    axes: Vec<(String, u64, u64)>,
    inputs: Vec<Array>,
    outputs: Vec<Array>,
}

const KEYWORDS: [&str; 56] = [
    "alignas",
    "alignof",
    "auto",
    "bool",
    "break",
    "case",
    "char",
    "class",
    "const",
    "continue",
    "default",
    "delete",
    "do",
    "double",
    "else",
    "enum",
    "extern",
    "false",
    "float",
    "for",
    "friend",
    "goto",
    "if",
    "inline",
    "int",
    "long",
    "namespace",
    "new",
    "operator",
    "private",
    "protected",
    "public",
    "register",
    "restrict",
    "return",
    "short",
    "signed",
    "sizeof",
    "static",
    "struct",
    "switch",
    "template",
    "this",
    "threads",
    "throw",
    "true",
    "try",
    "typedef",
    "union",
    "unsigned",
    "using",
    "void",
    "volatile",
    "weights",
    "while",
    "workspace",
];

/// A C identifier that looks like `name`: other characters become `_`, and one is appended to a word of C or C++.
pub fn c_name(name: &str) -> String {
    let mut out: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    if out.is_empty() || out.starts_with(|c: char| c.is_ascii_digit()) {
        out.insert(0, '_');
    }
    if KEYWORDS.contains(&out.as_str()) {
        out.push('_');
    }
    out
}

/// As [`c_name`], and not among those that were taken before.
fn fresh(name: &str, taken: &mut Vec<String>) -> String {
    let mut own = c_name(name);
    while taken.contains(&own) {
        own.push('_');
    }
    taken.push(own.clone());
    own
}

impl Signature {
    pub fn of(name: &str, p: &Program) -> Signature {
        let mut taken = vec!["workspace_bytes".to_string()];
        let axes: Vec<(String, u64, u64)> =
            p.syms().iter().map(|s: &Sym| (fresh(&s.name, &mut taken), s.lo, s.hi)).collect();
        let mut array = |port: &Port| {
            let size = |d: &spc_kernel::Extent| {
                let names = d.syms.iter().filter_map(|s| axes.get(s.0 as usize)).map(|a| a.0.clone());
                let coef = (d.coef != 1 || d.syms.is_empty()).then(|| d.coef.to_string());
                coef.into_iter().chain(names).collect::<Vec<_>>().join("*")
            };
            let dims: Vec<String> = port.dims.iter().map(size).collect();
            let stride = |i: usize| {
                let inner = spc_kernel::Extent::product(&port.dims[i + 1..]);
                inner.map_or_else(String::new, |e| size(&e))
            };
            let strides: Vec<String> = (0..dims.len()).map(stride).collect();
            Array {
                name: fresh(&port.name, &mut taken),
                ty: match port.dtype {
                    DType::F32 => "float",
                    DType::I32 => "int32_t",
                    DType::Bool => "uint8_t",
                },
                shape: format!("[{}]", dims.join(", ")),
                strides: format!("[{}]", strides.join(", ")),
            }
        };
        let inputs = p.inputs().iter().map(&mut array).collect();
        let outputs = p.outputs().iter().map(&mut array).collect();
        Signature { name: name.to_string(), axes, inputs, outputs }
    }
}

/// What all headers of objects and `spc.h` declare alike.
pub const COMMON: &str = "\
#ifndef SPC_STATUS
#define SPC_STATUS
/* What functions return. */
enum spc_status {
  SPC_OK = 0,
  SPC_NULL = 1,        /* a pointer that must not be null is */
  SPC_SIZE = 2,        /* a size lies outside its range */
  SPC_ALIGNMENT = 3,   /* a pointer is not a multiple of what it must be */
  SPC_WORKSPACE = 4,   /* the workspace is too small */
  SPC_WEIGHTS = 5,     /* the weights are not those that the code was made for */
  SPC_INDEX_RANGE = 6, /* an id lies outside its axis; the outputs are not defined */
  SPC_SCORE = 7        /* a score is NaN, or there is nothing to choose from; the outputs are not defined */
};

/* Threads of the caller. run calls task(data, part) once for each part in 0..parts, on any threads and in any order, and
   returns when all calls have returned. count is the number of threads that it uses. */
typedef struct spc_threads {
  void (*run)(void *context, size_t parts, void (*task)(void *data, size_t part), void *data);
  void *context;
  size_t count;
} spc_threads;

/* The version of this interface that the code was made for: must be SPC_ABI_VERSION. */
int32_t spc_abi_version(void);
#endif
";

/// Text of the header.
pub(super) fn header(options: &Options, functions: &[Signature], weights: usize) -> String {
    let (prefix, guard) = (&options.prefix, options.prefix.to_uppercase());
    let mut t = format!(
        "/* {prefix}: functions compiled by spc for {}. Link {prefix}.o or {prefix}.so; nothing else is needed.\n\n",
        options.arch.name()
    );
    t += "   Arrays are contiguous and row-major, in the byte order of the machine; strides are in elements. Inputs and outputs\n";
    t += "   are aligned to their elements; 64 bytes are faster. The caller owns all memory, and the functions keep nothing of\n";
    t += "   it: calls may come from several threads, each with outputs and a workspace of its own. Outputs overlap neither\n";
    let _ = writeln!(t, "   inputs nor the workspace. Any number of threads gives the same bits. */");
    let _ = writeln!(t, "#ifndef {guard}_H\n#define {guard}_H\n#include <stddef.h>\n#include <stdint.h>\n");
    let _ =
        writeln!(t, "#define SPC_ABI_VERSION {ABI_VERSION}\n\n#ifdef __cplusplus\nextern \"C\" {{\n#endif\n\n{COMMON}");
    let _ = writeln!(
        t,
        "/* The weights: {weights} bytes at a multiple of {ALIGN}, the contents of {prefix}.weights, which may be mapped. Every\n   \
         call compares the {HEADER_BYTES} bytes at their start with what it was made for; this function reads them all. */"
    );
    let _ = writeln!(t, "#define {guard}_WEIGHTS_BYTES {weights}");
    let _ = writeln!(t, "int32_t {prefix}_check_weights(const void *weights, size_t bytes);\n");
    if options.embed_weights {
        t += "/* The weights are in the code as well: null stands for them. */\n";
        let _ = writeln!(t, "#define {guard}_WEIGHTS_EMBEDDED 1\n");
    }
    let names: Vec<String> =
        options.arch.variants().iter().enumerate().map(|(i, isa)| format!("{i} {}", isa.name())).collect();
    let _ = writeln!(
        t,
        "/* Instruction sets in the code: {}. Uses none above limit from now on (a negative limit: the best one\n   that the \
         processor has, as at the start) and returns the one in use. Sums may be added in another order by another. Not to\n   be \
         called while other functions run; a workspace has the size that was asked for after it. */\nint32_t \
         {prefix}_isa(int32_t limit);",
        names.join(", ")
    );
    for f in functions {
        function(&mut t, prefix, f);
    }
    t += "\n#ifdef __cplusplus\n}\n#endif\n#endif\n";
    t
}

fn function(t: &mut String, prefix: &str, f: &Signature) {
    let _ = writeln!(t, "\n/* {}", f.name);
    for (name, lo, hi) in &f.axes {
        let _ = writeln!(t, "   {name}: size of a free axis, {lo} to {hi}");
    }
    for (what, list) in [("in", &f.inputs), ("out", &f.outputs)] {
        for a in list {
            let _ = writeln!(t, "   {what} {}: {}{}, strides {}", a.name, a.ty, a.shape, a.strides);
        }
    }
    let axes: Vec<String> = f.axes.iter().map(|a| format!("int64_t {}", a.0)).collect();
    let sizes = if axes.is_empty() { "void".to_string() } else { axes.join(", ") };
    let _ = writeln!(
        t,
        "   workspace: {prefix}_{}_workspace_bytes(..) bytes at a multiple of {ALIGN} (0 for sizes out of range); what it holds is\n   \
         not read\n   threads: null to run on the calling thread\n   Returns SPC_OK, SPC_NULL, SPC_SIZE, SPC_ALIGNMENT, \
         SPC_WORKSPACE, SPC_WEIGHTS, SPC_INDEX_RANGE or SPC_SCORE. */",
        f.name
    );
    let _ = writeln!(t, "size_t {prefix}_{}_workspace_bytes({sizes});", f.name);
    let mut params = vec!["const void *weights".to_string()];
    params.extend(axes);
    params.extend(f.inputs.iter().map(|a| format!("const {} *{}", a.ty, a.name)));
    params.extend(f.outputs.iter().map(|a| format!("{} *{}", a.ty, a.name)));
    params.extend(["void *workspace", "size_t workspace_bytes", "const spc_threads *threads"].map(String::from));
    let _ = writeln!(t, "int32_t {prefix}_{}({});", f.name, params.join(", "));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_identifiers() {
        assert_eq!(c_name("image"), "image");
        assert_eq!(c_name("int"), "int_");
        assert_eq!(c_name("mlp.w1"), "mlp_w1");
        assert_eq!(c_name("2d"), "_2d");
        assert_eq!(c_name(""), "_");
        assert!(KEYWORDS.is_sorted());
        let mut taken = Vec::new();
        assert_eq!((fresh("x", &mut taken), fresh("x", &mut taken)), ("x".into(), "x_".into()));
    }
}
