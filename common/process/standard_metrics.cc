#include "common/process/standard_metrics.h"

#include <optional>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "common/base/clock.h"
#include "common/rpc/call_counts.h"
#include "common/rpc/rejects.h"
#include "common/rpc/tls_files.h"
#include "common/telemetry/metric_catalogue.h"
#include "common/telemetry/process_metrics.h"
#include "common/tensor/device_cards.h"
#include "common/tensor/device_memory.h"
#include "common/tensor/device_transfers.h"

namespace flowawr {
namespace {

using Families = std::vector<prometheus::MetricFamily>;

constexpr absl::Duration kCertificateAge = absl::Minutes(1);

void AddCalls(Families& out) {
  prometheus::MetricFamily calls = FamilyOf("flowawr_rpc_calls_total"),
                           received = FamilyOf("flowawr_rpc_received_bytes_total"),
                           sent = FamilyOf("flowawr_rpc_sent_bytes_total"),
                           rejected = FamilyOf("flowawr_rpc_rejected_calls_total");
  for (const CallCounts& counts : CountedCalls()) {
    const prometheus::ClientMetric::Label side = {"side", counts.is_server ? "server" : "client"},
                                          method = {"method", counts.method};
    AddMetric(received, static_cast<double>(counts.received_bytes), {method, side});
    AddMetric(sent, static_cast<double>(counts.sent_bytes), {method, side});
    for (const auto& [code, number] : counts.ended)
      AddMetric(calls, static_cast<double>(number), {{"code", code}, method, side});
  }
  for (const Reject reason : kRejects)
    AddMetric(rejected, static_cast<double>(RejectsOf(reason)), {{"reason", NameOf(reason)}});
  for (prometheus::MetricFamily* family : {&calls, &received, &sent, &rejected})
    if (!family->metric.empty()) out.push_back(std::move(*family));
}

void AddDeviceMemory(Families& out) {
  prometheus::MetricFamily allocated = FamilyOf("flowawr_device_memory_allocated_bytes"),
                           reserved = FamilyOf("flowawr_device_memory_reserved_bytes"),
                           peak = FamilyOf("flowawr_device_memory_peak_bytes");
  for (const auto& [device, memory] : MemoryByDevice()) {
    AddMetric(allocated, static_cast<double>(memory.allocated), {{"device", device}});
    AddMetric(reserved, static_cast<double>(memory.reserved), {{"device", device}});
    AddMetric(peak, static_cast<double>(memory.peak), {{"device", device}});
  }
  for (prometheus::MetricFamily* family : {&allocated, &reserved, &peak})
    if (!family->metric.empty()) out.push_back(std::move(*family));
}

void AddDeviceTransfers(Families& out) {
  prometheus::MetricFamily transfers = FamilyOf("flowawr_device_transfer_bytes_total");
  for (const auto& [device, bytes] : TransfersByDevice()) {
    AddMetric(transfers, static_cast<double>(bytes.up), {{"device", device}, {"direction", "up"}});
    AddMetric(transfers, static_cast<double>(bytes.down), {{"device", device}, {"direction", "down"}});
  }
  if (!transfers.metric.empty()) out.push_back(std::move(transfers));
}

// A family of what `of` tells of those cards that tell it; empty: none does.
template <typename Value>
prometheus::MetricFamily CardFamily(absl::string_view name, const std::map<std::string, CardState>& cards,
                                    std::optional<Value> CardState::* of) {
  prometheus::MetricFamily family = FamilyOf(name);
  for (const auto& [device, card] : cards)
    if (card.*of) AddMetric(family, static_cast<double>(*(card.*of)), {{"device", device}});
  return family;
}

class StandardMetrics : public prometheus::Collectable {
 public:
  explicit StandardMetrics(const v1::NetworkConfig& network) : network_(network) {}

  Families Collect() const override {
    Families families = ProcessMetrics();
    AddCalls(families);
    AddDeviceMemory(families);
    AddDeviceTransfers(families);
    for (prometheus::MetricFamily& family : CardMetrics(CardsInUse())) families.push_back(std::move(family));
    if (const absl::StatusOr<absl::Time> expiry = Expiry(); expiry.ok())
      families.push_back(SingleMetric("flowawr_tls_certificate_expiry_timestamp_seconds",
                                      absl::ToDoubleSeconds(*expiry - absl::UnixEpoch())));
    return families;
  }

 private:
  absl::StatusOr<absl::Time> Expiry() const {
    absl::MutexLock lock(&mutex_);
    if (MonotonicNow() >= next_look_) {
      next_look_ = MonotonicNow() + kCertificateAge;
      expiry_ = CertificateExpiry(network_);
    }
    return expiry_;
  }

  const v1::NetworkConfig network_;
  mutable absl::Mutex mutex_;
  mutable absl::Time next_look_ ABSL_GUARDED_BY(mutex_) = absl::InfinitePast();
  mutable absl::StatusOr<absl::Time> expiry_ ABSL_GUARDED_BY(mutex_) = absl::UnknownError("not read yet");
};

}  // namespace

std::vector<prometheus::MetricFamily> CardMetrics(const std::map<std::string, CardState>& cards) {
  Families families = {CardFamily("flowawr_device_memory_size_bytes", cards, &CardState::memory_bytes),
                       CardFamily("flowawr_device_used_memory_bytes", cards, &CardState::used_memory_bytes),
                       CardFamily("flowawr_device_utilization_ratio", cards, &CardState::utilization),
                       CardFamily("flowawr_device_power_watts", cards, &CardState::power_watts),
                       CardFamily("flowawr_device_temperature_celsius", cards, &CardState::temperature_celsius)};
  prometheus::MetricFamily& bus = families.emplace_back(FamilyOf("flowawr_device_bus_bytes_total"));
  for (const auto& [device, card] : cards) {
    if (card.received_bytes)
      AddMetric(bus, static_cast<double>(*card.received_bytes), {{"device", device}, {"direction", "up"}});
    if (card.sent_bytes)
      AddMetric(bus, static_cast<double>(*card.sent_bytes), {{"device", device}, {"direction", "down"}});
  }
  prometheus::MetricFamily& throttled = families.emplace_back(FamilyOf("flowawr_device_throttled"));
  for (const auto& [device, card] : cards) {
    if (!card.throttling) continue;
    for (const auto& [reason, holds] : {std::pair("power_cap", card.throttling->power_cap),
                                        std::pair("software_thermal", card.throttling->software_thermal),
                                        std::pair("hardware_thermal", card.throttling->hardware_thermal),
                                        std::pair("power_brake", card.throttling->power_brake),
                                        std::pair("hardware", card.throttling->hardware)})
      AddMetric(throttled, holds ? 1 : 0, {{"device", device}, {"reason", reason}});
  }
  std::erase_if(families, [](const prometheus::MetricFamily& family) { return family.metric.empty(); });
  return families;
}

std::shared_ptr<prometheus::Collectable> MakeStandardMetrics(const v1::NetworkConfig& network) {
  return std::make_shared<StandardMetrics>(network);
}

}  // namespace flowawr
