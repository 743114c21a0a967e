#include "reward_server/scorers/geneval_decision.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/status.h"

namespace flowawr {
namespace {

using Objects = absl::Span<const Instance>;

int64_t CountOf(const std::vector<std::string>& colours, const std::string& colour) {
  return std::count(colours.begin(), colours.end(), colour);
}

// "2 red, 1 blue", in GenEval's order.
std::string Tally(const std::vector<std::string>& colours) {
  std::vector<std::string> parts;
  for (const char* colour : kGenevalColours) {
    if (const int64_t count = CountOf(colours, colour); count > 0) parts.push_back(absl::StrCat(count, " ", colour));
  }
  return absl::StrJoin(parts, ", ");
}

std::string Plural(const std::string& name) {
  static const auto* const kOwn = new std::map<std::string, std::string>{
      {"knife", "knives"},   {"person", "people"}, {"scissors", "scissors"}, {"sheep", "sheep"}, {"skis", "skis"},
      {"mouse", "mice"},     {"broccoli", "broccoli"}, {"computer mouse", "computer mice"}};
  if (const auto own = kOwn->find(name); own != kOwn->end()) return own->second;
  for (const char* end : {"s", "x", "ch", "sh"})
    if (absl::EndsWith(name, end)) return name + "es";
  return name + "s";
}

// Everything that a task and its picture have to do with each other. Colours are asked for once an include clause.
class Judge {
 public:
  Judge(const GenevalTask& task, const GenevalClasses& classes, const std::map<int64_t, std::vector<Instance>>& objects,
        ColoursOf colours_of, const GenevalThresholds& thresholds)
      : task_(task), classes_(classes), objects_(objects), colours_of_(colours_of), thresholds_(thresholds) {}

  absl::StatusOr<GenevalVerdict> Run() {
    FLOWAWR_RETURN_IF_ERROR(JudgeStrictly());
    FLOWAWR_RETURN_IF_ERROR(JudgeOfficially());
    verdict_.graded = std::accumulate(marks_.begin(), marks_.end(), 0.0) / static_cast<double>(marks_.size());
    verdict_.reason = absl::StrJoin(reasons_, "; ");
    verdict_.found = Found();
    return std::move(verdict_);
  }

 private:
  Objects ObjectsOf(const GenevalClause& clause) const {
    const auto found = objects_.find(clause.label);
    return found == objects_.end() ? Objects() : Objects(found->second);
  }

  // Of the first `count` objects of the class.
  absl::StatusOr<std::vector<std::string>> ColoursOfFirst(const GenevalClause& clause, size_t count) {
    std::vector<std::string>& known = colours_[clause.label];
    const Objects objects = ObjectsOf(clause).first(count);
    if (known.size() < count) {
      FLOWAWR_ASSIGN_OR_RETURN(known, colours_of_(clause.name, objects));
    }
    return std::vector<std::string>(known.begin(), known.begin() + static_cast<std::ptrdiff_t>(count));
  }

  // Why the objects do not lie as they should to those of the target; nothing when they do.
  std::optional<std::string> PositionFault(const GenevalClause& clause, Objects objects,
                                           const std::vector<std::optional<Objects>>& groups) const {
    const std::string relation = NameOf(clause.position->relation);
    const std::optional<Objects>& targets = groups[clause.position->target];
    if (!targets) return absl::StrCat("no target for ", clause.name, " to be ", relation);
    for (const Instance& object : objects) {
      for (const Instance& target : *targets) {
        const std::set<GenevalRelation> relations = RelationsOf(object.box, target.box, thresholds_.position);
        if (relations.contains(clause.position->relation)) continue;
        const auto name = [](std::string* out, GenevalRelation found) { out->append(NameOf(found)); };
        return absl::StrCat("expected ", clause.name, " ", relation, " target, found ",
                            relations.empty() ? "no relation to" : absl::StrJoin(relations, " and ", name), " target");
      }
    }
    return std::nullopt;
  }

  absl::Status JudgeStrictly() {
    std::vector<std::optional<Objects>> groups;
    for (const GenevalClause& clause : task_.include) {
      const Objects objects = ObjectsOf(clause);
      const auto mark = [&](int64_t found) {
        return 1 - std::abs(static_cast<double>(clause.count - found)) / static_cast<double>(clause.count);
      };
      const auto found = static_cast<int64_t>(objects.size());
      bool matches = found == clause.count;
      marks_.push_back(mark(found));
      if (!matches) reasons_.push_back(absl::StrCat("expected ", clause.name, "==", clause.count, ", found ", found));
      if (!clause.colour.empty() && !matches) marks_.push_back(0);
      if (!clause.colour.empty() && matches) {
        FLOWAWR_ASSIGN_OR_RETURN(const std::vector<std::string> colours, ColoursOfFirst(clause, objects.size()));
        const int64_t fitting = CountOf(colours, clause.colour);
        marks_.push_back(mark(fitting));
        matches = fitting == clause.count;
        if (!matches)
          reasons_.push_back(absl::StrCat("expected ", clause.colour, " ", clause.name, "==", clause.count, ", found ",
                                          fitting, " ", clause.colour, "; and ", Tally(colours)));
      }
      if (clause.position && !matches) marks_.push_back(0);
      if (clause.position && matches) {
        const std::optional<std::string> fault = PositionFault(clause, objects, groups);
        if (fault) reasons_.push_back(*fault);
        marks_.push_back(fault ? 0 : 1);
        matches = !fault;
      }
      groups.push_back(matches ? std::optional(objects) : std::nullopt);
    }
    for (const GenevalClause& clause : task_.exclude) {
      const bool is_broken = static_cast<int64_t>(ObjectsOf(clause).size()) >= clause.count;
      const bool is_included = std::any_of(task_.include.begin(), task_.include.end(), [&](const GenevalClause& other) {
        return other.label == clause.label;
      });
      if (!is_included) marks_.push_back(is_broken ? 0 : 1);
      if (!is_broken) continue;
      is_excluded_found_ = true;
      // Of an included class in the wrong number it has been said already.
      if (!is_included || reasons_.empty())
        reasons_.push_back(
            absl::StrCat("expected ", clause.name, "<", clause.count, ", found ", ObjectsOf(clause).size()));
    }
    verdict_.is_exact = reasons_.empty();
    return absl::OkStatus();
  }

  absl::Status JudgeOfficially() {
    verdict_.is_correct = !is_excluded_found_;
    std::vector<std::optional<Objects>> groups;
    for (const GenevalClause& clause : task_.include) {
      const Objects all = ObjectsOf(clause);
      const Objects objects = all.first(std::min<size_t>(all.size(), static_cast<size_t>(clause.count)));
      bool matches = static_cast<int64_t>(objects.size()) == clause.count;
      if (matches && !clause.colour.empty()) {
        FLOWAWR_ASSIGN_OR_RETURN(const std::vector<std::string> colours, ColoursOfFirst(clause, objects.size()));
        matches = CountOf(colours, clause.colour) == clause.count;
      }
      if (matches && clause.position) matches = !PositionFault(clause, objects, groups);
      groups.push_back(matches ? std::optional(objects) : std::nullopt);
      verdict_.is_correct = verdict_.is_correct && matches;
    }
    return absl::OkStatus();
  }

  // What was found, with the colours as far as they were asked for.
  std::string Found() const {
    std::vector<std::string> parts;
    for (const auto& [label, objects] : objects_) {
      std::map<std::string, int64_t> by_colour;
      const auto colours = colours_.find(label);
      for (size_t i = 0; i < objects.size(); ++i)
        ++by_colour[colours != colours_.end() && i < colours->second.size() ? colours->second[i] + " " : ""];
      for (const auto& [colour, count] : by_colour) {
        const std::string& name = classes_.NameOf(label);
        parts.push_back(absl::StrCat(count, " ", colour, count == 1 ? name : Plural(name)));
      }
    }
    return parts.empty() ? "nothing" : absl::StrJoin(parts, ", ");
  }

  const GenevalTask& task_;
  const GenevalClasses& classes_;
  const std::map<int64_t, std::vector<Instance>>& objects_;
  const ColoursOf colours_of_;
  const GenevalThresholds& thresholds_;
  std::map<int64_t, std::vector<std::string>> colours_;  // by label, of the first objects
  std::vector<double> marks_;
  std::vector<std::string> reasons_;
  bool is_excluded_found_ = false;
  GenevalVerdict verdict_;
};

}  // namespace

std::map<int64_t, std::vector<Instance>> ByLabel(const std::vector<Instance>& instances) {
  std::map<int64_t, std::vector<Instance>> objects;
  for (const Instance& instance : instances) {
    std::vector<Instance>& of_label = objects[instance.label];
    if (static_cast<int64_t>(of_label.size()) < kMostGenevalObjects) of_label.push_back(instance);
  }
  return objects;
}

std::set<GenevalRelation> RelationsOf(const std::array<float, 4>& a, const std::array<float, 4>& b, double threshold) {
  double offset[2], reduced[2];
  for (size_t i = 0; i < 2; ++i) {
    offset[i] = (a[i] + a[i + 2]) / 2.0 - (b[i] + b[i + 2]) / 2.0;
    const double sides = std::abs(a[i + 2] - a[i]) + std::abs(b[i + 2] - b[i]);
    reduced[i] = std::copysign(std::max(std::abs(offset[i]) - threshold * sides, 0.0), offset[i]);
  }
  constexpr double kNowhere = 1e-3;
  if (std::abs(reduced[0]) < kNowhere && std::abs(reduced[1]) < kNowhere) return {};
  const double length = std::hypot(offset[0], offset[1]);
  const double x = reduced[0] / length, y = reduced[1] / length;
  std::set<GenevalRelation> relations;
  if (x < -0.5) relations.insert(GenevalRelation::kLeftOf);
  if (x > 0.5) relations.insert(GenevalRelation::kRightOf);
  if (y < -0.5) relations.insert(GenevalRelation::kAbove);
  if (y > 0.5) relations.insert(GenevalRelation::kBelow);
  return relations;
}

absl::StatusOr<GenevalVerdict> Decide(const GenevalTask& task, const GenevalClasses& classes,
                                      const std::map<int64_t, std::vector<Instance>>& objects, ColoursOf colours_of,
                                      const GenevalThresholds& thresholds) {
  return Judge(task, classes, objects, colours_of, thresholds).Run();
}

}  // namespace flowawr
