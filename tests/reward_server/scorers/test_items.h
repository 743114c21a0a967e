// Pictures of words for the scorers' tests.
#pragma once

#include <string>
#include <vector>

#include "common/tensor/image.h"
#include "flowawr/v1/reward.pb.h"

namespace flowawr {

// One item a word: its picture, and the prompt `a sign that says "WORD"`. Fails the test when Python is missing.
std::vector<v1::ScoreItem> DrawWords(const std::vector<std::string>& words);

v1::ScoreItem MakeItem(const Image& image, const std::string& prompt);

// A picture of one colour.
Image Plain(int height, int width, char level = '\xff');

std::vector<const v1::ScoreItem*> Pointers(const std::vector<v1::ScoreItem>& items);

}  // namespace flowawr
