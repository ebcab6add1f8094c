// Encoding of TensorBoard event files.
#include <array>
#include <bit>
#include <cstring>

#include "runtime/io/tensorboard.h"

namespace subspect::runtime::io {

namespace {

constexpr std::array<uint32_t, 256> make_crc_table() {
  std::array<uint32_t, 256> table{};
  for (uint32_t byte = 0; byte < 256; ++byte) {
    uint32_t value = byte;
    for (int bit = 0; bit < 8; ++bit) value = (value >> 1) ^ ((value & 1U) != 0 ? 0x82F63B78U : 0U);
    table[byte] = value;
  }
  return table;
}

constexpr std::array<uint32_t, 256> crc_table = make_crc_table();

uint32_t masked_crc(std::string_view bytes) {
  const uint32_t crc = crc32c(bytes);
  return ((crc >> 15) | (crc << 17)) + 0xA282EAD8U;
}

template <class T>
std::string little_endian(T value) {
  static_assert(std::endian::native == std::endian::little, "event files are written on little-endian machines");
  std::string bytes(sizeof(T), '\0');
  std::memcpy(bytes.data(), &value, sizeof(T));
  return bytes;
}

// Protobuf wire types.
constexpr uint64_t wire_varint = 0, wire_fixed64 = 1, wire_bytes = 2, wire_fixed32 = 5;

std::string varint(uint64_t value) {
  std::string bytes;
  for (; value >= 0x80; value >>= 7) bytes += static_cast<char>((value & 0x7F) | 0x80);
  return bytes + static_cast<char>(value);
}

std::string tag(uint64_t field, uint64_t wire_type) {
  return varint(field << 3 | wire_type);
}

std::string bytes_field(uint64_t field, std::string_view bytes) {
  return tag(field, wire_bytes) + varint(bytes.size()) + std::string(bytes);
}

std::string event_header(double wall_time, int64_t step) {
  std::string event = tag(1, wire_fixed64) + little_endian(wall_time);
  if (step != 0) event += tag(2, wire_varint) + varint(static_cast<uint64_t>(step));
  return event;
}

}  // namespace

uint32_t crc32c(std::string_view bytes) {
  uint32_t crc = 0xFFFFFFFFU;
  for (const char byte : bytes) crc = (crc >> 8) ^ crc_table[(crc ^ static_cast<unsigned char>(byte)) & 0xFFU];
  return ~crc;
}

std::string tfrecord(std::string_view data) {
  const std::string length = little_endian(static_cast<uint64_t>(data.size()));
  return length + little_endian(masked_crc(length)) + std::string(data) + little_endian(masked_crc(data));
}

std::string file_version_event(double wall_time) {
  return event_header(wall_time, 0) + bytes_field(3, "brain.Event:2");
}

std::string scalars_event(double wall_time, int64_t step, const std::vector<std::pair<std::string, double>>& scalars) {
  std::string summary;
  for (const auto& [name, value] : scalars) {
    const std::string entry = bytes_field(1, name) + tag(2, wire_fixed32) + little_endian(static_cast<float>(value));
    summary += bytes_field(1, entry);
  }
  return event_header(wall_time, step) + bytes_field(5, summary);
}

std::string session_start_event(double wall_time, int64_t step) {
  const std::string session_log = tag(1, wire_varint) + varint(1);  // SessionLog.status = START
  return event_header(wall_time, step) + bytes_field(7, session_log);
}

}  // namespace subspect::runtime::io
