// What NVIDIA's management library says of a card just now: how busy, hot and full it is, whoever uses it. Asked
// without its headers; it comes with the driver.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/statusor.h"

namespace flowawr {

// Why a card's clocks are below what they could be.
struct Throttling {
  bool power_cap = false;         // at its power limit: ordinary under full load
  bool software_thermal = false;  // near its temperature limit
  bool hardware_thermal = false;  // beyond it
  bool power_brake = false;       // the machine's power supply asks for it
  bool hardware = false;          // slowed down by half or more; one of the two before says why, if anything does
};

// nullopt: this card does not tell, e.g. a slice of it (MIG).
struct CardState {
  std::optional<double> utilization;          // share of the last moments, up to a second, in which any kernel ran
  std::optional<double> power_watts;
  std::optional<double> temperature_celsius;  // of the chip
  std::optional<int64_t> memory_bytes;        // all of it
  std::optional<int64_t> used_memory_bytes;   // by all processes and the driver
  std::optional<Throttling> throttling;
  std::optional<int64_t> received_bytes, sent_bytes;  // by the card over the bus; they may begin again at 0
};

// Thread-safe, as the library is.
class Nvml {
 public:
  // It stays loaded. NotFound without the library; FailedPrecondition, with its number, when it cannot start.
  static absl::StatusOr<Nvml> Load(const std::string& library = "libnvidia-ml.so.1");

  // Of the card at that place of the bus (CudaCard::pci_bus_id); takes no longer than microseconds. FailedPrecondition,
  // with its number, for a card that is not there (any more).
  absl::StatusOr<CardState> Ask(const std::string& pci_bus_id) const;

 private:
  // NVML's structures and functions, by its documentation; all functions return 0, or an error's number.
  using Card = void*;
  struct Utilization {
    unsigned gpu, memory;  // percent
  };
  struct Memory {
    unsigned long long total, free, used;  // bytes
  };

  struct Field {
    unsigned id = 0, scope = 0;
    long long timestamp = 0, latency = 0;  // microseconds
    int type = 0, result = 0;              // result: as of a function
    union {
      double real = 0;
      unsigned small;
      unsigned long long large;
    } value = {};
  };

  int (*card_)(const char* pci_bus_id, Card* card) = nullptr;
  int (*utilization_)(Card card, Utilization* utilization) = nullptr;
  int (*power_)(Card card, unsigned* milliwatts) = nullptr;
  int (*temperature_)(Card card, int sensor, unsigned* celsius) = nullptr;
  int (*memory_)(Card card, Memory* memory) = nullptr;
  int (*throttling_)(Card card, unsigned long long* reasons) = nullptr;
  int (*fields_)(Card card, int count, Field* fields) = nullptr;
};

}  // namespace flowawr
