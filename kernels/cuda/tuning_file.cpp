// The tuning file: JSON, with each algorithm as hexadecimal words, since JSON's numbers do not hold 64 bits everywhere.
#include "kernels/cuda/tuning_file.h"

#include <unistd.h>

#include <charconv>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <stdexcept>
#include <system_error>

namespace subspect::kernels::gpu {
namespace {

using Json = nlohmann::ordered_json;

constexpr int format_version = 1;
constexpr size_t word_digits = 16;

std::string to_text(const AlgorithmBits& bits) {
  std::string text;
  for (const uint64_t word : bits) {
    std::array<char, word_digits> digits{};
    const std::to_chars_result end = std::to_chars(digits.data(), digits.data() + digits.size(), word, 16);
    const auto count = static_cast<size_t>(end.ptr - digits.data());
    text.append(word_digits - count, '0').append(digits.data(), count);
  }
  return text;
}

AlgorithmBits from_text(const std::string& text) {
  AlgorithmBits bits{};
  if (text.size() != bits.size() * word_digits) throw std::runtime_error("an algorithm has the wrong length");
  for (size_t i = 0; i < bits.size(); ++i) {
    const char* begin = text.data() + i * word_digits;
    const std::from_chars_result end = std::from_chars(begin, begin + word_digits, bits[i], 16);
    if (end.ec != std::errc() || end.ptr != begin + word_digits) {
      throw std::runtime_error("an algorithm is not hexadecimal");
    }
  }
  return bits;
}

/// Throws where the file is not what this program writes for this owner.
TunedAlgorithms parse(const Json& root, const TuningOwner& owner) {
  if (root.at("format").get<int>() != format_version) throw std::runtime_error("another format");
  if (root.at("gpu").get<std::string>() != owner.gpu) throw std::runtime_error("made on another GPU model");
  if (root.at("cublaslt").get<uint64_t>() != owner.version) throw std::runtime_error("made by another cuBLASLt");
  TunedAlgorithms algorithms;
  for (const auto& [product, text] : root.at("algorithms").items()) {
    algorithms[product] = from_text(text.get<std::string>());
  }
  return algorithms;
}

}  // namespace

TunedAlgorithms read_tuning_file(const std::string& path, const TuningOwner& owner, std::string& warning) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return {};
  try {
    return parse(Json::parse(file), owner);
  } catch (const std::exception& error) {
    warning = "the tuning file " + path + " is ignored: " + error.what();
    return {};
  }
}

std::string write_tuning_file(const std::string& path, const TuningOwner& owner, const TunedAlgorithms& algorithms) {
  Json root = {{"format", format_version}, {"gpu", owner.gpu}, {"cublaslt", owner.version}};
  Json& entries = root["algorithms"] = Json::object();
  for (const auto& [product, bits] : algorithms) entries[product] = to_text(bits);
  const std::filesystem::path target(path);
  const std::filesystem::path temporary(path + "." + std::to_string(getpid()) + ".tmp");
  std::error_code error;
  if (target.has_parent_path()) std::filesystem::create_directories(target.parent_path(), error);
  std::ofstream file(temporary, std::ios::binary);
  file << root.dump(1) << '\n';
  file.close();
  if (!file) {
    std::filesystem::remove(temporary, error);
    return "cannot write the tuning file " + temporary.string();
  }
  std::filesystem::rename(temporary, target, error);
  if (!error) return "";
  const std::string reason = error.message();
  std::filesystem::remove(temporary, error);
  return "cannot replace the tuning file " + path + ": " + reason;
}

}  // namespace subspect::kernels::gpu
