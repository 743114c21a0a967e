// How this process's memory goes back to the kernel.
#pragma once

namespace flowawr {

// From now on every block of a megabyte or more is the kernel's as soon as it is freed, on whatever thread. Without it
// glibc keeps freed blocks of up to 32 MB, in regions of their own for each thread, where blocks of other sizes do not
// fit in: a training step of large activations then takes a fifth to a half more than is ever live at once (measured;
// the time stays the same). Of no use to models whose activations are smaller.
void GiveBackFreedMemory();

}  // namespace flowawr
