//! An emitted module as data: its text, and what a runtime must know to launch its kernels.
use crate::{Grid, HostOp};
use serde::{Deserialize, Serialize};
use spc_ir::NodeId;

/// The text of a module and what a runtime must know to launch its kernels.
#[derive(Clone, Debug, PartialEq)]
pub struct CudaModule {
    /// Complete CUDA C++: the prelude, the templates of the families in use, then the kernels.
    pub text: String,
    /// In an order in which they can be launched. Of several with the same `writes`, the one runs whose range holds the number
    /// of tokens.
    pub kernels: Vec<KernelInfo>,
    /// Operators without a kernel, in the graph's order. Inputs, weights, constants, splits and merges compute nothing and
    /// are not listed; a map that runs as a kernel's epilogue is not listed either.
    pub host: Vec<HostOp>,
}

/// A kernel and its launch. Kernels that are given no tokens are not launched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelInfo {
    pub name: String,
    /// The template: `dense`, `blocks` (vx1, bsr, csr), `nm`, `mma`, or `terms`, which prepares the input of tensor cores, or
    /// `parts`, which adds the sums of blocks that share the columns.
    pub family: String,
    /// The linear.
    pub node: NodeId,
    /// The value that the kernel writes: `node`, the map that runs as its epilogue, or (as terms) the input.
    pub writes: NodeId,
    pub weight: String,
    pub layout: String,
    /// O, the number of outputs, and K, the number of inputs.
    pub outputs: u64,
    pub inputs: u64,
    /// The value that the kernel reads, and its bias if it has one.
    pub x: NodeId,
    pub bias: Option<NodeId>,
    /// N as a product of the free axes and sizes of the leading dimensions, for example `B * 128`.
    pub tokens: String,
    /// The numbers of tokens that the kernel is for.
    pub from_tokens: u64,
    pub to_tokens: Option<u64>,
    /// In the order of the kernel's parameters.
    pub params: Vec<Param>,
    pub grid: Grid,
    /// Threads of a block.
    pub block: u32,
    /// Dynamic shared memory in bytes.
    pub shared_bytes: u32,
    /// Compute capability that the kernel needs, 80 for 8.0.
    pub cc: u32,
    /// Only images of this architecture have the kernel; there it takes the place of the others of its node for the numbers of
    /// tokens that it is for. See [`CudaModule::kernels_of`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only: Option<String>,
}

impl CudaModule {
    /// The kernels that run of an image of `arch` (`sm_90a` or `compute_90a`): those that it alone has replace others.
    pub fn kernels_of(&self, arch: &str) -> Vec<KernelInfo> {
        let number = |a: &str| a.trim_start_matches("compute_").trim_start_matches("sm_").to_string();
        let here = |k: &&KernelInfo| k.only.as_ref().is_some_and(|only| number(only) == number(arch));
        let own: Vec<&KernelInfo> = self.kernels.iter().filter(here).collect();
        let mut out = Vec::new();
        for k in self.kernels.iter().filter(|k| k.only.is_none() || here(k)) {
            let mut k = k.clone();
            let replaced = |o: &&&KernelInfo| k.only.is_none() && k.family != "terms" && o.writes == k.writes;
            if let Some(o) = own.iter().find(replaced) {
                let most = o.from_tokens - 1;
                if k.from_tokens > most {
                    continue;
                }
                k.to_tokens = Some(k.to_tokens.map_or(most, |to| to.min(most)));
            }
            out.push(k);
        }
        out
    }

    /// The architectures whose images have kernels that no other has.
    pub fn own_archs(&self) -> Vec<&str> {
        let mut all: Vec<&str> = self.kernels.iter().filter_map(|k| k.only.as_deref()).collect();
        all.dedup();
        all
    }
}

impl KernelInfo {
    /// Whether the kernel is the one for `n` tokens.
    pub fn is_for(&self, n: u64) -> bool {
        n >= self.from_tokens && self.to_tokens.is_none_or(|to| n <= to)
    }

    /// Bytes of the terms of `n` tokens, where the kernel reads or writes them.
    pub fn terms_bytes(&self, n: u64) -> Option<u64> {
        let terms = self.params.iter().find_map(|p| match p.of {
            Operand::Terms { terms, turned } => Some((u64::from(terms), turned)),
            _ => None,
        })?;
        let (columns, tokens) =
            if terms.1 { (self.inputs, n.checked_next_multiple_of(16)?) } else { (crate::mma::padded(self.inputs), n) };
        columns.checked_mul(terms.0)?.checked_mul(tokens)?.checked_mul(2)
    }

    /// Bytes of the sums of blocks that share the columns, for `n` tokens, where the kernel reads or writes them.
    pub fn parts_bytes(&self, n: u64) -> Option<u64> {
        let parts = self.params.iter().find_map(|p| match p.of {
            Operand::Parts { parts } => Some(u64::from(parts)),
            _ => None,
        })?;
        self.outputs.checked_mul(parts)?.checked_mul(n)?.checked_mul(4)
    }
}

/// A parameter of a kernel, and what it is given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Param {
    pub name: String,
    pub kind: ParamKind,
    pub of: Operand,
}

impl Param {
    /// As the kernel declares it. What kernels read is not what they write.
    pub(crate) fn declaration(&self) -> String {
        let restrict = if self.kind == ParamKind::I32 { "" } else { "__restrict__ " };
        format!("{} {restrict}{}", self.kind.c_type(), self.name)
    }
}

/// What a parameter is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operand {
    /// An array of the packed weight, by the name of the parameter.
    Packed,
    /// As `Packed`, the entries of each row in the order of [`crate::dealt`]. Any order gives the same result, up to rounding.
    Dealt,
    Bias,
    X,
    Y,
    /// `x` as so many bf16 numbers an element, `[terms][N][K rounded up to 32]`.
    /// Or, turned, `[terms][K][N rounded up to 16]`.
    Terms {
        terms: u32,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        turned: bool,
    },
    /// Sums of blocks that share the columns, `[parts][N][O]`.
    Parts {
        parts: u32,
    },
    /// The number of tokens.
    Tokens,
    /// Another value of the graph.
    Value {
        node: NodeId,
    },
    /// Where the number of a gather whose id is out of range goes, plus one; 0 before the call.
    Fault,
    /// The size of a free axis.
    Axis {
        sym: u32,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ParamKind {
    /// Pointer to f32 that the kernel reads.
    F32In,
    U32In,
    U8In,
    /// Pointer to f32 that the kernel writes, every element once.
    F32Out,
    U32Out,
    U8Out,
    /// The number of tokens.
    I32,
}

impl ParamKind {
    /// The type in C, as the kernel declares it but for `__restrict__`.
    pub fn c_type(self) -> &'static str {
        match self {
            ParamKind::F32In => "const float*",
            ParamKind::U32In => "const u32*",
            ParamKind::U8In => "const u8*",
            ParamKind::F32Out => "float*",
            ParamKind::U32Out => "u32*",
            ParamKind::U8Out => "u8*",
            ParamKind::I32 => "int",
        }
    }
}
