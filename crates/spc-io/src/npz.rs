//! NumPy's `.npz`: a zip archive of npy files, stored or deflated.
//!
//! Only what NumPy writes is read: no encryption, no archives beyond 4 GiB. An array is decompressed when asked for, into
//! no more bytes than the archive's directory says, which are bounded.
use crate::Tensor;
use crate::atomic::write_with;
use crate::error::{malformed, unfit};
use crate::npy::{decode, encode};
use crate::source::{MAX_BYTES, read_plain};
use flate2::Crc;
use flate2::read::DeflateDecoder;
use spc_base::Diagnostic;
use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

const END: &[u8] = b"PK\x05\x06";
const ENTRY: &[u8] = b"PK\x01\x02";
const LOCAL: &[u8] = b"PK\x03\x04";
const STORED: u16 = 0;
const DEFLATED: u16 = 8;

/// An open archive.
#[derive(Clone, Debug)]
pub struct Npz {
    path: PathBuf,
    bytes: Vec<u8>,
    entries: BTreeMap<String, Entry>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    method: u16,
    crc: u32,
    stored: usize,
    size: usize,
    local: usize,
}

impl Npz {
    /// Reads the directory. Errors: SP0401; SP0402 for damage and for files over 1 GiB.
    pub fn open(path: &Path) -> Result<Npz, Diagnostic> {
        let bytes = read_plain(path, MAX_BYTES)?;
        let entries = directory(&bytes).map_err(|e| malformed(path, e))?;
        Ok(Npz { path: path.into(), bytes, entries })
    }

    /// The names of the arrays, without `.npy`, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(|name| &name[..])
    }

    /// One array, with the conversions of [`crate::read_npy`]. Errors: SP0402, SP0405; SP0408 for an unknown name.
    pub fn tensor(&self, name: &str) -> Result<Tensor, Diagnostic> {
        let Some(entry) = self.entries.get(name) else {
            let names: Vec<_> = self.names().take(12).map(|n| format!("`{n}`")).collect();
            return Err(unfit(&self.path, format!("there is no array `{name}`")).note(format!(
                "it holds {} arrays: {}",
                self.entries.len(),
                names.join(", ")
            )));
        };
        let place = format!("array `{name}`: ");
        let npy = unpack(&self.bytes, entry, MAX_BYTES).map_err(|e| malformed(&self.path, format!("{place}{e}")))?;
        decode(&npy).map_err(|e| e.diagnostic(&self.path, &place))
    }
}

/// Writes arrays uncompressed, in the order given; the same arrays give the same bytes. Errors: SP0409.
pub fn write_npz(path: &Path, arrays: &[(&str, &Tensor)]) -> Result<(), Diagnostic> {
    write_with(path, |out| {
        let too_large = || io::Error::other("too large for an npz file");
        let (mut listing, mut offset) = (Vec::new(), 0u32);
        for (name, tensor) in arrays {
            let mut npy = Vec::new();
            encode(tensor, &mut npy)?;
            let file = format!("{name}.npy");
            let mut crc = Crc::new();
            crc.update(&npy);
            let size = u32::try_from(npy.len()).map_err(|_| too_large())?;
            let name_length = u16::try_from(file.len()).map_err(|_| too_large())?;
            // Version 2.0, UTF-8 names, stored, 1 January 1980.
            let mut fields: Vec<u8> = Vec::new();
            for half in [20, 0x800, STORED, 0, 0x21] {
                fields.extend(u16::to_le_bytes(half));
            }
            for word in [crc.sum(), size, size] {
                fields.extend(word.to_le_bytes());
            }
            fields.extend(name_length.to_le_bytes());
            fields.extend([0; 2]);
            let local = [LOCAL, &fields, file.as_bytes()].concat();
            listing.extend([ENTRY, &[20, 0], &fields, &[0; 10], &offset.to_le_bytes(), file.as_bytes()].concat());
            let length = u32::try_from(local.len()).ok().and_then(|n| n.checked_add(size)).ok_or_else(too_large)?;
            offset = offset.checked_add(length).ok_or_else(too_large)?;
            out.write_all(&local)?;
            out.write_all(&npy)?;
        }
        let count = u16::try_from(arrays.len()).map_err(|_| too_large())?.to_le_bytes();
        let length = u32::try_from(listing.len()).map_err(|_| too_large())?.to_le_bytes();
        out.write_all(&listing)?;
        out.write_all(&[END, &[0; 4], &count, &count, &length, &offset.to_le_bytes(), &[0; 2]].concat())
    })
}

/// The central directory, every entry checked to lie in the file.
fn directory(bytes: &[u8]) -> Result<BTreeMap<String, Entry>, String> {
    let end = find_end(bytes).ok_or("not an npz file: no zip directory was found")?;
    let (count, length, start) = (half(end, 10)?, word(end, 12)?, word(end, 16)?);
    if half(end, 4)? != 0 || half(end, 8)? != count {
        return Err("archives in several parts are not read".into());
    }
    if count == u16::MAX || start == u32::MAX {
        return Err("archives of zip64 format are not read".into());
    }
    let listing = (start as usize).checked_add(length as usize).and_then(|stop| bytes.get(start as usize..stop));
    let mut left = listing.ok_or("the directory lies outside the file")?;
    let mut entries = BTreeMap::new();
    for _ in 0..count {
        if !left.starts_with(ENTRY) {
            return Err("the directory is damaged".into());
        }
        let (name_length, extra, comment) = (half(left, 28)?, half(left, 30)?, half(left, 32)?);
        let name = left.get(46..46 + usize::from(name_length)).ok_or("the directory is cut off")?;
        let name = std::str::from_utf8(name).map_err(|_| "a name is not UTF-8 text")?;
        if half(left, 8)? & 1 != 0 {
            return Err(format!("`{name}` is encrypted"));
        }
        let entry = Entry {
            method: half(left, 10)?,
            crc: word(left, 16)?,
            stored: word(left, 20)? as usize,
            size: word(left, 24)? as usize,
            local: word(left, 42)? as usize,
        };
        if let Some(array) = name.strip_suffix(".npy")
            && entries.insert(array.to_string(), entry).is_some()
        {
            return Err(format!("there are two arrays `{array}`"));
        }
        let next = 46 + usize::from(name_length) + usize::from(extra) + usize::from(comment);
        left = left.get(next..).ok_or("the directory is cut off")?;
    }
    Ok(entries)
}

/// The end record: the last one whose comment reaches exactly to the end of the file.
fn find_end(bytes: &[u8]) -> Option<&[u8]> {
    let last = bytes.len().checked_sub(22)?;
    let first = last.saturating_sub(usize::from(u16::MAX));
    (first..=last).rev().map(|at| &bytes[at..]).find(|record| {
        record.starts_with(END) && half(record, 20).is_ok_and(|comment| usize::from(comment) == record.len() - 22)
    })
}

/// The bytes of one member, decompressed and compared with their checksum.
fn unpack(bytes: &[u8], entry: &Entry, limit: u64) -> Result<Vec<u8>, String> {
    if entry.size as u64 > limit {
        return Err(format!("decompresses to more than {limit} bytes"));
    }
    let local = bytes.get(entry.local..).filter(|b| b.starts_with(LOCAL)).ok_or("its place holds something else")?;
    let start = 30 + usize::from(half(local, 26)?) + usize::from(half(local, 28)?);
    let stop = start.checked_add(entry.stored).ok_or("it is cut off")?;
    let stored = local.get(start..stop).ok_or("it is cut off")?;
    let npy = match entry.method {
        STORED => stored.to_vec(),
        DEFLATED => {
            let mut npy = Vec::new();
            let mut decoder = DeflateDecoder::new(stored).take(entry.size as u64 + 1);
            decoder.read_to_end(&mut npy).map_err(|e| format!("damaged data: {e}"))?;
            npy
        }
        other => return Err(format!("compression method {other} is not read")),
    };
    if npy.len() != entry.size {
        return Err(format!("{} bytes are not the {} of the directory", npy.len(), entry.size));
    }
    let mut crc = Crc::new();
    crc.update(&npy);
    if crc.sum() != entry.crc {
        return Err("the checksum does not fit".into());
    }
    Ok(npy)
}

fn half(bytes: &[u8], at: usize) -> Result<u16, String> {
    let field = bytes.get(at..).and_then(<[u8]>::first_chunk).ok_or("the directory is cut off")?;
    Ok(u16::from_le_bytes(*field))
}

fn word(bytes: &[u8], at: usize) -> Result<u32, String> {
    let field = bytes.get(at..).and_then(<[u8]>::first_chunk).ok_or("the directory is cut off")?;
    Ok(u32::from_le_bytes(*field))
}
