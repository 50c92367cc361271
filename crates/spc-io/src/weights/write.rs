//! Writing safetensors: the same tensors and metadata give the same bytes, and the file appears whole or not at all.
use super::header::StoredType;
use crate::atomic::{write_elements, write_with};
use crate::tensor::elements;
use serde_json::json;
use spc_base::{Bug, Diagnostic};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::path::Path;

/// Numbers to store, in row-major order.
#[derive(Clone, Copy, Debug)]
pub enum Values<'a> {
    F32(&'a [f32]),
    I32(&'a [i32]),
    U32(&'a [u32]),
    U8(&'a [u8]),
    Bool(&'a [bool]),
    /// Little-endian bytes of any type, for tensors that pass through unchanged.
    Raw(StoredType, &'a [u8]),
    /// As `Raw`, but an element is all zero bytes where its value here is zero: as many values as elements.
    Zeroed(StoredType, &'a [u8], &'a [f32]),
}

impl Values<'_> {
    pub fn dtype(&self) -> StoredType {
        match self {
            Values::F32(_) => StoredType::F32,
            Values::I32(_) => StoredType::I32,
            Values::U32(_) => StoredType::U32,
            Values::U8(_) => StoredType::U8,
            Values::Bool(_) => StoredType::BOOL,
            Values::Raw(dtype, _) | Values::Zeroed(dtype, ..) => *dtype,
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Values::F32(v) => size_of_val(*v),
            Values::I32(v) => size_of_val(*v),
            Values::U32(v) => size_of_val(*v),
            Values::U8(v) | Values::Raw(_, v) | Values::Zeroed(_, v, _) => v.len(),
            Values::Bool(v) => v.len(),
        }
    }

    /// The bytes as they are stored.
    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        match self {
            Values::F32(v) => write_elements(v, out, |x| x.to_le_bytes()),
            Values::I32(v) => write_elements(v, out, |x| x.to_le_bytes()),
            Values::U32(v) => write_elements(v, out, |x| x.to_le_bytes()),
            Values::Bool(v) => write_elements(v, out, |x| [u8::from(x)]),
            Values::U8(v) | Values::Raw(_, v) => out.write_all(v),
            Values::Zeroed(_, bytes, values) => write_zeroed(bytes, values, out),
        }
    }
}

/// A part at a time, so that no second copy of the tensor is made.
fn write_zeroed(bytes: &[u8], values: &[f32], out: &mut dyn Write) -> io::Result<()> {
    const PART: usize = 1 << 14;
    let size = bytes.len() / values.len().max(1);
    let mut part = Vec::new();
    for (bytes, values) in bytes.chunks(PART * size.max(1)).zip(values.chunks(PART)) {
        part.clear();
        part.extend_from_slice(bytes);
        for (element, v) in part.chunks_exact_mut(size.max(1)).zip(values) {
            if *v == 0.0 {
                element.fill(0);
            }
        }
        out.write_all(&part)?;
    }
    Ok(())
}

/// One tensor to store.
#[derive(Clone, Copy, Debug)]
pub struct Stored<'a> {
    pub name: &'a str,
    pub shape: &'a [usize],
    pub values: Values<'a>,
}

/// A file laid out and ready to be written. Names stay as given. Tensors lie in the order given, except that larger
/// element types come first, so that every one is aligned to its element.
#[derive(Debug)]
pub struct Safetensors<'a> {
    /// Length, JSON and padding.
    head: Vec<u8>,
    body: Vec<(usize, Values<'a>)>,
    length: usize,
}

impl<'a> Safetensors<'a> {
    /// Lays a file out. With `align` greater than 8 (a power of two), the data of each tensor starts at a multiple of
    /// it from the start of the file; the gaps are tensors named `__pad_0`, `__pad_1`, .., because the format has no
    /// holes. A [`Bug`] for two tensors of one name, the name `__metadata__`, and values that do not fit their shape.
    pub fn new(
        tensors: &[Stored<'a>],
        metadata: &BTreeMap<String, String>,
        align: usize,
    ) -> Result<Safetensors<'a>, Bug> {
        let align = align.max(8);
        if !align.is_power_of_two() {
            return Err(Bug::new(format!("alignment {align} is not a power of two")));
        }
        let names: BTreeSet<&str> = tensors.iter().map(|t| t.name).collect();
        if names.len() != tensors.len() || names.contains("__metadata__") {
            return Err(Bug::new("names of tensors to store are not distinct"));
        }
        let mut order: Vec<&Stored> = tensors.iter().collect();
        order.sort_by_key(|t| std::cmp::Reverse(t.values.dtype().bits()));

        // Members in the order of the data, whatever order the JSON library gives its maps.
        let mut members = Vec::new();
        if !metadata.is_empty() {
            members.push(format!("\"__metadata__\":{}", json!(metadata)));
        }
        let mut offset = 0usize;
        let mut body = Vec::new();
        let mut pads = (0..).map(|i: usize| format!("__pad_{i}")).filter(|n| !names.contains(&n[..]));
        for t in order {
            let (dtype, bytes) = (t.values.dtype(), t.values.bytes());
            let bits = elements(t.shape).and_then(|n| n.checked_mul(dtype.bits()));
            if bits != bytes.checked_mul(8) {
                return Err(Bug::new(format!("`{}`: shape {:?} of {dtype} is not {bytes} bytes", t.name, t.shape)));
            }
            if let Values::Zeroed(_, bytes, values) = t.values
                && bytes.len() % values.len().max(1) != 0
            {
                return Err(Bug::new(format!("`{}`: {} bytes for {} values", t.name, bytes.len(), values.len())));
            }
            let gap = if align > 8 { offset.next_multiple_of(align) - offset } else { 0 };
            if gap > 0 {
                let name = pads.next().unwrap_or_default();
                members.push(member(&name, StoredType::U8, &[gap], offset, gap));
                offset += gap;
            }
            members.push(member(t.name, dtype, t.shape, offset, bytes));
            body.push((gap, t.values));
            offset += bytes;
        }

        let mut text = format!("{{{}}}", members.join(",")).into_bytes();
        let padded = (8 + text.len()).next_multiple_of(align) - 8;
        text.resize(padded, b' ');
        let mut head = (text.len() as u64).to_le_bytes().to_vec();
        head.append(&mut text);
        Ok(Safetensors { length: head.len() + offset, head, body })
    }

    /// The length of the file in bytes.
    pub fn length(&self) -> usize {
        self.length
    }

    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        out.write_all(&self.head)?;
        for (gap, values) in &self.body {
            out.write_all(&vec![0; *gap])?;
            values.write(out)?;
        }
        Ok(())
    }

    /// Errors: SP0409.
    pub fn write_file(&self, path: &Path) -> Result<(), Diagnostic> {
        write_with(path, |out| self.write(out))
    }
}

fn member(name: &str, dtype: StoredType, shape: &[usize], start: usize, bytes: usize) -> String {
    let (name, shape, end) = (json!(name), json!(shape), start + bytes);
    format!("{name}:{{\"dtype\":\"{dtype}\",\"shape\":{shape},\"data_offsets\":[{start},{end}]}}")
}
