// The lines of text under a picture of a grid, drawn with the font that Leptonica holds in itself: no font need be
// installed. It has the printable ASCII characters; other text is shown by PrintableAscii().
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/tensor/image.h"

struct L_Bmf;

namespace flowawr {

// `text` for readers of Latin letters, in one line of printable ASCII: letters of any script in a transcription by
// sound ("größe" -> "grosse", "кот" -> "kot", "猫" -> "mao"), typographic signs as the nearest plain ones, ends of lines
// as spaces, anything else (emoji, malformed UTF-8) as "?". Of a very long text its beginning. Pure.
std::string PrintableAscii(absl::string_view text);

struct Caption {
  std::string text;  // of a picture's prompt; one line, its end cut where it is too long
  std::string note;  // a grey second line; empty: none
};

// For all captions of one grid: pictures `width` pixels wide get letters that stand well under them. Not thread-safe.
class CaptionFont {
 public:
  // Internal when this Leptonica cannot read its own font.
  static absl::StatusOr<CaptionFont> Load(int width);

  // Pixels, of a caption with and without a note.
  static int HeightFor(int width, bool has_note);

  // HeightFor(width, has_note) high and as wide as the font was loaded for, dark on white. A note is drawn only if
  // there is room for it, `has_note`.
  Image Draw(const Caption& caption, bool has_note) const;

 private:
  struct Destroy {
    void operator()(L_Bmf* font) const;
  };

  CaptionFont(std::unique_ptr<L_Bmf, Destroy> font, int width) : font_(std::move(font)), width_(width) {}
  // Of ASCII text, in pixels of the strip.
  double WidthOf(const std::string& text) const;
  // The longest beginning of `text` that is no wider than the strip, with an ellipsis where some was cut.
  std::string Fit(std::string text) const;
  // Grey level `shade` where the text is darkest.
  void DrawLine(const std::string& text, int top, int shade, Image* strip) const;

  std::unique_ptr<L_Bmf, Destroy> font_;
  int width_;
};

}  // namespace flowawr
