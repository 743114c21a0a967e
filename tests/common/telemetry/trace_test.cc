#include "common/telemetry/trace.h"

#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "common/base/file.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/temp_folder.h"

namespace flowawr {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;
using Json = nlohmann::json;

absl::Time At(double seconds) { return absl::UnixEpoch() + absl::Seconds(1.7e9 + seconds); }

TraceSpan Span(const std::string& process, const std::string& track, double start, double end) {
  return {process, track, track, At(start), absl::Seconds(end - start), {{"group", "7"}}};
}

std::vector<Json> Events(const std::string& path) {
  const Json events = Json::parse(ReadFile(path).value_or(""), nullptr, false);
  EXPECT_TRUE(events.is_array()) << path;
  return events.is_array() ? events.get<std::vector<Json>>() : std::vector<Json>();
}

std::vector<Json> OfPhase(const std::string& path, const std::string& phase) {
  std::vector<Json> found;
  for (const Json& event : Events(path))
    if (event["ph"] == phase) found.push_back(event);
  return found;
}

TEST(TraceLanes, PutsWhatOverlapsOnLinesOfItsOwn) {
  TraceLanes lanes;
  EXPECT_EQ(lanes.Place(At(0), At(10)), 0);
  EXPECT_EQ(lanes.Place(At(10), At(20)), 0);  // follows
  EXPECT_EQ(lanes.Place(At(12), At(15)), 0);  // nests
  EXPECT_EQ(lanes.Place(At(14), At(22)), 1);  // overlaps
  EXPECT_EQ(lanes.Place(At(30), At(40)), 0);
  EXPECT_EQ(lanes.Place(At(22), At(25)), 0);  // came late
}

TEST(TraceWriter, WritesSpansWithTheNamesOfTheirRowsAndLines) {
  const TempFolder folder;
  {
    const auto trace = TraceWriter::Open(folder.path(), 1 << 20);
    ASSERT_TRUE(trace.ok()) << trace.status();
    (*trace)->Add(Span("learner", "run", 0, 2.5));
    (*trace)->Add(Span("actor-0", "sample", 0.25, 1));
    (*trace)->Add(Span("actor-0", "score", 1, 2));
    (*trace)->Add(Span("actor-0", "score", 1.5, 2.5));
    (*trace)->Mark("learner", "rewards swapped", At(2));
  }
  const std::string path = folder / "trace.json";
  std::map<int, std::string> rows, lines;
  for (const Json& event : OfPhase(path, "M")) {
    if (event["name"] == "process_name") rows[event["pid"]] = event["args"]["name"];
    if (event["name"] == "thread_name") lines[event["tid"]] = event["args"]["name"];
  }
  std::vector<std::string> spans;
  for (const Json& event : OfPhase(path, "X"))
    spans.push_back(absl::StrCat(rows[event["pid"]], "/", lines[event["tid"]], " ", event["name"].get<std::string>(),
                                 " ", event["ts"].get<int64_t>() - absl::ToUnixMicros(At(0)), " ",
                                 event["dur"].get<int64_t>(), " ", event["args"].dump()));
  EXPECT_THAT(spans, ElementsAre("learner/run run 0 2500000 {\"group\":\"7\"}",
                                 "actor-0/sample sample 250000 750000 {\"group\":\"7\"}",
                                 "actor-0/score score 1000000 1000000 {\"group\":\"7\"}",
                                 "actor-0/score 2 score 1500000 1000000 {\"group\":\"7\"}"));
  ASSERT_THAT(OfPhase(path, "i"), SizeIs(1));
  EXPECT_EQ(OfPhase(path, "i")[0]["name"], "rewards swapped");
}

TEST(TraceWriter, GoesOnWithTheFileOfAKilledProcess) {
  const TempFolder folder;
  for (int i = 0; i < 2; ++i) {
    TraceWriter::Open(folder.path(), 1 << 20).value()->Add(Span("actor-0", "sample", i, i + 1));
    // The machine went down while it wrote: the array's end is gone, and so is a part of an event.
    const std::string path = folder / "trace.json";
    std::filesystem::resize_file(path, std::filesystem::file_size(path) - 3);
    std::ofstream(path, std::ios::app) << ",\n{\"ph\":\"X\",\"na";
  }
  TraceWriter::Open(folder.path(), 1 << 20).value()->Add(Span("actor-0", "sample", 2, 3));
  const std::vector<Json> spans = OfPhase(folder / "trace.json", "X");
  ASSERT_THAT(spans, SizeIs(3));
  EXPECT_EQ(spans[0]["tid"], spans[2]["tid"]);
  EXPECT_EQ(spans[0]["pid"], spans[2]["pid"]);
}

TEST(TraceWriter, IsWholeWhileItIsWritten) {
  const TempFolder folder;
  const auto trace = TraceWriter::Open(folder.path(), 64 << 20).value();
  size_t seen = 0;
  for (int i = 0; seen < 3; ++i) {  // more than it keeps waiting, so that it writes now and then
    trace->Add(Span("learner", "run", i, i + 1));
    if (i % 1000 != 0 || !std::filesystem::exists(folder / "trace.json")) continue;
    const std::string text = ReadFile(folder / "trace.json").value_or("");
    if (!text.empty() && Json::parse(text, nullptr, false).is_array()) ++seen;
  }
}

TEST(TraceWriter, KeepsTheNewestWithinItsBound) {
  const TempFolder folder;
  constexpr uint64_t kMost = 64 << 10;
  for (int i = 0; i < 40; ++i) {  // each writes when it ends
    const auto trace = TraceWriter::Open(folder.path(), kMost).value();
    for (int j = 0; j < 50; ++j) trace->Add(Span("learner", "run", 100 * i + j, 100 * i + j + 1));
  }
  const std::string newest = folder / "trace.json", older = folder / "trace.1.json";
  EXPECT_LE(std::filesystem::file_size(newest) + std::filesystem::file_size(older), kMost);
  EXPECT_EQ(OfPhase(newest, "X").back()["ts"], absl::ToUnixMicros(At(100 * 39 + 49)));
  EXPECT_FALSE(OfPhase(older, "X").empty());
  EXPECT_FALSE(OfPhase(newest, "M").empty());  // names, in each file
}

TEST(TraceWriter, ForgetsRowsOfLongAgoWithTheirFile) {
  const TempFolder folder;
  const auto trace = TraceWriter::Open(folder.path(), 64 << 10).value();
  // Actors that are started anew again and again, as pods are: in all more than a timeline has rows, each lot in a file
  // of its own.
  for (int lot = 0; lot < 3; ++lot) {
    for (int i = 0; i < 2000; ++i) {
      const double start = 1e6 * lot + 100 * i;
      trace->Add(Span(absl::StrCat("actor-", lot, "-", i), "sample", start, start + 1));
    }
    const std::string newest = absl::StrCat("\"ts\":", absl::ToUnixMicros(At(1e6 * lot + 100 * 1999)));
    const auto is_written = [&] { return absl::StrContains(ReadFile(folder / "trace.json").value_or(""), newest); };
    for (const absl::Time until = absl::Now() + absl::Minutes(1); !is_written() && absl::Now() < until;)
      absl::SleepFor(absl::Milliseconds(20));  // between looks; the writer writes within a second
    ASSERT_TRUE(is_written()) << "lot " << lot;
  }
}

TEST(TraceWriter, EscapesWhatComesFromOutside) {
  const TempFolder folder;
  TraceWriter::Open(folder.path(), 1 << 20).value()->Add(Span("an\"actor\n\xff<script>", "sample", 0, 1));
  const std::vector<Json> names = OfPhase(folder / "trace.json", "M");
  ASSERT_FALSE(names.empty());
  EXPECT_EQ(names[0]["args"]["name"], "an\"actor\n\uFFFD<script>");
}

TEST(TraceWriter, NamesAFolderThatIsNone) {
  const absl::Status status = TraceWriter::Open("/nowhere/at/all", 1 << 20).status();
  EXPECT_THAT(std::string(status.message()), HasSubstr("/nowhere/at/all/trace.json"));
}

}  // namespace
}  // namespace flowawr
