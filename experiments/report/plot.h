// A small plotting library: typed plots in, SVG out. No colours are fixed here; see `plot_style` for the palette.
#pragma once

#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace subspect::experiments::report {

enum class Scale { linear, log };
enum class Join { line, step, none };
enum class Dash { solid, dashed, dotted };
enum class Marker { none, circle, square, triangle, diamond, cross };

/// Palette slots 0..7, distinguishable with the common colour-vision deficiencies; `ink` is the colour of the text.
constexpr int palette_size = 8;
constexpr int ink = -1;

/// How a series or a legend entry is drawn.
struct Style {
  int colour = 0;
  Join join = Join::line;
  Dash dash = Dash::solid;
  Marker marker = Marker::none;
  bool hollow = false;  ///< markers are outlines
  bool faint = false;   ///< drawn thin and pale, as context
};

/// One point. A NaN coordinate breaks the line; `low`/`high` (NaN: none) bound it along the value axis.
struct Point {
  double x = 0;
  double y = 0;
  double low = std::numeric_limits<double>::quiet_NaN();
  double high = std::numeric_limits<double>::quiet_NaN();
  double size = 1;  ///< marker size, 1 = normal
  std::string tooltip = {};
};

/// Points in drawing order under one name.
struct Series {
  std::string label;
  Style style;
  std::vector<Point> points;
  bool band = false;            ///< low..high as a shaded band instead of error bars
  bool bounds_along_x = false;  ///< low..high are x values
  bool in_legend = true;
};

struct Axis {
  std::string title;  ///< with its unit
  Scale scale = Scale::linear;
  std::optional<double> minimum;  ///< the axis reaches at least this far
  std::optional<double> maximum;
  std::vector<std::string> categories;  ///< if any: names of the positions 0, 1, 2, ...
};

/// A horizontal line across the plot with a name.
struct Guide {
  double y = 0;
  std::string label;
};

/// A rectangle of a heat map, around the position (x, y) of two axes with categories.
struct Tile {
  double x = 0;
  double y = 0;
  double shade = 0;   ///< 0 (pale) to 1 (dark)
  std::string label;  ///< in its middle, where there is room
  std::string tooltip;
};

struct LegendEntry {
  std::string label;
  Style style;
};

/// Everything there is to draw.
struct Plot {
  std::string name;  ///< file stem of the standalone file
  std::string title;
  std::string caption;      ///< a sentence below the plot; may be empty
  std::string description;  ///< for readers who cannot see it; the title is used if empty
  Axis x;
  Axis y;
  std::vector<Series> series;
  std::vector<Tile> tiles;  ///< below the series
  int tile_colour = 0;
  std::vector<Guide> guides;
  std::vector<LegendEntry> legend;  ///< replaces the entries made from the series
};

/// Size of the drawing, in the units of its viewBox.
struct Canvas {
  double width = 520;
  double height = 330;
  double font = 12.5;
};

/// Positions of ticks that lie within [minimum, maximum], at steps of 1, 2 or 5 times a power of ten (linear), or at
/// powers of ten with 2 and 5 between them where there is room (log). About `count` of them, never more than 2 count.
std::vector<double> nice_ticks(Scale scale, double minimum, double maximum, int count);

/// True where a tile, or a point of a series, can be drawn.
bool has_points(const Plot& plot);

/// Removes the plots in which nothing can be drawn.
void keep_drawable(std::vector<Plot>& plots);

/// The plot as an <svg> element for a page that includes `plot_style()`. All text in it is escaped.
std::string render_svg(const Plot& plot, const Canvas& canvas);

/// The plot as an SVG file of its own: title, plot and style, light or dark as the reader prefers.
std::string standalone_svg(const Plot& plot);

/// CSS rules of the drawing's classes; colours come from the variables of `palette_light` and `palette_dark`.
std::string_view plot_style();
std::string_view palette_light();
std::string_view palette_dark();

}  // namespace subspect::experiments::report
