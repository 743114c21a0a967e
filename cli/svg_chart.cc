#include "cli/svg_chart.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace flowawr {
namespace {

constexpr double kLeft = 50, kRight = 12, kTop = 10, kBottom = 38;

// Where the data lies, and where it lands on the picture.
struct Frame {
  double x_low, x_high, y_low, y_high, width, height;
  double X(double x) const { return kLeft + (x - x_low) / (x_high - x_low) * (width - kLeft - kRight); }
  double Y(double y) const { return height - kBottom - (y - y_low) / (y_high - y_low) * (height - kBottom - kTop); }
};

bool IsDrawable(const ChartPoint& point) { return std::isfinite(point.x) && std::isfinite(point.y); }

double ErrorOf(const ChartPoint& point) {
  return point.error.has_value() && std::isfinite(*point.error) ? *point.error : 0;
}

std::string Open(absl::string_view title, double width, double height) {
  return absl::StrFormat(R"(<svg class="chart" viewBox="0 0 %g %g" role="img" aria-label="%s">)", width, height,
                         HtmlEscape(title));
}

void AppendAxes(const ChartAxes& axes, const std::vector<double>& y_ticks, const Frame& frame, std::string* svg) {
  const double slack = 1e-9 * (frame.y_high - frame.y_low);
  for (const double tick : y_ticks) {
    if (tick < frame.y_low - slack || tick > frame.y_high + slack) continue;
    const double y = frame.Y(tick);
    absl::StrAppendFormat(svg, R"(<line class="grid" x1="%g" x2="%g" y1="%.1f" y2="%.1f"/>)", kLeft,
                          frame.width - kRight, y, y);
    absl::StrAppendFormat(svg, R"(<text class="tick" x="%g" y="%.1f" text-anchor="end">%g</text>)", kLeft - 8, y + 4,
                          tick);
  }
  for (const double tick : NiceTicks(frame.x_low, frame.x_high, frame.width > 600 ? 10 : 5)) {
    if (tick < frame.x_low || tick > frame.x_high) continue;
    absl::StrAppendFormat(svg, R"(<text class="tick" x="%.1f" y="%g" text-anchor="middle">%g</text>)", frame.X(tick),
                          frame.height - kBottom + 18, tick);
  }
  absl::StrAppendFormat(svg, R"(<line class="axis" x1="%g" x2="%g" y1="%g" y2="%g"/>)", kLeft, frame.width - kRight,
                        frame.height - kBottom, frame.height - kBottom);
  absl::StrAppendFormat(svg, R"(<text class="tick" x="%g" y="%g" text-anchor="end">%s</text>)", frame.width - kRight,
                        frame.height - 6, HtmlEscape(axes.x_label));
}

void AppendSeries(const ChartSeries& series, const Frame& frame, std::string* svg) {
  absl::StrAppendFormat(svg, R"svg(<g style="--c:var(--series-%d)">)svg", series.colour);
  std::string path;
  for (const ChartPoint& point : series.points)
    if (IsDrawable(point))
      absl::StrAppendFormat(&path, "%s%.1f %.1f", path.empty() ? "M" : "L", frame.X(point.x), frame.Y(point.y));
  if (!path.empty()) absl::StrAppendFormat(svg, R"(<path class="line" d="%s"/>)", path);
  for (const ChartPoint& point : series.points) {
    if (!IsDrawable(point)) continue;
    const double x = frame.X(point.x), y = frame.Y(point.y), error = ErrorOf(point);
    if (error > 0) {
      const double top = frame.Y(std::min(point.y + error, frame.y_high));
      const double bottom = frame.Y(std::max(point.y - error, frame.y_low));
      absl::StrAppendFormat(svg, R"(<path class="error" d="M%.1f %.1fV%.1fM%.1f %.1fh8M%.1f %.1fh8"/>)", x, top, bottom,
                            x - 4, top, x - 4, bottom);
    }
    // Without markers the circle is only there to be pointed at.
    absl::StrAppendFormat(svg,
                          R"(<circle class="%s" cx="%.1f" cy="%.1f" r="%g"><title>%s, %g: %.4g%s</title>)"
                          "</circle>",
                          series.has_markers ? "marker" : "hover", x, y, series.has_markers ? 3.5 : 6.0,
                          HtmlEscape(series.name), point.x, point.y,
                          error > 0 ? absl::StrFormat(" ± %.2g", error) : std::string());
  }
  absl::StrAppend(svg, "</g>");
}

std::string Legend(const std::vector<ChartSeries>& series) {
  std::string html = R"(<p class="legend">)";
  for (const ChartSeries& one : series)
    absl::StrAppendFormat(&html, R"html(<span><i style="background:var(--series-%d)"></i>%s</span>)html", one.colour,
                          HtmlEscape(one.name));
  return absl::StrCat(html, "</p>");
}

}  // namespace

std::string HtmlEscape(absl::string_view text) {
  std::string escaped;
  for (const char c : text) {
    switch (c) {
      case '&':
        escaped += "&amp;";
        break;
      case '<':
        escaped += "&lt;";
        break;
      case '>':
        escaped += "&gt;";
        break;
      case '"':
        escaped += "&quot;";
        break;
      case '\'':
        escaped += "&#39;";
        break;
      default:
        if (static_cast<unsigned char>(c) >= 0x20 || c == '\n' || c == '\r' || c == '\t') escaped += c;
    }
  }
  return escaped;
}

std::vector<double> NiceTicks(double low, double high, int count) {
  if (!(high > low) || count < 1) return {low};
  const double rough = (high - low) / count;
  const double power = std::pow(10, std::floor(std::log10(rough)));
  double step = 10 * power;
  for (const double factor : {5.0, 2.5, 2.0, 1.0})
    if (factor * power >= rough * (1 - 1e-9)) step = factor * power;
  std::vector<double> ticks;
  const double first = std::floor(low / step + 1e-9), last = std::ceil(high / step - 1e-9);
  for (double i = first; i <= last; ++i) ticks.push_back(i == 0 ? 0.0 : i * step);
  return ticks;
}

std::string LineChart(const ChartAxes& axes, const std::vector<ChartSeries>& series) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  Frame frame{kInfinity, -kInfinity, kInfinity, -kInfinity, axes.width * 1.0, axes.height * 1.0};
  for (const ChartSeries& one : series) {
    for (const ChartPoint& point : one.points) {
      if (!IsDrawable(point)) continue;
      frame.x_low = std::min(frame.x_low, point.x);
      frame.x_high = std::max(frame.x_high, point.x);
      frame.y_low = std::min(frame.y_low, point.y - ErrorOf(point));
      frame.y_high = std::max(frame.y_high, point.y + ErrorOf(point));
    }
  }
  std::string svg = Open(axes.title, axes.width, axes.height);
  if (frame.x_low > frame.x_high) {
    absl::StrAppendFormat(&svg, R"(<text class="tick" x="%g" y="%g" text-anchor="middle">nothing recorded yet</text>)",
                          frame.width / 2, frame.height / 2);
    return svg + "</svg>";
  }
  if (frame.x_high == frame.x_low) frame.x_high += 1;
  if (frame.y_high == frame.y_low) {
    const double margin = frame.y_high == 0 ? 1 : std::abs(frame.y_high) * 0.1;
    frame.y_low -= margin;
    frame.y_high += margin;
  }
  const std::vector<double> y_ticks = NiceTicks(frame.y_low, frame.y_high, 5);
  frame.y_low = axes.y_low.value_or(y_ticks.front());
  frame.y_high = axes.y_high.value_or(y_ticks.back());
  AppendAxes(axes, y_ticks, frame, &svg);
  for (const ChartSeries& one : series) AppendSeries(one, frame, &svg);
  return absl::StrCat(svg, "</svg>", series.size() > 1 ? Legend(series) : "");
}

std::string BarChart(absl::string_view title, int colour, const std::vector<ChartBar>& bars) {
  constexpr double kWidth = 500, kRow = 28, kLabel = 92, kText = 132;
  double largest = 0;
  for (const ChartBar& bar : bars) largest = std::max(largest, bar.value);
  std::string svg = Open(title, kWidth, std::max<double>(kRow, kRow * bars.size()));
  absl::StrAppendFormat(&svg, R"svg(<g style="--c:var(--series-%d)">)svg", colour);
  for (size_t i = 0; i < bars.size(); ++i) {
    const double y = kRow * i;
    const double length = largest > 0 ? bars[i].value / largest * (kWidth - kLabel - kText) : 0;
    absl::StrAppendFormat(&svg, R"(<text class="label" x="%g" y="%g" text-anchor="end">%s</text>)", kLabel - 10,
                          y + kRow / 2 + 5, HtmlEscape(bars[i].label));
    absl::StrAppendFormat(&svg, R"(<rect class="bar" x="%g" y="%g" width="%.1f" height="%g" rx="3"/>)", kLabel, y + 5,
                          std::max(length, 1.0), kRow - 10);
    absl::StrAppendFormat(&svg, R"(<text class="tick" x="%.1f" y="%g">%s</text>)", kLabel + std::max(length, 1.0) + 8,
                          y + kRow / 2 + 4, HtmlEscape(bars[i].text));
  }
  return absl::StrCat(svg, "</g></svg>");
}

}  // namespace flowawr
