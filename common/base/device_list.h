// Lists of devices as people read them. Pure.
#pragma once

#include <string>
#include <vector>

namespace flowawr {

// "cuda:0, cuda:1"; more than eight in a row by their ends, "cuda:0 to cuda:63". What follows a name, as the card in
// "cuda:0 (NVIDIA H100)", is the same within a row and said once, at its end.
std::string DeviceListText(const std::vector<std::string>& devices);

}  // namespace flowawr
