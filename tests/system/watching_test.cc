// What people look at while a run goes on and after it: the live page, JSON logs and the timeline of a real run.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "common/base/file.h"
#include "common/base/host_port.h"
#include "common/rpc/endpoint_file.h"
#include "tests/system/live_run.h"
#include "tests/system/terminal.h"
#include "tests/testing/http_get.h"

namespace flowawr {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsSupersetOf;
using ::testing::Not;
using Json = nlohmann::json;

std::vector<Json> LinesOf(const std::string& path) {
  std::vector<Json> lines;
  for (const absl::string_view line : absl::StrSplit(ReadFile(path).value_or(""), '\n', absl::SkipEmpty())) {
    lines.push_back(Json::parse(line, nullptr, false));
    EXPECT_TRUE(lines.back().is_object()) << path << ": " << line;
  }
  return lines;
}

std::vector<Json> TraceOf(const std::string& path) {
  const Json events = Json::parse(ReadFile(path).value_or(""), nullptr, false);
  EXPECT_TRUE(events.is_array()) << path;
  return events.is_array() ? events.get<std::vector<Json>>() : std::vector<Json>();
}

// Of a process that may have been killed within a write: up to the last whole event, as Perfetto reads such a file.
std::vector<Json> CutTraceOf(const std::string& path) {
  const std::string text = ReadFile(path).value_or("");
  Json events = Json::parse(text, nullptr, false);
  if (events.is_discarded()) events = Json::parse(text.substr(0, text.rfind("},\n") + 1) + "]", nullptr, false);
  EXPECT_TRUE(events.is_array()) << path;
  return events.is_array() ? events.get<std::vector<Json>>() : std::vector<Json>();
}

struct Interval {
  int64_t begin = 0, end = 0;
  std::string name;
};

// The spans of each line of the timeline, by begin; those that begin together with the longest first.
std::map<std::pair<int64_t, int64_t>, std::vector<Interval>> SpansByLine(const std::vector<Json>& events) {
  std::map<std::pair<int64_t, int64_t>, std::vector<Interval>> lines;
  for (const Json& event : events)
    if (event["ph"] == "X")
      lines[{event["pid"], event["tid"]}].push_back(
          {event["ts"], event["ts"].get<int64_t>() + event["dur"].get<int64_t>(), event["name"]});
  for (auto& [line, spans] : lines)
    std::sort(spans.begin(), spans.end(), [](const Interval& a, const Interval& b) {
      return a.begin != b.begin ? a.begin < b.begin : a.end > b.end;
    });
  return lines;
}

TEST(SystemWatching, TellsTheStoryOfARunInJsonAndInATimeline) {
  LiveRun run;
  ASSERT_EQ(run.Start({"--log-format", "json"}).Wait(), 0);
  std::set<std::string> processes;
  std::set<uint64_t> updates;
  std::string run_id;
  for (const fs::directory_entry& log : fs::directory_iterator(run.run_dir() + "/logs"))
    for (const Json& line : LinesOf(log.path().string())) {
      for (const char* field : {"time", "level", "process", "message"}) EXPECT_TRUE(line.contains(field)) << line;
      processes.insert(line.value("process", ""));
      if (line.contains("run")) run_id = line["run"];
      if (line.contains("update") && line.contains("reward")) updates.insert(line["update"].get<uint64_t>());
    }
  EXPECT_THAT(processes, IsSupersetOf({"learner", "actor-0", "actor-1", "reward_server"}));
  EXPECT_EQ(absl::StrCat(run_id, "\n"), ReadFile(run.run_dir() + "/run_id").value_or(""));
  std::set<uint64_t> trained;
  for (const Json& line : LinesOf(run.run_dir() + "/metrics.jsonl"))
    if (line["kind"] == "update") trained.insert(line["update"].get<uint64_t>());
  EXPECT_EQ(updates, trained) << "a line an update";

  const std::vector<Json> events = TraceOf(run.run_dir() + "/trace.json");
  std::map<int64_t, std::string> rows;
  for (const Json& event : events)
    if (event["ph"] == "M" && event["name"] == "process_name") rows[event["pid"]] = event["args"]["name"];
  std::set<std::string> learner_names, actor_names;
  for (const auto& [line, spans] : SpansByLine(events)) {
    const bool is_learner = rows[line.first] == "learner";
    int64_t covered = 0, until = spans.front().begin;
    std::vector<int64_t> open;  // ends of the spans around
    for (const Interval& span : spans) {
      (is_learner ? learner_names : actor_names).insert(span.name);
      while (!open.empty() && open.back() <= span.begin) open.pop_back();
      if (!open.empty()) {
        EXPECT_LE(span.end, open.back()) << span.name << " neither follows nor nests on " << rows[line.first];
      }
      open.push_back(span.end);
      covered += std::max<int64_t>(0, span.end - std::max(until, span.begin));
      until = std::max(until, span.end);
    }
    if (is_learner) {
      EXPECT_GT(static_cast<double>(covered), 0.9 * static_cast<double>(until - spans.front().begin));
    }
  }
  EXPECT_THAT(learner_names, IsSupersetOf({"update", "wait", "train", "step", "publish", "evaluate"}));
  EXPECT_THAT(actor_names, IsSupersetOf({"encode", "sample", "decode", "score"}));
}

TEST(SystemWatching, ShowsARunInABrowserWhileItGoesOn) {
  LiveRun run({"train.updates=1000", "evaluation.every_updates=1"});
  run.Start();
  run.WaitForUpdate(3);
  ASSERT_TRUE(run.WaitForOutput("live page: http://"));
  const std::string endpoint = ReadEndpointFile(run.run_dir() + "/endpoints/learner.metrics").value_or("");
  EXPECT_THAT(run.process().log(), HasSubstr(absl::StrCat("live page: http://", endpoint, "/")));
  const auto get = [&](const std::string& path) { return HttpGet(endpoint, path); };
  EXPECT_THAT(get("/").body, AllOf(HasSubstr("<!DOCTYPE html>"), HasSubstr("api/status.json")));
  const Json status = Json::parse(get("/api/status.json").body, nullptr, false);
  EXPECT_GE(status["update"], 3);
  EXPECT_EQ(status["actors"].size(), 2);
  const Json history = Json::parse(get("/api/history.json").body, nullptr, false);
  EXPECT_GE(history["curves"]["reward_mean"].size(), 2);
  EXPECT_GE(history["heldout"].size(), 1);
  const Json sets = Json::parse(get("/api/pictures.json").body, nullptr, false)["sets"];
  std::set<std::string> names;
  for (const Json& set : sets) names.insert(set["set"].get<std::string>());
  EXPECT_THAT(names, IsSupersetOf({"base", "latest", "update-000001"}));
  EXPECT_TRUE(absl::StartsWith(get("/images/base/000.png").body, "\x89PNG"));
  EXPECT_EQ(get("/images/../config.yaml").code, 404);
  EXPECT_EQ(get("/config.yaml").code, 404);
  // A killed run leaves a timeline that can be opened, of what was written by then: it is, within a second.
  ASSERT_TRUE(AwaitText(run.run_dir() + "/trace.json", R"("ph":"X")", run.process()));
  const pid_t learner = run.PidOf("learner");
  ASSERT_GT(learner, 0);
  ASSERT_EQ(kill(learner, SIGKILL), 0);
  run.process().Wait();
  EXPECT_FALSE(SpansByLine(CutTraceOf(run.run_dir() + "/trace.json")).empty());
}

bool AwaitOnScreen(Terminal& terminal, const std::string& text, const Process& process) {
  const absl::Time limit = absl::Now() + kPatience;
  bool has_ended = false;
  while (absl::Now() < limit && !has_ended) {
    if (absl::StrContains(terminal.written(), text)) return true;
    has_ended = process.WaitForExit(absl::Milliseconds(20));
  }
  ADD_FAILURE() << "\"" << text << "\" did not appear on the terminal";
  return false;
}

TEST(SystemWatching, WatchesInColourOnATerminalUnlessAskedNotTo) {
  LiveRun run({"train.updates=1000"});
  run.Start();
  run.WaitForUpdate(2);
  for (const bool is_plain : {false, true}) {
    Terminal terminal(100, 40);
    std::vector<std::string> command = {"env", "TERM=xterm", is_plain ? "NO_COLOR=1" : "NO_COLOR=",
                                        SystemProgram("flowawr"), "watch",
                                        run.run_dir()};
    Process watch(command, terminal.path());
    ASSERT_TRUE(AwaitOnScreen(terminal, "trend", watch));
    watch.Kill();
    EXPECT_EQ(absl::StrContains(terminal.written(), "\x1b[1m"), !is_plain);
    EXPECT_THAT(terminal.Screen(), Contains(HasSubstr("trend")));
  }
  const CommandResult compared =
      Flowawr({"compare", run.run_dir(), run.run_dir(), "--out", run.folder() / "compare.html"});
  EXPECT_EQ(compared.exit_code, 0) << compared.output;
  EXPECT_THAT(ReadFile(run.folder() / "compare.html").value_or(""), HasSubstr("2 runs compared"));
}

}  // namespace
}  // namespace flowawr
