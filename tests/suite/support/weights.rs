//! Folders with a program and random weights.
use super::Rng;
use safetensors::tensor::{Dtype, TensorView, serialize};
use tempfile::TempDir;

/// Name, shape and elements of a weight.
pub type Named = (&'static str, Vec<usize>, Vec<f32>);

/// A folder with the program `net.sp` and these weights in `m.safetensors`.
pub fn of(text: &str, weights: &[Named]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let bytes: Vec<Vec<u8>> =
        weights.iter().map(|(_, _, v)| v.iter().flat_map(|x| x.to_le_bytes()).collect()).collect();
    let views =
        weights.iter().zip(&bytes).map(|((n, s, _), b)| (*n, TensorView::new(Dtype::F32, s.clone(), b).unwrap()));
    std::fs::write(dir.path().join("m.safetensors"), serialize(views, None).unwrap()).unwrap();
    std::fs::write(dir.path().join("net.sp"), text).unwrap();
    dir
}

/// Blocks of 16 x 1, of which `share` in 100 stay, and of all other elements `outliers` in 1000.
pub fn blocks(rng: &mut Rng, (rows, cols): (usize, usize), share: u64, outliers: u64) -> Vec<f32> {
    let mut w: Vec<f32> = (0..rows * cols).map(|_| rng.float() + 2.0).collect();
    for top in (0..rows).step_by(16) {
        for j in 0..cols {
            let keep = rng.below(100) < share;
            for i in top..(top + 16).min(rows) {
                if !keep && rng.below(1000) >= outliers {
                    w[i * cols + j] = 0.0;
                }
            }
        }
    }
    w
}
