#include "cli/score_page.h"

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "cli/caption.h"
#include "cli/report_style.h"
#include "cli/sample_grid.h"
#include "cli/svg_chart.h"
#include "common/base/status.h"
#include "common/base/utf8.h"
#include "common/base/version.h"
#include "common/scoring/reward_terms.h"

namespace flowawr {
namespace {

constexpr int kSmallPicture = 160;  // narrower ones are shown enlarged without blurring, and kept to the bit
constexpr int kJpegQuality = 85;
constexpr char kPaper = '\xf2';  // around pictures that are smaller than their cell
constexpr size_t kRefusedShown = 200;

std::string Escaped(absl::string_view text) { return HtmlEscape(SanitizeUtf8(text)); }

std::string Figure(std::optional<double> value) {
  return value.has_value() ? absl::StrFormat("%.3f", *value) : std::string("–");
}

// `image` in the middle of a canvas of those sides, which are no shorter than its own.
Image Centred(const Image& image, int height, int width) {
  if (image.height == height && image.width == width) return image;
  Image canvas{height, width, std::string(size_t{3} * height * width, kPaper)};
  const int top = (height - image.height) / 2, left = (width - image.width) / 2;
  for (int y = 0; y < image.height; ++y)
    canvas.rgb.replace(size_t{3} * (size_t(top + y) * width + left), size_t{3} * image.width, image.rgb,
                       size_t{3} * y * image.width, size_t{3} * image.width);
  return canvas;
}

absl::StatusOr<std::string> DataUrl(const Image& image) {
  if (image.width < kSmallPicture) {
    FLOWAWR_ASSIGN_OR_RETURN(const std::string png, EncodePng(image));
    return absl::StrCat("data:image/png;base64,", absl::Base64Escape(png));
  }
  FLOWAWR_ASSIGN_OR_RETURN(const std::string jpeg, EncodeJpeg(image, kJpegQuality));
  return absl::StrCat("data:image/jpeg;base64,", absl::Base64Escape(jpeg));
}

// What a rule reward read, marked as right or wrong.
std::string Marks(const v1::TermScore& score) {
  const auto text = score.details().find("text"), exact = score.details().find("exact");
  if (text == score.details().end()) return "";
  const char* mark = exact == score.details().end() ? "" : exact->second == "true" ? " match" : " mismatch";
  return absl::StrCat(R"(<br>read <span class="read)", mark, R"(">)",
                      text->second.empty() ? "nothing" : Escaped(text->second), "</span>");
}

// The second line under a picture of the sheet: its reward, what was read, its file.
std::string Note(const v1::RewardSpec& spec, const PictureScore& picture) {
  std::string note = Figure(CombinedReward(spec, picture));
  for (const v1::TermScore& score : picture.scores.terms())
    if (const auto text = score.details().find("text"); text != score.details().end())
      absl::StrAppend(&note, " read ", text->second.empty() ? "nothing" : text->second);
  return absl::StrCat(note, "  ", picture.name);
}

absl::StatusOr<std::string> PictureHtml(const v1::RewardSpec& spec, const ShownPicture& shown) {
  const PictureScore& picture = *shown.picture;
  const std::optional<double> reward = CombinedReward(spec, picture);
  FLOWAWR_ASSIGN_OR_RETURN(const std::string url, DataUrl(shown.image));
  std::string keys = absl::StrCat(R"( data-k0=")", reward.has_value() ? absl::StrCat(*reward) : "", R"(")");
  std::string terms, details;
  for (int term = 0; term < picture.scores.terms_size(); ++term) {
    const v1::TermScore& score = picture.scores.terms(term);
    const std::string name = Escaped(spec.terms(term).scorer());
    const auto own = score.has_reward() ? std::optional<double>(score.reward()) : std::nullopt;
    absl::StrAppend(&keys, " data-k", term + 1, R"(=")", own.has_value() ? absl::StrCat(*own) : "", R"(")");
    if (spec.terms_size() > 1) absl::StrAppend(&terms, " · ", name, " ", Figure(own));
    absl::StrAppend(&details, Marks(score));
    if (score.has_error()) absl::StrAppend(&details, "<br>", name, ": ", Escaped(score.error().message()));
    const std::map<std::string, std::string> sorted(score.details().begin(), score.details().end());
    std::string more;
    for (const auto& [key, value] : sorted) absl::StrAppend(&more, Escaped(key), ": ", Escaped(value), "\n");
    if (!more.empty())
      absl::StrAppend(&details, "<details><summary>", name, "</summary><pre>", more, "</pre></details>");
  }
  return absl::StrCat(R"(<figure class="card pair")", keys, R"(><img alt=")", Escaped(picture.name), R"(" class=")",
                      shown.image.width < kSmallPicture ? "small" : "", R"(" src=")", url, R"("><figcaption><b>)",
                      Figure(reward), "</b>", terms, "<br>", Escaped(picture.prompt.text()), "<br><code>",
                      Escaped(picture.name), "</code>", details, "</figcaption></figure>\n");
}

std::string SummaryRow(const std::string& name, const std::string& weight, const RewardSummary& summary) {
  std::string row = absl::StrCat("<tr><td>", name, "</td><td>", weight, "</td>");
  if (summary.pictures == 0) return absl::StrCat(row, R"(<td colspan="5">no reward</td><td>0</td></tr>)");
  absl::StrAppendFormat(&row, "<td>%.4f</td><td>%.4f</td><td>%.4f</td><td>%.4f</td><td>%s</td><td>%d</td></tr>",
                        summary.mean, summary.standard_deviation, summary.least, summary.most,
                        summary.judged_exact == 0
                            ? std::string("–")
                            : absl::StrFormat("%.1f %%", 100 * static_cast<double>(summary.exact) /
                                                             static_cast<double>(summary.judged_exact)),
                        summary.pictures);
  return row;
}

std::string SummaryTable(const v1::RewardSpec& spec, const ScorePageText& text,
                         const std::vector<PictureScore>& sorted) {
  std::string table =
      R"(<div class="card scroll"><table><tr><th>scorer</th><th>weight</th><th>mean</th><th>deviation</th>)"
      R"(<th>least</th><th>most</th><th>exact</th><th>pictures</th></tr>)";
  for (int term = 0; term < spec.terms_size(); ++term) {
    std::string name = Escaped(spec.terms(term).scorer());
    if (term < static_cast<int>(text.versions.size()) && !text.versions[term].empty())
      absl::StrAppend(&name, R"( <span class="sub">)", Escaped(text.versions[term]), "</span>");
    absl::StrAppend(&table, SummaryRow(name, absl::StrCat(spec.terms(term).weight()), Summarise(spec, sorted, term)));
  }
  if (spec.terms_size() > 1) absl::StrAppend(&table, SummaryRow("together", "", Summarise(spec, sorted, -1)));
  return absl::StrCat(table, "</table></div>\n");
}

// Sorts the figures by the scorer that is chosen; those without its reward come last.
std::string SortMenu(const v1::RewardSpec& spec) {
  if (spec.terms_size() < 2) return "";
  std::string menu = R"(<p><label>sorted by <select id="by"><option value="k0">reward, all together</option>)";
  for (int term = 0; term < spec.terms_size(); ++term)
    absl::StrAppend(&menu, R"(<option value="k)", term + 1, R"(">)", Escaped(spec.terms(term).scorer()), "</option>");
  return absl::StrCat(menu, R"(</select></label></p><script>
document.getElementById("by").onchange=e=>{const k=e.target.value,g=document.getElementById("pictures"),
v=f=>f.dataset[k]===""||f.dataset[k]===undefined?-Infinity:+f.dataset[k];
[...g.children].sort((a,b)=>v(a)===v(b)?0:v(b)>v(a)?1:-1).forEach(f=>g.appendChild(f))};</script>
)");
}

std::string RefusedList(const v1::RewardSpec& spec, const std::vector<PictureScore>& sorted) {
  std::string rows;
  size_t count = 0;
  for (const PictureScore& picture : sorted) {
    const std::string why = WhyNoReward(spec, picture);
    if (why.empty() || ++count > kRefusedShown) continue;
    absl::StrAppend(&rows, "<p><code>", Escaped(picture.name), "</code>: ", Escaped(why), "</p>\n");
  }
  if (count == 0) return "";
  if (count > kRefusedShown) absl::StrAppend(&rows, "<p>and ", count - kRefusedShown, " more</p>\n");
  return absl::StrCat("<h2>Without a reward</h2><div class=\"card notes\">", rows, "</div>\n");
}

}  // namespace

std::vector<size_t> ShownPictures(size_t count, size_t most) {
  std::vector<size_t> shown;
  const size_t first = count > most ? (most + 1) / 2 : count;
  for (size_t i = 0; i < first; ++i) shown.push_back(i);
  if (count > most)
    for (size_t i = count - most / 2; i < count; ++i) shown.push_back(i);
  return shown;
}

Image Thumbnail(const Image& image, int side) {
  return Shrink(image, (std::max(image.height, image.width) + side - 1) / std::max(side, 1));
}

absl::StatusOr<Image> DrawScoreSheet(const v1::RewardSpec& spec, const std::vector<ShownPicture>& shown) {
  int height = 0, width = 0;
  for (const ShownPicture& picture : shown) {
    height = std::max(height, picture.image.height);
    width = std::max(width, picture.image.width);
  }
  const GridShape shape = FitGrid(shown.size(), 0, GridCellFor(height, width, /*has_note=*/true));
  std::vector<CaptionedImage> cells;
  for (const size_t i : ShownPictures(shown.size(), std::max<size_t>(shape.images, 1))) {
    const PictureScore& picture = *shown[i].picture;
    cells.push_back({Centred(shown[i].image, height, width), {picture.prompt.text(), Note(spec, picture)}});
  }
  return DrawGrid(cells, shape.columns);
}

absl::StatusOr<std::string> ScorePage(const v1::RewardSpec& spec, const ScorePageText& text,
                                      const std::vector<PictureScore>& sorted, const std::vector<ShownPicture>& shown) {
  const std::string title = Escaped(text.title);
  std::string page = absl::StrCat(
      "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" "
      "content=\"width=device-width,initial-scale=1\"><title>",
      title, " – flowawr score</title><style>", kReportStyle, "</style></head>\n<body><main><h1>", title,
      "</h1><p class=\"sub\">", sorted.size(), " pictures, the best first; flowawr ", Version(), "</p>\n",
      SummaryTable(spec, text, sorted), "<h2>Pictures</h2>\n");
  const auto is_picture = [](const PictureScore& picture) { return picture.status.ok(); };
  if (static_cast<int64_t>(shown.size()) < std::count_if(sorted.begin(), sorted.end(), is_picture))
    absl::StrAppend(&page, "<p class=\"sub\">", shown.size(), " of them, the best and the worst</p>\n");
  absl::StrAppend(&page, SortMenu(spec), "<div class=\"pairs\" id=\"pictures\">\n");
  for (const ShownPicture& picture : shown) {
    FLOWAWR_ASSIGN_OR_RETURN(const std::string html, PictureHtml(spec, picture));
    absl::StrAppend(&page, html);
  }
  absl::StrAppend(&page, "</div>\n", RefusedList(spec, sorted), "</main></body></html>\n");
  return page;
}

}  // namespace flowawr
