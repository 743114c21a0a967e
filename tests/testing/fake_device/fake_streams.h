// Which work of the fake device's streams a real device would have had to do in order, and which it was free to do at once.
//
// The fake device computes everything immediately; a device that does not would compute on what is not there yet wherever
// nothing orders two streams. So every use of memory is remembered with the stream that it was on and its place there, and a
// use that nothing orders after the one before it (an event that was waited for, a wait of the host) is an error, as is
// memory that is freed while another stream may still be using it. What is copied from or to pinned memory without waiting
// moves as late as a real device might: the host sees it after it has waited, and must not change it before.
//
// All functions are thread-safe.
#pragma once

#include <c10/core/Stream.h>

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <utility>

namespace flowawr::fake_device {

using StreamKey = std::pair<c10::DeviceIndex, c10::StreamId>;
// A place in each of several streams; those that are not there: before everything.
using Places = std::map<StreamKey, int64_t>;

// The calling thread's, of that device; 0: the default one.
c10::StreamId CurrentStream(c10::DeviceIndex device);
c10::StreamId ExchangeStream(c10::DeviceIndex device, c10::StreamId stream);

// Who used an allocation, kept with it.
struct Uses {
  StreamKey home;              // current when it was allocated: the next to get it uses it there
  StreamKey writer = {0, 0};   // of the last write, and its place
  int64_t written_at = 0;
  Places readers;              // since
  std::set<StreamKey> kept_for;  // named by KeepFor()
};

// Something that `stream` is asked to do now: it reads or writes. c10::Error, which says what was not waited for.
void Read(c10::Stream stream, Uses& uses);
void Write(c10::Stream stream, Uses& uses);
// The memory is not used anew before `stream` has done what it was asked to until it is freed.
void KeepFor(c10::Stream stream, Uses& uses);
// Whether all that used the memory is done, or comes before whatever its home stream will do next.
bool MayFree(const Uses& uses);

// A copy that `stream` will make: from the host at the latest when the stream does something else, to the host when that is
// waited for.
void CopyLater(c10::Stream stream, bool is_upload, std::function<void()> copy);

// Events: what the stream was asked to do so far, and has waited for.
Places Here(c10::Stream stream);
void WaitFor(c10::Stream stream, const Places& places);
// The host has waited: everything up to there is done.
void Finish(const Places& places);
void FinishDevice(c10::DeviceIndex device);

}  // namespace flowawr::fake_device
