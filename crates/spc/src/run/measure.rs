//! What reports compute from results.
use crate::tensors::rows;
use spc_base::{Diagnostic, codes};
use spc_interp::Value;
use std::time::Duration;

/// Share of rows whose greatest value is at the label. Ties go to the lower index; a row with a NaN is wrong.
///
/// `scores` is `[rows, classes]` with the rows along `axis`; `labels` has one class for each row, counted from 0.
pub fn accuracy(scores: &Value<f32>, axis: usize, labels: &[i32]) -> Result<f64, Diagnostic> {
    let unfit = |text: String| Diagnostic::error(codes::REPORT, text);
    let found = rows(scores, axis).filter(|_| scores.shape().len() == 2);
    let found = found.ok_or_else(|| {
        unfit(format!(
            "`accuracy` needs one f32 row of scores for each row of data, and the result has shape {:?}",
            scores.shape()
        ))
    })?;
    if found.len() != labels.len() || labels.is_empty() {
        return Err(unfit(format!("`accuracy` has {} rows of scores and {} labels", found.len(), labels.len())));
    }
    let classes = found.first().map_or(0, Vec::len);
    let outside = labels.iter().position(|l| usize::try_from(*l).map_or(true, |l| l >= classes));
    if let Some(row) = outside {
        let text = format!("the label of row {row} is {}, and the result has {classes} classes", labels[row]);
        return Err(Diagnostic::error(codes::DATA, text).help("classes count from 0"));
    }
    let right = found.iter().zip(labels).filter(|(row, label)| greatest(row) == usize::try_from(**label).ok());
    Ok(right.count() as f64 / labels.len() as f64)
}

fn greatest(row: &[f32]) -> Option<usize> {
    if row.iter().any(|v| v.is_nan()) {
        return None;
    }
    let mut best = None;
    for (i, v) in row.iter().enumerate() {
        if best.is_none_or(|(_, b)| *v > b) {
            best = Some((i, *v));
        }
    }
    best.map(|(i, _)| i)
}

/// Cosine of two vectors in f64. Two zero vectors have cosine 1, one zero vector and another 0.
pub fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |x: &[f32], y: &[f32]| -> f64 { x.iter().zip(y).map(|(p, q)| f64::from(*p) * f64::from(*q)).sum() };
    let (na, nb) = (dot(a, a).sqrt(), dot(b, b).sqrt());
    match (na == 0.0, nb == 0.0) {
        (true, true) => 1.0,
        (true, false) | (false, true) => 0.0,
        _ => dot(a, b) / (na * nb),
    }
}

/// Cosine of each dense row with its sparse one: mean and least.
pub fn cosines(dense: &[Vec<f32>], sparse: &[Vec<f32>]) -> (f64, f64) {
    let all: Vec<f64> = dense.iter().zip(sparse).map(|(a, b)| cosine(a, b)).collect();
    let mean = all.iter().sum::<f64>() / (all.len().max(1)) as f64;
    (mean, all.iter().copied().fold(f64::INFINITY, f64::min))
}

/// The middle value; of an even number, the lower middle.
pub fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len().saturating_sub(1) / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{ArrayD, IxDyn};

    fn scores(shape: &[usize], v: Vec<f32>) -> Value<f32> {
        Value::F(ArrayD::from_shape_vec(IxDyn(shape), v).unwrap())
    }

    #[test]
    fn accuracy_takes_the_first_greatest_and_no_nan() {
        let s = scores(&[4, 3], vec![0.0, 2.0, 2.0, 5.0, 1.0, 1.0, f32::NAN, 1.0, 0.0, -3.0, -2.0, -1.0]);
        assert_eq!(accuracy(&s, 0, &[1, 0, 1, 2]).unwrap(), 0.75);
        assert_eq!(accuracy(&s, 0, &[2, 1, 0, 0]).unwrap(), 0.0);
        for (label, row) in [(-1, 1), (3, 3), (i32::MAX, 0)] {
            let mut labels = [0; 4];
            labels[row] = label;
            let text = accuracy(&s, 0, &labels).unwrap_err().message;
            assert_eq!(text, format!("the label of row {row} is {label}, and the result has 3 classes"));
        }
        assert!(accuracy(&s, 0, &[1, 2]).is_err());
        assert!(accuracy(&scores(&[4], vec![0.0; 4]), 0, &[0; 4]).is_err());
        assert!(accuracy(&scores(&[0, 3], vec![]), 0, &[]).is_err());
        // Rows along the second axis.
        assert_eq!(accuracy(&scores(&[2, 3], vec![1.0, 0.0, 0.0, 0.0, 1.0, 1.0]), 1, &[0, 1, 0]).unwrap(), 2.0 / 3.0);
    }

    #[test]
    fn cosines_of_zero_vectors_are_defined() {
        assert_eq!(cosine(&[0.0, 0.0], &[0.0, 0.0]), 1.0);
        assert_eq!(cosine(&[0.0, 0.0], &[1.0, 0.0]), 0.0);
        assert!((cosine(&[1.0, 1.0], &[-2.0, -2.0]) + 1.0).abs() < 1e-12);
        let (mean, least) = cosines(&[vec![1.0, 0.0], vec![0.0, 1.0]], &[vec![2.0, 0.0], vec![1.0, 0.0]]);
        assert_eq!((mean, least), (0.5, 0.0));
    }

    #[test]
    fn the_median_is_a_measured_time() {
        let ms = |v: &[u64]| v.iter().map(|n| Duration::from_millis(*n)).collect::<Vec<_>>();
        assert_eq!(median(ms(&[9, 1, 5])), Duration::from_millis(5));
        assert_eq!(median(ms(&[4, 1])), Duration::from_millis(1));
        assert_eq!(median(vec![]), Duration::ZERO);
    }
}
