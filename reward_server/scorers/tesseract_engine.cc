#include "reward_server/scorers/tesseract_engine.h"

#include <leptonica/allheaders.h>
#include <tesseract/baseapi.h>

#include <exception>
#include <map>
#include <vector>

#include "absl/strings/str_cat.h"

namespace flowawr {
namespace {

tesseract::PageSegMode SegmentationFor(const std::string& layout) {
  static const auto* const modes = new std::map<std::string, tesseract::PageSegMode>{
      {"line", tesseract::PSM_SINGLE_LINE},
      {"word", tesseract::PSM_SINGLE_WORD},
      {"block", tesseract::PSM_SINGLE_BLOCK},
      {"sparse", tesseract::PSM_SPARSE_TEXT},
  };
  const auto it = modes->find(layout);
  return it == modes->end() ? tesseract::PSM_SINGLE_LINE : it->second;
}

}  // namespace

TesseractEngine::TesseractEngine() : api_(std::make_unique<tesseract::TessBaseAPI>()) {}
TesseractEngine::~TesseractEngine() = default;

std::string TesseractEngine::LibraryVersion() { return tesseract::TessBaseAPI::Version(); }

absl::StatusOr<std::unique_ptr<TesseractEngine>> TesseractEngine::Load(const TesseractOptions& options) {
  setMsgSeverity(L_SEVERITY_NONE);
  std::unique_ptr<TesseractEngine> engine(new TesseractEngine);
  // Dictionaries can only be left out while the model is loaded.
  std::vector<std::string> names = {"debug_file"}, values = {"/dev/null"};
  if (!options.uses_dictionary) {
    for (const char* name :
         {"load_system_dawg", "load_freq_dawg", "load_punc_dawg", "load_number_dawg", "load_bigram_dawg"}) {
      names.emplace_back(name);
      values.emplace_back("0");
    }
  }
  try {
    const char* tessdata = options.tessdata.empty() ? nullptr : options.tessdata.c_str();
    if (engine->api_->Init(tessdata, options.language.c_str(), tesseract::OEM_LSTM_ONLY, nullptr, 0, &names, &values,
                           false) != 0)
      return absl::NotFoundError(
          absl::StrCat("Tesseract cannot load the language \"", options.language, "\" from ",
                       options.tessdata.empty() ? "TESSDATA_PREFIX or its default folder" : options.tessdata,
                       "; install it (Debian: tesseract-ocr-eng for eng) or name the folder with the option tessdata"));
    engine->api_->SetPageSegMode(SegmentationFor(options.layout));
  } catch (const std::exception& error) {
    return absl::InternalError(absl::StrCat("Tesseract failed while it was loaded: ", error.what()));
  }
  return engine;
}

absl::StatusOr<std::string> TesseractEngine::Read(const GrayPage& page, const std::string& whitelist) {
  try {
    if (whitelist != whitelist_) {
      api_->SetVariable("tessedit_char_whitelist", whitelist.c_str());
      whitelist_ = whitelist;
    }
    api_->SetImage(page.pixels.data(), page.width, page.height, 1, page.width);
    api_->SetSourceResolution(70);  // pixels tell nothing of inches; silences the guess
    const std::unique_ptr<char[]> text(api_->GetUTF8Text());
    // ClearAdaptiveClassifier() would be for the engine before LSTM alone, and take a sixth of the time.
    api_->Clear();
    return text == nullptr ? std::string() : std::string(text.get());
  } catch (const std::exception& error) {
    return absl::InternalError(absl::StrCat("Tesseract failed: ", error.what()));
  } catch (...) {
    return absl::InternalError("Tesseract failed with an unknown exception");
  }
}

}  // namespace flowawr
