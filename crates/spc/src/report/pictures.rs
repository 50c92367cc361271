//! The pictures of the page: bars for each layer, and the roofline.
use super::{Row, escape};
use spc_layout::Machine;
use spc_report::percent;

/// Two bars a layer.
pub fn bars(rows: &[Row<'_>], of: fn(&Row<'_>) -> (u64, u64), show: fn(u64) -> String) -> String {
    let most = rows.iter().map(|r| of(r).0.max(of(r).1)).max().unwrap_or(1).max(1) as f64;
    let (label, width, line) = (260.0, 560.0, 34.0);
    let height = rows.len() as f64 * line + 8.0;
    let mut out = format!("<svg viewBox=\"0 0 1000 {height:.0}\" width=\"100%\" role=\"img\">\n");
    for (i, r) in rows.iter().enumerate() {
        let (before, after) = of(r);
        let y = i as f64 * line + 4.0;
        out += &format!(
            "<text x=\"{:.0}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\n",
            label - 8.0,
            y + 18.0,
            escape(&shorten(&r.why.weight))
        );
        for (value, class, dy) in [(before, "before", 0.0), (after, "after", 14.0)] {
            let w = value as f64 / most * width;
            out += &format!(
                "<rect class=\"{class}\" x=\"{label:.0}\" y=\"{:.1}\" width=\"{w:.1}\" height=\"12\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" class=\"soft\">{}</text>\n",
                y + dy,
                label + w + 6.0,
                y + dy + 10.5,
                show(value)
            );
        }
    }
    out + "</svg>\n"
}

pub fn shorten(name: &str) -> String {
    let n = name.chars().count();
    if n <= 34 { name.to_string() } else { format!("..{}", name.chars().skip(n - 32).collect::<String>()) }
}

/// Every kernel between the lines of the table: operations a byte against operations a second, both logarithmic.
pub fn roofline(rows: &[Row<'_>], table: Machine<'_>) -> String {
    let (peak, levels) = (table.peak(), table.levels());
    let points: Vec<(f64, f64)> = rows.iter().map(Row::point).filter(|(x, y)| *x > 0.0 && *y > 0.0).collect();
    let least_x = points.iter().map(|p| p.0).fold(0.1, f64::min).log10().floor();
    let most_x = points.iter().map(|p| p.0).fold(100.0, f64::max).log10().ceil();
    let least_y = points.iter().map(|p| p.1).fold(peak / 100.0, f64::min).log10().floor();
    let most_y = points.iter().map(|p| p.1).fold(peak, f64::max).log10().ceil();
    let (left, top, width, height) = (70.0, 10.0, 900.0, 380.0);
    let px = |x: f64| left + (x.log10() - least_x) / (most_x - least_x) * width;
    let py = |y: f64| top + height - (y.log10() - least_y) / (most_y - least_y) * height;
    let mut out = "<svg viewBox=\"0 0 1000 440\" width=\"100%\" role=\"img\">\n".to_string();
    for e in least_x as i32..=most_x as i32 {
        let x = px(10f64.powi(e));
        out += &format!(
            "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{top}\" y2=\"{:.1}\"/><text class=\"soft\" x=\"{x:.1}\" \
             y=\"{:.1}\" text-anchor=\"middle\">{}</text>\n",
            top + height,
            top + height + 18.0,
            10f64.powi(e)
        );
    }
    for e in least_y as i32..=most_y as i32 {
        let y = py(10f64.powi(e));
        out += &format!(
            "<line class=\"grid\" x1=\"{left}\" x2=\"{:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/><text class=\"soft\" x=\"{:.1}\" \
             y=\"{:.1}\" text-anchor=\"end\">{}</text>\n",
            left + width,
            left - 6.0,
            y + 4.0,
            10f64.powi(e)
        );
    }
    let end = 10f64.powf(most_x);
    let start = 10f64.powf(least_x);
    for l in &levels {
        // 10^9 bytes a second.
        let rate = l.bytes_per_us as f64 / 1e3;
        let from = start.max(10f64.powf(least_y) / rate);
        let to = (peak / rate).min(end);
        if from < to {
            out += &format!(
                "<path class=\"line\" d=\"M{:.1} {:.1} L{:.1} {:.1}\"/><text class=\"soft\" x=\"{:.1}\" y=\"{:.1}\">{rate:.1} \
                 GB/s</text>\n",
                px(from),
                py(from * rate),
                px(to),
                py(to * rate),
                px(from) + 4.0,
                py(from * rate) - 32.0
            );
        }
    }
    out += &format!(
        "<path class=\"line\" d=\"M{:.1} {y:.1} L{:.1} {y:.1}\"/><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{peak:.0} \
         GFLOP/s, the fastest that the table knows</text>\n",
        px((peak / (levels.first().map_or(1.0, |l| l.bytes_per_us as f64 / 1e3))).max(start)),
        left + width,
        left + width - 4.0,
        py(peak) - 6.0,
        y = py(peak)
    );
    // Layers on one point share a label.
    let mut places: Vec<((i64, i64), Vec<&Row<'_>>)> = Vec::new();
    for r in rows {
        let (x, y) = r.point();
        if x > 0.0 && y > 0.0 {
            out += &format!(
                "<circle class=\"after\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"5\"><title>{}, {}: {y:.1} GFLOP/s at {x:.1} \
                 operations a byte</title></circle>\n",
                px(x),
                py(y),
                escape(&r.why.weight),
                escape(&r.plan.layout)
            );
            let key = ((px(x) / 8.0) as i64, (py(y) / 8.0) as i64);
            match places.iter_mut().find(|(k, _)| *k == key) {
                Some((_, list)) => list.push(r),
                None => places.push((key, vec![r])),
            }
        }
    }
    for (_, list) in places {
        let Some(first) = list.first() else { continue };
        let (x, y) = first.point();
        let more = if list.len() > 1 { format!(", {} layers", list.len()) } else { String::new() };
        let text = format!("{} {} x {}{more}", first.plan.layout, first.why.rows, first.why.cols);
        // On the side where there is room.
        let (dx, anchor) = if px(x) > left + width / 2.0 { (-9.0, "end") } else { (9.0, "start") };
        out += &format!(
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{}</text>\n",
            px(x) + dx,
            py(y) + 4.0,
            escape(&text)
        );
    }
    out += &format!(
        "<text class=\"soft\" x=\"{:.1}\" y=\"432\" text-anchor=\"middle\">operations on present weights a byte, against 10^9 \
         operations a second</text>\n</svg>\n",
        left + width / 2.0
    );
    out
}

/// One bar a layer: the present share of the weight in the whole.
pub fn densities(rows: &[Row<'_>]) -> String {
    let (label, width, line) = (260.0, 560.0, 22.0);
    let height = rows.len() as f64 * line + 8.0;
    let mut out = format!("<svg viewBox=\"0 0 1000 {height:.0}\" width=\"100%\" role=\"img\">\n");
    for (i, r) in rows.iter().enumerate() {
        let y = i as f64 * line + 4.0;
        let w = r.density() * width;
        out += &format!(
            "<text x=\"{:.0}\" y=\"{:.1}\" text-anchor=\"end\">{}</text><rect class=\"none\" x=\"{label:.0}\" y=\"{y:.1}\" \
             width=\"{width:.1}\" height=\"14\"/><rect class=\"after\" x=\"{label:.0}\" y=\"{y:.1}\" width=\"{w:.1}\" \
             height=\"14\"/><text x=\"{:.1}\" y=\"{:.1}\" class=\"soft\">{}, {}</text>\n",
            label - 8.0,
            y + 11.5,
            escape(&shorten(&r.why.weight)),
            label + width + 8.0,
            y + 11.5,
            percent(r.density()),
            escape(&r.plan.layout),
        );
    }
    out + "</svg>\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_lose_their_beginning() {
        assert_eq!(shorten("net.w"), "net.w");
        assert_eq!(shorten(&"ä".repeat(50)).chars().count(), 34);
    }
}
