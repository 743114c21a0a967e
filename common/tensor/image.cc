#include "common/tensor/image.h"

#include <jerror.h>
#include <jpeglib.h>
#include <png.h>

#include <algorithm>
#include <csetjmp>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "common/base/status.h"
#include "common/base/utf8.h"

namespace flowawr {
namespace {

constexpr int64_t kMaxPixels = int64_t{1} << 26;
constexpr absl::string_view kReplacement = "\uFFFD";
constexpr size_t kMaxTextBytes = size_t{1} << 20;  // of a PNG's text chunk
constexpr int kMaxTextChunks = 64;
constexpr int kMaxJpegScans = 500;  // each costs a pass over all pixels, and may be a few bytes long

absl::Status CheckSides(const char* kind, int64_t height, int64_t width, int64_t max_side) {
  if (height > 0 && width > 0 && height <= max_side && width <= max_side && height * width <= kMaxPixels)
    return absl::OkStatus();
  if (height <= 0 || width <= 0)
    return absl::InvalidArgumentError(absl::StrCat("a ", kind, " of ", height, "x", width, " pixels"));
  return absl::InvalidArgumentError(
      absl::StrCat("a ", kind, " of ", height, "x", width, " pixels; at most ",
                   max_side < kMaxPixels ? absl::StrCat(max_side, " a side") : absl::StrCat(kMaxPixels), " are read"));
}

// libpng and libjpeg report errors by longjmp, which runs no destructors: in the functions that call setjmp every
// object with a destructor belongs to the caller.
struct PngSink {
  std::string bytes;
  std::string error;
};

struct PngSource {
  absl::string_view rest;
  std::string error;
};

void OnPngError(png_structp png, png_const_charp message) {
  *static_cast<std::string*>(png_get_error_ptr(png)) = message;
  png_longjmp(png, 1);
}

void OnPngWarning(png_structp, png_const_charp) {}

void AppendPngBytes(png_structp png, png_bytep bytes, size_t size) {
  static_cast<PngSink*>(png_get_io_ptr(png))->bytes.append(reinterpret_cast<const char*>(bytes), size);
}

bool WritePng(png_structp png, png_infop info, const Image& image, std::vector<png_text>& text) {
  if (setjmp(png_jmpbuf(png)) != 0) return false;
  png_set_IHDR(png, info, image.width, image.height, 8, PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE,
               PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
  if (!text.empty()) png_set_text(png, info, text.data(), text.size());
  png_write_info(png, info);
  const auto* pixels = reinterpret_cast<png_const_bytep>(image.rgb.data());
  for (int row = 0; row < image.height; ++row) png_write_row(png, pixels + size_t{3} * image.width * row);
  png_write_end(png, info);
  return true;
}

void TakePngBytes(png_structp png, png_bytep bytes, size_t size) {
  auto* source = static_cast<PngSource*>(png_get_io_ptr(png));
  if (size > source->rest.size()) png_error(png, "the file ends early");
  std::memcpy(bytes, source->rest.data(), size);
  source->rest.remove_prefix(size);
}

bool ReadPngHead(png_structp png, png_infop info) {
  if (setjmp(png_jmpbuf(png)) != 0) return false;
  png_set_chunk_malloc_max(png, kMaxTextBytes);
  png_set_chunk_cache_max(png, kMaxTextChunks);
  png_read_info(png, info);
  return true;
}

struct JpegErrors {
  jpeg_error_mgr manager;  // first: libjpeg hands this back
  std::jmp_buf jump;
  char message[JMSG_LENGTH_MAX];
};

void OnJpegError(j_common_ptr jpeg) {
  auto* errors = reinterpret_cast<JpegErrors*>(jpeg->err);
  errors->manager.format_message(jpeg, errors->message);
  std::longjmp(errors->jump, 1);
}

void OnJpegMessage(j_common_ptr) {}

// libjpeg goes on after damage, with grey where pixels are missing: here damage is an error.
void OnJpegWarning(j_common_ptr jpeg, int level) {
  if (level >= 0) return;
  const int code = jpeg->err->msg_code;
  if (code == JWRN_EXTRANEOUS_DATA || code == JWRN_ADOBE_XFORM || code == JWRN_TOO_MUCH_DATA) return;
  OnJpegError(jpeg);
}

void OnJpegProgress(j_common_ptr jpeg) {
  if (reinterpret_cast<j_decompress_ptr>(jpeg)->input_scan_number <= kMaxJpegScans) return;
  auto* errors = reinterpret_cast<JpegErrors*>(jpeg->err);
  std::snprintf(errors->message, sizeof(errors->message), "more than %d scans", kMaxJpegScans);
  std::longjmp(errors->jump, 1);
}

bool WriteJpeg(jpeg_compress_struct& jpeg, JpegErrors& errors, const Image& image, int quality, unsigned char** buffer,
               unsigned long* size) {
  if (setjmp(errors.jump) != 0) return false;
  jpeg_create_compress(&jpeg);
  jpeg_mem_dest(&jpeg, buffer, size);
  jpeg.image_width = image.width;
  jpeg.image_height = image.height;
  jpeg.input_components = 3;
  jpeg.in_color_space = JCS_RGB;
  jpeg_set_defaults(&jpeg);
  jpeg_set_quality(&jpeg, quality, TRUE);
  jpeg_start_compress(&jpeg, TRUE);
  while (jpeg.next_scanline < jpeg.image_height) {
    const char* row = image.rgb.data() + size_t{3} * image.width * jpeg.next_scanline;
    JSAMPROW rows[] = {reinterpret_cast<JSAMPROW>(const_cast<char*>(row))};
    jpeg_write_scanlines(&jpeg, rows, 1);
  }
  jpeg_finish_compress(&jpeg);
  return true;
}

// As UTF-8, which it may be already, whatever the standard says of its kind of chunk.
std::string FromLatin1(absl::string_view text) {
  if (IsValidUtf8(text)) return std::string(text);
  std::string utf8;
  for (const char letter : text) {
    const auto code = static_cast<unsigned char>(letter);
    if (code >= 0x80) utf8 += static_cast<char>(0xC0 | code >> 6);
    utf8 += static_cast<char>(code < 0x80 ? code : 0x80 | (code & 0x3F));
  }
  return utf8;
}

bool ReadJpegHead(jpeg_decompress_struct& jpeg, JpegErrors& errors, absl::string_view bytes) {
  if (setjmp(errors.jump) != 0) return false;
  jpeg_create_decompress(&jpeg);
  jpeg_mem_src(&jpeg, reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size());
  jpeg_read_header(&jpeg, TRUE);
  return true;
}

// `rgb` has room for all pixels.
bool ReadJpegPixels(jpeg_decompress_struct& jpeg, JpegErrors& errors, char* rgb) {
  if (setjmp(errors.jump) != 0) return false;
  jpeg.out_color_space = JCS_RGB;
  jpeg_start_decompress(&jpeg);
  while (jpeg.output_scanline < jpeg.output_height) {
    JSAMPROW rows[] = {reinterpret_cast<JSAMPROW>(rgb + size_t{3} * jpeg.output_width * jpeg.output_scanline)};
    jpeg_read_scanlines(&jpeg, rows, 1);
  }
  jpeg_finish_decompress(&jpeg);
  return true;
}

absl::StatusOr<Image> DecodePngWithin(absl::string_view bytes, int64_t max_side) {
  png_image reader = {};
  reader.version = PNG_IMAGE_VERSION;
  absl::Cleanup free_reader = [&] { png_image_free(&reader); };
  if (!png_image_begin_read_from_memory(&reader, bytes.data(), bytes.size()))
    return absl::InvalidArgumentError(absl::StrCat("not a PNG: ", reader.message));
  FLOWAWR_RETURN_IF_ERROR(CheckSides("PNG", reader.height, reader.width, max_side));
  reader.format = PNG_FORMAT_RGB;
  Image image{static_cast<int>(reader.height), static_cast<int>(reader.width),
              std::string(PNG_IMAGE_SIZE(reader), '\0')};
  const png_color white = {255, 255, 255};
  if (!png_image_finish_read(&reader, &white, image.rgb.data(), 0, nullptr))
    return absl::InvalidArgumentError(absl::StrCat("a damaged PNG: ", reader.message));
  return image;
}

absl::StatusOr<Image> DecodeJpegWithin(absl::string_view bytes, int64_t max_side) {
  JpegErrors errors = {};
  jpeg_decompress_struct jpeg = {};
  jpeg.err = jpeg_std_error(&errors.manager);
  errors.manager.error_exit = OnJpegError;
  errors.manager.output_message = OnJpegMessage;
  errors.manager.emit_message = OnJpegWarning;
  jpeg_progress_mgr progress = {};
  progress.progress_monitor = OnJpegProgress;
  absl::Cleanup free_all = [&] { jpeg_destroy_decompress(&jpeg); };
  if (!ReadJpegHead(jpeg, errors, bytes))
    return absl::InvalidArgumentError(absl::StrCat("not a JPEG: ", errors.message));
  FLOWAWR_RETURN_IF_ERROR(CheckSides("JPEG", jpeg.image_height, jpeg.image_width, max_side));
  if (jpeg.jpeg_color_space == JCS_CMYK || jpeg.jpeg_color_space == JCS_YCCK)
    return absl::InvalidArgumentError("a JPEG in CMYK, the colours of printers; save it in RGB");
  jpeg.progress = &progress;
  Image image{static_cast<int>(jpeg.image_height), static_cast<int>(jpeg.image_width), ""};
  image.rgb.resize(size_t{3} * image.height * image.width);
  if (!ReadJpegPixels(jpeg, errors, image.rgb.data()))
    return absl::InvalidArgumentError(absl::StrCat("a damaged JPEG: ", errors.message));
  return image;
}

}  // namespace

absl::Status ValidateImage(const Image& image) {
  const int64_t pixels = int64_t{image.height} * image.width;
  if (image.height <= 0 || image.width <= 0 || pixels > kMaxPixels)
    return absl::InvalidArgumentError(absl::StrCat("an image of ", image.height, "x", image.width,
                                                   " pixels; sides must be positive and the area at most ",
                                                   kMaxPixels));
  if (image.rgb.size() != static_cast<size_t>(3 * pixels))
    return absl::InvalidArgumentError(absl::StrCat("an image of ", image.height, "x", image.width, " pixels with ",
                                                   image.rgb.size(), " bytes, expected ", 3 * pixels));
  return absl::OkStatus();
}

absl::StatusOr<std::string> EncodePng(const Image& image, const std::map<std::string, std::string>& text) {
  FLOWAWR_RETURN_IF_ERROR(ValidateImage(image));
  std::vector<png_text> chunks;
  std::map<std::string, std::string> values;
  for (const auto& [key, value] : text) {
    if (key.empty() || key.size() > 79 || !std::all_of(key.begin(), key.end(), absl::ascii_isprint))
      return absl::InvalidArgumentError(
          absl::StrCat("PNG text key \"", key, "\": expected 1 to 79 printable ASCII characters"));
    png_text chunk = {};
    chunk.compression = PNG_ITXT_COMPRESSION_NONE;
    std::string& whole = values[key];
    whole = absl::StrReplaceAll(SanitizeUtf8(value), {{absl::string_view("\0", 1), kReplacement}});
    chunk.key = const_cast<char*>(key.c_str());
    chunk.text = whole.data();
    chunk.itxt_length = whole.size();
    chunks.push_back(chunk);
  }
  PngSink sink;
  png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, &sink.error, OnPngError, OnPngWarning);
  if (png == nullptr) return absl::ResourceExhaustedError("libpng: out of memory");
  png_infop info = png_create_info_struct(png);
  absl::Cleanup destroy = [&] { png_destroy_write_struct(&png, &info); };
  if (info == nullptr) return absl::ResourceExhaustedError("libpng: out of memory");
  png_set_write_fn(png, &sink, AppendPngBytes, nullptr);
  if (!WritePng(png, info, image, chunks)) return absl::InvalidArgumentError(absl::StrCat("libpng: ", sink.error));
  return std::move(sink.bytes);
}

absl::StatusOr<Image> DecodePng(absl::string_view bytes) { return DecodePngWithin(bytes, kMaxPixels); }

absl::StatusOr<std::map<std::string, std::string>> ReadPngText(absl::string_view bytes) {
  PngSource source{bytes, ""};
  png_structp png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &source.error, OnPngError, OnPngWarning);
  if (png == nullptr) return absl::ResourceExhaustedError("libpng: out of memory");
  png_infop info = png_create_info_struct(png);
  absl::Cleanup destroy = [&] { png_destroy_read_struct(&png, &info, nullptr); };
  if (info == nullptr) return absl::ResourceExhaustedError("libpng: out of memory");
  png_set_read_fn(png, &source, TakePngBytes);
  if (!ReadPngHead(png, info)) return absl::InvalidArgumentError(absl::StrCat("a damaged PNG: ", source.error));
  png_textp chunks = nullptr;
  int count = 0;
  png_get_text(png, info, &chunks, &count);
  std::map<std::string, std::string> text;
  for (int i = 0; i < count; ++i) {
    const size_t size = std::max(chunks[i].text_length, chunks[i].itxt_length);
    text.emplace(FromLatin1(chunks[i].key),
                 chunks[i].text == nullptr ? "" : FromLatin1(absl::string_view(chunks[i].text, size)));
  }
  return text;
}

absl::StatusOr<Image> DecodeJpeg(absl::string_view bytes) { return DecodeJpegWithin(bytes, kMaxPixels); }

absl::StatusOr<Image> DecodePicture(absl::string_view bytes, int max_side) {
  if (absl::StartsWith(bytes, "\x89PNG\r\n\x1a\n")) return DecodePngWithin(bytes, max_side);
  if (absl::StartsWith(bytes, "\xff\xd8\xff")) return DecodeJpegWithin(bytes, max_side);
  if (bytes.empty()) return absl::InvalidArgumentError("an empty file");
  return absl::InvalidArgumentError("neither a PNG nor a JPEG, whatever its name says; save it as one");
}

absl::StatusOr<std::string> EncodeJpeg(const Image& image, int quality) {
  FLOWAWR_RETURN_IF_ERROR(ValidateImage(image));
  if (quality < 1 || quality > 100)
    return absl::InvalidArgumentError(absl::StrCat("JPEG quality ", quality, "; expected 1 to 100"));
  JpegErrors errors = {};
  jpeg_compress_struct jpeg = {};
  jpeg.err = jpeg_std_error(&errors.manager);
  errors.manager.error_exit = OnJpegError;
  errors.manager.output_message = OnJpegMessage;
  unsigned char* buffer = nullptr;
  unsigned long size = 0;
  absl::Cleanup free_all = [&] {
    jpeg_destroy_compress(&jpeg);
    std::free(buffer);
  };
  if (!WriteJpeg(jpeg, errors, image, quality, &buffer, &size))
    return absl::InvalidArgumentError(absl::StrCat("libjpeg: ", errors.message));
  return std::string(reinterpret_cast<const char*>(buffer), size);
}

Image Enlarge(const Image& image, int factor) {
  factor = std::max(factor, 1);
  if (factor == 1) return image;
  Image large{image.height * factor, image.width * factor, ""};
  large.rgb.reserve(size_t{3} * large.height * large.width);
  for (int y = 0; y < image.height; ++y) {
    std::string row;
    for (int x = 0; x < image.width; ++x)
      for (int i = 0; i < factor; ++i) row.append(image.rgb, size_t{3} * (size_t(y) * image.width + x), 3);
    for (int i = 0; i < factor; ++i) large.rgb += row;
  }
  return large;
}

Image Shrink(const Image& image, int factor) {
  factor = std::max(factor, 1);
  if (factor == 1) return image;
  Image small{std::max(image.height / factor, 1), std::max(image.width / factor, 1), ""};
  small.rgb.reserve(size_t{3} * small.height * small.width);
  const int rows = std::min(factor, image.height), columns = std::min(factor, image.width);
  for (int y = 0; y < small.height; ++y) {
    for (int x = 0; x < small.width; ++x) {
      int64_t sums[3] = {};
      for (int row = y * factor; row < y * factor + rows; ++row) {
        const char* pixel = image.rgb.data() + size_t{3} * (size_t(row) * image.width + size_t(x) * factor);
        for (int i = 0; i < 3 * columns; ++i) sums[i % 3] += static_cast<unsigned char>(pixel[i]);
      }
      const int64_t count = int64_t{rows} * columns;
      for (const int64_t sum : sums) small.rgb += static_cast<char>((sum + count / 2) / count);
    }
  }
  return small;
}

Image Grid(const std::vector<Image>& images, int columns, int gap) {
  if (images.empty()) return {};
  columns = std::clamp<int>(columns, 1, images.size());
  gap = std::max(gap, 0);
  const int rows = (static_cast<int>(images.size()) + columns - 1) / columns;
  int cell_height = 0, cell_width = 0;
  for (const Image& image : images) {
    cell_height = std::max(cell_height, image.height);
    cell_width = std::max(cell_width, image.width);
  }
  Image grid{rows * (cell_height + gap) + gap, columns * (cell_width + gap) + gap, ""};
  grid.rgb.assign(size_t{3} * grid.height * grid.width, '\xff');
  for (int i = 0; i < static_cast<int>(images.size()); ++i) {
    const int top = gap + i / columns * (cell_height + gap), left = gap + i % columns * (cell_width + gap);
    for (int y = 0; y < images[i].height; ++y)
      std::memcpy(&grid.rgb[size_t{3} * (size_t(top + y) * grid.width + left)],
                  &images[i].rgb[size_t{3} * y * images[i].width], size_t{3} * images[i].width);
  }
  return grid;
}

}  // namespace flowawr
