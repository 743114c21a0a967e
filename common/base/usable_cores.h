// How many processor cores this process may use: the one place where cores are counted. The machine may have more; a
// container's quota or a set of allowed processors makes them fewer.
#pragma once

#include <optional>
#include <string>

namespace flowawr {

// What limits cores, as it was found.
struct CoreLimits {
  int machine = 1;              // cores that are on
  int affinity = 0;             // cores that the scheduler may use: taskset, cpuset groups; 0: unknown
  std::optional<double> quota;  // processor time per time, of the tightest control group; nullopt: no quota
};

struct UsableCores {
  int count = 1;  // never below 1
  int machine = 1;
  std::string limit;  // why `count` is smaller than `machine`; "" if it is not

  // "64 cores", or "2 of 64 cores: CPU quota of the container".
  std::string Describe() const;
};

// Pure. Part of a core counts as a core: two threads that share 1.5 cores do half as much again as one thread that may use
// one. Only a twentieth or less, a rounding of some container software, is dropped.
UsableCores DecideUsableCores(const CoreLimits& limits);

// Of this process, now. `root` as of ReadControlGroups().
CoreLimits ReadCoreLimits(const std::string& root = "");

// Of this process when it first asked: for default numbers of threads. Safe from any thread.
const UsableCores& UsableCoresHere();

}  // namespace flowawr
