#include "common/telemetry/log.h"

#include <cmath>
#include <cstdlib>
#include <ctime>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/ascii.h"
#include "absl/synchronization/mutex.h"
#include "spdlog/pattern_formatter.h"
#include "spdlog/sinks/stdout_color_sinks.h"

namespace flowawr {
namespace {

using Json = nlohmann::ordered_json;

// Of this process. The lock is held for copies only.
struct LogIdentity {
  absl::Mutex mutex;
  std::string process ABSL_GUARDED_BY(mutex), run ABSL_GUARDED_BY(mutex);
  bool is_json ABSL_GUARDED_BY(mutex) = false;
};

LogIdentity& Identity() {
  static LogIdentity* const identity = new LogIdentity;  // lives as long as threads may log
  return *identity;
}

thread_local std::vector<LogField> thread_fields;

Json AsJson(const LogValue& value) {
  if (const uint64_t* count = std::get_if<uint64_t>(&value)) return *count;
  if (const double* number = std::get_if<double>(&value)) return std::isfinite(*number) ? Json(*number) : Json();
  return std::get<std::string>(value);
}

class JsonLines : public spdlog::formatter {
 public:
  void format(const spdlog::details::log_msg& message, spdlog::memory_buf_t& out) override {
    const auto level = spdlog::level::to_string_view(message.level);
    out.append(JsonLogLine(absl::FromChrono(message.time), {level.data(), level.size()},
                           {message.payload.data(), message.payload.size()}));
  }
  std::unique_ptr<spdlog::formatter> clone() const override { return std::make_unique<JsonLines>(); }
};

// %v, the message, of which parts come from others (names of actors, prompts, errors of servers).
class CleanMessage : public spdlog::custom_flag_formatter {
 public:
  void format(const spdlog::details::log_msg& message, const std::tm&, spdlog::memory_buf_t& out) override {
    for (const char c : message.payload) {
      if (c == '\n') {
        out.append(absl::string_view("\n  "));
      } else if (c != '\t' && absl::ascii_iscntrl(static_cast<unsigned char>(c))) {
        out.append(absl::string_view("\\x"));
        for (const int digit : {c >> 4, c & 15}) out.push_back("0123456789abcdef"[digit]);
      } else {
        out.push_back(c);
      }
    }
  }
  std::unique_ptr<custom_flag_formatter> clone() const override { return std::make_unique<CleanMessage>(); }
};

std::unique_ptr<spdlog::formatter> Formatter(bool is_json) {
  if (is_json) return std::make_unique<JsonLines>();
  auto formatter = std::make_unique<spdlog::pattern_formatter>();
  formatter->add_flag<CleanMessage>('v').set_pattern("%Y-%m-%dT%H:%M:%S.%e %n %^%l%$ %v");
  return formatter;
}

}  // namespace

void InitLogging(absl::string_view process_name, absl::string_view level, absl::string_view format) {
  const char* environment = std::getenv("FLOWAWR_LOG_FORMAT");
  const std::string wanted(format.empty() && environment != nullptr ? environment : format);
  const bool is_json = wanted == "json";
  {
    absl::MutexLock lock(&Identity().mutex);
    Identity().process = std::string(process_name);
    Identity().is_json = is_json;
  }
  auto logger = std::make_shared<spdlog::logger>(std::string(process_name),
                                                 std::make_shared<spdlog::sinks::stderr_color_sink_mt>());
  logger->set_formatter(Formatter(is_json));
  logger->flush_on(spdlog::level::info);
  const auto parsed = spdlog::level::from_str(std::string(level));
  // from_str() says `off` for what it does not know.
  const bool is_known = parsed != spdlog::level::off || level == "off";
  logger->set_level(is_known ? parsed : spdlog::level::info);
  spdlog::set_default_logger(std::move(logger));
  if (!is_known)
    spdlog::warn("unknown log level \"{}\", taking info; accepted: trace, debug, info, warn, error, off",
                 std::string(level));
  if (!wanted.empty() && wanted != "text" && !is_json)
    spdlog::warn("unknown log format \"{}\", taking text; accepted: text, json", wanted);
}

bool LogsJson() {
  absl::MutexLock lock(&Identity().mutex);
  return Identity().is_json;
}

void SetLogRun(absl::string_view run_id) {
  absl::MutexLock lock(&Identity().mutex);
  Identity().run = std::string(run_id);
}

LogFields::LogFields(std::initializer_list<LogField> fields) : count_(fields.size()) {
  thread_fields.insert(thread_fields.end(), fields.begin(), fields.end());
}

LogFields::LogFields(const std::vector<LogField>& fields) : count_(fields.size()) {
  thread_fields.insert(thread_fields.end(), fields.begin(), fields.end());
}

LogFields::~LogFields() { thread_fields.resize(thread_fields.size() - count_); }

std::string JsonLogLine(absl::Time time, absl::string_view level, absl::string_view message) {
  Json line = {{"time", absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ", time, absl::UTCTimeZone())},
               {"level", std::string(level)}};
  {
    absl::MutexLock lock(&Identity().mutex);
    line["process"] = Identity().process;
    if (!Identity().run.empty()) line["run"] = Identity().run;
  }
  for (const auto& [name, value] : thread_fields) line[name] = AsJson(value);
  line["message"] = std::string(message);
  return line.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace flowawr
