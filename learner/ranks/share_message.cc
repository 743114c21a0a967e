#include "learner/ranks/share_message.h"

#include <torch/types.h>

#include <cstring>
#include <functional>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "common/rollout/group_schema.h"
#include "common/tensor/safetensors.h"

namespace flowawr {
namespace {

constexpr char kShare[] = "share";  // the metadata that has all that is no tensor
constexpr char kPartial[] = "partial";

at::Tensor BytesTensor(const std::string& bytes) {
  at::Tensor tensor = at::empty({static_cast<int64_t>(bytes.size())}, at::kByte);
  std::memcpy(tensor.data_ptr(), bytes.data(), bytes.size());
  return tensor;
}

absl::StatusOr<at::Tensor> Find(const SafetensorsFile& file, const std::string& name) {
  const auto found = file.tensors().find(name);
  if (found == file.tensors().end()) return absl::InvalidArgumentError(absl::StrCat("a rank's message lacks ", name));
  return found->second;
}

absl::StatusOr<nlohmann::json> Header(const SafetensorsFile& file, const char* name) {
  const auto text = file.metadata().find(name);
  nlohmann::json header = nlohmann::json::parse(text == file.metadata().end() ? "" : text->second, nullptr, false);
  if (header.is_discarded()) return absl::InvalidArgumentError(absl::StrCat("a rank's message is no ", name));
  return header;
}

// JSON of another shape is told by an exception.
template <typename Result>
absl::StatusOr<Result> Read(const std::function<absl::StatusOr<Result>()>& read) {
  try {
    return read();
  } catch (const nlohmann::json::exception& error) {
    return absl::InvalidArgumentError(absl::StrCat("a rank's message: ", error.what()));
  } catch (const c10::Error& error) {
    return absl::InvalidArgumentError(absl::StrCat("a rank's message: ", error.what_without_backtrace()));
  }
}

std::string Name(size_t group, const std::string& tensor) { return absl::StrCat("group/", group, "/", tensor); }

}  // namespace

absl::StatusOr<std::string> SerializeShare(const GradientRequest& request, const OldAdapters& old,
                                           const GradientPlan& plan, ChunkRange range) {
  std::map<std::string, at::Tensor> tensors = {{"current", request.current.flat()}};
  nlohmann::json header = {{"update", request.update}, {"chunks", plan.chunks.size()}, {"begin", range.begin}};
  std::map<size_t, size_t> sent;  // number in the message, by position in the batch
  std::vector<int64_t> positions;
  for (size_t i = range.begin; i < range.end; ++i) {
    const Chunk& chunk = plan.chunks[i];
    if (!chunk.is_idle && sent.try_emplace(chunk.group, sent.size()).second)
      positions.push_back(static_cast<int64_t>(chunk.group));
    header["range"].push_back({chunk.is_idle ? -1 : static_cast<int64_t>(sent.at(chunk.group)), chunk.begin, chunk.end});
  }
  header["groups"] = positions.size();
  for (const auto& [position, number] : sent) {
    const Group& group = request.batch[position];
    for (const GroupTensor& tensor : GroupSchema(group.lease, {}))
      if (const at::Tensor& x = group.*tensor.field; x.defined() && tensor.field != &GroupTensors::images)
        tensors[Name(number, tensor.name)] = x;
    tensors[Name(number, "lease")] = BytesTensor(group.lease.SerializeAsString());
    tensors[Name(number, "header")] = BytesTensor(group.header.SerializeAsString());
    tensors[Name(number, "samples")] = at::tensor(plan.samples[position]);
    header["is_all_equal"].push_back(static_cast<bool>(request.is_all_equal[position]));
    const uint64_t version = group.lease.policy_version();
    if (const LoraAdapter* adapter = old.at(version)) tensors[absl::StrCat("old/", version)] = adapter->flat();
  }
  if (!positions.empty()) tensors["signals"] = request.signals.index_select(0, at::tensor(positions));
  return SerializeSafetensors(tensors, {{kShare, header.dump()}});
}

absl::StatusOr<RankShare> ParseShare(std::string bytes, const std::shared_ptr<const LoraLayout>& layout) {
  FLOWAWR_ASSIGN_OR_RETURN(const SafetensorsFile file, SafetensorsFile::Parse(std::move(bytes), "a rank's share"));
  FLOWAWR_ASSIGN_OR_RETURN(const nlohmann::json header, Header(file, kShare));
  return Read<RankShare>([&]() -> absl::StatusOr<RankShare> {
    FLOWAWR_ASSIGN_OR_RETURN(const at::Tensor current, file.Get("current", at::kFloat, {layout->size()}));
    RankShare share{.update = header.at("update"), .current = LoraAdapter(layout, current)};
    for (const auto& [name, tensor] : file.tensors()) {
      uint64_t version = 0;
      if (!name.starts_with("old/") || !absl::SimpleAtoi(name.substr(4), &version)) continue;
      FLOWAWR_ASSIGN_OR_RETURN(const at::Tensor flat, file.Get(name, at::kFloat, {layout->size()}));
      share.old.emplace(version, LoraAdapter(layout, flat));
    }
    for (size_t i = 0; i < header.at("groups").get<size_t>(); ++i) {
      Group group;
      for (const char* name : {"lease", "header"}) {
        FLOWAWR_ASSIGN_OR_RETURN(const at::Tensor message, Find(file, Name(i, name)));
        const auto size = static_cast<int>(message.numel());
        const bool is_read = name == std::string("lease") ? group.lease.ParseFromArray(message.const_data_ptr(), size)
                                                          : group.header.ParseFromArray(message.const_data_ptr(), size);
        if (!is_read) return absl::InvalidArgumentError(absl::StrCat("a rank's message: ", Name(i, name), " is damaged"));
      }
      for (const GroupTensor& tensor : GroupSchema(group.lease, {}))
        if (const auto found = file.tensors().find(Name(i, tensor.name)); found != file.tensors().end())
          group.*tensor.field = found->second;
      FLOWAWR_ASSIGN_OR_RETURN(const at::Tensor samples, Find(file, Name(i, "samples")));
      share.plan.samples.emplace_back(samples.const_data_ptr<int64_t>(),
                                      samples.const_data_ptr<int64_t>() + samples.numel());
      share.batch.push_back(std::move(group));
      share.is_all_equal.push_back(header.at("is_all_equal").at(i));
    }
    if (!share.batch.empty()) {
      FLOWAWR_ASSIGN_OR_RETURN(share.signals, Find(file, "signals"));
    }
    share.range.begin = share.range.end = header.at("begin");
    share.plan.chunks.assign(header.at("chunks").get<size_t>(), Chunk{.is_idle = true});
    for (const nlohmann::json& entry : header.at("range")) {
      const int64_t group = entry.at(0);
      share.plan.chunks.at(share.range.end++) = {group < 0 ? 0 : static_cast<size_t>(group), entry.at(1), entry.at(2),
                                                 group < 0};
    }
    return share;
  });
}

absl::StatusOr<std::string> SerializePartial(const PartialGradient& partial) {
  std::map<std::string, at::Tensor> tensors;
  nlohmann::json header = {{"nodes", nlohmann::json::array()}, {"figures", nlohmann::json::array()}};
  for (const auto& [node, gradient] : partial.nodes) {
    header["nodes"].push_back({node.begin, node.end});
    if (gradient.defined()) tensors[absl::StrCat("node/", node.begin, "/", node.end)] = gradient;
  }
  std::vector<at::Tensor> values;
  for (const ChunkFigures& figures : partial.figures) {
    header["figures"].push_back({figures.is_old_another, figures.names, figures.steps, figures.values.numel()});
    values.push_back(figures.values.to(at::kCPU));
  }
  if (!values.empty()) tensors["figures"] = at::cat(values);
  return SerializeSafetensors(tensors, {{kPartial, header.dump()}});
}

absl::StatusOr<PartialGradient> ParsePartial(std::string bytes, const GradientPlan& plan, ChunkRange range) {
  FLOWAWR_ASSIGN_OR_RETURN(const SafetensorsFile file, SafetensorsFile::Parse(std::move(bytes), "a rank's gradient"));
  FLOWAWR_ASSIGN_OR_RETURN(const nlohmann::json header, Header(file, kPartial));
  return Read<PartialGradient>([&]() -> absl::StatusOr<PartialGradient> {
    PartialGradient partial;
    size_t next = range.begin;
    for (const nlohmann::json& entry : header.at("nodes")) {
      const TreeNode node{entry.at(0), entry.at(1)};
      if (node.begin != next || node.end <= next)
        return absl::InvalidArgumentError("a rank's gradient is not of the chunks that it was to compute");
      next = node.end;
      const auto found = file.tensors().find(absl::StrCat("node/", node.begin, "/", node.end));
      partial.nodes[node] = found == file.tensors().end() ? at::Tensor() : found->second;
    }
    if (next != range.end)
      return absl::InvalidArgumentError("a rank's gradient is not of the chunks that it was to compute");
    int64_t offset = 0;
    auto figures = header.at("figures").begin();
    for (size_t i = range.begin; i < range.end; ++i) {
      if (plan.chunks[i].is_idle) continue;
      if (figures == header.at("figures").end()) return absl::InvalidArgumentError("a rank's gradient lacks figures");
      FLOWAWR_ASSIGN_OR_RETURN(const at::Tensor values, Find(file, "figures"));
      const int64_t size = figures->at(3);
      partial.figures.push_back({.group = plan.chunks[i].group,
                                 .is_old_another = figures->at(0),
                                 .names = figures->at(1),
                                 .steps = figures->at(2),
                                 .values = values.narrow(0, offset, size)});
      offset += size;
      ++figures;
    }
    return partial;
  });
}

}  // namespace flowawr
