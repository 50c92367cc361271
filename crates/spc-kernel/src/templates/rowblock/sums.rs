//! The sums of a pass: multiply-adds of the stored entries of a block of inputs.
use super::*;

impl Rows<'_> {
    /// Activations of the first input of a dense block of inputs.
    pub(super) fn inputs(&self, b: &mut Builder, e: Entries, at: At) -> Val {
        let Some(from) = e.from else { return at.x.main };
        let skip = at.features(b, from);
        b.ptr_add(at.x.main, skip)
    }

    /// Multiply-adds of one input, with the weights at `w` (of the block's first row) and the activations at `x`.
    pub(super) fn step(&self, b: &mut Builder, p: Pass, acc: &[Val], w: Addr, x: Feature) -> Vec<Val> {
        let (lanes, skip) = (b.lanes(), 4 * p.row as i32);
        let of_row = |i: usize| w.plus(skip + 4 * i as i32);
        p.tile.step(b, acc, &of_row, &|j| p.at.activation(x, j, lanes, self.spec.cols))
    }

    /// The sums of a pass.
    pub(super) fn sum(&self, b: &mut Builder, e: Entries, p: Pass, acc: Vec<Val>) -> Vec<Val> {
        let lanes = b.lanes();
        if lanes >= WIDE && !matches!(self.spec.layout, Layout::Nm { .. }) {
            return self.wide_sum(b, e, p, acc);
        }
        let (at, height) = (p.at, self.height);
        let step = |b: &mut Builder, acc: &[Val], w: Addr, x: Feature| self.step(b, p, acc, w, x);
        let plain = |at: Val| Feature { at, lines: None };
        let x = self.inputs(b, e, at);
        // State: values, then a pointer of the index source, then the accumulators.
        let with = |head: [Val; 2], acc: Vec<Val>| head.into_iter().chain(acc).collect::<Vec<Val>>();
        let steps = p.tile.steps(lanes);
        let column = |b: &mut Builder, s: &[Val]| {
            let acc = step(b, &s[2..], Addr::new(s[0]), plain(s[1]));
            with([b.ptr_off(s[0], 4 * height as i32), at.skip(b, s[1], 1)], acc)
        };
        let state = match self.spec.layout {
            Layout::Dense { .. } => unrolled(b, e.count, steps, with([e.values, x], acc), &column),
            Layout::Bsr { c, .. } => {
                let c = c as usize;
                unrolled(b, e.count, share(steps, c), with([e.values, e.idx], acc), &|b, s| {
                    let xr = self.row(b, at, Addr::new(s[1]), LoadKind::U32);
                    let inner = with([s[0], xr.at], s[2..].to_vec());
                    let inner = unrolled(b, Count::Fixed(c), steps, inner, &column);
                    with([inner[0], b.ptr_off(s[1], 4)], inner[2..].to_vec())
                })
            }
            Layout::Nm { n, m } => {
                let n = n as usize;
                let group = b.scale(at.stride, i64::from(m));
                // One more pointer: the activations of the group.
                let state: Vec<Val> = [e.values, e.idx, x].into_iter().chain(acc).collect();
                let state = unrolled(b, e.count, share(steps, n), state, &|b, s| {
                    let group_at = At { x: Ptrs { main: s[2], tail: None }, ..at };
                    let entry = |b: &mut Builder, s: &[Val]| {
                        let xr = self.row(b, group_at, Addr::new(s[1]), LoadKind::U8);
                        let acc = step(b, &s[2..], Addr::new(s[0]), xr);
                        with([b.ptr_off(s[0], 4), b.ptr_off(s[1], 1)], acc)
                    };
                    let inner = with([s[0], s[1]], s[3..].to_vec());
                    let inner = unrolled(b, Count::Fixed(n), steps, inner, &entry);
                    let head = [inner[0], inner[1], b.ptr_add(s[2], group)];
                    head.into_iter().chain(inner[2..].iter().copied()).collect()
                });
                return state[3..].to_vec();
            }
            // Lists of single columns; other layouts are refused above.
            _ => unrolled(b, e.count, steps, with([e.values, e.idx], acc), &|b, s| {
                let xr = self.row(b, at, Addr::new(s[1]), LoadKind::U32);
                let acc = step(b, &s[2..], Addr::new(s[0]), xr);
                with([b.ptr_off(s[0], 4 * height as i32), b.ptr_off(s[1], 4)], acc)
            }),
        };
        state[2..].to_vec()
    }

    /// The same in wide code: several entries in a round, and requests for what is used later.
    pub(super) fn wide_sum(&self, b: &mut Builder, e: Entries, p: Pass, acc: Vec<Val>) -> Vec<Val> {
        let (lanes, at, tile) = (b.lanes(), p.at, p.tile);
        let width = 4 * self.height;
        let most = pass_rows(self.height, at.vectors, lanes);
        let passes = self.height.div_ceil(most);
        let next = (passes > 1 && self.tuning.weights_ahead > 0).then(|| self.next(b, e, passes, p.row / most));
        let ahead = Ahead { far: self.tuning.weights_ahead, passes, skip: 4 * p.row as i32 };
        let stride = at.known_stride().unwrap_or(0) as i32;
        let by = Rounds::entries(passes, lanes);
        let columns = Rounds { by, sets: 1, look: 0, width, second: stride, listed: false, ahead };
        let column = |b: &mut Builder, [values, x]: [Val; 2], acc: &[Val], n: usize| {
            let x = if n == 0 { x } else { b.ptr_off(x, stride * n as i32) };
            self.step(b, p, acc, Addr::at(values, (width * n) as i32), Feature { at: x, lines: None })
        };
        let none = |_: &mut Builder, _: Addr| {};
        let columns_of = Calls { look: &none, nth: &column };
        match self.spec.layout {
            Layout::Dense { .. } => {
                let second = self.inputs(b, e, at);
                list(b, columns, e.count, From { values: e.values, second, next, acc }, &columns_of).acc
            }
            Layout::Bsr { c, .. } => {
                let head = 2 + next.iter().count();
                let state: Vec<Val> = [e.values, e.idx].into_iter().chain(next).chain(acc).collect();
                let state = unrolled(b, e.count, 1, state, &|b, s| {
                    let xr = self.row(b, at, Addr::new(s[1]), LoadKind::U32);
                    let next = (head > 2).then(|| s[2]);
                    let from = From { values: s[0], second: xr.at, next, acc: s[head..].to_vec() };
                    let end = list(b, columns, Count::Fixed(c as usize), from, &columns_of);
                    let idx = b.ptr_off(s[1], 4);
                    [end.values, idx].into_iter().chain(end.next).chain(end.acc).collect()
                });
                state[head..].to_vec()
            }
            _ => {
                let (few, sets) = (few_rows(self.spec), tile.sets(lanes));
                let rounds = Rounds {
                    by: if few || sets > 1 { sets.max(4) } else { by },
                    sets,
                    // The first pass has asked for all activations.
                    look: if few || sets > 1 || p.row > 0 { 0 } else { self.tuning.rows_ahead },
                    second: if self.sorted { 2 } else { 4 },
                    listed: true,
                    ..columns
                };
                let nth = |b: &mut Builder, [values, idx]: [Val; 2], acc: &[Val], n: usize| {
                    let xr = match self.sorted {
                        true => self.near_row(b, at, Addr::at(idx, 2 * n as i32)),
                        false => self.row(b, at, Addr::at(idx, 4 * n as i32), LoadKind::U32),
                    };
                    self.step(b, p, acc, Addr::at(values, (width * n) as i32), xr)
                };
                let look = |b: &mut Builder, idx: Addr| {
                    let next = self.row(b, at, idx, LoadKind::U32);
                    self.prefetch_row(b, next, at);
                };
                let from = From { values: e.values, second: e.idx, next, acc };
                list(b, rounds, e.count, from, &Calls { look: &look, nth: &nth }).acc
            }
        }
    }

    /// Where the weights of the next block that pass number `pass` of `passes` asks for begin.
    pub(super) fn next(&self, b: &mut Builder, e: Entries, passes: usize, pass: usize) -> Val {
        let (width, stored) = match self.spec.layout {
            Layout::Bsr { c, .. } => (4 * self.height * c as usize, e.count),
            Layout::Dense { .. } => (4 * self.height, Count::Fixed(self.spec.cols)),
            _ => (4 * self.height, e.count),
        };
        let bytes = |b: &mut Builder, count: Count, per: usize| match count {
            Count::Fixed(n) => b.int((n * per) as i64),
            Count::Runtime(n) => b.scale(n, per as i64),
        };
        let whole = bytes(b, stored, width);
        let next = b.ptr_add(e.values, whole);
        if pass == 0 {
            return next;
        }
        let before = bytes(b, e.count, width / passes * pass);
        b.ptr_add(next, before)
    }

    /// Asks for the activations of one feature.
    pub(super) fn prefetch_row(&self, b: &mut Builder, row: Feature, at: At) {
        let lanes = b.lanes();
        for j in (0..at.vectors).step_by((16 / lanes).max(1)) {
            b.prefetch(at.activation(row, j, lanes, self.spec.cols));
        }
    }

    /// Activations of the column whose number is at `idx`, counted from the span's start.
    pub(super) fn row(&self, b: &mut Builder, at: At, idx: Addr, kind: LoadKind) -> Feature {
        let k = b.load(kind, idx);
        let bytes = at.features(b, k);
        let lines = at.x.tail.map(|_| b.scale(k, 4 * TOKEN_PAD as i64));
        Feature { at: b.ptr_add(at.x.main, bytes), lines }
    }

    /// The same where 16 bits hold 64 times the column, counted from the start of its block.
    pub(super) fn near_row(&self, b: &mut Builder, at: At, idx: Addr) -> Feature {
        let lines = b.load(LoadKind::U16, idx);
        let stride = at.known_stride().unwrap_or(0) as usize;
        let bytes = b.scale(lines, (stride / Blocking::STEP) as i64);
        Feature { at: b.ptr_add(at.x.main, bytes), lines: None }
    }
}
