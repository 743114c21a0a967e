// Takes the place of Leptonica's pixWriteMem() in the process that reads texts: before Tesseract reads a line, it writes
// the line's image into memory as PNG and reads it back, an eighth of the time of a short text. Here the image is written
// in Leptonica's own format, which is the pixels as they are; its pixReadMem() knows a format by how it begins.
//
// The linker exports the function because libtesseract asks for it, so that the library finds this one first. Where it
// does not, lines are written as PNG and read as before.
#include <dlfcn.h>
#include <leptonica/allheaders.h>

extern "C" l_int32 pixWriteMem(l_uint8** data, size_t* size, PIX* pix, l_int32 format) {
  if (format == IFF_PNG) return pixWriteMemSpix(data, size, pix);
  using Write = l_int32(l_uint8**, size_t*, PIX*, l_int32);
  static Write* const theirs = reinterpret_cast<Write*>(dlsym(RTLD_NEXT, "pixWriteMem"));
  return theirs == nullptr ? 1 : theirs(data, size, pix, format);
}
