#include "common/telemetry/trace.h"

#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "common/base/file.h"
#include "common/base/status.h"
#include "common/base/utf8.h"

namespace flowawr {
namespace {

using Json = nlohmann::ordered_json;

constexpr absl::Duration kWriteEvery = absl::Seconds(1);
constexpr size_t kWriteAt = size_t{256} << 10;  // bytes that wait
constexpr size_t kMostTextBytes = 200;
constexpr absl::Duration kLanesKept = absl::Minutes(10);  // spans come late, but not by more
constexpr absl::string_view kBegin = "[\n", kBetween = ",\n", kEnd = "\n]\n";

std::string Line(const Json& event) {
  return event.dump(-1, ' ', false, Json::error_handler_t::replace) + std::string(kBetween);
}

std::string Text(absl::string_view text) { return TruncateUtf8(text, kMostTextBytes); }

// The same number for the same text in every process: a resumed run goes on with the rows that are there. FNV-1a.
int NumberOf(absl::string_view text) {
  uint32_t hash = 2166136261u;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 16777619u;
  return static_cast<int>(hash % 1'000'000'000u) + 1;
}

int64_t Microseconds(absl::Time time) { return absl::ToUnixMicros(time); }

// Where the last whole event of the file ends: what follows is the array's end, or was cut short.
absl::StatusOr<uint64_t> EndOfLastEvent(int fd, const std::string& path) {
  struct stat found = {};
  if (fstat(fd, &found) != 0) return ErrnoStatus(errno, "reading", path);
  uint64_t end = static_cast<uint64_t>(found.st_size);
  std::string tail;  // from `end` on
  while (end > 0) {
    const uint64_t begin = end - std::min<uint64_t>(end, 4096);
    std::string block(end - begin, '\0');
    const ssize_t got = pread(fd, block.data(), block.size(), static_cast<off_t>(begin));
    if (got != static_cast<ssize_t>(block.size())) return ErrnoStatus(got < 0 ? errno : EIO, "reading", path);
    tail.insert(0, block);
    end = begin;
    // An event ends its line, perhaps with a comma; within one there is no end of line.
    for (size_t at = tail.rfind('}'); at != std::string::npos; at = at == 0 ? std::string::npos : tail.rfind('}', at - 1))
      if (const absl::string_view after = absl::string_view(tail).substr(at + 1, 2); after.substr(0, 1) == "\n" || after == ",\n")
        return end + at + 1;
  }
  return 0;
}

// All of `bytes` from `offset` on, or an error.
absl::Status WriteAt(int fd, const std::string& path, absl::string_view bytes, uint64_t offset) {
  while (!bytes.empty()) {
    const ssize_t written = pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return ErrnoStatus(written < 0 ? errno : ENOSPC, "writing", path);
    bytes.remove_prefix(static_cast<size_t>(written));
    offset += static_cast<uint64_t>(written);
  }
  return absl::OkStatus();
}

absl::StatusOr<int> OpenForWriting(const std::string& path) {
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0) return ErrnoStatus(errno, "opening", path);
  return fd;
}

}  // namespace

int TraceLanes::Place(absl::Time start, absl::Time end) {
  const auto fits = [&](const Interval& other) {
    const auto& [from, to] = other;
    return end <= from || to <= start || (from <= start && end <= to) || (start <= from && to <= end);
  };
  size_t lane = 0;
  while (lane < lanes_.size() && !std::all_of(lanes_[lane].begin(), lanes_[lane].end(), fits)) ++lane;
  if (lane == lanes_.size()) {
    if (lane == kMostLanes) return static_cast<int>(kMostLanes) - 1;
    lanes_.emplace_back();
  }
  newest_end_ = std::max(newest_end_, end);
  std::vector<Interval>& spans = lanes_[lane];
  if (spans.size() == kRemembered) spans.erase(spans.begin());
  spans.emplace_back(start, end);
  return static_cast<int>(lane);
}

absl::StatusOr<std::unique_ptr<TraceWriter>> TraceWriter::Open(const std::string& folder, uint64_t most_bytes) {
  const std::string path = folder + "/trace.json";
  FLOWAWR_ASSIGN_OR_RETURN(const int fd, OpenForWriting(path));
  std::unique_ptr<TraceWriter> writer(new TraceWriter(folder, most_bytes, fd));
  FLOWAWR_ASSIGN_OR_RETURN(writer->end_, EndOfLastEvent(fd, path));
  if (ftruncate(fd, static_cast<off_t>(writer->end_)) != 0) return ErrnoStatus(errno, "shortening", path);
  if (writer->end_ > 0) FLOWAWR_RETURN_IF_ERROR(WriteAt(fd, path, kEnd, writer->end_));
  writer->writer_ = std::thread(&TraceWriter::WriteLoop, writer.get());
  return writer;
}

TraceWriter::TraceWriter(std::string folder, uint64_t most_bytes, int fd)
    : folder_(std::move(folder)), most_bytes_(most_bytes), fd_(fd) {}

TraceWriter::~TraceWriter() {
  {
    absl::MutexLock lock(&mutex_);
    is_closing_ = true;
    changed_.SignalAll();
  }
  if (writer_.joinable()) writer_.join();
  if (fd_ >= 0) close(fd_);
}

TraceWriter::Track TraceWriter::FindTrack(const std::string& process, const std::string& track, int lane) {
  const std::string key = absl::StrCat(process, "\n", track, "\n", lane);
  if (const auto known = tracks_.find(key); known != tracks_.end()) return known->second;
  if (tracks_.size() >= kMostTracks) return {};
  const bool is_new = processes_.insert(process).second;
  const Track found = {NumberOf(process), NumberOf(key)};
  tracks_[key] = found;
  const size_t row = processes_.size(), line = tracks_.size();  // in the order in which they came
  std::string lines;
  if (is_new) {
    lines += Line({{"ph", "M"}, {"pid", found.pid}, {"name", "process_name"}, {"args", {{"name", Text(process)}}}});
    lines += Line({{"ph", "M"}, {"pid", found.pid}, {"name", "process_sort_index"}, {"args", {{"sort_index", row}}}});
  }
  const std::string name = lane == 0 ? Text(track) : absl::StrCat(Text(track), " ", lane + 1);
  lines += Line({{"ph", "M"}, {"pid", found.pid}, {"tid", found.tid}, {"name", "thread_name"}, {"args", {{"name", name}}}});
  lines += Line({{"ph", "M"},
                 {"pid", found.pid},
                 {"tid", found.tid},
                 {"name", "thread_sort_index"},
                 {"args", {{"sort_index", line}}}});
  names_ += lines;
  Append(std::move(lines));
  return found;
}

void TraceWriter::Append(std::string line) {
  if (waiting_.size() + line.size() > kMostWaiting) {
    ++left_out_;
    return;
  }
  const bool was_below = waiting_.size() < kWriteAt;
  waiting_ += line;
  if (was_below && waiting_.size() >= kWriteAt) changed_.SignalAll();
}

void TraceWriter::Add(const TraceSpan& span) {
  Json details = Json::object();
  for (const auto& [key, value] : span.details) details[Text(key)] = Text(value);
  const absl::Time end = span.start + span.length;
  absl::MutexLock lock(&mutex_);
  const std::string key = absl::StrCat(span.process, "\n", span.track);
  if (lanes_.size() >= kMostTracks && !lanes_.contains(key)) {
    ++left_out_;
    return;
  }
  newest_end_ = std::max(newest_end_, end);
  const int lane = lanes_[key].Place(span.start, end);
  const Track track = FindTrack(span.process, span.track, lane);
  if (track.pid == 0) {
    ++left_out_;
    return;
  }
  // The end rounded, not the length: spans that follow each other must not overlap by a microsecond.
  Append(Line({{"ph", "X"},
               {"pid", track.pid},
               {"tid", track.tid},
               {"ts", Microseconds(span.start)},
               {"dur", Microseconds(end) - Microseconds(span.start)},
               {"name", Text(span.name)},
               {"args", std::move(details)}}));
}

void TraceWriter::Mark(const std::string& process, const std::string& name, absl::Time at) {
  absl::MutexLock lock(&mutex_);
  const Track track = FindTrack(process, "run", 0);
  Append(Line({{"ph", "i"}, {"s", "g"}, {"pid", track.pid}, {"tid", track.tid}, {"ts", Microseconds(at)}, {"name", Text(name)}}));
}

void TraceWriter::WriteLoop() {
  uint64_t told = 0;
  while (true) {
    std::string lines, names;
    uint64_t left_out;
    bool is_last;
    {
      absl::MutexLock lock(&mutex_);
      if (!is_closing_ && waiting_.size() < kWriteAt) changed_.WaitWithTimeout(&mutex_, kWriteEvery);
      std::swap(lines, waiting_);
      names = names_;
      left_out = left_out_;
      is_last = is_closing_;
    }
    if (!lines.empty()) Write(lines, names);
    if (left_out > told) spdlog::warn("the timeline left out {} events: they came too fast, or from more than {} rows", left_out - told, kMostTracks);
    told = left_out;
    if (is_last) return;
  }
}

void TraceWriter::Write(const std::string& lines, const std::string& names) {
  const std::string path = folder_ + "/trace.json";
  if (end_ > 0 && end_ + lines.size() > most_bytes_ / 2 && fd_ >= 0) {
    // Whoever reads the old file under its new name finds it whole.
    if (std::rename(path.c_str(), (folder_ + "/trace.1.json").c_str()) != 0)
      return Gap(ErrnoStatus(errno, "moving", path));
    close(fd_);
    fd_ = -1;
    end_ = 0;
    ForgetOldTracks();
  }
  if (fd_ < 0) {
    const absl::StatusOr<int> opened = OpenForWriting(path);
    if (!opened.ok()) return Gap(opened.status());
    fd_ = *opened;
  }
  std::string events = end_ == 0 ? absl::StrCat(kBegin, names, lines) : absl::StrCat(kBetween, lines);
  events.resize(events.size() - kBetween.size());
  // Over the array's end, in one call: a kill leaves a whole array.
  if (const absl::Status written = WriteAt(fd_, path, absl::StrCat(events, kEnd), end_); !written.ok()) {
    if (ftruncate(fd_, static_cast<off_t>(end_)) == 0 && end_ > 0) (void)WriteAt(fd_, path, kEnd, end_);
    return Gap(written);
  }
  end_ += events.size();
  has_gap_ = false;
}

// A track that is met again names itself again. What waits has its names before it, or in the file that begins now.
void TraceWriter::ForgetOldTracks() {
  absl::MutexLock lock(&mutex_);
  tracks_.clear();
  processes_.clear();
  names_.clear();
  std::erase_if(lanes_, [this](const auto& entry) { return entry.second.newest_end() + kLanesKept < newest_end_; });
}

// Told once for each time that the disk does not take it.
void TraceWriter::Gap(const absl::Status& why) {
  if (!has_gap_) spdlog::warn("the timeline has a gap: {}", why.ToString());
  has_gap_ = true;
}

}  // namespace flowawr
