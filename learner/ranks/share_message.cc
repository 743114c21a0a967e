#include "learner/ranks/share_message.h"

#include <torch/types.h>

#include <algorithm>
#include <cstring>
#include <exception>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "common/tensor/device_error.h"
#include "common/tensor/transfer.h"

namespace flowawr {
namespace {

constexpr size_t kMostChunks = size_t{1} << 24;
constexpr int64_t kFixedFigures = 3;  // of PackChunk(), before the algorithm's
constexpr size_t kMostNames = 64, kMostNameBytes = 64;
constexpr int64_t kMostSteps = 1 << 16;  // of a rollout
constexpr int64_t kTextOfAChunk = 64, kTextOfANode = 128;

absl::Status Refused(const std::string& why) {
  return absl::InvalidArgumentError(absl::StrCat("a rank's message: ", why));
}

// A message's text as JSON. JSON of another shape is told by an exception.
template <typename Result>
absl::StatusOr<Result> ReadText(const std::string& text,
                                const std::function<absl::StatusOr<Result>(const nlohmann::json& header)>& read) {
  try {
    return read(nlohmann::json::parse(text));
  } catch (const nlohmann::json::exception& error) {
    return Refused(error.what());
  } catch (const c10::Error& error) {
    return Refused(error.what_without_backtrace());
  } catch (const std::exception& error) {  // a number beyond its list
    return Refused(error.what());
  }
}

// Taken out of `tensors`, so that what is left has been asked for by nobody.
absl::StatusOr<at::Tensor> Take(std::map<std::string, at::Tensor>& tensors, const std::string& name, at::ScalarType dtype,
                                const std::vector<int64_t>& dims) {
  const auto found = tensors.find(name);
  if (found == tensors.end()) return Refused(absl::StrCat("it lacks ", name));
  at::Tensor tensor = std::move(found->second);
  tensors.erase(found);
  if (tensor.scalar_type() != dtype || tensor.sizes() != at::IntArrayRef(dims))
    return Refused(absl::StrCat(name, " is of another type or shape"));
  return tensor;
}

absl::Status CheckNothingIsLeft(const RankMessage& message) {
  for (const auto* tensors : {&message.tensors, &message.vectors})
    if (!tensors->empty()) return Refused(absl::StrCat(tensors->begin()->first, " belongs nowhere"));
  return absl::OkStatus();
}

// ---- shares

std::string Name(size_t group, const std::string& tensor) { return absl::StrCat("group/", group, "/", tensor); }
std::string OldName(uint64_t version) { return absl::StrCat("old/", version); }

at::Tensor BytesTensor(const std::string& bytes) {
  at::Tensor tensor = at::empty({static_cast<int64_t>(bytes.size())}, at::kByte);
  std::memcpy(tensor.data_ptr(), bytes.data(), bytes.size());
  return tensor;
}

// The message that lies in a tensor of bytes.
template <typename Message>
absl::StatusOr<Message> TakeProto(std::map<std::string, at::Tensor>& tensors, const std::string& name) {
  const auto found = tensors.find(name);
  const int64_t size = found == tensors.end() ? 0 : found->second.numel();
  FLOWAWR_ASSIGN_OR_RETURN(const at::Tensor bytes, Take(tensors, name, at::kByte, {size}));
  Message message;
  if (size > INT32_MAX || !message.ParseFromArray(bytes.const_data_ptr(), static_cast<int>(size)))
    return Refused(absl::StrCat(name, " is damaged"));
  return message;
}

absl::StatusOr<Group> TakeGroup(std::map<std::string, at::Tensor>& tensors, size_t number, const GroupShape& shape) {
  Group group;
  FLOWAWR_ASSIGN_OR_RETURN(group.lease, TakeProto<v1::Lease>(tensors, Name(number, "lease")));
  FLOWAWR_ASSIGN_OR_RETURN(group.header, TakeProto<v1::GroupHeader>(tensors, Name(number, "header")));
  for (const GroupTensor& tensor : GroupSchema(group.lease, shape)) {
    if (tensor.field == &GroupTensors::images) continue;
    std::vector<int64_t> dims = tensor.dims;
    const auto found = tensors.find(Name(number, tensor.name));
    if (tensor.variable >= 0 && found != tensors.end() && found->second.dim() == static_cast<int64_t>(dims.size()))
      dims[tensor.variable] = std::clamp<int64_t>(found->second.size(tensor.variable), 1, dims[tensor.variable]);
    FLOWAWR_ASSIGN_OR_RETURN(group.*tensor.field, Take(tensors, Name(number, tensor.name), tensor.dtype, dims));
  }
  return group;
}

// The positions of a group's samples that are trained on.
absl::StatusOr<std::vector<int64_t>> TakeSamples(std::map<std::string, at::Tensor>& tensors, size_t number, int64_t samples) {
  const std::string name = Name(number, "samples");
  const auto found = tensors.find(name);
  const int64_t size = found == tensors.end() ? 0 : found->second.numel();
  FLOWAWR_ASSIGN_OR_RETURN(const at::Tensor tensor, Take(tensors, name, at::kLong, {size}));
  std::vector<int64_t> positions(tensor.const_data_ptr<int64_t>(), tensor.const_data_ptr<int64_t>() + size);
  for (size_t i = 0; i < positions.size(); ++i)
    if (positions[i] < (i == 0 ? 0 : positions[i - 1] + 1) || positions[i] >= samples)
      return Refused(absl::StrCat(name, " are none of its ", samples));
  return positions;
}

absl::Status ReadChunks(const nlohmann::json& header, RankShare& share) {
  const size_t chunks = header.at("chunks"), begin = header.at("begin");
  const nlohmann::json& range = header.at("range");
  if (chunks > kMostChunks || begin > chunks || range.size() > chunks - begin)
    return Refused("its chunks are not among those of the update");
  share.range = {begin, begin};
  share.plan.chunks.assign(chunks, Chunk{.is_idle = true});
  for (const nlohmann::json& entry : range) {
    const int64_t group = entry.at(0), first = entry.at(1), last = entry.at(2);
    Chunk& chunk = share.plan.chunks[share.range.end++];
    if (group < 0) continue;
    if (static_cast<size_t>(group) >= share.batch.size() || first < 0 || last <= first)
      return Refused("a chunk of it is of no group");
    chunk = {.group = static_cast<size_t>(group), .begin = first, .end = last};
  }
  return absl::OkStatus();
}

// ---- gradients

// What a TreeSum of `size` parts has for exactly the parts of `range`.
void AddNodes(TreeNode node, ChunkRange range, std::vector<TreeNode>& nodes) {
  if (node.end <= range.begin || node.begin >= range.end) return;
  if (node.begin >= range.begin && node.end <= range.end) return nodes.push_back(node);
  AddNodes({node.begin, node.middle()}, range, nodes);
  AddNodes({node.middle(), node.end}, range, nodes);
}
std::vector<TreeNode> NodesOf(const GradientPlan& plan, ChunkRange range) {
  std::vector<TreeNode> nodes;
  if (range.size() > 0) AddNodes({0, plan.chunks.size()}, range, nodes);
  return nodes;
}

bool IsIdle(const GradientPlan& plan, TreeNode node) {
  return std::all_of(plan.chunks.begin() + static_cast<std::ptrdiff_t>(node.begin),
                     plan.chunks.begin() + static_cast<std::ptrdiff_t>(node.end), [](const Chunk& c) { return c.is_idle; });
}

std::string Name(TreeNode node) { return absl::StrCat("node/", node.begin, "/", node.end); }

// They become names of figures that people see.
bool IsName(const std::string& name) {
  return !name.empty() && name.size() <= kMostNameBytes && std::all_of(name.begin(), name.end(), [](unsigned char c) {
    return absl::ascii_isalnum(c) || c == '_' || c == '/';
  });
}

}  // namespace

absl::StatusOr<RankMessage> ShareMessage(const GradientRequest& request, const OldAdapters& old, const GradientPlan& plan,
                                         ChunkRange range) {
  RankMessage message{.word = RankWord::kCompute};
  const absl::Status made = OnDevice("making a rank's share", at::kCPU, [&] {
    nlohmann::json header = {{"update", request.update},
                             {"chunks", plan.chunks.size()},
                             {"begin", range.begin},
                             {"range", nlohmann::json::array()},
                             {"is_all_equal", nlohmann::json::array()}};
    std::map<size_t, size_t> sent;  // number in the message, by position in the batch
    std::vector<int64_t> positions;
    for (size_t i = range.begin; i < range.end; ++i) {
      const Chunk& chunk = plan.chunks[i];
      if (!chunk.is_idle && sent.try_emplace(chunk.group, sent.size()).second)
        positions.push_back(static_cast<int64_t>(chunk.group));
      header["range"].push_back({chunk.is_idle ? -1 : static_cast<int64_t>(sent.at(chunk.group)), chunk.begin, chunk.end});
    }
    message.vectors["current"] = request.current.flat();
    for (size_t number = 0; number < positions.size(); ++number) {
      const auto position = static_cast<size_t>(positions[number]);
      const Group& group = request.batch[position];
      for (const GroupTensor& tensor : GroupSchema(group.lease, {}))
        if (tensor.field != &GroupTensors::images) message.tensors[Name(number, tensor.name)] = group.*tensor.field;
      message.tensors[Name(number, "lease")] = BytesTensor(group.lease.SerializeAsString());
      message.tensors[Name(number, "header")] = BytesTensor(group.header.SerializeAsString());
      message.tensors[Name(number, "samples")] = at::tensor(plan.samples[position]);
      header["is_all_equal"].push_back(static_cast<bool>(request.is_all_equal[position]));
      const uint64_t version = group.lease.policy_version();
      if (const LoraAdapter* adapter = old.at(version)) message.vectors[OldName(version)] = adapter->flat();
    }
    if (!positions.empty()) message.tensors["signals"] = request.signals.index_select(0, at::tensor(positions));
    message.text = header.dump();
    return absl::OkStatus();
  });
  if (!made.ok()) return made;
  return message;
}

absl::StatusOr<RankShare> ParseShare(RankMessage message, const std::shared_ptr<const LoraLayout>& layout,
                                     const GroupShape& shape) {
  return ReadText<RankShare>(message.text, [&](const nlohmann::json& header) -> absl::StatusOr<RankShare> {
    FLOWAWR_ASSIGN_OR_RETURN(const at::Tensor current, Take(message.vectors, "current", at::kFloat, {layout->size()}));
    RankShare share{.update = header.at("update"), .current = LoraAdapter(layout, current)};
    for (const nlohmann::json& is_all_equal : header.at("is_all_equal")) {
      const size_t number = share.batch.size();
      FLOWAWR_ASSIGN_OR_RETURN(Group group, TakeGroup(message.tensors, number, shape));
      FLOWAWR_ASSIGN_OR_RETURN(share.plan.samples.emplace_back(), TakeSamples(message.tensors, number, group.x0.size(0)));
      const uint64_t version = group.lease.policy_version();
      if (!share.old.contains(version) && message.vectors.contains(OldName(version))) {
        FLOWAWR_ASSIGN_OR_RETURN(const at::Tensor flat,
                                 Take(message.vectors, OldName(version), at::kFloat, {layout->size()}));
        share.old.emplace(version, LoraAdapter(layout, flat));
      }
      share.batch.push_back(std::move(group));
      share.is_all_equal.push_back(is_all_equal);
    }
    if (!share.batch.empty()) {
      const auto groups = static_cast<int64_t>(share.batch.size());
      FLOWAWR_ASSIGN_OR_RETURN(share.signals,
                               Take(message.tensors, "signals", at::kFloat, {groups, share.batch[0].x0.size(0)}));
    }
    for (const Group& group : share.batch)
      if (group.x0.size(0) != share.signals.size(1)) return Refused("its groups differ in size");
    FLOWAWR_RETURN_IF_ERROR(ReadChunks(header, share));
    FLOWAWR_RETURN_IF_ERROR(CheckNothingIsLeft(message));
    return share;
  });
}

absl::StatusOr<RankMessage> PartialMessage(const PartialGradient& partial) {
  RankMessage message{.word = RankWord::kResult};
  for (const auto& [node, gradient] : partial.nodes)
    if (gradient.defined()) message.vectors[Name(node)] = gradient;
  nlohmann::json header = {{"lists", nlohmann::json::array()}, {"chunks", nlohmann::json::array()}};
  std::map<std::vector<std::string>, size_t> lists;  // of names, which nearly all chunks have in common
  std::vector<int64_t> steps;
  std::vector<at::Tensor> values;
  for (const ChunkFigures& figures : partial.figures) {
    const auto [list, is_new] = lists.try_emplace(figures.names, lists.size());
    if (is_new) header["lists"].push_back(figures.names);
    header["chunks"].push_back({figures.is_old_another, list->second});
    steps.insert(steps.end(), figures.steps.begin(), figures.steps.end());
    FLOWAWR_RETURN_IF_ERROR(OnDevice("computing a share of an update's gradient", figures.values.device(), [&] {
      values.push_back(MovedTo(figures.values, at::kCPU));
      return absl::OkStatus();
    }));
  }
  if (!values.empty()) {
    message.tensors["steps"] = at::tensor(steps, at::kLong);
    message.tensors["values"] = at::cat(values);
  }
  message.text = header.dump();
  return message;
}

MessageBound PartialBound(const GradientPlan& plan, ChunkRange range, int64_t size) {
  int64_t rows = 0;
  for (size_t i = range.begin; i < range.end; ++i) rows += plan.chunks[i].end - plan.chunks[i].begin;
  const auto nodes = static_cast<int64_t>(NodesOf(plan, range).size()), chunks = static_cast<int64_t>(range.size());
  const int64_t figures = 2 * rows + chunks * (kFixedFigures + static_cast<int64_t>(kMostNames));
  return {.text_bytes = MessageBound().text_bytes + chunks * kTextOfAChunk + nodes * kTextOfANode,
          .tensor_bytes = nodes * size * static_cast<int64_t>(sizeof(float)) + figures * static_cast<int64_t>(sizeof(double))};
}

absl::StatusOr<PartialGradient> ParsePartial(RankMessage message, const GradientPlan& plan, ChunkRange range, int64_t size) {
  return ReadText<PartialGradient>(message.text, [&](const nlohmann::json& header) -> absl::StatusOr<PartialGradient> {
    PartialGradient partial;
    for (const TreeNode node : NodesOf(plan, range)) {
      at::Tensor& gradient = partial.nodes[node];
      if (IsIdle(plan, node)) continue;
      FLOWAWR_ASSIGN_OR_RETURN(gradient, Take(message.vectors, Name(node), at::kFloat, {size}));
    }
    const std::vector<std::vector<std::string>> lists = header.at("lists");
    for (const std::vector<std::string>& names : lists)
      if (names.size() > kMostNames || !std::all_of(names.begin(), names.end(), IsName))
        return Refused("its figures have no names");
    const nlohmann::json& chunks = header.at("chunks");
    int64_t rows = 0, numbers = 0;
    for (size_t i = range.begin; i < range.end; ++i) {
      const Chunk& chunk = plan.chunks[i];
      if (chunk.is_idle) continue;
      const nlohmann::json& entry = chunks.at(partial.figures.size());
      ChunkFigures& figures = partial.figures.emplace_back(
          ChunkFigures{.group = chunk.group, .is_old_another = entry.at(0), .names = lists.at(entry.at(1).get<size_t>())});
      rows += chunk.end - chunk.begin;
      numbers += kFixedFigures + static_cast<int64_t>(figures.names.size()) + chunk.end - chunk.begin;
    }
    if (chunks.size() != partial.figures.size()) return Refused("it has figures of other chunks");
    if (!partial.figures.empty()) {
      FLOWAWR_ASSIGN_OR_RETURN(const at::Tensor steps, Take(message.tensors, "steps", at::kLong, {rows}));
      FLOWAWR_ASSIGN_OR_RETURN(const at::Tensor values, Take(message.tensors, "values", at::kDouble, {numbers}));
      const int64_t* step = steps.const_data_ptr<int64_t>();
      int64_t offset = 0;
      auto figures = partial.figures.begin();
      for (size_t i = range.begin; i < range.end; ++i) {
        const Chunk& chunk = plan.chunks[i];
        if (chunk.is_idle) continue;
        figures->steps.assign(step, step + (chunk.end - chunk.begin));
        for (const int64_t of_row : figures->steps)
          if (of_row < 0 || of_row >= kMostSteps) return Refused("its rows are at no step of a rollout");
        const int64_t count = kFixedFigures + static_cast<int64_t>(figures->names.size()) + figures->rows();
        figures->values = values.narrow(0, offset, count);
        step += figures->rows(), offset += count, ++figures;
      }
    }
    FLOWAWR_RETURN_IF_ERROR(CheckNothingIsLeft(message));
    return partial;
  });
}

}  // namespace flowawr
