//! Which memory calls use at this moment, so that no two threads of Rust change the same array, whoever owns it.
use std::sync::{Mutex, PoisonError};

struct Span {
    from: usize,
    to: usize,
    changed: bool,
    id: u64,
}

#[derive(Default)]
struct Lent {
    spans: Vec<Span>,
    next: u64,
}

static LENT: Mutex<Lent> = Mutex::new(Lent { spans: Vec::new(), next: 0 });

/// Memory that is lent until this is dropped.
pub(crate) struct Loan(u64);

impl Loan {
    /// Of `bytes` bytes from an address; None where a call changes some of them already, or uses them and these are to be changed.
    pub fn of(from: usize, bytes: usize, changed: bool) -> Option<Loan> {
        let to = from.checked_add(bytes)?;
        let mut lent = LENT.lock().unwrap_or_else(PoisonError::into_inner);
        let meets = |s: &Span| s.from < to && from < s.to && (changed || s.changed);
        if lent.spans.iter().any(meets) {
            return None;
        }
        let id = lent.next;
        lent.next += 1;
        lent.spans.push(Span { from, to, changed, id });
        Some(Loan(id))
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        LENT.lock().unwrap_or_else(PoisonError::into_inner).spans.retain(|s| s.id != self.0);
    }
}
