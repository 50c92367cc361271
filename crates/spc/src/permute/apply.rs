//! Reorders the bytes of a tensor along an axis.
use spc_base::Bug;
use spc_ir::couple::Place;

/// The tensor with position p of the axis holding what stood at `order[p]`, wherever the axis lies. Elements of any type.
///
/// # Errors
/// When the bytes are not whole elements of the shape.
pub(super) fn reorder(bytes: Vec<u8>, shape: &[usize], places: &[Place], order: &[u32]) -> Result<Vec<u8>, Bug> {
    let elements = shape.iter().try_fold(1usize, |n, d| n.checked_mul(*d)).filter(|n| *n > 0);
    let element = elements.filter(|n| bytes.len().is_multiple_of(*n)).map(|n| bytes.len() / n);
    let element = element.filter(|e| *e > 0).ok_or_else(|| Bug::new("a tensor without whole elements"))?;
    let mut bytes = bytes;
    for p in places {
        let d = p.dim as usize;
        let n = *shape.get(d).ok_or_else(|| Bug::new("an axis beyond the rank"))?;
        let run = shape[d + 1..].iter().product::<usize>() * element;
        let mut new = vec![0u8; bytes.len()];
        for (to, from) in new.chunks_exact_mut(n * run).zip(bytes.chunks_exact(n * run)) {
            for (i, to) in to.chunks_exact_mut(run).enumerate() {
                let source = p.source(i as u64, order) as usize * run;
                to.copy_from_slice(
                    from.get(source..source + run).ok_or_else(|| Bug::new("a place beyond its tensor"))?,
                );
            }
        }
        bytes = new;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_and_columns_of_any_element() {
        let whole = |dim, n| Place { dim, start: 0, end: n, inner: 1 };
        // [2, 3] of two bytes.
        let bytes: Vec<u8> = (0..12).collect();
        let columns = reorder(bytes.clone(), &[2, 3], &[whole(1, 3)], &[2, 0, 1]).unwrap();
        assert_eq!(columns, [4, 5, 0, 1, 2, 3, 10, 11, 6, 7, 8, 9]);
        let rows = reorder(bytes.clone(), &[2, 3], &[whole(0, 2)], &[1, 0]).unwrap();
        assert_eq!(rows, [6, 7, 8, 9, 10, 11, 0, 1, 2, 3, 4, 5]);
        assert!(reorder(bytes.clone(), &[5], &[], &[]).is_err());
        assert!(reorder(bytes, &[0, 3], &[], &[]).is_err());
    }
}
