// What --help says of an option, within the width of a page.
#pragma once

namespace CLI {
class App;
}

namespace flowawr {

// Has the help of `app` and of all its commands break what it says of their options, between words, at 120 columns.
// To be called when they are all added.
void WrapHelp(CLI::App& app);

}  // namespace flowawr
