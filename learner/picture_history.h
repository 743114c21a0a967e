// Which evaluations' pictures a run keeps, so that a report can show how its pictures changed. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>

namespace flowawr {

inline constexpr int kHistoryPictures = 8;      // of an evaluation: the first ones
inline constexpr size_t kHistoryEvaluations = 24;

// images/update-000010
std::string PictureHistoryFolder(uint64_t update);
// The update of such a folder's name.
std::optional<uint64_t> UpdateOfPictureFolder(const std::string& name);

// The one to remove when more than `most` are kept: that without which the rest is spread most evenly. The first and
// the last stay. nullopt: none.
std::optional<uint64_t> UpdateToForget(const std::set<uint64_t>& updates, size_t most = kHistoryEvaluations);

}  // namespace flowawr
