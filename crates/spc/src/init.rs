//! First values of tensors that no file and no caller gives: the same for a name on every machine.
use crate::failure::Res;
use crate::weights::Weight;
use spc_base::{Bug, Diagnostic, codes};
use spc_interp::testing::splitmix64;
use spc_sema::{Init, ModelTensor};

/// Most elements that are made up.
const MOST: usize = 1 << 31;

/// A stream of numbers that depends on a name only (FNV-1a, then splitmix64).
struct Stream(u64);

impl Stream {
    fn of(name: &str) -> Stream {
        let h =
            name.bytes().fold(0xcbf2_9ce4_8422_2325u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01b3));
        Stream(splitmix64(h))
    }

    /// In 0..1, a multiple of 2^-24.
    fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(1);
        (splitmix64(self.0) >> 40) as f64 / f64::from(1u32 << 24)
    }

    /// Uniform in -bound..bound.
    fn uniform(&mut self, bound: f64) -> f32 {
        ((2.0 * self.unit() - 1.0) * bound) as f32
    }

    /// Of mean 0 and variance 1: the sum of twelve uniform numbers, less 6. It needs no function whose last bit differs
    /// between machines, and never leaves -6..6.
    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.unit()).sum::<f64>() - 6.0
    }
}

/// The values that an initialiser gives a tensor.
pub fn values(t: &ModelTensor, init: Init) -> Res<Weight> {
    let shape: Option<Vec<usize>> = t.dims.iter().map(|d| usize::try_from(d.size.fixed()?).ok()).collect();
    let shape = shape.ok_or_else(|| Bug::new(format!("`{}` has a free axis", t.path)))?;
    let n = shape.iter().try_fold(1usize, |n, d| n.checked_mul(*d)).filter(|n| *n <= MOST);
    let Some(n) = n else {
        let d = Diagnostic::error(codes::TOO_LARGE, format!("`{}` is too large to be made up", t.path));
        return Err(d.at(t.span, "more than 2^31 elements").into());
    };
    let mut s = Stream::of(&t.path);
    let floats: Vec<f32> = match init {
        Init::Zeros => vec![0.0; n],
        Init::Ones => vec![1.0; n],
        Init::Kaiming { fan_in } => {
            let bound = (6.0 / fan_in.max(1) as f64).sqrt();
            (0..n).map(|_| s.uniform(bound)).collect()
        }
        Init::Glorot { fan_in, fan_out } => {
            let bound = (6.0 / fan_in.saturating_add(fan_out).max(1) as f64).sqrt();
            (0..n).map(|_| s.uniform(bound)).collect()
        }
        Init::Normal { std } => (0..n).map(|_| (s.normal() * std) as f32).collect(),
    };
    Ok(Weight::new(shape, floats.into())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stats(v: &[f32]) -> (f64, f64) {
        let n = v.len() as f64;
        let mean = v.iter().map(|x| f64::from(*x)).sum::<f64>() / n;
        (mean, v.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum::<f64>() / n)
    }

    fn tensor(path: &str, sizes: &[u64]) -> ModelTensor {
        ModelTensor {
            path: path.into(),
            stored: String::new(),
            dtype: spc_ir::DType::F32,
            dims: sizes.iter().map(|n| spc_ir::Dim::fixed(n.to_string(), *n)).collect(),
            layer: String::new(),
            init: None,
            span: spc_base::Span::default(),
            stored_span: None,
        }
    }

    #[test]
    fn values_depend_on_the_name_only_and_have_the_promised_variance() {
        let t = tensor("net.w", &[64, 400]);
        let k = Init::Kaiming { fan_in: 400 };
        let a = values(&t, k).unwrap();
        assert_eq!(a.values(), values(&t, k).unwrap().values());
        assert_ne!(a.values(), values(&tensor("net.v", &[64, 400]), k).unwrap().values());
        for (init, variance) in [
            (k, 2.0 / 400.0),
            (Init::Glorot { fan_in: 400, fan_out: 64 }, 2.0 / 464.0),
            (Init::Normal { std: 0.5 }, 0.25),
        ] {
            let (mean, var) = stats(values(&t, init).unwrap().values());
            assert!(mean.abs() < 0.02 && (var / variance - 1.0).abs() < 0.05, "{init:?}: {mean} {var}");
        }
        assert!(values(&t, Init::Ones).unwrap().values().iter().all(|v| *v == 1.0));
    }

    #[test]
    fn the_first_values_are_fixed() {
        let a = values(&tensor("net.w", &[4]), Init::Kaiming { fan_in: 6 }).unwrap();
        let bits: Vec<u32> = a.values().iter().map(|v| v.to_bits()).collect();
        assert_eq!(
            bits,
            [3211898782, 3187191280, 3204712076, 1050709120],
            "changed values change every result that starts from them"
        );
    }
}
