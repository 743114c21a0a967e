#include "tests/testing/fake_device/fake_streams.h"

#include <c10/util/Exception.h>

#include <algorithm>
#include <mutex>
#include <utility>
#include <vector>

#include "tests/testing/fake_device/fake_device.h"
#include "tests/testing/fake_device/fake_graph.h"

namespace flowawr::fake_device {
namespace {

struct PendingCopy {
  int64_t place;
  bool is_upload;
  std::function<void()> copy;
};

struct StreamState {
  int64_t asked = 0;     // how much it was asked to do
  Places waited_for;     // of other streams
  std::vector<PendingCopy> pending;
};

// For ever, as tensors may be freed after everything else. A copy that is done frees its tensors, which asks MayFree().
std::recursive_mutex& mutex = *new std::recursive_mutex;
auto& streams = *new std::map<StreamKey, StreamState>;
auto& done = *new Places;

thread_local std::map<c10::DeviceIndex, c10::StreamId> current;

StreamKey KeyOf(c10::Stream stream) { return {stream.device_index(), stream.id()}; }

int64_t PlaceIn(const Places& places, const StreamKey& stream) {
  const auto found = places.find(stream);
  return found == places.end() ? 0 : found->second;
}

void Raise(Places& places, const Places& others) {
  for (const auto& [stream, place] : others) places[stream] = std::max(places[stream], place);
}

// Whether what `other` did at `place` comes before what `stream` does next.
bool IsBefore(const StreamKey& other, int64_t place, const StreamKey& stream) {
  return other == stream || place <= PlaceIn(done, other) || place <= PlaceIn(streams[stream].waited_for, other);
}

void Move(const StreamKey& stream, int64_t until, bool uploads_only) {
  std::vector<PendingCopy>& pending = streams[stream].pending;
  std::erase_if(pending, [&](PendingCopy& copy) {
    if (copy.place > until || (uploads_only && !copy.is_upload)) return false;
    copy.copy();
    return true;
  });
}

void FinishLocked(const Places& places) {
  Raise(done, places);
  for (const auto& [stream, place] : places) Move(stream, place, /*uploads_only=*/false);
}

void CheckOrder(const char* what, const StreamKey& other, int64_t place, const StreamKey& stream) {
  TORCH_CHECK(IsBefore(other, place, stream), "fake device: stream ", stream.second, " of device ",
              static_cast<int>(stream.first), " uses memory that stream ", other.second, " ", what,
              ", and neither an event nor the host has waited for that");
}

}  // namespace

c10::StreamId CurrentStream(c10::DeviceIndex device) { return current[device]; }

c10::StreamId ExchangeStream(c10::DeviceIndex device, c10::StreamId stream) {
  return std::exchange(current[device], stream);
}

void Read(c10::Stream stream, Uses& uses) {
  RefuseWhileRecorded(stream, "work of another thread");
  const std::lock_guard lock(mutex);
  const StreamKey key = KeyOf(stream);
  CheckOrder("writes", uses.writer, uses.written_at, key);
  Move(key, streams[key].asked, /*uploads_only=*/true);
  uses.readers[key] = ++streams[key].asked;
}

void Write(c10::Stream stream, Uses& uses) {
  RefuseWhileRecorded(stream, "work of another thread");
  const std::lock_guard lock(mutex);
  const StreamKey key = KeyOf(stream);
  CheckOrder("writes", uses.writer, uses.written_at, key);
  for (const auto& [reader, place] : uses.readers) CheckOrder("reads", reader, place, key);
  Move(key, streams[key].asked, /*uploads_only=*/true);
  uses.readers.clear();
  uses.writer = key;
  uses.written_at = ++streams[key].asked;
}

void KeepFor(c10::Stream stream, Uses& uses) {
  const std::lock_guard lock(mutex);
  uses.kept_for.insert(KeyOf(stream));
}

bool MayFree(const Uses& uses) {
  const std::lock_guard lock(mutex);
  const auto is_over = [&](const StreamKey& user, int64_t place) {
    return uses.kept_for.contains(user) || IsBefore(user, place, uses.home);
  };
  return is_over(uses.writer, uses.written_at) &&
         std::ranges::all_of(uses.readers, [&](const auto& reader) { return is_over(reader.first, reader.second); });
}

void CopyLater(c10::Stream stream, bool is_upload, std::function<void()> copy) {
  const std::lock_guard lock(mutex);
  StreamState& state = streams[KeyOf(stream)];
  state.pending.push_back({state.asked, is_upload, std::move(copy)});
}

Places Here(c10::Stream stream) {
  RefuseWhileRecorded(stream, "a wait for the stream");
  const std::lock_guard lock(mutex);
  const StreamState& state = streams[KeyOf(stream)];
  Places places = state.waited_for;
  places[KeyOf(stream)] = state.asked;
  return places;
}

void WaitFor(c10::Stream stream, const Places& places) {
  RefuseWhileRecorded(stream, "work of another thread");
  const std::lock_guard lock(mutex);
  Raise(streams[KeyOf(stream)].waited_for, places);
  for (const auto& [other, place] : places) Move(other, place, /*uploads_only=*/true);
}

void Finish(const Places& places) {
  const std::lock_guard lock(mutex);
  FinishLocked(places);
}

void FinishDevice(c10::DeviceIndex device) {
  RefuseWhileRecorded(device, "a wait for the device");
  const std::lock_guard lock(mutex);
  Places places;
  for (const auto& [stream, state] : streams)
    if (stream.first == device) places[stream] = state.asked;
  FinishLocked(places);
}

int StreamsUsed() {
  const std::lock_guard lock(mutex);
  return static_cast<int>(std::ranges::count_if(streams, [](const auto& stream) { return stream.second.asked > 0; }));
}

}  // namespace flowawr::fake_device
