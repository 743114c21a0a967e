#include "common/prompts/geneval_prompts.h"

#include <cstddef>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "common/prompts/geneval_colours.h"

namespace flowawr {
namespace {

using Json = nlohmann::ordered_json;
using Words = absl::Span<const char* const>;

constexpr const char* kClasses[] = {
    "person",         "bicycle",       "car",          "motorcycle",    "airplane",
    "bus",            "train",         "truck",        "boat",          "traffic light",
    "fire hydrant",   "stop sign",     "parking meter", "bench",        "bird",
    "cat",            "dog",           "horse",        "sheep",         "cow",
    "elephant",       "bear",          "zebra",        "giraffe",       "backpack",
    "umbrella",       "handbag",       "tie",          "suitcase",      "frisbee",
    "skis",           "snowboard",     "sports ball",  "kite",          "baseball bat",
    "baseball glove", "skateboard",    "surfboard",    "tennis racket", "bottle",
    "wine glass",     "cup",           "fork",         "knife",         "spoon",
    "bowl",           "banana",        "apple",        "sandwich",      "orange",
    "broccoli",       "carrot",        "hot dog",      "pizza",         "donut",
    "cake",           "chair",         "couch",        "potted plant",  "bed",
    "dining table",   "toilet",        "tv",           "laptop",        "computer mouse",
    "tv remote",      "computer keyboard", "cell phone", "microwave",   "oven",
    "toaster",        "sink",          "refrigerator", "book",          "clock",
    "vase",           "scissors",      "teddy bear",   "hair drier",    "toothbrush"};
static_assert(std::size(kClasses) == 80);
constexpr const auto& kColors = kGenevalColours;
constexpr const char* kShapes[] = {"circle", "square", "triangle", "star"};
constexpr const char* kShapeColors[] = {"red", "orange", "yellow", "green", "blue", "purple"};
constexpr const char* kNumbers[] = {"zero", "one", "two", "three", "four"};
constexpr int kLeastCount = 2;
constexpr size_t kCounts = 3;  // two, three, four
// Each with its opposite beside it: i ^ 1.
constexpr const char* kPositions[] = {"left of", "right of", "above", "below"};

std::string WithArticle(absl::string_view words) {
  return absl::StrCat(absl::string_view("aeiou").find(words[0]) == absl::string_view::npos ? "a " : "an ", words);
}

std::string Plural(absl::string_view word) { return absl::StrCat(word, word.back() == 's' ? "es" : "s"); }

// One object of a prompt. An empty colour: none is asked for.
struct Object {
  std::string name, color;

  std::string Text() const { return WithArticle(color.empty() ? name : absl::StrCat(color, " ", name)); }
  Json Clause(int count = 1) const {
    Json clause = {{"class", name}, {"count", count}};
    if (!color.empty()) clause["color"] = color;
    return clause;
  }
};

DrawnPrompt Make(absl::string_view tag, std::string text, std::string same, Json include, Json exclude = Json()) {
  text = absl::StrCat("a photo of ", text);
  Json record = {{"tag", std::string(tag)}, {"include", std::move(include)}};
  if (!exclude.is_null()) record["exclude"] = std::move(exclude);
  record["prompt"] = text;
  std::vector<std::string> keys = {text};
  if (!same.empty()) keys.push_back(absl::StrCat("a photo of ", same));
  return {.text = std::move(text), .record = std::move(record), .keys = std::move(keys)};
}

DrawnPrompt OneObject(absl::string_view tag, const Object& object) {
  return Make(tag, object.Text(), "", Json::array({object.Clause()}));
}

DrawnPrompt TwoObjects(absl::string_view tag, const Object& a, const Object& b) {
  return Make(tag, absl::StrCat(a.Text(), " and ", b.Text()), absl::StrCat(b.Text(), " and ", a.Text()),
              Json::array({a.Clause(), b.Clause()}));
}

DrawnPrompt Counting(const Object& object, int count) {
  const std::string many = Plural(object.name);
  return Make("counting",
              absl::StrCat(kNumbers[count], " ", object.color.empty() ? many : absl::StrCat(object.color, " ", many)),
              "", Json::array({object.Clause(count)}), Json::array({Object{object.name, ""}.Clause(count + 1)}));
}

// "A left of B": the clause of A refers to that of B, which comes first.
DrawnPrompt Position(const Object& a, size_t position, const Object& b) {
  Json clause = a.Clause();
  clause["position"] = Json::array({kPositions[position], 0});
  return Make("position", absl::StrCat(a.Text(), " ", kPositions[position], " ", b.Text()),
              absl::StrCat(b.Text(), " ", kPositions[position ^ 1], " ", a.Text()),
              Json::array({b.Clause(), std::move(clause)}));
}

// What an index stands for, digit by digit.
class Digits {
 public:
  explicit Digits(uint64_t index) : rest_(index) {}

  size_t Next(size_t base) {
    const size_t digit = rest_ % base;
    rest_ /= base;
    return digit;
  }
  // Two different ones below `base`.
  std::pair<size_t, size_t> NextPair(size_t base) {
    const size_t first = Next(base), second = Next(base - 1);
    return {first, second + (second >= first)};
  }

 private:
  uint64_t rest_;
};

constexpr size_t Pairs(size_t count) { return count * (count - 1); }

}  // namespace

Words GenevalClasses() { return kClasses; }
Words GenevalColors() { return kColors; }

std::vector<PromptTask> GenevalTasks() {
  constexpr size_t kAll = std::size(kClasses), kColorCount = std::size(kColors), kPlaces = std::size(kPositions);
  // Nobody is asked for in a colour: all but the first class.
  static constexpr const char* const* kThings = kClasses + 1;
  constexpr size_t kThingCount = kAll - 1;
  return {
      {"single_object", 80, kAll, [](uint64_t index) { return OneObject("single_object", {kClasses[index], ""}); }},
      {"two_object", 99, Pairs(kAll),
       [](uint64_t index) {
         const auto [a, b] = Digits(index).NextPair(kAll);
         return TwoObjects("two_object", {kClasses[a], ""}, {kClasses[b], ""});
       }},
      {"counting", 80, kAll * kCounts,
       [](uint64_t index) {
         Digits digits(index);
         const size_t object = digits.Next(kAll);
         return Counting({kClasses[object], ""}, kLeastCount + static_cast<int>(digits.Next(kCounts)));
       }},
      {"colors", 94, kThingCount * kColorCount,
       [](uint64_t index) {
         Digits digits(index);
         const size_t object = digits.Next(kThingCount);
         return OneObject("colors", {kThings[object], kColors[digits.Next(kColorCount)]});
       }},
      {"position", 100, Pairs(kAll) * kPlaces,
       [](uint64_t index) {
         Digits digits(index);
         const auto [a, b] = digits.NextPair(kAll);
         return Position({kClasses[a], ""}, digits.Next(kPlaces), {kClasses[b], ""});
       }},
      {"color_attr", 100, Pairs(kThingCount) * Pairs(kColorCount),
       [](uint64_t index) {
         Digits digits(index);
         const auto [a, b] = digits.NextPair(kThingCount);
         const auto [color_a, color_b] = digits.NextPair(kColorCount);
         return TwoObjects("color_attr", {kThings[a], kColors[color_a]}, {kThings[b], kColors[color_b]});
       }},
  };
}

std::vector<PromptTask> ShapesTasks() {
  constexpr size_t kAll = std::size(kShapes), kColorCount = std::size(kShapeColors), kPlaces = std::size(kPositions);
  const auto next_shapes = [](Digits& digits) {
    const auto [a, b] = digits.NextPair(kAll);
    const char* color_a = kShapeColors[digits.Next(kColorCount)];
    return std::pair(Object{kShapes[a], color_a}, Object{kShapes[b], kShapeColors[digits.Next(kColorCount)]});
  };
  const auto next_shape = [](Digits& digits) {
    const size_t shape = digits.Next(kAll);
    return Object{kShapes[shape], kShapeColors[digits.Next(kColorCount)]};
  };
  return {
      {"colors", 1, kAll * kColorCount,
       [=](uint64_t index) {
         Digits digits(index);
         return OneObject("colors", next_shape(digits));
       }},
      {"counting", 3, kAll * kColorCount * kCounts,
       [=](uint64_t index) {
         Digits digits(index);
         const Object object = next_shape(digits);
         return Counting(object, kLeastCount + static_cast<int>(digits.Next(kCounts)));
       }},
      {"color_attr", 3, Pairs(kAll) * kColorCount * kColorCount,
       [=](uint64_t index) {
         Digits digits(index);
         const auto [a, b] = next_shapes(digits);
         return TwoObjects("color_attr", a, b);
       }},
      {"position", 3, Pairs(kAll) * kColorCount * kColorCount * kPlaces,
       [=](uint64_t index) {
         Digits digits(index);
         const auto [a, b] = next_shapes(digits);
         return Position(a, digits.Next(kPlaces), b);
       }},
  };
}

}  // namespace flowawr
