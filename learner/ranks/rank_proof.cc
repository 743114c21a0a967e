#include "learner/ranks/rank_proof.h"

#include <algorithm>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/base/clock.h"
#include "common/base/hmac.h"
#include "common/base/ids.h"
#include "common/base/sha256.h"
#include "common/base/status.h"
#include "common/base/utf8.h"

namespace flowawr {
namespace {

constexpr int kNonceBytes = 32;
constexpr char kOfRank[] = "flowawr rank", kOfRank0[] = "flowawr rank 0";

// Each part with its length, so that no two lists give the same bytes. `asked` is rank 0's number, `answered` the other's.
std::string Proof(const std::string& token, const char* whose, const std::string& asked, const std::string& answered,
                  const std::string& hello) {
  std::string bytes;
  for (const std::string& part : {std::string(whose), asked, answered, hello}) absl::StrAppend(&bytes, part.size(), ":", part);
  return absl::BytesToHexString(HmacSha256(token, bytes));
}

// At least a little, as c10d takes no time for no limit.
absl::Duration Until(absl::Time deadline) { return std::max(deadline - MonotonicNow(), absl::Milliseconds(1)); }

absl::Status OtherLanguage() { return absl::InvalidArgumentError("the other end of the link is no rank of this version"); }

}  // namespace

absl::Status AdmitRank(RankLink& link, const RankTokens& tokens, const std::string& hello, absl::Duration limit) {
  const absl::Time deadline = MonotonicNow() + limit;
  FLOWAWR_ASSIGN_OR_RETURN(const std::vector<std::string> known, tokens());
  const std::string own = RandomId(kNonceBytes);
  FLOWAWR_RETURN_IF_ERROR(link.Send({.word = RankWord::kProve, .text = own}, Until(deadline)));
  FLOWAWR_ASSIGN_OR_RETURN(const RankMessage answer, link.Receive(Until(deadline)));
  if (answer.word != RankWord::kProve) return OtherLanguage();
  const std::pair<std::string, std::string> halves = absl::StrSplit(answer.text, absl::MaxSplits(' ', 1));
  const auto& [theirs, proof] = halves;
  for (const std::string& token : known) {
    if (!EqualInConstantTime(proof, Proof(token, kOfRank, own, theirs, hello))) continue;
    return link.Send({.word = RankWord::kWelcome, .text = Proof(token, kOfRank0, own, theirs, hello)}, Until(deadline));
  }
  const std::string why =
      "it does not know rank 0's token: every rank needs the token files of rank 0's section network (docs/ranks.md)";
  link.Send({.word = RankWord::kRefused, .text = why}, Until(deadline)).IgnoreError();
  return absl::PermissionDeniedError(why);
}

absl::Status ProveToRank0(RankLink& link, const RankTokens& tokens, const std::string& hello, absl::Duration limit) {
  const absl::Time deadline = MonotonicNow() + limit;
  FLOWAWR_ASSIGN_OR_RETURN(const std::vector<std::string> known, tokens());
  const std::string& token = known.front();
  FLOWAWR_ASSIGN_OR_RETURN(const RankMessage question, link.Receive(Until(deadline)));
  if (question.word != RankWord::kProve) return OtherLanguage();
  const std::string& theirs = question.text;
  const std::string own = RandomId(kNonceBytes);
  const std::string proof = Proof(token, kOfRank, theirs, own, hello);
  FLOWAWR_RETURN_IF_ERROR(
      link.Send({.word = RankWord::kProve, .text = absl::StrCat(own, " ", proof)}, Until(deadline)));
  FLOWAWR_ASSIGN_OR_RETURN(const RankMessage answer, link.Receive(Until(deadline)));
  if (answer.word == RankWord::kRefused)
    return absl::PermissionDeniedError(absl::StrCat("rank 0 refuses this rank: ", SanitizeUtf8(answer.text)));
  if (answer.word != RankWord::kWelcome) return OtherLanguage();
  if (EqualInConstantTime(answer.text, Proof(token, kOfRank0, theirs, own, hello))) return absl::OkStatus();
  return absl::PermissionDeniedError("what answers as rank 0 does not know this rank's token");
}

}  // namespace flowawr
