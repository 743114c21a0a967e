#include "learner/run_record.h"

#include "common/base/status.h"

namespace flowawr {
namespace {

constexpr char kEvents[] = "the TensorBoard events";

}  // namespace

absl::Status RunRecord::Open() {
  return hold_.Persist(kEvents, [this]() -> absl::Status {
    FLOWAWR_ASSIGN_OR_RETURN(events_, EventWriter::Create(directory_.path() + "/events"));
    return absl::OkStatus();
  });
}

absl::Status RunRecord::Write(const std::string& line, uint64_t update, const Scalars& scalars) {
  FLOWAWR_RETURN_IF_ERROR(hold_.Persist("metrics.jsonl", [&] { return directory_.AppendMetrics(line); }));
  for (const auto& [tag, value] : scalars)
    FLOWAWR_RETURN_IF_ERROR(hold_.Persist(kEvents, [&, tag = tag, value = value] {
      return events_->AddScalar(tag, static_cast<int64_t>(update), value);
    }));
  return absl::OkStatus();
}

absl::Status RunRecord::WriteImage(const std::string& tag, uint64_t update, const Image& image) {
  FLOWAWR_ASSIGN_OR_RETURN(const std::string png, EncodePng(image));
  return hold_.Persist(kEvents, [&] {
    return events_->AddImage(tag, static_cast<int64_t>(update), image.height, image.width, png);
  });
}

}  // namespace flowawr
