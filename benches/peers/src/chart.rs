//! Draws a bar chart as SVG.

use std::fmt::Write;

/// Returns a chart of horizontal bars on a logarithmic scale, each with its value.
pub fn bars(title: &str, values: &[(&str, f64)]) -> String {
    const WIDTH: f64 = 640.0;
    const ROW: f64 = 26.0;
    const LABELS: f64 = 150.0;
    let height = ROW * (values.len() as f64 + 1.5);
    let scale = |value: f64| value.max(1.0).log10();
    let longest = values.iter().map(|(_, value)| scale(*value)).fold(1.0, f64::max);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n<text x=\"8\" y=\"18\" font-weight=\"bold\">{title}, logarithmic</text>\n"
    );
    for (row, (name, value)) in values.iter().enumerate() {
        let y = ROW * (row as f64 + 1.2);
        let length = scale(*value) / longest * (WIDTH - LABELS - 80.0);
        let colour = if name.starts_with("distlock") { "#c2410c" } else { "#94a3b8" };
        let _ = writeln!(
            svg,
            "<text x=\"8\" y=\"{:.0}\">{name}</text><rect x=\"{LABELS}\" y=\"{y:.0}\" width=\"{length:.0}\" height=\"{:.0}\" fill=\"{colour}\"/><text x=\"{:.0}\" y=\"{:.0}\">{value:.0}</text>",
            y + 15.0,
            ROW - 6.0,
            LABELS + length + 6.0,
            y + 15.0,
        );
    }
    svg + "</svg>\n"
}
