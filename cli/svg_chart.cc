#include "cli/svg_chart.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/utf8.h"

namespace flowawr {
namespace {

constexpr double kLeast = 50, kRight = 12, kTop = 10, kBottom = 38;  // kLeast: on the left, with short tick labels
constexpr double kDigitWidth = 7;                                    // of the ticks' type, in pixels
// Sums and differences of two such numbers are finite.
constexpr double kLargest = 1e300;
// An axis is at least this long, as a share of its largest number: what differs less is rounding, and ticks need digits.
constexpr double kLeastSpan = 1e-6;
constexpr size_t kStretches = 400;  // that a long series is drawn by
constexpr size_t kMostSeries = 8, kMostBars = 24, kMostMarks = 12, kMostLabelBytes = 13, kMostTextBytes = 200;

// Where the data lies, and where it lands on the picture.
struct Frame {
  double x_low, x_high, y_low, y_high, width, height, left;
  double X(double x) const { return left + (x - x_low) / (x_high - x_low) * (width - left - kRight); }
  double Y(double y) const { return height - kBottom - (y - y_low) / (y_high - y_low) * (height - kBottom - kTop); }
};

bool IsDrawable(double value) { return std::abs(value) <= kLargest; }  // false for NaN
bool IsDrawable(const ChartPoint& point) { return IsDrawable(point.x) && IsDrawable(point.y); }

double ErrorOf(const ChartPoint& point) {
  return point.error.has_value() && IsDrawable(*point.error) ? std::max(*point.error, 0.0) : 0;
}

// What of a series is drawn, and how much of it is not.
struct Drawn {
  std::vector<ChartPoint> points;
  size_t undrawable = 0;  // points
  size_t thinned = 0;     // the points that `points` stand for; 0: all are there
};

// Of a long series the lowest and the highest point of each stretch, so that no peak is lost.
Drawn Thin(const std::vector<ChartPoint>& points) {
  Drawn drawn;
  std::copy_if(points.begin(), points.end(), std::back_inserter(drawn.points),
               [](const ChartPoint& point) { return IsDrawable(point); });
  drawn.undrawable = points.size() - drawn.points.size();
  if (drawn.points.size() <= 2 * kStretches) return drawn;
  const std::vector<ChartPoint> all = std::move(drawn.points);
  drawn.points.clear();
  drawn.thinned = all.size();
  for (size_t i = 0; i < kStretches; ++i) {
    const auto begin = all.begin() + all.size() * i / kStretches, end = all.begin() + all.size() * (i + 1) / kStretches;
    const auto [low, high] =
        std::minmax_element(begin, end, [](const ChartPoint& a, const ChartPoint& b) { return a.y < b.y; });
    drawn.points.push_back(low < high ? *low : *high);
    if (low != high) drawn.points.push_back(low < high ? *high : *low);
  }
  return drawn;
}

// Makes [low, high] long enough to be divided.
void Widen(double* low, double* high) {
  const double size = std::max({std::abs(*low), std::abs(*high), 1e-290});
  if (*high - *low >= kLeastSpan * size) return;
  const double margin = size == 1e-290 ? 1 : 0.1 * size;
  *low = std::max(*low - margin, -kLargest);
  *high = std::min(*high + margin, kLargest);
}

// Digits enough to tell ticks apart that are `step` from each other.
std::string TickLabel(double tick, double step) {
  const double digits = tick == 0 || !(step > 0) ? 1 : std::ceil(std::log10(std::abs(tick) / step)) + 2;
  return absl::StrFormat("%.*g", static_cast<int>(std::clamp(digits, 6.0, 12.0)), tick);
}

double StepOf(const std::vector<double>& ticks) { return ticks.size() > 1 ? ticks[1] - ticks[0] : 0; }

std::string Open(absl::string_view title, double width, double height) {
  return absl::StrFormat(R"(<svg class="chart" viewBox="0 0 %g %g" role="img" aria-label="%s">)", width, height,
                         HtmlEscape(TruncateUtf8(title, kMostTextBytes)));
}

void AppendAxes(const ChartAxes& axes, const std::vector<double>& y_ticks, const Frame& frame, std::string* svg) {
  const double slack = 1e-9 * (frame.y_high - frame.y_low);
  for (const double tick : y_ticks) {
    if (tick < frame.y_low - slack || tick > frame.y_high + slack) continue;
    const double y = frame.Y(tick);
    absl::StrAppendFormat(svg, R"(<line class="grid" x1="%g" x2="%g" y1="%.1f" y2="%.1f"/>)", frame.left,
                          frame.width - kRight, y, y);
    absl::StrAppendFormat(svg, R"(<text class="tick" x="%g" y="%.1f" text-anchor="end">%s</text>)", frame.left - 8,
                          y + 4, TickLabel(tick, StepOf(y_ticks)));
  }
  const std::vector<double> x_ticks = NiceTicks(frame.x_low, frame.x_high, frame.width > 600 ? 10 : 5);
  for (const double tick : x_ticks) {
    if (tick < frame.x_low || tick > frame.x_high) continue;
    absl::StrAppendFormat(svg, R"(<text class="tick" x="%.1f" y="%g" text-anchor="middle">%s</text>)", frame.X(tick),
                          frame.height - kBottom + 18, TickLabel(tick, StepOf(x_ticks)));
  }
  absl::StrAppendFormat(svg, R"(<line class="axis" x1="%g" x2="%g" y1="%g" y2="%g"/>)", frame.left,
                        frame.width - kRight, frame.height - kBottom, frame.height - kBottom);
  absl::StrAppendFormat(svg, R"(<text class="tick" x="%g" y="%g" text-anchor="end">%s</text>)", frame.width - kRight,
                        frame.height - 6, HtmlEscape(axes.x_label));
}

// Lines from top to bottom where something changed. Only the first few have their text written: it would overlap.
void AppendMarks(const ChartAxes& axes, const Frame& frame, std::string* svg) {
  for (size_t i = 0; i < std::min(axes.marks.size(), kMostMarks); ++i) {
    const ChartMark& mark = axes.marks[i];
    if (!(mark.x >= frame.x_low && mark.x <= frame.x_high)) continue;
    const double x = frame.X(mark.x);
    const std::string text = HtmlEscape(TruncateUtf8(mark.text, kMostTextBytes));
    absl::StrAppendFormat(svg, R"(<g><title>%s</title><path class="mark" d="M%.1f %gV%g"/>)", text, x, kTop,
                          frame.height - kBottom);
    const bool is_right = x > frame.width / 2;
    absl::StrAppendFormat(svg, R"(<text class="label" x="%.1f" y="%g" text-anchor="%s">%s</text></g>)",
                          is_right ? x - 5 : x + 5, kTop + 12 + 15 * static_cast<double>(i % 4),
                          is_right ? "end" : "start", HtmlEscape(TruncateUtf8(mark.label, 48)));
  }
}

// Whether something changed between two points, so that no line leads from one to the other.
bool IsBroken(const std::vector<ChartMark>& marks, const ChartPoint& from, const ChartPoint& to) {
  return std::any_of(marks.begin(), marks.end(),
                     [&](const ChartMark& mark) { return from.x <= mark.x && mark.x < to.x; });
}

void AppendSeries(const ChartAxes& axes, const ChartSeries& series, const std::vector<ChartPoint>& points,
                  const Frame& frame, std::string* svg) {
  absl::StrAppendFormat(svg, R"svg(<g style="--c:var(--series-%d)">)svg", series.colour);
  std::string path;
  for (size_t i = 0; i < points.size(); ++i)
    absl::StrAppendFormat(&path, "%s%.1f %.1f", i == 0 || IsBroken(axes.marks, points[i - 1], points[i]) ? "M" : "L",
                          frame.X(points[i].x), frame.Y(points[i].y));
  if (!path.empty()) absl::StrAppendFormat(svg, R"(<path class="line" d="%s"/>)", path);
  const std::string name = HtmlEscape(TruncateUtf8(series.name, kMostTextBytes));
  for (const ChartPoint& point : points) {
    const double x = frame.X(point.x), y = frame.Y(point.y), error = ErrorOf(point);
    if (error > 0) {
      const double top = frame.Y(std::min(point.y + error, frame.y_high));
      const double bottom = frame.Y(std::max(point.y - error, frame.y_low));
      absl::StrAppendFormat(svg, R"(<path class="error" d="M%.1f %.1fV%.1fM%.1f %.1fh8M%.1f %.1fh8"/>)", x, top, bottom,
                            x - 4, top, x - 4, bottom);
    }
    // Without markers the circle is only there to be pointed at; a line of one point has nothing else to be seen by.
    const bool is_seen = series.has_markers || points.size() == 1;
    absl::StrAppendFormat(svg,
                          R"(<circle class="%s" cx="%.1f" cy="%.1f" r="%g"><title>%s, %g: %.4g%s</title>)"
                          "</circle>",
                          is_seen ? "marker" : "hover", x, y, is_seen ? 3.5 : 6.0, name, point.x, point.y,
                          error > 0 ? absl::StrFormat(" ± %.2g", error) : std::string());
  }
  absl::StrAppend(svg, "</g>");
}

// What of the data the picture does not show.
std::string Remarks(const std::vector<ChartSeries>& series, const std::vector<Drawn>& drawn) {
  size_t undrawable = 0, thinned = 0;
  for (const Drawn& one : drawn) undrawable += one.undrawable, thinned = std::max(thinned, one.thinned);
  std::string html;
  if (thinned > 0)
    absl::StrAppend(&html, R"(<span class="remark">)", thinned, " points, by the lowest and highest of each of ", kStretches,
                    " stretches</span>");
  if (undrawable > 0)
    absl::StrAppend(&html, R"(<span class="remark">)", undrawable, undrawable == 1 ? " value" : " values",
                    " missing or too large to be drawn</span>");
  if (series.size() > drawn.size())
    absl::StrAppend(&html, R"(<span class="remark">)", series.size() - drawn.size(), " more series are left out</span>");
  return html;
}

std::string Legend(const std::vector<ChartSeries>& series, const std::vector<Drawn>& drawn) {
  std::string html;
  for (size_t i = 0; series.size() > 1 && i < drawn.size(); ++i)
    absl::StrAppendFormat(&html, R"html(<span><i style="background:var(--series-%d)"></i>%s</span>)html",
                          series[i].colour, HtmlEscape(TruncateUtf8(series[i].name, kMostTextBytes)));
  absl::StrAppend(&html, Remarks(series, drawn));
  return html.empty() ? "" : absl::StrCat(R"(<p class="legend">)", html, "</p>");
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
  if (!(high > low) || count < 1 || !IsDrawable(low) || !IsDrawable(high)) return {low};
  const double rough = (high - low) / count;
  const double power = std::pow(10, std::floor(std::log10(rough)));
  double step = 10 * power;
  for (const double factor : {5.0, 2.5, 2.0, 1.0})
    if (factor * power >= rough * (1 - 1e-9)) step = factor * power;
  const double first = std::floor(low / step + 1e-9), last = std::ceil(high / step - 1e-9);
  // Where a double no longer counts by ones (or the step is 0 by rounding) there are no ticks between the ends.
  if (!(std::max(std::abs(first), std::abs(last)) < 1e9)) return {low, high};
  std::vector<double> ticks;
  for (double i = first; i <= last; ++i) ticks.push_back(i == 0 ? 0.0 : i * step);
  return ticks;
}

std::string LineChart(const ChartAxes& axes, const std::vector<ChartSeries>& series) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  Frame frame{kInfinity, -kInfinity, kInfinity, -kInfinity, axes.width * 1.0, axes.height * 1.0, kLeast};
  std::vector<Drawn> drawn;
  for (size_t i = 0; i < std::min(series.size(), kMostSeries); ++i) {
    drawn.push_back(Thin(series[i].points));
    for (const ChartPoint& point : drawn.back().points) {
      frame.x_low = std::min(frame.x_low, point.x);
      frame.x_high = std::max(frame.x_high, point.x);
      frame.y_low = std::min(frame.y_low, std::max(point.y - ErrorOf(point), -kLargest));
      frame.y_high = std::max(frame.y_high, std::min(point.y + ErrorOf(point), kLargest));
    }
  }
  std::string svg = Open(axes.title, axes.width, axes.height);
  if (frame.x_low > frame.x_high) {
    absl::StrAppendFormat(&svg, R"(<text class="tick" x="%g" y="%g" text-anchor="middle">nothing recorded yet</text>)",
                          frame.width / 2, frame.height / 2);
    return absl::StrCat(svg, "</svg>", Legend({}, drawn));
  }
  if (frame.x_high == frame.x_low) frame.x_high += 1;
  Widen(&frame.x_low, &frame.x_high);
  Widen(&frame.y_low, &frame.y_high);
  const std::vector<double> y_ticks = NiceTicks(frame.y_low, frame.y_high, 5);
  frame.y_low = y_ticks.front();
  frame.y_high = std::min(y_ticks.back(), axes.y_most.value_or(kLargest));
  for (const double tick : y_ticks)
    frame.left = std::max(frame.left, 12 + kDigitWidth * TickLabel(tick, StepOf(y_ticks)).size());
  AppendAxes(axes, y_ticks, frame, &svg);
  AppendMarks(axes, frame, &svg);
  for (size_t i = 0; i < drawn.size(); ++i) AppendSeries(axes, series[i], drawn[i].points, frame, &svg);
  return absl::StrCat(svg, "</svg>", Legend(series, drawn));
}

std::string BarChart(absl::string_view title, int colour, const std::vector<ChartBar>& bars) {
  constexpr double kWidth = 500, kRow = 28, kLabel = 92, kText = 132;
  const size_t shown = std::min(bars.size(), kMostBars);
  const auto value_of = [](const ChartBar& bar) { return IsDrawable(bar.value) ? std::max(bar.value, 0.0) : 0; };
  double largest = 0;
  for (size_t i = 0; i < shown; ++i) largest = std::max(largest, value_of(bars[i]));
  std::string svg = Open(title, kWidth, std::max<double>(kRow, kRow * shown));
  absl::StrAppendFormat(&svg, R"svg(<g style="--c:var(--series-%d)">)svg", colour);
  for (size_t i = 0; i < shown; ++i) {
    const double y = kRow * i;
    const double length = largest > 0 ? value_of(bars[i]) / largest * (kWidth - kLabel - kText) : 0;
    absl::StrAppendFormat(&svg, R"(<text class="label" x="%g" y="%g" text-anchor="end">%s</text>)", kLabel - 10,
                          y + kRow / 2 + 5, HtmlEscape(TruncateUtf8(bars[i].label, kMostLabelBytes)));
    absl::StrAppendFormat(&svg, R"(<rect class="bar" x="%g" y="%g" width="%.1f" height="%g" rx="3"/>)", kLabel, y + 5,
                          std::max(length, 1.0), kRow - 10);
    absl::StrAppendFormat(&svg, R"(<text class="tick" x="%.1f" y="%g">%s</text>)", kLabel + std::max(length, 1.0) + 8,
                          y + kRow / 2 + 4, HtmlEscape(TruncateUtf8(bars[i].text, kMostTextBytes)));
  }
  absl::StrAppend(&svg, "</g></svg>");
  if (bars.size() > shown)
    absl::StrAppend(&svg, R"(<p class="legend">and )", bars.size() - shown, " more that are not drawn</p>");
  return svg;
}

}  // namespace flowawr
