//! Random cases of templates with their expected results, for tests of executors.

mod blocks8;
mod ending;
mod every;
mod linear;
mod nest;
mod unfold;

use crate::ir::Kernel;
use crate::ir::interp::Arg;
use spc_base::Bug;

pub use blocks8::{long_rounded_linear, rounded_linear, rounding, tiled_linear};
pub use every::{LAYOUTS, every, token_major};
pub use linear::{converted, linear, linear_in_units, long_linear, weights};
pub use nest::{contract, gathered, mapped};
pub use unfold::{channels, unfolded};

/// Unit roundoff of f32.
pub(crate) const U: f64 = 1.0 / (1 << 24) as f64;

/// A kernel with arguments, buffers and what it must write.
#[derive(Clone, Debug)]
pub struct Case {
    pub kernel: Kernel,
    pub buffers: Vec<Vec<u8>>,
    /// With the whole range in `lo` and `hi`.
    pub args: Vec<Arg>,
    pub lo_param: usize,
    pub hi_param: usize,
    pub range: i64,
    /// Number of the buffer that holds the result.
    pub output: usize,
    /// For each float of the output the true value and the bound of the error; `None` where nothing is promised.
    pub want: Vec<Option<(f64, f64)>>,
    /// Floats of the output that may be NaN instead: an absent weight meets NaN or infinity there. Empty if none may.
    pub or_nan: Vec<bool>,
}

pub fn f32_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

/// Binds arguments to parameters by name.
pub(crate) struct Binder {
    pub buffers: Vec<Vec<u8>>,
    named: Vec<(String, Arg)>,
}

impl Binder {
    pub fn new() -> Binder {
        Binder { buffers: Vec::new(), named: Vec::new() }
    }

    /// Adds a buffer and gives its number.
    pub fn buffer(&mut self, name: &str, bytes: Vec<u8>) -> usize {
        self.named.push((name.to_string(), Arg::buffer(self.buffers.len())));
        self.buffers.push(bytes);
        self.buffers.len() - 1
    }

    /// A second pointer into a buffer.
    pub fn pointer(&mut self, name: &str, buffer: usize, offset: usize) {
        self.named.push((name.to_string(), Arg::Ptr { buffer, offset }));
    }

    pub fn int(&mut self, name: &str, x: usize) {
        self.named.push((name.to_string(), Arg::Int(x as i64)));
    }

    pub fn case(
        mut self,
        kernel: Kernel,
        range: usize,
        output: usize,
        want: Vec<Option<(f64, f64)>>,
    ) -> Result<Case, Bug> {
        self.int("lo", 0);
        self.int("hi", range);
        let find = |p: &crate::ir::Param| self.named.iter().find(|(n, _)| *n == p.name).map(|(_, a)| *a);
        let args: Option<Vec<Arg>> = kernel.params.iter().map(find).collect();
        let args = args.ok_or_else(|| Bug::new("a parameter is not bound"))?;
        let at = |name: &str| kernel.param(name).ok_or_else(|| Bug::new("a kernel without a range"));
        let (lo_param, hi_param) = (at("lo")?, at("hi")?);
        Ok(Case {
            lo_param,
            hi_param,
            kernel,
            buffers: self.buffers,
            args,
            range: range as i64,
            output,
            want,
            or_nan: Vec::new(),
        })
    }
}
