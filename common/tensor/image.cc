#include "common/tensor/image.h"

#include <jpeglib.h>
#include <png.h>

#include <algorithm>
#include <csetjmp>
#include <cstdlib>
#include <cstring>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "common/base/status.h"
#include "common/base/utf8.h"

namespace flowawr {
namespace {

constexpr int64_t kMaxPixels = int64_t{1} << 26;
constexpr absl::string_view kReplacement = "\uFFFD";

// libpng and libjpeg report errors by longjmp, which runs no destructors: in the functions that call setjmp every
// object with a destructor belongs to the caller.
struct PngSink {
  std::string bytes;
  std::string error;
};

void OnPngError(png_structp png, png_const_charp message) {
  static_cast<PngSink*>(png_get_error_ptr(png))->error = message;
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
  png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, &sink, OnPngError, OnPngWarning);
  if (png == nullptr) return absl::ResourceExhaustedError("libpng: out of memory");
  png_infop info = png_create_info_struct(png);
  absl::Cleanup destroy = [&] { png_destroy_write_struct(&png, &info); };
  if (info == nullptr) return absl::ResourceExhaustedError("libpng: out of memory");
  png_set_write_fn(png, &sink, AppendPngBytes, nullptr);
  if (!WritePng(png, info, image, chunks)) return absl::InvalidArgumentError(absl::StrCat("libpng: ", sink.error));
  return std::move(sink.bytes);
}

absl::StatusOr<Image> DecodePng(absl::string_view bytes) {
  png_image reader = {};
  reader.version = PNG_IMAGE_VERSION;
  absl::Cleanup free_reader = [&] { png_image_free(&reader); };
  if (!png_image_begin_read_from_memory(&reader, bytes.data(), bytes.size()))
    return absl::InvalidArgumentError(absl::StrCat("not a PNG: ", reader.message));
  if (int64_t{reader.width} * reader.height > kMaxPixels)
    return absl::InvalidArgumentError(
        absl::StrCat("a PNG of ", reader.height, "x", reader.width, " pixels; at most ", kMaxPixels, " are read"));
  reader.format = PNG_FORMAT_RGB;
  Image image{static_cast<int>(reader.height), static_cast<int>(reader.width),
              std::string(PNG_IMAGE_SIZE(reader), '\0')};
  const png_color white = {255, 255, 255};
  if (!png_image_finish_read(&reader, &white, image.rgb.data(), 0, nullptr))
    return absl::InvalidArgumentError(absl::StrCat("a damaged PNG: ", reader.message));
  return image;
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
