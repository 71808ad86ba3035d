//! Draws latency under load: for each row and each muxer a line from the median to the 99th percentile.

use super::contestant::Contestant;
use super::report::{Entry, Report};
use super::row::Work;
use plotters::coord::combinators::IntoLogRange;
use plotters::prelude::*;
use std::error::Error;

const WIDTH: u32 = 960;
const LINE: u32 = 16;
const FONT: &str = "sans-serif";
const GREY: RGBColor = RGBColor(0x71, 0x80, 0x96);

const fn color(contestant: Contestant) -> RGBColor {
    match contestant {
        Contestant::Sluicegate => RGBColor(0x2F, 0x85, 0x5A),
        Contestant::Unpaced => RGBColor(0x9A, 0xE6, 0xB4),
        Contestant::ToRustYamux => RGBColor(0x31, 0x97, 0x95),
        Contestant::ToGoYamux => RGBColor(0x2B, 0x6C, 0xB0),
        Contestant::RustYamux => RGBColor(0xC5, 0x30, 0x30),
        Contestant::TokioYamux => RGBColor(0xDD, 0x6B, 0x20),
        Contestant::Tcp => GREY,
    }
}

/// A line of the plot; those without are between two rows.
struct Bar<'a> {
    entry: &'a Entry,
    contestant: Contestant,
    p50: f64,
    p99: f64,
}

/// The plot as SVG.
pub fn draw(report: &Report) -> Result<String, Box<dyn Error>> {
    let lines = lines(report);
    let bars = || lines.iter().flatten();
    let least = bars().map(|bar| bar.p50).fold(f64::MAX, f64::min).min(20.0) * 0.8;
    let most = bars().map(|bar| bar.p99).fold(least * 10.0, f64::max) * 1.3;
    let mut svg = String::new();
    {
        let height = LINE * u32::try_from(lines.len())? + 150;
        let root = SVGBackend::with_string(&mut svg, (WIDTH, height)).into_drawing_area();
        root.fill(&WHITE)?;
        let count = lines.len() as f64;
        let mut chart = ChartBuilder::on(&root)
            .margin(10)
            .margin_right(230)
            .caption("urgent messages beside bulk: median (dot) to 99th percentile; alone (tick)", (FONT, 17))
            .x_label_area_size(40)
            .y_label_area_size(130)
            .build_cartesian_2d((least..most).log_scale(), -count..1.0)?;
        chart
            .configure_mesh()
            .disable_y_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(GREY.mix(0.2))
            .axis_style(GREY)
            .label_style((FONT, 13))
            .y_labels(0)
            .x_desc("ms, logarithmic")
            .draw()?;
        let mut named = "";
        for (index, bar) in lines.iter().enumerate().filter_map(|(index, bar)| Some((index, bar.as_ref()?))) {
            let y = -(index as f64);
            let style = color(bar.contestant);
            chart.draw_series([PathElement::new([(bar.p50, y), (bar.p99, y)], style.stroke_width(3))])?;
            chart.draw_series([Circle::new((bar.p50, y), 5, style.filled())])?;
            if let Some(alone) = bar.entry.beside(bar.contestant, |figures| figures.alone) {
                chart.draw_series([PathElement::new([(alone, y - 0.4), (alone, y + 0.4)], BLACK.stroke_width(1))])?;
            }
            if named != bar.entry.row.name {
                named = bar.entry.row.name;
                let (x, pixel) = chart.backend_coord(&(least, y));
                root.draw(&Text::new(named, (x - 125, pixel - 7), (FONT, 13).into_font().color(&BLACK)))?;
            }
        }
        legend(&root, bars().map(|bar| bar.contestant))?;
        root.present()?;
    }
    Ok(svg)
}

/// Beside the chart.
fn legend<DB: DrawingBackend>(
    root: &DrawingArea<DB, plotters::coord::Shift>,
    shown: impl Iterator<Item = Contestant> + Clone,
) -> Result<(), DrawingAreaErrorKind<DB::ErrorType>> {
    let contestants = Contestant::ALL.into_iter().filter(|one| shown.clone().any(|shown| shown == *one));
    for (index, contestant) in contestants.enumerate() {
        let (x, y) = (WIDTH as i32 - 215, 60 + 22 * index as i32);
        root.draw(&Circle::new((x, y), 5, color(contestant).filled()))?;
        root.draw(&Text::new(contestant.name(), (x + 14, y - 7), (FONT, 13).into_font().color(&BLACK)))?;
    }
    Ok(())
}

/// Rows one below the other, with a free line between them.
fn lines(report: &Report) -> Vec<Option<Bar<'_>>> {
    let mut lines = Vec::new();
    for entry in report.entries().iter().filter(|entry| matches!(entry.row.work, Work::Beside { .. })) {
        let bars = entry.contestants().into_iter().filter_map(|contestant| {
            let p50 = entry.beside(contestant, |figures| figures.p50)?;
            let p99 = entry.beside(contestant, |figures| figures.p99)?;
            Some(Some(Bar { entry, contestant, p50, p99 }))
        });
        lines.extend(bars);
        lines.push(None);
    }
    lines
}
