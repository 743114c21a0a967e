// Preloaded into a process, sets its time of day back by an hour as soon as the file that FLOWAWR_SET_BACK names is
// there: what an administrator or a time server does to a machine, without doing it to the machine.
#include <dlfcn.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include <cstdlib>

namespace {

constexpr time_t kHour = 3600;

bool IsSetBack() {
  const char* file = std::getenv("FLOWAWR_SET_BACK");
  return file != nullptr && access(file, F_OK) == 0;
}

}  // namespace

extern "C" int clock_gettime(clockid_t clock, timespec* time) {
  static const auto real = reinterpret_cast<int (*)(clockid_t, timespec*)>(dlsym(RTLD_NEXT, "clock_gettime"));
  const int result = real(clock, time);
  if (clock == CLOCK_REALTIME && IsSetBack()) time->tv_sec -= kHour;
  return result;
}

extern "C" int gettimeofday(timeval* time, void*) noexcept {
  timespec now;
  const int result = clock_gettime(CLOCK_REALTIME, &now);
  time->tv_sec = now.tv_sec;
  time->tv_usec = now.tv_nsec / 1000;
  return result;
}
