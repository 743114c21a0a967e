#include "cli/caption.h"

#include <leptonica/allheaders.h>
#include <unicode/translit.h>
#include <unicode/unistr.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/base/utf8.h"

namespace flowawr {
namespace {

// The largest font there is. Drawn large in black and white and made smaller, its letters get smooth edges.
constexpr int kFontPoints = 20;
constexpr size_t kMostBytes = 4096;  // of a text; a line holds some hundred letters
constexpr char kEllipsis[] = " . . .";  // apart, or small dots run into one line
constexpr int kTextShade = 32, kNoteShade = 120;

// Pixels from one line to the next.
int LineHeight(int width) { return std::clamp(width / 24, 12, 32); }
int Padding(int width) { return LineHeight(width) / 4; }

struct DestroyPix {
  void operator()(Pix* pix) const { pixDestroy(&pix); }
};
using OwnedPix = std::unique_ptr<Pix, DestroyPix>;

std::string Transcribe(const std::string& text) {
  UErrorCode error = U_ZERO_ERROR;
  const std::unique_ptr<icu::Transliterator> to_ascii(
      icu::Transliterator::createInstance("Any-Latin; Latin-ASCII", UTRANS_FORWARD, error));
  if (U_FAILURE(error)) return text;  // an ICU without its rules: what follows leaves question marks
  icu::UnicodeString unicode = icu::UnicodeString::fromUTF8(text);
  to_ascii->transliterate(unicode);
  std::string transcribed;
  for (int32_t i = 0; i < unicode.length(); i = unicode.moveIndex32(i, 1)) {
    const UChar32 letter = unicode.char32At(i);
    transcribed += letter < 128 ? static_cast<char>(letter) : '?';
  }
  return transcribed;
}

}  // namespace

std::string PrintableAscii(absl::string_view text) {
  std::string ascii = TruncateUtf8(text, kMostBytes);
  if (!std::all_of(ascii.begin(), ascii.end(), absl::ascii_isascii)) ascii = Transcribe(ascii);
  for (char& letter : ascii)
    if (!absl::ascii_isprint(static_cast<unsigned char>(letter)))
      letter = absl::ascii_isspace(static_cast<unsigned char>(letter)) ? ' ' : '?';
  absl::RemoveExtraAsciiWhitespace(&ascii);
  return ascii;
}

void CaptionFont::Destroy::operator()(L_Bmf* font) const { bmfDestroy(&font); }

absl::StatusOr<CaptionFont> CaptionFont::Load(int width) {
  std::unique_ptr<L_Bmf, Destroy> font(bmfCreate(nullptr, kFontPoints));
  if (font == nullptr || font->lineheight <= 0)
    return absl::InternalError("the captions: this Leptonica cannot read its own font (it needs libtiff)");
  return CaptionFont(std::move(font), width);
}

int CaptionFont::HeightFor(int width, bool has_note) {
  return (has_note ? 2 : 1) * LineHeight(width) + 2 * Padding(width);
}

double CaptionFont::WidthOf(const std::string& text) const {
  l_int32 width = 0;
  if (text.empty() || bmfGetStringWidth(font_.get(), text.c_str(), &width) != 0) return 0;
  return static_cast<double>(width) * LineHeight(width_) / font_->lineheight;
}

std::string CaptionFont::Fit(std::string text) const {
  if (WidthOf(text) <= width_) return text;
  while (!text.empty() && WidthOf(text + kEllipsis) > width_) text.pop_back();
  absl::StripTrailingAsciiWhitespace(&text);
  return text + kEllipsis;
}

void CaptionFont::DrawLine(const std::string& text, int top, int shade, Image* strip) const {
  l_int32 text_width = 0, overflows = 0;
  if (text.empty() || bmfGetStringWidth(font_.get(), text.c_str(), &text_width) != 0) return;
  const float scale = static_cast<float>(LineHeight(width_)) / static_cast<float>(font_->lineheight);
  const OwnedPix large(pixCreate(text_width + kFontPoints, font_->lineheight, 1));
  if (large == nullptr) return;
  l_int32 baseline = 0;
  bmfGetBaseline(font_.get(), 'x', &baseline);
  pixSetTextline(large.get(), font_.get(), text.c_str(), 1, 0, baseline, nullptr, &overflows);
  const OwnedPix small(pixScaleToGray(large.get(), scale));
  if (small == nullptr) return;
  const int rows = std::min<int>(pixGetHeight(small.get()), strip->height - top);
  const int columns = std::min<int>(pixGetWidth(small.get()), strip->width);
  for (int y = 0; y < rows; ++y) {
    for (int x = 0; x < columns; ++x) {
      l_uint32 grey = 255;
      pixGetPixel(small.get(), x, y, &grey);
      const char level = static_cast<char>(shade + (255 - shade) * static_cast<int>(grey) / 255);
      const size_t at = size_t{3} * (size_t(top + y) * strip->width + x);
      std::fill_n(strip->rgb.begin() + static_cast<std::ptrdiff_t>(at), 3, level);
    }
  }
}

Image CaptionFont::Draw(const Caption& caption, bool has_note) const {
  Image strip{HeightFor(width_, has_note), width_, ""};
  strip.rgb.assign(size_t{3} * strip.height * strip.width, '\xff');
  DrawLine(Fit(PrintableAscii(caption.text)), Padding(width_), kTextShade, &strip);
  if (has_note)
    DrawLine(Fit(PrintableAscii(caption.note)), Padding(width_) + LineHeight(width_), kNoteShade, &strip);
  return strip;
}

}  // namespace flowawr
