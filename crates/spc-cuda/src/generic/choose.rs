//! Kernels of operators over the elements of a scope: choosing by score, places in an order, the place of the greatest, and
//! rounding to 8 bits. One thread an element (or a scope, for the greatest) goes over its scope in order; scopes are small
//! beside the linears around them.
use super::{Body, Kernel, names, used};
use spc_ir::{Amount, NodeId, Size, Top};

/// Greatest number that the text uses for a count.
const MOST: u64 = i32::MAX as u64;

fn small(n: u64) -> u64 {
    n.min(MOST)
}

/// The greatest f32 that is not above `limit`: a f32 is above the one if and only if it is above the other.
fn floor(limit: f64) -> f32 {
    let near = limit as f32;
    if f64::from(near) > limit { near.next_down() } else { near }
}

/// As [`Top::kept`], in C: of `total` groups, of which `above` are above the threshold.
fn kept_in_c(top: &Top) -> Result<String, String> {
    let fraction = |n: u64, m: u64| {
        if n <= MOST && m <= MOST { Ok((n, m.max(1))) } else { Err(format!("a share of {n} of {m} is too fine")) }
    };
    let n = match top.amount {
        Amount::Count(n) => format!("{}LL", small(n)),
        Amount::OutOf { n, m } => {
            let (n, m) = fraction(n, m)?;
            format!("spc_least((total * {n}LL + {}LL) / {m}LL, {n}LL)", m - 1)
        }
        Amount::Share { num, den } => {
            let (n, m) = fraction(num, den)?;
            format!("spc_most((total * {n}LL + {}LL) / {m}LL, 1LL)", m - 1)
        }
        Amount::Above(_) => "above".into(),
        Amount::Budget { num, den, .. } => {
            let (n, m) = fraction(num, den)?;
            format!("total * {n}LL / {m}LL")
        }
    };
    let (multiple, ends) = (small(top.multiple.max(1)), small(small(top.first) + small(top.last)));
    Ok(format!("spc_least(spc_most(({n} + {}LL) / {multiple}LL * {multiple}LL, {ends}LL), total)", multiple - 1))
}
impl Kernel<'_> {
    /// For the dimensions of a scope of operand 0: their number of elements in C, statements that declare the places of
    /// element `j` in the scope, and the place of element `p` of the operand in its scope.
    fn scope(&mut self, dims: &[u32], p: &[String]) -> (String, String, Vec<String>, String) {
        let sizes = self.operands[0].1.sizes();
        let reduced: Vec<Size> = dims.iter().map(|d| sizes[*d as usize]).collect();
        let inner = names("q", dims.len());
        let count: Vec<String> = reduced.iter().map(|s| self.size(*s)).collect();
        let decode = self.inner_places(&inner, &reduced);
        let mut own = String::from("0");
        for (d, size) in dims.iter().zip(&count) {
            if let Some(p) = p.get(*d as usize) {
                own = format!("({own} * {size} + {p})");
            }
        }
        let count = if count.is_empty() { "1".into() } else { count.join(" * ") };
        (count, decode, inner, own)
    }

    /// The places of element `j` of a scope, those outside of it as for element `p`.
    fn inside(dims: &[u32], p: &[String], inner: &[String]) -> Vec<String> {
        let mut all = p.to_vec();
        for (d, q) in dims.iter().zip(inner) {
            if let Some(place) = all.get_mut(*d as usize) {
                place.clone_from(q);
            }
        }
        all
    }

    /// Of [`spc_ir::Op::Top`], or, without, of [`spc_ir::Op::Rank`].
    pub(super) fn order(&mut self, dims: &[u32], top: Option<&Top>, node: NodeId) -> Body {
        self.fault = true;
        let p = names("p", self.ty.rank());
        let head = self.places("i", &p, &self.ty.sizes());
        let (count, decode, inner, own) = self.scope(dims, &p);
        let there = Kernel::inside(dims, &p, &inner);
        let (value, mine) = (self.element(0, &there), self.element(0, &p));
        let skip = match top.filter(|t| t.among) {
            Some(_) => format!("    if (!{}) continue;\n", self.element(1, &there)),
            None => String::new(),
        };
        let limit = top.map_or(f32::NAN, |t| if let Amount::Above(limit) = t.amount { floor(limit) } else { f32::NAN });
        let each =
            format!("  SPC_ROLLED\n  for (int j = 0; j < m; ++j) {{\n{decode}    {}\n{skip}", used(&inner).trim());
        let (first, last) = top.map_or((0, 0), |t| (small(t.first), small(t.last)));
        let kept = match top {
            Some(t) => kept_in_c(t)?,
            None => "0LL".into(),
        };
        let result = if top.is_some() {
            "at >= 0 && (at < first || at >= last || before < kept - fixed)"
        } else {
            "(int)before"
        };
        Ok(format!(
            "  const int i = blockIdx.x * SPC_THREADS + threadIdx.x;\n  if (i >= n) return;\n{head}{}  \
             const int m = {count}, self = {own};\n  const float mine = {mine}, limit = spc_bits({:#010x}u);\n  \
             long long total = 0, above = 0, at = -1;\n  bool wrong = false;\n\
             {each}    const float v = {value};\n    wrong = wrong || v != v;\n    if (v > limit) ++above;\n    \
             if (j == self) at = total;\n    ++total;\n  }}\n  if (wrong) *fault = {}u;\n  \
             const long long kept = {kept}, first = spc_least({first}LL, total), last = total - spc_least({last}LL, total);\n  \
             long long run = 0, fixed = 0, before = 0;\n\
             {each}    const bool always = run < first || run >= last;\n    ++run;\n    if (always) {{\n      ++fixed;\n      \
             continue;\n    }}\n    const float v = {value};\n    if (v > mine || (v == mine && j < self)) ++before;\n  }}\n  \
             (void)kept; (void)above; (void)at; (void)fixed;\n{}",
            used(&p),
            limit.to_bits(),
            u64::from(node.0) + 1,
            self.store(result)
        ))
    }

    /// One thread a scope: the first place of its greatest element.
    pub(super) fn greatest(&mut self, dims: &[u32], node: NodeId) -> Body {
        self.fault = true;
        let rank = self.operands[0].1.rank();
        let kept = names("p", self.ty.rank());
        let mut k = kept.iter().cloned();
        let none: Vec<String> = (0..rank as u32)
            .map(|d| if dims.contains(&d) { String::new() } else { k.next().unwrap_or_default() })
            .collect();
        let head = self.places("i", &kept, &self.ty.sizes());
        let (count, decode, inner, _) = self.scope(dims, &[]);
        let value = self.element(0, &Kernel::inside(dims, &none, &inner));
        Ok(format!(
            "  const int i = blockIdx.x * SPC_THREADS + threadIdx.x;\n  if (i >= n) return;\n{head}{}  const int m = {count};\n  \
             int best = 0;\n  float most = spc_bits(0xff800000u);\n  bool wrong = m == 0;\n  SPC_ROLLED\n  \
             for (int j = 0; j < m; ++j) {{\n{decode}    {}\n    const float v = {value};\n    wrong = wrong || v != v;\n    \
             if (v > most) {{\n      most = v;\n      best = j;\n    }}\n  }}\n  if (wrong) *fault = {}u;\n{}",
            used(&kept),
            used(&inner).trim(),
            u64::from(node.0) + 1,
            self.store("best")
        ))
    }

    /// One warp a scope, which is the last `last` dimensions.
    pub(super) fn round(&mut self, last: usize) -> Body {
        let sizes = self.ty.sizes();
        let inner: Vec<String> = sizes[sizes.len().saturating_sub(last)..].iter().map(|s| self.size(*s)).collect();
        Ok(format!(
            "  const int lane = threadIdx.x & 31, i = blockIdx.x * SPC_WARPS + (int)(threadIdx.x >> 5), m = {};\n  \
             if (i >= n) return;\n  const float* const from = x0 + (long long)i * m;\n  float* const to = y + (long long)i * m;\n  \
             float most = 0.0f;\n  SPC_ROLLED\n  for (int j = lane; j < m; j += 32) most = spc_max(most, spc_abs(spc_ldg(from + \
             j)));\n  SPC_UNROLL\n  for (int d = 16; d > 0; d /= 2) most = spc_max(most, spc_lane_xor(most, d));\n  \
             const float scale = most / 127.0f, by = 127.0f / most;\n  SPC_ROLLED\n  for (int j = lane; j < m; j += 32) {{\n    \
             const float v = spc_rint(spc_ldg(from + j) * by) * scale;\n    to[j] = !(scale < spc_bits(0x7f800000u)) ? \
             spc_bits(0x7fc00000u) : scale < 1.17549435e-38f ? 0.0f : v;\n  }}\n",
            inner.join(" * ")
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_threshold_keeps_its_meaning_in_f32() {
        for limit in [0.1, -0.1, 1.0, 1e-60, -1e-60, 1e300, -1e300] {
            let l = floor(limit);
            assert!(f64::from(l) <= limit && f64::from(l.next_up()) > limit, "{limit}: {l}");
        }
    }
}
