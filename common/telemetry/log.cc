#include "common/telemetry/log.h"

#include <ctime>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/ascii.h"
#include "spdlog/pattern_formatter.h"
#include "spdlog/sinks/stdout_color_sinks.h"

namespace flowawr {
namespace {

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

}  // namespace

void InitLogging(absl::string_view process_name, absl::string_view level) {
  auto logger = std::make_shared<spdlog::logger>(std::string(process_name),
                                                 std::make_shared<spdlog::sinks::stderr_color_sink_mt>());
  auto formatter = std::make_unique<spdlog::pattern_formatter>();
  formatter->add_flag<CleanMessage>('v').set_pattern("%Y-%m-%dT%H:%M:%S.%e %n %^%l%$ %v");
  logger->set_formatter(std::move(formatter));
  logger->flush_on(spdlog::level::info);
  const auto parsed = spdlog::level::from_str(std::string(level));
  // from_str() says `off` for what it does not know.
  const bool is_known = parsed != spdlog::level::off || level == "off";
  logger->set_level(is_known ? parsed : spdlog::level::info);
  spdlog::set_default_logger(std::move(logger));
  if (!is_known)
    spdlog::warn("unknown log level \"{}\", taking info; accepted: trace, debug, info, warn, error, off",
                 std::string(level));
}

}  // namespace flowawr
