#include "common/process/option_values.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <sstream>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"

namespace flowawr {
namespace {

// The value that an option takes from `text`, or the error.
template <typename Value>
std::string Taken(const CLI::Validator& accepted, const std::string& text) {
  CLI::App app("", "program");
  Value value{};
  app.add_option("--x", value)->transform(accepted);
  const char* const argv[] = {"program", "--x", text.c_str()};
  try {
    app.parse(3, argv);
  } catch (const CLI::ParseError& error) {
    return error.what();
  }
  std::ostringstream out;
  out << value;
  return out.str();
}

TEST(WholeNumber, TakesDecimalDigitsInItsRange) {
  const CLI::Validator some = WholeNumber(1, 1000), signed_ones = WholeNumber(-5, 5);
  for (const auto& [text, value] : {std::pair("1", "1"), {"1000", "1000"}, {"010", "10"}, {"+7", "7"}})
    EXPECT_EQ(Taken<int>(some, text), value) << text;
  EXPECT_EQ(Taken<int>(signed_ones, "-5"), "-5");
  EXPECT_EQ(Taken<uint64_t>(WholeNumber(0, std::numeric_limits<uint64_t>::max()), "18446744073709551615"),
            "18446744073709551615");
  for (const char* text :
       {"0", "-1", "1001", "1.5", "1e2", "0x10", "nan", "inf", "x", "", "1 2", "99999999999999999999"})
    EXPECT_EQ(Taken<int>(some, text), absl::StrCat("--x: \"", text, "\" is not a whole number from 1 to 1000"));
  EXPECT_EQ(Taken<int>(signed_ones, "-6"), "--x: \"-6\" is not a whole number from -5 to 5");
  for (const char* text : {"-1", "18446744073709551616"})
    EXPECT_EQ(Taken<uint64_t>(WholeNumber(0, std::numeric_limits<uint64_t>::max()), text),
              absl::StrCat("--x: \"", text, "\" is not a whole number from 0 to 18446744073709551615"));
}

TEST(Number, TakesFiniteNumbersInItsRange) {
  const CLI::Validator some = Number(-0.5, 1e9);
  for (const auto& [text, value] : {std::pair("-0.5", "-0.5"), {"1e9", "1e+09"}, {"0", "0"}, {".25", "0.25"}})
    EXPECT_EQ(Taken<double>(some, text), value) << text;
  for (const char* text : {"nan", "-nan", "NaN", "inf", "-inf", "1e999", "-0.6", "1000000001", "x", "", "1x"})
    EXPECT_EQ(Taken<double>(some, text), absl::StrCat("--x: \"", text, "\" is not a number from -0.5 to 1e+09"));
}

TEST(Address, HasAHostAndAPort) {
  for (const CLI::Validator& address : {AddressToListenOn(), AddressToReach()}) {
    EXPECT_EQ(Taken<std::string>(address, "127.0.0.1:65535"), "127.0.0.1:65535");
    EXPECT_EQ(Taken<std::string>(address, "[::1]:1"), "[::1]:1");
    for (const char* text :
         {"127.0.0.1:-1", "127.0.0.1:65536", "127.0.0.1:1.5", "127.0.0.1:nan", "127.0.0.1", ":5", ""})
      EXPECT_NE(Taken<std::string>(address, text).find("is not an address"), std::string::npos) << text;
  }
  EXPECT_EQ(Taken<std::string>(AddressToListenOn(), "localhost:0"), "localhost:0");
  EXPECT_NE(Taken<std::string>(AddressToReach(), "localhost:0").find("from 1 to 65535"), std::string::npos);
}

TEST(OptionValues, TellTheirRangeInTheHelp) {
  CLI::App app("", "program");
  int count = 0;
  double scale = 0;
  app.add_option("--count", count)->transform(WholeNumber(1, 1000));
  app.add_option("--scale", scale)->check(Number(-1, 1));
  EXPECT_NE(app.help().find("1 to 1000"), std::string::npos) << app.help();
  EXPECT_NE(app.help().find("-1 to 1"), std::string::npos) << app.help();
}

}  // namespace
}  // namespace flowawr
