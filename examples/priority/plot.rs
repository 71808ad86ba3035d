//! Draws how the latencies are distributed: percentiles on the x axis, the higher the wider apart.

use crate::case::{Outcome, Priorities};
use plotters::prelude::*;

const SIZE: (u32, u32) = (960, 540);
const FONT: &str = "sans-serif";
const GREY: RGBColor = RGBColor(0x71, 0x80, 0x96);
const RED: RGBColor = RGBColor(0xC5, 0x30, 0x30);
const BLUE: RGBColor = RGBColor(0x2B, 0x6C, 0xB0);

/// The x axis is in nines: 1 is 90 %, 2 is 99 %. More of them would show single messages.
const NINES: f64 = 2.5;
const STEPS: u32 = 300;

/// The plot as SVG.
pub(crate) fn draw(title: &str, outcomes: &[Outcome]) -> anyhow::Result<String> {
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        root.fill(&WHITE)?;
        let highest = outcomes.iter().map(|outcome| outcome.milliseconds(1.0)).fold(1.0, f64::max);
        let mut chart = ChartBuilder::on(&root)
            .margin(10)
            .margin_right(40)
            .caption(title, (FONT, 18))
            .x_label_area_size(45)
            .y_label_area_size(65)
            .build_cartesian_2d(0.0..NINES, (0.1..highest * 2.0).log_scale())?;
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(GREY.mix(0.2))
            .axis_style(GREY)
            .label_style((FONT, 13))
            .x_labels(4)
            .x_desc("messages that took at most so long")
            .x_label_formatter(&|nines| format!("{} %", percentile(*nines)))
            .y_desc("ms, logarithmic")
            .draw()?;
        for outcome in outcomes {
            let style = style(outcome);
            let points = (0..=STEPS).map(|step| f64::from(step) / f64::from(STEPS) * NINES);
            let line = points.map(|nines| (nines, outcome.milliseconds(percentile(nines) / 100.0).max(0.1)));
            chart
                .draw_series(LineSeries::new(line, style))?
                .label(outcome.case.name())
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 25, y)], style));
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::Coordinate(340, 190))
            .legend_area_size(30)
            .label_font((FONT, 13))
            .background_style(WHITE.mix(0.8))
            .draw()?;
        root.present()?;
    }
    Ok(svg)
}

fn percentile(nines: f64) -> f64 {
    // Rounded to what is worth showing of it.
    ((1.0 - 10_f64.powf(-nines)) * 1e5).round() / 1e3
}

/// Red without priorities, blue with; thin beside one bulk stream, thick beside many.
fn style(outcome: &Outcome) -> ShapeStyle {
    let width = if outcome.case.bulk > 1 { 3 } else { 1 };
    match (outcome.case.bulk, outcome.case.priorities) {
        (0, _) => GREY.stroke_width(2),
        (_, Priorities::Off) => RED.stroke_width(width),
        (_, Priorities::On) => BLUE.stroke_width(width),
    }
}
