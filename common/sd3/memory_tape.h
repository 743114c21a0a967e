// What LibTorch's autograd keeps and when it lets go, on a MemoryLedger instead of tensors.
//
// A node keeps what it saved until its backward step is done. Nodes run in the reverse order of their making, as those
// of a graph that is one thread's work do; gradients that meet are added in place.
#pragma once

#include <functional>
#include <utility>
#include <vector>

#include "common/sd3/memory_ledger.h"

namespace flowawr {

class MemoryTape {
 public:
  using Block = MemoryLedger::Block;
  using Blocks = std::vector<Block>;

  // Where a gradient goes: output `output` of node `node`. The default goes nowhere: none is wanted.
  struct Edge {
    int node = -1;
    int output = 0;
    bool is_wanted() const { return node >= 0; }
  };
  // From the gradients of a node's outputs (null where none came) to those of its inputs.
  using Backward = std::function<Blocks(const Blocks& gradients)>;

  // Something whose gradient is asked for in the end, by Take().
  Edge AddLeaf() { return {Add({}, {}, 1, nullptr), 0}; }
  int Add(Blocks saved, std::vector<Edge> inputs, int outputs, Backward backward) {
    nodes_.push_back({std::move(saved), std::move(inputs), Blocks(outputs), std::move(backward)});
    return static_cast<int>(nodes_.size()) - 1;
  }

  void Send(Edge edge, Block gradient) {
    if (!edge.is_wanted() || gradient == nullptr) return;
    Block& sum = nodes_[edge.node].gradients[edge.output];
    if (sum == nullptr) sum = std::move(gradient);
  }

  // From what was sent. Leaves nothing but the gradients of leaves.
  void Run() {
    for (int index = static_cast<int>(nodes_.size()) - 1; index >= 0; --index) {
      if (nodes_[index].backward == nullptr) continue;
      Node node = std::exchange(nodes_[index], {});
      bool has_gradient = false;
      for (const Block& gradient : node.gradients) has_gradient = has_gradient || gradient != nullptr;
      if (!has_gradient) continue;
      Blocks out = node.backward(node.gradients);
      for (size_t input = 0; input < node.inputs.size(); ++input) Send(node.inputs[input], std::move(out[input]));
    }
  }

  Block Take(Edge leaf) { return leaf.is_wanted() ? std::move(nodes_[leaf.node].gradients[leaf.output]) : nullptr; }

 private:
  struct Node {
    Blocks saved;
    std::vector<Edge> inputs;
    Blocks gradients;
    Backward backward;
  };
  std::vector<Node> nodes_;
};

}  // namespace flowawr
