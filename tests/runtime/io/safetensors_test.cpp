// Reading and writing safetensors: round trips, and every way a file or an index can be wrong.
#include "runtime/io/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <limits>

#include "runtime/error.h"
#include "runtime/linalg/finite.h"

namespace subspect::runtime::io {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class Safetensors : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto* info = ::testing::UnitTest::GetInstance()->current_test_info();
    folder_ = fs::temp_directory_path() / fmt::format("subspect-st-{}-{}", info->name(), ::getpid());
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  fs::path write(const std::string& file, const std::string& bytes) const {
    std::ofstream(folder_ / file, std::ios::binary) << bytes;
    return folder_ / file;
  }
  /// A file with this header (its true length in front) and `data` zero bytes.
  fs::path write_header(const std::string& header, size_t data, const std::string& file = "x.safetensors") const {
    return write(file, length_bytes(header.size()) + header + std::string(data, '\0'));
  }
  static std::string length_bytes(uint64_t length) {
    std::string bytes(8, '\0');
    for (size_t i = 0; i < 8; ++i) bytes[i] = static_cast<char>(length >> (8 * i) & 0xff);
    return bytes;
  }
  /// Opening must fail, naming the file and saying `what`.
  static void expect_damaged(const fs::path& path, const std::string& what) {
    try {
      SafetensorsFile::open(path);
      ADD_FAILURE() << "opened: " << what;
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), HasSubstr(what));
      EXPECT_THAT(error.where(), HasSubstr(path.filename().string()));
      EXPECT_EQ(error.exit_code(), 1);
    }
  }
  void expect_set_fails(const std::string& what, const std::string& file) const {
    try {
      SafetensorsSet::open(folder_);
      ADD_FAILURE() << "opened: " << what;
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), HasSubstr(what));
      EXPECT_THAT(error.where(), HasSubstr(file));
    }
  }

  fs::path folder_;
  std::shared_ptr<Stream> stream_ = Stream::open({}, 1);
};

TEST_F(Safetensors, ReadsAHandMadeFile) {
  const std::string header =
      R"({"__metadata__":{"format":"pt"},"b":{"dtype":"I32","shape":[2],"data_offsets":[8,16]},)"
      R"("a":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]},"e":{"dtype":"F32","shape":[0,3],"data_offsets":[16,16]}})";
  std::string data(16, '\0');
  const float values[2] = {1.5F, -2.0F};
  std::memcpy(data.data(), values, 8);
  data[8] = 7;
  const auto file = SafetensorsFile::open(write("x.safetensors", length_bytes(header.size()) + header + data));
  EXPECT_EQ(file.names(), (std::vector<std::string>{"a", "b", "e"}));
  EXPECT_EQ(file.metadata().at("format"), "pt");
  EXPECT_EQ(file.info("a").dtype, DType::float32);
  EXPECT_EQ(file.info("a").shape, (Shape{1, 2}));
  EXPECT_EQ(file.tensor("a").data<float>()[1], -2.0F);
  EXPECT_EQ(file.tensor("b").data<int32_t>()[0], 7);
  EXPECT_EQ(file.tensor("e").numel(), 0);
  EXPECT_TRUE(file.contains("a"));
  EXPECT_FALSE(file.contains("c"));
  EXPECT_THROW(file.tensor("c"), Error);
}

TEST_F(Safetensors, TensorsOutliveTheFileObject) {
  write_safetensors(folder_ / "x.safetensors", {{"w", DType::float32, {3}}}, [&](size_t) {
    return Tensor::from_host<float>(*stream_, std::vector<float>{1, 2, 3}, {3});
  });
  Tensor kept;
  { kept = SafetensorsFile::open(folder_ / "x.safetensors").tensor("w"); }
  EXPECT_EQ(kept.data<float>()[2], 3.0F);
}

TEST_F(Safetensors, MisalignedTensorIsCopied) {
  const std::string header =
      R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"F32","shape":[1],"data_offsets":[1,5]}})";
  std::string data(5, '\0');
  const float value = 3.25F;
  std::memcpy(data.data() + 1, &value, 4);
  const auto file = SafetensorsFile::open(write("x.safetensors", length_bytes(header.size()) + header + data));
  const Tensor tensor = file.tensor("b");
  EXPECT_EQ(reinterpret_cast<uintptr_t>(tensor.raw()) % 4, 0U);
  EXPECT_EQ(tensor.data<float>()[0], 3.25F);
}

TEST_F(Safetensors, RejectsBadLengths) {
  expect_damaged(write("empty.safetensors", ""), "empty");
  expect_damaged(write("short.safetensors", "abc"), "8 bytes");
  expect_damaged(write("zero.safetensors", length_bytes(0) + "{}"), "does not begin with '{'");
  expect_damaged(write("huge.safetensors", length_bytes(uint64_t{1} << 40) + "{}"), "claims");
  expect_damaged(write("negative.safetensors", length_bytes(~uint64_t{0}) + "{}"), "claims");
  expect_damaged(write("beyond.safetensors", length_bytes(100) + "{}"), "only 2");
  EXPECT_THROW(SafetensorsFile::open(folder_ / "absent.safetensors"), Error);
  EXPECT_THROW(SafetensorsFile::open(folder_), Error);
}

TEST_F(Safetensors, RejectsBadHeaders) {
  const auto one = [](const std::string& entry) { return "{\"w\":" + entry + "}"; };
  const std::vector<std::pair<std::string, std::string>> headers = {
      {"[1,2]", "does not begin with '{'"},
      {"{\"w\":", "not valid JSON"},
      {"{\"w\":\"\xff\xfe\"}", "not valid JSON"},
      {R"({"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})",
       "names w twice"},
      {R"({"w":{"dtype":"F32","dtype":"F16","shape":[2],"data_offsets":[0,8]}})", "names dtype twice"},
      {one("3"), "no dtype"},
      {one(R"({"dtype":"F32","shape":[2]})"), "no data_offsets"},
      {one(R"({"dtype":"F31","shape":[2],"data_offsets":[0,8]})"), "unknown dtype"},
      {one(R"({"dtype":32,"shape":[2],"data_offsets":[0,8]})"), "unknown dtype"},
      {one(R"({"dtype":"F32","shape":2,"data_offsets":[0,8]})"), "shape is not a list"},
      {one(R"({"dtype":"F32","shape":[-2],"data_offsets":[0,8]})"), "non-negative"},
      {one(R"({"dtype":"F32","shape":[2.0],"data_offsets":[0,8]})"), "non-negative"},
      {one(R"({"dtype":"F32","shape":[18446744073709551615],"data_offsets":[0,8]})"), "non-negative"},
      {one(R"({"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,8]})"), "impossible shape"},
      {one(R"({"dtype":"F32","shape":[3],"data_offsets":[0,8]})"), "needs 12 bytes"},
      {one(R"({"dtype":"F32","shape":[2],"data_offsets":[8,0]})"), "needs 8 bytes"},
      {one(R"({"dtype":"F32","shape":[2],"data_offsets":[0,8,9]})"), "list of two"},
      {one(R"({"dtype":"F32","shape":[3],"data_offsets":[0,12]})"), "ends at byte 12 of a buffer of 8"},
      {one(R"({"dtype":"F32","shape":[1],"data_offsets":[4,8]})"), "leaving a gap"},
      {one(R"({"dtype":"F32","shape":[1],"data_offsets":[0,4]})"), "belong to no tensor"},
      {R"({"a":{"dtype":"U8","shape":[5],"data_offsets":[0,5]},"b":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}})",
       "overlapping"},
      {R"({"a":{"dtype":"U8","shape":[3],"data_offsets":[0,3]},"b":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}})",
       "leaving a gap"},
      {R"({"__metadata__":[],"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", "__metadata__"},
      {R"({"__metadata__":{"a":1},"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", "__metadata__"},
  };
  for (const auto& [header, what] : headers) expect_damaged(write_header(header, 8), what);
}

TEST_F(Safetensors, DeepNestingIsNoStackOverflow) {
  std::string header = "{\"w\":";
  for (int i = 0; i < 200'000; ++i) header += "[";
  expect_damaged(write_header(header, 0), "not valid JSON");
}

TEST_F(Safetensors, TruncatedFilesAreDetectedAtEveryLength) {
  write_safetensors(
      folder_ / "x.safetensors", {{"w", DType::float32, {8}}, {"v", DType::bfloat16, {3}}}, [&](size_t i) {
        return i == 0 ? Tensor::zeros(*stream_, {8}, DType::float32) : Tensor::zeros(*stream_, {3}, DType::bfloat16);
      });
  std::ifstream stream(folder_ / "x.safetensors", std::ios::binary);
  const std::string whole((std::istreambuf_iterator<char>(stream)), std::istreambuf_iterator<char>());
  EXPECT_NO_THROW(SafetensorsFile::open(folder_ / "x.safetensors"));
  for (size_t length = 0; length < whole.size(); ++length) {
    EXPECT_THROW(SafetensorsFile::open(write("cut.safetensors", whole.substr(0, length))), Error) << length;
  }
  EXPECT_THROW(SafetensorsFile::open(write("cut.safetensors", whole + "x")), Error);
}

TEST_F(Safetensors, UnsupportedDtypesAreErrorsOnAccessOnly) {
  const auto file = SafetensorsFile::open(write_header(
      R"({"q":{"dtype":"F8_E4M3","shape":[4],"data_offsets":[0,4]},"w":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})",
      8));
  EXPECT_EQ(file.tensor("w").numel(), 1);
  try {
    file.tensor("q");
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("tensor q has the dtype F8_E4M3"));
  }
  EXPECT_THROW(file.info("q"), Error);
}

TEST_F(Safetensors, RoundTripsEveryDtype) {
  const std::vector<DType> dtypes = {DType::float64, DType::float32, DType::float16, DType::bfloat16, DType::int64,
                                     DType::int32,   DType::int16,   DType::int8,    DType::uint8,    DType::boolean};
  std::vector<TensorSpec> specs;
  for (const DType dtype : dtypes) specs.push_back({"t." + std::string(name(dtype)), dtype, {3, 5}});
  const Tensor ones = Tensor::from_host<float>(*stream_, std::vector<float>(15, 1.0F), {3, 5});
  // Narrow before wide, so that the writer has to reorder for alignment.
  std::reverse(specs.begin(), specs.end());
  write_safetensors_set(folder_, specs, [&](size_t i) { return ones.to(*stream_, specs[i].dtype); });
  const SafetensorsSet set = SafetensorsSet::open(folder_);
  EXPECT_EQ(set.names().size(), dtypes.size());
  EXPECT_EQ(set.files()[0].metadata().at("format"), "pt");
  for (const TensorSpec& spec : specs) {
    EXPECT_EQ(set.info(spec.name).dtype, spec.dtype);
    EXPECT_EQ(set.info(spec.name).shape, spec.shape);
    const Tensor tensor = set.tensor(spec.name);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(tensor.raw()) % static_cast<uintptr_t>(element_size(spec.dtype)), 0U);
    EXPECT_EQ(tensor.to_host<float>(*stream_), std::vector<float>(15, 1.0F)) << spec.name;
  }
}

class SafetensorsShards : public Safetensors {
 protected:
  /// Five tensors of 40 bytes, at most 100 bytes in a shard: 2 + 2 + 1.
  void write_shards(int64_t max_shard_bytes = 100) {
    for (int i = 0; i < 5; ++i) specs_.push_back({fmt::format("layer.{}.w", i), DType::float32, {10}});
    SafetensorsWriteOptions options;
    options.max_shard_bytes = max_shard_bytes;
    write_safetensors_set(
        folder_, specs_,
        [&](size_t i) {
          return Tensor::from_host<float>(*stream_, std::vector<float>(10, static_cast<float>(i)), {10});
        },
        options);
  }
  std::vector<TensorSpec> specs_;
};

TEST_F(SafetensorsShards, AreNamedAndIndexedAsHuggingFaceDoes) {
  write_shards();
  EXPECT_TRUE(fs::exists(folder_ / "model-00001-of-00003.safetensors"));
  EXPECT_TRUE(fs::exists(folder_ / "model-00003-of-00003.safetensors"));
  EXPECT_TRUE(fs::exists(folder_ / "model.safetensors.index.json"));
  std::ifstream stream(folder_ / "model.safetensors.index.json");
  const std::string index((std::istreambuf_iterator<char>(stream)), std::istreambuf_iterator<char>());
  EXPECT_THAT(index, HasSubstr("\"total_size\": 200"));
  EXPECT_THAT(index, HasSubstr("\"layer.4.w\": \"model-00003-of-00003.safetensors\""));
  const SafetensorsSet set = SafetensorsSet::open(folder_);
  ASSERT_EQ(set.names().size(), 5U);
  EXPECT_EQ(set.names()[4], "layer.4.w");
  EXPECT_EQ(set.tensor("layer.3.w").data<float>()[9], 3.0F);
  EXPECT_EQ(set.file("layer.3.w").path().filename(), "model-00002-of-00003.safetensors");
  EXPECT_THROW(set.tensor("layer.5.w"), Error);
}

TEST_F(SafetensorsShards, AnotherSetReplacesTheFilesOfTheFirst) {
  write_shards();
  specs_.clear();
  write_shards(1000);
  EXPECT_TRUE(fs::exists(folder_ / "model.safetensors"));
  EXPECT_FALSE(fs::exists(folder_ / "model.safetensors.index.json"));
  EXPECT_FALSE(fs::exists(folder_ / "model-00001-of-00003.safetensors"));
  specs_.clear();
  write_shards(50);
  EXPECT_FALSE(fs::exists(folder_ / "model.safetensors"));
  EXPECT_EQ(SafetensorsSet::open(folder_).files().size(), 5U);
}

TEST_F(SafetensorsShards, ShardNamedByTheIndexIsMissing) {
  write_shards();
  fs::remove(folder_ / "model-00002-of-00003.safetensors");
  expect_set_fails("model-00002-of-00003.safetensors", "index.json");
}

TEST_F(SafetensorsShards, TensorNamedByTheIndexIsMissing) {
  write_shards();
  write("model.safetensors.index.json",
        R"({"weight_map":{"layer.0.w":"model-00001-of-00003.safetensors","x":"model-00001-of-00003.safetensors"}})");
  expect_set_fails("tensor x", "model-00001-of-00003.safetensors");
  write(
      "model.safetensors.index.json",
      R"({"weight_map":{"layer.0.w":"model-00001-of-00003.safetensors","layer.1.w":"model-00002-of-00003.safetensors"}})");
  expect_set_fails("tensor layer.1.w", "model-00002-of-00003.safetensors");
}

TEST_F(SafetensorsShards, TensorInTwoShards) {
  write_shards();
  fs::copy_file(folder_ / "model-00001-of-00003.safetensors", folder_ / "copy.safetensors");
  write("model.safetensors.index.json",
        R"({"weight_map":{"layer.0.w":"copy.safetensors","layer.1.w":"model-00001-of-00003.safetensors"}})");
  expect_set_fails("is also in copy.safetensors", "model-00001-of-00003.safetensors");
}

TEST_F(SafetensorsShards, IndexMustStayInTheDirectory) {
  write_shards();
  for (const char* path : {"../model-00001-of-00003.safetensors", "/etc/passwd", "a/../../x.safetensors", ""}) {
    write("model.safetensors.index.json", fmt::format(R"({{"weight_map":{{"layer.0.w":"{}"}}}})", path));
    expect_set_fails("outside the directory", "index.json");
  }
}

TEST_F(SafetensorsShards, BrokenIndex) {
  write_shards();
  for (const char* text :
       {"", "[]", "{}", R"({"weight_map":[]})", R"({"weight_map":{"a":3}})", R"({"weight_map":{"a":"x","a":"x"}})"}) {
    write("model.safetensors.index.json", text);
    expect_set_fails("", "index.json");
  }
}

TEST_F(Safetensors, EmptyDirectorySaysWhatIsExpected) {
  expect_set_fails("neither model.safetensors nor", folder_.filename().string());
  write("pytorch_model.bin", "x");
  expect_set_fails("convert pytorch_model.bin", folder_.filename().string());
}

TEST_F(Safetensors, WriterRejectsWhatTheSpecDoesNotSay) {
  const auto provide = [&](size_t) { return Tensor::zeros(*stream_, {2}, DType::float32); };
  const fs::path path = folder_ / "x.safetensors";
  EXPECT_THROW(write_safetensors(path, {{"a", DType::float32, {3}}}, provide), Error);
  EXPECT_THROW(write_safetensors(path, {{"a", DType::bfloat16, {2}}}, provide), Error);
  EXPECT_THROW(write_safetensors(path, {{"a", DType::float32, {2}}, {"a", DType::float32, {2}}}, provide), Error);
  EXPECT_TRUE(fs::is_empty(folder_)) << "a failed write leaves nothing behind";
}

TEST(Finite, FindsAndNamesTheFirstBadValue) {
  const auto stream = Stream::open({}, 1);
  std::vector<float> values(5000, 1.0F);
  Tensor good = Tensor::from_host<float>(*stream, values, {50, 100});
  EXPECT_FALSE(linalg::find_non_finite(good).has_value());
  values[4321] = -std::numeric_limits<float>::infinity();
  values[4999] = std::numeric_limits<float>::quiet_NaN();
  const Tensor bad = Tensor::from_host<float>(*stream, values, {50, 100});
  for (const DType dtype : {DType::float32, DType::bfloat16, DType::float16, DType::float64}) {
    EXPECT_FALSE(linalg::find_non_finite(good.to(*stream, dtype)).has_value());
    const Tensor converted = bad.to(*stream, dtype);
    EXPECT_EQ(linalg::find_non_finite(converted), 4321);
    try {
      linalg::require_finite(converted, "lm_head.weight", "model.safetensors");
      FAIL();
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), HasSubstr("lm_head.weight"));
      EXPECT_THAT(error.what(), HasSubstr("[43, 21]"));
      EXPECT_EQ(error.where(), "model.safetensors");
    }
  }
  EXPECT_FALSE(linalg::find_non_finite(Tensor::zeros(*stream, {3}, DType::int64)).has_value());
}

}  // namespace
}  // namespace subspect::runtime::io
