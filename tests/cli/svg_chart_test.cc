#include "cli/svg_chart.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>

#include "absl/strings/str_cat.h"

namespace flowawr {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

TEST(NiceTicksTest, AreRoundAndCoverTheRange) {
  EXPECT_THAT(NiceTicks(0, 1, 5), testing::Pointwise(testing::DoubleNear(1e-12), {0.0, 0.2, 0.4, 0.6, 0.8, 1.0}));
  EXPECT_THAT(NiceTicks(3, 97, 5), ElementsAre(0, 20, 40, 60, 80, 100));
  EXPECT_THAT(NiceTicks(-7, -1, 3), ElementsAre(-8, -6, -4, -2, 0));
  EXPECT_THAT(NiceTicks(4, 4, 5), ElementsAre(4));
}

TEST(HtmlEscapeTest, LeavesNothingThatHtmlReads) {
  EXPECT_EQ(HtmlEscape("<a href=\"x\">'&'</a>"), "&lt;a href=&quot;x&quot;&gt;&#39;&amp;&#39;&lt;/a&gt;");
  EXPECT_EQ(HtmlEscape(absl::string_view("a\0\x1b"
                                         "b\n",
                                         5)),
            "ab\n");
}

TEST(LineChartTest, DrawsPointsAtTheirPlacesAndErrorBars) {
  const std::string svg =
      LineChart({"title", "update", 262, 248, 1.0}, {{"held out", 2, true, {{0, 0, std::nullopt}, {10, 1, 0.5}}}});
  // The plot is 200 wide from 50 and 200 high from 10.
  EXPECT_THAT(svg, HasSubstr("d=\"M50.0 210.0L250.0 10.0\""));
  EXPECT_THAT(svg, HasSubstr("class=\"error\" d=\"M250.0 10.0V110.0"));
  EXPECT_THAT(svg, HasSubstr("held out, 10: 1 ± 0.5"));
}

TEST(LineChartTest, EndsWithTheDataBelowTheMostThatThereIs) {
  const std::vector<ChartSeries> low = {{"held out", 2, true, {{0, 0, std::nullopt}, {10, 0.5, std::nullopt}}}};
  EXPECT_EQ(LineChart({"t", "x", 262, 248, 1.0}, low), LineChart({"t", "x", 262, 248}, low));
}

TEST(LineChartTest, LeavesOutWhatIsNotFinite) {
  const double nan = std::numeric_limits<double>::quiet_NaN(), inf = std::numeric_limits<double>::infinity();
  const std::string svg =
      LineChart({"t", "x"}, {{"s", 1, false, {{0, nan, {}}, {1, 2, nan}, {2, inf, {}}, {3, 4, {}}}}});
  EXPECT_THAT(svg, Not(HasSubstr("nan")));
  EXPECT_THAT(svg, Not(HasSubstr("inf")));
  EXPECT_THAT(svg, HasSubstr("s, 3: 4"));
}

TEST(LineChartTest, SaysThatThereIsNothing) {
  EXPECT_THAT(LineChart({"t", "x"}, {{"s", 1, false, {}}}), HasSubstr("nothing recorded yet"));
}

TEST(LineChartTest, DrawsASinglePointAndAFlatLine) {
  EXPECT_THAT(LineChart({"t", "x"}, {{"s", 1, true, {{5, 0, {}}}}}), Not(HasSubstr("nan")));
  EXPECT_THAT(LineChart({"t", "x"}, {{"s", 1, true, {{5, 3, {}}, {6, 3, {}}}}}), Not(HasSubstr("nan")));
}

int Count(const std::string& text, const std::string& part) {
  int count = 0;
  for (size_t at = 0; (at = text.find(part, at)) != std::string::npos; at += part.size()) ++count;
  return count;
}

// What holds for every picture: few marks, numbers that a browser can place.
void ExpectBounded(const std::string& svg, const std::string& of) {
  EXPECT_LT(svg.size(), 400000u) << of;
  EXPECT_LE(Count(svg, "class=\"tick\""), 40) << of;
  EXPECT_LE(Count(svg, "<circle"), 1600) << of;
  for (const char* number : {"nan", "inf", "NaN"}) EXPECT_EQ(svg.find(number), std::string::npos) << of;
}

std::string ChartOf(const std::vector<double>& values) {
  ChartSeries series{"s", 1, false, {}};
  for (size_t i = 0; i < values.size(); ++i) series.points.push_back({static_cast<double>(i), values[i], {}});
  return LineChart({"t", "x"}, {series});
}

TEST(LineChartTest, DrawsValuesThatDifferByRoundingAsAFlatLine) {
  const std::string svg = ChartOf({.7, .7000000000000001});
  ExpectBounded(svg, ".7");
  EXPECT_THAT(svg, HasSubstr(">0.7<"));
  EXPECT_LE(Count(svg, "class=\"grid\""), 8);
}

TEST(LineChartTest, TellsTicksApartThatAreCloseToEachOther) {
  const std::string svg = ChartOf({1000000, 1000008});
  for (const char* tick : {">1000000<", ">1000002<", ">1000004<", ">1000006<", ">1000008<"})
    EXPECT_THAT(svg, HasSubstr(tick));
}

TEST(LineChartTest, IsBoundedWhateverTheNumbers) {
  constexpr double kMax = std::numeric_limits<double>::max(), kTiny = std::numeric_limits<double>::denorm_min();
  const double nasty[] = {0, -0.0, 1, -1, .7, .7000000000000001, 1e300, -1e300, kMax, -kMax, kTiny, -kTiny, 1e-310,
                          9007199254740993.0, 9007199254740992.0, std::nan(""), INFINITY, -INFINITY, 1e16, 3e-9};
  for (const double a : nasty) {
    for (const double b : nasty) {
      ExpectBounded(ChartOf({a, b}), absl::StrCat(a, " and ", b));
      ExpectBounded(LineChart({"t", "x"}, {{"s", 1, true, {{a, b, b}, {b, a, a}}}}), absl::StrCat(a, " against ", b));
      EXPECT_LE(NiceTicks(a, b, 5).size(), 13u) << a << " to " << b;
    }
  }
  std::mt19937_64 random(1);
  for (int i = 0; i < 20000; ++i) {  // doubles of any bits, and neighbours of doubles of any bits
    double a, b;
    const uint64_t bits = random(), near = bits + random() % 64, other = random();
    std::memcpy(&a, &bits, 8);
    std::memcpy(&b, i % 2 == 0 ? &near : &other, 8);
    ExpectBounded(ChartOf({a, b}), absl::StrCat(a, " and ", b));
  }
}

TEST(LineChartTest, DrawsALongSeriesByTheEndsOfItsStretchesAndSaysSo) {
  std::vector<double> values(100000);
  for (size_t i = 0; i < values.size(); ++i) values[i] = std::sin(static_cast<double>(i));
  values[77777] = 40;
  const std::string svg = ChartOf(values);
  ExpectBounded(svg, "long");
  EXPECT_LE(Count(svg, "<circle"), 800);
  EXPECT_THAT(svg, HasSubstr("s, 77777: 40"));  // the peak is there
  EXPECT_THAT(svg, HasSubstr("100000 points, by the lowest and highest of each of 400 stretches"));
}

TEST(LineChartTest, SaysHowManyValuesAreMissing) {
  EXPECT_THAT(ChartOf({1, std::nan(""), 2, 1e305}), HasSubstr("2 values missing or too large to be drawn"));
  EXPECT_THAT(ChartOf({std::nan("")}), HasSubstr("1 value missing"));
}

TEST(LineChartTest, MarksWhereSomethingChanged) {
  ChartAxes axes{"t", "x"};
  axes.marks = {{2, "a > b", "from a to b"}, {99, "outside", "outside"}};
  const std::string svg = LineChart(axes, {{"s", 1, false, {{0, 1, {}}, {5, 2, {}}}}});
  EXPECT_THAT(svg, HasSubstr("a &gt; b"));
  EXPECT_THAT(svg, HasSubstr("<title>from a to b</title>"));
  EXPECT_THAT(svg, Not(testing::ContainsRegex("d=\"M[^\"]*L")));  // no line leads across
  EXPECT_THAT(svg, Not(HasSubstr("outside")));
}

TEST(BarChartTest, IsBoundedWhateverTheBars) {
  std::vector<ChartBar> bars(1000, {std::string(1000, 'x'), INFINITY, std::string(5000, 'y')});
  bars.push_back({"n", std::nan(""), "n"});
  const std::string svg = BarChart(std::string(100000, 't'), 1, bars);
  ExpectBounded(svg, "bars");
  EXPECT_EQ(Count(svg, "<rect"), 24);
  EXPECT_THAT(svg, HasSubstr("and 977 more"));
}

TEST(BarChartTest, DrawsBarsInProportion) {
  const std::string svg = BarChart("t", 1, {{"<b>", 4, "four"}, {"half", 2, "two"}, {"none", 0, "zero"}});
  EXPECT_THAT(svg, HasSubstr("width=\"276.0\""));  // the room between labels and texts
  EXPECT_THAT(svg, HasSubstr("width=\"138.0\""));
  EXPECT_THAT(svg, HasSubstr("&lt;b&gt;"));
  EXPECT_THAT(svg, Not(HasSubstr("<b>")));
}

}  // namespace
}  // namespace flowawr
