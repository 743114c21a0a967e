#include "learner/live_page.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/sha256.h"
#include "common/base/utf8.h"
#include "common/telemetry/message_json.h"
#include "common/tensor/strict_json.h"
#include "learner/live_page_html.h"

namespace flowawr {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr absl::Duration kStatusAge = absl::Milliseconds(250);
constexpr size_t kMostPictureBytes = size_t{16} << 20;
constexpr size_t kMostSets = 64, kMostPictures = 64;      // told of
constexpr size_t kMostLineBytes = size_t{1} << 20;
constexpr uint64_t kMostReadAtOnce = uint64_t{8} << 20;   // of a metrics.jsonl; the rest with the next requests

bool IsNumber(absl::string_view text, size_t most_digits) {
  return !text.empty() && text.size() <= most_digits &&
         std::all_of(text.begin(), text.end(), [](char c) { return absl::ascii_isdigit(c); });
}

// base, latest, final, update-000010: the folders that the run loop makes.
bool IsPictureSet(absl::string_view name) {
  if (name == "base" || name == "latest" || name == "final") return true;
  return absl::StartsWith(name, "update-") && IsNumber(name.substr(7), 12);
}

HttpResponse NotFound() { return {.code = 404, .body = "there is no such page here; the run's page is /\n"}; }

HttpResponse JsonAnswer(std::string json) {
  return {.body = std::move(json), .content_type = "application/json"};
}

// The script and the style in the page, and nothing from anywhere else.
std::string SecurityPolicy() {
  const absl::string_view page = kLivePageHtml;
  const size_t begin = page.find("<script>") + 8, end = page.find("</script>");
  const std::string digest = absl::HexStringToBytes(HexSha256(page.substr(begin, end - begin)));
  return absl::StrCat("default-src 'none'; connect-src 'self'; img-src 'self' data:; style-src 'unsafe-inline'; script-src 'sha256-",
                      absl::Base64Escape(digest), "'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'");
}

// What `FOLDER/NNN.json` says, for the page.
Json DescribePicture(const fs::path& file) {
  Json picture = {{"name", file.stem().string()}};
  const absl::StatusOr<nlohmann::json> json = ReadStrictJson(file.string(), 1 << 20);
  if (!json.ok() || !json->is_object()) return picture;
  if (json->contains("prompt") && (*json)["prompt"].is_string())
    picture["prompt"] = TruncateUtf8((*json)["prompt"].get<std::string>(), 500);
  for (const char* number : {"reward", "update"})
    if (json->contains(number) && (*json)[number].is_number()) picture[number] = (*json)[number];
  const auto details = json->find("details");
  if (details == json->end() || !details->is_object()) return picture;
  for (const char* detail : {"text", "exact"})
    if (details->contains(detail) && (*details)[detail].is_string())
      picture[detail] = TruncateUtf8((*details)[detail].get<std::string>(), 200);
  return picture;
}

}  // namespace

LivePage::LivePage(std::string run_dir, std::function<v1::Status()> status)
    : run_dir_(std::move(run_dir)), status_(std::move(status)), security_policy_(SecurityPolicy()) {}

HttpResponse LivePage::Answer(const HttpRequest& request) {
  if (request.path == "/")
    return {.body = kLivePageHtml,
            .content_type = "text/html; charset=utf-8",
            .headers = {{"Content-Security-Policy", security_policy_}, {"Cache-Control", "no-cache"}}};
  if (request.path == "/api/status.json") return JsonAnswer(Status());
  if (request.path == "/api/history.json") return JsonAnswer(History());
  if (request.path == "/api/pictures.json") return JsonAnswer(Pictures());
  if (absl::StartsWith(request.path, "/images/")) return Picture(absl::string_view(request.path).substr(8));
  return NotFound();
}

std::string LivePage::Status() {
  absl::MutexLock lock(&status_mutex_);
  if (MonotonicNow() < status_until_) return status_json_;
  status_json_ = MessageAsJson(status_()).dump();
  status_until_ = MonotonicNow() + kStatusAge;
  return status_json_;
}

std::string LivePage::History() {
  absl::MutexLock lock(&history_mutex_);
  ReadMore();
  return history_.ToJson();
}

void LivePage::ReadMore() {
  const int fd = open((run_dir_ + "/metrics.jsonl").c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return;  // nothing is written yet
  const absl::Cleanup close_fd = [fd] { close(fd); };
  struct stat found = {};
  if (fstat(fd, &found) != 0 || !S_ISREG(found.st_mode)) return;
  if (found.st_ino != history_inode_ || static_cast<uint64_t>(found.st_size) < history_read_) {
    history_ = LiveHistory();
    history_inode_ = found.st_ino;
    history_read_ = 0;
  }
  std::string line;
  std::vector<char> block(size_t{1} << 18);
  uint64_t at = history_read_;
  for (const uint64_t until = at + kMostReadAtOnce; at < until;) {
    const ssize_t got = pread(fd, block.data(), block.size(), static_cast<off_t>(at));
    if (got <= 0) break;
    at += static_cast<uint64_t>(got);
    absl::string_view rest(block.data(), static_cast<size_t>(got));
    for (size_t end; (end = rest.find('\n')) != absl::string_view::npos; rest.remove_prefix(end + 1)) {
      if (line.size() + end <= kMostLineBytes) history_.TakeLine(absl::StrCat(line, rest.substr(0, end)));
      line.clear();
      history_read_ = at - rest.size() + end + 1;
    }
    if (line.size() <= kMostLineBytes) absl::StrAppend(&line, rest);
  }
  if (line.size() > kMostLineBytes) history_read_ = at;  // what no run wrote does not hold up what follows it
}

std::string LivePage::Pictures() const {
  std::error_code error;
  std::set<std::string> names;
  for (fs::directory_iterator it(run_dir_ + "/images", error), end; !error && it != end; it.increment(error)) {
    if (const std::string name = it->path().filename().string(); IsPictureSet(name)) names.insert(name);
    if (names.size() > kMostSets) names.erase(std::prev(names.end()));
  }
  Json sets = Json::array();
  for (const std::string& name : names) {
    std::set<fs::path> files;
    for (fs::directory_iterator it(fs::path(run_dir_) / "images" / name, error), end; !error && it != end;
         it.increment(error)) {
      if (it->path().extension() == ".json" && IsNumber(it->path().stem().string(), 6)) files.insert(it->path());
      if (files.size() > kMostPictures) files.erase(std::prev(files.end()));
    }
    Json pictures = Json::array();
    for (const fs::path& file : files) pictures.push_back(DescribePicture(file));
    if (!pictures.empty()) sets.push_back({{"set", name}, {"pictures", std::move(pictures)}});
  }
  return Json{{"sets", std::move(sets)}}.dump(-1, ' ', false, Json::error_handler_t::replace);
}

HttpResponse LivePage::Picture(absl::string_view path) const {
  const size_t slash = path.find('/');
  if (slash == absl::string_view::npos || !IsPictureSet(path.substr(0, slash))) return NotFound();
  absl::string_view file = path.substr(slash + 1);
  if (!absl::EndsWith(file, ".png")) return NotFound();
  file.remove_suffix(4);
  if (!IsNumber(file, 6)) return NotFound();
  absl::StatusOr<std::string> png = ReadFile(absl::StrCat(run_dir_, "/images/", path), kMostPictureBytes);
  if (!png.ok()) return NotFound();
  // The page names the update in the address: what it got once it need not ask for again.
  return {.body = *std::move(png), .content_type = "image/png", .headers = {{"Cache-Control", "private, max-age=3600"}}};
}

}  // namespace flowawr
