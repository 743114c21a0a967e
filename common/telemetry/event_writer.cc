#include "common/telemetry/event_writer.h"

#include <fcntl.h>
#include <isa-l/crc.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/base/file.h"
#include "common/base/ids.h"
#include "common/base/status.h"
#include "tensorboard/event.pb.h"

namespace flowawr {
namespace {

// CRC-32C, rotated and shifted as TensorFlow's record files want it.
uint32_t MaskedCrc32c(absl::string_view bytes) {
  auto* data = reinterpret_cast<unsigned char*>(const_cast<char*>(bytes.data()));  // only read
  const uint32_t crc = ~crc32_iscsi(data, static_cast<int>(bytes.size()), ~0u);
  return ((crc >> 15) | (crc << 17)) + 0xa282ead8u;
}

template <typename Integer>
std::string LittleEndian(Integer value) {
  std::string bytes(sizeof(value), '\0');
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(value >> (8 * i));
  return bytes;
}

tensorboard::Event NewEvent(int64_t step) {
  tensorboard::Event event;
  event.set_wall_time(absl::ToDoubleSeconds(absl::Now() - absl::UnixEpoch()));
  event.set_step(step);
  return event;
}

}  // namespace

absl::StatusOr<std::unique_ptr<EventWriter>> EventWriter::Create(const std::string& folder) {
  FLOWAWR_RETURN_IF_ERROR(MakeDirectories(folder));
  const std::string path =
      absl::StrCat(folder, "/events.out.tfevents.", absl::ToUnixSeconds(absl::Now()), ".", RandomId());
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (fd < 0) return ErrnoStatus(errno, "creating", path);
  std::unique_ptr<EventWriter> writer(new EventWriter(path, fd));
  tensorboard::Event first = NewEvent(0);
  first.set_file_version("brain.Event:2");
  FLOWAWR_RETURN_IF_ERROR(writer->WriteRecord(first.SerializeAsString()));
  return writer;
}

EventWriter::~EventWriter() { close(fd_); }

absl::Status EventWriter::AddScalar(absl::string_view tag, int64_t step, double value) {
  tensorboard::Event event = NewEvent(step);
  tensorboard::Summary::Value& entry = *event.mutable_summary()->add_value();
  entry.set_tag(std::string(tag));
  entry.set_simple_value(static_cast<float>(value));
  return WriteRecord(event.SerializeAsString());
}

absl::Status EventWriter::AddImage(absl::string_view tag, int64_t step, int height, int width, std::string png) {
  tensorboard::Event event = NewEvent(step);
  tensorboard::Summary::Value& entry = *event.mutable_summary()->add_value();
  entry.set_tag(std::string(tag));
  entry.mutable_image()->set_height(height);
  entry.mutable_image()->set_width(width);
  entry.mutable_image()->set_colorspace(3);
  entry.mutable_image()->set_encoded_image_string(std::move(png));
  return WriteRecord(event.SerializeAsString());
}

absl::Status EventWriter::WriteRecord(const std::string& event) {
  const std::string length = LittleEndian<uint64_t>(event.size());
  const std::string record = absl::StrCat(length, LittleEndian<uint32_t>(MaskedCrc32c(length)), event,
                                          LittleEndian<uint32_t>(MaskedCrc32c(event)));
  absl::MutexLock lock(&mutex_);
  return AppendWhole(fd_, path_, record);
}

}  // namespace flowawr
