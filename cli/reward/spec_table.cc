#include "cli/reward/spec_table.h"

#include <algorithm>
#include <array>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "cli/panel.h"
#include "cli/text_lines.h"
#include "common/scoring/reward_terms.h"

namespace flowawr {
namespace {

using Row = std::array<std::string, 6>;

std::string Weight(const v1::RewardSpecTerm& term) {
  return IsShadow(term) ? "0 (shadow)" : absl::StrCat(term.weight());
}
std::string Required(const v1::RewardSpecTerm& term) { return IsRequired(term) ? "yes" : "no"; }
std::string MaxDrop(const v1::RewardSpecTerm& term) {
  return term.max_drop() == 0 ? "any" : absl::StrCat(term.max_drop());
}
std::string Server(const v1::RewardSpecTerm& term) {
  const std::vector<std::string> endpoints = EndpointsOf(term.endpoint());
  return endpoints.empty() ? "the run's own" : absl::StrJoin(endpoints, " ");
}

std::string FromTo(const std::string& before, const std::string& after) {
  return before == after ? after : absl::StrCat(before, " -> ", after);
}

const v1::RewardSpecTerm* Find(const v1::RewardSpec& spec, const std::string& scorer) {
  const auto found = std::find_if(spec.terms().begin(), spec.terms().end(),
                                  [&](const v1::RewardSpecTerm& term) { return term.scorer() == scorer; });
  return found == spec.terms().end() ? nullptr : &*found;
}

Row RowOf(const v1::RewardSpecTerm* before, const v1::RewardSpecTerm& after) {
  if (before == nullptr) return {after.scorer(), Weight(after), Required(after), MaxDrop(after), Server(after), "new"};
  Row row = {after.scorer(), FromTo(Weight(*before), Weight(after)), FromTo(Required(*before), Required(after)),
             FromTo(MaxDrop(*before), MaxDrop(after)), FromTo(Server(*before), Server(after)), "changed"};
  if (before->SerializeAsString() == after.SerializeAsString()) row.back() = "";
  return row;
}

std::string Table(const std::vector<Row>& rows) {
  std::array<int, std::tuple_size_v<Row>> widths = {};
  for (const Row& row : rows)
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], DisplayColumns(row[i]));
  std::string text;
  for (const Row& row : rows) {
    std::string line = " ";
    for (size_t i = 0; i < row.size(); ++i)
      absl::StrAppend(&line, " ", row[i], std::string(widths[i] - DisplayColumns(row[i]) + 1, ' '));
    line.erase(line.find_last_not_of(' ') + 1);
    absl::StrAppend(&text, line, "\n");
  }
  return text;
}

}  // namespace

std::string DescribeChange(const v1::RewardSpec& before, const v1::RewardSpec& after, uint64_t updates_total) {
  std::string text = absl::StrCat(DescribeRewardSpec(after), "\n");
  if (updates_total > 0 && after.from_update() > updates_total) {
    absl::StrAppend(&text, "no update is left that they can teach: update ", updates_total,
                    ", the last, is under way with the rewards before\n");
  } else if (after.from_update() > 0) {
    absl::StrAppend(&text, "effective from update ", after.from_update(), " on\n");
  }
  std::vector<Row> rows = {{"scorer", "weight", "required", "max drop", "server", ""}};
  for (const v1::RewardSpecTerm& term : after.terms()) rows.push_back(RowOf(Find(before, term.scorer()), term));
  for (const v1::RewardSpecTerm& term : before.terms())
    if (Find(after, term.scorer()) == nullptr)
      rows.push_back({term.scorer(), Weight(term), Required(term), MaxDrop(term), Server(term), "removed"});
  return absl::StrCat(text, Table(rows));
}

}  // namespace flowawr
