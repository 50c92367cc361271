//! Breaks lines that are too long.
use super::layout::{Layout, Place};
use super::{MOST_LEVELS, WIDTH};

/// Ends lines at the outermost places until each fits or has no place left. The result depends only on which lines the
/// text has, and leaves alone a text that it made.
pub fn split(layout: &mut Layout<'_>) {
    loop {
        layout.indent_lines();
        let mut changed = false;
        for (from, to) in layout.lines() {
            if layout.indent[from] < 2 * MOST_LEVELS && layout.width(from, to) > WIDTH {
                changed |= split_line(layout, from, to);
            }
        }
        if !changed {
            return;
        }
    }
}

fn split_line(layout: &mut Layout<'_>, from: usize, to: usize) -> bool {
    let depth = |l: &Layout<'_>, i: usize| l.groups[l.group[i]].depth;
    // The best place: outermost first, then in the order of `Place`. A bracket counts where it stands, not inside.
    let mut best: Option<(usize, Rank)> = None;
    for i in from + 1..to {
        let rank = match layout.place[i] {
            Some(Place::Bracket) => match layout.opened[i - 1] {
                Some(g) if layout.groups[g].block => Some((depth(layout, i) - 1, Rank::Block)),
                Some(_) => Some((depth(layout, i) - 1, Rank::Bracket)),
                None => None,
            },
            Some(Place::Author) | None => None,
            Some(Place::Value) => Some((depth(layout, i), Rank::Value)),
            Some(Place::Entry) => Some((depth(layout, i), Rank::Entry)),
            Some(place) => Some((depth(layout, i), Rank::At(place))),
        };
        if rank.is_some() && (best.is_none() || rank < best) {
            best = rank;
        }
    }
    let Some((at, rank)) = best else { return false };
    let here = |l: &Layout<'_>, i: usize, place: Place| l.place[i] == Some(place) && depth(l, i) == at;
    let chosen: Vec<usize> = match rank {
        Rank::Entry => (from + 1..to).filter(|&i| here(layout, i, Place::Entry)).collect(),
        Rank::Value => (from + 1..to).filter(|&i| here(layout, i, Place::Value)).take(1).collect(),
        Rank::At(place) => {
            let places: Vec<usize> = (from + 1..to).filter(|&i| here(layout, i, place)).collect();
            fill(layout, from, to, &places)
        }
        Rank::Block | Rank::Bracket => {
            let opened = (from..to).filter_map(|i| layout.opened[i]).filter(|&g| {
                let group = &layout.groups[g];
                group.depth == at + 1
                    && group.block == (rank == Rank::Block)
                    && group.open + 1 < to
                    && layout.place[group.open + 1].is_some()
            });
            let span = |g: usize| layout.groups[g].close.min(to) - layout.groups[g].open;
            opened.max_by_key(|&g| span(g)).map(|g| layout.groups[g].open + 1).into_iter().collect()
        }
    };
    chosen.iter().for_each(|&i| layout.start_line(i));
    !chosen.is_empty()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Entry,
    Block,
    At(Place),
    Bracket,
    Value,
}

/// The places that fill lines as far as they go; at least one.
fn fill(layout: &Layout<'_>, from: usize, to: usize, places: &[usize]) -> Vec<usize> {
    let indent = layout.indent[from] + 2;
    let mut out = Vec::new();
    let (mut start, mut used) = (from, layout.indent[from]);
    for (n, &place) in places.iter().enumerate() {
        // From here to the next place, without the blanks before it.
        let next = places.get(n + 1).copied().unwrap_or(to);
        let first = if start == from && n == 0 { piece(layout, from, place) } else { 0 };
        used += first;
        let width = piece(layout, place, next);
        if used + layout.blanks[place] + width > WIDTH {
            out.push(place);
            (start, used) = (place, indent + width);
        } else {
            used += layout.blanks[place] + width;
        }
    }
    if out.is_empty() {
        out.extend(places.last());
    }
    out
}

/// Characters of tokens without indentation.
fn piece(layout: &Layout<'_>, from: usize, to: usize) -> usize {
    layout.width(from, to) - layout.indent[from]
}
