#include "common/telemetry/log.h"

#include <string>

#include "spdlog/sinks/stdout_color_sinks.h"

namespace flowawr {

void InitLogging(absl::string_view process_name, absl::string_view level) {
  auto logger = std::make_shared<spdlog::logger>(std::string(process_name),
                                                 std::make_shared<spdlog::sinks::stderr_color_sink_mt>());
  logger->set_pattern("%Y-%m-%dT%H:%M:%S.%e %n %^%l%$ %v");
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
