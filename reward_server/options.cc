#include "reward_server/options.h"

#include <CLI/CLI.hpp>
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "common/base/usable_cores.h"
#include "common/config/run_config.h"
#include "common/process/device_option.h"
#include "common/process/option_values.h"
#include "common/scoring/scorer_text.h"
#include "common/tensor/device_names.h"

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
  pickscore, clipscore, hpsv2   how well the image fits its prompt, by a CLIP
    model=FOLDER        dtype=float32: or bfloat16
  aesthetic             LAION's predictor, likewise, and head=FOLDER
  geneval               does the image show the objects, colours and places that the prompt's metadata asks for?
    detector=FOLDER     clip=FOLDER  reward=strict  colours=clip; others in docs/rewards.md
  judge                 a vision-language model's rating, by an OpenAI-compatible endpoint
    url=URL  model=NAME prompt_file=FILE  answer=last_number or json:FIELD  lowest=0  highest=10
    api_key_env=NAME    concurrent=4  per_minute=0  timeout_s=25  retries=3; others in docs/rewards.md
Scorers can also be loaded and unloaded while the server runs: `flowawr reward load|unload|list`.)";

constexpr char kFooter[] = "SIGTERM or Ctrl-C answers what is under way and exits 0.";

// As --device: a device that is not there is a mistake of the command line, wherever on it it is named.
absl::Status CheckScorer(const std::string& text) {
  FLOWAWR_ASSIGN_OR_RETURN(const v1::LoadScorerRequest scorer, ParseScorer(text));
  const auto device = scorer.options().find("device");
  if (device == scorer.options().end()) return absl::OkStatus();
  return Annotate(CheckDeviceName(device->second), absl::StrCat(scorer.name(), ": option device"));
}

}  // namespace

RunnerOptions RunnerOptionsOf(const RewardServerOptions& options) {
  return {.threads = options.threads,
          .device = options.device,
          .largest_batch = options.max_batch,
          .max_queued_images = static_cast<size_t>(options.max_queued),
          .max_wait = absl::Milliseconds(options.max_wait_ms),
          .max_side = static_cast<uint32_t>(options.max_image_side),
          .max_image_time = absl::Seconds(options.max_image_seconds),
          .stuck_after = absl::Seconds(options.stuck_seconds)};
}

Parsed<RewardServerOptions> ParseRewardServerOptions(int argc, const char* const* argv) {
  Parsed<RewardServerOptions> parsed;
  RewardServerOptions& options = parsed.options;
  options.threads = std::min(UsableCoresHere().count, 256);
  std::vector<std::string> scorers;
  std::string network_config;
  CLI::App app(absl::StrCat(kDescription, "\n", kRunnerOptionsHelp), "flowawr-reward-server");
  app.footer(kFooter);
  app.add_option("--scorer", scorers, "a scorer to load before serving; may be repeated")
      ->type_name("NAME[=KIND][,OPTION=VALUE...]")
      ->check([](const std::string& text) { return std::string(CheckScorer(text).message()); })
      ->allow_extra_args(false);
  app.add_option("--remember", options.memory_file,
                 "file of what is loaded while it serves, for the next start: made if absent")
      ->type_name("FILE");
  AddServingOptions(app, "where to serve; port 0: any free one", &options.serving);
  app.add_option("--threads", options.threads, "threads of each scorer; default: one a core")
      ->type_name("N")
      ->transform(WholeNumber(1, 256))
      ->capture_default_str();
  AddDeviceOption(app, "the models of scorers compute, unless a scorer's option `device` says otherwise", &options.device,
                  "the machine's last accelerator");
  app.add_option("--max-batch", options.max_batch, "images of one call of a scorer; 0: what it is best given")
      ->type_name("N")
      ->transform(WholeNumber(0, 4096))
      ->capture_default_str();
  app.add_option("--max-wait-ms", options.max_wait_ms, "how long a call of a scorer waits for its batch to fill")
      ->type_name("MS")
      ->check(Number(0, 60'000))
      ->capture_default_str();
  app.add_option("--max-queued", options.max_queued, "images that may wait for a scorer; more are told OVERLOADED")
      ->type_name("N")
      ->transform(WholeNumber(1, 1'000'000))
      ->capture_default_str();
  app.add_option("--max-image-side", options.max_image_side, "pixels; larger images are told BAD_INPUT")
      ->type_name("N")
      ->transform(WholeNumber(16, 65536))
      ->capture_default_str();
  app.add_option("--max-image-seconds", options.max_image_seconds, "scoring an image longer is given up: BROKEN")
      ->type_name("S")
      ->check(Number(0.1, 3600))
      ->capture_default_str();
  app.add_option("--stuck-seconds", options.stuck_seconds,
                 "a call of a scorer that is not back so long after the time for its images: the scorer refuses others")
      ->type_name("S")
      ->check(Number(0.1, 3600))
      ->capture_default_str();
  app.add_option("--max-pending-mib", options.max_pending_mib, "of requests and answers held at once; more are refused")
      ->type_name("N")
      ->transform(WholeNumber(1, 1 << 20))
      ->capture_default_str();
  AddNetworkConfigOption(app, "neither TLS nor token", &network_config);
  AddTelemetryOptions(app, &options.telemetry);
  parsed.exit_code = ParseCommandLine(app, argc, argv, [&]() -> absl::Status {
    for (const std::string& text : scorers) {
      FLOWAWR_ASSIGN_OR_RETURN(options.scorers.emplace_back(), ParseScorer(text));
    }
    FLOWAWR_ASSIGN_OR_RETURN(options.network, LoadNetworkConfig(network_config));
    return absl::OkStatus();
  });
  return parsed;
}

}  // namespace flowawr
