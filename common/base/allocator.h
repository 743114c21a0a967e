// How this process's memory goes back to the kernel, or does not.
#pragma once

namespace flowawr {

// From now on every block of a megabyte or more is the kernel's as soon as it is freed, on whatever thread. Without it
// glibc keeps freed blocks of up to 32 MB, in regions of their own for each thread, where blocks of other sizes do not
// fit in: a training step of large activations then takes a fifth to a half more than is ever live at once (measured;
// the time stays the same). Of no use to models whose activations are smaller.
void GiveBackFreedMemory();

// The opposite, for a server of messages of some megabytes: freed blocks of up to 16 MiB stay for the next message. By
// itself glibc gives a message's memory back and asks for it anew, and the kernel clears it each time: half of the time
// of a call with four pictures of 512 x 512. malloc_trim() still gives everything back.
void KeepFreedMemory();

}  // namespace flowawr
