// Charts as inline SVG for the report. Pure; thread-safe.
//
// Every picture is bounded, whatever the numbers: a few ticks an axis, at most 800 points a series (of longer ones the
// lowest and highest of each of 400 stretches), 8 series, 24 bars, 12 marks. What is left out is told below the picture.
// Numbers that are not finite or beyond 1e300 are left out; differences below a millionth are drawn as none.
//
// Colours are CSS variables of the page (--ink, --muted, --grid, --series-1 ...), so one picture serves light and dark.
// Every mark has a <title>: its values on hover, and for screen readers. Names are escaped here.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace flowawr {

// & < > " ' as entities: safe in text and in quoted attributes. Control characters other than tab and line ends go.
std::string HtmlEscape(absl::string_view text);

// At most about `count` round numbers (1, 2, 2.5 or 5 times a power of ten apart) that cover [low, high]; the ends alone
// where doubles are too coarse for that, and `low` alone when the range is empty or not finite.
std::vector<double> NiceTicks(double low, double high, int count);

struct ChartPoint {
  double x = 0, y = 0;
  std::optional<double> error;  // half the length of the error bar
};

struct ChartSeries {
  std::string name;
  int colour = 1;  // --series-N
  bool has_markers = false;
  std::vector<ChartPoint> points;  // by x
};

// A vertical line where something changed; the series' lines break there.
struct ChartMark {
  double x = 0;
  std::string label;  // written beside it: a word or two
  std::string text;   // on hover
};

struct ChartAxes {
  std::string title;  // for screen readers
  std::string x_label;
  int width = 360, height = 230;  // in pixels of the page where it has the room; the chart scales with its place
  std::optional<double> y_most;   // the axis goes no higher, whatever error bars do
  std::vector<ChartMark> marks = {};
};

// Without any point: a chart that says so.
std::string LineChart(const ChartAxes& axes, const std::vector<ChartSeries>& series);

struct ChartBar {
  std::string label;
  double value = 0;  // below 0 or not finite: drawn as 0
  std::string text;  // written at the bar's end
};

// Horizontal bars in the given order, for a place about 500 pixels wide.
std::string BarChart(absl::string_view title, int colour, const std::vector<ChartBar>& bars);

}  // namespace flowawr
