//! Curves over the steps of a run, as an SVG picture.
use plotters::prelude::*;
use spc_base::Bug;

/// Curves with one caption: names and points.
#[derive(Clone, Debug, PartialEq)]
pub struct Panel {
    pub title: String,
    pub curves: Vec<(String, Vec<(f64, f64)>)>,
}

const WIDTH: u32 = 900;
const HEIGHT: u32 = 260;
/// Distinct to most eyes, and in print (Okabe and Ito 2008); repeated from the ninth curve on.
const COLOURS: [RGBColor; 8] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(0, 0, 0),
    RGBColor(148, 148, 148),
];

/// Least and greatest of finite numbers, never the same.
fn range(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let found = values
        .filter(|v| v.is_finite())
        .fold(None, |r: Option<(f64, f64)>, v| Some(r.map_or((v, v), |(a, b)| (a.min(v), b.max(v)))));
    match found {
        None => (0.0, 1.0),
        Some((a, b)) if a == b => (a - 0.5, a + 0.5),
        Some((a, b)) => (a, b + (b - a) * 0.05),
    }
}

/// Panels below each other. Points that are not finite are left out.
///
/// # Errors
/// A bug where the picture cannot be drawn.
pub fn plot(panels: &[Panel]) -> Result<String, Bug> {
    let failed = |e: String| Bug::new(format!("a picture cannot be drawn: {e}"));
    let mut out = String::new();
    {
        let height = HEIGHT * panels.len().clamp(1, 1000) as u32;
        let root = SVGBackend::with_string(&mut out, (WIDTH, height)).into_drawing_area();
        root.fill(&WHITE).map_err(|e| failed(e.to_string()))?;
        for (area, panel) in root.split_evenly((panels.len().max(1), 1)).iter().zip(panels) {
            draw(area, panel).map_err(failed)?;
        }
        root.present().map_err(|e| failed(e.to_string()))?;
    }
    Ok(out)
}

fn draw(area: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>, panel: &Panel) -> Result<(), String> {
    let points = || panel.curves.iter().flat_map(|(_, p)| p);
    let (x, y) = (range(points().map(|p| p.0)), range(points().map(|p| p.1)));
    let text = |e: DrawingAreaErrorKind<std::io::Error>| e.to_string();
    let mut chart = ChartBuilder::on(area)
        .caption(&panel.title, ("sans-serif", 15))
        .margin(8)
        .x_label_area_size(28)
        .y_label_area_size(60)
        .build_cartesian_2d(x.0..x.1, y.0..y.1)
        .map_err(text)?;
    chart.configure_mesh().x_desc("step").light_line_style(WHITE).draw().map_err(text)?;
    for (i, (name, points)) in panel.curves.iter().enumerate() {
        let colour = COLOURS[i % COLOURS.len()];
        let finite = points.iter().copied().filter(|p| p.0.is_finite() && p.1.is_finite());
        chart
            .draw_series(LineSeries::new(finite, colour.stroke_width(2)))
            .map_err(text)?
            .label(name)
            .legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 16, y)], colour.stroke_width(2)));
    }
    if panel.curves.len() > 1 {
        let labels = chart.configure_series_labels();
        let mut labels = labels;
        labels.background_style(WHITE.mix(0.8)).border_style(RGBColor(200, 200, 200)).draw().map_err(text)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_hold_their_curves_and_words() {
        let curve = |n: &str, k: f64| (n.to_string(), (0..5).map(|i| (f64::from(i), k * f64::from(i))).collect());
        let a = Panel { title: "density <1>".into(), curves: vec![curve("net.w", 0.1), curve("net.v", 0.2)] };
        let odd = vec![("x".to_string(), vec![(0.0, f64::NAN), (1.0, 2.0), (f64::INFINITY, 1.0)])];
        let svg =
            plot(&[a, Panel { title: "flat".into(), curves: odd }, Panel { title: "none".into(), curves: vec![] }]);
        let svg = svg.unwrap();
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
        for words in ["density &lt;1&gt;", "net.w", "net.v", "flat", "none", "step"] {
            assert!(svg.contains(words), "{words}");
        }
        assert_eq!(svg.matches("#0072B2").count(), 3, "one curve and its legend, and the curve of the other panel");
        assert!(!svg.contains("NaN") && !svg.contains("inf"));
    }
}
