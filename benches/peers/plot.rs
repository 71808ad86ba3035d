//! Draws how many times better this crate is than each of the others, a row a workload.

use crate::contestant::Contestant;
use crate::figure::{Better, Figure};
use crate::score::Scores;
use plotters::coord::combinators::IntoLogRange;
use plotters::prelude::*;
use std::error::Error;

const WIDTH: u32 = 960;
const ROW: u32 = 30;
const FONT: &str = "sans-serif";
const GREY: RGBColor = RGBColor(0x71, 0x80, 0x96);

/// Rows below the last one, for the legend.
const LEGEND: f64 = 3.5;

/// Beyond these nothing is shown in its true place.
const LEAST: f64 = 0.25;
const MOST: f64 = 64.0;

const fn color(contestant: Contestant) -> RGBColor {
    match contestant {
        Contestant::Tcp => GREY,
        Contestant::RustYamux => RGBColor(0xC5, 0x30, 0x30),
        Contestant::TokioYamux => RGBColor(0xDD, 0x6B, 0x20),
        Contestant::GoYamux => RGBColor(0x2B, 0x6C, 0xB0),
        Contestant::Hashicorp => RGBColor(0x6B, 0x46, 0xC1),
        Contestant::Sluicegate => BLACK,
    }
}

/// How many times better, whichever way that is.
fn advantage(scores: &Scores, figure: Figure, other: Contestant) -> Option<f64> {
    let ratio = scores.ratio(figure, other)?;
    Some(match figure.better() {
        Better::More => ratio,
        Better::Less => 1.0 / ratio,
    })
}

/// The plot as SVG.
pub fn draw(scores: &Scores) -> Result<String, Box<dyn Error>> {
    let others: Vec<_> = Contestant::ALL.into_iter().filter(|other| *other != Contestant::Sluicegate).collect();
    let compared = |figure: &Figure| others.iter().any(|other| advantage(scores, *figure, *other).is_some());
    let rows: Vec<_> = scores.figures().filter(compared).collect();
    let mut svg = String::new();
    {
        let height = ROW * (u32::try_from(rows.len())? + 7);
        let root = SVGBackend::with_string(&mut svg, (WIDTH, height)).into_drawing_area();
        root.fill(&WHITE)?;
        let last = rows.len() as f64;
        let mut chart = ChartBuilder::on(&root)
            .margin(10)
            .margin_right(30)
            .caption("times better than the others, medians of one run", (FONT, 18))
            .x_label_area_size(40)
            .y_label_area_size(150)
            .build_cartesian_2d((LEAST..MOST).log_scale().base(2.0), -LEGEND..last - 0.5)?;
        chart
            .configure_mesh()
            .disable_y_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(GREY.mix(0.2))
            .axis_style(GREY)
            .label_style((FONT, 13))
            .y_labels(0)
            .x_label_formatter(&|times| format!("{times}"))
            .draw()?;
        chart.draw_series([PathElement::new([(1.0, -LEGEND), (1.0, last - 0.5)], GREY.stroke_width(2))])?;
        for (index, figure) in rows.iter().enumerate() {
            // The first one on top.
            let y = last - 1.0 - index as f64;
            let style = (FONT, 13).into_font().color(&BLACK);
            let (x, pixel) = chart.backend_coord(&(LEAST, y));
            root.draw(&Text::new(figure.label().0, (x - 145, pixel - 7), style))?;
        }
        for other in others {
            let points = rows.iter().enumerate().filter_map(|(index, figure)| {
                let times = advantage(scores, *figure, other)?.clamp(LEAST, MOST);
                Some((times, last - 1.0 - index as f64))
            });
            let points: Vec<_> = points.collect();
            if points.is_empty() {
                continue;
            }
            let style = color(other).filled();
            chart
                .draw_series(points.into_iter().map(|point| Circle::new(point, 5, style)))?
                .label(other.name())
                .legend(move |(x, y)| Circle::new((x + 10, y), 5, style));
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::LowerRight)
            .label_font((FONT, 13))
            .background_style(WHITE.mix(0.8))
            .border_style(GREY.mix(0.4))
            .draw()?;
        root.present()?;
    }
    Ok(svg)
}
