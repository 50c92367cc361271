//! Scores of groups, element by element.
use crate::project::ProjectError;
use crate::scalar::{Args, Column, Float, float};
use crate::select::{ABSENT, Sentence, Values};
use crate::testing::splitmix64;
use spc_base::Bug;
use spc_ir::{DType, Score};

/// Adds the elements of one member to the ranks of its groups.
pub(crate) struct Scorer<'a> {
    score: &'a Score,
    weights: &'a [f32],
    gradients: &'a [f32],
    norms: &'a [f32],
    expr: Option<Float<f64>>,
    /// Number of the first group of the member's space among all groups.
    first: u64,
    /// The first element whose score is not finite.
    bad: Option<usize>,
}

impl<'a> Scorer<'a> {
    pub fn new(s: &Sentence<'a>, member: usize, values: Values<'a>, first: u64) -> Result<Scorer<'a>, ProjectError> {
        let score = &s.keep.score;
        let name = &s.keep.members[member].weight;
        let weights = values.weights.values(name).ok_or_else(|| Bug::new("weight lost"))?;
        let require = || s.require.to_string();
        let (mut gradients, mut norms, mut expr): (&[f32], &[f32], _) = (&[], &[], None);
        match score {
            Score::Data(text) => return Err(ProjectError::NeedsData { require: require(), score: text.clone() }),
            Score::Map(e) | Score::Inputs(e, _) => {
                if let Score::Inputs(_, data) = score {
                    let missing =
                        || ProjectError::NeedsInputs { require: require(), weight: name.clone(), data: data.clone() };
                    let found = values.given.input_norms.and_then(|n| n.values(name));
                    norms = found.filter(|n| n.len() == weights.len()).ok_or_else(missing)?;
                }
                if score.needs_gradients() {
                    let missing = || ProjectError::NeedsGradients { require: require(), weight: name.clone() };
                    gradients = values.given.gradients.and_then(|g| g.values(name)).ok_or_else(missing)?;
                    let (want, got) = (weights.len() as u64, gradients.len() as u64);
                    if want != got {
                        return Err(ProjectError::GradientLength { weight: name.clone(), want, got });
                    }
                }
                expr = Some(float::<f64>(e, &[DType::F32, DType::F32, DType::F32])?);
            }
            _ => {}
        }
        Ok(Scorer { score, weights, gradients, norms, expr, first, bad: None })
    }

    /// The rank `old` of group `g` with element `e` added to it.
    pub fn add(&mut self, old: f64, e: usize, g: usize) -> f64 {
        let a = f64::from(self.weights[e]).abs();
        let sum = if old == ABSENT { 0.0 } else { old };
        match self.score {
            Score::Abs => sum.max(a),
            Score::Norm1 => sum + a,
            Score::Norm2 => sum + a * a,
            Score::Random(seed) => unit(*seed, self.first + g as u64),
            Score::Map(_) | Score::Inputs(..) => {
                let w = [f64::from(self.weights[e])];
                let grad = [self.gradients.get(e).map_or(0.0, |g| f64::from(*g))];
                let norm = [self.norms.get(e).map_or(0.0, |n| f64::from(*n))];
                let column = |f| Column { f, i: &[], b: &[] };
                let args = Args { columns: &[column(&w), column(&grad), column(&norm)], at: &[0, 0, 0] };
                let v = self.expr.as_ref().map_or(f64::NAN, |x| x.eval(&args));
                if !(sum + v).is_finite() {
                    self.bad.get_or_insert(e);
                    return 0.0;
                }
                sum + v
            }
            Score::Data(_) => 0.0,
        }
    }

    /// The error where a score is not finite.
    pub fn finish(self, s: &Sentence<'_>, member: usize) -> Result<(), ProjectError> {
        match self.bad {
            None => Ok(()),
            Some(index) => {
                Err(ProjectError::ScoreNotFinite { require: s.require.into(), weight: s.weight(member), index })
            }
        }
    }
}

/// A fixed pseudo-random number in [0, 1) for each seed and index (SplitMix64: Steele, Lea and Flood 2014).
fn unit(seed: u64, index: u64) -> f64 {
    (splitmix64(seed.wrapping_add(index.wrapping_mul(0x9e37_79b9_7f4a_7c15))) >> 11) as f64 / (1u64 << 53) as f64
}
