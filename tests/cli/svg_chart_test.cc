#include "cli/svg_chart.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

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
      LineChart({"title", "update", 262, 248, 0.0, 1.0}, {{"held out", 2, true, {{0, 0, std::nullopt}, {10, 1, 0.5}}}});
  // The plot is 200 wide from 50 and 200 high from 10.
  EXPECT_THAT(svg, HasSubstr("d=\"M50.0 210.0L250.0 10.0\""));
  EXPECT_THAT(svg, HasSubstr("class=\"error\" d=\"M250.0 10.0V110.0"));
  EXPECT_THAT(svg, HasSubstr("held out, 10: 1 ± 0.5"));
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

TEST(BarChartTest, DrawsBarsInProportion) {
  const std::string svg = BarChart("t", 1, {{"<b>", 4, "four"}, {"half", 2, "two"}, {"none", 0, "zero"}});
  EXPECT_THAT(svg, HasSubstr("width=\"276.0\""));  // the room between labels and texts
  EXPECT_THAT(svg, HasSubstr("width=\"138.0\""));
  EXPECT_THAT(svg, HasSubstr("&lt;b&gt;"));
  EXPECT_THAT(svg, Not(HasSubstr("<b>")));
}

}  // namespace
}  // namespace flowawr
