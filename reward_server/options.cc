#include "reward_server/options.h"

#include <CLI/CLI.hpp>

#include <algorithm>
#include <cstdio>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/base/status.h"
#include "common/base/version.h"
#include "common/config/run_config.h"

namespace flowawr {
namespace {

constexpr char kDescription[] =
    R"(Scores images for FlowAWR training runs: images in, rewards or typed errors out.

`flowawr run CONFIG` starts one by itself. By hand, with text recognition as the reward:
  flowawr-reward-server --listen 127.0.0.1:7000 --scorer ocr
Two scorers, the second under a name of its own and with options:
  flowawr-reward-server --listen 127.0.0.1:7000 --scorer ocr --scorer small=jpeg_compressibility,scale=5

Kinds and their options (defaults shown):
  ocr                   does the image show the text in the prompt's double quotes? Read by Tesseract
    language=eng        tessdata=FOLDER: which model, and where it lies
    layout=line         line, word, block or sparse (scenes)
    letters=auto        the only characters that may be read; auto: capitals when the target has nothing else; any
    dictionary=false    prefer words of the language
    min_height=64       lower pictures are enlarged by a whole factor, at most 4
    margin=20           white pixels around the picture
  jpeg_compressibility  -kilobytes / scale of the image as JPEG
    quality=95  scale=500  sign=-1
Scorers can also be loaded and unloaded while the server runs: `flowawr reward load|unload|list`.)";

constexpr char kFooter[] =
    R"(SIGTERM or Ctrl-C answers what is under way and exits 0.
Exit codes: 0 done; 64 wrong usage; 69 the address cannot be listened on; 70 internal error; 77 refused (listening
outside loopback without TLS); 78 a scorer or the network configuration is no good.)";

}  // namespace

absl::StatusOr<v1::LoadScorerRequest> ParseScorer(absl::string_view text) {
  const std::vector<std::string> parts = absl::StrSplit(text, ',');
  const std::vector<std::string> head = absl::StrSplit(parts[0], absl::MaxSplits('=', 1));
  v1::LoadScorerRequest request;
  request.set_name(head[0]);
  request.set_kind(head.back());
  if (request.name().empty() || request.kind().empty())
    return absl::InvalidArgumentError(absl::StrCat("\"", text, "\": expected NAME[=KIND][,option=value...]"));
  for (size_t i = 1; i < parts.size(); ++i) {
    const std::vector<std::string> option = absl::StrSplit(parts[i], absl::MaxSplits('=', 1));
    if (option.size() != 2 || option[0].empty())
      return absl::InvalidArgumentError(absl::StrCat("\"", text, "\": \"", parts[i], "\" is not option=value"));
    if (!request.mutable_options()->insert({option[0], option[1]}).second)
      return absl::InvalidArgumentError(absl::StrCat("\"", text, "\": option ", option[0], " is given twice"));
  }
  return request;
}

ParsedRewardServerOptions ParseRewardServerOptions(int argc, const char* const* argv) {
  ParsedRewardServerOptions parsed;
  RewardServerOptions& options = parsed.options;
  options.threads = static_cast<int>(std::clamp(std::thread::hardware_concurrency(), 1u, 256u));
  std::vector<std::string> scorers;
  std::string network_config;
  CLI::App app(kDescription, "flowawr-reward-server");
  app.footer(kFooter);
  app.set_version_flag("--version", Version());
  app.add_option("--scorer", scorers, "a scorer to load before serving; may be repeated")
      ->type_name("NAME[=KIND][,OPTION=VALUE...]")
      ->expected(1)
      ->take_all();
  app.add_option("--listen", options.listen, "where to serve; port 0: any free one")
      ->type_name("HOST:PORT")
      ->capture_default_str();
  app.add_option("--endpoint-file", options.endpoint_file, "file to write that address to, once serving")
      ->type_name("FILE");
  app.add_option("--threads", options.threads, "threads of each scorer; default: one a core")
      ->type_name("N")
      ->check(CLI::Range(1, 256))
      ->capture_default_str();
  app.add_option("--max-queued", options.max_queued, "images that may wait for a scorer; more are told OVERLOADED")
      ->type_name("N")
      ->check(CLI::Range(1, 1'000'000))
      ->capture_default_str();
  app.add_option("--network-config", network_config, "run configuration with the section `network`: TLS, token")
      ->type_name("CONFIG.yaml");
  app.add_option("--metrics", options.metrics, "where /metrics listens; port 0: any free one")
      ->type_name("HOST:PORT")
      ->capture_default_str();
  app.add_option("--metrics-endpoint-file", options.metrics_endpoint_file, "file to write that address to")
      ->type_name("FILE");
  app.add_option("--log-level", options.log_level, "trace, debug, info, warn, error or off")
      ->type_name("LEVEL")
      ->capture_default_str();
  try {
    app.parse(argc, const_cast<char**>(argv));
  } catch (const CLI::ParseError& error) {
    parsed.exit_code = app.exit(error) == 0 ? 0 : 64;
    return parsed;
  }
  for (const std::string& text : scorers) {
    auto scorer = ParseScorer(text);
    if (!scorer.ok()) {
      std::fprintf(stderr, "flowawr-reward-server: --scorer %s\n", std::string(scorer.status().message()).c_str());
      parsed.exit_code = 64;
      return parsed;
    }
    options.scorers.push_back(*std::move(scorer));
  }
  options.network.set_max_message_mib(64);
  if (!network_config.empty()) {
    const absl::StatusOr<v1::RunConfig> config = LoadRunConfig(network_config);
    if (!config.ok()) {
      std::fprintf(stderr, "flowawr-reward-server: --network-config: %s\n",
                   std::string(config.status().message()).c_str());
      parsed.exit_code = 78;
      return parsed;
    }
    options.network = config->network();
  }
  return parsed;
}

}  // namespace flowawr
