// A library with what nvml.cc asks NVIDIA's management library for: one card, at 0000:65:00.0, that is hot, and one at
// 0000:66:00.0 that tells its memory only. PRETEND_NVML_ERROR is what nvmlInit_v2() then answers.
#include <cstdlib>
#include <cstring>

namespace {

constexpr int kNotSupported = 3, kNotFound = 6;
int cards[2];
bool Tells(const void* card) { return card == &cards[0]; }

}  // namespace

extern "C" {
int nvmlInit_v2() {
  const char* const error = std::getenv("PRETEND_NVML_ERROR");
  return error == nullptr ? 0 : std::atoi(error);
}
int nvmlDeviceGetHandleByPciBusId_v2(const char* place, void** card) {
  if (std::strcmp(place, "0000:65:00.0") == 0) return *card = &cards[0], 0;
  if (std::strcmp(place, "0000:66:00.0") == 0) return *card = &cards[1], 0;
  return kNotFound;
}
int nvmlDeviceGetUtilizationRates(void* card, unsigned percent[2]) {
  if (!Tells(card)) return kNotSupported;
  return percent[0] = 87, percent[1] = 12, 0;
}
int nvmlDeviceGetPowerUsage(void* card, unsigned* milliwatts) {
  return Tells(card) ? *milliwatts = 654321, 0 : kNotSupported;
}
int nvmlDeviceGetTemperature(void* card, int sensor, unsigned* celsius) {
  return Tells(card) && sensor == 0 ? *celsius = 84, 0 : kNotSupported;
}
int nvmlDeviceGetMemoryInfo(void*, unsigned long long total_free_used[3]) {
  total_free_used[0] = 80000000000, total_free_used[1] = 9000000000, total_free_used[2] = 71000000000;
  return 0;
}
int nvmlDeviceGetCurrentClocksThrottleReasons(void* card, unsigned long long* reasons) {
  return Tells(card) ? *reasons = 0x8 | 0x40 | 0x1, 0 : kNotSupported;
}
struct Field {  // as nvml.h of the driver has it
  unsigned id, scope;
  long long timestamp, latency;
  int type, result;
  unsigned long long value;
};
static_assert(sizeof(Field) == 40);
int nvmlDeviceGetFieldValues(void* card, int count, Field* fields) {
  for (Field* field = fields; field < fields + count; ++field) {
    field->result = Tells(card) && (field->id == 197 || field->id == 198) ? 0 : kNotSupported;
    field->type = 3;
    field->value = field->id == 197 ? 5000000000 : 9000000000;
  }
  return 0;
}
}
