// Prompts of the GenEval benchmark's kind, with the metadata that its scorer reads.
//
// Source: Ghosh, Hajishirzi, Schmidt, "GenEval: An Object-Focused Framework for Evaluating Text-to-Image Alignment",
// 2023, and its published prompts: their tasks, wording (plurals too: "four toothbrushs"), colours and metadata; the
// tasks' weights are how many prompts each has there.
#pragma once

#include <vector>

#include "absl/types/span.h"
#include "common/prompts/draw.h"

namespace flowawr {

// The 80 classes of COCO by the names that the benchmark has for them, "person" first.
absl::Span<const char* const> GenevalClasses();
// What objects are asked for in and told apart by, ten of them.
absl::Span<const char* const> GenevalColors();

// single_object, two_object, counting, colors, position and color_attr. A prompt's keys are its text and that of the
// one that says the same with the two objects swapped.
std::vector<PromptTask> GenevalTasks();

// The same tasks for coloured shapes, the world of the embedded models/tiny-shapes: colors, counting, color_attr and
// position of circles, squares, triangles and stars in six colours; the two shapes of one prompt are of two classes.
std::vector<PromptTask> ShapesTasks();

}  // namespace flowawr
