//! The dense peer: the crate `gemm`, the only place that knows it.
#![allow(unsafe_code)]
use gemm::Parallelism;
use spc_base::Bug;
use spc_cpu::AlignedBuf;

/// Name and version of the peer.
pub const PEER: &str = "gemm 0.19.0";

/// A dense product `y[n][o] = sum over k of x[n][k] * w[o][k]` by the peer, with its buffers.
///
/// The weights lie by columns of outputs, which suits the peer best. It computes the product alone: what a layer adds
/// (bias, activation) is the caller's to add.
pub struct Peer {
    rows: usize,
    cols: usize,
    tokens: usize,
    w: AlignedBuf,
    x: AlignedBuf,
    y: AlignedBuf,
    parallelism: Parallelism,
}

impl Peer {
    /// `w` is `[rows, cols]`, `x` `[tokens, cols]`, both row-major.
    pub fn new(rows: usize, cols: usize, w: &[f32], x: &[f32], threads: usize) -> Result<Peer, Bug> {
        let tokens = x.len().checked_div(cols).unwrap_or(0);
        if rows.checked_mul(cols) != Some(w.len()) || tokens.checked_mul(cols) != Some(x.len()) || cols == 0 {
            return Err(Bug::new("the peer was given matrices that do not fit"));
        }
        let outputs = tokens.checked_mul(rows).and_then(|n| n.checked_mul(4));
        let outputs = outputs.ok_or_else(|| Bug::new("the result of the peer is too large"))?;
        let mut columns = AlignedBuf::zeroed(4 * w.len());
        for (k, column) in columns.f32s_mut().chunks_exact_mut(rows.max(1)).enumerate() {
            column.iter_mut().enumerate().for_each(|(o, v)| *v = w[o * cols + k]);
        }
        let parallelism = if threads > 1 { Parallelism::Rayon(threads) } else { Parallelism::None };
        let (x, y) = (AlignedBuf::from_f32(x), AlignedBuf::zeroed(outputs));
        Ok(Peer { rows, cols, tokens, w: columns, x, y, parallelism })
    }

    /// Computes the product once.
    pub fn run(&mut self) {
        let (o, k, n) = (self.rows, self.cols, self.tokens);
        let y = self.y.f32s_mut();
        if o == 0 || n == 0 {
            return;
        }
        // SAFETY: the result is o x n with columns of o elements, the left side o x k with columns of o elements, the
        // right side k x n with columns of k elements; `new` made the buffers of these sizes, and they do not overlap.
        unsafe {
            gemm::gemm(
                o,
                n,
                k,
                y.as_mut_ptr(),
                o as isize,
                1,
                false,
                self.w.f32s().as_ptr(),
                o as isize,
                1,
                self.x.f32s().as_ptr(),
                k as isize,
                1,
                0.0,
                1.0,
                false,
                false,
                false,
                self.parallelism,
            );
        }
    }

    /// `y`, `[tokens, rows]`, of the last run.
    pub fn result(&self) -> &[f32] {
        self.y.f32s()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peer_computes_the_product() {
        for (o, k, n) in [(1usize, 1usize, 1usize), (5, 3, 7), (33, 65, 17), (64, 128, 1), (0, 4, 2), (4, 4, 0)] {
            let w: Vec<f32> = (0..o * k).map(|i| ((i * 7 + 3) % 11) as f32 - 5.0).collect();
            let x: Vec<f32> = (0..n * k).map(|i| ((i * 5 + 1) % 13) as f32 - 6.0).collect();
            for threads in [1, 2] {
                let mut p = Peer::new(o, k, &w, &x, threads).unwrap();
                // Twice: the result replaces the last one.
                p.run();
                p.run();
                let exact = |t: usize, r: usize| (0..k).map(|i| w[r * k + i] * x[t * k + i]).sum::<f32>();
                for t in 0..n {
                    for r in 0..o {
                        assert_eq!(p.result()[t * o + r], exact(t, r), "{o} x {k}, {n}: token {t}, output {r}");
                    }
                }
            }
        }
        assert!(Peer::new(2, 3, &[0.0; 5], &[0.0; 3], 1).is_err() && Peer::new(2, 0, &[], &[], 1).is_err());
    }
}
