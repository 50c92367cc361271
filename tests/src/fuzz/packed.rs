//! Files of packed weights: any bytes are refused in words, or hold weights that kernels read without leaving their arrays.
use spc::driver::{LAYOUTS, StoredLayout, load_packed, packed_entries};
use spc_formats::{Array, Layout, Validated, pack};
use spc_io::{Safetensors, Stored, Values, WeightFile};
use spc_ir::{Act, Convert, DType, Dim, Graph, Op, Plan, Sym, SymId, Type};
use spc_kernel::ir::random::Rng;
use spc_kernel::templates::cases::{LAYOUTS as KINDS, weights};
use spc_kernel::{PackedPort, Slice, Sources, interpret, schedule};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Outputs and inputs of a weight that is run; a file may list larger ones.
const LARGEST: usize = 96;

struct One(Validated);

impl Sources for One {
    fn weight(&self, _: &str) -> Option<&[f32]> {
        None
    }

    fn packed(&self, _: &PackedPort) -> Option<&Validated> {
        Some(&self.0)
    }
}

/// Opens the bytes as a file of packed weights, reads every weight that it lists, and runs those that are whole.
pub fn packed(bytes: &[u8]) {
    packed_weights(bytes);
}

/// As [`packed`], and how many weights were run.
pub fn packed_weights(bytes: &[u8]) -> usize {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let name = format!("spc-fuzz-{}-{}.safetensors", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let path = std::env::temp_dir().join(name);
    std::fs::write(&path, bytes).unwrap();
    let file = WeightFile::open(&path);
    // The map outlives its name.
    std::fs::remove_file(&path).unwrap();
    let (Ok(file), mut ran) = (file, 0) else { return 0 };
    for entry in packed_entries(file.header()).into_iter().flatten() {
        if let Ok(whole) = load_packed(&file, &entry) {
            ran += usize::from(run(&whole));
        }
    }
    ran
}

/// A linear of this weight for three tokens, where a processor has a kernel of it; the interpreter checks every access.
fn run(whole: &Validated) -> bool {
    let (layout, rows, cols) = (whole.layout(), whole.rows(), whole.cols());
    let on_a_processor = layout.feature_major() || layout.row_major();
    if !on_a_processor || !(1..=LARGEST).contains(&rows) || !(1..=LARGEST).contains(&cols) {
        return false;
    }
    let g = graph(rows as u64, cols as u64, layout.needs_integers());
    for act in [Act::Rm, Act::Fm] {
        if !(if act == Act::Fm { layout.feature_major() } else { layout.row_major() }) {
            continue;
        }
        let mut plan = Plan::all_dense(&g, "cpu", &layout.to_string()).unwrap();
        let l = &mut plan.linears[0];
        if act == Act::Fm {
            (l.x, l.y) = (act, act);
            let (x, y) = (g.inputs(l.node)[0], l.node);
            plan.values.insert(y, act);
            plan.converts = [(x, Act::Fm), (y, Act::Rm)].map(|(node, to)| Convert { node, to, predicted_ps: 0 }).into();
        }
        let lanes = [4, 8, 16][(rows + cols) % 3];
        let program = schedule(&g, &plan, lanes).unwrap();
        let x: Vec<f32> = (0..3 * cols).map(|i| 1.0 + i as f32).collect();
        interpret(&program, &One(whole.clone()), &[3], &[Slice::F32(&x)]).unwrap();
    }
    true
}

/// `y = w x`, of rounded inputs where the kernel reads integers.
fn graph(rows: u64, cols: u64, round: bool) -> Graph {
    let mut g = Graph::new("f");
    g.syms.push(Sym { name: "B".into(), lo: 1, hi: 64 });
    let f32s = |dims| Type::new(DType::F32, dims);
    let input = f32s(vec![Dim::free("B", SymId(0)), Dim::fixed("K", cols)]);
    let weight = f32s(vec![Dim::fixed("O", rows), Dim::fixed("K", cols)]);
    let mut x = g.add(Op::Input { name: "x".into(), ty: input }, &[]).unwrap();
    if round {
        x = g.add(Op::Round { last: 1 }, &[x]).unwrap();
    }
    let w = g.add(Op::Weight { name: "w".into(), ty: weight }, &[]).unwrap();
    let y = g.add(Op::Linear { bias: false, act: None }, &[x, w]).unwrap();
    g.outputs.push(("y".into(), y));
    g
}

/// A file with one weight of each layout, of some size: what mutations start from.
pub fn packed_seeds() -> Vec<Vec<u8>> {
    let own = ["mma24", "mma32(32)", "mma1(16)", "vnm(32,8)"];
    KINDS.iter().chain(&own).enumerate().map(|(i, kind)| seed(kind, i as u64)).collect()
}

fn seed(kind: &str, number: u64) -> Vec<u8> {
    let layout: Layout = kind.parse().unwrap();
    let mut rng = Rng::new(number + 1);
    let (rows, cols) = (1 + rng.below(40), 17 + rng.below(48));
    // Codes are small whole numbers, the greatest one in each group of them; what does not fit is tried again, at last with
    // weights in the first column.
    let top = if kind.starts_with("i4") { 7.0 } else { 127.0 };
    let code = |i: usize| if (i % cols).is_multiple_of(16) { top } else { (i % 7) as f32 };
    let found = (0..50).find_map(|i| {
        let w = match i {
            49 => (0..rows * cols).map(|i| if i % cols == 0 { top } else { 0.0 }).collect(),
            _ if layout.needs_integers() => {
                (0..rows * cols).map(|i| if (i % cols).is_multiple_of(4) { code(i) } else { 0.0 }).collect()
            }
            _ => weights(&mut rng, layout, rows, cols),
        };
        pack(&layout, rows, cols, &w).ok()
    });
    let packed = found.unwrap_or_else(|| panic!("{kind} holds nothing"));
    let entry = StoredLayout { weight: "w".into(), layout: kind.into(), rows, cols, prefix: "w".into() };
    let metadata = BTreeMap::from([(LAYOUTS.to_string(), serde_json::to_string(&[entry]).unwrap())]);
    let names: Vec<String> = packed.arrays.iter().map(|(name, _)| format!("w.{name}")).collect();
    let shapes: Vec<[usize; 1]> = packed.arrays.iter().map(|(_, a)| [a.len()]).collect();
    let values = packed.arrays.iter().map(|(_, array)| match array {
        Array::F32(v) => Values::F32(v),
        Array::U32(v) => Values::U32(v),
        Array::U8(v) => Values::U8(v),
    });
    let tensors: Vec<Stored<'_>> = names
        .iter()
        .zip(&shapes)
        .zip(values)
        .map(|((name, shape), values)| Stored { name: name.as_str(), shape: shape.as_slice(), values })
        .collect();
    let mut out = Vec::new();
    Safetensors::new(&tensors, &metadata, 64).unwrap().write(&mut out).unwrap();
    out
}

/// A row of files that are nearly whole, the same for the same seed.
pub struct PackedMutator {
    rng: Rng,
    seeds: Vec<Vec<u8>>,
}

impl PackedMutator {
    pub fn new(seed: u64) -> PackedMutator {
        PackedMutator { rng: Rng::new(seed), seeds: packed_seeds() }
    }

    /// A seed with a few changes: bits and numbers of the data, digits and bits of the header, other lengths.
    pub fn step(&mut self) -> Vec<u8> {
        let rng = &mut self.rng;
        let mut file = self.seeds[rng.below(self.seeds.len())].clone();
        for _ in 0..1 + rng.below(3) {
            let body = (8 + u64::from_le_bytes(file[..8].try_into().unwrap()) as usize).min(file.len());
            let data = file.len() - body;
            match rng.below(16) {
                0 => file.truncate((8 + rng.below(file.len())).min(file.len())),
                1 => file.extend([rng.below(256) as u8; 3]),
                2 if body > 8 => file[8 + rng.below(body - 8)] ^= 1 << rng.below(8),
                3..=6 => {
                    let digits: Vec<usize> = (8..body).filter(|i| file[*i].is_ascii_digit()).collect();
                    if !digits.is_empty() {
                        file[digits[rng.below(digits.len())]] = b'0' + rng.below(10) as u8;
                    }
                }
                7..=9 if data >= 4 => {
                    let word = [0, 1, 2, 16, 31, 0x7fff_ffff, u32::MAX, rng.below(64) as u32][rng.below(8)];
                    let at = body + rng.below(data / 4) * 4;
                    file[at..at + 4].copy_from_slice(&word.to_le_bytes());
                }
                _ if data > 0 => file[body + rng.below(data)] ^= 1 << rng.below(8),
                _ => {}
            }
        }
        file
    }
}
