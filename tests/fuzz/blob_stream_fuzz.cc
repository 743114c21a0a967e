// Streams of chunks, right and wrong in every way: what the assembler hands out is always what the header announced.
#include <fuzzer/FuzzedDataProvider.h>

#include <cstdlib>
#include <string>

#include "common/rpc/blob_stream.h"

using flowawr::BlobAssembler;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  constexpr uint64_t kMaxBytes = 4096;
  FuzzedDataProvider input(data, size);
  const std::string blob = input.ConsumeRandomLengthString(2 * kMaxBytes);
  flowawr::v1::BlobHeader header = flowawr::MakeBlobHeader(blob);
  if (input.ConsumeBool()) header.set_size(input.ConsumeIntegral<uint64_t>());
  if (input.ConsumeBool()) header.set_sha256(input.ConsumeRandomLengthString(40));
  auto assembler = BlobAssembler::Create(header, kMaxBytes);
  if (!assembler.ok()) return 0;
  if (header.size() > kMaxBytes || header.sha256().size() != 32) abort();

  bool is_intact = true;
  uint64_t next = 0;  // what an honest sender would send next
  while (is_intact && input.remaining_bytes() > 0) {
    flowawr::v1::BlobChunk chunk;
    const bool is_honest = input.ConsumeBool() && next < blob.size();
    if (is_honest) {
      chunk.set_offset(next);
      chunk.set_data(blob.substr(next, input.ConsumeIntegralInRange<uint64_t>(1, kMaxBytes)));
    } else {
      chunk.set_offset(input.ConsumeBool() ? next : input.ConsumeIntegral<uint64_t>());
      chunk.set_data(input.ConsumeRandomLengthString(kMaxBytes));
    }
    next += chunk.data().size();
    is_intact = assembler->Add(chunk).ok();
    if (is_intact && next > header.size()) abort();
  }
  if (!is_intact) return 0;
  const auto received = assembler->Finish();
  if (received.ok() && (received->size() != header.size() || flowawr::Sha256(*received) != header.sha256())) abort();
  return 0;
}
