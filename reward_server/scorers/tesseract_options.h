#pragma once

#include <string>

namespace flowawr {

struct TesseractOptions {
  std::string language = "eng";
  std::string tessdata;          // folder of *.traineddata; empty: TESSDATA_PREFIX or where the package put it
  std::string layout = "line";   // line, word, block or sparse: how text is expected to lie on the page
  bool uses_dictionary = false;  // prefer words of the language over what the letters look like
};

}  // namespace flowawr
