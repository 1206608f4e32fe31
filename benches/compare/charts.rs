//! The charts: a dot for each row of a table, and lines for the tables with objects.
//!
//! Each chart lies on a white card with a frame, so that it can be read on any background.

use crate::peers::Kind;
use crate::race::{Finished, Row};
use crate::report::{figure, whole};
use crate::stats::Summary;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use std::error::Error;
use std::fs;
use std::path::Path;

/// The races whose charts are kept in the repository.
pub(crate) const SAVED: [&str; 7] = [
    "sequential, two CPUs",
    "sequential, free",
    "pipelined 1000 deep, two CPUs",
    "4 callers x 10 deep",
    "fire and forget",
    "stuck object, 600 wait for it",
    OBJECTS,
];
/// The chart of all races with objects.
const OBJECTS: &str = "objects";

const WIDTH: i32 = 900;
/// Where the scale begins and ends, in pixels from the left. The names are left of it, the figures
/// right of it.
const SCALE: (i32, i32) = (300, 710);
const TOP: i32 = 86;
const ROW: i32 = 22;
const INK: RGBColor = RGBColor(31, 35, 40);
const FAINT: RGBColor = RGBColor(208, 215, 222);
const LINES: [RGBColor; 5] = [
    RGBColor(9, 105, 218),
    RGBColor(130, 80, 223),
    RGBColor(191, 135, 0),
    RGBColor(26, 127, 55),
    RGBColor(207, 34, 46),
];

fn colour(kind: Kind) -> RGBColor {
    match kind {
        Kind::Ours => RGBColor(9, 105, 218),
        Kind::Affine => RGBColor(130, 80, 223),
        Kind::Pool => RGBColor(191, 135, 0),
        Kind::Limit => RGBColor(110, 119, 129),
    }
}

/// Writes the charts of the races that `wanted` selects by name.
///
/// # Errors
///
/// When a file cannot be written, or a chart cannot be drawn.
pub(crate) fn write(
    directory: &Path,
    finished: &[Finished],
    wanted: impl Fn(&str) -> bool,
) -> Result<(), Box<dyn Error>> {
    for race in finished.iter().filter(|race| wanted(&race.race.id)) {
        if let Some(chart) = dots(race)? {
            fs::write(directory.join(file_name(&race.race.id)), chart)?;
        }
    }
    if wanted(OBJECTS) {
        if let Some(chart) = objects(finished)? {
            fs::write(directory.join(file_name(OBJECTS)), chart)?;
        }
    }
    Ok(())
}

/// `4 callers x 10 deep` becomes `4-callers-x-10-deep.svg`.
fn file_name(id: &str) -> String {
    let words: Vec<_> =
        id.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
    format!("{}.svg", words.join("-").to_lowercase())
}

/// A logarithmic scale from one power of ten to another.
#[derive(Clone, Copy)]
struct Scale {
    low: f64,
    high: f64,
}

impl Scale {
    /// The scale for these values, all above 0.
    fn of(values: impl Iterator<Item = f64> + Clone) -> Self {
        let low = values.clone().fold(f64::INFINITY, f64::min).log10().floor();
        let high = values.fold(0.0, f64::max).log10().ceil();
        Self { low, high: high.max(low + 1.0) }
    }

    /// Pixels from the left.
    #[expect(clippy::cast_possible_truncation, reason = "a few hundred pixels")]
    fn pixel(self, value: f64) -> i32 {
        let share = (value.log10() - self.low) / (self.high - self.low);
        SCALE.0 + (share * f64::from(SCALE.1 - SCALE.0)).round() as i32
    }

    fn powers(self) -> impl Iterator<Item = f64> {
        std::iter::successors(Some(self.low), |power| Some(power + 1.0))
            .take_while(move |power| *power <= self.high)
            .map(|power| 10_f64.powf(power))
    }
}

/// Draws a text of this size in pixels, with its middle or one of its ends at `place`.
fn text(
    text: impl Into<String>,
    place: (i32, i32),
    size: i32,
    end: HPos,
    colour: RGBColor,
) -> impl Fn(&Area<'_>) -> Drawn {
    let text = text.into();
    move |area| {
        let style = ("sans-serif", size).into_font().color(&colour).pos(Pos::new(end, VPos::Center));
        area.draw(&Text::new(text.as_str(), place, style))?;
        Ok(())
    }
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;
type Drawn = Result<(), Box<dyn Error>>;

/// The chart of one race. The rows are sorted by median; each has a dot for the median, and a line
/// from there to the 99th percentile.
fn dots(finished: &Finished) -> Result<Option<String>, Box<dyn Error>> {
    let race = &finished.race;
    let mut rows: Vec<(&Row, Summary)> = finished
        .rows
        .iter()
        .filter_map(|row| Some((row, Summary::of(row)?)))
        .filter(|(_, summary)| summary.median > 0.0)
        .collect();
    if rows.is_empty() {
        return Ok(None);
    }
    rows.sort_by(|(_, a), (_, b)| a.median.total_cmp(&b.median));
    let scale = Scale::of(rows.iter().flat_map(|(_, summary)| [summary.median, summary.p99]));
    let count = i32::try_from(rows.len())?;
    let bottom = TOP + count * ROW;
    let size = (WIDTH, bottom + 40);

    let mut svg = String::new();
    let area =
        SVGBackend::with_string(&mut svg, (size.0.unsigned_abs(), size.1.unsigned_abs())).into_drawing_area();
    text(format!("{} ({})", race.id, race.unit), (24, 26), 18, HPos::Left, INK)(&area)?;
    text(format!("{}; less is better", race.about), (24, 48), 13, HPos::Left, INK)(&area)?;
    for (title, right) in [("median", 800), ("p99", WIDTH - 24)] {
        text(title, (right, TOP - 14), 12, HPos::Right, INK)(&area)?;
    }
    for power in scale.powers() {
        let x = scale.pixel(power);
        area.draw(&PathElement::new([(x, TOP - 4), (x, bottom)], FAINT))?;
        text(whole(power), (x, TOP - 14), 12, HPos::Center, INK)(&area)?;
    }
    for ((row, summary), place) in rows.iter().zip(0..) {
        let y = TOP + place * ROW + ROW / 2;
        let colour = colour(row.kind);
        let (median, p99) = (scale.pixel(summary.median), scale.pixel(summary.p99));
        text(
            row.name,
            (SCALE.0 - 12, y),
            13,
            HPos::Right,
            if row.kind == Kind::Ours { colour } else { INK },
        )(&area)?;
        area.draw(&PathElement::new([(SCALE.0, y), (p99, y)], FAINT))?;
        area.draw(&PathElement::new([(median, y), (p99, y)], colour.stroke_width(2)))?;
        area.draw(&Circle::new((median, y), 5, colour.filled()))?;
        text(figure(summary.median), (800, y), 13, HPos::Right, INK)(&area)?;
        text(figure(summary.p99), (WIDTH - 24, y), 13, HPos::Right, INK)(&area)?;
    }
    let mut left = 30;
    for (kind, meaning) in [
        (Kind::Ours, "this crate"),
        (Kind::Affine, "a thread of its own"),
        (Kind::Pool, "pools"),
        (Kind::Limit, "the machine's limit"),
    ] {
        area.draw(&Circle::new((left, bottom + 20), 5, colour(kind).filled()))?;
        text(meaning, (left + 12, bottom + 20), 12, HPos::Left, INK)(&area)?;
        left += 150;
    }
    text("dot: median, line: up to p99", (WIDTH - 24, bottom + 20), 12, HPos::Right, INK)(&area)?;
    area.present()?;
    drop(area);
    Ok(Some(card(&svg, size)))
}

/// Calls per second by the number of objects, from all races with objects.
fn objects(finished: &[Finished]) -> Result<Option<String>, Box<dyn Error>> {
    let races: Vec<_> = finished
        .iter()
        .filter_map(|it| Some((it.race.id.strip_prefix("objects, ")?.parse::<f64>().ok()?, it)))
        .collect();
    let (Some((fewest, first)), Some((most, _))) = (races.first(), races.last()) else { return Ok(None) };
    if fewest >= most {
        return Ok(None);
    }
    let size = (WIDTH, 460_i32);
    let mut svg = String::new();
    let root =
        SVGBackend::with_string(&mut svg, (size.0.unsigned_abs(), size.1.unsigned_abs())).into_drawing_area();
    let area = root.margin(16, 24, 16, 24);
    let mut chart = ChartBuilder::on(&area)
        .caption(
            "calls per second by objects; each call blocks for 100 us",
            ("sans-serif", 18).into_font().color(&INK),
        )
        .x_label_area_size(36)
        .y_label_area_size(80)
        .build_cartesian_2d((*fewest..*most).log_scale(), (1e3..1e6).log_scale())?;
    let number = |value: &f64| whole(*value);
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(FAINT)
        .axis_style(FAINT)
        .label_style(("sans-serif", 12).into_font().color(&INK))
        .x_desc("objects")
        .y_desc("calls per second")
        .x_label_formatter(&number)
        .y_label_formatter(&number)
        .draw()?;
    for (row, colour) in first.rows.iter().zip(LINES) {
        let points: Vec<_> = races
            .iter()
            .filter_map(|(objects, it)| {
                let same = it.rows.iter().find(|other| other.name == row.name)?;
                Some((*objects, 1e9 / Summary::of(same)?.median))
            })
            .collect();
        chart
            .draw_series(LineSeries::new(points.clone(), colour.stroke_width(2)).point_size(4))?
            .label(row.name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(3)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .label_font(("sans-serif", 13).into_font().color(&INK))
        .border_style(FAINT)
        .background_style(WHITE)
        .draw()?;
    root.present()?;
    drop(chart);
    drop(area);
    drop(root);
    Ok(Some(card(&svg, size)))
}

/// Puts the chart on a white card with rounded corners.
fn card(svg: &str, (width, height): (i32, i32)) -> String {
    let card = format!(
        "<rect x=\"0.5\" y=\"0.5\" width=\"{}\" height=\"{}\" rx=\"10\" fill=\"#ffffff\" stroke=\"#d0d7de\"/>",
        width - 1,
        height - 1,
    );
    match svg.split_once(">\n") {
        Some((opening, rest)) => format!("{opening}>\n{card}\n{rest}"),
        None => svg.to_owned(),
    }
}
