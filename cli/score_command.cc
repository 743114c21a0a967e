#include "cli/score_command.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "cli/interrupt.h"
#include "cli/panel.h"
#include "cli/picture_prompts.h"
#include "cli/reward_access.h"
#include "cli/sample_progress.h"
#include "cli/score_page.h"
#include "cli/score_results.h"
#include "cli/set_option.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/status.h"
#include "common/base/usable_cores.h"
#include "common/base/utf8.h"
#include "common/process/command_line.h"
#include "common/process/device_option.h"
#include "common/process/exit_code.h"
#include "common/process/option_values.h"
#include "common/process/without_throwing.h"
#include "common/scoring/scoring_client.h"
#include "common/tensor/image.h"

namespace flowawr {
namespace {

constexpr char kDescription[] = "Score a folder of pictures: a table, a contact sheet and a page, the best first";

constexpr char kFooter[] = R"(Examples:
  flowawr score ocr samples                                       prompts from the PNG files' own text
  flowawr score configs/tiny-ocr.yaml pictures --prompts prompts.jsonl    every reward of a run
  flowawr score jpeg_compressibility,scale=5 photos --prompt 'a street' --out photos-by-size
  flowawr score ocr samples --server 127.0.0.1:7000               by a reward server that is there

PNG and JPEG files, in the folders below FOLDER too, but for the grid.png of `flowawr sample`. A picture's prompt is the
first of: --prompt; the line of --prompts whose field file_name (file, filename, image, path) names it; its own PNG text
"prompt", as `flowawr sample` writes it, with the metadata of the line of --prompts that has the same text. Without
--prompts, metadata.jsonl files in the folders are read like it.

A reward server is started for the while, unless --server names one. OUT gets scores.jsonl, scores.csv, sheet.png and
index.html. A picture that is damaged, too large or without a prompt is named, the others are scored, and the exit code
is 65; a scorer's failure is 69. Ctrl-C keeps what is done.)";

constexpr size_t kMaxFileBytes = size_t{64} << 20;
constexpr int kMaxSide = 4096;  // what a reward server takes
constexpr int kThumbnailSide = 256;
constexpr size_t kTableLines = 40;
constexpr size_t kFaultsTold = 20;
constexpr absl::Duration kLineEvery = absl::Seconds(10);
constexpr const char* kFiles[] = {"scores.jsonl", "scores.csv", "sheet.png", "index.html"};

struct Arguments {
  RewardArguments rewards;
  std::string folder, prompt, prompts_file, out = "scores";
  int show = 200, in_flight = 0;
  bool force = false;
};

int TerminalWidth() {
  winsize size = {};
  if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return 120;
  return size.ws_col;
}

absl::Status CheckPlaces(const Arguments& arguments) {
  std::error_code ignored;
  for (const char* file : kFiles) {
    const std::string path = absl::StrCat(arguments.out, "/", file);
    if (!arguments.force && std::filesystem::exists(path, ignored))
      return absl::AlreadyExistsError(
          absl::StrCat(path, " is there already; name another folder with --out, or write over it with --force"));
  }
  return absl::OkStatus();
}

std::string PathOf(const Arguments& arguments, const std::string& name) {
  return absl::StrCat(arguments.folder, "/", name);
}

absl::StatusOr<Image> ReadPicture(const std::string& path, std::string* bytes) {
  FLOWAWR_ASSIGN_OR_RETURN(*bytes, ReadFile(path, kMaxFileBytes));
  return DecodePicture(*bytes, kMaxSide);
}

// Scores pictures, several at a time, so that the server has some to put together.
class Scoring {
 public:
  Scoring(const Arguments& arguments, const RewardAccess& access, const PicturePrompts& prompts,
          const std::vector<std::string>& names)
      : arguments_(arguments),
        spec_(access.spec()),
        prompts_(prompts),
        names_(names),
        client_(access.network()),
        scores_(names.size()) {}

  // Until all are scored, or `is_wanted` says no. Those that were, in order.
  std::vector<PictureScore> Run(absl::FunctionRef<bool()> is_wanted, SampleProgress& progress) {
    const int in_flight =
        arguments_.in_flight > 0 ? arguments_.in_flight : std::clamp(2 * arguments_.rewards.threads, 4, 16);
    std::vector<std::thread> threads;
    for (int i = 0; i < in_flight; ++i) threads.emplace_back([this] { Work(); });
    const absl::Time begin = MonotonicNow();
    absl::Time said = begin;
    while (done_ < names_.size() && !is_stopped_) {
      absl::SleepFor(absl::Milliseconds(50));
      if (!is_wanted()) is_stopped_ = true;
      const absl::Time now = MonotonicNow();
      const std::string line = Progress(now - begin);
      if (now - said >= kLineEvery) {
        progress.Say(line);
        said = now;
      } else {
        progress.Show(line);
      }
    }
    for (std::thread& thread : threads) thread.join();
    progress.Show("");
    std::vector<PictureScore> scored;
    for (PictureScore& score : scores_)
      if (!score.name.empty()) scored.push_back(std::move(score));
    return scored;
  }

 private:
  void Work() {
    while (!is_stopped_) {
      const size_t i = next_++;
      if (i >= names_.size()) return;
      PictureScore score = Score(names_[i]);
      if (absl::IsCancelled(score.status)) return;  // not done: it is not told of
      scores_[i] = std::move(score);
      ++done_;
    }
  }

  PictureScore Score(const std::string& name) {
    PictureScore score{.name = name};
    std::string bytes;
    absl::StatusOr<Image> image = ReadPicture(PathOf(arguments_, name), &bytes);
    if (!image.ok()) {
      score.status = image.status();
      return score;
    }
    score.height = image->height;
    score.width = image->width;
    absl::StatusOr<v1::Prompt> prompt = prompts_.Of(name, bytes);
    if (!prompt.ok()) {
      score.status = prompt.status();
      return score;
    }
    score.prompt = *std::move(prompt);
    bytes.clear();
    std::vector<Image> images;
    images.push_back(*std::move(image));
    absl::StatusOr<std::vector<v1::SampleScores>> scores =
        client_.Score(spec_, score.prompt, images, [this] { return !is_stopped_; });
    if (scores.ok()) {
      score.scores = std::move(scores->front());
    } else {
      score.status = scores.status();
    }
    return score;
  }

  std::string Progress(absl::Duration elapsed) const {
    const double seconds = absl::ToDoubleSeconds(elapsed);
    std::string text = absl::StrCat("scored ", done_.load(), " of ", names_.size(), " pictures");
    if (done_ == 0 || seconds < 1) return text;
    const double rate = static_cast<double>(done_) / seconds;
    return absl::StrCat(text, absl::StrFormat(", %.3g a second, about ", rate),
                        FormatDuration(static_cast<double>(names_.size() - done_) / rate), " left");
  }

  const Arguments& arguments_;
  const v1::RewardSpec& spec_;
  const PicturePrompts& prompts_;
  const std::vector<std::string>& names_;
  ScoringClient client_;
  std::vector<PictureScore> scores_;  // by name; each written by the one thread that took it
  std::atomic<size_t> next_ = 0, done_ = 0;
  std::atomic<bool> is_stopped_ = false;
};

// The thumbnails of those that are shown, read again: of many pictures not all can be kept.
std::vector<ShownPicture> ReadShown(const Arguments& arguments, const std::vector<PictureScore>& sorted) {
  std::vector<size_t> readable;  // all but those that are no pictures
  for (size_t i = 0; i < sorted.size(); ++i)
    if (sorted[i].status.ok()) readable.push_back(i);
  std::vector<ShownPicture> shown;
  for (const size_t i : ShownPictures(readable.size(), static_cast<size_t>(arguments.show))) {
    const PictureScore& picture = sorted[readable[i]];
    std::string bytes;
    const absl::StatusOr<Image> image = ReadPicture(PathOf(arguments, picture.name), &bytes);
    if (image.ok()) shown.push_back({&picture, Thumbnail(*image, kThumbnailSide)});  // else it has gone meanwhile
  }
  return shown;
}

// The names of what was written.
absl::StatusOr<std::vector<std::string>> WriteResults(const Arguments& arguments, const RewardAccess& access,
                                                      const std::vector<PictureScore>& sorted) {
  const v1::RewardSpec& spec = access.spec();
  std::vector<std::string> written = {"index.html"};  // the last, but the first to look at
  const auto write = [&](const char* file, const std::string& bytes) {
    if (written[0] != file) written.emplace_back(file);
    return WriteFileAtomically(absl::StrCat(arguments.out, "/", file), bytes);
  };
  FLOWAWR_RETURN_IF_ERROR(MakeDirectories(arguments.out));
  FLOWAWR_RETURN_IF_ERROR(write("scores.jsonl", ScoresJsonLines(spec, sorted)));
  FLOWAWR_RETURN_IF_ERROR(write("scores.csv", ScoresCsv(spec, sorted)));
  const std::vector<ShownPicture> shown = ReadShown(arguments, sorted);
  if (!shown.empty()) {
    FLOWAWR_ASSIGN_OR_RETURN(const Image sheet, DrawScoreSheet(spec, shown));
    FLOWAWR_ASSIGN_OR_RETURN(const std::string png, EncodePng(sheet));
    FLOWAWR_RETURN_IF_ERROR(write("sheet.png", png));
  }
  FLOWAWR_ASSIGN_OR_RETURN(
      const std::string page,
      ScorePage(spec, {absl::StrCat(arguments.folder, " by ", arguments.rewards.what), access.versions()}, sorted,
                shown));
  FLOWAWR_RETURN_IF_ERROR(write("index.html", page));
  return written;
}

// Names what has no reward. OK when all have one; else the kind of the worst failure: a scorer's before a picture's.
absl::Status TellFaults(const v1::RewardSpec& spec, const std::vector<PictureScore>& sorted) {
  size_t faults = 0;
  bool is_scorers = false;
  for (const PictureScore& picture : sorted) {
    const std::string why = WhyNoReward(spec, picture);
    if (why.empty()) continue;
    for (const v1::TermScore& score : picture.scores.terms())
      is_scorers = is_scorers || (score.has_error() && score.error().kind() != v1::ScoreError::BAD_INPUT);
    if (++faults <= kFaultsTold)
      std::fprintf(stderr, "no reward: %s: %s\n", SanitizeUtf8(picture.name).c_str(), why.c_str());
  }
  if (faults > kFaultsTold) std::fprintf(stderr, "and %zu more, see scores.csv\n", faults - kFaultsTold);
  if (faults == 0) return absl::OkStatus();
  const std::string what = absl::StrCat(faults, " of ", sorted.size(), " pictures have no reward");
  return is_scorers ? absl::UnavailableError(what) : absl::DataLossError(what);
}

absl::Status Score(const Arguments& arguments) {
  FLOWAWR_RETURN_IF_ERROR(CheckPlaces(arguments));
  FLOWAWR_ASSIGN_OR_RETURN(const std::vector<std::string> names, ListPictures(arguments.folder, arguments.out));
  FLOWAWR_ASSIGN_OR_RETURN(const PicturePrompts prompts, PicturePrompts::Make(arguments.prompt, arguments.prompts_file,
                                                                              arguments.folder, names));
  FLOWAWR_ASSIGN_OR_RETURN(const RewardPlan plan, PlanRewards(arguments.rewards));
  const Interrupt interrupt;
  const auto is_wanted = [&interrupt] { return !interrupt.came(); };
  SampleProgress progress;
  FLOWAWR_ASSIGN_OR_RETURN(const std::unique_ptr<RewardAccess> access,
                           RewardAccess::Open(plan, is_wanted, [&](const std::string& line) { progress.Show(line); }));
  Scoring scoring(arguments, *access, prompts, names);
  absl::Status alive;
  std::vector<PictureScore> scored = scoring.Run(
      [&] {
        if (alive.ok()) alive = access->CheckServer();
        return alive.ok() && is_wanted();
      },
      progress);
  if (scored.empty()) return alive.ok() ? absl::CancelledError("stopped before any picture was scored") : alive;
  const v1::RewardSpec& spec = access->spec();
  SortByReward(spec, scored);
  FLOWAWR_ASSIGN_OR_RETURN(const std::vector<std::string> written, WriteResults(arguments, *access, scored));
  std::printf("%s\n%s", TableText(spec, scored, kTableLines, TerminalWidth()).c_str(),
              SummaryText(spec, access->versions(), scored).c_str());
  std::printf("%s/%s have them all\n", arguments.out.c_str(), absl::StrJoin(written, ", ").c_str());
  std::fflush(stdout);  // before what goes to stderr
  for (size_t i = 0; i < prompts.missing().size() && i < kFaultsTold; ++i)
    std::fprintf(stderr, "not there: %s, which a prompt names\n", SanitizeUtf8(prompts.missing()[i]).c_str());
  const absl::Status faults = TellFaults(spec, scored);
  if (!alive.ok()) return alive;
  if (scored.size() < names.size())
    return absl::CancelledError(absl::StrCat("stopped: ", scored.size(), " of ", names.size(), " pictures are scored"));
  return faults;
}

}  // namespace

void AddScoreCommand(CLI::App& app, int* exit_code) {
  const auto arguments = std::make_shared<Arguments>();
  arguments->rewards.threads = std::min(UsableCoresHere().count, 256);
  CLI::App* command = app.add_subcommand("score", kDescription);
  command->footer(kFooter);
  command
      ->add_option("rewards", arguments->rewards.what, "a run's configuration, or one scorer and its options")
      ->type_name("CONFIG|SCORER[=KIND][,OPTION=VALUE...]")
      ->required();
  command->add_option("folder", arguments->folder, "the pictures")->type_name("FOLDER")->required();
  CLI::Option* prompt = command->add_option("--prompt", arguments->prompt, "what all of them were to show");
  command->add_option("--prompts", arguments->prompts_file, "prompts and metadata by picture, e.g. a *.jsonl file")
      ->type_name("FILE")
      ->excludes(prompt);
  AddSetOption(*command, &arguments->rewards.overrides);
  command->add_option("--server", arguments->rewards.server, "HOST:PORT of a reward server; default: one of its own")
      ->check(AddressToReach());
  AddNetworkConfigOption(*command, "that of CONFIG, else neither TLS nor token", &arguments->rewards.network_config);
  command->add_option("--out", arguments->out, "folder for the results, made if absent")->capture_default_str();
  command->add_flag("--force", arguments->force, "write over the results of another time");
  command->add_option("--show", arguments->show, "pictures on sheet and page; of more, the best and the worst")
      ->transform(WholeNumber(2, 1000))
      ->capture_default_str();
  command->add_option("--threads", arguments->rewards.threads, "of each scorer of its own server; default: one a core")
      ->transform(WholeNumber(1, 256));
  AddDeviceOption(*command, "the models of its own server's scorers compute", &arguments->rewards.device,
                  "the machine's last accelerator");
  command->add_option("--in-flight", arguments->in_flight, "pictures asked for at a time; default: by --threads")
      ->transform(WholeNumber(1, 256));
  command->callback([arguments, exit_code] {
    *exit_code = ReportAndExitCodeOf(WithoutThrowing("scoring failed", [&] { return Score(*arguments); }));
  });
}

}  // namespace flowawr
