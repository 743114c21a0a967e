// Adds numbered parts in an order of its own: the same bits whoever computed which part, and whenever.
//
// The parts [0, size) are halved again and again: [0, size) is the sum of [0, middle) and [middle, size), the first half
// the larger by at most one. Two halves are added as soon as both are there. A contiguous range of parts ends as a few
// nodes of that tree (at most 2 log2(size)), which another process can put into its own.
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <utility>
#include <vector>

namespace flowawr {

struct TreeNode {
  size_t begin = 0, end = 0;  // parts [begin, end)

  // Where it is halved.
  size_t middle() const { return begin + (end - begin + 1) / 2; }

  auto operator<=>(const TreeNode&) const = default;
};

// Not thread-safe. When parts come in about their order, about log2(size) sums wait at a time.
template <typename Sum>
class TreeSum {
 public:
  // `add` adds its second argument to its first.
  TreeSum(size_t size, std::function<void(Sum&, const Sum&)> add) : size_(size), add_(std::move(add)) {}

  void Add(size_t part, Sum value) { Add({part, part + 1}, std::move(value)); }
  // A node that Nodes() of a tree of this size gave. Each part may come once.
  void Add(TreeNode node, Sum value) {
    while (node != TreeNode{0, size_}) {
      const auto [parent, sibling] = Around(node);
      const auto waiting = nodes_.find(sibling);
      if (waiting == nodes_.end()) break;
      Sum other = std::move(waiting->second);
      nodes_.erase(waiting);
      if (sibling.begin < node.begin) std::swap(value, other);
      add_(value, other);
      node = parent;
    }
    nodes_.emplace(node, std::move(value));
  }

  // What is there, by node; once all parts are, the one node [0, size), unless there are none.
  const std::map<TreeNode, Sum>& nodes() const { return nodes_; }
  bool is_whole() const { return size_ == 0 || nodes_.contains({0, size_}); }

 private:
  struct Neighbours {
    TreeNode parent, sibling;
  };
  Neighbours Around(const TreeNode& node) const {
    TreeNode parent = {0, size_};
    while (true) {
      const size_t middle = parent.middle();
      const TreeNode left = {parent.begin, middle}, right = {middle, parent.end};
      if (node == left) return {parent, right};
      if (node == right) return {parent, left};
      parent = node.begin < middle ? left : right;
    }
  }

  const size_t size_;
  const std::function<void(Sum&, const Sum&)> add_;
  std::map<TreeNode, Sum> nodes_;
};

}  // namespace flowawr
