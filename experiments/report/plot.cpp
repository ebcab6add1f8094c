// Drawing of plots as SVG: domains, layout, axes, series and legend.
#include "experiments/report/plot.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "experiments/report/markup.h"

namespace subspect::experiments::report {

namespace {

/// Estimated width of a character, in font sizes: that of a wide sans-serif face.
constexpr double character = 0.6;

struct Domain {
  double minimum = 0;
  double maximum = 1;
  Scale scale = Scale::linear;

  bool holds(double value) const { return std::isfinite(value) && (scale == Scale::linear || value > 0); }
  /// Where `value` lies, 0 at the minimum and 1 at the maximum.
  double place(double value) const {
    if (scale == Scale::log) return std::log(value / minimum) / std::log(maximum / minimum);
    return (value - minimum) / (maximum - minimum);
  }
};

/// Smallest and largest of the values that the axis can show.
class Extent {
 public:
  explicit Extent(const Axis& axis) : axis_(axis) {
    if (axis.minimum) add(*axis.minimum);
    if (axis.maximum) add(*axis.maximum);
  }

  void add(double value) {
    if (!std::isfinite(value) || (axis_.scale == Scale::log && value <= 0)) return;
    low_ = empty_ ? value : std::min(low_, value);
    high_ = empty_ ? value : std::max(high_, value);
    empty_ = false;
  }

  /// The domain with some air where the data, not the axis's own bounds, decide.
  Domain domain() const {
    if (!axis_.categories.empty()) return {-0.6, static_cast<double>(axis_.categories.size()) - 0.4, Scale::linear};
    if (empty_) return axis_.scale == Scale::log ? Domain{0.1, 1, Scale::log} : Domain{};
    const bool keep_low = axis_.minimum && *axis_.minimum <= low_;
    const bool keep_high = axis_.maximum && *axis_.maximum >= high_;
    if (axis_.scale == Scale::log) {
      const double air = high_ > low_ ? std::pow(high_ / low_, 0.05) : 2.0;
      return {keep_low ? low_ : low_ / air, keep_high && high_ > low_ ? high_ : high_ * air, Scale::log};
    }
    const double air = high_ > low_ ? 0.05 * (high_ - low_) : std::max(0.5, 0.1 * std::abs(high_));
    return {keep_low ? low_ : low_ - air, keep_high && high_ > low_ ? high_ : high_ + air, Scale::linear};
  }

 private:
  const Axis& axis_;
  bool empty_ = true;
  double low_ = 0;
  double high_ = 0;
};

Domain x_domain(const Plot& plot) {
  Extent extent(plot.x);
  for (const Series& series : plot.series) {
    for (const Point& point : series.points) {
      extent.add(point.x);
      if (series.bounds_along_x) extent.add(point.low), extent.add(point.high);
    }
  }
  return extent.domain();
}

Domain y_domain(const Plot& plot) {
  Extent extent(plot.y);
  for (const Guide& guide : plot.guides) extent.add(guide.y);
  for (const Series& series : plot.series) {
    for (const Point& point : series.points) {
      extent.add(point.y);
      if (!series.bounds_along_x) extent.add(point.low), extent.add(point.high);
    }
  }
  return extent.domain();
}

struct Tick {
  double value;
  std::string label;
};

std::vector<Tick> axis_ticks(const Axis& axis, const Domain& domain, int count, int64_t label_limit) {
  std::vector<Tick> ticks;
  for (size_t i = 0; i < axis.categories.size(); ++i) {
    ticks.push_back({static_cast<double>(i), shorten(axis.categories[i], label_limit)});
  }
  if (!axis.categories.empty()) return ticks;
  for (const double value : nice_ticks(domain.scale, domain.minimum, domain.maximum, count)) {
    ticks.push_back({value, format_number(std::abs(value) < 1e-12 ? 0 : value)});
  }
  return ticks;
}

std::string colour_class(int colour) {
  return colour == ink ? "ki" : fmt::format("k{}", ((colour % palette_size) + palette_size) % palette_size);
}

std::string_view dash_class(Dash dash) {
  return dash == Dash::dashed ? " dashed" : dash == Dash::dotted ? " dotted" : "";
}

/// The outline of a marker of radius `r` around (x, y).
std::string marker_path(Marker marker, double x, double y, double r) {
  switch (marker) {
    case Marker::square: {
      const double h = 0.88 * r;
      return fmt::format("M{:.1f} {:.1f}h{:.1f}v{:.1f}h{:.1f}Z", x - h, y - h, 2 * h, 2 * h, -2 * h);
    }
    case Marker::triangle:
      return fmt::format("M{:.1f} {:.1f}L{:.1f} {:.1f}L{:.1f} {:.1f}Z", x, y - 1.2 * r, x + 1.1 * r, y + 0.8 * r,
                         x - 1.1 * r, y + 0.8 * r);
    case Marker::diamond:
      return fmt::format("M{:.1f} {:.1f}L{:.1f} {:.1f}L{:.1f} {:.1f}L{:.1f} {:.1f}Z", x, y - 1.25 * r, x + 1.25 * r, y,
                         x, y + 1.25 * r, x - 1.25 * r, y);
    case Marker::cross: {
      const double a = 0.4 * r, b = 1.15 * r;
      return fmt::format(
          "M{0:.1f} {1:.1f}h{2:.1f}v{3:.1f}h{3:.1f}v{2:.1f}h{4:.1f}v{3:.1f}h{5:.1f}v{4:.1f}h{4:.1f}v{5:.1f}h{3:.1f}Z",
          x - a, y - b, 2 * a, b - a, -(b - a), -2 * a);
    }
    default:
      return fmt::format("M{0:.1f} {1:.1f}a{2:.1f} {2:.1f} 0 1 0 {3:.1f} 0a{2:.1f} {2:.1f} 0 1 0 {4:.1f} 0Z", x - r, y,
                         r, 2 * r, -2 * r);
  }
}

/// Draws one plot onto one canvas.
class Drawing {
 public:
  Drawing(const Plot& plot, const Canvas& canvas)
      : plot_(plot), canvas_(canvas), x_(x_domain(plot)), y_(y_domain(plot)) {
    lay_out();
  }

  std::string svg() const {
    const std::string& spoken = plot_.description.empty() ? plot_.title : plot_.description;
    std::string out = fmt::format(R"(<svg class="plot" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {:.0f} {:.0f}" )"
                                  R"(role="img" aria-label="{}" font-size="{}">)",
                                  canvas_.width, canvas_.height, escape(spoken), canvas_.font);
    return out + "\n" + legend_ + axes() + guides() + tiles() + all_series() + "</svg>\n";
  }

 private:
  double text_width(int64_t characters) const { return character * canvas_.font * static_cast<double>(characters); }
  double line_height() const { return 1.45 * canvas_.font; }
  double px(double x) const { return left_ + x_.place(x) * (right_ - left_); }
  double py(double y) const {
    const double place = plot_.y.categories.empty() ? y_.place(y) : 1 - y_.place(y);
    return bottom_ - place * (bottom_ - top_);
  }
  bool visible(const Point& point) const { return x_.holds(point.x) && y_.holds(point.y); }

  void lay_out() {
    make_legend();
    const auto label_limit = static_cast<int64_t>(0.42 * canvas_.width / (character * canvas_.font));
    top_ += plot_.y.title.empty() ? 0.6 * canvas_.font : 2.3 * canvas_.font;
    bottom_ = canvas_.height - (plot_.x.title.empty() ? 2.1 : 3.7) * canvas_.font;
    const int rows = std::max(2, static_cast<int>((bottom_ - top_) / (2.9 * canvas_.font)));
    y_ticks_ = axis_ticks(plot_.y, y_, rows, label_limit);
    int64_t widest = 1;
    for (const Tick& tick : y_ticks_) widest = std::max(widest, code_points(tick.label));
    left_ = text_width(widest) + 0.9 * canvas_.font;
    right_ = canvas_.width - 0.9 * canvas_.font;
    const int columns = std::max(3, static_cast<int>((right_ - left_) / (4.4 * canvas_.font)));
    x_ticks_ = axis_ticks(plot_.x, x_, columns, 12);
  }

  std::vector<LegendEntry> legend_entries() const {
    if (!plot_.legend.empty()) return plot_.legend;
    std::vector<LegendEntry> entries;
    for (const Series& series : plot_.series) {
      if (series.in_legend && !series.label.empty()) entries.push_back({series.label, series.style});
    }
    return entries.size() > 1 ? entries : std::vector<LegendEntry>{};
  }

  /// Rows of swatches and names along the top; moves `top_` below them.
  void make_legend() {
    const std::vector<LegendEntry> entries = legend_entries();
    top_ = 2;
    if (entries.empty()) return;
    const double swatch = 2.4 * canvas_.font;
    const auto longest = static_cast<int64_t>((canvas_.width - swatch - 12) / (character * canvas_.font));
    double x = 2, y = 2 + 0.7 * line_height();
    legend_ = "<g class=\"legend\">\n";
    for (const LegendEntry& entry : entries) {
      const std::string label = shorten(entry.label, longest);
      const double width = swatch + 6 + text_width(code_points(label));
      if (x > 2 && x + width > canvas_.width) x = 2, y += line_height();
      legend_ +=
          fmt::format(R"(<g class="{}{}">)", colour_class(entry.style.colour), entry.style.faint ? " faint" : "");
      if (entry.style.join != Join::none) {
        legend_ += fmt::format(R"(<path class="line{}" d="M{:.1f} {:.1f}h{:.1f}"/>)", dash_class(entry.style.dash), x,
                               y, swatch);
      }
      legend_ += marker(entry.style, x + swatch / 2, y, 1, "");
      legend_ += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\">{}</text></g>\n", x + swatch + 6, y + 0.35 * canvas_.font,
                             escape(label));
      x += width + 1.1 * canvas_.font;
    }
    legend_ += "</g>\n";
    top_ = y + 0.75 * line_height();
  }

  std::string axes() const {
    std::string out = "<g class=\"axes\" aria-hidden=\"true\">\n";
    for (const Tick& tick : y_ticks_) {
      const double y = py(tick.value);
      if (plot_.tiles.empty())
        out += fmt::format(R"(<path class="grid" d="M{:.1f} {:.1f}H{:.1f}"/>)", left_, y, right_);
      out += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"end\">{}</text>\n", left_ - 0.55 * canvas_.font,
                         y + 0.35 * canvas_.font, escape(tick.label));
    }
    out += x_axis();
    if (!plot_.y.title.empty()) {
      out += fmt::format("<text class=\"axis-title\" x=\"2\" y=\"{:.1f}\">{}</text>\n", top_ - 1.1 * canvas_.font,
                         escape(plot_.y.title));
    }
    if (!plot_.x.title.empty()) {
      out += fmt::format("<text class=\"axis-title\" x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"end\">{}</text>\n", right_,
                         canvas_.height - 0.6 * canvas_.font, escape(plot_.x.title));
    }
    return out + "</g>\n";
  }

  std::string x_axis() const {
    std::string out = fmt::format("<path class=\"frame\" d=\"M{:.1f} {:.1f}H{:.1f}\"/>\n", left_, bottom_, right_);
    double free_from = 0;
    for (const Tick& tick : x_ticks_) {
      const double half = text_width(code_points(tick.label)) / 2;
      const double x = px(tick.value);
      out += fmt::format(R"(<path class="frame" d="M{:.1f} {:.1f}v{:.1f}"/>)", x, bottom_, 0.35 * canvas_.font);
      const double at = std::clamp(x, half, std::max(half, canvas_.width - half));
      if (at - half < free_from) continue;
      free_from = at + half + 0.4 * canvas_.font;
      out += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"middle\">{}</text>\n", at,
                         bottom_ + 1.55 * canvas_.font, escape(tick.label));
    }
    return out;
  }

  std::string guides() const {
    std::string out;
    for (const Guide& guide : plot_.guides) {
      if (!y_.holds(guide.y)) continue;
      const double y = py(guide.y);
      out += fmt::format(R"(<path class="guide" d="M{:.1f} {:.1f}H{:.1f}"/>)", left_, y, right_);
      out += fmt::format("<text class=\"guide-label\" x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"end\">{}</text>\n",
                         right_ - 2, y - 0.35 * canvas_.font, escape(guide.label));
    }
    return out;
  }

  std::string tiles() const {
    if (plot_.tiles.empty()) return "";
    const double width = 0.97 * (px(1) - px(0)), height = 0.97 * std::abs(py(1) - py(0));
    std::string out = fmt::format("<g class=\"series {}\">\n", colour_class(plot_.tile_colour));
    for (const Tile& tile : plot_.tiles) {
      const double x = px(tile.x), y = py(tile.y);
      out += fmt::format(
          "<path class=\"tile\" fill-opacity=\"{:.3f}\" d=\"M{:.1f} {:.1f}h{:.1f}v{:.1f}h{:.1f}Z\"><title>{}</title>"
          "</path>\n",
          0.06 + 0.84 * std::clamp(tile.shade, 0.0, 1.0), x - width / 2, y - height / 2, width, height, -width,
          escape(tile.tooltip));
      if (text_width(code_points(tile.label)) > width || height < 1.4 * canvas_.font) continue;
      out += fmt::format("<text class=\"tile-label\" x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"middle\">{}</text>\n", x,
                         y + 0.35 * canvas_.font, escape(tile.label));
    }
    return out + "</g>\n";
  }

  std::string all_series() const {
    std::string out;
    for (const Series& series : plot_.series) {
      out += fmt::format("<g class=\"series {}{}\">\n", colour_class(series.style.colour),
                         series.style.faint ? " faint" : "");
      if (series.band) out += bands(series);
      if (series.style.join != Join::none) out += line(series);
      if (!series.band) out += bars(series);
      out += markers(series) + "</g>\n";
    }
    return out;
  }

  std::string line(const Series& series) const {
    std::string path;
    bool open = false;
    double last_y = 0;
    for (const Point& point : series.points) {
      if (!visible(point)) {
        open = false;
        continue;
      }
      const double x = px(point.x), y = py(point.y);
      if (open && series.style.join == Join::step) path += fmt::format("H{:.1f}V{:.1f}", x, y);
      if (open && series.style.join == Join::line) path += fmt::format("L{:.1f} {:.1f}", x, y);
      if (!open) path += fmt::format("M{:.1f} {:.1f}", x, y);
      open = true;
      last_y = point.y;
    }
    if (path.empty()) return "";
    return fmt::format("<path class=\"line{}\" d=\"{}\"><title>{}</title></path>\n", dash_class(series.style.dash),
                       path, escape(fmt::format("{}, last {}", series.label, format_number(last_y))));
  }

  /// Shaded areas between the bounds, one for each run of points that have both.
  std::string bands(const Series& series) const {
    std::string out, upper, lower;
    const auto close = [&] {
      if (!upper.empty()) out += fmt::format("<path class=\"band\" d=\"M{}{}Z\"/>\n", upper.substr(1), lower);
      upper.clear();
      lower.clear();
    };
    for (const Point& point : series.points) {
      if (!visible(point) || !y_.holds(point.low) || !y_.holds(point.high)) {
        close();
        continue;
      }
      upper += fmt::format("L{:.1f} {:.1f}", px(point.x), py(point.high));
      lower = fmt::format("L{:.1f} {:.1f}", px(point.x), py(point.low)) + lower;
    }
    close();
    return out;
  }

  std::string bars(const Series& series) const {
    std::string out;
    for (const Point& point : series.points) {
      if (!visible(point) || !std::isfinite(point.low) || !std::isfinite(point.high) || point.low == point.high)
        continue;
      const double x = px(point.x), y = py(point.y), cap = 3;
      if (series.bounds_along_x) {
        if (!x_.holds(point.low) || !x_.holds(point.high)) continue;
        const double a = px(point.low), b = px(point.high);
        out += fmt::format(
            R"(<path class="bar" d="M{0:.1f} {1:.1f}H{2:.1f}M{0:.1f} {3:.1f}v{4:.1f}M{2:.1f} {3:.1f}v{4:.1f}"/>)", a, y,
            b, y - cap, 2 * cap);
      } else if (y_.holds(point.low) && y_.holds(point.high)) {
        const double a = py(point.low), b = py(point.high);
        out += fmt::format(
            R"(<path class="bar" d="M{0:.1f} {1:.1f}V{2:.1f}M{3:.1f} {1:.1f}h{4:.1f}M{3:.1f} {2:.1f}h{4:.1f}"/>)", x, a,
            b, x - cap, 2 * cap);
      }
    }
    return out;
  }

  std::string marker(const Style& style, double x, double y, double size, const std::string& tooltip) const {
    if (style.marker == Marker::none) return "";
    const std::string path = marker_path(style.marker, x, y, 0.34 * canvas_.font * size);
    const std::string_view kind = style.hollow ? "mark hollow" : "mark";
    if (tooltip.empty()) return fmt::format(R"(<path class="{}" d="{}"/>)", kind, path);
    return fmt::format("<path class=\"{}\" d=\"{}\"><title>{}</title></path>\n", kind, path, escape(tooltip));
  }

  std::string markers(const Series& series) const {
    std::string out;
    for (const Point& point : series.points) {
      if (!visible(point)) continue;
      const std::string tooltip = point.tooltip.empty() ? fmt::format("{}: {}, {}", series.label,
                                                                      format_number(point.x), format_number(point.y))
                                                        : point.tooltip;
      out += marker(series.style, px(point.x), py(point.y), point.size, tooltip);
    }
    return out;
  }

  const Plot& plot_;
  const Canvas& canvas_;
  Domain x_;
  Domain y_;
  double left_ = 0, right_ = 0, top_ = 0, bottom_ = 0;
  std::vector<Tick> x_ticks_, y_ticks_;
  std::string legend_;
};

}  // namespace

bool has_points(const Plot& plot) {
  return !plot.tiles.empty() || std::any_of(plot.series.begin(), plot.series.end(), [&](const Series& series) {
    return std::any_of(series.points.begin(), series.points.end(), [&](const Point& point) {
      return std::isfinite(point.x) && std::isfinite(point.y) && (plot.x.scale == Scale::linear || point.x > 0) &&
             (plot.y.scale == Scale::linear || point.y > 0);
    });
  });
}

void keep_drawable(std::vector<Plot>& plots) {
  plots.erase(std::remove_if(plots.begin(), plots.end(), [](const Plot& plot) { return !has_points(plot); }),
              plots.end());
}

std::string render_svg(const Plot& plot, const Canvas& canvas) {
  return Drawing(plot, canvas).svg();
}

std::string standalone_svg(const Plot& plot) {
  const Canvas canvas{640, 400, 13};
  std::string out = R"(<?xml version="1.0" encoding="UTF-8"?>)"
                    "\n";
  out += fmt::format(R"(<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {0} {1}" width="{0}" height="{1}">)", 672,
                     456);
  out += fmt::format("\n<title>{}</title>\n<style>\n:root{{{}}}\n@media (prefers-color-scheme:dark){{:root{{{}}}}}\n{}",
                     escape(plot.title), palette_light(), palette_dark(), plot_style());
  out +=
      ".plot{width:640px;height:400px}.sheet{fill:var(--surface)}.heading{fill:var(--ink);font:600 16px "
      "system-ui,sans-serif}\n</style>\n";
  out += R"(<rect class="sheet" width="672" height="456"/>)";
  out += fmt::format("<text class=\"heading\" x=\"18\" y=\"32\">{}</text>\n<g transform=\"translate(16 46)\">\n",
                     escape(shorten(plot.title, 68)));
  std::string inner = render_svg(plot, canvas);
  inner.replace(0, 4, R"(<svg width="640" height="400")");
  return out + inner + "</g>\n</svg>\n";
}

}  // namespace subspect::experiments::report
